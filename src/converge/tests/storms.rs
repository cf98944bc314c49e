//! Seeded weather: late, lost, repeated and reordered events, calls that fail or whose outcome nobody knows, and kills.

//! Whether a bucket, its standby and what tells of its changes fit each other: described facts in, findings out. No I/O,
//! no clock.

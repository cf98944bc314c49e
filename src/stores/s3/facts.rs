//! A bucket, a queue and a rule as their control planes describe them, in plain values. No I/O.

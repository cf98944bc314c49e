//! What the tests of this folder share.

use std::time::Duration;

use crate::stores::contract::Rhythm;

/// The default rhythm of a table.
pub(crate) const RHYTHM: Rhythm = Rhythm {
    poll_min: Duration::from_millis(250),
    poll_max: Duration::from_secs(2),
    empty_run: 3,
    propagation: Duration::from_secs(10),
    publish: Duration::from_secs(1),
    max_request_life: Duration::from_secs(10),
    apply_concurrency: 8,
    apply_batch: 25,
    survey_every: Duration::from_secs(60),
};

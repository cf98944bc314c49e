//! Every AWS operation that this kind calls, and the policies that grant them. A test holds the code, this table and
//! `config/iam/s3-*.json` together: what the code calls and no policy grants would fail on the worst day.

use crate::stores::IamPolicy;

/// The policies of a bucket that is kept the same.
pub const OF_REPLICATE: &[IamPolicy] = &[];

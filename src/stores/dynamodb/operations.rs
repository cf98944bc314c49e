//! Every AWS operation that this kind calls, and the policies that grant them. A test holds the code, this table and
//! `config/iam/*.json` together: what the code calls and no policy grants would fail on the worst day.

use crate::stores::{End, IamPolicy};

/// What is called, on which end, and granted by which role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// As in a policy, behind `dynamodb:`.
    pub name: &'static str,
    /// On which end.
    pub end: End,
    /// Granted by this role's policy.
    pub role: &'static str,
}

/// Reads the source and its stream. No write.
pub const READ_X: &str = "replicate-read-x";
/// Keeps the standby equal.
pub const WRITE_Y: &str = "replicate-write-y";
/// Makes the standby ready for traffic, in a promotion.
pub const PROMOTE_Y: &str = "promote-y";
/// Writes the canary items in the source, and nothing else there.
pub const CANARY_X: &str = "canary-x";

/// Looks at a global table in the primary region, and writes its canaries.
pub const OBSERVE_X: &str = "observe-x";
/// Looks at a global table in the standby region, and reads its canaries.
pub const OBSERVE_Y: &str = "observe-y";

const fn on(end: End, role: &'static str, name: &'static str) -> Operation {
    Operation { name, end, role }
}

/// Every operation.
pub const OPERATIONS: &[Operation] = &[
    on(End::Primary, READ_X, "BatchGetItem"),
    on(End::Primary, READ_X, "DescribeContinuousBackups"),
    on(End::Primary, READ_X, "DescribeStream"),
    on(End::Primary, READ_X, "DescribeTable"),
    on(End::Primary, READ_X, "DescribeTimeToLive"),
    on(End::Primary, READ_X, "GetItem"),
    on(End::Primary, READ_X, "GetRecords"),
    on(End::Primary, READ_X, "GetShardIterator"),
    on(End::Primary, READ_X, "Scan"),
    on(End::Primary, CANARY_X, "PutItem"),
    on(End::Primary, OBSERVE_X, "DescribeGlobalTable"),
    on(End::Primary, OBSERVE_X, "DescribeTable"),
    on(End::Primary, OBSERVE_X, "PutItem"),
    on(End::Standby, OBSERVE_Y, "DescribeTable"),
    on(End::Standby, OBSERVE_Y, "GetItem"),
    on(End::Standby, WRITE_Y, "BatchGetItem"),
    on(End::Standby, WRITE_Y, "BatchWriteItem"),
    on(End::Standby, WRITE_Y, "DeleteItem"),
    on(End::Standby, WRITE_Y, "DescribeContinuousBackups"),
    on(End::Standby, WRITE_Y, "DescribeTable"),
    on(End::Standby, WRITE_Y, "DescribeTimeToLive"),
    on(End::Standby, WRITE_Y, "GetItem"),
    on(End::Standby, WRITE_Y, "PutItem"),
    on(End::Standby, WRITE_Y, "Scan"),
    on(End::Standby, PROMOTE_Y, "DescribeTable"),
    on(End::Standby, PROMOTE_Y, "DescribeTimeToLive"),
    on(End::Standby, PROMOTE_Y, "UpdateTable"),
    on(End::Standby, PROMOTE_Y, "UpdateTimeToLive"),
];

const HOLE: &str = "TABLE";

/// The policies of a table that is observed.
pub const OF_OBSERVE: &[IamPolicy] = &[
    IamPolicy {
        role: OBSERVE_X,
        end: End::Primary,
        text: include_str!("../../../config/iam/observe-x.json"),
        hole: HOLE,
    },
    IamPolicy {
        role: OBSERVE_Y,
        end: End::Standby,
        text: include_str!("../../../config/iam/observe-y.json"),
        hole: HOLE,
    },
];

/// The policies of a table that is replicated.
pub const OF_REPLICATE: &[IamPolicy] = &[
    IamPolicy {
        role: READ_X,
        end: End::Primary,
        text: include_str!("../../../config/iam/replicate-read-x.json"),
        hole: HOLE,
    },
    IamPolicy {
        role: WRITE_Y,
        end: End::Standby,
        text: include_str!("../../../config/iam/replicate-write-y.json"),
        hole: HOLE,
    },
    IamPolicy {
        role: PROMOTE_Y,
        end: End::Standby,
        text: include_str!("../../../config/iam/promote-y.json"),
        hole: HOLE,
    },
    IamPolicy {
        role: CANARY_X,
        end: End::Primary,
        text: include_str!("../../../config/iam/canary-x.json"),
        hole: HOLE,
    },
];

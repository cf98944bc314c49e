//! AWS SDK clients: region, role, timeouts, retries; and what an error of theirs means.
//!
//! The SDK's own retries are switched off (one attempt): they hide throttling (IA-8) and would resend a write behind the
//! back of the per-key order (AP-3). Retrying is the spine's.

/// The two regions.
#[derive(Debug, Clone)]
pub struct Aws {
    /// prodX.
    pub primary: aws_config::SdkConfig,
    /// prodY.
    pub standby: aws_config::SdkConfig,
}

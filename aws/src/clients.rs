//! Clients of what a controller asks of AWS.

use aws_sdk_ec2::config::retry::{RetryConfig, RetryMode};

use crate::ec2::Ec2;
use crate::profile::Profiles;
use crate::session::{Session, configured_region};
use crate::ssm::Parameters;

/// Clients of one region.
#[derive(Clone, Debug)]
pub struct Clients {
    /// The region.
    pub region: String,
    /// Machines, and what they are made of.
    pub ec2: Ec2,
    /// Instance profiles.
    pub profiles: Profiles,
    /// Parameters of the Systems Manager.
    pub parameters: Parameters,
}

impl Clients {
    /// Clients of a region, or of the one that AWS's own configuration names; `None` where nothing does. Makes no call.
    pub async fn open(region: Option<&str>) -> Option<Self> {
        let region = match region {
            Some(region) => region.to_owned(),
            None => configured_region().await?,
        };
        let session = Session::open(&region).await;
        let stated = session.ec2.config().retry_config().cloned().unwrap_or_else(RetryConfig::standard);
        // Who launches many machines at once is throttled by EC2: then all calls slow down together, and speed up again.
        let retries = stated.with_retry_mode(RetryMode::Adaptive);
        let config = session.ec2.config().to_builder().retry_config(retries).build();
        Some(Self {
            region,
            ec2: Ec2 { client: aws_sdk_ec2::Client::from_conf(config) },
            profiles: Profiles { client: session.iam },
            parameters: Parameters { client: session.ssm },
        })
    }
}

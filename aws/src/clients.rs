//! Clients of what a controller asks of AWS.

use std::sync::Arc;

use aws_sdk_ec2::config::retry::{RetryConfig, RetryMode};

use crate::ec2::Ec2;
use crate::eks::Clusters;
use crate::observe::{Observer, Watch};
use crate::profile::Profiles;
use crate::queue::Queues;
use crate::session::Session;
use crate::shift::Shifts;
use crate::ssm::Parameters;

/// Clients of one region.
#[derive(Clone, Debug)]
pub struct Clients {
    /// The region.
    pub region: String,
    /// Machines, and what they are made of.
    pub ec2: Ec2,
    /// Clusters of EKS.
    pub clusters: Clusters,
    /// Instance profiles.
    pub profiles: Profiles,
    /// Parameters of the Systems Manager.
    pub parameters: Parameters,
    /// Queues of messages.
    pub queues: Queues,
    /// Zones that are shifted away from.
    pub shifts: Shifts,
}

impl Clients {
    /// Clients of a region. `observer` hears of every call. Makes none.
    pub async fn open(region: &str, observer: Arc<dyn Observer>) -> Self {
        let session = Session::open(region).await;
        let stated = session.ec2.config().retry_config().cloned().unwrap_or_else(RetryConfig::standard);
        // Who launches many machines at once is throttled by EC2: then all calls slow down together, and speed up again.
        let retries = stated.with_retry_mode(RetryMode::Adaptive);
        let watch = Watch(observer);
        let ec2 = session.ec2.config().to_builder().retry_config(retries).interceptor(watch.clone()).build();
        let eks = session.eks.config().to_builder().interceptor(watch.clone()).build();
        let iam = session.iam.config().to_builder().interceptor(watch.clone()).build();
        let shifts = session.shifts.config().to_builder().interceptor(watch.clone()).build();
        let sqs = session.sqs.config().to_builder().interceptor(watch.clone()).build();
        let ssm = session.ssm.config().to_builder().interceptor(watch).build();
        Self {
            region: region.to_owned(),
            ec2: Ec2 { client: aws_sdk_ec2::Client::from_conf(ec2) },
            clusters: Clusters { client: aws_sdk_eks::Client::from_conf(eks) },
            profiles: Profiles { client: aws_sdk_iam::Client::from_conf(iam) },
            parameters: Parameters { client: aws_sdk_ssm::Client::from_conf(ssm) },
            queues: Queues { client: aws_sdk_sqs::Client::from_conf(sqs) },
            shifts: Shifts { client: aws_sdk_arczonalshift::Client::from_conf(shifts) },
        }
    }
}

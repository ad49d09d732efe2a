//! The SDK's clients for a region, as the environment and the profile of AWS configure them.
//!
//! Credentials, endpoints (`AWS_ENDPOINT_URL`), retries (`AWS_MAX_ATTEMPTS`, `AWS_RETRY_MODE`) and proxies are found where
//! every tool of AWS looks for them. Throttling and failures that pass are retried by the SDK, later each time.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// For a connection; the SDK's own default is 3.1.
const CONNECT: Duration = Duration::from_secs(5);
/// For one page. The largest, of prices, is a megabyte.
const ATTEMPT: Duration = Duration::from_secs(30);
/// For one page, retries and the pauses between them included.
const PAGE: Duration = Duration::from_secs(90);

/// Clients of one region.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) region: String,
    pub(crate) ec2: aws_sdk_ec2::Client,
    pub(crate) eks: aws_sdk_eks::Client,
    pub(crate) iam: aws_sdk_iam::Client,
    pub(crate) pricing: aws_sdk_pricing::Client,
    pub(crate) savings_plans: aws_sdk_savingsplans::Client,
    pub(crate) shifts: aws_sdk_arczonalshift::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) ssm: aws_sdk_ssm::Client,
}

impl Session {
    /// Clients of a region. Makes no call.
    pub(crate) async fn open(region: &str) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(PAGE)
            .build();
        let config: SdkConfig = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(Region::new(region.to_owned()))
            .http_client(http_client())
            .timeout_config(timeouts)
            .load()
            .await;
        let list = aws_sdk_pricing::config::Builder::from(&config).region(Region::new(price_region(region)));
        Self {
            region: region.to_owned(),
            ec2: aws_sdk_ec2::Client::new(&config),
            eks: aws_sdk_eks::Client::new(&config),
            iam: aws_sdk_iam::Client::new(&config),
            pricing: aws_sdk_pricing::Client::from_conf(list.build()),
            savings_plans: aws_sdk_savingsplans::Client::new(&config),
            shifts: aws_sdk_arczonalshift::Client::new(&config),
            sqs: aws_sdk_sqs::Client::new(&config),
            ssm: aws_sdk_ssm::Client::new(&config),
        }
    }
}

/// The region of the environment or the profile. Instance metadata is not asked: where there is none, that takes seconds.
pub(crate) async fn configured_region() -> Option<String> {
    let chain = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    chain.region().await.map(|region| region.as_ref().to_owned())
}

pub(crate) fn http_client() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        if let Some(settings) = settings {
            connector = connector.connector_settings(settings.clone());
        }
        connector.set_sleep_impl(components.and_then(aws_sdk_ec2::config::RuntimeComponents::sleep_impl));
        connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
    })
}

/// Where the Price List of a region is asked for: few regions have it, and each has all of its partition.
///
/// compat: karpenter-provider-aws v1.14, `pkg/providers/pricing`.
fn price_region(region: &str) -> &'static str {
    let (area, _) = region.split_once('-').unwrap_or((region, ""));
    match area {
        "ap" => "ap-south-1",
        "cn" => "cn-northwest-1",
        "eu" => "eu-central-1",
        _ => "us-east-1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_list_is_asked_for_in_the_same_partition() {
        let regions = ["us-west-2", "eu-north-1", "ap-east-1", "cn-north-1", "sa-east-1"];
        let asked = ["us-east-1", "eu-central-1", "ap-south-1", "cn-northwest-1", "us-east-1"];
        assert_eq!(regions.map(price_region), asked);
    }
}

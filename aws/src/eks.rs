//! Clusters of EKS, as EKS itself describes them.

use crate::ec2::Refused;

/// A client of EKS.
#[derive(Clone, Debug)]
pub struct Clusters {
    pub(crate) client: aws_sdk_eks::Client,
}

/// A cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundCluster {
    /// Its name for all of AWS: `arn:aws:eks:us-east-1:111122223333:cluster/lab`.
    pub arn: Option<String>,
    /// URL of its API server, which machines can reach; none while it is being made.
    pub endpoint: Option<String>,
    /// Authorities that sign the API server's certificate, in base64.
    pub authorities: Option<String>,
    /// Addresses of Services, IPv4 or IPv6.
    pub services: Option<String>,
}

impl Clusters {
    /// A cluster by its name; `None` where EKS has none.
    ///
    /// # Errors
    /// What EKS says.
    pub async fn get(&self, name: &str) -> Result<Option<FoundCluster>, Refused> {
        let answer = self.client.describe_cluster().name(name).send().await;
        let answer = match answer.map_err(|error| Refused::of("DescribeCluster", &error)) {
            Ok(answer) => answer,
            Err(refused) if refused.is_gone() => return Ok(None),
            Err(refused) => return Err(refused),
        };
        let Some(cluster) = answer.cluster() else { return Ok(None) };
        let network = cluster.kubernetes_network_config();
        let services = network.and_then(|of| of.service_ipv6_cidr().or_else(|| of.service_ipv4_cidr()));
        let authorities = cluster.certificate_authority().and_then(|of| of.data());
        Ok(Some(FoundCluster {
            arn: cluster.arn().map(str::to_owned),
            endpoint: cluster.endpoint().map(str::to_owned),
            authorities: authorities.map(str::to_owned),
            services: services.map(str::to_owned),
        }))
    }
}

//! Clusters of EKS, as EKS itself describes them.

use aws_sdk_eks::types::FargateProfileStatus;
use stowage_pricing::fargate::{Profile, ProfileSelector};

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

    /// The Fargate profiles of a cluster that take pods, by name.
    ///
    /// # Errors
    /// What EKS says.
    pub async fn fargate_profiles(&self, cluster: &str) -> Result<Vec<Profile>, Refused> {
        let mut names = Vec::new();
        let mut pages = self.client.list_fargate_profiles().cluster_name(cluster).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Refused::of("ListFargateProfiles", &error))?;
            names.extend(page.fargate_profile_names().iter().cloned());
        }
        let mut found = Vec::new();
        for name in names {
            let call = self.client.describe_fargate_profile().cluster_name(cluster);
            let answer = call.fargate_profile_name(&name).send().await;
            let answer = match answer.map_err(|error| Refused::of("DescribeFargateProfile", &error)) {
                Ok(answer) => answer,
                // Deleted since.
                Err(refused) if refused.is_gone() => continue,
                Err(refused) => return Err(refused),
            };
            // One that is being made takes no pods yet, and one that is being deleted none any more.
            let Some(of) =
                answer.fargate_profile().filter(|of| of.status() == Some(&FargateProfileStatus::Active))
            else {
                continue;
            };
            let selectors = of.selectors().iter().map(|selector| ProfileSelector {
                namespace: selector.namespace().unwrap_or_default().to_owned(),
                labels: selector
                    .labels()
                    .into_iter()
                    .flatten()
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect(),
            });
            found.push(Profile { name, selectors: selectors.collect(), subnets: of.subnets().to_vec() });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}

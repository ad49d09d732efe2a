//! What machines are told of their cluster: what flags state, else what EKS says, else what the API server says.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::{Client, Config};
use stowage_aws::{Clusters, FoundCluster};
use tracing::{info, warn};

use crate::settings::Settings;

/// What machines are told of their cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterFacts {
    /// Its name.
    pub name: String,
    /// URL of its API server.
    pub endpoint: String,
    /// Authorities of that, in base64.
    pub ca_bundle: String,
    /// Addresses of Services.
    pub service_cidr: Option<String>,
    /// Address of the cluster's DNS: also says whether its addresses are of IPv6.
    pub dns: Option<String>,
}

impl ClusterFacts {
    /// Whether the cluster's addresses are of IPv6.
    pub fn ipv6(&self) -> bool {
        self.dns.as_deref().is_some_and(|dns| dns.contains(':'))
    }

    /// Finds out what the settings do not state.
    ///
    /// # Errors
    /// Where no address of the API server is known that machines could reach, or the cluster's DNS cannot be read.
    pub async fn learn(
        settings: &Settings,
        client: &Client,
        config: &Config,
        clusters: &Clusters,
    ) -> Result<Self> {
        // A variable that is set to nothing says nothing.
        let stated = settings.cluster_endpoint.as_deref().filter(|stated| !stated.trim().is_empty());
        let asks = settings.eks_control_plane || stated.is_none();
        let (described, silent) =
            if asks { describe(clusters, &settings.cluster_name).await } else { (None, None) };
        let described = described.unwrap_or_default();
        let (dns, cidr) = (cluster_dns(client).await?, service_cidr(client).await);
        let facts = Self {
            name: settings.cluster_name.clone(),
            endpoint: endpoint(stated, &described, config)
                .with_context(|| silent.unwrap_or_default())
                .context("no address of the API server is known that machines could reach")?,
            ca_bundle: authorities(&settings.cluster_ca_bundle, &described, config),
            service_cidr: settings.service_cidr.clone().or(described.services).or(cidr),
            dns,
        };
        info!(
            endpoint = facts.endpoint,
            services = facts.service_cidr,
            dns = facts.dns,
            authorities = !facts.ca_bundle.is_empty(),
            "what machines are told of the cluster"
        );
        Ok(facts)
    }
}

/// What EKS says of a cluster; else why it says nothing.
async fn describe(clusters: &Clusters, name: &str) -> (Option<FoundCluster>, Option<String>) {
    match clusters.get(name).await {
        Ok(Some(found)) => (Some(found), None),
        Ok(None) => (None, Some(format!("EKS has no cluster {name}"))),
        Err(refused) => {
            warn!(%refused, "EKS does not describe the cluster");
            (None, Some(refused.to_string()))
        }
    }
}

/// Where machines reach the API server.
fn endpoint(stated: Option<&str>, described: &FoundCluster, config: &Config) -> Result<String> {
    let ours = config.cluster_url.to_string();
    let found = stated.or(described.endpoint.as_deref());
    // A Service has its address from what runs on nodes: a machine that is not a node yet cannot use it.
    let service = std::env::var("KUBERNETES_SERVICE_HOST").ok();
    let host = config.cluster_url.host().unwrap_or_default();
    let is_service = host.split('.').any(|part| part == "svc")
        || service.as_deref() == Some(host.trim_matches(['[', ']']));
    if found.is_none() && is_service {
        anyhow::bail!("set CLUSTER_ENDPOINT, or allow eks:DescribeCluster for the cluster");
    }
    Ok(found.unwrap_or(&ours).trim_end_matches('/').to_owned())
}

/// The authorities of the API server's certificate, in base64: PEM in it.
fn authorities(stated: &str, described: &FoundCluster, config: &Config) -> String {
    if !stated.is_empty() {
        return stated.to_owned();
    }
    if let Some(described) = &described.authorities {
        return described.clone();
    }
    let certificates = config.root_cert.iter().flatten().map(|der| pem(der));
    let text = certificates.collect::<String>();
    if text.is_empty() { text } else { STANDARD.encode(text) }
}

/// A certificate as PEM, in lines of 64 letters (RFC 7468).
fn pem(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// Addresses of Services, as the API server says them since Kubernetes 1.33.
async fn service_cidr(client: &Client) -> Option<String> {
    let kind = GroupVersionKind::gvk("networking.k8s.io", "v1", "ServiceCIDR");
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    match all.get_opt("kubernetes").await {
        Ok(found) => found?.data["spec"]["cidrs"][0].as_str().map(str::to_owned),
        Err(error) => {
            warn!(%error, "the range of Services' addresses cannot be read");
            None
        }
    }
}

/// Address of the cluster's DNS, which machines are told; nothing where the cluster has another one than is usual.
///
/// # Errors
/// Where nobody knows: it says of which family the cluster's addresses are, and machines of the other would never join.
async fn cluster_dns(client: &Client) -> Result<Option<String>> {
    let services: Api<Service> = Api::namespaced(client.clone(), "kube-system");
    let found = services.get_opt("kube-dns").await.context(
        "cannot read the Service kube-dns of kube-system: the controller's role has to allow it to get services",
    )?;
    Ok(found.and_then(|dns| dns.spec?.cluster_ip).filter(|address| address != "None"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Config {
        Config::new(url.parse().expect("a URL"))
    }

    #[test]
    fn what_is_stated_goes_before_what_eks_says_and_that_before_our_own_address() {
        let own = config("https://api.shop.example:6443/");
        let eks =
            FoundCluster { endpoint: Some("https://ABC.eks.example".into()), ..FoundCluster::default() };
        let none = FoundCluster::default();
        let of = |stated, found| endpoint(stated, found, &own).ok();
        assert_eq!(of(Some("https://stated/"), &eks).as_deref(), Some("https://stated"));
        assert_eq!(of(None, &eks).as_deref(), Some("https://ABC.eks.example"));
        assert_eq!(of(None, &none).as_deref(), Some("https://api.shop.example:6443"));
    }

    #[test]
    fn a_service_is_no_address_for_machines_that_are_to_join() {
        let inside = config("https://kubernetes.default.svc/");
        let error = endpoint(None, &FoundCluster::default(), &inside).expect_err("no machine reaches it");
        assert!(error.to_string().contains("CLUSTER_ENDPOINT"), "{error}");
        assert!(endpoint(Some("https://stated"), &FoundCluster::default(), &inside).is_ok());
    }

    #[test]
    fn authorities_are_those_that_the_controller_trusts_where_nobody_states_others() {
        let mut own = config("https://api.shop.example");
        let eks = FoundCluster { authorities: Some("RUtT".into()), ..FoundCluster::default() };
        assert_eq!(authorities("c3RhdGVk", &eks, &own), "c3RhdGVk");
        assert_eq!(authorities("", &eks, &own), "RUtT");
        assert_eq!(authorities("", &FoundCluster::default(), &own), "");
        own.root_cert = Some(vec![vec![7; 60]]);
        let text = STANDARD.decode(authorities("", &FoundCluster::default(), &own)).expect("base64");
        let text = String::from_utf8(text).expect("text");
        let lines: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(lines, [27, 64, 16, 25], "{text}");
    }
}

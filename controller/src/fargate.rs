//! Pods on Fargate: the edge of what `stowage-fargate` decides. Clocks, the API server, EKS and TLS are here, decisions there.
//!
//! ```text
//!  every replica                                      the one that leads
//!  ─────────────                                      ──────────────────
//!  follow ─▶ pods ─▶ State ◀─ know ◀─ policies, EKS   looks ─▶ publish ─▶ ConfigMaps ─▶ the others' State
//!                      │                              register ─▶ the webhook's registration
//!  API server ─TLS─▶ server ─▶ answer                 keys ─▶ Secret ─▶ everyone's certificate
//!                      └─ caps ─▶ /reserve ─────────▶ ledger ─▶ ConfigMap
//!                                                     recreate, guard ─▶ pods;  status ─▶ policies
//! ```
//!
//! # Invariants
//! - Without a policy nothing is registered, and nobody is asked.
//! - Whatever fails here, pods are created and run on nodes.

mod caps;
mod certs;
mod guard;
mod keys;
mod know;
mod looks;
pub mod metrics;
mod owners;
pub(crate) mod pods;
mod publish;
mod recreate;
mod register;
mod server;
pub mod state;
mod status;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use stowage_aws::Clients;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::info;

use crate::announce::Announcer;
use crate::assumed::Expected;
use crate::follow::Cluster;
use crate::operate::health::Pulse;
use crate::operate::lease::Leading;
use crate::operate::metrics::Metrics;
use crate::outlook::Outlook;

use caps::Caps;
use know::Kinds;
use publish::Publisher;
use register::Reached;
use server::Desk;
use state::State;
use tls::Shown;

/// What the loops work with.
pub struct Fargate {
    /// What they share.
    pub state: State,
    /// The API server.
    pub client: Client,
    /// One that asks once: for deletions, which are not to be done twice.
    pub once: Client,
    /// What there is.
    pub cluster: Cluster,
    /// What plans are made from, and the settings.
    pub outlook: Outlook,
    /// Which pods are meant for which machines.
    pub expected: Expected,
    /// To say what is done.
    pub announcer: Announcer,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// Where loops show that they go on.
    pub pulse: Pulse,
    /// Who leads.
    pub leading: Leading,
    /// The namespace that Stowage keeps its own objects in.
    pub namespace: String,
    /// To ask EKS with; `None` where it cannot be asked.
    pub aws: Option<Clients>,
}

/// What every replica does, and what only the one that leads does.
pub struct Loops {
    /// What every replica does; it ends only where the webhook cannot be served.
    pub everywhere: BoxFuture<'static, Result<()>>,
    /// What the one that leads does.
    pub leading: BoxFuture<'static, ()>,
}

/// What both kinds of loops work with.
struct Common {
    service: String,
    kinds: Kinds,
    caps: Caps,
    publisher: Publisher,
    maps: Api<ConfigMap>,
    shown: watch::Receiver<Option<Arc<Shown>>>,
}

impl Fargate {
    /// Puts the loops together.
    ///
    /// # Errors
    /// Where the webhook's port cannot be had.
    pub async fn open(self) -> Result<Loops> {
        let settings = &self.outlook.settings;
        let address = SocketAddr::new(settings.listen, settings.webhook_port);
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}: choose another --webhook-port"))?;
        info!(%address, "the webhook for Fargate");
        let (service, namespace) = (settings.webhook_service.clone(), &self.namespace);
        let names = names(&service, namespace, settings.webhook_url.as_deref());
        let (sender, shown) = watch::channel(None::<Arc<Shown>>);
        let name = names.first().cloned().unwrap_or_default();
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let prefix = format!("{service}-fargate-verdicts");
        let common = Common {
            kinds: Kinds::default(),
            caps: Caps::new(self.state.clone(), self.leading.clone(), shown.clone(), name),
            publisher: Publisher::new(self.state.clone(), maps.clone(), prefix),
            service,
            maps,
            shown,
        };
        let from = match &settings.webhook_certificate {
            Some(folder) => keys::From::Folder(folder.clone()),
            None => keys::From::Secret {
                secrets: Box::new(Api::namespaced(self.client.clone(), namespace)),
                name: format!("{}-webhook", common.service),
                names,
            },
        };
        let keys = keys::Keeper { from, leading: self.leading.clone(), shown: sender };
        let everywhere = Box::pin(self.everywhere(&common, keys, listener));
        Ok(Loops { everywhere, leading: Box::pin(self.lead(common)) })
    }

    /// What every replica does.
    fn everywhere(
        &self,
        common: &Common,
        keys: keys::Keeper,
        listener: TcpListener,
    ) -> impl Future<Output = Result<()>> + use<> {
        let know = know::Keeper {
            state: self.state.clone(),
            cluster: self.cluster.clone(),
            kinds: common.kinds.clone(),
            market: self.outlook.market.clone(),
            namespace: self.namespace.clone(),
            aws: self.aws.clone().map(|aws| (aws, self.outlook.settings.cluster_name.clone())),
        };
        let desk = Desk {
            state: self.state.clone(),
            caps: common.caps.clone(),
            measured: self.metrics.fargate().clone(),
            shown: common.shown.clone(),
        };
        let (of_namespaces, of_cluster) =
            (common.kinds.of_namespaces.clone(), common.kinds.of_cluster.clone());
        let verdicts = publish::follow(common.publisher.clone(), self.leading.clone());
        let client = self.client.clone();
        async move {
            let followed = async {
                tokio::join!(
                    of_namespaces.follow(client.clone()),
                    of_cluster.follow(client.clone()),
                    verdicts
                );
            };
            // Those who work here may take a while for something; whoever asks is not to wait for them.
            let told = desk.clone().tell();
            let served = tokio::spawn(desk.serve(listener));
            tokio::select! {
                ended = served => ended.context("the webhook")?,
                ((), (), (), ()) = async { tokio::join!(followed, know.run(), keys.run(), told) } => {
                    anyhow::bail!("following policies for Fargate has ended")
                }
            }
        }
    }

    /// What the replica does that leads.
    fn lead(self, common: Common) -> impl Future<Output = ()> + use<> {
        let Common { service, kinds, publisher, maps, shown, .. } = common;
        let measured = self.metrics.fargate().clone();
        let url = self.outlook.settings.webhook_url.clone();
        let registrar = register::Registrar {
            client: self.client.clone(),
            state: self.state.clone(),
            reached: Reached { service: service.clone(), namespace: self.namespace, url },
            shown,
        };
        let counter = caps::Keeper {
            state: self.state.clone(),
            maps,
            pods: caps::raw_pods(self.client.clone()),
            name: format!("{service}-fargate-caps"),
        };
        let looker = looks::Looker {
            state: self.state.clone(),
            cluster: self.cluster.clone(),
            outlook: self.outlook,
            expected: self.expected.clone(),
            announcer: self.announcer.clone(),
            measured: measured.clone(),
            publisher: publisher.clone(),
            pulse: self.pulse,
        };
        let watch = guard::Watch {
            client: self.once.clone(),
            state: self.state.clone(),
            publisher: publisher.clone(),
            announcer: self.announcer.clone(),
            measured: measured.clone(),
        };
        let recreator = recreate::Recreator {
            client: self.once,
            state: self.state.clone(),
            cluster: self.cluster.clone(),
            expected: self.expected,
            publisher,
            announcer: self.announcer.clone(),
            measured: measured.clone(),
        };
        let writer = status::Writer {
            client: self.client,
            state: self.state,
            cluster: self.cluster,
            kinds,
            announcer: self.announcer,
            measured,
        };
        async move {
            let kept = async { tokio::join!(registrar.run(), counter.run(), looker.run()) };
            tokio::join!(kept, watch.run(), recreator.run(), writer.run());
        }
    }
}

/// The names that the API server may call the webhook by; the first is that by which replicas call each other.
fn names(service: &str, namespace: &str, url: Option<&str>) -> Vec<String> {
    let host = url.and_then(|url| url.parse::<axum::http::Uri>().ok());
    let host = host.as_ref().and_then(|uri| uri.host()).map(|host| host.trim_matches(['[', ']']).to_owned());
    let own = [format!("{service}.{namespace}.svc"), format!("{service}.{namespace}")];
    own.into_iter().chain(host).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_for_the_service_and_for_the_url() {
        assert_eq!(names("stowage", "ops", None), ["stowage.ops.svc", "stowage.ops"]);
        assert_eq!(names("stowage", "ops", Some("https://[::1]:8443"))[2], "::1");
        assert_eq!(names("stowage", "ops", Some("https://10.0.0.1:8443/x"))[2], "10.0.0.1");
    }
}

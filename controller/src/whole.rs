//! Objects of one kind in full: for whoever writes their status, and so must know every field of it.
//!
//! The index of planning keeps what planning reads; this keeps objects as the API server gives them, and is for kinds of
//! which there are few. An object that cannot be read as its type is still here, so that it can be told so.

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{Config, watcher};
use kube::runtime::{WatchStreamExt as _, reflector as keep};
use kube::{Client, discovery};
use tokio::sync::watch;
use tracing::warn;

use crate::follow::{LOOK_AGAIN, PAGE};

/// All objects of a kind.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    group: &'static str,
    kind: &'static str,
    state: watch::Sender<State>,
}

/// What is known of the kind, and a count of changes.
#[derive(Clone, Debug, Default)]
struct State {
    served: Option<(ApiResource, Store<DynamicObject>)>,
    changes: u64,
}

impl Whole {
    /// Nothing yet: see [`Whole::follow`].
    pub(crate) fn new(group: &'static str, kind: &'static str) -> Self {
        Self { group, kind, state: watch::channel(State::default()).0 }
    }

    /// Follows the kind until the task is dropped. One that is not served is looked for again now and then.
    pub(crate) async fn follow(self, client: Client) {
        let resource = loop {
            match served_as(&client, self.group, self.kind).await {
                Ok(Some(resource)) => break resource,
                Ok(None) => {}
                Err(error) => warn!(kind = self.kind, %error, "cannot ask which kinds the API server has"),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        let api: Api<DynamicObject> = Api::all_with(client, &resource);
        let (store, writer) = {
            let writer = reflector::store::Writer::new(resource.clone());
            (writer.as_reader(), writer)
        };
        self.state.send_modify(|state| state.served = Some((resource, store)));
        let events = keep(writer, watcher(api, Config::default().page_size(PAGE))).default_backoff();
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(_) => self.state.send_modify(|state| state.changes += 1),
                Err(error) => warn!(kind = self.kind, %error, "a watch broke, and begins anew"),
            }
        }
    }

    /// Tells of changes from now on.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.state.subscribe())
    }

    /// All objects, by namespace and name; none while they have not been listed.
    pub(crate) fn all(&self) -> Vec<Arc<DynamicObject>> {
        let state = self.state.borrow();
        let mut all = state.served.as_ref().map(|(_, store)| store.state()).unwrap_or_default();
        all.sort_by(|a, b| {
            let key = |o: &DynamicObject| (o.metadata.namespace.clone(), o.metadata.name.clone());
            key(a).cmp(&key(b))
        });
        all
    }

    /// Whether they were listed. What is not served never is.
    pub(crate) fn is_listed(&self) -> bool {
        let store = self.state.borrow().served.as_ref().map(|(_, store)| store.clone());
        // It waits for a first list, and asks nobody.
        store.is_some_and(|store| store.wait_until_ready().now_or_never().is_some_and(|ready| ready.is_ok()))
    }

    /// How the API server serves the kind; `None` where it does not, as far as is known.
    pub(crate) fn resource(&self) -> Option<ApiResource> {
        self.state.borrow().served.as_ref().map(|(resource, _)| resource.clone())
    }
}

/// Waits for changes.
pub(crate) struct Changes(watch::Receiver<State>);

impl Changes {
    /// Something has changed since this was last asked. For ever where nobody follows any more.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// How the API server serves a kind; `None` where it does not.
pub(crate) async fn served_as(client: &Client, group: &str, kind: &str) -> kube::Result<Option<ApiResource>> {
    match discovery::group(client, group).await {
        // A kind need not be in the version that the group prefers: NodeOverlays are not.
        Ok(group) => {
            let anywhere = || group.resources_by_stability().into_iter().find(|(of, _)| of.kind == kind);
            Ok(group.recommended_kind(kind).or_else(anywhere).map(|(resource, _)| resource))
        }
        Err(kube::Error::Discovery(kube::error::DiscoveryError::MissingApiGroup(_))) => Ok(None),
        Err(other) => Err(other),
    }
}

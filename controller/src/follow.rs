//! Follows a cluster: lists and watches every kind that planning reads, into an index.
//!
//! Lists come in pages, watches take bookmarks, and a watch that breaks begins anew with a list, later each time. A kind that
//! the API server does not serve is looked for again now and then, and counts as one without objects until then.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::TryStreamExt as _;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde::Serialize;
use stowage_cluster::{Index, Kind, Snapshot};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::fargate::pods::Watched;
use crate::fargate::state::State;
use crate::newest::Newest;
use crate::operate::pod_times::PodTimes;
use crate::operate::transitions::Transitions;
use crate::shared::Shared;
use crate::whole::served_as;

/// How long until a kind that is not served is looked for again.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// Objects in one page of a list.
pub(crate) const PAGE: u32 = 500;

/// The cluster as it is now, shared by all who read it.
#[derive(Clone, Debug)]
pub struct Cluster {
    index: Arc<Mutex<Index>>,
    /// Counts changes, so that readers can wait for the next.
    changes: watch::Sender<u64>,
    times: PodTimes,
    transitions: Transitions,
    newest: Shared<Newest>,
    /// Kinds that the API server has.
    served: Shared<BTreeSet<Kind>>,
    /// Who else wants objects as they come; only where pods may go to Fargate.
    fargate: Option<Watched>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            index: Arc::default(),
            changes: watch::channel(0).0,
            times: PodTimes::default(),
            transitions: Transitions::default(),
            newest: Shared::default(),
            served: Shared::default(),
            fargate: None,
        }
    }
}

impl Cluster {
    /// One whose pods and `Jobs` are told to whoever sends pods to Fargate, too.
    pub fn for_fargate(state: &State) -> Self {
        Self { fargate: Some(Watched::new(state.clone())), ..Self::default() }
    }

    /// The cluster as of now; `None` until every kind was listed once.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let kinds: Vec<Kind> = kinds().collect();
        self.with(|index| index.is_synced(&kinds).then(|| index.snapshot()))
    }

    /// Whether every kind was listed once.
    pub fn is_synced(&self) -> bool {
        let kinds: Vec<Kind> = kinds().collect();
        self.with(|index| index.is_synced(&kinds))
    }

    /// Whether the API server has a kind, as far as that is known yet.
    pub fn is_served(&self, kind: Kind) -> bool {
        self.served.with(|all| all.contains(&kind))
    }

    /// Tells of changes from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Takes in an object that this process has just written, before its watch tells of it. Where the watch has told of
    /// something newer, or of its end, that stays.
    pub fn assume(&self, kind: Kind, object: &impl Serialize) {
        let json = serde_json::to_value(object).unwrap_or_default();
        // Nobody tells of a later state between the question and the answer.
        self.newest.with(|newest| {
            if newest.admits(&json["metadata"]) {
                self.put(kind, &json);
            }
        });
        self.changed();
    }

    /// Takes out an object of the whole cluster that this process knows to be gone.
    pub fn assume_gone(&self, kind: Kind, name: &str) {
        self.with(|index| index.remove(kind, "", name));
        self.changed();
    }

    fn put(&self, kind: Kind, object: &impl Serialize) {
        let json = serde_json::to_string(object).unwrap_or_default();
        if let Err(error) = self.with(|index| index.apply(kind, &json)) {
            warn!(%error, "an object cannot be read, and counts as one that is not there");
        }
    }

    /// How long pods take.
    pub(crate) fn pod_times(&self) -> &PodTimes {
        &self.times
    }

    /// How conditions change.
    pub(crate) fn transitions(&self) -> &Transitions {
        &self.transitions
    }

    fn event(&self, kind: Kind, event: Event<DynamicObject>) {
        if let Some(watched) = &self.fargate {
            watched.event(kind, &event);
        }
        match &event {
            Event::InitApply(pod) | Event::Apply(pod) if kind == Kind::Pod => self.times.see(pod),
            Event::Delete(pod) if kind == Kind::Pod => self.times.gone(pod),
            Event::InitApply(object) | Event::Apply(object) => self.transitions.see(kind, object),
            Event::Delete(object) => self.transitions.gone(kind, object),
            Event::Init | Event::InitDone => {}
        }
        match event {
            Event::Init => self.with(|index| index.begin_list(kind)),
            Event::InitApply(object) => {
                return self.newest.with(|newest| {
                    newest.saw(kind, &object.metadata);
                    self.put(kind, &object);
                });
            }
            Event::InitDone => self.with(|index| index.end_list(kind)),
            Event::Apply(object) => self.newest.with(|newest| {
                newest.saw(kind, &object.metadata);
                self.put(kind, &object);
            }),
            Event::Delete(object) => {
                let namespace = object.namespace().unwrap_or_default();
                self.newest.with(|newest| {
                    newest.ended(kind, &object.metadata, Instant::now());
                    self.with(|index| index.remove(kind, &namespace, &object.name_any()));
                });
            }
        }
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// A panic of another reader leaves the index as it was: it is changed by single calls only.
    fn with<T>(&self, f: impl FnOnce(&mut Index) -> T) -> T {
        f(&mut self.index.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The kinds that are followed: all that planning reads but those that no API server has.
fn kinds() -> impl Iterator<Item = Kind> {
    Kind::all().filter(|kind| *kind != Kind::FargateProfile)
}

/// Follows all kinds until the task is dropped.
pub async fn follow(client: Client, cluster: Cluster) {
    let followed = kinds().map(|kind| one(client.clone(), cluster.clone(), kind));
    futures::future::join_all(followed).await;
}

async fn one(client: Client, cluster: Cluster, kind: Kind) {
    let mut told = false;
    let resource = loop {
        match served(&client, kind).await {
            Ok(Some(resource)) => break resource,
            Ok(None) => {
                if !told {
                    info!(kind = kind.name(), "the API server does not serve this kind");
                    cluster.with(|index| index.end_list(kind));
                    cluster.changed();
                    told = true;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Err(error) => {
                warn!(kind = kind.name(), %error, "cannot ask which kinds the API server has");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    };
    cluster.served.with(|all| all.insert(kind));
    debug!(kind = kind.name(), version = resource.version, "following");
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let events = watcher(api, Config::default().page_size(PAGE)).default_backoff();
    let mut events = std::pin::pin!(events);
    loop {
        match events.try_next().await {
            Ok(Some(event)) => cluster.event(kind, event),
            Ok(None) => return,
            // The stream goes on by itself, after a pause.
            Err(error) => warn!(kind = kind.name(), %error, "a watch broke, and begins anew"),
        }
    }
}

/// How the API server serves a kind; `None` where it does not.
async fn served(client: &Client, kind: Kind) -> kube::Result<Option<ApiResource>> {
    served_as(client, kind.group(), kind.name()).await
}

/// Where objects of a kind are read and written.
///
/// # Errors
/// Where the API server does not serve it, or does not answer.
pub(crate) async fn api(client: &Client, kind: Kind) -> Result<Api<DynamicObject>> {
    let resource = served(client, kind).await?;
    let resource = resource.with_context(|| format!("the API server does not serve {}s", kind.name()))?;
    Ok(Api::all_with(client.clone(), &resource))
}

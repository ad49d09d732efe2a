//! The loop that keeps the status and the hash of every `NodePool`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use kube::{Client, Resource as _, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stowage_api::NodeSettings;
use stowage_api::crd::condition::READY;
use stowage_api::crd::{Condition, NODE_POOL_HASH_VERSION, NodePool, NodePoolStatus, node_pool_hash};
use stowage_api::well_known::{NODE_POOL, NODE_POOL_HASH};
use tracing::{debug, info, warn};

use super::count::{Count, counts};
use super::status::{Checked, Class, standing, status};
use super::{Standing, check, unknown};
use crate::announce::{Announcer, bad_news, news};
use crate::answer::is_outdated;
use crate::claim::{HASH_VERSION, NODE_CLASS};
use crate::follow::Cluster;
use crate::operate::state::Conditions;
use crate::rehash::Hash;
use crate::whole::Whole;

/// How often nodes are counted.
///
/// compat: karpenter v1.14, `pkg/controllers/nodepool/counter`.
const EVERY: Duration = Duration::from_secs(5);

/// Changes that come within so short a time are looked at together.
const SETTLE: Duration = Duration::from_millis(100);

/// Objects that are written side by side.
const SIDE_BY_SIDE: usize = 10;

/// What the loop works with.
#[derive(Clone)]
pub struct Keeper {
    /// To write with.
    pub client: Client,
    /// What there is.
    pub cluster: Cluster,
    /// What comes of it.
    pub standing: Standing,
    /// To say what is wrong with one.
    pub announcer: Announcer,
    /// Whether others launch: then classes of other kinds are theirs to know.
    pub others_launch: bool,
    pools: Whole,
    classes: Whole,
}

/// A `NodePool`, and what it was found to be.
struct Known {
    object: Arc<DynamicObject>,
    /// `None` where it cannot be read.
    pool: Option<NodePool>,
    checked: Checked,
    hash: String,
}

impl Keeper {
    /// Nothing seen yet.
    pub fn new(
        client: &Client,
        cluster: &Cluster,
        standing: &Standing,
        announcer: &Announcer,
        others_launch: bool,
    ) -> Self {
        Self {
            client: client.clone(),
            cluster: cluster.clone(),
            standing: standing.clone(),
            announcer: announcer.clone(),
            others_launch,
            pools: Whole::new("karpenter.sh", "NodePool"),
            classes: Whole::new(NODE_CLASS.0, NODE_CLASS.1),
        }
    }

    /// Keeps them until the task is dropped.
    pub async fn run(self) {
        let follow = |whole: &Whole| whole.clone().follow(self.client.clone());
        tokio::join!(follow(&self.pools), follow(&self.classes), self.work(&self.pools, &self.classes));
    }

    /// Conditions of all `NodePools`, and of their classes.
    pub(crate) fn conditions(&self) -> (Vec<Conditions>, Vec<Conditions>) {
        let of = |object: &Arc<DynamicObject>| {
            let stated = object.data["status"]["conditions"].clone();
            Conditions {
                name: object.name_any(),
                conditions: serde_json::from_value(stated).unwrap_or_default(),
            }
        };
        let all = |whole: &Whole| whole.all().iter().map(of).collect();
        (all(&self.pools), all(&self.classes))
    }

    /// Bytes of what each class tells its machines itself, by name.
    pub(crate) fn user_data(&self) -> Vec<(String, usize)> {
        let of = |class: &Arc<DynamicObject>| {
            (class.name_any(), class.data["spec"]["userData"].as_str().unwrap_or_default().len())
        };
        self.classes.all().iter().map(of).collect()
    }

    async fn work(&self, pools: &Whole, classes: &Whole) {
        let (mut pool_changes, mut class_changes) = (pools.changes(), classes.changes());
        let mut known = HashMap::<String, Known>::new();
        loop {
            // Counting what is not all known yet would write too little.
            if let Some(snapshot) = self.cluster.snapshot()
                && let Some(resource) = pools.resource()
            {
                let counts = counts(&snapshot);
                look(&mut known, &pools.all());
                let classes = seen(&classes.all());
                let api = Api::<DynamicObject>::all_with(self.client.clone(), &resource);
                self.look(&api, &known, &classes, &counts).await;
            }
            tokio::select! {
                () = pool_changes.next() => tokio::time::sleep(SETTLE).await,
                () = class_changes.next() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn look(
        &self,
        api: &Api<DynamicObject>,
        known: &HashMap<String, Known>,
        classes: &HashMap<String, Class>,
        counts: &BTreeMap<&str, Count>,
    ) {
        let now = Timestamp::now().to_string();
        let none = Count::default();
        let mut standings = BTreeMap::new();
        let mut writes = Vec::new();
        for (name, of) in known {
            let (ours, class_name) = self.class(of);
            if !ours {
                let why =
                    "another controller launches its nodes: its nodeClassRef is of another kind".to_owned();
                standings.insert(name.clone(), Err(why));
                continue;
            }
            let class = match class_name {
                Some(class) => classes.get(class).cloned().unwrap_or_default(),
                None => Class::Foreign,
            };
            let old = read_status(&of.object);
            let count = counts.get(name.as_str()).unwrap_or(&none);
            let generation = of.object.metadata.generation;
            let wanted =
                status(&old, generation, &of.checked, (class_name.unwrap_or_default(), &class), count, &now);
            standings.insert(name.clone(), standing(&wanted));
            let stale = of.pool.is_some() && !hash(&of.hash).is_on(of.object.annotations());
            if wanted != old || stale {
                writes.push(async move {
                    let written = self.write(api, of, stale, &old, wanted).await;
                    (name, written)
                });
            }
        }
        self.standing.set(standings);
        let written = futures::stream::iter(writes).buffer_unordered(SIDE_BY_SIDE).collect::<Vec<_>>().await;
        for (name, written) in written {
            match written {
                Ok(()) => {}
                // It has changed meanwhile, or is gone: it is looked at again.
                Err(error) if error.downcast_ref().is_some_and(is_outdated) => {
                    debug!(pool = name, "a NodePool changed while it was looked at");
                }
                Err(error) => {
                    warn!(pool = name, error = format!("{error:#}"), "a NodePool's status cannot be written");
                }
            }
        }
    }

    /// Whether nodes of a pool are ours to launch, and the class that they are launched from where we know of it.
    fn class<'k>(&self, of: &'k Known) -> (bool, Option<&'k str>) {
        let named = &of.object.data["spec"]["template"]["spec"]["nodeClassRef"];
        let (group, kind) = (named["group"].as_str(), named["kind"].as_str());
        let name = named["name"].as_str().unwrap_or_default();
        match (group, kind) {
            // What says nothing of it is of an older version of the API, or broken: that is ours to say.
            (None, _) | (_, None) => (true, Some(name)),
            (Some(group), Some(kind)) if (group, kind) == NODE_CLASS => (true, Some(name)),
            _ => (self.others_launch, None),
        }
    }

    async fn write(
        &self,
        api: &Api<DynamicObject>,
        of: &Known,
        stale: bool,
        old: &NodePoolStatus,
        wanted: NodePoolStatus,
    ) -> Result<()> {
        let name = of.object.name_any();
        let mut version = of.object.resource_version();
        if stale {
            let hash = hash(&of.hash);
            if !hash.is_of_this_version(of.object.annotations()) {
                hash.carry_over(&self.client, (NODE_POOL, &name)).await.context("hashes of NodeClaims")?;
            }
            let patch = json!({"metadata": {"annotations": hash.annotations()}});
            let written = api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
            version = written.resource_version();
        }
        if wanted == *old {
            return Ok(());
        }
        for line in news(&old.conditions, &wanted.conditions) {
            info!(pool = name, condition = line.kind, status = line.status, why = line.message, "NodePool");
        }
        let reference = of.object.object_ref(&ApiResource::erase::<NodePool>(&()));
        self.announcer.tell_all(bad_news(&reference, &old.conditions, &wanted.conditions));
        let mut patch = json!({"metadata": {"resourceVersion": version}, "status": wanted});
        // A merge takes nothing away unless it is told so.
        for gone in old.resources.keys().filter(|key| !wanted.resources.contains_key(*key)) {
            patch["status"]["resources"][gone] = Value::Null;
        }
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }
}

/// Looks at objects that are new or have changed, and forgets those that are gone.
fn look(known: &mut HashMap<String, Known>, all: &[Arc<DynamicObject>]) {
    let mut next = HashMap::with_capacity(all.len());
    for object in all {
        let name = object.name_any();
        let same = known.remove(&name).filter(|k| k.object.resource_version() == object.resource_version());
        let of = same.unwrap_or_else(|| examine(Arc::clone(object)));
        next.insert(name, of);
    }
    *known = next;
}

fn examine(object: Arc<DynamicObject>) -> Known {
    let json = serde_json::to_value(object.as_ref()).unwrap_or_default();
    let mut checked = Checked::default();
    let mut pool = None;
    match (read::<NodePool>(&json), read::<stowage_api::NodePool>(&json)) {
        (Ok(read), Ok(thin)) => {
            checked.problems = check::problems(&read.spec);
            if let Err(error) = NodeSettings::of(&thin.metadata.annotations) {
                checked.problems.push(format!("metadata.annotations[{}]: {}", error.key, error.problem));
            }
            checked.unknown = unknown::of_pool(&read.spec);
            pool = Some(read);
        }
        (Err(error), _) | (_, Err(error)) => checked.problems.push(error),
    }
    Known { object, pool, checked, hash: node_pool_hash(&json) }
}

/// Reads an object, or says what is wrong with which field.
fn read<T: DeserializeOwned>(json: &Value) -> Result<T, String> {
    serde_path_to_error::deserialize(json).map_err(|error| format!("{}: {}", error.path(), error.inner()))
}

/// The status as it is; where it cannot be read, none.
fn read_status(object: &DynamicObject) -> NodePoolStatus {
    serde_json::from_value(object.data["status"].clone()).unwrap_or_default()
}

/// What is known of each class, by name.
fn seen(all: &[Arc<DynamicObject>]) -> HashMap<String, Class> {
    let of = |object: &DynamicObject| {
        if object.metadata.deletion_timestamp.is_some() {
            return Class::Terminating;
        }
        let conditions = object.data["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
        let ready = conditions.iter().filter_map(|c| serde_json::from_value::<Condition>(c.clone()).ok());
        Class::There {
            generation: object.metadata.generation,
            ready: ready.into_iter().find(|c| c.kind == READY),
        }
    };
    all.iter().map(|object| (object.name_any(), of(object))).collect()
}

fn hash(value: &str) -> Hash<'_> {
    Hash { key: NODE_POOL_HASH, version_key: HASH_VERSION, version: NODE_POOL_HASH_VERSION, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(spec: &Value) -> Arc<DynamicObject> {
        let object = json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool",
            "metadata": {"name": "a", "annotations": {"stowage.dev/node-cost": "0.01"}}, "spec": spec,
        });
        Arc::new(serde_json::from_value(object).expect("an object"))
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_field() {
        let class = json!({"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "a"});
        let good = json!({"template": {"spec": {"requirements": [], "nodeClassRef": class}}});
        assert_eq!(examine(object(&good)).checked, Checked::default());
        let says = |spec: &Value| examine(object(spec)).checked.problems.join("; ");
        let mut limits = good.clone();
        limits["limits"] = json!({"cpu": "lots"});
        assert!(says(&limits).starts_with("spec.limits.cpu: "), "a limit");
        let mut old = good.clone();
        old["template"]["spec"]["nodeClassRef"] = json!({"name": "a"});
        assert_eq!(says(&old), "spec.template.spec.nodeClassRef: missing field `group`");
        assert!(says(&json!("no spec")).starts_with("spec: invalid type"));
        let mut annotated = DynamicObject::clone(&object(&good));
        annotated.annotations_mut().insert("stowage.dev/node-cost".to_owned(), "much".to_owned());
        let found = examine(Arc::new(annotated)).checked.problems;
        assert!(
            found.iter().any(|p| p.starts_with("metadata.annotations[stowage.dev/node-cost]: ")),
            "{found:?}"
        );
    }
}

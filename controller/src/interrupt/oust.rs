//! Ends a NodeClaim at once: it is deleted, its Node takes no more pods, and both are told why. Pods are evicted, and the
//! instance ended, as of every NodeClaim that goes.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use stowage_api::crd::condition::INSTANCE_TERMINATING;
use stowage_api::{NodeClaim, StatusCondition, crd};
use stowage_cluster::Kind;
use tracing::{debug, info, warn};

use super::act::Owner;
use crate::announce::{Announcer, normal, warning};
use crate::answer::{is_conflict, is_gone, is_outdated};
use crate::disrupt::tell::about;
use crate::follow::Cluster;
use crate::life::join::keep_off;
use crate::life::notes::{self, DEADLINE, Notes, TAKEN, WHY};
use crate::operate::lives::Lives;
use crate::time::moment;

/// How often a patch is made anew where others were quicker.
const TRIES: usize = 5;

/// How a NodeClaim ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its pods have the time that they and it state.
    Drained,
    /// The same; but EC2 takes the machine at this moment, so that nobody waits for anything longer than that.
    Taken(Timestamp),
    /// Its time is over: pods are deleted where they cannot be evicted.
    Overdue,
}

/// What has come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ousted {
    /// The claim was deleted.
    Deleted,
    /// It was going already, and has less time now.
    Hurried,
    /// It was going already, or is gone.
    AsBefore,
}

/// NodeClaims that were deleted of late, by uid: several things may be wrong with a machine at the same time.
#[derive(Clone, Debug, Default)]
pub struct Going(Arc<Mutex<HashSet<String>>>);

impl Going {
    /// Claims that are remembered at most.
    const MOST: usize = 10_000;

    /// Whether nobody else is at it.
    fn begin(&self, uid: &str) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= Self::MOST {
            all.clear();
        }
        all.insert(uid.to_owned())
    }

    fn failed(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// What a claim and its node are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whether somebody should look at it.
    pub warns: bool,
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub note: String,
}

impl Said {
    /// Something that somebody should look at.
    pub fn warning(reason: &'static str, note: impl Into<String>) -> Self {
        Self { warns: true, reason, note: note.into() }
    }
}

/// Who ends NodeClaims.
#[derive(Clone)]
pub struct Ouster {
    /// To write with.
    pub client: Client,
    /// What there is, and where what was written shows.
    pub cluster: Cluster,
    /// To say what is done.
    pub announcer: Announcer,
    /// What is measured.
    pub lives: Lives,
    /// What was deleted of late.
    pub going: Going,
}

impl Ouster {
    /// Ends a claim, for a reason as metrics call it.
    ///
    /// # Errors
    /// Where the API server does not do it: then it is to be tried again.
    pub async fn oust(&self, owner: Owner<'_>, ending: Ending, reason: &str) -> Result<Ousted> {
        // A node that takes no more pods is what counts: neither waits for the other. A taint that is left without a deletion
        // is taken off by whoever disrupts.
        let (ousted, tainted) = tokio::join!(self.end(owner.claim, ending, reason), self.taint(owner.node));
        let (ousted, claim) = (ousted?, &owner.claim.metadata);
        match ousted {
            Ousted::Deleted => {
                info!(
                    claim = claim.name,
                    node = owner.node,
                    reason,
                    "a NodeClaim is deleted: its machine goes, or is lost"
                );
                self.lives.disrupted(&claim.labels, reason);
            }
            Ousted::Hurried => {
                info!(claim = claim.name, node = owner.node, reason, "a NodeClaim that goes has less time");
            }
            Ousted::AsBefore => {
                tainted?;
                return Ok(ousted);
            }
        }
        // What was done counts, and is told. The node is tainted when it is drained, if not before.
        if let Err(error) = tainted {
            let error = format!("{error:#}");
            warn!(claim = claim.name, node = owner.node, error, "a node that goes is not tainted yet");
        }
        Ok(ousted)
    }

    /// Tells a claim and its node.
    pub fn tell(&self, owner: Owner<'_>, said: &[Said]) {
        let claim = &owner.claim.metadata;
        let claim = about("karpenter.sh/v1", "NodeClaim", &claim.name, &claim.uid);
        // Nodes are known by their name where others would state a uid: kubectl looks for that.
        let node = owner.node.map(|node| about("v1", "Node", node, node));
        let all = [Some(claim), node];
        let told = said.iter().flat_map(|said| {
            let event = if said.warns { warning } else { normal };
            all.iter().flatten().map(move |of| (of.clone(), event(said.reason, said.note.as_str())))
        });
        let told: Vec<_> = told.collect();
        self.announcer.tell_all(told);
    }

    async fn end(&self, claim: &NodeClaim, ending: Ending, reason: &str) -> Result<Ousted> {
        let uid = claim.metadata.uid.as_str();
        if claim.metadata.is_terminating() || !self.going.begin(uid) {
            return self.hurry(claim, ending).await;
        }
        self.delete(claim, ending, reason).await.inspect_err(|_| self.going.failed(uid))
    }

    /// Gives a claim that goes already less time, where that is news.
    async fn hurry(&self, claim: &NodeClaim, ending: Ending) -> Result<Ousted> {
        // Its machine ends by our own hand, of which EC2 tells as well: nothing is waited for any more.
        if StatusCondition::holds(&claim.status.conditions, INSTANCE_TERMINATING) {
            return Ok(Ousted::AsBefore);
        }
        let notes = notes(&claim.metadata.annotations, ending, None, Timestamp::now());
        let hurried = !notes.is_empty() && self.write(claim, &notes).await?;
        Ok(if hurried { Ousted::Hurried } else { Ousted::AsBefore })
    }

    async fn delete(&self, claim: &NodeClaim, ending: Ending, reason: &str) -> Result<Ousted> {
        let name = claim.metadata.name.as_str();
        let notes = notes(&claim.metadata.annotations, ending, Some(reason), Timestamp::now());
        match self.write(claim, &notes).await {
            Ok(true) => {}
            Ok(false) => return Ok(Ousted::AsBefore),
            // Its pods would have all the time that they state.
            Err(error) if ending == Ending::Overdue => return Err(error),
            Err(error) => {
                debug!(claim = name, error = format!("{error:#}"), "why it goes could not be written");
            }
        }
        let uid = Some(claim.metadata.uid.clone()).filter(|uid| !uid.is_empty());
        let how = DeleteParams {
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteParams::default()
        };
        match self.claims().delete(name, &how).await {
            Ok(going) => {
                if let Some(going) = going.left() {
                    self.cluster.assume(Kind::NodeClaim, &going);
                }
                Ok(Ousted::Deleted)
            }
            Err(error) if is_outdated(&error) => Ok(Ousted::AsBefore),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes notes into a claim; says whether it is there.
    async fn write(&self, claim: &NodeClaim, notes: &Notes) -> Result<bool> {
        let of = (claim.metadata.name.as_str(), claim.metadata.uid.as_str());
        match notes::write(&self.claims(), of, notes).await {
            Ok(written) => {
                self.cluster.assume(Kind::NodeClaim, &written);
                Ok(true)
            }
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn claims(&self) -> Api<crd::NodeClaim> {
        Api::all(self.client.clone())
    }

    /// Keeps pods and load balancers off a node.
    async fn taint(&self, node: Option<&str>) -> Result<()> {
        let Some(name) = node else { return Ok(()) };
        let nodes: Api<Node> = Api::all(self.client.clone());
        for _ in 0..TRIES {
            let Some(node) = nodes.get_opt(name).await? else { return Ok(()) };
            let Some(patch) = keep_off(&node) else { return Ok(()) };
            match nodes.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(written) => {
                    self.cluster.assume(Kind::Node, &written);
                    return Ok(());
                }
                Err(error) if is_conflict(&error) => debug!(node = name, "somebody else was quicker"),
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        // It goes all the same, and is tainted when it is drained.
        debug!(node = name, "a node changes all the time");
        Ok(())
    }
}

/// What is to be written into a claim with these annotations that ends so, for a reason where it is deleted only now.
fn notes(there: &BTreeMap<String, String>, ending: Ending, reason: Option<&str>, now: Timestamp) -> Notes {
    let by = match ending {
        Ending::Drained => None,
        Ending::Taken(at) => Some((TAKEN, at)),
        Ending::Overdue => Some((DEADLINE, now)),
    };
    // Never later than it was.
    let by = by.filter(|(key, by)| moment(there.get(*key)).is_none_or(|said| said > *by));
    let by = by.map(|(key, by)| (key, by.to_string()));
    by.into_iter().chain(reason.map(|reason| (WHY, reason.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;
    use crate::operate::metrics::Metrics;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    fn object(annotations: &Value, going: Option<&str>) -> Value {
        json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
            "metadata": {"name": "a", "uid": "u", "annotations": annotations, "deletionTimestamp": going},
            "spec": {"requirements": [], "nodeClassRef": {"group": "g", "kind": "k", "name": "n"}},
        })
    }

    /// What an API server was asked for: method, and body.
    type Asked = Arc<Mutex<Vec<(Method, Value)>>>;

    /// Somebody who ends claims by an API server that does not let anybody at Nodes.
    fn ouster(asked: &Asked) -> Ouster {
        let asked = Arc::clone(asked);
        let service = tower::service_fn(move |request: Request<Body>| {
            let asked = Arc::clone(&asked);
            async move {
                let (parts, body) = request.into_parts();
                let of_node = parts.uri.path().contains("/nodes/");
                let body = body.collect_bytes().await.expect("a body");
                let answer = if of_node {
                    Response::builder().status(500).body(Body::empty())
                } else {
                    let body = serde_json::from_slice(&body).unwrap_or_default();
                    asked.lock().expect("nobody panics").push((parts.method, body));
                    let claim = object(&json!({}), Some("2026-07-01T10:00:00Z")).to_string();
                    Response::builder().status(200).body(Body::from(claim.into_bytes()))
                };
                Ok::<_, std::convert::Infallible>(answer.expect("an answer"))
            }
        });
        let client = Client::new(service, "default");
        Ouster {
            announcer: Announcer::new(client.clone()),
            client,
            cluster: Cluster::default(),
            lives: Metrics::new().expect("metrics").lives().clone(),
            going: Going::default(),
        }
    }

    async fn oust(object: Value, ending: Ending) -> (Ousted, Vec<(Method, Value)>) {
        let asked = Asked::default();
        let claim: NodeClaim = serde_json::from_value(object).expect("a claim");
        let node = Some("ip-1").filter(|_| !claim.metadata.is_terminating());
        let owner = Owner { claim: &claim, node };
        let ousted = ouster(&asked).oust(owner, ending, "unhealthy").await.expect("it is done");
        let asked = asked.lock().expect("nobody panics").clone();
        (ousted, asked)
    }

    #[test]
    fn what_is_noted_is_never_later_than_it_was() {
        let now = at("2026-07-01T10:00:00Z");
        let of = |key: &str, said: &str, ending| {
            notes(&[(key.to_owned(), said.to_owned())].into(), ending, None, now)
        };
        let none = Notes::new();
        assert_eq!(of(DEADLINE, "2026-07-01T10:00:00Z", Ending::Overdue), none);
        assert_eq!(
            of(DEADLINE, "2026-07-01T10:00:01Z", Ending::Overdue),
            [(DEADLINE, now.to_string())].into()
        );
        let taken = Ending::Taken(at("2026-07-01T10:02:00Z"));
        assert_eq!(of(TAKEN, "2026-07-01T10:01:00Z", taken), none);
        assert_eq!(of(TAKEN, "soon", taken), [(TAKEN, "2026-07-01T10:02:00Z".to_owned())].into());
        assert_eq!(of(TAKEN, "soon", Ending::Drained), none);
        let why = notes(&BTreeMap::new(), Ending::Drained, Some("expired"), now);
        assert_eq!(why, [(WHY, "expired".to_owned())].into());
    }

    #[tokio::test]
    async fn it_is_noted_why_and_then_deleted_and_counts_though_the_node_cannot_be_tainted() {
        let taken = Ending::Taken(at("2026-07-01T10:02:00Z"));
        let (ousted, asked) = oust(object(&json!({}), None), taken).await;
        assert_eq!(ousted, Ousted::Deleted);
        let methods: Vec<_> = asked.iter().map(|(method, _)| method.clone()).collect();
        assert_eq!(methods, [Method::PATCH, Method::DELETE]);
        let metadata = &asked[0].1["metadata"];
        let noted = json!({(WHY): "unhealthy", (TAKEN): "2026-07-01T10:02:00Z"});
        assert_eq!((&metadata["annotations"], &metadata["uid"]), (&noted, &json!("u")));
    }

    #[tokio::test]
    async fn what_goes_already_is_hurried_once() {
        let going = Some("2026-07-01T10:00:00Z");
        let (ousted, asked) = oust(object(&json!({}), going), Ending::Overdue).await;
        assert_eq!((ousted, asked.len()), (Ousted::Hurried, 1));
        assert_eq!(asked[0].0, Method::PATCH);
        assert!(asked[0].1["metadata"]["annotations"][DEADLINE].is_string());
        let noted = json!({(DEADLINE): "2026-07-01T10:00:00Z"});
        let nothing = (Ousted::AsBefore, Vec::new());
        assert_eq!(oust(object(&noted, going), Ending::Overdue).await, nothing);
        assert_eq!(oust(object(&json!({}), going), Ending::Drained).await, nothing);
        let mut ending = object(&json!({}), going);
        ending["status"] = json!({"conditions": [{"type": INSTANCE_TERMINATING, "status": "True"}]});
        let taken = Ending::Taken(at("2026-07-01T10:00:00Z"));
        assert_eq!(oust(ending, taken).await, nothing, "its machine is ended by us");
    }
}

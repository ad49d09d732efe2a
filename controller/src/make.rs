//! Makes `NodeClaims`: for nodes that were decided on, and for static `NodePools`.
//!
//! # Invariants
//! - One decision's claims are made after the other's: what is asked for side by side never exceeds a limit together.
//! - A claim has a name before it is asked for. Where no answer comes, it is looked whether it is there, so that none is made
//!   twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use futures::StreamExt as _;
use kube::api::{Api, DynamicObject, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use stowage_api::well_known::{NODE_POOL, NODES, REPLACES};
use stowage_api::{NodeClaim, NodePool, Quantity, ResourceList};
use stowage_cluster::object::Node;
use stowage_cluster::{Kind, Snapshot};
use tokio::sync::{Mutex, watch};

use crate::answer::{is_conflict, is_refused};
use crate::assumed::{Beside, Expected};
use crate::claim::{node_claim, static_claim};
use crate::decide::Wanted;
use crate::follow::{Cluster, api};
use crate::market::Market;
use crate::pool::count::{Count, counts, node_limit};
use crate::stand_in::stand_in;

/// Claims that are made side by side.
const SIDE_BY_SIDE: usize = 10;

/// How many names are tried for a claim, where others have them.
const NAMES: usize = 5;

/// What the API server makes names of, and how many letters: no vowels, and nothing that looks like something else.
const LETTERS: (&[u8], usize) = (b"bcdfghjklmnpqrstvwxz2456789", 5);

/// What a generated name begins with is at most so long: with the letters, no longer than a label's value.
const STEM: usize = 63 - LETTERS.1;

/// Whoever makes claims.
#[derive(Clone)]
pub struct Maker {
    client: Client,
    cluster: Cluster,
    expected: Expected,
    market: watch::Receiver<Arc<Market>>,
    turn: Arc<Mutex<()>>,
}

impl Maker {
    /// One that writes with `client`, which must not ask a second time by itself.
    pub fn new(
        client: Client,
        cluster: Cluster,
        expected: Expected,
        market: watch::Receiver<Arc<Market>>,
    ) -> Self {
        Self { client, cluster, expected, market, turn: Arc::default() }
    }

    /// Makes claims for what is wanted, and says what each is called. They are expected from then on, with their pods. `replaces`:
    /// the claims of nodes that are to go, on which these pods still run.
    ///
    /// # Errors
    /// Where the API server does not say how it serves them. One of a `NodePool` that cannot be read or is being deleted, that
    /// would exceed a limit, or that is refused, is an error of its own.
    pub async fn planned<'w>(
        &self,
        all: &'w [Wanted],
        replaces: Option<&str>,
    ) -> Result<Vec<(&'w Wanted, Result<String>)>> {
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let _turn = self.turn.lock().await;
        let (pools, claims) = self.apis().await?;
        let mut templates = HashMap::<&str, Result<(Value, NodePool), String>>::new();
        for wanted in all {
            if !templates.contains_key(wanted.pool.as_str()) {
                // As it is in the cluster, with every field of it: planning knows only some.
                templates.insert(&wanted.pool, template(&pools, &wanted.pool).await);
            }
        }
        let snapshot = self.cluster.snapshot().context("the cluster is not known")?;
        let mut spent = self.spent(&snapshot);
        let known: BTreeSet<&str> = snapshot.node_claims().map(|c| c.metadata.name.as_str()).collect();
        let mut out = Vec::new();
        let mut asked = Vec::new();
        for wanted in all {
            match &templates[wanted.pool.as_str()] {
                Err(why) => out.push((wanted, Err(anyhow!(why.clone())))),
                Ok((whole, pool)) => {
                    match take(pool, spent.entry(wanted.pool.clone()).or_default(), wanted) {
                        Ok(()) => {
                            asked.push((wanted, in_place_of(replaces, node_claim(whole, &wanted.choice))));
                        }
                        Err(error) => out.push((wanted, Err(error))),
                    }
                }
            }
        }
        // Each is known as soon as it is made: it may be gone again before the last is.
        let note = |wanted: &Wanted, claim: DynamicObject| {
            let name = claim.name_any();
            self.expected.with(|all| {
                all.add(&name, wanted)?;
                if replaces.is_some() {
                    all.hold(&name);
                }
                Ok::<_, serde_json::Error>(())
            })?;
            self.cluster.assume(Kind::NodeClaim, &claim);
            Ok(name)
        };
        let made = asked.into_iter().map(|(wanted, claim)| {
            let (claims, known, note) = (&claims, &known, &note);
            async move {
                let made = create(claims, claim, &wanted.pool, known).await;
                (wanted, made.and_then(|claim| note(wanted, claim)))
            }
        });
        let made = futures::stream::iter(made.collect::<Vec<_>>()).buffer_unordered(SIDE_BY_SIDE);
        out.extend(made.collect::<Vec<_>>().await);
        Ok(out)
    }

    /// Makes so many claims of a static `NodePool`, and says what each is called.
    ///
    /// # Errors
    /// Where the `NodePool` cannot be read, or its limit leaves no room for all of them. Each that is refused is an error of its
    /// own.
    pub async fn fixed(&self, pool: &str, count: u64) -> Result<Vec<Result<String>>> {
        let _turn = self.turn.lock().await;
        let (pools, claims) = self.apis().await?;
        let (whole, read) = template(&pools, pool).await.map_err(|why| anyhow!(why))?;
        let claim = static_claim(&whole);
        let snapshot = self.cluster.snapshot().context("the cluster is not known")?;
        let known: BTreeSet<&str> = snapshot.node_claims().map(|c| c.metadata.name.as_str()).collect();
        // Those that go count until they are gone.
        let of_pool = |claim: &&NodeClaim| claim.metadata.labels.get(NODE_POOL).is_some_and(|of| of == pool);
        let there = snapshot.node_claims().filter(of_pool).count() as u64;
        let limit = node_limit(&read);
        if there.saturating_add(count) > limit {
            bail!("limits.nodes of NodePool {pool} is {limit}, and {there} NodeClaims of it are there");
        }
        let (claims, claim, known) = (&claims, &claim, &known);
        let make = |_| async move {
            let made = create(claims, claim.clone(), pool, known).await?;
            self.cluster.assume(Kind::NodeClaim, &made);
            Ok(made.name_any())
        };
        let made = futures::stream::iter(0..count).map(make).buffer_unordered(SIDE_BY_SIDE);
        Ok(made.collect().await)
    }

    async fn apis(&self) -> Result<(Api<DynamicObject>, Api<DynamicObject>)> {
        Ok((api(&self.client, Kind::NodePool).await?, api(&self.client, Kind::NodeClaim).await?))
    }

    /// What counts against limits now, by `NodePool`: what is there, and what was asked for.
    fn spent(&self, snapshot: &Snapshot) -> BTreeMap<String, Count> {
        let market = Arc::clone(&self.market.borrow());
        let stand_in = |claim: &NodeClaim| stand_in(claim, snapshot, &market.catalog);
        let beside = Beside { stand_in: &stand_in, ..Beside::NOTHING };
        let amended = self.expected.with(|all| all.amend(snapshot, &beside));
        counts(&amended.snapshot).into_iter().map(|(pool, count)| (pool.to_owned(), count)).collect()
    }
}

/// A `NodePool` as it is in the cluster, with every field of it: planning knows only some.
async fn template(pools: &Api<DynamicObject>, name: &str) -> Result<(Value, NodePool), String> {
    let pool = pools.get(name).await.map_err(|error| format!("NodePool {name} cannot be read: {error}"))?;
    if pool.metadata.deletion_timestamp.is_some() {
        return Err(format!("NodePool {name} is being deleted"));
    }
    let whole = serde_json::to_value(pool).map_err(|error| error.to_string())?;
    let read = serde_json::from_value(whole.clone());
    read.map(|read| (whole, read)).map_err(|error| format!("NodePool {name} cannot be read: {error}"))
}

/// A claim that says which others go when its node takes pods: whoever leads then may be another than now.
fn in_place_of(claims: Option<&str>, mut claim: Value) -> Value {
    if let Some(claims) = claims {
        claim["metadata"]["annotations"][REPLACES] = json!(claims);
    }
    claim
}

/// Takes what a node will have at most from what limits leave.
fn take(pool: &NodePool, spent: &mut Count, wanted: &Wanted) -> Result<()> {
    let node: Node = serde_json::from_value(wanted.node.clone())?;
    let mut then = spent.clone();
    then.add(&node.status.capacity);
    let limits: &ResourceList = &pool.spec.limits;
    for (name, limit) in limits.iter() {
        let amount = if name == NODES {
            Quantity::from_units(then.nodes)
        } else {
            then.resources.get(name).copied().unwrap_or(Quantity::ZERO)
        };
        if amount > limit {
            bail!(
                "limits.{name} of NodePool {} is {limit}, and with this node it would be {amount}",
                wanted.pool
            );
        }
    }
    *spent = then;
    Ok(())
}

/// Makes a claim under a name that none of those known has.
async fn create(
    claims: &Api<DynamicObject>,
    mut claim: Value,
    pool: &str,
    known: &BTreeSet<&str>,
) -> Result<DynamicObject> {
    for _ in 0..NAMES {
        let name = name(pool);
        if known.contains(name.as_str()) {
            continue;
        }
        claim["metadata"]["name"] = json!(name);
        let error = match claims.create(&PostParams::default(), &serde_json::from_value(claim.clone())?).await
        {
            Ok(made) => return Ok(made),
            // Another has the name.
            Err(error) if is_conflict(&error) => continue,
            Err(error) if is_refused(&error) => return Err(error.into()),
            Err(error) => error,
        };
        // Who asks in vain does not know whether it was done.
        return match claims.get_opt(&name).await {
            Ok(Some(made)) => Ok(made),
            Ok(None) => Err(error.into()),
            Err(_) => Err(anyhow!(error).context(format!("nobody knows whether NodeClaim {name} was made"))),
        };
    }
    bail!("no name was found for a NodeClaim of {pool}")
}

/// A name as the API server generates them.
fn name(pool: &str) -> String {
    let (letters, count) = LETTERS;
    // One byte each: names of objects are ASCII.
    let stem: String = format!("{pool}-").chars().take(STEM).collect();
    let letter = || char::from(letters[fastrand::usize(..letters.len())]);
    stem.chars().chain(std::iter::repeat_with(letter).take(count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::Choice;

    fn pool(limits: &Value) -> NodePool {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"limits": limits}}))
            .expect("a NodePool")
    }

    fn wanted(cpu: &str) -> Wanted {
        Wanted {
            pool: "p".to_owned(),
            choice: Choice::default(),
            pods: Vec::new(),
            node: json!({"status": {"capacity": {"cpu": cpu}}}),
            price: 1.0,
        }
    }

    #[test]
    fn what_is_asked_for_together_stays_within_limits() {
        let (pool, mut spent) = (pool(&json!({"cpu": "10", "nodes": 3})), Count::default());
        assert!(take(&pool, &mut spent, &wanted("4")).is_ok());
        let error = take(&pool, &mut spent, &wanted("8")).expect_err("12 of 10");
        assert_eq!(error.to_string(), "limits.cpu of NodePool p is 10, and with this node it would be 12");
        assert!(take(&pool, &mut spent, &wanted("4")).is_ok(), "what was refused does not count");
        assert!(take(&pool, &mut spent, &wanted("2")).is_ok(), "exactly as much as there is");
        let error = take(&pool, &mut spent, &wanted("0")).expect_err("a fourth node");
        assert_eq!(error.to_string(), "limits.nodes of NodePool p is 3, and with this node it would be 4");
    }

    #[test]
    fn replacements_say_what_they_replace() {
        let of = |claims: Option<&str>| {
            in_place_of(claims, node_claim(&json!({"metadata": {"name": "p"}}), &Choice::default()))
        };
        assert_eq!(of(Some("a,b"))["metadata"]["annotations"][REPLACES], "a,b");
        assert_eq!(of(None)["metadata"]["annotations"].get(REPLACES), None);
    }

    #[test]
    fn names_are_no_longer_than_labels_may_be() {
        let (short, long) = (name("web"), name(&"a".repeat(80)));
        assert_eq!((short.len(), &short[..4], long.len()), (9, "web-", 63));
        assert_ne!(name("web"), name("web"));
    }
}

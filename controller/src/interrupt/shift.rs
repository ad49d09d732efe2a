//! Zonal shift: while the cluster is shifted away from a zone, nothing new is launched in it, and EC2 is not asked about what
//! runs there.
//!
//! compat: karpenter-provider-aws v1.14, `pkg/controllers/arczonalshift`: asked for every half a minute; NodePools that may
//! use the zone are told. What runs there stays: who shifts wants it back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::Event;
use stowage_api::NodePool;
use stowage_api::well_known::{ZONE, ZONE_ID};
use stowage_aws::{Clusters, Refused, Shift, Shifts};
use stowage_cluster::Snapshot;
use stowage_pricing::{Catalog, Timestamp, Unavailable};
use tokio::sync::watch;
use tracing::{info, warn};

use super::trouble::Trouble;
use crate::announce::{Announcer, normal, warning};
use crate::disrupt::tell::about;
use crate::follow::Cluster;
use crate::launch::run::Shortages;
use crate::market::Market;
use crate::operate::interruptions::Interruptions;

/// How often it is asked.
const EVERY: Duration = Duration::from_secs(30);

/// Who asks for shifts.
#[derive(Clone)]
pub struct Shifter {
    /// Where shifts are asked for.
    pub shifts: Shifts,
    /// By which the cluster's ARN is known.
    pub clusters: Clusters,
    /// Name of the cluster.
    pub cluster_name: String,
    /// What there is.
    pub cluster: Cluster,
    /// What can be bought: it knows the names of zones.
    pub market: watch::Receiver<Arc<Market>>,
    /// What cannot be had.
    pub shortages: Shortages,
    /// To say so.
    pub announcer: Announcer,
    /// What is measured.
    pub measured: Interruptions,
}

/// What is new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct News {
    /// Zones that are shifted away from, by id.
    away: Vec<String>,
    /// Zones that are back.
    back: Vec<String>,
}

impl Shifter {
    /// Asks until the task is dropped.
    pub async fn run(self) {
        let mut arn = None;
        let (mut trouble, mut shifted) = (Trouble::default(), BTreeMap::new());
        loop {
            match self.ask(&mut arn, &mut trouble).await {
                Ok(Some(found)) => {
                    trouble.over("zonal shifts are heard of again");
                    self.follow(&mut shifted, &found);
                }
                Ok(None) => self.follow(&mut shifted, &[]),
                // What was known holds until it ends by itself.
                Err(refused) => {
                    let remedy = "allow arc-zonal-shift:GetManagedResource and eks:DescribeCluster: deploy/iam/zonal-shift.json, read.json";
                    trouble.refused("zonal shifts are not heard of", &refused, remedy);
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Shifts that are in effect; `None` where there can be none.
    async fn ask(
        &self,
        arn: &mut Option<String>,
        trouble: &mut Trouble,
    ) -> Result<Option<Vec<Shift>>, Refused> {
        if arn.is_none() {
            *arn = self.clusters.get(&self.cluster_name).await?.and_then(|cluster| cluster.arn);
        }
        let Some(known) = arn else {
            trouble.missing("EKS has no such cluster: zonal shifts are not heard of", &self.cluster_name);
            return Ok(None);
        };
        let found = self.shifts.of(known).await?;
        if found.is_none() {
            trouble.missing("zonal shift is not switched on for the cluster", known);
        }
        Ok(found)
    }

    fn follow(&self, shifted: &mut BTreeMap<String, Option<Timestamp>>, found: &[Shift]) {
        let market = Arc::clone(&self.market.borrow());
        let Some(snapshot) = self.cluster.snapshot() else { return };
        let names = names(&market.catalog, &snapshot);
        let news = self.shortages.with(|short| apply(short, shifted, found, &names));
        self.measured.shifted(shifted.keys().map(String::as_str));
        let mut told = Vec::new();
        for (zones, is_away) in [(&news.away, true), (&news.back, false)] {
            for id in zones {
                let of = zone_names(&names, id);
                let zone = of.first().map_or("", |name| name.as_str());
                if is_away {
                    warn!(
                        zone,
                        zone_id = id,
                        "the cluster is shifted away from a zone: nothing is launched there"
                    );
                } else {
                    info!(zone, zone_id = id, "a zone that the cluster was shifted away from is back");
                }
                let pools = snapshot.node_pools.iter().filter(|pool| may_use(pool, id, &of));
                told.extend(pools.map(|pool| (reference(pool), event(zone, id, is_away))));
            }
        }
        self.announcer.tell_all(told);
    }
}

/// Names of zones by their ids: as what is for sale has them, and the subnets of EC2NodeClasses.
fn names(catalog: &Catalog, snapshot: &Snapshot) -> BTreeMap<String, BTreeSet<String>> {
    let mut names = BTreeMap::<String, BTreeSet<String>>::new();
    for subnet in snapshot.node_classes.iter().flat_map(|class| &class.status.subnets) {
        names.entry(subnet.zone_id.clone()).or_default().insert(subnet.zone.clone());
    }
    for offering in catalog.types.iter().flat_map(|of| &of.offerings) {
        if let Some(id) = offering.label(ZONE_ID)
            && !names.get(id).is_some_and(|of| of.contains(offering.zone()))
        {
            names.entry(id.to_owned()).or_default().insert(offering.zone().to_owned());
        }
    }
    names
}

fn zone_names<'n>(names: &'n BTreeMap<String, BTreeSet<String>>, id: &str) -> Vec<&'n String> {
    names.get(id).into_iter().flatten().collect()
}

/// Shifts zones away and back, so that what was found holds and nothing else. NodeClaims know their zone by its name alone, so
/// that is shifted as well.
fn apply(
    short: &mut Unavailable,
    shifted: &mut BTreeMap<String, Option<Timestamp>>,
    found: &[Shift],
    names: &BTreeMap<String, BTreeSet<String>>,
) -> News {
    let until = |shift: &Shift| shift.until.map(Timestamp::from_seconds);
    let wanted: BTreeMap<String, Option<Timestamp>> =
        found.iter().map(|shift| (shift.zone_id.clone(), until(shift))).collect();
    let mut news = News::default();
    for id in shifted.keys().filter(|id| !wanted.contains_key(*id)) {
        short.shift_back(id);
        for name in zone_names(names, id) {
            short.shift_back(name);
        }
        news.back.push(id.clone());
    }
    for (id, until) in &wanted {
        short.shift(id, *until);
        for name in zone_names(names, id) {
            short.shift(name, *until);
        }
        if !shifted.contains_key(id) {
            news.away.push(id.clone());
        }
    }
    *shifted = wanted;
    news
}

/// Whether a NodePool may have nodes in a zone.
fn may_use(pool: &NodePool, id: &str, names: &[&String]) -> bool {
    let requirements = &pool.spec.template.spec.requirements;
    requirements.iter().all(|requirement| match requirement.key.as_str() {
        ZONE => names.iter().any(|name| requirement.allows(Some(name))),
        ZONE_ID => requirement.allows(Some(id)),
        _ => true,
    })
}

fn reference(pool: &NodePool) -> ObjectReference {
    about("karpenter.sh/v1", "NodePool", &pool.metadata.name, &pool.metadata.uid)
}

fn event(zone: &str, id: &str, is_away: bool) -> Event {
    if is_away {
        let note = format!("The cluster is shifted away from zone {zone} ({id}): nothing is launched there");
        warning("ZonalShiftActive", note)
    } else {
        normal("ZonalShiftCleared", format!("Zone {zone} ({id}) is back: nodes may be launched there"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stowage_pricing::OfferingKey;

    use super::*;

    fn noon() -> Timestamp {
        "2026-07-01T12:00:00Z".parse().expect("a moment")
    }

    fn shift(id: &str, seconds: Option<i64>) -> Shift {
        let until = seconds.map(|seconds| noon().plus_seconds(seconds).seconds());
        Shift { zone_id: id.to_owned(), until }
    }

    #[test]
    fn what_is_found_holds_and_nothing_else() {
        let names = [("use1-az1".to_owned(), ["us-east-1a".to_owned()].into())].into();
        let (mut short, mut shifted) = (Unavailable::default(), BTreeMap::new());
        let news = apply(&mut short, &mut shifted, &[shift("use1-az1", Some(3600))], &names);
        assert_eq!((news.away, news.back.len()), (vec!["use1-az1".to_owned()], 0));
        let key = OfferingKey::new("m7i.large", "us-east-1a", "spot");
        assert!(
            short.is_away(noon(), &key) && !short.is_away(noon().plus_seconds(3600), &key),
            "it ends by itself"
        );
        // Longer than it was, and told of once.
        let found = [shift("use1-az1", Some(7200)), shift("use1-az9", None)];
        let news = apply(&mut short, &mut shifted, &found, &names);
        assert_eq!((news.away, news.back.len()), (vec!["use1-az9".to_owned()], 0));
        assert!(short.is_away(noon().plus_seconds(3600), &key) && short.is_shifted(noon(), "use1-az9"));
        let news = apply(&mut short, &mut shifted, &[], &names);
        assert_eq!((news.away.len(), news.back), (0, vec!["use1-az1".to_owned(), "use1-az9".to_owned()]));
        assert!(!short.is_away(noon(), &key) && !short.is_shifted(noon(), "use1-az9"));
        assert_eq!(apply(&mut short, &mut shifted, &[], &names), News::default());
    }

    #[test]
    fn pools_that_cannot_use_a_zone_are_not_told() {
        let pool = |key: &str, operator: &str, values: &[&str]| {
            let requirements = json!([{"key": key, "operator": operator, "values": values}]);
            let pool = json!({
                "metadata": {"name": "a"}, "spec": {"template": {"spec": {"requirements": requirements}}},
            });
            serde_json::from_value::<NodePool>(pool).expect("a pool")
        };
        let name = "us-east-1a".to_owned();
        for (of, told) in [
            (pool(ZONE, "In", &["us-east-1a", "us-east-1b"]), true),
            (pool(ZONE, "In", &["us-east-1b"]), false),
            (pool(ZONE, "NotIn", &["us-east-1a"]), false),
            (pool(ZONE_ID, "In", &["use1-az1"]), true),
            (pool(ZONE_ID, "NotIn", &["use1-az1"]), false),
            (pool("team", "In", &["x"]), true),
            (NodePool::default(), true),
        ] {
            assert_eq!(may_use(&of, "use1-az1", &[&name]), told);
        }
    }
}

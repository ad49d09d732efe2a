//! `NodePools`: what may be launched, and how the nodes then look.
//!
//! Karpenter's source of truth: `NewNodeClaimTemplate`, and for labels that it keeps to itself `RestrictedLabelDomains`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::LazyLock;

use stowage_api::{NodePool, Operator, Requirement, well_known};
use stowage_solver::{self as solver, Labels, MinValues, OpenLabel, Resources, Term};

use super::labels;
use super::notes::Notes;
use super::resource::{self, ResourceIds};
use super::view::Views;
use super::{LowerOptions, MinValuesPolicy};
use crate::note::{Note, Rule};
use crate::snapshot::Snapshot;

/// The host name of nodes that are yet to be launched: whatever it will be, no pod can ask for it by name.
const HOSTNAME_TO_COME: &str = "<set at launch>";

/// Used where a snapshot has no `NodePool`: what Karpenter's own getting-started guide begins with, on spot too.
static DEFAULT: LazyLock<NodePool> = LazyLock::new(|| {
    let one_of = |key: &str, operator, values: &[&str]| Requirement {
        key: key.to_owned(),
        operator,
        values: values.iter().map(|v| (*v).to_owned()).collect(),
        min_values: None,
    };
    let mut pool = NodePool::default();
    "default".clone_into(&mut pool.metadata.name);
    pool.spec.template.spec.requirements = vec![
        one_of(well_known::CAPACITY_TYPE, Operator::In, &[well_known::ON_DEMAND, well_known::SPOT]),
        one_of(well_known::OS, Operator::In, &["linux"]),
        one_of(well_known::ARCH, Operator::In, &["amd64", "arm64"]),
        one_of(well_known::INSTANCE_CATEGORY, Operator::In, &["c", "m", "r"]),
        one_of(well_known::INSTANCE_GENERATION, Operator::Gt, &["2"]),
    ];
    pool
});

/// The `NodePools` that launch nodes for pods: neither being deleted nor static, and ready as far as is known; the default
/// one where there is none.
pub(super) fn provisioning<'s>(
    snapshot: &'s Snapshot,
    options: &LowerOptions,
    notes: &mut Notes,
) -> Vec<&'s NodePool> {
    if snapshot.node_pools.is_empty() && !options.no_default_pool {
        notes.add(Note::DefaultNodePool);
        return vec![&DEFAULT];
    }
    let mut pools = Vec::new();
    for pool in &snapshot.node_pools {
        let deleting = pool.metadata.is_terminating();
        if deleting || pool.spec.replicas.is_some() {
            notes.add(Note::IdlePool { name: pool.metadata.name.clone(), deleting });
        } else if !options.not_ready.contains_key(&pool.metadata.name) {
            pools.push(pool);
        }
    }
    pools
}

/// Lowers the `NodePools` that launch nodes.
pub(super) fn lower(
    snapshot: &Snapshot,
    views: &Views<'_>,
    pools: &[&NodePool],
    resources: &ResourceIds<'_>,
    policy: MinValuesPolicy,
    notes: &mut Notes,
) -> Vec<solver::NodePool> {
    let known = catalogue_keys(views);
    let in_use = in_use(snapshot, resources);
    let mut out = Vec::with_capacity(pools.len());
    for pool in pools {
        let name = &pool.metadata.name;
        let template = &pool.spec.template.spec;
        let mut lowered = solver::NodePool {
            name: name.clone(),
            weight: pool.spec.weight,
            labels: own_labels(pool),
            taints: template.taints.iter().map(labels::taint).collect(),
            min_values: min_values(&template.requirements, policy),
            ..solver::NodePool::default()
        };
        require(&mut lowered, &template.requirements, &known);
        labels::add_aliases(&mut lowered.labels);
        if let Some((used, count)) = in_use.get(name.as_str()) {
            (lowered.used, lowered.node_count) = (used.clone(), *count);
        }
        for (key, limit) in pool.spec.limits.iter() {
            if key == well_known::NODES {
                lowered.node_limit = Some(u32::try_from(limit.floor_units()).unwrap_or(u32::MAX));
                continue;
            }
            if !views.catalogs().any(|catalog| resource::is_offered(catalog, key)) {
                notes.not_honoured(Rule::UnknownLimit, || format!("{key} of {name}"));
            }
            lowered.limits.extend(resources.get(key).map(|id| (id, resource::floor(key, limit))));
        }
        out.push(lowered);
    }
    out
}

/// Labels that every node of the pool will have, whatever its type.
fn own_labels(pool: &NodePool) -> Labels {
    let template = &pool.spec.template;
    let mut labels = template.metadata.labels.clone();
    let mut put = |key: &str, value: &str| labels.insert(key.to_owned(), value.to_owned());
    put(well_known::NODE_POOL, &pool.metadata.name);
    put(well_known::REGISTERED, "true");
    put(well_known::INITIALIZED, "true");
    put(well_known::HOSTNAME, HOSTNAME_TO_COME);
    if let Some(class) = &template.spec.node_class_ref {
        put(well_known::EC2_NODE_CLASS, &class.name);
    }
    labels
}

/// Keys of labels that types and offerings of the catalogue define.
fn catalogue_keys<'v>(views: &'v Views<'_>) -> HashSet<&'v str> {
    let types = views.catalogs().flat_map(|catalog| &catalog.types);
    let of_types = types.clone().flat_map(|t| t.labels.keys()).map(String::as_str);
    let offerings = types.flat_map(|t| &t.offerings).filter(|o| o.available);
    let of_offerings = offerings.flat_map(|o| o.requirements.iter()).map(|r| r.key.as_str());
    let always =
        [well_known::ARCH, well_known::OS, well_known::INSTANCE_TYPE, well_known::ZONE, well_known::REGION];
    of_types.chain(of_offerings).chain(always).collect()
}

/// Sorts a pool's requirements into those on what is bought, and those that leave a label of its nodes open.
fn require(pool: &mut solver::NodePool, requirements: &[Requirement], catalogue: &HashSet<&str>) {
    let mut by_key = BTreeMap::<&str, Vec<&Requirement>>::new();
    for requirement in requirements {
        by_key.entry(well_known::stable(&requirement.key)).or_default().push(requirement);
    }
    for (key, stated) in by_key {
        let lowered =
            |r: &&Requirement| solver::Requirement { key: key.to_owned(), ..labels::requirement(r) };
        let all: Term = stated.iter().map(lowered).collect();
        let allows = |value: Option<&str>| all.iter().all(|r| r.allows(value));
        let never = || solver::Requirement { key: key.to_owned(), op: labels::impossible() };
        if catalogue.contains(key) {
            pool.requirements.extend(all);
        } else if let Some(value) = pool.labels.get(key) {
            pool.requirements.extend((!allows(Some(value))).then(never));
        } else if well_known::is_restricted(key)
            || stated.iter().all(|r| r.operator == Operator::DoesNotExist)
        {
            // Nothing will define this label.
            pool.requirements.extend((!allows(None)).then(never));
        } else if let Some(listed) = stated.iter().find(|r| r.operator == Operator::In) {
            let mut seen = BTreeSet::new();
            let values = listed.values.iter().filter(|v| allows(Some(v.as_str())) && seen.insert(v.as_str()));
            match values.cloned().collect::<Vec<_>>().as_slice() {
                [] => pool.requirements.push(never()),
                [one] => {
                    pool.labels.insert(key.to_owned(), one.clone());
                }
                several => {
                    let op = solver::Operator::In(several.to_vec());
                    let requirements = vec![solver::Requirement { key: key.to_owned(), op }];
                    pool.open_labels.push(OpenLabel { key: key.to_owned(), requirements });
                }
            }
        } else {
            pool.open_labels.push(OpenLabel { key: key.to_owned(), requirements: all });
        }
    }
}

/// How wide a choice a pool's requirements ask for; of several for one label, the widest.
fn min_values(requirements: &[Requirement], policy: MinValuesPolicy) -> Vec<MinValues> {
    let mut by_key = BTreeMap::<&str, u32>::new();
    for requirement in requirements {
        if let Some(least) = requirement.min_values {
            let known = by_key.entry(well_known::stable(&requirement.key)).or_insert(least);
            *known = least.max(*known);
        }
    }
    let relax = policy == MinValuesPolicy::BestEffort;
    let asked = by_key.into_iter().filter(|(_, least)| *least > 0);
    asked.map(|(key, least)| MinValues { key: key.to_owned(), least, relax }).collect()
}

/// What the nodes of each `NodePool` have, and how many that is: those being launched count, and those being deleted until
/// they are gone.
fn in_use<'s>(snapshot: &'s Snapshot, resources: &ResourceIds<'_>) -> BTreeMap<&'s str, (Resources, u32)> {
    let mut out = BTreeMap::<&str, (Resources, u32)>::new();
    let mut add = |pool: &'s str, capacity: &stowage_api::ResourceList| {
        let (used, count) = out.entry(pool).or_default();
        *used = used.plus(&resources.usage(capacity.iter()));
        *count = count.saturating_add(1);
    };
    for node in &snapshot.nodes {
        if let Some(pool) = node.metadata.labels.get(well_known::NODE_POOL) {
            let status = &node.status;
            add(pool, if status.capacity.is_empty() { &status.allocatable } else { &status.capacity });
        }
    }
    for claim in super::node::without_node(snapshot) {
        if let Some(pool) = claim.metadata.labels.get(well_known::NODE_POOL) {
            add(pool, &claim.status.capacity);
        }
    }
    out
}

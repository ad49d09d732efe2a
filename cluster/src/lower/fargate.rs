//! Fargate: which pending pods may run there, on what shape and for how much.
//!
//! Each rule of EKS is looked at in `stowage_pricing::fargate`; here a pod becomes what those rules look at. Whether rules
//! of other pods ask where it is, the solver knows: they close its route.
//!
//! # Invariants
//! - A pod that only might run there does not: where the snapshot leaves open whether a rule holds (a zone, a volume), it is
//!   taken not to. A `Job` or a Service that is not in the snapshot says nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use stowage_api::well_known;
use stowage_pricing::FargateRates;
use stowage_pricing::aws::offerings::Subnet;
use stowage_pricing::fargate::{
    Fit, Ineligible, PodRequest, PodTraits, Profile, ProfileSelector, Shape, VolumeSource, eligible,
};
use stowage_solver::{Operator, Pod as Pending, PodSpec, Price, Requirement, Route, Term};

use super::notes::Notes;
use super::spec::Specs;
use super::world::World;
use crate::note::Note;
use crate::object::{Service, Volume};
use crate::requests::pod_requests;
use crate::snapshot::{Pod, Snapshot, namespace_of};

/// How to plan with Fargate.
#[derive(Clone, Debug, Default)]
pub struct FargateOptions {
    /// Whether pods may run there at all; a profile in the snapshot or here says so, too.
    pub wanted: bool,
    /// Profiles beside those of the snapshot.
    pub profiles: Vec<Profile>,
    /// Subnets of profiles, beside those that the `EC2NodeClasses` of the snapshot have found.
    pub subnets: Vec<Subnet>,
    /// Whether profiles were given beside those of the snapshot, usable or not: then none is assumed.
    pub stated: bool,
    /// What it costs; `None` where that is not known, and then nothing runs there.
    pub rates: Option<FargateRates>,
}

/// What Fargate is to a problem.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnFargate {
    /// By [`Route::shape`]: what is provisioned.
    pub shapes: Vec<Shape>,
    /// Distinct verdicts.
    pub verdicts: Vec<Result<Fit, Vec<Ineligible>>>,
    /// By pending pod, in the problem's order: its verdict.
    pub of_pod: Vec<u32>,
    /// Whether a profile was assumed that takes every pod, as there is none.
    pub assumed: bool,
}

impl OnFargate {
    /// The verdict on a pod of the problem; `None` where Fargate is not planned with.
    pub fn verdict(&self, pod: usize) -> Option<&Result<Fit, Vec<Ineligible>>> {
        self.verdicts.get(*self.of_pod.get(pod)? as usize)
    }
}

/// Everything that verdicts depend on beside the pod.
struct Ground<'s> {
    profiles: Vec<Profile>,
    subnets: Vec<Subnet>,
    /// Jobs that never go.
    lasting: HashSet<(&'s str, &'s str)>,
    /// Services whose load balancers find pods by their nodes.
    by_node: Vec<&'s Service>,
    world: &'s World<'s>,
}

/// Gives pods their routes. `pending` are the snapshot's pods of `pods`.
pub(super) fn route<'a>(
    snapshot: &'a Snapshot,
    options: &FargateOptions,
    pending: &[&'a Pod],
    pods: &mut [Pending],
    specs: &mut Specs<'a>,
    world: &'a World<'a>,
    remarks: &mut Notes,
) -> OnFargate {
    let mut profiles = usable(snapshot, remarks);
    profiles.extend(options.profiles.iter().cloned());
    let mut this = OnFargate::default();
    let Some(rates) = options.rates.filter(|_| options.wanted || !profiles.is_empty()) else { return this };
    // Where there are profiles, but none that takes pods, none does.
    if profiles.is_empty() && snapshot.fargate_profiles.is_empty() && !options.stated {
        this.assumed = true;
        let everything = ProfileSelector { namespace: "*".to_owned(), labels: BTreeMap::new() };
        profiles.push(Profile { name: "(any)".to_owned(), selectors: vec![everything], subnets: Vec::new() });
    }
    let ground = Ground::new(snapshot, profiles, &options.subnets, world);
    let mut verdicts = HashMap::<Vec<u8>, u32>::new();
    let mut known = HashMap::new();
    for (pod, lowered) in pending.iter().zip(pods.iter()) {
        let job = pod.job.as_deref().is_some_and(|job| ground.lasting.contains(&(&*pod.namespace, job)));
        let origin = (
            lowered.spec,
            std::ptr::from_ref(pod.labels.as_ref()),
            std::ptr::from_ref(pod.spec.as_ref()),
            job,
            pod.do_not_disrupt,
        );
        let at = *known.entry(origin).or_insert_with(|| {
            let traits = ground.traits(pod, &specs.all()[lowered.spec.index()], job);
            let verdict = eligible(&traits, &ground.profiles, &ground.subnets);
            let key = format!("{verdict:?}").into_bytes();
            *verdicts.entry(key).or_insert_with(|| {
                this.verdicts.push(verdict);
                this.verdicts.len() as u32 - 1
            })
        });
        this.of_pod.push(at);
    }
    let shapes: BTreeSet<Shape> = this.verdicts.iter().flatten().map(|fit| fit.shape).collect();
    this.shapes = shapes.into_iter().collect();
    for (pod, verdict) in pods.iter_mut().zip(&this.of_pod) {
        let Ok(fit) = &this.verdicts[*verdict as usize] else { continue };
        let Ok(shape) = this.shapes.binary_search(&fit.shape) else { continue };
        if let Some(price) = Price::from_dollars(fit.shape.hourly(rates)) {
            pod.spec = specs.routed(pod.spec, Route { price, shape: shape as u32 });
        }
    }
    if this.assumed {
        remarks.add(Note::AnyFargateProfile);
    }
    this
}

/// Marks pods whose routes are closed by rules of other pods, and says how many may run there and why not the others.
pub(super) fn conclude(
    found: &mut OnFargate,
    pods: &[Pending],
    closed: &[stowage_solver::PodId],
    remarks: &mut Notes,
) {
    if found.of_pod.is_empty() {
        return;
    }
    let concerned = found.verdicts.len() as u32;
    found.verdicts.push(Err(vec![Ineligible::Concerned]));
    for pod in closed {
        if let Some(verdict) = found.of_pod.get_mut(pod.index()) {
            *verdict = concerned;
        }
    }
    let mut counts = BTreeMap::<String, (usize, &str)>::new();
    let mut eligible = 0;
    for (pod, verdict) in pods.iter().zip(&found.of_pod) {
        match &found.verdicts[*verdict as usize] {
            Ok(_) => eligible += 1,
            Err(why) => {
                let why = why.first().map(ToString::to_string).unwrap_or_default();
                let (count, example) = counts.entry(why).or_insert((0, &pod.name));
                *count += 1;
                *example = pod.name.as_str().min(*example);
            }
        }
    }
    remarks.add(Note::Fargate { eligible, pending: pods.len() });
    for (why, (count, example)) in counts {
        remarks.add(Note::NotOnFargate { why, count, example: example.to_owned() });
    }
}

/// The profiles of a snapshot that take pods.
fn usable(snapshot: &Snapshot, remarks: &mut Notes) -> Vec<Profile> {
    let mut profiles = Vec::new();
    for object in &snapshot.fargate_profiles {
        match object.usable() {
            Ok(profile) => profiles.push(profile),
            Err(why) => remarks.add(Note::FargateProfile { name: object.metadata.name.clone(), why }),
        }
    }
    profiles
}

impl<'s> Ground<'s> {
    fn new(snapshot: &'s Snapshot, profiles: Vec<Profile>, more: &[Subnet], world: &'s World<'s>) -> Self {
        let subnets = snapshot.node_classes.iter().flat_map(|class| &class.status.subnets);
        let subnet = |s: &stowage_api::Subnet| Subnet {
            id: s.id.clone(),
            zone: s.zone.clone(),
            zone_id: s.zone_id.clone(),
            free_addresses: None,
        };
        let lasting = snapshot.jobs.iter().filter(|job| job.spec.ttl_seconds_after_finished.is_none());
        Self {
            profiles,
            subnets: subnets.map(subnet).chain(more.iter().cloned()).collect(),
            lasting: lasting.map(|job| (namespace_of(&job.metadata), job.metadata.name.as_str())).collect(),
            by_node: snapshot.services.iter().filter(|service| finds_by_node(service)).collect(),
            world,
        }
    }

    fn traits(&self, pod: &Pod, lowered: &PodSpec, lasting_job: bool) -> PodTraits {
        let spec = pod.spec.as_ref();
        let containers = || spec.containers.iter().chain(&spec.init_containers);
        let requests = pod_requests(spec).unwrap_or_default();
        let amount = |name: &str| requests.get(name).map_or(0, |n| u64::try_from(*n).unwrap_or(0));
        let plain = [well_known::CPU, well_known::MEMORY, well_known::PODS, well_known::EPHEMERAL_STORAGE];
        let mut extended: BTreeSet<String> = requests
            .iter()
            .filter(|(name, n)| **n > 0 && !plain.contains(*name))
            .map(|(name, _)| (*name).to_owned())
            .collect();
        if !spec.resource_claims.is_empty() {
            extended.insert("devices (dynamic resource allocation)".to_owned());
        }
        let mut traits = PodTraits {
            namespace: pod.namespace.to_string(),
            labels: pod.labels.as_ref().clone(),
            request: PodRequest {
                cpu_millis: amount(well_known::CPU),
                memory_bytes: amount(well_known::MEMORY),
                disk_bytes: amount(well_known::EPHEMERAL_STORAGE),
            },
            of_daemon_set: pod.daemon_set.is_some(),
            privileged: containers().any(|c| c.security_context.privileged),
            host_network: spec.host_network,
            host_namespaces: spec.host_pid || spec.host_ipc,
            host_port: !spec.host_network && containers().flat_map(|c| &c.ports).any(|p| p.host_port > 0),
            extended_resources: extended,
            must_spread: !lowered.spread.is_empty(),
            must_be_near_or_far: !lowered.affinity.is_empty() || !lowered.anti_affinity.is_empty(),
            volumes: spec.volumes.iter().map(|volume| self.source(volume, &pod.namespace)).collect(),
            do_not_disrupt: pod.do_not_disrupt,
            of_job_without_ttl: lasting_job,
            behind_instance_targets: self.by_node.iter().any(|service| {
                namespace_of(&service.metadata) == &*pod.namespace
                    && service.spec.selector.iter().all(|(k, v)| pod.labels.get(k) == Some(v))
            }),
            ..PodTraits::default()
        };
        for constraint in lowered.node.iter().filter(|c| !c.of_volume) {
            self.constrain(&constraint.any_of, &mut traits);
        }
        traits
    }

    /// What a constraint on node labels means on Fargate's nodes.
    fn constrain(&self, any_of: &[Term], traits: &mut PodTraits) {
        let mut zones = BTreeSet::new();
        let mut anywhere = false;
        let mut met = false;
        let mut first: Option<&Requirement> = None;
        for term in any_of {
            if let Some(missed) = term.iter().find(|r| !is_zone(&r.key) && !r.allows(label(&r.key))) {
                first = first.or(Some(missed));
                continue;
            }
            met = true;
            let about: Vec<&Requirement> = term.iter().filter(|r| is_zone(&r.key)).collect();
            anywhere |= about.is_empty();
            let listed = about.iter().filter_map(|r| match &r.op {
                Operator::In(values) => Some(values),
                _ => None,
            });
            let known = self.subnets.iter().map(|s| &s.zone).chain(listed.flatten());
            zones.extend(known.filter(|zone| about.iter().all(|r| r.allows(Some(zone)))).cloned());
        }
        if met && !anywhere {
            // Zones that no subnet has: in none of them will it ever be.
            zones.insert(String::new());
            let known = std::mem::take(&mut traits.zones);
            let both = if known.is_empty() { zones } else { known.intersection(&zones).cloned().collect() };
            traits.zones = both;
        }
        let Some(missed) = first.filter(|_| !met) else {
            // No term at all holds nowhere.
            if !met {
                traits.missing_labels.insert("any".to_owned());
            }
            return;
        };
        match well_known::stable(&missed.key) {
            well_known::ARCH => traits.refuses_amd64 = true,
            well_known::OS => traits.refuses_linux = true,
            well_known::CAPACITY_TYPE if !missed.allows(Some(well_known::ON_DEMAND)) => {
                traits.refuses_on_demand = true;
            }
            _ => {
                traits.missing_labels.insert(missed.key.clone());
            }
        }
    }

    fn source(&self, volume: &Volume, namespace: &str) -> VolumeSource {
        let name = match volume {
            Volume::Claim(name) => name,
            Volume::Ephemeral { .. } => return VolumeSource::Dynamic,
            Volume::HostPath => return VolumeSource::HostPath,
            Volume::Ebs => return VolumeSource::Ebs,
            Volume::Other => return VolumeSource::Other,
        };
        let claim = self.world.claim(namespace, name);
        let bound = claim.and_then(|c| c.spec.volume_name.as_deref()).filter(|v| !v.is_empty());
        let Some(volume) = bound.and_then(|volume| self.world.volume(volume)) else {
            return VolumeSource::Dynamic;
        };
        let driver = volume.spec.csi.as_ref().map_or("", |csi| csi.driver.as_str());
        if volume.spec.aws_elastic_block_store.is_some() || well_known::EBS_DRIVERS.contains(&driver) {
            VolumeSource::Ebs
        } else if driver == well_known::LUSTRE_DRIVER {
            VolumeSource::Lustre
        } else if driver == well_known::EFS_DRIVER {
            // A class that makes volumes has made this one.
            let class = self.world.storage_class(&volume.spec.storage_class_name);
            let made = class.is_some_and(|class| class.provisioner == well_known::EFS_DRIVER);
            if made { VolumeSource::Dynamic } else { VolumeSource::StaticEfs }
        } else {
            VolumeSource::Other
        }
    }
}

/// Labels of Fargate's nodes, their places aside.
fn label(key: &str) -> Option<&'static str> {
    match well_known::stable(key) {
        well_known::ARCH => Some("amd64"),
        well_known::OS => Some("linux"),
        well_known::COMPUTE_TYPE => Some(well_known::FARGATE),
        _ => None,
    }
}

fn is_zone(key: &str) -> bool {
    well_known::stable(key) == well_known::ZONE
}

/// Whether a Service's load balancer sends to ports of nodes: what AWS's do unless told otherwise.
fn finds_by_node(service: &Service) -> bool {
    let mark = |key: &str| service.metadata.annotations.get(key).map(String::as_str);
    service.spec.kind == "LoadBalancer"
        && !service.spec.selector.is_empty()
        && mark(well_known::LOAD_BALANCER_TARGETS) != Some("ip")
        && mark(well_known::LOAD_BALANCER_TYPE) != Some("nlb-ip")
}

//! Which types and offerings are meant: the filters that `stowage catalog` and `stowage prices` share.

use stowage_api::Quantity;
use stowage_api::well_known::{
    AMD_GPU, CPU, GAUDI, INSTANCE_ACCELERATOR_NAME, INSTANCE_CPU, INSTANCE_GPU_NAME, INSTANCE_MEMORY, MEMORY,
    NEURON, NVIDIA_GPU,
};
use stowage_pricing::{Catalog, InstanceType, fits_glob};

const FILTERS: &str = "Filters";

/// What types and offerings must have.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Filters {
    /// Architecture
    #[arg(long, value_name = "ARCH", value_parser = ["amd64", "arm64"], help_heading = FILTERS)]
    pub(crate) arch: Option<String>,

    /// At least this many vCPUs
    #[arg(long, value_name = "CPUS", help_heading = FILTERS)]
    pub(crate) min_cpu: Option<Quantity>,

    /// At most this many vCPUs
    #[arg(long, value_name = "CPUS", help_heading = FILTERS)]
    pub(crate) max_cpu: Option<Quantity>,

    /// At least this much advertised memory, such as 64Gi
    #[arg(long, value_name = "BYTES", help_heading = FILTERS)]
    pub(crate) min_memory: Option<Quantity>,

    /// Only types with GPUs or other accelerators; or with those of this name, such as h100
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = false, help_heading = FILTERS)]
    #[expect(clippy::option_option, reason = "an option with an optional value is just that")]
    pub(crate) gpu: Option<Option<String>>,

    /// Only offerings of this capacity type: on-demand, spot or reserved
    #[arg(long, value_name = "KIND", help_heading = FILTERS)]
    pub(crate) capacity_type: Option<String>,

    /// Only offerings in this zone
    #[arg(long, value_name = "ZONE", help_heading = FILTERS)]
    pub(crate) zone: Option<String>,
}

impl Filters {
    /// The types that pass and whose names fit one of `globs` (any, where there are none), with the offerings that pass.
    pub(crate) fn select(&self, catalog: &Catalog, globs: &[String]) -> Vec<InstanceType> {
        let named = |name: &str| globs.is_empty() || globs.iter().any(|glob| fits_glob(glob, name));
        let passing = catalog.types.iter().filter(|t| named(&t.name) && self.pass(t));
        let mut chosen: Vec<InstanceType> = passing.cloned().collect();
        if self.zone.is_some() || self.capacity_type.is_some() {
            for t in &mut chosen {
                t.offerings.retain(|o| {
                    self.zone.as_ref().is_none_or(|zone| zone == o.zone())
                        && self.capacity_type.as_ref().is_none_or(|kind| kind == o.capacity_type())
                });
            }
            chosen.retain(|t| !t.offerings.is_empty());
        }
        chosen
    }

    fn pass(&self, t: &InstanceType) -> bool {
        self.arch.as_ref().is_none_or(|arch| *arch == t.architecture)
            && self.min_cpu.is_none_or(|least| resource(t, CPU) >= least)
            && self.max_cpu.is_none_or(|most| resource(t, CPU) <= most)
            && self.min_memory.is_none_or(|least| memory(t) >= least)
            && self.gpu.as_ref().is_none_or(|wanted| match (wanted, accelerators(t)) {
                (None, found) => found.is_some(),
                (Some(wanted), Some((_, name))) => name.eq_ignore_ascii_case(wanted),
                (Some(_), None) => false,
            })
    }
}

/// What a node of the type has of a resource.
pub(crate) fn resource(t: &InstanceType, name: &str) -> Quantity {
    t.resources.get(name).copied().unwrap_or_default()
}

/// Memory as advertised where the type says so, else what its nodes have.
pub(crate) fn memory(t: &InstanceType) -> Quantity {
    let advertised = t.labels.get(INSTANCE_MEMORY).and_then(|mib| format!("{mib}Mi").parse().ok());
    advertised.unwrap_or_else(|| resource(t, MEMORY))
}

/// vCPUs as advertised where the type says so, else as its nodes have them.
pub(crate) fn vcpus(t: &InstanceType) -> Quantity {
    t.labels.get(INSTANCE_CPU).and_then(|n| n.parse().ok()).unwrap_or_else(|| resource(t, CPU))
}

/// Number and name of a type's GPUs, or else of its other accelerators.
pub(crate) fn accelerators(t: &InstanceType) -> Option<(i64, &str)> {
    let name = |label: &str| t.labels.get(label).map_or("", String::as_str);
    [
        (NVIDIA_GPU, INSTANCE_GPU_NAME),
        (AMD_GPU, INSTANCE_GPU_NAME),
        (GAUDI, INSTANCE_GPU_NAME),
        (NEURON, INSTANCE_ACCELERATOR_NAME),
    ]
    .into_iter()
    .find_map(|(device, label)| {
        let count = resource(t, device).ceil_units();
        (count > 0).then(|| (count, name(label)))
    })
}

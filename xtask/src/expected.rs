//! From a catalogue that another program computed to a small table that our tests agree with.
//!
//! The table holds facts only: a line a type, amounts in whole base units, so that no test depends on how either program
//! spells a quantity.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use stowage_api::Quantity;
use stowage_pricing::{Catalog, InstanceType, Offering};

const HEADER: &str = "name\tarchitecture\tcpu_millis\tmemory\tpods\tephemeral_storage\tgpus\tkept_cpu_millis\tkept_memory\t\
                      kept_ephemeral_storage\tprice\tzones\tcategory\tgeneration\tfamily\tsize\tlabelled_cpu\tlabelled_memory";

/// Writes the table of the on-demand offerings of `catalog` to `out`.
pub(crate) fn extract(catalog: &Path, out: &Path) -> anyhow::Result<()> {
    let name = catalog.display().to_string();
    let bytes = fs::read(catalog).with_context(|| format!("cannot read {name}"))?;
    let catalog = Catalog::parse(&bytes, &name)?;
    let mut lines = vec![HEADER.to_owned()];
    for instance_type in &catalog.types {
        lines.push(line(instance_type).with_context(|| format!("type {}", instance_type.name))?);
    }
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(out, lines.join("\n") + "\n").with_context(|| format!("cannot write {}", out.display()))?;
    eprintln!("{}: {} types", out.display(), catalog.types.len());
    Ok(())
}

fn line(t: &InstanceType) -> anyhow::Result<String> {
    let of =
        |amounts: &BTreeMap<String, Quantity>, name: &str| amounts.get(name).copied().unwrap_or_default();
    let has = |name: &str| of(&t.resources, name).ceil_units();
    let kept = |name: &str| of(&t.overhead, name).ceil_units();
    let label =
        |name: &str| t.labels.get(&format!("karpenter.k8s.aws/instance-{name}")).cloned().unwrap_or_default();
    let offerings: Vec<&Offering> = t.offerings.iter().filter(|o| o.capacity_type() == "on-demand").collect();
    let prices: BTreeSet<String> = offerings.iter().map(|o| o.price.to_string()).collect();
    ensure!(prices.len() == 1, "has the prices {prices:?}; one is expected");
    let zones: Vec<&str> = offerings.iter().map(|o| o.zone()).collect();
    Ok([
        t.name.clone(),
        t.architecture.clone(),
        of(&t.resources, "cpu").ceil_millis().to_string(),
        has("memory").to_string(),
        has("pods").to_string(),
        has("ephemeral-storage").to_string(),
        has("nvidia.com/gpu").to_string(),
        of(&t.overhead, "cpu").ceil_millis().to_string(),
        kept("memory").to_string(),
        kept("ephemeral-storage").to_string(),
        prices.into_iter().collect(),
        zones.join(","),
        label("category"),
        label("generation"),
        label("family"),
        label("size"),
        label("cpu"),
        label("memory"),
    ]
    .join("\t"))
}

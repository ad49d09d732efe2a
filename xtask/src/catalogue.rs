//! From recorded AWS answers to the compact files that the `pricing` crate embeds.
//!
//! The inputs keep their sources' field names (`DescribeInstanceTypes`, the VPC resource controller's tables); only what
//! `stowage_pricing::facts` has a field for is kept. Types that no Kubernetes node runs on (macOS) are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::Value;
use stowage_pricing::aws::instance_types;
use stowage_pricing::facts::{PriceFacts, TypeFacts, ZoneFacts, write_ranges};

use crate::source::{read, write_gzipped};

/// Builds `types`, `zones` and `prices` in `out` from the files in `facts`.
pub(crate) fn build(facts: &Path, out: &Path) -> anyhow::Result<()> {
    let types: BTreeMap<String, Value> = read(&facts.join("ec2-instance-types.json.gz"))?;
    let limits: BTreeMap<String, VpcLimits> = read(&facts.join("ec2-vpc-limits.json"))?;
    let bandwidth: BTreeMap<String, u32> = read(&facts.join("ec2-network-bandwidth-mbps.json"))?;
    let offered: BTreeMap<String, BTreeMap<String, Vec<String>>> =
        read(&facts.join("ec2-zone-offerings.json.gz"))?;
    let prices: Prices = read(&facts.join("ec2-on-demand-prices.json"))?;

    let mut kept = Vec::new();
    for (name, described) in types {
        let read = instance_types::read_one(described).map_err(anyhow::Error::msg);
        let Some(mut facts) = read.with_context(|| format!("instance type {name}"))? else { continue };
        let several_models =
            [&facts.gpu, &facts.accelerator, &facts.neuron].into_iter().flatten().any(|d| d.name.is_empty());
        ensure!(
            !several_models,
            "instance type {name} has devices of several models; labels can name only one"
        );
        facts.branch_interfaces = limits.get(&name).filter(|l| l.trunking).map_or(0, |l| l.branch_interfaces);
        facts.network_mbps = bandwidth.get(&name).copied();
        kept.push(facts);
    }
    let zones = zone_facts(&kept, &offered);
    let prices = price_facts(&kept, prices)?;

    // One type a line, so that a reader can look at them with `zcat`, and a diff of two unpacked files tells something.
    let lines = kept.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    write_gzipped(&out.join("types.json.gz"), &format!("[\n{}\n]\n", lines.join(",\n")))?;
    write_gzipped(&out.join("zones.json.gz"), &(serde_json::to_string_pretty(&zones)? + "\n"))?;
    write_gzipped(&out.join("prices.json.gz"), &(serde_json::to_string_pretty(&prices)? + "\n"))
}

fn zone_facts(kept: &[TypeFacts], offered: &BTreeMap<String, BTreeMap<String, Vec<String>>>) -> ZoneFacts {
    let known: BTreeSet<&str> = kept.iter().map(|t| t.name.as_str()).collect();
    let names = offered.values().flat_map(BTreeMap::values).flatten().map(String::as_str);
    let types: Vec<String> =
        names.filter(|n| known.contains(n)).collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect();
    let position: BTreeMap<&str, usize> =
        types.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    let ranges = |names: &Vec<String>| {
        let positions: BTreeSet<usize> =
            names.iter().filter_map(|n| position.get(n.as_str()).copied()).collect();
        write_ranges(&positions.into_iter().collect::<Vec<_>>())
    };
    let regions = offered
        .iter()
        .map(|(region, zones)| {
            (region.clone(), zones.iter().map(|(zone, names)| (zone.clone(), ranges(names))).collect())
        })
        .collect();
    ZoneFacts { regions, types }
}

fn price_facts(kept: &[TypeFacts], prices: Prices) -> anyhow::Result<PriceFacts> {
    let known: BTreeSet<&str> = kept.iter().map(|t| t.name.as_str()).collect();
    let mut regions = prices.on_demand_linux;
    for (region, prices) in &mut regions {
        prices.retain(|name, _| known.contains(name.as_str()));
        let bad = prices.iter().find(|(_, price)| !(price.is_finite() && **price > 0.0));
        ensure!(bad.is_none(), "{region}: a price is not above zero: {bad:?}");
    }
    let date = prices.generated.split('T').next().unwrap_or_default().to_owned();
    ensure!(date.len() == 10, "the price file's date is {:?}", prices.generated);
    Ok(PriceFacts {
        source: "karpenter-provider-aws, compiled-in on-demand prices".to_owned(),
        date,
        regions,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prices {
    generated: String,
    on_demand_linux: BTreeMap<String, BTreeMap<String, f64>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VpcLimits {
    branch_interfaces: u32,
    trunking: bool,
}

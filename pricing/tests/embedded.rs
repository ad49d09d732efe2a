//! The embedded catalogue, type by type, against one that another program computed.
//!
//! `data/expected.tsv` was extracted with `cargo xtask expected` from a catalogue of us-east-1a to c made from Karpenter's
//! tables and formulas.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail where it stands")]

use std::collections::{BTreeMap, BTreeSet};

use stowage_api::Quantity;
use stowage_pricing::{Catalog, CatalogSource, InstanceType, NodeConfig, Offering, Settings, Share};

const EXPECTED: &str = include_str!("data/expected.tsv");

fn embedded() -> Catalog {
    Catalog::embedded("us-east-1", &Settings::default()).unwrap()
}

/// The columns of the table, by name, for each type.
fn expected() -> Vec<BTreeMap<&'static str, &'static str>> {
    let mut lines = EXPECTED.lines();
    let header: Vec<&str> = lines.next().unwrap().split('\t').collect();
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            assert_eq!(cells.len(), header.len(), "{line}");
            header.iter().copied().zip(cells).collect()
        })
        .collect()
}

/// The same columns, computed by us.
fn computed(t: &InstanceType) -> BTreeMap<&'static str, String> {
    let of =
        |amounts: &BTreeMap<String, Quantity>, name: &str| amounts.get(name).copied().unwrap_or_default();
    let has = |name: &str| of(&t.resources, name).ceil_units().to_string();
    let kept = |name: &str| of(&t.overhead, name).ceil_units().to_string();
    let label =
        |name: &str| t.labels.get(&format!("karpenter.k8s.aws/instance-{name}")).cloned().unwrap_or_default();
    let on_demand = || t.offerings.iter().filter(|o| o.capacity_type() == "on-demand");
    let prices: BTreeSet<String> = on_demand().map(|o| o.price.to_string()).collect();
    let zones: Vec<&str> = on_demand().map(Offering::zone).filter(|zone| *zone < "us-east-1d").collect();
    BTreeMap::from([
        ("name", t.name.clone()),
        ("architecture", t.architecture.clone()),
        ("cpu_millis", of(&t.resources, "cpu").ceil_millis().to_string()),
        ("memory", has("memory")),
        ("pods", has("pods")),
        ("ephemeral_storage", has("ephemeral-storage")),
        ("gpus", has("nvidia.com/gpu")),
        ("kept_cpu_millis", of(&t.overhead, "cpu").ceil_millis().to_string()),
        ("kept_memory", kept("memory")),
        ("kept_ephemeral_storage", kept("ephemeral-storage")),
        ("price", prices.into_iter().collect::<Vec<_>>().join(" or ")),
        ("zones", zones.join(",")),
        ("category", label("category")),
        ("generation", label("generation")),
        ("family", label("family")),
        ("size", label("size")),
        ("labelled_cpu", label("cpu")),
        ("labelled_memory", label("memory")),
    ])
}

#[test]
fn agrees_type_by_type() {
    /// Types that Karpenter labels and the other program does not.
    const UNLABELLED: [&str; 3] = ["u-3tb1.56xlarge", "u-6tb1.112xlarge", "u-6tb1.56xlarge"];
    let catalog = embedded();
    let expected = expected();
    assert_eq!(expected.len(), 1340);
    let mut wrong = Vec::new();
    for row in &expected {
        let name = row["name"];
        let Some(t) = catalog.find(name) else {
            wrong.push(format!("{name}: missing"));
            continue;
        };
        let ours = computed(t);
        for (column, theirs) in row {
            let excused = theirs.is_empty() && UNLABELLED.contains(&name);
            if ours[column] != *theirs && !excused {
                wrong.push(format!("{name}: {column} is {}, should be {theirs}", ours[column]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences, such as {:#?}", wrong.len(), &wrong[..wrong.len().min(10)]);
}

#[test]
fn has_no_type_more_in_those_zones() {
    let known: BTreeSet<&str> = expected().iter().map(|row| row["name"]).collect();
    let catalog = embedded();
    let in_a_to_c = |t: &&InstanceType| t.offerings.iter().any(|o| o.zone() < "us-east-1d");
    let more: Vec<&str> = catalog
        .types
        .iter()
        .filter(in_a_to_c)
        .map(|t| t.name.as_str())
        .filter(|n| !known.contains(n))
        .collect();
    assert!(more.is_empty(), "{more:?}");
}

#[test]
fn every_type_is_sound() {
    let catalog = embedded();
    for t in &catalog.types {
        assert!(
            t.allocatable().values().all(|amount| *amount > Quantity::ZERO),
            "{}: {:?}",
            t.name,
            t.allocatable()
        );
        assert!(t.overhead.keys().all(|name| t.resources.contains_key(name)), "{}", t.name);
        assert!(
            t.offerings.iter().all(|o| o.available && o.price > 0.0 && o.region() == Some("us-east-1")),
            "{}",
            t.name
        );
        assert!(t.offerings.iter().all(|o| o.estimated == (o.capacity_type() == "spot")), "{}", t.name);
    }
    assert!(catalog.types.is_sorted_by(|a, b| a.name < b.name));
    assert!(catalog.has_estimates());
    let CatalogSource::Embedded { region, price_date, .. } = &catalog.source else {
        panic!("{:?}", catalog.source)
    };
    assert_eq!((region.as_str(), price_date.as_str()), ("us-east-1", "2026-07-20"));
}

#[test]
fn spot_is_a_share_of_on_demand_where_it_is_sold() {
    let settings = Settings { spot_price_share: "0.5".parse().unwrap(), ..Settings::default() };
    let catalog = Catalog::embedded("us-east-1", &settings).unwrap();
    let prices = |name: &str| {
        let t = catalog.find(name).unwrap();
        let price = |capacity_type| t.cheapest(|o| o.capacity_type() == capacity_type).map(|o| o.price);
        (price("on-demand"), price("spot"))
    };
    assert_eq!(prices("m7i.large"), (Some(0.1008), Some(0.0504)));
    assert_eq!(prices("t2.nano"), (Some(0.0058), None));
}

#[test]
fn memory_overhead_is_a_setting() {
    let settings = Settings {
        nodes: NodeConfig { vm_memory_overhead: Share::ZERO, ..NodeConfig::default() },
        ..Settings::default()
    };
    let catalog = Catalog::embedded("us-east-1", &settings).unwrap();
    assert_eq!(catalog.find("m7i.large").unwrap().resources["memory"].to_string(), "8Gi");
    assert_eq!(catalog.find("m7g.large").unwrap().resources["memory"].to_string(), "8128Mi");
}

#[test]
fn labels_and_devices_of_a_few_types() {
    let catalog = embedded();
    let label = |name: &str, label: &str| {
        catalog.find(name).unwrap().labels.get(&format!("karpenter.k8s.aws/instance-{label}")).cloned()
    };
    let resource = |name: &str, resource: &str| {
        catalog.find(name).unwrap().resources.get(resource).map(ToString::to_string)
    };
    let some = |text: &str| Some(text.to_owned());

    assert_eq!(label("m7i-flex.large", "capability-flex"), some("true"));
    assert_eq!(label("m7i.large", "cpu-manufacturer"), some("intel"));
    assert_eq!(label("m7g.large", "cpu-manufacturer"), some("aws"));
    assert_eq!(label("m5.metal", "hypervisor"), some(""));
    assert_eq!(label("i4i.large", "local-nvme"), some("468"));
    assert_eq!(label("m7i.large", "local-nvme"), None);
    assert_eq!(label("p5.48xlarge", "gpu-name"), some("h100"));
    assert_eq!(label("inf2.48xlarge", "accelerator-name"), some("inferentia2"));
    assert_eq!(label("inf2.48xlarge", "accelerator-count"), some("12"));

    assert_eq!(resource("p5.48xlarge", "nvidia.com/gpu"), some("8"));
    assert_eq!(resource("p5.48xlarge", "vpc.amazonaws.com/efa"), some("32"));
    assert_eq!(resource("inf2.48xlarge", "aws.amazon.com/neuroncore"), some("24"));
    assert_eq!(resource("m5.large", "attachable-volumes-aws-ebs"), some("25"));
    assert_eq!(resource("m7i.large", "attachable-volumes-aws-ebs"), some("31"));
    assert_eq!(resource("m5.large", "vpc.amazonaws.com/pod-eni"), some("9"));
    assert_eq!(resource("g6f.large", "nvidia.com/gpu"), None);
}

//! One element of the array: an instance type and its offerings.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use stowage_api::well_known::{CAPACITY_TYPE, CPU, MEMORY, PODS, ZONE};
use stowage_api::{Device, DeviceTemplate, Quantity};

use super::Problem;
use super::field::{self, Object};
use stowage_api::Operator;

use crate::catalog::{InstanceType, Offering, Requirement};

/// Most offerings that one written offering may stand for, when its requirements list several values each.
const MOST_COMBINATIONS: usize = 1000;

/// Every type, in the file's order.
pub(super) fn read_all(entries: &[Value]) -> Result<Vec<InstanceType>, Problem> {
    let mut names = BTreeSet::new();
    let mut types = Vec::with_capacity(entries.len());
    for (i, entry) in entries.iter().enumerate() {
        let nameless = |p: Problem| p.within(format!("element {i}"));
        let object = field::object(entry, r#"{"name": "m7i.large", ...}"#).map_err(nameless)?;
        let name = name(object).map_err(nameless)?;
        let called = || format!("type {}", name.chars().take(60).collect::<String>());
        if !names.insert(name) {
            return Err(Problem::new("appears twice; remove or rename one").within(called()));
        }
        types.push(read(name, object).map_err(|p| p.within(called()))?);
    }
    Ok(types)
}

fn name(object: &Object) -> Result<&str, Problem> {
    let value = field::need(object, &["name"], "give the type a name such as \"m7i.large\"")?;
    let name = field::text(value, "m7i.large").map_err(|p| p.within("name"))?;
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Problem::new(format!(
            "{} is no name; write one such as \"m7i.large\"",
            field::quote(name)
        ))
        .within("name"));
    }
    Ok(name)
}

fn read(name: &str, object: &Object) -> Result<InstanceType, Problem> {
    let architecture = match field::find(object, &["architecture"]) {
        None => "amd64",
        Some(value) => field::text(value, "amd64").map_err(|p| p.within("architecture"))?,
    };
    if !["amd64", "arm64"].contains(&architecture) {
        let problem = format!("{} is unknown; write \"amd64\" or \"arm64\"", field::quote(architecture));
        return Err(Problem::new(problem).within("architecture"));
    }
    let resources = read_resources(object)?;
    let overhead = field::quantities(object.get("overhead")).map_err(|p| p.within("overhead"))?;
    allocatable_is_not_negative(&resources, &overhead)?;
    Ok(InstanceType {
        name: name.to_owned(),
        architecture: architecture.to_owned(),
        operating_systems: operating_systems(object).map_err(|p| p.within("operatingSystems"))?,
        resources: resources.into(),
        overhead: overhead.into(),
        labels: field::labels(object.get("labels")).map_err(|p| p.within("labels"))?.into(),
        resource_slices: resource_slices(object).map_err(|p| p.within("resourceSlices"))?,
        offerings: read_offerings(object)?,
    })
}

/// What drivers would publish: the driver and the devices of a `ResourceSlice`, whose node and pool are the node's own.
fn resource_slices(object: &Object) -> Result<Vec<DeviceTemplate>, Problem> {
    let Some(value) = field::find(object, &["resourceSlices"]).filter(|v| !v.is_null()) else {
        return Ok(Vec::new());
    };
    let example = r#"[{"driver": "gpu.example.com", "devices": [{"name": "gpu-0"}]}]"#;
    let mut slices = Vec::new();
    for (i, entry) in field::array(value, example)?.iter().enumerate() {
        let at = |p: Problem| p.within(format!("[{i}]"));
        let slice =
            DeviceTemplate::deserialize(entry).map_err(|error| at(Problem::new(error.to_string())))?;
        if slice.driver.is_empty() {
            return Err(at(
                Problem::new("is missing; name the driver, such as \"gpu.example.com\"").within("driver")
            ));
        }
        let devices: Vec<Device> = slice.devices.into_iter().map(Device::modern).collect();
        let mut names = BTreeSet::new();
        for (j, device) in devices.iter().enumerate() {
            let problem = if device.name.is_empty() {
                "is missing; give the device a name such as \"gpu-0\""
            } else if names.insert(&device.name) {
                continue;
            } else {
                "is the name of another device of the slice, too; rename one"
            };
            return Err(at(Problem::new(problem).within("name").within(format!("devices[{j}]"))));
        }
        slices.push(DeviceTemplate { driver: slice.driver, devices });
    }
    Ok(slices)
}

/// The operating systems, Linux first: a node that may run several runs that unless its pool says otherwise.
fn operating_systems(object: &Object) -> Result<Vec<String>, Problem> {
    let mut systems = match field::find(object, &["operatingSystems"]) {
        None => Vec::new(),
        Some(value) => field::texts(value, "linux")?,
    };
    if systems.is_empty() {
        systems.push("linux".to_owned());
    }
    systems.sort_by(|a, b| (a != "linux", a).cmp(&(b != "linux", b)));
    systems.dedup();
    Ok(systems)
}

fn read_resources(object: &Object) -> Result<BTreeMap<String, Quantity>, Problem> {
    let value = field::need(object, &["resources"], "state at least cpu, memory and pods")?;
    let resources = field::quantities(Some(value)).map_err(|p| p.within("resources"))?;
    for needed in [CPU, MEMORY, PODS] {
        if !resources.contains_key(needed) {
            return Err(Problem::new("is missing; every node has some, so state how much")
                .within(needed)
                .within("resources"));
        }
    }
    Ok(resources)
}

fn allocatable_is_not_negative(
    resources: &BTreeMap<String, Quantity>,
    overhead: &BTreeMap<String, Quantity>,
) -> Result<(), Problem> {
    for (name, kept) in overhead {
        let have = resources.get(name).copied().unwrap_or_default();
        if *kept > have {
            let problem = format!(
                "{kept} is more than the {have} in resources, so less than nothing is left for pods; lower it"
            );
            return Err(Problem::new(problem).within(name.as_str()).within("overhead"));
        }
    }
    Ok(())
}

fn read_offerings(object: &Object) -> Result<Vec<Offering>, Problem> {
    let Some(value) = field::find(object, &["offerings"]) else { return Ok(Vec::new()) };
    let example = r#"[{"Price": 0.1008, "Available": true, "Requirements": [...]}]"#;
    let entries = field::array(value, example).map_err(|p| p.within("offerings"))?;
    let mut offerings = Vec::with_capacity(entries.len());
    let mut seen = BTreeMap::new();
    for (i, entry) in entries.iter().enumerate() {
        let at = |p: Problem| p.within(format!("offerings[{i}]"));
        for offering in offering(entry).map_err(at)? {
            if let Some(first) = seen.insert(offering.requirements.clone(), i) {
                let (zone, capacity_type) =
                    (field::quote(offering.zone()), field::quote(offering.capacity_type()));
                let problem = format!(
                    "repeats offerings[{first}] (zone {zone}, capacity type {capacity_type}); remove one"
                );
                return Err(at(Problem::new(problem)));
            }
            offerings.push(offering);
        }
    }
    offerings.sort_by(|a, b| {
        (a.capacity_type(), a.zone())
            .cmp(&(b.capacity_type(), b.zone()))
            .then_with(|| a.requirements.cmp(&b.requirements))
    });
    Ok(offerings)
}

/// One written offering: as many offerings as its `In` requirements have combinations of values.
fn offering(entry: &Value) -> Result<Vec<Offering>, Problem> {
    let object = field::object(entry, r#"{"Price": 0.1008, "Available": true, "Requirements": [...]}"#)?;
    let price = field::need(object, &["Price", "price"], "write dollars an hour")?;
    let price = field::price(price).map_err(|p| p.within("Price"))?;
    let available = field::need(object, &["Available", "available"], "write true or false")?;
    let available = field::flag(available).map_err(|p| p.within("Available"))?;
    let estimated = match field::find(object, &["Estimated", "estimated"]) {
        None => false,
        Some(value) => field::flag(value).map_err(|p| p.within("Estimated"))?,
    };
    let limit = match field::find(object, &["ReservationCapacity", "reservationCapacity"]) {
        None | Some(Value::Null) => None,
        Some(value) => Some(field::whole(value).map_err(|p| p.within("ReservationCapacity"))?),
    };
    let wanted = "name the zone and capacity type";
    let requirements = field::need(object, &["Requirements", "requirements"], wanted)?;
    let requirements = read_requirements(requirements).map_err(|p| p.within("Requirements"))?;
    let offerings = combinations(requirements)?.into_iter();
    Ok(offerings
        .map(|requirements| Offering {
            price,
            available,
            estimated,
            limit,
            requirements: requirements.into(),
        })
        .collect())
}

/// The requirements, by key.
fn read_requirements(value: &Value) -> Result<Vec<Requirement>, Problem> {
    let entries = field::array(
        value,
        r#"[{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a"]}]"#,
    )?;
    let mut requirements = Vec::with_capacity(entries.len());
    for (i, entry) in entries.iter().enumerate() {
        requirements.push(requirement(entry).map_err(|p| p.within(format!("[{i}]")))?);
    }
    requirements.sort();
    for key in [CAPACITY_TYPE, ZONE] {
        match requirements.iter().filter(|r| r.key == key && r.operator == Operator::In).count() {
            1 => {}
            0 => {
                return Err(Problem::new(format!(
                    "say nothing of {key} with operator In; every offering has one"
                )));
            }
            _ => return Err(Problem::new(format!("name {key} twice; give it one requirement"))),
        }
    }
    if let Some(pair) = requirements.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Problem::new(format!(
            "say the same of {} twice; remove one",
            field::quote(&pair[0].key)
        )));
    }
    Ok(requirements)
}

fn requirement(entry: &Value) -> Result<Requirement, Problem> {
    let object = field::object(
        entry,
        r#"{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a"]}"#,
    )?;
    let key = field::need(object, &["key"], "write a label key")?;
    let key = field::text(key, "topology.kubernetes.io/zone").map_err(|p| p.within("key"))?;
    let operator = field::need(object, &["operator"], "write In")?;
    let written = field::text(operator, "In").map_err(|p| p.within("operator"))?;
    let operator = Operator::ALL.into_iter().find(|o| o.name() == written).ok_or_else(|| {
        let known: Vec<&str> = Operator::ALL.iter().map(|o| o.name()).collect();
        Problem::new(format!("{} is unknown; write one of {}", field::quote(written), known.join(", ")))
            .within("operator")
    })?;
    let mut values = match field::find(object, &["values"]) {
        None | Some(Value::Null) => Vec::new(),
        Some(value) => field::texts(value, "us-east-1a").map_err(|p| p.within("values"))?,
    };
    values.sort();
    values.dedup();
    let problem = match operator {
        Operator::In | Operator::NotIn if values.is_empty() => Some("is empty; give at least one value"),
        Operator::Gt | Operator::Lt | Operator::Gte | Operator::Lte
            if values.len() != 1 || values[0].parse::<i64>().is_err() =>
        {
            Some("must be one whole number in quotes")
        }
        _ => None,
    };
    match problem {
        Some(problem) => Err(Problem::new(problem).within("values")),
        None => Ok(Requirement { key: key.to_owned(), operator, values }),
    }
}

/// Every choice of one value for each `In`, so that an offering gives each label one value.
fn combinations(requirements: Vec<Requirement>) -> Result<Vec<Vec<Requirement>>, Problem> {
    let mut all = vec![Vec::with_capacity(requirements.len())];
    for requirement in requirements {
        if requirement.operator != Operator::In || requirement.values.len() == 1 {
            for chosen in &mut all {
                chosen.push(requirement.clone());
            }
            continue;
        }
        if all.len() * requirement.values.len() > MOST_COMBINATIONS {
            let problem = format!(
                "stand for more than {MOST_COMBINATIONS} combinations of values; write them as several offerings"
            );
            return Err(Problem::new(problem).within("Requirements"));
        }
        let one = |value: &String| Requirement { values: vec![value.clone()], ..requirement.clone() };
        all = all
            .iter()
            .flat_map(|chosen| requirement.values.iter().map(|v| [chosen.clone(), vec![one(v)]].concat()))
            .collect();
    }
    Ok(all)
}

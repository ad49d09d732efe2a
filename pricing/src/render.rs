//! Writing a catalogue in the format that [`Catalog::parse`] reads.

use std::fmt::{self, Write};

use serde_json::json;

use crate::catalog::{Catalog, InstanceType, Offering};

impl Catalog {
    /// The catalogue as a JSON array: a few lines a type, a line an offering, keys sorted, the same bytes for equal
    /// catalogues. [`Catalog::parse`] reads it back as the same types.
    pub fn to_json(&self) -> String {
        to_json(self.types.iter())
    }
}

/// As [`Catalog::to_json`], of some types only.
pub fn to_json<'a>(types: impl IntoIterator<Item = &'a InstanceType>) -> String {
    let mut out = String::from("[");
    for (i, instance_type) in types.into_iter().enumerate() {
        out.push_str(if i == 0 { "\n" } else { ",\n" });
        // Writing to a text cannot fail.
        let _ = write_type(&mut out, instance_type);
    }
    out.push_str("\n]\n");
    out
}

fn write_type(out: &mut String, t: &InstanceType) -> fmt::Result {
    let systems = json!(t.operating_systems);
    writeln!(
        out,
        r#"{{"name": {}, "architecture": {}, "operatingSystems": {systems},"#,
        json!(t.name),
        json!(t.architecture)
    )?;
    writeln!(out, r#"  "resources": {},"#, object(&t.resources))?;
    writeln!(out, r#"  "overhead": {},"#, object(&t.overhead))?;
    writeln!(out, r#"  "labels": {},"#, object(&t.labels))?;
    if !t.resource_slices.is_empty() {
        writeln!(out, r#"  "resourceSlices": {},"#, json!(t.resource_slices))?;
    }
    out.push_str(r#"  "offerings": ["#);
    for (i, offering) in t.offerings.iter().enumerate() {
        out.push_str(if i == 0 { "\n    " } else { ",\n    " });
        write_offering(out, offering)?;
    }
    out.push_str("]}");
    Ok(())
}

fn write_offering(out: &mut String, offering: &Offering) -> fmt::Result {
    write!(out, r#"{{"Price": {}, "Available": {}, "#, json!(offering.price), offering.available)?;
    if offering.estimated {
        out.push_str(r#""Estimated": true, "#);
    }
    if let Some(limit) = offering.limit {
        write!(out, r#""ReservationCapacity": {limit}, "#)?;
    }
    out.push_str(r#""Requirements": ["#);
    for (i, requirement) in offering.requirements.iter().enumerate() {
        let separator = if i == 0 { "" } else { ", " };
        let (key, values) = (json!(requirement.key), json!(requirement.values));
        write!(
            out,
            r#"{separator}{{"key": {key}, "operator": "{}", "values": {values}}}"#,
            requirement.operator
        )?;
    }
    out.push_str("]}");
    Ok(())
}

/// An object on one line, with a space after each colon and comma.
fn object<V: ToString>(map: &std::collections::BTreeMap<String, V>) -> String {
    let fields: Vec<String> =
        map.iter().map(|(key, value)| format!("{}: {}", json!(key), json!(value.to_string()))).collect();
    format!("{{{}}}", fields.join(", "))
}

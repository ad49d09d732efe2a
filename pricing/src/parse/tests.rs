//! One file for each thing that can be wrong with a catalogue, and the message a person gets.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use super::*;
use crate::Settings;

/// A catalogue of one type, with one field of it replaced.
fn with(from: &str, to: &str) -> String {
    const GOOD: &str = r#"[{"name": "m7i.large", "architecture": "amd64", "operatingSystems": ["linux"],
  "resources": {"cpu": "2000m", "memory": "7577Mi", "pods": "29"},
  "overhead": {"cpu": "70m", "memory": "674Mi"}, "labels": {"disk": "ssd"},
  "offerings": [{"Price": 0.1008, "Available": true, "Requirements": [
    {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
    {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a"]}]}]}]"#;
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

fn parse(text: &str) -> Result<Catalog, Error> {
    Catalog::parse(text.as_bytes(), "c.json")
}

fn message(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[track_caller]
fn assert_message(from: &str, to: &str, expected: &str) {
    assert_eq!(message(&with(from, to)), format!("catalogue c.json{expected}"));
}

#[test]
fn a_good_one() {
    let catalog = parse(&with("", "")).unwrap();
    let [m7i] = &catalog.types[..] else { panic!("{catalog:?}") };
    let allocatable: Vec<String> =
        m7i.allocatable().iter().map(|(name, amount)| format!("{name} {amount}")).collect();
    assert_eq!(allocatable, ["cpu 1930m", "memory 6903Mi", "pods 29"]);
    assert_eq!((m7i.offerings[0].zone(), m7i.offerings[0].capacity_type()), ("us-east-1a", "on-demand"));
    assert_eq!(m7i.offerings[0].region(), Some("us-east-1"));
    assert_eq!((m7i.offerings[0].price, m7i.offerings[0].estimated), (0.1008, false));
    assert_eq!(catalog.source, CatalogSource::File { name: "c.json".to_owned() });
}

#[test]
fn other_spellings_defaults_and_unknown_fields() {
    let text = r#"[{"name": "box", "comment": 1, "resources": {"cpu": 8, "memory": 16e9, "pods": "110"},
        "offerings": [{"price": 0, "available": true, "estimated": true, "requirements": [
            {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["rack-2", "rack-1"], "minValues": 1},
            {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
            {"key": "example.com/gpu", "operator": "DoesNotExist"}]}]}]"#;
    let catalog = parse(text).unwrap();
    let shape = &catalog.types[0];
    assert_eq!((shape.architecture.as_str(), shape.operating_systems.join(" ").as_str()), ("amd64", "linux"));
    assert_eq!(shape.resources["memory"].ceil_units(), 16_000_000_000);
    // One written offering with two zones is two.
    assert_eq!(shape.offerings.iter().map(crate::Offering::zone).collect::<Vec<_>>(), ["rack-1", "rack-2"]);
    assert!(shape.offerings.iter().all(|o| o.estimated && o.price == 0.0 && o.region().is_none()));
}

#[test]
fn what_is_written_reads_back() {
    let once = parse(&with(r#""Available": true"#, r#""Estimated": true, "Available": true"#)).unwrap();
    let written = once.to_json();
    let twice = parse(&written).unwrap();
    assert_eq!(once, twice);
    assert_eq!(written, twice.to_json());
}

#[test]
fn the_embedded_catalogue_reads_back() {
    let embedded = Catalog::embedded("us-east-1", &Settings::default()).unwrap();
    let read = parse(&embedded.to_json()).unwrap();
    assert_eq!(embedded.types, read.types);
}

#[test]
fn gzipped_or_with_a_byte_order_mark() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(with("", "").as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    assert_eq!(Catalog::parse(&packed, "c.json").unwrap(), parse(&with("", "")).unwrap());
    assert!(parse(&format!("\u{feff}{}", with("", ""))).is_ok());

    let error = Catalog::parse(&packed[..packed.len() / 2], "c.json.gz").unwrap_err().to_string();
    assert!(error.starts_with("catalogue c.json.gz: cannot be unpacked: "), "{error}");
}

#[test]
fn not_a_catalogue() {
    assert_eq!(message(""), "catalogue c.json: is empty; a catalogue is a JSON array of instance types");
    assert_eq!(message("[]"), "catalogue c.json: has no instance types; give at least one");
    assert_eq!(
        message("{}"),
        "catalogue c.json: is an object; a catalogue is a JSON array of instance types"
    );
    assert!(message(r#"{"kind": "List", "items": []}"#).contains("is a Kubernetes object"));
    assert_eq!(
        message("[{},\n"),
        "catalogue c.json: ends too early, at line 2 column 0 (EOF while parsing a value); was it cut off?"
    );
    assert_eq!(
        message("[{\"name\": \"a\"\n \"b\"}]"),
        "catalogue c.json: is not JSON: expected `,` or `}` at line 2 column 2"
    );
    assert_eq!(
        Catalog::parse(b"[\n{\"name\": \"\xff\"}]", "c.json").unwrap_err().to_string(),
        "catalogue c.json: is not UTF-8 text: byte 0xff at offset 12 (line 2); save it as UTF-8"
    );
    assert!(message(&"[".repeat(100_000)).contains("recursion limit exceeded"));
}

#[test]
fn prices() {
    let place = ", type m7i.large, offerings[0].Price";
    for (price, problem) in [
        ("-0.1", "-0.1 is negative; write dollars an hour, zero or more"),
        ("\"NaN\"", "is the text \"NaN\"; write dollars an hour as a bare number, such as 0.1008"),
        ("null", "is null; write dollars an hour as a number, such as 0.1008"),
        ("1e30", "1e30 dollars an hour is absurd; at most 1000000 is accepted"),
    ] {
        assert_message("0.1008", price, &format!("{place}: {problem}"));
    }
    for price in ["NaN", "Infinity", "-Infinity", "nan"] {
        let error = message(&with("0.1008", price));
        assert!(
            error.contains("line 4 column")
                && error.ends_with("JSON has no NaN and no infinity: write a number"),
            "{error}"
        );
    }
    assert!(message(&with("0.1008", "1e999")).contains("number out of range at line 4"));
    assert_message("\"Price\": 0.1008, ", "", &format!("{place}: is missing; write dollars an hour"));
}

#[test]
fn offerings() {
    let one = r#""offerings": [{"Price": 0.1008, "Available": true"#;
    assert_message(
        one,
        &one.replace("true", "false"),
        ": has no available offering: each says \"Available\": false; set it to true where one can be bought",
    );
    let none = r#"[{"name": "a", "resources": {"cpu": 1, "memory": 1, "pods": 1}, "offerings": []}]"#;
    assert_eq!(
        message(none),
        "catalogue c.json: has no offerings: no type says where and at what price it can be bought; fill in offerings"
    );
    assert_message(
        "true",
        "\"yes\"",
        ", type m7i.large, offerings[0].Available: is a text; write true or false, unquoted",
    );
    assert_message(
        "\"In\"",
        "\"Within\"",
        ", type m7i.large, offerings[0].Requirements[0].operator: \"Within\" is unknown; write one of In, NotIn, Exists, \
         DoesNotExist, Gt, Lt, Gte, Lte",
    );
    assert_message(
        "[\"us-east-1a\"]",
        "[]",
        ", type m7i.large, offerings[0].Requirements[1].values: is empty; give at least one value",
    );
    assert_message(
        "[\"us-east-1a\"]",
        "[7]",
        ", type m7i.large, offerings[0].Requirements[1].values[0]: is a number; write a text such as \"us-east-1a\"",
    );
    assert_message(
        "topology.kubernetes.io/zone",
        "zone",
        ", type m7i.large, offerings[0].Requirements: say nothing of topology.kubernetes.io/zone with operator In; every \
         offering has one",
    );
}

#[test]
fn limits() {
    let with_limit = |limit: &str| with("0.1008", &format!("0.1008, \"ReservationCapacity\": {limit}"));
    let limit = |text: &str| parse(&with_limit(text)).map(|c| c.types[0].offerings[0].limit).ok();
    assert_eq!([limit("3"), limit("null"), limit("-1")], [Some(Some(3)), Some(None), None]);
    assert!(
        message(&with_limit("1.5"))
            .contains("ReservationCapacity: 1.5 is no count; write a whole number such as 3")
    );
    assert!(message(&with_limit("\"3\"")).contains("ReservationCapacity: is a text; write a whole number"));
}

#[test]
fn offerings_that_repeat_or_explode() {
    let offering = r#"{"Price": 1, "Available": true, "Requirements": [
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]},
        {"key": "topology.kubernetes.io/zone", "operator": "In", "values": [ZONES]}]}"#;
    let file = |zones: [&str; 2]| {
        let offerings = zones.map(|z| offering.replace("ZONES", z)).join(",");
        format!(
            r#"[{{"name": "a", "resources": {{"cpu": 1, "memory": 1, "pods": 1}}, "offerings": [{offerings}]}}]"#
        )
    };
    assert!(parse(&file([r#""x""#, r#""y""#])).is_ok());
    assert_eq!(
        message(&file([r#""x", "y""#, r#""y""#])),
        "catalogue c.json, type a, offerings[1]: repeats offerings[0] (zone \"y\", capacity type \"spot\"); remove one"
    );
    let many: Vec<String> = (0..2000).map(|i| format!("\"z{i}\"")).collect();
    assert!(message(&file([&many.join(","), r#""y""#])).contains("more than 1000 combinations"));
}

#[test]
fn types_and_resources() {
    let type_ = ", type m7i.large";
    assert_message("2000m", "-1", &format!("{type_}, resources.cpu: -1 is negative; write zero or more"));
    assert_message(
        "2000m",
        "1e30",
        &format!(
            "{type_}, resources.cpu: \"1e30\" is an absurd quantity: at most 8Pi (9007199254740992) is accepted"
        ),
    );
    assert_message(
        "\"2000m\"",
        "[2]",
        &format!("{type_}, resources.cpu: is an array; write a quantity such as \"8Gi\" or \"250m\""),
    );
    assert!(
        message(&with("2000m", "2 cores"))
            .contains("type m7i.large, resources.cpu: \"2 cores\" is not a quantity")
    );
    assert_message(
        ", \"pods\": \"29\"",
        "",
        &format!("{type_}, resources.pods: is missing; every node has some, so state how much"),
    );
    assert_message(
        "674Mi",
        "8Gi",
        &format!(
            "{type_}, overhead.memory: 8Gi is more than the 7577Mi in resources, so less than nothing is left for pods; lower it"
        ),
    );
    assert_message(
        "\"amd64\"",
        "\"x86\"",
        &format!("{type_}, architecture: \"x86\" is unknown; write \"amd64\" or \"arm64\""),
    );
    assert_message(
        "\"ssd\"",
        "true",
        &format!("{type_}, labels.\"disk\": is true or false; label values are texts: write it in quotes"),
    );
    assert_message(
        "\"name\": \"m7i.large\", ",
        "",
        ", element 0, name: is missing; give the type a name such as \"m7i.large\"",
    );
    let once = with("", "");
    let twice = format!("{},{}", once.strip_suffix(']').unwrap(), once.strip_prefix('[').unwrap());
    assert_eq!(message(&twice), "catalogue c.json, type m7i.large: appears twice; remove or rename one");
}

#[test]
fn long_texts_are_cut_in_messages() {
    let long = "x".repeat(1_000_000);
    for text in [
        with("m7i.large\", \"arch", &format!("{long}\", \"nope")),
        with("amd64", &long),
        with("2000m", &long),
    ] {
        let text = text.replace("\"In\"", "\"Of\"");
        assert!(message(&text).len() < 500, "{}", message(&text).len());
    }
}

#[test]
fn no_damage_to_a_file_makes_it_panic() {
    let good = with("", "").into_bytes();
    for end in 0..good.len() {
        assert!(Catalog::parse(&good[..end], "c.json").is_err(), "cut at {end}");
    }
    for at in 0..good.len() {
        for byte in [0, b'"', b'[', b'-', b'9', b'e', 0xff] {
            let mut damaged = good.clone();
            damaged[at] = byte;
            // Either answer will do: a digit more makes another good catalogue.
            if let Ok(catalog) = Catalog::parse(&damaged, "c.json") {
                assert_eq!(
                    catalog,
                    Catalog::parse(catalog.to_json().as_bytes(), "c.json").unwrap(),
                    "byte {at}"
                );
            }
        }
    }
}

#[test]
fn what_drivers_would_publish() {
    let slices = r#""resourceSlices": [{"driver": "gpu.example.com", "pool": {"name": "x"}, "devices": [
        {"name": "gpu-0", "attributes": {"model": {"string": "L4"}, "v": {"version": "1.2.3"}}, "capacity": {"memory": {"value": "24Gi"}},
         "consumesCounters": [{"counterSet": "a"}]}, {"name": "gpu-1"}]}], "overhead""#;
    let catalog = parse(&with(r#""overhead""#, slices)).unwrap();
    let devices = &catalog.types[0].resource_slices[0].devices;
    assert_eq!(devices[0].capacity["memory"].value, "24Gi".parse().unwrap());
    assert!(devices[0].consumes_counters && !devices[1].consumes_counters);
    assert_eq!(parse(&catalog.to_json()).unwrap().types, catalog.types);

    let wrong = |slices: &str, expected: &str| {
        let slices = format!(r#""resourceSlices": {slices}, "overhead""#);
        assert_message(r#""overhead""#, &slices, &format!(", type m7i.large, resourceSlices{expected}"));
    };
    wrong(
        "{}",
        r#": is an object; write an array such as [{"driver": "gpu.example.com", "devices": [{"name": "gpu-0"}]}]"#,
    );
    wrong("[{}]", r#"[0].driver: is missing; name the driver, such as "gpu.example.com""#);
    wrong(
        r#"[{"driver": "d", "devices": [{}]}]"#,
        r#"[0].devices[0].name: is missing; give the device a name such as "gpu-0""#,
    );
    wrong(
        r#"[{"driver": "d", "devices": [{"name": "a"}, {"name": "a"}]}]"#,
        "[0].devices[1].name: is the name of another device of the slice, too; rename one",
    );
}

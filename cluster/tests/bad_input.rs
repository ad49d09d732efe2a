//! Bad input is one clear error that names source, object and field; never a panic, never a hang.
#![expect(clippy::panic, reason = "a helper of tests fails the test")]

mod common;

use common::{error, gzip, list, pod, read_bytes};
use stowage_cluster::{ReadOptions, Source, read};

/// The error without the hint, which is the same for all malformed objects.
fn object_error(item: &str) -> String {
    let text = error(list(item).as_bytes());
    let (text, hint) = text.split_once('\n').unwrap_or_else(|| panic!("no hint in {text}"));
    assert_eq!(hint, "hint: --skip-invalid leaves such objects out, and lists them");
    text.to_owned()
}

fn spec_error(spec: &str) -> String {
    let error = object_error(&pod(spec));
    error.strip_prefix("in.json: items[0], Pod web: spec").unwrap_or_else(|| panic!("{error}")).to_owned()
}

#[test]
fn truncated_json_says_where() {
    let text = "{\"kind\": \"List\",\n \"items\": [\n  {\"kind\": \"Pod\", \"metadata\": {\"na";
    assert_eq!(
        error(text.as_bytes()),
        "in.json: line 3, column 34: not valid JSON: EOF while parsing a string; was it cut off while it was written \
         or copied?"
    );
    let whole = list(&pod("{}"));
    for end in 1..whole.len() {
        assert!(read_bytes(&whole.as_bytes()[..end]).is_err(), "{}", &whole[..end]);
    }
}

#[test]
fn syntax_errors_of_later_documents_have_their_own_lines() {
    let text = format!("{}\n  {{\"kind\": }}", list(""));
    assert_eq!(error(text.as_bytes()), "in.json: line 2, column 12: not valid JSON: expected value");
    let text = "kind: Pod\nmetadata:\n  name: [a\n";
    let problem = error(text.as_bytes());
    assert!(problem.starts_with("in.json: line 3, column 9: not valid YAML: unclosed bracket"), "{problem}");
}

#[test]
fn wrong_types_name_the_field() {
    assert_eq!(spec_error(r#"{"containers": {}}"#), ".containers: invalid type: map, expected a list");
    assert_eq!(
        spec_error(r#"{"nodeSelector": {"disk": 5}}"#),
        ".nodeSelector.disk: invalid type: integer `5`, expected a string: put it in quotes"
    );
    assert_eq!(
        spec_error(r#"{"containers": [{}, {"ports": [{"hostPort": 70000}]}]}"#),
        ".containers[1].ports[0].hostPort: invalid value: integer `70000`, expected u16"
    );
    assert_eq!(spec_error(r#""all of it""#), ": invalid type: string \"all of it\", expected struct PodSpec");
    assert_eq!(
        object_error(
            r#"{"kind": "Node", "metadata": {"name": "n"}, "spec": {"taints": [{"key": "a", "effect": "No"}]}}"#
        ),
        "in.json: items[0], Node n: spec.taints[0].effect: unknown variant `No`, expected one of `NoSchedule`, \
         `PreferNoSchedule`, `NoExecute`"
    );
}

#[test]
fn unknown_operators_name_those_there_are() {
    let term = r#"{"matchExpressions": [{"key": "disk", "operator": "Like", "values": ["ssd"]}]}"#;
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let affinity =
        format!(r#"{{"affinity": {{"nodeAffinity": {{"{required}": {{"nodeSelectorTerms": [{term}]}}}}}}}}"#);
    assert_eq!(
        spec_error(&affinity),
        format!(
            ".affinity.nodeAffinity.{required}.nodeSelectorTerms[0].matchExpressions[0].operator: unknown variant \
             `Like`, expected one of `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt`, `Lt`, `Gte`, `Lte`"
        )
    );
    let error = spec_error(&affinity.replace("Like", "Gt"));
    assert!(error.ends_with(": disk Gt needs exactly one whole number in values, not [\"ssd\"]"), "{error}");
    let spread = r#"{"topologySpreadConstraints": [{"topologyKey": "zone",
        "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}}]}"#;
    let error = spec_error(spread);
    assert!(error.contains("operator Gt is not for label selectors, which know In, NotIn"), "{error}");
    let error = spec_error(r#"{"tolerations": [{"key": "a", "operator": "Is"}]}"#);
    assert!(error.starts_with(".tolerations[0].operator: unknown variant `Is`, expected one of"), "{error}");
}

#[test]
fn quantities_are_neither_negative_nor_absurd_nor_anything_else() {
    let with = |amount: &str| {
        spec_error(&format!(r#"{{"containers": [{{"resources": {{"requests": {{"cpu": {amount}}}}}}}]}}"#))
            .strip_prefix(".containers[0].resources.requests.cpu: ")
            .expect("names the field")
            .to_owned()
    };
    assert_eq!(with("\"-1\""), "-1 is negative: an amount is at least 0");
    assert_eq!(
        with("1e30"),
        "\"1000000000000000000000000000000\" is an absurd quantity: at most 8Pi (9007199254740992) is accepted"
    );
    assert!(with("\"1e30\"").starts_with("\"1e30\" is an absurd quantity"));
    assert!(
        with("\"1 core\"")
            .starts_with("\"1 core\" is not a quantity: write a number with one of the suffixes")
    );
    assert_eq!(with("true"), "invalid type: boolean `true`, expected a quantity such as 250m, 1.5Gi or 2");
    assert_eq!(with("null"), "invalid type: null, expected a quantity such as 250m, 1.5Gi or 2");

    let huge = r#"{"resources": {"requests": {"memory": "8Pi"}}}"#;
    let twice = pod(&format!(r#"{{"containers": [{huge}, {huge}]}}"#));
    let expected = "spec.containers: all containers together ask for more than 8Pi of memory";
    assert_eq!(object_error(&twice), format!("in.json: items[0], Pod web: {expected}"));
    // The second pod of the same spec is no better.
    let text = list(&format!("{twice}, {}", twice.replace("web", "api")));
    let options = ReadOptions { skip_invalid: true, ..ReadOptions::default() };
    let snapshot = read(&[Source { name: "in.json", bytes: text.as_bytes() }], &options).expect("skipped");
    assert_eq!((snapshot.pods.len(), snapshot.invalid.len()), (0, 2));
}

#[test]
fn objects_without_kind_or_name() {
    assert_eq!(
        object_error(r#"{"metadata": {"name": "a"}}"#),
        "in.json: items[0]: kind: missing, or no text: every object says what it is, as in \"kind\": \"Pod\""
    );
    assert!(object_error(r#"{"kind": 5}"#).contains("kind: missing, or no text"));
    assert_eq!(
        object_error(r#"{"kind": "Pod"}"#),
        "in.json: items[0], Pod: metadata.name: missing: an object that a cluster holds has a name"
    );
    for name in ["a/b", "a b", "a\\n", &"n".repeat(300)] {
        let error = object_error(&format!(r#"{{"kind": "Pod", "metadata": {{"name": "{name}"}}}}"#));
        assert!(
            error.ends_with("metadata.name: not a name: at most 253 characters, no slashes or spaces"),
            "{error}"
        );
    }
}

#[test]
fn what_is_no_object_says_what_it_is() {
    for (text, is) in [
        ("null", "null"),
        ("[]", "an array"),
        ("5", "a number"),
        ("true", "true or false"),
        ("\"a\"", "a string"),
    ] {
        assert_eq!(
            object_error(text),
            format!(
                "in.json: items[0]: this is {is}, not a Kubernetes object: an object begins with {{ and has a kind"
            )
        );
    }
    assert!(error(b"[{}]").starts_with("in.json: this is an array, not a Kubernetes object"));
    assert!(error(b"just words").starts_with("in.json: this is a string, not a Kubernetes object"));
    assert!(error(br#"{"kind": "List", "items": {}}"#).starts_with("in.json, List: items: not a list"));
}

#[test]
fn nothing_at_all_is_an_error() {
    for text in ["", " \n", "null", "---\n---\n", "# only a comment\n", "\u{feff}"] {
        assert!(error(text.as_bytes()).starts_with("in.json: there is nothing in it"), "{text:?}");
    }
    assert!(error(&gzip(b"")).starts_with("in.json: there is nothing in it"));
}

#[test]
fn duplicates_name_both_positions() {
    let two = format!("{}, {}", pod("{}"), pod("{}"));
    let text = format!("{}\n{}", list(""), list(&two));
    let error = error(text.as_bytes());
    assert_eq!(
        error.lines().next(),
        Some(
            "in.json: document 2: items[1], Pod web: metadata.name: there is already a Pod of this name at in.json: \
             document 2: items[0]: remove one of the two"
        )
    );
    // The same name elsewhere, or of another kind, is no duplicate.
    let fine = format!(
        "{}, {}, {}",
        pod("{}"),
        pod("{}").replace(r#""name""#, r#""namespace": "other", "name""#),
        pod("{}").replace("Pod", "Node")
    );
    assert_eq!(read_bytes(list(&fine).as_bytes()).expect("valid").pods.len(), 2);
}

#[test]
fn skipping_leaves_out_what_is_malformed_and_lists_it() {
    let text =
        list(&format!("null, {}, {}", pod(r#"{"priority": "high"}"#), pod("{}").replace("web", "api")));
    let options = ReadOptions { skip_invalid: true, ..ReadOptions::default() };
    let snapshot = read(&[Source { name: "in.json", bytes: text.as_bytes() }], &options).expect("skipped");
    assert_eq!(snapshot.pods.len(), 1);
    let shown: Vec<String> = snapshot.invalid.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 2);
    assert_eq!(
        shown[1],
        "in.json: items[1], Pod web: spec.priority: invalid type: string \"high\", expected i32"
    );
    // What is not even JSON is never skipped: nobody knows what was lost.
    assert!(read(&[Source { name: "in.json", bytes: b"{" }], &options).is_err());
}

#[test]
fn a_million_labels_are_too_much_for_one_object() {
    let labels: Vec<String> = (0..1_000_000).map(|i| format!(r#""l{i}":"v""#)).collect();
    let item =
        format!(r#"{{"kind": "Pod", "metadata": {{"name": "web", "labels": {{{}}}}}}}"#, labels.join(","));
    assert_eq!(
        object_error(&item),
        "in.json: items[0], Pod web: the object is 13 MiB of JSON, and Kubernetes itself holds none above 1.5 MiB: at \
         most 8 MiB are read"
    );
    let fewer = format!(
        r#"{{"kind": "Pod", "metadata": {{"name": "web", "labels": {{{}}}}}}}"#,
        labels[..100_000].join(",")
    );
    assert_eq!(read_bytes(fewer.as_bytes()).expect("valid").pods[0].labels.len(), 100_000);
}

#[test]
fn lists_that_are_compared_with_each_other_are_short() {
    let requirement = r#"{"key": "a", "operator": "In", "values": ["x"]}"#;
    let pool = |count: usize| {
        let requirements = vec![requirement; count].join(",");
        format!(
            r#"{{"kind": "NodePool", "metadata": {{"name": "p"}}, "spec": {{"template": {{"spec": {{
               "requirements": [{requirements}]}}}}}}}}"#
        )
    };
    assert_eq!(read_bytes(pool(1000).as_bytes()).expect("valid").node_pools.len(), 1);
    assert_eq!(
        object_error(&pool(1001)),
        "in.json: items[0], NodePool p: spec.template.spec.requirements: more than 1000 items: no such list is that long"
    );
    let tolerations = vec!["{}"; 1001].join(",");
    assert!(
        spec_error(&format!(r#"{{"tolerations": [{tolerations}]}}"#))
            .starts_with(".tolerations: more than 1000")
    );
}

#[test]
fn invalid_utf8_says_at_which_byte() {
    let mut bytes = list(&pod("{}")).into_bytes();
    let at = bytes.len() - 20;
    bytes[at] = 0xff;
    assert_eq!(error(&bytes), format!("in.json: not UTF-8 text at byte {at} (line 1)"));
    assert_eq!(
        error(b"\xff\xfe{\0"),
        "in.json: not UTF-8 text at byte 0 (line 1); it looks like UTF-16, which PowerShell writes: save it as UTF-8"
    );
}

#[test]
fn deep_nesting_is_bounded() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    // In a field that is not read, any depth is skipped over.
    let item = format!(r#"{{"kind": "Pod", "metadata": {{"name": "web"}}, "x": {}}}"#, deep(200_000));
    assert_eq!(read_bytes(item.as_bytes()).expect("skipped over").pods.len(), 1);
    // In one that is read, it has the wrong type.
    assert!(object_error(&pod(&format!(r#"{{"affinity": {}}}"#, deep(200_000)))).contains("spec.affinity"));
    let lists =
        format!("{}{}{}", r#"{"kind": "List", "items": ["#.repeat(50_000), pod("{}"), "]}".repeat(50_000));
    assert!(
        error(lists.as_bytes()).contains(
            "items[0].items[0].items[0].items[0], List: items: lists within lists, more than 4 deep"
        )
    );
    assert!(error(format!("a: {}", deep(200_000)).as_bytes()).starts_with("in.json: line 1, column "));
    let block: Vec<String> = (0..5_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    assert!(error(block.concat().as_bytes()).contains("not valid YAML"));
}

#[test]
fn bombs_do_not_go_off() {
    let yaml = (1..30).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
        let refs = vec![format!("*a{}", n - 1); 10].join(", ");
        format!("{text}a{n}: &a{n} [{refs}]\n")
    });
    assert!(error(yaml.as_bytes()).contains("not valid YAML"));
    assert!(error(b"kind: Pod\nmetadata: &m {name: web, labels: *m}").contains("in.json"));
    let wide = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 50_000].join(", "));
    assert!(error(wide.as_bytes()).contains("not valid YAML"));

    let zeros = gzip(&vec![b' '; 64 << 20]);
    let options = ReadOptions { max_unpacked: 8 << 20, ..ReadOptions::default() };
    let problem = read(&[Source { name: "in.gz", bytes: &zeros }], &options).expect_err("too large");
    assert_eq!(
        problem.to_string(),
        "in.gz: unpacks to more than 8 MiB; if that is meant, unpack it first and give the plain file"
    );
}

#[test]
fn broken_gzip_is_an_error() {
    let packed = gzip(list(&pod("{}")).as_bytes());
    for end in 2..packed.len() {
        let problem = error(&packed[..end]);
        assert!(problem.starts_with("in.json: cannot unpack the gzip data: "), "{problem}");
    }
}

#[test]
fn repeated_fields_are_an_error() {
    let error = spec_error(r#"{"priority": 1, "priority": 2}"#);
    assert!(error.contains("duplicate field `priority`"), "{error}");
}

#[test]
fn annotations_of_our_own_are_read_when_the_file_is() {
    let pool = |key: &str, value: &str| {
        object_error(&format!(
            r#"{{"kind": "NodePool", "metadata": {{"name": "p", "annotations": {{"{key}": {value}}}}}}}"#
        ))
    };
    assert_eq!(
        pool("stowage.dev/node-cost", r#""-1""#),
        "in.json: items[0], NodePool p: metadata.annotations[stowage.dev/node-cost]: \"-1\" is no amount of dollars an \
         hour: write a number from 0 to 1000 with at most six decimals, as in 0.005"
    );
    assert!(pool("stowage.dev/max-node-cpu", r#""big""#).contains("is not a quantity"));
    assert!(pool("stowage.dev/max-node-cpu", "64").contains("put it in quotes"));
    assert!(
        read_bytes(
            list(r#"{"kind": "NodePool", "metadata": {"name": "p", "annotations": {"x": null}}}"#).as_bytes()
        )
        .is_ok()
    );
}

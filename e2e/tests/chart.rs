//! The charts: rendered by Helm, and tried on a real API server without keeping anything.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests too")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use stowage_e2e::{Client, ControlPlane, Helm, Options, crds};

const NAME: [&str; 2] = ["--set", "settings.clusterName=lab"];

fn chart(name: &str) -> PathBuf {
    crds::root().join("deploy/charts").join(name)
}

/// A file of values that sets what is empty or off by default.
fn everything() -> String {
    crds::root().join("e2e/charts/everything.yaml").display().to_string()
}

/// Where objects of each kind are: (group and version, kind) → collection, with `{ns}` where they are in namespaces.
fn collections(client: &Client, objects: &[Value]) -> BTreeMap<(String, String), String> {
    let versions: BTreeSet<&str> = objects.iter().filter_map(|o| o["apiVersion"].as_str()).collect();
    let mut found = BTreeMap::new();
    for version in versions {
        let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
        let Ok(list) = client.get(&root) else { continue };
        for resource in list["resources"].as_array().unwrap() {
            let (name, kind) = (resource["name"].as_str().unwrap(), resource["kind"].as_str().unwrap());
            if name.contains('/') {
                continue;
            }
            let within = if resource["namespaced"] == true { "/namespaces/{ns}" } else { "" };
            found.insert((version.to_owned(), kind.to_owned()), format!("{root}{within}/{name}"));
        }
    }
    found
}

/// What `kubectl apply --server-side --dry-run=server` does with each object; returns what is wrong.
fn apply(client: &Client, objects: &[Value]) -> Vec<String> {
    let collections = collections(client, objects);
    let mut wrong = Vec::new();
    for object in objects {
        let [version, kind, name] = [&object["apiVersion"], &object["kind"], &object["metadata"]["name"]]
            .map(|text| text.as_str().unwrap_or_default().to_owned());
        let Some(collection) = collections.get(&(version, kind.clone())) else {
            wrong.push(format!("{kind} {name}: of no known kind"));
            continue;
        };
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("stowage");
        let path = format!(
            "{}/{name}?dryRun=All&fieldManager=e2e&fieldValidation=Strict",
            collection.replace("{ns}", namespace)
        );
        let answer = client.send("PATCH", &path, "application/apply-patch+yaml", Some(object)).unwrap();
        if answer.status >= 300 {
            wrong.push(format!("{kind} {name}: {}", answer.body["message"]));
        }
    }
    wrong
}

fn kinds(objects: &[Value]) -> BTreeSet<&str> {
    objects.iter().filter_map(|object| object["kind"].as_str()).collect()
}

fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("there is no {kind}"))
}

#[test]
fn charts_are_as_helm_wants_them() {
    let helm = Helm::ready().unwrap();
    helm.lint(&chart("stowage"), &NAME).unwrap();
    helm.lint(&chart("stowage"), &[&NAME[..], &["--values", &everything()]].concat()).unwrap();
    helm.lint(&chart("stowage-crd"), &[]).unwrap();
    // The one thing that has no default.
    let error = helm.template(&chart("stowage"), &[]).unwrap_err().to_string();
    assert!(error.contains("settings.clusterName is needed"), "{error}");
}

#[test]
fn the_api_server_takes_what_charts_come_to() {
    let helm = Helm::ready().unwrap();
    let plane = ControlPlane::start(&Options { pod_security: true, ..Options::default() }).unwrap();
    let client = plane.client();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": "stowage", "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
    }});
    client.create("/api/v1/namespaces", &namespace).unwrap();

    let definitions = helm.template(&chart("stowage-crd"), &[]).unwrap();
    assert_eq!(definitions.len(), 7);
    assert_eq!(apply(client, &definitions), Vec::<String>::new());
    for definition in &definitions {
        assert_eq!(definition["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    }

    let by_default = helm.template(&chart("stowage"), &NAME).unwrap();
    assert_eq!(
        kinds(&by_default),
        BTreeSet::from([
            "ClusterRole",
            "ClusterRoleBinding",
            "Deployment",
            "NetworkPolicy",
            "PodDisruptionBudget",
            "Role",
            "RoleBinding",
            "Service",
            "ServiceAccount",
        ])
    );
    assert_eq!(apply(client, &by_default), Vec::<String>::new());

    let values = everything();
    let flags = [&NAME[..], &["--values", &values, "--api-versions", "monitoring.coreos.com/v1"]].concat();
    let (monitors, all): (Vec<Value>, Vec<Value>) = helm
        .template(&chart("stowage"), &flags)
        .unwrap()
        .into_iter()
        .partition(|o| o["kind"] == "ServiceMonitor");
    assert_eq!(monitors.len(), 1);
    assert_eq!(apply(client, &all), Vec::<String>::new());

    // Its pods keep to the restricted level: as it is by default, and with all that can be set.
    for objects in [&by_default, &all] {
        let template = &only(objects, "Deployment")["spec"]["template"];
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]});
        pod["metadata"]["name"] = json!("stowage");
        client.create("/api/v1/namespaces/stowage/pods?dryRun=All", &pod).unwrap();
        pod["spec"]["containers"][0]["securityContext"]["runAsNonRoot"] = json!(false);
        let error =
            client.create("/api/v1/namespaces/stowage/pods?dryRun=All", &pod).unwrap_err().to_string();
        assert!(error.contains("violates PodSecurity"), "{error}");
    }
}

#[test]
fn objects_of_the_chart_find_each_other() {
    let helm = Helm::ready().unwrap();
    let flags =
        [&NAME[..], &["--set", "serviceMonitor.enabled=true", "--api-versions", "monitoring.coreos.com/v1"]];
    let objects = helm.template(&chart("stowage"), &flags.concat()).unwrap();
    let deployment = only(&objects, "Deployment");
    let own = &deployment["spec"]["selector"]["matchLabels"];
    let pod = &deployment["spec"]["template"];
    for (kind, at) in [
        ("Service", "/spec/selector"),
        ("PodDisruptionBudget", "/spec/selector/matchLabels"),
        ("NetworkPolicy", "/spec/podSelector/matchLabels"),
        ("ServiceMonitor", "/spec/selector/matchLabels"),
    ] {
        assert_eq!(only(&objects, kind).pointer(at), Some(own), "{kind}");
    }
    for (name, value) in own.as_object().unwrap() {
        assert_eq!(&pod["metadata"]["labels"][name], value);
        assert_eq!(&only(&objects, "Service")["metadata"]["labels"][name], value);
    }
    // Rules about other pods mean its own.
    let spec = &pod["spec"];
    let apart = &spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(&apart["labelSelector"]["matchLabels"], own);
    assert_eq!(&spec["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"], own);
    // Ports by name are there.
    let container = &spec["containers"][0];
    let ports: BTreeSet<&str> =
        container["ports"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
    assert_eq!(ports, BTreeSet::from(["http", "http-metrics"]));
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"]["port"], "http");
    }
    // Who the roles are bound to is who the pods are.
    let account = only(&objects, "ServiceAccount")["metadata"]["name"].clone();
    assert_eq!(spec["serviceAccountName"], account);
    for kind in ["ClusterRoleBinding", "RoleBinding"] {
        assert_eq!(only(&objects, kind)["subjects"][0]["name"], account);
    }
    // Environment as Karpenter's.
    let environment: BTreeMap<&str, &Value> = container["env"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|variable| Some((variable["name"].as_str()?, &variable["value"])))
        .collect();
    for (name, value) in [
        ("CLUSTER_NAME", "lab"),
        ("BATCH_IDLE_DURATION", "1s"),
        ("BATCH_MAX_DURATION", "10s"),
        ("IGNORE_DRA_REQUESTS", "true"),
        ("ISOLATED_VPC", "false"),
        ("METRICS_PORT", "8080"),
        ("VM_MEMORY_OVERHEAD_PERCENT", "0.075"),
        (
            "FEATURE_GATES",
            "CapacityBuffer=false,NodeOverlay=false,NodeRepair=false,ReservedCapacity=true,\
             SpotToSpotConsolidation=false,StaticCapacity=false",
        ),
        ("AWS_FEATURE_GATES", "NodeClassCEL=false"),
    ] {
        assert_eq!(environment.get(name), Some(&&json!(value)), "{name}");
    }
    assert!(!environment.contains_key("INTERRUPTION_QUEUE"), "what is empty is not set");
}

/// What the controller may do is said word by word, and no more than it needs.
#[test]
fn roles_say_what_they_allow() {
    let helm = Helm::ready().unwrap();
    let objects = helm.template(&chart("stowage"), &NAME).unwrap();
    for role in
        objects.iter().filter(|o| ["Role", "ClusterRole"].contains(&o["kind"].as_str().unwrap_or_default()))
    {
        for rule in role["rules"].as_array().unwrap() {
            let text = rule.to_string();
            assert!(!text.contains('*'), "{text}");
            assert!(
                !text.contains("secrets") && !text.contains("escalate") && !text.contains("bind"),
                "{text}"
            );
        }
    }
}

/// Who sends pods to Fargate may change one Secret, its own `ConfigMaps` and one registration, and nothing else of its namespace.
#[test]
fn roles_for_fargate_are_there_where_it_is_wanted() {
    let helm = Helm::ready().unwrap();
    let objects = |values: &[&str]| -> Vec<Value> {
        let flags = values.iter().flat_map(|value| ["--set", *value]);
        let flags: Vec<&str> = NAME.iter().copied().chain(flags).collect();
        helm.template(&chart("stowage"), &flags).unwrap()
    };
    let rules = |values: &[&str]| -> Vec<Value> {
        let roles = objects(values)
            .into_iter()
            .filter(|o| ["Role", "ClusterRole"].contains(&o["kind"].as_str().unwrap_or_default()));
        roles.flat_map(|role| role["rules"].as_array().unwrap().clone()).collect()
    };
    let of = |rules: &[Value], resource: &str| -> Vec<Value> {
        let has = |rule: &&Value| rule["resources"].as_array().unwrap().contains(&json!(resource));
        rules.iter().filter(has).cloned().collect()
    };
    let without = rules(&[]);
    for resource in ["secrets", "mutatingwebhookconfigurations", "configmaps", "fargatepolicies"] {
        assert!(of(&without, resource).is_empty(), "{resource}");
    }
    let with = rules(&["settings.fargate=true"]);
    for (resource, named, wide) in [
        ("secrets", 1, json!(null)),
        ("mutatingwebhookconfigurations", 1, json!(["create"])),
        ("configmaps", 33, json!(["list", "watch", "create"])),
    ] {
        let all = of(&with, resource);
        let (of_names, of_all): (Vec<_>, Vec<_>) =
            all.iter().partition(|rule| rule["resourceNames"].is_array());
        let names = of_names.iter().map(|rule| rule["resourceNames"].as_array().unwrap().len());
        assert_eq!(names.sum::<usize>(), named, "{all:?}");
        assert_eq!(of_all.first().map_or(&Value::Null, |rule| &rule["verbs"]), &wide, "{all:?}");
        assert!(of_all.len() <= 1, "{all:?}");
    }
    let secrets = |values: &[&str]| -> Vec<Value> {
        objects(values).into_iter().filter(|object| object["kind"] == "Secret").collect()
    };
    let made = secrets(&["settings.fargate=true"]);
    let name = &of(&with, "secrets")[0]["resourceNames"][0];
    assert_eq!(
        (made.len(), &made[0]["metadata"]["name"]),
        (1, name),
        "it is there for the controller to fill"
    );
    assert!(made[0].get("data").is_none(), "an upgrade leaves the certificate as it is");
    let others = ["settings.fargate=true", "controller.webhook.certificateSecret=hook"];
    assert!(of(&rules(&others), "secrets").is_empty(), "somebody else keeps the certificate");
    assert_eq!(secrets(&others), [] as [Value; 0]);
    assert_eq!(secrets(&[]), [] as [Value; 0]);
}

#[test]
fn policies_are_least() {
    let known: BTreeSet<&str> =
        ["PARTITION", "REGION", "ACCOUNT", "CLUSTER_NAME", "QUEUE", "NODE_ROLE_ARN"].into_iter().collect();
    let mut documents = 0;
    for entry in fs::read_dir(crds::root().join("deploy/iam")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        documents += 1;
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for placeholder in text.split("${").skip(1) {
            let placeholder = placeholder.split('}').next().unwrap();
            assert!(known.contains(placeholder), "{name}: {placeholder}");
        }
        let document: Value = serde_json::from_str(&text).unwrap();
        // The most that IAM takes of a managed policy, white space aside.
        assert!(document.to_string().len() <= 6144, "{name}");
        let mut names = BTreeSet::new();
        for statement in document["Statement"].as_array().unwrap() {
            let sid = statement["Sid"].as_str().unwrap();
            assert!(names.insert(sid) && sid.chars().all(|c| c.is_ascii_alphanumeric()), "{name}: {sid}");
            if statement["Effect"] == "Deny" {
                continue;
            }
            let actions = match &statement["Action"] {
                Value::Array(actions) => actions.clone(),
                one => vec![one.clone()],
            };
            for action in actions.iter().map(|action| action.as_str().unwrap()) {
                assert!(!action.contains('*'), "{name}: {sid}: {action}");
                let reads = ["Describe", "Get", "List"]
                    .iter()
                    .any(|verb| action.split(':').nth(1).unwrap().starts_with(verb));
                let trusts = statement.get("Principal").is_some();
                assert!(
                    reads || trusts || statement["Resource"] != "*",
                    "{name}: {sid}: {action} on everything"
                );
                // What changes or removes looks at whose it is.
                let touches = ["Terminate", "Delete", "Create", "Tag", "AddRole", "RemoveRole"];
                if touches.iter().any(|verb| action.split(':').nth(1).unwrap().starts_with(verb))
                    && !action.starts_with("sqs:")
                    && sid != "LaunchFromWhatIsThere"
                    && !trusts
                {
                    assert!(
                        statement["Condition"].to_string().contains("kubernetes.io/cluster/"),
                        "{name}: {sid}"
                    );
                }
            }
        }
    }
    assert_eq!(documents, 10);
}

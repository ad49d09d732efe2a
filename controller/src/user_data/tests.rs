use serde_json::json;

use super::*;

fn boot() -> Boot {
    Boot {
        cluster: "shop".to_owned(),
        endpoint: "https://api.example".to_owned(),
        ca_bundle: "Q0E=".to_owned(),
        service_cidr: Some("10.100.0.0/16".to_owned()),
        dns: Some("10.100.0.10".to_owned()),
        labels: [
            ("karpenter.sh/nodepool", "default"),
            ("team", "a"),
            ("kubernetes.io/arch", "amd64"),
            ("example.k8s.io/tier", "x"),
            ("node.kubernetes.io/mine", "y"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into(),
        taints: vec![
            taint("dedicated", "batch", Effect::NoSchedule),
            taint("karpenter.sh/unregistered", "", Effect::NoExecute),
        ],
        max_pods: Some(29),
        kubelet: [("evictionHard".to_owned(), json!({"memory.available": "5%"}))].into(),
        raid0: true,
        custom: None,
    }
}

fn taint(key: &str, value: &str, effect: Effect) -> Taint {
    Taint { key: key.to_owned(), value: value.to_owned(), effect }
}

/// The parts of MIME, as cloud-init sees them.
fn parts(text: &str) -> Vec<(String, String)> {
    mime::split(text).expect("MIME")
}

fn node_config(text: &str) -> Value {
    let (kind, text) = parts(text).pop().expect("a part");
    assert_eq!(kind, mime::NODE_CONFIG);
    serde_json::from_str(text.trim_start_matches("# Written by the controller.\n")).expect("JSON")
}

#[test]
fn kubelet_sets_no_label_that_it_may_not() {
    assert_eq!(
        boot().label_flag(),
        "karpenter.sh/nodepool=default,kubernetes.io/arch=amd64,node.kubernetes.io/mine=y,team=a"
    );
}

#[test]
fn amazon_linux_2023_gets_a_node_config_last() {
    let told = boot().user_data(AmiFamily::Al2023).expect("complete");
    let config = node_config(&told);
    assert_eq!(config["spec"]["cluster"]["cidr"], "10.100.0.0/16");
    let kubelet = &config["spec"]["kubelet"];
    assert_eq!(kubelet["config"]["maxPods"], 29);
    assert_eq!(kubelet["config"]["clusterDNS"], json!(["10.100.0.10"]));
    assert_eq!(kubelet["config"]["evictionHard"], json!({"memory.available": "5%"}));
    assert_eq!(
        kubelet["config"]["registerWithTaints"],
        json!([
            {"key": "dedicated", "value": "batch", "effect": "NoSchedule"},
            {"key": "karpenter.sh/unregistered", "effect": "NoExecute"},
        ])
    );
    assert_eq!(config["spec"]["instance"], json!({"localStorage": {"strategy": "RAID0"}}));

    let without = Boot { service_cidr: None, ..boot() };
    assert!(matches!(without.user_data(AmiFamily::Al2023), Err(UserDataError::Missing(_))));
}

#[test]
fn what_the_user_wrote_comes_first_whatever_it_is() {
    let with = |custom: &str| {
        let boot = Boot { custom: Some(custom.to_owned()), ..boot() };
        let kinds = parts(&boot.user_data(AmiFamily::Al2023).expect("readable")).into_iter();
        kinds.map(|(kind, text)| (kind, text.trim().to_owned())).collect::<Vec<_>>()
    };
    let script = with("echo hello");
    assert_eq!((script.len(), script[0].0.as_str(), script[0].1.as_str()), (2, mime::SHELL, "echo hello"));
    let config = with("apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec: {}");
    assert_eq!((config.len(), config[0].0.as_str()), (2, mime::NODE_CONFIG));
    let several = with(
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"X\"\r\n\r\n--X\r\nContent-Type: text/x-shellscript\r\n\r\n\
         one\r\n--X\r\ncontent-type: application/node.eks.aws\r\n\r\ntwo\r\n--X--\r\nafter",
    );
    let seen: Vec<(&str, &str)> = several.iter().map(|(k, t)| (k.as_str(), t.as_str())).take(2).collect();
    assert_eq!(seen, [("text/x-shellscript", "one"), (mime::NODE_CONFIG, "two")]);
    assert_eq!(several.len(), 3);

    for broken in [
        "MIME-Version: 1.0",
        "MIME-Version: 1.0\n\nbody",
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"\"\n\nx",
    ] {
        let boot = Boot { custom: Some(broken.to_owned()), ..boot() };
        assert!(matches!(boot.user_data(AmiFamily::Al2023), Err(UserDataError::Custom(_))), "{broken}");
    }
}

#[test]
fn amazon_linux_2_gets_flags_that_the_shell_leaves_alone() {
    let boot = Boot { cluster: "it's".to_owned(), ..boot() };
    let told = boot.user_data(AmiFamily::Al2).expect("complete");
    let (_, script) = parts(&told).pop().expect("a part");
    for needed in [
        "/etc/eks/bootstrap.sh 'it'\\''s' --apiserver-endpoint 'https://api.example' --b64-cluster-ca 'Q0E='",
        "--dns-cluster-ip '10.100.0.10'",
        "--use-max-pods false",
        "--local-disks raid0",
        "--register-with-taints=\"dedicated=batch:NoSchedule,karpenter.sh/unregistered=:NoExecute\"",
        "--max-pods=29",
        "--eviction-hard=\"memory.available<5%\"",
    ] {
        assert!(script.contains(needed), "{needed} in {script}");
    }
}

#[test]
fn bottlerocket_keeps_the_users_settings_but_those_that_are_ours() {
    let custom = "[settings.kernel]\nlockdown = \"integrity\"\n[settings.kubernetes]\ncluster-name = \"other\"\n\
                  [settings.kubernetes.node-labels]\nmine = \"yes\"\n[settings.kubernetes.kube-reserved]\ncpu = \"10m\"\n";
    let boot = Boot { custom: Some(custom.to_owned()), ..boot() };
    let told = boot.user_data(AmiFamily::Bottlerocket).expect("TOML");
    let read: toml_edit::DocumentMut = told.parse().expect("TOML");
    let kubernetes = &read["settings"]["kubernetes"];
    assert_eq!(read["settings"]["kernel"]["lockdown"].as_str(), Some("integrity"));
    assert_eq!(kubernetes["cluster-name"].as_str(), Some("shop"));
    assert_eq!(kubernetes["node-labels"]["mine"].as_str(), Some("yes"));
    assert_eq!(kubernetes["node-labels"]["team"].as_str(), Some("a"));
    assert_eq!(kubernetes["kube-reserved"]["cpu"].as_str(), Some("10m"));
    assert_eq!(kubernetes["max-pods"].as_integer(), Some(29));
    assert_eq!(kubernetes["cluster-dns-ip"].as_str(), Some("10.100.0.10"));
    assert_eq!(kubernetes["eviction-hard"]["memory.available"].as_str(), Some("5%"));
    assert_eq!(kubernetes["node-taints"]["dedicated"][0].as_str(), Some("batch:NoSchedule"));
    let commands = &read["settings"]["bootstrap-commands"]["000-mount-instance-storage"]["commands"];
    assert_eq!(commands[0][1].as_str(), Some("ephemeral-storage"));

    for broken in ["[settings", "settings = 3"] {
        let boot = Boot { custom: Some(broken.to_owned()), ..super::tests::boot() };
        assert!(matches!(boot.user_data(AmiFamily::Bottlerocket), Err(UserDataError::Custom(_))), "{broken}");
    }
}

#[test]
fn windows_runs_the_users_script_before_its_own() {
    let boot = Boot { custom: Some("<powershell>\nWrite-Host hi\n</powershell>".to_owned()), ..boot() };
    let told = boot.user_data(AmiFamily::Windows(stowage_pricing::WindowsYear::Y2022)).expect("complete");
    assert_eq!(told.matches("<powershell>").count(), 1);
    let (own, ours) =
        (told.find("Write-Host hi").expect("there"), told.find("-EKSClusterName 'shop'").expect("there"));
    assert!(own < ours && told.contains("--max-pods=29") && told.contains("-DNSClusterIP '10.100.0.10'"));
}

#[test]
fn custom_images_are_told_what_the_user_says_and_nothing_else() {
    let boot = Boot { custom: Some("#!/bin/sh\njoin\n".to_owned()), ..boot() };
    assert_eq!(boot.user_data(AmiFamily::Custom).as_deref(), Ok("#!/bin/sh\njoin\n"));
    let long = Boot { custom: Some("x".repeat(MOST_BYTES + 1)), ..boot };
    assert_eq!(long.user_data(AmiFamily::Custom), Err(UserDataError::TooLong { bytes: MOST_BYTES + 1 }));
}

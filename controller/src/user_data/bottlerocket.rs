//! Bottlerocket: settings in TOML. The user's stay, but for those that make the node what was planned.

use serde_json::Value;
use toml_edit::{DocumentMut, Item, Table, TableLike, value};

use super::{Boot, UserDataError, effect};

pub(super) fn user_data(boot: &Boot) -> Result<String, UserDataError> {
    let text = boot.custom.as_deref().unwrap_or_default();
    let mut settings: DocumentMut =
        text.parse().map_err(|e: toml_edit::TomlError| UserDataError::Custom(e.message().to_owned()))?;
    let kubernetes = table(table(settings.as_table_mut(), "settings")?, "kubernetes")?;
    kubernetes.insert("cluster-name", value(&boot.cluster));
    kubernetes.insert("api-server", value(&boot.endpoint));
    kubernetes.insert("cluster-certificate", value(&boot.ca_bundle));
    let config = boot.kubelet_config();
    match config.get("clusterDNS").and_then(Value::as_array).map(Vec::as_slice) {
        Some([one]) => drop(kubernetes.insert("cluster-dns-ip", item(one))),
        Some(several) if !several.is_empty() => {
            kubernetes.insert("cluster-dns-ip", item(&Value::from(several.to_vec())));
        }
        _ => {}
    }
    let numbers = [
        ("maxPods", "max-pods"),
        ("imageGCHighThresholdPercent", "image-gc-high-threshold-percent"),
        ("imageGCLowThresholdPercent", "image-gc-low-threshold-percent"),
        ("evictionMaxPodGracePeriod", "eviction-max-pod-grace-period"),
        ("cpuCFSQuota", "cpu-cfs-quota-enforced"),
    ];
    for (name, key) in numbers {
        if let Some(setting) = config.get(name) {
            // Percentages are texts there.
            let text = key.ends_with("-percent").then(|| Value::from(setting.to_string()));
            kubernetes.insert(key, item(text.as_ref().unwrap_or(setting)));
        }
    }
    let maps = [
        ("kubeReserved", "kube-reserved"),
        ("systemReserved", "system-reserved"),
        ("evictionHard", "eviction-hard"),
        ("evictionSoft", "eviction-soft"),
        ("evictionSoftGracePeriod", "eviction-soft-grace-period"),
    ];
    for (name, key) in maps {
        if let Some(Value::Object(entries)) = config.get(name) {
            let of = table(kubernetes, key)?;
            for (resource, amount) in entries {
                of.insert(resource, item(amount));
            }
        }
    }
    let labels = table(kubernetes, "node-labels")?;
    for (key, label) in boot.own_labels() {
        labels.insert(key, value(label));
    }
    let taints = table(kubernetes, "node-taints")?;
    // A key may have several: with one value and effect each.
    let mut by_key = std::collections::BTreeMap::<&str, Vec<String>>::new();
    for taint in &boot.taints {
        by_key.entry(&taint.key).or_default().push(format!("{}:{}", taint.value, effect(taint)));
    }
    for (key, effects) in by_key {
        taints.insert(key, item(&Value::from(effects)));
    }
    if boot.raid0 {
        let commands = table(table(settings.as_table_mut(), "settings")?, "bootstrap-commands")?;
        let ours = table(commands, "000-mount-instance-storage")?;
        ours.insert("mode", value("always"));
        ours.insert("essential", value(true));
        let steps = [["apiclient", "ephemeral-storage", "init"], ["apiclient", "ephemeral-storage", "bind"]];
        let bind = ["--dirs", "/var/lib/containerd", "/var/lib/kubelet", "/var/log/pods"];
        let steps: Vec<Value> = steps
            .iter()
            .enumerate()
            .map(|(at, step)| {
                Value::from(if at == 0 { step.to_vec() } else { [step.as_slice(), &bind].concat() })
            })
            .collect();
        ours.insert("commands", item(&Value::from(steps)));
    }
    Ok(settings.to_string())
}

/// The table of this name, made where there is none.
fn table<'t>(of: &'t mut dyn TableLike, name: &str) -> Result<&'t mut dyn TableLike, UserDataError> {
    if !of.contains_key(name) {
        let mut new = Table::new();
        new.set_implicit(true);
        of.insert(name, Item::Table(new));
    }
    let found = of.get_mut(name).and_then(Item::as_table_like_mut);
    found.ok_or_else(|| UserDataError::Custom(format!("{name} is no table")))
}

/// A setting of kubelet as TOML has it.
fn item(setting: &Value) -> Item {
    fn of(setting: &Value) -> toml_edit::Value {
        match setting {
            Value::Bool(yes) => (*yes).into(),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => whole.into(),
                (None, part) => part.unwrap_or_default().into(),
            },
            Value::String(text) => text.as_str().into(),
            Value::Array(all) => all.iter().map(of).collect(),
            Value::Null => "".into(),
            Value::Object(fields) => {
                let fields = fields.iter().map(|(key, field)| (key.as_str(), of(field)));
                fields.collect::<toml_edit::InlineTable>().into()
            }
        }
    }
    Item::Value(of(setting))
}

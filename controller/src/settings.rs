//! Flags and environment: named as Karpenter's where they mean the same.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use stowage_cluster::LowerOptions;
use stowage_cluster::disrupt::Payback;
use stowage_pricing::Share;
use stowage_solver::{Aims, Options, SavingFloor};

use crate::gates::Gates;
use crate::life::surge::SurgeFirst;

/// Follows a cluster, plans for its pending pods, and asks for nodes
#[derive(Clone, Debug, Parser)]
#[command(name = "stowage-controller", version)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, named as Karpenter names it")]
pub struct Settings {
    /// Plan when for so long no new pod came
    #[arg(long, env = "BATCH_IDLE_DURATION", value_parser = duration, default_value = "1s")]
    pub batch_idle_duration: Duration,

    /// Plan so long after the first pod at the latest
    #[arg(long, env = "BATCH_MAX_DURATION", value_parser = duration, default_value = "10s")]
    pub batch_max_duration: Duration,

    /// Share of memory that the hypervisor and kernel keep of what EC2 advertises
    #[arg(long, env = "VM_MEMORY_OVERHEAD_PERCENT", default_value = "0.075")]
    pub vm_memory_overhead_percent: Share,

    /// Network interfaces of each node that pods get no addresses of
    #[arg(long, env = "RESERVED_ENIS", default_value_t = 0)]
    pub reserved_enis: u32,

    /// Whether preferences of pods are weighed
    #[arg(long, env = "PREFERENCE_POLICY", value_enum, ignore_case = true, default_value = "respect")]
    pub preference_policy: PreferencePolicy,

    /// What becomes of pods for which minValues of a NodePool cannot be met
    #[arg(long, env = "MIN_VALUES_POLICY", value_enum, ignore_case = true, default_value = "strict")]
    pub min_values_policy: MinValuesPolicy,

    /// How hard to look for cheaper plans
    #[arg(long, env = "STOWAGE_EFFORT", value_enum, default_value = "balanced")]
    pub effort: Effort,

    /// Stop looking at this distance from the proven bound, as a share of it
    #[arg(long, env = "STOWAGE_GAP", default_value_t = 0.02)]
    pub gap: f64,

    /// File of instance types and prices to use instead of what AWS says
    #[arg(long, env = "STOWAGE_CATALOG", value_name = "FILE")]
    pub catalog: Option<PathBuf>,

    /// Folder to keep AWS's answers in
    #[arg(long, env = "STOWAGE_CACHE", value_name = "FOLDER", default_value = "/var/cache/stowage")]
    pub cache: PathBuf,

    /// Name of the cluster: machines carry it as a tag, and are found by it
    #[arg(long, env = "CLUSTER_NAME", default_value = "")]
    pub cluster_name: String,

    /// URL of the API server, as machines are told it [default: as EKS says]
    #[arg(long, env = "CLUSTER_ENDPOINT")]
    pub cluster_endpoint: Option<String>,

    /// Ask EKS for the cluster's endpoint, authorities and Services; without it, only where no endpoint is stated
    #[arg(long, env = "EKS_CONTROL_PLANE", action = clap::ArgAction::Set, num_args = 0..=1,
          default_value_t = false, default_missing_value = "true")]
    pub eks_control_plane: bool,

    /// Authorities that sign the API server's certificate, in base64, as machines are told [default: as EKS says, else
    /// those that the controller trusts]
    #[arg(long, env = "CLUSTER_CA_BUNDLE", default_value = "", hide_default_value = true)]
    pub cluster_ca_bundle: String,

    /// Addresses of Services, which machines of Amazon Linux 2023 are told: 10.100.0.0/16 [default: as the cluster says]
    #[arg(long, env = "STOWAGE_SERVICE_CIDR")]
    pub service_cidr: Option<String>,

    /// Ask for nodes by NodeClaims, and leave it to others to launch them
    #[arg(long, env = "STOWAGE_DISABLE_LAUNCH", action = clap::ArgAction::Set, num_args = 0..=1,
          default_value_t = false, default_missing_value = "true")]
    pub disable_launch: bool,

    /// Do not tell of each pod and node in the metrics
    #[arg(long, env = "DISABLE_CLUSTER_STATE_OBSERVABILITY", action = clap::ArgAction::Set, num_args = 0..=1,
          default_value_t = false, default_missing_value = "true")]
    pub disable_cluster_state_observability: bool,

    /// AWS cannot be reached but by endpoints inside the network: use the prices that are compiled in
    #[arg(long, env = "ISOLATED_VPC", action = clap::ArgAction::Set, num_args = 0..=1,
          default_value_t = false, default_missing_value = "true")]
    pub isolated_vpc: bool,

    /// Leave pods alone that ask for devices by resource claims
    #[arg(long, env = "IGNORE_DRA_REQUESTS", action = clap::ArgAction::Set, num_args = 0..=1,
          default_value_t = true, default_missing_value = "true")]
    pub ignore_dra_requests: bool,

    /// How often images are looked up again; the shorter of this and the next counts for both
    #[arg(long, env = "AMI_REFRESH_INTERVAL", value_parser = interval, default_value = "1m")]
    pub ami_refresh_interval: Duration,

    /// How often subnets are looked up again
    #[arg(long, env = "SUBNET_REFRESH_INTERVAL", value_parser = interval, default_value = "1m")]
    pub subnet_refresh_interval: Duration,

    /// Do not try launches of an EC2NodeClass by dry runs before it is ready
    #[arg(long, env = "DISABLE_DRY_RUN", action = clap::ArgAction::Set, num_args = 0..=1,
          default_value_t = false, default_missing_value = "true")]
    pub disable_dry_run: bool,

    /// Whose pods leave a node only when others are ready in their place: their Deployments, of one replica, are rolled
    #[arg(long, env = "STOWAGE_SURGE_FIRST", value_enum, ignore_case = true, default_value = "never")]
    pub surge_first: SurgeFirst,

    /// The least that a step of consolidation saves: dollars an hour, a share of what its nodes cost, or both with a comma
    /// between
    #[arg(long, env = "STOWAGE_SAVING_FLOOR", value_name = "DOLLARS,SHARE", default_value = "0.005,5%")]
    pub saving_floor: SavingFloor,

    /// Within what time such a step pays for the pods that it moves, each taken to cost a tenth of a cent; Never for any time
    #[arg(long, env = "STOWAGE_PAYBACK", value_name = "TIME", default_value = "10m")]
    pub payback: Payback,

    /// Name of the queue of SQS that `EventBridge` tells of interruptions [default: none is listened to]
    #[arg(long, env = "INTERRUPTION_QUEUE", default_value = "", hide_default_value = true)]
    pub interruption_queue: String,

    /// Launch nothing in zones that the cluster is shifted away from
    #[arg(long, env = "ENABLE_ZONAL_SHIFT", action = clap::ArgAction::Set, num_args = 0..=1,
          default_value_t = false, default_missing_value = "true")]
    pub enable_zonal_shift: bool,

    /// Send pods to Fargate where FargatePolicies say so
    #[arg(long, env = "STOWAGE_FARGATE", action = clap::ArgAction::Set, num_args = 0..=1,
          default_value_t = false, default_missing_value = "true")]
    pub fargate: bool,

    /// Port of the webhook that the API server asks about pods
    #[arg(long, env = "STOWAGE_WEBHOOK_PORT", default_value_t = 8443)]
    pub webhook_port: u16,

    /// Service by which the API server reaches the webhook, in the namespace that the controller runs in
    #[arg(long, env = "KARPENTER_SERVICE", default_value = "stowage")]
    pub webhook_service: String,

    /// URL by which the API server reaches the webhook [default: that of the Service]
    #[arg(long, env = "STOWAGE_WEBHOOK_URL", value_name = "URL")]
    pub webhook_url: Option<String>,

    /// Folder with tls.crt, tls.key and ca.crt for the webhook [default: they are made, and kept in a Secret]
    #[arg(long, env = "STOWAGE_WEBHOOK_CERTIFICATE", value_name = "FOLDER")]
    pub webhook_certificate: Option<PathBuf>,

    /// Address by which other replicas reach this one
    #[arg(long, env = "POD_IP", hide = true)]
    pub pod_ip: Option<IpAddr>,

    /// Port of /metrics
    #[arg(long, env = "METRICS_PORT", default_value_t = 8080)]
    pub metrics_port: u16,

    /// Port of /healthz and /readyz
    #[arg(long, env = "HEALTH_PROBE_PORT", default_value_t = 8081)]
    pub health_probe_port: u16,

    /// Address to listen on
    #[arg(long, env = "STOWAGE_LISTEN", default_value = "0.0.0.0")]
    pub listen: IpAddr,

    /// Lead without asking: for a single replica
    #[arg(long, env = "DISABLE_LEADER_ELECTION", action = clap::ArgAction::Set, num_args = 0..=1,
          default_value_t = false, default_missing_value = "true")]
    pub disable_leader_election: bool,

    /// Name of the Lease that says which replica leads
    #[arg(long, env = "LEADER_ELECTION_NAME", default_value = "karpenter-leader-election")]
    pub leader_election_name: String,

    /// Namespace of that Lease [default: the pod's own, else that of the kubeconfig]
    #[arg(long, env = "LEADER_ELECTION_NAMESPACE")]
    pub leader_election_namespace: Option<String>,

    /// Namespace that the controller runs in
    #[arg(long, env = "SYSTEM_NAMESPACE", hide = true)]
    pub system_namespace: Option<String>,

    /// Name of this replica, the first part of what the Lease calls it [default: the name of the host]
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,

    /// Features that are switched on or off: NodeOverlay=true,StaticCapacity=true
    #[arg(long, env = "FEATURE_GATES", default_value = "", hide_default_value = true)]
    pub feature_gates: Gates,

    /// What is logged: error, warn, info, debug, or a filter by module
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,

    /// How it is logged
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,
}

/// What becomes of preferences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PreferencePolicy {
    /// They hold until they cost a pod its place.
    Respect,
    /// Nobody looks at them.
    Ignore,
}

/// What becomes of `minValues` that cannot be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MinValuesPolicy {
    /// The pod is not placed.
    Strict,
    /// The pod is placed with fewer.
    #[value(alias = "besteffort")]
    BestEffort,
}

/// How hard to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Effort {
    /// One construction, improved a little.
    Quick,
    /// Until the gap is reached, or a few seconds.
    Balanced,
    /// Until hardly anything is left to find.
    Thorough,
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// An object a line.
    Json,
    /// For people.
    Text,
}

impl Settings {
    /// How pods are read.
    pub fn lowering(&self) -> LowerOptions {
        LowerOptions {
            preferences: match self.preference_policy {
                PreferencePolicy::Respect => stowage_cluster::PreferencePolicy::Respect,
                PreferencePolicy::Ignore => stowage_cluster::PreferencePolicy::Ignore,
            },
            min_values: match self.min_values_policy {
                MinValuesPolicy::Strict => stowage_cluster::MinValuesPolicy::Strict,
                MinValuesPolicy::BestEffort => stowage_cluster::MinValuesPolicy::BestEffort,
            },
            no_default_pool: true,
            refuse_devices: self.ignore_dra_requests,
            ..LowerOptions::default()
        }
    }

    /// What consolidation aims for.
    pub fn aims(&self) -> Aims {
        let standard = Aims::default();
        let spot_types = standard.spot_types.filter(|_| self.feature_gates.spot_to_spot_consolidation);
        Aims {
            floor: self.saving_floor.price,
            floor_share: self.saving_floor.share,
            payback: self.payback.0,
            spot_types,
            ..standard
        }
    }

    /// How much of instances pods can use, where no `EC2NodeClass` says.
    pub fn nodes(&self) -> stowage_pricing::Settings {
        let standard = stowage_pricing::Settings::default();
        let nodes = stowage_pricing::NodeConfig {
            vm_memory_overhead: self.vm_memory_overhead_percent,
            reserved_interfaces: self.reserved_enis,
            ..standard.nodes
        };
        stowage_pricing::Settings { nodes, ..standard }
    }

    /// How hard to look for cheaper plans.
    pub fn solving(&self) -> Options {
        let effort = match self.effort {
            Effort::Quick => stowage_solver::Effort::Quick,
            Effort::Balanced => stowage_solver::Effort::Balanced,
            Effort::Thorough => stowage_solver::Effort::Thorough,
        };
        Options { gap: self.gap, effort, ..Options::default() }
    }
}

/// A duration of a minute at least: AWS is asked as often.
fn interval(text: &str) -> Result<Duration, String> {
    let stated = duration(text)?;
    if stated < Duration::from_mins(1) { Err("at least 1m".to_owned()) } else { Ok(stated) }
}

/// A duration as Go writes it: `1s`, `500ms`, `1m30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a duration as 500ms, 1s or 1m30s".to_owned();
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let (unit, seconds) =
            units.into_iter().find(|(unit, _)| after.starts_with(unit)).ok_or_else(wrong)?;
        let amount: f64 = number.parse().map_err(|_| wrong())?;
        let part = Duration::try_from_secs_f64(amount * seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = &after[unit.len()..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let read = |text: &str| duration(text).map(|d| d.as_millis()).ok();
        assert_eq!(
            ["1s", "500ms", "1m30s", "1.5h", "0s"].map(read),
            [Some(1_000), Some(500), Some(90_000), Some(5_400_000), Some(0)]
        );
        for text in ["", "5", "s", "1w", "1s5", "-1s", "1e99h", "9999999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn karpenters_words_are_understood() {
        let of = |args: &[&str]| Settings::try_parse_from([&["stowage-controller"], args].concat());
        let settings =
            of(&["--min-values-policy", "BestEffort", "--preference-policy", "Ignore"]).expect("valid");
        assert_eq!(settings.min_values_policy, MinValuesPolicy::BestEffort);
        assert_eq!(settings.preference_policy, PreferencePolicy::Ignore);
        assert_eq!(settings.batch_max_duration, Duration::from_secs(10));
        assert!(of(&["--batch-idle-duration", "soon"]).is_err());
        assert!(settings.ignore_dra_requests && settings.lowering().refuse_devices);
        let more = ["--ignore-dra-requests", "false", "--ami-refresh-interval", "5m"];
        let settings = of(&more).expect("valid");
        assert!(!settings.lowering().refuse_devices);
        assert_eq!(settings.ami_refresh_interval, Duration::from_mins(5));
        assert!(of(&["--subnet-refresh-interval", "59s"]).is_err());
        let aims = settings.aims();
        assert_eq!(aims, Aims { spot_types: None, ..Aims::default() }, "spot stays, without its gate");
        let own = [
            "--saving-floor",
            "0.02",
            "--payback",
            "Never",
            "--feature-gates",
            "SpotToSpotConsolidation=true",
        ];
        let aims = of(&own).expect("valid").aims();
        assert_eq!((aims.floor.micros(), aims.floor_share, aims.payback), (20_000, 0, None));
        assert!(aims.spot_types.is_some() && of(&["--payback", "soon"]).is_err());
    }
}

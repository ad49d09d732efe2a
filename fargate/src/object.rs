//! Policies as they are written, as far as they are read here. In full they are in `stowage_api::crd`, for who serves and
//! writes them; to read them takes none of that.
//!
//! # Invariants
//! - `null` is absent, and what is absent has the default of the definition.
//! - Words out of a list, amounts and durations are texts here: `read` says what is wrong with them, and where.

use std::collections::BTreeMap;

use serde::Deserialize;
use stowage_api::{ObjectMeta, null_is_default, short_list};

/// A `FargatePolicy` or `ClusterFargatePolicy`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PolicyObject {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) metadata: ObjectMeta,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    pub(crate) namespace_selector: Option<LabelSelector>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) system_namespaces: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) pod_selector: LabelSelector,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) mode: String,
    pub(crate) tolerance_percent: Option<i64>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) caps: Caps,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) expected_life: ExpectedLife,
    pub(crate) never_route: Option<Vec<String>>,
    #[serde(deserialize_with = "short_list")]
    pub(crate) profiles: Vec<ProfileTerm>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) pending: Pending,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) guard: Guard,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LabelSelector {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) match_labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "short_list")]
    pub(crate) match_expressions: Vec<Expression>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Expression {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) key: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) operator: String,
    #[serde(deserialize_with = "short_list")]
    pub(crate) values: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Caps {
    pub(crate) max_pods: Option<i64>,
    pub(crate) max_hourly_cost: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExpectedLife {
    pub(crate) min: Option<String>,
    pub(crate) max: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProfileTerm {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "short_list")]
    pub(crate) selectors: Vec<ProfileSelector>,
    #[serde(deserialize_with = "short_list")]
    pub(crate) zones: Vec<String>,
}

/// Fields of newer versions are passed by, unlike in answers of EKS.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProfileSelector {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) namespace: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Pending {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) recreate: bool,
    pub(crate) per_minute: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Guard {
    pub(crate) pending_timeout: Option<String>,
}

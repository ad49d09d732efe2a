//! Fargate profiles, as the EKS controller of AWS Controllers for Kubernetes has them.

use serde::Deserialize;
use stowage_api::{ObjectMeta, null_is_default, short_list};
use stowage_pricing::fargate::{Profile, ProfileSelector};

/// A Fargate profile: which pods EKS runs on Fargate, and in which subnets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FargateProfile {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: FargateProfileSpec,
    /// What became of it.
    #[serde(deserialize_with = "null_is_default")]
    pub status: FargateProfileStatus,
}

/// Status of a Fargate profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FargateProfileStatus {
    /// Where it is in its life: `ACTIVE`, `CREATING`, `DELETING` …; empty where nobody has said yet.
    #[serde(deserialize_with = "null_is_default")]
    pub status: String,
}

/// Specification of a Fargate profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FargateProfileSpec {
    /// Its name in EKS; that of the object where it states none.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// The pods that it takes: those that one of these selects.
    #[serde(deserialize_with = "short_list")]
    pub selectors: Vec<ProfileSelector>,
    /// The subnets that they run in, by id.
    #[serde(deserialize_with = "short_list")]
    pub subnets: Vec<String>,
}

impl FargateProfile {
    /// The profile as EKS has it, if it takes pods: EKS stops what runs on those that it deletes.
    ///
    /// # Errors
    /// Why it takes none.
    pub fn usable(&self) -> Result<Profile, String> {
        let status = self.status.status.as_str();
        if self.metadata.is_terminating() {
            return Err("it is being deleted".to_owned());
        }
        if !matches!(status, "" | "ACTIVE") {
            return Err(format!("its status is {status}"));
        }
        let spec = &self.spec;
        let name = if spec.name.is_empty() { self.metadata.name.clone() } else { spec.name.clone() };
        Ok(Profile { name, selectors: spec.selectors.clone(), subnets: spec.subnets.clone() })
    }
}

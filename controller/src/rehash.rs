//! Hashes of templates on objects, and what becomes of those of another version: they are carried over to the NodeClaims, so
//! that none is taken for drifted, and each can drift again.

use std::collections::BTreeMap;

use anyhow::Result;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::ApiResource;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use stowage_api::crd::NodeClaim;
use stowage_api::crd::condition::DRIFTED;

use crate::answer::is_gone;

/// A hash, as annotations say it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hash<'a> {
    /// Annotation with the hash.
    pub(crate) key: &'static str,
    /// Annotation with its version.
    pub(crate) version_key: &'static str,
    /// The version that this program makes.
    pub(crate) version: &'static str,
    /// The hash.
    pub(crate) value: &'a str,
}

impl Hash<'_> {
    /// As an object carries it.
    pub(crate) fn annotations(&self) -> Value {
        json!({self.key: self.value, self.version_key: self.version})
    }

    /// Whether annotations have a hash of this program's version.
    pub(crate) fn is_of_this_version(&self, annotations: &BTreeMap<String, String>) -> bool {
        annotations.get(self.version_key).map(String::as_str) == Some(self.version)
    }

    /// Whether annotations say just this.
    pub(crate) fn is_on(&self, annotations: &BTreeMap<String, String>) -> bool {
        self.is_of_this_version(annotations)
            && annotations.get(self.key).map(String::as_str) == Some(self.value)
    }

    /// Carries it over to the claims with this label that have one of another version. What has drifted already stays so: its
    /// own hash says nothing any more.
    ///
    /// # Errors
    /// What the API server says, of the first where it says that of some; the others have it.
    pub(crate) async fn carry_over(&self, client: &Client, label: (&str, &str)) -> Result<()> {
        // Loosely: one that cannot be read has a hash, too.
        let claims: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<NodeClaim>(&()));
        let own = ListParams::default().labels(&format!("{}={}", label.0, label.1));
        let mut failed = None;
        for claim in claims.list(&own).await? {
            if self.is_of_this_version(claim.annotations()) {
                continue;
            }
            let conditions = claim.data["status"]["conditions"].as_array();
            let drifted = conditions.into_iter().flatten().any(|of| of["type"] == DRIFTED);
            let mut annotations = self.annotations();
            if drifted && let Some(all) = annotations.as_object_mut() {
                all.remove(self.key);
            }
            let patch = json!({"metadata": {"annotations": annotations}});
            match claims.patch(&claim.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(_) => {}
                Err(error) if is_gone(&error) => {}
                Err(other) => {
                    let why = anyhow::Error::from(other).context(format!("NodeClaim {}", claim.name_any()));
                    failed = failed.or(Some(why));
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

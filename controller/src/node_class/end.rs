//! The end of what was made for `EC2NodeClasses`.

use std::collections::BTreeSet;

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Resource as _, ResourceExt};
use serde_json::json;
use stowage_api::crd::{Ec2NodeClass, NodeClaim, NodeClassRef};
use tracing::info;

use super::{FINALIZER, NodeClasses, State, profile};
use crate::claim::NODE_CLASS;
use crate::launch::template;

/// NodeClaims that an event names; it says how many there are besides.
const NAMED: usize = 5;

impl NodeClasses {
    /// Lets a class go that is deleted, once no `NodeClaim` uses it.
    pub(super) async fn end(
        &self,
        classes: &Api<Ec2NodeClass>,
        class: &Ec2NodeClass,
        state: &State,
    ) -> Result<()> {
        let name = class.name_any();
        if !class.finalizers().iter().any(|f| f == FINALIZER) {
            return Ok(());
        }
        let claims: Api<NodeClaim> = Api::all(self.client.clone());
        let claims = claims.list(&ListParams::default()).await?;
        // Classes of other kinds may have the same name.
        let is_of = |of: &NodeClassRef| {
            (of.group.as_str(), of.kind.as_str(), &of.name) == (NODE_CLASS.0, NODE_CLASS.1, &name)
        };
        let of_class = claims.iter().filter(|claim| is_of(&claim.spec.node_class_ref));
        let mut waiting: Vec<String> = of_class.map(ResourceExt::name_any).collect();
        waiting.sort_unstable();
        if !waiting.is_empty() {
            let said = wait(&waiting);
            if state.classes.with(|all| all.told.insert(name, said.clone())).as_ref() != Some(&said) {
                self.tell(class, said).await?;
            }
            return Ok(());
        }
        let mut tags = template::tags(class, &self.facts.name);
        tags.retain(|key, _| !class.spec.tags.contains_key(key));
        self.templates.remove_all(&self.aws.ec2, &tags).await?;
        if class.spec.role.is_some() || class.spec.instance_profile.is_none() {
            let path = profile::path_of(class, &self.aws.region, &self.facts.name);
            for profile in self.aws.profiles.below(&path).await? {
                self.aws.profiles.remove(&profile).await?;
            }
        }
        let finalizers: Vec<&String> = class.finalizers().iter().filter(|f| *f != FINALIZER).collect();
        let patch = json!({"metadata": {
            "resourceVersion": class.meta().resource_version, "finalizers": finalizers,
        }});
        classes.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        info!(class = name, "an EC2NodeClass and what was made for it are gone");
        state.classes.with(|all| {
            all.told.remove(&name);
            all.seen.remove(&name);
            all.ending.remove(&name);
        });
        Ok(())
    }

    async fn tell(&self, class: &Ec2NodeClass, note: String) -> Result<()> {
        let reporter = Reporter { controller: "stowage".to_owned(), instance: None };
        let event = Event {
            type_: EventType::Normal,
            reason: "WaitingOnNodeClaimTermination".to_owned(),
            note: Some(note),
            action: "Deleting".to_owned(),
            secondary: None,
        };
        Recorder::new(self.client.clone(), reporter).publish(&event, &class.object_ref(&())).await?;
        Ok(())
    }

    /// Removes instance profiles of this cluster that neither a class nor a machine uses.
    pub(super) async fn collect_profiles(&self, classes: &[Ec2NodeClass]) -> Result<()> {
        let path = profile::path(&self.aws.region, &self.facts.name);
        let all = self.aws.profiles.below(&path).await?;
        if all.is_empty() {
            return Ok(());
        }
        let of_classes = classes.iter().filter_map(|c| c.status.as_ref()?.instance_profile.clone());
        let mut used: BTreeSet<String> = of_classes.collect();
        let claims: Api<NodeClaim> = Api::all(self.client.clone());
        for claim in claims.list(&ListParams::default()).await? {
            used.extend(claim.annotations().get(PROFILE).cloned());
        }
        for profile in profile::unused(&all, &used, Timestamp::now().as_second()) {
            self.aws.profiles.remove(profile).await?;
            info!(profile = profile.name, "an instance profile that nothing uses is gone");
        }
        Ok(())
    }
}

/// Annotation of a `NodeClaim`: the profile that its machine was launched with.
pub(crate) const PROFILE: &str = "karpenter.k8s.aws/instance-profile-name";

fn wait<S: AsRef<str>>(claims: &[S]) -> String {
    let named: Vec<&str> = claims.iter().map(AsRef::as_ref).take(NAMED).collect();
    let more = match claims.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("Waiting on NodeClaim termination for {}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_says_for_whom() {
        assert_eq!(wait(&["a", "b"]), "Waiting on NodeClaim termination for a, b");
        let many = wait(&["a", "b", "c", "d", "e", "f", "g"]);
        assert_eq!(many, "Waiting on NodeClaim termination for a, b, c, d, e and 2 more");
    }
}

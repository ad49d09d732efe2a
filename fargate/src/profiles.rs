//! Fargate profiles: those that EKS has, and those that policies state.
//!
//! EKS has the last word: which profile takes a pod it decides by all that it has, by name. So once it was asked, its answer is
//! all there is, and a policy that states profiles only narrows which of them its pods may use. Until then, and where Stowage
//! may not ask, a policy's word is taken for its own pods, and for nobody else's: what one team states of a namespace of its
//! own must not change where another team's pods go.
//!
//! # Invariants
//! - Profiles that a policy states are seen by pods that this policy rules, and by no others.
//! - That EKS has none is not the same as that nobody has asked.

use stowage_pricing::fargate::Profile;

use crate::label::{Choice, ways};
use crate::policy::{Labels, Policy};

/// What is known of profiles.
#[derive(Clone, Debug, Default)]
pub struct Profiles {
    eks: Option<Vec<Profile>>,
}

impl Profiles {
    /// EKS was asked, and has these.
    pub fn of_eks(profiles: Vec<Profile>) -> Self {
        Self { eks: Some(profiles) }
    }

    /// EKS was not asked yet, or cannot be.
    pub fn unknown() -> Self {
        Self { eks: None }
    }

    /// Whether EKS was asked.
    pub fn were_asked(&self) -> bool {
        self.eks.is_some()
    }

    /// All that EKS sends pods of a policy to, as far as is known: by these it decides.
    pub fn of<'s>(&'s self, policy: &'s Policy) -> &'s [Profile] {
        self.eks.as_deref().unwrap_or(&policy.profiles)
    }

    /// Every way for a pod of a policy to a profile that the policy lets it use, the best first.
    pub fn ways<'s>(
        &'s self,
        policy: &'s Policy,
        namespace: &str,
        labels: &Labels,
    ) -> impl Iterator<Item = Choice<'s>> + use<'s> {
        let open = ways(self.of(policy), namespace, labels).into_iter();
        open.filter(|way| policy.may_use(&way.profile.name))
    }

    /// Profiles that a policy states and EKS does not have.
    pub fn missing<'p>(&self, policy: &'p Policy) -> impl Iterator<Item = &'p str> {
        let has = |name: &str| self.eks.as_ref().is_none_or(|all| all.iter().any(|p| p.name == name));
        policy.profiles.iter().map(|p| p.name.as_str()).filter(move |name| !has(name))
    }
}

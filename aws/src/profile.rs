//! Instance profiles: what gives machines their role.
//!
//! # Invariants
//! - A profile that is there already is used, and holds exactly one role afterwards.
//! - Removing one that is gone is no error, so that whoever was interrupted can begin again.

use std::collections::BTreeMap;

use aws_sdk_iam::types::{InstanceProfile, Tag};

use crate::ec2::Refused;

/// A client of instance profiles.
#[derive(Clone, Debug)]
pub struct Profiles {
    pub(crate) client: aws_sdk_iam::Client,
}

/// An instance profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Its path, with slashes at both ends.
    pub path: String,
    /// Names of the roles in it: one, or none yet.
    pub roles: Vec<String>,
    /// When it was made, seconds since 1970.
    pub created: i64,
}

impl Profiles {
    /// A profile; `None` where there is none of that name.
    ///
    /// # Errors
    /// What IAM says.
    pub async fn get(&self, name: &str) -> Result<Option<Profile>, Refused> {
        let answer = self.client.get_instance_profile().instance_profile_name(name).send().await;
        match answer.map_err(|error| Refused::of("GetInstanceProfile", &error)) {
            Ok(answer) => Ok(answer.instance_profile().map(profile)),
            Err(refused) if refused.is_gone() => Ok(None),
            Err(refused) => Err(refused),
        }
    }

    /// Sees to it that there is a profile of this name with this role alone. Whether anything was to be done.
    ///
    /// # Errors
    /// What IAM says.
    pub async fn ensure(
        &self,
        name: &str,
        path: &str,
        role: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<bool, Refused> {
        let known = self.get(name).await?;
        let roles = known.as_ref().map_or(&[][..], |known| &known.roles);
        if roles == [role] {
            return Ok(false);
        }
        if known.is_none() {
            let mut call = self.client.create_instance_profile().instance_profile_name(name).path(path);
            for (key, value) in tags {
                let tag = Tag::builder().key(key).value(value).build();
                let tag = tag.map_err(|error| Refused::unasked("CreateInstanceProfile", &error))?;
                call = call.tags(tag);
            }
            let made = call.send().await.map_err(|error| Refused::of("CreateInstanceProfile", &error));
            // Another replica was quicker.
            made.map(drop).or_else(|refused| refused.unless("EntityAlreadyExists"))?;
        }
        for other in roles {
            self.take(name, other).await?;
        }
        let added = self.client.add_role_to_instance_profile().instance_profile_name(name).role_name(role);
        let added = added.send().await.map_err(|error| Refused::of("AddRoleToInstanceProfile", &error));
        added.map(drop)?;
        Ok(true)
    }

    /// Profiles below a path.
    ///
    /// # Errors
    /// What IAM says.
    pub async fn below(&self, path: &str) -> Result<Vec<Profile>, Refused> {
        let mut pages = self.client.list_instance_profiles().path_prefix(path).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Refused::of("ListInstanceProfiles", &error))?;
            found.extend(page.instance_profiles().iter().map(profile));
        }
        // IAM says the same; whoever removes what is listed looks twice.
        found.retain(|profile| profile.path.starts_with(path));
        found.sort();
        Ok(found)
    }

    /// Removes a profile, its role taken out of it first.
    ///
    /// # Errors
    /// What IAM says.
    pub async fn remove(&self, profile: &Profile) -> Result<(), Refused> {
        for role in &profile.roles {
            self.take(&profile.name, role).await?;
        }
        let call = self.client.delete_instance_profile().instance_profile_name(&profile.name);
        let ended = call.send().await.map_err(|error| Refused::of("DeleteInstanceProfile", &error));
        ended.map(drop).or_else(|refused| refused.unless("NoSuchEntity"))
    }

    async fn take(&self, name: &str, role: &str) -> Result<(), Refused> {
        let call =
            self.client.remove_role_from_instance_profile().instance_profile_name(name).role_name(role);
        let ended = call.send().await.map_err(|error| Refused::of("RemoveRoleFromInstanceProfile", &error));
        ended.map(drop).or_else(|refused| refused.unless("NoSuchEntity"))
    }
}

fn profile(of: &InstanceProfile) -> Profile {
    Profile {
        name: of.instance_profile_name().to_owned(),
        path: of.path().to_owned(),
        roles: of.roles().iter().map(|role| role.role_name().to_owned()).collect(),
        created: of.create_date().secs(),
    }
}

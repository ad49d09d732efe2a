//! EC2 for whoever launches: what there is to launch into, and the machines that there are.

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types::{
    ArchitectureValues, Filter, Image, Instance, InstanceStateName, InstanceType, Reservation, Tag,
};

/// Values that a filter takes at most.
const VALUES: usize = 200;

/// Machines that are ended by one call.
const AT_ONCE: usize = 100;

/// A client of EC2 in one region.
#[derive(Clone, Debug)]
pub struct Ec2 {
    pub(crate) client: aws_sdk_ec2::Client,
}

/// Why a call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The call: `CreateFleet`.
    pub call: &'static str,
    /// EC2's code, where it answered: `RequestLimitExceeded`.
    pub code: Option<String>,
    /// EC2's words, or why there was no answer.
    pub message: String,
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{}: {code}: {}", self.call, self.message),
            None => write!(f, "{}: {}", self.call, self.message),
        }
    }
}

impl Refused {
    pub(crate) fn of<E: ProvideErrorMetadata + std::error::Error + 'static>(
        call: &'static str,
        error: &SdkError<E>,
    ) -> Self {
        let said = error.code().map(str::to_owned);
        let message = error.message().map_or_else(|| innermost(error), str::to_owned);
        Self { call, code: said, message }
    }

    /// What a dry run says: that it was one means that it would have been allowed.
    pub(crate) fn of_trial<E: ProvideErrorMetadata + std::error::Error + 'static>(
        call: &'static str,
        error: Option<&SdkError<E>>,
    ) -> Result<(), Self> {
        let refused = error.map(|error| Self::of(call, error));
        refused.filter(|refused| refused.code.as_deref() != Some("DryRunOperation")).map_or(Ok(()), Err)
    }

    /// What was never asked, as it cannot be written down.
    pub(crate) fn unasked(call: &'static str, error: &dyn std::error::Error) -> Self {
        Self { call, code: None, message: error.to_string() }
    }

    /// No failure, where it has this code.
    pub(crate) fn unless(self, code: &str) -> Result<(), Self> {
        if self.code.as_deref() == Some(code) { Ok(()) } else { Err(self) }
    }

    /// No failure, where what was named is not there (any more).
    fn unless_gone(self) -> Result<(), Self> {
        if self.is_gone() { Ok(()) } else { Err(self) }
    }

    /// Whether what was named is not there (any more).
    pub fn is_gone(&self) -> bool {
        let gone = [
            ".NotFound",
            ".NotFoundException",
            "NoSuchEntity",
            "ParameterNotFound",
            // Of SQS: the name of today's protocol, and the one of old that its errors still state.
            "QueueDoesNotExist",
            "AWS.SimpleQueueService.NonExistentQueue",
            "ResourceNotFoundException",
        ];
        self.code.as_deref().is_some_and(|code| gone.iter().any(|end| code.ends_with(end)))
    }

    /// Whether it is what was asked that is wrong, so that asking again is no use: `InvalidParameterValue` and the like.
    pub fn is_about_request(&self) -> bool {
        let is = |code: &str| {
            code.starts_with("Invalid") || code.contains("Unsupported") || code.starts_with("Missing")
        };
        self.code.as_deref().is_some_and(is)
    }

    /// Whether EC2 does not know the instance profile: it may have been made a moment ago.
    pub fn is_about_profile(&self) -> bool {
        // Source: EC2's words, `Value (…) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name`.
        let said = self.message.to_ascii_lowercase();
        self.is_about_request()
            && (said.contains("iaminstanceprofile") || said.contains("iam instance profile"))
    }

    /// Whether the account may not do this.
    pub fn is_forbidden(&self) -> bool {
        let codes = ["UnauthorizedOperation", "AccessDenied", "AccessDeniedException"];
        self.code.as_deref().is_some_and(|code| codes.contains(&code))
    }

    /// Whether a token was used before, with something else: that launch was answered to nobody.
    pub fn is_mismatch(&self) -> bool {
        self.code.as_deref() == Some("IdempotentParameterMismatch")
    }

    /// Whether it came too soon after others.
    pub fn is_throttled(&self) -> bool {
        let codes =
            ["Throttling", "ThrottlingException", "RequestThrottled", "RequestLimitExceeded", "OverLimit"];
        self.code.as_deref().is_some_and(|code| codes.contains(&code))
    }
}

/// What the innermost cause says, which is most: `connection refused`.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A way to find things: all that it says must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Id.
    pub id: Option<String>,
    /// Name; `*` stands for any letters.
    pub name: Option<String>,
    /// Tags; the value `*` for any.
    pub tags: BTreeMap<String, String>,
    /// Owners: accounts, `self`, `amazon`.
    pub owners: Vec<String>,
}

impl Search {
    pub(crate) fn filters(&self, id: &str, name: &str) -> Vec<Filter> {
        let one = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
        let mut out = Vec::new();
        out.extend(self.id.as_deref().map(|value| one(id, value)));
        out.extend(self.name.as_deref().map(|value| one(name, value)));
        for (key, value) in &self.tags {
            out.push(if value == "*" { one("tag-key", key) } else { one(&format!("tag:{key}"), value) });
        }
        out
    }
}

/// A subnet.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundSubnet {
    /// `subnet-0123456789abcdef0`.
    pub id: String,
    /// Zone.
    pub zone: String,
    /// Zone id.
    pub zone_id: String,
    /// Addresses that are free.
    pub free: i64,
}

/// An image of machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundImage {
    /// `ami-0123456789abcdef0`.
    pub id: String,
    /// Name.
    pub name: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// When it was made, as EC2 writes it.
    pub created: String,
    /// When it is no longer to be used, as EC2 writes it.
    pub deprecated: Option<String>,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Machine {
    /// `i-0123456789abcdef0`.
    pub id: String,
    /// Instance type.
    pub instance_type: String,
    /// Zone.
    pub zone: String,
    /// Image.
    pub image: String,
    /// Whether it is spot.
    pub spot: bool,
    /// Id of the capacity reservation that it runs in.
    pub reservation: Option<String>,
    /// Id and name of the placement group that it runs in.
    pub placement_group: Option<(String, String)>,
    /// Id of its subnet.
    pub subnet: String,
    /// Ids of its security groups.
    pub groups: Vec<String>,
    /// `pending`, `running`, `shutting-down`, `stopping`, `stopped`, `terminated`.
    pub state: String,
    /// When it was launched, seconds since 1970.
    pub launched: i64,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

impl Machine {
    /// Whether it is there, or will be.
    pub fn is_alive(&self) -> bool {
        matches!(self.state.as_str(), "pending" | "running" | "stopping" | "stopped")
    }

    /// As Nodes and `NodeClaims` call it: `aws:///us-east-1a/i-0123456789abcdef0`.
    pub fn provider_id(&self) -> String {
        format!("aws:///{}/{}", self.zone, self.id)
    }
}

impl Ec2 {
    /// Subnets that one of the searches finds, by id.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn subnets(&self, any_of: &[Search]) -> Result<Vec<FoundSubnet>, Refused> {
        let mut found = BTreeMap::new();
        for search in any_of {
            let call = self.client.describe_subnets();
            let call = call.set_filters(Some(search.filters("subnet-id", "tag:Name")));
            let mut pages = call.into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| Refused::of("DescribeSubnets", &error))?;
                for subnet in page.subnets() {
                    let text = |found: Option<&str>| found.unwrap_or_default().to_owned();
                    let id = text(subnet.subnet_id());
                    let of = FoundSubnet {
                        id: id.clone(),
                        zone: text(subnet.availability_zone()),
                        zone_id: text(subnet.availability_zone_id()),
                        free: subnet.available_ip_address_count().unwrap_or_default().into(),
                    };
                    found.insert(id, of);
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// Security groups that one of the searches finds: (id, name), by id.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn security_groups(&self, any_of: &[Search]) -> Result<Vec<(String, String)>, Refused> {
        let mut found = BTreeMap::new();
        for search in any_of {
            let call = self.client.describe_security_groups();
            let call = call.set_filters(Some(search.filters("group-id", "group-name")));
            let mut pages = call.into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| Refused::of("DescribeSecurityGroups", &error))?;
                for group in page.security_groups() {
                    let text = |found: Option<&str>| found.unwrap_or_default().to_owned();
                    found.insert(text(group.group_id()), text(group.group_name()));
                }
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Images that one of the searches finds, the newest first.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn images(&self, any_of: &[Search]) -> Result<Vec<FoundImage>, Refused> {
        let mut found = BTreeMap::new();
        for search in any_of {
            let call = self.client.describe_images().include_deprecated(true);
            let call = call.set_filters(Some(search.filters("image-id", "name")));
            let owners = (!search.owners.is_empty()).then(|| search.owners.clone());
            let mut pages = call.set_owners(owners).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| Refused::of("DescribeImages", &error))?;
                found.extend(page.images().iter().map(image).map(|image| (image.id.clone(), image)));
            }
        }
        let mut images: Vec<FoundImage> = found.into_values().collect();
        images.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.name.cmp(&b.name)));
        Ok(images)
    }

    /// Images of these ids, the newest first; those that are not there are left out.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn images_by_id(&self, ids: &[String]) -> Result<Vec<FoundImage>, Refused> {
        let mut found = Vec::new();
        if ids.is_empty() {
            return Ok(found);
        }
        // A filter, as asking for an id that is gone is an error.
        let filter = Filter::builder().name("image-id").set_values(Some(ids.to_vec())).build();
        let call = self.client.describe_images().include_deprecated(true).filters(filter);
        let mut pages = call.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Refused::of("DescribeImages", &error))?;
            found.extend(page.images().iter().map(image));
        }
        found.sort_by(|a: &FoundImage, b| b.created.cmp(&a.created).then_with(|| a.name.cmp(&b.name)));
        Ok(found)
    }

    /// Machines with all of these tags, whatever their state; the value `*` for any.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn machines(&self, tags: &BTreeMap<String, String>) -> Result<Vec<Machine>, Refused> {
        let search = Search { tags: tags.clone(), ..Search::default() };
        let mut found = self.described(search.filters("", "")).await?;
        found.sort();
        Ok(found)
    }

    async fn described(&self, filters: Vec<Filter>) -> Result<Vec<Machine>, Refused> {
        let mut pages = self.client.describe_instances().set_filters(Some(filters)).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Refused::of("DescribeInstances", &error))?;
            found.extend(page.reservations().iter().flat_map(Reservation::instances).map(machine));
        }
        Ok(found)
    }

    /// Machines with all of `tags` and one of `values` of the tag `key`, whatever their state.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn machines_tagged(
        &self,
        tags: &BTreeMap<String, String>,
        key: &str,
        values: &[String],
    ) -> Result<Vec<Machine>, Refused> {
        let search = Search { tags: tags.clone(), ..Search::default() };
        let mut found = Vec::new();
        for some in values.chunks(VALUES) {
            let mut filters = search.filters("", "");
            filters
                .push(Filter::builder().name(format!("tag:{key}")).set_values(Some(some.to_vec())).build());
            found.extend(self.described(filters).await?);
        }
        Ok(found)
    }

    /// Machines of these ids, whatever their state; those that EC2 does not know are left out.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn machines_by_id(&self, ids: &[String]) -> Result<Vec<Machine>, Refused> {
        let mut found = Vec::new();
        // A filter passes over ids that are unknown.
        for some in ids.chunks(VALUES) {
            let filter = Filter::builder().name("instance-id").set_values(Some(some.to_vec())).build();
            found.extend(self.described(vec![filter]).await?);
        }
        Ok(found)
    }

    /// Puts tags on a machine. One that is not there is no error.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn tag(&self, id: &str, tags: &BTreeMap<String, String>) -> Result<(), Refused> {
        let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
        let tagged = self.client.create_tags().resources(id).set_tags(Some(tags.collect())).send().await;
        match tagged.map_err(|error| Refused::of("CreateTags", &error)) {
            Err(refused) if !refused.is_gone() => Err(refused),
            _ => Ok(()),
        }
    }

    /// Ends machines, and says what came of each. Those that are not there are no error. One that may not be ended keeps no other
    /// from its end.
    pub async fn terminate(&self, ids: &[String]) -> Vec<(String, Result<(), Refused>)> {
        let mut out = Vec::with_capacity(ids.len());
        for some in ids.chunks(AT_ONCE) {
            match self.terminate_all(some).await {
                // EC2 refuses all of them for one.
                Err(refused) if some.len() > 1 && !refused.is_throttled() => {
                    for one in some {
                        let ended = self.terminate_all(std::slice::from_ref(one)).await;
                        out.push((one.clone(), ended.or_else(Refused::unless_gone)));
                    }
                }
                ended => {
                    let ended = ended.or_else(Refused::unless_gone);
                    out.extend(some.iter().map(|id| (id.clone(), ended.clone())));
                }
            }
        }
        out
    }

    async fn terminate_all(&self, ids: &[String]) -> Result<(), Refused> {
        let ended = self.client.terminate_instances().set_instance_ids(Some(ids.to_vec())).send().await;
        ended.map(|_| ()).map_err(|error| Refused::of("TerminateInstances", &error))
    }
}

fn image(of: &Image) -> FoundImage {
    let text = |found: Option<&str>| found.unwrap_or_default().to_owned();
    FoundImage {
        id: text(of.image_id()),
        name: text(of.name()),
        architecture: text(of.architecture().map(ArchitectureValues::as_str)),
        created: text(of.creation_date()),
        deprecated: of.deprecation_time().map(str::to_owned),
    }
}

fn machine(of: &Instance) -> Machine {
    let text = |found: Option<&str>| found.unwrap_or_default().to_owned();
    let tags = of.tags().iter().map(|tag| (text(tag.key()), text(tag.value())));
    Machine {
        id: text(of.instance_id()),
        instance_type: text(of.instance_type().map(InstanceType::as_str)),
        zone: text(of.placement().and_then(|p| p.availability_zone())),
        image: text(of.image_id()),
        spot: of.instance_lifecycle().is_some_and(|l| l.as_str() == "spot"),
        reservation: of.capacity_reservation_id().map(str::to_owned),
        placement_group: of
            .placement()
            .map(|p| (text(p.group_id()), text(p.group_name())))
            .filter(|(id, name)| !id.is_empty() || !name.is_empty()),
        subnet: text(of.subnet_id()),
        groups: of.security_groups().iter().map(|group| text(group.group_id())).collect(),
        state: text(of.state().and_then(|s| s.name()).map(InstanceStateName::as_str)),
        launched: of.launch_time().map_or(0, DateTime::secs),
        tags: tags.collect(),
    }
}

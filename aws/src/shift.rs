//! Zones that are shifted away from: the Application Recovery Controller keeps traffic off a zone in which something is wrong.

use aws_sdk_arczonalshift::types::{AppliedStatus, AutoshiftAppliedStatus};

use crate::ec2::Refused;

/// A client of the Application Recovery Controller.
#[derive(Clone, Debug)]
pub struct Shifts {
    pub(crate) client: aws_sdk_arczonalshift::Client,
}

/// A zone that a resource is shifted away from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shift {
    /// Id of the zone: `use1-az1`.
    pub zone_id: String,
    /// When it ends, unless somebody changes that: seconds since 1970; `None` where AWS has shifted by itself.
    pub until: Option<i64>,
}

impl Shifts {
    /// Shifts that are in effect for a resource, by its ARN; `None` where shifts are not switched on for it.
    ///
    /// # Errors
    /// What the service says.
    pub async fn of(&self, arn: &str) -> Result<Option<Vec<Shift>>, Refused> {
        let answer = self.client.get_managed_resource().resource_identifier(arn).send().await;
        let answer = match answer.map_err(|error| Refused::of("GetManagedResource", &error)) {
            Ok(answer) => answer,
            Err(refused) if refused.is_gone() => return Ok(None),
            Err(refused) => return Err(refused),
        };
        // Of several shifts at the same time, the service says which is in effect.
        let stated = answer.zonal_shifts().iter().filter(|s| *s.applied_status() == AppliedStatus::Applied);
        let stated =
            stated.map(|s| Shift { zone_id: s.away_from().to_owned(), until: Some(s.expiry_time().secs()) });
        let own =
            answer.autoshifts().iter().filter(|s| *s.applied_status() == AutoshiftAppliedStatus::Applied);
        let own = own.map(|s| Shift { zone_id: s.away_from().to_owned(), until: None });
        let mut all: Vec<Shift> = stated.chain(own).collect();
        all.sort();
        all.dedup();
        Ok(Some(all))
    }
}

//! Machines that EC2 finds something wrong with, or has plans for.

use std::collections::BTreeMap;

use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types::{Filter, InstanceStatus, InstanceStatusDetails, InstanceStatusEvent};

use crate::ec2::{Ec2, Refused};

/// What EC2 may look at: each is a filter of its own, as filters of one call must hold together.
const FILTERS: [(&str, &[&str]); 3] = [
    ("instance-status.status", &["impaired"]),
    ("system-status.status", &["impaired"]),
    (
        "event.code",
        &["instance-reboot", "instance-retirement", "instance-stop", "system-maintenance", "system-reboot"],
    ),
];

/// A machine that something is wrong with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unwell {
    /// `i-0123456789abcdef0`.
    pub id: String,
    /// Checks that fail.
    pub impaired: Vec<Impaired>,
    /// What EC2 has planned for it.
    pub planned: Vec<Planned>,
}

/// What EC2 checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Whether the machine answers.
    Instance,
    /// Whether what it runs on is in order.
    System,
}

/// A check that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impaired {
    /// Which.
    pub check: Check,
    /// Since when, seconds since 1970, where EC2 says so.
    pub since: Option<i64>,
}

/// Something that EC2 has planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// `instance-retirement`.
    pub code: String,
    /// EC2's words.
    pub words: String,
}

impl Planned {
    /// Whether it still lies ahead: EC2 goes on to tell of what is over for up to a week.
    pub fn is_ahead(&self) -> bool {
        !["[Completed]", "[Canceled]"].iter().any(|over| self.words.starts_with(over))
    }
}

impl Ec2 {
    /// Machines of the account that EC2 finds something wrong with or has plans for, by id.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn unwell(&self) -> Result<Vec<Unwell>, Refused> {
        let mut found = BTreeMap::new();
        for (name, values) in FILTERS {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            let filter = Filter::builder().name(name).set_values(Some(values)).build();
            let mut pages = self.client.describe_instance_status().filters(filter).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| Refused::of("DescribeInstanceStatus", &error))?;
                found.extend(page.instance_statuses().iter().map(unwell).map(|of| (of.id.clone(), of)));
            }
        }
        Ok(found.into_values().collect())
    }
}

fn unwell(of: &InstanceStatus) -> Unwell {
    let fails = |check: Check, details: &[InstanceStatusDetails]| {
        let failed = details.iter().filter(|d| d.status().is_some_and(|s| s.as_str() == "failed"));
        failed
            .map(move |d| Impaired { check, since: d.impaired_since().map(DateTime::secs) })
            .collect::<Vec<_>>()
    };
    let instance = of.instance_status().map_or(&[][..], |summary| summary.details());
    let system = of.system_status().map_or(&[][..], |summary| summary.details());
    let mut impaired = fails(Check::Instance, instance);
    impaired.extend(fails(Check::System, system));
    let planned = |event: &InstanceStatusEvent| Planned {
        code: event.code().map(|code| code.as_str().to_owned()).unwrap_or_default(),
        words: event.description().unwrap_or_default().to_owned(),
    };
    Unwell {
        id: of.instance_id().unwrap_or_default().to_owned(),
        impaired,
        planned: of.events().iter().map(planned).collect(),
    }
}

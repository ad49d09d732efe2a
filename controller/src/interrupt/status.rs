//! Machines that EC2 itself finds something wrong with: asked for every minute, with or without a queue.
//!
//! compat: karpenter-provider-aws v1.14, `pkg/providers/instancestatus`: a check that has failed for two minutes ends the
//! machine by force, as nobody in it may listen any more; what is scheduled ends it as an interruption does. Checks of volumes
//! say nothing of whose volume it is, and are passed over.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::jiff::Timestamp;
use stowage_aws::{Check, Ec2, Unwell};
use tracing::warn;

use super::act::Known;
use super::oust::{Ending, Ousted, Ouster, Said};
use super::trouble::Trouble;
use crate::operate::interruptions::Interruptions;

/// How often EC2 is asked.
const EVERY: Duration = Duration::from_mins(1);

/// For so long a check must have failed, seconds.
const TOLERATED: i64 = 120;

/// Machines that are seen to side by side.
const SIDE_BY_SIDE: usize = 10;

/// What is wrong with a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// It does not answer.
    InstanceStatus,
    /// What it runs on is out of order.
    SystemStatus,
    /// Something is planned with it.
    EventStatus,
}

impl Category {
    /// As metrics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InstanceStatus => "InstanceStatus",
            Self::SystemStatus => "SystemStatus",
            Self::EventStatus => "EventStatus",
        }
    }
}

/// What is done about a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What is wrong.
    pub categories: BTreeSet<Category>,
    /// How its claim ends.
    pub ending: Ending,
    /// In words.
    pub why: String,
}

/// What is done about a machine now; nothing where all is well, or may yet become well.
pub fn verdict(of: &Unwell, now: Timestamp) -> Option<Verdict> {
    // EC2 states a moment with every check that fails. Nothing is ended by force on half an answer.
    let failed = of.impaired.iter().filter(|i| i.since.is_some_and(|at| now.as_second() - at >= TOLERATED));
    let mut categories: BTreeSet<Category> = failed
        .map(|impaired| match impaired.check {
            Check::Instance => Category::InstanceStatus,
            Check::System => Category::SystemStatus,
        })
        .collect();
    let ending = if categories.is_empty() { Ending::Drained } else { Ending::Overdue };
    let ahead: Vec<&str> = of.planned.iter().filter(|p| p.is_ahead()).map(|p| p.code.as_str()).collect();
    if !ahead.is_empty() {
        categories.insert(Category::EventStatus);
    }
    let why = match ending {
        Ending::Overdue => "A status check of the instance has failed for two minutes".to_owned(),
        Ending::Drained | Ending::Taken(_) => {
            format!("EC2 has scheduled {} for the instance", ahead.join(", "))
        }
    };
    (!categories.is_empty()).then_some(Verdict { categories, ending, why })
}

/// Who asks EC2.
#[derive(Clone)]
pub struct Examiner {
    /// Where the machines are.
    pub ec2: Ec2,
    /// To end claims with.
    pub ouster: Ouster,
    /// What is measured.
    pub measured: Interruptions,
}

impl Examiner {
    /// Asks until the task is dropped.
    pub async fn run(self) {
        let (mut trouble, mut counted) = (Trouble::default(), BTreeSet::new());
        loop {
            if self.ouster.cluster.is_synced() {
                match self.ec2.unwell().await {
                    Ok(found) => {
                        trouble.over("EC2 says again what is wrong with machines");
                        self.look(&found, &mut counted).await;
                    }
                    Err(refused) => {
                        let remedy = "allow ec2:DescribeInstanceStatus: deploy/iam/read.json";
                        trouble.refused("EC2 does not say what is wrong with machines", &refused, remedy);
                    }
                }
                tokio::time::sleep(EVERY).await;
            } else {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    async fn look(&self, found: &[Unwell], counted: &mut BTreeSet<(String, Category)>) {
        let Some(snapshot) = self.ouster.cluster.snapshot() else { return };
        let known = Known::of(&snapshot);
        let now = Timestamp::now();
        let ours = found.iter().filter_map(|of| Some((known.owner(&of.id)?, of, verdict(of, now)?)));
        let ours: Vec<_> = ours.collect();
        let all: BTreeSet<_> = ours
            .iter()
            .flat_map(|(_, of, verdict)| verdict.categories.iter().map(|category| (of.id.clone(), *category)))
            .collect();
        // Each once, however often it is found.
        all.difference(counted).for_each(|(_, category)| self.measured.unwell(category.name()));
        *counted = all;
        let work = ours.into_iter().map(|(owner, of, verdict)| {
            async move {
                match self.ouster.oust(owner, verdict.ending, "instance_status_failure").await {
                    Ok(Ousted::Deleted | Ousted::Hurried) => {
                        warn!(machine = of.id, why = verdict.why, "something is wrong with a machine");
                        let said = Said::warning("InstanceUnhealthy", verdict.why);
                        self.ouster.tell(owner, &[said]);
                    }
                    Ok(Ousted::AsBefore) => {}
                    Err(error) => {
                        let (claim, error) = (&owner.claim.metadata.name, format!("{error:#}"));
                        warn!(claim, error, "the NodeClaim of a machine that fails could not be deleted");
                    }
                }
            }
            .boxed()
        });
        let work: Vec<_> = work.collect();
        futures::stream::iter(work).buffer_unordered(SIDE_BY_SIDE).collect::<Vec<()>>().await;
    }
}

#[cfg(test)]
mod tests {
    use stowage_aws::{Impaired, Planned};

    use super::*;

    fn now() -> Timestamp {
        "2026-07-01T10:00:00Z".parse().expect("a moment")
    }

    fn failing(check: Check, seconds: Option<i64>) -> Impaired {
        Impaired { check, since: seconds.map(|seconds| now().as_second() - seconds) }
    }

    fn of(impaired: Vec<Impaired>, planned: &[(&str, &str)]) -> Option<Verdict> {
        let planned = planned
            .iter()
            .map(|(code, words)| Planned { code: (*code).to_owned(), words: (*words).to_owned() });
        verdict(&Unwell { id: "i-1".to_owned(), impaired, planned: planned.collect() }, now())
    }

    #[test]
    fn a_check_that_fails_for_two_minutes_ends_the_machine_by_force() {
        let long = of(vec![failing(Check::Instance, Some(120)), failing(Check::System, Some(5))], &[]);
        let long = long.expect("long enough");
        assert_eq!((long.ending, long.categories), (Ending::Overdue, [Category::InstanceStatus].into()));
        assert_eq!(of(vec![failing(Check::Instance, Some(119))], &[]), None, "it may come back");
        assert_eq!(of(vec![failing(Check::System, None)], &[]), None, "nobody knows since when");
        assert_eq!(of(Vec::new(), &[]), None);
    }

    #[test]
    fn what_is_planned_ends_it_in_peace_unless_it_is_over() {
        let planned =
            of(Vec::new(), &[("instance-retirement", "The instance is running on degraded hardware")]);
        let planned = planned.expect("it lies ahead");
        assert_eq!((planned.ending, planned.categories), (Ending::Drained, [Category::EventStatus].into()));
        assert!(planned.why.contains("instance-retirement"));
        for words in ["[Completed] Your instance is rebooted", "[Canceled] Your instance is rebooted"] {
            assert_eq!(of(Vec::new(), &[("instance-reboot", words)]), None, "{words}");
        }
        let both = of(vec![failing(Check::System, Some(500))], &[("system-reboot", "")]).expect("both");
        assert_eq!((both.ending, both.categories.len()), (Ending::Overdue, 2));
    }
}

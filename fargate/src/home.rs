//! When it would pay to bring a workload home from Fargate.
//!
//! New pods go to nodes by themselves once these are cheaper; those that run on Fargate stay where they are, as to bring them
//! home is to delete them while they work. That is for people to decide, so it is told and not done: a rollout restart is all
//! it takes.
//!
//! # Invariants
//! - Nothing is told of what is within the margin by which verdicts change: it may be over at the next look.

use std::fmt;

use stowage_solver::Price;

use crate::verdict::{Finding, Steadiness};

/// A workload that runs on Fargate and would cost less on nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// How many of its pods run on Fargate.
    pub pods: usize,
    /// What they cost there, an hour.
    pub fargate: Price,
    /// What they would cost on nodes, an hour.
    pub nodes: Price,
}

impl Home {
    /// Whether it pays, by the last finding on the workload; `on_fargate` are its pods there, and what they cost as they are
    /// billed.
    pub fn of(found: &Finding, on_fargate: (usize, Price), steady: Steadiness) -> Option<Self> {
        let (pods, fargate) = on_fargate;
        let each = found.price_on_nodes()?.micros();
        let nodes = Price::from_micros(each.saturating_mul(i64::try_from(pods).ok()?));
        let saved = i128::from(fargate.micros()) - i128::from(nodes.micros());
        let least = i128::from(fargate.micros()) * i128::from(steady.margin_percent);
        (pods > 0 && saved > 0 && saved * 100 >= least).then_some(Self { pods, fargate, nodes })
    }

    /// What would be saved, an hour.
    pub fn saved(self) -> Price {
        self.fargate - self.nodes
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, nodes) = (if self.pods == 1 { "1 pod" } else { "pods" }, self.nodes);
        if self.pods == 1 {
            write!(f, "{what} on Fargate costs {} an hour", self.fargate)?;
        } else {
            write!(f, "{} {what} on Fargate cost {} an hour", self.pods, self.fargate)?;
        }
        match nodes {
            Price::ZERO => f.write_str(", and nodes that are there have room")?,
            nodes => write!(f, ", and {nodes} on nodes")?,
        }
        f.write_str("; new pods go there, and a rollout restart brings these home")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PolicyId;
    use crate::verdict::{OnNodes, Side, Why};

    fn finding(nodes: OnNodes, jointly: Option<i64>) -> Finding {
        Finding {
            policy: (PolicyId::default(), 1),
            target: None,
            side: Side::Ec2,
            why: Why::Cost,
            nodes: Some(nodes),
            jointly: jointly.map(Price::from_micros),
            lead_percent: None,
            together: 4,
        }
    }

    #[test]
    fn it_pays_by_a_margin_alone_or_together_with_others() {
        let home = |nodes, jointly| {
            let found = finding(nodes, jointly);
            Home::of(&found, (4, Price::from_micros(400_000)), Steadiness::default())
                .map(|home| home.saved().micros())
        };
        let bought = |micros| OnNodes::Bought(Price::from_micros(micros));
        assert_eq!(home(bought(90_000), None), Some(40_000));
        assert_eq!(home(bought(90_001), None), None);
        assert_eq!(home(bought(900_000), Some(50_000)), Some(200_000));
        assert_eq!(home(OnNodes::Room, None), Some(400_000));
        assert_eq!(home(OnNodes::NoPlace, None), None);
        assert_eq!(Home::of(&finding(OnNodes::Room, None), (0, Price::ZERO), Steadiness::default()), None);
    }

    #[test]
    fn it_is_told_in_words() {
        let home = Home { pods: 4, fargate: Price::from_micros(400_000), nodes: Price::from_micros(200_000) };
        assert_eq!(
            home.to_string(),
            "4 pods on Fargate cost $0.40 an hour, and $0.20 on nodes; new pods go there, and a rollout restart brings \
             these home"
        );
        let one = Home { pods: 1, nodes: Price::ZERO, ..home }.to_string();
        assert!(
            one.starts_with("1 pod on Fargate costs $0.40 an hour, and nodes that are there have room;"),
            "{one}"
        );
    }
}

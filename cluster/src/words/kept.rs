//! Why a node stays, in words: one clause, of which the node is the subject or the owner.

use stowage_solver::{Kept, Price, Problem};

use super::reason;
use crate::disrupt::Refusal;

/// Why a node may not be taken away to save money.
pub fn refusal(why: &Refusal) -> String {
    match why {
        Refusal::NotManaged => "no NodeClaim is behind it: another system made it".to_owned(),
        Refusal::NoPool(name) => format!("its NodePool {name} is not there"),
        Refusal::NotInitialized => "it has not started up yet".to_owned(),
        Refusal::Deleting => "it is being deleted".to_owned(),
        Refusal::Chosen => "it was chosen to go already".to_owned(),
        Refusal::Nominated => "pods are on their way to it".to_owned(),
        Refusal::Resting => {
            "what was to come in its place failed a while ago: that is tried again later".to_owned()
        }
        Refusal::PodUnread(pod) => {
            format!("{pod} of it cannot be read, so nobody knows whether it may leave")
        }
        Refusal::Protected => "it is marked karpenter.sh/do-not-disrupt".to_owned(),
        Refusal::PodProtected { pod, until: None } => {
            format!("pod {pod} is marked karpenter.sh/do-not-disrupt")
        }
        Refusal::PodProtected { pod, until: Some(until) } => {
            format!("pod {pod} is marked karpenter.sh/do-not-disrupt until {until}")
        }
        Refusal::BudgetSpent { pod, budget } => {
            format!("PodDisruptionBudget {budget} lets no more pods go now, and pod {pod} is one of them")
        }
        Refusal::BudgetAlways { pod, budget } => {
            format!("PodDisruptionBudget {budget} never lets a pod go, and pod {pod} is one of them")
        }
        Refusal::SeveralBudgets { pod, budgets } => {
            format!(
                "pod {pod} cannot be evicted: several PodDisruptionBudgets are about it ({})",
                budgets.join(", ")
            )
        }
        Refusal::Static => "its NodePool keeps a number of nodes (replicas), whatever the pods".to_owned(),
        Refusal::NoLabel(key) => format!("it has no label {key}, so its price is not known"),
        Refusal::Never => "its NodePool says consolidateAfter: Never".to_owned(),
        Refusal::NotQuiet { until: Some(until) } => {
            format!("pods have come or gone within consolidateAfter, which ends at {until}")
        }
        Refusal::NotQuiet { until: None } => "its NodeClaim is not Consolidatable yet".to_owned(),
        Refusal::NotEmpty => "its NodePool lets only empty nodes go (WhenEmpty), and it has pods".to_owned(),
    }
}

/// The same in one word, for programs.
pub const fn refusal_word(why: &Refusal) -> &'static str {
    match why {
        Refusal::NotManaged => "NotManaged",
        Refusal::NoPool(_) => "NodePoolNotFound",
        Refusal::NotInitialized => "NotInitialized",
        Refusal::Deleting => "Deleting",
        Refusal::Chosen => "Chosen",
        Refusal::Nominated => "Nominated",
        Refusal::Resting => "ReplacementFailed",
        Refusal::PodUnread(_) => "PodUnread",
        Refusal::Protected => "NodeProtected",
        Refusal::PodProtected { .. } => "PodProtected",
        Refusal::BudgetSpent { .. } | Refusal::BudgetAlways { .. } => "PodDisruptionBudget",
        Refusal::SeveralBudgets { .. } => "SeveralPodDisruptionBudgets",
        Refusal::Static => "StaticNodePool",
        Refusal::NoLabel(_) => "UnknownPrice",
        Refusal::Never => "ConsolidateAfterNever",
        Refusal::NotQuiet { .. } => "NotQuiet",
        Refusal::NotEmpty => "WhenEmpty",
    }
}

/// Why a node that might go stays, in one word, for programs.
pub const fn kept_word(why: &Kept) -> &'static str {
    match why {
        Kept::NotRemovable => "NotRemovable",
        Kept::Awaited => "Awaited",
        Kept::UnknownPrice => "UnknownPrice",
        Kept::NoPlace { .. } => "NoPlace",
        Kept::TooLittle { .. } => "TooLittleSaved",
        Kept::LikeForLike { .. } => "LikeForLike",
        Kept::Payback { .. } => "PaybackTooLong",
        Kept::SpotTypes { .. } => "TooFewSpotTypes",
        Kept::MinValues { .. } => "MinValues",
        Kept::Unbalanced { .. } => "Unbalanced",
        Kept::Limit => "NodePoolBudget",
        Kept::Broken(_) => "RuleBroken",
        Kept::NotReached => "NotReached",
    }
}

/// What would be saved without a node that stays; `None` where nobody knows.
pub const fn saving(why: &Kept) -> Option<Price> {
    match why {
        Kept::TooLittle { saving, .. } | Kept::Payback { saving, .. } | Kept::Unbalanced { saving, .. } => {
            Some(*saving)
        }
        _ => None,
    }
}

/// Why a node that might go stays.
pub fn kept(problem: &Problem, why: &Kept) -> String {
    match why {
        Kept::NotRemovable => "it may not be taken away".to_owned(),
        Kept::Awaited => "pending pods get their places on it".to_owned(),
        Kept::UnknownPrice => "nobody knows what it costs: the catalogue has no such offering".to_owned(),
        Kept::NoPlace { pod, reasons } => {
            let why = reasons.iter().map(|r| reason::sentence(problem, r)).collect::<Vec<_>>().join("; ");
            let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
            format!("pod {pod} fits on no other node, and none may be launched for it{why}")
        }
        Kept::TooLittle { saving, .. } if *saving < Price::ZERO => {
            let more = dollars(Price::ZERO - *saving);
            format!("what would take its place costs {more} an hour more")
        }
        Kept::TooLittle { saving, .. } if *saving == Price::ZERO => {
            "what would take its place costs the same".to_owned()
        }
        Kept::TooLittle { saving, least } => format!(
            "without it {} an hour would be saved, and a step must save {}",
            dollars(*saving),
            dollars(*least)
        ),
        Kept::LikeForLike { instance_type } => {
            format!("what would take its place is another {instance_type} like those that would go")
        }
        Kept::Payback { saving, disruption, seconds } => format!(
            "without it {} an hour would be saved, which takes {} to pay for moving what is worth {} ordinary pods, and \
             for new nodes while they start",
            dollars(*saving),
            lasting(*seconds),
            tenths(*disruption)
        ),
        Kept::SpotTypes { least: 0, .. } => "spot is not to be replaced by spot".to_owned(),
        Kept::SpotTypes { found, least } => format!(
            "spot is replaced by spot only with {least} cheaper instance types to choose from, and there are {found}"
        ),
        Kept::MinValues { key, found, least } => format!(
            "what would take its place must be chosen from {least} values of {key} (minValues), and only {found} of what \
             is cheap enough are there"
        ),
        Kept::Unbalanced { saving, score } => format!(
            "without it {} an hour would be saved, too little for what it disrupts of its NodePool (score 0.{score:03}, \
             Balanced asks for 0.5)",
            dollars(*saving)
        ),
        Kept::Limit => "as many nodes of its NodePool go as may at the same time".to_owned(),
        Kept::Broken(what) => format!("the step that would take it away breaks a rule: {what}"),
        Kept::NotReached => "the budget of the search was spent before it was looked at by itself".to_owned(),
    }
}

fn dollars(price: Price) -> String {
    format!("${:.4}", price.dollars())
}

/// A number of seconds, in the largest unit that says enough: `45s`, `12min`, `2.5h`.
pub fn lasting(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}min", seconds / 60),
        _ => format!("{}.{}h", seconds / 3600, seconds % 3600 / 360),
    }
}

/// Thousandths as a decimal of one digit, whole where that is all: `4`, `4.5`.
pub fn tenths(thousandths: i64) -> String {
    match (thousandths / 1000, thousandths % 1000 / 100) {
        (whole, 0) => whole.to_string(),
        (whole, tenth) => format!("{whole}.{tenth}"),
    }
}

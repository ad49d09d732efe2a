//! Why a node may not go, in words.

use stowage_cluster::disrupt::Refusal;

/// One word for programs, and a sentence for people. `None` for what is no obstacle that somebody could do something about.
pub fn refusal(why: &Refusal) -> Option<(&'static str, String)> {
    Some(match why {
        Refusal::Protected => ("NodeProtected", "the node is marked karpenter.sh/do-not-disrupt".to_owned()),
        Refusal::PodProtected { pod, until: None } => {
            ("PodProtected", format!("pod {pod} is marked karpenter.sh/do-not-disrupt"))
        }
        Refusal::PodProtected { pod, until: Some(until) } => {
            ("PodProtected", format!("pod {pod} is marked karpenter.sh/do-not-disrupt until {until}"))
        }
        Refusal::BudgetSpent { pod, budget } => {
            ("PodDisruptionBudget", format!("PodDisruptionBudget {budget} lets pod {pod} not go now"))
        }
        Refusal::BudgetAlways { pod, budget } => (
            "PodDisruptionBudget",
            format!(
                "PodDisruptionBudget {budget} never lets pod {pod} go: it wants all of its pods to be up"
            ),
        ),
        Refusal::SeveralBudgets { pod, budgets } => (
            "SeveralPodDisruptionBudgets",
            format!(
                "several PodDisruptionBudgets are about pod {pod}, which cannot be evicted then: {}",
                budgets.join(", ")
            ),
        ),
        Refusal::NoPool(pool) => ("NodePoolNotFound", format!("its NodePool {pool} is not there")),
        Refusal::NotInitialized => ("NotInitialized", "it has not started up yet".to_owned()),
        Refusal::Nominated => ("Nominated", "pods are on their way to it".to_owned()),
        _ => return None,
    })
}

//! Why a node may not go, in words.

use stowage_cluster::disrupt::Refusal;
use stowage_cluster::words::kept;

/// One word for programs, and a sentence for people. `None` for what is no obstacle that somebody could do something about.
pub fn refusal(why: &Refusal) -> Option<(&'static str, String)> {
    let is_obstacle = matches!(
        why,
        Refusal::Protected
            | Refusal::PodProtected { .. }
            | Refusal::BudgetSpent { .. }
            | Refusal::BudgetAlways { .. }
            | Refusal::SeveralBudgets { .. }
            | Refusal::NoPool(_)
            | Refusal::NotInitialized
            | Refusal::Nominated
            | Refusal::Resting
            | Refusal::PodUnread(_)
    );
    is_obstacle.then(|| (kept::refusal_word(why), kept::refusal(why)))
}

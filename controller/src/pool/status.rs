//! The status of a `NodePool`, from what is known of it: pure.

use std::collections::BTreeMap;

use stowage_api::crd::condition::{
    self, FALSE, NODE_CLASS_READY, NODE_REGISTRATION_HEALTHY, READY, TRUE, UNKNOWN, VALIDATION_SUCCEEDED,
};
use stowage_api::crd::{Amount, Condition, NodePoolStatus};

use super::count::Count;
use super::unknown;

/// The most that a condition says, in characters: a schema lets in 32,768, and nobody reads so many.
const LONGEST: usize = 2_000;

/// What an object was found to be, looked at alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// What is wrong with it.
    pub problems: Vec<String>,
    /// Fields that nobody looks at.
    pub unknown: Vec<String>,
}

/// What is known of the class that a `NodePool` names.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Class {
    /// It does not exist.
    #[default]
    Missing,
    /// It is being deleted.
    Terminating,
    /// It is there.
    There {
        /// Its generation.
        generation: Option<i64>,
        /// Its condition of that name, once it has one.
        ready: Option<Condition>,
    },
    /// Others launch nodes from it, and know how it stands.
    Foreign,
}

/// The status that a `NodePool` should have, as of `now`.
pub fn status(
    old: &NodePoolStatus,
    generation: Option<i64>,
    checked: &Checked,
    class: (&str, &Class),
    count: &Count,
    now: &str,
) -> NodePoolStatus {
    let mut status = old.clone();
    status.nodes = count.nodes;
    status.resources = count
        .shown()
        .into_iter()
        .map(|(name, amount)| (name, Amount::from(amount)))
        .collect::<BTreeMap<_, _>>();
    let with = |kind: &str, state: &str, reason: &str, message: String| Condition {
        kind: kind.to_owned(),
        status: state.to_owned(),
        reason: reason.to_owned(),
        message: cut(message),
        last_transition_time: now.to_owned(),
        observed_generation: generation,
    };
    let valid = if checked.problems.is_empty() {
        with(VALIDATION_SUCCEEDED, TRUE, VALIDATION_SUCCEEDED, unknown::words(&checked.unknown))
    } else {
        with(VALIDATION_SUCCEEDED, FALSE, "NodePoolValidationFailed", checked.problems.join("; "))
    };
    condition::set(&mut status.conditions, valid);

    let (name, class) = class;
    let not_ready = |reason: &str, message: String| with(NODE_CLASS_READY, FALSE, reason, message);
    let ready = match class {
        Class::Missing => not_ready(
            "NodeClassNotFound",
            format!(
                "EC2NodeClass {name} does not exist: create it, or name another in spec.template.spec.nodeClassRef"
            ),
        ),
        Class::Terminating => {
            not_ready("NodeClassTerminating", format!("EC2NodeClass {name} is being deleted"))
        }
        Class::There { ready: Some(ready), .. } if ready.is_true() => {
            with(NODE_CLASS_READY, TRUE, NODE_CLASS_READY, String::new())
        }
        Class::There { ready: Some(ready), .. } if ready.status == FALSE => {
            let reason = if ready.reason.is_empty() { "NodeClassNotReady" } else { &ready.reason };
            not_ready(reason, format!("EC2NodeClass {name} is not ready: {}", ready.message))
        }
        Class::There { .. } => {
            not_ready("NodeClassReadinessUnknown", format!("EC2NodeClass {name} has not been looked up yet"))
        }
        Class::Foreign => with(NODE_CLASS_READY, TRUE, NODE_CLASS_READY, String::new()),
    };
    condition::set(&mut status.conditions, ready);
    if let Some(unknown) = registration(&status, generation, class) {
        condition::set(
            &mut status.conditions,
            with(NODE_REGISTRATION_HEALTHY, UNKNOWN, unknown, String::new()),
        );
    }
    if let Class::There { generation: Some(observed), .. } = class {
        status.node_class_observed_generation = Some(*observed);
    }
    let root =
        condition::ready(&status.conditions, &[VALIDATION_SUCCEEDED, NODE_CLASS_READY], now, generation);
    condition::set(&mut status.conditions, root);
    status
}

/// Whether nothing is known of how nodes join, as there never was a node or all were of another template or class: why.
fn registration(status: &NodePoolStatus, generation: Option<i64>, class: &Class) -> Option<&'static str> {
    let Some(known) = condition::find(&status.conditions, NODE_REGISTRATION_HEALTHY) else {
        return Some("AwaitingReconciliation");
    };
    let older = known.observed_generation.zip(generation).is_some_and(|(seen, now)| seen < now);
    let other_class = match (class, status.node_class_observed_generation) {
        (Class::There { generation: Some(now), .. }, Some(seen)) => seen != *now,
        _ => false,
    };
    if older {
        Some("NodePoolChanged")
    } else if other_class && known.status != UNKNOWN {
        Some("NodeClassChanged")
    } else {
        None
    }
}

/// Why nothing is launched from a `NodePool` of this status; `Ok` where it is.
pub fn standing(status: &NodePoolStatus) -> Result<(), String> {
    if condition::holds(&status.conditions, READY) {
        return Ok(());
    }
    let roots = [VALIDATION_SUCCEEDED, NODE_CLASS_READY];
    let failed =
        roots.iter().filter_map(|kind| condition::find(&status.conditions, kind)).find(|c| !c.is_true());
    Err(failed.map_or_else(|| "it has not been looked at yet".to_owned(), |c| c.message.clone()))
}

/// As much of a text as a condition holds.
pub(super) fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(at);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(state: &str) -> Class {
        let ready = Condition {
            kind: READY.to_owned(),
            status: state.to_owned(),
            reason: "SubnetsNotFound".to_owned(),
            message: "SubnetsReady=False".to_owned(),
            ..Condition::default()
        };
        Class::There { generation: Some(4), ready: Some(ready) }
    }

    fn of(old: &NodePoolStatus, checked: &Checked, class: &Class, now: &str) -> NodePoolStatus {
        status(old, Some(2), checked, ("al2023", class), &Count::default(), now)
    }

    fn said(status: &NodePoolStatus, kind: &str) -> String {
        let found = condition::find(&status.conditions, kind).expect("a condition");
        format!("{} {} {}", found.status, found.reason, found.message)
    }

    #[test]
    fn a_pool_is_ready_with_its_class_and_not_before() {
        let checked = Checked::default();
        let missing = of(&NodePoolStatus::default(), &checked, &Class::Missing, "t1");
        assert_eq!(said(&missing, READY), "False UnhealthyDependents NodeClassReady=False");
        assert!(
            standing(&missing)
                .is_err_and(|why| why.starts_with("EC2NodeClass al2023 does not exist: create it"))
        );
        let unseen = of(&missing, &checked, &Class::There { generation: Some(1), ready: None }, "t2");
        assert_eq!(
            said(&unseen, NODE_CLASS_READY),
            "False NodeClassReadinessUnknown EC2NodeClass al2023 has not been looked up yet"
        );
        let broken = of(&unseen, &checked, &there(FALSE), "t3");
        assert_eq!(
            said(&broken, NODE_CLASS_READY),
            "False SubnetsNotFound EC2NodeClass al2023 is not ready: SubnetsReady=False"
        );
        let ready = of(&broken, &checked, &there(TRUE), "t4");
        assert_eq!((said(&ready, READY), standing(&ready)), ("True Ready ".to_owned(), Ok(())));
        assert_eq!(ready.node_class_observed_generation, Some(4));
        let times: Vec<&str> = ready.conditions.iter().map(|c| c.last_transition_time.as_str()).collect();
        assert_eq!(times, ["t1", "t4", "t1", "t4"], "only what has changed has a new time");
        assert_eq!(of(&ready, &checked, &there(TRUE), "t5"), ready);
        assert!(standing(&of(&ready, &checked, &Class::Terminating, "t6")).is_err());
        assert_eq!(standing(&of(&ready, &checked, &Class::Foreign, "t6")), Ok(()));
    }

    #[test]
    fn what_is_wrong_and_what_is_not_known_stands_in_a_condition() {
        let checked = Checked { problems: vec!["a".to_owned(), "b".repeat(9_000)], unknown: Vec::new() };
        let wrong = of(&NodePoolStatus::default(), &checked, &there(TRUE), "t1");
        let message = said(&wrong, VALIDATION_SUCCEEDED);
        assert!(message.starts_with("False NodePoolValidationFailed a; bbb") && message.ends_with("b…"));
        assert_eq!(said(&wrong, READY), "False UnhealthyDependents ValidationSucceeded=False");
        let checked = Checked { problems: Vec::new(), unknown: vec!["spec.wieght".to_owned()] };
        let right = of(&wrong, &checked, &there(TRUE), "t2");
        assert!(said(&right, VALIDATION_SUCCEEDED).ends_with("spec.wieght"));
        assert_eq!(standing(&right), Ok(()));
    }

    #[test]
    fn how_nodes_join_is_forgotten_when_pool_or_class_changes() {
        let checked = Checked::default();
        let mut status = of(&NodePoolStatus::default(), &checked, &there(TRUE), "t1");
        assert_eq!(said(&status, NODE_REGISTRATION_HEALTHY), "Unknown AwaitingReconciliation ");
        let healthy = |generation| Condition {
            kind: NODE_REGISTRATION_HEALTHY.to_owned(),
            status: TRUE.to_owned(),
            reason: "Registered".to_owned(),
            last_transition_time: "t2".to_owned(),
            observed_generation: generation,
            ..Condition::default()
        };
        for generation in [Some(2), None] {
            condition::set(&mut status.conditions, healthy(generation));
            assert_eq!(of(&status, &checked, &there(TRUE), "t3"), status);
        }
        condition::set(&mut status.conditions, healthy(Some(1)));
        assert!(
            said(&of(&status, &checked, &there(TRUE), "t3"), NODE_REGISTRATION_HEALTHY)
                .starts_with("Unknown NodePool")
        );
        condition::set(&mut status.conditions, healthy(Some(2)));
        status.node_class_observed_generation = Some(3);
        assert!(
            said(&of(&status, &checked, &there(TRUE), "t3"), NODE_REGISTRATION_HEALTHY)
                .starts_with("Unknown NodeClass")
        );
    }
}

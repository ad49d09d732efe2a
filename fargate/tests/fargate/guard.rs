//! The guard: once back, once anew.

use serde_json::json;
use stowage_fargate::{Action, Cache, Guard, Root, Routed, Side, Stays, Workload};

use crate::{policy, to_fargate};

fn workload() -> Workload {
    let root = Root::Controller("Deployment".to_owned(), "web".to_owned());
    Workload { namespace: "shop".to_owned(), root, template: "1".to_owned() }
}

fn routed(name: &str, created: u64, may_recreate: Result<(), Stays>) -> Routed {
    let (pod, uid) = (format!("shop/{name}"), format!("uid-of-{name}"));
    Routed { workload: workload(), pod, uid, created, timeout: 300, may_recreate }
}

#[test]
fn a_workload_goes_back_once_and_each_pod_is_made_anew_once() {
    let mut cache = Cache::default();
    cache.put(&workload(), to_fargate(&policy(Some("shop"), "p", json!({"mode": "Always"})), "jobs", 0));
    let mut guard = Guard::default();
    let waiting = [
        routed("b", 1_000, Ok(())),
        routed("a", 1_000, Ok(())),
        routed("c", 1_200, Ok(())),
        routed("bare", 1_000, Err(Stays::NoOwner)),
    ];
    assert_eq!(guard.look(&waiting, &mut cache, 1_300), []);
    let actions = guard.look(&waiting, &mut cache, 1_301);
    let recreate =
        |name: &str| Action::Recreate { pod: format!("shop/{name}"), uid: format!("uid-of-{name}") };
    assert_eq!(
        actions,
        [
            Action::TakenBack {
                workload: workload(),
                pod: "shop/a".to_owned(),
                waited: 301,
                until: 1_301 + 3_600
            },
            recreate("a"),
            recreate("b"),
            Action::Stuck { pod: "shop/bare".to_owned(), why: Stays::NoOwner },
        ]
    );
    assert_eq!(cache.get(&workload()).unwrap().side, Side::Ec2);
    assert_eq!(guard.look(&waiting, &mut cache, 1_400), []);
    // The third is late later; its workload is back already.
    assert_eq!(guard.look(&waiting, &mut cache, 1_501), [recreate("c")]);
    // A new leader knows nothing of that, and the verdict is what it was: nobody is told again.
    let again = Guard::default().look(&waiting, &mut cache, 1_600);
    assert!(again.iter().all(|action| !matches!(action, Action::TakenBack { .. })), "{again:?}");
}

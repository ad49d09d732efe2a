//! The guard: held first, known to all, then made anew, and each once.

use stowage_fargate::{Bucket, Cache, Guard, Hold, Intent, Root, Routed, Stays, Workload};

fn workload(template: &str) -> Workload {
    let root = Root::Controller("Deployment".to_owned(), "web".to_owned());
    Workload { namespace: "shop".to_owned(), root, template: template.to_owned() }
}

fn routed(name: &str, since: u64, may_recreate: Result<(), Stays>) -> Routed {
    let (pod, uid, resource_version) = (format!("shop/{name}"), format!("uid-of-{name}"), "7".to_owned());
    Routed { workload: workload("1"), pod, uid, resource_version, since, timeout: 300, may_recreate }
}

fn recreate(name: &str) -> Intent {
    let (pod, uid) = (format!("shop/{name}"), format!("uid-of-{name}"));
    Intent::Recreate { pod, uid, resource_version: "7".to_owned() }
}

const NO: &dyn Fn(&Workload, Hold) -> bool = &|_, _| false;
const YES: &dyn Fn(&Workload, Hold) -> bool = &|_, _| true;

#[test]
fn a_workload_is_held_and_its_pods_follow_once_all_know() {
    // Nobody has a verdict on it: it is held all the same.
    let mut cache = Cache::default();
    let mut guard = Guard::default();
    let mut bucket = Bucket::new(60, 1_000);
    let waiting = [
        routed("b", 1_000, Ok(())),
        routed("a", 1_000, Ok(())),
        routed("c", 1_200, Ok(())),
        routed("bare", 1_000, Err(Stays::NoOwner)),
    ];
    assert_eq!(guard.look(&waiting, &cache, YES, &mut bucket, 1_300), []);
    let hold = [Intent::Hold { workload: workload("1"), pod: "shop/a".to_owned(), waited: 301 }];
    assert_eq!(guard.look(&waiting, &cache, YES, &mut bucket, 1_301), hold);
    // It died before it held anything: who follows wants the same.
    assert_eq!(Guard::default().look(&waiting, &cache, YES, &mut bucket, 1_301), hold);
    assert!(cache.hold(&workload("1"), 1_301).is_some());
    let stuck =
        |uid: &str| Intent::Stuck { pod: "shop/bare".to_owned(), uid: uid.to_owned(), why: Stays::NoOwner };
    // Not all know of it yet: a pod that is deleted now would be sent to Fargate again.
    assert_eq!(guard.look(&waiting, &cache, NO, &mut bucket, 1_302), [stuck("uid-of-bare")]);
    let both = [recreate("a"), recreate("b")];
    assert_eq!(guard.look(&waiting, &cache, YES, &mut bucket, 1_310), both);
    // Deleting failed: it is wanted again, until it is confirmed.
    assert_eq!(guard.look(&waiting, &cache, YES, &mut bucket, 1_320), both);
    guard.confirm("uid-of-a");
    guard.confirm("uid-of-b");
    assert_eq!(guard.look(&waiting, &cache, YES, &mut bucket, 1_400), []);
    // The third is late later; its workload is held already.
    assert_eq!(guard.look(&waiting, &cache, YES, &mut bucket, 1_501), [recreate("c")]);
}

/// Why a pod stays may be a matter of a moment.
#[test]
fn a_pod_that_was_left_is_made_anew_when_its_owner_does_that_after_all() {
    let (mut cache, mut guard, mut bucket) = (Cache::default(), Guard::default(), Bucket::new(60, 1_000));
    cache.hold(&workload("1"), 1_000);
    let mut waiting = [routed("a", 1_000, Err(Stays::ScaledDown))];
    let stuck =
        Intent::Stuck { pod: "shop/a".to_owned(), uid: "uid-of-a".to_owned(), why: Stays::ScaledDown };
    assert_eq!(guard.look(&waiting, &cache, YES, &mut bucket, 1_400), [stuck]);
    assert!(guard.is_told("uid-of-a"));
    assert_eq!(guard.look(&waiting, &cache, YES, &mut bucket, 1_410), [], "it was told");
    waiting[0].may_recreate = Ok(());
    assert_eq!(guard.look(&waiting, &cache, YES, &mut bucket, 1_420), [recreate("a")]);
    // The hold is over, and it waits still: no other hold because of it.
    assert_eq!(guard.look(&waiting, &cache, YES, &mut bucket, 5_000), []);
    assert_eq!(guard.look(&[], &cache, YES, &mut bucket, 5_010), []);
    assert!(!guard.is_told("uid-of-a"), "it is gone");
}

#[test]
fn no_faster_than_the_bucket_allows() {
    let mut cache = Cache::default();
    cache.hold(&workload("1"), 1_000);
    let waiting: Vec<Routed> = (0..30).map(|n| routed(&format!("w{n:02}"), 1_000, Ok(()))).collect();
    let (mut guard, mut bucket) = (Guard::default(), Bucket::new(10, 1_000));
    let wanted = guard.look(&waiting, &cache, YES, &mut bucket, 1_400);
    assert_eq!(wanted.len(), 10);
    for n in 0..10 {
        guard.confirm(&format!("uid-of-w{n:02}"));
    }
    assert_eq!(guard.look(&waiting, &cache, YES, &mut bucket, 1_401), []);
    assert_eq!(guard.look(&waiting, &cache, YES, &mut bucket, 1_406), [recreate("w10")]);
}

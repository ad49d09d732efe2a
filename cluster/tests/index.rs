//! The index: fed by watches in any order that an API server may send, it equals a snapshot of the same objects.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use stowage_cluster::{Index, Kind, ReadOptions, Snapshot, Source, read};

/// So many kinds take part in a case, so that its events are about few objects.
const KINDS: usize = 4;

/// The states that objects of a kind go through; the last is malformed.
#[expect(clippy::too_many_lines, reason = "a table")]
fn states(kind: Kind) -> [&'static str; 3] {
    match kind {
        Kind::Pod => [
            r#""spec": {"nodeName": "n0"}, "status": {"phase": "Running"}"#,
            r#""spec": {"containers": [{"resources": {"requests": {"cpu": "2"}}}]}"#,
            r#""spec": {"containers": [{"resources": {"requests": {"cpu": "two"}}}]}"#,
        ],
        Kind::Node => [
            r#""spec": {}"#,
            r#""status": {"allocatable": {"cpu": "4"}}"#,
            r#""status": {"allocatable": {"cpu": "-x"}}"#,
        ],
        Kind::PersistentVolumeClaim => {
            [r#""spec": {"volumeName": "pv-1"}"#, r#""spec": {}"#, r#""spec": {"volumeName": 1}"#]
        }
        Kind::PersistentVolume => [
            r#""spec": {"storageClassName": "gp3"}"#,
            r#""spec": {"csi": {"driver": "ebs.csi.aws.com"}}"#,
            r#""spec": {"csi": {"driver": []}}"#,
        ],
        Kind::StorageClass => [r#""provisioner": "a""#, r#""provisioner": "b""#, r#""provisioner": {}"#],
        Kind::CsiNode => [
            r#""spec": {"drivers": []}"#,
            r#""spec": {"drivers": [{"name": "d", "allocatable": {"count": 26}}]}"#,
            r#""spec": {"drivers": [{"name": "d", "allocatable": {"count": -1}}]}"#,
        ],
        Kind::DaemonSet => [
            r#""spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {}}}"#,
            r#""spec": {"template": {"spec": {"priority": 5}}}"#,
            r#""spec": {"template": {"spec": {"priority": "high"}}}"#,
        ],
        // Of these, what is read stands in their metadata: see `json`.
        Kind::Namespace => ["", r#", "labels": {"team": "a"}"#, r#", "labels": {"team": 1}"#],
        Kind::PriorityClass => [r#""value": 1"#, r#""value": 2"#, r#""value": "much""#],
        Kind::RuntimeClass => [
            r#""overhead": {"podFixed": {"cpu": "1"}}"#,
            r#""scheduling": {"nodeSelector": {"a": "b"}}"#,
            r#""overhead": {"podFixed": {"cpu": "one"}}"#,
        ],
        Kind::NodePool => {
            [r#""spec": {"weight": 2}"#, r#""spec": {"weight": 3}"#, r#""spec": {"weight": "heavy"}"#]
        }
        Kind::NodeClaim => [
            r#""status": {"providerID": "a"}"#,
            r#""status": {"capacity": {"cpu": "4"}}"#,
            r#""status": {"capacity": {"cpu": "four"}}"#,
        ],
        Kind::Ec2NodeClass => [
            r#""spec": {"kubelet": {"maxPods": 10}}"#,
            r#""spec": {"amiFamily": "Bottlerocket"}"#,
            r#""spec": {"amiFamily": 2}"#,
        ],
        Kind::ResourceClaim => [
            r#""status": {"reservedFor": [{"resource": "pods", "name": "n0"}]}"#,
            r#""spec": {"devices": {"requests": [{"name": "gpu"}]}}"#,
            r#""spec": {"devices": {"requests": {}}}"#,
        ],
        Kind::ResourceClaimTemplate => [
            r#""spec": {"spec": {}}"#,
            r#""spec": {"spec": {"devices": {"requests": [{"name": "gpu"}]}}}"#,
            r#""spec": {"spec": {"devices": 1}}"#,
        ],
        Kind::DeviceClass => [
            r#""spec": {}"#,
            r#""spec": {"selectors": [{"cel": {"expression": "true"}}]}"#,
            r#""spec": {"selectors": [{"cel": {"expression": 1}}]}"#,
        ],
        Kind::ResourceSlice => [
            r#""spec": {"driver": "a", "nodeName": "n0"}"#,
            r#""spec": {"driver": "a", "pool": {"name": "p", "generation": 2}}"#,
            r#""spec": {"driver": "a", "pool": {"generation": "second"}}"#,
        ],
        Kind::FargateProfile => [
            r#""spec": {"selectors": [{"namespace": "web"}]}"#,
            r#""status": {"status": "DELETING"}"#,
            r#""spec": {"selectors": 1}"#,
        ],
        Kind::Job => [
            r#""spec": {"ttlSecondsAfterFinished": 5}"#,
            r#""spec": {}"#,
            r#""spec": {"ttlSecondsAfterFinished": "soon"}"#,
        ],
        Kind::NodeOverlay => [
            r#""spec": {"weight": 2, "price": "5"}"#,
            r#""spec": {"priceAdjustment": "-10%"}"#,
            r#""spec": {"weight": "heavy"}"#,
        ],
        Kind::Service => [
            r#""spec": {"selector": {"a": "b"}}"#,
            r#""spec": {"type": "ExternalName"}"#,
            r#""spec": {"selector": 1}"#,
        ],
        Kind::VolumeAttachment => [
            r#""spec": {"nodeName": "n0"}"#,
            r#""spec": {"source": {"persistentVolumeName": "v"}}"#,
            r#""spec": {"nodeName": 1}"#,
        ],
        Kind::PodDisruptionBudget => [
            r#""status": {"disruptionsAllowed": 1}"#,
            r#""spec": {"maxUnavailable": "50%"}"#,
            r#""status": {"disruptionsAllowed": "one"}"#,
        ],
    }
}

/// What happens to an API server, and to the watches of it.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// An object is made or changed.
    Put { kind: usize, name: usize, state: usize },
    /// An object is deleted.
    Delete { kind: usize, name: usize },
    /// A watch breaks; what it had not delivered yet is lost.
    Break { kind: usize },
    /// A broken watch begins anew, with a list.
    List { kind: usize },
    /// The next event of a kind arrives.
    Deliver { kind: usize },
}

#[derive(Clone, Debug)]
enum Event {
    BeginList,
    Put(String),
    EndList,
    Delete(usize),
}

struct Server {
    kinds: Vec<Kind>,
    /// By kind and name: the state.
    objects: [BTreeMap<usize, usize>; KINDS],
    /// What each watch has yet to deliver; `None` where it is broken.
    watches: [Option<VecDeque<Event>>; KINDS],
}

fn json(kind: Kind, name: usize, state: usize) -> String {
    let (of, state) = (kind.name(), states(kind)[state]);
    if kind == Kind::Namespace {
        return format!(r#"{{"kind": "{of}", "metadata": {{"name": "n{name}"{state}}}}}"#);
    }
    format!(r#"{{"kind": "{of}", "metadata": {{"name": "n{name}"}}, {state}}}"#)
}

impl Server {
    fn step(&mut self, step: Step, index: &mut Index) {
        match step {
            Step::Put { kind, name, state } => {
                self.objects[kind].insert(name, state);
                self.send(kind, Event::Put(json(self.kinds[kind], name, state)));
            }
            Step::Delete { kind, name } => {
                if self.objects[kind].remove(&name).is_some() {
                    self.send(kind, Event::Delete(name));
                }
            }
            Step::Break { kind } => self.watches[kind] = None,
            Step::List { kind } => {
                let of = self.kinds[kind];
                let named =
                    self.objects[kind].iter().map(|(name, state)| Event::Put(json(of, *name, *state)));
                let events = [Event::BeginList].into_iter().chain(named).chain([Event::EndList]);
                self.watches[kind].get_or_insert_with(|| events.collect());
            }
            Step::Deliver { kind } => {
                if let Some(event) = self.watches[kind].as_mut().and_then(VecDeque::pop_front) {
                    deliver(self.kinds[kind], event, index);
                }
            }
        }
    }

    fn send(&mut self, kind: usize, event: Event) {
        if let Some(watch) = &mut self.watches[kind] {
            watch.push_back(event);
        }
    }

    /// All watches are mended and say all they have to say.
    fn settle(&mut self, index: &mut Index) {
        for kind in 0..KINDS {
            self.step(Step::List { kind }, index);
            while self.watches[kind].as_ref().is_some_and(|w| !w.is_empty()) {
                self.step(Step::Deliver { kind }, index);
            }
        }
    }

    /// What reading all objects at once gives.
    fn read(&self) -> Snapshot {
        let objects = self.kinds.iter().zip(&self.objects);
        let items: Vec<String> = objects
            .flat_map(|(kind, of)| of.iter().map(|(name, state)| json(*kind, *name, *state)))
            .collect();
        let list = format!(r#"{{"kind": "List", "items": [{}]}}"#, items.join(","));
        let options = ReadOptions { skip_invalid: true, ..ReadOptions::default() };
        read(&[Source { name: "all", bytes: list.as_bytes() }], &options).expect("a list")
    }
}

fn deliver(kind: Kind, event: Event, index: &mut Index) {
    match event {
        Event::BeginList => index.begin_list(kind),
        // Malformed ones are told, and looked for in the snapshot later.
        Event::Put(json) => drop(index.apply(kind, &json)),
        Event::EndList => index.end_list(kind),
        Event::Delete(name) => {
            let namespace = if kind.is_namespaced() { "default" } else { "" };
            index.remove(kind, namespace, &format!("n{name}"));
        }
    }
}

/// All that is in a snapshot, but for where malformed objects stand.
fn contents(mut snapshot: Snapshot) -> String {
    for error in &mut snapshot.invalid {
        error.position.source = "".into();
        error.position.items.clear();
    }
    snapshot.invalid.sort_by(|a, b| a.object.cmp(&b.object));
    format!("{snapshot:#?}")
}

fn step() -> impl Strategy<Value = Step> {
    let kind = 0..KINDS;
    prop_oneof![
        6 => (kind.clone(), 0..4_usize, 0..3_usize).prop_map(|(kind, name, state)| Step::Put { kind, name, state }),
        3 => (kind.clone(), 0..4_usize).prop_map(|(kind, name)| Step::Delete { kind, name }),
        1 => kind.clone().prop_map(|kind| Step::Break { kind }),
        3 => kind.clone().prop_map(|kind| Step::List { kind }),
        9 => kind.prop_map(|kind| Step::Deliver { kind }),
    ]
}

/// What is malformed would otherwise be tried no more, and nobody notice.
#[test]
fn of_every_kind_there_are_states_that_differ_and_one_that_is_malformed() {
    for kind in Kind::all() {
        let mut seen = Vec::new();
        for state in 0..3 {
            let mut index = Index::default();
            let read = index.apply(kind, &json(kind, 0, state));
            assert_eq!(read.is_ok(), state < 2, "{}: {state}: {read:?}", kind.name());
            seen.push(contents(index.snapshot().as_ref().clone()));
        }
        assert_ne!(seen[0], seen[1], "{}", kind.name());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn events_in_any_order_come_to_what_is_there(
        kinds in prop::sample::subsequence(Kind::all().collect::<Vec<_>>(), KINDS),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut server = Server { kinds: kinds.clone(), objects: Default::default(), watches: Default::default() };
        let mut index = Index::default();
        for step in steps {
            server.step(step, &mut index);
            // Readers in between see something whole, and do not disturb what comes.
            index.snapshot();
        }
        server.settle(&mut index);
        prop_assert!(index.is_synced(&kinds));
        prop_assert_eq!(contents(index.snapshot().as_ref().clone()), contents(server.read()));
    }
}

#[test]
fn what_was_known_stays_while_a_list_is_read() {
    let mut index = Index::default();
    let pod = |name: &str| format!(r#"{{"metadata": {{"name": "{name}"}}}}"#);
    index.begin_list(Kind::Pod);
    assert!(!index.is_synced(&[Kind::Pod]));
    for name in ["a", "b"] {
        index.apply(Kind::Pod, &pod(name)).expect("a pod");
    }
    index.end_list(Kind::Pod);
    assert!(index.is_synced(&[Kind::Pod]) && !index.is_synced(&[Kind::Node]));

    index.begin_list(Kind::Pod);
    index.apply(Kind::Pod, &pod("b")).expect("a pod");
    assert_eq!(index.snapshot().pods.len(), 2, "half a list takes nothing away");
    assert!(index.is_synced(&[Kind::Pod]));
    index.end_list(Kind::Pod);
    assert_eq!((index.snapshot().pods[0].key(), index.count(Kind::Pod)), ("default/b".to_owned(), 1));
}

#[test]
fn snapshots_are_shared_until_something_changes() {
    let mut index = Index::default();
    index.apply(Kind::Node, r#"{"metadata": {"name": "a"}}"#).expect("a node");
    let first = index.snapshot();
    assert!(std::sync::Arc::ptr_eq(&first, &index.snapshot()));
    index.remove(Kind::Node, "", "b");
    assert!(std::sync::Arc::ptr_eq(&first, &index.snapshot()), "nothing is gone");
    index.remove(Kind::Node, "", "a");
    assert_eq!((first.nodes.len(), index.snapshot().nodes.len()), (1, 0));
}

#[test]
fn a_malformed_object_is_named_and_forgotten_when_it_is_mended() {
    let mut index = Index::default();
    index.apply(Kind::Pod, r#"{"metadata": {"name": "web"}}"#).expect("a pod");
    let bad = r#"{"metadata": {"name": "web"}, "spec": {"containers": [{"resources": {"requests": {"cpu": "x"}}}]}}"#;
    let error = index.apply(Kind::Pod, bad).expect_err("no quantity");
    let said = error.to_string();
    assert!(said.starts_with("the API server, Pod web: spec.containers[0].resources.requests"), "{said}");
    assert_eq!((index.snapshot().pods.len(), index.snapshot().invalid.len()), (0, 1));
    index.apply(Kind::Pod, r#"{"metadata": {"name": "web"}}"#).expect("a pod");
    assert_eq!((index.snapshot().pods.len(), index.snapshot().invalid.len()), (1, 0));
}

//! The index: fed by watches in any order that an API server may send, it equals a snapshot of the same objects.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use stowage_cluster::{Index, Kind, ReadOptions, Snapshot, Source, read};

const KINDS: [Kind; 4] = [Kind::Pod, Kind::Node, Kind::NodePool, Kind::PersistentVolumeClaim];

/// The states that objects of a kind go through; the last is malformed.
const STATES: [[&str; 3]; 4] = [
    [
        r#""spec": {"nodeName": "n0"}, "status": {"phase": "Running"}"#,
        r#""spec": {"containers": [{"resources": {"requests": {"cpu": "2"}}}]}"#,
        r#""spec": {"containers": [{"resources": {"requests": {"cpu": "two"}}}]}"#,
    ],
    [
        r#""spec": {}"#,
        r#""status": {"allocatable": {"cpu": "4"}}"#,
        r#""status": {"allocatable": {"cpu": "-x"}}"#,
    ],
    [r#""spec": {"weight": 2}"#, r#""spec": {"weight": 3}"#, r#""spec": {"weight": "heavy"}"#],
    [r#""spec": {"volumeName": "pv-1"}"#, r#""spec": {}"#, r#""spec": {"volumeName": 1}"#],
];

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

#[derive(Default)]
struct Server {
    /// By kind and name: the state.
    objects: [BTreeMap<usize, usize>; 4],
    /// What each watch has yet to deliver; `None` where it is broken.
    watches: [Option<VecDeque<Event>>; 4],
}

fn json(kind: usize, name: usize, state: usize) -> String {
    let of = KINDS[kind];
    format!(r#"{{"kind": "{}", "metadata": {{"name": "n{name}"}}, {}}}"#, of.name(), STATES[kind][state])
}

impl Server {
    fn step(&mut self, step: Step, index: &mut Index) {
        match step {
            Step::Put { kind, name, state } => {
                self.objects[kind].insert(name, state);
                self.send(kind, Event::Put(json(kind, name, state)));
            }
            Step::Delete { kind, name } => {
                if self.objects[kind].remove(&name).is_some() {
                    self.send(kind, Event::Delete(name));
                }
            }
            Step::Break { kind } => self.watches[kind] = None,
            Step::List { kind } => {
                let named =
                    self.objects[kind].iter().map(|(name, state)| Event::Put(json(kind, *name, *state)));
                let events = [Event::BeginList].into_iter().chain(named).chain([Event::EndList]);
                self.watches[kind].get_or_insert_with(|| events.collect());
            }
            Step::Deliver { kind } => {
                if let Some(event) = self.watches[kind].as_mut().and_then(VecDeque::pop_front) {
                    deliver(kind, event, index);
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
        for kind in 0..KINDS.len() {
            self.step(Step::List { kind }, index);
            while self.watches[kind].as_ref().is_some_and(|w| !w.is_empty()) {
                self.step(Step::Deliver { kind }, index);
            }
        }
    }

    /// What reading all objects at once gives.
    fn read(&self) -> Snapshot {
        let objects = self.objects.iter().enumerate();
        let items: Vec<String> = objects
            .flat_map(|(kind, of)| of.iter().map(move |(name, state)| json(kind, *name, *state)))
            .collect();
        let list = format!(r#"{{"kind": "List", "items": [{}]}}"#, items.join(","));
        let options = ReadOptions { skip_invalid: true, ..ReadOptions::default() };
        read(&[Source { name: "all", bytes: list.as_bytes() }], &options).expect("a list")
    }
}

fn deliver(kind: usize, event: Event, index: &mut Index) {
    match event {
        Event::BeginList => index.begin_list(KINDS[kind]),
        // Malformed ones are told, and looked for in the snapshot later.
        Event::Put(json) => drop(index.apply(KINDS[kind], &json)),
        Event::EndList => index.end_list(KINDS[kind]),
        Event::Delete(name) => {
            let namespace = if KINDS[kind].is_namespaced() { "default" } else { "" };
            index.remove(KINDS[kind], namespace, &format!("n{name}"));
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
    let kind = 0..KINDS.len();
    prop_oneof![
        6 => (kind.clone(), 0..4_usize, 0..3_usize).prop_map(|(kind, name, state)| Step::Put { kind, name, state }),
        3 => (kind.clone(), 0..4_usize).prop_map(|(kind, name)| Step::Delete { kind, name }),
        1 => kind.clone().prop_map(|kind| Step::Break { kind }),
        3 => kind.clone().prop_map(|kind| Step::List { kind }),
        9 => kind.prop_map(|kind| Step::Deliver { kind }),
    ]
}

proptest! {
    #[test]
    fn events_in_any_order_come_to_what_is_there(steps in prop::collection::vec(step(), 0..120)) {
        let (mut server, mut index) = (Server::default(), Index::default());
        for step in steps {
            server.step(step, &mut index);
            // Readers in between see something whole, and do not disturb what comes.
            index.snapshot();
        }
        server.settle(&mut index);
        prop_assert!(index.is_synced(&KINDS));
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

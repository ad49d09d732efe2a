//! A witness of all that happens to the objects of a collection.

#![allow(dead_code, reason = "each suite uses some of it")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use serde_json::Value;
use stowage_e2e::World;

/// Looks at every event of a collection, and keeps the most and the least of what it counts in all of it.
pub(crate) struct Witness {
    most: Arc<AtomicUsize>,
    least: Arc<AtomicUsize>,
    /// How many events it has seen.
    seen: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
    /// Whether the watch has ended before the test: from then on it has seen nothing.
    broken: Arc<AtomicBool>,
}

impl Witness {
    /// From now on. `counts` is for how much an object counts.
    pub(crate) fn of(world: &World, collection: &'static str, counts: fn(&Value) -> usize) -> Self {
        let (most, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (least, ended) = (Arc::new(AtomicUsize::new(usize::MAX)), Arc::new(AtomicBool::new(false)));
        let broken = Arc::new(AtomicBool::new(false));
        let witness = Self {
            most: most.clone(),
            least: least.clone(),
            seen: seen.clone(),
            ended: ended.clone(),
            broken: broken.clone(),
        };
        let client = world.client().clone();
        let mut objects: BTreeMap<String, Value> = world
            .list(collection)
            .unwrap()
            .into_iter()
            .map(|object| (name_of(&object).to_owned(), object))
            .collect();
        let (told, opened) = mpsc::channel();
        thread::spawn(move || {
            let each = |kind: &str, object: Value| {
                let of = name_of(&object).to_owned();
                if kind == "DELETED" {
                    objects.remove(&of)
                } else {
                    objects.insert(of, object)
                };
                let count = objects.values().map(counts).sum();
                most.fetch_max(count, Ordering::Relaxed);
                least.fetch_min(count, Ordering::Relaxed);
                seen.fetch_add(1, Ordering::Relaxed);
                !ended.load(Ordering::Relaxed)
            };
            let opened = || {
                let _ = told.send(());
            };
            // The API server ends with the test.
            drop(client.watch(collection, opened, each));
            broken.store(!ended.load(Ordering::Relaxed), Ordering::Relaxed);
        });
        opened.recv().unwrap();
        witness
    }

    pub(crate) fn most(&self) -> usize {
        self.check();
        self.most.load(Ordering::Relaxed)
    }

    pub(crate) fn least(&self) -> usize {
        self.check();
        self.least.load(Ordering::Relaxed)
    }

    fn check(&self) {
        assert!(self.seen.load(Ordering::Relaxed) > 0, "it has seen something");
        assert!(!self.broken.load(Ordering::Relaxed), "it has seen all of it");
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

//! Who is to run at each moment: services that grow by day and shrink by night, jobs that come and go, and pods that are
//! replaced by others alike.
//!
//! Pods of one spec with the same labels are a service where there are several; others are jobs. Everything is drawn from a
//! seed, in whole numbers, and knows nothing of nodes: all policies see the same.

use std::collections::{BTreeMap, BTreeSet};

use stowage_solver::Problem;

use crate::random::Random;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Services follow the hours of the day, jobs come and go, and some pods are replaced.
    Days,
    /// As many pods of everything as at the start; some are replaced.
    Steady,
}

/// So many pods alike are a service, which is scaled as one.
const SERVICE: usize = 3;
/// Minutes of a day.
const DAY: u32 = 24 * 60;
/// A pod is replaced once in so many looks.
const REPLACED: u64 = 1_000;
/// A service at night has so many percent of the pods that it has by day.
const NIGHT: u32 = 40;
/// Hours that jobs run, and that are between them, at least and at most.
const JOB_HOURS: (u64, u64) = (1, 24);

/// The pods of a workload, as they come and go.
#[derive(Clone, Debug)]
pub struct Traffic {
    pattern: Pattern,
    random: Random,
    total: usize,
    services: Vec<Service>,
    jobs: Vec<Job>,
    /// By pod of the workload: how often it has been replaced.
    lives: Vec<usize>,
    running: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
struct Service {
    pods: Vec<usize>,
    /// When its day begins, in minutes.
    phase: u32,
}

#[derive(Clone, Debug)]
struct Job {
    pod: usize,
    runs: bool,
    /// When that changes, in minutes.
    until: u32,
}

/// The name of a pod: of each life another.
pub(super) fn name(pod: usize) -> String {
    format!("replay/pod-{pod:07}")
}

impl Traffic {
    /// Of the pods that wait in a workload.
    pub fn new(workload: &Problem, pattern: Pattern, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut alike = BTreeMap::<_, Vec<usize>>::new();
        for (at, pod) in workload.pods.iter().enumerate() {
            alike.entry((pod.spec, pod.labels)).or_default().push(at);
        }
        let (mut services, mut jobs) = (Vec::new(), Vec::new());
        for pods in alike.into_values() {
            if pods.len() >= SERVICE {
                // Most have their day at about the same time.
                services.push(Service { pods, phase: random.within(0, 240) as u32 });
            } else {
                for pod in pods {
                    let until = random.within(0, JOB_HOURS.1 * 60) as u32;
                    jobs.push(Job { pod, runs: random.number().is_multiple_of(2), until });
                }
            }
        }
        let total = workload.pods.len();
        Self { pattern, random, total, services, jobs, lives: vec![0; total], running: BTreeSet::new() }
    }

    /// The pods that are to run at a moment, in minutes from the start; asked for one moment after the other. A pod of the
    /// workload that is replaced is known by another number, which is the same modulo how many there are.
    pub fn at(&mut self, now: u32) -> BTreeSet<usize> {
        let mut base = BTreeSet::new();
        for service in &self.services {
            let count = match self.pattern {
                Pattern::Days => service.wanted(now),
                Pattern::Steady => service.pods.len(),
            };
            base.extend(&service.pods[..count.min(service.pods.len())]);
        }
        for job in &mut self.jobs {
            while self.pattern == Pattern::Days && now >= job.until {
                job.runs = !job.runs;
                job.until += self.random.within(JOB_HOURS.0 * 60, JOB_HOURS.1 * 60) as u32;
            }
            if job.runs || self.pattern == Pattern::Steady {
                base.insert(job.pod);
            }
        }
        for pod in &base {
            if self.random.number().is_multiple_of(REPLACED) {
                self.lives[*pod] += 1;
            }
        }
        // Who comes back after a night is somebody else.
        for pod in self.running.iter().map(|pod| pod % self.total) {
            if !base.contains(&pod) {
                self.lives[pod] += 1;
            }
        }
        self.running = base.into_iter().map(|pod| pod + self.total * self.lives[pod]).collect();
        self.running.clone()
    }
}

impl Service {
    /// How many pods it wants: up and down in straight lines, most at midday.
    fn wanted(&self, now: u32) -> usize {
        let time = (now + self.phase) % DAY;
        let from_midnight = time.min(DAY - time);
        let percent = NIGHT + (100 - NIGHT) * from_midnight / (DAY / 2);
        (self.pods.len() * percent as usize).div_ceil(100)
    }
}

//! What Fargate has provisioned for a pod, as against what was planned.
//!
//! Fargate says so in the pod's annotation `CapacityProvisioned`: `0.25vCPU 0.5GB`. That is what it bills, whatever the node
//! of the pod says of itself.
//!
//! # Invariants
//! - A workload is told of once, as long as what was planned and what was provisioned stay as they are.

use std::collections::BTreeMap;
use std::fmt;

use stowage_pricing::fargate::Shape;

use crate::sighting::Sighting;
use crate::workload::Workload;

/// The annotation.
pub const CAPACITY_PROVISIONED: &str = "CapacityProvisioned";
/// Workloads of which is kept what was told.
const MOST: usize = 10_000;

/// What is provisioned: thousandths of a vCPU, and MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Billed {
    /// vCPUs in thousandths.
    pub cpu_millis: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
}

impl Billed {
    /// Reads the annotation; `None` where it is something else.
    ///
    /// ```
    /// use stowage_fargate::Billed;
    ///
    /// assert_eq!(Billed::parse("0.25vCPU 0.5GB"), Some(Billed { cpu_millis: 250, memory_mib: 512 }));
    /// assert_eq!(Billed::parse("a quarter"), None);
    /// ```
    pub fn parse(annotation: &str) -> Option<Self> {
        let mut parts = annotation.split_whitespace();
        let (cpu, memory) = (parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let cpu_millis = scaled(cpu.strip_suffix("vCPU")?, 1000)?;
        Some(Self { cpu_millis, memory_mib: scaled(memory.strip_suffix("GB")?, 1024)? })
    }

    /// What of a shape is compared: of disk the annotation says nothing.
    pub fn of(shape: Shape) -> Self {
        Self { cpu_millis: shape.cpu_millis, memory_mib: shape.memory_mib }
    }
}

/// A decimal number of units of so many parts, if that is a whole number of parts.
fn scaled(number: &str, parts: u64) -> Option<u32> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |s: &str| (1..=6).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let millionths = format!("{fraction:0<6}").parse::<u64>().ok()? * parts;
    let all = whole.parse::<u64>().ok()? * parts + millionths / 1_000_000;
    if millionths.is_multiple_of(1_000_000) { u32::try_from(all).ok() } else { None }
}

impl fmt::Display for Billed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cpu, memory) = (f64::from(self.cpu_millis) / 1e3, f64::from(self.memory_mib) / 1024.0);
        write!(f, "{cpu} vCPU and {memory} GB")
    }
}

/// A difference that is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What was planned.
    pub planned: Billed,
    /// What is billed.
    pub billed: Billed,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fargate bills {}, and {} were planned", self.billed, self.planned)
    }
}

/// What was told of already, by workload.
#[derive(Clone, Debug, Default)]
pub struct Told {
    by_workload: BTreeMap<String, Difference>,
}

impl Told {
    /// Compares, and says so where they differ and it was not said before.
    pub fn compare(&mut self, workload: &str, planned: Shape, annotation: &str) -> Option<Difference> {
        let difference = Difference { planned: Billed::of(planned), billed: Billed::parse(annotation)? };
        if difference.planned == difference.billed {
            self.by_workload.remove(workload);
            return None;
        }
        if self.by_workload.get(workload) == Some(&difference) {
            return None;
        }
        // What was told and has to go may be told twice: better than to be told never.
        if self.by_workload.len() >= MOST {
            self.by_workload.pop_first();
        }
        self.by_workload.insert(workload.to_owned(), difference);
        Some(difference)
    }

    /// The same for a pod as it is stored; nothing where Fargate has not said yet what it provisioned.
    pub fn see(&mut self, workload: &Workload, pod: &Sighting) -> Option<Difference> {
        self.compare(&workload.to_string(), pod.shape?, pod.provisioned.as_deref()?)
    }

    /// How many workloads differ.
    pub fn differ(&self) -> usize {
        self.by_workload.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_read() {
        for (text, cpu, memory) in [
            ("0.25vCPU 0.5GB", 250, 512),
            ("0.5vCPU 1GB", 500, 1024),
            ("16vCPU 120GB", 16_000, 122_880),
            ("1vCPU  2.0GB", 1_000, 2_048),
        ] {
            assert_eq!(Billed::parse(text), Some(Billed { cpu_millis: cpu, memory_mib: memory }), "{text}");
        }
        for text in [
            "",
            "1vCPU",
            "1vCPU 2GB 3",
            "1 vCPU 2 GB",
            "vCPU GB",
            "-1vCPU 2GB",
            "1e9vCPU 2GB",
            "1.0001vCPU 2GB",
            "9999999vCPU 2GB",
            ".5vCPU 1GB",
        ] {
            assert_eq!(Billed::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_difference_is_told_once() {
        let planned = Shape { cpu_millis: 250, memory_mib: 512, disk_gib: 20 };
        let mut told = Told::default();
        assert_eq!(told.compare("w", planned, "0.25vCPU 0.5GB"), None);
        let said = told.compare("w", planned, "0.25vCPU 1GB").unwrap().to_string();
        assert_eq!(said, "Fargate bills 0.25 vCPU and 1 GB, and 0.25 vCPU and 0.5 GB were planned");
        assert_eq!(told.compare("w", planned, "0.25vCPU 1GB"), None);
        assert!(told.compare("w", planned, "0.5vCPU 1GB").is_some());
        assert_eq!(
            (told.differ(), told.compare("w", planned, "0.25vCPU 0.5GB"), told.differ()),
            (1, None, 0)
        );
        assert_eq!(told.compare("w", planned, "unreadable"), None);
    }
}

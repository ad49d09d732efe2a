//! What Fargate has provisioned for a pod, as against what was planned.
//!
//! Fargate says so in the pod's annotation `CapacityProvisioned`: `0.25vCPU 0.5GB`. That is what it bills, whatever the node
//! of the pod says of itself.
//!
//! # Invariants
//! - A workload is told of once, as long as some pod of it shows what was planned and what was provisioned.

use std::collections::BTreeSet;
use std::fmt;

use stowage_pricing::fargate::Shape;

/// The annotation.
pub const CAPACITY_PROVISIONED: &str = "CapacityProvisioned";
/// Differences that are kept.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// What was told of already.
#[derive(Clone, Debug, Default)]
pub struct Told(BTreeSet<(String, Difference)>);

impl Told {
    /// Compares all pods that are there, each with its workload and what Fargate provisioned for it; says where they differ and it
    /// was not said before, each once. What no pod shows any more is forgotten.
    pub fn compare<'a, T>(
        &mut self,
        pods: impl IntoIterator<Item = (&'a str, Shape, &'a str, T)>,
    ) -> Vec<(Difference, T)> {
        let (mut seen, mut news) = (BTreeSet::new(), Vec::new());
        for (workload, planned, annotation, of) in pods {
            let Some(billed) = Billed::parse(annotation) else { continue };
            let difference = Difference { planned: Billed::of(planned), billed };
            if difference.planned == billed || seen.len() >= MOST {
                continue;
            }
            let found = (workload.to_owned(), difference);
            let is_known = self.0.contains(&found);
            if seen.insert(found) && !is_known {
                news.push((difference, of));
            }
        }
        self.0 = seen;
        news
    }

    /// How many workloads differ.
    pub fn differ(&self) -> usize {
        self.0.iter().map(|(workload, _)| workload).collect::<BTreeSet<_>>().len()
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
    fn a_difference_is_told_once_as_long_as_pods_show_it() {
        let planned = Shape { cpu_millis: 250, memory_mib: 512, disk_gib: 20 };
        let mut told = Told::default();
        let mut look = |annotations: &[&str]| -> Vec<String> {
            let pods = annotations.iter().map(|annotation| ("w", planned, *annotation, ()));
            told.compare(pods).into_iter().map(|(difference, ())| difference.to_string()).collect()
        };
        let as_planned = "0.25vCPU 0.5GB";
        assert_eq!(look(&[as_planned]), [""; 0]);
        let said = "Fargate bills 0.25 vCPU and 1 GB, and 0.25 vCPU and 0.5 GB were planned";
        // One odd pod among others of its workload, seen first or last.
        assert_eq!(look(&[as_planned, "0.25vCPU 1GB", as_planned, "0.25vCPU 1GB"]), [said]);
        assert_eq!(look(&["0.25vCPU 1GB", as_planned]), [""; 0]);
        assert_eq!(look(&["0.5vCPU 1GB", "0.25vCPU 1GB", "unreadable"]).len(), 1);
        assert_eq!(look(&["0.25vCPU 1GB"]), [""; 0]);
        assert_eq!(look(&[as_planned]), [""; 0]);
        assert_eq!(told.differ(), 0);
        let again = told.compare([("w", planned, "0.5vCPU 1GB", 1), ("v", planned, "0.5vCPU 1GB", 2)]);
        assert_eq!((again.len(), told.differ()), (2, 2));
    }
}

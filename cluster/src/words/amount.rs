//! Amounts of resources as text: exact Kubernetes quantities for machines, rounded ones for people.
//!
//! The solver counts in base units (milli-CPU, bytes, whole devices); the resource's name says which.

use stowage_api::Quantity;

/// What one base unit of a resource is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    MilliCpu,
    Byte,
    One,
}

fn unit(resource: &str) -> Unit {
    match resource {
        "cpu" => Unit::MilliCpu,
        "memory" | "ephemeral-storage" | "storage" => Unit::Byte,
        _ if resource.starts_with("hugepages-") => Unit::Byte,
        _ => Unit::One,
    }
}

const BINARY: [(&str, u32); 6] = [("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];

/// The exact amount as a Kubernetes quantity in its canonical form: `15890m`, `16`, `61904Mi`.
pub fn quantity(resource: &str, base: i64) -> String {
    let quantity = match unit(resource) {
        Unit::MilliCpu => Quantity::from_millis(base),
        Unit::Byte => Quantity::from_bytes(base),
        Unit::One => Quantity::from_units(base),
    };
    quantity.to_string()
}

/// The amount for people, to three digits: `15.9`, `60.5 GiB`, `8`.
pub fn human(resource: &str, base: i64) -> String {
    match unit(resource) {
        Unit::MilliCpu => three_digits(base as f64 / 1000.0),
        Unit::Byte => {
            let (suffix, shift) = BINARY.iter().find(|(_, shift)| base >> shift > 0).unwrap_or(&("", 0));
            let number = three_digits(base as f64 / (1_u64 << shift) as f64);
            format!("{number} {suffix}B")
        }
        Unit::One => base.to_string(),
    }
}

/// The amount and what it is of, for sentences: `15.9 CPUs`, `60.5 GiB of memory`, `8 of nvidia.com/gpu`.
pub fn phrase(resource: &str, base: i64) -> String {
    let amount = human(resource, base);
    match resource {
        "cpu" => format!("{amount} {}", if base == 1000 { "CPU" } else { "CPUs" }),
        "pods" => format!("{amount} {}", if base == 1 { "pod" } else { "pods" }),
        _ => format!("{amount} of {resource}"),
    }
}

fn three_digits(value: f64) -> String {
    let decimals = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_exact_and_canonical() {
        assert_eq!(quantity("cpu", 15_890), "15890m");
        assert_eq!(quantity("cpu", 16_000), "16");
        assert_eq!(quantity("memory", 1536 << 20), "1536Mi");
        assert_eq!(quantity("memory", 64 << 30), "64Gi");
        assert_eq!(quantity("memory", 1_000_000_001), "1000000001");
        assert_eq!(quantity("ephemeral-storage", 20 << 30), "20Gi");
        assert_eq!(quantity("hugepages-2Mi", 4 << 20), "4Mi");
        assert_eq!(quantity("nvidia.com/gpu", 1024), "1024");
        assert_eq!(quantity("memory", 0), "0");
    }

    #[test]
    fn people_get_three_digits() {
        assert_eq!(human("cpu", 15_890), "15.9");
        assert_eq!(human("cpu", 250), "0.25");
        assert_eq!(human("memory", 61_904 << 20), "60.5 GiB");
        assert_eq!(human("memory", 900 << 30), "900 GiB");
        assert_eq!(human("memory", 12), "12 B");
        assert_eq!(human("memory", i64::MAX), "8 EiB");
        assert_eq!(phrase("cpu", 1000), "1 CPU");
        assert_eq!(phrase("memory", 3 << 30), "3 GiB of memory");
        assert_eq!(phrase("nvidia.com/gpu", 8), "8 of nvidia.com/gpu");
    }
}

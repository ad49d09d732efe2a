//! Vector bin packing instances: the text format of `VPSolver` and Vectorpack, and such an instance as a cluster.
//!
//! ```text
//! 2            dimensions
//! 150 150      capacity of a bin
//! 2            kinds of item
//! 40 60 3      size in each dimension, and how many
//! 75 10 1
//! ```
//!
//! Numbers stand between any white space; the rest of a line after `#` is a comment. As a cluster, a bin is a node of
//! one instance type at a dollar an hour, so that cost counts bins; an item is a pod. The first dimension is CPU in
//! milli-units and the second memory in MiB, because planners order pods by these; further ones are extended resources.

use anyhow::{Context, bail, ensure};

use super::manifest::{Amounts, Rule, Type, catalog, pod, snapshot};

/// Limits that keep a mistyped file from filling the memory.
const MAX_DIMENSIONS: u64 = 64;
const MAX_ITEMS: u64 = 1_000_000;
const MAX_SIZE: u64 = 1_000_000_000;

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    /// Capacity of a bin, by dimension.
    pub(crate) bin: Vec<u64>,
    /// Sizes by dimension, and how many.
    pub(crate) items: Vec<(Vec<u64>, u64)>,
}

impl Instance {
    /// Reads the text format.
    ///
    /// # Errors
    /// Where a number is missing, malformed, or out of range; the message says which.
    pub(crate) fn read(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let mut words = lines.flat_map(str::split_whitespace);
        let mut number = |what: &str, most: u64| -> anyhow::Result<u64> {
            let word = words.next().with_context(|| format!("ends where {what} should be"))?;
            let number: u64 =
                word.parse().with_context(|| format!("{what} is {word:?}, should be a whole number"))?;
            ensure!(number <= most, "{what} is {number}, at most {most} can be read");
            Ok(number)
        };
        let dimensions = number("the number of dimensions", MAX_DIMENSIONS)?;
        ensure!(dimensions > 0, "the number of dimensions is 0");
        let bin = (1..=dimensions)
            .map(|d| number(&format!("capacity {d}"), MAX_SIZE))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let kinds = number("the number of items", MAX_ITEMS)?;
        let mut items = Vec::new();
        let mut total = 0;
        for item in 1..=kinds {
            let sizes = (1..=dimensions)
                .map(|d| number(&format!("size {d} of item {item}"), MAX_SIZE))
                .collect::<anyhow::Result<Vec<_>>>()?;
            let demand = number(&format!("the demand of item {item}"), MAX_ITEMS)?;
            total += demand;
            ensure!(total <= MAX_ITEMS, "{total} items, at most {MAX_ITEMS} can be read");
            items.push((sizes, demand));
        }
        if let Some(word) = words.next() {
            bail!("{word:?} follows the last item");
        }
        Ok(Self { bin, items })
    }

    /// The same instance in the text format.
    pub(crate) fn write(&self) -> String {
        let line = |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        let mut text = format!("{}\n{}\n{}\n", self.bin.len(), line(&self.bin), self.items.len());
        for (sizes, demand) in &self.items {
            text.extend([line(sizes), format!(" {demand}\n")]);
        }
        text
    }

    /// Items in all.
    pub(crate) fn count(&self) -> u64 {
        self.items.iter().map(|(_, demand)| demand).sum()
    }

    /// The items as pending pods.
    pub(crate) fn pods(&self) -> String {
        let copies = self.items.iter().enumerate().flat_map(|(at, (sizes, demand))| {
            let requests = amounts(sizes);
            (0..*demand)
                .map(move |copy| pod(&format!("item-{at}-{copy}"), ("app", "item"), &requests, &Rule::None))
        });
        snapshot(copies)
    }

    /// The bin as the only instance type.
    pub(crate) fn types(&self) -> String {
        let mut resources = amounts(&self.bin);
        // Kubernetes counts pods too, and every node has memory; neither may bind where the instance does not say.
        resources.push(("pods".to_owned(), self.count().max(1).to_string()));
        if self.bin.len() == 1 {
            resources.push(("memory".to_owned(), "1Gi".to_owned()));
        }
        catalog(&[Type {
            name: "bin".to_owned(),
            resources,
            overhead: Amounts::new(),
            offerings: vec![("on-demand", "zone-1", 1.0)],
        }])
    }
}

fn amounts(sizes: &[u64]) -> Amounts {
    let named = |(at, size): (usize, &u64)| match at {
        0 => ("cpu".to_owned(), format!("{size}m")),
        1 => ("memory".to_owned(), format!("{size}Mi")),
        _ => (format!("stowage.dev/dimension-{}", at + 1), size.to_string()),
    };
    sizes.iter().enumerate().filter(|(_, size)| **size > 0).map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "2 # dimensions\n150 150\n2\n40 60 3\n75 10 1\n";

    #[test]
    fn reads_what_it_writes() {
        let instance = Instance::read(TEXT).unwrap();
        assert_eq!(instance.bin, [150, 150]);
        assert_eq!(instance.items, [(vec![40, 60], 3), (vec![75, 10], 1)]);
        assert_eq!((Instance::read(&instance.write()).unwrap(), instance.count()), (instance, 4));
    }

    #[test]
    fn says_what_is_wrong() {
        let message = |text: &str| Instance::read(text).unwrap_err().root_cause().to_string();
        assert_eq!(message(""), "ends where the number of dimensions should be");
        assert_eq!(message("0"), "the number of dimensions is 0");
        assert_eq!(message("99"), "the number of dimensions is 99, at most 64 can be read");
        assert_eq!(message("1 10 1 5"), "ends where the demand of item 1 should be");
        assert_eq!(message("1 10 1 5 1 7"), "\"7\" follows the last item");
        assert_eq!(
            message("1 10 999999999 5 1"),
            "the number of items is 999999999, at most 1000000 can be read"
        );
        assert!(
            format!("{:#}", Instance::read("1 10 1 5 -1").unwrap_err())
                .contains("the demand of item 1 is \"-1\"")
        );
    }

    #[test]
    fn a_bin_costs_a_dollar_and_a_size_of_zero_asks_for_nothing() {
        let instance = Instance::read("3 10 10 10 1 5 0 2 2").unwrap();
        let (pods, types) = (instance.pods(), instance.types());
        assert!(pods.contains(r#"{"cpu":"5m","stowage.dev/dimension-3":"2"}"#), "{pods}");
        assert_eq!(pods.matches("item-0-").count(), 4, "a name and a uid each");
        assert!(types.contains(r#""Price":1.0"#), "{types}");
    }
}

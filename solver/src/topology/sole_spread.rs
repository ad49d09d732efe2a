//! What a spread rule says before anyone deals: how many pods each domain must end up with.
//!
//! The lower bound keeps this much of a spread rule, and it is often what the gap is made of: a zone of old or dear
//! types must take its share too.

use std::collections::BTreeMap;

use fixedbitset::FixedBitSet;

/// A spread rule that counts the pods of one class only, and is all that ties them to domains.
#[derive(Clone, Debug)]
pub(crate) struct SoleSpread {
    pub(crate) key: String,
    pub(super) max_skew: u32,
    /// By eligible domain: pods that run there already.
    pub(super) running: BTreeMap<String, u32>,
    /// By domain: the kinds there that could hold one pod.
    pub(crate) kinds: BTreeMap<String, FixedBitSet>,
}

impl SoleSpread {
    /// How many of `count` new pods each domain holds at least, whoever deals them.
    ///
    /// If the least full domain ends with `m` pods, no domain that got one has more than `m + maxSkew`, so there is a
    /// least `m` that makes room for all.
    pub(crate) fn floors(&self, count: u32) -> Vec<(String, u32)> {
        let (skew, all) = (u64::from(self.max_skew), u64::from(count));
        let total = all + self.running.values().map(|n| u64::from(*n)).sum::<u64>();
        let room = |least: u64| {
            let full = self.running.values().map(|n| (least + skew).max(u64::from(*n))).sum::<u64>();
            full.saturating_sub(skew)
        };
        let mut low = self.running.values().min().copied().map_or(0, u64::from);
        let mut high = total;
        while low < high {
            let middle = low.midpoint(high);
            if room(middle) >= total {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let floors =
            self.running.iter().map(|(value, n)| (value.clone(), low.saturating_sub(u64::from(*n)) as u32));
        let floors: Vec<(String, u32)> = floors.filter(|(_, floor)| *floor > 0).collect();
        let least: u64 = floors.iter().map(|(_, floor)| u64::from(*floor)).sum();
        if least <= all { floors } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floors(max_skew: u32, running: &[u32], count: u32) -> Vec<u32> {
        let names = || (0..running.len()).map(|n| format!("zone-{n}"));
        let running = names().zip(running.iter().copied()).collect();
        let sole = SoleSpread { key: "zone".to_owned(), max_skew, running, kinds: BTreeMap::new() };
        let floors: BTreeMap<String, u32> = sole.floors(count).into_iter().collect();
        names().map(|name| floors.get(&name).copied().unwrap_or(0)).collect()
    }

    #[test]
    fn an_even_deal_leaves_only_the_rest_free() {
        assert_eq!(floors(1, &[0, 0, 0], 7), [2, 2, 2]);
        assert_eq!(floors(1, &[0, 0, 0], 2), [0, 0, 0]);
        assert_eq!(floors(3, &[0, 0, 0], 9), [1, 1, 1]);
    }

    #[test]
    fn what_runs_already_counts() {
        // Three and one beside the four that run is as uneven as a skew of two allows.
        assert_eq!(floors(2, &[4, 0, 0], 4), [0, 1, 1]);
        assert_eq!(floors(1, &[9, 0], 3), [0, 3]);
    }

    /// Every legal deal gives each domain its floor; tried in full.
    #[test]
    fn no_legal_deal_goes_below_a_floor() {
        for skew in 1..3 {
            for running in [[0, 0, 0], [2, 0, 0], [3, 1, 0], [1, 1, 4]] {
                for count in 0..9u32 {
                    let floors = floors(skew, &running, count);
                    for a in 0..=count {
                        for b in 0..=count - a {
                            let new = [a, b, count - a - b];
                            let after: Vec<u32> = new.iter().zip(running).map(|(n, r)| n + r).collect();
                            let least = after.iter().min().copied().unwrap_or(0);
                            let legal = (0..3).all(|d| new[d] == 0 || after[d] <= least + skew);
                            let below = (0..3).any(|d| new[d] < floors[d]);
                            assert!(
                                !legal || !below,
                                "{new:?} on {running:?} with skew {skew}: floors {floors:?}"
                            );
                        }
                    }
                }
            }
        }
    }
}

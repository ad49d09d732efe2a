//! Classic packing instances, drawn from the parameters that their papers give.
//!
//! The draws are ours, so these are members of the published classes and not the published files, which can be given to
//! `compare` as `.vbp` files.
//!
//! | name | bin | items | from |
//! |---|---|---|---|
//! | `falkenauer-u` | 150 | even in 20–100 | Falkenauer, "A hybrid grouping genetic algorithm for bin packing", 1996 |
//! | `falkenauer-t` | 1000 | triplets that fill a bin: 380–490, then 250 to half of the rest, then the rest | the same |
//! | `scholl-hard` | 100000 | even in 20000–35000 | Scholl, Klein, Jürgens, "BISON", 1997, third set |
//! | `caprara-toth-1` to `-10` | two dimensions | ten classes, below | Caprara, Toth, "Lower bounds and algorithms for the 2-dimensional vector packing problem", 2001 |
//!
//! Triplets (and class 10, made of them) have a known optimum: a bin for three items. They come in threes; a number that
//! three does not divide is rounded down.

use super::random::Random;
use super::vbp::Instance;

/// An instance, with its optimum where the way it is drawn tells.
pub(crate) struct Classic {
    pub(crate) instance: Instance,
    pub(crate) optimum: Option<u64>,
}

/// Draws `items` items of a class; `None` for a name that is none of the classes.
pub(crate) fn draw(class: &str, items: usize, seed: u64) -> Option<Classic> {
    let mut random = Random::new(seed);
    let thirds = items / 3;
    let (bin, sizes, optimum) = match class {
        "falkenauer-u" => (vec![150], even(items, 1, (20, 100), &mut random), None),
        "falkenauer-t" => (vec![1000], triplets(thirds, &mut random), Some(thirds as u64)),
        "scholl-hard" => (vec![100_000], even(items, 1, (20_000, 35_000), &mut random), None),
        _ => caprara_toth(class.strip_prefix("caprara-toth-")?.parse().ok()?, items, &mut random)?,
    };
    Some(Classic { instance: Instance { bin, items: counted(sizes) }, optimum })
}

type Drawn = (Vec<u64>, Vec<Vec<u64>>, Option<u64>);

fn caprara_toth(class: u32, items: usize, random: &mut Random) -> Option<Drawn> {
    const LARGE: u64 = 1000;
    const SMALL: u64 = 150;
    let two = |bin: u64| vec![bin, bin];
    Some(match class {
        1 => (two(LARGE), even(items, 2, (100, 400), random), None),
        2 => (two(LARGE), even(items, 2, (1, 1000), random), None),
        3 => (two(LARGE), even(items, 2, (200, 800), random), None),
        4 => (two(LARGE), even(items, 2, (50, 200), random), None),
        5 => (two(LARGE), even(items, 2, (25, 100), random), None),
        6 => (two(SMALL), even(items, 2, (20, 100), random), None),
        // Alike in both dimensions, and opposite.
        7 => (two(SMALL), paired(items, |first| (first - 10, first + 10), random), None),
        8 => (two(SMALL), paired(items, |first| (110 - first, 130 - first), random), None),
        9 => {
            let sizes = even(items, 2, (100, 400), random);
            let totals: Vec<u64> = (0..2).map(|d| sizes.iter().map(|s| s[d]).sum()).collect();
            let bins = totals.iter().max()?.div_ceil(LARGE).max(1);
            (totals.iter().map(|total| total.div_ceil(bins)).collect(), sizes, None)
        }
        10 => {
            let thirds = items / 3;
            let mut sizes = even(2 * thirds, 2, (25, 50), random);
            for at in 0..thirds {
                let rest = (0..2).map(|d| 100 - sizes[2 * at][d] - sizes[2 * at + 1][d]).collect();
                sizes.push(rest);
            }
            (two(100), sizes, Some(thirds as u64))
        }
        _ => return None,
    })
}

fn even(items: usize, dimensions: usize, (low, high): (u64, u64), random: &mut Random) -> Vec<Vec<u64>> {
    (0..items).map(|_| (0..dimensions).map(|_| random.within(low, high)).collect()).collect()
}

fn paired(items: usize, second: impl Fn(u64) -> (u64, u64), random: &mut Random) -> Vec<Vec<u64>> {
    (0..items)
        .map(|_| {
            let first = random.within(20, 100);
            let (low, high) = second(first);
            vec![first, random.within(low, high)]
        })
        .collect()
}

/// Each three fill a bin to the brim, so all together need one bin for three, and have it.
fn triplets(thirds: usize, random: &mut Random) -> Vec<Vec<u64>> {
    (0..thirds)
        .flat_map(|_| {
            let first = random.within(380, 490);
            let second = random.within(250, (1000 - first) / 2);
            [first, second, 1000 - first - second].map(|size| vec![size])
        })
        .collect()
}

/// Equal items counted, as the format has them.
fn counted(mut sizes: Vec<Vec<u64>>) -> Vec<(Vec<u64>, u64)> {
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let mut items: Vec<(Vec<u64>, u64)> = Vec::new();
    for size in sizes {
        match items.last_mut() {
            Some((last, count)) if *last == size => *count += 1,
            _ => items.push((size, 1)),
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triplets_fill_their_bins() {
        let classic = draw("falkenauer-t", 120, 1).unwrap();
        let instance = classic.instance;
        assert_eq!((instance.count(), classic.optimum), (120, Some(40)));
        let total: u64 = instance.items.iter().map(|(size, count)| size[0] * count).sum();
        assert_eq!(total, 40 * 1000);
        assert!(instance.items.iter().all(|(size, _)| (250..500).contains(&size[0])));
    }

    #[test]
    fn every_class_fits_its_bin() {
        let names = (1..=10).map(|class| format!("caprara-toth-{class}"));
        for name in names.chain(["falkenauer-u", "scholl-hard"].map(str::to_owned)) {
            let instance = draw(&name, 99, 1).unwrap().instance;
            assert_eq!(instance.count(), 99, "{name}");
            for (sizes, _) in &instance.items {
                assert!(sizes.iter().zip(&instance.bin).all(|(size, room)| size <= room), "{name} {sizes:?}");
            }
        }
        assert!(draw("caprara-toth-11", 99, 1).is_none());
        assert!(draw("bin", 99, 1).is_none());
    }

    #[test]
    fn class_eight_is_opposite_in_its_dimensions() {
        let instance = draw("caprara-toth-8", 500, 1).unwrap().instance;
        assert!(instance.items.iter().all(|(s, _)| (110..=130).contains(&(s[0] + s[1]))));
    }
}

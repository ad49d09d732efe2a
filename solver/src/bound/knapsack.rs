//! How much the pods in one bin can be worth: an upper bound, proven by branch and bound.
//!
//! Maximise `Σ value_i · x_i` with `Σ need_i · x_i ≤ room` in every dimension and `x_i ≤ most_i`. For any prices
//! λ ≥ 0 of the room, `λ · room + Σ most_i · max(0, value_i − λ · need_i)` is a bound. Branching takes items in order of
//! value for room and prunes whatever cannot beat the target: nobody needs the best pattern, only whether one beats the
//! bin's price.
//!
//! All in integers. The caller keeps values, and λ times any room, below 2^72: then no product here overflows.

use crate::model::copies;

/// One kind of thing to put in.
#[derive(Clone, Debug)]
pub(super) struct Thing<'a> {
    pub(super) part: u32,
    pub(super) value: i128,
    pub(super) need: &'a [i64],
    pub(super) most: u32,
}

/// What is known of a bin.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    /// No pattern is worth more.
    pub(super) bound: i128,
    /// A pattern worth more than the target, where one was found: (part, count).
    pub(super) found: Option<Vec<(u32, u32)>>,
    /// Nodes looked at.
    pub(super) steps: u64,
}

/// The value of `room` and of what is worth more than the room it takes, at room prices `lambda`.
pub(super) fn priced_bound(things: &[Thing<'_>], room: &[i64], lambda: &[i128]) -> i128 {
    let base = worth(lambda, room);
    things.iter().fold(base, |sum, t| sum + i128::from(t.most) * (t.value - worth(lambda, t.need)).max(0))
}

/// Σ price · amount, negative amounts counting as none.
pub(super) fn worth(prices: &[i128], amounts: &[i64]) -> i128 {
    prices.iter().zip(amounts).map(|(p, a)| p * i128::from((*a).max(0))).sum()
}

/// Searches for a pattern worth more than `target`, in at most `limit` nodes.
pub(super) fn search(
    mut things: Vec<Thing<'_>>,
    room: &[i64],
    lambda: &[i128],
    target: i128,
    limit: u64,
) -> Verdict {
    let root = priced_bound(&things, room, lambda);
    if root <= target {
        return Verdict { bound: root, found: None, steps: 1 };
    }
    things.retain(|t| t.value > 0 && t.most > 0 && copies(t.need, room) > 0);
    let mut weighed: Vec<(i128, Thing<'_>)> =
        things.into_iter().map(|t| (worth(lambda, t.need), t)).collect();
    // Value for room, compared by cross products: exact, and the same on every machine.
    weighed.sort_by(|(wa, a), (wb, b)| {
        product(b.value, *wa).cmp(&product(a.value, *wb)).then(a.part.cmp(&b.part))
    });
    let (weights, things): (Vec<i128>, Vec<Thing<'_>>) = weighed.into_iter().unzip();
    let mut tree =
        Tree { things, weights, lambda, best: target, pattern: None, taken: Vec::new(), steps: 0, limit };
    let open = tree.branch(0, room, 0, u32::MAX);
    Verdict { bound: open.max(tree.best).min(root), found: tree.pattern, steps: tree.steps }
}

/// `value · part / whole` for `part < whole`, rounded up; with twelve bits less of each where the product would not fit.
fn share(value: i128, part: i128, whole: i128) -> i128 {
    match value.checked_mul(part) {
        Some(product) => product / whole + 1,
        None => ((((value >> 12) + 1) * ((part >> 12) + 1) / (whole >> 12).max(1) + 1) << 12).min(value),
    }
}

/// The whole product of two numbers from zero to 2^96, high half first.
fn product(a: i128, b: i128) -> (u128, u128) {
    let low = (1u128 << 64) - 1;
    let (a, b) = (a.unsigned_abs(), b.unsigned_abs());
    let (a1, a0, b1, b0) = (a >> 64, a & low, b >> 64, b & low);
    let middle = a1 * b0 + a0 * b1 + ((a0 * b0) >> 64);
    (a1 * b1 + (middle >> 64), (middle << 64) | ((a0 * b0) & low))
}

struct Tree<'a> {
    things: Vec<Thing<'a>>,
    /// λ · need of each.
    weights: Vec<i128>,
    lambda: &'a [i128],
    best: i128,
    pattern: Option<Vec<(u32, u32)>>,
    taken: Vec<(u32, u32)>,
    steps: u64,
    limit: u64,
}

impl Tree<'_> {
    /// Explores things from `at` on, with at most `cap` of the first. Returns the best bound of what was left
    /// unexplored for want of steps; what was explored is in `best`.
    fn branch(&mut self, at: usize, room: &[i64], value: i128, cap: u32) -> i128 {
        if value > self.best {
            self.best = value;
            self.pattern = Some(self.taken.clone());
        }
        let bound = value + self.rest(at, room, cap);
        if at == self.things.len() || bound <= self.best {
            return 0;
        }
        self.steps += 1;
        if self.steps > self.limit {
            return bound;
        }
        let most = copies(self.things[at].need, room).min(self.things[at].most).min(cap);
        let mut open = 0;
        let mut left = room.to_vec();
        for (left, need) in left.iter_mut().zip(self.things[at].need) {
            *left -= need * i64::from(most);
        }
        for count in (0..=most).rev() {
            let with = value + self.things[at].value * i128::from(count);
            if count > 0 {
                self.taken.push((self.things[at].part, count));
            }
            open = open.max(self.branch(at + 1, &left, with, u32::MAX));
            if count > 0 {
                self.taken.pop();
                for (left, need) in left.iter_mut().zip(self.things[at].need) {
                    *left += need;
                }
                if self.steps > self.limit {
                    // The siblings that were never looked at.
                    return open.max(value + self.rest(at, room, count - 1));
                }
            }
        }
        open
    }

    /// The most that things from `at` on can be worth in `room`: whole things until one is cut, by value for room.
    fn rest(&self, at: usize, room: &[i64], cap: u32) -> i128 {
        let mut weight = worth(self.lambda, room);
        let mut value = 0;
        for next in at..self.things.len() {
            let thing = &self.things[next];
            let mut most = thing.most.min(copies(thing.need, room));
            if next == at {
                most = most.min(cap);
            }
            let all = self.weights[next] * i128::from(most);
            if all <= weight {
                weight -= all;
                value += thing.value * i128::from(most);
            } else {
                return value + share(thing.value, weight, self.weights[next]);
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The best pattern by trying them all.
    fn brute(things: &[Thing<'_>], room: &[i64]) -> i128 {
        let Some((first, rest)) = things.split_first() else { return 0 };
        (0..=first.most.min(copies(first.need, room)))
            .map(|n| {
                let left: Vec<i64> =
                    room.iter().zip(first.need).map(|(r, need)| r - need * i64::from(n)).collect();
                first.value * i128::from(n) + brute(rest, &left)
            })
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn products_are_whole() {
        assert_eq!(product(7, 9), (0, 63));
        assert_eq!(product(1 << 72, 1 << 72), (1 << 16, 0));
        assert_eq!(product((1 << 64) - 1, (1 << 64) - 1), (0, ((1u128 << 64) - 1).pow(2)));
        assert_eq!(product((1 << 70) + 5, (1 << 66) + 3), (1 << 8, (3 << 70) + (5 << 66) + 15));
    }

    #[test]
    fn shares_round_up() {
        assert_eq!(share(10, 1, 3), 4);
        let big = 1i128 << 71;
        let exact = big / 3;
        assert!(share(big, big / 3, big) >= exact && share(big, big / 3, big) - exact < 1 << 20);
    }

    /// A small generator of our own, so that the cases are the same everywhere.
    fn numbers(seed: u64) -> impl FnMut(i64) -> i64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        move |below| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as i64
        }
    }

    #[test]
    fn the_bound_is_never_below_the_best_and_meets_it_with_steps_enough() {
        for seed in 1..400 {
            let mut next = numbers(seed);
            let room = [10 + next(30), 10 + next(30)];
            let needs: Vec<[i64; 2]> = (0..4).map(|_| [1 + next(12), next(12)]).collect();
            let things: Vec<Thing<'_>> = needs
                .iter()
                .enumerate()
                .map(|(part, need)| Thing {
                    part: part as u32,
                    value: i128::from(1 + next(50)),
                    need,
                    most: 1 + next(4) as u32,
                })
                .collect();
            let lambda = [i128::from(next(5)), i128::from(next(5))];
            let best = brute(&things, &room);
            assert!(priced_bound(&things, &room, &lambda) >= best, "seed {seed}");
            let full = search(things.clone(), &room, &lambda, 0, 1_000_000);
            assert_eq!(full.bound, best, "seed {seed}");
            for limit in [0, 1, 3, 10] {
                assert!(
                    search(things.clone(), &room, &lambda, 0, limit).bound >= best,
                    "seed {seed}, {limit} nodes"
                );
            }
            // With a target above the best, the target's side is proven without finding anything.
            let above = search(things, &room, &lambda, best, 1_000_000);
            assert!(above.found.is_none() && above.bound >= best, "seed {seed}");
        }
    }
}

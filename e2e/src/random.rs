//! Random numbers that are the same everywhere and for ever: a seed must still name the same cluster next year.

/// Steele, Lea and Flood's `SplitMix64`.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Seeds are small numbers in a row; mixed once, their sequences have nothing in common.
        let mut random = Self(seed);
        Self(random.number())
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn within(&mut self, low: usize, high: usize) -> usize {
        low + (self.number() % (high - low + 1) as u64) as usize
    }

    /// True this often in a hundred times.
    pub(crate) fn percent(&mut self, often: u64) -> bool {
        self.number() % 100 < often
    }

    /// One of a list, which is not empty.
    pub(crate) fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.within(0, list.len() - 1)].clone()
    }

    /// Some of a list, in its order; at least one.
    pub(crate) fn some<T: Clone>(&mut self, list: &[T]) -> Vec<T> {
        let picked: Vec<T> = list.iter().filter(|_| self.percent(50)).cloned().collect();
        if picked.is_empty() { vec![self.pick(list)] } else { picked }
    }
}

//! A hash that is the same in every build: what it says is kept in the cluster, and read by newer versions.

/// FNV-1a of 64 bits. Who wants two templates of one workload to share a verdict can have that by making them alike, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// A text and its end: "a", "bc" is not "ab", "c".
    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
        self.bytes(&[0xff]);
    }

    pub(crate) fn finish(self) -> u64 {
        self.0
    }
}

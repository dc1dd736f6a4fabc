//! FNV-1a: a hash that is the same for ever and on every machine. It keeps nobody out; it tells things apart.

/// The 64-bit hash of some bytes.
#[must_use]
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

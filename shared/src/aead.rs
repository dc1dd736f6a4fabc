//! The one way this service seals anything: AES-256-GCM under a key that is derived for a single message.
//!
//! HKDF-SHA-256 (RFC 5869) makes the key and the nonce of each message from a master key, a fresh random salt of 256 bits and a
//! label, so that no key ever seals two messages and the limits of random nonces (NIST SP 800-38D section 8.3) do not apply.
//! A sealed message is the salt followed by the ciphertext and its tag.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::{Zeroize, Zeroizing};

/// The length of a master key, in bytes.
pub const KEY_BYTES: usize = 32;
/// The length of a message's salt, in bytes.
pub const SALT_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// A master key, wiped when dropped. It cannot be printed, compared or copied.
///
/// ```compile_fail,E0277
/// println!("{:?}", shared::aead::MasterKey::new([0; 32]));
/// ```
/// ```compile_fail,E0599
/// let copy = shared::aead::MasterKey::new([0; 32]).clone();
/// ```
// On the heap, because a value that is moved leaves copies behind that nobody wipes.
pub struct MasterKey(Zeroizing<Box<[u8]>>);

/// A message did not open: altered, cut, bound to something else, or under another key. It says no more on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed message does not open")]
pub struct DoesNotOpen;

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl MasterKey {
    /// Takes 32 bytes in as a key.
    #[must_use]
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(Box::from(bytes.as_slice())))
    }

    /// The same from borrowed bytes, which the caller wipes; `None` if they are not 32.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == KEY_BYTES).then(|| Self(Zeroizing::new(Box::from(bytes))))
    }

    /// Derives `N` bytes for one purpose (RFC 5869).
    pub fn derive<const N: usize>(&self, salt: &[u8], info: &[&[u8]]) -> Result<Zeroizing<[u8; N]>, DoesNotOpen> {
        let mut out = Zeroizing::new([0; N]);
        let prk = Salt::new(HKDF_SHA256, salt).extract(&self.0);
        prk.expand(info, Length(N)).and_then(|okm| okm.fill(out.as_mut_slice())).map_err(|_| DoesNotOpen)?;
        Ok(out)
    }

    /// Seals a message bound to `label` and `bound`.
    pub fn seal(&self, salt: [u8; SALT_BYTES], label: &str, bound: &[&[u8]], message: &[u8]) -> Result<Vec<u8>, DoesNotOpen> {
        let (key, nonce) = self.message_key(&salt, label)?;
        let mut sealed = Vec::with_capacity(SALT_BYTES + message.len() + TAG_BYTES);
        sealed.extend_from_slice(&salt);
        let mut text = Zeroizing::new(message.to_vec());
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(length_prefixed(bound)), text.as_mut_slice()).map_err(|_| DoesNotOpen)?;
        sealed.extend_from_slice(&text);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what [`MasterKey::seal`] made with the same label and binding.
    pub fn open(&self, label: &str, bound: &[&[u8]], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, DoesNotOpen> {
        let (salt, ciphertext) = sealed.split_first_chunk::<SALT_BYTES>().ok_or(DoesNotOpen)?;
        let (key, nonce) = self.message_key(salt, label)?;
        let mut text = Zeroizing::new(ciphertext.to_vec());
        let length = key.open_in_place(nonce, Aad::from(length_prefixed(bound)), text.as_mut_slice()).map_err(|_| DoesNotOpen)?.len();
        text.truncate(length);
        Ok(text)
    }

    fn message_key(&self, salt: &[u8], label: &str) -> Result<(LessSafeKey, Nonce), DoesNotOpen> {
        let mut material: Zeroizing<[u8; KEY_BYTES + NONCE_BYTES]> = self.derive(salt, &[label.as_bytes()])?;
        let (key, nonce) = material.split_at(KEY_BYTES);
        let key = UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| DoesNotOpen)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| DoesNotOpen)?;
        material.zeroize();
        Ok((key, nonce))
    }
}

/// Parts joined so that no two different lists give the same bytes.
fn length_prefixed(parts: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::new();
    for part in parts {
        joined.extend_from_slice(&(part.len() as u64).to_be_bytes());
        joined.extend_from_slice(part);
    }
    joined
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    #[test]
    fn a_message_opens_only_as_it_was_sealed() {
        let key = MasterKey::new([7; KEY_BYTES]);
        let sealed = key.seal([1; SALT_BYTES], "test", &[b"a", b"bc"], b"hello").unwrap();
        assert_eq!(key.open("test", &[b"a", b"bc"], &sealed).unwrap().as_slice(), b"hello");
        assert_eq!(key.open("test", &[b"ab", b"c"], &sealed), Err(DoesNotOpen));
        assert_eq!(key.open("other", &[b"a", b"bc"], &sealed), Err(DoesNotOpen));
        assert_eq!(MasterKey::new([8; KEY_BYTES]).open("test", &[b"a", b"bc"], &sealed), Err(DoesNotOpen));
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut altered = sealed.clone();
                altered[at] ^= 1 << bit;
                assert_eq!(key.open("test", &[b"a", b"bc"], &altered), Err(DoesNotOpen));
            }
            assert_eq!(key.open("test", &[b"a", b"bc"], &sealed[..at]), Err(DoesNotOpen));
        }
    }

    #[test]
    fn hkdf_is_the_one_of_rfc_5869() {
        // The construction of appendix A.1, with the 32-byte input this type takes; computed with an independent implementation.
        let key = MasterKey::new([0x0b; KEY_BYTES]);
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let okm = key.derive::<16>(&salt, &[&info]).unwrap();
        assert_eq!(okm.iter().fold(String::new(), |hex, b| hex + &format!("{b:02x}")), "d4100799f26a09615a72af3e58fa3841");
    }
}

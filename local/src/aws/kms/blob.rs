//! The ciphertext blob: it names its key and the version of the key's material, as AWS's does.
//!
//! ```text
//! "MKMS" 1 | key id, 16 bytes | material version, 4 bytes | nonce, 12 bytes | AES-256-GCM ciphertext and tag
//! ```
//! Authenticated with it: everything before the nonce, and the encryption context in one canonical form.

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use uuid::Uuid;

use super::super::wire::Fault;
use super::{invalid_ciphertext, random};

const MAGIC: &[u8; 5] = b"MKMS\x01";
const HEADER_LEN: usize = MAGIC.len() + 16 + 4;

/// Names and values that must be the same at encryption and decryption.
pub(super) type Context = BTreeMap<String, String>;

/// Which material a blob was sealed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// The key.
    pub(super) key_id: Uuid,
    /// The index of its material.
    pub(super) version: u32,
}

impl Origin {
    /// Reads the header of a blob.
    pub(super) fn of(blob: &[u8]) -> Result<Self, Fault> {
        let read = || {
            let (key_id, rest) = blob.strip_prefix(MAGIC)?.split_first_chunk::<16>()?;
            let (version, _) = rest.split_first_chunk::<4>()?;
            Some(Self { key_id: Uuid::from_bytes(*key_id), version: u32::from_be_bytes(*version) })
        };
        read().ok_or_else(invalid_ciphertext)
    }

    fn header(self) -> Vec<u8> {
        [MAGIC, self.key_id.as_bytes().as_slice(), &self.version.to_be_bytes()].concat()
    }
}

/// Seals `plaintext`.
pub(super) fn seal(origin: Origin, material: &[u8], context: &Context, plaintext: &[u8]) -> Result<Vec<u8>, Fault> {
    let nonce: [u8; NONCE_LEN] = random()?;
    let header = origin.header();
    let mut sealed = plaintext.to_vec();
    key(material)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(additional_data(&header, context)), &mut sealed)
        .map_err(|_| Fault::internal())?;
    Ok([header, nonce.to_vec(), sealed].concat())
}

/// Opens a blob whose [`Origin`] has been looked up.
pub(super) fn open(blob: &[u8], material: &[u8], context: &Context) -> Result<Vec<u8>, Fault> {
    let (header, rest) = blob.split_at_checked(HEADER_LEN).ok_or_else(invalid_ciphertext)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(invalid_ciphertext)?;
    let mut buffer = sealed.to_vec();
    let plaintext = key(material)?
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(additional_data(header, context)), &mut buffer)
        .map_err(|_| invalid_ciphertext())?;
    Ok(plaintext.to_vec())
}

fn key(material: &[u8]) -> Result<LessSafeKey, Fault> {
    UnboundKey::new(&AES_256_GCM, material).map(LessSafeKey::new).map_err(|_| Fault::internal())
}

/// The map is sorted by name; lengths keep `{"ab": "c"}` apart from `{"a": "bc"}`.
fn additional_data(header: &[u8], context: &Context) -> Vec<u8> {
    let mut data = header.to_vec();
    for text in context.iter().flat_map(|(name, value)| [name, value]) {
        data.extend_from_slice(&(text.len() as u64).to_be_bytes());
        data.extend_from_slice(text.as_bytes());
    }
    data
}

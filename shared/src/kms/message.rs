//! A sealed token: a format byte, the version of the branch key in four bytes, then salt, ciphertext and tag.

use zeroize::Zeroize;

use crate::aead::{MasterKey, SALT_BYTES};
use crate::domain::secret::Secret;
use crate::ports::cipher::SealContext;

const FORMAT: u8 = 1;
const SCHEMA: &[u8] = b"mandate/1";
const LABEL: &str = "mandate/token/v1";

/// A message, taken apart.
pub(super) struct Message<'a> {
    /// The version of the branch key that sealed it.
    pub(super) version: u32,
    sealed: &'a [u8],
}

impl<'a> Message<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (format, rest) = bytes.split_first()?;
        let (version, sealed) = rest.split_first_chunk()?;
        (*format == FORMAT).then_some(Self { version: u32::from_be_bytes(*version), sealed })
    }

    pub(super) fn open(&self, key: &MasterKey, context: SealContext<'_>) -> Option<Secret> {
        let mut text = bound(context, self.version, |parts| key.open(LABEL, parts, self.sealed)).ok()?;
        String::from_utf8(std::mem::take(&mut *text)).map(Secret::new).map_err(|error| error.into_bytes().zeroize()).ok()
    }
}

/// Seals a token for its place; `None` only if the cipher itself fails.
pub(super) fn seal(key: &MasterKey, version: u32, context: SealContext<'_>, token: &Secret, salt: [u8; SALT_BYTES]) -> Option<Vec<u8>> {
    let sealed = bound(context, version, |parts| key.seal(salt, LABEL, parts, token.expose().as_bytes())).ok()?;
    Some([&[FORMAT], version.to_be_bytes().as_slice(), &sealed].concat())
}

/// What a message is bound to (I8).
fn bound<T>(context: SealContext<'_>, version: u32, with: impl FnOnce(&[&[u8]]) -> T) -> T {
    with(&[
        SCHEMA,
        context.organization.as_str().as_bytes(),
        context.authorization.as_str().as_bytes(),
        context.field.as_str().as_bytes(),
        context.generation.to_string().as_bytes(),
        version.to_string().as_bytes(),
    ])
}

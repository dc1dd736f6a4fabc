//! The one place where this provider takes randomness from the operating system.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// 256 bits as base64url: codes, tokens, transactions and token ids, which nobody may guess (RFC 6749 section 10.10).
#[expect(clippy::disallowed_methods, reason = "the provider stands for another system: it has its own randomness, and takes it here only")]
pub(super) fn unguessable() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

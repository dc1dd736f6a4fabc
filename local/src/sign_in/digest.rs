//! SHA-256 in the three places where the protocol wants it.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// What is kept of a secret: enough to recognise it, nothing to present. Also the PKCE S256 transformation
/// (RFC 7636 section 4.2), which is the same function.
pub(super) fn of(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, secret.as_bytes()))
}

/// The `at_hash` of an access token: the left half of its SHA-256, for ES256 (OpenID Connect Core 3.1.3.6).
pub(super) fn left_half(access_token: &str) -> String {
    let whole = digest(&SHA256, access_token.as_bytes());
    URL_SAFE_NO_PAD.encode(whole.as_ref().split_at(16).0)
}

/// A Content-Security-Policy source expression that admits exactly this text.
pub(super) fn csp_source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

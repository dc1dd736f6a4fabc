//! Static material that verifies API tokens (contract section 2).

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::cached::Cached;
use super::document;
use super::faults::Faults;
use super::node::{Node, Read};
use super::source::SecretSource;
use super::state_keys::decode_key;
use crate::ports::Unavailable;
use crate::ports::configuration::{StaticApiKey, StaticApiKeys};

/// The shortest HMAC secret: the length of the hash (RFC 7518 section 3.2).
const HMAC_BYTES: usize = 32;
/// Anybody knows a public key, and could sign with it (RFC 8725 section 2.1).
const NOT_A_KEY: &str = "must be a secret, not a PEM key";

/// Static keys in secrets that the directory names.
pub struct SecretStaticApiKeys(Origin);

/// The key of a secret, and the secret's id.
type LastAsked = Option<(String, Arc<Cached<StaticApiKey>>)>;

enum Origin {
    /// Secrets by id, with the one that was last asked for. A directory names one, so a second replaces the first.
    Secrets(Arc<SecretSource>, Mutex<LastAsked>),
    /// The same key for every id.
    Fixed(Arc<StaticApiKey>),
}

impl SecretStaticApiKeys {
    /// Keys from this source.
    #[must_use]
    pub fn new(source: Arc<SecretSource>) -> Self {
        Self(Origin::Secrets(source, Mutex::default()))
    }

    /// One key for every secret id, from its text.
    pub fn fixed(text: &str) -> Result<Self, Faults> {
        parse_static_api_key(text).map(|key| Self(Origin::Fixed(Arc::new(key))))
    }
}

#[async_trait]
impl StaticApiKeys for SecretStaticApiKeys {
    async fn static_api_key(&self, secret_id: &str) -> Result<Arc<StaticApiKey>, Unavailable> {
        match &self.0 {
            Origin::Fixed(key) => Ok(key.clone()),
            Origin::Secrets(source, last) => cached(source, last, secret_id).current().await,
        }
    }
}

fn cached(source: &Arc<SecretSource>, last: &Mutex<LastAsked>, id: &str) -> Arc<Cached<StaticApiKey>> {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, cached)) = last.as_ref().filter(|(known, _)| known == id) {
        return cached.clone();
    }
    let cached = Arc::new(Cached::new(source.clone(), id.to_owned(), "read the static API-token key", parse_static_api_key));
    *last = Some((id.to_owned(), cached.clone()));
    cached
}

/// Reads a static key, or says everything that is wrong with it, never what it is.
pub fn parse_static_api_key(text: &str) -> Result<StaticApiKey, Faults> {
    document::read(text, |root| read(root).ok())
}

fn read(root: &Node<'_>) -> Read<StaticApiKey> {
    let object = root.object()?;
    let algorithms = ["HS256", "RS256", "ES256", "EdDSA", "PS256"].map(|name| (name, name));
    let algorithm = object.must("alg", |node| node.one_of(&algorithms));
    let key = match algorithm {
        Ok("HS256") => object.must("secret", hmac).map(StaticApiKey::Hmac),
        Ok(algorithm) => object.must("pem", public_key).map(|pem| StaticApiKey::PublicKey { algorithm: algorithm.to_owned(), pem }),
        Err(recorded) => {
            object.disregard(&["secret", "pem"]);
            Err(recorded)
        }
    };
    object.done(&["secret", "pem"], "does not belong to this alg");
    key
}

fn hmac(node: &Node<'_>) -> Read<Zeroizing<Vec<u8>>> {
    let text = node.any_text()?;
    let looks_public = |bytes: &[u8]| bytes.trim_ascii_start().starts_with(b"-----BEGIN");
    match decode_key(text) {
        _ if looks_public(text.as_bytes()) => Err(node.fault(NOT_A_KEY)),
        Some(bytes) if looks_public(&bytes) => Err(node.fault(NOT_A_KEY)),
        Some(bytes) if bytes.len() >= HMAC_BYTES => Ok(bytes),
        Some(_) | None => Err(node.fault("must be at least 32 bytes in base64url")),
    }
}

fn public_key(node: &Node<'_>) -> Read<String> {
    let pem = node.any_text()?.trim();
    let body = pem.strip_prefix("-----BEGIN PUBLIC KEY-----").and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"));
    let body: Option<String> = body.map(|body| body.split_ascii_whitespace().collect());
    if body.is_some_and(|body| body.len() >= 32 && STANDARD.decode(body).is_ok()) {
        Ok(pem.to_owned())
    } else {
        Err(node.fault("must be a public key in PEM (SubjectPublicKeyInfo)"))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::secrets::fakes::{HandClock, Vault};

    const PEM: &str =
        "-----BEGIN PUBLIC KEY-----\\nMCowBQYDK2VwAyEAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\\n-----END PUBLIC KEY-----\\n";

    #[test]
    fn secrets_and_public_keys_are_read() {
        let text = format!(r#"{{"alg": "HS256", "secret": "{}"}}"#, URL_SAFE_NO_PAD.encode([7; 32]));
        assert!(matches!(parse_static_api_key(&text).unwrap(), StaticApiKey::Hmac(bytes) if bytes.as_slice() == [7; 32]));
        for algorithm in ["RS256", "ES256", "EdDSA", "PS256"] {
            let key = parse_static_api_key(&format!(r#"{{"alg": "{algorithm}", "pem": "{PEM}"}}"#)).unwrap();
            assert!(matches!(key, StaticApiKey::PublicKey { algorithm: read, .. } if read == algorithm));
        }
    }

    #[test]
    fn s44_weak_and_confused_keys_are_refused() {
        let short = URL_SAFE_NO_PAD.encode([7; 31]);
        let disguised = URL_SAFE_NO_PAD.encode(PEM);
        for (text, expected) in [
            (format!(r#"{{"alg": "HS256", "secret": "{short}"}}"#), "secret: must be at least 32 bytes in base64url"),
            (r#"{"alg": "HS256", "secret": "not base64url!"}"#.to_owned(), "secret: must be at least 32 bytes in base64url"),
            (format!(r#"{{"alg": "HS256", "secret": "{PEM}"}}"#), "secret: must be a secret, not a PEM key"),
            (format!(r#"{{"alg": "HS256", "secret": "{disguised}"}}"#), "secret: must be a secret, not a PEM key"),
            (format!(r#"{{"alg": "HS256", "pem": "{PEM}"}}"#), "secret: is required; pem: does not belong to this alg"),
            (format!(r#"{{"alg": "RS256", "secret": "{short}"}}"#), "pem: is required; secret: does not belong to this alg"),
            (
                r#"{"alg": "RS256", "pem": "-----BEGIN PUBLIC KEY-----"}"#.to_owned(),
                "pem: must be a public key in PEM (SubjectPublicKeyInfo)",
            ),
            (format!(r#"{{"alg": "none", "pem": "{PEM}"}}"#), "alg: must be one of HS256, RS256, ES256, EdDSA, PS256"),
            (
                format!(r#"{{"alg": "HS512", "secret": "{short}", "kid": "a"}}"#),
                "alg: must be one of HS256, RS256, ES256, EdDSA, PS256; kid: unknown field",
            ),
        ] {
            assert_eq!(parse_static_api_key(&text).map(|_| ()).unwrap_err().one_line(), expected);
        }
    }

    #[tokio::test]
    async fn s70_one_reading_serves_five_minutes_and_another_id_is_another_secret() {
        let vault = Vault::holding(&format!(r#"{{"alg": "ES256", "pem": "{PEM}"}}"#));
        let keys = SecretStaticApiKeys::new(vault.source(&HandClock::new()));
        for _ in 0..3 {
            keys.static_api_key("api-key").await.unwrap();
        }
        assert_eq!(vault.reads(), 1);
        keys.static_api_key("other-key").await.unwrap();
        assert_eq!(vault.reads(), 2);
    }
}

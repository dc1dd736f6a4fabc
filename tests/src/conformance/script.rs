//! In what the provider departs from what it should say. Everything is left as it should be unless a script says otherwise.

use serde_json::Value;

use super::keys::Keys;

/// A change to a JSON object before it is sent.
pub type Edit = fn(&mut Value);

/// What the provider does.
#[derive(Clone, Copy)]
pub struct Script {
    /// Changes its metadata (OpenID Connect Discovery section 3).
    pub metadata: Edit,
    /// The keys that it publishes.
    pub keys: fn(&Keys) -> Vec<Value>,
    /// Changes the parameters with which the browser comes back; one that is removed is not sent.
    pub response: Edit,
    /// Changes the token endpoint's answer.
    pub answer: Edit,
    /// Changes the header of `id_tokens`.
    pub header: Edit,
    /// Changes the claims of the `id_token` of a sign-in.
    pub claims: Edit,
    /// Changes the claims of the `id_token` of a refresh.
    pub refreshed: Edit,
    /// How `id_tokens` are signed.
    pub signature: Signature,
    /// Whether its keys are others from just before an `id_token` is signed.
    pub rotates: bool,
    /// Changes what its userinfo endpoint tells, knowing the issuer.
    pub userinfo: fn(&mut Value, &str),
    /// Whether the userinfo endpoint answers with a signed token instead of JSON.
    pub signed_userinfo: bool,
}

/// An algorithm of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alg {
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
}

/// How an `id_token` is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// By the key for this algorithm.
    Good(Alg),
    /// The same, and then altered.
    Broken(Alg),
    /// Not at all: `alg` is `none`.
    None,
    /// With HS256 under the client's secret.
    ClientSecret,
    /// The same, and then altered.
    ClientSecretBroken,
    /// With HS256 under the text of the public RSA key.
    PublicKey,
}

/// Leaves everything as it is.
fn unchanged(_: &mut Value) {}

/// Takes a member away.
pub fn without(object: &mut Value, name: &str) {
    object.as_object_mut().unwrap().remove(name);
}

impl Alg {
    /// Its JOSE name (RFC 7518 section 3.1).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }
}

impl Script {
    /// Signs by this algorithm, publishes the key that does, and behaves.
    #[must_use]
    pub fn good(alg: Alg) -> Self {
        let keys = match alg {
            Alg::Es256 => |keys: &Keys| vec![keys.ec.public()],
            Alg::Rs256 | Alg::Ps256 => |keys: &Keys| vec![keys.rsa.public()],
        };
        Self {
            metadata: unchanged,
            keys,
            response: unchanged,
            answer: unchanged,
            header: unchanged,
            claims: unchanged,
            refreshed: unchanged,
            signature: Signature::Good(alg),
            rotates: false,
            userinfo: |_, _| {},
            signed_userinfo: false,
        }
    }
}

//! Signing keys, and tokens signed by them.

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
    UnparsedPublicKey,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::script::Alg;

/// RSA keys take a while to make, so there are two for all providers.
static RSA: LazyLock<[RsaKeyPair; 2]> = LazyLock::new(|| [(); 2].map(|()| RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));

/// The key by which clients prove themselves, and what it is called.
static CLIENT: LazyLock<ClientKey> = LazyLock::new(ClientKey::new);

/// The keys of a provider at one time.
pub struct Keys {
    /// For ES256.
    pub ec: Key,
    /// For RS256 and PS256.
    pub rsa: Key,
    /// Another of the same kind.
    pub other_rsa: Key,
}

/// A key pair under a name.
pub struct Key {
    kid: String,
    pair: Pair,
}

enum Pair {
    Ec(Box<EcdsaKeyPair>),
    Rsa(&'static RsaKeyPair),
}

impl Keys {
    /// The keys after so many rotations: other keys under other names each time.
    #[must_use]
    pub fn new(rotations: usize) -> Self {
        let rsa = |name: &str, at: usize| Key { kid: format!("{name}-{rotations}"), pair: Pair::Rsa(&RSA[at % RSA.len()]) };
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        Self {
            ec: Key { kid: format!("ec-{rotations}"), pair: Pair::Ec(Box::new(ec)) },
            rsa: rsa("rsa", rotations),
            other_rsa: rsa("other-rsa", rotations + 1),
        }
    }

    /// The key that signs by this algorithm.
    #[must_use]
    pub fn of(&self, alg: Alg) -> &Key {
        match alg {
            Alg::Es256 => &self.ec,
            Alg::Rs256 | Alg::Ps256 => &self.rsa,
        }
    }
}

impl Key {
    /// Its name.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half as a JWK (RFC 7517).
    #[must_use]
    pub fn public(&self) -> Value {
        match &self.pair {
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.kid, "x": b64(&point[1..33]), "y": b64(&point[33..]) })
            }
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                let (n, e) = (n.big_endian_without_leading_zero().to_vec(), e.big_endian_without_leading_zero().to_vec());
                json!({ "kty": "RSA", "use": "sig", "kid": self.kid, "n": b64(n), "e": b64(e) })
            }
        }
    }

    /// The public half in PEM: what somebody who confuses algorithms takes for an HMAC secret.
    #[must_use]
    pub fn public_pem(&self) -> String {
        let der = match &self.pair {
            Pair::Ec(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
        };
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    /// A token of this header and these claims.
    #[must_use]
    pub fn sign(&self, alg: Alg, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let signature = match &self.pair {
            Pair::Ec(pair) => pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let encoding =
                    if alg == Alg::Ps256 { &RSA_PSS_SHA256 as &dyn aws_lc_rs::signature::RsaEncoding } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
                signature
            }
        };
        format!("{signed}.{}", b64(signature))
    }
}

/// The key by which clients prove themselves (RFC 7523).
pub struct ClientKey {
    pem: String,
    point: Vec<u8>,
}

impl ClientKey {
    /// Its name.
    pub const KID: &'static str = "conformance-client-1";

    /// The one that every client has.
    #[must_use]
    pub fn get() -> &'static Self {
        &CLIENT
    }

    fn new() -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(pkcs8.as_ref()));
        Self { pem, point: pair.public_key().as_ref().to_vec() }
    }

    /// As the client's secrets hold it.
    #[must_use]
    pub fn credential(&self) -> Value {
        json!({ "kid": Self::KID, "pem": self.pem })
    }

    /// Whether it made this ES256 signature.
    #[must_use]
    pub fn has_signed(&self, signed: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.point).verify(signed.as_bytes(), signature).is_ok()
    }
}

/// The token with its signature altered in one place.
#[must_use]
pub fn broken(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    signature[7] ^= 0x5a;
    format!("{signed}.{}", b64(signature))
}

/// A token under an HMAC secret, whatever that is.
#[must_use]
pub fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let signed = unsigned(header, claims);
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", b64(signature))
}

/// What a signature is made of.
#[must_use]
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", b64(header.to_string()), b64(claims.to_string()))
}

/// The left half of a text's SHA-256 (OpenID Connect Core section 3.1.3.6).
#[must_use]
pub fn half_hash(text: &str) -> String {
    b64(&digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..16])
}

/// Random text that fits anywhere.
#[must_use]
pub fn random() -> String {
    let mut bytes = [0; 24];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    b64(bytes)
}

/// base64url without padding.
pub(super) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

//! The private keys that clients prove themselves with (`private_key_jwt`, RFC 7523). It sits beside the adapters, because two of
//! them need it: one reads the keys of a configuration and must say which is unusable, the other signs.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::domain::secret::Secret;

/// A private key, by the algorithms that it signs with. It has no `Debug`.
pub struct ClientKey(Pair);

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl ClientKey {
    /// The key in a PEM text: RSA from 2048 bits on, P-256 or Ed25519, in PKCS#8 (RFC 5958), PKCS#1 (RFC 8017 appendix A.1.2) or
    /// SEC 1 (RFC 5915). `None` for anything else, encrypted keys among it.
    #[must_use]
    pub fn from_pem(pem: &Secret) -> Option<Self> {
        let der = Zeroizing::new(PrivateKeyDer::from_pem_slice(pem.expose().trim().as_bytes()).ok()?);
        let pair = match &*der {
            PrivateKeyDer::Pkcs1(der) => Pair::Rsa(Box::new(RsaKeyPair::from_der(der.secret_pkcs1_der()).ok()?)),
            PrivateKeyDer::Sec1(der) => {
                Pair::P256(EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_sec1_der()).ok()?)
            }
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                let rsa = || RsaKeyPair::from_pkcs8(der).ok().map(|pair| Pair::Rsa(Box::new(pair)));
                let p256 = || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok().map(Pair::P256);
                let ed25519 = || Ed25519KeyPair::from_pkcs8(der).ok().map(Pair::Ed25519);
                rsa().or_else(p256).or_else(ed25519)?
            }
            _ => return None,
        };
        Some(Self(pair))
    }

    /// The JOSE names of what it can sign by (RFC 7518 section 3.1, RFC 8037), the usual one first.
    #[must_use]
    pub fn algorithms(&self) -> &'static [&'static str] {
        match self.0 {
            Pair::Rsa(_) => &["RS256", "PS256"],
            Pair::P256(_) => &["ES256"],
            Pair::Ed25519(_) => &["EdDSA"],
        }
    }

    /// Signs by one of its algorithms, as a JWS has it (RFC 7515).
    #[must_use]
    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.0 {
            Pair::Rsa(pair) => {
                let encoding = match algorithm {
                    "RS256" => &RSA_PKCS1_SHA256,
                    "PS256" => &RSA_PSS_SHA256,
                    _ => return None,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            Pair::P256(pair) if algorithm == "ES256" => pair.sign(&random, message).ok().map(|signature| signature.as_ref().to_vec()),
            Pair::Ed25519(pair) if algorithm == "EdDSA" => Some(pair.sign(message).as_ref().to_vec()),
            Pair::P256(_) | Pair::Ed25519(_) => None,
        }
    }
}

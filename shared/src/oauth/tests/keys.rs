//! Signing keys, made for each test, and tokens signed by them in whatever way a test wants.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    UnparsedPublicKey,
};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

pub(super) enum Key {
    Ec(EcdsaKeyPair, Vec<u8>),
    Ed(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
    /// The same, signing by PS256.
    Pss(Box<RsaKeyPair>),
}

pub(super) fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl Key {
    pub(super) fn ec() -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        Self::Ec(pair, pkcs8.as_ref().to_vec())
    }

    pub(super) fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref()).unwrap())
    }

    pub(super) fn rsa() -> Self {
        Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    pub(super) fn pss() -> Self {
        Self::Pss(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    pub(super) fn alg(&self) -> &'static str {
        match self {
            Self::Ec(..) => "ES256",
            Self::Ed(_) => "EdDSA",
            Self::Rsa(_) => "RS256",
            Self::Pss(_) => "PS256",
        }
    }

    /// The private key as PKCS#8 in PEM, for client assertions.
    pub(super) fn pem(&self) -> String {
        pem("PRIVATE KEY", &self.pkcs8())
    }

    /// The private key in the older form of its kind: PKCS#1, or SEC 1.
    pub(super) fn older_pem(&self) -> String {
        match self {
            Self::Ec(pair, _) => {
                let der: aws_lc_rs::encoding::EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
                pem("EC PRIVATE KEY", der.as_ref())
            }
            // Version, algorithm, and then an octet string with the PKCS#1 key: all of known length at 2048 bits.
            Self::Rsa(_) | Self::Pss(_) => pem("RSA PRIVATE KEY", &self.pkcs8()[26..]),
            Self::Ed(_) => panic!("Ed25519 has one form only"),
        }
    }

    fn pkcs8(&self) -> Vec<u8> {
        match self {
            Self::Ec(_, pkcs8) => pkcs8.clone(),
            Self::Ed(pair) => pair.to_pkcs8().unwrap().as_ref().to_vec(),
            Self::Rsa(pair) | Self::Pss(pair) => {
                let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
                der.as_ref().to_vec()
            }
        }
    }

    /// Whether this key made the signature of a JWS by this algorithm.
    pub(super) fn signed(&self, algorithm: &str, jws: &str) -> bool {
        let (message, signature) = jws.rsplit_once('.').unwrap();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
        let (verification, public): (&'static dyn aws_lc_rs::signature::VerificationAlgorithm, &[u8]) = match (self, algorithm) {
            (Self::Ec(pair, _), "ES256") => (&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref()),
            (Self::Ed(pair), "EdDSA") => (&aws_lc_rs::signature::ED25519, pair.public_key().as_ref()),
            (Self::Rsa(pair) | Self::Pss(pair), "RS256") => (&aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref()),
            (Self::Rsa(pair) | Self::Pss(pair), "PS256") => (&aws_lc_rs::signature::RSA_PSS_2048_8192_SHA256, pair.public_key().as_ref()),
            (_, other) => panic!("this key does not sign by {other}"),
        };
        UnparsedPublicKey::new(verification, public).verify(message.as_bytes(), &signature).is_ok()
    }

    /// The public key in PEM.
    pub(super) fn public_pem(&self) -> String {
        let der = match self {
            Self::Ec(pair, _) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::Rsa(pair) | Self::Pss(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
        };
        pem("PUBLIC KEY", &der)
    }

    pub(super) fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Ec(pair, _) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "x": b64(&point[1..33]), "y": b64(&point[33..])})
            }
            Self::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(pair.public_key().as_ref())}),
            Self::Rsa(pair) | Self::Pss(pair) => {
                let (n, e) = (pair.public_key().modulus().big_endian_without_leading_zero().to_vec(), pair.public_key().exponent());
                json!({"kty": "RSA", "kid": kid, "alg": self.alg(), "n": b64(n), "e": b64(e.big_endian_without_leading_zero())})
            }
        }
    }

    /// A token with this header and these claims, as they are.
    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    pub(super) fn sign_text(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(claims));
        let signature = match self {
            Self::Ec(pair, _) => pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
            Self::Rsa(pair) => rsa(pair, &RSA_PKCS1_SHA256, &signed),
            Self::Pss(pair) => rsa(pair, &RSA_PSS_SHA256, &signed),
        };
        format!("{signed}.{}", b64(signature))
    }
}

fn rsa(pair: &RsaKeyPair, encoding: &'static dyn RsaEncoding, message: &str) -> Vec<u8> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    signature
}

/// DER in PEM, in lines of 64 characters (RFC 7468 section 2).
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A token signed by HMAC with any bytes.
pub(super) fn hmac(secret: &[u8], header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    format!("{signed}.{}", b64(aws_lc_rs::hmac::sign(&key, signed.as_bytes())))
}

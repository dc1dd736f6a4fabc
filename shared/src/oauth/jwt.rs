//! JSON Web Tokens (RFC 7519, RFC 8725), read strictly. Signatures are the business of `jsonwebtoken`; times are compared here, with
//! the [`Clock`](crate::ports::clock::Clock) of the service, and never with the clock on the wall.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::json;

/// How far two clocks may disagree, in seconds (contract section 2; security item 45).
const LEEWAY: i64 = 60;
/// No token that this service verifies is longer.
const MAX_BYTES: usize = 16 * 1024;
/// The last second that a date can have: 9999-12-31.
const LAST_SECOND: i64 = 253_402_300_799;

/// The signature algorithms this service knows (RFC 7518 section 3.1, RFC 8037). `none` is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alg {
    Rs256,
    Ps256,
    Es256,
    EdDsa,
    Hs256,
}

impl Alg {
    /// What may sign where the key is public. HS256 is not among them: a public key is no secret (RFC 8725 section 2.1).
    pub(super) const ASYMMETRIC: [Self; 4] = [Self::Rs256, Self::Ps256, Self::Es256, Self::EdDsa];

    /// The algorithm of a JOSE name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "PS256" => Self::Ps256,
            "ES256" => Self::Es256,
            "EdDSA" => Self::EdDsa,
            "HS256" => Self::Hs256,
            _ => return None,
        })
    }

    /// The same in the words of `jsonwebtoken`.
    pub(super) fn algorithm(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Ps256 => Algorithm::PS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
            Self::Hs256 => Algorithm::HS256,
        }
    }

    /// The kind of key that it needs.
    pub(super) fn family(self) -> AlgorithmFamily {
        match self {
            Self::Rs256 | Self::Ps256 => AlgorithmFamily::Rsa,
            Self::Es256 => AlgorithmFamily::Ec,
            Self::EdDsa => AlgorithmFamily::Ed,
            Self::Hs256 => AlgorithmFamily::Hmac,
        }
    }
}

/// A token taken apart, its signature not yet verified.
pub(super) struct Jwt<'a> {
    pub(super) signed: &'a str,
    pub(super) signature: &'a str,
    pub(super) alg: Alg,
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
    pub(super) claims: Claims,
}

/// What a token says.
pub(super) struct Claims(Map<String, Value>);

impl<'a> Jwt<'a> {
    /// Takes a token apart. Headers that bring their own key (`jku`, `jwk`, `x5u`, `x5c`; RFC 8725 section 3.10) and critical
    /// extensions, none of which is understood here (RFC 7515 section 4.1.11), are refused.
    pub(super) fn read(token: &'a str, allowed: &[Alg]) -> Result<Self, &'static str> {
        if token.len() > MAX_BYTES {
            return Err("it is longer than 16 KiB");
        }
        // RFC 7516 section 3.1: a JWE has five parts. Nobody was given a key of ours to encrypt to.
        if token.bytes().filter(|b| *b == b'.').count() == 4 {
            return Err("it is encrypted");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("it is not a JWS")?;
        let (header, claims) = signed.split_once('.').ok_or("it is not a JWS")?;
        let header = decode(header).ok_or("its header is not base64url of strict JSON")?;
        if ["jku", "jwk", "x5u", "x5c", "crit", "b64", "zip"].iter().any(|name| header.contains_key(*name)) {
            return Err("its header brings a key or an extension");
        }
        let alg = header.get("alg").and_then(Value::as_str).and_then(Alg::parse).filter(|alg| allowed.contains(alg));
        let alg = alg.ok_or("its algorithm is not allowed")?;
        let kid = text_or_absent(&header, "kid").map_err(|()| "its kid is not text")?;
        let typ = text_or_absent(&header, "typ").map_err(|()| "its typ is not text")?;
        let claims = decode(claims).ok_or("its claims are not base64url of strict JSON")?;
        Ok(Self { signed, signature, alg, kid, typ, claims: Claims(claims) })
    }

    /// Whether the key made the signature. A key of another kind than the algorithm's did not.
    pub(super) fn is_signed_by(&self, key: &DecodingKey) -> bool {
        key.family() == self.alg.family()
            && jsonwebtoken::crypto::verify(self.signature, self.signed.as_bytes(), key, self.alg.algorithm()).unwrap_or(false)
    }
}

fn decode(part: &str) -> Option<Map<String, Value>> {
    json::parse_object(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn text_or_absent(object: &Map<String, Value>, name: &str) -> Result<Option<String>, ()> {
    object.get(name).map(|value| value.as_str().map(str::to_owned).ok_or(())).transpose()
}

impl Claims {
    /// A claim, whatever its type.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A claim that is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// All of them.
    pub(super) fn into_object(self) -> Map<String, Value> {
        self.0
    }

    /// `exp`, required, `nbf` and `iat`, honoured: numbers all three, never text (RFC 7519 section 2, `NumericDate`).
    pub(super) fn hold_at(&self, now: OffsetDateTime) -> Result<(), &'static str> {
        let now = now.unix_timestamp();
        match self.seconds("exp")? {
            None => return Err("it has no exp"),
            Some(exp) if exp.saturating_add(LEEWAY) <= now => return Err("it has expired"),
            Some(_) => {}
        }
        if self.seconds("nbf")?.is_some_and(|nbf| nbf.saturating_sub(LEEWAY) > now) {
            return Err("it is not valid yet");
        }
        if self.seconds("iat")?.is_some_and(|iat| iat.saturating_sub(LEEWAY) > now) {
            return Err("it was issued in the future");
        }
        Ok(())
    }

    /// A time in Unix seconds.
    pub(super) fn seconds(&self, name: &str) -> Result<Option<i64>, &'static str> {
        let Some(value) = self.get(name) else { return Ok(None) };
        #[expect(clippy::cast_possible_truncation, reason = "fractions of a second are cut, and the range is checked")]
        let seconds = value.as_i64().or_else(|| value.as_f64().map(|float| float as i64));
        seconds.filter(|seconds| (0..=LAST_SECOND).contains(seconds)).map(Some).ok_or("a time in it is not a number of seconds")
    }

    /// Whether `aud` is this, or an array of texts with this among them (RFC 7519 section 4.1.3).
    pub(super) fn is_for(&self, audience: &str) -> bool {
        match self.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(several)) => several.iter().all(Value::is_string) && several.iter().any(|a| a == audience),
            _ => false,
        }
    }
}

/// When an access token that happens to be a JWT says that it ends. A hint about a lifetime: it decides nothing, so nothing is verified.
pub(super) fn unverified_exp(token: &str) -> Option<i64> {
    let mut parts = token.split('.');
    let (_, claims, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    Claims(decode(claims)?).seconds("exp").ok().flatten()
}

/// A claim of an access token that happens to be a JWT, unverified: it names something at the provider that issued it to us.
pub(super) fn unverified_text(token: &str, claim: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (_, claims, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    Claims(decode(claims)?).text(claim).map(str::to_owned)
}

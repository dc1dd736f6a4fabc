//! The public keys of issuers (RFC 7517), kept per URL.
//!
//! 1. Keys serve for ten minutes, and for an hour while the issuer cannot be reached: a removed key stops working within that.
//! 2. A `kid` that is not among them may be new (OpenID Connect Core section 10.1.1), and so may the key of a token that names none
//!    and that no key here has signed: the keys are fetched again, but at most once in five minutes, whoever invents how many.
//! 3. One request at a time is under way; the others wait for its answer.
//! 4. Each key remembers which tokens it was found to have signed ([`Proven`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};

use jsonwebtoken::{AlgorithmFamily, DecodingKey};
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;
use url::Url;

use super::egress::Http;
use super::fetch::get_object;
use super::jwt::{Alg, Jwt};
use super::proven::Proven;
use crate::ports::clock::Clock;
use crate::ports::provider::ProviderError;

/// For how long keys serve without a look at the issuer.
const FRESH: Duration = Duration::minutes(10);
/// For how long they serve when the issuer cannot be reached.
const STALE: Duration = Duration::hours(1);
/// How often an unknown `kid` may cause a request (contract section 2; security item 52).
const FORCED_EVERY: Duration = Duration::minutes(5);
/// For how long a failure is believed without asking again.
const FAILURE: Duration = Duration::seconds(3);

/// The keys of every issuer that was asked. One per process: `id_tokens` and API tokens share it.
pub struct Jwks {
    http: Http,
    clock: Arc<dyn Clock>,
    slots: SyncMutex<HashMap<Url, Arc<Mutex<Slot>>>>,
}

/// Why a signature was not found to be good.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unverified {
    /// It is not.
    #[error("signature does not hold: {0}")]
    Refused(&'static str),
    /// The keys could not be had.
    #[error(transparent)]
    NoKeys(#[from] ProviderError),
}

#[derive(Default)]
struct Slot {
    keys: Option<(Arc<[Key]>, OffsetDateTime)>,
    failed_at: Option<OffsetDateTime>,
    forced_at: Option<OffsetDateTime>,
    forced_failed: bool,
}

pub(super) struct Key {
    kid: Option<String>,
    alg: Option<Alg>,
    public: DecodingKey,
    proven: Proven,
}

impl Jwks {
    /// No keys yet; they are fetched when they are needed.
    #[must_use]
    pub fn new(http: Http, clock: Arc<dyn Clock>) -> Self {
        Self { http, clock, slots: SyncMutex::default() }
    }

    /// Sees to it that keys are at hand, before something is spent that only they can prove.
    pub async fn warm(&self, uri: &Url) -> Result<(), ProviderError> {
        let slot = self.slot(uri);
        let mut slot = slot.lock().await;
        self.current(uri, &mut slot).await.map(|_| ())
    }

    /// Verifies the signature of a token by the keys of this URL.
    pub(super) async fn verify(&self, uri: &Url, jwt: &Jwt<'_>) -> Result<(), Unverified> {
        let keys = self.keys_for(uri, jwt).await?;
        judge(&keys, jwt).map_err(Unverified::Refused)
    }

    /// Verifies the signature by the keys that are at hand, without any request: `None` if the one that is needed is not.
    pub(super) fn verify_offline(&self, uri: &Url, jwt: &Jwt<'_>) -> Option<Result<(), &'static str>> {
        let slot = self.slot(uri);
        let keys = slot.try_lock().ok()?.keys_at(self.clock.now(), STALE)?;
        keys.iter().any(|key| key.fits(jwt)).then(|| judge(&keys, jwt))
    }

    async fn keys_for(&self, uri: &Url, jwt: &Jwt<'_>) -> Result<Arc<[Key]>, ProviderError> {
        let slot = self.slot(uri);
        let mut slot = slot.lock().await;
        let (keys, just_fetched) = self.current(uri, &mut slot).await?;
        let sufficient = if jwt.kid.is_some() { keys.iter().any(|key| key.fits(jwt)) } else { judge(&keys, jwt).is_ok() };
        if sufficient {
            return Ok(keys);
        }
        let now = self.clock.now();
        if slot.forced_at.is_some_and(|at| now < at + FORCED_EVERY) {
            // Had the last look failed, nobody could say that the key does not exist.
            return if slot.forced_failed { Err(unreachable()) } else { Ok(keys) };
        }
        slot.forced_at = Some(now);
        slot.forced_failed = false;
        if just_fetched {
            return Ok(keys);
        }
        let fetched = self.fetch(uri).await;
        slot.forced_failed = fetched.is_err();
        let keys = fetched?;
        slot.keys = Some((keys.clone(), now));
        Ok(keys)
    }

    /// The keys as the cache rules have them, and whether they were fetched right now.
    async fn current(&self, uri: &Url, slot: &mut Slot) -> Result<(Arc<[Key]>, bool), ProviderError> {
        let now = self.clock.now();
        if let Some(keys) = slot.keys_at(now, FRESH) {
            return Ok((keys, false));
        }
        let stale = slot.keys_at(now, STALE);
        if slot.failed_at.is_some_and(|at| now < at + FAILURE) {
            return stale.map(|keys| (keys, false)).ok_or_else(unreachable);
        }
        match self.fetch(uri).await {
            Ok(keys) => {
                slot.keys = Some((keys.clone(), now));
                Ok((keys, true))
            }
            Err(error) => {
                slot.failed_at = Some(now);
                stale.map(|keys| (keys, false)).ok_or(error)
            }
        }
    }

    async fn fetch(&self, uri: &Url) -> Result<Arc<[Key]>, ProviderError> {
        let set = get_object(&self.http, uri, self.clock.now()).await?;
        let Some(Value::Array(keys)) = set.get("keys") else {
            return Err(ProviderError::AnswerInvalid { why: "its key set has no keys" });
        };
        // A key that is not understood is somebody else's (RFC 7517 section 5).
        Ok(keys.iter().filter_map(Value::as_object).filter_map(Key::read).collect())
    }

    fn slot(&self, uri: &Url) -> Arc<Mutex<Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(uri.clone()).or_default().clone()
    }
}

impl Slot {
    fn keys_at(&self, now: OffsetDateTime, age: Duration) -> Option<Arc<[Key]>> {
        self.keys.as_ref().filter(|(_, fetched_at)| now < *fetched_at + age).map(|(keys, _)| keys.clone())
    }
}

fn unreachable() -> ProviderError {
    ProviderError::Unavailable { status: None, retry_after: None, source: None }
}

/// With a `kid` its key must have signed; without one there must be exactly one key that can have (security item 52).
pub(super) fn judge(keys: &[Key], jwt: &Jwt<'_>) -> Result<(), &'static str> {
    let mut fitting = keys.iter().filter(|key| key.fits(jwt));
    match (jwt.kid.is_some(), fitting.next(), fitting.next()) {
        (_, None, _) => Err("no key fits"),
        (false, Some(_), Some(_)) => Err("it names no key, and several fit"),
        _ if keys.iter().any(|key| key.fits(jwt) && key.has_signed(jwt)) => Ok(()),
        _ => Err("it was not made by the key"),
    }
}

impl Key {
    fn fits(&self, jwt: &Jwt<'_>) -> bool {
        let named = jwt.kid.is_none() || self.kid == jwt.kid;
        named && self.public.family() == jwt.alg.family() && self.alg.is_none_or(|alg| alg == jwt.alg)
    }

    fn has_signed(&self, jwt: &Jwt<'_>) -> bool {
        self.proven.or_by(jwt.signed, jwt.signature, || jwt.is_signed_by(&self.public))
    }

    /// A public key for signatures that this service knows (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2).
    pub(super) fn read(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let signs = jwk.get("use").is_none_or(|usage| usage == "sig");
        let verifies = jwk.get("key_ops").is_none_or(|ops| ops.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify")));
        if !signs || !verifies {
            return None;
        }
        let key = match (text("kty")?, text("crv")) {
            ("RSA", _) => DecodingKey::from_rsa_components(text("n")?, text("e")?),
            ("EC", Some("P-256")) => DecodingKey::from_ec_components(text("x")?, text("y")?),
            ("OKP", Some("Ed25519")) => DecodingKey::from_ed_components(text("x")?),
            _ => return None,
        };
        let public = key.ok().filter(|key| key.family() != AlgorithmFamily::Hmac)?;
        // An `alg` that is not known here means a key for other things.
        let alg = jwk.get("alg").map(|alg| alg.as_str().and_then(Alg::parse).ok_or(())).transpose().ok()?;
        Some(Self { kid: text("kid").map(str::to_owned), alg, public, proven: Proven::default() })
    }
}

//! Flows and cursors as text that only this service can make and read (design section 3).
//!
//! 1. A sealed text is `<kid>.<base64url>`, sealed by the first key under a label of its own, and bound to the key id.
//! 2. The PKCE verifier and the nonce of a flow are derived from the flow's id, under the key that sealed its `state`.
//! 3. A completion code remembers that key's id, since it may itself be sealed by a newer one.
//! 4. A key id that this sandbox does not know makes it read the secret again, now and then: another one may be ahead of it.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::cached::Cached;
use super::faults::Faults;
use super::source::SecretSource;
use super::state_keys::{KeyRing, is_kid, parse_state_keys};
use crate::aead::{DoesNotOpen, MasterKey, SALT_BYTES};
use crate::domain::flow::{Completion, Flow, FlowSecrets};
use crate::domain::ids::{FlowId, OrganizationId};
use crate::domain::secret::Secret;
use crate::ports::Unavailable;
use crate::ports::clock::{Entropy, random};
use crate::ports::flows::{CursorSealer, FlowSealer};

/// One kind of sealed text. The label keeps one from passing for another; the limit is checked before anything is decoded.
struct Form {
    label: &'static str,
    limit: usize,
    doing: &'static str,
}

const STATE: Form = Form { label: "mandate/state/v1", limit: 8 * 1024, doing: "seal a state" };
/// A flow and a provider's code, which together fit a callback's line and headers of 10,240 bytes.
const CODE: Form = Form { label: "mandate/code/v1", limit: 12 * 1024, doing: "seal a completion code" };
const CURSOR: Form = Form { label: "mandate/cursor/v1", limit: 4 * 1024, doing: "seal a cursor" };

/// What a completion code holds. A struct of its own, because a [`Secret`] is not serializable.
#[derive(Serialize, Deserialize)]
struct CodePayload<'a, F> {
    state_kid: &'a str,
    flow: F,
    provider_code: &'a str,
    expires_at: i64,
}

/// Seals and opens with the keys of the secret `state-keys`.
pub struct StateKeys {
    keys: Cached<KeyRing>,
    entropy: Arc<dyn Entropy>,
}

impl StateKeys {
    /// The keys in the secret with this id.
    #[must_use]
    pub fn new(source: Arc<SecretSource>, secret_id: String, entropy: Arc<dyn Entropy>) -> Self {
        Self { keys: Cached::new(source, secret_id, "read the state keys", parse_state_keys), entropy }
    }

    /// Reads the secret, so that the first request finds it read.
    pub async fn read(&self) -> Result<(), Unavailable> {
        self.keys.current().await.map(drop)
    }

    /// Keys that never change, from their text.
    pub fn fixed(text: &str, entropy: Arc<dyn Entropy>) -> Result<Self, Faults> {
        parse_state_keys(text).map(|ring| Self { keys: Cached::fixed(ring), entropy })
    }

    fn seal(&self, ring: &KeyRing, form: &Form, bound: Option<&str>, message: &[u8]) -> Result<String, Unavailable> {
        let (kid, key) = ring.sealing();
        let salt = random::<SALT_BYTES>(&*self.entropy)?;
        let sealed = key.seal(salt, form.label, &binding(kid, bound), message).map_err(|error| Unavailable::new(form.doing, error))?;
        let text = format!("{kid}.{}", URL_SAFE_NO_PAD.encode(sealed));
        // What would be refused when it comes back is not given out.
        if text.len() <= form.limit { Ok(text) } else { Err(Unavailable::new(form.doing, "it would be too long")) }
    }

    /// The key id of a sealed text, the keys to which it belongs, and what it says.
    async fn open<'t>(&self, form: &Form, bound: Option<&str>, text: &'t str) -> Result<Option<Opened<'t>>, Unavailable> {
        let Some((kid, sealed)) = unpack(form, text) else { return Ok(None) };
        let Some(ring) = self.ring_with(kid).await? else { return Ok(None) };
        let message = ring.key(kid).and_then(|key| key.open(form.label, &binding(kid, bound), &sealed).ok());
        Ok(message.map(|message| Opened { kid, ring, message }))
    }

    /// The keys, if the one with this id is among them.
    async fn ring_with(&self, kid: &str) -> Result<Option<Arc<KeyRing>>, Unavailable> {
        let ring = self.keys.current().await?;
        let ring = if ring.key(kid).is_some() { Some(ring) } else { self.keys.newer_than(&ring).await };
        Ok(ring.filter(|ring| ring.key(kid).is_some()))
    }
}

struct Opened<'t> {
    kid: &'t str,
    ring: Arc<KeyRing>,
    message: Zeroizing<Vec<u8>>,
}

#[async_trait]
impl FlowSealer for StateKeys {
    async fn seal_state(&self, flow: &Flow) -> Result<(String, FlowSecrets), Unavailable> {
        let ring = self.keys.current().await?;
        let message = encode(&STATE, flow)?;
        let state = self.seal(&ring, &STATE, None, &message)?;
        let (_, key) = ring.sealing();
        let secrets = flow_secrets(key, &flow.id).map_err(|error| Unavailable::new(STATE.doing, error))?;
        Ok((state, secrets))
    }

    async fn open_state(&self, state: &str) -> Result<Option<(Flow, FlowSecrets)>, Unavailable> {
        let Some(Opened { kid, ring, message }) = self.open(&STATE, None, state).await? else { return Ok(None) };
        let flow: Option<Flow> = postcard::from_bytes(&message).ok();
        Ok(flow.and_then(|flow| {
            let secrets = flow_secrets(ring.key(kid)?, &flow.id).ok()?;
            Some((flow, secrets))
        }))
    }

    async fn seal_code(&self, state: &str, completion: &Completion) -> Result<String, Unavailable> {
        let state_kid = unpack(&STATE, state).map(|(kid, _)| kid).ok_or_else(|| Unavailable::new(CODE.doing, DoesNotOpen))?;
        let ring = self.ring_with(state_kid).await?.ok_or_else(|| Unavailable::new(CODE.doing, DoesNotOpen))?;
        let Completion { flow, provider_code, expires_at } = completion;
        let payload = CodePayload { state_kid, flow, provider_code: provider_code.expose(), expires_at: *expires_at };
        self.seal(&ring, &CODE, None, &encode(&CODE, &payload)?)
    }

    async fn open_code(&self, code: &str) -> Result<Option<(Completion, FlowSecrets)>, Unavailable> {
        let Some(Opened { message, .. }) = self.open(&CODE, None, code).await? else { return Ok(None) };
        let Ok(payload) = postcard::from_bytes::<CodePayload<'_, Flow>>(&message) else { return Ok(None) };
        let Some(ring) = self.ring_with(payload.state_kid).await? else { return Ok(None) };
        let secrets = ring.key(payload.state_kid).and_then(|key| flow_secrets(key, &payload.flow.id).ok());
        let CodePayload { flow, provider_code, expires_at, .. } = payload;
        let completion = Completion { flow, provider_code: Secret::new(provider_code.to_owned()), expires_at };
        Ok(secrets.map(|secrets| (completion, secrets)))
    }
}

#[async_trait]
impl CursorSealer for StateKeys {
    async fn seal_cursor(&self, organization: &OrganizationId, position: &str) -> Result<String, Unavailable> {
        let ring = self.keys.current().await?;
        self.seal(&ring, &CURSOR, Some(organization.as_str()), position.as_bytes())
    }

    async fn open_cursor(&self, organization: &OrganizationId, cursor: &str) -> Result<Option<String>, Unavailable> {
        let opened = self.open(&CURSOR, Some(organization.as_str()), cursor).await?;
        Ok(opened.and_then(|opened| String::from_utf8(opened.message.to_vec()).ok()))
    }
}

/// What both requests of a flow need, derived so that it is nowhere stored (RFC 7636 section 7.1: 256 bits).
fn flow_secrets(key: &MasterKey, flow: &FlowId) -> Result<FlowSecrets, DoesNotOpen> {
    let derive = |purpose: &str| {
        let bytes = key.derive::<32>(flow.as_str().as_bytes(), &[purpose.as_bytes()])?;
        Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
    };
    Ok(FlowSecrets { code_verifier: derive("mandate/pkce/v1")?, nonce: derive("mandate/nonce/v1")? })
}

fn encode(form: &Form, message: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, Unavailable> {
    // Large enough not to grow: growing would leave copies behind that are never wiped.
    let buffer = Vec::with_capacity(form.limit);
    postcard::to_extend(message, buffer).map(Zeroizing::new).map_err(|error| Unavailable::new(form.doing, error))
}

/// Takes a sealed text apart. The decoder knows one text for each sequence of bytes: no padding, no stray bits at the end.
fn unpack<'t>(form: &Form, text: &'t str) -> Option<(&'t str, Vec<u8>)> {
    let (kid, sealed) = Some(text).filter(|text| text.len() <= form.limit)?.split_once('.')?;
    let sealed = URL_SAFE_NO_PAD.decode(sealed).ok().filter(|_| is_kid(kid))?;
    Some((kid, sealed))
}

fn binding<'a>(kid: &'a str, bound: Option<&'a str>) -> Vec<&'a [u8]> {
    std::iter::once(kid).chain(bound).map(str::as_bytes).collect()
}

#[cfg(test)]
mod tests;

//! The OAuth clients, and how one proves itself (RFC 6749 section 2.3.1).

use std::fmt;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;

use super::digest;
use super::params::Params;
use super::refusal::Refusal;

/// A registered client.
#[derive(Clone)]
pub struct Client {
    id: String,
    secret_digest: String,
    redirect_uris: Vec<String>,
}

impl Client {
    /// A confidential client and where it may be sent back to; redirect URIs are compared character by character.
    pub fn new(id: impl Into<String>, secret: &str, redirect_uris: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { id: id.into(), secret_digest: digest::of(secret), redirect_uris: redirect_uris.into_iter().map(Into::into).collect() }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn returns_to(&self, redirect_uri: &str) -> bool {
        self.redirect_uris.iter().any(|registered| registered == redirect_uri)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("id", &self.id)
            .field("secret_digest", &"[redacted]")
            .field("redirect_uris", &self.redirect_uris)
            .finish()
    }
}

/// The client that sends this request, by `client_secret_basic` or `client_secret_post`, never by both.
pub(super) fn authenticate<'c>(clients: &'c [Client], headers: &HeaderMap, params: &Params) -> Result<&'c Client, Refusal> {
    let posted = params.get("client_id").zip(params.get("client_secret"));
    let (id, secret) = match headers.get(header::AUTHORIZATION) {
        Some(_) if params.get("client_secret").is_some() => {
            return Err(Refusal::InvalidRequest("the client authenticates in two ways at once"));
        }
        Some(value) => value.to_str().ok().and_then(basic).ok_or(Refusal::InvalidClient)?,
        None => posted.map(|(id, secret)| (id.to_owned(), secret.to_owned())).ok_or(Refusal::InvalidClient)?,
    };
    if params.get("client_id").is_some_and(|named| named != id) {
        return Err(Refusal::InvalidRequest("client_id differs from the client that authenticates"));
    }
    // digests are compared, so that the time taken tells nothing about the secret
    let presented = digest::of(&secret);
    clients.iter().find(|client| client.id == id && client.secret_digest == presented).ok_or(Refusal::InvalidClient)
}

/// Both halves are form-encoded before they are joined, so both are decoded after they are split.
fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((form_decoded(id), form_decoded(secret)))
}

fn form_decoded(text: &str) -> String {
    // a client that forgot to encode may have either character in its secret; here they are never syntax
    let single = text.replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(single.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

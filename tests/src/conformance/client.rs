//! What the provider demands of the client: the proof of who it is, and requests that hold what they must, once, and nothing else.

use std::collections::HashMap;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use super::keys::ClientKey;
use super::provider::{CLIENT_ID, CLIENT_SECRET, Profile};

/// The type of a client assertion (RFC 7523 section 2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How long an assertion may live, in seconds.
const ASSERTION_LIFETIME: i64 = 300;
/// The longest nonce that every provider takes.
const NONCE: usize = 43;

/// The parameters of a request, each of them once.
pub(super) type Parameters = HashMap<String, String>;

/// Reads parameters; one that is repeated or empty is an offence (RFC 6749 section 3.1).
pub(super) fn once(pairs: Vec<(String, String)>) -> Result<Parameters, String> {
    let mut all = Parameters::new();
    for (name, value) in pairs {
        if value.is_empty() {
            return Err(format!("{name} is empty"));
        }
        if all.insert(name.clone(), value).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    Ok(all)
}

/// The proof of the client in a request to an endpoint. An assertion yields its `jti`, which may not be seen again.
pub(super) fn proof(profile: Profile, issuer: &str, now: i64, headers: &HeaderMap, form: &Parameters) -> Result<Option<String>, String> {
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
    match profile {
        Profile::Connect => {
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let expected = format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(CLIENT_ID), encoded(CLIENT_SECRET))));
            demand(authorization == Some(expected.as_str()), "the client does not prove itself by HTTP Basic")?;
            demand(!form.contains_key("client_secret") && !form.contains_key("client_assertion"), "the client proves itself twice")?;
            Ok(None)
        }
        Profile::Fapi2 => {
            demand(authorization.is_none() && !form.contains_key("client_secret"), "the client proves itself by something else, too")?;
            demand(form.get("client_assertion_type").is_some_and(|kind| kind == ASSERTION_TYPE), "the assertion's type is another")?;
            assertion(form.get("client_assertion").map_or("", String::as_str), issuer, now).map(Some)
        }
    }
}

/// A client assertion as FAPI 2.0 wants it: one audience, which is the issuer, as text (section 5.3.3).
fn assertion(token: &str, issuer: &str, now: i64) -> Result<String, String> {
    let (signed, signature) = token.rsplit_once('.').ok_or("the assertion is no JWS")?;
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "the assertion is not base64url".to_owned());
    let parsed = |part: &str| serde_json::from_slice::<Value>(&decoded(part)?).map_err(|_| "the assertion is not JSON".to_owned());
    let (header, claims) = signed.split_once('.').ok_or("the assertion is no JWS")?;
    let (header, claims) = (parsed(header)?, parsed(claims)?);
    demand(header["alg"] == "ES256" && header["kid"] == ClientKey::KID, "the assertion is by another key or algorithm")?;
    demand(ClientKey::get().has_signed(signed, &decoded(signature)?), "the assertion's signature does not hold")?;
    demand(claims["iss"] == CLIENT_ID && claims["sub"] == CLIENT_ID, "the assertion is of another client")?;
    demand(claims["aud"] == json!(issuer), "the assertion's audience is not the issuer and nobody else")?;
    let lives = claims["exp"].as_i64().is_some_and(|exp| (now + 1..=now + ASSERTION_LIFETIME).contains(&exp));
    demand(lives, "the assertion has ended, or lives too long")?;
    claims["jti"].as_str().map(str::to_owned).ok_or("the assertion has no jti".to_owned())
}

/// An authorization request, pushed or in the URL (OpenID Connect Core section 3.1.2.1, RFC 7636 section 4.3).
pub(super) fn authorization_request(request: &Parameters) -> Result<(), String> {
    let is = |name: &str, value: &str| request.get(name).is_some_and(|given| given == value);
    demand(is("response_type", "code") && is("client_id", CLIENT_ID), "response_type or client_id is another")?;
    demand(request.get("scope").is_some_and(|scope| scope.split(' ').any(|s| s == "openid")), "the scope has no openid")?;
    demand(request.contains_key("state") && request.contains_key("redirect_uri"), "state or redirect_uri is missing")?;
    demand(request.get("nonce").is_some_and(|nonce| nonce.len() <= NONCE && is_url_safe(nonce)), "the nonce is not one for everybody")?;
    demand(request.get("code_challenge").is_some_and(|c| c.len() == 43 && is_url_safe(c)), "there is no challenge of S256")?;
    demand(is("code_challenge_method", "S256"), "the challenge is not of S256")?;
    let known = ["response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method"];
    let proof = ["client_assertion", "client_assertion_type"];
    let stranger = request.keys().find(|name| !known.contains(&name.as_str()) && !proof.contains(&name.as_str()));
    stranger.map_or(Ok(()), |name| Err(format!("nobody asked for {name}")))
}

fn is_url_safe(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
}

fn demand(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

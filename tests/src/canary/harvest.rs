//! Where secrets come from: everything that callers, browsers, the service, AWS and providers say to one another is read, and each
//! secret in it is one to look for from then on, whoever made it.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use local::witness::Exchange;
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::{Kind, register};

/// The names that secrets have in forms, queries and JSON of providers and callers.
const NAMES: [(&str, Kind); 13] = [
    ("access_token", Kind::AccessToken),
    ("refresh_token", Kind::RefreshToken),
    ("id_token", Kind::IdToken),
    ("token", Kind::RefreshToken),
    ("code", Kind::Code),
    ("state", Kind::State),
    ("nonce", Kind::Nonce),
    ("code_verifier", Kind::Verifier),
    ("client_secret", Kind::ClientSecret),
    ("client_assertion", Kind::ClientAssertion),
    ("secret", Kind::Key),
    ("key", Kind::Key),
    ("pem", Kind::Key),
];

fn named(name: &str, value: &str) {
    if let Some((_, kind)) = NAMES.iter().find(|(known, _)| *known == name) {
        register(*kind, value);
    }
}

/// The secrets of a query or a form.
fn form(text: &str) {
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        named(&name, &value);
    }
}

/// The secrets of JSON, at any depth.
fn json(value: &Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if let Some(text) = member.as_str() {
                    named(name, text);
                }
                json(member);
            }
        }
        Value::Array(items) => items.iter().for_each(json),
        _ => {}
    }
}

/// The tokens in JSON, at any depth.
fn tokens(value: &Value) {
    for (name, member) in value.as_object().into_iter().flatten() {
        match member.as_str().filter(|_| name.ends_with("token")) {
            Some(token) => named(name, token),
            None => tokens(member),
        }
    }
}

/// The secrets of a body, whatever it is.
fn body(bytes: &[u8]) {
    match serde_json::from_slice(bytes) {
        Ok(value) => json(&value),
        Err(_) => form(&String::from_utf8_lossy(bytes)),
    }
}

/// The secrets of a URL's query.
fn url(text: &str) {
    if let Ok(url) = Url::parse(text) {
        form(url.query().unwrap_or_default());
    }
}

/// What an `Authorization` header proves something with.
fn authorization(value: &str, bearer: Kind) {
    if let Some(token) = value.strip_prefix("Bearer ") {
        register(bearer, token);
    }
    let Some(credentials) = value.strip_prefix("Basic ") else { return };
    register(Kind::ClientSecret, credentials);
    let decoded = STANDARD.decode(credentials).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    // RFC 6749 section 2.3.1: each part is form-encoded.
    let secret = decoded.split_once(':').map_or("", |(_, secret)| secret);
    form(&format!("client_secret={secret}"));
}

fn cookies(value: &str) {
    for (_, value) in value.split(';').filter_map(|cookie| cookie.split_once('=')) {
        register(Kind::Cookie, value.trim());
    }
}

/// The secrets between the service, or a browser, and a provider.
pub(super) fn exchange(exchange: &Exchange<'_>) {
    let text = |headers: &HeaderMap, name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    authorization(&text(exchange.asked, header::AUTHORIZATION), Kind::AccessToken);
    cookies(&text(exchange.asked, header::COOKIE));
    form(exchange.uri.query().unwrap_or_default());
    body(exchange.question);
    url(&text(exchange.answered, header::LOCATION));
    // An answer of a provider may be an error, whose `code` is none.
    if let Ok(answer) = serde_json::from_slice(exchange.answer) {
        tokens(&answer);
    } else {
        form(&String::from_utf8_lossy(exchange.answer));
    }
}

/// The secrets that a caller sends: the bearer token, the application's own state, the verifier. Codes, states and completion codes are
/// noted where they are made; what arrives under their names may be anything that an attacker has thought of.
pub(super) fn event(function: &str, event: &Value) {
    for (name, value) in event["headers"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if name.eq_ignore_ascii_case("authorization") && value.starts_with("Bearer eyJ") {
            authorization(value, Kind::BearerToken);
        }
    }
    let text = event["body"].as_str().unwrap_or_default();
    let text = if event["isBase64Encoded"] == true { STANDARD.decode(text).unwrap_or_default() } else { text.as_bytes().to_vec() };
    let said = serde_json::from_slice::<Value>(&text).unwrap_or(Value::Null);
    for (of, name, kind) in [("create-url", "state", Kind::ApplicationState), ("callback", "code_verifier", Kind::Verifier)] {
        if let Some(value) = said[name].as_str().filter(|value| function == of && is_opaque(value)) {
            register(kind, value);
        }
    }
}

/// Whether a text is one that means nothing to anybody else, rather than a piece of a URL that is to be smuggled in.
fn is_opaque(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

/// The secrets of an answer.
pub(super) fn answer(location: &str, said: &Value) {
    if let Some(to) = said["url"].as_str().filter(|to| !to.contains("error=")) {
        url(to);
    }
    if let Some(token) = said["access_token"].as_str() {
        register(Kind::AccessToken, token);
    }
    for (name, value) in Url::parse(location).iter().flat_map(Url::query_pairs) {
        match &*name {
            "code" => register(Kind::CompletionCode, &value),
            "state" if is_opaque(&value) => register(Kind::ApplicationState, &value),
            _ => {}
        }
    }
}

/// The secrets that KMS makes: branch keys in the clear.
pub(super) fn plaintext(answer: &Value) {
    if let Some(key) = answer["Plaintext"].as_str().and_then(|text| STANDARD.decode(text).ok()) {
        super::register_bytes(Kind::Key, &key);
    }
}

/// The secrets of what is put into Secrets Manager when the stage is set.
pub(crate) fn configuration(text: &str, kind: Kind) {
    fn strings(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
            Value::Object(members) => members.iter().filter(|(name, _)| *name != "kid").for_each(|(_, member)| strings(member, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    strings(&serde_json::from_str(text).unwrap_or(Value::Null), &mut found);
    for text in found {
        if text.contains("-----BEGIN PUBLIC KEY") {
            continue;
        }
        register(kind, &text);
        for decoded in [URL_SAFE_NO_PAD.decode(&text), STANDARD_NO_PAD.decode(&text)].into_iter().flatten() {
            super::register_bytes(kind, &decoded);
        }
    }
}

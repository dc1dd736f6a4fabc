//! The scripted provider as a browser meets it: an authorization endpoint where somebody is signed in or not, and what it makes of
//! the request. By default it is as careful as RFC 9700 wants it; an attacker's provider sends browsers elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::sync::Notify;
use url::{Url, form_urlencoded};

use super::{CLIENT_ID, Inner, Person, Provider};
use crate::canary::{self, Kind};
use crate::script::{lock, verifies};

/// The cookie that says who is signed in.
pub const SESSION: &str = "session";

/// No two codes are alike.
static CODES: AtomicU64 = AtomicU64::new(0);

/// What it makes of PKCE (RFC 7636).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pkce {
    /// A code without an S256 challenge is not given, and not redeemed.
    #[default]
    Required,
    /// What is given is checked, `plain` included; a verifier without a challenge is refused (RFC 9700 section 2.1.1).
    Optional,
    /// It has never heard of it.
    Unknown,
}

impl Pkce {
    /// Whether the verifier redeems the code.
    pub(super) fn holds(self, code: &Value, verifier: &str) -> bool {
        let challenge = code["challenge"].as_str().unwrap_or_default();
        let method = code["method"].as_str().unwrap_or_default();
        match (self, method) {
            (Self::Unknown, _) => true,
            (Self::Required | Self::Optional, "S256") => verifies(verifier, challenge),
            (Self::Optional, "plain" | "") if !challenge.is_empty() => challenge == verifier,
            (Self::Optional, _) => challenge.is_empty() && verifier.is_empty(),
            (Self::Required, _) => false,
        }
    }
}

/// Where a provider sends a browser instead of asking anybody anything.
pub type Onward = Arc<dyn Fn(&Url) -> String + Send + Sync>;

/// How it treats browsers.
#[derive(Clone, Default)]
pub struct Front {
    /// What it makes of PKCE.
    pub pkce: Pkce,
    /// The redirect URIs that the client has registered, compared to the letter; any if absent.
    pub registered: Option<Vec<String>>,
    /// The `iss` that it sends back (RFC 9207), whether or not its metadata says so.
    pub iss: Option<String>,
    /// Replaces members of its metadata.
    pub metadata: Value,
    /// An attacker's own design.
    pub onward: Option<Onward>,
    /// Paths where it answers 503.
    pub down: Vec<&'static str>,
}

/// Holds the next token request, once it has arrived, until it is let go.
#[derive(Default)]
pub struct Hold {
    arrived: Notify,
    let_go: Notify,
}

impl Hold {
    pub(super) async fn pass(&self) {
        self.arrived.notify_one();
        self.let_go.notified().await;
    }

    /// Waits until a token request is held.
    pub async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Lets it go on.
    pub fn let_go(&self) {
        self.let_go.notify_one();
    }
}

impl Provider {
    /// Changes how it treats browsers.
    pub fn front(&self, change: impl FnOnce(&mut Front)) {
        change(&mut lock(&self.inner.front));
    }

    /// Holds the next token request.
    #[must_use]
    pub fn hold(&self) -> Arc<Hold> {
        let hold = Arc::new(Hold::default());
        *lock(&self.inner.hold) = Some(Arc::clone(&hold));
        hold
    }

    /// The cookie of somebody who is signed in here.
    #[must_use]
    pub fn session(person: &Person) -> String {
        URL_SAFE_NO_PAD.encode(claims(person).to_string())
    }
}

/// A code for what was asked, and for whom; for the person of the script if nobody is named.
pub(super) fn code(asked: &dyn Fn(&str) -> String, person: Option<Value>) -> String {
    let number = CODES.fetch_add(1, Ordering::Relaxed);
    let mut code = json!({ "number": number, "scope": asked("scope"), "redirect_uri": asked("redirect_uri") });
    for (member, name) in [("nonce", "nonce"), ("challenge", "code_challenge"), ("method", "code_challenge_method")] {
        if !asked(name).is_empty() {
            code[member] = json!(asked(name));
        }
    }
    if let Some(person) = person {
        code["person"] = person;
    }
    let code = URL_SAFE_NO_PAD.encode(code.to_string());
    canary::register(Kind::Code, &code);
    code
}

/// Whom a code is for.
pub(super) fn person_in(code: &Value) -> Option<Person> {
    let person = code.get("person")?;
    let text = |name: &str| person[name].as_str().map(str::to_owned);
    Some(Person {
        subject: text("subject")?,
        email: text("email"),
        email_verified: person["email_verified"] == json!(true),
        organization: text("organization"),
    })
}

fn claims(person: &Person) -> Value {
    json!({
        "subject": person.subject, "email": person.email, "email_verified": person.email_verified,
        "organization": person.organization,
    })
}

/// Before every other answer: what is down.
pub(super) async fn reached(State(inner): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    if lock(&inner.front).down.contains(&request.uri().path()) {
        return (StatusCode::SERVICE_UNAVAILABLE, "down for maintenance").into_response();
    }
    next.run(request).await
}

/// `GET /authorize`: whoever is signed in allows at once.
pub(super) async fn authorize(State(inner): State<Arc<Inner>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let query = query.unwrap_or_default();
    let asked =
        |name: &str| form_urlencoded::parse(query.as_bytes()).find(|(n, _)| n == name).map(|(_, v)| v.into_owned()).unwrap_or_default();
    let front = lock(&inner.front).clone();
    if let Some(onward) = &front.onward {
        let here = Url::parse(&format!("{}/authorize?{query}", inner.issuer)).unwrap();
        return see_other(&onward(&here));
    }
    let redirect_uri = asked("redirect_uri");
    let registered = front.registered.as_ref().is_none_or(|registered| registered.contains(&redirect_uri));
    let Some(mut back) = Url::parse(&redirect_uri).ok().filter(|_| registered && asked("client_id") == CLIENT_ID) else {
        return (StatusCode::BAD_REQUEST, "this application may not be returned to there").into_response();
    };
    let person = headers.get(header::COOKIE).and_then(|v| v.to_str().ok()).and_then(signed_in);
    let answer = match person {
        _ if asked("response_type") != "code" => ("error", "unsupported_response_type".to_owned()),
        _ if front.pkce == Pkce::Required && asked("code_challenge_method") != "S256" => ("error", "invalid_request".to_owned()),
        None => ("error", "login_required".to_owned()),
        Some(person) => ("code", code(&asked, Some(person))),
    };
    back.query_pairs_mut().append_pair(answer.0, &answer.1).append_pair("state", &asked("state"));
    if let Some(iss) = &front.iss {
        back.query_pairs_mut().append_pair("iss", iss);
    }
    see_other(back.as_str())
}

/// Who is signed in, by the cookies of the request.
fn signed_in(cookies: &str) -> Option<Value> {
    let session = cookies.split("; ").find_map(|cookie| cookie.strip_prefix(SESSION)?.strip_prefix('='))?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(session).ok()?).ok()
}

fn see_other(to: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, to.to_owned())]).into_response()
}

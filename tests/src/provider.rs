//! An OpenID provider that follows a script: it rotates refresh tokens as a strict one does, counts what it is asked, and fails as it
//! is told to. There is no page: [`Provider::come_back`] plays the person and the browser, or a [`Browser`](crate::Browser) in which
//! somebody is signed in opens its authorization endpoint ([`front`]).

pub mod front;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use local::witness::witnessed;
use serde_json::{Value, json};
use shared::ports::clock::Clock as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use self::front::{Front, Hold};
use crate::canary;
use crate::clock::ManualClock;
use crate::script::lock;
use crate::tokens;

/// The client that every connection to this provider uses.
pub const CLIENT_ID: &str = "scripted-client";
/// Its secret.
pub const CLIENT_SECRET: &str = "scripted-client-secret";

/// How the provider feels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// It answers as it should.
    #[default]
    Well,
    /// Its token and revocation endpoints answer 503.
    Down,
    /// Its token endpoint answers 400 with this error, and nothing changes.
    Refusing(&'static str),
    /// Its token endpoint does what it is asked, and answers garbage.
    Garbled,
    /// Its token endpoint answers 429 and asks for so many seconds of peace.
    Overloaded(u32),
    /// Something in front of its token endpoint answers with a page; nothing changes.
    Page,
    /// Something in front of its token endpoint breaks the answer off; nothing changes.
    BrokenOff,
    /// Its token endpoint never answers; nothing changes.
    Silent,
    /// Its token endpoint does what it is asked, and the answer is lost on the way.
    Lost,
    /// The same, and a gateway says 504 instead.
    LostBehindGateway,
}

/// Who signs in, and what is said about them.
#[derive(Debug, Clone)]
pub struct Person {
    /// `sub`
    pub subject: String,
    /// `email`
    pub email: Option<String>,
    /// `email_verified`
    pub email_verified: bool,
    /// `org_id`
    pub organization: Option<String>,
}

/// What it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Token requests with a code.
    pub exchanges: u64,
    /// Token requests with a refresh token.
    pub refreshes: u64,
    /// Revocation requests.
    pub revocations: u64,
    /// Userinfo requests.
    pub userinfo: u64,
    /// The most token requests that were under way at once.
    pub most_at_once: u64,
    /// Requests for its keys.
    pub keys: u64,
}

/// What it does next.
#[derive(Debug, Clone)]
pub struct Script {
    /// How it feels.
    pub mood: Mood,
    /// The same for the next token request alone.
    pub next_mood: Option<Mood>,
    /// Who signs in next.
    pub person: Person,
    /// Whether it gives refresh tokens.
    pub refresh_tokens: bool,
    /// `expires_in`; absent if none.
    pub expires_in: Option<Value>,
    /// The granted scopes, if they differ from those asked for.
    pub scope: Option<String>,
    /// Replaces claims of the `id_token`.
    pub id_token: Value,
    /// Of whom userinfo speaks, whoever the token belongs to.
    pub userinfo: Option<Person>,
    /// How many of the next revocation requests meet a 503.
    pub revocations_down: u32,
    /// The client secrets that it takes at present; any if absent.
    pub client_secrets: Option<Vec<String>>,
}

struct Inner {
    issuer: String,
    clock: Arc<ManualClock>,
    script: Mutex<Script>,
    seen: Mutex<Seen>,
    live: Mutex<BTreeSet<String>>,
    issued: Mutex<Vec<String>>,
    under_way: AtomicU64,
    front: Mutex<Front>,
    hold: Mutex<Option<Arc<Hold>>>,
    asked: Mutex<Vec<Vec<(String, String)>>>,
    spent: Mutex<BTreeSet<String>>,
    revoked: Mutex<Vec<String>>,
    holders: Mutex<BTreeMap<String, Person>>,
}

/// The provider.
pub struct Provider {
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

impl Provider {
    /// Starts on a free port.
    pub async fn start() -> Self {
        Self::start_at(Arc::new(ManualClock::new())).await
    }

    /// Another one under the same clock.
    pub async fn beside(other: &Self) -> Self {
        Self::start_at(other.clock()).await
    }

    async fn start_at(clock: Arc<ManualClock>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let person = Person {
            subject: "scripted-olivia".to_owned(),
            email: Some("ops@example.com".to_owned()),
            email_verified: true,
            organization: Some("org_demo".to_owned()),
        };
        let script = Script {
            mood: Mood::Well,
            next_mood: None,
            person,
            refresh_tokens: true,
            expires_in: Some(json!(3600)),
            scope: None,
            id_token: json!({}),
            userinfo: None,
            revocations_down: 0,
            client_secrets: None,
        };
        let inner = Arc::new(Inner {
            clock,
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            script: Mutex::new(script),
            seen: Mutex::default(),
            live: Mutex::default(),
            issued: Mutex::default(),
            under_way: AtomicU64::new(0),
            front: Mutex::default(),
            hold: Mutex::default(),
            asked: Mutex::default(),
            spent: Mutex::default(),
            revoked: Mutex::default(),
            holders: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks.json", get(keys))
            .route("/authorize", get(front::authorize))
            .route("/token", post(token))
            .route("/revoke", post(revoke))
            .route("/token-of-github", delete(delete_token))
            .route("/userinfo", get(userinfo))
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&inner), front::reached))
            .with_state(Arc::clone(&inner));
        let router = witnessed(router, canary::at_providers());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { inner, task }
    }

    /// Its issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.inner.issuer
    }

    /// Its clock, which a world around it shares.
    #[must_use]
    pub fn clock(&self) -> Arc<ManualClock> {
        Arc::clone(&self.inner.clock)
    }

    /// A connection to it.
    #[must_use]
    pub fn connection(&self, id: &str) -> Value {
        json!({
            "id": id, "provider": "scripted", "organization_id": null, "linked": true, "kind": "oidc", "issuer": self.issuer(),
            "client_id": CLIENT_ID, "token_endpoint_auth_method": "client_secret_basic",
            "scopes": ["openid", "email", "offline_access"], "allowed_scopes": ["openid", "email", "offline_access", "sites:read"],
            "default_access_lifetime": 3600,
        })
    }

    /// A connection to it that speaks GitHub's dialect.
    #[must_use]
    pub fn github_connection(&self, id: &str) -> Value {
        let issuer = self.issuer();
        json!({
            "id": id, "provider": "github", "organization_id": null, "linked": true, "kind": "oauth2", "dialect": "github",
            "authorization_endpoint": format!("{issuer}/authorize"), "token_endpoint": format!("{issuer}/token"),
            "userinfo_endpoint": format!("{issuer}/userinfo"), "revocation_endpoint": format!("{issuer}/token-of-github"),
            "client_id": CLIENT_ID, "token_endpoint_auth_method": "client_secret_basic", "scopes": ["repo"], "allowed_scopes": ["repo"],
        })
    }

    /// Changes what it does.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut lock(&self.inner.script));
    }

    /// Changes how it feels.
    pub fn feels(&self, mood: Mood) {
        self.script(|script| script.mood = mood);
    }

    /// Changes how it feels about the next token request.
    pub fn feels_once(&self, mood: Mood) {
        self.script(|script| script.next_mood = Some(mood));
    }

    /// What it was asked so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        *lock(&self.inner.seen)
    }

    /// Every token it has issued so far.
    #[must_use]
    pub fn issued(&self) -> Vec<String> {
        lock(&self.inner.issued).clone()
    }

    /// Every token that it was asked to revoke so far, in order.
    #[must_use]
    pub fn revoked(&self) -> Vec<String> {
        lock(&self.inner.revoked).clone()
    }

    /// The forms of all token requests so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Vec<(String, String)>> {
        lock(&self.inner.asked).clone()
    }

    /// Ends every grant, as a person does at the provider's own pages.
    pub fn end_grants(&self) {
        lock(&self.inner.live).clear();
    }

    /// The person of the script signs in at this URL and allows: where the browser goes next.
    #[must_use]
    pub fn come_back(&self, authorization_url: &str) -> String {
        let url = Url::parse(authorization_url).unwrap();
        let asked = |name: &str| url.query_pairs().find(|(n, _)| n == name).map(|(_, v)| v.into_owned()).unwrap_or_default();
        let mut back = Url::parse(&asked("redirect_uri")).unwrap();
        back.query_pairs_mut().append_pair("code", &front::code(&asked, None)).append_pair("state", &asked("state"));
        back.into()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn metadata(State(inner): State<Arc<Inner>>) -> Json<Value> {
    let issuer = &inner.issuer;
    let mut document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "jwks_uri": format!("{issuer}/jwks.json"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "code_challenge_methods_supported": ["S256"],
    });
    for (name, value) in lock(&inner.front).metadata.as_object().into_iter().flatten() {
        document[name] = value.clone();
    }
    Json(document)
}

async fn keys(State(inner): State<Arc<Inner>>) -> Json<Value> {
    lock(&inner.seen).keys += 1;
    Json(serde_json::to_value(tokens::public_keys()).unwrap())
}

async fn token(State(inner): State<Arc<Inner>>, headers: HeaderMap, Form(form): Form<Vec<(String, String)>>) -> Response {
    let field = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).unwrap_or_default();
    lock(&inner.asked).push(form.clone());
    let held = lock(&inner.hold).take();
    if let Some(hold) = held {
        hold.pass().await;
    }
    let script = {
        let mut script = lock(&inner.script);
        let mood = script.next_mood.take().unwrap_or(script.mood);
        Script { mood, ..script.clone() }
    };
    let refreshing = field("grant_type") == "refresh_token";
    {
        let mut seen = lock(&inner.seen);
        *(if refreshing { &mut seen.refreshes } else { &mut seen.exchanges }) += 1;
    }
    match script.mood {
        Mood::Down => return (StatusCode::SERVICE_UNAVAILABLE, "down for maintenance").into_response(),
        Mood::Refusing(error) => return refusal(error),
        Mood::Overloaded(seconds) => return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds.to_string())]).into_response(),
        Mood::Page => return (StatusCode::OK, "<!doctype html><title>Back soon</title>").into_response(),
        Mood::BrokenOff => return broken_off(),
        Mood::Silent => std::future::pending().await,
        Mood::Well | Mood::Garbled | Mood::Lost | Mood::LostBehindGateway => {}
    }
    let basic = headers.get("authorization").and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Basic "));
    let is_ours = |secret: &String| basic == Some(STANDARD.encode(format!("{CLIENT_ID}:{secret}")).as_str());
    if basic.is_none() || script.client_secrets.as_ref().is_some_and(|secrets| !secrets.iter().any(is_ours)) {
        return refusal("invalid_client");
    }
    let code = if refreshing {
        // A used one is not live any more: each works once.
        if !lock(&inner.live).remove(field("refresh_token")) {
            return refusal("invalid_grant");
        }
        json!({})
    } else {
        // Each code works once, too.
        let unspent = lock(&inner.spent).insert(field("code").to_owned());
        let code = URL_SAFE_NO_PAD.decode(field("code")).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let pkce = lock(&inner.front).pkce;
        match code {
            Some(code) if unspent && code["redirect_uri"] == field("redirect_uri") && pkce.holds(&code, field("code_verifier")) => code,
            _ => return refusal("invalid_grant"),
        }
    };
    inner.take_a_while().await;
    let answer = inner.answer(&script, &code);
    match script.mood {
        Mood::Garbled => (StatusCode::OK, "<html>").into_response(),
        Mood::Lost => broken_off(),
        Mood::LostBehindGateway => (StatusCode::GATEWAY_TIMEOUT, "<html>").into_response(),
        _ => Json(answer).into_response(),
    }
}

fn broken_off() -> Response {
    let cut = futures_util::stream::iter([Ok("{\"access_token\":"), Err(std::io::Error::other("cut"))]);
    Response::new(axum::body::Body::from_stream(cut))
}

impl Inner {
    /// Lets others in meanwhile, so that [`Seen::most_at_once`] means something.
    async fn take_a_while(&self) {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        {
            let mut seen = lock(&self.seen);
            seen.most_at_once = seen.most_at_once.max(now);
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.under_way.fetch_sub(1, Ordering::SeqCst);
    }

    fn issue(&self, kind: &str) -> String {
        let mut issued = lock(&self.issued);
        let token = format!("scripted-{kind}-{}-of-many-and-long-enough-to-be-found", issued.len());
        issued.push(token.clone());
        token
    }

    fn answer(&self, script: &Script, code: &Value) -> Value {
        let person = front::person_in(code).unwrap_or_else(|| script.person.clone());
        let mut answer = json!({ "access_token": self.issue("at"), "token_type": "Bearer" });
        lock(&self.holders).insert(answer["access_token"].as_str().unwrap().to_owned(), person.clone());
        if let Some(expires_in) = &script.expires_in {
            answer["expires_in"] = expires_in.clone();
        }
        if let Some(scope) = script.scope.as_deref().or(code["scope"].as_str()) {
            answer["scope"] = json!(scope);
        }
        if script.refresh_tokens {
            let token = self.issue("rt");
            lock(&self.live).insert(token.clone());
            answer["refresh_token"] = json!(token);
        }
        if let Some(nonce) = code["nonce"].as_str() {
            answer["id_token"] = json!(self.id_token(script, &person, nonce));
        }
        answer
    }

    fn id_token(&self, script: &Script, person: &Person, nonce: &str) -> String {
        let now = self.clock.now().unix_timestamp();
        let mut claims = about(person);
        for (name, value) in [
            ("iss", json!(self.issuer)),
            ("aud", json!(CLIENT_ID)),
            ("iat", json!(now)),
            ("exp", json!(now + 600)),
            ("nonce", json!(nonce)),
        ] {
            claims[name] = value;
        }
        for (name, value) in script.id_token.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        tokens::es256(&json!({ "alg": "ES256", "typ": "JWT", "kid": tokens::KEY_ID }), &claims)
    }
}

fn about(person: &Person) -> Value {
    let mut claims = json!({ "sub": person.subject });
    if let Some(email) = &person.email {
        claims["email"] = json!(email);
        claims["email_verified"] = json!(person.email_verified);
    }
    if let Some(organization) = &person.organization {
        claims["org_id"] = json!(organization);
    }
    claims
}

fn refusal(error: &str) -> Response {
    let body = Json(json!({ "error": error, "error_description": "<b>the provider's own words</b>" }));
    (StatusCode::BAD_REQUEST, body).into_response()
}

async fn revoke(State(inner): State<Arc<Inner>>, Form(form): Form<Vec<(String, String)>>) -> StatusCode {
    lock(&inner.seen).revocations += 1;
    let mut script = lock(&inner.script);
    let missed = script.revocations_down > 0;
    script.revocations_down = script.revocations_down.saturating_sub(1);
    if missed || script.mood == Mood::Down {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    drop(script);
    for (name, value) in &form {
        if name == "token" {
            lock(&inner.live).remove(value);
            lock(&inner.revoked).push(value.clone());
        }
    }
    StatusCode::OK
}

/// As GitHub revokes: by the access token, in a JSON body.
async fn delete_token(State(inner): State<Arc<Inner>>, Json(body): Json<Value>) -> StatusCode {
    lock(&inner.seen).revocations += 1;
    match lock(&inner.script).mood {
        Mood::Down => StatusCode::SERVICE_UNAVAILABLE,
        _ if lock(&inner.issued).iter().any(|token| body["access_token"] == token.as_str()) => StatusCode::NO_CONTENT,
        _ => StatusCode::NOT_FOUND,
    }
}

async fn userinfo(State(inner): State<Arc<Inner>>, headers: HeaderMap) -> Json<Value> {
    lock(&inner.seen).userinfo += 1;
    let token = headers.get("authorization").and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
    let holder = lock(&inner.script).userinfo.clone().or_else(|| lock(&inner.holders).get(token).cloned());
    Json(about(&holder.unwrap_or_else(|| lock(&inner.script).person.clone())))
}

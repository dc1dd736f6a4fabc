//! WorkOS User Management as its documentation, its API description and the answers recorded by its SDKs have it: codes bound to PKCE,
//! access tokens that name their session, refresh tokens that rotate and may be replayed for thirty seconds, sessions that end. It
//! fails as it is told to, once for each time. There is no page: [`WorkOs::come_back`] plays the person and the browser.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::stream;
use local::witness::witnessed;
use serde_json::{Value, json};
use shared::ports::clock::Clock as _;
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use crate::canary::{self, Kind};
use crate::clock::ManualClock;
use crate::script::{lock, s256};
use crate::tokens;

/// The client id of the one environment that there is; every connection to it uses it.
pub const CLIENT_ID: &str = "client_01SCRIPTED";
/// Its API key, which is the client secret, too.
pub const API_KEY: &str = "sk_test_scripted";
/// What it says in every error, to be found where it has no business.
pub const OWN_WORDS: &str = "<b>the provider's own words</b>";

/// For how long a refresh token that was just exchanged gives the same pair again (WorkOS documentation, Session resilience).
const REPLAY: Duration = Duration::seconds(30);
/// For how long a code lives.
const CODE_LIFETIME: Duration = Duration::minutes(10);
const SELECTORS: [&str; 3] = ["provider", "connection_id", "organization_id"];

/// What goes wrong with one request.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// It answers with this status and body, and does nothing.
    Says(u16, Value),
    /// Too many requests: it asks to wait so many seconds.
    Throttles(u32),
    /// Something in front of it answers with a page.
    Page(u16),
    /// It does what it is asked, and its answer breaks off in the middle.
    BreaksOff,
    /// It does what it is asked, and hangs up before the answer is complete.
    HangsUp,
}

impl Trouble {
    /// An error in the words of OAuth.
    #[must_use]
    pub fn error(status: u16, error: &str) -> Self {
        Self::Says(status, json!({ "error": error, "error_description": OWN_WORDS }))
    }

    /// An error in the words of WorkOS.
    #[must_use]
    pub fn code(status: u16, code: &str) -> Self {
        Self::Says(status, json!({ "code": code, "message": OWN_WORDS, "pending_authentication_token": "pending-and-secret" }))
    }

    /// An error without a word for it.
    #[must_use]
    pub fn message(status: u16) -> Self {
        Self::Says(status, json!({ "message": OWN_WORDS }))
    }
}

/// Somebody at WorkOS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// `user_…`
    pub id: String,
    /// Their address.
    pub email: String,
    /// Whether it is theirs.
    pub email_verified: bool,
}

impl User {
    /// Somebody with a verified address.
    #[must_use]
    pub fn verified(id: &str, email: &str) -> Self {
        Self { id: id.to_owned(), email: email.to_owned(), email_verified: true }
    }
}

/// What it does next.
#[derive(Debug, Clone)]
pub struct Script {
    /// Who signs in.
    pub user: User,
    /// In which organization.
    pub organization: Option<String>,
    /// How long access tokens live, in seconds.
    pub access_lifetime: i64,
    /// Access tokens are no JWTs, and so name no session.
    pub opaque_access_tokens: bool,
    /// A refresh takes the session for this user's.
    pub refreshes_for: Option<User>,
    /// A refresh moves the session into this organization.
    pub refreshes_into: Option<String>,
}

struct Code {
    challenge: String,
    issued_at: OffsetDateTime,
}

struct Session {
    id: String,
    user: User,
    organization: Option<String>,
    refresh_token: String,
    /// The token before, when it was exchanged, and what for.
    exchanged: Option<(String, OffsetDateTime, Value)>,
    ended: bool,
}

#[derive(Default)]
struct Books {
    codes: BTreeMap<String, Code>,
    sessions: Vec<Session>,
    issued: u64,
    authenticate_troubles: VecDeque<Trouble>,
    revocation_troubles: VecDeque<Trouble>,
    authenticated: Vec<Value>,
    revoked: Vec<String>,
}

struct Inner {
    base: String,
    clock: Arc<ManualClock>,
    script: Mutex<Script>,
    books: Mutex<Books>,
}

/// WorkOS.
pub struct WorkOs {
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

impl WorkOs {
    /// Starts on a free port. Olivia's address is known there, in her organization.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let script = Script {
            user: User::verified("user_01OLIVIA", "ops@example.com"),
            organization: Some("org_demo".to_owned()),
            access_lifetime: 300,
            opaque_access_tokens: false,
            refreshes_for: None,
            refreshes_into: None,
        };
        let inner = Arc::new(Inner {
            base: format!("http://{}", listener.local_addr().unwrap()),
            clock: Arc::new(ManualClock::new()),
            script: Mutex::new(script),
            books: Mutex::default(),
        });
        let router = Router::new()
            .route("/user_management/authenticate", post(authenticate))
            .route("/user_management/sessions/revoke", post(revoke))
            .with_state(Arc::clone(&inner));
        let router = witnessed(router, canary::at_providers());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { inner, task }
    }

    /// Its clock, which a world around it shares.
    #[must_use]
    pub fn clock(&self) -> Arc<ManualClock> {
        Arc::clone(&self.inner.clock)
    }

    /// Where it is; the issuer of its users.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.inner.base
    }

    /// A connection to it, of everybody's or of one organization.
    #[must_use]
    pub fn connection(&self, id: &str, provider: &str, owner: Option<&str>, selector: &Value) -> Value {
        json!({
            "id": id, "provider": provider, "organization_id": owner, "linked": true, "kind": "workos", "base_url": self.base(),
            "selector": selector, "client_id": CLIENT_ID, "token_endpoint_auth_method": "client_secret_post",
            "scopes": [], "allowed_scopes": ["read", "write"], "rotation_grace": REPLAY.whole_seconds(),
        })
    }

    /// Changes what it does.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut lock(&self.inner.script));
    }

    /// What goes wrong with the next request to `authenticate` that nothing goes wrong with yet.
    pub fn trouble(&self, trouble: Trouble) {
        lock(&self.inner.books).authenticate_troubles.push_back(trouble);
    }

    /// The same of `sessions/revoke`.
    pub fn revocation_trouble(&self, trouble: Trouble) {
        lock(&self.inner.books).revocation_troubles.push_back(trouble);
    }

    /// The bodies of every request to `authenticate` so far.
    #[must_use]
    pub fn authenticated(&self) -> Vec<Value> {
        lock(&self.inner.books).authenticated.clone()
    }

    /// How many of them were made with a code.
    #[must_use]
    pub fn exchanges(&self) -> usize {
        self.authenticated().iter().filter(|body| body["grant_type"] == "authorization_code").count()
    }

    /// How many of them were made with a refresh token.
    #[must_use]
    pub fn refreshes(&self) -> usize {
        self.authenticated().iter().filter(|body| body["grant_type"] == "refresh_token").count()
    }

    /// Which sessions it was asked to revoke so far.
    #[must_use]
    pub fn revoked(&self) -> Vec<String> {
        lock(&self.inner.books).revoked.clone()
    }

    /// Which sessions have not ended.
    #[must_use]
    pub fn live_sessions(&self) -> Vec<String> {
        lock(&self.inner.books).sessions.iter().filter(|session| !session.ended).map(|session| session.id.clone()).collect()
    }

    /// Ends every session, as an administrator does in the dashboard.
    pub fn end_sessions(&self) {
        lock(&self.inner.books).sessions.iter_mut().for_each(|session| session.ended = true);
    }

    /// The user of the script signs in at this URL: where the browser goes next. A URL that WorkOS would not serve stops the test.
    #[must_use]
    pub fn come_back(&self, authorization_url: &str) -> String {
        let asked = self.read(authorization_url);
        let code = {
            let mut books = lock(&self.inner.books);
            let code = books.name("code");
            canary::register(Kind::Code, &code);
            let challenge = asked["code_challenge"].clone();
            books.codes.insert(code.clone(), Code { challenge, issued_at: self.inner.clock.now() });
            code
        };
        let mut back = Url::parse(&asked["redirect_uri"]).unwrap();
        back.query_pairs_mut().append_pair("code", &code).append_pair("state", &asked["state"]);
        back.into()
    }

    /// It sends the browser back with an error instead.
    #[must_use]
    pub fn turn_away(&self, authorization_url: &str, error: &str) -> String {
        let asked = self.read(authorization_url);
        let mut back = Url::parse(&asked["redirect_uri"]).unwrap();
        back.query_pairs_mut()
            .append_pair("error", error)
            .append_pair("error_description", OWN_WORDS)
            .append_pair("state", &asked["state"]);
        back.into()
    }

    /// What `GET /user_management/authorize` requires of its query.
    fn read(&self, authorization_url: &str) -> BTreeMap<String, String> {
        let url = Url::parse(authorization_url).unwrap();
        assert_eq!(&url[..url::Position::AfterPath], format!("{}/user_management/authorize", self.base()));
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let names: BTreeSet<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), pairs.len(), "each parameter once: {url}");
        let asked: BTreeMap<String, String> = pairs.iter().cloned().collect();
        let selected: Vec<&&str> = SELECTORS.iter().filter(|name| names.contains(**name)).collect();
        assert_eq!(selected.len(), 1, "exactly one selector: {url}");
        assert_eq!((asked["response_type"].as_str(), asked["client_id"].as_str()), ("code", CLIENT_ID));
        assert_eq!((asked["code_challenge_method"].as_str(), asked["code_challenge"].len()), ("S256", 43));
        assert!(!names.contains("screen_hint") || asked.get("provider").is_some_and(|name| name == "authkit"), "{url}");
        assert!(!names.contains("scope") && !names.contains("nonce"), "it knows neither: {url}");
        asked
    }
}

impl Drop for WorkOs {
    fn drop(&mut self) {
        self.task.abort();
        if !std::thread::panicking() {
            let books = lock(&self.inner.books);
            assert!(books.authenticate_troubles.is_empty(), "left unused: {:?}", books.authenticate_troubles);
            assert!(books.revocation_troubles.is_empty(), "left unused: {:?}", books.revocation_troubles);
        }
    }
}

/// A refusal: a status and a body.
type Refusal = (u16, Value);

fn oauth(error: &str, description: &str) -> Refusal {
    (400, json!({ "error": error, "error_description": description }))
}

async fn authenticate(State(inner): State<Arc<Inner>>, Json(body): Json<Value>) -> Response {
    let trouble = {
        let mut books = lock(&inner.books);
        books.authenticated.push(body.clone());
        books.authenticate_troubles.pop_front()
    };
    match trouble {
        None => answer(inner.granted(&body), false),
        Some(Trouble::BreaksOff) => answer(inner.granted(&body), true),
        Some(Trouble::HangsUp) => {
            let _ = inner.granted(&body);
            hang_up()
        }
        Some(trouble @ (Trouble::Says(..) | Trouble::Throttles(_) | Trouble::Page(_))) => troubled(trouble),
    }
}

async fn revoke(State(inner): State<Arc<Inner>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let id = body["session_id"].as_str().unwrap_or_default().to_owned();
    let trouble = {
        let mut books = lock(&inner.books);
        books.revoked.push(id.clone());
        books.revocation_troubles.pop_front()
    };
    match trouble {
        None => inner.end(&headers, &id),
        Some(Trouble::BreaksOff | Trouble::HangsUp) => {
            let _ = inner.end(&headers, &id);
            hang_up()
        }
        Some(trouble @ (Trouble::Says(..) | Trouble::Throttles(_) | Trouble::Page(_))) => troubled(trouble),
    }
}

fn says(status: u16, body: &Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), Json(body.clone())).into_response()
}

fn troubled(trouble: Trouble) -> Response {
    match trouble {
        Trouble::Says(status, body) => says(status, &body),
        Trouble::Throttles(seconds) => {
            let mut response = says(429, &json!({ "error": "too_many_requests", "error_description": OWN_WORDS }));
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
        Trouble::Page(status) => {
            let page = format!("<!doctype html><title>{status}</title>{OWN_WORDS}");
            (StatusCode::from_u16(status).unwrap(), [(CONTENT_TYPE, "text/html")], page).into_response()
        }
        Trouble::BreaksOff | Trouble::HangsUp => hang_up(),
    }
}

fn answer(granted: Result<Value, Refusal>, breaks_off: bool) -> Response {
    match granted {
        Err((status, body)) => says(status, &body),
        Ok(body) if breaks_off => {
            let text = body.to_string();
            (StatusCode::OK, [(CONTENT_TYPE, "application/json")], text[..text.len() / 2].to_owned()).into_response()
        }
        Ok(body) => Json(body).into_response(),
    }
}

/// The head of an answer, and then nothing.
fn hang_up() -> Response {
    let gone = Err::<Vec<u8>, _>(io::Error::from(io::ErrorKind::ConnectionReset));
    Response::new(Body::from_stream(stream::iter([gone])))
}

impl Books {
    /// A name that nobody had before.
    fn name(&mut self, kind: &str) -> String {
        self.issued += 1;
        format!("{kind}_01SCRIPTED{:08}", self.issued)
    }
}

impl Inner {
    /// A session ends once, for whoever has the API key.
    fn end(&self, headers: &HeaderMap, id: &str) -> Response {
        if headers.get(AUTHORIZATION).is_none_or(|value| value != &format!("Bearer {API_KEY}")) {
            return says(401, &json!({ "message": "Unauthorized" }));
        }
        match lock(&self.books).sessions.iter_mut().find(|session| session.id == id && !session.ended) {
            Some(session) => {
                session.ended = true;
                StatusCode::OK.into_response()
            }
            None => says(404, &json!({ "message": format!("Session not found: '{id}'."), "code": "entity_not_found", "entity_id": id })),
        }
    }

    fn granted(&self, body: &Value) -> Result<Value, Refusal> {
        if body["client_id"] != CLIENT_ID || body["client_secret"] != API_KEY {
            return Err(oauth("invalid_client", "Invalid client ID or secret."));
        }
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        match text("grant_type") {
            "authorization_code" => self.exchange(text("code"), text("code_verifier")),
            "refresh_token" => self.refresh(text("refresh_token")),
            _ => Err(oauth("invalid_request", "The grant type is not supported.")),
        }
    }

    /// A code works once, for whoever has its verifier.
    fn exchange(&self, code: &str, verifier: &str) -> Result<Value, Refusal> {
        let script = lock(&self.script).clone();
        let mut books = lock(&self.books);
        let challenge = s256(verifier);
        let found = books.codes.remove(code).filter(|known| self.clock.now() < known.issued_at + CODE_LIFETIME);
        if found.is_none_or(|known| known.challenge != challenge) {
            return Err(oauth("invalid_grant", &format!("The code '{code}' has expired or is invalid.")));
        }
        let (id, refresh_token) = (books.name("session"), books.name("refresh"));
        let session = Session {
            id,
            user: script.user.clone(),
            organization: script.organization.clone(),
            refresh_token,
            exchanged: None,
            ended: false,
        };
        let answer = self.tokens(&script, &session, &books.name("jti"));
        books.sessions.push(session);
        Ok(answer)
    }

    /// A refresh token works once, and for thirty seconds more with the same result, while its session lasts.
    fn refresh(&self, token: &str) -> Result<Value, Refusal> {
        let script = lock(&self.script).clone();
        let now = self.clock.now();
        let mut books = lock(&self.books);
        let (next, jti) = (books.name("refresh"), books.name("jti"));
        let is_its =
            |session: &&mut Session| session.refresh_token == token || session.exchanged.as_ref().is_some_and(|(spent, ..)| spent == token);
        let Some(session) = books.sessions.iter_mut().find(is_its) else {
            return Err(oauth("invalid_grant", "Invalid refresh token."));
        };
        if session.ended {
            return Err(oauth("invalid_grant", "Session has already ended."));
        }
        if let Some((spent, at, answer)) = &session.exchanged
            && spent == token
        {
            let replayed = now < *at + REPLAY;
            return if replayed { Ok(answer.clone()) } else { Err(oauth("invalid_grant", "Refresh token already exchanged.")) };
        }
        session.refresh_token = next;
        session.user = script.refreshes_for.clone().unwrap_or_else(|| session.user.clone());
        session.organization = script.refreshes_into.clone().or_else(|| session.organization.clone());
        let answer = self.tokens(&script, session, &jti);
        session.exchanged = Some((token.to_owned(), now, answer.clone()));
        Ok(answer)
    }

    fn tokens(&self, script: &Script, session: &Session, jti: &str) -> Value {
        let now = self.clock.now().unix_timestamp();
        let User { id, email, email_verified } = &session.user;
        let mut claims =
            json!({ "iss": self.base, "sub": id, "sid": session.id, "jti": jti, "iat": now, "exp": now + script.access_lifetime });
        let mut answer = json!({
            "user": {
                "object": "user", "id": id, "email": email, "email_verified": email_verified, "first_name": "Olivia", "last_name": null,
                "profile_picture_url": null, "created_at": "2026-01-15T12:00:00.000Z", "updated_at": "2026-01-15T12:00:00.000Z",
            },
            "refresh_token": session.refresh_token, "authentication_method": "SSO",
        });
        if let Some(organization) = &session.organization {
            claims["org_id"] = json!(organization);
            answer["organization_id"] = json!(organization);
        }
        answer["access_token"] = if script.opaque_access_tokens {
            json!(format!("opaque-{jti}"))
        } else {
            json!(tokens::es256(&json!({ "alg": "ES256", "typ": "JWT", "kid": tokens::KEY_ID }), &claims))
        };
        answer
    }
}

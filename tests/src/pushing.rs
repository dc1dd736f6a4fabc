//! An OpenID provider that takes pushed authorization requests (RFC 9126) and is strict about everything it is sent: each
//! `request_uri` and each code works once, redirect URIs and verifiers must be those of the request. What it says of itself, and what
//! its token endpoint answers, can be changed member by member.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use local::witness::witnessed;
use serde_json::{Value, json};
use shared::ports::clock::Clock as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::{Url, form_urlencoded};

use crate::canary::{self, Kind};
use crate::clock::ManualClock;
use crate::script::{Asked, Instead, Notes, lock, parameter, verifies};
use crate::tokens;

/// The client of every connection to it.
pub const CLIENT_ID: &str = "pushing-client";
/// Its secret.
pub const CLIENT_SECRET: &str = "pushing-client-secret";
/// Where it says what it is.
pub const METADATA: &str = "/.well-known/openid-configuration";
/// Where requests are pushed to.
pub const PAR: &str = "/par";
/// Where codes and refresh tokens are redeemed.
pub const TOKEN: &str = "/token";
/// Who a token belongs to.
pub const USERINFO: &str = "/userinfo";
/// Where tokens are revoked.
pub const REVOKE: &str = "/revoke";

/// What it says and does.
#[derive(Debug, Clone)]
pub struct Script {
    /// Members of the metadata that are replaced; `null` takes one away.
    pub metadata: Value,
    /// The same of answers to codes.
    pub exchange: Value,
    /// The same of answers to refresh tokens.
    pub refresh: Value,
    /// Whether refresh tokens are used up; then a new one comes with every answer.
    pub rotates: bool,
    /// Replaces claims of the `id_token`.
    pub id_token: Value,
}

struct Inner {
    issuer: String,
    clock: Arc<ManualClock>,
    notes: Notes,
    script: Mutex<Script>,
    pushed: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    codes: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    refresh: Mutex<BTreeSet<String>>,
    issued: Mutex<u64>,
}

/// The provider.
pub struct Pushing {
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

impl Pushing {
    /// Starts on a free port. Its metadata require pushed requests.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let script = Script { metadata: json!({}), exchange: json!({}), refresh: json!({}), rotates: true, id_token: json!({}) };
        let inner = Arc::new(Inner {
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            clock: Arc::new(ManualClock::new()),
            notes: Notes::default(),
            script: Mutex::new(script),
            pushed: Mutex::default(),
            codes: Mutex::default(),
            refresh: Mutex::default(),
            issued: Mutex::default(),
        });
        let router = Router::new().fallback(serve).with_state(Arc::clone(&inner));
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
            "id": id, "provider": "pushing", "organization_id": null, "linked": true, "kind": "oidc", "issuer": self.issuer(),
            "client_id": CLIENT_ID, "token_endpoint_auth_method": "client_secret_basic",
            "scopes": ["openid", "email"], "allowed_scopes": ["openid", "email", "sites:read"], "default_access_lifetime": 3600,
        })
    }

    /// Changes what it says and does.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut lock(&self.inner.script));
    }

    /// Answers the next request to a path otherwise.
    pub fn once(&self, path: &str, instead: Instead) {
        self.inner.notes.once(path, instead);
    }

    /// What arrived at a path.
    #[must_use]
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.inner.notes.asked(path)
    }

    /// The parameters of the authorization request that this URL stands for, as the provider knows them; a `request_uri` is used up.
    #[must_use]
    pub fn request(&self, authorization_url: &str) -> Option<BTreeMap<String, String>> {
        let url = Url::parse(authorization_url).unwrap();
        assert!(authorization_url.starts_with(&format!("{}/authorize?", self.issuer())));
        let parameters: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        match parameter(&url, "request_uri") {
            None => Some(parameters),
            Some(name) => {
                assert_eq!(parameters.keys().collect::<Vec<_>>(), ["client_id", "request_uri"], "nothing else goes through the browser");
                lock(&self.inner.pushed).remove(&name)
            }
        }
    }

    /// The person allows at this URL: where the browser goes next.
    #[must_use]
    pub fn come_back(&self, authorization_url: &str) -> String {
        let request = self.request(authorization_url).unwrap();
        let mut back = Url::parse(&request["redirect_uri"]).unwrap();
        let code = self.inner.name("code");
        canary::register(Kind::Code, &code);
        back.query_pairs_mut().append_pair("code", &code).append_pair("state", &request["state"]);
        lock(&self.inner.codes).insert(code, request);
        back.into()
    }
}

impl Drop for Pushing {
    fn drop(&mut self) {
        self.task.abort();
        self.inner.notes.settle();
    }
}

impl Inner {
    fn name(&self, kind: &str) -> String {
        let mut issued = lock(&self.issued);
        *issued += 1;
        format!("pushing-{kind}-{}-long-enough-to-be-found", *issued)
    }

    fn metadata(&self) -> Value {
        let issuer = &self.issuer;
        let own = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}{TOKEN}"),
            "userinfo_endpoint": format!("{issuer}{USERINFO}"),
            "revocation_endpoint": format!("{issuer}{REVOKE}"),
            "pushed_authorization_request_endpoint": format!("{issuer}{PAR}"),
            "require_pushed_authorization_requests": true,
            "jwks_uri": format!("{issuer}/jwks.json"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "code_challenge_methods_supported": ["S256"],
        });
        replaced(own, &lock(&self.script).metadata)
    }

    /// Whether the client has proved itself: by its secret, or by an assertion for this issuer and no one else.
    fn knows(&self, asked: &Asked) -> bool {
        if let Some(basic) = asked.header("authorization").strip_prefix("Basic ") {
            return basic == STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
        }
        if asked.form("client_id").as_deref() != Some(CLIENT_ID) {
            return false;
        }
        match (asked.form("client_secret"), asked.form("client_assertion")) {
            (Some(secret), None) => secret == CLIENT_SECRET,
            (None, Some(assertion)) => {
                let claims = assertion.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
                let claims: Value = claims.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
                claims["aud"] == json!(self.issuer) && claims["sub"] == CLIENT_ID
            }
            _ => false,
        }
    }

    fn push(&self, asked: &Asked) -> Response {
        if !self.knows(asked) {
            return refusal(StatusCode::UNAUTHORIZED, "invalid_client");
        }
        let pairs: Vec<(String, String)> = form_urlencoded::parse(asked.body.as_bytes()).into_owned().collect();
        let parameters: BTreeMap<String, String> = pairs.iter().cloned().collect();
        // RFC 9126 section 2.1: the client is named, and no pushed request refers to another.
        let named = parameters.get("client_id").is_some_and(|id| id == CLIENT_ID);
        if parameters.len() != pairs.len() || !named || parameters.contains_key("request_uri") {
            return refusal(StatusCode::BAD_REQUEST, "invalid_request");
        }
        let name = format!("urn:ietf:params:oauth:request_uri:{}", self.name("request"));
        lock(&self.pushed).insert(name.clone(), parameters);
        (StatusCode::CREATED, Json(json!({ "request_uri": name, "expires_in": 90 }))).into_response()
    }

    fn token(&self, asked: &Asked) -> Response {
        if !self.knows(asked) {
            return refusal(StatusCode::UNAUTHORIZED, "invalid_client");
        }
        let script = lock(&self.script).clone();
        let field = |name: &str| asked.form(name).unwrap_or_default();
        let mut answer = json!({ "access_token": self.name("at"), "token_type": "Bearer", "expires_in": 3600 });
        let refresh = self.name("rt");
        if field("grant_type") == "refresh_token" {
            let known = if script.rotates {
                lock(&self.refresh).remove(&field("refresh_token"))
            } else {
                lock(&self.refresh).contains(&field("refresh_token"))
            };
            if !known {
                return refusal(StatusCode::BAD_REQUEST, "invalid_grant");
            }
            if script.rotates {
                answer["refresh_token"] = json!(refresh);
                lock(&self.refresh).insert(refresh);
            }
            return Json(replaced(answer, &script.refresh)).into_response();
        }
        let Some(request) = lock(&self.codes).remove(&field("code")) else { return refusal(StatusCode::BAD_REQUEST, "invalid_grant") };
        if request["redirect_uri"] != field("redirect_uri") || !verifies(&field("code_verifier"), &request["code_challenge"]) {
            return refusal(StatusCode::BAD_REQUEST, "invalid_grant");
        }
        lock(&self.refresh).insert(refresh.clone());
        answer["refresh_token"] = json!(refresh);
        answer["scope"] = json!(request["scope"]);
        if let Some(nonce) = request.get("nonce") {
            answer["id_token"] = json!(self.id_token(&script, nonce));
        }
        Json(replaced(answer, &script.exchange)).into_response()
    }

    fn id_token(&self, script: &Script, nonce: &str) -> String {
        let now = self.clock.now().unix_timestamp();
        let claims = json!({
            "iss": self.issuer, "aud": CLIENT_ID, "sub": "pushing-olivia", "iat": now, "exp": now + 600, "nonce": nonce,
            "email": "ops@example.com", "email_verified": true,
        });
        let claims = replaced(claims, &script.id_token);
        tokens::es256(&json!({ "alg": "ES256", "typ": "JWT", "kid": tokens::KEY_ID }), &claims)
    }
}

fn replaced(mut own: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().into_iter().flatten() {
        if value.is_null() {
            own.as_object_mut().unwrap().remove(name);
        } else {
            own[name] = value.clone();
        }
    }
    own
}

fn refusal(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error, "error_description": "<b>the provider's own words</b>" }))).into_response()
}

async fn serve(State(inner): State<Arc<Inner>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let asked = Asked::new(method, &uri, headers, &body);
    if let Some(instead) = inner.notes.note(&asked) {
        return instead.response();
    }
    match (&asked.method, asked.path.as_str()) {
        (&Method::GET, METADATA) => Json(inner.metadata()).into_response(),
        (&Method::GET, "/jwks.json") => Json(serde_json::to_value(tokens::public_keys()).unwrap()).into_response(),
        (&Method::GET, USERINFO) => {
            Json(json!({ "sub": "pushing-olivia", "email": "ops@example.com", "email_verified": true })).into_response()
        }
        (&Method::POST, PAR) => inner.push(&asked),
        (&Method::POST, TOKEN) => inner.token(&asked),
        (&Method::POST, REVOKE) => StatusCode::OK.into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

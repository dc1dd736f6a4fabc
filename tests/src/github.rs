//! A counterpart that behaves as GitHub documents itself: errors with status 200, scopes separated by commas, tokens that never end
//! (OAuth apps) or end after eight hours (GitHub Apps), addresses in a list of their own, tokens deleted by the REST API.
//!
//! Documentation: "Authorizing OAuth apps", "Troubleshooting OAuth app access token request errors", "Refreshing user access tokens",
//! "REST API endpoints for emails", "REST API endpoints for OAuth authorizations".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use local::witness::witnessed;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::{Url, form_urlencoded};

use crate::canary::{self, Kind};
use crate::script::{Asked, Instead, Notes, lock, parameter, verifies};

/// The client of every connection to it.
pub const CLIENT_ID: &str = "Iv1.0123456789abcdef";
/// Its secret.
pub const CLIENT_SECRET: &str = "scripted-github-secret";
/// Where codes and refresh tokens are redeemed.
pub const TOKEN: &str = "/login/oauth/access_token";
/// Who a token belongs to.
pub const USER: &str = "/user";
/// Which addresses they have.
pub const EMAILS: &str = "/user/emails";
/// Where tokens are deleted.
pub const DELETE: &str = "/applications/Iv1.0123456789abcdef/token";

/// What kind of app the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum App {
    /// An OAuth app: tokens have scopes and never end.
    OAuth,
    /// A GitHub App: tokens have no scopes, end after eight hours, and come with refresh tokens.
    GitHub,
}

/// Who signs in, and what is said of them.
#[derive(Debug, Clone)]
pub struct Account {
    /// The number that names them.
    pub id: u64,
    /// The address in their profile.
    pub profile_email: Option<&'static str>,
    /// Their addresses: whether each is the primary one, and whether it is verified.
    pub emails: Vec<(&'static str, bool, bool)>,
}

struct Granted {
    scopes: BTreeSet<String>,
    account: Account,
}

struct Inner {
    base: String,
    app: App,
    notes: Notes,
    account: Mutex<Account>,
    codes: Mutex<BTreeMap<String, Value>>,
    /// Access tokens that work.
    live: Mutex<BTreeMap<String, Granted>>,
    /// Refresh tokens that work, and the access token that each came with.
    refresh: Mutex<BTreeMap<String, String>>,
    issued: Mutex<u64>,
}

/// The counterpart.
pub struct GitHub {
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

impl GitHub {
    /// Starts on a free port.
    pub async fn start(app: App) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let account = Account {
            id: 583_231,
            profile_email: None,
            emails: vec![
                ("octocat@users.noreply.example", false, true),
                ("ops@example.com", true, true),
                ("old@example.com", false, false),
            ],
        };
        let inner = Arc::new(Inner {
            base: format!("http://{}", listener.local_addr().unwrap()),
            app,
            notes: Notes::default(),
            account: Mutex::new(account),
            codes: Mutex::default(),
            live: Mutex::default(),
            refresh: Mutex::default(),
            issued: Mutex::default(),
        });
        let router = Router::new().fallback(serve).with_state(Arc::clone(&inner));
        let router = witnessed(router, canary::at_providers());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { inner, task }
    }

    /// A connection to it.
    #[must_use]
    pub fn connection(&self, id: &str) -> Value {
        let base = &self.inner.base;
        json!({
            "id": id, "provider": "github", "organization_id": null, "linked": true, "kind": "oauth2", "dialect": "github",
            "authorization_endpoint": format!("{base}/login/oauth/authorize"), "token_endpoint": format!("{base}{TOKEN}"),
            "userinfo_endpoint": format!("{base}{USER}"), "revocation_endpoint": format!("{base}{DELETE}"),
            "client_id": CLIENT_ID, "token_endpoint_auth_method": "client_secret_post",
            "scopes": ["repo", "user:email"], "allowed_scopes": ["repo", "user:email", "gist"],
            "claims": { "subject": "id", "email": "email" }, "default_access_lifetime": 28_800,
        })
    }

    /// Who signs in next.
    pub fn account(&self, change: impl FnOnce(&mut Account)) {
        change(&mut lock(&self.inner.account));
    }

    /// Answers the next request to a path otherwise.
    pub fn once(&self, path: &str, instead: Instead) {
        self.inner.notes.once(path, instead);
    }

    /// An error in GitHub's way: with status 200.
    pub fn refuses(&self, error: &str) {
        self.once(TOKEN, Instead::json(200, &refusal(error)));
    }

    /// What arrived at a path.
    #[must_use]
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.inner.notes.asked(path)
    }

    /// How many access tokens and refresh tokens work.
    #[must_use]
    pub fn live(&self) -> (usize, usize) {
        (lock(&self.inner.live).len(), lock(&self.inner.refresh).len())
    }

    /// Access tokens end, as they do after eight hours; their refresh tokens live on.
    pub fn end_access_tokens(&self) {
        lock(&self.inner.live).clear();
    }

    /// The person removes the app at GitHub.
    pub fn end_grants(&self) {
        lock(&self.inner.live).clear();
        lock(&self.inner.refresh).clear();
    }

    /// The person allows at this URL: where the browser goes next.
    #[must_use]
    pub fn come_back(&self, authorization_url: &str) -> String {
        let url = Url::parse(authorization_url).unwrap();
        assert_eq!(url.path(), "/login/oauth/authorize");
        assert_eq!(parameter(&url, "client_id").as_deref(), Some(CLIENT_ID));
        let redirect_uri = parameter(&url, "redirect_uri").unwrap();
        let code = self.inner.name("code");
        canary::register(Kind::Code, &code);
        let granted = json!({
            "redirect_uri": redirect_uri, "scope": parameter(&url, "scope").unwrap_or_default(),
            "code_challenge": parameter(&url, "code_challenge").unwrap(),
        });
        lock(&self.inner.codes).insert(code.clone(), granted);
        let mut back = Url::parse(&redirect_uri).unwrap();
        back.query_pairs_mut().append_pair("code", &code).append_pair("state", &parameter(&url, "state").unwrap());
        back.into()
    }
}

impl Drop for GitHub {
    fn drop(&mut self) {
        self.task.abort();
        self.inner.notes.settle();
    }
}

impl Inner {
    fn name(&self, kind: &str) -> String {
        let mut issued = lock(&self.issued);
        *issued += 1;
        format!("{kind}_{:040}", *issued)
    }

    /// A new access token, and what is told of it.
    fn issue(&self, granted: Granted) -> Value {
        let scope = granted.scopes.iter().cloned().collect::<Vec<_>>().join(",");
        match self.app {
            App::OAuth => {
                let token = self.name("gho");
                lock(&self.live).insert(token.clone(), granted);
                json!({ "access_token": token, "scope": scope, "token_type": "bearer" })
            }
            App::GitHub => {
                let (token, refresh) = (self.name("ghu"), self.name("ghr"));
                lock(&self.live).insert(token.clone(), granted);
                lock(&self.refresh).insert(refresh.clone(), token.clone());
                json!({
                    "access_token": token, "expires_in": 28_800, "refresh_token": refresh, "refresh_token_expires_in": 15_897_600,
                    "scope": "", "token_type": "bearer",
                })
            }
        }
    }

    fn token(&self, asked: &Asked) -> Value {
        let field = |name: &str| asked.form(name).unwrap_or_default();
        if field("client_id") != CLIENT_ID || field("client_secret") != CLIENT_SECRET {
            return refusal("incorrect_client_credentials");
        }
        let account = lock(&self.account).clone();
        if field("grant_type") == "refresh_token" {
            // Once used, neither it nor the access token beside it works any more.
            let Some(old) = lock(&self.refresh).remove(&field("refresh_token")) else { return refusal("bad_refresh_token") };
            let granted = lock(&self.live).remove(&old);
            return self.issue(granted.unwrap_or(Granted { scopes: BTreeSet::new(), account }));
        }
        let Some(code) = lock(&self.codes).remove(&field("code")) else { return refusal("bad_verification_code") };
        if code["redirect_uri"] != field("redirect_uri") {
            return refusal("redirect_uri_mismatch");
        }
        if !verifies(&field("code_verifier"), code["code_challenge"].as_str().unwrap()) {
            return refusal("bad_verification_code");
        }
        let scopes = match self.app {
            App::OAuth => code["scope"].as_str().unwrap().split_whitespace().map(str::to_owned).collect(),
            App::GitHub => BTreeSet::new(),
        };
        self.issue(Granted { scopes, account })
    }

    fn api(&self, asked: &Asked) -> Response {
        let live = lock(&self.live);
        let bearer = asked.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        let Some(Granted { scopes, account }) = live.get(bearer) else {
            return (StatusCode::UNAUTHORIZED, Json(json!({ "message": "Bad credentials" }))).into_response();
        };
        assert_ne!(asked.header("user-agent"), "", "GitHub answers nobody without one");
        match asked.path.as_str() {
            USER => {
                Json(json!({ "login": "octocat", "id": account.id, "node_id": "MDQ6", "type": "User", "email": account.profile_email }))
                    .into_response()
            }
            EMAILS if self.app == App::GitHub || scopes.contains("user:email") || scopes.contains("user") => {
                let listed = account.emails.iter().map(|(email, primary, verified)| {
                    let visibility = if *primary { json!("private") } else { Value::Null };
                    json!({ "email": email, "primary": primary, "verified": verified, "visibility": visibility })
                });
                Json(listed.collect::<Vec<_>>()).into_response()
            }
            _ => (StatusCode::NOT_FOUND, Json(json!({ "message": "Not Found" }))).into_response(),
        }
    }

    fn delete(&self, asked: &Asked) -> Response {
        let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}")));
        if asked.header("authorization") != basic {
            return (StatusCode::UNAUTHORIZED, Json(json!({ "message": "Bad credentials" }))).into_response();
        }
        let body = asked.json();
        let Some(token) = body["access_token"].as_str() else {
            return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "message": "Validation Failed" }))).into_response();
        };
        if lock(&self.live).remove(token).is_none() {
            return (StatusCode::NOT_FOUND, Json(json!({ "message": "Not Found" }))).into_response();
        }
        lock(&self.refresh).retain(|_, access| access != token);
        StatusCode::NO_CONTENT.into_response()
    }
}

fn refusal(error: &str) -> Value {
    json!({ "error": error, "error_description": "<b>GitHub's own words</b>", "error_uri": "/apps/managing-oauth-apps/troubleshooting" })
}

async fn serve(State(inner): State<Arc<Inner>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let asked = Asked::new(method, &uri, headers, &body);
    if let Some(instead) = inner.notes.note(&asked) {
        return instead.response();
    }
    match (&asked.method, asked.path.as_str()) {
        (&Method::POST, TOKEN) => {
            let answer = inner.token(&asked);
            // The form of the answer follows the request's Accept header.
            if asked.header("accept").contains("application/json") {
                return Json(answer).into_response();
            }
            let members = answer.as_object().unwrap();
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            form_urlencoded::Serializer::new(String::new()).extend_pairs(members.iter().map(|(n, v)| (n, text(v)))).finish().into_response()
        }
        (&Method::GET, _) => inner.api(&asked),
        (&Method::DELETE, DELETE) => inner.delete(&asked),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

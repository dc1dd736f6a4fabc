//! A counterpart that behaves as Slack documents itself: everything is status 200, and `ok` says whether it is true; a person's token
//! is nested beside a bot's; scopes are separated by commas; tokens rotate if the app wants that; tokens revoke themselves.
//!
//! Documentation: `oauth.v2.access`, `oauth.v2.user.access`, `auth.revoke`, `openid.connect.userInfo`, "Using token rotation", "Rate limits".

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
use url::Url;

use crate::canary::{self, Kind};
use crate::script::{Asked, Instead, Notes, lock, parameter, verifies};

/// The client of every connection to it.
pub const CLIENT_ID: &str = "2141029472.691202649728";
/// Its secret.
pub const CLIENT_SECRET: &str = "scripted-slack-secret";
/// Where codes and refresh tokens are redeemed.
pub const TOKEN: &str = "/api/oauth.v2.access";
/// The same for apps that want tokens of persons only.
pub const USER_TOKEN: &str = "/api/oauth.v2.user.access";
/// Where tokens are revoked.
pub const REVOKE: &str = "/api/auth.revoke";
/// Who a token belongs to.
pub const USERINFO: &str = "/api/openid.connect.userInfo";

/// How the app is set up, who signs in, and what is said of them.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Whether tokens rotate.
    pub rotation: bool,
    /// `expires_in`, where they do.
    pub expires_in: Value,
    /// Who signs in.
    pub user: &'static str,
    /// Of which workspace; `null` where an app is installed for a whole enterprise.
    pub team: Value,
    /// Their address.
    pub email: Option<&'static str>,
    /// Whether it is verified.
    pub email_verified: bool,
    /// Whether refreshes name the person, as code exchanges do.
    pub names_at_refresh: Option<&'static str>,
}

struct Inner {
    base: String,
    notes: Notes,
    workspace: Mutex<Workspace>,
    codes: Mutex<BTreeMap<String, Value>>,
    used: Mutex<BTreeSet<String>>,
    /// Tokens that work, of both kinds, with the kind and the scopes.
    live: Mutex<BTreeMap<String, (String, String)>>,
    issued: Mutex<u64>,
}

/// The counterpart.
pub struct Slack {
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

impl Slack {
    /// Starts on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let workspace = Workspace {
            rotation: true,
            expires_in: json!(43_200),
            user: "U0R7MFMJM",
            team: json!({ "name": "kraneflannel", "id": "T0R7GR" }),
            email: Some("ops@example.com"),
            email_verified: true,
            names_at_refresh: None,
        };
        let inner = Arc::new(Inner {
            base: format!("http://{}", listener.local_addr().unwrap()),
            notes: Notes::default(),
            workspace: Mutex::new(workspace),
            codes: Mutex::default(),
            used: Mutex::default(),
            live: Mutex::default(),
            issued: Mutex::default(),
        });
        let router = Router::new().fallback(serve).with_state(Arc::clone(&inner));
        let router = witnessed(router, canary::at_providers());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { inner, task }
    }

    /// A connection to it, whose identities come from the token answer.
    #[must_use]
    pub fn connection(&self, id: &str) -> Value {
        let base = &self.inner.base;
        json!({
            "id": id, "provider": "slack", "organization_id": null, "linked": true, "kind": "oauth2", "dialect": "slack",
            "authorization_endpoint": format!("{base}/oauth/v2/authorize"), "token_endpoint": format!("{base}{TOKEN}"),
            "revocation_endpoint": format!("{base}{REVOKE}"), "client_id": CLIENT_ID, "token_endpoint_auth_method": "client_secret_basic",
            "scopes": ["search:read", "users:read"], "allowed_scopes": ["search:read", "users:read", "chat:write", "openid", "email"],
            "claims": { "subject": "user_id", "email": "email" }, "default_access_lifetime": 43_200,
        })
    }

    /// The same, with identities from `openid.connect.userInfo`.
    #[must_use]
    pub fn signing_in(&self, id: &str) -> Value {
        let mut connection = self.connection(id);
        connection["userinfo_endpoint"] = json!(format!("{}{USERINFO}", self.inner.base));
        connection["claims"] = json!({ "subject": "sub", "email": "email" });
        connection
    }

    /// Changes the workspace.
    pub fn workspace(&self, change: impl FnOnce(&mut Workspace)) {
        change(&mut lock(&self.inner.workspace));
    }

    /// Answers the next request to a path otherwise.
    pub fn once(&self, path: &str, instead: Instead) {
        self.inner.notes.once(path, instead);
    }

    /// An error in Slack's way: with status 200.
    pub fn refuses(&self, path: &str, error: &str) {
        self.once(path, Instead::json(200, &refusal(error)));
    }

    /// Slack has had enough, for some seconds.
    pub fn limits(&self, path: &str, seconds: u32) {
        self.once(path, Instead::json(429, &refusal("ratelimited")).with("retry-after", &seconds.to_string()));
    }

    /// What arrived at a path.
    #[must_use]
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.inner.notes.asked(path)
    }

    /// The tokens that work.
    #[must_use]
    pub fn live(&self) -> Vec<String> {
        lock(&self.inner.live).keys().cloned().collect()
    }

    /// The app is removed from the workspace.
    pub fn end_grants(&self) {
        lock(&self.inner.live).clear();
    }

    /// The person allows at this URL: where the browser goes next.
    #[must_use]
    pub fn come_back(&self, authorization_url: &str) -> String {
        let url = Url::parse(authorization_url).unwrap();
        let asked = |name: &str| parameter(&url, name).unwrap_or_default();
        assert_eq!(asked("client_id"), CLIENT_ID);
        // At the endpoint for persons only, their scopes have the usual name.
        let (bot, user) = match url.path() {
            "/oauth/v2/authorize" => (asked("scope"), asked("user_scope")),
            "/oauth/v2_user/authorize" => (String::new(), asked("scope")),
            other => panic!("no such page: {other}"),
        };
        let code = self.inner.name("code");
        canary::register(Kind::Code, &code);
        let granted = json!({ "redirect_uri": asked("redirect_uri"), "bot": bot, "user": user, "code_challenge": asked("code_challenge") });
        lock(&self.inner.codes).insert(code.clone(), granted);
        let mut back = Url::parse(&asked("redirect_uri")).unwrap();
        back.query_pairs_mut().append_pair("code", &code).append_pair("state", &asked("state"));
        back.into()
    }
}

impl Drop for Slack {
    fn drop(&mut self) {
        self.task.abort();
        self.inner.notes.settle();
    }
}

impl Inner {
    fn name(&self, kind: &str) -> String {
        let mut issued = lock(&self.issued);
        *issued += 1;
        format!("{kind}-1-{:036}", *issued)
    }

    /// A new token of a kind, and its members.
    fn issue(&self, kind: &str, scope: &str, workspace: &Workspace) -> Value {
        let prefix = match (kind, workspace.rotation) {
            ("bot", true) => "xoxe.xoxb",
            ("bot", false) => "xoxb",
            (_, true) => "xoxe.xoxp",
            (_, false) => "xoxp",
        };
        let token = self.name(prefix);
        lock(&self.live).insert(token.clone(), (kind.to_owned(), scope.to_owned()));
        let mut members = json!({ "access_token": token, "token_type": kind, "scope": scope });
        if workspace.rotation {
            let refresh = self.name("xoxe");
            lock(&self.live).insert(refresh.clone(), (format!("refresh {kind}"), scope.to_owned()));
            members["refresh_token"] = json!(refresh);
            if !workspace.expires_in.is_null() {
                members["expires_in"] = workspace.expires_in.clone();
            }
        }
        members
    }

    fn token(&self, asked: &Asked) -> Value {
        let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}")));
        if asked.header("authorization") != basic {
            return refusal("bad_client_secret");
        }
        let workspace = lock(&self.workspace).clone();
        let field = |name: &str| asked.form(name).unwrap_or_default();
        let mut answer = json!({
            "ok": true, "app_id": "A0KRD7HC3", "team": workspace.team, "enterprise": null, "is_enterprise_install": false,
        });
        if field("grant_type") == "refresh_token" {
            let known = lock(&self.live).remove(&field("refresh_token"));
            let Some((kind, scope)) = known.as_ref().and_then(|(kind, scope)| Some((kind.strip_prefix("refresh ")?, scope))) else {
                return refusal("invalid_refresh_token");
            };
            merge(&mut answer, self.issue(kind, scope, &workspace));
            if let Some(user) = workspace.names_at_refresh {
                answer["authed_user"] = json!({ "id": user });
            }
            return answer;
        }
        let Some(code) = lock(&self.codes).remove(&field("code")) else {
            let used = lock(&self.used).contains(&field("code"));
            return refusal(if used { "code_already_used" } else { "invalid_code" });
        };
        lock(&self.used).insert(field("code"));
        if code["redirect_uri"] != field("redirect_uri") {
            return refusal("bad_redirect_uri");
        }
        if !verifies(&field("code_verifier"), code["code_challenge"].as_str().unwrap()) {
            return refusal("invalid_code");
        }
        let (bot, user) = (code["bot"].as_str().unwrap(), code["user"].as_str().unwrap());
        answer["authed_user"] = json!({ "id": workspace.user });
        if asked.path == USER_TOKEN {
            let mut members = self.issue("user", user, &workspace);
            answer["authed_user"]["scope"] = members.as_object_mut().unwrap().remove("scope").unwrap();
            merge(&mut answer, members);
            return answer;
        }
        if !bot.is_empty() {
            merge(&mut answer, self.issue("bot", bot, &workspace));
            answer["bot_user_id"] = json!("U0KRQLJ9H");
        }
        if !user.is_empty() {
            merge(&mut answer["authed_user"], self.issue("user", user, &workspace));
        }
        answer
    }

    fn bearer(&self, asked: &Asked) -> Result<String, Value> {
        let Some(token) = asked.header("authorization").strip_prefix("Bearer ") else { return Err(refusal("not_authed")) };
        if lock(&self.live).contains_key(token) { Ok(token.to_owned()) } else { Err(refusal("invalid_auth")) }
    }

    fn revoke(&self, asked: &Asked) -> Value {
        match self.bearer(asked) {
            Ok(token) => {
                lock(&self.live).remove(&token);
                json!({ "ok": true, "revoked": true })
            }
            Err(refused) => refused,
        }
    }

    fn userinfo(&self, asked: &Asked) -> Value {
        if let Err(refused) = self.bearer(asked) {
            return refused;
        }
        let workspace = lock(&self.workspace).clone();
        json!({
            "ok": true, "sub": workspace.user, "https://slack.com/user_id": workspace.user,
            "https://slack.com/team_id": workspace.team["id"], "email": workspace.email, "email_verified": workspace.email_verified,
            "name": "krane", "locale": "en-US",
        })
    }
}

fn merge(into: &mut Value, members: Value) {
    let Value::Object(members) = members else { return };
    into.as_object_mut().unwrap().extend(members);
}

fn refusal(error: &str) -> Value {
    json!({ "ok": false, "error": error, "response_metadata": { "messages": ["<b>Slack's own words</b>"] } })
}

async fn serve(State(inner): State<Arc<Inner>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let asked = Asked::new(method, &uri, headers, &body);
    if let Some(instead) = inner.notes.note(&asked) {
        return instead.response();
    }
    match asked.path.as_str() {
        TOKEN | USER_TOKEN if asked.method == Method::POST => Json(inner.token(&asked)).into_response(),
        REVOKE => Json(inner.revoke(&asked)).into_response(),
        USERINFO => Json(inner.userinfo(&asked)).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

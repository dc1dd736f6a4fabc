//! The provider's endpoints. What the client does wrong is noted as an offence, and refused; what the provider does wrong is the
//! [`Script`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use local::witness::witnessed;
use serde_json::{Value, json};
use shared::ports::clock::Clock as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use super::client::{self, Parameters};
use super::keys::{self, ClientKey, Keys};
use super::script::{Alg, Edit, Script, Signature};
use crate::canary::{self, Kind};
use crate::clock::ManualClock;
use crate::script::{lock, verifies};

/// The client that every connection to such a provider uses.
pub const CLIENT_ID: &str = "conformance client";
/// Its secret. It is as long as a key for HS256 has to be.
pub const CLIENT_SECRET: &str = "a secret of the conformance client, long enough for HMAC";
/// Who signs in.
pub const SUBJECT: &str = "conformance-olivia";
/// Their address, which only the userinfo endpoint tells.
pub const EMAIL: &str = "ops@example.com";

/// Which profile the provider demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// OpenID Connect Core, code flow, a client with a secret.
    Connect,
    /// FAPI 2.0 Security Profile without its sender constraint: requests are pushed, the client signs assertions, and the provider says
    /// who it is in its authorization responses.
    Fapi2,
}

/// How often it was asked for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Its metadata.
    pub metadata: u64,
    /// Its keys.
    pub keys: u64,
    /// Pushed authorization requests.
    pub pushed: u64,
    /// Browsers at its authorization endpoint.
    pub browsers: u64,
    /// Codes redeemed.
    pub exchanges: u64,
    /// Refresh tokens redeemed.
    pub refreshes: u64,
    /// Who an access token belongs to.
    pub userinfo: u64,
    /// Claims at the endpoint that its userinfo points to.
    pub claims: u64,
}

#[derive(Default)]
struct Notes {
    seen: Seen,
    offences: Vec<String>,
    assertions: BTreeSet<String>,
    pushed: BTreeMap<String, Parameters>,
    codes: BTreeMap<String, Parameters>,
    /// Tokens that work.
    access: BTreeSet<String>,
    /// With their scopes.
    refresh: BTreeMap<String, String>,
}

struct Inner {
    profile: Profile,
    issuer: String,
    /// Another for every provider, so that nobody finds the keys but by the metadata.
    keys_path: String,
    clock: Arc<ManualClock>,
    script: Mutex<Script>,
    keys: Mutex<(usize, Keys)>,
    notes: Mutex<Notes>,
}

/// The provider.
pub struct Provider {
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

impl Provider {
    /// Starts on a free port.
    pub async fn start(profile: Profile, clock: Arc<ManualClock>, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inner = Arc::new(Inner {
            profile,
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            keys_path: format!("/keys/{}", keys::random()),
            clock,
            script: Mutex::new(script),
            keys: Mutex::new((0, Keys::new(0))),
            notes: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route(&inner.keys_path, get(published))
            .route("/par", post(push))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/revoke", post(revoke))
            .route("/userinfo", get(userinfo).post(userinfo))
            .route("/claims", get(claims))
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

    /// A connection to it. Its default lifetime of access tokens is not the provider's.
    #[must_use]
    pub fn connection(&self, id: &str) -> Value {
        let method = match self.inner.profile {
            Profile::Connect => "client_secret_basic",
            Profile::Fapi2 => "private_key_jwt",
        };
        json!({
            "id": id, "provider": "conformance", "organization_id": null, "linked": true, "kind": "oidc", "issuer": self.issuer(),
            "client_id": CLIENT_ID, "token_endpoint_auth_method": method,
            "scopes": ["openid", "email", "offline_access"], "allowed_scopes": ["openid", "email", "offline_access"],
            "default_access_lifetime": 1234,
        })
    }

    /// What its client proves itself by.
    #[must_use]
    pub fn credential(&self) -> Value {
        match self.inner.profile {
            Profile::Connect => json!(CLIENT_SECRET),
            Profile::Fapi2 => ClientKey::get().credential(),
        }
    }

    /// Changes what it does.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut lock(&self.inner.script));
    }

    /// Exchanges its keys for others.
    pub fn rotate(&self) {
        self.inner.rotate();
    }

    /// What it was asked so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        lock(&self.inner.notes).seen
    }

    /// What the client did wrong so far.
    #[must_use]
    pub fn offences(&self) -> Vec<String> {
        lock(&self.inner.notes).offences.clone()
    }

    /// How many tokens work: neither spent nor revoked.
    #[must_use]
    pub fn live_tokens(&self) -> usize {
        let notes = lock(&self.inner.notes);
        notes.access.len() + notes.refresh.len()
    }

    /// Whether an access token works.
    #[must_use]
    pub fn honours(&self, access_token: &str) -> bool {
        lock(&self.inner.notes).access.contains(access_token)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Pairs = Vec<(String, String)>;

fn query(uri: &Uri) -> Pairs {
    url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
}

async fn metadata(State(inner): State<Arc<Inner>>) -> Json<Value> {
    inner.note(|notes| notes.seen.metadata += 1);
    let script = inner.script();
    let at = |path: &str| format!("{}{path}", inner.issuer);
    let mut document = json!({
        "issuer": inner.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/userinfo"),
        "revocation_endpoint": at("/revoke"),
        "jwks_uri": at(&inner.keys_path),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "code_challenge_methods_supported": ["S256"],
    });
    if let Signature::Good(alg) | Signature::Broken(alg) = script.signature {
        document["id_token_signing_alg_values_supported"] = json!([alg.name()]);
    }
    if inner.profile == Profile::Fapi2 {
        document["pushed_authorization_request_endpoint"] = json!(at("/par"));
        document["require_pushed_authorization_requests"] = json!(true);
        document["authorization_response_iss_parameter_supported"] = json!(true);
        document["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]);
        document["token_endpoint_auth_signing_alg_values_supported"] = json!(["PS256", "ES256", "EdDSA"]);
    }
    (script.metadata)(&mut document);
    Json(document)
}

async fn published(State(inner): State<Arc<Inner>>) -> Json<Value> {
    inner.note(|notes| notes.seen.keys += 1);
    let publish = inner.script().keys;
    Json(json!({ "keys": publish(&lock(&inner.keys).1) }))
}

/// RFC 9126 section 2.
async fn push(State(inner): State<Arc<Inner>>, headers: HeaderMap, Form(form): Form<Pairs>) -> Response {
    inner.note(|notes| notes.seen.pushed += 1);
    let checked = client::once(form).and_then(|form| {
        inner.client(&headers, &form)?;
        client::authorization_request(&form)?;
        Ok(form)
    });
    match checked {
        Err(offence) => inner.refuse(offence, StatusCode::BAD_REQUEST, "invalid_request"),
        Ok(form) => {
            let name = format!("urn:ietf:params:oauth:request_uri:{}", keys::random());
            let answer = Json(json!({ "request_uri": name, "expires_in": 90 }));
            inner.note(|notes| notes.pushed.insert(name, form));
            (StatusCode::CREATED, answer).into_response()
        }
    }
}

/// The person signs in and allows, at once.
async fn authorize(State(inner): State<Arc<Inner>>, uri: Uri) -> Response {
    inner.note(|notes| notes.seen.browsers += 1);
    let checked = client::once(query(&uri)).and_then(|query| match inner.profile {
        Profile::Connect => client::authorization_request(&query).map(|()| query),
        Profile::Fapi2 => inner.pushed(&query),
    });
    let request = match checked {
        Err(offence) => return inner.refuse(offence, StatusCode::BAD_REQUEST, "invalid_request"),
        Ok(request) => request,
    };
    let code = keys::random();
    canary::register(Kind::Code, &code);
    let mut response = json!({ "code": code, "state": request["state"] });
    if inner.profile == Profile::Fapi2 {
        response["iss"] = json!(inner.issuer);
    }
    (inner.script().response)(&mut response);
    let mut back = Url::parse(&request["redirect_uri"]).unwrap();
    back.query_pairs_mut().extend_pairs(response.as_object().unwrap().iter().map(|(name, value)| (name, value.as_str().unwrap())));
    inner.note(|notes| notes.codes.insert(code, request));
    (StatusCode::SEE_OTHER, [(header::LOCATION, String::from(back))]).into_response()
}

async fn token(State(inner): State<Arc<Inner>>, headers: HeaderMap, Form(form): Form<Pairs>) -> Response {
    let form = match client::once(form).and_then(|form| inner.client(&headers, &form).map(|()| form)) {
        Ok(form) => form,
        Err(offence) => return inner.refuse(offence, StatusCode::UNAUTHORIZED, "invalid_client"),
    };
    let script = inner.script();
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    let (scope, claims) = match field("grant_type") {
        "authorization_code" => {
            inner.note(|notes| notes.seen.exchanges += 1);
            let request = inner.note(|notes| notes.codes.remove(field("code")));
            let Some(request) = request else {
                return inner.refuse("the code is unknown or spent", StatusCode::BAD_REQUEST, "invalid_grant");
            };
            if request["redirect_uri"] != field("redirect_uri") || !verifies(field("code_verifier"), &request["code_challenge"]) {
                let offence = "redirect_uri or code_verifier is not that of the authorization request";
                return inner.refuse(offence, StatusCode::BAD_REQUEST, "invalid_grant");
            }
            let mut claims = inner.claims();
            claims["nonce"] = json!(request["nonce"]);
            (request["scope"].clone(), (claims, script.claims))
        }
        "refresh_token" => {
            inner.note(|notes| notes.seen.refreshes += 1);
            let scope = inner.note(|notes| notes.refresh.remove(field("refresh_token")));
            let Some(scope) = scope else { return inner.refuse("the token is unknown or spent", StatusCode::BAD_REQUEST, "invalid_grant") };
            (scope, (inner.claims(), script.refreshed))
        }
        _ => return inner.refuse("the grant is of no known type", StatusCode::BAD_REQUEST, "unsupported_grant_type"),
    };
    if script.rotates {
        inner.rotate();
    }
    Json(inner.answer(&script, scope, claims)).into_response()
}

/// RFC 7009 section 2.
async fn revoke(State(inner): State<Arc<Inner>>, headers: HeaderMap, Form(form): Form<Pairs>) -> Response {
    match client::once(form).and_then(|form| inner.client(&headers, &form).map(|()| form)) {
        Err(offence) => inner.refuse(offence, StatusCode::UNAUTHORIZED, "invalid_client"),
        Ok(form) => {
            let token = form.get("token").map_or("", String::as_str);
            inner.note(|notes| (notes.access.remove(token), notes.refresh.remove(token)));
            StatusCode::OK.into_response()
        }
    }
}

/// RFC 6750 section 2.1: the token is in the header, and nowhere else.
async fn userinfo(State(inner): State<Arc<Inner>>, headers: HeaderMap, uri: Uri, body: String) -> Response {
    inner.note(|notes| notes.seen.userinfo += 1);
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Bearer "));
    let live = bearer.is_some_and(|token| inner.note(|notes| notes.access.contains(token)));
    if !live || query(&uri).iter().any(|(name, _)| name == "access_token") || body.contains("access_token") {
        return inner.refuse("no access token of ours is in the header, or one is elsewhere", StatusCode::UNAUTHORIZED, "invalid_token");
    }
    let script = inner.script();
    let mut told = json!({ "sub": SUBJECT, "email": EMAIL, "email_verified": true });
    (script.userinfo)(&mut told, &inner.issuer);
    if script.signed_userinfo {
        let signed = lock(&inner.keys).1.of(Alg::Rs256).sign(Alg::Rs256, &json!({ "alg": "RS256" }), &told);
        return ([(header::CONTENT_TYPE, "application/jwt")], signed).into_response();
    }
    Json(told).into_response()
}

/// Where distributed claims say that they are.
async fn claims(State(inner): State<Arc<Inner>>) -> StatusCode {
    inner.note(|notes| notes.seen.claims += 1);
    StatusCode::OK
}

impl Inner {
    fn script(&self) -> Script {
        *lock(&self.script)
    }

    fn note<T>(&self, change: impl FnOnce(&mut Notes) -> T) -> T {
        change(&mut lock(&self.notes))
    }

    fn refuse(&self, offence: impl Into<String>, status: StatusCode, error: &str) -> Response {
        self.note(|notes| notes.offences.push(offence.into()));
        (status, Json(json!({ "error": error }))).into_response()
    }

    fn rotate(&self) {
        let mut keys = lock(&self.keys);
        let rotations = keys.0 + 1;
        *keys = (rotations, Keys::new(rotations));
    }

    /// Checks the client's proof; an assertion works once (RFC 7523 section 3).
    fn client(&self, headers: &HeaderMap, form: &Parameters) -> Result<(), String> {
        let now = self.clock.now().unix_timestamp();
        let jti = client::proof(self.profile, &self.issuer, now, headers, form)?;
        let is_new = jti.is_none_or(|jti| self.note(|notes| notes.assertions.insert(jti)));
        if is_new { Ok(()) } else { Err("the assertion was used before".to_owned()) }
    }

    /// The request behind a `request_uri`, which works once; nothing else is in the URL (RFC 9126 sections 4 and 5).
    fn pushed(&self, query: &Parameters) -> Result<Parameters, String> {
        if query.len() != 2 || query.get("client_id").is_none_or(|id| id != CLIENT_ID) {
            return Err("there is more in the URL than client_id and request_uri, or less".to_owned());
        }
        let name = query.get("request_uri").ok_or("the URL has no request_uri")?;
        self.note(|notes| notes.pushed.remove(name)).ok_or_else(|| "the request_uri is unknown or spent".to_owned())
    }

    fn claims(&self) -> Value {
        let now = self.clock.now().unix_timestamp();
        json!({ "iss": self.issuer, "aud": CLIENT_ID, "sub": SUBJECT, "iat": now, "exp": now + 600 })
    }

    fn answer(&self, script: &Script, scope: String, (mut claims, edit): (Value, Edit)) -> Value {
        let (access, refresh) = (keys::random(), keys::random());
        claims["at_hash"] = json!(keys::half_hash(&access));
        edit(&mut claims);
        let mut answer = json!({
            "access_token": access, "token_type": "Bearer", "expires_in": 3600, "scope": scope, "refresh_token": refresh,
            "id_token": self.id_token(script, &claims),
        });
        self.note(|notes| {
            notes.access.insert(access);
            notes.refresh.insert(refresh, scope);
        });
        (script.answer)(&mut answer);
        answer
    }

    fn id_token(&self, script: &Script, claims: &Value) -> String {
        let keys = &lock(&self.keys).1;
        let header = |alg: &str, kid: &str| {
            let mut header = json!({ "alg": alg, "typ": "JWT", "kid": kid });
            (script.header)(&mut header);
            header
        };
        let by = |alg: Alg| keys.of(alg).sign(alg, &header(alg.name(), keys.of(alg).kid()), claims);
        let mac = |secret: &[u8]| keys::hs256(secret, &header("HS256", keys.rsa.kid()), claims);
        match script.signature {
            Signature::Good(alg) => by(alg),
            Signature::Broken(alg) => keys::broken(&by(alg)),
            Signature::None => format!("{}.", keys::unsigned(&header("none", keys.rsa.kid()), claims)),
            Signature::ClientSecret => mac(CLIENT_SECRET.as_bytes()),
            Signature::ClientSecretBroken => keys::broken(&mac(CLIENT_SECRET.as_bytes())),
            Signature::PublicKey => mac(keys.rsa.public_pem().as_bytes()),
        }
    }
}

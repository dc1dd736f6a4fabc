//! Journeys against a certified OpenID provider that is not ours: npm `oidc-provider`, in `tests/certified`.
//!
//! Needs Node and `npm ci --prefix tests/certified`; without them every test says that it was skipped. With
//! `MANDATE_REQUIRE_NODE=1` a skip is a failure.
//!
//! The API's bearer tokens are signed with a static HS256 key, so that the provider's issuer is not theirs, and whoever signs in
//! directly is told by the verified e-mail.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header};
use local::client::{Answer, Api, Http};
use local::stack::{Options, Stack};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use serde_json::{Value, json};
use shared::ports::clock::Clock as _;
use shared::system::SystemClock;
use tests::clock::Ahead;
use time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use url::Url;
use url::form_urlencoded::Serializer;

const CONNECTION: &str = "conn_certified";
const CLIENT_ID: &str = "mandate";
const CLIENT_SECRET: &str = "a client secret: with + and % in it";
const ORGANIZATION: &str = "org_demo";
const API_ISSUER: &str = "https://issuer.example.com/";
const API_AUDIENCE: &str = "https://api.example.com";
const API_KEY: [u8; 32] = *b"thirty-two bytes for tests only.";
/// How long the provider's access tokens live, in seconds: less than a hand-out may ask for.
const ACCESS_TTL: i64 = 600;

/// The provider's process. It ends with this value: its standard input does, and it is killed.
struct Provider {
    issuer: String,
    _process: Child,
}

/// The provider and a stack that is connected to it.
struct World {
    provider: Provider,
    stack: Stack,
    clock: Arc<Ahead>,
    http: Http,
    api: Api,
}

/// Where the provider's code is, if it can run here; else what is missing.
fn installed() -> Result<PathBuf, &'static str> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("certified");
    let node = std::process::Command::new("node").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !node.is_ok_and(|status| status.success()) {
        return Err("node is not installed");
    }
    if !folder.join("node_modules/oidc-provider/package.json").is_file() {
        return Err("its packages are not installed: run `npm ci --prefix tests/certified`");
    }
    Ok(folder)
}

/// `None` if the test is skipped, which is said aloud whether or not the test's output is captured.
#[expect(clippy::disallowed_methods, reason = "how strict a test is, is said by its environment")]
#[expect(clippy::explicit_write, reason = "what is printed by macros is captured")]
async fn world() -> Option<World> {
    match installed() {
        Ok(folder) => Some(start(&folder).await),
        Err(missing) => {
            let required = std::env::var("MANDATE_REQUIRE_NODE").is_ok_and(|value| value == "1");
            assert!(!required, "MANDATE_REQUIRE_NODE=1, but {missing}");
            writeln!(io::stderr(), "skipped: {missing}").unwrap();
            None
        }
    }
}

async fn start(folder: &Path) -> World {
    // The client's redirect URI has the stack's address in it, and the stack's directory the provider's.
    let listen = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let base = format!("http://{listen}");
    let provider = provider(folder, &format!("{base}/workflows/authorization/callback/{CONNECTION}")).await;
    let clock = Arc::new(Ahead::default());
    let stack = Stack::start(Options {
        listen,
        directory: Some(directory(&base, &provider.issuer)),
        client_secrets: Some(json!({ CONNECTION: ["a secret of the past", CLIENT_SECRET] }).to_string()),
        secrets: vec![("mandate/api-key".to_owned(), json!({ "alg": "HS256", "secret": URL_SAFE_NO_PAD.encode(API_KEY) }).to_string())],
        clock: Arc::<Ahead>::clone(&clock),
        ..Options::ephemeral()
    });
    let stack = stack.await.unwrap();
    let api = Api::new(&base, bearer("usr_olivia", "olivia@example.com")).unwrap();
    World { provider, stack, clock, http: Http::new().unwrap(), api }
}

async fn provider(folder: &Path, redirect_uri: &str) -> Provider {
    let mut process = Command::new("node")
        .arg("server.mjs")
        .current_dir(folder)
        .env("REDIRECT_URI", redirect_uri)
        .env("CLIENT_ID", CLIENT_ID)
        .env("CLIENT_SECRET", CLIENT_SECRET)
        .env("ORGANIZATION", ORGANIZATION)
        .env("ACCESS_TTL", ACCESS_TTL.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().unwrap_or_default();
    let issuer = first.strip_prefix("issuer ").unwrap_or_else(|| unreachable!("the provider said {first:?}")).to_owned();
    Provider { issuer, _process: process }
}

fn directory(base: &str, issuer: &str) -> String {
    json!({
        "environment": "staging",
        "public_url": base,
        "error_doc_base": "https://example.com/errors/",
        "api_tokens": { "issuer": API_ISSUER, "audience": API_AUDIENCE, "static_key_secret": "mandate/api-key" },
        "redirect_uris": [{ "uri": "https://app.example.com/return?tab=1", "default": true }],
        "default_connection": CONNECTION,
        "connections": [{
            "id": CONNECTION,
            "provider": "certified",
            "organization_id": null,
            "linked": true,
            "kind": "oidc",
            "issuer": issuer,
            "client_id": CLIENT_ID,
            "token_endpoint_auth_method": "client_secret_basic",
            "scopes": ["openid", "email", "offline_access"],
            "allowed_scopes": ["openid", "email", "offline_access"],
            // OpenID Connect Core section 11: without it no refresh token.
            "extra_authorization_params": { "prompt": "consent" },
            "claims": { "subject": "sub", "email": "email", "organization": "org_id" },
            "rotation_grace": 0,
        }],
    })
    .to_string()
}

fn bearer(subject: &str, email: &str) -> String {
    let now = SystemClock.now().unix_timestamp();
    let claims = json!({
        "iss": API_ISSUER, "aud": API_AUDIENCE, "sub": subject, "org_id": ORGANIZATION, "email": email, "email_verified": true,
        "scopes": ["workflow_authorization:*"], "iat": now, "exp": now + 43_200,
    });
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(&API_KEY)).unwrap()
}

/// What a hand-out gave.
struct Token {
    access_token: String,
    generation: u64,
}

impl World {
    /// A sign-in URL.
    async fn url(&self, fields: Value) -> String {
        let created = self.api.post("/workflows/authorization", fields).await.unwrap();
        assert_eq!(created.status, 200, "{}", created.text);
        created.json()["url"].as_str().unwrap().to_owned()
    }

    /// Signs in through the provider's forms and goes on to where the browser ends: a page of ours, or a place outside.
    async fn sign_in(&self, url: &str, login: &str) -> Answer {
        let (base, mut cookies) = (format!("http://{}/", self.stack.api()), Cookies::default());
        let mut at = Url::parse(url).unwrap();
        let mut form = None;
        for _ in 0..20 {
            let (cookie, method) = (cookies.for_path(at.path()), if form.is_some() { Method::POST } else { Method::GET });
            let mut headers = vec![(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")];
            if at.as_str().starts_with(&self.provider.issuer) {
                headers.push((COOKIE.as_str(), cookie.as_str()));
            }
            let answer = self.http.send(method, at.as_str(), &headers, form.take()).await.unwrap();
            cookies.keep(&answer);
            if !answer.location().is_empty() {
                let next = at.join(answer.location()).unwrap();
                if !next.as_str().starts_with(&self.provider.issuer) && !next.as_str().starts_with(&base) {
                    return answer;
                }
                at = next;
            } else if let (true, Some(prompt)) = (answer.status == 200, between(&answer.text, "name=\"prompt\" value=\"", "\"")) {
                form =
                    Some(Serializer::new(String::new()).extend_pairs([("prompt", prompt), ("login", login), ("password", "any")]).finish());
                at = at.join(between(&answer.text, "action=\"", "\"").unwrap()).unwrap();
            } else {
                return answer;
            }
        }
        unreachable!("the sign-in does not end")
    }

    /// Signs Olivia in directly; the id of what was stored.
    async fn stored(&self) -> String {
        let page = self.sign_in(&self.url(json!({})).await, "olivia").await;
        assert_eq!(page.status, 200, "{}", page.text);
        let list = self.api.get("/workflows/authorization").await.unwrap().json();
        list[0]["id"].as_str().unwrap().to_owned()
    }

    async fn bind(&self, workflow: &str, authorization: &str) {
        let bound = self.api.put(&format!("/workflows/{workflow}/authorization"), json!({ "authorization_id": authorization })).await;
        assert_eq!(bound.unwrap().status, 200);
    }

    async fn hand_out(&self, authorization: &str, min_ttl: u32) -> Answer {
        let body = json!({ "workflow_id": "fl_backup", "min_ttl": min_ttl });
        self.api.post(&format!("/workflows/authorization/{authorization}/token"), body).await.unwrap()
    }

    async fn token(&self, authorization: &str, min_ttl: u32) -> Token {
        let answer = self.hand_out(authorization, min_ttl).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let token = answer.json();
        assert_eq!(token["degraded"], json!(false), "{token}");
        Token { access_token: token["access_token"].as_str().unwrap().to_owned(), generation: token["generation"].as_u64().unwrap() }
    }

    async fn one(&self, authorization: &str) -> Value {
        self.api.get(&format!("/workflows/authorization/{authorization}")).await.unwrap().json()
    }

    /// Who the provider says that an access token belongs to.
    async fn userinfo(&self, token: &Token) -> Answer {
        let authorization = format!("Bearer {}", token.access_token);
        let url = format!("{}/me", self.provider.issuer);
        self.http.send(Method::GET, &url, &[(AUTHORIZATION.as_str(), &authorization)], None).await.unwrap()
    }

    /// Whether the provider still honours an access token (RFC 7662).
    async fn is_active(&self, token: &Token) -> bool {
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(CLIENT_ID), encode(CLIENT_SECRET))));
        let headers = [(AUTHORIZATION.as_str(), basic.as_str()), (CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")];
        let form = Serializer::new(String::new()).append_pair("token", &token.access_token).finish();
        let url = format!("{}/token/introspection", self.provider.issuer);
        let answer = self.http.send(Method::POST, &url, &headers, Some(form)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["active"] == json!(true)
    }

    /// How often something happened at the provider.
    async fn count(&self, what: &str) -> u64 {
        let url = format!("{}/control/counters", self.provider.issuer);
        self.http.send(Method::GET, &url, &[], None).await.unwrap().json()[what].as_u64().unwrap()
    }

    /// Somebody else presents a refresh token that was used before: the provider ends the grant (RFC 9700 section 4.14.2).
    async fn replay(&self) {
        let url = format!("{}/control/replay", self.provider.issuer);
        let answer = self.http.send(Method::POST, &url, &[], None).await.unwrap().json();
        assert_eq!((&answer["status"], &answer["error"]), (&json!(400), &json!("invalid_grant")));
    }

    fn put_forward(&self, seconds: i64) {
        self.clock.advance(Duration::seconds(seconds));
    }
}

/// The cookies of one browser at one host, by name and path (RFC 6265, as far as this provider uses it).
#[derive(Default)]
struct Cookies(BTreeMap<(String, String), String>);

impl Cookies {
    fn keep(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all(SET_COOKIE) {
            let mut parts = cookie.to_str().unwrap().split("; ");
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let path = parts.find_map(|part| part.strip_prefix("path=")).unwrap_or("/");
            self.0.insert((name.to_owned(), path.to_owned()), value.to_owned());
        }
    }

    fn for_path(&self, path: &str) -> String {
        let mut header = String::new();
        for ((name, at), value) in self.0.iter().filter(|((_, at), value)| path.starts_with(at.as_str()) && !value.is_empty()) {
            let _ = (at, write!(header, "{}{name}={value}", if header.is_empty() { "" } else { "; " }));
        }
        header
    }
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_lives_through_rotation_reuse_detection_and_reauthorization() {
    let Some(world) = world().await else { return };

    // It is stored under the identity that userinfo tells: the provider's id_tokens hold a subject and no more.
    let id = world.stored().await;
    let stored = world.one(&id).await;
    assert_eq!(stored["email"], "olivia@example.com");
    assert_eq!((&stored["user_id"], &stored["status"]), (&json!("olivia"), &json!("active")));
    assert_eq!(stored["scopes"], json!(["email", "offline_access", "openid"]));
    assert_eq!(stored["refreshable"], json!(true));

    // A workflow gets the token of the sign-in, and it works.
    world.bind("fl_backup", &id).await;
    let first = world.token(&id, 60).await;
    assert_eq!(world.userinfo(&first).await.json()["email"], "olivia@example.com");
    assert_eq!(world.count("refresh_token").await, 0);

    // Asked for a longer life than any token has, it is refreshed each time, with the rotated refresh token.
    let mut last = first;
    for refreshes in 1..=5 {
        let token = world.token(&id, 3600).await;
        assert_eq!(token.generation, last.generation + 1);
        assert_ne!(token.access_token, last.access_token);
        assert_eq!(world.userinfo(&token).await.status, 200);
        assert_eq!(world.count("refresh_token").await, refreshes);
        last = token;
    }

    // The schedule refreshes what is in use before it ends.
    world.put_forward(ACCESS_TTL - 1);
    let report = world.stack.functions().invoke("refresh", json!({})).await.unwrap();
    assert_eq!((&report["due"], &report["refreshed"], &report["failed"]), (&json!(1), &json!(1), &json!(0)), "{report}");
    let scheduled = world.token(&id, 60).await;
    assert_eq!(scheduled.generation, last.generation + 1);
    assert_eq!(world.count("refresh_token").await, 6);

    // A check proves that it works, and tells no token.
    let check = world.api.post(&format!("/workflows/authorization/{id}/check"), json!({})).await.unwrap();
    assert_eq!((check.status, &check.json()["ok"]), (200, &json!(true)), "{}", check.text);
    assert_eq!(world.count("refresh_token").await, 7);
    assert_eq!(world.count("invalid_grant").await, 0);

    // The provider ends the grant because an old refresh token came back. Nothing but a person helps now.
    world.replay().await;
    assert_eq!(world.count("grants_revoked").await, 1);
    let refused = world.hand_out(&id, 3600).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("needs_reauthorization")), "{}", refused.text);
    let ended = world.one(&id).await;
    assert_eq!((&ended["status"], &ended["reason"]), (&json!("needs_reauthorization"), &json!("invalid_grant")));
    let refusals = world.count("invalid_grant").await;
    assert_eq!(world.hand_out(&id, 0).await.status, 409);
    assert_eq!(world.count("invalid_grant").await, refusals, "a dead refresh token is not presented again");

    // Another account cannot take it over.
    let url = world.url(json!({ "authorization_id": id, "redirect_uri": "https://app.example.com/return?tab=1" })).await;
    let back = world.sign_in(&url, "mallory").await;
    let code = query(back.location(), "code");
    let mismatch = world.api.post("/workflows/authorization/complete", json!({ "code": code })).await.unwrap();
    assert_eq!((mismatch.status, &mismatch.json()["code"]), (409, &json!("identity_mismatch")), "{}", mismatch.text);
    assert_eq!(world.one(&id).await["status"], "needs_reauthorization");

    // Olivia signs in again: same id, same binding, and it works again.
    let page = world.sign_in(&world.url(json!({ "authorization_id": id })).await, "olivia").await;
    assert_eq!(page.status, 200, "{}", page.text);
    let again = world.one(&id).await;
    assert_eq!((&again["status"], &again["reason"], &again["workflow_count"]), (&json!("active"), &Value::Null, &json!(1)));
    let token = world.token(&id, 3600).await;
    assert!(world.is_active(&token).await);

    // Revoked here means revoked there.
    let path = format!("/workflows/authorization/{id}");
    assert_eq!(world.api.delete(&path).await.unwrap().json()["code"], "authorization_in_use");
    assert!(world.is_active(&token).await);
    assert_eq!(world.api.delete("/workflows/fl_backup/authorization").await.unwrap().status, 204);
    assert_eq!(world.api.delete(&path).await.unwrap().status, 204);
    assert!(!world.is_active(&token).await);
    assert_eq!(world.userinfo(&token).await.status, 401);
    assert_eq!(world.hand_out(&id, 0).await.status, 404);
    assert_eq!(world.api.get("/workflows/authorization").await.unwrap().json(), json!([]));
    world.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirect_mode_gives_a_completion_code_that_only_the_beginner_can_use() {
    let Some(world) = world().await else { return };
    // The verifier and challenge of RFC 7636 appendix B.
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let url = world.url(json!({
        "redirect_uri": "https://app.example.com/return?tab=1",
        "state": "a state & more",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }));
    // Another account than the caller's may sign in: it is an operator's.
    let back = world.sign_in(&url.await, "operator").await;
    assert_eq!(back.status, 303);
    assert!(back.location().starts_with("https://app.example.com/return?tab=1&"), "{}", back.location());
    assert_eq!(query(back.location(), "state"), "a state & more");
    assert_eq!(world.count("authorization_code").await, 0, "the callback of redirect mode redeems nothing");
    let code = query(back.location(), "code");

    let complete = |api: Api, body: Value| async move { api.post("/workflows/authorization/complete", body).await.unwrap() };
    let somebody = world.api.with_bearer(bearer("usr_ben", "ben@example.com"));
    let stolen = complete(somebody, json!({ "code": code, "code_verifier": verifier })).await;
    assert_eq!((stolen.status, &stolen.json()["code"]), (404, &json!("flow_not_found")));
    let bare = complete(world.api.clone(), json!({ "code": code })).await;
    assert_eq!((bare.status, &bare.json()["code"]), (400, &json!("code_verifier_invalid")));
    assert_eq!(world.count("authorization_code").await, 0);

    let stored = complete(world.api.clone(), json!({ "code": code, "code_verifier": verifier })).await;
    assert_eq!(stored.status, 201, "{}", stored.text);
    assert_eq!((&stored.json()["email"], &stored.json()["created_by"]), (&json!("operator@example.com"), &json!("usr_olivia")));
    let repeated = complete(world.api.clone(), json!({ "code": code, "code_verifier": verifier })).await;
    assert_eq!((repeated.status, &repeated.json()["id"]), (200, &stored.json()["id"]));
    assert_eq!(world.count("authorization_code").await, 1);

    // The provider's refusal comes back, too.
    let refused = world.url(json!({ "redirect_uri": "https://app.example.com/return?tab=1", "state": "s", "prompt": "none" })).await;
    let back = world.sign_in(&refused, "operator").await;
    assert_eq!((back.status, query(back.location(), "error"), query(back.location(), "state")), (303, "oauth_failed".into(), "s".into()));
    world.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_s_account_is_refused_and_its_tokens_are_revoked() {
    let Some(world) = world().await else { return };
    let page = world.sign_in(&world.url(json!({})).await, "mallory").await;
    assert_eq!(page.status, 403, "{}", page.text);
    assert_eq!((world.count("authorization_code").await, world.count("grants_revoked").await), (1, 1));
    assert_eq!(world.api.get("/workflows/authorization").await.unwrap().json(), json!([]));
    world.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_hand_outs_at_expiry_are_one_refresh_and_the_grant_survives() {
    let Some(world) = world().await else { return };
    let id = world.stored().await;
    world.bind("fl_backup", &id).await;
    let mut generation = world.token(&id, 60).await.generation;
    let world = Arc::new(world);
    for round in 1..=3 {
        world.put_forward(ACCESS_TTL + 1);
        let mut callers = JoinSet::new();
        for _ in 0..30 {
            let (world, id) = (Arc::clone(&world), id.clone());
            callers.spawn(async move { world.token(&id, 60).await });
        }
        let tokens = callers.join_all().await;
        generation += 1;
        assert!(tokens.iter().all(|t| t.generation == generation && t.access_token == tokens[0].access_token));
        assert_eq!(world.count("refresh_token").await, round);
        assert_eq!(world.userinfo(&tokens[0]).await.status, 200);
    }
    assert_eq!((world.count("invalid_grant").await, world.count("grants_revoked").await), (0, 0));
}

/// A parameter of a URL's query.
fn query(url: &str, name: &str) -> String {
    let url = Url::parse(url).unwrap();
    url.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

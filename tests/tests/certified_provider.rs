//! Journeys against a certified OpenID provider that is not ours: npm `oidc-provider`, in `tests/certified`.
//!
//! Needs Node and `npm ci --prefix tests/certified`; without them every test says that it was skipped. With
//! `MANDATE_REQUIRE_NODE=1` a skip is a failure.
//!
//! The API's bearer tokens are signed with a static HS256 key, so that the provider's issuer is not theirs, and whoever signs in
//! directly is told by the verified e-mail.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

#[path = "../certified/provider.rs"]
mod provider;

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use local::client::{Answer, Api, Http};
use local::stack::{Options, Stack};
use provider::{CLIENT_SECRET, CONNECTION, Provider, api_key, bearer, directory};
use serde_json::{Value, json};
use tests::clock::Ahead;
use time::Duration;
use tokio::task::JoinSet;
use url::Url;

/// How long the provider's access tokens live, in seconds: less than a hand-out may ask for.
const ACCESS_TTL: i64 = 600;

/// The provider and a stack that is connected to it.
struct World {
    provider: Provider,
    stack: Stack,
    clock: Arc<Ahead>,
    http: Http,
    api: Api,
}

async fn world() -> Option<World> {
    match provider::code() {
        Some(folder) => Some(start(&folder).await),
        None => None,
    }
}

async fn start(folder: &Path) -> World {
    // The client's redirect URI has the stack's address in it, and the stack's directory the provider's.
    let listen = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let base = format!("http://{listen}");
    let provider = Provider::start(folder, &format!("{base}/workflows/authorization/callback/{CONNECTION}"), ACCESS_TTL, None);
    let clock = Arc::new(Ahead::default());
    let stack = Stack::start(Options {
        listen,
        directory: Some(directory(&base, &provider.issuer)),
        client_secrets: Some(json!({ CONNECTION: ["a secret of the past", CLIENT_SECRET] }).to_string()),
        secrets: vec![("mandate/api-key".to_owned(), api_key())],
        clock: Arc::<Ahead>::clone(&clock),
        ..Options::ephemeral()
    });
    let stack = stack.await.unwrap();
    let api = Api::new(&base, bearer("usr_olivia", "olivia@example.com")).unwrap();
    World { provider, stack, clock, http: Http::new().unwrap(), api }
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
        self.provider.sign_in(&self.http, &format!("http://{}/", self.stack.api()), url, login).await
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

    async fn userinfo(&self, token: &Token) -> Answer {
        self.provider.userinfo(&self.http, &token.access_token).await
    }

    async fn is_active(&self, token: &Token) -> bool {
        self.provider.is_active(&self.http, &token.access_token).await
    }

    async fn count(&self, what: &str) -> u64 {
        self.provider.count(&self.http, what).await
    }

    fn put_forward(&self, seconds: i64) {
        self.clock.advance(Duration::seconds(seconds));
    }
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
    world.provider.replay(&world.http).await;
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

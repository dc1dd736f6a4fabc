//! Connections to OpenID and plain OAuth 2.0 providers on the whole stack: pushed requests, what is asked for, and what becomes of the
//! answers (contract sections 4, 6 and 10).
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it stands")]

use std::collections::BTreeSet;

use local::stack::{Options, Stack, StartError};
use serde_json::{Value, json};
use shared::telemetry;
use tests::pushing::{CLIENT_SECRET, METADATA, PAR, Pushing, REVOKE, TOKEN, USERINFO};
use tests::script::Instead;
use tests::tokens::KEY;
use tests::{Caller, Expect as _, World};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use url::Url;

const CONNECTION: &str = "conn_pushing";

async fn world() -> (Pushing, World, Caller) {
    changed(|_| {}).await
}

/// A world where the connection is changed.
async fn changed(change: impl FnOnce(&mut Value)) -> (Pushing, World, Caller) {
    let provider = Pushing::start().await;
    let mut connection = provider.connection(CONNECTION);
    change(&mut connection);
    let world = World::with_connections(vec![(connection, &[CLIENT_SECRET])], Some(provider.clock())).await;
    let olivia = world.olivia();
    (provider, world, olivia)
}

/// The provider does not ask for pushing.
fn plain(provider: &Pushing) {
    provider.script(|script| script.metadata["require_pushed_authorization_requests"] = Value::Null);
}

fn body(world: &World) -> Value {
    json!({ "connection_id": CONNECTION, "redirect_uri": world.return_to() })
}

async fn stored(provider: &Pushing, world: &World, caller: &Caller) -> Value {
    let back = world.open(&provider.come_back(&world.url(caller, body(world)).await)).await;
    caller.complete(json!({ "code": back.sent("code") })).await.is(201)
}

async fn bound(provider: &Pushing, world: &World, caller: &Caller) -> String {
    let id = stored(provider, world, caller).await["id"].as_str().unwrap().to_owned();
    world.bind(caller, "fl_1", &id).await;
    id
}

fn fl_1() -> Value {
    json!({ "workflow_id": "fl_1" })
}

#[tokio::test]
async fn s15_a_required_push_carries_the_whole_sign_in_in_both_modes() {
    for method in ["client_secret_basic", "client_secret_post"] {
        let (provider, world, olivia) = changed(|connection| connection["token_endpoint_auth_method"] = json!(method)).await;
        let created = olivia.post("/workflows/authorization", body(&world)).await.is(200);
        let at = OffsetDateTime::parse(created["expires_at"].as_str().unwrap(), &Rfc3339).unwrap();
        assert_eq!(at - world.now(), Duration::seconds(90), "no longer than the provider keeps the request");
        let url = created["url"].as_str().unwrap();
        let names: Vec<String> = Url::parse(url).unwrap().query_pairs().map(|(name, _)| name.into_owned()).collect();
        assert_eq!(names, ["client_id", "request_uri"]);
        let back = world.open(&provider.come_back(url)).await;
        olivia.complete(json!({ "code": back.sent("code") })).await.is(201);
        assert!(provider.request(url).is_none(), "a request_uri works once");

        let url = world.url(&olivia, json!({ "connection_id": CONNECTION })).await;
        world.open(&provider.come_back(&url)).await.page(200);
        assert_eq!(provider.asked(PAR).len(), 2, "two URLs, two pushes");
        let states: BTreeSet<_> = provider.asked(PAR).iter().map(|asked| asked.form("state")).collect();
        assert_eq!(states.len(), 2);
    }
}

#[tokio::test]
async fn s15_a_connection_may_push_where_nobody_requires_it() {
    for pushes in [true, false] {
        let (provider, world, olivia) = changed(|connection| connection["pushed_authorization_requests"] = json!(pushes)).await;
        plain(&provider);
        let url = world.url(&olivia, body(&world)).await;
        assert_eq!((url.contains("request_uri"), url.contains("code_challenge")), (pushes, !pushes));
        assert_eq!(provider.asked(PAR).len(), usize::from(pushes));
    }
}

#[tokio::test]
async fn s15_what_the_provider_answers_wrongly_is_the_contracts_error_and_no_url() {
    let (provider, world, olivia) = world().await;
    let error = |status: u16, code: &str| Instead::json(status, &json!({ "error": code, "error_description": "<b>own words</b>" }));
    let took = |more: Value| {
        let mut answer = json!({ "request_uri": "urn:x:1", "expires_in": 60 });
        for (name, value) in more.as_object().unwrap() {
            answer[name] = value.clone();
        }
        Instead::json(201, &answer)
    };
    for (instead, status, code) in [
        (error(400, "invalid_request"), 502, "oauth_failed"),
        (error(401, "invalid_client"), 502, "oauth_failed"),
        (error(403, "unauthorized_client"), 502, "oauth_failed"),
        (Instead::text(413, ""), 503, "provider_unavailable"),
        (Instead::text(429, "").with("retry-after", "7"), 503, "provider_unavailable"),
        (error(500, "server_error"), 503, "provider_unavailable"),
        (Instead::text(503, "<html>"), 503, "provider_unavailable"),
        (Instead::text(302, "").with("location", "https://elsewhere.example/"), 502, "oauth_failed"),
        (Instead::text(201, "<html>"), 502, "oauth_failed"),
        (Instead::json(201, &json!({ "expires_in": 60 })), 502, "oauth_failed"),
        (took(json!({ "request_uri": 5 })), 502, "oauth_failed"),
        (took(json!({ "expires_in": 0 })), 502, "oauth_failed"),
        (took(json!({ "expires_in": "60" })), 502, "oauth_failed"),
        (took(json!({ "expires_in": null })), 502, "oauth_failed"),
    ] {
        let what = format!("{instead:?}");
        provider.once(PAR, instead);
        let answer = olivia.post("/workflows/authorization", body(&world)).await;
        let refused = answer.refused(status, code);
        assert!(refused.get("url").is_none() && !answer.text.contains("own words"), "{what} {}", answer.text);
    }
    let url = world.url(&olivia, body(&world)).await;
    assert!(url.contains("request_uri="), "the next one may be well");
}

#[tokio::test]
async fn s15_the_next_client_secret_is_tried_where_a_push_is_refused() {
    let provider = Pushing::start().await;
    let secrets: &[&str] = &["the-next-secret", CLIENT_SECRET];
    let world = World::with_connections(vec![(provider.connection(CONNECTION), secrets)], Some(provider.clock())).await;
    let olivia = world.olivia();
    stored(&provider, &world, &olivia).await;
    assert_eq!((provider.asked(PAR).len(), provider.asked(TOKEN).len()), (2, 2));
}

/// Starts a stack with this directory and these client secrets: what stops it.
async fn start(directory: impl FnOnce(&mut Value), client_secrets: Option<Value>) -> Result<(), String> {
    let mut options = Options::ephemeral();
    let mut document: Value = serde_json::from_str(&local::demonstration::directory(options.listen)).unwrap();
    directory(&mut document);
    options.directory = Some(document.to_string());
    options.client_secrets = client_secrets.map(|secrets| secrets.to_string());
    match Stack::start(options).await {
        Ok(stack) => {
            stack.stop().await;
            Ok(())
        }
        Err(StartError::Functions(error)) => Err(telemetry::chain(&error)),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_key_that_cannot_sign_stops_the_start_by_its_path() {
    let keys = |pem: &str| json!({ "conn_demo": ["secret"], "conn_b": ["x", { "kid": "k1", "pem": KEY }, { "kid": "k2", "pem": pem }] });
    assert_eq!(start(|_| {}, Some(keys(KEY))).await, Ok(()));
    let public = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n";
    for unusable in ["", "hunter2", public, &KEY.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), &KEY[..KEY.len() / 2]] {
        let told = start(|_| {}, Some(keys(unusable))).await.unwrap_err();
        assert_eq!(
            told,
            "failed to read the client secrets: conn_b[2].pem: must be a private key in PEM: RSA of at least 2048 bits, P-256 or Ed25519, \
             not encrypted",
            "{unusable:?}"
        );
    }
}

#[tokio::test]
async fn what_a_client_cannot_do_stops_the_start_by_its_path() {
    let with = |name: &'static str, value: Value| {
        move |directory: &mut Value| {
            let connection = json!({
                "id": "conn_b", "provider": "b", "kind": "oauth2", "authorization_endpoint": "https://b.example/a",
                "token_endpoint": "https://b.example/t", "client_id": "b", "scopes": [],
            });
            let connections = directory["connections"].as_array_mut().unwrap();
            connections.push(connection);
            connections[1][name] = value;
        }
    };
    assert_eq!(start(with("linked", json!(true)), None).await, Ok(()));
    let told = start(with("pushed_authorization_requests", json!(true)), None).await.unwrap_err();
    assert!(told.contains("connections[1].pushed_authorization_requests: needs kind oidc"), "{told}");
    let told = start(with("token_endpoint_auth_method", json!("private_key_jwt")), None).await.unwrap_err();
    assert!(told.contains("connections[1].token_endpoint_auth_method: needs kind oidc"), "{told}");
}

#[tokio::test]
async fn s37_a_client_with_a_key_signs_in_is_refreshed_and_is_revoked_for_the_issuer_alone() {
    let provider = Pushing::start().await;
    let mut connection = provider.connection(CONNECTION);
    connection["token_endpoint_auth_method"] = json!("private_key_jwt");
    let issuer = provider.issuer().to_owned();
    let clock = provider.clock();
    let secrets = json!({ "conn_demo": ["demonstration-client-secret"], CONNECTION: [{ "kid": "k1", "pem": KEY }] });
    let world = World::with_secrets(vec![connection], &secrets, clock).await;
    let olivia = world.olivia();
    let id = bound(&provider, &world, &olivia).await;
    world.pass(Duration::HOUR);
    assert_eq!(olivia.token(&id, fl_1()).await.is(200)["generation"], 2);
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    olivia.delete(&format!("/workflows/authorization/{id}")).await.is(204);
    let asked: Vec<_> = [PAR, TOKEN, REVOKE].into_iter().flat_map(|path| provider.asked(path)).collect();
    assert!(asked.len() >= 4);
    let mut jtis = BTreeSet::new();
    for asked in asked {
        assert_eq!((asked.header("authorization"), asked.form("client_secret")), ("", None));
        let assertion = asked.form("client_assertion").unwrap();
        let claims: Value = {
            use base64::Engine as _;
            let part = assertion.split('.').nth(1).unwrap();
            serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(claims["aud"], json!(issuer), "{}", asked.path);
        // Each request has one of its own; revoking the second token in one go repeats none.
        jtis.insert(claims["jti"].to_string());
    }
    assert!(jtis.len() >= 4, "{jtis:?}");
}

#[tokio::test]
async fn s06_without_a_word_of_pkce_in_the_metadata_pkce_state_and_nonce_are_held_to() {
    let (provider, world, olivia) = world().await;
    plain(&provider);
    provider.script(|script| script.metadata["code_challenge_methods_supported"] = Value::Null);
    let url = world.url(&olivia, body(&world)).await;
    for part in ["code_challenge=", "code_challenge_method=S256", "state=", "nonce="] {
        assert!(url.contains(part), "{part} in {url}");
    }
    let back = provider.come_back(&url);
    let without_state = back.split("&state=").next().unwrap();
    world.open(without_state).await.page(400);
    // The provider redeems for the verifier alone, and answers with another flow's nonce.
    provider.script(|script| script.id_token = json!({ "nonce": "another" }));
    let code = world.open(&back).await.sent("code");
    olivia.complete(json!({ "code": code })).await.refused(502, "oauth_failed");
    assert!(provider.asked(TOKEN)[0].form("code_verifier").is_some_and(|verifier| verifier.len() >= 43));
    assert_eq!(olivia.list().await, json!([]));
    provider.script(|script| script.id_token = json!({}));
    stored(&provider, &world, &olivia).await;
}

#[tokio::test]
async fn s08_only_the_code_flow_is_ever_asked_for() {
    let (provider, world, olivia) = world().await;
    plain(&provider);
    for response_type in ["token", "id_token", "code id_token", "code token", "none", "CODE", ""] {
        let mut body = body(&world);
        body["response_type"] = json!(response_type);
        olivia.post("/workflows/authorization", body).await.refused(400, "parameter_invalid");
    }
    for (name, value) in
        [("response_type", "token"), ("response_mode", "fragment"), ("grant_type", "password"), ("password", "x"), ("username", "x")]
    {
        let mut body = body(&world);
        body["provider_query_params"] = json!({ name: value });
        olivia.post("/workflows/authorization", body).await.refused(400, "parameter_reserved");
    }
    let mut explicit = body(&world);
    explicit["response_type"] = json!("code");
    for body in [explicit, body(&world)] {
        let url = Url::parse(&world.url(&olivia, body).await).unwrap();
        let types: Vec<_> = url.query_pairs().filter(|(name, _)| name == "response_type").map(|(_, value)| value.into_owned()).collect();
        assert_eq!(types, ["code"]);
    }
    let id = bound(&provider, &world, &olivia).await;
    world.pass(Duration::HOUR);
    olivia.token(&id, fl_1()).await.is(200);
    let grants: Vec<_> = provider.asked(TOKEN).iter().map(|asked| asked.form("grant_type").unwrap()).collect();
    assert_eq!(grants, ["authorization_code", "refresh_token"]);
    assert!(provider.asked(TOKEN).iter().all(|asked| asked.form("password").is_none() && asked.form("username").is_none()));
}

#[tokio::test]
async fn s09_scopes_stay_within_what_the_connection_allows_and_offline_access_is_the_connections_wish() {
    let (provider, world, olivia) = changed(|connection| {
        connection["allowed_scopes"] = json!(["openid", "email", "sites:read"]);
    })
    .await;
    plain(&provider);
    let ask = async |scopes: Value| {
        let mut body = body(&world);
        body["provider_scopes"] = scopes;
        olivia.post("/workflows/authorization", body).await
    };
    for beyond in [
        json!(["offline_access"]),
        json!("sites:read offline_access"),
        json!("sites:write"),
        json!(["openid", "sites:READ"]),
        json!("sites:read,admin"),
        json!(["sites"]),
    ] {
        ask(beyond).await.refused(400, "parameter_invalid");
    }
    let scope = |url: &str| Url::parse(url).unwrap().query_pairs().find(|(name, _)| name == "scope").unwrap().1.into_owned();
    let asked = ask(json!("sites:read")).await.is(200);
    assert_eq!(scope(asked["url"].as_str().unwrap()), "openid sites:read", "the identity has to be proved in any case");
    assert_eq!(scope(&world.url(&olivia, body(&world)).await), "email openid", "no offline_access of our own");

    let (provider, world, olivia) = changed(|connection| {
        connection["scopes"] = json!(["openid", "offline_access"]);
        connection["allowed_scopes"] = json!(["openid", "offline_access"]);
    })
    .await;
    plain(&provider);
    assert_eq!(scope(&world.url(&olivia, body(&world)).await), "offline_access openid");
}

#[tokio::test]
async fn s12_s54_the_browser_goes_only_where_the_pinned_issuers_own_document_sends_it() {
    let (provider, world, olivia) = world().await;
    let elsewhere =
        Instead::json(200, &json!({ "issuer": "https://evil.example", "authorization_endpoint": "https://evil.example/authorize" }));
    provider.once(METADATA, elsewhere);
    olivia.post("/workflows/authorization", body(&world)).await.refused(502, "oauth_failed");
    for endpoint in ["http://evil.example/authorize", "https://10.0.0.1/authorize", "javascript:alert(1)", "https://user@evil.example/"] {
        world.pass(Duration::seconds(4)); // a failure is believed for seconds
        provider.script(|script| script.metadata["authorization_endpoint"] = json!(endpoint));
        olivia.post("/workflows/authorization", body(&world)).await.refused(502, "oauth_failed");
    }
    world.pass(Duration::seconds(4));
    provider.script(|script| script.metadata = json!({}));
    let url = world.url(&olivia, body(&world)).await;
    assert!(url.starts_with(&format!("{}/authorize?", provider.issuer())));
    assert_eq!(provider.asked(PAR).len(), 1);
}

#[tokio::test]
async fn s31_the_redirect_uri_of_the_token_request_is_that_of_the_authorization_request() {
    let (provider, world, olivia) = world().await;
    for mode in [body(&world), json!({ "connection_id": CONNECTION })] {
        let back = world.open(&provider.come_back(&world.url(&olivia, mode.clone()).await)).await;
        if mode.get("redirect_uri").is_some() {
            olivia.complete(json!({ "code": back.sent("code") })).await.is(201);
        }
        let (pushed, redeemed) = (provider.asked(PAR).pop().unwrap(), provider.asked(TOKEN).pop().unwrap());
        assert_eq!(pushed.form("redirect_uri"), redeemed.form("redirect_uri"));
        let own = format!("{}/workflows/authorization/callback/{CONNECTION}", world.base());
        assert_eq!(redeemed.form("redirect_uri"), Some(own), "this service's own, and never the caller's");
    }
    assert_eq!(provider.asked(TOKEN).len(), 2);
}

#[tokio::test]
async fn s40_lifetimes_at_exchange_and_refresh_are_sensible_or_the_default() {
    let odd = [Value::Null, json!(-5), json!("soon"), json!("-5"), json!(1e300), json!([3600]), json!({}), json!(true)];
    let (provider, world, olivia) = world().await;
    for told in &odd {
        provider.script(|script| script.exchange = json!({ "expires_in": told }));
        let id = bound(&provider, &world, &olivia).await;
        assert_eq!(olivia.token(&id, fl_1()).await.is(200)["expires_in"], 3600, "{told}: the connection's default, and never no end");
        // At a refresh, too, whatever was known before (docs/decisions.md, entry 86).
        provider.script(|script| script.refresh = json!({ "expires_in": 600 }));
        world.pass(Duration::HOUR);
        assert_eq!(olivia.token(&id, fl_1()).await.is(200)["expires_in"], 600);
        provider.script(|script| script.refresh = json!({ "expires_in": told }));
        world.pass(Duration::minutes(10));
        let renewed = olivia.token(&id, fl_1()).await.is(200);
        assert_eq!((&renewed["expires_in"], &renewed["generation"]), (&json!(3600), &json!(3)), "{told}");
    }
    for (told, expected) in [(json!("120"), 120), (json!(120.9), 120), (json!(120), 120), (json!(3_000_000_000_u64), 366 * 86_400)] {
        provider.script(|script| (script.exchange, script.refresh) = (json!({ "expires_in": told }), json!({})));
        let id = bound(&provider, &world, &olivia).await;
        assert_eq!(olivia.token(&id, fl_1()).await.is(200)["expires_in"], expected, "{told}");
    }
    // A token that has ended when it comes is told as it is, and the next is asked for.
    provider.script(|script| (script.exchange, script.refresh) = (json!({ "expires_in": 0 }), json!({ "expires_in": 3600 })));
    let id = bound(&provider, &world, &olivia).await;
    assert_eq!(olivia.token(&id, fl_1()).await.is(200)["generation"], 2);
}

#[tokio::test]
async fn s41_what_was_granted_is_recorded_be_it_more_or_less_than_asked_for() {
    let (provider, world, olivia) = world().await;
    for (told, recorded) in [
        (json!("openid email"), json!(["email", "openid"])),
        (json!("openid"), json!(["openid"])),
        (json!("openid email sites:read sites:write"), json!(["email", "openid", "sites:read", "sites:write"])),
        (json!("openid,email,sites:write"), json!(["email", "openid", "sites:write"])),
        (json!(["openid", "email"]), json!(["email", "openid"])),
        (Value::Null, json!(["email", "openid"])),
        (json!(""), json!([])),
    ] {
        provider.script(|script| script.exchange = json!({ "scope": told }));
        let authorization = stored(&provider, &world, &olivia).await;
        assert_eq!(authorization["scopes"], recorded, "{told}");
        let id = authorization["id"].as_str().unwrap();
        let missing = json!({ "authorization_id": id, "required_scopes": ["sites:delete"] });
        let refused = olivia.put("/workflows/fl_1/authorization", missing).await.refused(409, "scopes_insufficient");
        assert_eq!(refused["missing_scopes"], json!(["sites:delete"]));
    }
}

#[tokio::test]
async fn s42_a_refresh_never_widens_what_was_granted_and_may_narrow_it() {
    let (provider, world, olivia) = world().await;
    let id = bound(&provider, &world, &olivia).await;
    provider.script(|script| script.refresh = json!({ "scope": "openid email sites:write admin" }));
    world.pass(Duration::HOUR);
    let renewed = olivia.token(&id, fl_1()).await.is(200);
    assert_eq!((&renewed["generation"], &renewed["scope"]), (&json!(2), &json!("email openid")));
    assert_eq!(olivia.one(&id).await["scopes"], json!(["email", "openid"]));
    let more = json!({ "authorization_id": id, "required_scopes": ["admin"] });
    olivia.put("/workflows/fl_2/authorization", more).await.refused(409, "scopes_insufficient");
    // Less is surfaced: a check names what a bound workflow misses.
    let needs_email = json!({ "authorization_id": id, "required_scopes": ["email"] });
    olivia.put("/workflows/fl_1/authorization", needs_email).await.is(200);
    provider.script(|script| script.refresh = json!({ "scope": "openid" }));
    let check = olivia.post(&format!("/workflows/authorization/{id}/check"), json!({})).await.is(200);
    assert_eq!((&check["ok"], &check["scopes"], &check["missing_scopes"]), (&json!(false), &json!(["openid"]), &json!(["email"])));
    assert_eq!(olivia.one(&id).await["scopes"], json!(["openid"]));
    // The requests themselves ask for no scopes.
    assert!(provider.asked(TOKEN)[1..].iter().all(|asked| asked.form("scope").is_none()));
}

#[tokio::test]
async fn s42_a_new_refresh_token_replaces_the_old_one_and_none_keeps_it() {
    let (provider, world, olivia) = world().await;
    let id = bound(&provider, &world, &olivia).await;
    let sent = |provider: &Pushing| provider.asked(TOKEN).last().unwrap().form("refresh_token").unwrap();
    world.pass(Duration::HOUR);
    olivia.token(&id, fl_1()).await.is(200);
    let first = sent(&provider);
    world.pass(Duration::HOUR);
    olivia.token(&id, fl_1()).await.is(200);
    let second = sent(&provider);
    assert_ne!(first, second, "the new one is used");
    provider.script(|script| script.rotates = false);
    world.pass(Duration::HOUR);
    olivia.token(&id, fl_1()).await.is(200);
    let third = sent(&provider);
    for empty in [json!({}), json!({ "refresh_token": "" })] {
        provider.script(|script| script.refresh = empty.clone());
        world.pass(Duration::HOUR);
        olivia.token(&id, fl_1()).await.is(200);
        assert_eq!(sent(&provider), third, "{empty}");
        assert_eq!(olivia.one(&id).await["refreshable"], true);
    }
}

#[tokio::test]
async fn without_openid_a_discovered_provider_proves_the_identity_by_userinfo() {
    let (provider, world, olivia) = changed(|connection| {
        connection["scopes"] = json!(["sites:read"]);
        connection["allowed_scopes"] = json!(["sites:read"]);
    })
    .await;
    plain(&provider);
    let url = world.url(&olivia, json!({ "connection_id": CONNECTION })).await;
    assert!(url.contains("scope=sites%3Aread&") && !url.contains("nonce"), "{url}");
    world.open(&provider.come_back(&url)).await.page(200);
    let one = olivia.list().await[0].clone();
    assert_eq!(
        (&one["user_id"], &one["email"], &one["scopes"]),
        (&json!("pushing-olivia"), &json!("ops@example.com"), &json!(["sites:read"]))
    );
    provider.once(USERINFO, Instead::json(200, &json!({ "sub": "x", "email": "mallory@elsewhere.example", "email_verified": true })));
    let url = world.url(&olivia, json!({ "connection_id": CONNECTION })).await;
    world.open(&provider.come_back(&url)).await.page(403);
    assert_eq!(olivia.list().await.as_array().unwrap().len(), 1);
    assert_eq!(provider.asked(REVOKE).len(), 2, "both tokens are given back");
}

#[tokio::test]
async fn a_provider_that_is_known_by_rfc_8414_alone_serves_like_any_other() {
    let provider = Pushing::start().await;
    let mut connection = provider.connection(CONNECTION);
    connection["issuer"] = json!(format!("{}/tenant", provider.issuer()));
    let metadata = |issuer: &str| {
        let base = provider.issuer();
        json!({
            "issuer": issuer, "authorization_endpoint": format!("{base}/authorize"), "token_endpoint": format!("{base}{TOKEN}"),
            "jwks_uri": format!("{base}/jwks.json"), "code_challenge_methods_supported": ["S256"],
        })
    };
    let issuer = connection["issuer"].as_str().unwrap().to_owned();
    provider.once("/.well-known/oauth-authorization-server/tenant", Instead::json(200, &metadata(&issuer)));
    provider.script(|script| script.id_token = json!({ "iss": issuer }));
    let world = World::with_connections(vec![(connection, &[CLIENT_SECRET])], Some(provider.clock())).await;
    let olivia = world.olivia();
    assert_eq!(stored(&provider, &world, &olivia).await["user_id"], "pushing-olivia");
    assert_eq!(provider.asked("/tenant/.well-known/openid-configuration").len(), 1, "which is asked for first");
}

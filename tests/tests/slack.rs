//! The whole life of authorizations at Slack, through the real handlers: sign-in in both modes, rotation, refusals for good and in
//! passing, and revocation (contract sections 6 to 10).
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it stands")]

use local::client::Answer;
use serde_json::{Value, json};
use tests::script::Instead;
use tests::slack::{CLIENT_ID, CLIENT_SECRET, REVOKE, Slack, TOKEN, USER_TOKEN, USERINFO};
use tests::{Caller, Expect as _, World};
use time::Duration;
use url::Url;

const CONNECTION: &str = "conn_slack";
/// The one whose identities come from userinfo.
const SIGNING_IN: &str = "conn_slack_identity";

async fn world() -> (Slack, World, Caller) {
    let slack = Slack::start().await;
    let connections = vec![(slack.connection(CONNECTION), &[CLIENT_SECRET][..]), (slack.signing_in(SIGNING_IN), &[CLIENT_SECRET][..])];
    let world = World::with_connections(connections, None).await;
    let olivia = world.olivia();
    (slack, world, olivia)
}

/// A world where the connection is changed.
async fn changed(change: impl FnOnce(&mut Value)) -> (Slack, World, Caller) {
    let slack = Slack::start().await;
    let mut connection = slack.connection(CONNECTION);
    change(&mut connection);
    let world = World::with_connections(vec![(connection, &[CLIENT_SECRET])], None).await;
    let olivia = world.olivia();
    (slack, world, olivia)
}

async fn code(slack: &Slack, world: &World, caller: &Caller) -> Value {
    let url = world.url(caller, json!({ "connection_id": CONNECTION, "redirect_uri": world.return_to() })).await;
    json!({ "code": world.open(&slack.come_back(&url)).await.sent("code").unwrap() })
}

async fn direct(slack: &Slack, world: &World, caller: &Caller) -> Answer {
    let url = world.url(caller, json!({ "connection_id": SIGNING_IN })).await;
    world.open(&slack.come_back(&url)).await
}

async fn bound(slack: &Slack, world: &World, caller: &Caller) -> String {
    let stored = caller.complete(code(slack, world, caller).await).await.is(201);
    let id = stored["id"].as_str().unwrap().to_owned();
    world.bind(caller, "fl_1", &id).await;
    id
}

async fn token(caller: &Caller, id: &str) -> Answer {
    caller.token(id, json!({ "workflow_id": "fl_1" })).await
}

fn pairs(url: &str) -> Vec<(String, String)> {
    Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn scopes_are_asked_for_as_the_persons_and_separated_by_commas() {
    let (_slack, world, olivia) = world().await;
    let url = pairs(&world.url(&olivia, json!({ "connection_id": CONNECTION })).await);
    assert_eq!((value(&url, "user_scope"), value(&url, "scope")), (Some("search:read,users:read"), None), "a bot is not asked for");
    let names: Vec<&str> = url.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["response_type", "client_id", "redirect_uri", "user_scope", "state", "code_challenge", "code_challenge_method"];
    assert_eq!(names, expected);
    assert_eq!(value(&url, "client_id"), Some(CLIENT_ID));
}

#[tokio::test]
async fn an_operator_may_ask_for_a_bot_or_for_persons_at_the_endpoint_made_for_them() {
    // A bot beside a person: the operator names the person's scopes.
    let (slack, world, olivia) = changed(|connection| {
        connection["scopes"] = json!(["chat:write"]);
        connection["extra_authorization_params"] = json!({ "user_scope": "search:read" });
    })
    .await;
    let asked = pairs(&world.url(&olivia, json!({ "connection_id": CONNECTION })).await);
    assert_eq!((value(&asked, "scope"), value(&asked, "user_scope")), (Some("chat:write"), Some("search:read")));
    let stored = olivia.complete(code(&slack, &world, &olivia).await).await.is(201);
    assert_eq!(stored["scopes"], json!(["search:read"]), "the person's token is kept, with its own scopes");

    // A bot alone.
    let (slack, world, olivia) = changed(|connection| {
        let endpoint = connection["authorization_endpoint"].as_str().unwrap().to_owned();
        connection["authorization_endpoint"] = json!(format!("{endpoint}?user_scope="));
        connection["scopes"] = json!(["chat:write"]);
    })
    .await;
    let asked = pairs(&world.url(&olivia, json!({ "connection_id": CONNECTION })).await);
    assert_eq!((value(&asked, "scope"), value(&asked, "user_scope")), (Some("chat:write"), Some("")));
    let id = bound(&slack, &world, &olivia).await;
    let handed_out = token(&olivia, &id).await.is(200);
    assert!(handed_out["access_token"].as_str().unwrap().starts_with("xoxe.xoxb-"), "{handed_out}");
    assert_eq!((&handed_out["scope"], &handed_out["token_type"]), (&json!("chat:write"), &json!("Bearer")));

    // Persons alone, at their own endpoint, where their scopes have the usual name.
    let (slack, world, olivia) = changed(|connection| {
        for (name, from, to) in [("authorization_endpoint", "v2/", "v2_user/"), ("token_endpoint", "v2.access", "v2.user.access")] {
            connection[name] = json!(connection[name].as_str().unwrap().replace(from, to));
        }
    })
    .await;
    let asked = pairs(&world.url(&olivia, json!({ "connection_id": CONNECTION })).await);
    assert_eq!((value(&asked, "scope"), value(&asked, "user_scope")), (Some("search:read,users:read"), None));
    let stored = olivia.complete(code(&slack, &world, &olivia).await).await.is(201);
    assert_eq!((&stored["user_id"], &stored["scopes"]), (&json!("U0R7MFMJM"), &json!(["search:read", "users:read"])));
    assert_eq!(slack.asked(USER_TOKEN).len(), 1);
}

#[tokio::test]
async fn s09_s11_no_caller_widens_what_is_asked_for_by_slacks_own_parameter() {
    let (_slack, world, olivia) = world().await;
    for name in ["user_scope", "USER_SCOPE", "user_scope[]", "scope"] {
        let body = json!({ "connection_id": CONNECTION, "provider_query_params": { name: "admin" } });
        olivia.post("/workflows/authorization", body).await.refused(400, "parameter_reserved");
    }
    let body = json!({ "connection_id": CONNECTION, "provider_scopes": "search:read,admin" });
    olivia.post("/workflows/authorization", body).await.refused(400, "parameter_invalid");
    let body = json!({ "connection_id": CONNECTION, "provider_query_params": { "team": "T0R7GR" } });
    assert_eq!(value(&pairs(&world.url(&olivia, body).await), "team"), Some("T0R7GR"));
}

#[tokio::test]
async fn a_persons_nested_token_is_kept_and_a_bots_is_not_taken_for_it() {
    let (slack, world, olivia) = world().await;
    let id = bound(&slack, &world, &olivia).await;
    let one = olivia.one(&id).await;
    assert_eq!((&one["user_id"], &one["provider"], &one["email"]), (&json!("U0R7MFMJM"), &json!("slack"), &Value::Null));
    assert_eq!((&one["scopes"], &one["refreshable"]), (&json!(["search:read", "users:read"]), &json!(true)));
    let handed_out = token(&olivia, &id).await.is(200);
    assert!(handed_out["access_token"].as_str().unwrap().starts_with("xoxe.xoxp-"), "{handed_out}");
    assert_eq!((&handed_out["expires_in"], &handed_out["token_type"]), (&json!(43_200), &json!("Bearer")));
    let [exchange] = &slack.asked(TOKEN)[..] else { panic!("one token request") };
    assert!(exchange.header("authorization").starts_with("Basic ") && exchange.form("client_secret").is_none());
    // A bot's refresh token and lifetime are not the person's.
    let answer = json!({
        "ok": true, "access_token": "xoxb-bot", "token_type": "bot", "scope": "chat:write", "refresh_token": "xoxe-bot", "expires_in": 60,
        "team": { "id": "T0R7GR" }, "authed_user": { "id": "U1", "access_token": "xoxp-person", "token_type": "user", "scope": "search:read" },
    });
    slack.once(TOKEN, Instead::json(200, &answer));
    let stored = olivia.complete(code(&slack, &world, &olivia).await).await.is(201);
    assert_eq!((&stored["refreshable"], &stored["scopes"]), (&json!(false), &json!(["search:read"])));
    let id = stored["id"].as_str().unwrap();
    world.bind(&olivia, "fl_2", id).await;
    let handed_out = olivia.token(id, json!({ "workflow_id": "fl_2" })).await.is(200);
    assert_eq!((&handed_out["access_token"], &handed_out["expires_in"]), (&json!("xoxp-person"), &json!(43_200)));
}

#[tokio::test]
async fn s40_without_rotation_tokens_have_no_end_and_lifetimes_may_be_text() {
    let (slack, world, olivia) = world().await;
    slack.workspace(|workspace| workspace.rotation = false);
    let id = bound(&slack, &world, &olivia).await;
    assert_eq!(olivia.one(&id).await["refreshable"], false);
    assert_eq!(token(&olivia, &id).await.is(200)["expires_in"], 43_200, "the connection's word");
    slack.workspace(|workspace| workspace.rotation = true);
    for (told, expected) in [(json!("43199"), 43_199), (json!(""), 43_200), (json!("-1"), 43_200), (Value::Null, 43_200), (json!(60.5), 60)]
    {
        slack.workspace(|workspace| workspace.expires_in = told.clone());
        let id = bound(&slack, &world, &olivia).await;
        assert_eq!(olivia.token(&id, json!({ "workflow_id": "fl_1", "min_ttl": 0 })).await.is(200)["expires_in"], expected, "{told}");
    }
}

#[tokio::test]
async fn ok_false_is_an_error_whatever_the_status_says() {
    let (slack, world, olivia) = world().await;
    for (error, status) in [
        ("invalid_code", 400),
        ("code_already_used", 400),
        ("code_expired", 400),
        ("bad_client_secret", 400),
        ("invalid_client_id", 400),
        ("bad_redirect_uri", 400),
        ("oauth_authorization_url_mismatch", 400),
        ("invalid_team_for_non_distributed_app", 400),
        ("something_new<b>", 400),
        ("internal_error", 502),
        ("fatal_error", 502),
        ("service_unavailable", 502),
        ("team_added_to_org", 502),
        ("ratelimited", 502),
    ] {
        slack.refuses(TOKEN, error);
        let code = code(&slack, &world, &olivia).await;
        for _ in 0..2 {
            let refused = olivia.complete(code.clone()).await;
            refused.refused(status, "oauth_failed");
            assert!(!refused.text.contains("own words") && !refused.text.contains("something_new"), "{}", refused.text);
        }
    }
    for instead in [
        Instead::json(200, &json!({ "ok": false })),
        Instead::json(200, &json!({ "ok": "true", "access_token": "xoxp-1", "authed_user": { "id": "U1" } })),
        Instead::json(200, &json!({ "ok": true, "authed_user": { "id": "U1" } })),
        Instead::json(200, &json!({ "ok": true, "authed_user": { "id": "U1", "access_token": "" } })),
        Instead::json(200, &json!({ "ok": true, "authed_user": "U1", "access_token": "xoxp-1", "token_type": "mac" })),
        Instead::text(200, "<html>"),
        Instead::json(429, &json!({ "ok": false, "error": "ratelimited" })).with("retry-after", "30"),
    ] {
        let what = format!("{instead:?}");
        slack.once(TOKEN, instead);
        let answer = olivia.complete(code(&slack, &world, &olivia).await).await;
        assert_eq!((answer.json()["code"].as_str(), matches!(answer.status, 400 | 502)), (Some("oauth_failed"), true), "{what}");
    }
    assert_eq!((olivia.list().await, slack.live()), (json!([]), Vec::<String>::new()));
}

#[tokio::test]
async fn an_answer_that_names_nobody_stores_nothing_and_gives_the_tokens_back() {
    let (slack, world, olivia) = world().await;
    for user in
        [json!({ "access_token": "xoxp-1" }), json!({ "id": 7.5, "access_token": "xoxp-1" }), json!({ "id": "", "access_token": "xoxp-1" })]
    {
        let revocations = slack.asked(REVOKE).len();
        slack.once(TOKEN, Instead::json(200, &json!({ "ok": true, "team": { "id": "T0R7GR" }, "authed_user": user })));
        olivia.complete(code(&slack, &world, &olivia).await).await.refused(502, "oauth_failed");
        assert_eq!(slack.asked(REVOKE).len(), revocations + 1, "{user}");
    }
    assert_eq!(olivia.list().await, json!([]));
}

#[tokio::test]
async fn the_team_is_the_organization_where_the_connection_says_so() {
    let (slack, world, olivia) = changed(|connection| {
        connection["claims"] = json!({ "subject": "user_id", "email": "email", "organization": "team_id" });
    })
    .await;
    olivia.complete(code(&slack, &world, &olivia).await).await.refused(403, "organization_mismatch");
    // An app that is installed for a whole enterprise names no team.
    slack.workspace(|workspace| workspace.team = Value::Null);
    olivia.complete(code(&slack, &world, &olivia).await).await.refused(403, "organization_mismatch");
    assert_eq!(
        (olivia.list().await, slack.live()),
        (json!([]), Vec::<String>::new()),
        "what was obtained is given back, both tokens of it"
    );
    slack.workspace(|workspace| workspace.team = json!({ "id": "org_demo" }));
    olivia.complete(code(&slack, &world, &olivia).await).await.is(201);
}

#[tokio::test]
async fn directly_the_verified_address_at_slack_must_be_the_callers() {
    let (slack, world, olivia) = world().await;
    direct(&slack, &world, &olivia).await.page(200);
    assert_eq!(olivia.list().await[0]["email"], "ops@example.com");
    let live = slack.live();
    for (email, verified) in [(Some("mallory@elsewhere.example"), true), (Some("ops@example.com"), false), (None, true)] {
        slack.workspace(|workspace| (workspace.email, workspace.email_verified) = (email, verified));
        direct(&slack, &world, &olivia).await.page(403);
        assert_eq!(slack.live(), live, "what was obtained is given back: {email:?} {verified}");
    }
    // Without userinfo Slack tells no address at all.
    let url = world.url(&olivia, json!({ "connection_id": CONNECTION })).await;
    world.open(&slack.come_back(&url)).await.page(403);
    assert_eq!((slack.live(), olivia.list().await.as_array().unwrap().len()), (live, 1));
}

#[tokio::test]
async fn s51_userinfo_must_be_about_whom_the_token_answer_names() {
    let (slack, world, olivia) = world().await;
    let told = |sub: &str| json!({ "ok": true, "sub": sub, "email": "ops@example.com", "email_verified": true });
    for (instead, status) in [
        (Instead::json(200, &told("U_ANOTHER")), 502),
        (Instead::json(200, &json!({ "ok": true, "sub": "U0R7MFMJM", "https://slack.com/user_id": "U_ANOTHER" })), 502),
        (Instead::json(200, &json!({ "ok": false, "error": "missing_scope" })), 502),
        (Instead::json(200, &json!({ "ok": false, "error": "token_revoked" })), 502),
        (Instead::json(200, &json!({ "ok": false, "error": "internal_error" })), 503),
        (Instead::json(429, &json!({ "ok": false, "error": "ratelimited" })).with("retry-after", "30"), 503),
        (Instead::text(503, ""), 503),
        (Instead::text(200, "<html>"), 502),
    ] {
        let what = format!("{instead:?}");
        slack.once(USERINFO, instead);
        assert_eq!(direct(&slack, &world, &olivia).await.status, status, "{what}");
        assert_eq!(slack.live(), Vec::<String>::new(), "{what}");
    }
    assert_eq!(olivia.list().await, json!([]));
}

#[tokio::test]
async fn tokens_rotate_at_the_same_endpoint() {
    let (slack, world, olivia) = world().await;
    let id = bound(&slack, &world, &olivia).await;
    let first = token(&olivia, &id).await.is(200);
    for generation in 2..=3 {
        world.pass(Duration::hours(12));
        let renewed = token(&olivia, &id).await.is(200);
        assert_eq!((&renewed["generation"], &renewed["scope"]), (&json!(generation), &json!("search:read users:read")));
        assert_ne!(renewed["access_token"], first["access_token"]);
    }
    let refreshes = &slack.asked(TOKEN)[1..];
    assert!(refreshes.iter().all(|asked| asked.form("grant_type").as_deref() == Some("refresh_token")));
    assert!(refreshes.iter().all(|asked| asked.header("authorization").starts_with("Basic ")));
    assert_ne!(refreshes[0].form("refresh_token"), refreshes[1].form("refresh_token"), "each refresh token once");
}

#[tokio::test]
async fn a_refresh_that_names_somebody_else_ends_the_authorization_and_its_tokens() {
    let (slack, world, olivia) = world().await;
    let id = bound(&slack, &world, &olivia).await;
    slack.workspace(|workspace| workspace.names_at_refresh = Some("U0R7MFMJM"));
    world.pass(Duration::hours(12));
    assert_eq!(token(&olivia, &id).await.is(200)["generation"], 2);
    slack.workspace(|workspace| workspace.names_at_refresh = Some("U_ANOTHER"));
    world.pass(Duration::hours(12));
    let before = slack.live().len();
    assert_eq!(token(&olivia, &id).await.refused(409, "needs_reauthorization")["reason"], "identity_revoked");
    assert_eq!(slack.live().len(), before - 1, "the spent refresh token is gone, and so is the new pair");
}

#[tokio::test]
async fn s88_what_slack_refuses_for_good_ends_the_authorization() {
    for error in ["invalid_refresh_token", "token_revoked", "token_expired", "account_inactive"] {
        let (slack, world, olivia) = world().await;
        let id = bound(&slack, &world, &olivia).await;
        slack.refuses(TOKEN, error);
        world.pass(Duration::hours(12));
        for _ in 0..2 {
            assert_eq!(token(&olivia, &id).await.refused(409, "needs_reauthorization")["reason"], "invalid_grant", "{error}");
        }
        assert_eq!(slack.asked(TOKEN).len(), 2, "{error}");
    }
}

#[tokio::test]
async fn what_passes_at_slack_ends_no_authorization_and_its_wait_is_kept_to() {
    // Four at a time: the fifth failure in a row would freeze the connection.
    for errors in [
        ["internal_error", "fatal_error", "service_unavailable", "request_timeout"],
        ["team_added_to_org", "org_login_required", "bad_client_secret", "something_new"],
    ] {
        let (slack, world, olivia) = world().await;
        let id = bound(&slack, &world, &olivia).await;
        world.pass(Duration::hours(12) - Duration::minutes(1));
        for error in errors {
            slack.refuses(TOKEN, error);
            let answer = olivia.token(&id, json!({ "workflow_id": "fl_1", "min_ttl": 3600 })).await.is(200);
            assert_eq!((&answer["degraded"], &answer["generation"]), (&json!(true), &json!(1)), "{error}");
        }
        world.pass(Duration::minutes(1));
        slack.limits(TOKEN, 30);
        let refused = token(&olivia, &id).await;
        refused.refused(503, "provider_unavailable");
        assert_eq!(refused.header("retry-after"), "30");
        assert_eq!(olivia.one(&id).await["status"], "active");
        world.pass(Duration::seconds(30));
        assert_eq!(token(&olivia, &id).await.is(200)["generation"], 2);
    }
}

#[tokio::test]
async fn s86_each_token_revokes_itself_and_what_is_gone_counts() {
    let (slack, world, olivia) = world().await;
    let id = bound(&slack, &world, &olivia).await;
    let path = format!("/workflows/authorization/{id}");
    let access_token = token(&olivia, &id).await.is(200)["access_token"].as_str().unwrap().to_owned();
    let refresh_token = slack.live().into_iter().find(|token| token.starts_with("xoxe-")).unwrap();
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    olivia.delete(&path).await.is(204);
    let bearers: Vec<_> = slack.asked(REVOKE).iter().map(|asked| asked.header("authorization").to_owned()).collect();
    assert_eq!(bearers, [format!("Bearer {refresh_token}"), format!("Bearer {access_token}")], "the refresh token first");
    assert!(slack.asked(REVOKE).iter().all(|asked| asked.query.is_empty() && asked.body.is_empty()));
    assert_eq!(slack.live(), Vec::<String>::new());
    for error in ["invalid_auth", "token_revoked", "token_expired", "account_inactive", "not_authed"] {
        let id = bound(&slack, &world, &olivia).await;
        olivia.delete("/workflows/fl_1/authorization").await.is(204);
        slack.refuses(REVOKE, error);
        slack.refuses(REVOKE, error);
        olivia.delete(&format!("/workflows/authorization/{id}")).await.is(204);
        assert_eq!(olivia.list().await, json!([]), "{error}");
        slack.end_grants();
    }
}

#[tokio::test]
async fn s86_a_revocation_that_fails_at_slack_is_finished_by_the_schedule() {
    let (slack, world, olivia) = world().await;
    for instead in [
        Instead::json(429, &json!({ "ok": false, "error": "ratelimited" })).with("retry-after", "30"),
        Instead::json(200, &json!({ "ok": false, "error": "internal_error" })),
        Instead::json(200, &json!({ "revoked": true })),
        Instead::text(200, "<html>"),
        Instead::text(503, ""),
    ] {
        let what = format!("{instead:?}");
        let id = bound(&slack, &world, &olivia).await;
        olivia.delete("/workflows/fl_1/authorization").await.is(204);
        slack.once(REVOKE, instead);
        olivia.delete(&format!("/workflows/authorization/{id}")).await.is(204);
        assert_eq!(olivia.list().await[0]["status"], "revoking", "{what}");
        world.pass(Duration::hours(1));
        assert_eq!(world.run_schedule().await["revoked"], 1, "{what}");
        assert_eq!(olivia.list().await, json!([]), "{what}");
        slack.end_grants();
    }
    // An app whose refresh tokens cannot be revoked by themselves.
    let id = bound(&slack, &world, &olivia).await;
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    slack.refuses(REVOKE, "not_allowed_token_type");
    olivia.delete(&format!("/workflows/authorization/{id}")).await.is(204);
    assert_eq!((olivia.list().await, slack.live().len()), (json!([]), 1));
}

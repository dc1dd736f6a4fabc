//! The whole life of authorizations at GitHub, through the real handlers: sign-in in both modes, refresh, refusals for good and in
//! passing, hand-out, check and revocation (contract sections 6 to 10).
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it stands")]

use local::client::Answer;
use serde_json::{Value, json};
use tests::github::{App, CLIENT_ID, CLIENT_SECRET, DELETE, EMAILS, GitHub, TOKEN, USER};
use tests::script::Instead;
use tests::{Caller, Expect as _, World};
use time::Duration;
use url::Url;

const CONNECTION: &str = "conn_github";

/// Addresses: whether each is the primary one, and whether it is verified.
type Addresses = Vec<(&'static str, bool, bool)>;

async fn world(app: App) -> (GitHub, World, Caller) {
    let github = GitHub::start(app).await;
    let world = World::with_connections(vec![(github.connection(CONNECTION), &[CLIENT_SECRET])], None).await;
    let olivia = world.olivia();
    (github, world, olivia)
}

/// The completion code of a sign-in by redirect.
async fn code(github: &GitHub, world: &World, caller: &Caller) -> Value {
    let url = world.url(caller, json!({ "connection_id": CONNECTION, "redirect_uri": world.return_to() })).await;
    json!({ "code": world.open(&github.come_back(&url)).await.sent("code").unwrap() })
}

/// A sign-in without a redirect URI: the page.
async fn direct(github: &GitHub, world: &World, caller: &Caller) -> Answer {
    let url = world.url(caller, json!({ "connection_id": CONNECTION })).await;
    world.open(&github.come_back(&url)).await
}

/// A new authorization, bound to `fl_1`: its id.
async fn bound(github: &GitHub, world: &World, caller: &Caller) -> String {
    let stored = caller.complete(code(github, world, caller).await).await.is(201);
    let id = stored["id"].as_str().unwrap().to_owned();
    world.bind(caller, "fl_1", &id).await;
    id
}

async fn token(caller: &Caller, id: &str) -> Answer {
    caller.token(id, json!({ "workflow_id": "fl_1" })).await
}

#[tokio::test]
async fn the_sign_in_url_is_as_github_documents_it() {
    let (github, world, olivia) = world(App::OAuth).await;
    let body = json!({ "connection_id": CONNECTION, "provider_query_params": { "login": "octocat", "allow_signup": false } });
    let url = Url::parse(&world.url(&olivia, body).await).unwrap();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "response_type",
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "code_challenge",
        "code_challenge_method",
        "allow_signup",
        "login",
    ];
    assert_eq!(names, expected);
    assert_eq!((pairs[1].1.as_str(), pairs[3].1.as_str()), (CLIENT_ID, "repo user:email"), "scopes are separated by spaces");
    assert!(github.asked(TOKEN).is_empty());
}

#[tokio::test]
async fn by_redirect_the_account_that_signs_in_is_stored_by_its_number() {
    let (github, world, olivia) = world(App::OAuth).await;
    let stored = olivia.complete(code(&github, &world, &olivia).await).await.is(201);
    assert_eq!(
        (&stored["user_id"], &stored["email"], &stored["provider"]),
        (&json!("583231"), &json!("ops@example.com"), &json!("github"))
    );
    assert_eq!(stored["scopes"], json!(["repo", "user:email"]), "which GitHub separates by commas");
    let [exchange] = &github.asked(TOKEN)[..] else { panic!("one token request") };
    assert_eq!((exchange.header("accept"), exchange.header("authorization")), ("application/json", ""));
    assert_eq!((exchange.form("client_secret").as_deref(), exchange.query.as_str()), (Some(CLIENT_SECRET), ""), "never in the URL");
    let [listed] = &github.asked(EMAILS)[..] else { panic!("one request for the addresses") };
    assert_eq!(listed.query, "per_page=100");
    // Another account than the caller's own is welcome in this mode.
    github.account(|account| (account.id, account.emails) = (9, vec![("bot@elsewhere.example", true, true)]));
    let stored = olivia.complete(code(&github, &world, &olivia).await).await.is(201);
    assert_eq!((&stored["user_id"], &stored["email"]), (&json!("9"), &json!("bot@elsewhere.example")));
}

#[tokio::test]
async fn directly_the_primary_verified_address_must_be_the_callers() {
    let (github, world, olivia) = world(App::OAuth).await;
    direct(&github, &world, &olivia).await.page(200);
    assert_eq!(olivia.list().await[0]["email"], "ops@example.com");
    let table: [(Option<&'static str>, Addresses); 7] = [
        // The profile shows what a person likes, and proves nothing.
        (Some("ops@example.com"), vec![("mallory@elsewhere.example", true, true)]),
        (Some("ops@example.com"), Vec::new()),
        (None, vec![("mallory@elsewhere.example", true, true), ("ops@example.com", false, true)]),
        (None, vec![("ops@example.com", true, false)]),
        (None, vec![("ops@example.com", false, false)]),
        (None, vec![("", true, true)]),
        (None, vec![("ops@example.com.elsewhere.example", true, true)]),
    ];
    for (profile_email, emails) in table {
        let what = format!("{profile_email:?} {emails:?}");
        github.account(|account| (account.profile_email, account.emails) = (profile_email, emails));
        let live = github.live();
        assert!(direct(&github, &world, &olivia).await.page(403).contains("another account"), "{what}");
        assert_eq!(github.live(), live, "what was obtained is given back: {what}");
    }
    assert_eq!(olivia.list().await.as_array().unwrap().len(), 1);
    github.account(|account| account.emails = vec![("OPS@Example.com", true, true)]);
    direct(&github, &world, &olivia).await.page(200);
}

#[tokio::test]
async fn directly_nobody_is_let_in_where_github_refuses_or_garbles_the_addresses() {
    let (github, world, olivia) = world(App::OAuth).await;
    let message = |status: u16, text: &str| Instead::json(status, &json!({ "message": text }));
    for (path, instead, status) in [
        // The scope or the permission is missing.
        (EMAILS, message(404, "Not Found"), 403),
        (EMAILS, message(403, "Resource not accessible by integration"), 403),
        (EMAILS, message(401, "Bad credentials"), 502),
        // Limits and faults that pass.
        (EMAILS, message(403, "You have exceeded a secondary rate limit").with("retry-after", "60"), 503),
        (EMAILS, message(403, "API rate limit exceeded").with("x-ratelimit-remaining", "0"), 503),
        (EMAILS, message(429, "API rate limit exceeded").with("x-ratelimit-remaining", "0"), 503),
        (EMAILS, Instead::text(503, "<html>unicorn"), 503),
        // Nonsense.
        (EMAILS, Instead::text(200, "<html>"), 502),
        (EMAILS, Instead::json(200, &json!({ "email": "ops@example.com", "primary": true, "verified": true })), 502),
        (EMAILS, Instead::json(200, &json!([{ "email": "ops@example.com", "primary": "true", "verified": "true" }])), 403),
        (EMAILS, Instead::json(200, &json!([{ "email": ["ops@example.com"], "primary": true, "verified": true }])), 403),
        (EMAILS, Instead::json(200, &json!(["ops@example.com"])), 403),
        (EMAILS, Instead::text(200, &format!("[{}1]", "1,".repeat(200_000))), 502),
        (EMAILS, Instead::text(302, "").with("location", "https://elsewhere.example/emails"), 502),
        (USER, message(401, "Bad credentials"), 502),
        (USER, message(403, "Forbidden"), 502),
        (USER, message(403, "API rate limit exceeded").with("x-ratelimit-remaining", "0"), 503),
        (USER, Instead::text(500, ""), 503),
        (USER, Instead::json(200, &json!({ "login": "octocat", "email": "ops@example.com" })), 502),
        (USER, Instead::json(200, &json!({ "id": 1.5 })), 502),
        (USER, Instead::json(200, &json!({ "id": "" })), 502),
    ] {
        let what = format!("{path} {instead:?}");
        let deletions = github.asked(DELETE).len();
        github.once(path, instead);
        let answer = direct(&github, &world, &olivia).await;
        assert_eq!(answer.status, status, "{what}");
        assert_eq!(github.asked(DELETE).len(), deletions + 1, "what was obtained is given back: {what}");
    }
    assert_eq!((olivia.list().await, github.live()), (json!([]), (0, 0)));
}

#[tokio::test]
async fn a_token_that_may_not_list_addresses_is_not_asked_to() {
    let (github, world, olivia) = world(App::OAuth).await;
    github.account(|account| account.profile_email = Some("ops@example.com"));
    let url = world.url(&olivia, json!({ "connection_id": CONNECTION, "provider_scopes": ["repo"] })).await;
    world.open(&github.come_back(&url)).await.page(403);
    assert!(github.asked(EMAILS).is_empty());
    let body = json!({ "connection_id": CONNECTION, "provider_scopes": ["repo"], "redirect_uri": world.return_to() });
    let back = world.open(&github.come_back(&world.url(&olivia, body).await)).await;
    let stored = olivia.complete(json!({ "code": back.sent("code") })).await.is(201);
    assert_eq!((&stored["user_id"], &stored["scopes"]), (&json!("583231"), &json!(["repo"])));
}

#[tokio::test]
async fn an_error_with_status_200_is_an_error() {
    let (github, world, olivia) = world(App::OAuth).await;
    for error in ["bad_verification_code", "incorrect_client_credentials", "redirect_uri_mismatch", "unverified_user_email", "whatever<b>"]
    {
        github.refuses(error);
        let code = code(&github, &world, &olivia).await;
        for _ in 0..2 {
            let refused = olivia.complete(code.clone()).await;
            refused.refused(400, "oauth_failed");
            assert!(!refused.text.contains("own words") && !refused.text.contains("whatever"), "{}", refused.text);
        }
        github.refuses(error);
        let page = direct(&github, &world, &olivia).await;
        assert!(!page.page(502).contains("own words"), "{error}");
    }
    // An error is one even beside a token, and a token without its members is none.
    for instead in [
        Instead::json(200, &json!({ "error": "bad_verification_code", "access_token": "gho_x", "token_type": "bearer" })),
        Instead::json(200, &json!({ "access_token": "gho_x", "scope": "repo" })),
        Instead::json(200, &json!({ "token_type": "bearer", "scope": "repo" })),
        Instead::text(200, "access_token=gho_x&scope=repo&token_type=bearer").with("content-type", "application/x-www-form-urlencoded"),
        Instead::text(200, ""),
        Instead::text(502, "<html>unicorn"),
        Instead::json(429, &json!({ "message": "slow down" })).with("retry-after", "60"),
    ] {
        let what = format!("{instead:?}");
        github.once(TOKEN, instead);
        let answer = olivia.complete(code(&github, &world, &olivia).await).await;
        assert!(matches!(answer.status, 400 | 502), "{what} {}", answer.text);
        assert_eq!(answer.json()["code"], "oauth_failed", "{what}");
    }
    assert_eq!((olivia.list().await, github.live()), (json!([]), (0, 0)));
    assert!(github.asked(USER).is_empty());
}

#[tokio::test]
async fn a_code_works_once_and_for_its_own_redirect_uri_and_verifier() {
    let (github, world, olivia) = world(App::OAuth).await;
    let first = code(&github, &world, &olivia).await;
    olivia.complete(first.clone()).await.is(201);
    olivia.complete(first).await.is(200);
    let [exchange] = &github.asked(TOKEN)[..] else { panic!("one token request") };
    let url = format!("{}/workflows/authorization/callback/{CONNECTION}", world.base());
    assert_eq!(exchange.form("redirect_uri").as_deref(), Some(url.as_str()));
    assert!(exchange.form("code_verifier").is_some_and(|verifier| (43..=128).contains(&verifier.len())));
}

#[tokio::test]
async fn s70_a_client_secret_is_rotated_without_a_failure() {
    let github = GitHub::start(App::GitHub).await;
    let secrets: &[&str] = &["the-next-secret", CLIENT_SECRET];
    let world = World::with_connections(vec![(github.connection(CONNECTION), secrets)], None).await;
    let olivia = world.olivia();
    let id = bound(&github, &world, &olivia).await;
    world.pass(Duration::hours(8));
    assert_eq!(token(&olivia, &id).await.is(200)["generation"], 2);
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    olivia.delete(&format!("/workflows/authorization/{id}")).await.is(204);
    assert_eq!(github.live(), (0, 0));
    let tried: Vec<_> = github.asked(TOKEN).into_iter().map(|asked| asked.form("client_secret").unwrap()).collect();
    assert_eq!(tried, ["the-next-secret", CLIENT_SECRET, "the-next-secret", CLIENT_SECRET]);
    assert_eq!(github.asked(DELETE).len(), 2);
}

#[tokio::test]
async fn tokens_of_a_github_app_are_refreshed_and_rotate() {
    let (github, world, olivia) = world(App::GitHub).await;
    let id = bound(&github, &world, &olivia).await;
    let one = olivia.one(&id).await;
    assert_eq!(
        (&one["refreshable"], &one["scopes"], &one["email"]),
        (&json!(true), &json!([]), &json!("ops@example.com")),
        "its tokens have permissions"
    );
    let first = token(&olivia, &id).await.is(200);
    assert_eq!((&first["expires_in"], &first["scope"]), (&json!(28_800), &json!("")));
    world.pass(Duration::hours(8));
    let second = token(&olivia, &id).await.is(200);
    assert_eq!((&second["generation"], &second["expires_in"]), (&json!(2), &json!(28_800)));
    assert_ne!(first["access_token"], second["access_token"]);
    world.pass(Duration::hours(8));
    assert_eq!(token(&olivia, &id).await.is(200)["generation"], 3, "each refresh token once");
    let sent: Vec<_> = github.asked(TOKEN)[1..].iter().map(|asked| asked.form("refresh_token").unwrap()).collect();
    assert_eq!(sent.len(), 2);
    assert_ne!(sent[0], sent[1]);
    assert_eq!(github.live(), (1, 1));
}

#[tokio::test]
async fn s88_a_bad_refresh_token_ends_the_authorization_once() {
    let (github, world, olivia) = world(App::GitHub).await;
    let id = bound(&github, &world, &olivia).await;
    github.end_grants();
    world.pass(Duration::hours(8));
    for _ in 0..2 {
        assert_eq!(token(&olivia, &id).await.refused(409, "needs_reauthorization")["reason"], "invalid_grant");
    }
    let one = olivia.one(&id).await;
    assert_eq!((&one["status"], &one["reason"]), (&json!("needs_reauthorization"), &json!("invalid_grant")));
    assert_eq!(github.asked(TOKEN).len(), 2, "the code, and one refresh");
    // The person signs in again, and the workflow goes on.
    let body = json!({ "connection_id": CONNECTION, "redirect_uri": world.return_to(), "authorization_id": id });
    let back = world.open(&github.come_back(&world.url(&olivia, body).await)).await;
    assert_eq!(olivia.complete(json!({ "code": back.sent("code") })).await.is(201)["id"], id);
    token(&olivia, &id).await.is(200);
}

#[tokio::test]
async fn what_passes_at_github_ends_no_authorization() {
    for instead in [
        Instead::text(503, "<html>unicorn"),
        Instead::json(429, &json!({ "message": "slow down" })).with("retry-after", "1"),
        Instead::json(200, &json!({ "error": "incorrect_client_credentials" })),
        Instead::json(200, &json!({ "error": "redirect_uri_mismatch" })),
        Instead::json(200, &json!({ "error": "application_suspended" })),
        Instead::json(200, &json!({ "error": "unverified_user_email" })),
    ] {
        let what = format!("{instead:?}");
        let (github, world, olivia) = world(App::GitHub).await;
        let id = bound(&github, &world, &olivia).await;
        // A minute before its end there is still a token to hand out.
        world.pass(Duration::hours(8) - Duration::minutes(1));
        github.once(TOKEN, instead);
        let answer = olivia.token(&id, json!({ "workflow_id": "fl_1", "min_ttl": 3600 })).await.is(200);
        assert_eq!((&answer["degraded"], &answer["generation"]), (&json!(true), &json!(1)), "{what}");
        assert_eq!(olivia.one(&id).await["status"], "active", "{what}");
        world.pass(Duration::minutes(1));
        github.once(TOKEN, Instead::text(503, ""));
        token(&olivia, &id).await.refused(503, "provider_unavailable");
        world.pass(Duration::seconds(10));
        assert_eq!(token(&olivia, &id).await.is(200)["generation"], 2, "{what}");
    }
}

#[tokio::test]
async fn s40_a_token_that_never_ends_lives_as_long_as_the_operator_says() {
    let github = GitHub::start(App::OAuth).await;
    let mut patient = github.connection(CONNECTION);
    patient["default_access_lifetime"] = json!(315_360_000);
    let world = World::with_connections(vec![(patient, &[CLIENT_SECRET])], None).await;
    let olivia = world.olivia();
    let id = bound(&github, &world, &olivia).await;
    assert_eq!(olivia.one(&id).await["refreshable"], false);
    assert_eq!(token(&olivia, &id).await.is(200)["expires_in"], 315_360_000);
    world.pass(Duration::days(3649));
    let late = token(&olivia, &id).await.is(200);
    assert_eq!((&late["generation"], &late["expires_in"]), (&json!(1), &json!(86_400)));
    // A check asks GitHub who it is, since nothing can be refreshed.
    let check = format!("/workflows/authorization/{id}/check");
    assert_eq!(olivia.post(&check, json!({})).await.is(200)["ok"], true);
    github.once(USER, Instead::json(403, &json!({ "message": "rate limit" })).with("x-ratelimit-remaining", "0"));
    assert_eq!(olivia.post(&check, json!({})).await.is(200)["reason"], "provider_unavailable");
    github.end_grants();
    assert_eq!(olivia.post(&check, json!({})).await.is(200)["reason"], "access_token_refused");
    world.pass(Duration::days(1));
    assert_eq!(token(&olivia, &id).await.refused(409, "needs_reauthorization")["reason"], "no_refresh_token");
    assert_eq!(github.asked(TOKEN).len(), 1);
}

#[tokio::test]
async fn s40_lifetimes_of_any_type_are_read_or_left_to_the_connection() {
    let (github, world, olivia) = world(App::GitHub).await;
    for (told, expected) in [
        (json!("28800"), 28_800),
        (json!(120.9), 120),
        (json!(-1), 28_800),
        (json!("soon"), 28_800),
        (json!(1e300), 28_800),
        (Value::Null, 28_800),
        (json!(3_155_760_000_u64), 366 * 86_400),
    ] {
        let answer = json!({ "access_token": "ghu_scripted", "token_type": "bearer", "scope": "", "expires_in": told, "refresh_token": "ghr_scripted" });
        github.once(TOKEN, Instead::json(200, &answer));
        github.once(USER, Instead::json(200, &json!({ "id": 1 })));
        github.once(EMAILS, Instead::json(200, &json!([])));
        let id = bound(&github, &world, &olivia).await;
        assert_eq!(token(&olivia, &id).await.is(200)["expires_in"], expected, "{told}");
    }
}

#[tokio::test]
async fn s86_a_revocation_deletes_the_token_with_the_clients_credentials() {
    let (github, world, olivia) = world(App::GitHub).await;
    let id = bound(&github, &world, &olivia).await;
    let path = format!("/workflows/authorization/{id}");
    let forecast = olivia.delete(&format!("{path}?dry_run=true")).await.is(200);
    assert_eq!(forecast["provider_revocation"], "supported");
    let access_token = token(&olivia, &id).await.is(200)["access_token"].clone();
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    olivia.delete(&path).await.is(204);
    let [deleted] = &github.asked(DELETE)[..] else { panic!("one deletion") };
    assert_eq!((deleted.method.as_str(), deleted.json()), ("DELETE", json!({ "access_token": access_token })));
    assert!(deleted.header("authorization").starts_with("Basic "));
    assert_eq!(github.live(), (0, 0));
}

#[tokio::test]
async fn s86_a_token_that_has_ended_is_renewed_once_more_so_that_its_pair_ends_too() {
    let (github, world, olivia) = world(App::GitHub).await;
    let id = bound(&github, &world, &olivia).await;
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    github.end_access_tokens();
    assert_eq!(github.live(), (0, 1), "the refresh token would live for six months");
    olivia.delete(&format!("/workflows/authorization/{id}")).await.is(204);
    assert_eq!(github.live(), (0, 0));
    assert_eq!(github.asked(DELETE).len(), 2);
}

#[tokio::test]
async fn s86_what_is_gone_at_github_counts_as_revoked_and_what_fails_is_tried_again() {
    let (github, world, olivia) = world(App::GitHub).await;
    let id = bound(&github, &world, &olivia).await;
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    github.end_grants();
    olivia.delete(&format!("/workflows/authorization/{id}")).await.is(204);
    assert_eq!(olivia.list().await, json!([]));

    let id = bound(&github, &world, &olivia).await;
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    github.once(DELETE, Instead::text(503, ""));
    olivia.delete(&format!("/workflows/authorization/{id}")).await.is(204);
    assert_eq!((&olivia.list().await[0]["status"], github.live()), (&json!("revoking"), (1, 1)));
    github.once(DELETE, Instead::text(503, ""));
    world.pass(Duration::hours(1));
    assert_eq!(world.run_schedule().await["revoked"], 0);
    // Once the access token has ended, the refresh token is renewed to have something to delete.
    github.end_access_tokens();
    github.once(TOKEN, Instead::text(503, ""));
    world.pass(Duration::hours(2));
    assert_eq!(world.run_schedule().await["revoked"], 0);
    world.pass(Duration::hours(4));
    assert_eq!(world.run_schedule().await["revoked"], 1);
    assert_eq!((olivia.list().await, github.live()), (json!([]), (0, 0)));

    let id = bound(&github, &world, &olivia).await;
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    github.once(DELETE, Instead::json(422, &json!({ "message": "Validation Failed" })));
    olivia.delete(&format!("/workflows/authorization/{id}")).await.is(204);
    assert_eq!((olivia.list().await, github.live()), (json!([]), (0, 0)));
}

#[tokio::test]
async fn s27_what_github_says_at_the_callback_reaches_nobody_in_its_own_words() {
    let (github, world, olivia) = world(App::OAuth).await;
    for (error, sent, status) in [
        ("access_denied", "access_denied", 403),
        ("application_suspended", "oauth_failed", 502),
        ("redirect_uri_mismatch", "oauth_failed", 502),
    ] {
        for redirect in [true, false] {
            let mut body = json!({ "connection_id": CONNECTION });
            if redirect {
                (body["redirect_uri"], body["state"]) = (json!(world.return_to()), json!("the-callers-state"));
            }
            let back = Url::parse(&github.come_back(&world.url(&olivia, body).await)).unwrap();
            let state = back.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
            let mut refused = back.clone();
            refused.query_pairs_mut().clear().append_pair("error", error).append_pair("error_description", "<b>own words</b>");
            refused.query_pairs_mut().append_pair("error_uri", "/apps/x").append_pair("state", &state);
            let answer = world.open(refused.as_str()).await;
            assert!(!answer.text.contains("own words") && !answer.location().contains("words"), "{error} {}", answer.location());
            if redirect {
                assert_eq!((answer.status, answer.sent("error").as_deref()), (303, Some(sent)), "{error}");
            } else {
                answer.page(status);
            }
        }
    }
    assert!(github.asked(TOKEN).is_empty());
}

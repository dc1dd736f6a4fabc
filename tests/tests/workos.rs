//! Connections to WorkOS User Management, from the URL to the end of the session (contract sections 4, 6, 8, 9 and 10).
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use local::client::Answer;
use local::sign_in::PEOPLE;
use serde_json::{Value, json};
use tests::workos::{API_KEY, CLIENT_ID, OWN_WORDS, Trouble, User, WorkOs};
use tests::{Caller, Expect as _, Setup, World};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use url::Url;

const LIST: &str = "/workflows/authorization";

/// A world with these connections to WorkOS beside the demonstration's.
async fn world(workos: &WorkOs, connections: Vec<Value>) -> World {
    let ids = connections.iter().map(|connection| connection["id"].as_str().unwrap().to_owned());
    let client_secrets = ids.map(|id| (id, API_KEY.to_owned())).collect();
    let add = move |directory: &mut Value, _| directory["connections"].as_array_mut().unwrap().extend(connections.clone());
    World::with(Setup { directory: Some(Box::new(add)), client_secrets, clock: Some(workos.clock()), ..Setup::default() }).await
}

/// WorkOS, and Olivia in an organization with an `AuthKit` connection of its own, `conn_authkit`.
async fn at_workos() -> (WorkOs, World, Caller) {
    let workos = WorkOs::start().await;
    let connection = workos.connection("conn_authkit", "authkit", Some("org_demo"), &json!({ "provider": "authkit" }));
    let world = world(&workos, vec![connection]).await;
    let olivia = world.olivia();
    (workos, world, olivia)
}

/// A redirect-mode request for a connection.
fn by_redirect(world: &World, connection: &str) -> Value {
    json!({ "connection_id": connection, "redirect_uri": world.return_to() })
}

/// The user of the script signs in in direct mode: the callback's answer.
async fn direct(workos: &WorkOs, world: &World, caller: &Caller, connection: &str) -> Answer {
    let url = world.url(caller, json!({ "connection_id": connection })).await;
    world.open(&workos.come_back(&url)).await
}

/// The user of the script signs in by redirect: the completion code.
async fn completion_code(workos: &WorkOs, world: &World, caller: &Caller, body: Value) -> String {
    let url = world.url(caller, body).await;
    let back = world.open(&workos.come_back(&url)).await;
    assert_eq!(back.status, 303, "{}", back.text);
    back.sent("code").unwrap()
}

/// The user of the script signs in by redirect, and the application completes: its answer.
async fn complete(workos: &WorkOs, world: &World, caller: &Caller, connection: &str) -> Answer {
    let code = completion_code(workos, world, caller, by_redirect(world, connection)).await;
    caller.complete(json!({ "code": code })).await
}

/// A new authorization of Olivia's, bound to `fl_1`: its id.
async fn bound(workos: &WorkOs, world: &World, olivia: &Caller) -> String {
    let stored = complete(workos, world, olivia, "conn_authkit").await.is(201);
    let id = stored["id"].as_str().unwrap().to_owned();
    world.bind(olivia, "fl_1", &id).await;
    id
}

fn fl_1() -> Value {
    json!({ "workflow_id": "fl_1" })
}

fn time(text: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(text.as_str().unwrap(), &Rfc3339).unwrap()
}

fn parameters(url: &str) -> Vec<(String, String)> {
    Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

#[tokio::test]
async fn a_sign_in_by_redirect_stores_the_user_until_their_tokens_own_end() {
    let (workos, world, olivia) = at_workos().await;
    let code = completion_code(&workos, &world, &olivia, by_redirect(&world, "conn_authkit")).await;
    assert!(workos.authenticated().is_empty(), "the callback makes no token request");
    let stored = olivia.complete(json!({ "code": code })).await.is(201);
    for (field, value) in [
        ("user_id", json!("user_01OLIVIA")),
        ("email", json!("ops@example.com")),
        ("provider", json!("authkit")),
        ("connection_id", json!("conn_authkit")),
        ("created_by", json!("usr_olivia")),
        ("status", json!("active")),
        ("refreshable", json!(true)),
        ("scopes", json!([])),
    ] {
        assert_eq!(stored[field], value, "{field}");
    }
    assert_eq!(time(&stored["access_expires_at"]), world.now() + Duration::minutes(5));
    let [asked] = workos.authenticated().try_into().unwrap();
    let names: Vec<&String> = asked.as_object().unwrap().keys().collect();
    assert_eq!(names, ["client_id", "client_secret", "code", "code_verifier", "grant_type"]);
    assert_eq!(
        (&asked["client_id"], &asked["client_secret"], &asked["grant_type"]),
        (&json!(CLIENT_ID), &json!(API_KEY), &json!("authorization_code"))
    );
    assert_eq!(asked["code_verifier"].as_str().unwrap().len(), 43);
    assert_eq!(olivia.list().await[0]["id"], stored["id"]);
    assert_eq!((workos.live_sessions().len(), workos.revoked().len()), (1, 0));
}

#[tokio::test]
async fn every_selector_asks_workos_for_exactly_one_thing() {
    let workos = WorkOs::start().await;
    let world = world(
        &workos,
        vec![
            workos.connection("conn_authkit", "authkit", None, &json!({ "provider": "authkit" })),
            workos.connection("conn_google", "GoogleOAuth", Some("org_demo"), &json!({ "provider": "GoogleOAuth" })),
            workos.connection("conn_sso", "sso", None, &json!({ "connection_id": "conn_01SSO" })),
            workos.connection("conn_org", "org", Some("org_demo"), &json!({ "organization_id": "org_demo" })),
        ],
    )
    .await;
    let olivia = world.olivia();
    for (connection, name, value) in [
        ("conn_authkit", "provider", "authkit"),
        ("conn_google", "provider", "GoogleOAuth"),
        ("conn_sso", "connection_id", "conn_01SSO"),
        ("conn_org", "organization_id", "org_demo"),
    ] {
        let url = world.url(&olivia, json!({ "connection_id": connection })).await;
        let asked = parameters(&url);
        let selected: Vec<_> =
            asked.iter().filter(|(n, _)| ["provider", "connection_id", "organization_id"].contains(&n.as_str())).collect();
        assert_eq!(selected, [&(name.to_owned(), value.to_owned())]);
        world.open(&workos.come_back(&url)).await.page(200);
        complete(&workos, &world, &olivia, connection).await.is(201);
    }
    assert_eq!(olivia.list().await.as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn hints_scopes_and_parameters_of_the_provider_behind_are_passed_on() {
    let workos = WorkOs::start().await;
    let world = world(
        &workos,
        vec![
            workos.connection("conn_authkit", "sign-in", None, &json!({ "provider": "authkit" })),
            workos.connection("conn_google", "GoogleOAuth", None, &json!({ "provider": "GoogleOAuth" })),
            workos.connection("conn_named", "authkit", None, &json!({ "organization_id": "org_demo" })),
        ],
    )
    .await;
    let olivia = world.olivia();
    let body = json!({
        "connection_id": "conn_authkit", "provider_scopes": ["write", "read"], "provider_query_params": { "hd": "example.com", "depth": 2, "offline": true },
        "login_hint": "ops@example.com", "domain_hint": "example.com", "prompt": "login", "max_age": 0, "screen_hint": "sign-up",
    });
    let asked = parameters(&world.url(&olivia, body).await);
    let behind: Vec<(&str, &str)> = asked.iter().skip(6).map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        behind,
        [
            ("provider", "authkit"),
            ("provider_scopes", "read,write"),
            ("login_hint", "ops@example.com"),
            ("domain_hint", "example.com"),
            ("prompt", "login"),
            ("max_age", "0"),
            ("screen_hint", "sign-up"),
            ("provider_query_params[depth]", "2"),
            ("provider_query_params[hd]", "example.com"),
            ("provider_query_params[offline]", "true"),
        ]
    );
    // A screen hint is for what WorkOS is asked for by `provider=authkit`, whatever a connection is called here.
    for other in ["conn_google", "conn_named"] {
        let refused =
            olivia.post(LIST, json!({ "connection_id": other, "screen_hint": "sign-in" })).await.refused(400, "parameter_invalid");
        assert_eq!(refused["param"], "screen_hint", "{other}");
    }
    let refused = olivia.post(LIST, json!({ "connection_id": "conn_google", "provider_scopes": "admin" })).await;
    refused.refused(400, "parameter_invalid");
    for reserved in ["provider_scopes", "organization_id", "provider_query_params[x]", "state"] {
        let body = json!({ "connection_id": "conn_google", "provider_query_params": { reserved: "x" } });
        olivia.post(LIST, body).await.refused(400, "parameter_reserved");
    }
    // What is asked for is what is recorded: WorkOS says nothing about scopes.
    let body = json!({ "connection_id": "conn_google", "redirect_uri": world.return_to(), "provider_scopes": ["write"] });
    let code = completion_code(&workos, &world, &olivia, body).await;
    assert_eq!(olivia.complete(json!({ "code": code })).await.is(201)["scopes"], json!(["write"]));
}

#[tokio::test]
async fn s24_in_direct_mode_the_verified_email_must_be_the_callers() {
    let (workos, world, olivia) = at_workos().await;
    let unverified = {
        let mut claims = world.claims(&PEOPLE[0]);
        claims.email_verified = false;
        world.caller(claims)
    };
    assert_eq!(
        direct(&workos, &world, &unverified, "conn_authkit").await.status,
        403,
        "an unverified address of the caller proves nothing"
    );
    for (id, email, verified) in [
        ("user_01VICTIM", "victim@example.com", true),
        ("user_01OLIVIA", "ops@example.com", false),
        ("user_01OLIVIA", "", true),
        // The caller's own subject is another person at another issuer.
        ("usr_olivia", "other@example.com", true),
    ] {
        workos.script(|script| script.user = User { email_verified: verified, ..User::verified(id, email) });
        direct(&workos, &world, &olivia, "conn_authkit").await.page(403);
    }
    assert_eq!(olivia.list().await, json!([]));
    assert_eq!((workos.exchanges(), workos.revoked().len(), workos.live_sessions().len()), (5, 5, 0), "every session is given back");
    workos.script(|script| script.user = User::verified("user_01OLIVIA", "OPS@example.com"));
    direct(&workos, &world, &olivia, "conn_authkit").await.page(200);
    assert_eq!(workos.live_sessions().len(), 1);
}

#[tokio::test]
async fn s24_by_redirect_an_operator_account_of_the_organization_may_be_used() {
    let (workos, world, olivia) = at_workos().await;
    workos.script(|script| script.user = User::verified("user_01ROBOT", "robot@service.example"));
    let stored = complete(&workos, &world, &olivia, "conn_authkit").await.is(201);
    assert_eq!((&stored["user_id"], &stored["created_by"]), (&json!("user_01ROBOT"), &json!("usr_olivia")));
    let code = completion_code(&workos, &world, &olivia, by_redirect(&world, "conn_authkit")).await;
    let asked = workos.authenticated().len();
    world.ben().complete(json!({ "code": code })).await.refused(404, "flow_not_found");
    assert_eq!(workos.authenticated().len(), asked);
}

#[tokio::test]
async fn s24_an_identity_of_another_organization_is_refused_and_its_session_revoked() {
    let (workos, world, olivia) = at_workos().await;
    // The connection is one organization's: WorkOS has to say that it is this one.
    for organization in [Some("org_elsewhere"), Some("ORG_DEMO"), Some(""), None] {
        workos.script(|script| script.organization = organization.map(str::to_owned));
        let code = completion_code(&workos, &world, &olivia, by_redirect(&world, "conn_authkit")).await;
        for _ in 0..2 {
            olivia.complete(json!({ "code": code })).await.refused(403, "organization_mismatch");
        }
        let answer = direct(&workos, &world, &olivia, "conn_authkit").await;
        assert!(answer.page(403).contains("another organization"), "{organization:?}");
    }
    assert_eq!((workos.exchanges(), workos.revoked().len()), (8, 8), "a refusal is not asked for twice");
    assert_eq!(workos.live_sessions(), Vec::<String>::new());
    assert_eq!((olivia.list().await, world.mallory().list().await), (json!([]), json!([])));
}

#[tokio::test]
async fn at_everybodys_connection_whoever_has_an_organization_has_the_callers() {
    let workos = WorkOs::start().await;
    let mut mapped = workos.connection("conn_mapped", "mapped", None, &json!({ "provider": "GoogleOAuth" }));
    mapped["claims"] = json!({ "organization": "organization_id" });
    let world =
        world(&workos, vec![workos.connection("conn_google", "GoogleOAuth", None, &json!({ "provider": "GoogleOAuth" })), mapped]).await;
    let (olivia, mallory) = (world.olivia(), world.mallory());
    complete(&workos, &world, &olivia, "conn_google").await.is(201);
    complete(&workos, &world, &mallory, "conn_google").await.refused(403, "organization_mismatch");
    workos.script(|script| script.organization = Some("org_elsewhere".to_owned()));
    complete(&workos, &world, &olivia, "conn_google").await.refused(403, "organization_mismatch");
    complete(&workos, &world, &mallory, "conn_google").await.is(201);
    // Nobody's member signs in where everybody may, unless the directory asks for an organization.
    workos.script(|script| script.organization = None);
    complete(&workos, &world, &olivia, "conn_google").await.is(201);
    complete(&workos, &world, &olivia, "conn_mapped").await.refused(403, "organization_mismatch");
    assert_eq!((workos.revoked().len(), workos.live_sessions().len()), (3, 3));
}

#[tokio::test]
async fn an_organization_may_have_another_name_at_workos() {
    let workos = WorkOs::start().await;
    let world = world(
        &workos,
        vec![
            workos.connection("conn_demo_org", "org", Some("org_demo"), &json!({ "organization_id": "org_01DEMO" })),
            workos.connection("conn_everybodys", "org", None, &json!({ "organization_id": "org_01DEMO" })),
        ],
    )
    .await;
    let (olivia, mallory) = (world.olivia(), world.mallory());
    workos.script(|script| script.organization = Some("org_01DEMO".to_owned()));
    complete(&workos, &world, &olivia, "conn_demo_org").await.is(201);
    for caller in [&olivia, &mallory] {
        // It is the name of one organization, not of all.
        complete(&workos, &world, caller, "conn_everybodys").await.refused(403, "organization_mismatch");
    }
    for other in [Some("org_demo"), Some("org_01OTHER"), None] {
        workos.script(|script| script.organization = other.map(str::to_owned));
        complete(&workos, &world, &olivia, "conn_demo_org").await.refused(403, "organization_mismatch");
    }
    assert_eq!((workos.revoked().len(), workos.live_sessions().len()), (5, 1));
}

#[tokio::test]
async fn s30_a_code_of_one_organization_is_worth_nothing_at_anothers_connection_of_the_same_client() {
    let workos = WorkOs::start().await;
    let connection = |id: &str, owner: &str| workos.connection(id, "authkit", Some(owner), &json!({ "provider": "authkit" }));
    let world = world(&workos, vec![connection("conn_demo_org", "org_demo"), connection("conn_elsewhere", "org_elsewhere")]).await;
    let (olivia, mallory) = (world.olivia(), world.mallory());
    let hers = workos.come_back(&world.url(&olivia, by_redirect(&world, "conn_demo_org")).await);
    let code = parameters(&hers).into_iter().find(|(name, _)| name == "code").unwrap().1;
    let mallorys = Url::parse(&workos.come_back(&world.url(&mallory, by_redirect(&world, "conn_elsewhere")).await)).unwrap();
    let state = mallorys.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let mut injected = mallorys.clone();
    injected.query_pairs_mut().clear().append_pair("code", &code).append_pair("state", &state);
    let back = world.open(injected.as_str()).await;
    mallory.complete(json!({ "code": back.sent("code") })).await.refused(400, "oauth_failed");
    assert_eq!((workos.live_sessions().len(), mallory.list().await), (0, json!([])), "the verifier is another");
}

#[tokio::test]
async fn a_re_authorization_keeps_its_id_and_another_users_session_is_revoked() {
    let (workos, world, olivia) = at_workos().await;
    let id = bound(&workos, &world, &olivia).await;
    let body = json!({ "connection_id": "conn_authkit", "redirect_uri": world.return_to(), "authorization_id": id });
    workos.script(|script| script.user = User::verified("user_01OTHER", "ops@example.com"));
    let code = completion_code(&workos, &world, &olivia, body.clone()).await;
    olivia.complete(json!({ "code": code })).await.refused(409, "identity_mismatch");
    assert_eq!((workos.revoked().len(), workos.live_sessions().len()), (1, 1), "the other's ended, the old one works");
    assert_eq!(olivia.token(&id, fl_1()).await.is(200)["generation"], 1);
    workos.script(|script| script.user = User::verified("user_01OLIVIA", "new@example.com"));
    let code = completion_code(&workos, &world, &olivia, body).await;
    let renewed = olivia.complete(json!({ "code": code })).await.is(201);
    assert_eq!((&renewed["id"], &renewed["email"]), (&json!(id), &json!("new@example.com")));
    assert_eq!(olivia.token(&id, fl_1()).await.is(200)["generation"], 2);
}

#[tokio::test]
async fn a_refresh_rotates_and_lives_by_the_tokens_own_end() {
    let (workos, world, olivia) = at_workos().await;
    let id = bound(&workos, &world, &olivia).await;
    let first = olivia.token(&id, fl_1()).await.is(200);
    assert_eq!((&first["expires_in"], &first["generation"]), (&json!(300), &json!(1)));
    workos.script(|script| script.access_lifetime = 900);
    world.pass(Duration::minutes(5));
    let second = olivia.token(&id, fl_1()).await.is(200);
    assert_eq!((&second["expires_in"], &second["generation"], &second["degraded"]), (&json!(900), &json!(2), &json!(false)));
    world.pass(Duration::minutes(15));
    assert_eq!(world.run_schedule().await["refreshed"], 1);
    assert_eq!(olivia.token(&id, fl_1()).await.is(200)["generation"], 3);
    let asked: Vec<Value> = workos.authenticated().into_iter().skip(1).collect();
    for body in &asked {
        let names: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(names, ["client_id", "client_secret", "grant_type", "refresh_token"]);
    }
    assert_eq!(asked.len(), 2);
    assert_ne!(asked[0]["refresh_token"], asked[1]["refresh_token"], "each is used once");
    assert_eq!(workos.live_sessions().len(), 1);
}

#[tokio::test]
async fn an_answer_that_was_lost_is_asked_for_again_while_workos_replays_it() {
    let (workos, world, olivia) = at_workos().await;
    for lost in [Trouble::HangsUp, Trouble::BreaksOff, Trouble::Page(200)] {
        let id = bound(&workos, &world, &olivia).await;
        world.pass(Duration::minutes(5) - Duration::seconds(20));
        workos.trouble(lost);
        let token = olivia.token(&id, fl_1()).await.is(200);
        assert_eq!((&token["degraded"], &token["generation"]), (&json!(false), &json!(2)));
        let asked = workos.authenticated();
        let [.., sent, again] = asked.as_slice() else { unreachable!("two refreshes") };
        assert_eq!(sent["refresh_token"], again["refresh_token"]);
        assert_eq!(olivia.one(&id).await["status"], "active");
    }
    assert_eq!(workos.refreshes(), 6);
}

#[tokio::test]
async fn an_answer_that_was_lost_for_longer_than_workos_replays_it_needs_a_person() {
    let (workos, world, olivia) = at_workos().await;
    let id = bound(&workos, &world, &olivia).await;
    world.pass(Duration::minutes(5));
    workos.trouble(Trouble::HangsUp);
    workos.trouble(Trouble::HangsUp);
    olivia.token(&id, fl_1()).await.refused(503, "provider_unavailable");
    assert_eq!(olivia.one(&id).await["status"], "active");
    world.pass(Duration::seconds(30));
    assert_eq!(olivia.token(&id, fl_1()).await.refused(409, "needs_reauthorization")["reason"], "outcome_unknown");
}

#[tokio::test]
async fn a_refresh_for_somebody_else_is_revoked_and_never_handed_out() {
    let (workos, world, olivia) = at_workos().await;
    for change in [
        (|script: &mut tests::workos::Script| script.refreshes_for = Some(User::verified("user_01OTHER", "ops@example.com"))) as fn(&mut _),
        |script| script.refreshes_into = Some("org_elsewhere".to_owned()),
    ] {
        let id = bound(&workos, &world, &olivia).await;
        let session = workos.live_sessions();
        world.pass(Duration::minutes(5));
        workos.script(change);
        assert_eq!(olivia.token(&id, fl_1()).await.refused(409, "needs_reauthorization")["reason"], "identity_revoked");
        let entry = olivia.one(&id).await;
        assert_eq!((&entry["status"], &entry["reason"]), (&json!("needs_reauthorization"), &json!("identity_revoked")));
        assert_eq!((workos.revoked().last(), workos.live_sessions().len()), (session.last(), 0));
        workos.script(|script| (script.refreshes_for, script.refreshes_into) = (None, None));
    }
}

#[tokio::test]
async fn s88_what_workos_refuses_until_the_person_signs_in_again_ends_the_authorization() {
    let (workos, world, olivia) = at_workos().await;
    let id = bound(&workos, &world, &olivia).await;
    for refused in [
        None,
        Some(Trouble::error(401, "invalid_grant")),
        Some(Trouble::error(400, "sso_required")),
        Some(Trouble::error(400, "mfa_enrollment")),
        Some(Trouble::code(403, "mfa_enrollment")),
    ] {
        world.pass(Duration::minutes(5));
        match refused.clone() {
            None => workos.end_sessions(),
            Some(trouble) => workos.trouble(trouble),
        }
        let refreshes = workos.refreshes();
        for _ in 0..2 {
            let body = olivia.token(&id, fl_1()).await.refused(409, "needs_reauthorization");
            assert_eq!(body["reason"], "invalid_grant", "{refused:?}");
            assert!(!body.to_string().contains("own words"));
        }
        assert_eq!(workos.refreshes(), refreshes + 1, "{refused:?}: it is not asked again");
        assert_eq!(olivia.one(&id).await["status"], "needs_reauthorization", "{refused:?}");
        let body = json!({ "connection_id": "conn_authkit", "redirect_uri": world.return_to(), "authorization_id": id });
        let code = completion_code(&workos, &world, &olivia, body).await;
        assert_eq!(olivia.complete(json!({ "code": code })).await.is(201)["status"], "active");
    }
}

#[tokio::test]
async fn a_throttle_is_respected_for_as_long_as_it_says() {
    let (workos, world, olivia) = at_workos().await;
    let id = bound(&workos, &world, &olivia).await;
    world.pass(Duration::minutes(5));
    workos.trouble(Trouble::Throttles(20));
    for wait in ["20", "13"] {
        let refused = olivia.token(&id, fl_1()).await;
        assert_eq!(refused.header("retry-after"), wait);
        refused.refused(503, "provider_unavailable");
        world.pass(Duration::seconds(7));
    }
    assert_eq!(workos.refreshes(), 1);
    world.pass(Duration::seconds(6));
    assert_eq!(olivia.token(&id, fl_1()).await.is(200)["generation"], 2);
}

#[tokio::test]
async fn nothing_that_passes_changes_a_status() {
    let (workos, world, olivia) = at_workos().await;
    for trouble in [
        Trouble::code(429, "daily_quota_exceeded"),
        Trouble::message(500),
        Trouble::error(503, "temporarily_unavailable"),
        Trouble::Page(502),
        Trouble::Page(404),
        Trouble::message(400),
        Trouble::message(404),
        Trouble::code(422, "invalid_request_parameters"),
        Trouble::error(400, "invalid_request"),
        Trouble::error(400, "organization_not_found"),
        Trouble::code(403, "email_verification_required"),
        Trouble::code(403, "mfa_challenge"),
        Trouble::code(403, "organization_selection_required"),
        Trouble::error(400, "organization_authentication_methods_required"),
        // The operator's fault, not the person's.
        Trouble::error(400, "invalid_client"),
        Trouble::error(400, "unauthorized_client"),
        Trouble::message(401),
    ] {
        let id = bound(&workos, &world, &olivia).await;
        // A gateway's 502 may hide an answer, so within the grace it is asked again at once.
        let asked = if matches!(trouble, Trouble::Page(502)) { 2 } else { 1 };
        world.pass(Duration::minutes(5) - Duration::seconds(10));
        (0..asked).for_each(|_| workos.trouble(trouble.clone()));
        let kept = olivia.token(&id, fl_1()).await.is(200);
        assert_eq!((&kept["degraded"], &kept["expires_in"]), (&json!(true), &json!(10)), "{trouble:?}");
        world.pass(Duration::seconds(10));
        (0..asked).for_each(|_| workos.trouble(trouble.clone()));
        let refused = olivia.token(&id, fl_1()).await;
        refused.refused(503, "provider_unavailable");
        assert!(!refused.text.contains("own words") && !refused.text.contains("pending"), "{}", refused.text);
        let entry = olivia.one(&id).await;
        assert_eq!((&entry["status"], &entry["reason"]), (&json!("active"), &Value::Null), "{trouble:?}");
        let token = olivia.token(&id, fl_1()).await.is(200);
        assert_eq!((&token["degraded"], &token["generation"]), (&json!(false), &json!(2)), "{trouble:?}");
    }
}

#[tokio::test]
async fn s32_a_code_is_sent_once_whatever_workos_answers_and_its_words_go_no_further() {
    let (workos, world, olivia) = at_workos().await;
    for (trouble, page, status) in [
        (Trouble::error(400, "invalid_grant"), 502, 400),
        (Trouble::error(400, "sso_required"), 502, 400),
        (Trouble::error(400, "access_denied"), 502, 400),
        (Trouble::error(422, "organization_authentication_methods_required"), 502, 400),
        (Trouble::error(400, OWN_WORDS), 502, 400),
        (Trouble::code(403, "email_verification_required"), 502, 400),
        (Trouble::code(403, "mfa_enrollment"), 502, 400),
        (Trouble::code(403, "mfa_challenge"), 502, 400),
        (Trouble::code(403, "organization_selection_required"), 502, 400),
        (Trouble::code(422, "invalid_request_parameters"), 502, 400),
        (Trouble::message(400), 502, 400),
        (Trouble::message(403), 502, 400),
        (Trouble::message(404), 502, 400),
        (Trouble::error(400, "invalid_client"), 502, 400),
        (Trouble::message(401), 502, 400),
        (Trouble::Throttles(20), 503, 502),
        (Trouble::code(429, "daily_quota_exceeded"), 503, 502),
        (Trouble::message(500), 503, 502),
        (Trouble::Page(503), 503, 502),
        (Trouble::Page(403), 503, 502),
        (Trouble::HangsUp, 503, 502),
        (Trouble::Page(200), 502, 502),
        (Trouble::BreaksOff, 502, 502),
    ] {
        let asked = workos.authenticated().len();
        workos.trouble(trouble.clone());
        let code = completion_code(&workos, &world, &olivia, by_redirect(&world, "conn_authkit")).await;
        for _ in 0..2 {
            let refused = olivia.complete(json!({ "code": code })).await;
            refused.refused(status, "oauth_failed");
            assert!(!refused.text.contains("own words") && !refused.text.contains("pending"), "{}", refused.text);
        }
        workos.trouble(trouble.clone());
        let back = workos.come_back(&world.url(&olivia, json!({ "connection_id": "conn_authkit" })).await);
        for _ in 0..2 {
            let text = world.open(&back).await.page(page).to_owned();
            assert!(!text.contains("own words") && !text.contains("pending"), "{text}");
        }
        assert_eq!(workos.authenticated().len(), asked + 2, "{trouble:?}");
    }
    assert_eq!(olivia.list().await, json!([]));
    assert!(workos.revoked().is_empty(), "nothing was obtained that could be given back");
}

#[tokio::test]
async fn s27_an_error_of_workos_reaches_the_application_in_our_words() {
    let (workos, world, olivia) = at_workos().await;
    for (error, ours, page) in [
        ("access_denied", "access_denied", 403),
        ("ambiguous_connection_selector", "oauth_failed", 502),
        ("connection_invalid", "oauth_failed", 502),
        ("connection_strategy_invalid", "oauth_failed", 502),
        ("connection_unlinked", "oauth_failed", 502),
        ("invalid_connection_selector", "oauth_failed", 502),
        ("organization_invalid", "oauth_failed", 502),
        ("oauth_failed", "oauth_failed", 502),
        ("profile_not_allowed_outside_organization", "oauth_failed", 502),
        ("server_error", "oauth_failed", 503),
    ] {
        let body = json!({ "connection_id": "conn_authkit", "redirect_uri": world.return_to(), "state": "mine" });
        let answer = world.open(&workos.turn_away(&world.url(&olivia, body).await, error)).await;
        assert_eq!(
            (answer.status, answer.sent("error").as_deref(), answer.sent("state").as_deref()),
            (303, Some(ours), Some("mine")),
            "{error}"
        );
        assert!(answer.sent("error_description").is_some_and(|text| !text.contains("own words")));
        let answer = world.open(&workos.turn_away(&world.url(&olivia, json!({ "connection_id": "conn_authkit" })).await, error)).await;
        assert!(!answer.page(page).contains("own words"), "{error}");
    }
    assert!(workos.authenticated().is_empty());
}

#[tokio::test]
async fn s86_revoking_ends_the_session_that_the_access_token_names() {
    let (workos, world, olivia) = at_workos().await;
    let id = complete(&workos, &world, &olivia, "conn_authkit").await.is(201)["id"].as_str().unwrap().to_owned();
    let path = format!("{LIST}/{id}");
    assert_eq!(olivia.delete(&format!("{path}?dry_run=true")).await.is(200)["provider_revocation"], "supported");
    let sessions = workos.live_sessions();
    olivia.delete(&path).await.is(204);
    assert_eq!((workos.revoked(), workos.live_sessions()), (sessions, Vec::new()));
    assert_eq!((workos.refreshes(), olivia.list().await), (0, json!([])));
    // A session that has ended already is as good.
    let id = complete(&workos, &world, &olivia, "conn_authkit").await.is(201)["id"].as_str().unwrap().to_owned();
    workos.end_sessions();
    olivia.delete(&format!("{LIST}/{id}")).await.is(204);
    assert_eq!(olivia.list().await, json!([]));
    assert_eq!(workos.revoked().len(), 2);
}

#[tokio::test]
async fn s86_a_session_that_workos_does_not_end_at_once_is_ended_by_the_schedule() {
    let (workos, world, olivia) = at_workos().await;
    for (trouble, live) in [
        (Trouble::message(500), 1),
        (Trouble::Throttles(20), 1),
        (Trouble::Page(404), 1),
        (Trouble::message(401), 1),
        (Trouble::message(403), 1),
        (Trouble::HangsUp, 0),
    ] {
        let id = complete(&workos, &world, &olivia, "conn_authkit").await.is(201)["id"].as_str().unwrap().to_owned();
        workos.revocation_trouble(trouble.clone());
        olivia.delete(&format!("{LIST}/{id}")).await.is(204);
        assert_eq!((&olivia.one(&id).await["status"], workos.live_sessions().len()), (&json!("revoking"), live), "{trouble:?}");
        world.pass(Duration::minutes(30));
        assert_eq!(world.run_schedule().await["revoked"], 1, "{trouble:?}");
        assert_eq!((olivia.list().await, workos.live_sessions().len()), (json!([]), 0), "{trouble:?}");
    }
}

#[tokio::test]
async fn s86_a_session_that_only_a_refresh_token_knows_is_found_by_it() {
    let (workos, world, olivia) = at_workos().await;
    workos.script(|script| script.opaque_access_tokens = true);
    let stored = complete(&workos, &world, &olivia, "conn_authkit").await.is(201);
    assert_eq!(
        time(&stored["access_expires_at"]),
        world.now() + Duration::HOUR,
        "without an end of its own the connection's default counts"
    );
    let id = stored["id"].as_str().unwrap();
    workos.script(|script| script.opaque_access_tokens = false);
    let sessions = workos.live_sessions();
    olivia.delete(&format!("{LIST}/{id}")).await.is(204);
    assert_eq!((workos.refreshes(), workos.revoked(), workos.live_sessions()), (1, sessions, Vec::new()));
    assert_eq!(olivia.list().await, json!([]));
}

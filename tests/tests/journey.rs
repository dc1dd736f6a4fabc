//! The whole life of authorizations, as people, applications and workflows see it.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use serde_json::{Value, json};
use tests::{Expect as _, Verifier, World};
use time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

fn at(value: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(value.as_str().unwrap(), &Rfc3339).unwrap()
}

fn names(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_person_signs_in_once_and_sees_the_authorization_in_the_list() {
    let world = World::start().await;
    let olivia = world.olivia();
    assert_eq!(olivia.list().await, json!([]));
    let created = olivia.post("/workflows/authorization", json!({})).await.is(200);
    assert_eq!(names(&created), ["expires_at", "url"]);
    assert_eq!(at(&created["expires_at"]), world.now() + Duration::minutes(10));

    let back = world.allowed(created["url"].as_str().unwrap(), "usr_olivia").await;
    assert!(world.open(&back).await.page(200).contains("You are signed in"));

    let list = olivia.list().await;
    let entry = &list[0];
    let id = entry["id"].as_str().unwrap();
    assert!(id.starts_with("auth_") && id.len() == 31);
    let now = world.now().format(&Rfc3339).unwrap();
    let end = (world.now() + Duration::HOUR).format(&Rfc3339).unwrap();
    let reauthorize_by = (world.now() + Duration::days(30)).format(&Rfc3339).unwrap();
    assert_eq!(
        list,
        json!([{
            "id": id, "user_id": "usr_olivia", "provider": "demonstration", "status": "active", "created_at": now,
            "email": "ops@example.com", "connection_id": "conn_demo", "created_by": "usr_olivia",
            "scopes": ["email", "offline_access", "openid", "sites:read"], "refreshable": true,
            "workflows": [], "workflow_count": 0, "access_expires_at": end, "reauthorize_by": reauthorize_by,
            "last_used_at": null, "last_refreshed_at": null, "reason": null,
        }])
    );
    assert_eq!(olivia.one(id).await, list[0], "one by its id is the same as in the list");
    assert_eq!(world.ben().list().await, list, "the list is the organization's");
}

#[tokio::test]
async fn an_application_signs_a_person_in_by_redirect_and_completes_with_its_own_pkce() {
    let world = World::start().await;
    let olivia = world.olivia();
    let body = json!({
        "redirect_uri": format!("{}?keep=this", "http://localhost:4711/automation/authorizations"),
        "state": "a state & more = ?", "code_challenge": Verifier::CHALLENGE, "code_challenge_method": "S256",
    });
    olivia.post("/workflows/authorization", body).await.refused(400, "invalid_redirect_uri");
    let body = json!({
        "redirect_uri": world.return_to(), "state": "a state & more = ?",
        "code_challenge": Verifier::CHALLENGE, "code_challenge_method": "S256", "response_type": "code",
    });
    let back = world.sign_in(&olivia, "usr_olivia", body).await;
    assert_eq!(back.status, 303);
    assert!(back.location().starts_with(&format!("{}?code=", world.return_to())), "{}", back.location());
    assert_eq!(back.header("cache-control"), "no-store");
    assert_eq!(back.header("referrer-policy"), "no-referrer");
    assert_eq!(back.sent("state").as_deref(), Some("a state & more = ?"));
    assert_eq!(back.sent("error"), None);
    assert_eq!(world.provider().token_requests, 0, "the callback makes no token request");

    let code = back.sent("code").unwrap();
    let complete = json!({ "code": code, "code_verifier": Verifier::VERIFIER });
    let answer = olivia.complete(complete.clone()).await;
    let stored = answer.is(201);
    let id = stored["id"].as_str().unwrap();
    assert_eq!(answer.location(), format!("/workflows/authorization/{id}"));
    assert_eq!(stored, olivia.one(id).await);
    assert_eq!(olivia.complete(complete).await.is(200), stored, "a second time answers the same");
    assert_eq!(world.provider().token_requests, 1);
    assert_eq!(olivia.list().await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn redirect_mode_takes_a_service_owned_account_of_the_same_organization() {
    let world = World::start().await;
    let olivia = world.olivia();
    let code = world.completion_code(&olivia, "usr_ben").await;
    let stored = olivia.complete(json!({ "code": code })).await.is(201);
    assert_eq!(
        (&stored["user_id"], &stored["created_by"], &stored["email"]),
        (&json!("usr_ben"), &json!("usr_olivia"), &json!("ben@example.com"))
    );
}

#[tokio::test]
async fn a_workflow_is_bound_gets_tokens_and_they_are_renewed_on_demand_and_by_schedule() {
    let world = World::start().await;
    let olivia = world.olivia();
    let id = world.authorize(&olivia, "usr_olivia").await;
    let binding = json!({ "authorization_id": id, "workflow_name": "Nightly backup", "required_scopes": ["sites:read"] });
    let bound = olivia.put("/workflows/fl_nightly/authorization", binding).await.is(200);
    let now = world.now().format(&Rfc3339).unwrap();
    assert_eq!(
        bound,
        json!({ "workflow_id": "fl_nightly", "workflow_name": "Nightly backup", "authorization_id": id, "required_scopes": ["sites:read"], "created_at": now })
    );
    assert_eq!(olivia.get("/workflows/fl_nightly/authorization").await.is(200), bound);
    let entry = olivia.one(&id).await;
    assert_eq!(entry["workflows"], json!([{ "id": "fl_nightly", "name": "Nightly backup" }]));
    assert_eq!(entry["workflow_count"], 1);

    let first = olivia.token(&id, json!({ "workflow_id": "fl_nightly" })).await.is(200);
    assert_eq!(names(&first), ["access_token", "degraded", "expires_at", "expires_in", "generation", "scope", "token_type"]);
    assert_eq!((&first["token_type"], &first["generation"], &first["degraded"]), (&json!("Bearer"), &json!(1), &json!(false)));
    assert_eq!((&first["expires_in"], &first["scope"]), (&json!(3600), &json!("email offline_access openid sites:read")));
    assert_eq!(at(&first["expires_at"]), world.now() + Duration::HOUR);
    let userinfo = format!("{}/userinfo", world.stack.sign_in().issuer());
    let bearer = format!("Bearer {}", first["access_token"].as_str().unwrap());
    let who = world.http.send(reqwest::Method::GET, &userinfo, &[("authorization", &bearer)], None).await.unwrap();
    assert_eq!(who.json()["sub"], "usr_olivia", "the token works at the provider");
    assert_eq!(olivia.one(&id).await["last_used_at"], now, "its use is noted");

    world.pass(Duration::HOUR - Duration::seconds(30));
    let second = olivia.token(&id, json!({ "workflow_id": "fl_nightly" })).await.is(200);
    assert_eq!((&second["generation"], &second["expires_in"]), (&json!(2), &json!(3600)), "30 s left are too few: refreshed on demand");
    assert_ne!(second["access_token"], first["access_token"]);
    let entry = olivia.one(&id).await;
    assert_eq!(at(&entry["last_refreshed_at"]), world.now());
    assert_eq!(at(&entry["access_expires_at"]), world.now() + Duration::HOUR);
    assert_eq!(entry["created_at"], now);

    assert_eq!(world.run_schedule().await["due"], 0, "nothing is due yet");
    world.pass(Duration::minutes(58));
    let nothing = json!({ "due": 1, "refreshed": 1, "needs_reauthorization": 0, "deferred": 0, "skipped": 0, "revoked": 0, "rescued": 0, "failed": 0 });
    assert_eq!(world.run_schedule().await, nothing, "the schedule renews what is in use before it ends");
    let third = olivia.token(&id, json!({ "workflow_id": "fl_nightly" })).await.is(200);
    assert_eq!((&third["generation"], &third["expires_in"]), (&json!(3), &json!(3600)));
    assert_eq!(world.provider().refreshes, 2);
}

#[tokio::test]
async fn an_unused_authorization_is_kept_alive_without_hourly_refreshes() {
    let world = World::start().await;
    let olivia = world.olivia();
    let id = world.authorize(&olivia, "usr_olivia").await;
    for _ in 0..13 {
        world.pass(Duration::days(1));
        assert_eq!(world.run_schedule().await["due"], 0);
    }
    world.pass(Duration::days(2));
    assert_eq!(world.run_schedule().await["refreshed"], 1, "at half of its idle lifetime");
    assert_eq!(at(&olivia.one(&id).await["reauthorize_by"]), world.now() + Duration::days(30));
}

#[tokio::test]
async fn a_check_proves_that_the_authorization_works_and_shows_no_token() {
    let world = World::start().await;
    let olivia = world.olivia();
    let id = world.authorize(&olivia, "usr_olivia").await;
    let path = format!("/workflows/authorization/{id}/check");
    let report = olivia.post(&path, json!({})).await.is(200);
    let now = world.now();
    assert_eq!(
        report,
        json!({
            "ok": true, "status": "active", "checked_at": now.format(&Rfc3339).unwrap(), "scopes": ["email", "offline_access", "openid", "sites:read"],
            "missing_scopes": [], "access_expires_at": (now + Duration::HOUR).format(&Rfc3339).unwrap(), "reason": null,
        })
    );
    assert_eq!(world.provider().refreshes, 1, "it was refreshed to prove it");
    assert_eq!(olivia.call(reqwest::Method::POST, &path, None).await.is(200)["ok"], true, "no body is the same as {{}}");
}

#[tokio::test]
async fn s84_revoking_is_refused_while_workflows_are_bound_and_names_them() {
    let world = World::start().await;
    let olivia = world.olivia();
    let id = world.authorize(&olivia, "usr_olivia").await;
    let path = format!("/workflows/authorization/{id}");
    for number in 0..3 {
        let body = json!({ "authorization_id": id, "workflow_name": format!("Flow {number}") });
        olivia.put(&format!("/workflows/fl_{number}/authorization"), body).await.is(200);
    }
    let workflows = json!([{ "id": "fl_0", "name": "Flow 0" }, { "id": "fl_1", "name": "Flow 1" }, { "id": "fl_2", "name": "Flow 2" }]);
    let forecast = olivia.delete(&format!("{path}?dry_run=true")).await.is(200);
    assert_eq!(forecast, json!({ "deletable": false, "workflows": workflows, "workflow_count": 3, "provider_revocation": "supported" }));
    let before = olivia.list().await;
    let refused = olivia.delete(&path).await.refused(409, "authorization_in_use");
    assert_eq!((&refused["workflows"], &refused["workflow_count"]), (&workflows, &json!(3)));
    assert_eq!(olivia.list().await, before, "nothing changes");
    assert_eq!(world.provider().revocations, 0);

    for number in 0..3 {
        olivia.delete(&format!("/workflows/fl_{number}/authorization")).await.is(204);
        olivia.delete(&format!("/workflows/fl_{number}/authorization")).await.refused(404, "workflow_not_bound");
    }
    let forecast = olivia.delete(&format!("{path}?dry_run=true")).await.is(200);
    assert_eq!(forecast, json!({ "deletable": true, "workflows": [], "workflow_count": 0, "provider_revocation": "supported" }));
    assert_eq!(olivia.one(&id).await["status"], "active", "a dry run changes nothing");
    olivia.delete(&path).await.is(204);
    assert_eq!(olivia.list().await, json!([]));
    assert!(world.provider().revocations >= 1);
}

#[tokio::test]
async fn s85_after_a_revoke_nothing_works_any_more_and_repeating_it_is_harmless_for_30_days() {
    let world = World::start().await;
    let olivia = world.olivia();
    let id = world.authorize(&olivia, "usr_olivia").await;
    let path = format!("/workflows/authorization/{id}");
    olivia.delete(&path).await.is(204);
    olivia.token(&id, json!({ "workflow_id": "fl_1" })).await.refused(404, "workflow_not_bound");
    olivia.put("/workflows/fl_1/authorization", json!({ "authorization_id": id })).await.refused(404, "authorization_not_found");
    olivia.get(&path).await.refused(404, "authorization_not_found");
    olivia.post(&format!("{path}/check"), json!({})).await.refused(404, "authorization_not_found");
    olivia.delete(&format!("{path}?dry_run=true")).await.refused(404, "authorization_not_found");
    olivia.delete(&path).await.is(204);
    world.pass(Duration::days(30) - Duration::seconds(1));
    olivia.delete(&path).await.is(204);
    world.pass(Duration::seconds(2));
    olivia.delete(&path).await.refused(404, "authorization_not_found");
    world.mallory().delete(&path).await.refused(404, "authorization_not_found");
}

#[tokio::test]
async fn replace_moves_every_binding_and_says_beforehand_what_it_would_do() {
    let world = World::start().await;
    let olivia = world.olivia();
    let old = {
        let body = json!({ "provider_scopes": ["openid", "email", "offline_access", "sites:read", "sites:write"] });
        world.sign_in(&olivia, "usr_olivia", body).await.page(200);
        olivia.list().await[0]["id"].as_str().unwrap().to_owned()
    };
    world.pass(Duration::SECOND);
    let new = world.authorize(&olivia, "usr_olivia").await;
    assert_ne!(old, new);
    for (workflow, scope) in [("fl_reads", "sites:read"), ("fl_writes", "sites:write")] {
        let body = json!({ "authorization_id": old, "workflow_name": workflow, "required_scopes": [scope] });
        olivia.put(&format!("/workflows/{workflow}/authorization"), body).await.is(200);
    }
    let path = format!("/workflows/authorization/{old}/replace");
    let moves = |outcome: &str| json!({ "id": "fl_reads", "name": "fl_reads", "outcome": outcome, "reason": null, "missing_scopes": [] });
    let stays = json!({ "id": "fl_writes", "name": "fl_writes", "outcome": "refused", "reason": "scopes_insufficient", "missing_scopes": ["sites:write"] });

    let before = olivia.list().await;
    let forecast = olivia.post(&path, json!({ "authorization_id": new, "dry_run": true })).await.is(200);
    assert_eq!(forecast, json!({ "moved": 1, "refused": 1, "remaining": 1, "dry_run": true, "workflows": [moves("would_move"), stays] }));
    assert_eq!(olivia.list().await, before, "a dry run changes nothing");

    let report = olivia.post(&path, json!({ "authorization_id": new })).await.is(200);
    assert_eq!(report, json!({ "moved": 1, "refused": 1, "remaining": 1, "dry_run": false, "workflows": [moves("moved"), stays] }));
    assert_eq!(olivia.get("/workflows/fl_reads/authorization").await.is(200)["authorization_id"], new);
    assert_eq!(olivia.get("/workflows/fl_writes/authorization").await.is(200)["authorization_id"], old);
    assert_eq!(olivia.token(&new, json!({ "workflow_id": "fl_reads" })).await.is(200)["generation"], 1);
    olivia.token(&old, json!({ "workflow_id": "fl_reads" })).await.refused(404, "workflow_not_bound");
    let again = olivia.post(&path, json!({ "authorization_id": new })).await.is(200);
    assert_eq!((&again["moved"], &again["remaining"]), (&json!(0), &json!(1)), "it can be repeated");

    olivia.post(&path, json!({ "authorization_id": old })).await.refused(400, "parameter_invalid");
    olivia.delete("/workflows/fl_reads/authorization").await.is(204);
    olivia.delete(&format!("/workflows/authorization/{new}")).await.is(204);
    olivia.post(&path, json!({ "authorization_id": new })).await.refused(404, "authorization_not_found");
}

#[tokio::test]
async fn rebinding_moves_a_workflow_and_its_count_in_one_step() {
    let world = World::start().await;
    let olivia = world.olivia();
    let first = world.authorize(&olivia, "usr_olivia").await;
    world.pass(Duration::SECOND);
    let second = world.authorize(&olivia, "usr_olivia").await;
    world.bind(&olivia, "fl_1", &first).await;
    world.bind(&olivia, "fl_1", &first).await;
    assert_eq!(olivia.one(&first).await["workflow_count"], 1, "repeating is harmless");
    world.bind(&olivia, "fl_1", &second).await;
    assert_eq!(olivia.one(&first).await["workflow_count"], 0);
    assert_eq!(olivia.one(&second).await["workflow_count"], 1);
    let missing = json!({ "authorization_id": second, "required_scopes": ["sites:read", "sites:write"] });
    let refused = olivia.put("/workflows/fl_1/authorization", missing).await.refused(409, "scopes_insufficient");
    assert_eq!(refused["missing_scopes"], json!(["sites:write"]));
}

#[tokio::test]
async fn s88_reauthorization_keeps_the_id_the_bindings_and_the_history() {
    let world = World::start().await;
    let olivia = world.olivia();
    let id = world.authorize(&olivia, "usr_olivia").await;
    world.bind(&olivia, "fl_1", &id).await;
    let before = olivia.one(&id).await;
    world.pass(Duration::hours(2));
    world.sign_in(&olivia, "usr_olivia", json!({ "authorization_id": id })).await.page(200);
    let after = olivia.list().await;
    assert_eq!(after.as_array().unwrap().len(), 1, "no second authorization");
    for kept in ["id", "created_at", "created_by", "workflows", "workflow_count", "user_id", "status"] {
        assert_eq!(after[0][kept], before[kept], "{kept}");
    }
    assert_eq!(at(&after[0]["access_expires_at"]), world.now() + Duration::HOUR);
    assert_eq!(olivia.token(&id, json!({ "workflow_id": "fl_1" })).await.is(200)["generation"], 2);

    let code = {
        let body = json!({ "authorization_id": id, "redirect_uri": world.return_to() });
        world.sign_in(&olivia, "usr_olivia", body).await.sent("code").unwrap()
    };
    assert_eq!(olivia.complete(json!({ "code": code })).await.is(201)["id"], json!(id), "by redirect, too");
    assert_eq!(olivia.token(&id, json!({ "workflow_id": "fl_1" })).await.is(200)["generation"], 3);
}

#[tokio::test]
async fn reauthorization_by_another_identity_is_refused_and_the_old_credential_stays() {
    let world = World::start().await;
    let olivia = world.olivia();
    let id = world.authorize(&olivia, "usr_olivia").await;
    world.bind(&olivia, "fl_1", &id).await;
    let before = (olivia.list().await, olivia.token(&id, json!({ "workflow_id": "fl_1" })).await.is(200)["access_token"].clone());
    let revoked = world.provider().revocations;
    let back = world.sign_in(&olivia, "usr_ben", json!({ "authorization_id": id, "redirect_uri": world.return_to() })).await;
    olivia.complete(json!({ "code": back.sent("code").unwrap() })).await.refused(409, "identity_mismatch");
    assert!(world.provider().revocations > revoked, "what was obtained is given back");
    let after = olivia.token(&id, json!({ "workflow_id": "fl_1" })).await.is(200);
    assert_eq!(after["access_token"], before.1);
    assert_eq!(after["generation"], 1);

    let unknown = json!({ "authorization_id": "auth_01jd0000000000000000000000", "redirect_uri": world.return_to() });
    let back = world.sign_in(&olivia, "usr_olivia", unknown).await;
    olivia.complete(json!({ "code": back.sent("code").unwrap() })).await.refused(404, "authorization_not_found");
    assert_eq!(olivia.list().await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn reauthorization_may_not_grant_less_than_bound_workflows_require() {
    let world = World::start().await;
    let olivia = world.olivia();
    let id = world.authorize(&olivia, "usr_olivia").await;
    let body = json!({ "authorization_id": id, "required_scopes": ["sites:read"] });
    olivia.put("/workflows/fl_1/authorization", body).await.is(200);
    let less = json!({ "authorization_id": id, "provider_scopes": "openid email offline_access", "redirect_uri": world.return_to() });
    let back = world.sign_in(&olivia, "usr_olivia", less).await;
    olivia.complete(json!({ "code": back.sent("code").unwrap() })).await.refused(409, "scopes_insufficient");
    assert_eq!(olivia.token(&id, json!({ "workflow_id": "fl_1" })).await.is(200)["generation"], 1);
}

#[tokio::test]
async fn a_second_sign_in_of_the_same_identity_makes_a_second_authorization_newest_first() {
    let world = World::start().await;
    let olivia = world.olivia();
    let first = world.authorize(&olivia, "usr_olivia").await;
    world.pass(Duration::SECOND);
    let second = world.authorize(&olivia, "usr_olivia").await;
    let ids: Vec<_> = olivia.list().await.as_array().unwrap().iter().map(|a| a["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, [second, first]);
}

#[tokio::test]
async fn without_a_refresh_token_an_authorization_lives_as_long_as_its_access_token() {
    let world = World::start().await;
    let olivia = world.olivia();
    let body = json!({ "provider_scopes": "openid,email sites:read" });
    world.sign_in(&olivia, "usr_olivia", body).await.page(200);
    let entry = olivia.list().await[0].clone();
    let id = entry["id"].as_str().unwrap();
    assert_eq!((&entry["refreshable"], &entry["status"]), (&json!(false), &json!("active")));
    assert_eq!(entry["scopes"], json!(["email", "openid", "sites:read"]));
    assert_eq!(at(&entry["access_expires_at"]), world.now() + Duration::HOUR);
    assert_eq!(entry["reauthorize_by"], entry["access_expires_at"]);
    world.bind(&olivia, "fl_1", id).await;
    assert_eq!(olivia.token(id, json!({ "workflow_id": "fl_1" })).await.is(200)["degraded"], false);
    let check = olivia.post(&format!("/workflows/authorization/{id}/check"), json!({})).await.is(200);
    assert_eq!((&check["ok"], &check["reason"]), (&json!(true), &Value::Null));

    world.pass(Duration::HOUR);
    let report = world.run_schedule().await;
    assert_eq!((&report["due"], &report["needs_reauthorization"]), (&json!(1), &json!(1)));
    let entry = olivia.one(id).await;
    assert_eq!((&entry["status"], &entry["reason"]), (&json!("needs_reauthorization"), &json!("no_refresh_token")));
    olivia.token(id, json!({ "workflow_id": "fl_1" })).await.refused(409, "needs_reauthorization");
    assert_eq!(world.provider().refreshes, 0);

    world.sign_in(&olivia, "usr_olivia", json!({ "authorization_id": id })).await.page(200);
    let entry = olivia.one(id).await;
    assert_eq!((&entry["status"], &entry["reason"], &entry["refreshable"]), (&json!("active"), &Value::Null, &json!(true)));
    assert_eq!(olivia.token(id, json!({ "workflow_id": "fl_1" })).await.is(200)["generation"], 2);
}

#[tokio::test]
async fn s89_the_list_filters_and_pages() {
    let world = World::start().await;
    let (olivia, ben) = (world.olivia(), world.ben());
    let mut ids = Vec::new();
    for n in 0..5 {
        let (caller, person) = if n % 2 == 0 { (&olivia, "usr_olivia") } else { (&ben, "usr_ben") };
        ids.insert(0, world.authorize(caller, person).await);
        world.pass(Duration::SECOND);
    }
    world.bind(&olivia, "fl_1", &ids[2]).await;
    olivia.token(&ids[2], json!({ "workflow_id": "fl_1" })).await.is(200);
    world.pass(Duration::HOUR);
    let found = async |query: &str| -> Vec<String> {
        let list = olivia.get(&format!("/workflows/authorization?{query}")).await.is(200);
        list.as_array().unwrap().iter().map(|a| a["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(found("user_id=usr_ben").await, [ids[1].clone(), ids[3].clone()]);
    assert_eq!(found("email=ops%40example.com").await, [ids[0].clone(), ids[2].clone(), ids[4].clone()]);
    assert_eq!(found("email=ops").await, Vec::<String>::new(), "exact");
    assert_eq!(found("status=active").await, ids);
    assert_eq!(found("status=revoking").await, Vec::<String>::new());
    assert_eq!(found("workflow_id=fl_1").await, [ids[2].clone()]);
    let since = (world.now() - Duration::HOUR - Duration::MINUTE).format(&Rfc3339).unwrap();
    assert_eq!(found(&format!("unused_since={since}")).await, [&ids[..2], &ids[3..]].concat());

    let mut paged = Vec::new();
    let mut path = "/workflows/authorization?limit=2&status=active".to_owned();
    loop {
        let answer = olivia.get(&path).await;
        let page = answer.is(200);
        assert!(page.as_array().unwrap().len() <= 2);
        paged.extend(page.as_array().unwrap().iter().map(|a| a["id"].as_str().unwrap().to_owned()));
        let link = answer.header("link");
        if link.is_empty() {
            break;
        }
        let url = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
        assert!(url.contains("cursor=") && url.contains("limit=2") && url.contains("status=active"));
        path = url.strip_prefix(&world.base()).unwrap().to_owned();
    }
    assert_eq!(paged, ids, "every authorization once, newest first");
}

#[tokio::test]
async fn the_list_names_25_workflows_and_counts_all() {
    let world = World::start().await;
    let olivia = world.olivia();
    let id = world.authorize(&olivia, "usr_olivia").await;
    for n in 0..30 {
        world.bind(&olivia, &format!("fl_{n:02}"), &id).await;
    }
    let entry = olivia.list().await[0].clone();
    assert_eq!((entry["workflows"].as_array().unwrap().len(), &entry["workflow_count"]), (25, &json!(30)));
    let found = olivia.get("/workflows/authorization?workflow_id=fl_29").await.is(200);
    assert_eq!(found[0]["id"], json!(id), "the filter sees those that are not shown, too");
    let refused = olivia.delete(&format!("/workflows/authorization/{id}")).await.refused(409, "authorization_in_use");
    assert_eq!((refused["workflows"].as_array().unwrap().len(), &refused["workflow_count"]), (30, &json!(30)));
}

//! Two organizations, every route: what is another's is exactly as if it were not there (contract section 3, invariant I1).
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::sync::{Arc, Mutex};

use local::aws::{Call, Ruling, Service};
use local::client::Answer;
use reqwest::Method;
use serde_json::{Value, json};
use tests::faults::Rule;
use tests::{Caller, Expect as _, World};
use time::Duration;

const UNKNOWN: &str = "auth_01jd0000000000000000000000";

/// What a caller sees of an answer: everything but the date and the request's own id.
fn seen(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort_unstable();
    (answer.status, headers, answer.text.clone())
}

/// Everything that an organization has.
async fn estate(caller: &Caller, ids: &[&str], workflows: &[&str]) -> Value {
    let mut all = vec![caller.list().await];
    for id in ids {
        all.push(caller.one(id).await);
    }
    for workflow in workflows {
        all.push(caller.get(&format!("/workflows/{workflow}/authorization")).await.is(200));
    }
    json!(all)
}

async fn answered(caller: &Caller, (method, path, body): &(Method, String, Option<Value>)) -> Answer {
    caller.call(method.clone(), path, body.clone()).await
}

/// Every route that names something, for these names.
fn every_route(authorization: &str, other: &str, workflow: &str) -> Vec<(Method, String, Option<Value>)> {
    let one = format!("/workflows/authorization/{authorization}");
    vec![
        (Method::GET, one.clone(), None),
        (Method::DELETE, one.clone(), None),
        (Method::DELETE, format!("{one}?dry_run=true"), None),
        (Method::PUT, "/workflows/fl_mine/authorization".to_owned(), Some(json!({ "authorization_id": authorization }))),
        (
            Method::PUT,
            "/workflows/fl_new/authorization".to_owned(),
            Some(json!({ "authorization_id": authorization, "required_scopes": ["sites:read"] })),
        ),
        (Method::GET, format!("/workflows/{workflow}/authorization"), None),
        (Method::DELETE, format!("/workflows/{workflow}/authorization"), None),
        (Method::POST, format!("{one}/replace"), Some(json!({ "authorization_id": other }))),
        (Method::POST, format!("{one}/replace"), Some(json!({ "authorization_id": other, "dry_run": true }))),
        (Method::POST, format!("/workflows/authorization/{other}/replace"), Some(json!({ "authorization_id": authorization }))),
        (Method::POST, format!("{one}/token"), Some(json!({ "workflow_id": workflow }))),
        (Method::POST, format!("{one}/token"), Some(json!({ "workflow_id": "fl_mine" }))),
        (Method::POST, format!("{one}/check"), None),
        (Method::GET, format!("/workflows/authorization?workflow_id={workflow}"), None),
    ]
}

#[tokio::test]
async fn s57_foreign_ids_get_the_very_answer_of_unknown_ones_on_every_route_and_change_nothing() {
    let world = World::start().await;
    let (olivia, mallory) = (world.olivia(), world.mallory());
    let theirs = world.authorize(&olivia, "usr_olivia").await;
    let mine = world.authorize(&mallory, "usr_mallory").await;
    world.bind(&olivia, "fl_theirs", &theirs).await;
    world.bind(&mallory, "fl_mine", &mine).await;
    world.pass(Duration::HOUR);
    let before = (estate(&olivia, &[&theirs], &["fl_theirs"]).await, estate(&mallory, &[&mine], &["fl_mine"]).await);
    let provider = world.provider();

    let foreign = every_route(&theirs, &mine, "fl_theirs");
    let unknown = every_route(UNKNOWN, &mine, "fl_unknown");
    for (foreign, unknown) in foreign.iter().zip(&unknown) {
        let (one, other) = (answered(&mallory, foreign).await, answered(&mallory, unknown).await);
        assert_eq!(seen(&one), seen(&other), "{} {}", foreign.0, foreign.1);
        assert!(one.status == 404 || one.json() == json!([]), "{} {}: {}", foreign.0, foreign.1, one.text);
        assert!(!one.text.contains(&theirs) && !one.text.contains("olivia"));
    }
    let after = (estate(&olivia, &[&theirs], &["fl_theirs"]).await, estate(&mallory, &[&mine], &["fl_mine"]).await);
    assert_eq!(after, before, "nothing changes");
    assert_eq!(world.provider(), provider, "the provider is not asked");
    olivia.token(&theirs, json!({ "workflow_id": "fl_theirs" })).await.is(200);
}

#[tokio::test]
async fn s57_the_same_workflow_id_in_two_organizations_is_two_workflows() {
    let world = World::start().await;
    let (olivia, mallory) = (world.olivia(), world.mallory());
    let theirs = world.authorize(&olivia, "usr_olivia").await;
    let mine = world.authorize(&mallory, "usr_mallory").await;
    world.bind(&olivia, "fl_1", &theirs).await;
    world.bind(&mallory, "fl_1", &mine).await;
    assert_eq!(olivia.get("/workflows/fl_1/authorization").await.is(200)["authorization_id"], json!(theirs));
    assert_eq!(mallory.get("/workflows/fl_1/authorization").await.is(200)["authorization_id"], json!(mine));
    mallory.delete("/workflows/fl_1/authorization").await.is(204);
    assert_eq!(olivia.token(&theirs, json!({ "workflow_id": "fl_1" })).await.is(200)["generation"], 1);
    assert_eq!(olivia.list().await.as_array().unwrap().len(), 1);
    assert_eq!(mallory.list().await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn s63_a_stolen_or_altered_cursor_is_refused() {
    let world = World::start().await;
    let (olivia, mallory) = (world.olivia(), world.mallory());
    for _ in 0..3 {
        world.authorize(&olivia, "usr_olivia").await;
        world.authorize(&mallory, "usr_mallory").await;
        world.pass(Duration::SECOND);
    }
    let answer = olivia.get("/workflows/authorization?limit=1").await;
    let link = answer.header("link").to_owned();
    let cursor = link.split("cursor=").nth(1).unwrap().split('>').next().unwrap().to_owned();
    let page = |cursor: &str| format!("/workflows/authorization?limit=1&cursor={cursor}");
    assert_eq!(olivia.get(&page(&cursor)).await.is(200).as_array().unwrap().len(), 1);
    assert_eq!(world.ben().get(&page(&cursor)).await.is(200).as_array().unwrap().len(), 1, "it is the organization's");
    mallory.get(&page(&cursor)).await.refused(400, "cursor_invalid");
    for at in 0..cursor.len() {
        let mut altered = cursor.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        olivia.get(&page(&String::from_utf8(altered).unwrap())).await.refused(400, "cursor_invalid");
    }
    for organization in ["org_demo", "org_elsewhere"] {
        assert!(!cursor.contains(organization), "opaque");
    }
}

#[tokio::test]
async fn s57_another_organizations_authorization_cannot_be_renewed_or_completed() {
    let world = World::start().await;
    let (olivia, mallory) = (world.olivia(), world.mallory());
    let theirs = world.authorize(&olivia, "usr_olivia").await;
    let before = olivia.one(&theirs).await;
    let page = async |id: &str| {
        let answer = world.sign_in(&mallory, "usr_mallory", json!({ "authorization_id": id })).await;
        (answer.status, answer.text.split("<footer>").next().unwrap().to_owned())
    };
    assert_eq!(page(&theirs).await, page(UNKNOWN).await);
    let complete = async |id: &str| {
        let back = world.sign_in(&mallory, "usr_mallory", json!({ "authorization_id": id, "redirect_uri": world.return_to() })).await;
        mallory.complete(json!({ "code": back.sent("code") })).await
    };
    let (foreign, unknown) = (complete(&theirs).await, complete(UNKNOWN).await);
    assert_eq!(seen(&foreign), seen(&unknown));
    foreign.refused(404, "authorization_not_found");
    assert_eq!((olivia.one(&theirs).await, mallory.list().await), (before, json!([])));
}

#[tokio::test]
async fn s57_no_request_of_one_organization_names_another() {
    let world = World::start().await;
    let (olivia, mallory) = (world.olivia(), world.mallory());
    let theirs = world.authorize(&olivia, "usr_olivia").await;
    let mine = world.authorize(&mallory, "usr_mallory").await;
    world.bind(&olivia, "fl_theirs", &theirs).await;
    let written = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&written);
    world.aws().observe(Some(Arc::new(Rule(move |call: &Call<'_>| {
        if call.service == Service::DynamoDb {
            heard.lock().unwrap().push(call.request.to_string());
        }
        Ruling::Pass
    }))));
    for request in every_route(&theirs, &mine, "fl_theirs") {
        answered(&mallory, &request).await;
    }
    mallory.list().await;
    let written = written.lock().unwrap();
    assert!(written.len() > 10);
    for request in written.iter() {
        assert!(!request.contains("org_demo"), "{request}");
        assert!(request.contains("ORG#org_elsewhere"), "{request}");
    }
}

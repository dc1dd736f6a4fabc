//! The canary is alive: a secret that leaks is found, in whatever form and place, and fails the test; and it looks at everything.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use aws_config::AppName;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use local::aws::Service;
use local::provision::loopback_sdk_config;
use serde_json::{Value, json};
use shared::ports::Unavailable;
use shared::telemetry;
use tests::canary::search::Form;
use tests::canary::{self, KINDS, Kind, Place};
use tests::provider::{Mood, Provider};
use tests::{Expect as _, World};
use time::Duration;
use tokio::sync::Mutex;

/// These tests leak on purpose, and the log is that of the whole process: no world of one sees what another has planted there.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// The clients of a function, which leak on purpose.
fn sdk(world: &World) -> aws_config::SdkConfig {
    loopback_sdk_config(world.stack.aws_endpoint()).to_builder().app_name(AppName::new("functions").unwrap()).build()
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// A secret of its own, in each form whole and cut after 16 bytes.
fn planted(secret: &str) -> Vec<(String, Form)> {
    canary::register(Kind::RefreshToken, secret);
    let mut all = Vec::new();
    for part in [secret, &secret[..16]] {
        all.push((part.to_owned(), Form::Raw));
        all.push((hex(part), Form::HexLower));
        all.push((hex(part).to_uppercase(), Form::HexUpper));
        all.push((STANDARD.encode(part), Form::Base64));
        all.push((URL_SAFE_NO_PAD.encode(format!("{{\"t\":\"{part}\"}}")), Form::Base64));
    }
    all
}

#[tokio::test]
async fn s65_s79_a_planted_leak_is_found_in_every_form_at_every_service_and_in_the_log() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let world = World::start().await;
    let sdk = sdk(&world);
    let provisioned = world.stack.provisioned();
    let mut expected = 0;
    for (text, form) in planted("planted-9c41f0-in-all-places-one-after-another") {
        let before = world.canary.leaks().len();
        assert_eq!(before, expected, "nothing but what was planted");
        let key = aws_sdk_dynamodb::types::AttributeValue::S(format!("x{text}"));
        let dynamodb = aws_sdk_dynamodb::Client::new(&sdk);
        dynamodb.get_item().table_name(&provisioned.table).key("pk", key.clone()).key("sk", key).send().await.unwrap();
        let kms = aws_sdk_kms::Client::new(&sdk);
        kms.generate_data_key_without_plaintext()
            .key_id(&provisioned.key_id)
            .key_spec(aws_sdk_kms::types::DataKeySpec::Aes256)
            .encryption_context("purpose", &text)
            .send()
            .await
            .unwrap();
        let sqs = aws_sdk_sqs::Client::new(&sdk);
        sqs.send_message().queue_url(&provisioned.rescue_queue_url).message_body(&text).send().await.unwrap();
        let manager = aws_sdk_secretsmanager::Client::new(&sdk);
        // The answer is a refusal; the bytes have been sent all the same.
        let _ = manager.get_secret_value().secret_id(&text).send().await;
        telemetry::failure(
            "plant a leak",
            &Unavailable::new("do it", text.as_str()),
            &shared::domain::ids::RequestId::try_from("r".to_owned()).unwrap(),
        );
        let leaks = &world.canary.leaks()[..];
        let found: Vec<&canary::Leak> = leaks.iter().filter(|leak| leak.form == form).collect();
        for service in [Service::DynamoDb, Service::Kms, Service::Sqs, Service::SecretsManager] {
            let there = found.iter().any(|leak| matches!(&leak.place, Place::Aws { service: of, .. } if *of == service));
            assert!(there, "{text} at {service:?}");
        }
        assert!(found.iter().any(|leak| leak.place == Place::Log), "{text} in the log");
        assert!(found.iter().all(|leak| leak.kinds == BTreeSet::from([Kind::RefreshToken])));
        expected = leaks.len();
    }
    // What a test that had not meant it would have come to.
    let World { canary, .. } = world;
    let end = catch_unwind(AssertUnwindSafe(|| drop(canary)));
    let said = end.unwrap_err().downcast_ref::<String>().cloned().unwrap();
    assert!(said.starts_with(&format!("{expected} secrets are where they must not be:")), "{said}");
}

#[tokio::test]
async fn s60_s79_a_secret_in_an_answer_is_found_unless_the_answer_is_what_it_is_for() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let world = World::start().await;
    let olivia = world.olivia();
    let id = world.authorize(&olivia, "usr_olivia").await;
    world.bind(&olivia, "fl_1", &id).await;
    let handed = olivia.token(&id, json!({ "workflow_id": "fl_1" })).await.is(200);
    assert_eq!(world.canary.leaks(), [], "an access token in the answer that hands it out");
    // The same token as the name of a workflow comes back from two routes that have no business with it.
    let token = handed["access_token"].as_str().unwrap();
    let body = json!({ "authorization_id": id, "workflow_name": &token[..64.min(token.len())] });
    olivia.put("/workflows/fl_2/authorization", body).await.is(200);
    olivia.list().await;
    let places: BTreeSet<String> = world.canary.leaks().iter().map(|leak| format!("{:?}", leak.place)).collect();
    assert!(places.iter().any(|place| place.contains("\"assign\"") && place.contains("200")), "{places:?}");
    assert!(places.iter().any(|place| place.contains("\"list\"") && place.contains("200")), "{places:?}");
    assert!(places.iter().any(|place| place.contains("TransactWriteItems")), "{places:?}");
    world.canary.let_go();
}

#[tokio::test]
async fn s65_it_notes_secrets_of_every_kind_and_keeps_what_goes_everywhere() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    let body = json!({
        "connection_id": "conn_scripted", "redirect_uri": world.return_to(), "state": "an-applications-very-own-state",
        "code_challenge": tests::Verifier::CHALLENGE, "code_challenge_method": "S256",
    });
    let back = world.open(&provider.come_back(&world.url(&olivia, body).await)).await;
    let body = json!({ "code": back.sent("code"), "code_verifier": tests::Verifier::VERIFIER });
    let id = olivia.complete(body).await.is(201)["id"].as_str().unwrap().to_owned();
    world.bind(&olivia, "fl_1", &id).await;
    world.pass(Duration::hours(2));
    olivia.token(&id, json!({ "workflow_id": "fl_1" })).await.is(200);
    world.pass(Duration::hours(2));
    // The table is down after the provider has answered: the rescue queue takes the tokens, sealed.
    world.aws().observe(Some(std::sync::Arc::new(tests::faults::Rule(|call: &local::aws::Call<'_>| {
        let commits = call.operation == "UpdateItem" && call.request.to_string().contains("refresh_token");
        if commits {
            local::aws::Ruling::Refuse(local::aws::Fault::new(500, "InternalServerError", "down"))
        } else {
            local::aws::Ruling::Pass
        }
    }))));
    provider.feels(Mood::Well);
    olivia.token(&id, json!({ "workflow_id": "fl_1" })).await;
    world.aws().observe(None);

    let noted = canary::noted();
    let never = [Kind::ClientAssertion, Kind::Cookie];
    for (kind, count) in noted.by_kind {
        assert!(count > 0 || never.contains(&kind), "no {kind:?} has been noted");
    }
    assert_eq!(KINDS.len(), 14);
    let secrets_too_short: Vec<_> = noted.too_short.iter().filter(|(kind, _)| *kind != Kind::Key).collect();
    assert_eq!(secrets_too_short, Vec::<&(Kind, String)>::new());
    let kept = world.canary.kept();
    for place in ["log", "DynamoDb", "Kms", "SecretsManager", "answers"] {
        assert!(kept.get(place).is_some_and(|bytes| *bytes > 500), "{place}: {kept:?}");
    }
    let _: Value = olivia.list().await;
}

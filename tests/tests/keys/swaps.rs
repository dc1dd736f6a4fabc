//! Somebody with write access to the table moves ciphertexts about (I8; security requirement 66).

use serde_json::{Value, json};
use tests::provider::Provider;
use tests::{Expect as _, Setup, World};
use time::Duration;

use crate::{ORGANIZATION, plant, sealed};

#[tokio::test]
async fn s66_a_ciphertext_from_any_other_place_of_the_table_is_refused_at_the_hand_out() {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let (olivia, mallory) = (world.olivia(), world.mallory());
    let mine = world.authorize_at(&provider, &olivia).await;
    let neighbour = world.authorize_at(&provider, &olivia).await;
    let foreign = world.authorize_at(&provider, &mallory).await;
    world.bind(&olivia, "fl_1", &mine).await;
    let body = json!({ "workflow_id": "fl_1" });
    let first = world.records().await;
    world.pass(Duration::minutes(61));
    let token = olivia.token(&mine, body.clone()).await.is(200)["access_token"].clone();
    let second = world.records().await;
    let own = sealed(&second, &mine, "sealed_access");
    for (what, ciphertext) in [
        ("its own refresh token", sealed(&second, &mine, "sealed_refresh")),
        ("its own earlier generation", sealed(&first, &mine, "sealed_access")),
        ("a neighbour's", sealed(&second, &neighbour, "sealed_access")),
        ("another organization's", sealed(&second, &foreign, "sealed_access")),
        ("nothing", Vec::new()),
    ] {
        plant(&world, ORGANIZATION, &mine, "sealed_access", &ciphertext).await;
        let refused = olivia.token(&mine, body.clone()).await;
        assert!(!refused.text.contains(token.as_str().unwrap()));
        refused.refused(500, "internal_error");
        plant(&world, ORGANIZATION, &mine, "sealed_access", &own).await;
        assert_eq!(olivia.token(&mine, body.clone()).await.is(200)["access_token"], token, "{what}");
    }
    // With its generation rolled back as well, an old ciphertext is at its place again: that is a backup played in, and what it gives
    // out is the access token of that time, which has ended.
    plant(&world, ORGANIZATION, &mine, "sealed_access", &sealed(&first, &mine, "sealed_access")).await;
    world.tamper(ORGANIZATION, &mine, "generation", first.authorization(&mine).unwrap()["generation"].clone()).await;
    world.tamper(ORGANIZATION, &mine, "access_expires_at", first.authorization(&mine).unwrap()["access_expires_at"].clone()).await;
    assert_ne!(olivia.token(&mine, body).await.status, 200, "the refresh token of the new generation does not open in the old one");
    assert_eq!(provider.seen().refreshes, 1);
}

#[tokio::test]
async fn s66_the_whole_record_of_another_organization_is_of_no_use_to_who_copies_it() {
    let provider = Provider::start().await;
    let add = {
        let connection = provider.connection("conn_scripted");
        move |directory: &mut Value, _| directory["connections"].as_array_mut().unwrap().push(connection.clone())
    };
    let client_secrets = vec![("conn_scripted".to_owned(), tests::provider::CLIENT_SECRET.to_owned())];
    let setup = Setup { directory: Some(Box::new(add)), client_secrets, clock: Some(provider.clock()), ..Setup::default() };
    let world = World::with(setup).await;
    let (olivia, mallory) = (world.olivia(), world.mallory());
    let victim = world.authorize_at(&provider, &olivia).await;
    let own = world.authorize_at(&provider, &mallory).await;
    world.bind(&mallory, "fl_1", &own).await;
    let records = world.records().await;
    for attribute in ["sealed_access", "sealed_refresh"] {
        plant(&world, "org_elsewhere", &own, attribute, &sealed(&records, &victim, attribute)).await;
    }
    mallory.token(&own, json!({ "workflow_id": "fl_1" })).await.refused(500, "internal_error");
    // The victim's wrapped branch key in the place of the attacker's does not unwrap there.
    let copied = records.items().iter().find(|item| tests::table::text(item, "pk") == format!("KEY#{ORGANIZATION}")).unwrap();
    let mut item = copied.clone();
    item.insert("pk".to_owned(), aws_sdk_dynamodb::types::AttributeValue::S("KEY#org_elsewhere".to_owned()));
    world.dynamodb().put_item().table_name(&world.stack.provisioned().table).set_item(Some(item)).send().await.unwrap();
    world.pass(Duration::minutes(5));
    mallory.token(&own, json!({ "workflow_id": "fl_1" })).await.refused(500, "internal_error");
    assert_eq!(provider.seen().refreshes, 0);
    olivia.one(&victim).await;
}

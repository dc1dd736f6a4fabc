use aws_sdk_dynamodb::types::AttributeValue;
use tokio::net::TcpListener;

use super::*;
use crate::aws::Emulation;

async fn emulation() -> (Emulation, SdkConfig) {
    let emulation = Emulation::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap(), None, None).await.unwrap();
    let sdk = loopback_sdk_config(&emulation.endpoint());
    (emulation, sdk)
}

fn secrets(content: &str) -> [(String, String); 1] {
    [("state-keys".to_owned(), content.to_owned())]
}

#[tokio::test]
async fn provisioning_again_changes_only_what_differs() {
    let (_emulation, sdk) = emulation().await;
    let first = provision(&sdk, &Names::default(), &secrets("one")).await.unwrap();
    let again = provision(&sdk, &Names::default(), &secrets("two")).await.unwrap();
    assert_eq!((&first.key_id, &first.rescue_queue_url), (&again.key_id, &again.rescue_queue_url));

    let manager = aws_sdk_secretsmanager::Client::new(&sdk);
    let versions = async || {
        let described = manager.describe_secret().secret_id("state-keys").send().await.unwrap();
        described.version_ids_to_stages().unwrap().clone()
    };
    assert_eq!(manager.get_secret_value().secret_id("state-keys").send().await.unwrap().secret_string(), Some("two"));
    let before = versions().await;
    provision(&sdk, &Names::default(), &secrets("two")).await.unwrap();
    assert_eq!(versions().await, before);
}

#[tokio::test]
async fn parallel_provisioning_agrees_on_one_key() {
    let (_emulation, sdk) = emulation().await;
    let (names, secrets) = (Names::default(), secrets("one"));
    let (one, two) = tokio::join!(provision(&sdk, &names, &secrets), provision(&sdk, &names, &secrets));
    assert_eq!(one.unwrap().key_id, two.unwrap().key_id);
}

#[tokio::test]
async fn the_table_is_as_designed() {
    let (_emulation, sdk) = emulation().await;
    let names = Names::default();
    provision(&sdk, &names, &[]).await.unwrap();
    let client = aws_sdk_dynamodb::Client::new(&sdk);

    let ttl = client.describe_time_to_live().table_name(&names.table).send().await.unwrap();
    let ttl = ttl.time_to_live_description().unwrap();
    assert_eq!((ttl.time_to_live_status(), ttl.attribute_name()), (Some(&TimeToLiveStatus::Enabled), Some("expires_at")));

    let text = |value: &str| AttributeValue::S(value.to_owned());
    client
        .put_item()
        .table_name(&names.table)
        .item("pk", text("ORG#o#AUTH#a"))
        .item("sk", text("AUTH"))
        .item("org_pk", text("ORG#o"))
        .item("org_sk", text("a"))
        .item("email", text("ada@example.com"))
        .item("sealed_tokens", AttributeValue::B(aws_sdk_dynamodb::primitives::Blob::new("ciphertext")))
        .item("due_shard", text("DUE#3"))
        .item("due_at", AttributeValue::N("100".to_owned()))
        .send()
        .await
        .unwrap();
    let query =
        |index: &str, condition: &str| client.query().table_name(&names.table).index_name(index).key_condition_expression(condition);

    let listed = query(table::BY_ORGANIZATION, "org_pk = :o").expression_attribute_values(":o", text("ORG#o"));
    let listed = listed.send().await.unwrap();
    let mut shown: Vec<_> = listed.items()[0].keys().map(String::as_str).collect();
    shown.sort_unstable();
    assert_eq!(shown, ["email", "org_pk", "org_sk", "pk", "sk"]);

    let due = query(table::DUE, "due_shard = :s AND due_at <= :now")
        .expression_attribute_values(":s", text("DUE#3"))
        .expression_attribute_values(":now", AttributeValue::N("100".to_owned()));
    assert_eq!(due.send().await.unwrap().items()[0].len(), 4);
}

#[tokio::test]
async fn a_foreign_table_of_the_same_name_is_refused() {
    let (_emulation, sdk) = emulation().await;
    let client = aws_sdk_dynamodb::Client::new(&sdk);
    let ours = table::create_table(&client, "mandate-local").unwrap();
    let one_index = ours.get_global_secondary_indexes().clone().unwrap()[..1].to_vec();
    let attributes = ours.get_attribute_definitions().clone().unwrap()[..4].to_vec();
    let foreign = ours.set_global_secondary_indexes(Some(one_index)).set_attribute_definitions(Some(attributes));
    foreign.send().await.unwrap();
    let outcome = provision(&sdk, &Names::default(), &[]).await;
    assert!(matches!(outcome, Err(ProvisionError::ForeignTable { index: "due", .. })));
}

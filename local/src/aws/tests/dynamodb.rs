use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, Put, ReturnValuesOnConditionCheckFailure,
    ScalarAttributeType, TransactWriteItem,
};
use tokio::task::JoinSet;

use super::{code, emulation, sdk};

/// A table with one key, `pk`.
pub(super) async fn create_table(client: &Client, name: &str) {
    let attribute = AttributeDefinition::builder().attribute_name("pk").attribute_type(ScalarAttributeType::S);
    let key = KeySchemaElement::builder().attribute_name("pk").key_type(KeyType::Hash);
    client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute.build().unwrap())
        .key_schema(key.build().unwrap())
        .send()
        .await
        .unwrap();
}

fn put_if_absent(pk: &str) -> TransactWriteItem {
    let put = Put::builder()
        .table_name("things")
        .item("pk", AttributeValue::S(pk.to_owned()))
        .condition_expression("attribute_not_exists(pk)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    TransactWriteItem::builder().put(put.build().unwrap()).build()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_a_hundred_parallel_conditional_writes_wins() {
    let data = tempfile::tempdir().unwrap();
    for data in [None, Some(data.path())] {
        let aws = emulation(data).await;
        let client = Client::new(&sdk(&aws));
        create_table(&client, "things").await;
        let mut racers = JoinSet::new();
        for racer in 0..100 {
            let put = client
                .put_item()
                .table_name("things")
                .item("pk", AttributeValue::S("one".to_owned()))
                .item("racer", AttributeValue::N(racer.to_string()))
                .condition_expression("attribute_not_exists(pk)");
            racers.spawn(put.send());
        }
        let outcomes = racers.join_all().await;
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        assert!(lost.into_iter().all(|outcome| code(outcome) == "ConditionalCheckFailedException"));
        aws.stop().await;
    }
}

#[tokio::test]
async fn a_cancelled_transaction_gives_a_reason_for_each_item_and_writes_nothing() {
    let aws = emulation(None).await;
    let client = Client::new(&sdk(&aws));
    create_table(&client, "things").await;
    client.transact_write_items().transact_items(put_if_absent("old")).send().await.unwrap();

    let both = client.transact_write_items().transact_items(put_if_absent("new")).transact_items(put_if_absent("old"));
    let error = both.send().await.unwrap_err().into_service_error();

    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else { panic!("{error:?}") };
    let reasons = cancelled.cancellation_reasons();
    assert_eq!(reasons.iter().map(|reason| reason.code().unwrap()).collect::<Vec<_>>(), ["None", "ConditionalCheckFailed"]);
    assert_eq!(reasons[1].item().unwrap()["pk"].as_s().unwrap(), "old");
    let new = client.get_item().table_name("things").key("pk", AttributeValue::S("new".to_owned())).send().await.unwrap();
    assert!(new.item().is_none());
}

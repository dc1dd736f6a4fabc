use aws_sdk_secretsmanager::Client;

use super::{code, emulation, sdk};

#[tokio::test]
async fn versions_keep_their_labels() {
    let aws = emulation(None).await;
    let client = Client::new(&sdk(&aws));
    let created = client.create_secret().name("keys").secret_string("one").send().await.unwrap();
    let put = client.put_secret_value().secret_id("keys").secret_string("two").send().await.unwrap();
    assert_eq!(put.version_stages(), ["AWSCURRENT"]);
    let updated = client.update_secret().secret_id(created.arn().unwrap()).secret_string("three").send().await.unwrap();

    let get = || client.get_secret_value().secret_id("keys");
    let text = async |request: aws_sdk_secretsmanager::operation::get_secret_value::builders::GetSecretValueFluentBuilder| {
        request.send().await.unwrap().secret_string().unwrap().to_owned()
    };
    assert_eq!(text(get()).await, "three");
    assert_eq!(text(get().version_id(updated.version_id().unwrap())).await, "three");
    assert_eq!(text(get().version_stage("AWSPREVIOUS")).await, "two");
    assert_eq!(text(get().version_id(created.version_id().unwrap())).await, "one");
    let mismatch = get().version_id(created.version_id().unwrap()).version_stage("AWSCURRENT");
    assert_eq!(code(mismatch.send().await), "ResourceNotFoundException");

    let described = client.describe_secret().secret_id("keys").send().await.unwrap();
    let stages = described.version_ids_to_stages().unwrap();
    assert_eq!(stages.len(), 2);
    assert_eq!(stages[put.version_id().unwrap()], ["AWSPREVIOUS"]);
}

#[tokio::test]
async fn a_token_makes_a_write_repeatable_and_not_reusable() {
    let aws = emulation(None).await;
    let client = Client::new(&sdk(&aws));
    client.create_secret().name("s").secret_string("one").send().await.unwrap();
    let token = "11111111-2222-3333-4444-555555555555";
    let put = |text: &str| client.put_secret_value().secret_id("s").client_request_token(token).secret_string(text).send();
    assert_eq!(put("two").await.unwrap().version_id(), Some(token));
    assert_eq!(put("two").await.unwrap().version_id(), Some(token));
    assert_eq!(code(put("three").await), "ResourceExistsException");
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_is_cannot_be_created() {
    let aws = emulation(None).await;
    let client = Client::new(&sdk(&aws));
    assert_eq!(code(client.get_secret_value().secret_id("s").send().await), "ResourceNotFoundException");
    client.create_secret().name("s").send().await.unwrap();
    assert_eq!(code(client.get_secret_value().secret_id("s").send().await), "ResourceNotFoundException");
    assert_eq!(code(client.create_secret().name("s").send().await), "ResourceExistsException");

    client.put_secret_value().secret_id("s").secret_string("one").send().await.unwrap();
    let batch = client.batch_get_secret_value().secret_id_list("s").secret_id_list("missing").send().await.unwrap();
    assert_eq!(batch.secret_values()[0].secret_string(), Some("one"));
    assert_eq!(batch.errors()[0].error_code(), Some("ResourceNotFoundException"));
    assert_eq!(client.list_secrets().send().await.unwrap().secret_list().len(), 1);

    client.delete_secret().secret_id("s").send().await.unwrap();
    assert_eq!(code(client.get_secret_value().secret_id("s").send().await), "InvalidRequestException");
    client.restore_secret().secret_id("s").send().await.unwrap();
    client.delete_secret().secret_id("s").force_delete_without_recovery(true).send().await.unwrap();
    assert_eq!(code(client.describe_secret().secret_id("s").send().await), "ResourceNotFoundException");
}

use std::fs;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kms::primitives::Blob;
use tokio::net::TcpListener;

use super::dynamodb::create_table;
use super::{emulation, sdk};
use crate::aws::{Emulation, EmulationError};

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let aws = emulation(Some(data.path())).await;
    let config = sdk(&aws);
    let tables = aws_sdk_dynamodb::Client::new(&config);
    create_table(&tables, "things").await;
    tables.put_item().table_name("things").item("pk", AttributeValue::S("one".to_owned())).send().await.unwrap();
    let kms = aws_sdk_kms::Client::new(&config);
    let id = kms.create_key().send().await.unwrap().key_metadata().unwrap().key_id().to_owned();
    let sealed = kms.encrypt().key_id(&id).plaintext(Blob::new("s")).send().await.unwrap().ciphertext_blob().unwrap().clone();
    kms.rotate_key_on_demand().key_id(&id).send().await.unwrap();
    let secrets = aws_sdk_secretsmanager::Client::new(&config);
    secrets.create_secret().name("s").secret_string("one").send().await.unwrap();
    let sqs = aws_sdk_sqs::Client::new(&config);
    let url = sqs.create_queue().queue_name("q").send().await.unwrap().queue_url().unwrap().to_owned();
    sqs.send_message().queue_url(&url).message_body("m").send().await.unwrap();
    aws.stop().await;
    // What a process that was killed while writing leaves behind.
    for name in ["kms.json", "secrets-manager.json", "sqs.json"] {
        fs::write(data.path().join(format!("{name}.unfinished")), "{\"keys\": {").unwrap();
    }

    let aws = emulation(Some(data.path())).await;
    let config = sdk(&aws);
    let key = AttributeValue::S("one".to_owned());
    let found = aws_sdk_dynamodb::Client::new(&config).get_item().table_name("things").key("pk", key).send().await.unwrap();
    assert!(found.item().is_some());
    let kms = aws_sdk_kms::Client::new(&config);
    let opened = kms.decrypt().ciphertext_blob(sealed).send().await.unwrap();
    assert_eq!(opened.plaintext().unwrap().as_ref(), b"s");
    kms.rotate_key_on_demand().key_id(&id).send().await.unwrap();
    let secret = aws_sdk_secretsmanager::Client::new(&config).get_secret_value().secret_id("s").send().await.unwrap();
    assert_eq!(secret.secret_string(), Some("one"));
    // The old URL names an old port, and still finds the queue.
    let received = aws_sdk_sqs::Client::new(&config).receive_message().queue_url(&url).send().await.unwrap();
    assert_eq!(received.messages()[0].body(), Some("m"));
}

#[tokio::test]
async fn a_data_directory_has_one_user_at_a_time() {
    let data = tempfile::tempdir().unwrap();
    let first = emulation(Some(data.path())).await;
    let start = async || Emulation::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap(), Some(data.path()), None).await;
    assert!(matches!(start().await, Err(EmulationError::InUse { .. })));
    first.stop().await;
    start().await.unwrap().stop().await;
}

#[tokio::test]
async fn a_foreign_state_file_is_named_and_never_overwritten() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("kms.json");
    fs::write(&file, "not ours").unwrap();
    let outcome = Emulation::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap(), Some(data.path()), None).await;
    assert!(matches!(outcome, Err(EmulationError::State(_))));
    assert_eq!(fs::read_to_string(file).unwrap(), "not ours");
}

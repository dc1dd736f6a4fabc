use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};

use super::{code, emulation, sdk};
use crate::aws::Emulation;

async fn queue(aws: &Emulation) -> (Client, String) {
    let client = Client::new(&sdk(aws));
    let created = client.create_queue().queue_name("rescue").send().await.unwrap();
    (client, created.queue_url().unwrap().to_owned())
}

#[tokio::test]
async fn a_message_is_hidden_while_in_flight_and_gone_when_deleted() {
    let aws = emulation(None).await;
    let (client, url) = queue(&aws).await;
    let sent = client.send_message().queue_url(&url).message_body("hello").send().await.unwrap();
    assert_eq!(sent.md5_of_message_body(), Some("5d41402abc4b2a76b9719d911017c592"));

    let receive = || client.receive_message().queue_url(&url).message_system_attribute_names(MessageSystemAttributeName::All).send();
    let first = receive().await.unwrap().messages()[0].clone();
    assert_eq!((first.body(), first.message_id()), (Some("hello"), sent.message_id()));
    assert!(receive().await.unwrap().messages().is_empty());

    let handle = first.receipt_handle().unwrap();
    let hide = |seconds| client.change_message_visibility().queue_url(&url).receipt_handle(handle).visibility_timeout(seconds).send();
    hide(0).await.unwrap();
    assert_eq!(code(hide(0).await), "AWS.SimpleQueueService.MessageNotInflight");
    let second = receive().await.unwrap().messages()[0].clone();
    let count = MessageSystemAttributeName::ApproximateReceiveCount;
    assert_eq!(second.attributes().unwrap()[&count], "2");

    let delete = |handle: &str| client.delete_message().queue_url(&url).receipt_handle(handle).send();
    delete(handle).await.unwrap();
    let in_flight = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
    let attributes = client.get_queue_attributes().queue_url(&url).attribute_names(in_flight.clone()).send().await.unwrap();
    assert_eq!(attributes.attributes().unwrap()[&in_flight], "1", "a replaced handle deletes nothing");
    delete(second.receipt_handle().unwrap()).await.unwrap();
    let attributes = client.get_queue_attributes().queue_url(&url).attribute_names(in_flight.clone()).send().await.unwrap();
    assert_eq!(attributes.attributes().unwrap()[&in_flight], "0");
    assert_eq!(code(delete("garbage").await), "ReceiptHandleIsInvalid");
}

#[tokio::test]
async fn a_waiting_receiver_gets_the_message_that_arrives() {
    let aws = emulation(None).await;
    let (client, url) = queue(&aws).await;
    let receive = client.receive_message().queue_url(&url).wait_time_seconds(20).send();
    let send = client.send_message().queue_url(&url).message_body("late").send();
    let (received, outcome) = tokio::join!(receive, send);
    outcome.unwrap();
    assert_eq!(received.unwrap().messages()[0].body(), Some("late"));
}

#[tokio::test]
async fn queues_are_found_by_name_and_purged() {
    let aws = emulation(None).await;
    let (client, url) = queue(&aws).await;
    let found = client.get_queue_url().queue_name("rescue").send().await.unwrap();
    assert_eq!(found.queue_url(), Some(url.as_str()));
    let missing = client.get_queue_url().queue_name("other").send().await.unwrap_err().into_service_error();
    assert!(missing.is_queue_does_not_exist());
    client.send_message().queue_url(&url).message_body("x").send().await.unwrap();
    client.purge_queue().queue_url(&url).send().await.unwrap();
    assert!(client.receive_message().queue_url(&url).send().await.unwrap().messages().is_empty());
    assert_eq!(client.list_queues().send().await.unwrap().queue_urls(), [url.as_str()]);
    let large = "x".repeat(1024 * 1024 + 1);
    assert_eq!(code(client.send_message().queue_url(&url).message_body(large).send().await), "InvalidParameterValue");
}

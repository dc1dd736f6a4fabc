use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kms::config::retry::RetryConfig;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::dynamodb::create_table;
use super::{code, emulation, sdk};
use crate::aws::{Call, Emulation, Fault, Observer, Ruling, Service};

/// Rules on every `PutItem` in the same way.
struct OnPut(Ruling);

#[async_trait]
impl Observer for OnPut {
    async fn before(&self, call: Call<'_>) -> Ruling {
        if (call.service, call.operation) != (Service::DynamoDb, "PutItem") {
            return Ruling::Pass;
        }
        assert_eq!(call.request["TableName"], json!("things"));
        self.0.clone()
    }
}

#[tokio::test]
async fn an_observer_refuses_and_loses_answers() {
    let aws = emulation(None).await;
    let config = sdk(&aws).into_builder().retry_config(RetryConfig::disabled()).build();
    let client = aws_sdk_dynamodb::Client::new(&config);
    create_table(&client, "things").await;
    let key = || AttributeValue::S("one".to_owned());
    let put = || client.put_item().table_name("things").item("pk", key()).send();
    let stored = async || client.get_item().table_name("things").key("pk", key()).send().await.unwrap().item().is_some();
    let fault = Fault::new(400, "ProvisionedThroughputExceededException", "slow down");

    aws.observe(Some(Arc::new(OnPut(Ruling::Refuse(fault)))));
    assert_eq!(code(put().await), "ProvisionedThroughputExceededException");
    assert!(!stored().await);
    aws.observe(Some(Arc::new(OnPut(Ruling::RefuseAfter(Fault::new(500, "InternalServerError", "lost"))))));
    assert_eq!(code(put().await), "InternalServerError");
    assert!(stored().await);
    aws.observe(None);
    put().await.unwrap();

    assert_eq!(aws.counts()[&(Service::DynamoDb, "PutItem".to_owned())], 3);
}

/// Sends one request as a foreign client would, and returns the status and the body.
async fn raw(aws: &Emulation, host: &str, target: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(aws.endpoint().trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {host}\r\nx-amz-target: {target}\r\nconnection: close\r\n\
                content-type: application/x-amz-json-1.0\r\n"
    );
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer[9..12].parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test]
async fn what_is_not_understood_is_refused_in_the_protocol() {
    let aws = emulation(None).await;
    for (target, body, error) in [
        ("", "{}", "UnknownOperationException"),
        ("TrentService", "{}", "UnknownOperationException"),
        ("TrentService.Nothing", "{}", "UnknownOperationException"),
        ("Nobody.CreateKey", "{}", "UnknownOperationException"),
        ("TrentService.CreateKey", "{", "SerializationException"),
        ("TrentService.Encrypt", "{}", "SerializationException"),
        ("TrentService.Encrypt", "[1]", "SerializationException"),
        ("secretsmanager.CreateSecret", "{\"Name\": 1}", "SerializationException"),
        ("AmazonSQS.ReceiveMessage", "null", "SerializationException"),
        ("DynamoDB_20120810.Nothing", "{}", "UnknownOperationException"),
    ] {
        let (status, answer) = raw(&aws, "127.0.0.1", target, body).await;
        assert_eq!(status, 400, "{target} {body}");
        assert!(answer.contains(error), "{target} {body}: {answer}");
    }
}

#[tokio::test]
async fn a_name_that_may_be_rebound_is_not_served() {
    let aws = emulation(None).await;
    for (host, expected) in [("localhost:8788", 200), ("[::1]:8788", 200), ("127.0.0.1", 200), ("evil.example:8788", 400)] {
        assert_eq!(raw(&aws, host, "TrentService.ListKeys", "{}").await.0, expected, "{host}");
    }
}

//! Collisions, throttling and faults, which the in-process DynamoDB has none of: here it is scripted.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::support::*;
use crate::dynamodb::Table;
use crate::ports::store::*;
use crate::system::SystemEntropy;

const DONE: (u16, &str) = (200, "{}");
const COLLIDED: (u16, &str) = (400, r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionConflictException","message":"x"}"#);
const CANCELLED: (u16, &str) = (
    400,
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","message":"x","CancellationReasons":[{"Code":"None"},{"Code":"TransactionConflict","Message":"x"}]}"#,
);
const THROTTLED: (u16, &str) = (400, r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"x"}"#);
const BROKEN: (u16, &str) = (500, r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"x"}"#);
const BUSY: (u16, &str) = (
    400,
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","message":"x","CancellationReasons":[{"Code":"ThrottlingError","Message":"x"},{"Code":"ProvisionedThroughputExceeded","Message":"x"}]}"#,
);
const SPOILT: (u16, &str) = (
    400,
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","message":"x","CancellationReasons":[{"Code":"ValidationError","Message":"x"},{"Code":"None"}]}"#,
);

/// How often a write is sent that collides for ever.
const TRIES: usize = 11;

/// A DynamoDB that gives these answers in this order, and no more.
async fn scripted(answers: Vec<(u16, &'static str)>) -> (Table, Calls) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, calls) = client(listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut answers = VecDeque::from(answers);
        while !answers.is_empty() {
            let (mut stream, _) = listener.accept().await.unwrap();
            while read_request(&mut stream).await {
                let Some((status, body)) = answers.pop_front() else { return };
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {length}\r\n\r\n");
                stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            }
        }
    });
    (Table::new(client, "mandate", Arc::new(Still), Arc::new(SystemEntropy)), calls)
}

/// Reads one request to its end; `false` if the connection has ended.
async fn read_request(stream: &mut TcpStream) -> bool {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.trim().parse().unwrap());
            if body.len() >= length {
                return true;
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return false;
        }
    }
}

#[tokio::test]
async fn a_collision_is_waited_out() {
    let (table, calls) = scripted(vec![CANCELLED, CANCELLED, DONE]).await;
    let bound = binding(&authorization("org_1", 1), "fl_1", "read");
    assert!(matches!(table.bind(&bound, None).await.unwrap(), BindOutcome::Bound));
    assert_eq!(calls.take(), 3);

    let (table, calls) = scripted(vec![COLLIDED, COLLIDED, DONE]).await;
    table.postpone_revocation(&authorization("org_1", 1), Kept::RefreshToken, NOW).await.unwrap();
    assert_eq!(calls.take(), 3);
}

#[tokio::test]
async fn a_collision_without_end_is_an_error() {
    let (table, calls) = scripted(vec![CANCELLED; 20]).await;
    let error = table.bind(&binding(&authorization("org_1", 1), "fl_1", "read"), None).await.unwrap_err();
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the transaction was cancelled (None, TransactionConflict)");
    assert_eq!(calls.take(), TRIES);

    let (table, calls) = scripted(vec![COLLIDED; 20]).await;
    assert!(table.postpone_revocation(&authorization("org_1", 1), Kept::RefreshToken, NOW).await.is_err());
    assert_eq!(calls.take(), TRIES);
}

#[tokio::test]
async fn what_the_sdk_gave_up_is_tried_again() {
    for fault in [THROTTLED, BROKEN] {
        let (table, calls) = scripted([vec![fault; 5], vec![DONE]].concat()).await;
        let bound = binding(&authorization("org_1", 1), "fl_1", "read");
        assert!(matches!(table.bind(&bound, None).await.unwrap(), BindOutcome::Bound));
        assert_eq!(calls.take(), 6, "two tries of the SDK's three");

        let (table, calls) = scripted([vec![fault; 7], vec![DONE]].concat()).await;
        table.postpone_revocation(&authorization("org_1", 1), Kept::RefreshToken, NOW).await.unwrap();
        assert_eq!(calls.take(), 8);
    }
    let (table, calls) = scripted(vec![BUSY, BUSY, BUSY, DONE]).await;
    assert!(matches!(table.bind(&binding(&authorization("org_1", 1), "fl_1", "read"), None).await.unwrap(), BindOutcome::Bound));
    assert_eq!(calls.take(), 4);
}

#[tokio::test]
async fn a_note_of_use_is_left_rather_than_tried_again() {
    let (table, calls) = scripted(vec![COLLIDED; 20]).await;
    assert!(table.mark_used(&authorization("org_1", 1), NOW, None).await.is_err());
    assert_eq!(calls.take(), 1);
}

#[tokio::test]
async fn what_will_not_pass_is_not_tried_again() {
    let (table, calls) = scripted(vec![SPOILT; 20]).await;
    assert!(table.bind(&binding(&authorization("org_1", 1), "fl_1", "read"), None).await.is_err());
    assert_eq!(calls.take(), 1);
}

#[tokio::test]
async fn keys_that_a_batch_left_out_are_asked_for_again() {
    let key = super::key();
    let left = format!(
        r#"{{"Responses":{{}},"UnprocessedKeys":{{"mandate":{{"Keys":[{{"pk":{{"S":"{}"}},"sk":{{"S":"{}"}}}}],"ConsistentRead":true}}}}}}"#,
        key.pk(),
        key.sk()
    );
    let (table, calls) = scripted(vec![(200, left.leak()), DONE]).await;
    let found = table.authorization_with_binding(&organization("org_1"), &id(1), &workflow("fl_1")).await.unwrap();
    assert!(found.0.is_none() && found.1.is_none());
    assert_eq!(calls.take(), 2);
}

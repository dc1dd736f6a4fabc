//! Against servers of our own on loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A server that answers every request with an empty object: its URL, and how many connections it took.
async fn server() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, taken) = (format!("http://{}", listener.local_addr().unwrap()), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
                }
            });
        }
    });
    (url, taken)
}

fn sdk(url: &str, connections: &Connections) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("a", "b", None, None, "a test")))
        .endpoint_url(url)
        .http_client(connections.clone())
        .build()
}

#[tokio::test]
async fn what_was_opened_at_the_start_serves_every_sdk_client() {
    let (url, taken) = server().await;
    let connections = Connections::new().unwrap();
    connections.open(std::slice::from_ref(&url), CONNECT_TIMEOUT).await;
    assert_eq!(taken.load(Ordering::SeqCst), 1);
    let sdk = sdk(&url, &connections);
    aws_sdk_dynamodb::Client::new(&sdk).list_tables().send().await.unwrap();
    aws_sdk_kms::Client::new(&sdk).list_keys().send().await.unwrap();
    assert_eq!(taken.load(Ordering::SeqCst), 1, "neither opened another connection");
}

#[tokio::test]
async fn connections_are_opened_at_once() {
    // Neither server answers before the other was asked.
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let mut urls = Vec::new();
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        urls.push(format!("http://{}", listener.local_addr().unwrap()));
        let both = Arc::clone(&both);
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            both.wait().await;
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
        });
    }
    Connections::new().unwrap().open(&urls, Duration::from_mins(1)).await;
}

#[tokio::test]
async fn a_service_that_is_silent_or_away_stops_no_start() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let away = "http://127.0.0.1:9".to_owned();
    Connections::new().unwrap().open(&[silent, away, "no URL".to_owned()], Duration::from_millis(20)).await;
}

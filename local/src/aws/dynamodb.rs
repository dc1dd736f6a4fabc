//! DynamoDB, by dynoxide, or by whatever answers at another address.
//!
//! Dynoxide's public way in is a server on a listener of its own, so it gets one on an unnamed loopback port and
//! our front hands its requests on. That keeps dynoxide's own checks of malformed requests, which its functions
//! alone do not make.
//!
//! With a data directory, the tables are one `SQLite` file in WAL mode with `synchronous = FULL`: a transaction is in
//! the file before it is answered. Nothing is deleted by TTL: dynoxide sweeps only when told, and we never do.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, Response, Uri};
use dynoxide::Database;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::EmulationError;
use super::wire::Fault;

/// How long a stop waits for requests under way.
const PATIENCE: Duration = Duration::from_secs(5);

/// The way in to a running DynamoDB.
#[derive(Clone)]
pub(super) struct DynamoDb {
    /// Scheme and authority.
    endpoint: String,
    client: Client<HttpConnector, Body>,
}

/// The running dynoxide itself.
pub(super) struct Engine {
    server: JoinHandle<Result<(), String>>,
    stopping: watch::Sender<bool>,
}

/// Opens the tables and serves them.
pub(super) async fn start(data: Option<&Path>) -> Result<(DynamoDb, Engine), EmulationError> {
    let database = match data {
        None => Database::memory(),
        Some(directory) => Database::new(&directory.join("dynamodb.sqlite").to_string_lossy()),
    }
    .map_err(EmulationError::Tables)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(EmulationError::Listen)?;
    let address = listener.local_addr().map_err(EmulationError::Listen)?;
    let (stopping, mut stopped) = watch::channel(false);
    let server = tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, async move {
        // An error means that the sender is gone, which is a stop too.
        let _ = stopped.wait_for(|stop| *stop).await;
    }));
    Ok((elsewhere(&format!("http://{address}")), Engine { server, stopping }))
}

/// The way in to a DynamoDB that others run.
pub(super) fn elsewhere(endpoint: &str) -> DynamoDb {
    let client = Client::builder(TokioExecutor::new()).build_http();
    DynamoDb { endpoint: endpoint.trim_end_matches('/').to_owned(), client }
}

impl DynamoDb {
    /// Hands a request on, byte for byte.
    pub(super) async fn forward(&self, headers: HeaderMap, uri: &Uri, body: Bytes) -> Result<Response<Body>, Fault> {
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/{query}", self.endpoint))
            .body(Body::from(body))
            .map_err(|error| Fault::client("SerializationException", &error.to_string()))?;
        *request.headers_mut() = headers;
        match self.client.request(request).await {
            Ok(response) => Ok(response.map(Body::new)),
            Err(error) => {
                tracing::error!(%error, "the DynamoDB behind the emulation did not answer");
                Err(Fault::new(500, "InternalServerError", "the DynamoDB behind the emulation did not answer"))
            }
        }
    }
}

impl Engine {
    /// Lets requests under way finish, and closes the tables.
    pub(super) async fn stop(mut self) {
        self.stopping.send_replace(true);
        if tokio::time::timeout(PATIENCE, &mut self.server).await.is_err() {
            self.server.abort();
        }
    }
}

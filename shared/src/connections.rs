//! The HTTP client of all AWS SDKs, and connections that are open before the first request needs them (design section 8).
//!
//! 1. One client serves every SDK: one TLS configuration, one set of trusted roots, one pool, and the HTTP stack that identity
//!    providers are spoken to with. Left alone, each SDK client makes two of its own, the first only to see that it can.
//! 2. While a function starts, [`Connections::open`] asks each service for nothing: a `GET /` without a signature, which no role has
//!    to allow, which costs no capacity, and which every service answers somehow. What it leaves is an open connection.
//! 3. Nothing waits long for that, and nothing fails by it: a request opens what is not open.

use std::time::Duration;

use aws_sdk_dynamodb::config::{HttpClient, RuntimeComponents};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use futures_util::future::join_all;

use crate::ports::Unavailable;
use crate::tls;

/// How long a connection may take. Within a region it takes milliseconds.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The connections to AWS; cheap to clone. How long a request may take is the SDKs' business.
#[derive(Debug, Clone)]
pub struct Connections(reqwest::Client);

impl Connections {
    /// None yet. It fails only if TLS cannot be set up.
    pub fn new() -> Result<Self, Unavailable> {
        #[expect(clippy::disallowed_methods, reason = "this is the place that gives the client its rules")]
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never()) // the SDKs do that
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT);
        tls::configure(builder).build().map(Self).map_err(|error| Unavailable::new("set up TLS towards AWS", error))
    }

    /// Opens a connection to each of these URLs, at once, and waits no longer than this.
    pub async fn open(&self, urls: &[String], patience: Duration) {
        let all = join_all(urls.iter().map(|url| self.open_one(url)));
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!("connections to AWS take long to open");
        }
    }

    async fn open_one(&self, url: &str) {
        // The connection goes back to the pool when the answer was read.
        let answer = async { self.0.get(url).send().await?.bytes().await };
        if let Err(error) = answer.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "a connection to AWS could not be opened ahead of time");
        }
    }
}

impl HttpClient for Connections {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Connections {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move { send(client, request).await })
    }
}

/// Sends a signed request as it is. Requests and answers of these services are small, and whole in memory.
async fn send(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let (parts, body) = request.into_parts();
    let body = body.bytes().map(<[u8]>::to_vec).ok_or_else(|| ConnectorError::user("the body is not in memory".into()))?;
    let request = reqwest::Request::try_from(http::Request::from_parts(parts, body)).map_err(failed)?;
    let mut answer = client.execute(request).await.map_err(failed)?;
    let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
    let mut whole = http::Response::new(SdkBody::from(answer.bytes().await.map_err(failed)?.to_vec()));
    (*whole.status_mut(), *whole.headers_mut()) = (status, headers);
    HttpResponse::try_from(whole).map_err(|error| ConnectorError::other(error.into(), None))
}

/// What the SDKs shall make of a failure: what the network did is tried again, what was asked wrongly is not.
fn failed(error: reqwest::Error) -> ConnectorError {
    if error.is_builder() {
        ConnectorError::user(error.into())
    } else if error.is_timeout() {
        ConnectorError::timeout(error.into())
    } else {
        ConnectorError::io(error.into())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests;

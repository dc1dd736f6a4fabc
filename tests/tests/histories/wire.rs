//! The SDK's HTTP client: a request goes to the scheduler of the history that runs on this thread, and nowhere else.

use std::sync::OnceLock;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    AsyncSleep, BehaviorVersion, Credentials, IdentityCache, Region, RuntimeComponents, SharedHttpClient, Sleep,
    StalledStreamProtectionConfig,
};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;

use super::hub::{Ask, Heard, current};

/// The client of every history. It has no state of its own: retries are paid from a bucket without a bottom.
pub fn client() -> Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(make).clone()
}

/// As in Lambda (`shared::wiring`), but for the way out, and for time that the scheduler has.
fn make() -> Client {
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(3))
        .operation_timeout(Duration::from_secs(8))
        .disable_connect_timeout()
        .build();
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url("http://table.test")
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .identity_cache(IdentityCache::no_cache())
        .retry_config(RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(50)))
        .retry_partition(RetryPartition::custom("histories").token_bucket(TokenBucket::unlimited()).build())
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .sleep_impl(VirtualSleep)
        .http_client(way_out())
        .build();
    Client::from_conf(config)
}

fn way_out() -> SharedHttpClient {
    http_client_fn(|_: &HttpConnectorSettings, _: &RuntimeComponents| SharedHttpConnector::new(Connector))
}

#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap();
        let operation = target.strip_prefix("DynamoDB_20120810.").unwrap().to_owned();
        let body = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let reply = current().ask(Ask::DynamoDb { operation, body });
        HttpConnectorFuture::new(async move {
            match reply.await {
                Heard::DynamoDb((status, body)) => {
                    let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body.to_string()));
                    response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
                    Ok(response)
                }
                _ => Err(ConnectorError::io("the connection broke".into())),
            }
        })
    }
}

/// Time limits are kept exactly. The SDK's own waits between tries are a few milliseconds of its own randomness, which would make
/// two runs of a seed differ: they are all alike here.
#[derive(Debug)]
struct VirtualSleep;

impl AsyncSleep for VirtualSleep {
    fn sleep(&self, duration: Duration) -> Sleep {
        let exact = duration >= Duration::from_secs(1);
        Sleep::new(current().sleep(if exact { duration } else { Duration::from_millis(40) }))
    }
}

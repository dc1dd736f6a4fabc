//! From the raw Lambda event to a request and back. What is no HTTP API event is refused here, before any library that would
//! panic over it sees it.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Body, Context, LambdaEvent, Request, RequestExt as _, Response, Service, service_fn};
use serde_json::Value;

/// More headers than the gateway lets through in its 10,240 bytes, and fewer than make a header map panic.
const MAX_HEADERS: usize = 4096;

/// What serves a function's requests.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Answers one request; every failure is an answer, too.
    async fn handle(&self, request: Request) -> Response<Body>;
}

/// The event is not an API Gateway HTTP API event (payload format 2.0).
#[derive(Debug, thiserror::Error)]
#[error("event is not an HTTP API event of payload format 2.0")]
pub struct NotAnHttpEvent(#[source] Option<serde_json::Error>);

/// Serves one event.
pub async fn serve(handler: Arc<dyn Handler>, event: Value, context: Context) -> Result<Value, NotAnHttpEvent> {
    let headers = event.get("headers").and_then(Value::as_object).map_or(0, serde_json::Map::len);
    if event.get("version").and_then(Value::as_str) != Some("2.0") || headers > MAX_HEADERS {
        return Err(NotAnHttpEvent(None));
    }
    let mut event: ApiGatewayV2httpRequest = serde_json::from_value(event).map_err(|e| NotAnHttpEvent(Some(e)))?;
    if !has_a_body_that_decodes(&event) {
        return Err(NotAnHttpEvent(None));
    }
    mend(&mut event);
    let mut adapter = Adapter::from(service_fn(move |request: Request| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, std::convert::Infallible>(handler.handle(request).await) }
    }));
    let Ok(response) = adapter.call(LambdaEvent::new(LambdaRequest::ApiGatewayV2(event), context)).await;
    serde_json::to_value(response).map_err(|e| NotAnHttpEvent(Some(e)))
}

/// API Gateway passes on what clients wrote, and `lambda_http` takes it for granted that it makes a URL. What does not is put out
/// of the way, so that the function refuses the request in the contract's words: no route has the path `/`, and no route takes
/// the query parameter `malformed`. Nothing here depends on which host was asked, by which scheme, or at which stage.
fn mend(event: &mut ApiGatewayV2httpRequest) {
    let makes_a_uri = |path: &str, query: &str| format!("https://localhost{path}?{query}").parse::<Uri>().is_ok();
    event.headers.remove(http::header::HOST);
    event.request_context.domain_name = None;
    event.request_context.stage = None;
    let path = event.raw_path.as_deref().unwrap_or_default();
    if !path.starts_with('/') || !makes_a_uri(path, "") {
        event.raw_path = Some("/".to_owned());
    }
    if event.raw_query_string.as_deref().is_some_and(|query| !makes_a_uri("/", query)) {
        event.raw_query_string = Some("malformed".to_owned());
    }
}

/// The gateway encodes what is no text; what it cannot have encoded is not its event.
fn has_a_body_that_decodes(event: &ApiGatewayV2httpRequest) -> bool {
    !event.is_base64_encoded || event.body.as_deref().is_none_or(|body| STANDARD.decode(body).is_ok())
}

/// When the runtime will stop this invocation.
#[must_use]
pub fn deadline(request: &Request) -> Option<time::OffsetDateTime> {
    let context = request.lambda_context_ref()?;
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(context.deadline) * 1_000_000).ok().filter(|_| context.deadline > 0)
}

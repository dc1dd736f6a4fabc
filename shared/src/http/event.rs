//! From the raw Lambda event to a request and back. What is no HTTP API event is refused here, before any library that would
//! panic over it sees it.

use std::sync::Arc;

use async_trait::async_trait;
use http::Uri;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Body, Context, LambdaEvent, Request, RequestExt as _, Response, Service, service_fn};
use serde_json::Value;

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
    if event.get("version").and_then(Value::as_str) != Some("2.0") {
        return Err(NotAnHttpEvent(None));
    }
    let mut event: ApiGatewayV2httpRequest = serde_json::from_value(event).map_err(|e| NotAnHttpEvent(Some(e)))?;
    mend(&mut event);
    let mut adapter = Adapter::from(service_fn(move |request: Request| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, std::convert::Infallible>(handler.handle(request).await) }
    }));
    let Ok(response) = adapter.call(LambdaEvent::new(LambdaRequest::ApiGatewayV2(event), context)).await;
    serde_json::to_value(response).map_err(|e| NotAnHttpEvent(Some(e)))
}

/// API Gateway passes on what clients wrote, and `lambda_http` takes it for granted that it makes a URI. What does not is put out
/// of the way, so that the function refuses the request in the contract's words: no route has the path `/`, and no route takes
/// the query parameter `malformed`.
fn mend(event: &mut ApiGatewayV2httpRequest) {
    let makes_a_uri = |host: &str, path: &str, query: &str| format!("https://{host}{path}?{query}").parse::<Uri>().is_ok();
    let host = event.headers.get(http::header::HOST).map(|host| host.to_str().unwrap_or("\\").to_owned());
    if host.is_some_and(|host| !makes_a_uri(&host, "/", "")) {
        event.headers.remove(http::header::HOST);
    }
    event.request_context.domain_name = None;
    let path = event.raw_path.as_deref().unwrap_or_default();
    if !path.starts_with('/') || !makes_a_uri("localhost", path, "") {
        event.raw_path = Some("/".to_owned());
    }
    if event.raw_query_string.as_deref().is_some_and(|query| !makes_a_uri("localhost", "/", query)) {
        event.raw_query_string = Some("malformed".to_owned());
    }
}

/// When the runtime will stop this invocation.
#[must_use]
pub fn deadline(request: &Request) -> Option<time::OffsetDateTime> {
    let context = request.lambda_context_ref()?;
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(context.deadline) * 1_000_000).ok().filter(|_| context.deadline > 0)
}

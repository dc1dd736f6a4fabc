//! From the raw Lambda event to a request and back. What is no HTTP API event is refused here, before any library that would
//! panic over it sees it.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use http::header::HOST;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Body, Context, LambdaEvent, Request, RequestExt as _, Response, Service, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;

/// A query that no route takes.
const MALFORMED: &str = "malformed";

/// What the headers of an event may be as JSON: more than the 10,240 bytes that the gateway lets through, however they are escaped, and
/// fewer headers than make a header map panic.
const MAX_HEADERS: usize = 64 * 1024;

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

impl From<serde_json::Error> for NotAnHttpEvent {
    fn from(error: serde_json::Error) -> Self {
        Self(Some(error))
    }
}

/// What is looked at before anything is made of an event.
#[derive(Deserialize)]
struct Outline<'a> {
    version: String,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
}

/// Serves one event, which is JSON, and so is the answer.
pub async fn serve(handler: Arc<dyn Handler>, event: &str, context: Context) -> Result<impl Serialize + use<>, NotAnHttpEvent> {
    let outline: Outline<'_> = serde_json::from_str(event)?;
    if outline.version != "2.0" || outline.headers.is_some_and(|headers| headers.get().len() > MAX_HEADERS) {
        return Err(NotAnHttpEvent(None));
    }
    let mut event: ApiGatewayV2httpRequest = serde_json::from_str(event)?;
    mend(&mut event)?;
    let mut adapter = Adapter::from(service_fn(move |request: Request| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, std::convert::Infallible>(handler.handle(request).await) }
    }));
    let Ok(response) = adapter.call(LambdaEvent::new(LambdaRequest::ApiGatewayV2(event), context)).await;
    Ok(response)
}

/// API Gateway passes on what clients wrote, and `lambda_http` takes it for granted that it makes a URI, and that a body is what
/// it is said to be; it panics over anything else, which would end the sandbox.
///
/// Host and stage are left out: where this service is reached is configured, and nothing here asks for them. A path or a query
/// that makes no URI is put out of the way, so that the function refuses the request in the contract's words: no route has the path
/// `/`, and no route takes the query parameter `malformed`.
fn mend(event: &mut ApiGatewayV2httpRequest) -> Result<(), NotAnHttpEvent> {
    if event.is_base64_encoded && event.body.as_ref().is_some_and(|body| STANDARD.decode(body).is_err()) {
        return Err(NotAnHttpEvent(None));
    }
    event.headers.remove(HOST);
    event.request_context.domain_name = None;
    event.request_context.stage = None;
    let makes_a_uri = |path: &str, query: &str| format!("{path}?{query}").parse::<Uri>().is_ok();
    let path = event.raw_path.as_deref().filter(|path| path.starts_with('/'));
    let path = path.and_then(|path| Url::parse(&format!("http://localhost{path}")).ok()).map(|url| url.path().to_owned());
    let path = path.filter(|path| makes_a_uri(path, MALFORMED)).unwrap_or_else(|| {
        event.raw_path = Some("/".to_owned());
        "/".to_owned()
    });
    if event.raw_query_string.as_deref().is_some_and(|query| !makes_a_uri(&path, query)) {
        event.raw_query_string = Some(MALFORMED.to_owned());
    }
    Ok(())
}

/// When the runtime will stop this invocation.
#[must_use]
pub fn deadline(request: &Request) -> Option<time::OffsetDateTime> {
    let context = request.lambda_context_ref()?;
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(context.deadline) * 1_000_000).ok().filter(|_| context.deadline > 0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Answers with what it got.
    struct Echo;

    #[async_trait]
    impl Handler for Echo {
        async fn handle(&self, request: Request) -> Response<Body> {
            Response::new(Body::Text(format!("{}?{}", request.raw_http_path(), request.uri().query().unwrap_or_default())))
        }
    }

    async fn served(change: impl FnOnce(&mut Value)) -> Result<String, NotAnHttpEvent> {
        let mut event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": "/workflows/authorization", "rawQueryString": "limit=1",
            "headers": { "host": "api.example.com", "x-forwarded-proto": "https" }, "body": null, "isBase64Encoded": false,
            "requestContext": { "domainName": "api.example.com", "stage": "$default", "http": { "method": "GET", "path": "/" } },
        });
        change(&mut event);
        let answer = serde_json::to_value(serve(Arc::new(Echo), &event.to_string(), Context::default()).await?)?;
        Ok(answer["body"].as_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn s58_no_host_scheme_or_stage_of_an_event_is_believed_or_stumbled_over() {
        for odd in ["", "api.example.com", "x:y", "a:b:c", "x:70000", "[::1", "a b", "\\", "%", "xn--a", "\u{e9}", "javascript", "http:"] {
            for place in ["/headers/host", "/headers/x-forwarded-proto", "/requestContext/domainName", "/requestContext/stage"] {
                let answer = served(|event| *event.pointer_mut(place).unwrap() = odd.into()).await.unwrap();
                assert_eq!(answer, "/workflows/authorization?limit=1", "{place} {odd:?}");
            }
        }
    }

    #[tokio::test]
    async fn s58_a_path_or_query_that_makes_no_uri_is_one_that_no_route_takes() {
        let long = |text: &str| text.repeat(40_000);
        for (path, query, expected) in [
            ("/a", "x=1", "/a?x=1"),
            ("", "x=1", "/?x=1"),
            ("a", "x=1", "/?x=1"),
            ("/\u{e9}", "x=1", "/\u{e9}?x=1"),
            ("/a b", "x=1", "/a b?x=1"),
            ("//a", "x=1", "//a?x=1"),
            (&format!("/{}", long("\u{e9}")), "x=1", "/?x=1"),
            (&format!("/{}", long("aa")), "x=1", "/?x=1"),
            ("/a", "x y", "/a?malformed"),
            ("/a", "\u{7f}", "/a?malformed"),
            ("/a", &long("xx"), "/a?malformed"),
        ] {
            let answer = served(|event| {
                event["rawPath"] = path.into();
                event["rawQueryString"] = query.into();
            });
            assert_eq!(answer.await.unwrap(), expected, "{path:.20} {query:.20}");
        }
        // Each of them fits, two together do not.
        let both = served(|event| {
            event["rawPath"] = format!("/{}", long("a")).into();
            event["rawQueryString"] = long("x").into();
        });
        assert!(both.await.unwrap().ends_with("a?malformed"));
        let both = served(|event| {
            event["rawPath"] = format!("/{}", long("a")).into();
            event["requestContext"]["stage"] = long("x").into();
        });
        assert!(both.await.unwrap().ends_with("a?limit=1"));
    }

    #[tokio::test]
    async fn s58_what_is_no_event_of_the_gateway_is_refused() {
        for body in ["%", "a", "Zm9v!", "Zm9", "\u{e9}"] {
            let refused = served(|event| {
                event["body"] = body.into();
                event["isBase64Encoded"] = true.into();
            });
            assert!(refused.await.is_err(), "{body}");
        }
        let many = |count: usize| served(move |event| event["headers"] = (0..count).map(|n| (n.to_string(), json!(""))).collect());
        assert!(many(4000).await.is_ok());
        assert!(many(40_000).await.is_err(), "a header map would panic");
        assert!(served(|event| event["version"] = "1.0".into()).await.is_err());
        for place in ["/version", "/requestContext", "/requestContext/http", "/requestContext/http/method", "/headers", "/rawPath"] {
            for odd in [json!(1), json!([]), json!("\u{0}"), json!({ "a": { "b": 1 } })] {
                let answer = served(|event| *event.pointer_mut(place).unwrap() = odd.clone()).await;
                assert!(answer.is_err() || place == "/rawPath", "{place} {odd}");
            }
        }
    }
}

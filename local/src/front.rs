//! The loopback front: an HTTP API that turns requests into Lambda events as API Gateway does (payload format 2.0), and the Lambda
//! Invoke API beside it.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use shared::http::body::MAX_BODY;
use shared::http::routes::{Function, Route};
use shared::ports::clock::Clock;

use crate::functions::{Functions, InvokeError, name};

/// API Gateway's own limit.
const BODY_LIMIT: usize = 10 * 1024 * 1024;

#[derive(Clone)]
struct Front {
    functions: Arc<Functions>,
    clock: Arc<dyn Clock>,
}

/// The API and the Invoke API.
pub fn router(functions: Arc<Functions>, clock: Arc<dyn Clock>) -> Router {
    Router::new()
        .route("/2015-03-31/functions/{function}/invocations", post(invoke))
        .fallback(api)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(Front { functions, clock })
}

async fn api(
    State(front): State<Front>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response<Body> {
    // The functions have words for a body that is too long, and it takes less of it to hear them.
    let body = body.unwrap_or_else(|_| Bytes::from(vec![b' '; 2 * MAX_BODY]));
    // Like the `$default` route of the deployed API: what no route takes goes to `list`, which answers 404 or 405.
    let function = Route::resolve(&method, uri.path()).map_or(Function::List, |route| route.function());
    let event = event(&method, &uri, &headers, &body, front.clock.now());
    match front.functions.invoke(name(function), event).await {
        Ok(answer) => response(&answer),
        // What API Gateway says of a function that failed.
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "an invocation failed");
            plain(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "message": "Internal Server Error" }))
        }
    }
}

/// An event as API Gateway makes it.
fn event(method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes, now: time::OffsetDateTime) -> Value {
    let path = uri.path();
    let mut joined = Map::new();
    for name in headers.keys() {
        let values: Vec<_> = headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()).collect();
        joined.insert(name.as_str().to_owned(), json!(values.join(",")));
    }
    let (body, encoded) = match std::str::from_utf8(body) {
        Ok("") => (Value::Null, false),
        Ok(text) => (json!(text), false),
        Err(_) => (json!(STANDARD.encode(body)), true),
    };
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": uri.query().unwrap_or_default(),
        "headers": joined,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": "localhost",
            "domainPrefix": "localhost",
            "http": {
                "method": method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default(),
            },
            "requestId": "local",
            "routeKey": "$default",
            "stage": "$default",
            "time": "22/Nov/2026:10:00:00 +0000",
            "timeEpoch": i64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(0),
        },
        "body": body,
        "isBase64Encoded": encoded,
    })
}

/// What API Gateway makes of a function's answer.
fn response(answer: &Value) -> Response<Body> {
    let text = answer["body"].as_str().unwrap_or_default();
    let body = if answer["isBase64Encoded"] == json!(true) { STANDARD.decode(text).unwrap_or_default() } else { text.as_bytes().to_vec() };
    let mut response = Response::new(Body::from(body));
    let status = answer["statusCode"].as_u64().and_then(|s| u16::try_from(s).ok()).and_then(|s| StatusCode::from_u16(s).ok());
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let single = answer["headers"].as_object().into_iter().flatten().filter_map(|(n, v)| Some((n, v.as_str()?)));
    let multiple = answer["multiValueHeaders"].as_object().into_iter().flatten();
    let multiple = multiple.flat_map(|(n, values)| values.as_array().into_iter().flatten().filter_map(move |v| Some((n, v.as_str()?))));
    for (name, value) in single.chain(multiple) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// `POST /2015-03-31/functions/{function}/invocations`, as the AWS CLI sends it.
async fn invoke(State(front): State<Front>, Path(function): Path<String>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    // A full ARN and a qualifier are accepted: …:function:name[:qualifier]
    let named = function.rsplit_once(":function:").map_or(function.as_str(), |(_, rest)| rest);
    let named = named.split(':').next().unwrap_or_default().to_owned();
    let event = if body.is_empty() { Ok(json!({})) } else { serde_json::from_slice(&body) };
    let Ok(event) = event else {
        return refusal(StatusCode::BAD_REQUEST, "InvalidRequestContentException", "Could not parse request body into json");
    };
    match headers.get("x-amz-invocation-type").and_then(|v| v.to_str().ok()) {
        Some("DryRun") => return plain(StatusCode::NO_CONTENT, &Value::Null),
        Some("Event") => {
            tokio::spawn(async move {
                front.functions.invoke(&named, event).await.map(drop).map_err(|e| tracing::warn!(error = %e, "invocation failed"))
            });
            return plain(StatusCode::ACCEPTED, &Value::Null);
        }
        _ => {}
    }
    match front.functions.invoke(&named, event).await {
        Ok(answer) => {
            let mut response = plain(StatusCode::OK, &answer);
            response.headers_mut().insert("x-amz-executed-version", HeaderValue::from_static("$LATEST"));
            response
        }
        Err(error @ InvokeError::Unknown(_)) => refusal(StatusCode::NOT_FOUND, "ResourceNotFoundException", &error.to_string()),
        Err(InvokeError::Failed(message)) => {
            let mut response = plain(StatusCode::OK, &json!({ "errorType": "Error", "errorMessage": message }));
            response.headers_mut().insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
            response
        }
    }
}

fn refusal(status: StatusCode, kind: &'static str, message: &str) -> Response<Body> {
    let mut response = plain(status, &json!({ "Type": "User", "Message": message }));
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(kind));
    response
}

fn plain(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(if body.is_null() { Body::empty() } else { Body::from(body.to_string()) });
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

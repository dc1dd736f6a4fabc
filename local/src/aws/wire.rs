//! The AWS JSON protocols, as far as five services need them: which operation a
//! request names, how its body is read, and how an answer or an error is written.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A service of the emulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Amazon DynamoDB.
    DynamoDb,
    /// AWS Key Management Service.
    Kms,
    /// AWS Secrets Manager.
    SecretsManager,
    /// Amazon Simple Queue Service.
    Sqs,
    /// Amazon EventBridge.
    EventBridge,
}

impl Service {
    /// The service and operation that `X-Amz-Target` names, or `None` for a target we do not know.
    pub(super) fn of_target(headers: &HeaderMap) -> Option<(Self, &str)> {
        let target = headers.get("x-amz-target")?.to_str().ok()?;
        let (prefix, operation) = target.split_once('.')?;
        let service = match prefix {
            "DynamoDB_20120810" => Self::DynamoDb,
            "TrentService" => Self::Kms,
            "secretsmanager" => Self::SecretsManager,
            "AmazonSQS" => Self::Sqs,
            "AWSEvents" => Self::EventBridge,
            _ => return None,
        };
        // The operation becomes the key of a counter: keep strangers from growing it with long names.
        (operation.len() <= 64).then_some((service, operation))
    }

    /// What the service writes before the `#` of an error type.
    fn error_namespace(self) -> &'static str {
        match self {
            Self::DynamoDb => "com.amazonaws.dynamodb.v20120810#",
            Self::Sqs => "com.amazonaws.sqs#",
            Self::Kms | Self::SecretsManager | Self::EventBridge => "",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::DynamoDb | Self::Sqs => "application/x-amz-json-1.0",
            Self::Kms | Self::SecretsManager | Self::EventBridge => "application/x-amz-json-1.1",
        }
    }
}

/// An AWS error answer: a status, an error type, a message, and whatever fields the type adds.
#[derive(Debug, Clone)]
pub struct Fault {
    status: StatusCode,
    kind: String,
    fields: Map<String, Value>,
    query_code: Option<&'static str>,
}

impl Fault {
    /// An error answer; a status outside 400–599 becomes 500.
    #[must_use]
    pub fn new(status: u16, kind: &str, message: &str) -> Self {
        let status = StatusCode::from_u16(status)
            .ok()
            .filter(|status| status.is_client_error() || status.is_server_error())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let fields = Map::from_iter([("message".to_owned(), Value::from(message))]);
        Self { status, kind: kind.to_owned(), fields, query_code: None }
    }

    /// Adds a field, such as the `CancellationReasons` of a `TransactionCanceledException`.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.fields.insert(field.to_owned(), value);
        self
    }

    /// The error type, such as `NotFoundException`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The message of the error.
    #[must_use]
    pub fn message(&self) -> &str {
        self.fields.get("message").and_then(Value::as_str).unwrap_or_default()
    }

    /// The code this error had in the old query protocol. The SDKs match SQS errors by it.
    pub(super) fn query_code(mut self, code: &'static str) -> Self {
        self.query_code = Some(code);
        self
    }

    /// A client's mistake: status 400.
    pub(super) fn client(kind: &str, message: &str) -> Self {
        Self::new(400, kind, message)
    }

    /// An input outside its documented limits, in AWS's words.
    pub(super) fn constraint(field: &str, rule: &str) -> Self {
        Self::client(
            "ValidationException",
            &format!("1 validation error detected: Value at '{field}' failed to satisfy constraint: {rule}"),
        )
    }

    /// Our own failure. The cause is logged where it happened.
    pub(super) fn internal() -> Self {
        Self::new(500, "InternalFailure", "the emulation failed; see its log")
    }

    pub(super) fn unknown_operation() -> Self {
        Self::client("UnknownOperationException", "the emulation does not know this operation")
    }

    pub(super) fn into_response(self, service: Option<Service>) -> Response<Body> {
        let namespace = service.map_or("", Service::error_namespace);
        let mut body = self.fields;
        body.insert("__type".to_owned(), Value::from(format!("{namespace}{}", self.kind)));
        let mut response = json_response(self.status, service, &Value::Object(body));
        if let Ok(value) = HeaderValue::from_str(&self.kind) {
            response.headers_mut().insert("x-amzn-errortype", value);
        }
        if let Some(code) = self.query_code {
            let side = if self.status.is_server_error() { "Receiver" } else { "Sender" };
            if let Ok(value) = HeaderValue::from_str(&format!("{code};{side}")) {
                response.headers_mut().insert("x-amzn-query-error", value);
            }
        }
        response
    }
}

/// Reads an operation's input.
pub(super) fn parse<T: DeserializeOwned>(request: Value) -> Result<T, Fault> {
    serde_json::from_value(request).map_err(|error| Fault::client("SerializationException", &error.to_string()))
}

/// The answer to a request that succeeded.
pub(super) fn success(service: Service, body: &Value) -> Response<Body> {
    json_response(StatusCode::OK, Some(service), body)
}

fn json_response(status: StatusCode, service: Option<Service>, body: &Value) -> Response<Body> {
    let content_type = service.map_or("application/x-amz-json-1.1", Service::content_type);
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

/// One page of a listing; the token is the position at which the next page begins.
pub(super) struct Page<T> {
    /// What this page shows.
    pub(super) items: Vec<T>,
    /// Where the next page begins, if there is one.
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    /// Cuts the page that begins at `token`; a token that is not ours is refused by the caller's error.
    pub(super) fn cut(all: Vec<T>, size: usize, token: Option<&str>, invalid: Fault) -> Result<Self, Fault> {
        let start: usize = match token {
            None => 0,
            Some(token) => token.parse().map_err(|_| invalid)?,
        };
        let total = all.len();
        let end = start.saturating_add(size.max(1));
        let items = all.into_iter().skip(start).take(size.max(1)).collect();
        Ok(Self { items, next: (end < total).then(|| end.to_string()) })
    }
}

//! Around every handler: a request id, the route, the directory, the caller, the answer's shape, one log line.

use std::sync::Arc;

use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use lambda_http::{Body, Request, RequestExt as _, Response};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::body::Fields;
use super::error::{ApiError, Code};
use super::event;
use super::page::{Telling, page};
use super::query::Query;
use super::routes::{Function, NoRoute, Route};
use crate::correlation::on_behalf_of;
use crate::domain::caller::Caller;
use crate::domain::directory::Directory;
use crate::domain::ids::RequestId;
use crate::ports::Unavailable;
use crate::ports::clock::{Clock, Entropy, random};
use crate::ports::configuration::{BearerVerifier, Directories};
use crate::telemetry;
use crate::usecases::{Call, within};

/// The header that names a request.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How long a function may take when nobody says: the limit of an HTTP API integration, less a second.
const DEFAULT_TIME: Duration = Duration::seconds(29);
/// What an answer takes, to be written and sent: so long before the deadline whatever is under way is left.
const ANSWER_TIME: Duration = Duration::milliseconds(500);
/// Where errors are documented while the directory cannot be read.
const DEFAULT_DOC_BASE: &str = "https://example.com/errors/";

/// What every function needs at its edge.
pub struct Edge {
    /// The configuration.
    pub directories: Arc<dyn Directories>,
    /// Who calls.
    pub bearer: Arc<dyn BearerVerifier>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for request ids.
    pub entropy: Arc<dyn Entropy>,
}

/// One request on its way through a handler.
pub struct Exchange {
    /// The request.
    pub request: Request,
    /// Its id and deadline.
    pub call: Call,
    /// The configuration.
    pub directory: Arc<Directory>,
    edge: Arc<Edge>,
}

impl Edge {
    /// Serves a request with a function's handler.
    pub async fn serve<F>(
        self: &Arc<Self>,
        function: Function,
        request: Request,
        handler: impl FnOnce(Exchange, Route) -> F + Send,
    ) -> Response<Body>
    where
        F: Future<Output = Result<Response<Body>, ApiError>> + Send,
    {
        let began = self.clock.now();
        let request_id = self.request_id(request.headers());
        let deadline = event::deadline(&request).unwrap_or(began + DEFAULT_TIME);
        let call = Call::new(request_id.clone(), deadline);
        let route = resolve(function, &request);
        let method = request.method().clone();
        let name = route.as_ref().map_or("none", Route::name);
        let directory = self.directories.directory().await;
        let doc_base = directory.as_ref().map_or(DEFAULT_DOC_BASE, |d| d.error_doc_base.as_str()).to_owned();
        let result = match (route, directory) {
            (Ok(route), Ok(directory)) => {
                let left = left_at_the_end(&route, &request_id);
                // On the heap: a handler's future is large, and is moved about here.
                let answer = Box::pin(handler(Exchange { request, call, directory, edge: Arc::clone(self) }, route));
                let answer = on_behalf_of(request_id.clone(), answer);
                in_time(self.clock.as_ref(), deadline, answer).await.unwrap_or(left)
            }
            (Err(refusal), _) => Err(refusal),
            (Ok(_), Err(unavailable)) => Err(unavailable.into()),
        };
        let (mut response, error) = match result {
            Ok(response) => (response, None),
            Err(error) => (render(&error, &doc_base), Some(error)),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
            headers.insert(X_REQUEST_ID, value);
        }
        telemetry::request(&telemetry::RequestLine {
            request_id: request_id.as_str(),
            function,
            route: name,
            method: method.as_str(),
            status: response.status().as_u16(),
            code: error.as_ref().map(|e| e.code().as_str()),
            cause: error.as_ref().and_then(ApiError::cause),
            took: self.clock.now() - began,
        });
        response
    }

    /// The caller's own id if it is a valid one, else a new one.
    fn request_id(&self, headers: &HeaderMap) -> RequestId {
        let sent = headers.get(X_REQUEST_ID).and_then(|v| v.to_str().ok()).and_then(|t| RequestId::try_from(t).ok());
        sent.unwrap_or_else(|| RequestId::new(self.clock.now(), random(self.entropy.as_ref()).unwrap_or_default()))
    }
}

/// The answer of a handler; `None` if the deadline is near and it has none. Every change of ours is whole or not at all, so it can
/// be left anywhere.
async fn in_time<T>(clock: &dyn Clock, deadline: OffsetDateTime, answer: impl Future<Output = T>) -> Option<T> {
    within(clock, deadline - ANSWER_TIME - clock.now(), answer).await
}

/// What is answered when a handler was left: the gateway's own words would be in no shape of ours.
fn left_at_the_end(route: &Route, request_id: &RequestId) -> Result<Response<Body>, ApiError> {
    match route {
        Route::Callback(_) => Ok(page(&Telling::Unavailable, request_id)),
        _ => Err(Unavailable::new("answer in time", "the function's time is over").into()),
    }
}

fn resolve(function: Function, request: &Request) -> Result<Route, ApiError> {
    match Route::resolve(request.method(), request.raw_http_path()) {
        Ok(route) if route.function() == function => Ok(route),
        // Another function's route: only a forged event brings it here.
        Ok(_) | Err(NoRoute::NotFound) => Err(Code::RouteNotFound.into()),
        Err(NoRoute::MethodNotAllowed(allow)) => Err(ApiError::method_not_allowed(allow)),
    }
}

fn render(error: &ApiError, doc_base: &str) -> Response<Body> {
    let mut response = json(error.status(), &error.body(doc_base));
    for (name, value) in error.headers() {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    response
}

/// A JSON answer.
#[must_use]
pub fn json(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::Text(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// `204`.
#[must_use]
pub fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

impl Exchange {
    /// The verified caller, if the route's permission is among their scopes (contract section 2).
    pub async fn caller(&self, route: &Route) -> Result<Caller, ApiError> {
        let token = bearer_token(self.request.headers())?;
        let principal = self.edge.bearer.verify(token).await?;
        if let Some(permission) = route.permission()
            && !permission.granted_by(&principal.scopes)
        {
            return Err(ApiError::insufficient_scope(permission));
        }
        let organization = principal.organization.ok_or(Code::OrganizationRequired)?;
        Ok(Caller { person: principal.person, verified_email: principal.verified_email, organization, workflow: principal.workflow })
    }
}

impl Exchange {
    /// A route without query parameters refuses them, rather than ignore a `?dry_run=true` that means something elsewhere.
    pub fn refuse_query(&self) -> Result<(), ApiError> {
        Query::read(&self.request).finish()
    }

    /// A route that deletes refuses fields in a body, rather than ignore a `{"dry_run": true}` that means something elsewhere.
    pub fn refuse_fields(&self) -> Result<(), ApiError> {
        Fields::read(&self.request)?.finish()
    }
}

/// The one token of the one `Authorization` header (RFC 6750 section 2.1).
fn bearer_token(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Err(ApiError::unauthorized(false)) };
    let (scheme, token) = value.to_str().ok().and_then(|v| v.trim().split_once(' ')).ok_or_else(|| ApiError::unauthorized(false))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        // What is no bearer token cannot be an invalid one (RFC 6750 section 3.1).
        return Err(ApiError::unauthorized(false));
    }
    let token = token.trim();
    let valid = values.next().is_none() && !token.is_empty() && !token.contains(char::is_whitespace);
    if valid { Ok(token) } else { Err(ApiError::unauthorized(true)) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use std::future::{pending, ready};

    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

    /// A clock by which every limit up to ten seconds is over at once, and no other ever is.
    struct Hasty;

    #[async_trait::async_trait]
    impl Clock for Hasty {
        fn now(&self) -> OffsetDateTime {
            NOW
        }
        async fn sleep(&self, duration: Duration) {
            if duration > Duration::seconds(10) {
                pending::<()>().await;
            }
        }
    }

    #[test]
    fn a_function_serves_its_own_routes_alone() {
        let asked = |function, method: &str, path: &str| {
            let request = http::Request::builder().method(method).uri(path).body(Body::Empty).unwrap().with_raw_http_path(path);
            resolve(function, &request).map_err(|refused| refused.code())
        };
        assert_eq!(asked(Function::CreateUrl, "POST", "/workflows/authorization"), Ok(Route::CreateUrl));
        assert_eq!(asked(Function::List, "POST", "/workflows/authorization"), Err(Code::RouteNotFound), "an event that was forged");
        assert_eq!(asked(Function::List, "GET", "/no/such/path"), Err(Code::RouteNotFound));
        assert_eq!(asked(Function::List, "PATCH", "/workflows/authorization"), Err(Code::MethodNotAllowed));
    }

    #[test]
    fn s56_only_a_bearer_token_can_be_an_invalid_one() {
        let judged = |value: &'static str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
            bearer_token(&headers).map(str::to_owned).map_err(|refused| {
                let challenge = refused.headers().iter().find(|(name, _)| *name == http::header::WWW_AUTHENTICATE);
                challenge.map(|(_, value)| value.to_str().unwrap().contains("error="))
            })
        };
        for (value, expected) in [
            ("Bearer a.b.c", Ok("a.b.c".to_owned())),
            ("bearer   a.b.c ", Ok("a.b.c".to_owned())),
            ("Bearer a b", Err(Some(true))),
            ("Bearer", Err(Some(false))),
            ("", Err(Some(false))),
            ("Basic YTpi", Err(Some(false))),
            ("DPoP a.b.c", Err(Some(false))),
        ] {
            assert_eq!(judged(value), expected, "{value}");
        }
    }

    #[tokio::test]
    async fn s95_a_handler_that_does_not_come_to_an_end_is_left_before_the_deadline() {
        let deadline = NOW + Duration::seconds(10);
        assert_eq!(in_time(&Hasty, deadline, ready(1)).await, Some(1));
        assert_eq!(in_time(&Hasty, deadline, pending::<u8>()).await, None);
        assert_eq!(in_time(&Hasty, NOW - Duration::HOUR, pending::<u8>()).await, None, "whatever the deadline");

        let request_id = RequestId::try_from("req_1").unwrap();
        let refusal = left_at_the_end(&Route::Replace("x".to_owned()), &request_id).unwrap_err();
        assert_eq!((refusal.code(), refusal.status()), (Code::StoreUnavailable, StatusCode::SERVICE_UNAVAILABLE));
        assert!(refusal.headers().iter().any(|(name, _)| *name == http::header::RETRY_AFTER));
        let page = left_at_the_end(&Route::Callback("x".to_owned()), &request_id).unwrap();
        assert_eq!(
            (page.status(), page.headers()[CONTENT_TYPE].as_bytes()),
            (StatusCode::SERVICE_UNAVAILABLE, &b"text/html; charset=utf-8"[..])
        );
    }
}

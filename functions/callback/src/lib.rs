//! `GET /workflows/authorization/callback/{connection_id}` and `POST /workflows/authorization/complete` (contract section 6).

use std::sync::Arc;

use async_trait::async_trait;
use lambda_http::http::StatusCode;
use lambda_http::http::header::{ALLOW, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY};
use lambda_http::{Body, Request, Response};
use shared::domain::flow::{FlowFailure, ReturnTo};
use shared::domain::secret::Secret;
use shared::http::body::Fields;
use shared::http::edge::{Edge, Exchange, json, no_content};
use shared::http::error::{ApiError, flow_code};
use shared::http::event::Handler;
use shared::http::page::{Telling, page};
use shared::http::query::Query;
use shared::http::routes::{CALLBACK_METHODS, Function, Route};
use shared::http::views;
use shared::usecases::complete_flow::{Callback, CallbackAnswer, CompleteFlow, CompleteRequest};

/// Browsers say so when they fetch ahead of a click (Fetch standard).
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
/// Older ones say so like this.
const PURPOSE: HeaderName = HeaderName::from_static("purpose");

/// The function.
pub struct CallbackFunction {
    /// Its edge.
    pub edge: Arc<Edge>,
    /// Its use case.
    pub complete_flow: CompleteFlow,
}

#[async_trait]
impl Handler for CallbackFunction {
    async fn handle(&self, request: Request) -> Response<Body> {
        let answer = |exchange: Exchange, route: Route| async move {
            match &route {
                Route::Callback(connection) => Ok(self.callback(&exchange, connection).await),
                Route::CallbackHead => Ok(Response::new(Body::Empty)),
                Route::CallbackOptions => Ok(options()),
                _ => self.complete(&exchange, &route).await,
            }
        };
        Box::pin(self.edge.serve(Function::Callback, request, answer)).await
    }
}

impl CallbackFunction {
    async fn callback(&self, exchange: &Exchange, connection: &str) -> Response<Body> {
        let request_id = &exchange.call.request_id;
        if is_prefetch(&exchange.request) {
            // An answer that no browser keeps for the real visit.
            return page(&Telling::Unavailable, request_id);
        }
        let Ok(callback) = read_callback(&exchange.request, connection) else { return page(&Telling::Untrusted, request_id) };
        match self.complete_flow.callback(&exchange.call, &exchange.directory, callback).await {
            Ok(CallbackAnswer::Return { return_to, result }) => {
                send_back(&return_to, &result).unwrap_or_else(|| page(&Telling::Untrusted, request_id))
            }
            Ok(CallbackAnswer::Outcome(outcome)) => page(&Telling::Outcome(outcome), request_id),
            Ok(CallbackAnswer::Untrusted) => page(&Telling::Untrusted, request_id),
            Ok(CallbackAnswer::UnderWay) => page(&Telling::UnderWay, request_id),
            Err(error) => {
                shared::telemetry::failure("callback", &error, request_id);
                page(&Telling::Unavailable, request_id)
            }
        }
    }

    async fn complete(&self, exchange: &Exchange, route: &Route) -> Result<Response<Body>, ApiError> {
        let caller = exchange.caller(route).await?;
        exchange.refuse_query()?;
        let mut fields = Fields::read(&exchange.request)?;
        let code = fields.secret("code")?;
        let code_verifier = fields.secret("code_verifier")?;
        fields.finish()?;
        let request = CompleteRequest { code: code.ok_or_else(|| ApiError::missing("code"))?, code_verifier };
        let completed = self.complete_flow.complete(&exchange.call, &caller, &exchange.directory, &request).await?;
        let status = if completed.repeated { StatusCode::OK } else { StatusCode::CREATED };
        let mut response = json(status, &views::authorization(&completed.authorization));
        if let Ok(location) = HeaderValue::try_from(format!("/workflows/authorization/{}", completed.authorization.id)) {
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    }
}

/// Each parameter at most once (RFC 6749 section 3.1); others are the provider's own and mean nothing here.
fn read_callback(request: &Request, connection: &str) -> Result<Callback, ApiError> {
    let mut query = Query::read(request);
    if query.has_duplicates() {
        return Err(ApiError::invalid("query", "name each parameter once"));
    }
    Ok(Callback {
        connection: connection.to_owned(),
        state: query.text("state")?,
        code: query.text("code")?.filter(|code| !code.is_empty()).map(Secret::new),
        error: query.text("error")?,
        iss: query.text("iss")?,
    })
}

fn is_prefetch(request: &Request) -> bool {
    [SEC_PURPOSE, PURPOSE]
        .iter()
        .filter_map(|name| request.headers().get(name)?.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("prefetch"))
}

fn options() -> Response<Body> {
    let mut response = no_content();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(CALLBACK_METHODS));
    response
}

/// `303` to the application (RFC 9700 section 4.12), with a completion code or with the error and its constant description.
fn send_back(return_to: &ReturnTo, result: &Result<String, FlowFailure>) -> Option<Response<Body>> {
    let url = match result {
        Ok(code) => views::return_url(return_to, &[("code", code)]),
        Err(failure) => {
            let code = flow_code(*failure);
            views::return_url(return_to, &[("error", code.as_str()), ("error_description", code.message())])
        }
    }?;
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, HeaderValue::try_from(url).ok()?);
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(response)
}

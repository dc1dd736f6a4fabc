//! `POST /workflows/authorization`: a sign-in URL (contract section 4).

use std::sync::Arc;

use async_trait::async_trait;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use serde_json::json;
use shared::domain::directory::{Selector, SelectorError};
use shared::domain::pkce;
use shared::domain::reserved_parameters::is_reserved_parameter;
use shared::http::body::Fields;
use shared::http::edge::{Edge, Exchange, json};
use shared::http::error::ApiError;
use shared::http::event::Handler;
use shared::http::routes::{Function, Route};
use shared::http::views::timestamp;
use shared::ports::provider::Hints;
use shared::usecases::create_url::{self, CreateUrl};

/// The longest caller state, in bytes (contract section 4).
const MAX_STATE: usize = 1024;

/// The function.
pub struct CreateUrlFunction {
    /// Its edge.
    pub edge: Arc<Edge>,
    /// Its use case.
    pub create_url: CreateUrl,
}

#[async_trait]
impl Handler for CreateUrlFunction {
    async fn handle(&self, request: Request) -> Response<Body> {
        self.edge.serve(Function::CreateUrl, request, |exchange, route| async move { self.create(&exchange, &route).await }).await
    }
}

impl CreateUrlFunction {
    async fn create(&self, exchange: &Exchange, route: &Route) -> Result<Response<Body>, ApiError> {
        let caller = exchange.caller(route).await?;
        exchange.refuse_query()?;
        let request = read(Fields::read(&exchange.request)?)?;
        let created = self.create_url.create(&exchange.call, &caller, &exchange.directory, request).await?;
        Ok(json(StatusCode::OK, &json!({ "url": created.url.as_str(), "expires_at": timestamp(created.expires_at) })))
    }
}

fn read(mut fields: Fields) -> Result<create_url::Request, ApiError> {
    let selector = selector(&mut fields)?;
    let redirect_uri = fields.text("redirect_uri")?;
    let state = fields.text("state")?;
    if let Some(state) = &state {
        if state.is_empty() || state.len() > MAX_STATE || !state.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
            return Err(ApiError::invalid("state", "have 1 to 1024 bytes of printable ASCII"));
        }
        if redirect_uri.is_none() {
            return Err(ApiError::missing("redirect_uri"));
        }
    }
    if fields.text("response_type")?.is_some_and(|t| t != "code") {
        return Err(ApiError::invalid("response_type", "be code"));
    }
    let code_challenge = code_challenge(&mut fields)?;
    let request = create_url::Request {
        selector,
        redirect_uri,
        state,
        code_challenge,
        provider_scopes: fields.scopes("provider_scopes")?,
        hints: hints(&mut fields)?,
        authorization_id: fields.parsed("authorization_id", "be an authorization id")?,
    };
    fields.finish()?;
    Ok(request)
}

fn selector(fields: &mut Fields) -> Result<Result<Selector, SelectorError>, ApiError> {
    let given = [
        fields.text("connection_id")?.map(|id| (id.is_empty(), Selector::Connection(id))),
        fields.text("organization_id")?.map(|id| (id.is_empty(), Selector::Organization(id))),
        fields.text("provider")?.map(|name| (name.is_empty(), Selector::Provider(name))),
    ];
    let mut given = given.into_iter().flatten();
    Ok(match (given.next(), given.next()) {
        (None, _) => Ok(Selector::Default),
        (Some((false, one)), None) => Ok(one),
        (Some(_), _) => Err(SelectorError::InvalidSelector),
    })
}

/// Both or neither; `S256` only (RFC 7636 section 4.3). In direct mode there is no completion code that it could protect, and it means nothing.
fn code_challenge(fields: &mut Fields) -> Result<Option<String>, ApiError> {
    let challenge = fields.text("code_challenge")?;
    let method = fields.text("code_challenge_method")?;
    match (challenge, method) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(ApiError::missing("code_challenge_method")),
        (None, Some(_)) => Err(ApiError::missing("code_challenge")),
        (Some(_), Some(method)) if method != "S256" => Err(ApiError::invalid("code_challenge_method", "be S256")),
        (Some(challenge), Some(_)) if !pkce::is_well_formed(&challenge) => {
            Err(ApiError::invalid("code_challenge", "have 43 to 128 unreserved characters"))
        }
        (Some(challenge), Some(_)) => Ok(Some(challenge)),
    }
}

fn hints(fields: &mut Fields) -> Result<Hints, ApiError> {
    let screen_hint = fields.text("screen_hint")?;
    if screen_hint.as_ref().is_some_and(|hint| hint != "sign-in" && hint != "sign-up") {
        return Err(ApiError::invalid("screen_hint", "be sign-in or sign-up"));
    }
    let mut hints = Hints {
        login_hint: fields.hint("login_hint", 320)?,
        domain_hint: fields.hint("domain_hint", 255)?,
        prompt: fields.hint("prompt", 128)?,
        max_age: fields.integer("max_age", 0, 9_007_199_254_740_991)?,
        screen_hint,
        ..Hints::default()
    };
    let mut length = 0;
    for (name, value) in fields.flat_object("provider_query_params")? {
        if is_reserved_parameter(&name) {
            return Err(ApiError::reserved(&name));
        }
        length += name.len() + value.len();
        if name.is_empty() || name.chars().chain(value.chars()).any(char::is_control) || length > 1024 {
            return Err(ApiError::invalid("provider_query_params", "have names, no control characters, and at most 1024 bytes"));
        }
        // Nothing is emitted empty.
        if !value.is_empty() {
            hints.query_params.insert(name, value);
        }
    }
    Ok(hints)
}

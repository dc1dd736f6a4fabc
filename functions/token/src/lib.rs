//! `POST /workflows/authorization/{auth_id}/token` and `…/check` (contract section 9).

use std::sync::Arc;

use async_trait::async_trait;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use shared::domain::caller::Caller;
use shared::domain::ids::AuthorizationId;
use shared::http::body::Fields;
use shared::http::edge::{Edge, Exchange, json};
use shared::http::error::{ApiError, Code};
use shared::http::event::Handler;
use shared::http::routes::{Function, Route};
use shared::http::views;
use shared::usecases::check::Check;
use shared::usecases::hand_out::{self, HandOut};

/// How long a token must live at least when the workflow does not say, in seconds (contract section 9).
const DEFAULT_MIN_TTL: u64 = 60;
/// The most a workflow may ask for, in seconds.
const MAX_MIN_TTL: u64 = 3600;

/// The function.
pub struct TokenFunction {
    /// Its edge.
    pub edge: Arc<Edge>,
    /// Hands out.
    pub hand_out: HandOut,
    /// Checks.
    pub check: Check,
}

#[async_trait]
impl Handler for TokenFunction {
    async fn handle(&self, request: Request) -> Response<Body> {
        Box::pin(self.edge.serve(Function::Token, request, |exchange, route| async move { self.answer(&exchange, &route).await })).await
    }
}

impl TokenFunction {
    async fn answer(&self, exchange: &Exchange, route: &Route) -> Result<Response<Body>, ApiError> {
        let caller = exchange.caller(route).await?;
        exchange.refuse_query()?;
        match route {
            Route::Token(id) => self.hand_out(exchange, &caller, id).await,
            Route::Check(id) => self.check(exchange, &caller, id).await,
            _ => Err(Code::RouteNotFound.into()),
        }
    }

    async fn hand_out(&self, exchange: &Exchange, caller: &Caller, id: &str) -> Result<Response<Body>, ApiError> {
        let mut fields = Fields::read(&exchange.request)?;
        let workflow = fields.parsed("workflow_id", "have 1 to 128 characters of A-Z, a-z, 0-9, '_' and '-'")?;
        let min_ttl = fields.integer("min_ttl", 0, MAX_MIN_TTL)?.unwrap_or(DEFAULT_MIN_TTL);
        let rejected_generation = fields.integer("rejected_generation", 0, 9_007_199_254_740_991)?;
        fields.finish()?;
        let request = hand_out::Request {
            workflow: workflow.ok_or_else(|| ApiError::missing("workflow_id"))?,
            authorization: AuthorizationId::try_from(id).map_err(|_| Code::WorkflowNotBound)?,
            min_ttl: std::time::Duration::from_secs(min_ttl).try_into().unwrap_or_default(),
            rejected_generation,
        };
        let token = self.hand_out.hand_out(&exchange.call, caller, &exchange.directory, &request).await?;
        Ok(json(StatusCode::OK, &views::token(&token)))
    }

    async fn check(&self, exchange: &Exchange, caller: &Caller, id: &str) -> Result<Response<Body>, ApiError> {
        Fields::read(&exchange.request)?.finish()?;
        let id = AuthorizationId::try_from(id).map_err(|_| Code::AuthorizationNotFound)?;
        let report = self.check.check(&exchange.call, caller, &exchange.directory, &id).await?;
        Ok(json(StatusCode::OK, &views::checked(&report)))
    }
}

//! `DELETE /workflows/authorization/{auth_id}` (contract section 8).

use std::sync::Arc;

use async_trait::async_trait;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use shared::domain::ids::AuthorizationId;
use shared::http::edge::{Edge, Exchange, json, no_content};
use shared::http::error::{ApiError, Code};
use shared::http::event::Handler;
use shared::http::query::Query;
use shared::http::routes::{Function, Route};
use shared::http::views;
use shared::usecases::revoke::Revoke;

/// The function.
pub struct RevokeFunction {
    /// Its edge.
    pub edge: Arc<Edge>,
    /// Its use case.
    pub revoke: Revoke,
}

#[async_trait]
impl Handler for RevokeFunction {
    async fn handle(&self, request: Request) -> Response<Body> {
        self.edge.serve(Function::Revoke, request, |exchange, route| async move { self.revoke(&exchange, &route).await }).await
    }
}

impl RevokeFunction {
    async fn revoke(&self, exchange: &Exchange, route: &Route) -> Result<Response<Body>, ApiError> {
        let caller = exchange.caller(route).await?;
        let Route::Revoke(id) = route else { return Err(Code::RouteNotFound.into()) };
        let mut query = Query::read(&exchange.request);
        let dry_run = query.parsed("dry_run", "be true or false", |s| s.parse().ok())?.unwrap_or(false);
        // A mistyped dry run must not delete.
        query.finish()?;
        exchange.refuse_fields()?;
        let id = AuthorizationId::try_from(id.as_str()).map_err(|_| Code::AuthorizationNotFound)?;
        if dry_run {
            let forecast = self.revoke.forecast(&exchange.call, &caller, &exchange.directory, &id).await?;
            return Ok(json(StatusCode::OK, &views::forecast(&forecast)));
        }
        self.revoke.revoke(&exchange.call, &caller, &exchange.directory, &id).await?;
        Ok(no_content())
    }
}

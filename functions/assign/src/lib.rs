//! `PUT`, `GET`, `DELETE /workflows/{workflow_id}/authorization` and `POST /workflows/authorization/{auth_id}/replace`
//! (contract section 8).

use std::sync::Arc;

use async_trait::async_trait;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use shared::domain::caller::Caller;
use shared::domain::ids::{AuthorizationId, WorkflowId};
use shared::http::body::Fields;
use shared::http::edge::{Edge, Exchange, json, no_content};
use shared::http::error::{ApiError, Code};
use shared::http::event::Handler;
use shared::http::routes::{Function, Route};
use shared::http::views;
use shared::usecases::assign::{self, Assign};
use shared::usecases::replace::{self, Replace};

/// How many scopes a workflow may require.
const REQUIRED_SCOPES: usize = 50;

/// The function.
pub struct AssignFunction {
    /// Its edge.
    pub edge: Arc<Edge>,
    /// Binds and unbinds.
    pub assign: Assign,
    /// Moves all bindings of an authorization.
    pub replace: Replace,
}

#[async_trait]
impl Handler for AssignFunction {
    async fn handle(&self, request: Request) -> Response<Body> {
        self.edge.serve(Function::Assign, request, |exchange, route| async move { self.answer(&exchange, &route).await }).await
    }
}

impl AssignFunction {
    async fn answer(&self, exchange: &Exchange, route: &Route) -> Result<Response<Body>, ApiError> {
        let caller = exchange.caller(route).await?;
        exchange.refuse_query()?;
        match route {
            Route::Bind(workflow) => self.bind(exchange, &caller, workflow).await,
            Route::Binding(workflow) => self.binding(&caller, workflow).await,
            Route::Unbind(workflow) => {
                exchange.refuse_fields()?;
                self.assign.unbind(&exchange.call, &caller, &workflow_id(workflow)?).await?;
                Ok(no_content())
            }
            Route::Replace(from) => self.replace(exchange, &caller, from).await,
            _ => Err(Code::RouteNotFound.into()),
        }
    }

    async fn bind(&self, exchange: &Exchange, caller: &Caller, workflow: &str) -> Result<Response<Body>, ApiError> {
        let mut fields = Fields::read(&exchange.request)?;
        let authorization = fields.text("authorization_id")?;
        let name = fields.parsed("workflow_name", "have 1 to 256 characters and no control characters")?;
        let required_scopes = fields.scopes("required_scopes")?.unwrap_or_default();
        fields.finish()?;
        // One transaction holds a condition for each, and counts all that come and go; DynamoDB bounds an expression to 4 KB.
        if required_scopes.iter().count() > REQUIRED_SCOPES {
            return Err(ApiError::invalid("required_scopes", "name at most 50 scopes"));
        }
        let workflow = workflow_id(workflow)?;
        let authorization = authorization_id(&authorization.ok_or_else(|| ApiError::missing("authorization_id"))?)?;
        let request = assign::Request { workflow, authorization, name, required_scopes };
        let binding = self.assign.bind(&exchange.call, caller, request).await?;
        Ok(json(StatusCode::OK, &views::binding(&binding)))
    }

    async fn binding(&self, caller: &Caller, workflow: &str) -> Result<Response<Body>, ApiError> {
        let binding = self.assign.binding(caller, &workflow_id(workflow)?).await?.ok_or(Code::WorkflowNotBound)?;
        Ok(json(StatusCode::OK, &views::binding(&binding)))
    }

    async fn replace(&self, exchange: &Exchange, caller: &Caller, from: &str) -> Result<Response<Body>, ApiError> {
        let mut fields = Fields::read(&exchange.request)?;
        let to = fields.text("authorization_id")?;
        let dry_run = fields.boolean("dry_run")?.unwrap_or(false);
        fields.finish()?;
        let to = to.ok_or_else(|| ApiError::missing("authorization_id"))?;
        let request = replace::Request { from: authorization_id(from)?, to: authorization_id(&to)?, dry_run };
        let report = self.replace.replace(&exchange.call, caller, &request).await?;
        Ok(json(StatusCode::OK, &views::replaced(&report)))
    }
}

fn workflow_id(text: &str) -> Result<WorkflowId, ApiError> {
    WorkflowId::try_from(text).map_err(|_| ApiError::invalid("workflow_id", "have 1 to 128 characters of A-Z, a-z, 0-9, '_' and '-'"))
}

/// What is no id is nobody's: it gets the same answer as another organization's.
fn authorization_id(text: &str) -> Result<AuthorizationId, ApiError> {
    AuthorizationId::try_from(text).map_err(|_| Code::AuthorizationNotFound.into())
}

//! `GET /workflows/authorization` and `GET /workflows/authorization/{auth_id}` (contract section 7). Also the API's default
//! route: what no route takes is answered here.

use std::sync::Arc;

use async_trait::async_trait;
use lambda_http::http::StatusCode;
use lambda_http::http::header::{HeaderValue, LINK};
use lambda_http::{Body, Request, Response};
use serde_json::Value;
use shared::domain::ids::{AuthorizationId, WorkflowId};
use shared::http::edge::{Edge, Exchange, json};
use shared::http::error::{ApiError, Code};
use shared::http::event::Handler;
use shared::http::query::Query;
use shared::http::routes::{Function, Route};
use shared::http::views;
use shared::usecases::list::{Filter, List, Request as ListRequest};
use url::form_urlencoded;

/// The largest and the default page.
const MAX_LIMIT: usize = 1000;

/// The function.
pub struct ListFunction {
    /// Its edge.
    pub edge: Arc<Edge>,
    /// Its use case.
    pub list: List,
}

#[async_trait]
impl Handler for ListFunction {
    async fn handle(&self, request: Request) -> Response<Body> {
        let answer = |exchange: Exchange, route: Route| async move {
            match &route {
                Route::One(id) => self.one(&exchange, &route, id).await,
                _ => self.page(&exchange, &route).await,
            }
        };
        self.edge.serve(Function::List, request, answer).await
    }
}

impl ListFunction {
    async fn page(&self, exchange: &Exchange, route: &Route) -> Result<Response<Body>, ApiError> {
        let caller = exchange.caller(route).await?;
        let page = self.list.page(&exchange.call, &caller, &read(Query::read(&exchange.request))?).await?;
        let entries: Value = page.entries.iter().map(views::entry).collect();
        let mut response = json(StatusCode::OK, &entries);
        if let Some(link) = page.next.and_then(|cursor| next_link(exchange, &cursor)) {
            response.headers_mut().insert(LINK, link);
        }
        Ok(response)
    }

    async fn one(&self, exchange: &Exchange, route: &Route, id: &str) -> Result<Response<Body>, ApiError> {
        let caller = exchange.caller(route).await?;
        exchange.refuse_query()?;
        let id = AuthorizationId::try_from(id).map_err(|_| Code::AuthorizationNotFound)?;
        let entry = self.list.one(&caller, &id).await?.ok_or(Code::AuthorizationNotFound)?;
        Ok(json(StatusCode::OK, &views::entry(&entry)))
    }
}

fn read(mut query: Query) -> Result<ListRequest, ApiError> {
    let known = |status: &str| matches!(status, "active" | "needs_reauthorization" | "revoking");
    let filter = Filter {
        status: query.parsed("status", "be active, needs_reauthorization or revoking", |s| known(&s).then_some(s))?,
        user_id: query.non_empty("user_id")?,
        email: query.non_empty("email")?,
        workflow_id: query.parsed("workflow_id", "be a workflow id", |s| WorkflowId::try_from(s).ok())?,
        unused_since: query.parsed("unused_since", "be an RFC 3339 time", |s| views::parse_timestamp(&s))?,
    };
    let limit = query.parsed("limit", "be a whole number from 1 to 1000", |s| s.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n)))?;
    let cursor = query.text("cursor")?;
    query.finish()?;
    Ok(ListRequest { filter, limit: limit.unwrap_or(MAX_LIMIT), cursor })
}

/// The same request with the next cursor (RFC 8288).
fn next_link(exchange: &Exchange, cursor: &str) -> Option<HeaderValue> {
    let raw = exchange.request.uri().query().unwrap_or_default();
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(form_urlencoded::parse(raw.as_bytes()).filter(|(name, _)| name != "cursor")).append_pair("cursor", cursor);
    let base = exchange.directory.public_url.as_str().trim_end_matches('/');
    HeaderValue::try_from(format!("<{base}/workflows/authorization?{}>; rel=\"next\"", query.finish())).ok()
}

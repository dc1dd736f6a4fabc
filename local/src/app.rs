//! A very small application in front of the API, for people who try it in a browser: it acts as the demonstration's operator.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::ports::clock::Clock;

use crate::client::{Api, CallError};
use crate::demonstration::{self, RETURN_PATH};
use crate::sign_in::MintError;

const STYLE: &str = include_str!("app.css");

#[derive(Clone)]
struct App {
    api: SocketAddr,
    clock: Arc<dyn Clock>,
}

/// The application's pages.
pub fn router(api: SocketAddr, clock: Arc<dyn Clock>) -> Router {
    Router::new()
        .route("/", get(overview))
        .route("/app/sign-in", get(sign_in))
        .route(RETURN_PATH, get(come_back))
        .with_state(App { api, clock })
}

#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error("failed to make a bearer token")]
    Mint(#[from] MintError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the API answered: {0}")]
    Refused(String),
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let page = page("That did not work", &format!("<p>{}</p><p><a href=\"/\">Back</a></p>", escape(&self.to_string())));
        (StatusCode::BAD_GATEWAY, page).into_response()
    }
}

impl App {
    fn caller(&self) -> Result<Api, AppError> {
        let bearer = demonstration::bearer(self.api, demonstration::olivia(), self.clock.now())?;
        Ok(Api::new(format!("http://{}", self.api), bearer)?)
    }
}

async fn overview(State(app): State<App>) -> Result<Response, AppError> {
    let answer = app.caller()?.get("/workflows/authorization").await?;
    if answer.status != 200 {
        return Err(AppError::Refused(answer.text));
    }
    let list = answer.json();
    let rows: String = list.as_array().into_iter().flatten().map(row).collect();
    let table = if rows.is_empty() {
        "<p class=\"soft\">Nobody has signed in yet.</p>".to_owned()
    } else {
        format!(
            "<table><thead><tr><th>Account</th><th>Status</th><th>Workflows</th><th>Authorization</th></tr></thead><tbody>{rows}</tbody></table>"
        )
    };
    let olivia = demonstration::olivia();
    let body = format!(
        "<p>You are <strong>{}</strong> of <code>{}</code>. Sign in once, and workflows of your organization may act on your behalf.</p>\
         <p class=\"actions\"><a class=\"button\" href=\"/app/sign-in\">Sign in</a> <a class=\"button quiet\" href=\"/app/sign-in?mode=redirect\">Sign in by way of this application</a></p>\
         <h2>Authorizations</h2>{table}",
        olivia.name, olivia.organization
    );
    Ok(page("Workflow authorizations", &body).into_response())
}

fn row(entry: &Value) -> String {
    let text = |name: &str| escape(entry[name].as_str().unwrap_or("–"));
    format!(
        "<tr><td>{}</td><td><span class=\"status {}\">{}</span></td><td>{}</td><td><code>{}</code></td></tr>",
        text("email"),
        text("status"),
        text("status").replace('_', " "),
        entry["workflow_count"],
        text("id")
    )
}

#[derive(Deserialize)]
struct Mode {
    mode: Option<String>,
}

async fn sign_in(State(app): State<App>, Query(mode): Query<Mode>) -> Result<Redirect, AppError> {
    let body = match mode.mode.as_deref() {
        Some("redirect") => {
            json!({ "redirect_uri": format!("http://{}{RETURN_PATH}", app.api), "login_hint": demonstration::olivia().email })
        }
        _ => json!({ "login_hint": demonstration::olivia().email }),
    };
    let answer = app.caller()?.post("/workflows/authorization", body).await?;
    let created = answer.json();
    created["url"].as_str().map(Redirect::to).ok_or(AppError::Refused(answer.text))
}

#[derive(Deserialize)]
struct Returned {
    code: Option<String>,
    error_description: Option<String>,
}

async fn come_back(State(app): State<App>, Query(returned): Query<Returned>) -> Result<Redirect, AppError> {
    let Some(code) = returned.code else { return Err(AppError::Refused(returned.error_description.unwrap_or_default())) };
    let answer = app.caller()?.post("/workflows/authorization/complete", json!({ "code": code })).await?;
    if matches!(answer.status, 200 | 201) { Ok(Redirect::to("/")) } else { Err(AppError::Refused(answer.text)) }
}

fn page(title: &str, body: &str) -> impl IntoResponse + use<> {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>"
    );
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(html))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

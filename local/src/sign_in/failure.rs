//! What can go wrong on this side: everything else is a protocol error and the client's to mend.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use thiserror::Error;

use super::keep::KeepError;

/// A fault of the provider itself.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("taking random bytes from the operating system")]
    Randomness(#[from] getrandom::Error),
    #[error("signing with the demonstration key")]
    Signing(#[from] jsonwebtoken::errors::Error),
    #[error("keeping the grants")]
    Keeping(#[from] KeepError),
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        tracing::error!(error = &self as &dyn std::error::Error, "the demonstration sign-in failed");
        (StatusCode::INTERNAL_SERVER_ERROR, [(header::CACHE_CONTROL, "no-store")], Json(json!({ "error": "server_error" }))).into_response()
    }
}

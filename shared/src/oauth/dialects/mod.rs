//! Known departures from the RFCs, one file per provider. What they send is turned into what RFC 6749 section 5 describes.

pub(super) mod github;
pub(super) mod slack;
pub(super) mod workos;

use serde_json::{Map, Value};

use crate::domain::connection::Dialect;

/// The error code of an answer, if it is an error: the member `error`, whatever the HTTP status says.
pub(super) fn error_of(dialect: Dialect, answer: &Map<String, Value>) -> Option<&str> {
    if dialect == Dialect::Slack {
        return slack::error_of(answer);
    }
    match answer.get("error") {
        None | Some(Value::Null) => None,
        Some(Value::String(code)) if code.is_empty() => None,
        Some(Value::String(code)) => Some(code),
        Some(_) => Some("unknown_error"),
    }
}

/// A successful answer in the members of RFC 6749 section 5.1.
pub(super) fn standardized(dialect: Dialect, answer: Map<String, Value>) -> Map<String, Value> {
    match dialect {
        Dialect::Standard | Dialect::GitHub => answer,
        Dialect::Slack => slack::standardized(answer),
    }
}

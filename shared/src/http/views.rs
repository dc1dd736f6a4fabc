//! What callers see of authorizations, bindings and reports (contract sections 7–9), and URLs to return to.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;
use url::Url;

use crate::domain::authorization::{Authorization, Reason};
use crate::domain::binding::{Binding, WorkflowName};
use crate::domain::flow::ReturnTo;
use crate::ports::store::IndexEntry;
use crate::usecases::{check, hand_out, replace, revoke};

/// RFC 3339 in UTC, to the second.
#[must_use]
pub fn timestamp(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    at.to_offset(time::UtcOffset::UTC).format(&format).unwrap_or_default()
}

/// A time of RFC 3339, in any offset.
#[must_use]
pub fn parse_timestamp(text: &str) -> Option<OffsetDateTime> {
    // In a query a `+` that was not escaped is a space by now, and only the offset can have begun with it.
    let offset = text.len().checked_sub("+00:00".len()).filter(|at| text.get(*at..=*at) == Some(" "));
    let restored = offset.map(|at| format!("{}+{}", &text[..at], &text[at + 1..]));
    OffsetDateTime::parse(restored.as_deref().unwrap_or(text), &time::format_description::well_known::Rfc3339).ok()
}

fn maybe(at: Option<OffsetDateTime>) -> Value {
    at.map_or(Value::Null, |at| json!(timestamp(at)))
}

/// An authorization of the list.
#[must_use]
pub fn entry(entry: &IndexEntry) -> Value {
    let mut view = json!({
        "id": entry.id.as_str(),
        "user_id": entry.user_id,
        "provider": entry.provider,
        "status": entry.status.as_str(),
        "created_at": timestamp(entry.created_at),
        "email": entry.email,
        "connection_id": entry.connection,
        "created_by": entry.created_by,
        "scopes": entry.scopes,
        "refreshable": entry.refreshable,
        "workflows": workflows(&entry.workflows),
        "workflow_count": entry.binding_count,
        "access_expires_at": timestamp(entry.access_expires_at),
        "reauthorize_by": maybe(entry.reauthorize_by),
        "last_used_at": maybe(entry.last_used_at),
        "last_refreshed_at": maybe(entry.last_refreshed_at),
        "reason": entry.status.reason().map(Reason::as_str),
    });
    // Only where there is something to tell: it is no status, and nothing that callers have to know in good times.
    if let Some(since) = entry.undecryptable_since {
        view["undecryptable_since"] = json!(timestamp(since));
    }
    view
}

/// An authorization just completed. Its workflows are left to the list: the function that completes may not read them.
#[must_use]
pub fn authorization(authorization: &Authorization) -> Value {
    entry(&IndexEntry {
        id: authorization.id.clone(),
        user_id: authorization.identity.person.subject.clone(),
        email: authorization.identity.email.clone(),
        provider: authorization.provider.clone(),
        connection: authorization.connection.to_string(),
        created_by: authorization.created_by.subject.clone(),
        created_at: authorization.created_at,
        scopes: authorization.scopes.clone(),
        status: authorization.status,
        binding_count: authorization.binding_count,
        refreshable: authorization.is_refreshable(),
        access_expires_at: authorization.access_expires_at,
        reauthorize_by: authorization.reauthorize_by,
        last_used_at: authorization.last_used_at,
        last_refreshed_at: authorization.last_refreshed_at,
        undecryptable_since: None,
        workflows: Vec::new(),
    })
}

fn name(binding: &Binding) -> Option<&str> {
    binding.name.as_ref().map(WorkflowName::as_str)
}

/// Workflows by id and name.
#[must_use]
pub fn workflows(bindings: &[Binding]) -> Value {
    bindings.iter().map(|b| json!({ "id": b.workflow.as_str(), "name": name(b) })).collect()
}

/// A binding.
#[must_use]
pub fn binding(binding: &Binding) -> Value {
    json!({
        "workflow_id": binding.workflow.as_str(),
        "workflow_name": name(binding),
        "authorization_id": binding.authorization.as_str(),
        "required_scopes": binding.required_scopes,
        "created_at": timestamp(binding.created_at),
    })
}

/// What a replace did.
#[must_use]
pub fn replaced(report: &replace::Report) -> Value {
    let line = |line: &replace::Line| {
        let (outcome, reason, missing) = match &line.outcome {
            replace::Outcome::Moved => ("moved", None, None),
            replace::Outcome::WouldMove => ("would_move", None, None),
            replace::Outcome::Refused { missing } => ("refused", Some("scopes_insufficient"), Some(missing)),
        };
        json!({
            "id": line.binding.workflow.as_str(),
            "name": name(&line.binding),
            "outcome": outcome,
            "reason": reason,
            "missing_scopes": missing.cloned().unwrap_or_default(),
        })
    };
    json!({
        "moved": report.moved,
        "refused": report.refused,
        "remaining": report.remaining,
        "workflows": report.workflows.iter().map(line).collect::<Vec<_>>(),
        "dry_run": report.dry_run,
    })
}

/// What a DELETE would do.
#[must_use]
pub fn forecast(forecast: &revoke::Forecast) -> Value {
    json!({
        "deletable": forecast.deletable,
        "workflows": workflows(&forecast.workflows),
        "workflow_count": forecast.workflow_count,
        "provider_revocation": if forecast.provider_revocation { "supported" } else { "unsupported" },
    })
}

/// A token, for the workflow it belongs to.
#[must_use]
pub fn token(token: &hand_out::Token) -> Value {
    json!({
        "access_token": token.access_token.expose(),
        "token_type": "Bearer",
        "expires_at": timestamp(token.expires_at),
        "expires_in": token.expires_in.whole_seconds(),
        "scope": token.scopes.to_text(),
        "generation": token.generation,
        "degraded": token.degraded,
    })
}

/// What a check found.
#[must_use]
pub fn checked(report: &check::Report) -> Value {
    json!({
        "ok": report.ok,
        "status": report.status.as_str(),
        "checked_at": timestamp(report.checked_at),
        "scopes": report.scopes,
        "missing_scopes": report.missing_scopes,
        "access_expires_at": timestamp(report.access_expires_at),
        "reason": report.reason,
    })
}

/// The redirect URI with these parameters and the caller's `state` added; its own query is kept.
#[must_use]
pub fn return_url(to: &ReturnTo, parameters: &[(&str, &str)]) -> Option<String> {
    let mut url = Url::parse(&to.redirect_uri).ok()?;
    {
        let mut query = url.query_pairs_mut();
        query.extend_pairs(parameters);
        if let Some(state) = &to.state {
            query.append_pair("state", state);
        }
    }
    Some(url.into())
}

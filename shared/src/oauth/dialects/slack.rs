//! Slack: `200` with `ok: false` is an error; a person's token is nested in `authed_user`; its type is `user`, a bot's is `bot`.

use serde_json::{Map, Value};

/// The error code of an answer that is not `ok`.
pub(super) fn error_of(answer: &Map<String, Value>) -> Option<&str> {
    if answer.get("ok") == Some(&Value::Bool(true)) {
        return None;
    }
    match answer.get("error") {
        Some(Value::String(code)) => Some(code),
        // OpenID Connect endpoints of Slack answer without `ok`.
        None if answer.get("ok").is_none() => None,
        _ => Some("unknown_error"),
    }
}

/// The person's token if there is one, else the bot's, under the usual names; and who it is, under names that claims can have.
pub(super) fn standardized(mut answer: Map<String, Value>) -> Map<String, Value> {
    let user = answer.remove("authed_user").and_then(|user| if let Value::Object(user) = user { Some(user) } else { None });
    let team = answer.get("team").and_then(|team| team.get("id")).cloned();
    if let Some(mut user) = user {
        if let Some(id) = user.remove("id") {
            answer.insert("sub".to_owned(), id.clone());
            answer.insert("id".to_owned(), id.clone());
            answer.insert("user_id".to_owned(), id);
        }
        if user.contains_key("access_token") {
            // The bot's members must not stand in for those that the person's token lacks.
            for name in ["access_token", "refresh_token", "expires_in", "scope", "token_type"] {
                answer.remove(name);
            }
            answer.append(&mut user);
        }
    }
    if let Some(team) = team {
        answer.insert("team_id".to_owned(), team);
    }
    if matches!(answer.get("token_type").and_then(Value::as_str), Some("user" | "bot") | None) {
        answer.insert("token_type".to_owned(), "Bearer".into());
    }
    answer
}

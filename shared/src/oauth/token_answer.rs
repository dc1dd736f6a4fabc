//! Answers of token endpoints: judged, then brought into the form of RFC 6749 section 5.1, before anything else reads them.

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::classify::{classify, retry_after};
use super::dialects::{error_of, standardized};
use super::egress::Answer;
use crate::domain::connection::Dialect;
use crate::json;
use crate::ports::provider::ProviderError;

/// No token that is kept here is longer.
const MAX_TOKEN: usize = 16 * 1024;
/// A lifetime beyond this is no lifetime (a hundred years).
const MAX_LIFETIME: f64 = 3_155_760_000.0;

/// The members of a success, each as the RFC has it; everything else is left as it came.
pub(super) fn read(answer: &Answer, dialect: Dialect, now: OffsetDateTime) -> Result<Map<String, Value>, ProviderError> {
    let parsed = json::parse_object(&answer.body).ok();
    let error = parsed.as_ref().and_then(|object| error_of(dialect, object));
    if let Some(error) = classify(answer.status.as_u16(), error, retry_after(&answer.headers, now), dialect) {
        return Err(error);
    }
    let object = parsed.ok_or(ProviderError::AnswerInvalid { why: "it is not a strict JSON object" })?;
    normalized(standardized(dialect, object))
}

pub(super) fn normalized(mut answer: Map<String, Value>) -> Result<Map<String, Value>, ProviderError> {
    let invalid = |why| ProviderError::AnswerInvalid { why };
    if !answer.get("access_token").and_then(Value::as_str).is_some_and(is_token) {
        return Err(invalid("it has no usable access_token"));
    }
    // RFC 6749 section 7.1: a token of a type that is not understood must not be used.
    if !answer.get("token_type").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(invalid("its token_type is not Bearer"));
    }
    answer.insert("token_type".to_owned(), "bearer".into());
    match answer.remove("refresh_token") {
        Some(Value::String(token)) if token.is_empty() => {}
        Some(Value::String(token)) if is_token(&token) => {
            answer.insert("refresh_token".to_owned(), token.into());
        }
        None | Some(Value::Null) => {}
        Some(_) => return Err(invalid("its refresh_token is not usable")),
    }
    if let Some(seconds) = answer.remove("expires_in").as_ref().and_then(lifetime) {
        answer.insert("expires_in".to_owned(), seconds.into());
    }
    if let Some(scope) = answer.remove("scope").as_ref().and_then(scope_text) {
        answer.insert("scope".to_owned(), scope.into());
    }
    Ok(answer)
}

/// Visible characters that fit into a header (RFC 6749 appendix A.12, A.17).
fn is_token(text: &str) -> bool {
    (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(|b| matches!(b, 0x20..=0x7e))
}

/// Seconds, as a number or as text; what makes no sense is not told at all, and the default applies (security item 40).
fn lifetime(value: &Value) -> Option<u64> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') => text.parse().ok()?,
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked, and fractions are cut")]
    (0.0..=MAX_LIFETIME).contains(&seconds).then_some(seconds as u64)
}

/// Scopes as one text; some providers send an array, some commas.
fn scope_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.replace(',', " ")),
        Value::Array(scopes) => scopes.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(|scopes| scopes.join(" ")),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;
    use http::{HeaderMap, StatusCode};
    use serde_json::json;
    use time::macros::datetime;

    fn judged(body: &Value, dialect: Dialect) -> Result<Map<String, Value>, ProviderError> {
        let answer = Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: body.to_string().into_bytes().into() };
        read(&answer, dialect, datetime!(2026-11-22 10:00 UTC))
    }

    #[test]
    fn s40_a_lifetime_is_a_sensible_number_or_untold() {
        for (told, expected) in [
            (json!(3600), json!(3600)),
            (json!(0), json!(0)),
            (json!(3599.9), json!(3599)),
            (json!("3600"), json!(3600)),
            (json!(-1), Value::Null),
            (json!(1e300), Value::Null),
            (json!(u64::MAX), Value::Null),
            (json!("soon"), Value::Null),
            (json!("-5"), Value::Null),
            (json!("1e3"), Value::Null),
            (json!([1]), Value::Null),
            (Value::Null, Value::Null),
        ] {
            let answer = judged(&json!({"access_token": "a", "token_type": "Bearer", "expires_in": told}), Dialect::Standard).unwrap();
            assert_eq!(answer.get("expires_in").unwrap_or(&Value::Null), &expected, "{told}");
        }
    }

    #[test]
    fn s39_only_bearer_is_understood_in_any_case() {
        for (kind, understood) in [("Bearer", true), ("bearer", true), ("BEARER", true), ("mac", false), ("DPoP", false), ("", false)] {
            assert_eq!(judged(&json!({"access_token": "a", "token_type": kind}), Dialect::Standard).is_ok(), understood, "{kind}");
        }
        assert!(judged(&json!({"access_token": "a"}), Dialect::Standard).is_err());
        assert!(judged(&json!({"access_token": "", "token_type": "Bearer"}), Dialect::Standard).is_err());
        assert!(judged(&json!({"access_token": "a\nb", "token_type": "Bearer"}), Dialect::Standard).is_err());
    }

    #[test]
    fn slack_nests_the_persons_token() {
        let answer = judged(
            &json!({"ok": true, "access_token": "xoxb-bot", "token_type": "bot", "scope": "chat:write", "refresh_token": "bot-r", "team": {"id": "T1"},
                    "authed_user": {"id": "U1", "access_token": "xoxp-user", "scope": "search:read,users:read", "token_type": "user", "expires_in": 43200}}),
            Dialect::Slack,
        );
        let answer = answer.unwrap();
        assert_eq!((answer["access_token"].as_str(), answer["scope"].as_str()), (Some("xoxp-user"), Some("search:read users:read")));
        assert_eq!((answer["user_id"].as_str(), answer["team_id"].as_str()), (Some("U1"), Some("T1")));
        assert!(!answer.contains_key("refresh_token"), "the bot's refresh token is not the person's");
        assert!(matches!(
            judged(&json!({"ok": false, "error": "invalid_refresh_token"}), Dialect::Slack),
            Err(ProviderError::InvalidGrant)
        ));
        assert!(matches!(judged(&json!({"ok": false}), Dialect::Slack), Err(ProviderError::Refused { .. })));
    }

    #[test]
    fn a_200_with_an_error_is_an_error() {
        assert!(matches!(
            judged(&json!({"error": "bad_refresh_token", "access_token": "a", "token_type": "bearer"}), Dialect::GitHub),
            Err(ProviderError::InvalidGrant)
        ));
        assert!(matches!(judged(&json!({"error": {"a": 1}}), Dialect::Standard), Err(ProviderError::Refused { .. })));
        assert!(matches!(judged(&json!([]), Dialect::Standard), Err(ProviderError::AnswerInvalid { .. })));
    }
}

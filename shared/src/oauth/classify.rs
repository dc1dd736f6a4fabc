//! From an answer of a token or revocation endpoint to what follows from it (design section 5): the one table.

use http::HeaderMap;
use http::header::RETRY_AFTER;
use time::format_description::well_known::Rfc2822;
use time::{Duration, OffsetDateTime};

use crate::domain::connection::Dialect;
use crate::ports::provider::ProviderError;

/// No error code is longer than this in our logs.
const MAX_CODE: usize = 48;
/// The code of a client that did not prove itself: nothing was consumed, another secret may be tried.
pub(super) const INVALID_CLIENT: &str = "invalid_client";

/// The error of an answer; `None` if it is a success. `error` is the body's OAuth error code, if it has one.
pub(super) fn classify(status: u16, error: Option<&str>, retry_after: Option<Duration>, dialect: Dialect) -> Option<ProviderError> {
    let unavailable = || ProviderError::Unavailable { status: Some(status), retry_after, source: None };
    let meaning = error.map(|code| (meaning(code, dialect), code));
    Some(match (meaning, status) {
        // Refused for good, whatever the status says.
        (Some((Meaning::Grant, _)), _) => ProviderError::InvalidGrant,
        (_, 408 | 429 | 500..) | (Some((Meaning::Passing, _)), _) => unavailable(),
        // A bare 401 is what servers say to Basic credentials that they do not know (RFC 6749 section 5.2).
        (Some((Meaning::Secret, _)), _) | (None, 401) => ProviderError::Misconfigured { code: INVALID_CLIENT.to_owned() },
        (Some((Meaning::Client, code)), _) => ProviderError::Misconfigured { code: clean(code) },
        (Some((Meaning::Request, code)), _) => ProviderError::Refused { code: clean(code) },
        (None, 200..=299) => return None,
        (None, 300..=399) => ProviderError::AnswerInvalid { why: "it is a redirect" },
        // A refusal in no OAuth words comes from something in front of the provider; it may have passed by the next time.
        (None, _) => unavailable(),
    })
}

/// A gateway's word that the provider behind it did not answer, where nobody says when to come again: the request may have been done.
/// 520 and 524 are a common content network's.
pub(super) fn is_unclear(error: &ProviderError) -> bool {
    matches!(error, ProviderError::Unavailable { status: Some(502 | 504 | 520 | 524), retry_after: None, .. })
}

/// Whether the same request with another of the client's secrets may succeed.
pub(super) fn is_wrong_secret(error: &ProviderError) -> bool {
    matches!(error, ProviderError::Misconfigured { code } if code == INVALID_CLIENT)
}

enum Meaning {
    Grant,
    Secret,
    Client,
    Passing,
    Request,
}

fn meaning(code: &str, dialect: Dialect) -> Meaning {
    match (code, dialect) {
        ("invalid_grant", _)
        | ("bad_refresh_token" | "bad_verification_code", Dialect::GitHub)
        | (
            "invalid_refresh_token"
            | "token_revoked"
            | "token_expired"
            | "invalid_code"
            | "code_already_used"
            | "code_expired"
            | "account_inactive",
            Dialect::Slack,
        ) => Meaning::Grant,
        ("invalid_client", _) | ("incorrect_client_credentials", Dialect::GitHub) | ("bad_client_secret", Dialect::Slack) => {
            Meaning::Secret
        }
        ("unauthorized_client" | "unsupported_grant_type" | "redirect_uri_mismatch", _)
        | ("application_suspended", Dialect::GitHub)
        | (
            "invalid_client_id"
            | "bad_redirect_uri"
            | "invalid_team_for_non_distributed_app"
            | "oauth_authorization_url_mismatch"
            | "invalid_grant_type"
            | "no_scopes",
            Dialect::Slack,
        ) => Meaning::Client,
        ("temporarily_unavailable" | "server_error" | "slow_down", _)
        | (
            "ratelimited"
            | "rate_limited"
            | "service_unavailable"
            | "fatal_error"
            | "internal_error"
            | "request_timeout"
            | "team_added_to_org"
            | "org_login_required",
            Dialect::Slack,
        ) => Meaning::Passing,
        _ => Meaning::Request,
    }
}

/// A provider's code as a log may show it: a word like those of the registries (RFC 6749 section 11.4) and dialects, which are lower case
/// with underscores. What looks otherwise is not shown, for a provider may have put into it what it was sent (ASVS 16.2.5, 16.4.1).
fn clean(code: &str) -> String {
    let is_a_word = (1..=MAX_CODE).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if is_a_word { code.to_owned() } else { "unknown_error".to_owned() }
}

/// `Retry-After`, in seconds or as a date (RFC 9110 section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::seconds(seconds.into()));
    }
    let at = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Some((at - now).max(Duration::ZERO))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;
    use time::macros::datetime;

    /// What each answer means is in `tests/refresh_answers.rs`.
    #[test]
    fn a_code_that_is_no_word_is_not_shown_to_anybody() {
        let (long, longer) = ("x".repeat(MAX_CODE), "x".repeat(MAX_CODE + 1));
        for (told, kept) in [
            ("invalid_scope", "invalid_scope"),
            (&long, &long),
            (&longer, "unknown_error"),
            ("x\u{1b}[31m<script>y", "unknown_error"),
            ("rt_0Ab-secret", "unknown_error"),
            ("", "unknown_error"),
        ] {
            let error = classify(400, Some(told), None, Dialect::Standard);
            assert!(matches!(&error, Some(ProviderError::Refused { code }) if code == kept), "{error:?}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = datetime!(2026-11-22 10:00 UTC);
        let told = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]), now);
        assert_eq!(told("120"), Some(Duration::seconds(120)));
        assert_eq!(told("Sun, 22 Nov 2026 10:01:00 GMT"), Some(Duration::minutes(1)));
        assert_eq!(told("Sun, 22 Nov 2026 09:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(told("-5"), None);
        assert_eq!(told("soon"), None);
    }
}

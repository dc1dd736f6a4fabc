//! Names that a caller's `provider_query_params` may not set, because the protocol or this service gives them their meaning
//! (RFC 6749, RFC 7636, RFC 9101, RFC 9126, RFC 9207, OpenID Connect Core section 3.1.2.1).

/// In lower case; see [`is_reserved_parameter`]. `resource` and `audience` are left to callers. `user_scope` asks for scopes at Slack.
const RESERVED_PARAMETERS: &[&str] = &[
    "access_token",
    "assertion",
    "claims",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "connection_id",
    "domain_hint",
    "error",
    "error_description",
    "error_uri",
    "expires_in",
    "grant_type",
    "id_token",
    "id_token_hint",
    "iss",
    "login_hint",
    "max_age",
    "nonce",
    "organization_id",
    "password",
    "prompt",
    "provider",
    "provider_query_params",
    "provider_scopes",
    "redirect_uri",
    "refresh_token",
    "registration",
    "request",
    "request_uri",
    "response_mode",
    "response_type",
    "scope",
    "screen_hint",
    "state",
    "token",
    "token_type",
    "user_scope",
    "username",
];

/// Whether the name is reserved. OAuth compares names exactly; some providers do not, so case is ignored here, and so is a
/// subscript (`state[]`), which some frameworks read as the name before it.
#[must_use]
pub fn is_reserved_parameter(name: &str) -> bool {
    let name = name.split(['[', '.']).next().unwrap_or_default().trim();
    RESERVED_PARAMETERS.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s11_reserved_names_are_refused_in_any_case() {
        for name in ["state", "STATE", "Client_Id", "state[]", "redirect_uri", "code_challenge_method", "request_uri", " nonce"] {
            assert!(is_reserved_parameter(name), "{name}");
        }
        for name in ["audience", "resource", "access_type", "hd", "states", "connection"] {
            assert!(!is_reserved_parameter(name), "{name}");
        }
    }
}

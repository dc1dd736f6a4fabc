//! The one table from error to status, type, code and message (contract section 3).
//!
//! What a caller reads is constant text; what the operator reads is the error's chain, logged once at the edge.

use http::StatusCode;
use http::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::{Map, Value, json};

use crate::domain::caller::Permission;
use crate::domain::directory::SelectorError;
use crate::domain::flow::FlowFailure;
use crate::ports::Unavailable;
use crate::ports::clock::NoRandomness;
use crate::ports::configuration::BearerError;
use crate::ports::provider::ProviderError;
use crate::usecases::assign::AssignError;
use crate::usecases::check::CheckError;
use crate::usecases::complete_flow::CompleteError;
use crate::usecases::create_url::CreateUrlError;
use crate::usecases::hand_out::HandOutError;
use crate::usecases::list::ListError;
use crate::usecases::replace::ReplaceError;
use crate::usecases::revoke::RevokeError;

use super::views;

macro_rules! codes {
    ($($name:ident = $code:literal, $status:ident, $kind:literal, $message:literal;)*) => {
        /// Every code of the contract. One heading each in `docs/errors.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $(#[doc = concat!("`", $code, "`")] $name),* }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code as callers see it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),* }
            }

            fn kind(self) -> &'static str {
                match self { $(Self::$name => $kind),* }
            }

            /// What people read, unless an error says it more exactly.
            #[must_use]
            pub fn message(self) -> &'static str {
                match self { $(Self::$name => $message),* }
            }
        }
    };
}

codes! {
    AccessDenied = "access_denied", FORBIDDEN, "permission_error", "The sign-in was refused.";
    AmbiguousConnectionSelector = "ambiguous_connection_selector", BAD_REQUEST, "invalid_request_error", "This organization has several connections. Name one by 'connection_id'.";
    AuthorizationInUse = "authorization_in_use", CONFLICT, "conflict_error", "Workflows are bound to this authorization.";
    AuthorizationNotActive = "authorization_not_active", CONFLICT, "conflict_error", "This authorization is not active.";
    AuthorizationNotFound = "authorization_not_found", NOT_FOUND, "not_found_error", "There is no such authorization.";
    BodyInvalid = "body_invalid", BAD_REQUEST, "invalid_request_error", "The body must be one JSON object in UTF-8, each field once.";
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "invalid_request_error", "The body must be at most 16 KiB.";
    CodeVerifierInvalid = "code_verifier_invalid", BAD_REQUEST, "invalid_request_error", "The 'code_verifier' does not match the 'code_challenge' of this sign-in.";
    ConnectionInvalid = "connection_invalid", BAD_REQUEST, "invalid_request_error", "There is no such connection.";
    ConnectionMismatch = "connection_mismatch", CONFLICT, "conflict_error", "Both authorizations must be of the same connection.";
    ConnectionStrategyInvalid = "connection_strategy_invalid", BAD_REQUEST, "invalid_request_error", "This provider has several connections. Name one by 'connection_id'.";
    ConnectionUnlinked = "connection_unlinked", BAD_REQUEST, "invalid_request_error", "This connection is unlinked.";
    CursorInvalid = "cursor_invalid", BAD_REQUEST, "invalid_request_error", "The cursor is not valid for this list. Begin again without one.";
    FlowInProgress = "flow_in_progress", CONFLICT, "conflict_error", "This sign-in is being completed right now.";
    FlowNotFound = "flow_not_found", NOT_FOUND, "not_found_error", "There is no such sign-in. It may have expired.";
    IdentityMismatch = "identity_mismatch", CONFLICT, "conflict_error", "Another account signed in than the one of this authorization.";
    IdentityRefused = "identity_refused", FORBIDDEN, "permission_error", "Another account signed in than the one that asked for this sign-in.";
    InsufficientScope = "insufficient_scope", FORBIDDEN, "permission_error", "The token does not hold the scope that this request needs.";
    InternalError = "internal_error", INTERNAL_SERVER_ERROR, "api_error", "Something went wrong on our side.";
    InvalidConnectionSelector = "invalid_connection_selector", BAD_REQUEST, "invalid_request_error", "Name at most one of 'connection_id', 'organization_id' and 'provider', and none empty. Without one a default connection must be configured.";
    InvalidRedirectUri = "invalid_redirect_uri", BAD_REQUEST, "invalid_request_error", "The 'redirect_uri' is not registered.";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "invalid_request_error", "This path does not take that method.";
    NeedsReauthorization = "needs_reauthorization", CONFLICT, "conflict_error", "This authorization no longer works. A person must sign in again.";
    OauthFailed = "oauth_failed", BAD_REQUEST, "provider_error", "The sign-in provider refused.";
    OauthUnavailable = "oauth_failed", BAD_GATEWAY, "provider_error", "The sign-in provider did not answer as it should.";
    OrganizationInvalid = "organization_invalid", BAD_REQUEST, "invalid_request_error", "There is no such organization.";
    OrganizationMismatch = "organization_mismatch", FORBIDDEN, "permission_error", "The account that signed in belongs to another organization.";
    OrganizationRequired = "organization_required", FORBIDDEN, "permission_error", "The token does not name an organization.";
    ParameterInvalid = "parameter_invalid", BAD_REQUEST, "invalid_request_error", "A parameter is not valid.";
    ParameterMissing = "parameter_missing", BAD_REQUEST, "invalid_request_error", "A required parameter is missing.";
    ParameterReserved = "parameter_reserved", BAD_REQUEST, "invalid_request_error", "A parameter is set by this service.";
    ParameterUnknown = "parameter_unknown", BAD_REQUEST, "invalid_request_error", "A parameter is not known.";
    ProviderUnavailable = "provider_unavailable", SERVICE_UNAVAILABLE, "provider_error", "The sign-in provider cannot be reached. Try again later.";
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "rate_limit_error", "Too many requests. Try again later.";
    RouteNotFound = "route_not_found", NOT_FOUND, "not_found_error", "There is no such path.";
    ScopesInsufficient = "scopes_insufficient", CONFLICT, "conflict_error", "The authorization does not hold every scope that the workflow requires.";
    ServerError = "server_error", SERVICE_UNAVAILABLE, "api_error", "Something went wrong while signing in.";
    StateInvalid = "state_invalid", BAD_REQUEST, "invalid_request_error", "This sign-in link is not valid.";
    StoreUnavailable = "store_unavailable", SERVICE_UNAVAILABLE, "api_error", "The service cannot answer right now. Try again later.";
    Unauthorized = "unauthorized", UNAUTHORIZED, "authentication_error", "A valid bearer token is required.";
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "invalid_request_error", "The body must be application/json.";
    WorkflowClaimMismatch = "workflow_claim_mismatch", FORBIDDEN, "permission_error", "This token is for another workflow.";
    WorkflowNotBound = "workflow_not_bound", NOT_FOUND, "not_found_error", "The workflow is not bound to this authorization.";
    WriteConflict = "write_conflict", CONFLICT, "conflict_error", "Somebody changed this at the same time. Try again.";
}

/// An error as a caller will see it, and its cause as the operator will.
#[derive(Debug)]
pub struct ApiError {
    code: Code,
    message: Option<String>,
    fields: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log; never for the caller.
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl From<Code> for ApiError {
    fn from(code: Code) -> Self {
        Self { code, message: None, fields: Map::new(), headers: Vec::new(), cause: None }
    }
}

impl ApiError {
    /// The parameter is required.
    #[must_use]
    pub fn missing(name: &str) -> Self {
        Self::from(Code::ParameterMissing).about(name, format!("The '{name}' parameter is required for this request."))
    }

    /// The parameter breaks a rule, said in words that follow "must".
    #[must_use]
    pub fn invalid(name: &str, must: &str) -> Self {
        Self::from(Code::ParameterInvalid).about(name, format!("The '{name}' parameter must {must}."))
    }

    /// The parameter is not known. Its name is the caller's own text: it is shown only if it is plain.
    #[must_use]
    pub fn unknown(name: &str) -> Self {
        Self::named(Code::ParameterUnknown, name, "is not known")
    }

    /// The parameter is reserved.
    #[must_use]
    pub fn reserved(name: &str) -> Self {
        Self::named(Code::ParameterReserved, name, "is set by this service")
    }

    /// No token, or one that is refused (RFC 6750 section 3).
    #[must_use]
    pub fn unauthorized(had_token: bool) -> Self {
        let challenge = if had_token { "Bearer realm=\"mandate\", error=\"invalid_token\"" } else { "Bearer realm=\"mandate\"" };
        Self::from(Code::Unauthorized).header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    /// The token lacks the permission (RFC 6750 section 3.1).
    #[must_use]
    pub fn insufficient_scope(permission: Permission) -> Self {
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", permission.scope());
        let value = HeaderValue::try_from(challenge).unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
        Self::from(Code::InsufficientScope).header(WWW_AUTHENTICATE, value)
    }

    /// The path has other methods.
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::from(Code::MethodNotAllowed).header(ALLOW, HeaderValue::from_static(allow))
    }

    fn named(code: Code, name: &str, what: &str) -> Self {
        let plain = (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if plain { Self::from(code).about(name, format!("The '{name}' parameter {what}.")) } else { code.into() }
    }

    fn about(mut self, name: &str, message: String) -> Self {
        self.message = Some(message);
        self.field("param", json!(name))
    }

    /// Adds a field to the body.
    #[must_use]
    pub fn field(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Asks the caller to wait.
    #[must_use]
    pub fn retry_after(self, wait: time::Duration) -> Self {
        let seconds = u64::try_from(wait.whole_seconds()).unwrap_or(1).max(1);
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// What is for the operator only.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|c| c.as_ref() as _)
    }

    /// Headers that belong to the answer.
    #[must_use]
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// The body: all four fields always, further ones after them.
    #[must_use]
    pub fn body(&self, doc_base: &str) -> Value {
        let mut body = Map::new();
        body.insert("type".to_owned(), json!(self.code.kind()));
        body.insert("code".to_owned(), json!(self.code.as_str()));
        body.insert("message".to_owned(), json!(self.message.as_deref().unwrap_or_else(|| self.code.message())));
        body.insert("doc_url".to_owned(), json!(format!("{doc_base}{}", self.code.as_str())));
        body.extend(self.fields.clone());
        Value::Object(body)
    }
}

impl From<Unavailable> for ApiError {
    fn from(error: Unavailable) -> Self {
        if error.source.is::<NoRandomness>() {
            return Self::from(Code::InternalError).because(error);
        }
        let wait = time::Duration::try_from(crate::ports::RETRY_AFTER).unwrap_or(time::Duration::SECOND);
        Self::from(Code::StoreUnavailable).retry_after(wait).because(error)
    }
}

impl From<BearerError> for ApiError {
    fn from(error: BearerError) -> Self {
        match error {
            BearerError::Unavailable(unavailable) => unavailable.into(),
            refused @ BearerError::Refused { .. } => Self::unauthorized(true).because(refused),
        }
    }
}

impl From<ProviderError> for ApiError {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Ours(unavailable) => unavailable.into(),
            ProviderError::Unavailable { retry_after, .. } => {
                Self::from(Code::ProviderUnavailable).retry_after(retry_after.unwrap_or(time::Duration::seconds(5))).because(error)
            }
            ProviderError::AnswerLost { .. } => {
                Self::from(Code::ProviderUnavailable).retry_after(time::Duration::seconds(5)).because(error)
            }
            ProviderError::InvalidGrant
            | ProviderError::Refused { .. }
            | ProviderError::Misconfigured { .. }
            | ProviderError::AnswerInvalid { .. }
            | ProviderError::IdentityInvalid { .. }
            | ProviderError::IdentityChanged => Self::from(Code::OauthUnavailable).because(error),
        }
    }
}

/// The code of a selector error.
#[must_use]
pub fn selector_code(error: SelectorError) -> Code {
    match error {
        SelectorError::InvalidSelector => Code::InvalidConnectionSelector,
        SelectorError::ConnectionInvalid => Code::ConnectionInvalid,
        SelectorError::ConnectionUnlinked => Code::ConnectionUnlinked,
        SelectorError::StrategyInvalid => Code::ConnectionStrategyInvalid,
        SelectorError::Ambiguous => Code::AmbiguousConnectionSelector,
        SelectorError::OrganizationInvalid => Code::OrganizationInvalid,
    }
}

/// The code of a failed flow, for the completing caller and, in part, for the browser.
#[must_use]
pub fn flow_code(failure: FlowFailure) -> Code {
    match failure {
        FlowFailure::AccessDenied => Code::AccessDenied,
        FlowFailure::ProviderRefused => Code::OauthFailed,
        FlowFailure::ProviderUnavailable | FlowFailure::ProviderAnswerInvalid => Code::OauthUnavailable,
        FlowFailure::IdentityRefused => Code::IdentityRefused,
        FlowFailure::OrganizationMismatch => Code::OrganizationMismatch,
        FlowFailure::IdentityMismatch => Code::IdentityMismatch,
        FlowFailure::ConnectionMismatch => Code::ConnectionMismatch,
        FlowFailure::ScopesInsufficient => Code::ScopesInsufficient,
        FlowFailure::AuthorizationNotFound => Code::AuthorizationNotFound,
        FlowFailure::Internal => Code::ServerError,
    }
}

impl From<CreateUrlError> for ApiError {
    fn from(error: CreateUrlError) -> Self {
        match error {
            CreateUrlError::RedirectUri => Code::InvalidRedirectUri.into(),
            CreateUrlError::Selector { error, return_to } => {
                let code = selector_code(error);
                let refusal = Self::from(code);
                match return_to.and_then(|to| views::return_url(&to, &[("error", code.as_str()), ("error_description", code.message())])) {
                    Some(url) => refusal.field("url", json!(url)),
                    None => refusal,
                }
            }
            CreateUrlError::Scopes => Self::invalid("provider_scopes", "name scopes that the connection allows"),
            CreateUrlError::ScreenHint => Self::invalid("screen_hint", "be used with the provider authkit only"),
            CreateUrlError::Provider(provider) => provider.into(),
            CreateUrlError::Unavailable(unavailable) => unavailable.into(),
        }
    }
}

impl From<CompleteError> for ApiError {
    fn from(error: CompleteError) -> Self {
        match error {
            CompleteError::NotFound => Code::FlowNotFound.into(),
            CompleteError::CodeVerifier => Code::CodeVerifierInvalid.into(),
            CompleteError::InProgress => Self::from(Code::FlowInProgress).retry_after(time::Duration::SECOND),
            CompleteError::Failed(failure) => {
                let refusal = Self::from(flow_code(failure));
                if refusal.status() == StatusCode::SERVICE_UNAVAILABLE { refusal.retry_after(time::Duration::seconds(2)) } else { refusal }
            }
            CompleteError::Provider(provider) => match Self::from(provider) {
                ours if ours.code == Code::StoreUnavailable => ours,
                theirs => Self { code: Code::OauthUnavailable, ..theirs },
            },
            CompleteError::Unavailable(unavailable) => unavailable.into(),
        }
    }
}

impl From<ListError> for ApiError {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Cursor => Code::CursorInvalid.into(),
            ListError::Unavailable(unavailable) => unavailable.into(),
        }
    }
}

impl From<AssignError> for ApiError {
    fn from(error: AssignError) -> Self {
        match error {
            AssignError::AuthorizationNotFound => Code::AuthorizationNotFound.into(),
            AssignError::NotActive => Code::AuthorizationNotActive.into(),
            AssignError::ScopesInsufficient { missing } => Self::from(Code::ScopesInsufficient).field("missing_scopes", json!(missing)),
            AssignError::NotBound => Code::WorkflowNotBound.into(),
            AssignError::Conflict => Self::from(Code::WriteConflict).retry_after(time::Duration::SECOND),
            AssignError::Unavailable(unavailable) => unavailable.into(),
        }
    }
}

impl From<ReplaceError> for ApiError {
    fn from(error: ReplaceError) -> Self {
        match error {
            ReplaceError::NotFound => Code::AuthorizationNotFound.into(),
            ReplaceError::NotActive => Code::AuthorizationNotActive.into(),
            ReplaceError::ConnectionMismatch => Code::ConnectionMismatch.into(),
            ReplaceError::Same => Self::invalid("authorization_id", "name another authorization than the path"),
            ReplaceError::Conflict => Self::from(Code::WriteConflict).retry_after(time::Duration::SECOND),
            ReplaceError::Unavailable(unavailable) => unavailable.into(),
        }
    }
}

impl From<RevokeError> for ApiError {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::NotFound => Code::AuthorizationNotFound.into(),
            RevokeError::InUse { workflows, workflow_count } => Self::from(Code::AuthorizationInUse)
                .field("workflows", views::workflows(&workflows))
                .field("workflow_count", json!(workflow_count)),
            RevokeError::Unavailable(unavailable) => unavailable.into(),
        }
    }
}

impl From<HandOutError> for ApiError {
    fn from(error: HandOutError) -> Self {
        match error {
            HandOutError::NotBound => Code::WorkflowNotBound.into(),
            HandOutError::OtherWorkflow => Code::WorkflowClaimMismatch.into(),
            HandOutError::NeedsReauthorization(reason) => Self::from(Code::NeedsReauthorization).field("reason", json!(reason.as_str())),
            HandOutError::ProviderUnavailable { retry_after } => Self::from(Code::ProviderUnavailable).retry_after(retry_after),
            HandOutError::Unavailable(unavailable) => unavailable.into(),
            HandOutError::Cipher(cipher) => Self::from(Code::InternalError).because(cipher),
        }
    }
}

impl From<CheckError> for ApiError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::NotFound => Code::AuthorizationNotFound.into(),
            CheckError::Unavailable(unavailable) => unavailable.into(),
            CheckError::Cipher(cipher) => Self::from(Code::InternalError).because(cipher),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_heading_in_the_docs() {
        let page = include_str!("../../../docs/errors.md");
        for code in Code::ALL {
            assert!(
                page.lines().any(|line| line == format!("## {}", code.as_str())),
                "docs/errors.md has no heading for {}",
                code.as_str()
            );
        }
    }

    #[test]
    fn a_body_has_all_four_fields() {
        let body = ApiError::missing("code").body("https://example.com/errors/");
        assert_eq!(
            body.to_string(),
            r#"{"code":"parameter_missing","doc_url":"https://example.com/errors/parameter_missing","message":"The 'code' parameter is required for this request.","param":"code","type":"invalid_request_error"}"#
        );
    }
}

//! A flow: one sign-in, from the URL to the stored authorization. It travels sealed in the `state` parameter and is written
//! nowhere until it is completed (design section 3).

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::caller::{Caller, Person};
use super::ids::{AuthorizationId, ConnectionId, FlowId, OrganizationId};
use super::scopes::Scopes;
use super::secret::Secret;

/// How long a sign-in URL lives (contract section 4; ASVS 10.4.3).
pub const URL_LIFETIME: Duration = Duration::minutes(10);
/// How long a completion code lives (contract section 6.2).
pub const CODE_LIFETIME: Duration = Duration::minutes(5);
/// For how long a finished flow answers its outcome again (contract section 6.2), and its item is kept.
pub const OUTCOME_LIFETIME: Duration = Duration::minutes(10);

/// What the sealed `state` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Flow {
    /// Unique and guess-proof; the PKCE verifier and the nonce are derived from it.
    pub id: FlowId,
    /// The organization that the authorization will belong to.
    pub organization: OrganizationId,
    /// Who began the flow.
    pub initiator: Person,
    /// Their verified e-mail, to compare identities of another issuer with.
    pub initiator_email: Option<String>,
    /// The connection; the callback's path must name the same.
    pub connection: ConnectionId,
    /// Where the browser goes afterwards; direct mode if absent.
    pub return_to: Option<ReturnTo>,
    /// What was asked of the provider.
    pub scopes: Scopes,
    /// The authorization to renew, if the flow is a re-authorization.
    pub reauthorize: Option<AuthorizationId>,
    /// When the URL ends, in Unix seconds.
    pub expires_at: i64,
}

/// Where the browser goes after sign-in, and with what (redirect mode).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReturnTo {
    /// A registered redirect URI in canonical form.
    pub redirect_uri: String,
    /// The caller's own `state`.
    pub state: Option<String>,
    /// The caller's own PKCE challenge, S256 (RFC 7636 section 4.3).
    pub code_challenge: Option<String>,
}

impl Flow {
    /// Whether the URL has ended.
    #[must_use]
    pub fn is_expired(&self, now: OffsetDateTime) -> bool {
        now.unix_timestamp() >= self.expires_at
    }

    /// Whether this caller began the flow.
    #[must_use]
    pub fn was_begun_by(&self, caller: &Caller) -> bool {
        self.initiator == caller.person && self.organization == caller.organization
    }
}

/// What both the authorization request and the token request of a flow need. Derived, never stored.
#[derive(Debug)]
pub struct FlowSecrets {
    /// The PKCE verifier towards the provider: 43 characters, 256 bits (RFC 7636 section 4.1).
    pub code_verifier: Secret,
    /// The nonce of the `id_token` (OpenID Connect Core section 3.1.2.1).
    pub nonce: Secret,
}

/// The completion code of redirect mode, opened: the flow with the provider's answer.
#[derive(Debug)]
pub struct Completion {
    /// The flow.
    pub flow: Flow,
    /// The provider's authorization code, not yet redeemed.
    pub provider_code: Secret,
    /// When the completion code ends, in Unix seconds.
    pub expires_at: i64,
}

/// How a flow ended. Kept for [`OUTCOME_LIFETIME`], so that a reload shows the same and starts nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowOutcome {
    /// The authorization was stored.
    Stored(AuthorizationId),
    /// It was not, for this reason.
    Failed(FlowFailure),
}

/// Why a flow ended without an authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowFailure {
    /// The person or the provider refused.
    AccessDenied,
    /// The provider refused the code, or answered with another OAuth error.
    ProviderRefused,
    /// The provider was unreachable, or its answer was lost: the code may be spent, so it is not sent again.
    ProviderUnavailable,
    /// The provider's answer made no sense, or its `id_token` did not hold.
    ProviderAnswerInvalid,
    /// Somebody else signed in than the flow allows.
    IdentityRefused,
    /// The identity belongs to another organization.
    OrganizationMismatch,
    /// Not the identity of the authorization that was to be renewed.
    IdentityMismatch,
    /// The authorization that was to be renewed came by another connection.
    ConnectionMismatch,
    /// The new grant lacks scopes that bound workflows require.
    ScopesInsufficient,
    /// The authorization that was to be renewed is gone.
    AuthorizationNotFound,
    /// Something of ours failed after the code was spent.
    Internal,
}

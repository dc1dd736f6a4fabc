//! Security signals: what does not happen in honest use, or only now and then. Each is a line of the log that counts one of the
//! metric `security_signals`, so that an alarm can be set on their number (RFC 9700 section 4.14). Tokens that do not open are counted
//! where they are noticed, as a metric of their own.

use super::Call;

/// What was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A callback that cannot be trusted: its state is missing, altered, expired, or its sign-in is not possible any more.
    CallbackUntrusted,
    /// A state came back that has been used. A person who reloads the page does that, too.
    StateReused,
    /// Somebody other than the person who began a sign-in came to its end, or at another connection.
    BindingMismatch,
    /// The issuer of an authorization response is not the one that was asked (RFC 9207).
    IssuerMismatch,
    /// The provider refuses a refresh token that is still the stored one: somebody may have used a copy of it.
    RefreshTokenRefused,
    /// A refresh told of scopes that the person did not grant.
    RefreshScopeGrowth,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::CallbackUntrusted,
        Self::StateReused,
        Self::BindingMismatch,
        Self::IssuerMismatch,
        Self::RefreshTokenRefused,
        Self::RefreshScopeGrowth,
    ];

    /// Its name in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallbackUntrusted => "callback_untrusted",
            Self::StateReused => "state_reused",
            Self::BindingMismatch => "binding_mismatch",
            Self::IssuerMismatch => "issuer_mismatch",
            Self::RefreshTokenRefused => "refresh_token_refused",
            Self::RefreshScopeGrowth => "refresh_scope_growth",
        }
    }

    /// Tells of it; `why` holds nothing that anybody outside has written.
    pub fn raise(self, call: &Call, why: &str) {
        tracing::warn!(metric = "security_signals", signal = self.as_str(), why, request_id = call.request_id.as_str(), "security signal");
    }
}

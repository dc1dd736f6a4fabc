//! The authorization: stored delegated access, its states and its transitions.
//!
//! `active → (leased) → active` at version + 1, or `needs_reauthorization`; `active | needs_reauthorization → revoking → gone`.

use std::collections::BTreeMap;

use time::{Duration, OffsetDateTime};

use super::caller::Person;
use super::connection::Connection;
use super::ids::{AuthorizationId, ConnectionId, OrganizationId};
use super::schedule::{self, Life, NOTED_EVERY};
use super::scopes::Scopes;

/// For how long a deleted id still answers `204` to a repeated DELETE (contract section 8).
pub const TOMBSTONE_LIFETIME: Duration = Duration::days(30);
/// For how long the provider is asked again to revoke, before the record goes without its word (contract section 8).
pub const REVOCATION_PATIENCE: Duration = Duration::days(7);

const NEEDS_REAUTHORIZATION: &str = "needs_reauthorization";

/// One authorization as the table keeps it.
#[derive(Debug, Clone)]
pub struct Authorization {
    /// `auth_…`
    pub id: AuthorizationId,
    /// The tenant.
    pub organization: OrganizationId,
    /// The connection it came by.
    pub connection: ConnectionId,
    /// The connection's provider name.
    pub provider: String,
    /// Who signed in at the provider.
    pub identity: Identity,
    /// Who asked for it.
    pub created_by: Person,
    /// When it was first stored.
    pub created_at: OffsetDateTime,
    /// When the person last signed in: an absolute refresh-token lifetime counts from here.
    pub authorized_at: OffsetDateTime,
    /// What the provider granted.
    pub scopes: Scopes,
    /// Where it stands.
    pub status: Status,
    /// The fencing number: every change of credential or status raises it (I4).
    pub version: u64,
    /// Numbers the access tokens; part of what their ciphertext is bound to (I8).
    pub generation: u64,
    /// How many workflows are bound (I3).
    pub binding_count: u64,
    /// How many bindings require each scope.
    pub required_scopes: BTreeMap<String, u64>,
    /// When the access token ends.
    pub access_expires_at: OffsetDateTime,
    /// How long the access token was given for; the fallback for the next one.
    pub access_lifetime: Duration,
    /// When a person has to sign in again, as far as it is known.
    pub reauthorize_by: Option<OffsetDateTime>,
    /// When a token was last handed out, to the hour.
    pub last_used_at: Option<OffsetDateTime>,
    /// When the access token was last renewed.
    pub last_refreshed_at: Option<OffsetDateTime>,
    /// Who is refreshing it.
    pub lease: Option<Lease>,
    /// Since when the fate of the stored refresh token has been unknown: an answer was lost or a process died while asking.
    pub outcome_unknown_since: Option<OffsetDateTime>,
    /// Refreshes that failed in passing since the last success.
    pub failed_attempts: u32,
    /// The sealed tokens; absent once they are destroyed.
    pub credential: Option<SealedCredential>,
    /// When it was revoked here.
    pub revoked_at: Option<OffsetDateTime>,
    /// When the schedule looks at it next; absent if there is nothing to do.
    pub due_at: Option<OffsetDateTime>,
    /// Changes of its status that may not have been announced, the oldest first. While there is one, the record is due.
    pub unannounced: Vec<StatusChange>,
}

/// A change of status, from its commit on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusChange {
    /// What it was, in the contract's word.
    pub from: &'static str,
    /// What it is since.
    pub to: Status,
    /// The record's version since.
    pub version: u64,
    /// When.
    pub at: OffsetDateTime,
}

/// Who signed in at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// (`iss`, `sub`) at the provider.
    pub person: Person,
    /// The e-mail the provider vouches for, at most 320 characters.
    pub email: Option<String>,
    /// Whether the provider says the e-mail is verified.
    pub email_verified: bool,
    /// The organization the provider names, where the connection maps a claim to it.
    pub organization: Option<String>,
}

/// Where an authorization stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Usable.
    Active,
    /// A person has to sign in again.
    NeedsReauthorization(Reason),
    /// Revoked here; the provider is still to be told.
    Revoking,
    /// Gone: a tombstone that answers repeated DELETEs.
    Deleted,
}

/// Why a person has to sign in again (contract section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The provider refused the refresh token.
    InvalidGrant,
    /// The refresh token outlived its configured lifetime.
    RefreshTokenExpired,
    /// There never was one, and the access token ended.
    NoRefreshToken,
    /// An answer of the provider was lost, and the old refresh token no longer works.
    OutcomeUnknown,
    /// The provider answered for another identity.
    IdentityRevoked,
}

impl Status {
    /// The contract's word; a tombstone has none.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::NeedsReauthorization(_) => NEEDS_REAUTHORIZATION,
            Self::Revoking => "revoking",
            Self::Deleted => "deleted",
        }
    }

    /// The contract's word for the reason, if the status has one.
    #[must_use]
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::NeedsReauthorization(reason) => Some(reason),
            Self::Active | Self::Revoking | Self::Deleted => None,
        }
    }
}

impl StatusChange {
    /// A person has to sign in again.
    #[must_use]
    pub fn ended(reason: Reason, version: u64, at: OffsetDateTime) -> Self {
        Self { from: Status::Active.as_str(), to: Status::NeedsReauthorization(reason), version, at }
    }

    /// What had ended works again.
    #[must_use]
    pub fn revived(version: u64, at: OffsetDateTime) -> Self {
        Self { from: NEEDS_REAUTHORIZATION, to: Status::Active, version, at }
    }

    /// It was revoked, from whichever of the two.
    #[must_use]
    pub fn revoked(from: &str, version: u64, at: OffsetDateTime) -> Self {
        let from = if from == NEEDS_REAUTHORIZATION { NEEDS_REAUTHORIZATION } else { Status::Active.as_str() };
        Self { from, to: Status::Revoking, version, at }
    }
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::InvalidGrant, Self::RefreshTokenExpired, Self::NoRefreshToken, Self::OutcomeUnknown, Self::IdentityRevoked];

    /// The contract's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidGrant => "invalid_grant",
            Self::RefreshTokenExpired => "refresh_token_expired",
            Self::NoRefreshToken => "no_refresh_token",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::IdentityRevoked => "identity_revoked",
        }
    }
}

/// The right to refresh, for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// A random name of the attempt.
    pub owner: String,
    /// When the right ends by itself.
    pub until: OffsetDateTime,
}

/// The tokens as ciphertext (I2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedCredential {
    /// The access token; absent in a record that is only kept to be revoked.
    pub access: Option<Vec<u8>>,
    /// The refresh token, if the provider gave one.
    pub refresh: Option<Vec<u8>>,
}

/// What a provider's answer says about the life of a new access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessLifetime {
    /// When the request was sent: lifetimes count from here, never from the answer.
    pub requested_at: OffsetDateTime,
    /// How long the token lives.
    pub lifetime: Duration,
}

impl AccessLifetime {
    /// `expires_in` or the token's own `exp`, bounded to a year, so that no provider's number overflows a date; else the connection's
    /// default. That one is the operator's word, for tokens that never end, too.
    #[must_use]
    pub fn of(requested_at: OffsetDateTime, told: Option<Duration>, connection: &Connection) -> Self {
        let default = Duration::try_from(connection.default_access_lifetime).unwrap_or(Duration::HOUR);
        let told = told.map(|told| told.clamp(Duration::ZERO, Duration::days(366)));
        let lifetime = told.unwrap_or(default);
        Self { requested_at, lifetime }
    }

    /// When the token ends.
    #[must_use]
    pub fn expires_at(self) -> OffsetDateTime {
        self.requested_at.saturating_add(self.lifetime)
    }
}

impl Authorization {
    /// Whether there is a refresh token.
    #[must_use]
    pub fn is_refreshable(&self) -> bool {
        self.credential.as_ref().is_some_and(|c| c.refresh.is_some())
    }

    /// Whether somebody is refreshing it at this moment.
    #[must_use]
    pub fn is_leased(&self, now: OffsetDateTime) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.until > now)
    }

    /// Whether the access token lives for at least `min_ttl` more.
    #[must_use]
    pub fn is_fresh(&self, now: OffsetDateTime, min_ttl: Duration) -> bool {
        self.access_expires_at >= now.saturating_add(min_ttl) && self.access_expires_at > now
    }

    /// When the access token was asked for.
    #[must_use]
    pub fn issued_at(&self) -> OffsetDateTime {
        self.access_expires_at.saturating_sub(self.access_lifetime)
    }

    /// Whether a use of this very access token was noted within [`NOTED_EVERY`].
    #[must_use]
    pub fn use_is_noted(&self, now: OffsetDateTime) -> bool {
        self.last_used_at.is_some_and(|noted| noted >= self.issued_at() && now < noted.saturating_add(NOTED_EVERY))
    }

    /// When its credential alone makes it due, as long as no try to renew it has failed.
    #[must_use]
    pub fn credential_due(&self, connection: &Connection) -> OffsetDateTime {
        let refreshed_at = self.issued_at();
        let life = Life {
            authorized_at: self.authorized_at,
            refreshed_at,
            access_expires_at: self.access_expires_at,
            handed_out: self.last_used_at.is_some_and(|used| used >= refreshed_at),
            refreshable: self.is_refreshable(),
        };
        schedule::next_due(&self.id, connection, life)
    }

    /// When it is due that is otherwise to be looked at by then: earlier, if it has something to be announced. What goes well with it, however
    /// often, puts the announcement off no further.
    #[must_use]
    pub fn due_by(&self, otherwise: OffsetDateTime, now: OffsetDateTime) -> OffsetDateTime {
        self.unannounced.first().map_or(otherwise, |oldest| schedule::announced_by(&self.id, oldest.at, now).min(otherwise))
    }

    /// The same after something has failed, the announcement or another thing: neither is tried all the time because of the other.
    #[must_use]
    pub fn due_again(&self, otherwise: Option<OffsetDateTime>, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let news = self.unannounced.first().map(|oldest| schedule::announce_again(&self.id, oldest.at, now));
        [news, otherwise].into_iter().flatten().min()
    }

    /// The scopes that bound workflows require.
    #[must_use]
    pub fn required(&self) -> Scopes {
        self.required_scopes
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(s, _)| s.clone())
            .collect::<Vec<_>>()
            .try_into()
            .unwrap_or_default()
    }
}

/// When the refresh token ends unless it is used before, as the connection's configuration forecasts it. Without a refresh
/// token it is the access token's end.
#[must_use]
pub fn reauthorize_by(
    connection: &Connection,
    authorized_at: OffsetDateTime,
    refreshed_at: OffsetDateTime,
    access_expires_at: OffsetDateTime,
    refreshable: bool,
) -> Option<OffsetDateTime> {
    if !refreshable {
        return Some(access_expires_at);
    }
    let end = |from: OffsetDateTime, lifetime: Option<std::time::Duration>| {
        lifetime.and_then(|l| Duration::try_from(l).ok()).map(|l| from.saturating_add(l))
    };
    let idle = end(refreshed_at, connection.refresh_idle_lifetime);
    let absolute = end(authorized_at, connection.refresh_absolute_lifetime);
    [idle, absolute].into_iter().flatten().min()
}

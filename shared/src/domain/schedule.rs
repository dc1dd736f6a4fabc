//! When an authorization is looked at by the schedule (design section 5, "What gets refreshed").

use time::{Duration, OffsetDateTime};

use super::connection::Connection;
use super::fnv::fnv;
use super::ids::AuthorizationId;

/// How many shards the due index has. Rules divide them among runs; the number is part of the table's format.
pub const SHARDS: u32 = 32;
/// An access token in use is renewed this long before its end, so that workflows find it fresh: the minute that a hand-out asks for
/// unless told otherwise, and the minute until the next scheduled run. More would be waste: a minute of it is one refresh in sixty.
const MARGIN: Duration = Duration::minutes(2);
/// How often the use of one access token is noted: a write on every hand-out would cost more than the hand-out. The first hand-out
/// of a token is always noted, for it decides whether the token is renewed ahead of time.
pub const NOTED_EVERY: Duration = Duration::HOUR;
/// An unused refresh token is used at least this often.
const KEEP_ALIVE_AT_MOST: Duration = Duration::days(15);
/// So long before the end of a refresh token people are told.
const WARNING: Duration = Duration::days(7);
/// A branch key seals for so long, then the schedule makes the next one.
pub const BRANCH_KEY_SEALS_FOR: Duration = Duration::days(90);
/// A record whose ciphertext does not open is looked at again after so long: what broke it may have been mended.
pub const UNDECRYPTABLE_AGAIN: Duration = Duration::DAY;
/// Whoever changes a status has announced it after so long, or has died.
const ANNOUNCED_WITHIN: Duration = Duration::minutes(1);
/// A bus that is down is asked at least this often.
const ANNOUNCED_AGAIN_WITHIN: Duration = Duration::HOUR;
/// What waited for a connection to thaw does not come all at once.
const AFTER_FREEZE: Duration = Duration::seconds(30);

/// The shard of an authorization: FNV-1a over its id, the same for ever.
#[must_use]
pub fn shard(id: &AuthorizationId) -> u32 {
    u32::try_from(fnv(id.as_str().as_bytes()) % u64::from(SHARDS)).unwrap_or(0)
}

/// What the next due time depends on.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    /// When the person last signed in.
    pub authorized_at: OffsetDateTime,
    /// When the credential was stored.
    pub refreshed_at: OffsetDateTime,
    /// When its access token ends.
    pub access_expires_at: OffsetDateTime,
    /// Whether this very access token is handed out at once.
    pub handed_out: bool,
    /// Whether there is a refresh token.
    pub refreshable: bool,
}

/// When the schedule looks at an authorization next, told when its credential is stored. If the new access token is handed out at
/// once: shortly before it ends. Otherwise: often enough to keep the refresh token alive; its first hand-out puts that forward
/// ([`ahead_of`]), so a token that nobody came for is never renewed ahead of time. Without a refresh token: when the access token
/// ends, to tell that a person is needed.
#[must_use]
pub fn next_due(id: &AuthorizationId, connection: &Connection, life: Life) -> OffsetDateTime {
    if !life.refreshable {
        return life.access_expires_at;
    }
    let due = if life.handed_out {
        ahead_of(id, life.refreshed_at, life.access_expires_at)
    } else {
        keep_alive(id, connection, life.refreshed_at)
    };
    match warn_at(connection, life.authorized_at) {
        Some(warn_at) if warn_at > life.refreshed_at => due.min(warn_at),
        _ => due,
    }
}

/// When people are told that a refresh token will end however often it is renewed: [`WARNING`] before its absolute end, or
/// when a quarter of its life remains.
#[must_use]
pub fn warn_at(connection: &Connection, authorized_at: OffsetDateTime) -> Option<OffsetDateTime> {
    let lifetime = Duration::try_from(connection.refresh_absolute_lifetime?).ok()?;
    Some(authorized_at.saturating_add(lifetime - WARNING.min(lifetime / 4)))
}

/// Shortly before the end of an access token in use; for short tokens, after half of their life.
#[must_use]
pub fn ahead_of(id: &AuthorizationId, refreshed_at: OffsetDateTime, access_expires_at: OffsetDateTime) -> OffsetDateTime {
    let lifetime = access_expires_at - refreshed_at;
    let margin = MARGIN.min(lifetime / 2);
    access_expires_at - margin - jitter(id, margin / 4)
}

/// Half of the idle lifetime, at most [`KEEP_ALIVE_AT_MOST`].
fn keep_alive(id: &AuthorizationId, connection: &Connection, refreshed_at: OffsetDateTime) -> OffsetDateTime {
    let half = connection.refresh_idle_lifetime.and_then(|idle| Duration::try_from(idle / 2).ok()).unwrap_or(KEEP_ALIVE_AT_MOST);
    let every = half.min(KEEP_ALIVE_AT_MOST);
    refreshed_at.saturating_add(every) - jitter(id, every / 64)
}

/// When to try again after a passing failure: 30 s doubled with every failure up to an hour, between half and all of it.
#[must_use]
pub fn retry_at(id: &AuthorizationId, now: OffsetDateTime, failed_attempts: u32, retry_after: Option<Duration>) -> OffsetDateTime {
    let backoff = Duration::seconds(30 << failed_attempts.min(7)).min(Duration::HOUR);
    not_before(now, retry_after, now + backoff - jitter(id, backoff / 2))
}

/// A time of ours, or a provider's `Retry-After` if that is later, of at most a day.
fn not_before(now: OffsetDateTime, retry_after: Option<Duration>, ours: OffsetDateTime) -> OffsetDateTime {
    retry_after.map_or(ours, |wait| ours.max(now.saturating_add(wait.min(Duration::DAY))))
}

/// When the schedule announces a change of status that its maker has not announced. Whatever is done with the record until then puts
/// this off no further, however often that is; and no record is due since earlier than it was written, or it would look like a backlog.
#[must_use]
pub fn announced_by(id: &AuthorizationId, changed_at: OffsetDateTime, now: OffsetDateTime) -> OffsetDateTime {
    now.max(changed_at + ANNOUNCED_WITHIN - jitter(id, ANNOUNCED_WITHIN / 4))
}

/// When it tries again, after the bus has not taken it: once more after as long as it has waited by now.
#[must_use]
pub fn announce_again(id: &AuthorizationId, changed_at: OffsetDateTime, now: OffsetDateTime) -> OffsetDateTime {
    let wait = (now - changed_at).clamp(ANNOUNCED_WITHIN, ANNOUNCED_AGAIN_WITHIN);
    now + wait - jitter(id, wait / 4)
}

/// When a provider that has not revoked is asked again: by the next scheduled run, then after as long as the revocation has waited by
/// then, and at least every eight minutes; not before the provider wants to be.
#[must_use]
pub fn revoke_again(
    id: &AuthorizationId,
    revoked_at: OffsetDateTime,
    now: OffsetDateTime,
    retry_after: Option<Duration>,
) -> OffsetDateTime {
    let wait = (now - revoked_at).clamp(Duration::ZERO, Duration::minutes(8));
    not_before(now, retry_after, now + wait - jitter(id, wait / 4))
}

/// When to try again what an incident keeps from being tried.
#[must_use]
pub fn after_freeze(id: &AuthorizationId, frozen_until: OffsetDateTime) -> OffsetDateTime {
    frozen_until + jitter(id, AFTER_FREEZE)
}

/// A share of `range` that depends on the id alone: no herd, and no randomness to replay.
fn jitter(id: &AuthorizationId, range: Duration) -> Duration {
    let share = fnv(id.as_str().as_bytes()) >> 54; // ten bits
    let millis = range.whole_milliseconds().max(0) * i128::from(share) / 1024;
    Duration::milliseconds(i64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_provider_that_has_not_revoked_is_asked_at_once_then_ever_more_rarely_and_when_it_wants() {
        let (now, minutes) = (datetime!(2026-11-22 10:00 UTC), Duration::minutes);
        let id = AuthorizationId::new(now, [1; 10]);
        for (age, at_least, at_most) in [(0, 0, 0), (4, 3, 4), (8, 6, 8), (60 * 24, 6, 8)] {
            let wait = revoke_again(&id, now - minutes(age), now, None) - now;
            assert!((minutes(at_least)..=minutes(at_most)).contains(&wait), "{age}: {wait}");
        }
        assert_eq!(revoke_again(&id, now, now, Some(Duration::SECOND)) - now, Duration::SECOND);
        assert_eq!(revoke_again(&id, now, now, Some(Duration::WEEK)) - now, Duration::DAY, "no provider puts it off for longer");
    }
}

//! Identifiers. Each enters through `TryFrom`, serde included, so that a value of the type is always well formed.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use ulid::Ulid;

/// A text was not an identifier of the named kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {expected}")]
pub struct InvalidId {
    /// What the text should have been, in words that fit after "not".
    pub expected: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(InvalidId { expected: $expected }) }
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidId;
            fn try_from(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// `[A-Za-z0-9_-]{1,max}`: the alphabet of ids that other systems give us.
fn is_plain(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

text_id! {
    /// A tenant, as the claim `org_id` names it. Visible ASCII without `#`, which separates the parts of a DynamoDB key (I1).
    OrganizationId, "an organization id (1–256 visible ASCII characters, no '#')",
    |t| (1..=256).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
}
text_id! {
    /// A configured OAuth client at one identity provider, `conn_…`. It is a segment of the callback's path.
    ConnectionId, "a connection id (1–128 characters of [A-Za-z0-9_-])", |t| is_plain(t, 128)
}
text_id! {
    /// A workflow of another system, `fl_…` usually.
    WorkflowId, "a workflow id (1–128 characters of [A-Za-z0-9_-])", |t| is_plain(t, 128)
}
text_id! {
    /// A stored authorization: `auth_` and a ULID in lower case, so that ids sort by creation time.
    AuthorizationId, "an authorization id (auth_ and 26 characters)",
    |t| t.strip_prefix("auth_").is_some_and(|u| {
        u.len() == 26 && u.bytes().all(|b| !b.is_ascii_uppercase()) && Ulid::from_string(u).is_ok_and(|p| p.to_string().eq_ignore_ascii_case(u))
    })
}
text_id! {
    /// One sign-in: 256 random bits in base64url. Guess-proof and unique per request (RFC 6749 section 10.12).
    FlowId, "a flow id (43 characters of base64url)", |t| t.len() == 43 && is_plain(t, 43)
}
text_id! {
    /// Identifies one request in every answer and log line; at most 128 visible ASCII characters.
    RequestId, "a request id (1–128 visible ASCII characters)",
    |t| (1..=128).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_graphic())
}

impl AuthorizationId {
    /// A new id, made of a time and ten random bytes.
    #[must_use]
    pub fn new(now: OffsetDateTime, random: [u8; 10]) -> Self {
        let ulid = Ulid::from_parts(unix_millis(now), widen(random));
        Self(format!("auth_{}", ulid.to_string().to_ascii_lowercase()))
    }

    /// A key that sorts the newest authorization first: the ULID with every digit complemented. It begins no other
    /// authorization's key, so that bindings can follow under it.
    #[must_use]
    pub fn newest_first(&self) -> String {
        self.0.chars().skip("auth_".len()).map(|digit| complement(digit).unwrap_or('0')).collect()
    }

    /// The authorization that such a key belongs to.
    #[must_use]
    pub fn of_newest_first(key: &str) -> Option<Self> {
        let ulid: String = key.chars().map(complement).collect::<Option<_>>()?;
        Self::try_from(format!("auth_{ulid}")).ok()
    }
}

/// A digit of a ULID counted from the other end; whoever does it twice has the digit again.
fn complement(digit: char) -> Option<char> {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    DIGITS.iter().position(|known| char::from(*known) == digit).map(|at| char::from(DIGITS[31 - at]))
}

impl FlowId {
    /// A new id, made of 32 random bytes.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        use base64::Engine as _;
        Self(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random))
    }
}

impl RequestId {
    /// A new request id for a caller that sent none.
    #[must_use]
    pub fn new(now: OffsetDateTime, random: [u8; 10]) -> Self {
        let ulid = Ulid::from_parts(unix_millis(now), widen(random));
        Self(format!("req_{}", ulid.to_string().to_ascii_lowercase()))
    }
}

fn widen(random: [u8; 10]) -> u128 {
    random.iter().fold(0, |acc, b| (acc << 8) | u128::from(*b))
}

fn unix_millis(at: OffsetDateTime) -> u64 {
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn authorization_ids_sort_by_time_and_their_list_key_against_it() {
        let older = AuthorizationId::new(datetime!(2026-11-22 10:00 UTC), [255; 10]);
        let newer = AuthorizationId::new(datetime!(2026-11-22 10:01 UTC), [0; 10]);
        assert!(older < newer);
        assert!(newer.newest_first() < older.newest_first());
        assert_eq!(AuthorizationId::try_from(older.as_str()).unwrap(), older);
    }

    #[test]
    fn a_new_flow_id_is_a_flow_id() {
        for random in [[0; 32], [255; 32], [62; 32]] {
            let id = FlowId::new(random);
            assert_eq!(FlowId::try_from(id.as_str()).unwrap(), id);
        }
    }

    #[test]
    fn only_well_formed_ids_enter() {
        for bad in [
            "",
            "auth_",
            "auth_01JD0000000000000000000000",
            "auth_81jd0000000000000000000000",
            "auth_01jd000000000000000000000i",
            "auth_01jd000000000000000000000#",
        ] {
            assert!(AuthorizationId::try_from(bad).is_err(), "{bad}");
        }
        assert!(AuthorizationId::try_from("auth_01jd0000000000000000000000").is_ok());
        assert!(OrganizationId::try_from("org#1").is_err());
        assert!(WorkflowId::try_from("fl_a/b").is_err());
        assert!(WorkflowId::try_from("x".repeat(129)).is_err());
        assert!(serde_json::from_str::<WorkflowId>("\"\"").is_err());
    }
}

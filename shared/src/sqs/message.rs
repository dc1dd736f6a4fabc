//! A rescued commit as the body of a message: JSON, ciphertexts in base64, times in Unix milliseconds.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::domain::authorization::SealedCredential;
use crate::domain::ids::{AuthorizationId, ConnectionId, OrganizationId};
use crate::domain::scopes::Scopes;
use crate::ports::store::{RefreshCommit, Rescued};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    organization: OrganizationId,
    authorization: AuthorizationId,
    connection: ConnectionId,
    generation: u64,
    owner: String,
    sealed_access: Option<String>,
    sealed_refresh: Option<String>,
    scopes: Scopes,
    access_expires_at: i64,
    access_lifetime_seconds: i64,
    reauthorize_by: Option<i64>,
    due_at: i64,
    refreshed_at: i64,
    used_at: Option<i64>,
}

/// A message was not written by this service. It does not show the message.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the message is not the JSON of a rescued commit (line {line}, column {column})")]
    Json { line: usize, column: usize },
    #[error("a ciphertext in the message is not base64")]
    Ciphertext,
    #[error("a time in the message is out of range")]
    Time,
}

pub(super) fn write(rescued: &Rescued) -> Result<String, serde_json::Error> {
    let commit = &rescued.commit;
    serde_json::to_string(&Message {
        organization: rescued.organization.clone(),
        authorization: rescued.authorization.clone(),
        connection: rescued.connection.clone(),
        generation: rescued.generation,
        owner: rescued.owner.clone(),
        sealed_access: commit.credential.access.as_ref().map(|bytes| STANDARD.encode(bytes)),
        sealed_refresh: commit.credential.refresh.as_ref().map(|bytes| STANDARD.encode(bytes)),
        scopes: commit.scopes.clone(),
        access_expires_at: millis(commit.access_expires_at),
        access_lifetime_seconds: commit.access_lifetime.whole_seconds(),
        reauthorize_by: commit.reauthorize_by.map(millis),
        due_at: millis(commit.due_at),
        refreshed_at: millis(commit.refreshed_at),
        used_at: commit.used_at.map(millis),
    })
}

pub(super) fn read(body: &str) -> Result<Rescued, Malformed> {
    let message: Message = serde_json::from_str(body).map_err(|error| Malformed::Json { line: error.line(), column: error.column() })?;
    Ok(Rescued {
        organization: message.organization,
        authorization: message.authorization,
        connection: message.connection,
        generation: message.generation,
        owner: message.owner,
        commit: RefreshCommit {
            credential: SealedCredential { access: bytes(message.sealed_access)?, refresh: bytes(message.sealed_refresh)? },
            scopes: message.scopes,
            access_expires_at: time(message.access_expires_at)?,
            access_lifetime: Duration::seconds(message.access_lifetime_seconds),
            reauthorize_by: message.reauthorize_by.map(time).transpose()?,
            due_at: time(message.due_at)?,
            refreshed_at: time(message.refreshed_at)?,
            used_at: message.used_at.map(time).transpose()?,
        },
    })
}

fn bytes(text: Option<String>) -> Result<Option<Vec<u8>>, Malformed> {
    text.map(|text| STANDARD.decode(text)).transpose().map_err(|_| Malformed::Ciphertext)
}

fn millis(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000_000)).unwrap_or(i64::MAX)
}

fn time(millis: i64) -> Result<OffsetDateTime, Malformed> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).map_err(|_| Malformed::Time)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_rescued_commit_survives_the_queue() {
        let at = datetime!(2026-11-22 10:00:00.123 UTC);
        let rescued = Rescued {
            organization: OrganizationId::try_from("org_1").unwrap(),
            authorization: AuthorizationId::try_from("auth_01jd0000000000000000000000").unwrap(),
            connection: ConnectionId::try_from("conn_1").unwrap(),
            generation: 7,
            owner: "attempt".to_owned(),
            commit: RefreshCommit {
                credential: SealedCredential { access: Some(vec![0, 255]), refresh: None },
                scopes: Scopes::parse("a b").unwrap(),
                access_expires_at: at,
                access_lifetime: Duration::HOUR,
                reauthorize_by: None,
                due_at: at,
                refreshed_at: at,
                used_at: Some(at),
            },
        };
        let body = write(&rescued).unwrap();
        assert_eq!(format!("{:?}", read(&body).unwrap()), format!("{rescued:?}"));
        assert!(matches!(read("{}"), Err(Malformed::Json { .. })));
        assert!(matches!(read(&body.replace("\"AP8=\"", "\"?\"")), Err(Malformed::Ciphertext)));
    }
}

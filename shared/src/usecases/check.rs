//! Prove that an authorization works, without handing anything out (contract section 9).

use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use super::Call;
use super::audit::Act;
use super::refresh::{REFRESH_TIME, Refreshed, Refresher, may_claim};
use crate::domain::authorization::{Authorization, Reason, Status};
use crate::domain::caller::Caller;
use crate::domain::connection::Connection;
use crate::domain::directory::Directory;
use crate::domain::ids::AuthorizationId;
use crate::domain::scopes::Scopes;
use crate::ports::Unavailable;
use crate::ports::cipher::CipherError;
use crate::ports::clock::Clock;
use crate::ports::provider::{ProviderError, UserInfo};
use crate::ports::store::RefreshStore;

/// How often a refresh that somebody else is making is looked at.
const POLL: Duration = Duration::milliseconds(250);

/// The use case with what it needs.
pub struct Check {
    /// Reads and claims.
    pub store: Arc<dyn RefreshStore>,
    /// Refreshes what can be refreshed.
    pub refresher: Arc<Refresher>,
    /// Asks for what cannot.
    pub userinfo: Arc<dyn UserInfo>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What a check found.
#[derive(Debug)]
pub struct Report {
    /// Whether the provider honoured it just now.
    pub ok: bool,
    /// The status afterwards.
    pub status: Status,
    /// When it was checked.
    pub checked_at: OffsetDateTime,
    /// What is granted.
    pub scopes: Scopes,
    /// What bound workflows require and is not granted.
    pub missing_scopes: Scopes,
    /// When the access token ends.
    pub access_expires_at: OffsetDateTime,
    /// Why it is not ok: the reason of the status, or `provider_unavailable`.
    pub reason: Option<&'static str>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// No such authorization in this organization.
    #[error("no such authorization")]
    NotFound,
    /// A part of ours is down.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The stored tokens do not open.
    #[error("failed to open the stored token")]
    Cipher(#[source] CipherError),
}

impl From<CipherError> for CheckError {
    fn from(error: CipherError) -> Self {
        match error {
            CipherError::Unavailable(unavailable) => Self::Unavailable(unavailable),
            broken @ CipherError::Broken { .. } => Self::Cipher(broken),
        }
    }
}

impl Check {
    /// Checks an authorization of the caller's organization.
    pub async fn check(&self, call: &Call, caller: &Caller, directory: &Directory, id: &AuthorizationId) -> Result<Report, CheckError> {
        let result = self.report(call, caller, directory, id).await;
        let outcome = match &result {
            Ok(report) if report.ok => "ok",
            Ok(report) => report.reason.unwrap_or("not_ok"),
            Err(CheckError::NotFound) => "authorization_not_found",
            Err(CheckError::Unavailable(_)) => "unavailable",
            Err(CheckError::Cipher(_)) => "undecryptable",
        };
        Act {
            action: "check",
            outcome,
            actor: Some(&caller.person),
            organization: Some(&caller.organization),
            authorization: Some(id),
            ..Act::default()
        }
        .record(call);
        result
    }

    async fn report(&self, call: &Call, caller: &Caller, directory: &Directory, id: &AuthorizationId) -> Result<Report, CheckError> {
        let read = self
            .store
            .authorization(&caller.organization, id)
            .await?
            .filter(|a| a.status != Status::Deleted)
            .ok_or(CheckError::NotFound)?;
        let (now_is, failure) = self.prove(&call.on_behalf_of(&caller.person, None), directory, read).await?;
        let missing_scopes = now_is.scopes.missing(&now_is.required());
        let hindrance = match now_is.status {
            // Revoked while it was proved, and gone.
            Status::Deleted => return Err(CheckError::NotFound),
            Status::Revoking => Some("revoking"),
            Status::NeedsReauthorization(reason) => Some(reason.as_str()),
            Status::Active if failure.is_none() && !missing_scopes.is_empty() => Some("scopes_insufficient"),
            Status::Active => failure,
        };
        Ok(Report {
            ok: hindrance.is_none(),
            status: now_is.status,
            checked_at: self.clock.now(),
            missing_scopes,
            access_expires_at: now_is.access_expires_at,
            reason: hindrance,
            scopes: now_is.scopes,
        })
    }

    /// The record as it stands after the provider was asked, and what failed in passing.
    async fn prove(
        &self,
        call: &Call,
        directory: &Directory,
        read: Authorization,
    ) -> Result<(Authorization, Option<&'static str>), CheckError> {
        if read.status != Status::Active {
            return Ok((read, None));
        }
        let Some(connection) = directory.connection(&read.connection) else { return Ok((read, Some("connection_invalid"))) };
        let now = self.clock.now();
        if !read.is_refreshable() {
            return self.prove_unrefreshable(call, connection, read, now).await;
        }
        self.prove_by_refresh(call, connection, read).await
    }

    /// Refreshes, or waits for whoever is refreshing it: a new generation is the proof.
    async fn prove_by_refresh(
        &self,
        call: &Call,
        connection: &Connection,
        read: Authorization,
    ) -> Result<(Authorization, Option<&'static str>), CheckError> {
        let (generation, failed_attempts) = (read.generation, read.failed_attempts);
        let mut present = read;
        loop {
            if present.status != Status::Active || present.generation > generation {
                return Ok((present, None));
            }
            let now = self.clock.now();
            let frozen = self.refresher.traffic.frozen(&connection.id).is_some();
            let left_to_the_schedule = present.lease.is_some() && !present.is_leased(now) && !may_claim(connection, &present, now);
            if frozen || left_to_the_schedule || present.failed_attempts > failed_attempts || !call.has(REFRESH_TIME, now) {
                return Ok((present, Some("provider_unavailable")));
            }
            let claimed = if may_claim(connection, &present, now) {
                self.store.claim_refresh(&present, &self.refresher.lease()?, now).await?
            } else {
                None
            };
            match claimed {
                None => self.clock.sleep(POLL).await,
                Some(claimed) => match self.refresher.refresh(call, connection, &claimed, false, present.lease.is_some()).await? {
                    Refreshed::Renewed(authorization, _) => return Ok((*authorization, None)),
                    Refreshed::Passing { .. } => return Ok((claimed, Some("provider_unavailable"))),
                    Refreshed::Ended(_) | Refreshed::Superseded => {}
                },
            }
            present = self.store.authorization(&present.organization, &present.id).await?.ok_or(CheckError::NotFound)?;
        }
    }

    async fn prove_unrefreshable(
        &self,
        call: &Call,
        connection: &Connection,
        read: Authorization,
        now: OffsetDateTime,
    ) -> Result<(Authorization, Option<&'static str>), CheckError> {
        if read.access_expires_at <= now {
            self.refresher.end(call, &read, Reason::NoRefreshToken).await;
            let again = self.store.authorization(&read.organization, &read.id).await?.ok_or(CheckError::NotFound)?;
            return Ok((again, None));
        }
        let access_token = self.refresher.open_access_token(call, &read).await?;
        let failure = match self.userinfo.userinfo(connection, &access_token).await {
            // Without a userinfo endpoint the unexpired token is all the proof there is.
            Ok(None) => None,
            Ok(Some(identity)) if identity.person == read.identity.person => None,
            Ok(Some(_)) => Some("identity_revoked"),
            Err(ProviderError::Refused { .. } | ProviderError::InvalidGrant) => Some("access_token_refused"),
            Err(_) => Some("provider_unavailable"),
        };
        Ok((read, failure))
    }
}

//! Whose a sign-in may be (step 7), and the record that is made of it.

use time::OffsetDateTime;

use crate::domain::authorization::{AccessLifetime, Authorization, Identity, SealedCredential, Status, StatusChange, reauthorize_by};
use crate::domain::connection::Connection;
use crate::domain::flow::{Flow, FlowFailure};
use crate::domain::ids::AuthorizationId;
use crate::domain::schedule::{self, Life};
use crate::ports::cipher::{CipherError, Salt, SealContext, Sealer, TokenField};
use crate::ports::provider::{ProviderError, TokenAnswer};

/// Who may be the identity of a flow (step 7).
pub(super) enum Allowed<'a> {
    /// Direct mode: the person who asked for the URL.
    Initiator { api_issuer: &'a str },
    /// Redirect mode: whoever signed in, for the initiator has taken responsibility by completing.
    Anyone,
}

/// Step 7.
pub(super) fn judge(
    connection: &Connection,
    flow: &Flow,
    identity: &Identity,
    allowed: &Allowed<'_>,
    renewing: Option<&Authorization>,
) -> Result<(), FlowFailure> {
    if !connection.admits(&flow.organization, identity.organization.as_deref()) {
        return Err(FlowFailure::OrganizationMismatch);
    }
    if let Allowed::Initiator { api_issuer } = allowed {
        let same = if connection.identity_issuer() == *api_issuer {
            identity.person == flow.initiator
        } else {
            let verified = identity.email.as_ref().filter(|_| identity.email_verified);
            matches!((verified, &flow.initiator_email), (Some(theirs), Some(ours)) if theirs.eq_ignore_ascii_case(ours))
        };
        if !same {
            return Err(FlowFailure::IdentityRefused);
        }
    }
    match renewing {
        Some(authorization) if authorization.identity.person != identity.person => Err(FlowFailure::IdentityMismatch),
        _ => Ok(()),
    }
}

pub(super) fn assemble(
    connection: &Connection,
    flow: &Flow,
    tokens: &TokenAnswer,
    identity: Identity,
    new_id: AuthorizationId,
    renewing: Option<&Authorization>,
) -> Authorization {
    let now = tokens.requested_at;
    let access = AccessLifetime::of(now, tokens.expires_in, connection);
    let access_expires_at = access.expires_at();
    let refreshable = tokens.refresh_token.is_some();
    let id = renewing.map_or(new_id, |a| a.id.clone());
    let last_used_at = renewing.and_then(|a| a.last_used_at);
    Authorization {
        organization: flow.organization.clone(),
        connection: connection.id.clone(),
        provider: connection.provider.clone(),
        identity,
        created_by: renewing.map_or_else(|| flow.initiator.clone(), |a| a.created_by.clone()),
        created_at: renewing.map_or(now, |a| a.created_at),
        authorized_at: now,
        scopes: tokens.scopes.clone().unwrap_or_else(|| flow.scopes.clone()),
        status: Status::Active,
        version: renewing.map_or(1, |a| a.version + 1),
        generation: renewing.map_or(1, |a| a.generation + 1),
        binding_count: renewing.map_or(0, |a| a.binding_count),
        required_scopes: renewing.map(|a| a.required_scopes.clone()).unwrap_or_default(),
        access_expires_at,
        access_lifetime: access.lifetime,
        reauthorize_by: reauthorize_by(connection, now, now, access_expires_at, refreshable),
        last_used_at,
        last_refreshed_at: renewing.and_then(|a| a.last_refreshed_at),
        lease: None,
        outcome_unknown_since: None,
        failed_attempts: 0,
        credential: None,
        revoked_at: None,
        unannounced: Vec::new(),
        due_at: Some(schedule::next_due(
            &id,
            connection,
            Life { authorized_at: now, refreshed_at: now, access_expires_at, handed_out: false, refreshable },
        )),
        id,
    }
}

pub(super) fn seal(
    sealer: &dyn Sealer,
    salts: [Salt; 2],
    authorization: &Authorization,
    tokens: &TokenAnswer,
) -> Result<SealedCredential, CipherError> {
    let context = |field| SealContext {
        organization: &authorization.organization,
        authorization: &authorization.id,
        field,
        generation: authorization.generation,
    };
    let [for_access, for_refresh] = salts;
    let access = sealer.seal(context(TokenField::Access), &tokens.access_token, for_access)?;
    let refresh = tokens.refresh_token.as_ref().map(|t| sealer.seal(context(TokenField::Refresh), t, for_refresh)).transpose()?;
    Ok(SealedCredential { access: Some(access), refresh })
}

/// Whether the renewal changes a status depends on what is renewed. The record is due early then, and when its credential says otherwise.
pub(super) fn still_to_be_announced(
    renewed: &mut Authorization,
    connection: &Connection,
    renewing: Option<&Authorization>,
    now: OffsetDateTime,
) {
    let Some(before) = renewing else { return };
    renewed.unannounced.clone_from(&before.unannounced);
    if before.status != Status::Active {
        renewed.unannounced.push(StatusChange::revived(renewed.version, now));
    }
    renewed.due_at = Some(renewed.due_by(renewed.credential_due(connection), now));
}

/// The record was refreshed or bound while the person signed in: the renewal follows what it has become.
pub(super) fn rebase(renewed: &mut Authorization, now: &Authorization) -> Result<(), FlowFailure> {
    if !renewed.scopes.covers(&now.required()) {
        return Err(FlowFailure::ScopesInsufficient);
    }
    if !matches!(now.status, Status::Active | Status::NeedsReauthorization(_)) {
        return Err(FlowFailure::AuthorizationNotFound);
    }
    renewed.version = now.version + 1;
    renewed.generation = now.generation + 1;
    renewed.binding_count = now.binding_count;
    renewed.required_scopes.clone_from(&now.required_scopes);
    Ok(())
}

pub(super) fn failure_of(error: &ProviderError) -> FlowFailure {
    match error {
        ProviderError::InvalidGrant | ProviderError::Refused { .. } | ProviderError::Misconfigured { .. } => FlowFailure::ProviderRefused,
        ProviderError::Unavailable { .. } | ProviderError::AnswerLost { .. } => FlowFailure::ProviderUnavailable,
        ProviderError::AnswerInvalid { .. } | ProviderError::IdentityInvalid { .. } | ProviderError::IdentityChanged => {
            FlowFailure::ProviderAnswerInvalid
        }
        ProviderError::Ours(_) => FlowFailure::Internal,
    }
}

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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use std::collections::BTreeMap;

    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::domain::authorization::Reason;
    use crate::domain::caller::Person;
    use crate::domain::ids::FlowId;
    use crate::domain::scopes::Scopes;
    use crate::domain::secret::Secret;
    use crate::usecases::refresh::tests::{Plain, claimed, connection, person};

    const NOW: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);
    const ISSUER: &str = "https://id.example";

    fn flow() -> Flow {
        Flow {
            id: FlowId::try_from("f".repeat(43)).unwrap(),
            organization: claimed().organization,
            initiator: person("usr_1"),
            initiator_email: Some("Ops@example.com".to_owned()),
            connection: claimed().connection,
            return_to: None,
            scopes: Scopes::parse("read write").unwrap(),
            reauthorize: None,
            expires_at: 0,
        }
    }

    fn identity(subject: &str, email: Option<&str>, email_verified: bool, organization: Option<&str>) -> Identity {
        Identity { person: person(subject), email: email.map(str::to_owned), email_verified, organization: organization.map(str::to_owned) }
    }

    fn tokens() -> TokenAnswer {
        TokenAnswer {
            access_token: Secret::new("a1".to_owned()),
            refresh_token: Some(Secret::new("r1".to_owned())),
            expires_in: Some(Duration::hours(2)),
            scopes: None,
            requested_at: NOW,
        }
    }

    #[test]
    fn s28_in_direct_mode_it_is_the_initiator_or_nobody() {
        let (own, others) = (Allowed::Initiator { api_issuer: ISSUER }, Allowed::Initiator { api_issuer: "https://api.example" });
        let refused = Err(FlowFailure::IdentityRefused);
        for (who, allowed, expected) in [
            // The same issuer: its subject, whatever the e-mail.
            (identity("usr_1", None, false, None), &own, Ok(())),
            (identity("usr_2", Some("ops@example.com"), true, None), &own, refused),
            // Another one: the verified e-mail, whatever the subject.
            (identity("usr_2", Some("ops@EXAMPLE.com"), true, None), &others, Ok(())),
            (identity("usr_2", Some("ops@example.com"), false, None), &others, refused),
            (identity("usr_1", Some("else@example.com"), true, None), &others, refused),
            (identity("usr_1", None, true, None), &others, refused),
            // In redirect mode whoever completes answers for it.
            (identity("usr_2", None, false, None), &Allowed::Anyone, Ok(())),
        ] {
            assert_eq!(judge(&connection(0), &flow(), &who, allowed, None), expected, "{who:?}");
        }
        let nameless = Flow { initiator_email: None, ..flow() };
        assert_eq!(judge(&connection(0), &nameless, &identity("usr_1", None, true, None), &others, None), refused);
    }

    #[test]
    fn s60_organization_and_person_are_held_to_whatever_the_mode() {
        let mut mapped = connection(0);
        mapped.claims.organization = Some("org_id".to_owned());
        for (told, expected) in [
            (Some("org_1"), Ok(())),
            (Some("org_2"), Err(FlowFailure::OrganizationMismatch)),
            (None, Err(FlowFailure::OrganizationMismatch)),
        ] {
            assert_eq!(judge(&mapped, &flow(), &identity("usr_1", None, false, told), &Allowed::Anyone, None), expected);
        }
        for (subject, expected) in [("usr_9", Ok(())), ("usr_1", Err(FlowFailure::IdentityMismatch))] {
            let who = identity(subject, None, false, None);
            assert_eq!(judge(&connection(0), &flow(), &who, &Allowed::Anyone, Some(&claimed())), expected);
        }
    }

    #[test]
    fn a_new_record_begins_and_a_renewed_one_goes_on() {
        let id = AuthorizationId::new(NOW, [2; 10]);
        let who = || identity("usr_9", Some("ops@example.com"), true, None);
        let new = assemble(&connection(0), &flow(), &tokens(), who(), id.clone(), None);
        assert_eq!((&new.id, new.version, new.generation, new.binding_count), (&id, 1, 1, 0));
        assert_eq!((&new.created_by, new.created_at, new.authorized_at), (&person("usr_1"), NOW, NOW));
        assert_eq!((new.access_expires_at, new.access_lifetime), (NOW + Duration::hours(2), Duration::hours(2)));
        assert_eq!((new.reauthorize_by, &new.scopes), (Some(NOW + Duration::days(30)), &flow().scopes));
        assert_eq!((new.last_used_at, new.last_refreshed_at, new.status), (None, None, Status::Active));

        let before = Authorization {
            created_by: Person { issuer: "https://api.example".to_owned(), subject: "usr_7".to_owned() },
            binding_count: 2,
            required_scopes: BTreeMap::from([("read".to_owned(), 2)]),
            last_used_at: Some(NOW - Duration::HOUR),
            ..claimed()
        };
        let narrower = TokenAnswer { scopes: Some(Scopes::parse("read").unwrap()), ..tokens() };
        let mut renewed = assemble(&connection(0), &flow(), &narrower, who(), id, Some(&before));
        assert_eq!((&renewed.id, renewed.version, renewed.generation), (&before.id, before.version + 1, before.generation + 1));
        assert_eq!((&renewed.created_by, renewed.created_at, renewed.authorized_at), (&before.created_by, before.created_at, NOW));
        assert_eq!((renewed.binding_count, &renewed.required_scopes), (2, &before.required_scopes));
        assert_eq!((renewed.last_used_at, renewed.last_refreshed_at), (before.last_used_at, before.last_refreshed_at));
        assert_eq!(renewed.scopes.to_text(), "read");

        let sealed = seal(&Plain, [Salt([0; 32]), Salt([1; 32])], &renewed, &tokens()).unwrap();
        assert_eq!(sealed.access.as_deref(), Some(&b"access_token/4/a1"[..]));
        assert_eq!(sealed.refresh.as_deref(), Some(&b"refresh_token/4/r1"[..]));

        // It has gone on meanwhile: the renewal follows, as long as it may.
        let meanwhile = Authorization { version: 9, generation: 6, binding_count: 3, ..before.clone() };
        assert_eq!(rebase(&mut renewed, &meanwhile), Ok(()));
        assert_eq!((renewed.version, renewed.generation, renewed.binding_count), (10, 7, 3));
        let needy = Authorization { required_scopes: BTreeMap::from([("write".to_owned(), 1)]), ..before.clone() };
        assert_eq!(rebase(&mut renewed, &needy), Err(FlowFailure::ScopesInsufficient));
        for (status, expected) in [
            (Status::NeedsReauthorization(Reason::InvalidGrant), Ok(())),
            (Status::Revoking, Err(FlowFailure::AuthorizationNotFound)),
            (Status::Deleted, Err(FlowFailure::AuthorizationNotFound)),
        ] {
            assert_eq!(rebase(&mut renewed, &Authorization { status, ..before.clone() }), expected);
        }
    }

    #[test]
    fn a_renewal_that_revives_is_announced_and_one_that_does_not_is_not() {
        let ended = Authorization { status: Status::NeedsReauthorization(Reason::InvalidGrant), ..claimed() };
        for (before, changes) in [(None, 0), (Some(claimed()), 0), (Some(ended), 1)] {
            let who = identity("usr_9", None, false, None);
            let mut renewed = assemble(&connection(0), &flow(), &tokens(), who, AuthorizationId::new(NOW, [2; 10]), before.as_ref());
            still_to_be_announced(&mut renewed, &connection(0), before.as_ref(), NOW);
            assert_eq!(renewed.unannounced.len(), changes);
            assert_eq!(renewed.due_at.unwrap() <= NOW + Duration::MINUTE, changes > 0, "whoever is to tell of it may die");
        }
    }
}

//! Items ⇄ domain values.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use super::error::{BadRow, NotAsStored};
use super::keys::{self, Key};
use super::row::Row;
use super::values::{Item, b, counts, list_of, millis, n, s, seconds, set_of};
use crate::domain::authorization::{Authorization, Identity, Lease, Reason, SealedCredential, Status, StatusChange};
use crate::domain::binding::{Binding, WorkflowName};
use crate::domain::caller::Person;
use crate::domain::ids::OrganizationId;
use crate::domain::scopes::Scopes;

/// Set while a revocation is still to be announced.
pub(super) const REVOCATION: &str = "unannounced_revocation";

/// The attributes of an authorization that are absent when they have no value.
pub(super) const OPTIONAL: [&str; 20] = [
    "email",
    "identity_organization",
    "scopes",
    "reason",
    "reauthorize_by",
    "last_used_at",
    "last_refreshed_at",
    "lease_owner",
    "lease_until",
    "committed_by",
    "outcome_unknown_since",
    "failed_attempts",
    "undecryptable_since",
    "sealed_access",
    "sealed_refresh",
    "due_shard",
    "due_at",
    "revoked_at",
    "unannounced",
    "expires_at",
];

/// A whole authorization, as it is stored first. Later writes change single attributes.
pub(super) fn authorization_item(of: &Authorization) -> Item {
    let mut item = Key::authorization(&of.organization, &of.id).attributes();
    let mut put = |attribute: &str, value: Option<AttributeValue>| {
        if let Some(value) = value {
            item.insert(attribute.to_owned(), value);
        }
    };
    put("org_pk", Some(s(keys::list_partition(&of.organization))));
    put("org_sk", Some(s(keys::list_position(&of.id))));
    put("auth_id", Some(s(of.id.as_str())));
    put("connection_id", Some(s(of.connection.as_str())));
    put("provider", Some(s(&of.provider)));
    put("issuer", Some(s(&of.identity.person.issuer)));
    put("user_id", Some(s(&of.identity.person.subject)));
    put("email", of.identity.email.as_ref().map(s));
    put("email_verified", Some(AttributeValue::Bool(of.identity.email_verified)));
    put("identity_organization", of.identity.organization.as_ref().map(s));
    put("created_by_issuer", Some(s(&of.created_by.issuer)));
    put("created_by", Some(s(&of.created_by.subject)));
    put("created_at", Some(millis(of.created_at)));
    put("authorized_at", Some(millis(of.authorized_at)));
    put("scopes", set_of(&of.scopes));
    put("status", Some(s(of.status.as_str())));
    put("reason", of.status.reason().map(|reason| s(reason.as_str())));
    put("version", Some(n(of.version)));
    put("generation", Some(n(of.generation)));
    put("binding_count", Some(n(of.binding_count)));
    put("required_scopes", Some(counts(&of.required_scopes)));
    put("refreshable", Some(AttributeValue::Bool(of.is_refreshable())));
    put("access_expires_at", Some(millis(of.access_expires_at)));
    put("access_lifetime", Some(n(of.access_lifetime.whole_seconds())));
    put("reauthorize_by", of.reauthorize_by.map(millis));
    put("last_used_at", of.last_used_at.map(millis));
    put("last_refreshed_at", of.last_refreshed_at.map(millis));
    put("lease_owner", of.lease.as_ref().map(|lease| s(&lease.owner)));
    put("lease_until", of.lease.as_ref().map(|lease| millis(lease.until)));
    put("outcome_unknown_since", of.outcome_unknown_since.map(millis));
    put("failed_attempts", (of.failed_attempts > 0).then(|| n(of.failed_attempts)));
    put("sealed_access", of.credential.as_ref().and_then(|c| c.access.as_deref()).map(b));
    put("sealed_refresh", of.credential.as_ref().and_then(|c| c.refresh.as_deref()).map(b));
    put("revoked_at", of.revoked_at.map(millis));
    put("due_shard", of.due_at.map(|_| keys::due_shard(&of.id)));
    put("due_at", of.due_at.map(seconds));
    put("unannounced", unannounced(&of.unannounced));
    item
}

impl TryFrom<Row> for Authorization {
    type Error = BadRow;
    fn try_from(mut row: Row) -> Result<Self, BadRow> {
        let (organization, id) =
            keys::parse_authorization(row.text("pk")).ok_or_else(|| row.bad("pk", NotAsStored("not an authorization's key")))?;
        let person = Person { issuer: row.required("issuer")?, subject: row.required("user_id")? };
        let status = status(&mut row)?;
        let version = row.required("version")?;
        let revoked_at = row.optional_time("revoked_at")?;
        Ok(Self {
            id,
            organization,
            connection: row.required("connection_id")?,
            provider: row.required("provider")?,
            identity: Identity {
                person,
                email: row.optional("email")?,
                email_verified: row.required("email_verified")?,
                organization: row.optional("identity_organization")?,
            },
            created_by: Person { issuer: row.required("created_by_issuer")?, subject: row.required("created_by")? },
            created_at: row.time("created_at")?,
            authorized_at: row.time("authorized_at")?,
            scopes: row.optional::<Scopes>("scopes")?.unwrap_or_default(),
            unannounced: still_unannounced(&mut row, status, version, revoked_at)?,
            status,
            version,
            generation: row.required("generation")?,
            binding_count: row.required("binding_count")?,
            required_scopes: row.required::<BTreeMap<String, u64>>("required_scopes")?,
            access_expires_at: row.time("access_expires_at")?,
            access_lifetime: Duration::seconds(row.required("access_lifetime")?),
            reauthorize_by: row.optional_time("reauthorize_by")?,
            last_used_at: row.optional_time("last_used_at")?,
            last_refreshed_at: row.optional_time("last_refreshed_at")?,
            lease: lease(&mut row)?,
            outcome_unknown_since: row.optional_time("outcome_unknown_since")?,
            failed_attempts: row.optional("failed_attempts")?.unwrap_or_default(),
            credential: credential(&mut row)?,
            revoked_at,
            due_at: row.optional_seconds("due_at")?,
        })
    }
}

/// The status with its reason.
pub(super) fn status(row: &mut Row) -> Result<Status, BadRow> {
    let word: String = row.required("status")?;
    match word.as_str() {
        "active" => Ok(Status::Active),
        "revoking" => Ok(Status::Revoking),
        "deleted" => Ok(Status::Deleted),
        "needs_reauthorization" => {
            let word: String = row.required("reason")?;
            reason(&word).map(Status::NeedsReauthorization).ok_or_else(|| row.bad("reason", NotAsStored("not a reason")))
        }
        _ => Err(row.bad("status", NotAsStored("not a status"))),
    }
}

fn reason(word: &str) -> Option<Reason> {
    Reason::ALL.into_iter().find(|known| known.as_str() == word)
}

/// What is still to be announced, but for a revocation: that one is an attribute of its own, for whoever revokes has read nothing, and
/// all that is to be told of it is in the record.
pub(super) fn unannounced(changes: &[StatusChange]) -> Option<AttributeValue> {
    let of = |change: &StatusChange| {
        let mut map = HashMap::from([("version".to_owned(), n(change.version)), ("at".to_owned(), millis(change.at))]);
        map.extend(change.to.reason().map(|reason| ("reason".to_owned(), s(reason.as_str()))));
        AttributeValue::M(map)
    };
    let list: Vec<_> = changes.iter().filter(|change| change.to != Status::Revoking).map(of).collect();
    (!list.is_empty()).then_some(AttributeValue::L(list))
}

/// Whether the revocation is among them.
pub(super) fn unannounced_revocation(changes: &[StatusChange]) -> Option<AttributeValue> {
    changes.iter().any(|change| change.to == Status::Revoking).then_some(AttributeValue::Bool(true))
}

/// A change to what had a reason, or away from it.
#[derive(Deserialize)]
struct StoredChange {
    version: u64,
    at: i64,
    reason: Option<String>,
}

fn still_unannounced(row: &mut Row, status: Status, version: u64, revoked_at: Option<OffsetDateTime>) -> Result<Vec<StatusChange>, BadRow> {
    const ATTRIBUTE: &str = "unannounced";
    let mut changes = Vec::new();
    for stored in row.optional::<Vec<StoredChange>>(ATTRIBUTE)?.unwrap_or_default() {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(stored.at) * 1_000_000).map_err(|error| row.bad(ATTRIBUTE, error))?;
        changes.push(match stored.reason {
            None => StatusChange::revived(stored.version, at),
            Some(word) => {
                let reason = reason(&word).ok_or_else(|| row.bad(ATTRIBUTE, NotAsStored("not a reason")))?;
                StatusChange::ended(reason, stored.version, at)
            }
        });
    }
    let revoked = matches!(status, Status::Revoking | Status::Deleted) && row.optional(REVOCATION)? == Some(true);
    changes.extend(revoked_at.filter(|_| revoked).map(|at| StatusChange::revoked(row.text("revoked_from"), version, at)));
    Ok(changes)
}

fn lease(row: &mut Row) -> Result<Option<Lease>, BadRow> {
    let Some(owner) = row.optional("lease_owner")? else { return Ok(None) };
    Ok(Some(Lease { owner, until: row.time("lease_until")? }))
}

fn credential(row: &mut Row) -> Result<Option<SealedCredential>, BadRow> {
    let (access, refresh) = (row.bytes("sealed_access")?, row.bytes("sealed_refresh")?);
    Ok((access.is_some() || refresh.is_some()).then_some(SealedCredential { access, refresh }))
}

/// A whole binding.
pub(super) fn binding_item(of: &Binding) -> Item {
    let mut item = Key::binding(&of.organization, &of.workflow).attributes();
    item.extend([
        ("org_pk".to_owned(), s(keys::list_partition(&of.organization))),
        ("org_sk".to_owned(), s(keys::binding_position(&of.authorization, &of.workflow))),
        ("workflow_id".to_owned(), s(of.workflow.as_str())),
        ("auth_id".to_owned(), s(of.authorization.as_str())),
        ("required_scopes".to_owned(), list_of(&of.required_scopes)),
        ("created_at".to_owned(), millis(of.created_at)),
    ]);
    item.extend(of.name.as_ref().map(|name| ("workflow_name".to_owned(), s(name.as_str()))));
    item
}

/// A binding of an organization whose partition or key it was read by. The index does not show the authorization's id, which its
/// position has in it.
pub(super) fn binding(mut row: Row, organization: &OrganizationId) -> Result<Binding, BadRow> {
    let authorization = match row.optional("auth_id")? {
        Some(id) => id,
        None => {
            keys::parse_binding_position(row.text("org_sk")).ok_or_else(|| row.bad("org_sk", NotAsStored("not a binding's position")))?
        }
    };
    let name = row.optional::<String>("workflow_name")?.map(WorkflowName::try_from).transpose();
    Ok(Binding {
        organization: organization.clone(),
        workflow: row.required("workflow_id")?,
        name: name.map_err(|error| row.bad("workflow_name", error))?,
        authorization,
        required_scopes: row.required("required_scopes")?,
        created_at: row.time("created_at")?,
    })
}

//! Bindings, changed together with the counts of their authorizations (I3). A bind and a revocation both write to the
//! authorization's item, so DynamoDB puts them in an order.
//!
//! Nothing here reads a token attribute, not even as ciphertext (security requirement 91): the authorization is read by a
//! projection, and a refused condition on it shows nothing.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::TransactWriteItem;

use super::Table;
use super::change::Change;
use super::error::Refused;
use super::items::{self, binding_item};
use super::keys::Key;
use super::retry::Patience;
use super::values::{list_of, n, s};
use super::write::{OnRefusal, Transacted};
use crate::domain::authorization::{Authorization, Status};
use crate::domain::binding::Binding;
use crate::domain::ids::{AuthorizationId, OrganizationId, WorkflowId};
use crate::domain::scopes::Scopes;
use crate::ports::Unavailable;
use crate::ports::store::{BindObstacle, BindOutcome, BindingStore};

const BIND: &str = "bind a workflow";
const UNBIND: &str = "unbind a workflow";
const READ: &str = "read the binding of a workflow";
const READ_AUTHORIZATION: &str = "read an authorization without its tokens";
/// Every attribute that an authorization is read back from, except the tokens and what is to be announced by others.
const WITHOUT_TOKENS: [&str; 31] = [
    "pk",
    "sk",
    "connection_id",
    "provider",
    "issuer",
    "user_id",
    "email",
    "email_verified",
    "identity_organization",
    "created_by_issuer",
    "created_by",
    "created_at",
    "authorized_at",
    "scopes",
    "status",
    "reason",
    "version",
    "generation",
    "binding_count",
    "required_scopes",
    "access_expires_at",
    "access_lifetime",
    "reauthorize_by",
    "last_used_at",
    "last_refreshed_at",
    "lease_owner",
    "lease_until",
    "outcome_unknown_since",
    "failed_attempts",
    "revoked_at",
    "due_at",
];

#[async_trait]
impl BindingStore for Table {
    async fn binding(&self, organization: &OrganizationId, workflow: &WorkflowId) -> Result<Option<Binding>, Unavailable> {
        let row = self.get(READ, Key::binding(organization, workflow)).await?;
        row.map(|row| items::binding(row, organization)).transpose().map_err(|bad| Unavailable::new(READ, bad))
    }

    async fn bind(&self, binding: &Binding, previous: Option<&Binding>) -> Result<BindOutcome, Unavailable> {
        let mut patience = Patience::new(self);
        loop {
            let Transacted::Refused(mut refusals) = self.transact(BIND, self.binding_together(binding, previous)?).await? else {
                return Ok(BindOutcome::Bound);
            };
            if refusals.refused(NEW_OWNER) {
                let present = self.authorization_without_tokens(&binding.organization, &binding.authorization).await?;
                let Some(present) = present else { return Ok(BindOutcome::Refused(None)) };
                let stands_in_the_way = present.status != Status::Active || !present.scopes.covers(&binding.required_scopes);
                // Between the refusal and the look the obstacle may have gone, by a re-authorization; then it is tried again.
                if !stands_in_the_way && patience.wait(self).await {
                    continue;
                }
                return Ok(BindOutcome::Refused(Some(BindObstacle { status: present.status, scopes: present.scopes })));
            }
            if refusals.refused(BINDING) {
                let present = refusals.item(self, BINDING).map(|row| items::binding(row, &binding.organization)).transpose();
                return Ok(BindOutcome::Changed(present.map_err(|bad| Unavailable::new(BIND, bad))?.map(Box::new)));
            }
            return Err(Unavailable::new(BIND, Refused("the previous authorization does not count this binding")));
        }
    }

    async fn unbind(&self, previous: &Binding) -> Result<bool, Unavailable> {
        let items = vec![
            self.deleting(as_expected(Change::of(Key::binding(&previous.organization, &previous.workflow)), Some(previous)))?,
            self.updating(counted_less(previous), OnRefusal::Hide)?,
        ];
        match self.transact(UNBIND, items).await? {
            Transacted::Done => Ok(true),
            Transacted::Refused(refusals) if refusals.refused(BINDING) => Ok(false),
            Transacted::Refused(_) => Err(Unavailable::new(UNBIND, Refused("the authorization does not count this binding"))),
        }
    }

    async fn authorization_to_bind(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
    ) -> Result<Option<Authorization>, Unavailable> {
        self.authorization_without_tokens(organization, id).await
    }
}

/// Where the items stand in the transactions.
const BINDING: usize = 0;
const NEW_OWNER: usize = 1;

impl Table {
    /// Reads an authorization, consistently, and no ciphertext.
    pub(super) async fn authorization_without_tokens(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
    ) -> Result<Option<Authorization>, Unavailable> {
        let names = WITHOUT_TOKENS.map(|attribute| (format!("#{attribute}"), attribute.to_owned()));
        let request = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(Key::authorization(organization, id).attributes()))
            .consistent_read(true)
            .projection_expression(names.each_ref().map(|(placeholder, _)| placeholder.as_str()).join(", "))
            .set_expression_attribute_names(Some(names.into_iter().collect()));
        let answer = request.send().await.map_err(|error| Unavailable::new(READ_AUTHORIZATION, error))?;
        let row = answer.item.map(|item| Authorization::try_from(self.row(item)));
        row.transpose().map_err(|bad| Unavailable::new(READ_AUTHORIZATION, bad))
    }

    fn binding_together(&self, binding: &Binding, previous: Option<&Binding>) -> Result<Vec<TransactWriteItem>, Unavailable> {
        let place = Change::of(Key::binding(&binding.organization, &binding.workflow));
        let put = self.putting(binding_item(binding), as_expected(place, previous))?;
        Ok(match previous {
            None => vec![put, self.updating(counted_more(binding, 1, &Scopes::default()), OnRefusal::Hide)?],
            // The same authorization, perhaps with other scopes: an item may occur once in a transaction.
            Some(previous) if previous.authorization == binding.authorization => {
                vec![put, self.updating(counted_more(binding, 0, &previous.required_scopes), OnRefusal::Hide)?]
            }
            Some(previous) => vec![
                put,
                self.updating(counted_more(binding, 1, &Scopes::default()), OnRefusal::Hide)?,
                self.updating(counted_less(previous), OnRefusal::Hide)?,
            ],
        })
    }
}

/// The binding has to be as it was read, scopes included: the counts are changed by the difference.
pub(super) fn as_expected(place: Change, previous: Option<&Binding>) -> Change {
    match previous {
        None => place.when("attribute_not_exists(#pk)"),
        Some(previous) => place
            .when("#auth_id = :previous AND #required_scopes = :previous_scopes")
            .value(":previous", s(previous.authorization.as_str()))
            .value(":previous_scopes", list_of(&previous.required_scopes)),
    }
}

/// The authorization takes a binding on: it has to be active and to grant what the binding requires. `counted` are the scopes
/// that it counts for this binding so far.
fn counted_more(binding: &Binding, more: u8, counted: &Scopes) -> Change {
    let change = Change::of(Key::authorization(&binding.organization, &binding.authorization))
        .compute("#binding_count = #binding_count + :more")
        .value(":more", n(more))
        .when("#status = :active")
        .value(":active", s("active"));
    let change = binding
        .required_scopes
        .iter()
        .enumerate()
        .fold(change, |change, (at, scope)| change.when(&format!("contains(#scopes,:s{at})")).value(format!(":s{at}"), s(scope)));
    let change = adjusted(change, "m", &counted.missing(&binding.required_scopes), 1);
    adjusted(change, "l", &binding.required_scopes.missing(counted), -1)
}

/// The authorization lets a binding go.
fn counted_less(previous: &Binding) -> Change {
    let change = Change::of(Key::authorization(&previous.organization, &previous.authorization))
        .compute("#binding_count = #binding_count - :one")
        .when("#binding_count >= :one")
        .value(":one", n(1));
    adjusted(change, "l", &previous.required_scopes, -1)
}

/// Adds to the count of each scope. The paths are short because DynamoDB allows an expression 4 KB: a binding can require a
/// hundred scopes, and exchange fifty for another fifty.
fn adjusted(change: Change, prefix: &str, scopes: &Scopes, by: i8) -> Change {
    if scopes.is_empty() {
        return change;
    }
    let (z, by_name) = (":z", format!(":{prefix}"));
    let change = change.name("#r", "required_scopes").value(z, n(0)).value(by_name.clone(), n(by));
    scopes.iter().enumerate().fold(change, |change, (at, scope)| {
        let name = format!("#{prefix}{at}");
        change.name(name.clone(), scope).compute(&format!("#r.{name}=if_not_exists(#r.{name},{z})+{by_name}"))
    })
}

//! Moving bindings from one authorization to another (contract section 8, replace), many in one transaction.
//!
//! Every move changes the counts of both authorizations (I3). One transaction for each would make thousands of them stand in line
//! at the same two items; together they change each count once. A transaction is whole or not at all, so each move is, too.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::TransactWriteItem;

use super::Table;
use super::bindings::as_expected;
use super::change::Change;
use super::error::Refused;
use super::keys::{self, Key};
use super::retry::Patience;
use super::values::{n, s};
use super::write::{OnRefusal, Refusals, Transacted};
use crate::domain::authorization::Status;
use crate::domain::binding::Binding;
use crate::domain::ids::{AuthorizationId, OrganizationId};
use crate::ports::Unavailable;
use crate::ports::store::{BindObstacle, BindingMoves, MoveOutcome};

const MOVE: &str = "move bindings to another authorization";
/// Half of what DynamoDB allows in a transaction: it is done sooner, and fewer others collide with it.
const MOST_BINDINGS: usize = 50;
/// How many different scopes they may require together: DynamoDB allows an expression 4 KB.
const MOST_SCOPES: usize = 64;

#[async_trait]
impl BindingMoves for Table {
    async fn move_bindings(&self, bindings: &[Binding], to: &AuthorizationId) -> Result<MoveOutcome, Unavailable> {
        let share = Share::of(bindings);
        let Some(first) = share.bindings.first() else { return Ok(MoveOutcome::Moved(0)) };
        let (organization, from) = (&first.organization, &first.authorization);
        let new_owner = share.bindings.len();
        let mut patience = Patience::new(self);
        loop {
            let refusals = match self.transact(MOVE, self.moving(&share, organization, from, to)?).await? {
                Transacted::Done => return Ok(MoveOutcome::Moved(share.bindings.len())),
                Transacted::Refused(refusals) => refusals,
            };
            let otherwise = refused_among(&refusals, new_owner);
            if !otherwise.is_empty() {
                return Ok(MoveOutcome::Changed(otherwise));
            }
            if !refusals.refused(new_owner) {
                return Err(Unavailable::new(MOVE, Refused("the old authorization does not count these bindings")));
            }
            let Some(present) = self.authorization_without_tokens(organization, to).await? else { return Ok(MoveOutcome::Refused(None)) };
            let stands_in_the_way = present.status != Status::Active || share.required.keys().any(|scope| !present.scopes.contains(scope));
            // Between the refusal and the look the obstacle may have gone, by a re-authorization; then it is tried again.
            if stands_in_the_way || !patience.wait(self).await {
                return Ok(MoveOutcome::Refused(Some(BindObstacle { status: present.status, scopes: present.scopes })));
            }
        }
    }
}

/// What one transaction takes from the front.
struct Share<'a> {
    bindings: &'a [Binding],
    /// How many of them require each scope.
    required: BTreeMap<&'a str, u64>,
}

impl<'a> Share<'a> {
    fn of(bindings: &'a [Binding]) -> Self {
        let mut required = BTreeMap::new();
        let mut taken = 0;
        for binding in bindings.iter().take(MOST_BINDINGS) {
            let new = binding.required_scopes.iter().filter(|scope| !required.contains_key(scope)).count();
            if taken > 0 && required.len() + new > MOST_SCOPES {
                break;
            }
            for scope in binding.required_scopes.iter() {
                *required.entry(scope).or_default() += 1;
            }
            taken += 1;
        }
        Self { bindings: &bindings[..taken], required }
    }
}

impl Table {
    /// The bindings, the authorization that takes them on, and the one that lets them go.
    fn moving(
        &self,
        share: &Share<'_>,
        organization: &OrganizationId,
        from: &AuthorizationId,
        to: &AuthorizationId,
    ) -> Result<Vec<TransactWriteItem>, Unavailable> {
        let mut items = Vec::with_capacity(share.bindings.len() + 2);
        for binding in share.bindings {
            // Its name may be newer than the caller knows, so only what moves is written.
            let change = Change::of(Key::binding(organization, &binding.workflow))
                .set("auth_id", s(to.as_str()))
                .set("org_sk", s(keys::binding_position(to, &binding.workflow)));
            items.push(self.updating(as_expected(change, Some(binding)), OnRefusal::Hide)?);
        }
        let how_many = n(i128::try_from(share.bindings.len()).unwrap_or(i128::MAX));
        let gaining = Change::of(Key::authorization(organization, to))
            .compute("#binding_count = #binding_count + :many")
            .value(":many", how_many.clone())
            .when("#status = :active")
            .value(":active", s("active"));
        let gaining = share
            .required
            .keys()
            .enumerate()
            .fold(gaining, |change, (at, scope)| change.when(&format!("contains(#scopes,:s{at})")).value(format!(":s{at}"), s(*scope)));
        let losing = Change::of(Key::authorization(organization, from))
            .compute("#binding_count = #binding_count - :many")
            .when("#binding_count >= :many")
            .value(":many", how_many);
        items.push(self.updating(tallied(gaining, &share.required, '+'), OnRefusal::Hide)?);
        items.push(self.updating(tallied(losing, &share.required, '-'), OnRefusal::Hide)?);
        Ok(items)
    }
}

/// Adds each scope's number to its count, or takes it away.
fn tallied(change: Change, numbers: &BTreeMap<&str, u64>, sign: char) -> Change {
    if numbers.is_empty() {
        return change;
    }
    let change = change.name("#r", "required_scopes").value(":z", n(0));
    numbers.iter().enumerate().fold(change, |change, (at, (scope, number))| {
        let (name, value) = (format!("#r{at}"), format!(":r{at}"));
        let change = change.name(name.clone(), *scope).value(value.clone(), n(*number));
        change.compute(&format!("#r.{name}=if_not_exists(#r.{name},:z){sign}{value}"))
    })
}

fn refused_among(refusals: &Refusals, first: usize) -> Vec<usize> {
    (0..first).filter(|at| refusals.refused(*at)).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod unit {
    use super::*;
    use crate::domain::scopes::Scopes;
    use crate::dynamodb::tests::{authorization, binding};

    fn scopes(range: std::ops::Range<usize>) -> String {
        range.map(|n| format!("https://www.example.com/auth/scope-number-{n}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_share_fits_into_one_transaction() {
        let from = authorization("org_1", 1);
        let many: Vec<_> = (0..120).map(|n| binding(&from, &format!("fl_{n}"), "read")).collect();
        let share = Share::of(&many);
        assert_eq!((share.bindings.len(), share.required), (50, BTreeMap::from([("read", 50)])));
        assert_eq!(Share::of(&many[110..]).bindings.len(), 10);
        assert!(Share::of(&[]).bindings.is_empty());

        let of_32: Vec<_> = (0..3).map(|n| binding(&from, &format!("fl_{n}"), &scopes(n * 32..(n + 1) * 32))).collect();
        let share = Share::of(&of_32);
        assert_eq!((share.bindings.len(), share.required.len()), (2, 64));
        let greedy = [binding(&from, "fl_1", &scopes(0..100)), of_32[0].clone()];
        let share = Share::of(&greedy);
        assert_eq!((share.bindings.len(), share.required.len()), (1, 100), "one always fits");
    }

    #[test]
    fn the_expressions_of_a_full_share_are_within_four_kilobytes() {
        let from = authorization("org_1", 1);
        let many: Vec<_> = (0..50).map(|n| binding(&from, &format!("fl_{n}"), &scopes(0..64))).collect();
        let share = Share::of(&many);
        let change = Change::of(Key::authorization(&from.organization, &from.id)).compute("#binding_count = #binding_count + :many");
        let change = share.required.keys().enumerate().fold(change, |change, (at, _)| change.when(&format!("contains(#scopes,:s{at})")));
        let change = tallied(change, &share.required, '+');
        assert!(change.update_expression().len() < 4096, "{}", change.update_expression().len());
        assert!(change.condition_expression().len() < 4096, "{}", change.condition_expression().len());
        assert_eq!(share.bindings.len(), 50);
        assert!(Scopes::parse(&scopes(0..64)).unwrap().covers(&many[0].required_scopes));
    }
}

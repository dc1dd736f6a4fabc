//! Flows: claimed once, finished together with what they yield (I6).

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use super::Table;
use super::change::Change;
use super::error::{NotAsStored, Refused};
use super::items::{OPTIONAL, authorization_item};
use super::keys::Key;
use super::retry::Patience;
use super::row::Row;
use super::values::{counts, millis, n, s, seconds};
use super::write::{OnRefusal, Transacted, Written};
use crate::domain::authorization::{Authorization, Status};
use crate::domain::flow::{FlowOutcome, OUTCOME_LIFETIME, URL_LIFETIME};
use crate::domain::ids::{AuthorizationId, FlowId, OrganizationId};
use crate::ports::Unavailable;
use crate::ports::flows::{FlowClaim, Flows, Renewal};

const CLAIM: &str = "claim a flow";
const LOOK: &str = "look at a flow";
const FINISH: &str = "record the outcome of a flow";
const STORE: &str = "store an authorization";
const RENEW: &str = "renew an authorization";
/// What a renewal leaves as it is: identity, origin, use, and what bindings write (I3).
const KEPT: [&str; 12] = [
    "pk",
    "sk",
    "org_pk",
    "org_sk",
    "auth_id",
    "created_by_issuer",
    "created_by",
    "created_at",
    "binding_count",
    "required_scopes",
    "last_used_at",
    "expires_at",
];
/// A flow's item outlives every use of its id by this much, so that TTL never makes it usable again.
const SPARE: Duration = Duration::HOUR;

#[async_trait]
impl Flows for Table {
    async fn claim_flow(&self, flow: &FlowId, attempt: &str, now: OffsetDateTime) -> Result<FlowClaim, Unavailable> {
        let mut item = Key::flow(flow).attributes();
        item.extend([
            ("attempt".to_owned(), s(attempt)),
            ("claimed_at".to_owned(), millis(now)),
            ("expires_at".to_owned(), seconds(now + OUTCOME_LIFETIME.max(URL_LIFETIME) + SPARE)),
        ]);
        let mut row = match self.put_new(CLAIM, item).await? {
            Written::Done(_) => return Ok(FlowClaim::Claimed),
            Written::Refused(row) => row.ok_or_else(|| Unavailable::new(CLAIM, Refused("and no item shown")))?,
        };
        let claimed_by: String = row.required("attempt").map_err(|bad| Unavailable::new(CLAIM, bad))?;
        Ok(match found(row, CLAIM)? {
            FlowClaim::UnderWay { .. } if claimed_by == attempt => FlowClaim::Claimed,
            found => found,
        })
    }

    async fn flow_outcome(&self, flow: &FlowId) -> Result<Option<FlowClaim>, Unavailable> {
        self.get(LOOK, Key::flow(flow)).await?.map(|row| found(row, LOOK)).transpose()
    }

    async fn finish_flow(&self, flow: &FlowId, attempt: &str, outcome: &FlowOutcome, now: OffsetDateTime) -> Result<(), Unavailable> {
        let ours = match self.update(FINISH, finishing(flow, attempt, outcome, now)?).await? {
            Written::Done(_) => true,
            Written::Refused(row) => finished_by_us(row, attempt, outcome)?,
        };
        ours.then_some(()).ok_or_else(|| Unavailable::new(FINISH, Refused("the flow is another attempt's, or ended otherwise")))
    }

    async fn store_authorization(
        &self,
        authorization: &Authorization,
        flow: &FlowId,
        attempt: &str,
        now: OffsetDateTime,
    ) -> Result<(), Unavailable> {
        let outcome = FlowOutcome::Stored(authorization.id.clone());
        let key = Key::authorization(&authorization.organization, &authorization.id);
        let items = vec![
            self.putting(authorization_item(authorization), Change::of(key).when("attribute_not_exists(#pk)"))?,
            self.updating(finishing(flow, attempt, &outcome, now)?, OnRefusal::Show)?,
        ];
        let Transacted::Refused(mut refusals) = self.transact(STORE, items).await? else { return Ok(()) };
        if finished_by_us(refusals.item(self, 1), attempt, &outcome)? {
            return Ok(());
        }
        Err(Unavailable::new(STORE, Refused("the id is taken, or the flow is another attempt's")))
    }

    async fn renew_authorization(
        &self,
        renewed: &Authorization,
        flow: &FlowId,
        attempt: &str,
        now: OffsetDateTime,
    ) -> Result<Renewal, Unavailable> {
        let outcome = FlowOutcome::Stored(renewed.id.clone());
        // Bindings come and go without raising the version, so the counts are part of the condition. Where only they have
        // moved, and the new grant still covers them, the renewal is tried again over the present counts.
        let mut seen = renewed.required_scopes.clone();
        let mut covered = renewed.scopes.covers(&renewed.required());
        let mut patience = Patience::new(self);
        loop {
            if covered {
                let change = renewing(renewed).when("#required_scopes = :seen").value(":seen", counts(&seen));
                let items = vec![
                    self.updating(change, OnRefusal::Show)?,
                    self.updating(finishing(flow, attempt, &outcome, now)?, OnRefusal::Show)?,
                ];
                let Transacted::Refused(mut refusals) = self.transact(RENEW, items).await? else { return Ok(Renewal::Stored) };
                if refusals.refused(1) {
                    let ours = finished_by_us(refusals.item(self, 1), attempt, &outcome)?;
                    return if ours { Ok(Renewal::Stored) } else { Err(Unavailable::new(RENEW, Refused("the flow is another attempt's"))) };
                }
            }
            let Some(present) = self.get_authorization(&renewed.organization, &renewed.id).await? else {
                return Ok(Renewal::Changed(None));
            };
            covered = renewed.scopes.covers(&present.required());
            let renewable = match present.status {
                Status::Active | Status::NeedsReauthorization(_) => present.version + 1 == renewed.version,
                Status::Revoking | Status::Deleted => false,
            };
            if !(renewable && covered && patience.wait(self).await) {
                return Ok(Renewal::Changed(Some(Box::new(present))));
            }
            seen = present.required_scopes;
        }
    }

    async fn flow_authorization(&self, organization: &OrganizationId, id: &AuthorizationId) -> Result<Option<Authorization>, Unavailable> {
        self.get_authorization(organization, id).await
    }
}

/// The renewed record, written over the old one.
fn renewing(renewed: &Authorization) -> Change {
    let mut item = authorization_item(renewed);
    let mut change = Change::of(Key::authorization(&renewed.organization, &renewed.id));
    for attribute in OPTIONAL.into_iter().filter(|optional| !KEPT.contains(optional)) {
        change = change.set_or_remove(attribute, item.remove(attribute));
    }
    for (attribute, value) in item.into_iter().filter(|(attribute, _)| !KEPT.contains(&attribute.as_str())) {
        change = change.set(&attribute, value);
    }
    change
        .when("#version = :read_version AND #status IN (:active, :waiting)")
        .value(":read_version", n(renewed.version.saturating_sub(1)))
        .value(":active", s("active"))
        .value(":waiting", s("needs_reauthorization"))
}

/// Writes the outcome of a flow that this attempt has claimed and not finished yet.
fn finishing(flow: &FlowId, attempt: &str, outcome: &FlowOutcome, now: OffsetDateTime) -> Result<Change, Unavailable> {
    let text = serde_json::to_string(outcome).map_err(|error| Unavailable::new(FINISH, error))?;
    Ok(Change::of(Key::flow(flow))
        .set("outcome", s(text))
        .set("finished_at", millis(now))
        .when("#attempt = :attempt AND attribute_not_exists(#outcome)")
        .value(":attempt", s(attempt)))
}

/// A flow that somebody claimed.
fn found(mut row: Row, doing: &'static str) -> Result<FlowClaim, Unavailable> {
    let claimed_at = row.time("claimed_at").map_err(|bad| Unavailable::new(doing, bad))?;
    Ok(match outcome(&mut row, doing)? {
        Some(outcome) => FlowClaim::Finished { outcome, claimed_at },
        None => FlowClaim::UnderWay { claimed_at },
    })
}

/// Whether the flow was finished with this outcome by an earlier try of ours, whose answer was lost.
fn finished_by_us(row: Option<Row>, attempt: &str, expected: &FlowOutcome) -> Result<bool, Unavailable> {
    let Some(mut row) = row else { return Ok(false) };
    let by: Option<String> = row.optional("attempt").map_err(|bad| Unavailable::new(FINISH, bad))?;
    Ok(by.as_deref() == Some(attempt) && outcome(&mut row, FINISH)?.as_ref() == Some(expected))
}

fn outcome(row: &mut Row, doing: &'static str) -> Result<Option<FlowOutcome>, Unavailable> {
    let text: Option<String> = row.optional("outcome").map_err(|bad| Unavailable::new(doing, bad))?;
    let outcome = text.map(|text| serde_json::from_str(&text)).transpose();
    outcome.map_err(|_| Unavailable::new(doing, row.bad("outcome", NotAsStored("not an outcome"))))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn what_a_renewal_keeps_is_what_it_must_not_know() {
        let item = authorization_item(&crate::dynamodb::tests::authorization("org_1", 1));
        let change = renewing(&crate::dynamodb::tests::authorization("org_1", 1)).update_expression();
        for attribute in item.keys() {
            assert_eq!(!change.contains(&format!("#{attribute} ")), KEPT.contains(&attribute.as_str()), "{attribute}");
        }
    }
}

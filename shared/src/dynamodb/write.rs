//! Sends changes, and tells a refused condition, which is an answer, from a failure, which is none.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    CancellationReason, Delete, Put, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};

use super::Table;
use super::change::Change;
use super::error::Cancelled;
use super::retry::{Patience, passes};
use super::row::Row;
use super::values::Item;
use crate::ports::Unavailable;
use crate::ports::clock::random;

/// What a conditional write came to.
pub(super) enum Written {
    /// It took effect; the item as it is now.
    Done(Row),
    /// The condition did not hold; the item as it is, if there is one.
    Refused(Option<Row>),
}

/// What a transaction came to.
pub(super) enum Transacted {
    Done,
    Refused(Refusals),
}

/// Which conditions of a transaction did not hold, by position.
pub(super) struct Refusals(Vec<CancellationReason>);

/// Whether a refused condition of a transaction shows the item as it is. Where the caller's role must not see a token
/// attribute, not even as ciphertext, it does not (security requirement 91).
#[derive(Clone, Copy)]
pub(super) enum OnRefusal {
    Show,
    Hide,
}

impl Table {
    /// Updates one item.
    pub(super) async fn update(&self, doing: &'static str, change: Change) -> Result<Written, Unavailable> {
        self.update_patiently(doing, change, Patience::new(self)).await
    }

    /// Updates one item, or leaves it: for what nobody should wait for.
    pub(super) async fn update_at_once(&self, doing: &'static str, change: Change) -> Result<Written, Unavailable> {
        self.update_patiently(doing, change, Patience::none(self)).await
    }

    async fn update_patiently(&self, doing: &'static str, change: Change, mut patience: Patience) -> Result<Written, Unavailable> {
        loop {
            let request = self
                .client
                .update_item()
                .table_name(&self.name)
                .set_key(Some(change.key.attributes()))
                .update_expression(change.update_expression())
                .condition_expression(change.condition_expression())
                .set_expression_attribute_names(Some(change.names.clone()))
                .set_expression_attribute_values(Some(change.values.clone()))
                .return_values(ReturnValue::AllNew)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            let error = match request.send().await {
                Ok(answer) => return Ok(Written::Done(self.row(answer.attributes.unwrap_or_default()))),
                Err(error) => error,
            };
            if let Some(UpdateItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() {
                return Ok(Written::Refused(refused.item.clone().map(|item| self.row(item))));
            }
            if !(passes(&error) && patience.wait(self).await) {
                return Err(Unavailable::new(doing, error));
            }
        }
    }

    /// Puts an item where none is.
    pub(super) async fn put_new(&self, doing: &'static str, item: Item) -> Result<Written, Unavailable> {
        let mut patience = Patience::new(self);
        loop {
            let request = self
                .client
                .put_item()
                .table_name(&self.name)
                .set_item(Some(item.clone()))
                .condition_expression(ABSENT)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            let Err(error) = request.send().await else { return Ok(Written::Done(self.row(item))) };
            if let Some(PutItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() {
                return Ok(Written::Refused(refused.item.clone().map(|item| self.row(item))));
            }
            if !(passes(&error) && patience.wait(self).await) {
                return Err(Unavailable::new(doing, error));
            }
        }
    }

    /// Sends a transaction. Every try has the same client request token, so a transaction whose answer was lost is not done again;
    /// a repetition by the caller is another transaction, whose conditions tell it from the first.
    pub(super) async fn transact(&self, doing: &'static str, items: Vec<TransactWriteItem>) -> Result<Transacted, Unavailable> {
        let token = format!("{:032x}", u128::from_be_bytes(random::<16>(self.entropy.as_ref())?));
        let mut patience = Patience::new(self);
        loop {
            let request = self.client.transact_write_items().client_request_token(&token).set_transact_items(Some(items.clone()));
            let Err(error) = request.send().await else { return Ok(Transacted::Done) };
            let reasons = match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => cancelled.cancellation_reasons(),
                Some(_) | None if passes(&error) && patience.wait(self).await => continue,
                Some(_) | None => return Err(Unavailable::new(doing, error)),
            };
            if reasons.iter().any(is_refusal) {
                return Ok(Transacted::Refused(Refusals(reasons.to_vec())));
            }
            if !(reasons.iter().any(is_passing) && patience.wait(self).await) {
                let codes = reasons.iter().filter_map(CancellationReason::code).collect::<Vec<_>>().join(", ");
                return Err(Unavailable::new(doing, Cancelled { codes }));
            }
        }
    }

    /// An update as part of a transaction.
    pub(super) fn updating(&self, change: Change, on_refusal: OnRefusal) -> Result<TransactWriteItem, Unavailable> {
        let update = Update::builder()
            .table_name(&self.name)
            .set_key(Some(change.key.attributes()))
            .update_expression(change.update_expression())
            .condition_expression(change.condition_expression())
            .set_expression_attribute_names(Some(change.names))
            .set_expression_attribute_values(Some(change.values))
            .return_values_on_condition_check_failure(on_refusal.into())
            .build();
        Ok(TransactWriteItem::builder().update(update.map_err(incomplete)?).build())
    }

    /// A put as part of a transaction; the change has the condition only.
    pub(super) fn putting(&self, item: Item, condition: Change) -> Result<TransactWriteItem, Unavailable> {
        let put = Put::builder()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression(condition.condition_expression())
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values((!condition.values.is_empty()).then_some(condition.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build();
        Ok(TransactWriteItem::builder().put(put.map_err(incomplete)?).build())
    }

    /// A deletion as part of a transaction; the change has the condition only.
    pub(super) fn deleting(&self, condition: Change) -> Result<TransactWriteItem, Unavailable> {
        let delete = Delete::builder()
            .table_name(&self.name)
            .set_key(Some(condition.key.attributes()))
            .condition_expression(condition.condition_expression())
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(Some(condition.values))
            .build();
        Ok(TransactWriteItem::builder().delete(delete.map_err(incomplete)?).build())
    }
}

/// The condition of a put that must not replace anything.
const ABSENT: &str = "attribute_not_exists(pk)";

impl Refusals {
    pub(super) fn refused(&self, at: usize) -> bool {
        self.0.get(at).is_some_and(is_refusal)
    }

    /// The item that a condition was refused for, if there is one and it was to be shown.
    pub(super) fn item(&mut self, table: &Table, at: usize) -> Option<Row> {
        self.0.get_mut(at).and_then(|reason| reason.item.take()).map(|item| table.row(item))
    }
}

impl From<OnRefusal> for ReturnValuesOnConditionCheckFailure {
    fn from(on_refusal: OnRefusal) -> Self {
        match on_refusal {
            OnRefusal::Show => Self::AllOld,
            OnRefusal::Hide => Self::None,
        }
    }
}

fn is_refusal(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

fn is_passing(reason: &CancellationReason) -> bool {
    matches!(reason.code(), Some("TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded"))
}

fn incomplete(error: aws_sdk_dynamodb::error::BuildError) -> Unavailable {
    Unavailable::new("put a transaction together", error)
}

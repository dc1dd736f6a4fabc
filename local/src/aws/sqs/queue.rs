//! A queue and its messages.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What AWS hides a received message for unless told otherwise, in seconds.
const DEFAULT_VISIBILITY: i64 = 30;

/// A standard queue.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Queue {
    pub(super) created: i64,
    /// As set at creation.
    pub(super) attributes: BTreeMap<String, String>,
    /// In the order of arrival.
    pub(super) messages: Vec<Message>,
}

/// A message. Times are milliseconds since 1970.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) id: Uuid,
    pub(super) body: String,
    pub(super) sent: i64,
    pub(super) visible_at: i64,
    pub(super) received: u32,
    pub(super) first_received: Option<i64>,
    /// The handle of the newest receipt, while it may delete the message.
    pub(super) receipt: Option<Receipt>,
}

/// A receipt handle: which message, and which of its receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receipt {
    pub(super) message: Uuid,
    nonce: Uuid,
}

impl Receipt {
    /// Reads a handle; `None` if it is not one of ours.
    pub(super) fn parse(handle: &str) -> Option<Self> {
        let (message, nonce) = handle.split_once('.')?;
        Some(Self { message: Uuid::try_parse(message).ok()?, nonce: Uuid::try_parse(nonce).ok()? })
    }

    /// The handle's text.
    pub(super) fn handle(self) -> String {
        format!("{}.{}", self.message.simple(), self.nonce.simple())
    }
}

impl Message {
    /// Hands the message out until `visible_at`.
    pub(super) fn receive(&mut self, now: i64, visible_at: i64) -> Receipt {
        let receipt = Receipt { message: self.id, nonce: Uuid::new_v4() };
        self.received = self.received.saturating_add(1);
        self.first_received.get_or_insert(now);
        self.visible_at = visible_at;
        self.receipt = Some(receipt);
        receipt
    }

    /// The attributes that a receiver may ask for.
    pub(super) fn system_attributes(&self) -> BTreeMap<&'static str, String> {
        let mut attributes =
            BTreeMap::from([("SentTimestamp", self.sent.to_string()), ("ApproximateReceiveCount", self.received.to_string())]);
        attributes.extend(self.first_received.map(|time| ("ApproximateFirstReceiveTimestamp", time.to_string())));
        attributes
    }
}

impl Queue {
    /// How long a received message is hidden unless the receiver says otherwise, in seconds.
    pub(super) fn visibility(&self) -> i64 {
        self.seconds("VisibilityTimeout").unwrap_or(DEFAULT_VISIBILITY)
    }

    /// How long a new message is hidden, in seconds.
    pub(super) fn delay(&self) -> i64 {
        self.seconds("DelaySeconds").unwrap_or(0)
    }

    /// How long a receiver waits unless it says otherwise, in seconds.
    pub(super) fn wait(&self) -> i64 {
        self.seconds("ReceiveMessageWaitTimeSeconds").unwrap_or(0)
    }

    fn seconds(&self, attribute: &str) -> Option<i64> {
        self.attributes.get(attribute)?.parse().ok()
    }
}

//! SQS, small and honest: standard queues with at-least-once delivery, visibility timeouts and receipt handles.
//!
//! [`queue`] is what is kept, [`queues`] and [`messages`] are the operations. Not emulated, and refused where a
//! request asks for it: FIFO queues, message attributes. Not emulated and without effect: retention, dead-letter
//! queues.

mod messages;
mod queue;
mod queues;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use tokio::sync::Notify;

use super::snapshot::{Snapshot, SnapshotError};
use super::wire::{Fault, parse};
use queue::Queue;

/// The service.
pub(super) struct Sqs {
    queues: Snapshot<Queues>,
    endpoint: String,
    /// Wakes the receivers that wait for a message.
    arrived: Notify,
}

/// All queues, by name.
type Queues = BTreeMap<String, Queue>;

impl Sqs {
    /// Opens the queues in `file`, or none in memory. Queue URLs begin with `endpoint`.
    pub(super) fn open(file: Option<PathBuf>, endpoint: String) -> Result<Self, SnapshotError> {
        Ok(Self { queues: Snapshot::open(file)?, endpoint, arrived: Notify::new() })
    }

    /// Answers one request; `ReceiveMessage`, which may wait, is [`Sqs::receive`].
    pub(super) fn handle(&self, operation: &str, request: Value) -> Result<Value, Fault> {
        match operation {
            "CreateQueue" => self.create(parse(request)?),
            "GetQueueUrl" => self.url(&parse(request)?),
            "ListQueues" => self.list(&parse(request)?),
            "DeleteQueue" => self.remove(&parse(request)?),
            "PurgeQueue" => self.purge(&parse(request)?),
            "GetQueueAttributes" => self.attributes(&parse(request)?),
            "SendMessage" => self.send(parse(request)?),
            "DeleteMessage" => self.delete(&parse(request)?),
            "ChangeMessageVisibility" => self.change_visibility(&parse(request)?),
            _ => Err(Fault::unknown_operation()),
        }
    }

    /// Works on the queue that a URL names. Only its last segment counts: the address may have changed since.
    fn edit<R>(&self, url: &str, edit: impl FnOnce(&mut Queue) -> Result<R, Fault>) -> Result<R, Fault> {
        self.queues.change(|queues| match queues.get_mut(name_in(url)) {
            Some(queue) => edit(queue),
            None => Err(no_such_queue()),
        })
    }
}

fn name_in(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

fn no_such_queue() -> Fault {
    Fault::client("QueueDoesNotExist", "The specified queue does not exist.").query_code("AWS.SimpleQueueService.NonExistentQueue")
}

fn unsupported(message: &str) -> Fault {
    Fault::client("UnsupportedOperation", message).query_code("AWS.SimpleQueueService.UnsupportedOperation")
}

fn invalid_parameter(message: &str) -> Fault {
    Fault::client("InvalidParameterValue", message).query_code("InvalidParameterValue")
}

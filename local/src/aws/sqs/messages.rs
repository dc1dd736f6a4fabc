//! Sending, receiving and deleting.

use std::fmt::Write;
use std::time::Duration;

use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::super::clock::now_millis;
use super::super::wire::Fault;
use super::queue::{Message, Queue, Receipt};
use super::{Sqs, invalid_parameter, name_in, no_such_queue, unsupported};

/// A message is smaller than this, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;
/// Twelve hours: the longest that a message can be hidden, in seconds.
const VISIBILITY_LIMIT: i64 = 43_200;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SendRequest {
    queue_url: String,
    message_body: String,
    delay_seconds: Option<i64>,
    message_attributes: Option<serde_json::Map<String, Value>>,
    message_group_id: Option<String>,
    message_deduplication_id: Option<String>,
}

/// The input of `ReceiveMessage`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in super::super) struct ReceiveRequest {
    queue_url: String,
    max_number_of_messages: Option<usize>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    attribute_names: Option<Vec<String>>,
    message_system_attribute_names: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteRequest {
    queue_url: String,
    receipt_handle: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VisibilityRequest {
    queue_url: String,
    receipt_handle: String,
    visibility_timeout: i64,
}

impl Sqs {
    /// `SendMessage`.
    pub(super) fn send(&self, request: SendRequest) -> Result<Value, Fault> {
        if request.message_attributes.is_some_and(|attributes| !attributes.is_empty()) {
            return Err(unsupported("message attributes are not emulated"));
        }
        if request.message_group_id.or(request.message_deduplication_id).is_some() {
            return Err(unsupported("FIFO queues are not emulated"));
        }
        if request.message_body.is_empty() {
            let message = "The request must contain the parameter MessageBody.";
            return Err(Fault::client("MissingParameter", message).query_code("MissingParameter"));
        }
        if request.message_body.len() > BODY_LIMIT {
            let message = "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes.";
            return Err(invalid_parameter(message));
        }
        let delay = request.delay_seconds;
        if delay.is_some_and(|delay| !(0..=900).contains(&delay)) {
            return Err(invalid_parameter("DelaySeconds must be between 0 and 900."));
        }
        let (id, digest) = (Uuid::new_v4(), md5_hex(&request.message_body));
        self.edit(&request.queue_url, |queue| {
            let now = now_millis();
            queue.messages.push(Message {
                id,
                body: request.message_body,
                sent: now,
                visible_at: now + 1000 * delay.unwrap_or(queue.delay()),
                received: 0,
                first_received: None,
                receipt: None,
            });
            Ok(())
        })?;
        self.arrived.notify_waiters();
        Ok(json!({ "MessageId": id, "MD5OfMessageBody": digest }))
    }

    /// `ReceiveMessage`. It waits as long as asked, until a message is there or the emulation stops.
    pub(in super::super) async fn receive(
        self: &std::sync::Arc<Self>,
        request: ReceiveRequest,
        mut stopping: watch::Receiver<bool>,
    ) -> Result<Value, Fault> {
        let (most, wait) = self.check(&request)?;
        let deadline = Instant::now() + wait;
        let request = std::sync::Arc::new(request);
        loop {
            // Listening begins before looking, so that nothing arrives unnoticed in between.
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            let (sqs, asked) = (std::sync::Arc::clone(self), std::sync::Arc::clone(&request));
            let taken = tokio::task::spawn_blocking(move || sqs.take(&asked, most)).await;
            let (messages, next_visible) = taken.unwrap_or_else(|_| Err(Fault::internal()))?;
            if !messages.is_empty() || Instant::now() >= deadline {
                return Ok(json!({ "Messages": messages }));
            }
            let until = next_visible.map_or(deadline, |next| deadline.min(Instant::now() + next));
            tokio::select! {
                () = &mut arrived => {}
                () = tokio::time::sleep_until(until) => {}
                // An error means that the emulation is gone, which is a stop too.
                _ = stopping.wait_for(|stop| *stop) => return Ok(json!({ "Messages": messages })),
            }
        }
    }

    fn check(&self, request: &ReceiveRequest) -> Result<(usize, Duration), Fault> {
        let most = request.max_number_of_messages.unwrap_or(1);
        if !(1..=10).contains(&most) {
            return Err(invalid_parameter("MaxNumberOfMessages must be between 1 and 10, if provided."));
        }
        if request.visibility_timeout.is_some_and(|seconds| !(0..=VISIBILITY_LIMIT).contains(&seconds)) {
            return Err(invalid_parameter("VisibilityTimeout must be between 0 and 43200."));
        }
        let name = name_in(&request.queue_url);
        let default = self.queues.read(|queues| queues.get(name).map(Queue::wait)).ok_or_else(no_such_queue)?;
        let wait = request.wait_time_seconds.unwrap_or(default.clamp(0, 20));
        if !(0..=20).contains(&wait) {
            return Err(invalid_parameter("WaitTimeSeconds must be between 0 and 20, if provided."));
        }
        Ok((most, Duration::from_secs(wait.unsigned_abs())))
    }

    /// Takes up to `most` visible messages; and says how soon the next hidden one becomes visible.
    fn take(&self, request: &ReceiveRequest, most: usize) -> Result<(Vec<Value>, Option<Duration>), Fault> {
        let names = [&request.attribute_names, &request.message_system_attribute_names];
        let asked: Vec<&String> = names.into_iter().flatten().flatten().collect();
        self.edit(&request.queue_url, |queue| {
            let now = now_millis();
            let hidden = request.visibility_timeout.unwrap_or(queue.visibility());
            let visible = queue.messages.iter_mut().filter(|message| message.visible_at <= now);
            let taken: Vec<Value> = visible
                .take(most)
                .map(|message| {
                    let receipt = message.receive(now, now + 1000 * hidden);
                    let mut attributes = message.system_attributes();
                    attributes.retain(|name, _| asked.iter().any(|asked| *asked == "All" || asked == name));
                    json!({
                        "MessageId": message.id, "ReceiptHandle": receipt.handle(), "Body": message.body,
                        "MD5OfBody": md5_hex(&message.body), "Attributes": attributes,
                    })
                })
                .collect();
            let soonest = queue.messages.iter().map(|message| message.visible_at - now).filter(|wait| *wait > 0).min();
            Ok((taken, soonest.map(|wait| Duration::from_millis(wait.unsigned_abs()))))
        })
    }

    /// `DeleteMessage`. A handle that a later receipt replaced deletes nothing, and that is a success.
    pub(super) fn delete(&self, request: &DeleteRequest) -> Result<Value, Fault> {
        let receipt = receipt(&request.receipt_handle)?;
        self.edit(&request.queue_url, |queue| {
            queue.messages.retain(|message| message.receipt != Some(receipt));
            Ok(json!({}))
        })
    }

    /// `ChangeMessageVisibility`.
    pub(super) fn change_visibility(&self, request: &VisibilityRequest) -> Result<Value, Fault> {
        let receipt = receipt(&request.receipt_handle)?;
        if !(0..=VISIBILITY_LIMIT).contains(&request.visibility_timeout) {
            return Err(invalid_parameter("VisibilityTimeout must be between 0 and 43200."));
        }
        self.edit(&request.queue_url, |queue| {
            let now = now_millis();
            let in_flight = |message: &&mut Message| message.receipt == Some(receipt) && message.visible_at > now;
            let message = queue.messages.iter_mut().find(in_flight).ok_or_else(|| {
                Fault::client("MessageNotInflight", "The message is not in flight.").query_code("AWS.SimpleQueueService.MessageNotInflight")
            })?;
            message.visible_at = now + 1000 * request.visibility_timeout;
            Ok(json!({}))
        })?;
        self.arrived.notify_waiters();
        Ok(json!({}))
    }
}

fn receipt(handle: &str) -> Result<Receipt, Fault> {
    Receipt::parse(handle)
        .ok_or_else(|| Fault::client("ReceiptHandleIsInvalid", "The input receipt handle is invalid.").query_code("ReceiptHandleIsInvalid"))
}

/// MD5 as SQS reports it, for the senders and receivers that compare it.
fn md5_hex(text: &str) -> String {
    Md5::digest(text).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

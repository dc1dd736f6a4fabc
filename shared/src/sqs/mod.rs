//! The rescue queue over SQS: the second durable sink of a refreshed credential when the table stays down (design section 5).
//!
//! A message holds ciphertext only (I2): what the queue keeps is what the table would have kept.

mod message;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;

use crate::ports::Unavailable;
use crate::ports::store::{RescueDrain, RescueQueue, Rescued};

const SEND: &str = "keep a refreshed credential in the rescue queue";
const RECEIVE: &str = "receive from the rescue queue";
const COUNT: &str = "count the messages of the rescue queue";
const FORGET: &str = "remove a repaired credential from the rescue queue";
/// The most that SQS gives at once.
const AT_ONCE: i32 = 10;

/// One queue, for both of its ends; a function's role decides which it can use.
#[derive(Clone)]
pub struct RescueQueueClient {
    client: Client,
    queue_url: String,
}

impl RescueQueueClient {
    /// The queue at this URL.
    pub fn new(client: Client, queue_url: impl Into<String>) -> Self {
        Self { client, queue_url: queue_url.into() }
    }
}

#[async_trait]
impl RescueQueue for RescueQueueClient {
    async fn rescue(&self, rescued: &Rescued) -> Result<(), Unavailable> {
        let body = message::write(rescued).map_err(|error| Unavailable::new(SEND, error))?;
        let request = self.client.send_message().queue_url(&self.queue_url).message_body(body);
        request.send().await.map(|_| ()).map_err(|error| Unavailable::new(SEND, error))
    }
}

#[async_trait]
impl RescueDrain for RescueQueueClient {
    async fn receive_rescued(&self) -> Result<Vec<(Rescued, String)>, Unavailable> {
        // No long wait: the queue is empty but for a disaster, and the run has other things to do.
        let request = self.client.receive_message().queue_url(&self.queue_url).max_number_of_messages(AT_ONCE).wait_time_seconds(0);
        let answer = request.send().await.map_err(|error| Unavailable::new(RECEIVE, error))?;
        let mut received = Vec::new();
        for message in answer.messages.unwrap_or_default() {
            let (Some(body), Some(receipt)) = (message.body, message.receipt_handle) else { continue };
            match message::read(&body) {
                Ok(rescued) => received.push((rescued, receipt)),
                // Left in the queue, it ends up in the dead-letter queue; the others must not wait for it.
                Err(error) => tracing::error!(%error, "skipped a message of the rescue queue"),
            }
        }
        Ok(received)
    }

    async fn holds_nothing(&self) -> Result<bool, Unavailable> {
        const COUNTS: [QueueAttributeName; 2] =
            [QueueAttributeName::ApproximateNumberOfMessages, QueueAttributeName::ApproximateNumberOfMessagesNotVisible];
        let request = self.client.get_queue_attributes().queue_url(&self.queue_url).set_attribute_names(Some(COUNTS.to_vec()));
        let answer = request.send().await.map_err(|error| Unavailable::new(COUNT, error))?;
        let count = |name| answer.attributes.as_ref().and_then(|counts| counts.get(name)).map(String::as_str);
        Ok(COUNTS.iter().all(|name| count(name) == Some("0")))
    }

    async fn forget_rescued(&self, receipt: &str) -> Result<(), Unavailable> {
        let request = self.client.delete_message().queue_url(&self.queue_url).receipt_handle(receipt);
        request.send().await.map(|_| ()).map_err(|error| Unavailable::new(FORGET, error))
    }
}

//! The operations on whole queues.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::clock::{now_millis, now_seconds};
use super::super::wire::{Fault, Page};
use super::super::{ACCOUNT, REGION};
use super::queue::Queue;
use super::{Sqs, invalid_parameter, name_in, no_such_queue, unsupported};

/// How much a listing shows at once unless told otherwise.
const DEFAULT_PAGE: usize = 1000;
/// The attributes that a creation may set, and what they are when it does not.
const ATTRIBUTES: [(&str, &str); 5] = [
    ("VisibilityTimeout", "30"),
    ("DelaySeconds", "0"),
    ("ReceiveMessageWaitTimeSeconds", "0"),
    ("MessageRetentionPeriod", "345600"),
    ("MaximumMessageSize", "1048576"),
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateRequest {
    queue_name: String,
    attributes: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NameRequest {
    queue_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UrlRequest {
    queue_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AttributesRequest {
    queue_url: String,
    attribute_names: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListRequest {
    queue_name_prefix: Option<String>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

impl Sqs {
    /// `CreateQueue`. The same queue again is a success; with other attributes it is refused.
    pub(super) fn create(&self, request: CreateRequest) -> Result<Value, Fault> {
        let name = request.queue_name;
        let attributes = request.attributes.unwrap_or_default();
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if attributes.contains_key("FifoQueue") {
            return Err(unsupported("FIFO queues are not emulated"));
        }
        if name.is_empty() || name.len() > 80 || !name.chars().all(allowed) {
            let message = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
            return Err(invalid_parameter(message));
        }
        let number = |name: &str| ATTRIBUTES.iter().any(|(number, _)| *number == name);
        if let Some((name, _)) = attributes.iter().find(|(name, value)| number(name) && value.parse::<u32>().is_err()) {
            return Err(invalid_parameter(&format!("Invalid value for the parameter {name}.")));
        }
        let url = self.url_of(&name);
        self.queues.change(|queues| {
            match queues.get(&name) {
                Some(queue) if attributes.iter().any(|(name, value)| queue.attributes.get(name) != Some(value)) => {
                    let message = "A queue already exists with the same name and a different value for an attribute";
                    return Err(Fault::client("QueueNameExists", message).query_code("QueueAlreadyExists"));
                }
                Some(_) => {}
                None => {
                    queues.insert(name, Queue { created: now_seconds(), attributes, messages: Vec::new() });
                }
            }
            Ok(json!({ "QueueUrl": url }))
        })
    }

    /// `GetQueueUrl`.
    pub(super) fn url(&self, request: &NameRequest) -> Result<Value, Fault> {
        let name = &request.queue_name;
        self.queues.read(|queues| queues.contains_key(name)).then(|| json!({ "QueueUrl": self.url_of(name) })).ok_or_else(no_such_queue)
    }

    /// `ListQueues`.
    pub(super) fn list(&self, request: &ListRequest) -> Result<Value, Fault> {
        let prefix = request.queue_name_prefix.as_deref().unwrap_or_default();
        let all = self.queues.read(|queues| queues.keys().filter(|name| name.starts_with(prefix)).map(|name| self.url_of(name)).collect());
        let size = request.max_results.unwrap_or(DEFAULT_PAGE);
        let page = Page::cut(all, size, request.next_token.as_deref(), invalid_parameter("NextToken"))?;
        let mut answer = json!({ "QueueUrls": page.items });
        if let Some(fields) = answer.as_object_mut() {
            fields.extend(page.next.map(|next| ("NextToken".to_owned(), next.into())));
        }
        Ok(answer)
    }

    /// `DeleteQueue`.
    pub(super) fn remove(&self, request: &UrlRequest) -> Result<Value, Fault> {
        self.queues.change(|queues| queues.remove(name_in(&request.queue_url)).map(|_| json!({})).ok_or_else(no_such_queue))
    }

    /// `PurgeQueue`.
    pub(super) fn purge(&self, request: &UrlRequest) -> Result<Value, Fault> {
        self.edit(&request.queue_url, |queue| {
            queue.messages.clear();
            Ok(json!({}))
        })
    }

    /// `GetQueueAttributes`.
    pub(super) fn attributes(&self, request: &AttributesRequest) -> Result<Value, Fault> {
        let name = name_in(&request.queue_url);
        let asked = request.attribute_names.as_deref().unwrap_or_default();
        let wanted = |name: &str| asked.iter().any(|asked| asked == "All" || asked == name);
        let mut all = self.queues.read(|queues| queues.get(name).map(describe)).ok_or_else(no_such_queue)?;
        all.insert("QueueArn".to_owned(), format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"));
        all.retain(|name, _| wanted(name));
        Ok(json!({ "Attributes": all }))
    }

    fn url_of(&self, name: &str) -> String {
        format!("{}/{ACCOUNT}/{name}", self.endpoint)
    }
}

fn describe(queue: &Queue) -> BTreeMap<String, String> {
    let now = now_millis();
    let (visible, hidden): (Vec<_>, Vec<_>) = queue.messages.iter().partition(|message| message.visible_at <= now);
    let (in_flight, delayed): (Vec<_>, Vec<_>) = hidden.into_iter().partition(|message| message.received > 0);
    let mut all: BTreeMap<String, String> = ATTRIBUTES.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    all.extend(queue.attributes.clone());
    all.extend([
        ("ApproximateNumberOfMessages".to_owned(), visible.len().to_string()),
        ("ApproximateNumberOfMessagesNotVisible".to_owned(), in_flight.len().to_string()),
        ("ApproximateNumberOfMessagesDelayed".to_owned(), delayed.len().to_string()),
        ("CreatedTimestamp".to_owned(), queue.created.to_string()),
        ("LastModifiedTimestamp".to_owned(), queue.created.to_string()),
    ]);
    all
}

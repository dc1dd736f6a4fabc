//! EventBridge, as far as one who puts events sees it: `PutEvents`, with the checks that the service makes of an entry. There are no
//! rules and no targets; what was taken can be looked at.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::wire::Fault;

/// The most entries of one request.
const ENTRIES: usize = 10;
/// The most bytes of one request.
const BYTES: usize = 1024 * 1024;
/// How many events are kept to be looked at: more than any test or demonstration puts.
const KEPT: usize = 10_000;

/// The service.
#[derive(Default)]
pub(super) struct EventBridge {
    taken: Mutex<VecDeque<Value>>,
}

impl EventBridge {
    /// Answers one request.
    pub(super) fn handle(&self, operation: &str, request: &Value) -> Result<Value, Fault> {
        if operation != "PutEvents" {
            return Err(Fault::unknown_operation());
        }
        let entries = request["Entries"].as_array().filter(|entries| (1..=ENTRIES).contains(&entries.len()));
        let entries = entries.ok_or_else(|| Fault::constraint("entries", "Member must have length between 1 and 10"))?;
        if entries.iter().map(|entry| entry.to_string().len()).sum::<usize>() > BYTES {
            return Err(Fault::client("ValidationException", "Total size of the entries in the request is over the limit."));
        }
        let answers: Vec<Value> = entries.iter().map(|entry| self.take(entry)).collect();
        let failed = answers.iter().filter(|answer| answer.get("ErrorCode").is_some()).count();
        Ok(json!({ "FailedEntryCount": failed, "Entries": answers }))
    }

    /// Takes an entry or says why not; a request succeeds either way.
    fn take(&self, entry: &Value) -> Value {
        let text = |field: &str| entry[field].as_str().filter(|text| !text.is_empty());
        let refused = |code: &str, message: &str| json!({ "ErrorCode": code, "ErrorMessage": message });
        let (Some(source), Some(_), Some(detail)) = (text("Source"), text("DetailType"), text("Detail")) else {
            return refused("InvalidArgument", "Source, DetailType and Detail are required.");
        };
        if source.starts_with("aws.") {
            return refused("NotAuthorizedForSourceException", "Not authorized for the source.");
        }
        let Ok(detail @ Value::Object(_)) = serde_json::from_str(detail) else {
            return refused("MalformedDetail", "Detail is malformed.");
        };
        let id = uuid::Uuid::new_v4().to_string();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() == KEPT {
            taken.pop_front();
        }
        taken.push_back(json!({
            "id": id,
            "source": source,
            "detail-type": entry["DetailType"],
            "time": entry["Time"],
            "bus": entry["EventBusName"],
            "detail": detail,
        }));
        json!({ "EventId": id })
    }

    /// What was taken, oldest first.
    pub(super) fn taken(&self) -> Vec<Value> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    #[test]
    fn a_request_succeeds_and_says_entry_by_entry_what_was_not_taken() {
        let service = EventBridge::default();
        let entry =
            |source: &str, detail: &str| json!({ "Source": source, "DetailType": "d", "Detail": detail, "EventBusName": "default" });
        let request =
            json!({ "Entries": [entry("mandate", "{}"), entry("aws.ec2", "{}"), entry("mandate", "{"), entry("mandate", "1"), {}] });
        let answer = service.handle("PutEvents", &request).unwrap();
        assert_eq!(answer["FailedEntryCount"], 4);
        let codes: Vec<&str> = answer["Entries"].as_array().unwrap().iter().map(|e| e["ErrorCode"].as_str().unwrap_or("-")).collect();
        assert_eq!(codes, ["-", "NotAuthorizedForSourceException", "MalformedDetail", "MalformedDetail", "InvalidArgument"]);
        assert_eq!(service.taken().len(), 1);
        assert_eq!(service.handle("PutEvents", &json!({ "Entries": [] })).unwrap_err().kind(), "ValidationException");
        assert_eq!(service.handle("PutRule", &json!({})).unwrap_err().kind(), "UnknownOperationException");
    }
}

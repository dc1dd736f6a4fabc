//! Secrets Manager, small and honest: versions, staging labels, deletion with a way back.
//!
//! [`secret`] is what is kept, [`writing`] and [`reading`] are the operations. Not emulated: rotation functions,
//! replication, resource policies, tags, and the end of a deletion's waiting time.

mod reading;
mod secret;
mod writing;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::snapshot::{Snapshot, SnapshotError};
use super::wire::{Fault, parse};
use secret::Secret;

/// The service.
pub(super) struct SecretsManager {
    secrets: Snapshot<Secrets>,
}

/// All secrets, by name.
type Secrets = BTreeMap<String, Secret>;

impl SecretsManager {
    /// Opens the secrets in `file`, or an empty set in memory.
    pub(super) fn open(file: Option<PathBuf>) -> Result<Self, SnapshotError> {
        Ok(Self { secrets: Snapshot::open(file)? })
    }

    /// Answers one request.
    pub(super) fn handle(&self, operation: &str, request: Value) -> Result<Value, Fault> {
        match operation {
            "CreateSecret" => self.create(parse(request)?),
            "PutSecretValue" => self.put_value(parse(request)?),
            "UpdateSecret" => self.update(parse(request)?),
            "DeleteSecret" => self.delete(&parse(request)?),
            "RestoreSecret" => self.restore(&parse(request)?),
            "GetSecretValue" => self.get_value(&parse(request)?),
            "BatchGetSecretValue" => self.batch_get_value(&parse(request)?),
            "DescribeSecret" => self.describe(&parse(request)?),
            "ListSecrets" => self.list(&parse(request)?),
            _ => Err(Fault::unknown_operation()),
        }
    }
}

/// The name of the secret that `id` names: the name itself, the ARN, or the ARN without its random end.
fn name_of(secrets: &Secrets, id: &str) -> Result<String, Fault> {
    if secrets.contains_key(id) {
        return Ok(id.to_owned());
    }
    secrets
        .iter()
        .find(|(_, secret)| secret.arn == id || secret.arn.rsplit_once('-').is_some_and(|(start, _)| start == id))
        .map(|(name, _)| name.clone())
        .ok_or_else(|| not_found("Secrets Manager can't find the specified secret."))
}

fn not_found(message: &str) -> Fault {
    Fault::client("ResourceNotFoundException", message)
}

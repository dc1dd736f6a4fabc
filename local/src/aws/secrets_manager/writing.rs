//! The operations that change secrets.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::clock::now_seconds;
use super::super::wire::Fault;
use super::secret::{CURRENT, Content, Secret};
use super::{SecretsManager, name_of};

const DAY: i64 = 24 * 60 * 60;
/// What AWS waits before a deletion unless told otherwise.
const DEFAULT_WINDOW_DAYS: i64 = 30;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateRequest {
    name: String,
    description: Option<String>,
    client_request_token: Option<String>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRequest {
    secret_id: String,
    client_request_token: Option<String>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
    version_stages: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateRequest {
    secret_id: String,
    description: Option<String>,
    client_request_token: Option<String>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteRequest {
    secret_id: String,
    recovery_window_in_days: Option<i64>,
    force_delete_without_recovery: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RestoreRequest {
    secret_id: String,
}

impl SecretsManager {
    /// `CreateSecret`.
    pub(super) fn create(&self, request: CreateRequest) -> Result<Value, Fault> {
        let name = request.name;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c);
        if name.is_empty() || name.len() > 512 || !name.chars().all(allowed) {
            let message = "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!";
            return Err(Fault::client("ValidationException", message));
        }
        let content = Content::from_inputs(request.secret_string, request.secret_binary)?;
        self.secrets.change(|secrets| {
            if let Some(existing) = secrets.get(&name) {
                if existing.deleted.is_some() {
                    let message = "You can't create this secret because a secret with this name is already scheduled for deletion.";
                    return Err(Fault::client("InvalidRequestException", message));
                }
                let message = format!("The operation failed because the secret {name} already exists.");
                return Err(Fault::client("ResourceExistsException", &message));
            }
            let mut secret = Secret::new(&name, request.description);
            let mut answer = json!({ "ARN": secret.arn, "Name": name });
            if let Some(content) = content {
                let version = secret.add(request.client_request_token, content, &[CURRENT.to_owned()])?;
                put_version(&mut answer, version);
            }
            secrets.insert(name, secret);
            Ok(answer)
        })
    }

    /// `PutSecretValue`.
    pub(super) fn put_value(&self, request: PutRequest) -> Result<Value, Fault> {
        let content = Content::from_inputs(request.secret_string, request.secret_binary)?
            .ok_or_else(|| Fault::client("InvalidRequestException", "You must provide either SecretString or SecretBinary."))?;
        let stages = request.version_stages.unwrap_or_else(|| vec![CURRENT.to_owned()]);
        self.edit(&request.secret_id, |name, secret| {
            secret.require_kept()?;
            let version = secret.add(request.client_request_token, content, &stages)?;
            let stages = secret.stages_of(&version);
            Ok(json!({ "ARN": secret.arn, "Name": name, "VersionId": version, "VersionStages": stages }))
        })
    }

    /// `UpdateSecret`.
    pub(super) fn update(&self, request: UpdateRequest) -> Result<Value, Fault> {
        let content = Content::from_inputs(request.secret_string, request.secret_binary)?;
        self.edit(&request.secret_id, |name, secret| {
            secret.require_kept()?;
            let mut answer = json!({ "ARN": secret.arn, "Name": name });
            if let Some(description) = request.description {
                secret.description = Some(description);
                secret.changed = now_seconds();
            }
            if let Some(content) = content {
                let version = secret.add(request.client_request_token, content, &[CURRENT.to_owned()])?;
                put_version(&mut answer, version);
            }
            Ok(answer)
        })
    }

    /// `DeleteSecret`: at once if forced, otherwise marked and restorable.
    pub(super) fn delete(&self, request: &DeleteRequest) -> Result<Value, Fault> {
        let forced = request.force_delete_without_recovery == Some(true);
        if forced && request.recovery_window_in_days.is_some() {
            let message = "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.";
            return Err(Fault::client("InvalidParameterException", message));
        }
        let days = request.recovery_window_in_days.unwrap_or(DEFAULT_WINDOW_DAYS);
        if !(7..=30).contains(&days) {
            let message = "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).";
            return Err(Fault::client("InvalidParameterException", message));
        }
        let now = now_seconds();
        let date = if forced { now } else { now + days * DAY };
        self.secrets.change(|secrets| {
            let name = name_of(secrets, &request.secret_id)?;
            let Some(secret) = secrets.get_mut(&name) else { return Err(Fault::internal()) };
            let answer = json!({ "ARN": secret.arn, "Name": name, "DeletionDate": date });
            if forced {
                secrets.remove(&name);
            } else {
                secret.require_kept()?;
                secret.deleted = Some(date);
            }
            Ok(answer)
        })
    }

    /// `RestoreSecret`.
    pub(super) fn restore(&self, request: &RestoreRequest) -> Result<Value, Fault> {
        self.edit(&request.secret_id, |name, secret| {
            secret.deleted = None;
            Ok(json!({ "ARN": secret.arn, "Name": name }))
        })
    }

    fn edit<R>(&self, id: &str, edit: impl FnOnce(&str, &mut Secret) -> Result<R, Fault>) -> Result<R, Fault> {
        self.secrets.change(|secrets| {
            let name = name_of(secrets, id)?;
            match secrets.get_mut(&name) {
                Some(secret) => edit(&name, secret),
                None => Err(Fault::internal()),
            }
        })
    }
}

fn put_version(answer: &mut Value, version: String) {
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("VersionId".to_owned(), version.into());
    }
}

//! The life of keys and their aliases.

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::ACCOUNT;
use super::super::clock::now_seconds;
use super::super::wire::{Fault, Page};
use super::Kms;
use super::keyring::{Key, alias_arn, arn};

const DAY: i64 = 24 * 60 * 60;
/// What AWS waits before a deletion unless told otherwise.
const DEFAULT_WINDOW_DAYS: i64 = 30;
/// How often AWS rotates unless told otherwise.
const DEFAULT_ROTATION_DAYS: u32 = 365;
/// How much a listing shows at once unless told otherwise.
const DEFAULT_PAGE: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateKeyRequest {
    description: Option<String>,
    key_spec: Option<String>,
    customer_master_key_spec: Option<String>,
    key_usage: Option<String>,
    origin: Option<String>,
    multi_region: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KeyRequest {
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RotationRequest {
    key_id: String,
    rotation_period_in_days: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeletionRequest {
    key_id: String,
    pending_window_in_days: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AliasRequest {
    alias_name: String,
    target_key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListRequest {
    key_id: Option<String>,
    limit: Option<usize>,
    marker: Option<String>,
}

impl Kms {
    /// `CreateKey`.
    pub(super) fn create_key(&self, request: CreateKeyRequest) -> Result<Value, Fault> {
        let wrong = |given: &Option<String>, only: &str| given.as_deref().is_some_and(|given| given != only);
        if wrong(&request.key_spec, "SYMMETRIC_DEFAULT")
            || wrong(&request.customer_master_key_spec, "SYMMETRIC_DEFAULT")
            || wrong(&request.key_usage, "ENCRYPT_DECRYPT")
            || wrong(&request.origin, "AWS_KMS")
            || request.multi_region == Some(true)
        {
            let message = "only symmetric encryption keys of one region are emulated";
            return Err(Fault::client("UnsupportedOperationException", message));
        }
        self.keyring.change(|keyring| {
            let id = Uuid::new_v4();
            let key = Key::generate(request.description.unwrap_or_default(), now_seconds())?;
            let answer = json!({ "KeyMetadata": metadata(id, &key) });
            keyring.keys.insert(id, key);
            Ok(answer)
        })
    }

    /// `DescribeKey`.
    pub(super) fn describe_key(&self, request: &KeyRequest) -> Result<Value, Fault> {
        self.keyring.read(|keyring| {
            let (id, key) = keyring.find(&request.key_id)?;
            Ok(json!({ "KeyMetadata": metadata(id, key) }))
        })
    }

    /// `ListKeys`.
    pub(super) fn list_keys(&self, request: &ListRequest) -> Result<Value, Fault> {
        let all = self.keyring.read(|keyring| keyring.keys.keys().map(|id| json!({ "KeyId": id, "KeyArn": arn(*id) })).collect());
        listing("Keys", all, request)
    }

    /// `CreateAlias`.
    pub(super) fn create_alias(&self, request: AliasRequest) -> Result<Value, Fault> {
        let name = request.alias_name;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "/_-".contains(c);
        let rest = name.strip_prefix("alias/").filter(|rest| !rest.is_empty() && rest.chars().all(allowed));
        if rest.is_none_or(|rest| rest.starts_with("aws/")) {
            return Err(Fault::client("InvalidAliasNameException", "Alias must start with the prefix \"alias/\"."));
        }
        self.keyring.change(|keyring| {
            let (id, key) = keyring.find_key(&request.target_key_id)?;
            key.require_kept(id)?;
            if keyring.aliases.contains_key(&name) {
                let message = format!("An alias with the name {} already exists", alias_arn(&name));
                return Err(Fault::client("AlreadyExistsException", &message));
            }
            keyring.aliases.insert(name, id);
            Ok(json!({}))
        })
    }

    /// `ListAliases`.
    pub(super) fn list_aliases(&self, request: &ListRequest) -> Result<Value, Fault> {
        let all = self.keyring.read(|keyring| {
            let only = request.key_id.as_deref().map(|name| keyring.find_key(name)).transpose()?.map(|(id, _)| id);
            Ok(keyring
                .aliases
                .iter()
                .filter(|(_, id)| only.is_none_or(|only| only == **id))
                .map(|(name, id)| json!({ "AliasName": name, "AliasArn": alias_arn(name), "TargetKeyId": id }))
                .collect())
        })?;
        listing("Aliases", all, request)
    }

    /// `EnableKey` and `DisableKey`.
    pub(super) fn set_enabled(&self, request: &KeyRequest, enabled: bool) -> Result<Value, Fault> {
        self.keyring.change(|keyring| {
            let (id, key) = keyring.find_key_mut(&request.key_id)?;
            key.require_kept(id)?;
            key.enabled = enabled;
            Ok(json!({}))
        })
    }

    /// `ScheduleKeyDeletion`.
    pub(super) fn schedule_deletion(&self, request: &DeletionRequest) -> Result<Value, Fault> {
        let days = request.pending_window_in_days.unwrap_or(DEFAULT_WINDOW_DAYS);
        if !(7..=30).contains(&days) {
            return Err(Fault::constraint("pendingWindowInDays", "Member must have value between 7 and 30"));
        }
        self.keyring.change(|keyring| {
            let (id, key) = keyring.find_key_mut(&request.key_id)?;
            key.require_kept(id)?;
            let deletion = now_seconds() + days * DAY;
            key.deletion = Some(deletion);
            Ok(json!({
                "KeyId": arn(id), "DeletionDate": deletion, "KeyState": key.state(), "PendingWindowInDays": days,
            }))
        })
    }

    /// `CancelKeyDeletion`. The key comes back disabled, as at AWS.
    pub(super) fn cancel_deletion(&self, request: &KeyRequest) -> Result<Value, Fault> {
        self.keyring.change(|keyring| {
            let (id, key) = keyring.find_key_mut(&request.key_id)?;
            if key.deletion.take().is_none() {
                let message = format!("{} is not pending deletion.", arn(id));
                return Err(Fault::client("KMSInvalidStateException", &message));
            }
            key.enabled = false;
            Ok(json!({ "KeyId": arn(id) }))
        })
    }

    /// `EnableKeyRotation` and `DisableKeyRotation`.
    pub(super) fn set_rotation(&self, request: &RotationRequest, on: bool) -> Result<Value, Fault> {
        let days = request.rotation_period_in_days.unwrap_or(DEFAULT_ROTATION_DAYS);
        if !(90..=2560).contains(&days) {
            return Err(Fault::constraint("rotationPeriodInDays", "Member must have value between 90 and 2560"));
        }
        self.keyring.change(|keyring| {
            let (id, key) = keyring.find_key_mut(&request.key_id)?;
            key.require_enabled(id)?;
            key.rotation_days = on.then_some(days);
            Ok(json!({}))
        })
    }

    /// `GetKeyRotationStatus`.
    pub(super) fn rotation_status(&self, request: &KeyRequest) -> Result<Value, Fault> {
        self.keyring.read(|keyring| {
            let (id, key) = keyring.find_key(&request.key_id)?;
            let mut status = json!({ "KeyId": arn(id), "KeyRotationEnabled": key.rotation_days.is_some() });
            if let (Some(status), Some(days)) = (status.as_object_mut(), key.rotation_days) {
                status.insert("RotationPeriodInDays".to_owned(), days.into());
            }
            Ok(status)
        })
    }

    /// `RotateKeyOnDemand`. AWS rotates within minutes; here it has happened when the answer arrives.
    pub(super) fn rotate(&self, request: &KeyRequest) -> Result<Value, Fault> {
        self.keyring.change(|keyring| {
            let (id, key) = keyring.find_key_mut(&request.key_id)?;
            key.require_enabled(id)?;
            key.rotate()?;
            Ok(json!({ "KeyId": arn(id) }))
        })
    }
}

fn metadata(id: Uuid, key: &Key) -> Value {
    let mut metadata = json!({
        "AWSAccountId": ACCOUNT, "KeyId": id, "Arn": arn(id), "CreationDate": key.created,
        "Enabled": key.state() == "Enabled", "KeyState": key.state(), "Description": key.description,
        "KeyUsage": "ENCRYPT_DECRYPT", "KeySpec": "SYMMETRIC_DEFAULT", "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"], "KeyManager": "CUSTOMER", "Origin": "AWS_KMS",
        "MultiRegion": false,
    });
    if let (Some(metadata), Some(deletion)) = (metadata.as_object_mut(), key.deletion) {
        metadata.insert("DeletionDate".to_owned(), deletion.into());
    }
    metadata
}

fn listing(name: &str, all: Vec<Value>, request: &ListRequest) -> Result<Value, Fault> {
    let invalid = Fault::client("InvalidMarkerException", "the marker is not one of ours");
    let page = Page::cut(all, request.limit.unwrap_or(DEFAULT_PAGE), request.marker.as_deref(), invalid)?;
    let mut answer = json!({ name: page.items, "Truncated": page.next.is_some() });
    if let (Some(answer), Some(next)) = (answer.as_object_mut(), page.next) {
        answer.insert("NextMarker".to_owned(), next.into());
    }
    Ok(answer)
}

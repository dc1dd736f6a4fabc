//! A secret, its versions, and the labels that say which version is which.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::clock::now_seconds;
use super::super::wire::Fault;
use super::super::{ACCOUNT, REGION};
use super::not_found;

/// The label of the version in force.
pub(super) const CURRENT: &str = "AWSCURRENT";
/// The label of the version before it.
pub(super) const PREVIOUS: &str = "AWSPREVIOUS";

/// What AWS stores in one version at most, in bytes.
const VALUE_LIMIT: usize = 65_536;
/// How many versions without a label are kept for reading by id.
const UNLABELLED_LIMIT: usize = 100;

/// A value: exactly one of text and (base64) bytes. No `Debug`: it is the secret.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Content {
    /// `SecretString`.
    Text(String),
    /// `SecretBinary`.
    Binary(String),
}

impl Content {
    /// Reads the two alternative inputs of every writing operation.
    pub(super) fn from_inputs(text: Option<String>, binary: Option<String>) -> Result<Option<Self>, Fault> {
        let content = match (text, binary) {
            (Some(_), Some(_)) => {
                let message = "You can't specify both a binary secret value and a string secret value in the same secret.";
                return Err(Fault::client("InvalidParameterException", message));
            }
            (Some(text), None) => Self::Text(text),
            (None, Some(binary)) => Self::Binary(binary),
            (None, None) => return Ok(None),
        };
        let (Self::Text(value) | Self::Binary(value)) = &content;
        if value.len() > VALUE_LIMIT {
            return Err(Fault::constraint("secretString", "Member must have length less than or equal to 65536"));
        }
        Ok(Some(content))
    }
}

/// One version.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Version {
    pub(super) content: Content,
    pub(super) created: i64,
    /// Its place in the order of writing; times alone are too coarse.
    sequence: u64,
}

/// A secret.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Secret {
    pub(super) arn: String,
    pub(super) description: Option<String>,
    pub(super) created: i64,
    pub(super) changed: i64,
    /// The date of its deletion, if it is marked for it.
    pub(super) deleted: Option<i64>,
    pub(super) versions: BTreeMap<String, Version>,
    /// Version ids by label.
    pub(super) stages: BTreeMap<String, String>,
}

impl Secret {
    /// A secret without a value.
    pub(super) fn new(name: &str, description: Option<String>) -> Self {
        let random = Uuid::new_v4().simple().to_string();
        let suffix = random.get(..6).unwrap_or(&random);
        let now = now_seconds();
        Self {
            arn: format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-{suffix}"),
            description,
            created: now,
            changed: now,
            deleted: None,
            versions: BTreeMap::new(),
            stages: BTreeMap::new(),
        }
    }

    /// Refuses work on a secret that is marked for deletion.
    pub(super) fn require_kept(&self) -> Result<(), Fault> {
        if self.deleted.is_none() {
            return Ok(());
        }
        let message = "You can't perform this operation on the secret because it was marked for deletion.";
        Err(Fault::client("InvalidRequestException", message))
    }

    /// Adds a version. The same token with the same content is the same request again; with another content it is refused.
    pub(super) fn add(&mut self, token: Option<String>, content: Content, stages: &[String]) -> Result<String, Fault> {
        let id = token.unwrap_or_else(|| Uuid::new_v4().to_string());
        if let Some(existing) = self.versions.get(&id) {
            if existing.content == content {
                return Ok(id);
            }
            let message = format!("You can't use ClientRequestToken {id} because that value is already in use for a version.");
            return Err(Fault::client("ResourceExistsException", &message));
        }
        let sequence = self.versions.values().map(|version| version.sequence + 1).max().unwrap_or_default();
        self.versions.insert(id.clone(), Version { content, created: now_seconds(), sequence });
        for stage in stages {
            self.label(stage, &id);
        }
        // The first version is the current one, whatever it was called.
        if !self.stages.contains_key(CURRENT) {
            self.label(CURRENT, &id);
        }
        self.changed = now_seconds();
        self.forget_old_versions();
        Ok(id)
    }

    fn label(&mut self, stage: &str, id: &str) {
        let before = self.stages.insert(stage.to_owned(), id.to_owned());
        if let Some(before) = before.filter(|before| stage == CURRENT && before != id) {
            self.stages.insert(PREVIOUS.to_owned(), before);
        }
    }

    fn forget_old_versions(&mut self) {
        let mut unlabelled: Vec<(u64, String)> = self
            .versions
            .iter()
            .filter(|(id, _)| self.stages_of(id).is_empty())
            .map(|(id, version)| (version.sequence, id.clone()))
            .collect();
        unlabelled.sort_unstable();
        let surplus = unlabelled.len().saturating_sub(UNLABELLED_LIMIT);
        for (_, id) in unlabelled.into_iter().take(surplus) {
            self.versions.remove(&id);
        }
    }

    /// The labels of a version.
    pub(super) fn stages_of(&self, id: &str) -> Vec<&str> {
        self.stages.iter().filter(|(_, of)| *of == id).map(|(stage, _)| stage.as_str()).collect()
    }

    /// The version with this id and this label; the current one if neither is asked for.
    pub(super) fn version(&self, id: Option<&str>, stage: Option<&str>) -> Result<(String, &Version), Fault> {
        let label = stage.or(if id.is_none() { Some(CURRENT) } else { None });
        let by_label = label.map(|label| self.stages.get(label).map(String::as_str));
        let found = match (id, by_label) {
            (Some(id), Some(labelled)) => labelled.filter(|labelled| *labelled == id),
            (Some(id), None) => Some(id),
            (None, labelled) => labelled.flatten(),
        };
        found.and_then(|id| self.versions.get(id).map(|version| (id.to_owned(), version))).ok_or_else(|| {
            let what = match (id, label) {
                (Some(id), _) => format!("VersionId: {id}"),
                (None, label) => format!("staging label: {}", label.unwrap_or(CURRENT)),
            };
            not_found(&format!("Secrets Manager can't find the specified secret value for {what}"))
        })
    }
}

//! The keys, their aliases, and the four ways to name a key.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::wire::Fault;
use super::super::{ACCOUNT, REGION};
use super::random;

/// All that KMS keeps.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Keyring {
    pub(super) keys: BTreeMap<Uuid, Key>,
    /// Key ids by alias name, `alias/` included.
    pub(super) aliases: BTreeMap<String, Uuid>,
}

/// A symmetric key. No `Debug`: it holds its material.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) description: String,
    pub(super) created: i64,
    pub(super) enabled: bool,
    /// When the key would be deleted, in seconds since 1970.
    pub(super) deletion: Option<i64>,
    /// The days between automatic rotations, if they are switched on.
    pub(super) rotation_days: Option<u32>,
    /// Base64, oldest first; a rotation adds one, and none is ever dropped.
    materials: Vec<String>,
}

impl Key {
    /// A key with fresh material.
    pub(super) fn generate(description: String, created: i64) -> Result<Self, Fault> {
        let mut key = Self { description, created, enabled: true, deletion: None, rotation_days: None, materials: Vec::new() };
        key.rotate()?;
        Ok(key)
    }

    /// Adds fresh material, with which the key seals from now on.
    pub(super) fn rotate(&mut self) -> Result<(), Fault> {
        self.materials.push(BASE64_STANDARD.encode(random::<32>()?));
        Ok(())
    }

    /// The material of one version.
    pub(super) fn material(&self, version: u32) -> Option<Vec<u8>> {
        let text = self.materials.get(usize::try_from(version).ok()?)?;
        BASE64_STANDARD.decode(text).ok()
    }

    /// The newest material and its version.
    pub(super) fn newest(&self) -> Option<(u32, Vec<u8>)> {
        let version = u32::try_from(self.materials.len().checked_sub(1)?).ok()?;
        Some((version, self.material(version)?))
    }

    /// The state's name in the API.
    pub(super) fn state(&self) -> &'static str {
        match (self.deletion, self.enabled) {
            (Some(_), _) => "PendingDeletion",
            (None, true) => "Enabled",
            (None, false) => "Disabled",
        }
    }

    /// Refuses work on a key that is not enabled.
    pub(super) fn require_enabled(&self, id: Uuid) -> Result<(), Fault> {
        self.require_kept(id)?;
        if self.enabled {
            return Ok(());
        }
        Err(Fault::client("DisabledException", &format!("{} is disabled.", arn(id))))
    }

    /// Refuses work on a key that is pending deletion.
    pub(super) fn require_kept(&self, id: Uuid) -> Result<(), Fault> {
        match self.deletion {
            None => Ok(()),
            Some(_) => Err(Fault::client("KMSInvalidStateException", &format!("{} is pending deletion.", arn(id)))),
        }
    }
}

impl Keyring {
    /// Finds a key by key id, key ARN, alias name or alias ARN.
    pub(super) fn find(&self, name: &str) -> Result<(Uuid, &Key), Fault> {
        let resource = name.rsplit(':').next().unwrap_or(name);
        if !resource.starts_with("alias/") {
            return self.find_key(name);
        }
        let id = self
            .aliases
            .get(resource)
            .copied()
            .ok_or_else(|| Fault::client("NotFoundException", &format!("Alias {} is not found.", alias_arn(resource))))?;
        self.keys.get(&id).map(|key| (id, key)).ok_or_else(|| not_found(&arn(id)))
    }

    /// Finds a key by key id or key ARN, as the operations that manage keys demand.
    pub(super) fn find_key(&self, name: &str) -> Result<(Uuid, &Key), Fault> {
        let id = id_of(name)?;
        self.keys.get(&id).map(|key| (id, key)).ok_or_else(|| not_found(&arn(id)))
    }

    /// The same, to change it.
    pub(super) fn find_key_mut(&mut self, name: &str) -> Result<(Uuid, &mut Key), Fault> {
        let id = id_of(name)?;
        self.keys.get_mut(&id).map(|key| (id, key)).ok_or_else(|| not_found(&arn(id)))
    }
}

/// The ARN of a key.
pub(super) fn arn(id: Uuid) -> String {
    format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/{id}")
}

/// The ARN of an alias.
pub(super) fn alias_arn(name: &str) -> String {
    format!("arn:aws:kms:{REGION}:{ACCOUNT}:{name}")
}

fn id_of(name: &str) -> Result<Uuid, Fault> {
    let id = name.rsplit_once(":key/").map_or(name, |(_, id)| id);
    Uuid::try_parse(id).map_err(|_| Fault::client("NotFoundException", &format!("Invalid keyId '{name}'")))
}

fn not_found(arn: &str) -> Fault {
    Fault::client("NotFoundException", &format!("Key '{arn}' does not exist"))
}

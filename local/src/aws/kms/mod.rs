//! KMS, small and honest: symmetric keys, real AES-256-GCM, an encryption context that counts.
//!
//! [`keys`] makes and manages keys, [`cipher`] uses them, [`keyring`] is what both keep, [`blob`] is the ciphertext
//! format. Not emulated: grants, key policies, asymmetric and HMAC keys, imported material, the yearly rotation by
//! itself, and the end of a deletion's waiting time – a key that is pending deletion stays so. Key material lies in
//! the state file in the clear, since there is no hardware module to wrap it.

mod blob;
mod cipher;
mod keyring;
mod keys;

use std::path::PathBuf;

use serde_json::Value;

use super::snapshot::{Snapshot, SnapshotError};
use super::wire::{Fault, parse};
use keyring::Keyring;

/// The service.
pub(super) struct Kms {
    keyring: Snapshot<Keyring>,
}

impl Kms {
    /// Opens the keyring in `file`, or one in memory.
    pub(super) fn open(file: Option<PathBuf>) -> Result<Self, SnapshotError> {
        Ok(Self { keyring: Snapshot::open(file)? })
    }

    /// Answers one request.
    pub(super) fn handle(&self, operation: &str, request: Value) -> Result<Value, Fault> {
        match operation {
            "CreateKey" => self.create_key(parse(request)?),
            "DescribeKey" => self.describe_key(&parse(request)?),
            "ListKeys" => self.list_keys(&parse(request)?),
            "CreateAlias" => self.create_alias(parse(request)?),
            "ListAliases" => self.list_aliases(&parse(request)?),
            "EnableKey" => self.set_enabled(&parse(request)?, true),
            "DisableKey" => self.set_enabled(&parse(request)?, false),
            "ScheduleKeyDeletion" => self.schedule_deletion(&parse(request)?),
            "CancelKeyDeletion" => self.cancel_deletion(&parse(request)?),
            "EnableKeyRotation" => self.set_rotation(&parse(request)?, true),
            "DisableKeyRotation" => self.set_rotation(&parse(request)?, false),
            "GetKeyRotationStatus" => self.rotation_status(&parse(request)?),
            "RotateKeyOnDemand" => self.rotate(&parse(request)?),
            "Encrypt" => self.encrypt(&parse(request)?),
            "Decrypt" => self.decrypt(&parse(request)?),
            "GenerateDataKey" => self.generate_data_key(&parse(request)?, true),
            "GenerateDataKeyWithoutPlaintext" => self.generate_data_key(&parse(request)?, false),
            "GenerateRandom" => cipher::generate_random(&parse(request)?),
            _ => Err(Fault::unknown_operation()),
        }
    }
}

/// What every refused ciphertext answers: deliberately no hint at which part was wrong.
fn invalid_ciphertext() -> Fault {
    Fault::client("InvalidCiphertextException", "")
}

/// Fresh random bytes, from the library that also encrypts.
fn random<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Fault::internal())?;
    Ok(bytes)
}

//! Encrypt, decrypt, and data keys.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::wire::Fault;
use super::blob::{self, Context, Origin};
use super::keyring::{Key, arn};
use super::{Kms, invalid_ciphertext};

/// What `Encrypt` takes at most; larger things are what data keys are for.
const PLAINTEXT_LIMIT: usize = 4096;
/// What `Decrypt` takes at most.
const CIPHERTEXT_LIMIT: usize = 6144;
/// What data keys and `GenerateRandom` give at most.
const RANDOM_LIMIT: usize = 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EncryptRequest {
    key_id: String,
    plaintext: String,
    #[serde(default)]
    encryption_context: Option<Context>,
    #[serde(flatten)]
    mode: Mode,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DecryptRequest {
    ciphertext_blob: String,
    key_id: Option<String>,
    #[serde(default)]
    encryption_context: Option<Context>,
    #[serde(flatten)]
    mode: Mode,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DataKeyRequest {
    key_id: String,
    key_spec: Option<String>,
    number_of_bytes: Option<usize>,
    #[serde(default)]
    encryption_context: Option<Context>,
    #[serde(flatten)]
    mode: Mode,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RandomRequest {
    number_of_bytes: Option<usize>,
}

/// Inputs that every cryptographic operation shares, and that change what it does.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mode {
    encryption_algorithm: Option<String>,
    dry_run: Option<bool>,
    recipient: Option<Value>,
}

impl Mode {
    /// Refuses what is not emulated, rather than ignoring it.
    fn check(&self) -> Result<(), Fault> {
        if self.encryption_algorithm.as_deref().is_some_and(|algorithm| algorithm != "SYMMETRIC_DEFAULT") {
            return Err(Fault::client("InvalidKeyUsageException", "the key is symmetric"));
        }
        if self.recipient.is_some() {
            return Err(Fault::client("UnsupportedOperationException", "recipients are not emulated"));
        }
        Ok(())
    }

    /// A dry run that got this far would have succeeded, and says so with an error.
    fn check_dry_run(&self) -> Result<(), Fault> {
        if self.dry_run != Some(true) {
            return Ok(());
        }
        let message = "The request would have succeeded, but the DryRun option is set.";
        Err(Fault::client("DryRunOperationException", message))
    }
}

impl Kms {
    /// `Encrypt`.
    pub(super) fn encrypt(&self, request: &EncryptRequest) -> Result<Value, Fault> {
        request.mode.check()?;
        let plaintext = bytes("plaintext", &request.plaintext, PLAINTEXT_LIMIT)?;
        let (id, blob) = self.seal(&request.key_id, request.encryption_context.as_ref(), &plaintext)?;
        request.mode.check_dry_run()?;
        Ok(json!({
            "CiphertextBlob": BASE64_STANDARD.encode(blob),
            "KeyId": arn(id),
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }))
    }

    /// `Decrypt`. The blob names its key; a `KeyId` in the request must agree with it.
    pub(super) fn decrypt(&self, request: &DecryptRequest) -> Result<Value, Fault> {
        request.mode.check()?;
        let blob = bytes("ciphertextBlob", &request.ciphertext_blob, CIPHERTEXT_LIMIT)?;
        let origin = Origin::of(&blob)?;
        let material = self.keyring.read(|keyring| {
            if let Some(name) = &request.key_id {
                let (expected, _) = keyring.find(name)?;
                if expected != origin.key_id {
                    let message = "The key ID in the request does not identify a CMK that can perform this operation.";
                    return Err(Fault::client("IncorrectKeyException", message));
                }
            }
            let key = keyring.keys.get(&origin.key_id).ok_or_else(invalid_ciphertext)?;
            key.require_enabled(origin.key_id)?;
            key.material(origin.version).ok_or_else(invalid_ciphertext)
        })?;
        let none = Context::new();
        let plaintext = blob::open(&blob, &material, request.encryption_context.as_ref().unwrap_or(&none))?;
        request.mode.check_dry_run()?;
        Ok(json!({
            "KeyId": arn(origin.key_id),
            "Plaintext": BASE64_STANDARD.encode(plaintext),
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }))
    }

    /// `GenerateDataKey`, and the same without the plaintext in the answer.
    pub(super) fn generate_data_key(&self, request: &DataKeyRequest, with_plaintext: bool) -> Result<Value, Fault> {
        request.mode.check()?;
        let length = match (request.key_spec.as_deref(), request.number_of_bytes) {
            (Some("AES_256"), None) => 32,
            (Some("AES_128"), None) => 16,
            (Some(_), None) => return Err(Fault::constraint("keySpec", "Member must satisfy enum value set: [AES_256, AES_128]")),
            (None, Some(length)) => length,
            (None, None) | (Some(_), Some(_)) => {
                return Err(Fault::client("ValidationException", "Please specify either number of bytes or key spec."));
            }
        };
        let data_key = random_bytes(length)?;
        let (id, blob) = self.seal(&request.key_id, request.encryption_context.as_ref(), &data_key)?;
        request.mode.check_dry_run()?;
        let mut answer = json!({ "CiphertextBlob": BASE64_STANDARD.encode(blob), "KeyId": arn(id) });
        if with_plaintext && let Some(answer) = answer.as_object_mut() {
            answer.insert("Plaintext".to_owned(), BASE64_STANDARD.encode(data_key).into());
        }
        Ok(answer)
    }

    fn seal(&self, key: &str, context: Option<&Context>, plaintext: &[u8]) -> Result<(Uuid, Vec<u8>), Fault> {
        let (origin, material) = self.keyring.read(|keyring| {
            let (key_id, key) = keyring.find(key)?;
            key.require_enabled(key_id)?;
            let (version, material) = Key::newest(key).ok_or_else(Fault::internal)?;
            Ok((Origin { key_id, version }, material))
        })?;
        let none = Context::new();
        Ok((origin.key_id, blob::seal(origin, &material, context.unwrap_or(&none), plaintext)?))
    }
}

/// `GenerateRandom`.
pub(super) fn generate_random(request: &RandomRequest) -> Result<Value, Fault> {
    let length = request.number_of_bytes.ok_or_else(|| Fault::constraint("numberOfBytes", "Member must not be null"))?;
    Ok(json!({ "Plaintext": BASE64_STANDARD.encode(random_bytes(length)?) }))
}

fn random_bytes(length: usize) -> Result<Vec<u8>, Fault> {
    if !(1..=RANDOM_LIMIT).contains(&length) {
        return Err(Fault::constraint("numberOfBytes", "Member must have value between 1 and 1024"));
    }
    let mut bytes = vec![0; length];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Fault::internal())?;
    Ok(bytes)
}

fn bytes(field: &str, base64: &str, limit: usize) -> Result<Vec<u8>, Fault> {
    let bytes = BASE64_STANDARD.decode(base64).map_err(|_| Fault::client("SerializationException", &format!("{field} is not base64")))?;
    if bytes.is_empty() {
        return Err(Fault::constraint(field, "Member must have length greater than or equal to 1"));
    }
    if bytes.len() > limit {
        return Err(Fault::constraint(field, &format!("Member must have length less than or equal to {limit}")));
    }
    Ok(bytes)
}

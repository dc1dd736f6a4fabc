//! Branch keys, wrapped and unwrapped by KMS.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_kms::Client;
use aws_sdk_kms::operation::decrypt::DecryptError;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use zeroize::Zeroize;

use crate::aead::MasterKey;
use crate::domain::ids::OrganizationId;
use crate::ports::Unavailable;

const GENERATE: &str = "make a branch key";
const UNWRAP: &str = "unwrap a branch key";

/// What the keyring needs of KMS.
#[async_trait]
pub(super) trait Wrapping: Send + Sync {
    /// A new key, wrapped for its place.
    async fn generate(&self, organization: &OrganizationId, version: u32) -> Result<Vec<u8>, Unavailable>;
    /// A key, unwrapped for its place.
    async fn unwrap(&self, organization: &OrganizationId, version: u32, wrapped: &[u8]) -> Result<MasterKey, UnwrapError>;
}

/// Why a key was not unwrapped.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnwrapError {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// It is not a key that was wrapped for this place.
    #[error("not a key of this place")]
    Refused,
}

/// KMS itself.
pub(super) struct KmsWrapping {
    client: Client,
    key_id: String,
}

impl KmsWrapping {
    pub(super) fn new(client: Client, key_id: String) -> Self {
        Self { client, key_id }
    }
}

#[async_trait]
impl Wrapping for KmsWrapping {
    async fn generate(&self, organization: &OrganizationId, version: u32) -> Result<Vec<u8>, Unavailable> {
        let request = self
            .client
            .generate_data_key_without_plaintext()
            .key_id(&self.key_id)
            .key_spec(DataKeySpec::Aes256)
            .set_encryption_context(Some(encryption_context(organization, version)));
        let answer = request.send().await.map_err(|error| Unavailable::new(GENERATE, error))?;
        answer.ciphertext_blob.map(Blob::into_inner).ok_or_else(|| Unavailable::new(GENERATE, Strange))
    }

    async fn unwrap(&self, organization: &OrganizationId, version: u32, wrapped: &[u8]) -> Result<MasterKey, UnwrapError> {
        let request = self
            .client
            .decrypt()
            .key_id(&self.key_id)
            .ciphertext_blob(Blob::new(wrapped))
            .set_encryption_context(Some(encryption_context(organization, version)));
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                return Err(match error.as_service_error() {
                    Some(DecryptError::InvalidCiphertextException(_) | DecryptError::IncorrectKeyException(_)) => UnwrapError::Refused,
                    Some(_) | None => Unavailable::new(UNWRAP, error).into(),
                });
            }
        };
        let mut plaintext = answer.plaintext.map(Blob::into_inner).unwrap_or_default();
        let key = MasterKey::from_slice(&plaintext);
        plaintext.zeroize();
        key.ok_or_else(|| Unavailable::new(UNWRAP, Strange).into())
    }
}

/// KMS answered without the key that it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("the answer holds no key of 32 bytes")]
struct Strange;

/// It binds a wrapped key to its place and appears in `CloudTrail` in clear: no person, no secret (security requirement 68).
fn encryption_context(organization: &OrganizationId, version: u32) -> HashMap<String, String> {
    HashMap::from([
        ("purpose".to_owned(), "token".to_owned()),
        ("organization".to_owned(), organization.to_string()),
        ("key_version".to_owned(), format!("v{version}")),
    ])
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    #[test]
    fn s68_the_encryption_context_has_the_place_and_nothing_else() {
        let context = encryption_context(&OrganizationId::try_from("org_1").unwrap(), 2);
        let mut parts: Vec<_> = context.into_iter().collect();
        parts.sort();
        let expected = [("key_version", "v2"), ("organization", "org_1"), ("purpose", "token")];
        assert_eq!(parts, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}

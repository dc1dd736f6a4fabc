//! Secrets Manager, asked for one secret at a time.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::SdkError;
use zeroize::Zeroizing;

use crate::ports::Source;
use crate::ports::clock::Clock;

/// Reads the current text of a secret.
#[async_trait]
pub trait ReadSecret: Send + Sync {
    /// The text that a secret id or ARN has now.
    async fn read_secret(&self, secret_id: &str) -> Result<Zeroizing<String>, Source>;
}

/// Where secrets come from, and the clock by which they age. The time limits are those of the client.
pub struct SecretSource {
    pub(super) reader: Box<dyn ReadSecret>,
    pub(super) clock: Arc<dyn Clock>,
}

impl SecretSource {
    /// Secrets Manager.
    #[must_use]
    pub fn new(client: Client, clock: Arc<dyn Clock>) -> Arc<Self> {
        Self::reading(client, clock)
    }

    /// Anything that can read secrets.
    #[must_use]
    pub fn reading(reader: impl ReadSecret + 'static, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { reader: Box::new(reader), clock })
    }
}

#[async_trait]
impl ReadSecret for Client {
    async fn read_secret(&self, secret_id: &str) -> Result<Zeroizing<String>, Source> {
        let answer = self.get_secret_value().secret_id(secret_id).send().await.map_err(|error| match error {
            // This one holds the answer, and with it perhaps the secret.
            SdkError::ResponseError(_) => Source::from("answer of Secrets Manager could not be read"),
            other => Source::from(other),
        })?;
        answer.secret_string.map(Zeroizing::new).ok_or_else(|| Source::from("secret holds no text"))
    }
}

//! The client secrets: per connection a list, tried in order.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::cached::Cached;
use super::document;
use super::faults::Faults;
use super::node::{Node, Read};
use super::source::SecretSource;
use crate::client_key::ClientKey;
use crate::domain::ids::ConnectionId;
use crate::domain::secret::Secret;
use crate::ports::Unavailable;
use crate::ports::configuration::{ClientCredential, ClientSecrets};

type Credentials = HashMap<ConnectionId, Arc<[ClientCredential]>>;

/// The client secrets in a secret.
pub struct SecretClientSecrets(Cached<Credentials>);

impl SecretClientSecrets {
    /// The client secrets in the secret with this id.
    #[must_use]
    pub fn new(source: Arc<SecretSource>, secret_id: String) -> Self {
        Self(Cached::new(source, secret_id, "read the client secrets", parse_client_secrets))
    }

    /// Reads the secret, to find out whether it can be.
    pub async fn read(&self) -> Result<(), Unavailable> {
        self.0.current().await.map(drop)
    }

    /// Client secrets that never change, from their text.
    pub fn fixed(text: &str) -> Result<Self, Faults> {
        parse_client_secrets(text).map(|credentials| Self(Cached::fixed(credentials)))
    }
}

#[async_trait]
impl ClientSecrets for SecretClientSecrets {
    async fn client_secrets(&self, connection: &ConnectionId) -> Result<Arc<[ClientCredential]>, Unavailable> {
        let credentials = self.0.current().await?;
        Ok(credentials.get(connection).cloned().unwrap_or_default())
    }
}

/// Reads the client secrets, or says everything that is wrong with them, never what they are.
pub fn parse_client_secrets(text: &str) -> Result<Credentials, Faults> {
    document::read(text, |root| {
        let entries: Vec<_> = root.entries().ok()?.into_iter().map(|(name, node)| connection(name, &node)).collect();
        entries.into_iter().collect::<Read<_>>().ok()
    })
}

fn connection(name: &str, node: &Node<'_>) -> Read<(ConnectionId, Arc<[ClientCredential]>)> {
    let id = ConnectionId::try_from(name).map_err(|error| node.fault(format!("must have as its name {}", error.expected)));
    let list: Vec<_> = node.items()?.iter().map(credential).collect();
    let list = list.into_iter().collect::<Read<Vec<_>>>();
    Ok((id?, list?.into()))
}

fn credential(node: &Node<'_>) -> Read<ClientCredential> {
    if node.is_text() {
        return node.text(4096).map(|text| ClientCredential::Secret(Secret::new(text.to_owned())));
    }
    if !node.is_object() {
        return Err(node.fault("must be a client secret, or a key with kid and pem"));
    }
    let object = node.object()?;
    let kid = object.must("kid", |node| node.text(256).map(str::to_owned));
    let pem = object.must("pem", private_key);
    object.done_all();
    Ok(ClientCredential::Key { kid: kid?, pem: pem? })
}

/// A key that does not sign is found here, when the function starts, and not when somebody signs in.
fn private_key(node: &Node<'_>) -> Read<Secret> {
    let pem = Secret::new(node.any_text()?.to_owned());
    if ClientKey::from_pem(&pem).is_some() {
        Ok(pem)
    } else {
        Err(node.fault("must be a private key in PEM: RSA of at least 2048 bits, P-256 or Ed25519, not encrypted"))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;
    use crate::secrets::fakes::{HandClock, Vault};

    const PEM: &str =
        "-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\\n-----END PRIVATE KEY-----\\n";

    #[tokio::test]
    async fn secrets_and_keys_are_listed_in_order() {
        let text = format!(r#"{{"conn_a": ["current", "previous"], "conn_b": [{{"kid": "k1", "pem": "{PEM}"}}]}}"#);
        let vault = Vault::holding(&text);
        let adapter = SecretClientSecrets::new(vault.source(&HandClock::new()), "client-secrets".to_owned());
        let of = async |id: &str| adapter.client_secrets(&ConnectionId::try_from(id).unwrap()).await.unwrap();
        assert!(matches!(&*of("conn_a").await, [ClientCredential::Secret(first), _] if first.expose() == "current"));
        assert!(
            matches!(&*of("conn_b").await, [ClientCredential::Key { kid, pem }] if kid == "k1" && pem.expose().starts_with("-----BEGIN"))
        );
        assert!(of("conn_public").await.is_empty());
        assert_eq!(vault.reads(), 1);
    }

    #[test]
    fn s71_faults_name_places_and_never_values() {
        let text = r#"{"conn_a": ["hunter2", 7, "", {"kid": "k", "pem": "hunter2", "extra": "hunter2"}, {"pem": null}],
            "conn b": ["hunter2"], "conn_c": "hunter2"}"#;
        let faults = parse_client_secrets(text).map(|_| ()).unwrap_err();
        assert_eq!(
            faults.to_string().lines().collect::<Vec<_>>(),
            [
                "$[\"conn b\"]: must have as its name a connection id (1–128 characters of [A-Za-z0-9_-])",
                "conn_a[1]: must be a client secret, or a key with kid and pem",
                "conn_a[2]: must have 1 to 4096 characters, none of them a control character",
                "conn_a[3].pem: must be a private key in PEM: RSA of at least 2048 bits, P-256 or Ed25519, not encrypted",
                "conn_a[3].extra: unknown field",
                "conn_a[4].kid: is required",
                "conn_a[4].pem: is required",
                "conn_c: must be a list",
            ]
        );
        assert!(!format!("{faults:?}").contains("hunter2"));
        let broken = parse_client_secrets(r#"{"conn_a": ["hunter2", hunter2]}"#).map(|_| ()).unwrap_err();
        assert_eq!(broken.one_line(), "$: must be JSON, and is not at line 1 column 24");
        let twice = parse_client_secrets(r#"{"conn_a": ["x"], "conn_a": ["y"]}"#).map(|_| ()).unwrap_err();
        assert_eq!(twice.one_line(), "conn_a: is given twice");
    }
}

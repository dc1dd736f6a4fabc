//! Makes an AWS endpoint ready for the service: the table, the key, the secrets and the rescue queue.
//!
//! Everything goes through the SDKs, so the endpoint may be the emulation, another emulator or AWS. Every step first
//! looks and then makes what is absent; running it again changes nothing, and two runs at once do not harm.

use std::error::Error;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::client::Waiters as _;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{TableDescription, TimeToLiveSpecification, TimeToLiveStatus};
use aws_sdk_kms::types::KeyState;
use shared::connections::Connections;
use shared::dynamodb::table;

/// How long a new table may take to become active. DynamoDB itself needs some ten seconds.
const TABLE_PATIENCE: Duration = Duration::from_mins(2);

/// What the things are called.
#[derive(Debug, Clone)]
pub struct Names {
    /// The table.
    pub table: String,
    /// The alias by which the key is found, `alias/` included.
    pub key_alias: String,
    /// The rescue queue.
    pub rescue_queue: String,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            table: "mandate-local".to_owned(),
            key_alias: "alias/mandate-local".to_owned(),
            rescue_queue: "mandate-local-rescue".to_owned(),
        }
    }
}

/// What is there now, as the functions' environment names it.
#[derive(Debug, Clone)]
pub struct Provisioned {
    /// The table's name.
    pub table: String,
    /// The key's id.
    pub key_id: String,
    /// The ids of the secrets, in the order given.
    pub secret_ids: Vec<String>,
    /// The URL of the rescue queue.
    pub rescue_queue_url: String,
}

/// Why the endpoint could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// A request failed.
    #[error("{doing}")]
    Call {
        /// What we were doing.
        doing: String,
        /// What the SDK said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// There is a table of this name, and it is not ours.
    #[error("using the table {table}, which exists without the index {index}")]
    ForeignTable {
        /// The table.
        table: String,
        /// The index that it lacks.
        index: &'static str,
    },
    /// There is a key of this name, and it cannot encrypt.
    #[error("using the key {alias}, whose state is {state}")]
    UnusableKey {
        /// The alias.
        alias: String,
        /// Its state in the API's words.
        state: String,
    },
}

impl ProvisionError {
    fn call<E: Into<Box<dyn Error + Send + Sync>>>(doing: String) -> impl FnOnce(E) -> Self {
        |source| Self::Call { doing, source: source.into() }
    }
}

/// SDK configuration for an endpoint on this machine: credentials that open nothing, and that endpoint for every service.
#[must_use]
pub fn loopback_sdk_config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("local", "local", None, None, "the local stack");
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        // As in Lambda.
        .retry_config(RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(50)));
    // Without TLS there is no client, and the first request says so.
    if let Ok(connections) = Connections::new() {
        config = config.http_client(connections);
    }
    config.build()
}

/// Makes what is absent, and names what is there. `secrets` are pairs of id and content.
pub async fn provision(sdk: &SdkConfig, names: &Names, secrets: &[(String, String)]) -> Result<Provisioned, ProvisionError> {
    ensure_table(&aws_sdk_dynamodb::Client::new(sdk), &names.table).await?;
    let key_id = ensure_key(&aws_sdk_kms::Client::new(sdk), &names.key_alias).await?;
    let manager = aws_sdk_secretsmanager::Client::new(sdk);
    for (id, content) in secrets {
        ensure_secret(&manager, id, content).await?;
    }
    let rescue_queue_url = ensure_queue(&aws_sdk_sqs::Client::new(sdk), &names.rescue_queue).await?;
    let secret_ids = secrets.iter().map(|(id, _)| id.clone()).collect();
    Ok(Provisioned { table: names.table.clone(), key_id, secret_ids, rescue_queue_url })
}

async fn ensure_table(dynamodb: &aws_sdk_dynamodb::Client, name: &str) -> Result<(), ProvisionError> {
    let described = dynamodb.describe_table().table_name(name).send().await;
    let absent = described.as_ref().is_err_and(|error| error.code() == Some("ResourceNotFoundException"));
    if absent {
        let create = table::create_table(dynamodb, name).map_err(ProvisionError::call(format!("defining the table {name}")))?;
        match create.send().await {
            Ok(_) => {}
            // Somebody else was faster.
            Err(error) if error.code() == Some("ResourceInUseException") => {}
            Err(error) => return Err(ProvisionError::call(format!("creating the table {name}"))(error)),
        }
    } else {
        let output = described.map_err(ProvisionError::call(format!("describing the table {name}")))?;
        require_indexes(name, output.table())?;
    }
    dynamodb
        .wait_until_table_exists()
        .table_name(name)
        .wait(TABLE_PATIENCE)
        .await
        .map_err(ProvisionError::call(format!("waiting for the table {name}")))?;
    ensure_ttl(dynamodb, name).await
}

fn require_indexes(name: &str, description: Option<&TableDescription>) -> Result<(), ProvisionError> {
    let indexes = description.map(TableDescription::global_secondary_indexes).unwrap_or_default();
    for index in [table::BY_ORGANIZATION, table::DUE] {
        if !indexes.iter().any(|present| present.index_name() == Some(index)) {
            return Err(ProvisionError::ForeignTable { table: name.to_owned(), index });
        }
    }
    Ok(())
}

/// Switches TTL on. Emulators without it are fine: no expiry is ever trusted to it.
async fn ensure_ttl(dynamodb: &aws_sdk_dynamodb::Client, name: &str) -> Result<(), ProvisionError> {
    let described = dynamodb.describe_time_to_live().table_name(name).send().await;
    let status = described.as_ref().ok().and_then(|output| output.time_to_live_description()?.time_to_live_status());
    if matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) {
        return Ok(());
    }
    let doing = || format!("switching TTL on for the table {name}");
    let specification = TimeToLiveSpecification::builder()
        .enabled(true)
        .attribute_name(table::TTL_ATTRIBUTE)
        .build()
        .map_err(ProvisionError::call(doing()))?;
    match dynamodb.update_time_to_live().table_name(name).time_to_live_specification(specification).send().await {
        Ok(_) => Ok(()),
        Err(error) if is_unsupported(error.code()) => {
            tracing::info!(table = name, "this endpoint has no TTL; expired items stay until they are deleted");
            Ok(())
        }
        Err(error) => Err(ProvisionError::call(doing())(error)),
    }
}

fn is_unsupported(code: Option<&str>) -> bool {
    matches!(code, Some("UnknownOperationException" | "UnsupportedOperation" | "UnsupportedOperationException"))
}

async fn ensure_key(kms: &aws_sdk_kms::Client, alias: &str) -> Result<String, ProvisionError> {
    if let Some(key_id) = find_key(kms, alias).await? {
        return Ok(key_id);
    }
    let created = kms
        .create_key()
        .description("Mandate, local stack")
        .send()
        .await
        .map_err(ProvisionError::call(format!("creating the key {alias}")))?;
    let key_id = created.key_metadata().map(|key| key.key_id().to_owned()).unwrap_or_default();
    match kms.create_alias().alias_name(alias).target_key_id(&key_id).send().await {
        Ok(_) => Ok(key_id),
        // Somebody else was faster: theirs is the key, and ours stays unused.
        Err(error) if error.code() == Some("AlreadyExistsException") => Ok(find_key(kms, alias).await?.unwrap_or(key_id)),
        Err(error) => Err(ProvisionError::call(format!("naming the key {alias}"))(error)),
    }
}

async fn find_key(kms: &aws_sdk_kms::Client, alias: &str) -> Result<Option<String>, ProvisionError> {
    let described = match kms.describe_key().key_id(alias).send().await {
        Ok(described) => described,
        Err(error) if error.code() == Some("NotFoundException") => return Ok(None),
        Err(error) => return Err(ProvisionError::call(format!("describing the key {alias}"))(error)),
    };
    let Some(key) = described.key_metadata() else { return Ok(None) };
    match key.key_state() {
        None | Some(KeyState::Enabled) => Ok(Some(key.key_id().to_owned())),
        Some(state) => Err(ProvisionError::UnusableKey { alias: alias.to_owned(), state: state.as_str().to_owned() }),
    }
}

async fn ensure_secret(manager: &aws_sdk_secretsmanager::Client, id: &str, content: &str) -> Result<(), ProvisionError> {
    match manager.get_secret_value().secret_id(id).send().await {
        Ok(present) if present.secret_string() == Some(content) => return Ok(()),
        Ok(_) => return put_secret(manager, id, content).await,
        Err(error) if error.code() == Some("ResourceNotFoundException") => {}
        Err(error) => return Err(ProvisionError::call(format!("reading the secret {id}"))(error)),
    }
    match manager.create_secret().name(id).secret_string(content).send().await {
        Ok(_) => Ok(()),
        // It exists without a value, or somebody else was faster.
        Err(error) if error.code() == Some("ResourceExistsException") => put_secret(manager, id, content).await,
        Err(error) => Err(ProvisionError::call(format!("creating the secret {id}"))(error)),
    }
}

async fn put_secret(manager: &aws_sdk_secretsmanager::Client, id: &str, content: &str) -> Result<(), ProvisionError> {
    let put = manager.put_secret_value().secret_id(id).secret_string(content).send().await;
    put.map(|_| ()).map_err(ProvisionError::call(format!("changing the secret {id}")))
}

async fn ensure_queue(sqs: &aws_sdk_sqs::Client, name: &str) -> Result<String, ProvisionError> {
    match sqs.get_queue_url().queue_name(name).send().await {
        Ok(found) => return Ok(found.queue_url().unwrap_or_default().to_owned()),
        Err(error) if is_absent_queue(error.code()) => {}
        Err(error) => return Err(ProvisionError::call(format!("finding the queue {name}"))(error)),
    }
    let created = sqs.create_queue().queue_name(name).send().await;
    created
        .map(|created| created.queue_url().unwrap_or_default().to_owned())
        .map_err(ProvisionError::call(format!("creating the queue {name}")))
}

/// SQS has two names for this, after its two protocols, and emulators choose.
fn is_absent_queue(code: Option<&str>) -> bool {
    matches!(code, Some("QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests;

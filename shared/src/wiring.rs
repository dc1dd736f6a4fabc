//! From settings to use cases with their adapters. Each function's `main` takes what it needs from here, once, at init; the local
//! stack takes all of it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use crate::config::{Missing, Need, Settings};
use crate::connections::{CONNECT_TIMEOUT, Connections};
use crate::domain::directory::ApiKeys;
use crate::domain::incident::Pace;
use crate::domain::redirect_uri::Environment;
use crate::dynamodb::Table;
use crate::eventbridge::EventBus;
use crate::http::edge::Edge;
use crate::kms::Keyring;
use crate::oauth::{ApiTokenVerifier, Egress, Http, Provider};
use crate::ports::cipher::TokenCipher;
use crate::ports::clock::{Clock, Entropy};
use crate::ports::configuration::{Directories, StaticApiKeys as _};
use crate::ports::{Source, Unavailable};
use crate::secrets::{PushingClients, SecretClientSecrets, SecretDirectories, SecretSource, SecretStaticApiKeys, StateKeys};
use crate::sqs::RescueQueueClient;
use crate::usecases::announce::Announcer;
use crate::usecases::assign::Assign;
use crate::usecases::branch_keys::BranchKeyCare;
use crate::usecases::check::Check;
use crate::usecases::complete_flow::CompleteFlow;
use crate::usecases::create_url::CreateUrl;
use crate::usecases::hand_out::HandOut;
use crate::usecases::list::List;
use crate::usecases::refresh::Refresher;
use crate::usecases::refresh_due::RefreshDue;
use crate::usecases::replace::Replace;
use crate::usecases::revoke::{Revoke, Revoker};
use crate::usecases::traffic::Traffic;

/// Everything that use cases are made of. Adapters are made when first asked for, and shared from then on.
pub struct Wiring {
    settings: Settings,
    sdk: SdkConfig,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    http: Http,
    directories: Arc<SecretDirectories>,
    table: OnceLock<Arc<Table>>,
    cipher: OnceLock<Arc<Keyring>>,
    client_secrets: Option<Arc<SecretClientSecrets>>,
    state_keys: Arc<StateKeys>,
    static_keys: Arc<SecretStaticApiKeys>,
    provider: OnceLock<Arc<Provider>>,
    on_demand: Arc<Traffic>,
    scheduled: Arc<Traffic>,
}

/// Why a function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Names of the environment are not set.
    #[error(transparent)]
    Settings(#[from] Missing),
    /// Something could not be had.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The SDKs' configuration in Lambda: region and credentials from the environment, two more tries than one, short waits and time
/// limits. The SDKs' own first wait is up to a second; these services answer within milliseconds.
#[must_use]
pub fn sdk_config(settings: &Settings, connections: &Connections) -> SdkConfig {
    let credentials = SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new());
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(Duration::from_secs(3))
        .operation_timeout(Duration::from_secs(8))
        .build();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(50)))
        .timeout_config(timeouts)
        .region(settings.region.clone().map(Region::new))
        .http_client(connections.clone())
        .service_config(Elsewhere(settings.endpoint_urls.clone()))
        .credentials_provider(credentials);
    if let Some(endpoint) = &settings.endpoint_url {
        config = config.endpoint_url(endpoint);
    }
    config.build()
}

/// Where single services are, in development.
#[derive(Debug)]
struct Elsewhere(BTreeMap<&'static str, String>);

impl LoadServiceConfig for Elsewhere {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_ascii_uppercase().replace(' ', "_");
        self.0.get(service.as_str()).filter(|_| key.env() == "AWS_ENDPOINT_URL").cloned()
    }
}

/// Where the services are that a function with these needs will ask when it is invoked. Secrets Manager is asked at the start.
pub async fn endpoints(settings: &Settings, needs: &[Need]) -> Vec<String> {
    let mut urls = Vec::new();
    for need in needs {
        let service = match need {
            Need::Table => "DYNAMODB",
            Need::KmsKey => "KMS",
            _ => continue,
        };
        let url = match (settings.endpoint_of(service), &settings.region) {
            (Some(url), _) => Some(url.to_owned()),
            (None, Some(region)) if *need == Need::Table => dynamodb_endpoint(region).await,
            (None, Some(region)) => kms_endpoint(region).await,
            (None, None) => None,
        };
        urls.extend(url);
    }
    urls
}

/// The SDK's own rules say it, for every partition.
async fn dynamodb_endpoint(region: &str) -> Option<String> {
    use aws_sdk_dynamodb::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
    let params = Params::builder().region(region).build().ok()?;
    DefaultResolver::new().resolve_endpoint(&params).await.ok().map(|endpoint| endpoint.url().to_owned())
}

/// The same of KMS.
async fn kms_endpoint(region: &str) -> Option<String> {
    use aws_sdk_kms::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
    let params = Params::builder().region(region).build().ok()?;
    DefaultResolver::new().resolve_endpoint(&params).await.ok().map(|endpoint| endpoint.url().to_owned())
}

impl Wiring {
    /// Wires a function that needs these settings, and reads its directory and its client secrets, so that wrong ones stop it at
    /// start-up and not in the middle of a sign-in.
    pub async fn start(
        settings: Settings,
        needs: &[Need],
        sdk: SdkConfig,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StartError> {
        settings.require(needs)?;
        let secrets = SecretSource::new(aws_sdk_secretsmanager::Client::new(&sdk), Arc::clone(&clock));
        let directory_secret = settings.directory_secret.clone().unwrap_or_default();
        let client_secrets = settings.client_secrets_secret.clone();
        let client_secrets = client_secrets.map(|id| Arc::new(SecretClientSecrets::new(Arc::clone(&secrets), id)));
        let proof = match &client_secrets {
            None if needs.contains(&Need::ClientSecretsToPush) => PushingClients::HaveNoProof,
            _ => PushingClients::MayProveThemselves,
        };
        let directories = Arc::new(SecretDirectories::new(Arc::clone(&secrets), directory_secret, settings.development, proof));
        let readable = async {
            match &client_secrets {
                Some(client_secrets) => client_secrets.read().await,
                None => Ok(()),
            }
        };
        let state_keys_secret = settings.state_keys_secret.clone();
        let reads_state_keys = state_keys_secret.is_some() && needs.contains(&Need::StateKeys);
        let state_keys = StateKeys::new(Arc::clone(&secrets), state_keys_secret.unwrap_or_default(), Arc::clone(&entropy));
        // Only ahead of time: whoever needs them asks again, and tells if they cannot be read.
        let ahead = async {
            if reads_state_keys {
                drop(state_keys.read().await);
            }
        };
        let (directory, readable, ()) = futures_util::future::join3(directories.directory(), readable, ahead).await;
        let directory = directory?;
        readable?;
        let mut egress = Egress::new(settings.development || directory.environment == Environment::Staging);
        egress.total_timeout = settings.provider_time.unwrap_or(egress.total_timeout);
        let http = Http::new(egress)?;
        let traffic = |pace| Arc::new(Traffic::new(Arc::clone(&clock), pace));
        let (on_demand, scheduled) = (traffic(Pace::OnDemand), traffic(Pace::Scheduled));
        let static_keys = Arc::new(SecretStaticApiKeys::new(Arc::clone(&secrets)));
        Ok(Self {
            settings,
            sdk,
            clock,
            entropy,
            http,
            directories,
            table: OnceLock::new(),
            cipher: OnceLock::new(),
            client_secrets,
            state_keys: Arc::new(state_keys),
            static_keys,
            provider: OnceLock::new(),
            on_demand,
            scheduled,
        })
    }

    /// Fetches ahead of the first request what verifies its bearer token. Nothing fails by it: the request would fetch it, too.
    pub async fn fetch_api_keys(&self) {
        let Ok(directory) = self.directories.directory().await else { return };
        let fetched = match &directory.api_tokens.keys {
            ApiKeys::Jwks(uri) => self.provider().jwks().warm(uri).await.map_err(Source::from),
            ApiKeys::Static(id) => self.static_keys.static_api_key(id).await.map(drop).map_err(Source::from),
        };
        if let Err(error) = fetched {
            tracing::warn!(error = &*error as &dyn std::error::Error, "the keys of API tokens could not be fetched ahead of time");
        }
    }

    /// The edge of an HTTP function.
    #[must_use]
    pub fn edge(&self) -> Arc<Edge> {
        let static_keys = Arc::clone(&self.static_keys) as _;
        let jwks = self.provider().jwks();
        Arc::new(Edge {
            directories: self.directories(),
            bearer: Arc::new(ApiTokenVerifier::new(self.directories(), static_keys, jwks, Arc::clone(&self.clock))),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
        })
    }

    /// The directory.
    #[must_use]
    pub fn directories(&self) -> Arc<dyn Directories> {
        Arc::clone(&self.directories) as _
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// The randomness.
    #[must_use]
    pub fn entropy(&self) -> Arc<dyn Entropy> {
        Arc::clone(&self.entropy)
    }

    fn table(&self) -> Arc<Table> {
        let make = || {
            let name = self.settings.table.clone().unwrap_or_default();
            let table = Table::new(aws_sdk_dynamodb::Client::new(&self.sdk), name, self.clock(), self.entropy());
            // The local stack is one machine with one clock, which tests move by hand.
            Arc::new(if self.settings.development { table } else { table.in_its_own_time() })
        };
        Arc::clone(self.table.get_or_init(make))
    }

    fn cipher(&self) -> Arc<dyn TokenCipher> {
        self.keyring()
    }

    fn keyring(&self) -> Arc<Keyring> {
        let make = || {
            let key_id = self.settings.kms_key_id.clone().unwrap_or_default();
            Arc::new(Keyring::new(aws_sdk_kms::Client::new(&self.sdk), key_id, self.table(), self.clock(), self.entropy()))
        };
        Arc::clone(self.cipher.get_or_init(make))
    }

    fn provider(&self) -> Arc<Provider> {
        let make = || match &self.client_secrets {
            Some(secrets) => Arc::new(Provider::new(self.http.clone(), self.clock(), self.entropy(), Arc::clone(secrets) as _)),
            None => Arc::new(Provider::without_secrets(self.http.clone(), self.clock(), self.entropy())),
        };
        Arc::clone(self.provider.get_or_init(make))
    }

    fn state_keys(&self) -> Arc<StateKeys> {
        Arc::clone(&self.state_keys)
    }

    fn rescue_queue(&self) -> Arc<RescueQueueClient> {
        let url = self.settings.rescue_queue_url.clone().unwrap_or_default();
        Arc::new(RescueQueueClient::new(aws_sdk_sqs::Client::new(&self.sdk), url))
    }

    fn announcer(&self) -> Arc<Announcer> {
        let bus = self.settings.event_bus.as_ref();
        let events = bus.map(|bus| Arc::new(EventBus::new(aws_sdk_eventbridge::Client::new(&self.sdk), bus)) as _);
        Arc::new(Announcer { index: self.table(), notes: self.table(), events, clock: self.clock() })
    }

    /// Create an authorization URL.
    #[must_use]
    pub fn create_url(&self) -> CreateUrl {
        CreateUrl { sealer: self.state_keys(), urls: self.provider(), clock: self.clock(), entropy: self.entropy() }
    }

    /// Complete a sign-in.
    #[must_use]
    pub fn complete_flow(&self) -> CompleteFlow {
        CompleteFlow {
            sealer: self.state_keys(),
            flows: self.table(),
            announcer: self.announcer(),
            cipher: self.cipher(),
            metadata: self.provider(),
            exchanges: self.provider(),
            revocations: self.provider(),
            clock: self.clock(),
            entropy: self.entropy(),
        }
    }

    /// List.
    #[must_use]
    pub fn list(&self) -> List {
        List { index: self.table(), cursors: self.state_keys(), clock: self.clock() }
    }

    /// Bind and unbind.
    #[must_use]
    pub fn assign(&self) -> Assign {
        Assign { store: self.table(), clock: self.clock() }
    }

    /// Replace.
    #[must_use]
    pub fn replace(&self) -> Replace {
        Replace { store: self.table(), moves: self.table(), index: self.table(), clock: self.clock() }
    }

    fn revoker(&self) -> Revoker {
        Revoker { store: self.table(), revocations: self.provider(), cipher: self.cipher(), clock: self.clock() }
    }

    /// Revoke.
    #[must_use]
    pub fn revoke(&self) -> Revoke {
        Revoke {
            index: self.table(),
            announcer: self.announcer(),
            metadata: self.provider(),
            entropy: self.entropy(),
            revoker: self.revoker(),
        }
    }

    fn refresher(&self, traffic: &Arc<Traffic>) -> Arc<Refresher> {
        Arc::new(Refresher {
            store: self.table(),
            refreshes: self.provider(),
            revocations: self.provider(),
            cipher: self.cipher(),
            rescue: self.rescue_queue(),
            announcer: self.announcer(),
            traffic: Arc::clone(traffic),
            clock: self.clock(),
            entropy: self.entropy(),
        })
    }

    /// Hand out.
    #[must_use]
    pub fn hand_out(&self) -> HandOut {
        HandOut { reads: self.table(), store: self.table(), refresher: self.refresher(&self.on_demand), clock: self.clock() }
    }

    /// Check.
    #[must_use]
    pub fn check(&self) -> Check {
        Check { store: self.table(), refresher: self.refresher(&self.on_demand), userinfo: self.provider(), clock: self.clock() }
    }

    /// Rotating and retiring branch keys.
    #[must_use]
    pub fn branch_keys(&self) -> BranchKeyCare {
        BranchKeyCare { life: self.keyring(), keys: self.table(), index: self.table(), store: self.table(), clock: self.clock() }
    }

    /// The scheduled run.
    #[must_use]
    pub fn refresh_due(&self) -> RefreshDue {
        RefreshDue {
            queue: self.table(),
            store: self.table(),
            refresher: self.refresher(&self.scheduled),
            revoker: self.revoker(),
            rescued: self.rescue_queue(),
            clock: self.clock(),
        }
    }
}

//! The whole system in one process (design section 7): the API, the functions behind it, AWS, and a sign-in provider.
//!
//! 1. Two listeners are bound: the API's and the emulated AWS's.
//! 2. Table, key, secrets and queue are made if absent, through the real SDK clients.
//! 3. The functions are wired as in Lambda, and read their directory; a wrong one stops the start.
//! 4. The API serves; the schedule runs.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{AppName, InvalidAppName};
use axum::Router;
use serde_json::json;
use shared::config::{Need, Settings};
use shared::connections::Connections;
use shared::ports::clock::{Clock, Entropy};
use shared::system::{SystemClock, SystemEntropy};
use shared::wiring::{StartError as WiringError, Wiring, sdk_config};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::aws::{Emulation, EmulationError};
use crate::demonstration::{self, SignInError};
use crate::functions::{FUNCTIONS, Functions, Wirings};
use crate::provision::{Names, ProvisionError, Provisioned, loopback_sdk_config, provision};
use crate::sign_in::SignIn;
use crate::witness::{Witness, witnessed};
use crate::{app, front};

/// The names of the secrets, in Secrets Manager.
const DIRECTORY: &str = "mandate/directory";
const CLIENT_SECRETS: &str = "mandate/client-secrets";
const STATE_KEYS: &str = "mandate/state-keys";

/// The bus of the emulated AWS.
const EVENT_BUS: &str = "default";

/// How to start.
pub struct Options {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where the emulated AWS listens.
    pub aws_listen: SocketAddr,
    /// Another AWS endpoint instead of the emulation.
    pub aws_endpoint: Option<String>,
    /// Another DynamoDB behind the emulated endpoint, so that all else is still emulated.
    pub dynamodb: Option<String>,
    /// What the table is called; everything is found again under its usual name if absent.
    pub table: Option<String>,
    /// The directory; the demonstration's if absent.
    pub directory: Option<String>,
    /// The client secrets; the demonstration's if absent.
    pub client_secrets: Option<String>,
    /// The state keys; the demonstration's if absent.
    pub state_keys: Option<String>,
    /// Further secrets, by id.
    pub secrets: Vec<(String, String)>,
    /// Where the table is kept; in memory if absent.
    pub data: Option<PathBuf>,
    /// How often the schedule runs; only when invoked if absent.
    pub refresh_every: Option<Duration>,
    /// How long an identity provider may take; as long as in Lambda if absent.
    pub provider_time: Option<Duration>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Each function with clients and caches of its own, and with the environment that the template gives it, as in Lambda; all
    /// together if absent.
    pub apart: Option<Parameters>,
    /// Who sees everything that passes.
    pub witness: Option<Arc<dyn Witness>>,
}

/// The parameters of the template that change what a function's environment has.
#[derive(Debug, Clone, Copy)]
pub struct Parameters {
    /// `PushedAuthorizationRequests`
    pub pushed_authorization_requests: bool,
}

impl Options {
    /// In memory, on free ports of the loopback address, with the demonstration's configuration and no schedule.
    #[must_use]
    pub fn ephemeral() -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            listen: free,
            aws_listen: free,
            aws_endpoint: None,
            dynamodb: None,
            table: None,
            directory: None,
            client_secrets: None,
            state_keys: None,
            secrets: Vec::new(),
            data: None,
            refresh_every: None,
            provider_time: None,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            apart: None,
            witness: None,
        }
    }
}

/// A running stack.
pub struct Stack {
    api: SocketAddr,
    emulation: Option<Emulation>,
    endpoint: String,
    provisioned: Provisioned,
    functions: Arc<Functions>,
    sign_in: Arc<SignIn>,
    clock: Arc<dyn Clock>,
    stopping: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Why the stack does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken, or not ours to take.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The emulated AWS does not start.
    #[error("failed to start the emulated AWS")]
    Emulation(#[from] EmulationError),
    /// The endpoint could not be made ready.
    #[error("failed to make the AWS endpoint ready")]
    Provision(#[from] ProvisionError),
    /// The demonstration sign-in does not start.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// The functions do not start: usually the directory is wrong.
    #[error(transparent)]
    Functions(#[from] WiringError),
    /// A function has a name that the SDKs do not take.
    #[error("failed to name a function to AWS")]
    Name(#[from] InvalidAppName),
    /// A function is missing.
    #[error("a function has nothing to be made of")]
    Incomplete,
}

impl Stack {
    /// Starts; on an error nothing keeps running.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let listener = bind(options.listen).await?;
        let api = listener.local_addr().map_err(|source| StartError::Listen { address: options.listen, source })?;
        let (emulation, endpoint) = if let Some(endpoint) = options.aws_endpoint {
            (None, endpoint)
        } else {
            let (data, dynamodb) = (options.data.as_deref(), options.dynamodb.as_deref());
            let emulation = Emulation::witnessed(bind(options.aws_listen).await?, data, dynamodb, options.witness.clone()).await?;
            let endpoint = emulation.endpoint();
            (Some(emulation), endpoint)
        };
        let demonstrates = options.directory.is_none();
        let mut secrets = vec![
            (DIRECTORY.to_owned(), options.directory.unwrap_or_else(|| demonstration::directory(api))),
            (CLIENT_SECRETS.to_owned(), options.client_secrets.unwrap_or_else(demonstration::client_secrets)),
            (STATE_KEYS.to_owned(), options.state_keys.unwrap_or_else(demonstration::state_keys)),
        ];
        secrets.extend(options.secrets);
        let sdk = if emulation.is_some() {
            loopback_sdk_config(&endpoint)
        } else {
            let region = Settings::from_environment().region.or_else(|| Some("us-east-1".to_owned()));
            let settings = Settings { endpoint_url: Some(endpoint.clone()), region, ..Settings::default() };
            sdk_config(&settings, &Connections::new().map_err(WiringError::from)?)
        };
        let usual = Names::default();
        let names = Names { table: options.table.unwrap_or_else(|| usual.table.clone()), ..usual };
        let provisioned = provision(&sdk, &names, &secrets).await?;
        let sign_in = demonstration::sign_in(api, options.data.as_deref(), Arc::clone(&options.clock))?;
        let settings = Settings {
            table: Some(provisioned.table.clone()),
            kms_key_id: Some(provisioned.key_id.clone()),
            directory_secret: Some(DIRECTORY.to_owned()),
            client_secrets_secret: Some(CLIENT_SECRETS.to_owned()),
            state_keys_secret: Some(STATE_KEYS.to_owned()),
            rescue_queue_url: Some(provisioned.rescue_queue_url.clone()),
            // Another endpoint's bus may have listeners, or not be there at all.
            event_bus: emulation.is_some().then(|| EVENT_BUS.to_owned()),
            metrics_namespace: None,
            development: true,
            region: None,
            endpoint_url: None,
            endpoint_urls: std::collections::BTreeMap::new(),
            provider_time: options.provider_time,
        };
        let wire = async |application: &'static str, settings: Settings, needs: &[Need]| {
            let sdk = sdk.to_builder().app_name(AppName::new(application)?).build();
            Ok::<_, StartError>(Wiring::start(settings, needs, sdk, Arc::clone(&options.clock), Arc::clone(&options.entropy)).await?)
        };
        let wirings = if let Some(parameters) = options.apart {
            let mut wirings = BTreeMap::new();
            for (function, needs) in FUNCTIONS {
                let mut given = needs.to_vec();
                given.retain(|need| *need != Need::ClientSecretsToPush || parameters.pushed_authorization_requests);
                wirings.insert(function, wire(function, settings.only(&given), needs).await?);
            }
            Wirings::Apart(wirings)
        } else {
            let needs = [Need::Table, Need::KmsKey, Need::Directory, Need::ClientSecrets, Need::StateKeys, Need::RescueQueue];
            Wirings::Together(Box::new(wire("functions", settings, &needs).await?))
        };
        let functions = Arc::new(Functions::new(&wirings, options.witness.clone()).ok_or(StartError::Incomplete)?);
        let (stopping, stopped) = watch::channel(false);
        let provider = match options.witness {
            Some(witness) => witnessed(sign_in.router(), witness),
            None => sign_in.router(),
        };
        let mut router = Router::new()
            .nest(demonstration::SIGN_IN_PATH, provider)
            .merge(front::router(Arc::clone(&functions), Arc::clone(&options.clock)));
        if demonstrates {
            router = router.merge(app::router(api, Arc::clone(&options.clock)));
        }
        let mut tasks = vec![tokio::spawn(serve(listener, router, stopped.clone()))];
        if let Some(every) = options.refresh_every {
            tasks.push(tokio::spawn(schedule(Arc::clone(&functions), every, stopped)));
        }
        Ok(Self { api, emulation, endpoint, provisioned, functions, sign_in, clock: options.clock, stopping, tasks })
    }

    /// Where the API listens.
    #[must_use]
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// The AWS endpoint.
    #[must_use]
    pub fn aws_endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The emulated AWS, if it is the endpoint.
    #[must_use]
    pub fn emulation(&self) -> Option<&Emulation> {
        self.emulation.as_ref()
    }

    /// What was made ready.
    #[must_use]
    pub fn provisioned(&self) -> &Provisioned {
        &self.provisioned
    }

    /// The demonstration sign-in.
    #[must_use]
    pub fn sign_in(&self) -> &SignIn {
        &self.sign_in
    }

    /// The functions.
    #[must_use]
    pub fn functions(&self) -> &Arc<Functions> {
        &self.functions
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// Stops: requests under way are finished first.
    pub async fn stop(self) {
        self.stopping.send_replace(true);
        for task in self.tasks {
            // A task that panicked has stopped, too.
            let _ = task.await;
        }
        self.functions.stop().await;
        if let Some(emulation) = self.emulation {
            emulation.stop().await;
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

async fn serve(listener: TcpListener, router: Router, mut stopped: watch::Receiver<bool>) {
    let stop = async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
        tracing::error!(error = &error as &dyn std::error::Error, "the API stopped serving");
    }
}

/// The EventBridge rule.
async fn schedule(functions: Arc<Functions>, every: Duration, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(every) => {}
        }
        match functions.invoke("refresh", json!({})).await {
            Ok(report) if report["due"] == json!(0) && report["rescued"] == json!(0) => {}
            Ok(report) => tracing::info!(%report, "schedule"),
            Err(error) => tracing::warn!(error = %error, "scheduled run failed"),
        }
    }
}

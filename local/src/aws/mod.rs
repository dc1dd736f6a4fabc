//! AWS in this process, for the local stack and for tests.
//!
//! One HTTP/1 server on one loopback listener speaks the AWS JSON protocols of DynamoDB, KMS, Secrets Manager and
//! SQS. The SDKs, the AWS CLI and boto3 talk to it with an endpoint override.
//!
//! 1. `X-Amz-Target` names service and operation ([`wire`]).
//! 2. The request is counted, and an [`Observer`] may hold it, refuse it or lose its answer ([`observer`]).
//! 3. DynamoDB's requests go to an embedded dynoxide, or to another DynamoDB ([`dynamodb`]); the others are answered here.
//!
//! Without a data directory everything is in memory. With one, every acknowledged change is on disk before its
//! answer ([`snapshot`]), and a lock keeps a second process out.
//!
//! Signatures are not checked. What stands between a web page and this endpoint: only POST with `X-Amz-Target` is
//! served, which browsers do not send to a foreign origin without a preflight that fails here, and the `Host` must
//! be an address or `localhost`, so that a rebound DNS name does not make a foreign origin ours.

mod clock;
mod dynamodb;
mod kms;
mod observer;
mod secrets_manager;
mod snapshot;
mod sqs;
mod wire;

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it stands")]
mod tests;

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, Response, Uri, header};
use futures_util::stream;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::witness::Witness;

pub use observer::{Call, Counts, Observer, Ruling};
pub use snapshot::SnapshotError;
pub use wire::{Fault, Service};

/// The region that the emulation's ARNs name.
pub const REGION: &str = "us-east-1";
/// The account that the emulation's ARNs name.
pub const ACCOUNT: &str = "000000000000";

/// DynamoDB's largest request; no other service allows more.
const BODY_LIMIT: usize = 16 * 1024 * 1024;
/// How long a stop waits for requests under way.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the emulation did not start.
#[derive(Debug, thiserror::Error)]
pub enum EmulationError {
    /// The listener, or the inner one of DynamoDB, is unusable.
    #[error("listening for the emulated AWS")]
    Listen(#[source] io::Error),
    /// The data directory cannot be made or locked.
    #[error("preparing the data directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process works on the data directory.
    #[error("preparing the data directory {path}: another process uses it")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The state of KMS, Secrets Manager or SQS cannot be read.
    #[error("opening the emulated AWS")]
    State(#[from] SnapshotError),
    /// The tables cannot be opened.
    #[error("opening the emulated tables")]
    Tables(#[source] dynoxide::DynoxideError),
}

/// A running emulation. Dropping it stops it without waiting; [`Emulation::stop`] waits.
pub struct Emulation {
    address: SocketAddr,
    aws: Arc<Aws>,
    front: JoinHandle<io::Result<()>>,
    /// Absent where DynamoDB is somebody else's.
    engine: Option<dynamodb::Engine>,
    stopping: watch::Sender<bool>,
}

/// The services, as the front sees them.
struct Aws {
    watch: observer::Watch,
    witness: Option<Arc<dyn Witness>>,
    dynamodb: dynamodb::DynamoDb,
    kms: kms::Kms,
    secrets_manager: secrets_manager::SecretsManager,
    sqs: Arc<sqs::Sqs>,
    stopping: watch::Receiver<bool>,
    /// Held open as long as anything may still write to the data directory.
    _lock: Option<File>,
}

impl Emulation {
    /// Serves AWS on `listener`, in memory or in the directory `data`. With `dynamodb`, the endpoint of another one, DynamoDB's requests
    /// are handed on to there.
    pub async fn start(listener: TcpListener, data: Option<&Path>, dynamodb: Option<&str>) -> Result<Self, EmulationError> {
        Self::witnessed(listener, data, dynamodb, None).await
    }

    /// The same before a witness.
    pub async fn witnessed(
        listener: TcpListener,
        data: Option<&Path>,
        dynamodb: Option<&str>,
        witness: Option<Arc<dyn Witness>>,
    ) -> Result<Self, EmulationError> {
        let address = listener.local_addr().map_err(EmulationError::Listen)?;
        let lock = data.map(lock_directory).transpose()?;
        let file = |name: &str| data.map(|directory| directory.join(name));
        let (stopping, stopped) = watch::channel(false);
        let (dynamodb, engine) = match dynamodb {
            Some(endpoint) => (dynamodb::elsewhere(endpoint), None),
            None => dynamodb::start(data).await.map(|(dynamodb, engine)| (dynamodb, Some(engine)))?,
        };
        let aws = Arc::new(Aws {
            watch: observer::Watch::default(),
            witness,
            dynamodb,
            kms: kms::Kms::open(file("kms.json"))?,
            secrets_manager: secrets_manager::SecretsManager::open(file("secrets-manager.json"))?,
            sqs: Arc::new(sqs::Sqs::open(file("sqs.json"), format!("http://{address}"))?),
            stopping: stopped.clone(),
            _lock: lock,
        });
        let app = Router::new().fallback(serve).layer(DefaultBodyLimit::max(BODY_LIMIT)).with_state(Arc::clone(&aws));
        let mut stop = stopped;
        let server = axum::serve(listener, app).with_graceful_shutdown(async move {
            // An error means that the sender is gone, which is a stop too.
            let _ = stop.wait_for(|stop| *stop).await;
        });
        let front = tokio::spawn(async move { server.await });
        Ok(Self { address, aws, front, engine, stopping })
    }

    /// The URL for `--endpoint-url`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets `observer` look at every request from now on; `None` ends it.
    pub fn observe(&self, observer: Option<Arc<dyn Observer>>) {
        self.aws.watch.set(observer);
    }

    /// How many requests have arrived so far, refused ones included.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.aws.watch.counts()
    }

    /// Lets requests under way finish, and closes everything.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        if tokio::time::timeout(PATIENCE, &mut self.front).await.is_err() {
            self.front.abort();
        }
        if let Some(engine) = self.engine {
            engine.stop().await;
        }
    }
}

/// Makes the directory and takes the lock that keeps other processes out. The operating system frees it when a
/// process ends, however it ends.
fn lock_directory(directory: &Path) -> Result<File, EmulationError> {
    let failed = |source| EmulationError::Directory { path: directory.to_owned(), source };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    // Wrapping keys are kept here: the directory is the owner's alone.
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(failed)?;
    let lock = File::create(directory.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(EmulationError::InUse { path: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

async fn serve(State(aws): State<Arc<Aws>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let target = Service::of_target(&headers);
    let Some((service, operation)) = target.filter(|_| method == Method::POST && host_is_local(&headers)) else {
        return Fault::unknown_operation().into_response(None);
    };
    let parsed = serde_json::from_slice(&body);
    let request = parsed.as_ref().unwrap_or(&Value::Null);
    let application = application(&headers);
    let call = Call { service, operation, application, request };
    if let Some(witness) = &aws.witness {
        witness.asked_aws(&call, &headers, &body);
    }
    let ruling = aws.watch.rule(call).await;
    match &ruling {
        Ruling::Refuse(fault) => return fault.clone().into_response(Some(service)),
        Ruling::HangUp => return broken_off(),
        Ruling::Pass | Ruling::RefuseAfter(_) | Ruling::HangUpAfter => {}
    }
    let outcome = match (service, parsed) {
        // Dynoxide answers malformed bodies itself, as DynamoDB would.
        (Service::DynamoDb, _) => aws.dynamodb.forward(headers.clone(), &uri, body).await,
        (_, Err(error)) => Err(Fault::client("SerializationException", &error.to_string())),
        (_, Ok(request)) => answer(&aws, service, operation, request.clone()).await.map(|body| {
            if let Some(witness) = &aws.witness {
                witness.answered_by_aws(&Call { service, operation, application, request: &request }, &body);
            }
            wire::success(service, &body)
        }),
    };
    match ruling {
        Ruling::RefuseAfter(fault) => fault.into_response(Some(service)),
        Ruling::HangUpAfter => broken_off(),
        Ruling::Pass | Ruling::Refuse(_) | Ruling::HangUp => outcome.unwrap_or_else(|fault| fault.into_response(Some(service))),
    }
}

/// What the SDKs send for an application's name: `app/<name>` among the words of their user agent.
fn application(headers: &HeaderMap) -> Option<&str> {
    let agents = ["x-amz-user-agent", "user-agent"].into_iter().filter_map(|name| headers.get(name)?.to_str().ok());
    agents.flat_map(str::split_whitespace).find_map(|word| word.strip_prefix("app/"))
}

/// An answer that ends in the middle: the server can do nothing but close the connection.
fn broken_off() -> Response<Body> {
    let broken = stream::once(async { Err::<Bytes, _>(io::Error::from(io::ErrorKind::ConnectionReset)) });
    Response::new(Body::from_stream(broken))
}

async fn answer(aws: &Arc<Aws>, service: Service, operation: &str, request: Value) -> Result<Value, Fault> {
    if (service, operation) == (Service::Sqs, "ReceiveMessage") {
        // The one operation that may wait, so it cannot live on a blocking thread.
        return aws.sqs.receive(wire::parse(request)?, aws.stopping.clone()).await;
    }
    let (aws, operation) = (Arc::clone(aws), operation.to_owned());
    // Answers wait for the disk, and the runtime's own threads must not.
    tokio::task::spawn_blocking(move || match service {
        Service::Kms => aws.kms.handle(&operation, request),
        Service::SecretsManager => aws.secrets_manager.handle(&operation, request),
        Service::Sqs => aws.sqs.handle(&operation, request),
        Service::DynamoDb => Err(Fault::unknown_operation()),
    })
    .await
    .unwrap_or_else(|_| Err(Fault::internal()))
}

/// Whether the `Host` is an address or `localhost`; any other name may be one that an attacker points at us.
fn host_is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let Ok(authority) = host.parse::<axum::http::uri::Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.parse::<std::net::IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

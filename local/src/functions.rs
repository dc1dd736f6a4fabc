//! The seven functions in one process, each behind its name, as Lambda would call them.

use std::collections::BTreeMap;
use std::sync::Arc;

use assign::AssignFunction;
use callback::CallbackFunction;
use create_url::CreateUrlFunction;
use lambda_http::Context;
use list::ListFunction;
use refresh::RefreshFunction;
use revoke::RevokeFunction;
use serde_json::Value;
use shared::config::Need;
use shared::http::event::{self, Handler};
use shared::http::routes::Function;
use shared::ports::clock::Clock;
use shared::telemetry;
use shared::wiring::Wiring;
use time::Duration;
use token::TokenFunction;
use tokio::sync::Semaphore;

use crate::witness::Witness;

/// How long an HTTP function may take: the limit of an HTTP API integration.
const HTTP_TIME: Duration = Duration::seconds(29);
/// How long a scheduled run may take.
const RUN_TIME: Duration = Duration::minutes(5);

/// How many invocations may be under way at once: the default limit of an AWS account.
const CONCURRENCY: u32 = 1000;

/// The functions by name, each with what its `main` needs of its environment.
pub const FUNCTIONS: [(&str, &[Need]); 7] = [
    ("create-url", &[Need::Directory, Need::StateKeys, Need::ClientSecretsToPush]),
    ("callback", &[Need::Table, Need::KmsKey, Need::Directory, Need::ClientSecrets, Need::StateKeys]),
    ("list", &[Need::Table, Need::Directory, Need::StateKeys]),
    ("revoke", &[Need::Table, Need::KmsKey, Need::Directory, Need::ClientSecrets]),
    ("assign", &[Need::Table, Need::Directory]),
    ("token", &[Need::Table, Need::KmsKey, Need::Directory, Need::ClientSecrets, Need::RescueQueue]),
    ("refresh", &[Need::Table, Need::KmsKey, Need::Directory, Need::ClientSecrets, Need::RescueQueue]),
];

/// What the functions are made of.
pub enum Wirings {
    /// They share their clients and caches, and are one application to AWS: quicker to start.
    Together(Box<Wiring>),
    /// Each has its own, as in Lambda, by the name of the function.
    Apart(BTreeMap<&'static str, Wiring>),
}

impl Wirings {
    fn of(&self, function: &str) -> Option<&Wiring> {
        match self {
            Self::Together(wiring) => Some(wiring),
            Self::Apart(wirings) => wirings.get(function),
        }
    }
}

/// The functions.
pub struct Functions {
    under_way: Arc<Semaphore>,
    witness: Option<Arc<dyn Witness>>,
    create_url: Arc<dyn Handler>,
    callback: Arc<dyn Handler>,
    list: Arc<dyn Handler>,
    revoke: Arc<dyn Handler>,
    assign: Arc<dyn Handler>,
    token: Arc<dyn Handler>,
    refresh: RefreshFunction,
    clock: Arc<dyn Clock>,
}

/// An invocation that yields no answer.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// There is no such function.
    #[error("function not found: {0}")]
    Unknown(String),
    /// The function failed; Lambda would report `FunctionError`.
    #[error("{0}")]
    Failed(String),
}

impl Functions {
    /// All of them; `None` if one has nothing to be made of.
    #[must_use]
    pub fn new(wirings: &Wirings, witness: Option<Arc<dyn Witness>>) -> Option<Self> {
        let [create_url, callback, list, revoke] = ["create-url", "callback", "list", "revoke"].map(|name| wirings.of(name));
        let [assign, token, refresh] = ["assign", "token", "refresh"].map(|name| wirings.of(name));
        let (create_url, callback, list, revoke, assign) = (create_url?, callback?, list?, revoke?, assign?);
        let (token, refresh) = (token?, refresh?);
        Some(Self {
            under_way: Arc::new(Semaphore::new(CONCURRENCY as usize)),
            witness,
            create_url: Arc::new(CreateUrlFunction { edge: create_url.edge(), create_url: create_url.create_url() }),
            callback: Arc::new(CallbackFunction { edge: callback.edge(), complete_flow: callback.complete_flow() }),
            list: Arc::new(ListFunction { edge: list.edge(), list: list.list() }),
            revoke: Arc::new(RevokeFunction { edge: revoke.edge(), revoke: revoke.revoke() }),
            assign: Arc::new(AssignFunction { edge: assign.edge(), assign: assign.assign(), replace: assign.replace() }),
            token: Arc::new(TokenFunction { edge: token.edge(), hand_out: token.hand_out(), check: token.check() }),
            refresh: RefreshFunction {
                directories: refresh.directories(),
                refresh_due: refresh.refresh_due(),
                branch_keys: refresh.branch_keys(),
                clock: refresh.clock(),
                entropy: refresh.entropy(),
            },
            clock: refresh.clock(),
        })
    }

    /// Invokes a function by its name with an event, as the Lambda service does: to its end, even if whoever asked goes away.
    pub async fn invoke(self: &Arc<Self>, name: &str, event: Value) -> Result<Value, InvokeError> {
        let stopped = |_| InvokeError::Failed("the stack is stopping".to_owned());
        let permit = Arc::clone(&self.under_way).acquire_owned().await.map_err(stopped)?;
        let (functions, name) = (Arc::clone(self), name.to_owned());
        let invocation = tokio::spawn(async move {
            let answer = match &functions.witness {
                None => functions.call(&name, event).await,
                Some(witness) => {
                    let answer = functions.call(&name, event.clone()).await;
                    witness.invoked(&name, &event, answer.as_ref());
                    answer
                }
            };
            drop(permit);
            answer
        });
        invocation.await.unwrap_or_else(|_| Err(InvokeError::Failed("the function panicked".to_owned())))
    }

    /// Waits until nothing is under way, and lets nothing begin.
    pub async fn stop(&self) {
        let all = self.under_way.acquire_many(CONCURRENCY).await;
        self.under_way.close();
        drop(all);
    }

    async fn call(&self, name: &str, event: Value) -> Result<Value, InvokeError> {
        let handler = match name {
            "create-url" => &self.create_url,
            "callback" => &self.callback,
            "list" => &self.list,
            "revoke" => &self.revoke,
            "assign" => &self.assign,
            "token" => &self.token,
            "refresh" => {
                let deadline = self.clock.now() + RUN_TIME;
                return self.refresh.run(&event, deadline).await.map_err(|e| InvokeError::Failed(telemetry::chain(&e)));
            }
            _ => return Err(InvokeError::Unknown(name.to_owned())),
        };
        let mut context = Context::default();
        context.deadline = u64::try_from((self.clock.now() + HTTP_TIME).unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let served = event::serve(Arc::clone(handler), &event.to_string(), context).await;
        let answer = served.and_then(|answer| Ok(serde_json::to_value(answer)?));
        answer.map_err(|e| InvokeError::Failed(telemetry::chain(&e)))
    }
}

/// The name of a function as it is deployed.
#[must_use]
pub fn name(function: Function) -> &'static str {
    match function {
        Function::CreateUrl => "create-url",
        Function::Callback => "callback",
        Function::List => "list",
        Function::Revoke => "revoke",
        Function::Assign => "assign",
        Function::Token => "token",
    }
}

//! What tests do to requests on their way to AWS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use local::aws::{Call, Observer, Ruling};
use tokio::sync::Notify;

/// Decides by a function.
pub struct Rule<F>(pub F);

#[async_trait]
impl<F: Fn(&Call<'_>) -> Ruling + Send + Sync> Observer for Rule<F> {
    async fn before(&self, call: Call<'_>) -> Ruling {
        (self.0)(&call)
    }
}

/// Whether a request stores refreshed tokens.
#[must_use]
pub fn stores_refreshed_tokens(call: &Call<'_>) -> bool {
    call.operation == "UpdateItem"
        && call.request["UpdateExpression"].as_str().is_some_and(|text| text.contains("#sealed_access = :sealed_access"))
}

/// Holds the first request of a kind until it is opened.
pub struct Gate {
    stops: Box<dyn Fn(&Call<'_>) -> bool + Send + Sync>,
    used: AtomicBool,
    arrived: Notify,
    opened: Notify,
}

impl Gate {
    /// A closed gate for an operation, such as `TransactWriteItems`.
    #[must_use]
    pub fn new(operation: &'static str) -> Arc<Self> {
        Self::of(move |call| call.operation == operation)
    }

    /// A closed gate for the requests that this is true of.
    #[must_use]
    pub fn of(stops: impl Fn(&Call<'_>) -> bool + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { stops: Box::new(stops), used: AtomicBool::new(false), arrived: Notify::new(), opened: Notify::new() })
    }

    /// Waits until a request stands at the gate.
    pub async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Lets it through.
    pub fn open(&self) {
        self.opened.notify_one();
    }
}

#[async_trait]
impl Observer for Gate {
    async fn before(&self, call: Call<'_>) -> Ruling {
        if (self.stops)(&call) && !self.used.swap(true, Ordering::SeqCst) {
            self.arrived.notify_one();
            self.opened.notified().await;
        }
        Ruling::Pass
    }
}

/// Rings at every request of one operation, and holds none.
pub struct Bell {
    operation: &'static str,
    rung: Notify,
}

impl Bell {
    /// A bell for an operation.
    #[must_use]
    pub fn new(operation: &'static str) -> Arc<Self> {
        Arc::new(Self { operation, rung: Notify::new() })
    }

    /// Waits until it has rung since it was last waited for.
    pub async fn ring(&self) {
        self.rung.notified().await;
    }
}

#[async_trait]
impl Observer for Bell {
    async fn before(&self, call: Call<'_>) -> Ruling {
        if call.operation == self.operation {
            self.rung.notify_one();
        }
        Ruling::Pass
    }
}

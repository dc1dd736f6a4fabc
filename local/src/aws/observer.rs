//! What tests see of the requests on the wire, and what they may do to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::Value;

use super::wire::{Fault, Service};

/// A request, before it is handled.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The service it goes to.
    pub service: Service,
    /// Its operation, such as `TransactWriteItems`.
    pub operation: &'a str,
    /// The application that its sender says it is, in the SDKs' user agent. Functions say it; whoever sets the stage does not.
    pub application: Option<&'a str>,
    /// Its body; null if it was not JSON.
    pub request: &'a Value,
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Ruling {
    /// It is handled as if nobody had looked.
    Pass,
    /// It is not handled; the fault is the answer.
    Refuse(Fault),
    /// It is handled, its answer is thrown away, and the fault is the answer: a lost answer.
    RefuseAfter(Fault),
    /// It is not handled; the connection breaks.
    HangUp,
    /// It is handled, and the connection breaks before the answer is there.
    HangUpAfter,
}

/// Looks at every request before it is handled. An observer may wait, to hold a request at a barrier.
#[async_trait]
pub trait Observer: Send + Sync {
    /// Decides what becomes of `call`.
    async fn before(&self, call: Call<'_>) -> Ruling;
}

/// How many requests arrived, by service and operation.
pub type Counts = BTreeMap<(Service, String), u64>;

/// The observer, if one looks, and the count of all requests.
#[derive(Default)]
pub(super) struct Watch {
    observer: Mutex<Option<Arc<dyn Observer>>>,
    counts: Mutex<Counts>,
}

impl Watch {
    /// Replaces the observer.
    pub(super) fn set(&self, observer: Option<Arc<dyn Observer>>) {
        *self.observer.lock().unwrap_or_else(PoisonError::into_inner) = observer;
    }

    /// The requests counted so far.
    pub(super) fn counts(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts the request, whatever becomes of it, and asks the observer.
    pub(super) async fn rule(&self, call: Call<'_>) -> Ruling {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry((call.service, call.operation.to_owned())).or_default() += 1;
        let observer = self.observer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match observer {
            Some(observer) => observer.before(call).await,
            None => Ruling::Pass,
        }
    }
}

//! What the service does, one file per story. Each is guards, calls to ports, and an outcome; none knows HTTP, AWS or the clock
//! on the wall.

pub mod announce;
pub mod assign;
pub mod audit;
pub mod branch_keys;
pub mod check;
pub mod complete_flow;
pub mod create_url;
pub mod hand_out;
pub mod list;
pub mod refresh;
pub mod refresh_due;
pub mod replace;
pub mod revoke;
pub mod signals;
pub mod traffic;

use std::pin::pin;

use futures_util::future::{Either, select};
use time::{Duration, OffsetDateTime};

use crate::domain::caller::Person;
use crate::domain::ids::{RequestId, WorkflowId};
use crate::ports::Unavailable;
use crate::ports::clock::{Clock, Entropy, random};

/// The circumstances of one request or run.
#[derive(Debug, Clone)]
pub struct Call {
    /// Names it in every log line.
    pub request_id: RequestId,
    /// When the function is stopped, whatever it is doing.
    pub deadline: OffsetDateTime,
    /// Who asked; nobody, if the schedule did.
    pub actor: Option<Person>,
    /// For which workflow.
    pub workflow: Option<WorkflowId>,
}

impl Call {
    /// A call of nobody yet.
    #[must_use]
    pub fn new(request_id: RequestId, deadline: OffsetDateTime) -> Self {
        Self { request_id, deadline, actor: None, workflow: None }
    }

    /// The same call, where what follows from it is to be told of somebody, too.
    #[must_use]
    pub fn on_behalf_of(&self, actor: &Person, workflow: Option<&WorkflowId>) -> Self {
        Self { actor: Some(actor.clone()), workflow: workflow.cloned(), ..self.clone() }
    }

    /// Whether at least this long remains.
    #[must_use]
    pub fn has(&self, needed: Duration, now: OffsetDateTime) -> bool {
        self.deadline - now >= needed
    }
}

/// What the future yields within this time; `None` if it takes longer, and is dropped.
pub(crate) async fn within<T>(clock: &dyn Clock, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    match select(pin!(future), clock.expire(limit)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

/// A random name for one attempt, by which its own lost answers are recognized: 128 bits in hexadecimal.
fn attempt(entropy: &dyn Entropy) -> Result<String, Unavailable> {
    Ok(format!("{:032x}", u128::from_be_bytes(random::<16>(entropy)?)))
}

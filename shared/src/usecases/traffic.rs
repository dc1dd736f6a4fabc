//! The traffic of refreshes at each connection: how many at once, and none while there is an incident (design section 5).
//!
//! Nothing of it is stored. A process that does not know of an incident learns of it by a few requests, and one that does costs the
//! provider one probe at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::{Duration, OffsetDateTime};

use super::Call;
use crate::domain::ids::ConnectionId;
use crate::domain::incident::{Answer, Change, Pace, Watch};
use crate::ports::clock::Clock;
use crate::ports::provider::ProviderError;

/// How often a refresh looks whether it is its turn: short beside the answer of a provider.
const POLL: Duration = Duration::milliseconds(25);

/// The traffic of this process.
pub struct Traffic {
    clock: Arc<dyn Clock>,
    pace: Pace,
    connections: Mutex<HashMap<ConnectionId, Lane>>,
}

struct Lane {
    under_way: u32,
    watch: Watch,
}

/// A refresh that is under way. It counts as such until it is dropped.
pub struct UnderWay<'a> {
    traffic: &'a Traffic,
    connection: &'a ConnectionId,
}

/// The connection has an incident, or too much is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frozen {
    /// When to come again.
    pub until: OffsetDateTime,
}

impl Lane {
    fn new(pace: Pace) -> Self {
        Self { under_way: 0, watch: Watch::new(pace) }
    }
}

impl Traffic {
    /// No traffic yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, pace: Pace) -> Self {
        Self { clock, pace, connections: Mutex::default() }
    }

    /// Whether it makes no sense to claim a refresh at present.
    #[must_use]
    pub fn frozen(&self, connection: &ConnectionId) -> Option<Frozen> {
        let now = self.clock.now();
        self.lanes().get(connection).and_then(|lane| lane.watch.frozen_until(now)).map(|until| Frozen { until })
    }

    /// Begins a refresh as soon as fewer than `most` are under way at the connection, but not later than `latest`: what follows needs
    /// the rest of the lease.
    pub async fn begin<'a>(&'a self, connection: &'a ConnectionId, most: u32, latest: OffsetDateTime) -> Result<UnderWay<'a>, Frozen> {
        loop {
            let now = self.clock.now();
            if now > latest {
                return Err(Frozen { until: now });
            }
            if let Some(begun) = self.try_begin(connection, most, now)? {
                return Ok(begun);
            }
            self.clock.sleep(POLL).await;
        }
    }

    fn try_begin<'a>(&'a self, connection: &'a ConnectionId, most: u32, now: OffsetDateTime) -> Result<Option<UnderWay<'a>>, Frozen> {
        let mut lanes = self.lanes();
        let lane = lanes.entry(connection.clone()).or_insert_with(|| Lane::new(self.pace));
        if lane.under_way >= most {
            return Ok(None);
        }
        lane.watch.begin(now).map_err(|until| Frozen { until })?;
        lane.under_way += 1;
        Ok(Some(UnderWay { traffic: self, connection }))
    }

    /// What came of a refresh, or of making ready for one. Failures of ours say nothing about a connection.
    pub fn answered<T>(&self, call: &Call, connection: &ConnectionId, result: Result<&T, &ProviderError>) {
        let answer = match result {
            Ok(_) => Answer::Renewed,
            Err(ProviderError::InvalidGrant | ProviderError::IdentityChanged) => Answer::GrantRefused,
            Err(ProviderError::Misconfigured { .. }) => Answer::ClientRefused,
            Err(ProviderError::Unavailable { retry_after, .. }) => Answer::Failed { retry_after: *retry_after },
            Err(ProviderError::AnswerLost { .. } | ProviderError::AnswerInvalid { .. } | ProviderError::IdentityInvalid { .. }) => {
                Answer::Failed { retry_after: None }
            }
            // The provider is well, and this one request was not to its liking.
            Err(ProviderError::Refused { .. } | ProviderError::Ours(_)) => return,
        };
        let now = self.clock.now();
        let change = self.lanes().entry(connection.clone()).or_insert_with(|| Lane::new(self.pace)).watch.answered(answer, now);
        match change {
            Some(Change::Began(kind)) => tracing::error!(
                metric = "provider_incident",
                connection = connection.as_str(),
                kind = kind.as_str(),
                request_id = call.request_id.as_str(),
                "refreshes at a connection are frozen"
            ),
            Some(Change::Ended(kind)) => tracing::info!(
                metric = "provider_incident_ended",
                connection = connection.as_str(),
                kind = kind.as_str(),
                request_id = call.request_id.as_str(),
                "refreshes at a connection go on"
            ),
            None => {}
        }
    }

    /// Whether a refused grant is the end of its authorization: not while a mass of them is refused.
    #[must_use]
    pub fn believes_refusals(&self, connection: &ConnectionId) -> bool {
        let now = self.clock.now();
        self.lanes().get(connection).is_none_or(|lane| lane.watch.believes_refusals(now))
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<ConnectionId, Lane>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(lane) = self.traffic.lanes().get_mut(self.connection) {
            lane.under_way = lane.under_way.saturating_sub(1);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use async_trait::async_trait;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

    /// Goes on by what is slept.
    struct Slept(Mutex<OffsetDateTime>);

    #[async_trait]
    impl Clock for Slept {
        fn now(&self) -> OffsetDateTime {
            *self.0.lock().unwrap()
        }

        async fn sleep(&self, duration: Duration) {
            *self.0.lock().unwrap() += duration;
        }
    }

    #[tokio::test]
    async fn a_refresh_begins_when_there_is_room_and_never_too_late_for_what_follows() {
        let clock = Arc::new(Slept(Mutex::new(NOW)));
        let traffic = Traffic::new(clock.clone(), Pace::OnDemand);
        let connection = ConnectionId::try_from("conn_1").unwrap();
        let first = traffic.begin(&connection, 1, NOW).await.unwrap();
        let latest = NOW + Duration::SECOND;
        assert!(traffic.begin(&connection, 1, latest).await.is_err(), "there is no room");
        assert!(clock.now() > latest);
        assert!(traffic.begin(&connection, 2, latest).await.is_err(), "there is room, but too little time");
        drop(first);
        assert!(traffic.begin(&connection, 1, clock.now()).await.is_ok());
    }
}

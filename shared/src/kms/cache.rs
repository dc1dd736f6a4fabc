//! Unwrapped keys, bounded in age and number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use time::{Duration, OffsetDateTime};

use super::{BranchKey, KeyError};
use crate::domain::ids::OrganizationId;
use crate::ports::clock::Clock;

/// From this age on, whoever notices fetches the key again, while the others go on with it.
const AHEAD_FROM: Duration = Duration::minutes(4);
/// Up to this age a key is used without asking: so long may a disabled KMS key still open tokens.
const FRESH_FOR: Duration = Duration::minutes(5);
/// Up to this age a key is used while it cannot be fetched (I9).
const STALE_FOR: Duration = Duration::hours(1);
/// After a failure the key at hand is used for this long before the next try, so that not every request waits for a dead KMS.
const PAUSE: Duration = Duration::seconds(20);
/// How many keys are kept; then the one that was used longest ago goes.
const MOST: usize = 1_000;

type Place = (OrganizationId, u32);

/// The keys at hand.
#[derive(Default)]
pub(super) struct Cache {
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    by_place: HashMap<Place, (Arc<Slot>, u64)>,
    /// Counts uses, to tell which was the last one.
    uses: u64,
}

/// The place of one key.
#[derive(Default)]
struct Slot {
    /// Held by whoever fetches the key: one at a time.
    flight: tokio::sync::Mutex<()>,
    kept: Mutex<Option<Kept>>,
}

#[derive(Clone)]
struct Kept {
    key: Arc<BranchKey>,
    since: OffsetDateTime,
    not_before: OffsetDateTime,
}

impl Kept {
    fn age(&self, now: OffsetDateTime) -> Duration {
        now - self.since
    }

    /// Whether it may be used as it is, without a try to fetch it again.
    fn suffices(&self, now: OffsetDateTime, fresh_for: Duration) -> bool {
        self.age(now) < fresh_for || (self.age(now) < STALE_FOR && now < self.not_before)
    }
}

impl Cache {
    /// The key of a place, fetched by `load` if need be.
    pub(super) async fn get<F>(
        &self,
        organization: &OrganizationId,
        version: u32,
        clock: &dyn Clock,
        load: impl FnOnce() -> F + Send,
    ) -> Result<Arc<BranchKey>, KeyError>
    where
        F: Future<Output = Result<BranchKey, KeyError>> + Send,
    {
        let slot = self.slot((organization.clone(), version));
        let kept = slot.kept();
        if let Some(kept) = kept.as_ref().filter(|kept| kept.suffices(clock.now(), AHEAD_FROM)) {
            return Ok(Arc::clone(&kept.key));
        }
        let fresh_enough = kept.filter(|kept| kept.suffices(clock.now(), FRESH_FOR));
        let flight = match (slot.flight.try_lock(), fresh_enough) {
            (Ok(flight), _) => flight,
            (Err(_), Some(kept)) => return Ok(kept.key),
            (Err(_), None) => slot.flight.lock().await,
        };
        // Whoever had the flight before us may have brought the key, or found that it cannot be had just now.
        let kept = slot.kept();
        if let Some(kept) = kept.as_ref().filter(|kept| kept.suffices(clock.now(), AHEAD_FROM)) {
            return Ok(Arc::clone(&kept.key));
        }
        let loaded = load().await;
        let now = clock.now();
        let result = match (loaded, kept) {
            (Ok(key), _) => {
                let key = Arc::new(key);
                slot.keep(Kept { key: Arc::clone(&key), since: now, not_before: now });
                Ok(key)
            }
            (Err(KeyError::Unavailable(_)), Some(kept)) if kept.age(now) < STALE_FOR => {
                slot.keep(Kept { not_before: now + PAUSE, ..kept.clone() });
                Ok(kept.key)
            }
            (Err(error), _) => Err(error),
        };
        drop(flight);
        result
    }

    /// The next use of this key fetches it again.
    pub(super) fn forget(&self, organization: &OrganizationId, version: u32) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).by_place.remove(&(organization.clone(), version));
    }

    fn slot(&self, place: Place) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.uses += 1;
        let now = slots.uses;
        if let Some((slot, used)) = slots.by_place.get_mut(&place) {
            *used = now;
            return Arc::clone(slot);
        }
        if slots.by_place.len() >= MOST {
            let oldest = slots.by_place.iter().min_by_key(|(_, (_, used))| *used).map(|(place, _)| place.clone());
            oldest.and_then(|place| slots.by_place.remove(&place));
        }
        let slot = Arc::<Slot>::default();
        slots.by_place.insert(place, (Arc::clone(&slot), now));
        slot
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).by_place.len()
    }
}

impl Slot {
    fn kept(&self) -> Option<Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, kept: Kept) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
    }
}

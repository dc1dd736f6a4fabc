//! What was made of a secret, kept for a while.
//!
//! 1. Within [`FRESH`] of the last reading nobody is asked.
//! 2. After that the next caller reads the secret again, and the others wait for that one reading.
//! 3. If it fails, or what was read has faults, the last good value stays in use, and the next attempt is [`RETRY`] away.
//! 4. Only when there never was a good value does the failure reach the caller, and those who waited with it.

use std::sync::{Arc, PoisonError, RwLock};

use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;

use super::faults::Faults;
use super::source::SecretSource;
use crate::ports::{Source, Unavailable};

/// For how long a value is used without asking (security checklist 70).
const FRESH: Duration = Duration::minutes(5);
/// How long a good value is used on after a failed reading, before the next. Short against [`FRESH`], long against a request.
const RETRY: Duration = Duration::seconds(30);
/// How far apart readings are that somebody forces by naming what the value does not hold: strangers can do that.
const FORCED: Duration = Duration::seconds(10);

type Parse<T> = Box<dyn Fn(&str) -> Result<T, Faults> + Send + Sync>;

/// A value made of a secret.
pub(super) struct Cached<T> {
    origin: Option<Origin<T>>,
    held: RwLock<Held<T>>,
    flight: Mutex<()>,
}

struct Origin<T> {
    source: Arc<SecretSource>,
    secret_id: String,
    doing: &'static str,
    parse: Parse<T>,
}

struct Held<T> {
    value: Option<Arc<T>>,
    read_at: OffsetDateTime,
    keep_for: Duration,
    forced_at: Option<OffsetDateTime>,
    attempts: u64,
    failure: Option<Failure>,
}

/// Why there is no value, shared by all who waited for it.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
struct Failure(Arc<dyn std::error::Error + Send + Sync>);

impl<T> Cached<T> {
    /// A value that is read from a secret when it is first asked for. `doing` fits after "failed to".
    pub(super) fn new(
        source: Arc<SecretSource>,
        secret_id: String,
        doing: &'static str,
        parse: impl Fn(&str) -> Result<T, Faults> + Send + Sync + 'static,
    ) -> Self {
        Self::with(Some(Origin { source, secret_id, doing, parse: Box::new(parse) }), None)
    }

    /// A value that never changes.
    pub(super) fn fixed(value: T) -> Self {
        Self::with(None, Some(Arc::new(value)))
    }

    fn with(origin: Option<Origin<T>>, value: Option<Arc<T>>) -> Self {
        let held =
            Held { value, read_at: OffsetDateTime::UNIX_EPOCH, keep_for: Duration::ZERO, forced_at: None, attempts: 0, failure: None };
        Self { origin, held: RwLock::new(held), flight: Mutex::new(()) }
    }

    /// The value as it is now.
    pub(super) async fn current(&self) -> Result<Arc<T>, Unavailable> {
        let waited_since = self.look(|held| held.attempts);
        if let Some(value) = self.settled() {
            return Ok(value);
        }
        let _flight = self.flight.lock().await;
        if let Some(value) = self.settled() {
            return Ok(value);
        }
        // Somebody failed while this caller waited: asking once more for each who waited would only prolong it.
        let failed = self.look(|held| held.failure.clone().filter(|_| held.attempts != waited_since));
        match (failed, &self.origin) {
            (Some(failure), Some(origin)) => Err(Unavailable::new(origin.doing, failure)),
            (None, Some(origin)) => self.read(origin).await,
            (_, None) => Err(Unavailable::new("find a fixed value", "there is none")),
        }
    }

    /// A newer value than `seen`, which lacked something: another sandbox may have read the secret after a rotation, this one
    /// before. Asks at most once per [`FORCED`].
    pub(super) async fn newer_than(&self, seen: &Arc<T>) -> Option<Arc<T>> {
        let origin = self.origin.as_ref()?;
        let is_newer = |value: &Arc<T>| !Arc::ptr_eq(value, seen);
        let _flight = self.flight.lock().await;
        if let Some(value) = self.look(|held| held.value.clone()).filter(is_newer) {
            return Some(value);
        }
        let now = origin.source.clock.now();
        if self.look(|held| held.forced_at.is_some_and(|at| within(at, FORCED, now))) {
            return None;
        }
        self.change(|held| held.forced_at = Some(now));
        self.read(origin).await.ok().filter(is_newer)
    }

    /// Reads the secret. Whoever calls holds the flight lock.
    async fn read(&self, origin: &Origin<T>) -> Result<Arc<T>, Unavailable> {
        let asked_at = origin.source.clock.now();
        let read = origin.source.reader.read_secret(&origin.secret_id).await;
        let error = match read.map(|text| (origin.parse)(&text)) {
            Ok(Ok(value)) => {
                let value = Arc::new(value);
                self.change(|held| held.keep(Some(value.clone()), asked_at, FRESH));
                return Ok(value);
            }
            Ok(Err(faults)) => Source::from(faults),
            Err(error) => error,
        };
        if let Some(last_good) = self.look(|held| held.value.clone()) {
            tracing::warn!(secret.id = origin.secret_id, error = %chain(&*error), "secret could not be renewed, its last good value stays in use");
            self.change(|held| held.keep(None, asked_at, RETRY));
            return Ok(last_good);
        }
        let failure = Failure(Arc::from(error));
        self.change(|held| {
            held.attempts += 1;
            held.failure = Some(failure.clone());
        });
        Err(Unavailable::new(origin.doing, failure))
    }

    /// The value, while nobody needs to be asked.
    fn settled(&self) -> Option<Arc<T>> {
        let Some(origin) = &self.origin else { return self.look(|held| held.value.clone()) };
        let now = origin.source.clock.now();
        self.look(|held| held.value.clone().filter(|_| within(held.read_at, held.keep_for, now)))
    }

    fn look<R>(&self, look: impl FnOnce(&Held<T>) -> R) -> R {
        look(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Held<T>)) {
        change(&mut self.held.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl<T> Held<T> {
    fn keep(&mut self, value: Option<Arc<T>>, read_at: OffsetDateTime, keep_for: Duration) {
        self.value = value.or(self.value.take());
        (self.read_at, self.keep_for, self.failure) = (read_at, keep_for, None);
        self.attempts += 1;
    }
}

/// Whether `now` is less than `span` after `start`. A clock that was set back makes everything old.
fn within(start: OffsetDateTime, span: Duration, now: OffsetDateTime) -> bool {
    now >= start && now - start < span
}

/// An error with its sources, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source()).map(ToString::to_string);
    causes.collect::<Vec<_>>().join(": ").replace('\n', "; ")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;
    use crate::secrets::fakes::{HandClock, Vault};
    use crate::secrets::faults::Fault;

    fn parse(text: &str) -> Result<String, Faults> {
        let fault = || Faults(vec![Fault { path: "$".to_owned(), rule: "must not be broken".into() }]);
        if text == "broken" { Err(fault()) } else { Ok(text.to_owned()) }
    }

    fn cached(vault: &Vault, clock: &Arc<HandClock>) -> Cached<String> {
        Cached::new(vault.source(clock), "some-secret".to_owned(), "read some secret", parse)
    }

    #[tokio::test]
    async fn s70_one_reading_serves_five_minutes() {
        let (vault, clock) = (Vault::holding("a"), HandClock::new());
        let cached = cached(&vault, &clock);
        assert_eq!(vault.reads(), 0);
        for _ in 0..300 {
            assert_eq!(*cached.current().await.unwrap(), "a");
            clock.advance(Duration::milliseconds(999));
        }
        assert_eq!(vault.reads(), 1);
        vault.put("b");
        clock.advance(Duration::seconds(1));
        assert_eq!(*cached.current().await.unwrap(), "b");
        assert_eq!(vault.reads(), 2);
    }

    #[tokio::test]
    async fn s70_an_older_value_serves_while_secrets_manager_fails() {
        let (vault, clock) = (Vault::holding("a"), HandClock::new());
        let cached = cached(&vault, &clock);
        cached.current().await.unwrap();
        vault.fail("throttled");
        clock.advance(Duration::minutes(6));
        for _ in 0..10 {
            assert_eq!(*cached.current().await.unwrap(), "a");
        }
        assert_eq!(vault.reads(), 2, "a failing part is not asked by every request");
        clock.advance(Duration::hours(2));
        assert_eq!(*cached.current().await.unwrap(), "a");
        vault.put("b");
        clock.advance(RETRY);
        assert_eq!(*cached.current().await.unwrap(), "b");
    }

    #[tokio::test]
    async fn s70_the_last_good_value_outlives_a_broken_new_one() {
        let (vault, clock) = (Vault::holding("a"), HandClock::new());
        let cached = cached(&vault, &clock);
        cached.current().await.unwrap();
        vault.put("broken");
        clock.advance(Duration::minutes(5));
        assert_eq!(*cached.current().await.unwrap(), "a");
        vault.put("b");
        clock.advance(RETRY);
        assert_eq!(*cached.current().await.unwrap(), "b");
    }

    #[tokio::test]
    async fn without_a_good_value_the_failure_is_told_and_the_next_call_tries_again() {
        let (vault, clock) = (Vault::holding("broken"), HandClock::new());
        let cached = cached(&vault, &clock);
        let error = cached.current().await.unwrap_err();
        assert_eq!(chain(&error), "failed to read some secret: $: must not be broken");
        vault.fail("no such secret");
        assert_eq!(chain(&cached.current().await.unwrap_err()), "failed to read some secret: no such secret");
        vault.put("a");
        assert_eq!(*cached.current().await.unwrap(), "a");
    }

    #[tokio::test]
    async fn many_callers_share_one_reading_and_its_failure() {
        let (vault, clock) = (Vault::holding("a"), HandClock::new());
        let good = cached(&vault, &clock);
        let values = futures_util::future::join_all((0..50).map(|_| good.current())).await;
        assert!(values.into_iter().all(|value| *value.unwrap() == "a"));
        assert_eq!(vault.reads(), 1);
        vault.fail("down");
        let bad = cached(&vault, &clock);
        let values = futures_util::future::join_all((0..50).map(|_| bad.current())).await;
        assert!(values.into_iter().all(|value| value.is_err()));
        assert_eq!(vault.reads(), 2);
    }

    #[tokio::test]
    async fn a_clock_set_back_makes_a_value_old() {
        let (vault, clock) = (Vault::holding("a"), HandClock::new());
        let cached = cached(&vault, &clock);
        cached.current().await.unwrap();
        clock.advance(Duration::hours(-1));
        cached.current().await.unwrap();
        assert_eq!(vault.reads(), 2);
    }

    #[tokio::test]
    async fn strangers_force_few_readings() {
        let (vault, clock) = (Vault::holding("a"), HandClock::new());
        let cached = cached(&vault, &clock);
        let seen = cached.current().await.unwrap();
        vault.put("b");
        assert_eq!(*cached.newer_than(&seen).await.unwrap(), "b");
        let seen = cached.current().await.unwrap();
        for _ in 0..1000 {
            assert!(cached.newer_than(&seen).await.is_none());
        }
        assert_eq!(vault.reads(), 2);
        clock.advance(FORCED);
        assert!(cached.newer_than(&seen).await.is_some());
        vault.fail("down");
        clock.advance(FORCED);
        let seen = cached.current().await.unwrap();
        assert!(cached.newer_than(&seen).await.is_none());
        assert_eq!(vault.reads(), 4);
    }
}

//! Virtual time: what happens next is the earliest event, and nobody waits for a wall clock.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::world::World;

/// Something that happens in the world at a time.
pub type Event = Box<dyn FnOnce(&mut World) + Send>;

/// The world, shared by everybody in it.
#[derive(Clone)]
pub struct Sim(Arc<Mutex<World>>);

impl Sim {
    /// A shared world.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    /// Looks at it or changes it.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits in virtual time.
    pub async fn sleep(&self, millis: i64) {
        let (waiting, done) = reply();
        self.world().events.after(millis, Box::new(move |_| _ = done.set(())));
        waiting.await;
    }
}

/// What will happen, in order. Events of the same time happen in the order they were announced.
#[derive(Default)]
pub struct Events {
    /// The time, in milliseconds since the beginning.
    pub now: i64,
    next: u64,
    queue: BTreeMap<(i64, u64), Event>,
}

impl Events {
    /// Lets something happen later.
    pub fn after(&mut self, millis: i64, event: Event) {
        self.next += 1;
        self.queue.insert((self.now + millis.max(0), self.next), event);
    }

    /// When the next event happens.
    #[must_use]
    pub fn next_at(&self) -> Option<i64> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    /// Goes on to the next event.
    pub fn pop(&mut self) -> Option<Event> {
        let ((at, _), event) = self.queue.pop_first()?;
        self.now = self.now.max(at);
        Some(event)
    }
}

struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
    gone: bool,
}

/// Somebody waiting for a value.
pub struct Waiting<T>(Arc<Mutex<Slot<T>>>);
/// The one who will bring it.
pub struct Done<T>(Arc<Mutex<Slot<T>>>);

/// A value that comes later.
#[must_use]
pub fn reply<T>() -> (Waiting<T>, Done<T>) {
    let slot = Arc::new(Mutex::new(Slot { value: None, waker: None, gone: false }));
    (Waiting(Arc::clone(&slot)), Done(slot))
}

impl<T> Done<T> {
    /// Brings the value, or has it back if nobody waits any more.
    pub fn set(self, value: T) -> Option<T> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.gone {
            return Some(value);
        }
        slot.value = Some(value);
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
        None
    }
}

impl<T> Future for Waiting<T> {
    type Output = T;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = slot.value.take() {
            Poll::Ready(value)
        } else {
            slot.waker = Some(context.waker().clone());
            Poll::Pending
        }
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).gone = true;
    }
}

/// Whether a task has something to do.
struct Ready(AtomicBool);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An invocation under way.
pub struct Task {
    /// Its number.
    pub id: u64,
    /// On which node it runs.
    pub node: usize,
    ready: Arc<Ready>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

impl Task {
    /// A task that is ready to begin.
    pub fn new(id: u64, node: usize, future: impl Future<Output = ()> + 'static) -> Self {
        Self { id, node, ready: Arc::new(Ready(AtomicBool::new(true))), future: Box::pin(future) }
    }

    /// Whether it can go on.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.0.load(Ordering::Relaxed)
    }

    /// Goes on to its next await; whether it has come to its end.
    pub fn go_on(&mut self) -> bool {
        self.ready.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.ready));
        self.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
    }
}

/// Numbers that a seed decides (splitmix64).
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `from` up to and without `to`.
    pub fn within(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.any() % u64::try_from((to - from).max(1)).unwrap_or(1)).unwrap_or(0)
    }

    /// True so many times out of a thousand.
    pub fn chance(&mut self, permille: i64) -> bool {
        self.within(0, 1000) < permille
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.within(0, i64::try_from(of.len()).unwrap_or(1))).unwrap_or(0)]
    }
}

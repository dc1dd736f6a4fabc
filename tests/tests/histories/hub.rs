//! One history: tasks on one thread, and a scheduler that decides by a seed whose next request goes on, what is lost on the way, who
//! dies, and how the time passes.
//!
//! 1. Every task runs until it waits for a request or for the time ([`run`]).
//! 2. Then one thing happens: a request is done, a request that nobody waits for any more arrives after all, the clock moves to the
//!    next timer or jumps, or a task is dropped at its request, as a process that dies.
//! 3. After every write the watch looks at the table.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use shared::ports::Unavailable;
use shared::ports::clock::{Clock, Entropy};
use shared::ports::store::Rescued;
use time::{Duration, OffsetDateTime};

use super::expression::{Condition, Item, number};
use super::provider::{Issued, Provider, Refused};
use super::scene::Faults;
use super::table::{Answer, Place, Table, Write, cancelled, fault};
use super::watch::{Watch, Written, stored_refresh_token};
use super::weaken::{Clause, clauses_of, name_of};

/// Every history begins here: 2026-11-22 10:00 UTC, in milliseconds.
pub const BEGIN: i64 = 1_795_341_600_000;
/// For how long a provider's answer is waited for.
const PROVIDER_TIME: i64 = 10_000;
/// A request that has been on its way for longer may be given up.
const SLOW: i64 = 2_000;

/// What a task asks of the world.
#[derive(Debug, Clone)]
pub enum Ask {
    DynamoDb {
        operation: String,
        body: Value,
    },
    Refresh {
        token: String,
    },
    Revoke {
        refresh: Option<String>,
        access: Option<String>,
    },
    Rescue(Box<Rescued>),
    Receive,
    HoldsNothing,
    Forget(String),
    /// To tell of a change of status, by the name of its event.
    Announce(String),
    /// To be next.
    Turn,
}

/// What it hears.
#[derive(Debug)]
pub enum Heard {
    /// The connection broke.
    Broken,
    DynamoDb(Answer),
    Refreshed(Result<Issued, Refused>),
    Revoked(bool),
    Received(Vec<(Rescued, String)>),
    Empty(bool),
    Done,
}

/// A request on its way.
struct Request {
    task: usize,
    ask: Ask,
    since: i64,
    waker: Option<Waker>,
    heard: Option<Heard>,
    /// Nobody waits for it any more.
    orphan: bool,
    /// Whether a scheduled run sent it; its task may be doing something else when it arrives.
    sweeps: bool,
    /// What a batch has read so far.
    read: Vec<Value>,
}

/// A seed, spun out (`SplitMix64`).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    pub fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    pub fn chance(&mut self, per_mille: usize) -> bool {
        self.below(1000) < per_mille
    }
}

/// Everything of a history but the tasks.
pub struct World {
    pub random: Random,
    pub now: i64,
    pub table: Table,
    pub provider: Provider,
    pub watch: Watch,
    pub faults: Faults,
    pub tasks: Vec<Task>,
    /// Requests and responses in order, for whoever looks into a failure.
    pub trace: Vec<String>,
    /// Counts everything that happens.
    pub step: usize,
    /// The clause that is taken away from every write.
    pub without: Option<Clause>,
    /// Every clause that was sent.
    pub sent: BTreeSet<Clause>,
    /// Clauses that alone stood in a write's way at some time.
    pub decisive: BTreeSet<Clause>,
    /// Requests that were done, with their answers, if somebody wants them.
    pub done: Option<Vec<(String, Value, Answer)>>,
    /// Something was written past the requests.
    pub unrecorded: bool,
    pub rescued: VecDeque<(Rescued, String)>,
    requests: BTreeMap<u64, Request>,
    timers: BTreeMap<(i64, u64), Waker>,
    past: VecDeque<Arc<BTreeMap<Place, Item>>>,
    outage_until: i64,
    late: bool,
    current: usize,
    next_id: u64,
}

/// What the world knows of a task.
#[derive(Debug, Clone, Default)]
pub struct Task {
    pub skew: i64,
    /// Whether it is a scheduled run at present.
    pub sweeps: bool,
    pub crashed: bool,
    pub over: bool,
}

/// The world, shared with the tasks.
pub struct Hub(Mutex<World>);

thread_local! {
    static CURRENT: RefCell<Option<Arc<Hub>>> = const { RefCell::new(None) };
}

/// The history that is running on this thread.
pub fn current() -> Arc<Hub> {
    CURRENT.with_borrow(Clone::clone).unwrap()
}

impl Hub {
    pub fn new(seed: u64, faults: Faults, table: Table, provider: Provider) -> Arc<Self> {
        let past = VecDeque::from([Arc::new(table.items.clone())]);
        let world = World {
            random: Random(seed),
            now: BEGIN,
            table,
            provider,
            watch: Watch::default(),
            faults,
            tasks: Vec::new(),
            trace: Vec::new(),
            step: 0,
            without: None,
            sent: BTreeSet::new(),
            decisive: BTreeSet::new(),
            done: None,
            unrecorded: false,
            rescued: VecDeque::new(),
            requests: BTreeMap::new(),
            timers: BTreeMap::new(),
            past,
            outage_until: 0,
            late: false,
            current: 0,
            next_id: 0,
        };
        Arc::new(Self(Mutex::new(world)))
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request for the task that is running.
    pub fn ask(self: &Arc<Self>, ask: Ask) -> Reply {
        let mut world = self.world();
        let (task, since) = (world.current, world.now);
        let sweeps = world.tasks[task].sweeps;
        if let Ask::Refresh { token } = &ask {
            let of = |token: &str| {
                let (of, number) = Provider::parse(token);
                (of, world.provider.grants[of].refresh[number].chain)
            };
            let busy = world
                .requests
                .values()
                .any(|other| !other.orphan && matches!(&other.ask, Ask::Refresh { token: under_way } if of(under_way) == of(token)));
            if busy {
                world.watch.violate(format!("two refreshes of one authorization are under way: {token}"));
            }
        }
        world.next_id += 1;
        let id = world.next_id;
        let request = Request { task, ask, since, waker: None, heard: None, orphan: false, sweeps, read: Vec::new() };
        world.requests.insert(id, request);
        Reply { hub: Arc::clone(self), id }
    }

    /// Waits until the clock has moved so far.
    pub fn sleep(self: &Arc<Self>, duration: std::time::Duration) -> Nap {
        let until = self.world().now + i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2).max(1);
        Nap { hub: Arc::clone(self), until, id: None }
    }
}

/// The answer to a request, to be waited for.
pub struct Reply {
    hub: Arc<Hub>,
    id: u64,
}

impl Future for Reply {
    type Output = Heard;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Heard> {
        let mut world = self.hub.world();
        let request = world.requests.get_mut(&self.id).unwrap();
        if let Some(heard) = request.heard.take() {
            world.requests.remove(&self.id);
            return Poll::Ready(heard);
        }
        request.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Reply {
    /// Whoever stops waiting does not stop the request: it may have arrived, arrive later, or never.
    fn drop(&mut self) {
        let mut world = self.hub.world();
        let Some(mut request) = world.requests.remove(&self.id) else { return };
        if request.heard.is_some() {
            world.lose(&request);
            return;
        }
        match &request.ask {
            Ask::DynamoDb { operation, .. } if operation != "GetItem" && operation != "Query" && operation != "BatchGetItem" => {
                if world.random.chance(500) {
                    request.orphan = true;
                    world.requests.insert(self.id, request);
                }
            }
            Ask::Refresh { .. } | Ask::Revoke { .. } | Ask::Rescue(_) if world.random.chance(500) => {
                request.heard = Some(world.perform(&mut request));
                world.lose(&request);
            }
            _ => world.never_arrives(&request),
        }
    }
}

/// A wait.
pub struct Nap {
    hub: Arc<Hub>,
    until: i64,
    id: Option<u64>,
}

impl Future for Nap {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let hub = Arc::clone(&self.hub);
        let mut world = hub.world();
        if world.now >= self.until {
            return Poll::Ready(());
        }
        let id = *self.id.get_or_insert_with(|| {
            world.next_id += 1;
            world.next_id
        });
        world.timers.insert((self.until, id), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Nap {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.hub.world().timers.remove(&(self.until, id));
        }
    }
}

/// The clock of one task, a little off the others'.
pub struct TaskClock {
    pub hub: Arc<Hub>,
    pub task: usize,
}

#[async_trait]
impl Clock for TaskClock {
    fn now(&self) -> OffsetDateTime {
        let world = self.hub.world();
        at(world.now + world.tasks[self.task].skew)
    }

    async fn sleep(&self, duration: Duration) {
        self.hub.sleep(duration.try_into().unwrap_or_default()).await;
    }
}

/// Random numbers of the seed.
pub struct SeededEntropy(pub Arc<Hub>);

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Unavailable> {
        let mut world = self.0.world();
        for byte in buffer {
            *byte = world.random.next().to_le_bytes()[0];
        }
        Ok(())
    }
}

/// A moment.
pub fn at(millis: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).unwrap()
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What the scheduler decided.
enum Step {
    Went,
    Crash(usize),
    Over,
}

/// Runs tasks to their end; each gets the number that it has here.
pub fn run(hub: &Arc<Hub>, tasks: Vec<BoxFuture<'static, ()>>) {
    CURRENT.set(Some(Arc::clone(hub)));
    let first = hub.world().tasks.len() - tasks.len();
    let mut tasks: Vec<Option<BoxFuture<'static, ()>>> = tasks.into_iter().map(Some).collect();
    let flags: Vec<_> = tasks.iter().map(|_| Arc::new(Flag(AtomicBool::new(true)))).collect();
    loop {
        while let Some(ready) = (0..tasks.len()).find(|task| tasks[*task].is_some() && flags[*task].0.swap(false, Ordering::SeqCst)) {
            hub.world().current = first + ready;
            let waker = Waker::from(Arc::clone(&flags[ready]));
            let task = tasks[ready].as_mut().unwrap();
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                hub.world().tasks[first + ready].over = true;
                tasks[ready] = None;
            }
        }
        let step = hub.world().step(first);
        match step {
            Step::Went => {}
            Step::Crash(task) => {
                hub.world().current = task;
                tasks[task - first] = None;
            }
            Step::Over => break,
        }
    }
    CURRENT.set(None);
}

impl World {
    fn step(&mut self, first: usize) -> Step {
        self.step += 1;
        assert!(self.step < 20_000, "a history without end");
        let waiting: Vec<u64> = self.requests.iter().filter(|(_, r)| !r.orphan && r.heard.is_none()).map(|(id, _)| *id).collect();
        let orphans: Vec<u64> = self.requests.iter().filter(|(_, r)| r.orphan).map(|(id, _)| *id).collect();
        let alive: Vec<usize> = (first..self.tasks.len()).filter(|t| !self.tasks[*t].over && !self.tasks[*t].crashed).collect();
        if alive.is_empty() && orphans.is_empty() {
            return Step::Over;
        }
        if !alive.is_empty() && self.faults.crashes > 0 && self.random.chance(12) {
            self.faults.crashes -= 1;
            self.faults.happened = true;
            let task = self.random.one(&alive);
            self.tasks[task].crashed = true;
            self.tell(format!("task {task} dies"));
            return Step::Crash(task);
        }
        // Time matters most while a lease is about to be ended, or taken over.
        let names_a_lease = |ask: &Ask| matches!(ask, Ask::DynamoDb { body, .. } if [":owner", ":stale"].iter().any(|v| !body["ExpressionAttributeValues"][v].is_null()));
        let tense = waiting.iter().any(|id| names_a_lease(&self.requests[id].ask));
        if self.faults.jumps > 0 && self.random.chance(self.faults.jump_chance * if tense { 4 } else { 1 }) {
            self.faults.jumps -= 1;
            let by = self.random.one(&self.faults.jump_by.clone());
            self.tell(format!("{by} ms pass"));
            self.watch.shown.clear();
            self.pass_until(self.now + by);
            return Step::Went;
        }
        let timer = self.timers.keys().next().map(|(until, _)| *until);
        let of_orphans = orphans.len() * usize::from(self.random.chance(300));
        let impatient = !self.faults.over && self.random.chance(60);
        let of_timers = usize::from(timer.is_some() && (waiting.is_empty() || impatient));
        match self.random.below(waiting.len() + of_orphans + of_timers) {
            n if n < waiting.len() && self.is_tardy(waiting[n]) => {}
            n if n < waiting.len() => self.deliver(waiting[n]),
            n if n < waiting.len() + of_orphans => self.arrive_late(orphans[n - waiting.len()]),
            _ => match timer {
                Some(until) => {
                    // Requests that are not answered in time are a fault, too.
                    self.faults.happened |= waiting.iter().any(|id| self.requests[id].since + SLOW < until);
                    self.pass_until(until);
                }
                None if !orphans.is_empty() => self.arrive_late(orphans[0]),
                None => panic!("nothing can happen any more"),
            },
        }
        Step::Went
    }

    fn is_tardy(&mut self, id: u64) -> bool {
        let first = self.requests[&id].task == 0;
        let writes = matches!(&self.requests[&id].ask, Ask::DynamoDb { operation, .. } if operation == "UpdateItem");
        self.faults.tardy > 0 && first && writes && self.random.chance(self.faults.tardy)
    }

    fn tell(&mut self, what: impl std::fmt::Display) {
        let line = format!("{:>5} {:>9} {what}", self.step, self.now - BEGIN);
        self.trace.push(line);
    }

    /// Moves the clock. A provider's answer is not waited for longer than its time limit.
    fn pass_until(&mut self, until: i64) {
        let late: Vec<u64> = self
            .requests
            .iter()
            .filter(|(_, r)| !r.orphan && r.heard.is_none() && !matches!(r.ask, Ask::DynamoDb { .. }))
            .filter(|(_, r)| r.since + PROVIDER_TIME < until)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            let mut request = self.requests.remove(&id).unwrap();
            if self.random.chance(500) {
                request.heard = Some(self.perform(&mut request));
                self.lose(&request);
            } else {
                self.never_arrives(&request);
            }
            request.heard = Some(Heard::Broken);
            self.faults.happened = true;
            self.answer(id, request);
        }
        self.now = self.now.max(until);
        while let Some(((at, _), waker)) = self.timers.first_key_value().map(|(key, waker)| (*key, waker.clone())) {
            if at > self.now {
                break;
            }
            self.timers.pop_first();
            waker.wake();
        }
    }

    fn answer(&mut self, id: u64, mut request: Request) {
        if let Some(waker) = request.waker.take() {
            waker.wake();
        }
        self.requests.insert(id, request);
    }

    /// A request reaches its destination, or does not.
    fn deliver(&mut self, id: u64) {
        let most = if self.random.chance(100) { 900 } else { 20 };
        self.now += 1 + i64::try_from(self.random.below(most)).unwrap();
        let mut request = self.requests.remove(&id).unwrap();
        request.heard = match request.ask.clone() {
            Ask::DynamoDb { operation, .. } => self.deliver_to_table(&operation, &mut request),
            _ => Some(self.deliver_to_others(&mut request)),
        };
        self.answer(id, request);
    }

    fn deliver_to_table(&mut self, operation: &str, request: &mut Request) -> Option<Heard> {
        if self.now < self.outage_until {
            self.tell(format!("task {} {operation}: the table is down", request.task));
            return Some(Heard::DynamoDb((500, json!({ "__type": "InternalServerError", "message": "down" }))));
        }
        let reads = matches!(operation, "GetItem" | "Query" | "BatchGetItem");
        if self.faults.on_the_wire > 0 && self.random.chance(self.faults.wire_chance) {
            self.faults.on_the_wire -= 1;
            self.faults.happened = true;
            let kind = self.random.below(6);
            self.tell(format!("task {} {operation}: fault {kind}", request.task));
            match kind {
                0 => return Some(Heard::Broken),
                1 | 2 => {
                    self.perform(request);
                    return Some(Heard::Broken);
                }
                3 if !reads => {
                    // It arrives later.
                    self.next_id += 1;
                    let late = Request { orphan: true, waker: None, heard: None, read: Vec::new(), ask: request.ask.clone(), ..*request };
                    self.requests.insert(self.next_id, late);
                    return Some(Heard::Broken);
                }
                4 if !reads => return Some(Heard::DynamoDb(conflict(operation, request))),
                _ => {
                    let kind = self.random.one(&["ThrottlingException", "ProvisionedThroughputExceededException"]);
                    return Some(Heard::DynamoDb(fault(&format!("com.amazonaws.dynamodb.v20120810#{kind}"), "slow down")));
                }
            }
        }
        if operation == "BatchGetItem" && request.read.is_empty() && self.random.chance(500) {
            self.read_half(request);
            return None;
        }
        Some(self.perform(request))
    }

    fn deliver_to_others(&mut self, request: &mut Request) -> Heard {
        let lost = self.faults.at_provider > 0 && self.random.chance(self.faults.provider_chance);
        if !lost {
            return self.perform(request);
        }
        self.faults.at_provider -= 1;
        self.faults.happened = true;
        match (&request.ask, self.random.below(3)) {
            (Ask::Revoke { .. }, _) => {
                self.tell(format!("task {} {:?}: provider does not revoke", request.task, request.ask));
                Heard::Revoked(false)
            }
            (Ask::Refresh { .. }, 0) => {
                self.tell(format!("task {} {:?}: provider is down", request.task, request.ask));
                Heard::Refreshed(Err(Refused::Down))
            }
            (Ask::Refresh { .. }, 1) => {
                request.heard = Some(self.perform(request));
                self.lose(request);
                self.tell(format!("task {}: and that answer is lost", request.task));
                Heard::Broken
            }
            (Ask::Refresh { .. }, _) => {
                self.tell(format!("task {} {:?}: the connection breaks before it", request.task, request.ask));
                Heard::Broken
            }
            (Ask::Announce(event), 0..=1) => {
                self.tell(format!("task {}: the bus is down for {event}", request.task));
                Heard::Broken
            }
            // The queue has an SDK's retries before it: it fails seldom, and then what it should have kept is gone.
            (Ask::Rescue(_), 0) => {
                self.tell(format!("task {}: the rescue queue is down", request.task));
                self.watch.rescue_lost = true;
                Heard::Broken
            }
            _ => self.perform(request),
        }
    }

    fn arrive_late(&mut self, id: u64) {
        let mut request = self.requests.remove(&id).unwrap();
        self.now += 1;
        if self.random.chance(800) {
            self.tell(format!("of task {}, late:", request.task));
            self.late = true;
            self.perform(&mut request);
            self.late = false;
        }
    }

    /// What a rescue should have kept is gone, and the log says so.
    fn never_arrives(&mut self, request: &Request) {
        self.watch.rescue_lost |= matches!(request.ask, Ask::Rescue(_));
    }

    /// Nobody hears the answer.
    fn lose(&mut self, request: &Request) {
        if let Some(Heard::Refreshed(Ok(issued))) = &request.heard {
            self.provider.answer_lost(issued);
        }
    }

    /// A batch is no snapshot: other requests come in between its reads.
    fn read_half(&mut self, request: &mut Request) {
        let Ask::DynamoDb { body, .. } = &mut request.ask else { return };
        let wanted = body["RequestItems"].as_object_mut().unwrap().values_mut().next().unwrap();
        let keys = wanted["Keys"].as_array_mut().unwrap();
        if keys.len() < 2 {
            return;
        }
        let rest = keys.split_off(1);
        let first = if self.random.chance(500) { rest } else { std::mem::replace(keys, rest) };
        let later = std::mem::replace(keys, first);
        let half = Ask::DynamoDb { operation: "BatchGetItem".to_owned(), body: body.clone() };
        let mut read = Request { ask: half, waker: None, heard: None, read: Vec::new(), ..*request };
        if let Heard::DynamoDb((_, answer)) = self.perform(&mut read) {
            let found = answer["Responses"].as_object().unwrap().values().next().unwrap().as_array().unwrap();
            request.read.extend(found.iter().cloned());
        }
        let Ask::DynamoDb { body, .. } = &mut request.ask else { return };
        body["RequestItems"].as_object_mut().unwrap().values_mut().next().unwrap()["Keys"] = json!(later);
        // An empty half still counts as read.
        request.read.push(Value::Null);
    }

    /// Does what a request asks for.
    fn perform(&mut self, request: &mut Request) -> Heard {
        match request.ask.clone() {
            Ask::DynamoDb { operation, body } => Heard::DynamoDb(self.at_the_table(request, &operation, &body)),
            Ask::Refresh { token } => {
                if let Some(complaint) =
                    stored_refresh_token(&self.table, &token).and_then(|stored| self.provider.spent_before(&token, &stored))
                {
                    self.watch.violate(complaint);
                }
                let result = self.provider.refresh(&token, self.now, request.task, &mut self.random);
                self.tell(format!("task {} refreshes with {token}: {result:?}", request.task));
                if result.is_ok() && self.faults.outages > 0 && self.random.chance(self.faults.outage_chance) {
                    self.faults.outages -= 1;
                    self.faults.happened = true;
                    self.outage_until = self.now + self.faults.outage_time;
                    self.tell("the table goes down");
                }
                Heard::Refreshed(result)
            }
            Ask::Revoke { refresh, access } => {
                self.provider.revoke(refresh.as_deref(), access.as_deref());
                self.tell(format!("task {} revokes {refresh:?} {access:?}", request.task));
                Heard::Revoked(true)
            }
            Ask::Rescue(rescued) => {
                self.next_id += 1;
                self.tell(format!("task {} rescues {} generation {}", request.task, rescued.authorization, rescued.generation));
                self.rescued.push_back((*rescued, self.next_id.to_string()));
                self.watch.rescues += 1;
                Heard::Done
            }
            Ask::Receive => {
                // A queue shows a message to one receiver at a time, as a rule; here it may show it twice.
                let shown = self.rescued.iter().filter(|(_, receipt)| !self.watch.shown.contains(receipt)).cloned().collect::<Vec<_>>();
                self.watch.shown.extend(shown.iter().map(|(_, receipt)| receipt.clone()));
                Heard::Received(shown)
            }
            Ask::HoldsNothing => Heard::Empty(self.rescued.is_empty()),
            Ask::Forget(receipt) => {
                // What a record has gone on without is left alone: revoking it could end the whole grant.
                for (rescued, _) in self.rescued.iter().filter(|(_, other)| *other == receipt) {
                    let sealed = rescued.commit.credential.refresh.as_deref().unwrap_or_default();
                    let token = String::from_utf8_lossy(sealed).rsplit('|').next().unwrap_or_default().to_owned();
                    let (of, number) = Provider::parse(&token);
                    self.provider.grants[of].refresh[number].lost = true;
                }
                self.rescued.retain(|(_, other)| *other != receipt);
                Heard::Done
            }
            Ask::Announce(event) => {
                self.tell(format!("task {} announces {event}", request.task));
                self.watch.announced.insert(event);
                Heard::Done
            }
            Ask::Turn => Heard::Done,
        }
    }

    fn at_the_table(&mut self, request: &mut Request, operation: &str, body: &Value) -> Answer {
        let lag = if operation == "Query" { self.random.below(self.faults.index_lag + 1).min(self.past.len() - 1) } else { 0 };
        let index = Arc::clone(&self.past[lag]);
        let (mut names, mut owner, mut read_version) = (Vec::new(), None, None);
        let (sent, decisive, without) = (&mut self.sent, &mut self.decisive, self.without.as_ref());
        let mut weaken = |write: &Write<'_>| -> Vec<Condition> {
            let name = name_of(write);
            names.push(name);
            owner = owner.take().or_else(|| write.placeholders.values.get(":owner").and_then(|v| v["S"].as_str()).map(str::to_owned));
            read_version = read_version.or_else(|| write.placeholders.values.get(":read_version").and_then(number));
            let (mut kept, refused) = (write.clauses.to_vec(), !write.would_go_through(write.clauses));
            for (clause, weaker) in clauses_of(name, write.clauses) {
                if refused && write.would_go_through(&weaker) {
                    decisive.insert(clause.clone());
                }
                if Some(&clause) == without {
                    kept = weaker;
                }
                sent.insert(clause);
            }
            kept
        };
        let (mut answer, changes) = self.table.execute(operation, body, &index, &mut weaken);
        if let Some(done) = &mut self.done
            && lag == 0
        {
            done.push((operation.to_owned(), body.clone(), answer.clone()));
        }
        if operation == "BatchGetItem" {
            let found = answer.1["Responses"].as_object_mut().unwrap().values_mut().next().unwrap().as_array_mut().unwrap();
            found.extend(request.read.drain(..).filter(|item| !item.is_null()));
        }
        let what = if names.is_empty() { operation.to_owned() } else { names.join(", ") };
        let verdict =
            if answer.0 == 200 { "ok" } else { answer.1["__type"].as_str().unwrap_or_default().rsplit('#').next().unwrap_or_default() };
        self.tell(format!("task {} {what}: {verdict}", request.task));
        if !changes.is_empty() {
            self.past.push_front(Arc::new(self.table.items.clone()));
            self.past.truncate(4);
            let (task, sweeps) = (request.task, request.sweeps);
            let read_version = read_version.and_then(|version| i64::try_from(version).ok());
            let (owner, now, step) = (owner.as_deref(), self.now, self.step);
            let written = Written { names: &names, task, sweeps, owner, read_version, now, step };
            self.watch.look(&self.table, &changes, &written);
            if self.late {
                self.watch.late.extend(changes);
            }
        }
        answer
    }
}

fn conflict(operation: &str, request: &Request) -> Answer {
    match (&request.ask, operation) {
        (Ask::DynamoDb { body, .. }, "TransactWriteItems") => {
            let mut reasons = vec![json!({ "Code": "None" }); body["TransactItems"].as_array().unwrap().len()];
            reasons[0] = json!({ "Code": "TransactionConflict", "Message": "Transaction is ongoing for the item" });
            cancelled(&reasons)
        }
        _ => fault("com.amazonaws.dynamodb.v20120810#TransactionConflictException", "Transaction is ongoing for the item"),
    }
}

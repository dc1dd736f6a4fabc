//! One schedule: what a seed makes of the provider, the weather and the workers, and how it is played.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::{LazyLock, PoisonError};

use shared::domain::authorization::{Authorization, Identity, SealedCredential, Status};
use shared::domain::caller::{Caller, Person};
use shared::domain::connection::{ClaimNames, ClientAuthentication, Connection, Kind};
use shared::domain::directory::{ApiKeys, ApiTokens, Directory};
use shared::domain::flow::FlowFailure;
use shared::domain::ids::{AuthorizationId, ConnectionId, OrganizationId, RequestId, WorkflowId};
use shared::domain::redirect_uri::{Environment, RedirectUris};
use shared::domain::schedule;
use shared::domain::secret::Secret;
use shared::usecases::Call;
use shared::usecases::complete_flow::{CompleteError, CompleteRequest};
use shared::usecases::hand_out::{HandOutError, Request, Token};
use shared::usecases::refresh_due::Shards;
use time::Duration;
use url::Url;

use crate::executor::{Events, Rng, Sim, Task};
use crate::judge::Judge;
use crate::log;
use crate::node::Node;
use crate::provider::{Death, Provider, Siblings, number, scopes};
use crate::store::{Record, Store};
use crate::world::{Guard, Part, Weather, World, moment};

/// What came of a schedule.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What must not be.
    pub violations: Vec<String>,
    /// How often each corner was reached.
    pub seen: BTreeMap<&'static str, u64>,
    /// What happened, if it was asked for.
    pub trace: Vec<String>,
}

/// What a worker is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    HandOut(usize),
    Rejected(usize),
    Check(usize),
    Sweep,
    Revoke(usize),
    Renew(usize, u64),
}

/// How long a function may run, in milliseconds.
fn time_of(work: Work) -> i64 {
    match work {
        Work::Sweep => 300_000,
        Work::HandOut(_) | Work::Rejected(_) | Work::Check(_) | Work::Revoke(_) | Work::Renew(..) => 29_000,
    }
}

/// The tenant of everything.
///
/// # Panics
/// Never: its name is a constant.
pub fn organization() -> OrganizationId {
    static ORGANIZATION: LazyLock<Option<OrganizationId>> = LazyLock::new(|| OrganizationId::try_from("org_1").ok());
    #[expect(clippy::unwrap_used, reason = "a constant")]
    ORGANIZATION.clone().unwrap()
}

/// The connection of everything.
///
/// # Panics
/// Never: its name is a constant.
#[must_use]
pub fn connection_id() -> ConnectionId {
    #[expect(clippy::unwrap_used, reason = "a constant")]
    ConnectionId::try_from("conn_1").unwrap()
}

/// Who calls.
#[must_use]
pub fn caller() -> Caller {
    Caller { person: person(), verified_email: None, organization: organization(), workflow: None }
}

fn person() -> Person {
    Person { issuer: "https://id.example.com".to_owned(), subject: "usr_1".to_owned() }
}

/// Who signed in.
#[must_use]
pub fn identity() -> Identity {
    Identity { person: person(), email: None, email_verified: false, organization: None }
}

fn directory(grace: i64, concurrency: u32) -> Directory {
    let connection = Connection {
        id: connection_id(),
        provider: "scripted".to_owned(),
        organization: None,
        linked: true,
        kind: Kind::Oidc { issuer: "https://id.example.com".to_owned(), revocation_endpoint: None },
        client_id: "client".to_owned(),
        client_authentication: ClientAuthentication::None,
        scopes: scopes(),
        allowed_scopes: scopes(),
        extra_authorization_params: BTreeMap::new(),
        claims: ClaimNames { subject: "sub".to_owned(), email: "email".to_owned(), organization: None },
        default_access_lifetime: std::time::Duration::from_mins(5),
        refresh_idle_lifetime: None,
        refresh_absolute_lifetime: None,
        rotation_grace: std::time::Duration::from_millis(grace.unsigned_abs()),
        max_concurrent_refreshes: concurrency,
        pushed_authorization_requests: false,
    };
    #[expect(clippy::unwrap_used, reason = "constants")]
    Directory {
        environment: Environment::Staging,
        public_url: Url::parse("https://api.example.com/").unwrap(),
        error_doc_base: String::new(),
        api_tokens: ApiTokens {
            issuer: String::new(),
            audience: String::new(),
            keys: ApiKeys::Static(String::new()),
            organization_claim: String::new(),
            email_claim: String::new(),
            email_verified_claim: String::new(),
            token_type: None,
        },
        redirect_uris: RedirectUris::register(Environment::Staging, &[]).unwrap(),
        default_connection: None,
        connections: vec![Arc::new(connection)],
    }
}

fn draw_provider(rng: &mut Rng) -> Provider {
    let rotates = rng.chance(850);
    let failing = rng.one_of(&[0, 0, 30, 150]);
    Provider {
        rotates,
        grace: rng.one_of(&[0, 5_000, 30_000, 60_000]),
        detects_reuse: rng.chance(800),
        siblings: Some(rng.one_of(&[Siblings::Stay, Siblings::Retire, Siblings::Same])),
        repeats_token: rng.chance(500),
        access_lifetime: rng.one_of(&[75, 120, 300]),
        failures: [failing, rng.one_of(&[0, 0, 30, 100]), rng.one_of(&[0, 0, 0, 50])],
        revokes_by_retired: rng.chance(500),
        ..Provider::default()
    }
}

fn draw_weather(rng: &mut Rng) -> Weather {
    let until = rng.within(40_000, 200_000);
    let mut often = |permilles: &[i64]| rng.one_of(permilles);
    let mut weather = Weather {
        until,
        refused: often(&[0, 0, 20, 100]),
        requests_lost: often(&[0, 0, 10, 60]),
        answers_lost: often(&[0, 0, 20, 120]),
        slow: often(&[0, 0, 50, 250]),
        duplicated: often(&[0, 0, 50]),
        outages: Vec::new(),
        crashes: often(&[0, 0, 5, 20, 60]),
    };
    for part in [Part::Table, Part::Table, Part::Queue, Part::Provider, Part::Keys, Part::Bus] {
        if rng.chance(if part == Part::Table { 250 } else { 80 }) {
            let from = rng.within(0, until);
            let long = rng.one_of(&[2_000, 10_000, 40_000]);
            let long = rng.within(1, long);
            weather.outages.push((part, from, from + long));
        }
    }
    weather
}

fn authorization(at: usize, world: &mut World, connection: &Connection) -> Authorization {
    #[expect(clippy::unwrap_used, reason = "constants")]
    let id = AuthorizationId::try_from(["auth_01jd0000000000000000000000", "auth_01jd0000000000000000000001"][at]).unwrap();
    let given = world.grant(at, 0);
    let lives = world.rng.within(-20_000, 60_000);
    let access_expires_at = moment(lives);
    let seal = |field: &str, token: &str| Some(format!("org_1|{id}|{field}|1|{token}").into_bytes());
    let lifetime = Duration::seconds(world.provider.access_lifetime);
    let in_use = world.rng.chance(700);
    let last_used_at = in_use.then(|| moment(-60_000));
    let refreshed_at = access_expires_at - lifetime;
    let life = schedule::Life { authorized_at: refreshed_at, refreshed_at, access_expires_at, handed_out: in_use, refreshable: true };
    Authorization {
        organization: organization(),
        connection: connection_id(),
        provider: "scripted".to_owned(),
        identity: identity(),
        created_by: person(),
        created_at: moment(-86_400_000),
        authorized_at: refreshed_at,
        scopes: scopes(),
        status: Status::Active,
        version: 1,
        generation: 1,
        binding_count: 1,
        required_scopes: BTreeMap::from([("repo".to_owned(), 1)]),
        access_expires_at,
        access_lifetime: lifetime,
        reauthorize_by: None,
        last_used_at,
        last_refreshed_at: None,
        lease: None,
        outcome_unknown_since: None,
        failed_attempts: 0,
        credential: Some(SealedCredential {
            access: seal("access_token", &given.access),
            refresh: seal("refresh_token", &given.refresh.unwrap_or_default()),
        }),
        revoked_at: None,
        unannounced: Vec::new(),
        due_at: Some(schedule::next_due(&id, connection, life)),
        id,
    }
}

/// Who does what, and when.
fn draw_plan(rng: &mut Rng, nodes: usize, records: usize, until: i64) -> Vec<(i64, usize, Work)> {
    let (most, records_end) = (i64::try_from(nodes).unwrap_or(1), i64::try_from(records).unwrap_or(1));
    let mut plan = Vec::new();
    let anyone = |rng: &mut Rng| usize::try_from(rng.within(0, most)).unwrap_or(0);
    let which = |rng: &mut Rng| usize::try_from(rng.within(0, records_end)).unwrap_or(0);
    for _ in 0..rng.within(1, 6) {
        let (at, of) = (rng.within(0, until), which(rng));
        for _ in 0..rng.within(1, 5) {
            let work = match rng.within(0, 10) {
                0 => Work::Check(of),
                1 => Work::Rejected(of),
                _ => Work::HandOut(of),
            };
            plan.push((at + rng.within(0, 3_000), anyone(rng), work));
        }
    }
    let (mut at, every) = (rng.within(0, 30_000), rng.one_of(&[15_000, 30_000, 60_000]));
    while at < until {
        plan.push((at, anyone(rng), Work::Sweep));
        at += every;
    }
    if rng.chance(200) {
        plan.push((rng.within(0, until), anyone(rng), Work::Revoke(which(rng))));
    }
    for flow in 0..u64::from(rng.chance(200)) + u64::from(rng.chance(50)) {
        plan.push((rng.within(0, until), anyone(rng), Work::Renew(which(rng), flow)));
    }
    plan
}

struct Player {
    sim: Sim,
    directory: Rc<Directory>,
    shards: Rc<Shards>,
    nodes: Vec<Rc<Node>>,
    tasks: Vec<Task>,
    /// When each task is stopped.
    deadlines: BTreeMap<u64, i64>,
    next_task: u64,
    rng: Rng,
}

/// Plays the schedule of a seed.
pub fn run(seed: u64, without: Option<Guard>, trace: bool) -> Outcome {
    log::listen(trace);
    let mut rng = Rng::new(seed);
    let provider = draw_provider(&mut rng);
    let (weather, grace) = (draw_weather(&mut rng), provider.grace);
    let until = weather.until;
    let records = usize::from(rng.chance(300)) + 1;
    let nodes = usize::try_from(rng.within(2, 9)).unwrap_or(2);
    let directory = directory(if provider.rotates { grace } else { 0 }, if rng.chance(500) { 1 } else { 4 });
    let plan = draw_plan(&mut rng, nodes, records, until);
    let person_leaves = rng.chance(80).then(|| rng.within(0, until));
    let skewed = rng.chance(500);
    let skews: Vec<i64> = (0..nodes).map(|_| if skewed { rng.within(-300_000, 300_001) } else { rng.within(-50, 51) }).collect();
    let mut world = World {
        events: Events::default(),
        rng: Rng::new(rng.any()),
        weather,
        without,
        store: Store::default(),
        provider,
        judge: Judge::default(),
        repeating: false,
        alive: std::collections::BTreeSet::new(),
        seen: BTreeMap::new(),
        trace: trace.then(Vec::new),
    };
    for at in 0..records {
        let is = authorization(at, &mut world, &directory.connections[0]);
        world.store.records.push(Record { is, committed_by: String::new(), bound: true, revoked_for: None });
    }
    if let Some(at) = person_leaves {
        let leave = |world: &mut World| {
            world.saw("the person took the grant back");
            world.tell(|| "the person takes all grants back".to_owned());
            for grant in &mut world.provider.grants {
                grant.dead = grant.dead.or(Some(Death::Person));
            }
        };
        world.events.after(at, Box::new(leave));
    }
    let facts = format!(
        "skews {skews:?} rotates {} grace {} detects {} siblings {:?} revokes by retired {} weather {:?}",
        world.provider.rotates,
        world.provider.grace,
        world.provider.detects_reuse,
        world.provider.siblings,
        world.provider.revokes_by_retired,
        world.weather
    );
    world.tell(|| facts);
    let mut shards: Vec<u32> = world.store.records.iter().map(|record| schedule::shard(&record.is.id)).collect();
    shards.dedup();
    let sim = Sim::new(world);
    let mut player = Player {
        directory: Rc::new(directory),
        shards: Rc::new(Shards::new(shards, schedule::SHARDS).unwrap_or_else(|_| Shards::all())),
        nodes: skews.iter().map(|skew| Rc::new(Node::new(sim.clone(), *skew))).collect(),
        sim,
        tasks: Vec::new(),
        deadlines: BTreeMap::new(),
        next_task: 1,
        rng: Rng::new(rng.any()),
    };
    player.play(plan);
    player.settle();
    player.outcome()
}

impl Player {
    fn now(&self) -> i64 {
        self.sim.world().events.now
    }

    fn is_over(&self) -> bool {
        !self.sim.world().judge.violations.is_empty()
    }

    /// Plays the plan until everybody is done with it.
    fn play(&mut self, mut plan: Vec<(i64, usize, Work)>) {
        plan.sort_by_key(|(at, ..)| *at);
        let mut plan = plan.into_iter().peekable();
        loop {
            self.go_on();
            if self.is_over() {
                return;
            }
            let next_begin = plan.peek().map(|(at, ..)| *at);
            let next_end = self.deadlines.values().min().copied();
            let next_event = self.sim.world().events.next_at();
            let Some(next) =
                [next_begin, next_end, next_event.filter(|_| !self.tasks.is_empty() || next_begin.is_some())].into_iter().flatten().min()
            else {
                return;
            };
            if next_begin == Some(next) {
                let Some((at, node, work)) = plan.next() else { return };
                self.reach(at);
                self.begin(node, work);
            } else if next_end == Some(next) {
                self.reach(next);
                self.stop_late();
            } else {
                self.happen();
            }
        }
    }

    /// Lets time pass, and everything happen that is on its way.
    fn reach(&mut self, at: i64) {
        while self.sim.world().events.next_at().is_some_and(|next| next <= at) {
            self.happen();
        }
        let mut world = self.sim.world();
        world.events.now = world.events.now.max(at);
    }

    fn happen(&mut self) {
        let mut world = self.sim.world();
        if let Some(event) = world.events.pop() {
            event(&mut world);
        }
    }

    /// Lets everybody go on who can, in any order. Whoever goes on may die instead.
    fn go_on(&mut self) {
        loop {
            let ready: Vec<usize> = (0..self.tasks.len()).filter(|at| self.tasks[*at].is_ready()).collect();
            if ready.is_empty() {
                return;
            }
            let at = self.rng.one_of(&ready);
            let (now, crashes, until) = {
                let world = self.sim.world();
                (world.events.now, world.weather.crashes, world.weather.until)
            };
            if now < until && self.rng.chance(crashes) {
                self.kill(at);
                continue;
            }
            let (id, node) = (self.tasks[at].id, self.tasks[at].node);
            self.nodes[node].ports.task.store(id, Ordering::Relaxed);
            if self.tasks[at].go_on() {
                let task = self.tasks.swap_remove(at);
                self.deadlines.remove(&task.id);
                self.sim.world().alive.remove(&task.id);
            }
            self.overhear();
            if self.is_over() {
                return;
            }
        }
    }

    /// The sandbox is gone, with all that it remembered.
    fn kill(&mut self, at: usize) {
        let node = self.tasks[at].node;
        self.drop_task(at, "killed");
        let skew = self.nodes[node].ports.skew;
        self.nodes[node] = Rc::new(Node::new(self.sim.clone(), skew));
    }

    fn drop_task(&mut self, at: usize, corner: &'static str) {
        let task = self.tasks.swap_remove(at);
        let id = task.id;
        self.deadlines.remove(&id);
        drop(task);
        let mut world = self.sim.world();
        world.tell(|| format!("task {id} is {corner}"));
        world.saw(corner);
        world.alive.remove(&id);
        world.judge.died.insert(id);
    }

    /// The edge answers 503 shortly before a function is stopped.
    fn stop_late(&mut self) {
        let now = self.now();
        while let Some(at) = self.tasks.iter().position(|task| self.deadlines.get(&task.id).is_some_and(|end| *end <= now)) {
            self.drop_task(at, "stopped at its deadline");
        }
    }

    fn begin(&mut self, node: usize, work: Work) {
        // A sandbox does one thing at a time.
        let busy = |at: usize| self.tasks.iter().any(|task| task.node == at);
        let node = if busy(node) { (0..self.nodes.len()).find(|at| !busy(*at)) } else { Some(node) };
        let Some(node) = node else { return };
        let id = self.next_task;
        self.next_task += 1;
        let on = Rc::clone(&self.nodes[node]);
        let end = self.now() + time_of(work);
        self.deadlines.insert(id, end - 500);
        let deadline = moment(end + on.ports.skew);
        #[expect(clippy::unwrap_used, reason = "a number is an id")]
        let call = Call::new(RequestId::try_from(id.to_string()).unwrap(), deadline);
        {
            let mut world = self.sim.world();
            world.alive.insert(id);
            world.tell(|| format!("task {id} begins on node {node}: {work:?}"));
        }
        let (directory, shards) = (Rc::clone(&self.directory), Rc::clone(&self.shards));
        self.tasks.push(Task::new(id, node, async move { work_on(&on, id, work, &call, &directory, &shards).await }));
    }

    fn overhear(&self) {
        let mut world = self.sim.world();
        if world.trace.is_some() {
            for line in log::heard() {
                world.tell(|| format!("  log:{}", line.all));
                world.note(&line);
            }
        }
    }

    /// Fine weather: the schedule and its callers go on until everything has settled.
    fn settle(&mut self) {
        let mut rounds = 0;
        while !self.is_over() {
            let until = self.sim.world().weather.until;
            self.reach(until);
            let records = self.sim.world().store.records.len();
            let mut work = vec![Work::Sweep];
            work.extend((0..records).map(Work::Check));
            for work in work {
                self.begin(0, work);
                self.play(Vec::new());
            }
            if self.is_over() || self.has_settled() {
                break;
            }
            rounds += 1;
            if rounds > 100 {
                let is = self.sim.world().store.records.iter().map(|record| format!("{:?}", record.is)).collect::<Vec<_>>();
                self.sim.world().violated(format!("it does not settle: {is:?}"));
            }
            let wait = self.rng.within(1_000, 60_000);
            let at = self.now() + wait;
            self.reach(at);
        }
        let records = self.sim.world().store.records.len();
        for at in 0..records {
            if self.is_over() {
                return;
            }
            self.begin(0, Work::HandOut(at));
            self.play(Vec::new());
        }
    }

    /// Whether every authorization has come to rest.
    fn has_settled(&self) -> bool {
        let world = self.sim.world();
        let rest = |status: Status, proved: bool| match status {
            Status::Active => proved,
            Status::NeedsReauthorization(_) | Status::Deleted => true,
            Status::Revoking => false,
        };
        world.store.queue.is_empty()
            && world.store.records.iter().all(|record| record.is.unannounced.is_empty())
            && world.store.records.iter().enumerate().all(|(at, record)| rest(record.is.status, world.judge.proved.contains(&at)))
    }

    fn outcome(self) -> Outcome {
        let mut guard = self.sim.world();
        let world = &mut *guard;
        for line in log::heard() {
            world.note(&line);
        }
        if world.judge.violations.is_empty() {
            world.judge_end();
        }
        Outcome {
            violations: std::mem::take(&mut world.judge.violations),
            seen: std::mem::take(&mut world.seen),
            trace: world.trace.take().unwrap_or_default(),
        }
    }
}

async fn work_on(node: &Node, id: u64, work: Work, call: &Call, directory: &Directory, shards: &Shards) {
    let ports = &node.ports;
    ports.forget_reads.store(false, Ordering::Relaxed);
    *ports.last_read.lock().unwrap_or_else(PoisonError::into_inner) = None;
    let id_of = |at: usize| ports.sim.world().store.records[at].is.id.clone();
    match work {
        Work::HandOut(at) | Work::Rejected(at) => {
            #[expect(clippy::unwrap_used, reason = "a constant")]
            let workflow = WorkflowId::try_from("fl_1").unwrap();
            let (revoked, generation) = {
                let world = ports.sim.world();
                (world.store.records[at].revoked_for.is_some(), world.store.records[at].is.generation)
            };
            let rejected_generation = matches!(work, Work::Rejected(_)).then_some(generation);
            let request = Request { authorization: id_of(at), workflow, min_ttl: Duration::seconds(60), rejected_generation };
            let result = node.hand_out.hand_out(call, &caller(), directory, &request).await;
            judge_hand_out(node, id, at, &result, revoked);
        }
        Work::Check(at) => {
            let result = node.check.check(call, &caller(), directory, &id_of(at)).await;
            let mut world = ports.sim.world();
            world.tell(|| format!("task {id} checked: {result:?}"));
            if result.is_ok_and(|report| report.ok) {
                world.judge.proved.insert(at);
            } else {
                world.judge.proved.remove(&at);
            }
        }
        Work::Sweep => _ = node.sweep.run(call, directory, shards).await,
        Work::Revoke(at) => {
            {
                let mut world = ports.sim.world();
                let record = &mut world.store.records[at];
                (record.bound, record.is.binding_count) = (false, 0);
                record.is.required_scopes.clear();
            }
            if node.revoke.revoke(call, &caller(), directory, &id_of(at)).await.is_ok() {
                let mut world = ports.sim.world();
                world.tell(|| format!("task {id} has acknowledged the revocation"));
                world.store.records[at].revoked_for = Some(0);
            }
        }
        Work::Renew(at, flow) => {
            let request = CompleteRequest { code: Secret::new(format!("{flow} c{at}")), code_verifier: None };
            let result = node.complete.complete(call, &caller(), directory, &request).await;
            let mut world = ports.sim.world();
            world.tell(|| format!("task {id} renewed: {}", result.is_ok()));
            if matches!(result, Err(CompleteError::Failed(FlowFailure::Internal))) {
                world.judge.left_tokens.insert(id);
            }
        }
    }
}

/// What a hand-out may and may not answer.
fn judge_hand_out(node: &Node, id: u64, at: usize, result: &Result<Token, HandOutError>, revoked: bool) {
    let ports = &node.ports;
    let last = ports.last_read.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let keys_failed = ports.keys_failed.load(Ordering::Relaxed) == id;
    let mut world = ports.sim.world();
    world.tell(|| format!("task {id} hands out: {result:?}"));
    match result {
        Ok(token) => {
            let grant = world.provider.access[number(token.access_token.expose())];
            world.saw(if token.degraded { "handed out, degraded" } else { "handed out" });
            if revoked {
                world.violated("I11: a token was handed out after the revocation was acknowledged".to_owned());
            }
            if world.provider.grants[grant].authorization != at {
                world.violated("a token of another authorization was handed out".to_owned());
            }
        }
        Err(HandOutError::ProviderUnavailable { .. } | HandOutError::Unavailable(_)) => {
            world.saw("not handed out");
            let now = moment(world.events.now + ports.skew);
            if !keys_failed && last.is_some_and(|is| is.status == Status::Active && is.access_expires_at > now) {
                world.violated("a valid token was withheld".to_owned());
            }
        }
        Err(HandOutError::NeedsReauthorization(_)) => world.saw("not handed out: needs_reauthorization"),
        Err(HandOutError::NotBound | HandOutError::OtherWorkflow) => world.saw("not handed out: not bound"),
        Err(HandOutError::Cipher(_)) => {}
    }
}

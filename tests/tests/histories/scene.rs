//! Scenes: how a history begins, who does what in it, and what goes wrong, all told by the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use shared::domain::authorization::SealedCredential;
use shared::domain::connection::{ClaimNames, ClientAuthentication, Connection, Dialect, Kind};
use shared::domain::directory::{ApiKeys, ApiTokens, Directory};
use shared::domain::ids::{AuthorizationId, OrganizationId, WorkflowId};
use shared::domain::redirect_uri::{Environment, RedirectUris};
use shared::domain::schedule;
use shared::domain::scopes::Scopes;
use shared::dynamodb::keys::{self, Key};
use shared::ports::cipher::{SealContext, TokenField};
use shared::ports::store::{RefreshCommit, Rescued};

use super::actor::{Op, Process};
use super::expression::Item;
use super::hub::{BEGIN, Hub, Random, Task, at, run};
use super::provider::{Grant, Provider, RefreshToken, sealed};
use super::spec::{AUTHORIZATIONS, Act, Event, State, Status, WORKFLOWS, can_be_ordered};
use super::table::{Answer, Place, Table, place};
use super::watch::{Watch, integer, news, text};
use super::weaken::Clause;

/// What may go wrong, and how often.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    pub crashes: usize,
    pub jumps: usize,
    pub jump_by: Vec<i64>,
    pub jump_chance: usize,
    pub on_the_wire: usize,
    pub wire_chance: usize,
    pub at_provider: usize,
    pub provider_chance: usize,
    pub outages: usize,
    pub outage_chance: usize,
    pub outage_time: i64,
    /// How often, of a thousand times, the first task's write has to wait when its turn comes.
    pub tardy: usize,
    /// How many writes the indexes may lag behind.
    pub index_lag: usize,
    /// Whether anything went wrong.
    pub happened: bool,
    /// Whether nothing goes wrong any more.
    pub over: bool,
}

/// What a history is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Theme {
    /// Binds, replaces and revocations meet.
    Bindings,
    /// Hand-outs, checks and the schedule refresh, and meet a revocation.
    Refreshes,
    /// Leases end while their owners are still at it.
    Takeovers,
    /// Hand-outs of tokens at hand, and the notes of their use.
    Uses,
    /// Revocations that the provider does not take, finished by the schedule.
    Endings,
    /// Two or three acts that cross each other's way, of kinds that seldom meet by chance.
    Crossings,
}

pub const THEMES: [Theme; 6] = [Theme::Bindings, Theme::Refreshes, Theme::Takeovers, Theme::Uses, Theme::Endings, Theme::Crossings];

/// What came of a history.
pub struct History {
    pub violations: Vec<String>,
    /// Every clause that was sent.
    pub sent: BTreeSet<Clause>,
    /// Those that alone stood in a write's way.
    pub decisive: BTreeSet<Clause>,
    pub trace: Vec<String>,
    pub requests: usize,
    pub done: Vec<(String, Value, Answer)>,
    /// Whether anything went wrong on the way, or time leapt.
    pub disturbed: bool,
    /// Something was written past the requests.
    pub unrecorded: bool,
    pub begun_with: Table,
    pub ended_with: Table,
}

/// Acts of all callers, in order.
#[derive(Default)]
pub struct Log {
    pub events: Vec<Event>,
    ticks: usize,
}

impl Log {
    pub fn tick(&mut self) -> usize {
        self.ticks += 1;
        self.ticks
    }
}

pub type SharedLog = Arc<Mutex<Log>>;

pub fn organization() -> OrganizationId {
    OrganizationId::try_from("org_1").unwrap()
}

/// The nth authorization. Their shards differ, so that a scheduled run of one shard is about one of them.
pub fn authorization(number: usize) -> AuthorizationId {
    AuthorizationId::new(at(BEGIN - 1000), [0, 0, 0, 0, 0, 0, 0, 0, 0, u8::try_from(number).unwrap()])
}

pub fn workflow(number: usize) -> WorkflowId {
    WorkflowId::try_from(format!("fl_{number}")).unwrap()
}

/// How an authorization stands at the beginning.
#[derive(Debug, Clone)]
struct Setting {
    refreshable: bool,
    expires_in: i64,
    due_in: i64,
    used: Option<i64>,
    scopes: &'static [&'static str],
    start: Start,
    /// Whoever made it active again died before telling so.
    news: bool,
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Active,
    /// Whoever was refreshing it has rescued the new tokens, and is no more. The lease ends then.
    Abandoned {
        lease_for: i64,
    },
    Ended(&'static str),
    Revoking,
}

/// Who held the lease of an abandoned authorization.
const OLD_OWNER: &str = "somebody who is no more";

struct Plan {
    rescued: bool,
    settings: Vec<Setting>,
    bound: [Option<usize>; WORKFLOWS],
    acts: Vec<Vec<Op>>,
    faults: Faults,
    provider: Provider,
}

fn plan(theme: Theme, random: &mut Random) -> Plan {
    if theme == Theme::Crossings {
        return crossing(random);
    }
    let calm = random.chance(250);
    let (settings, bound) = setting(theme, random);
    let rescued = theme == Theme::Takeovers && settings[0].start != Start::Active;
    let tasks = 2 + random.below(3);
    let acts = (0..tasks).map(|_| (0..=random.below(3)).map(|_| act(theme, random)).collect()).collect();
    let provider = Provider {
        grants: (0..AUTHORIZATIONS).map(|of| grant(&settings[of], rescued && of == 0)).collect(),
        rotates: rescued || random.chance(850),
        grace: if theme == Theme::Takeovers { random.one(&[0, 120_000, 120_000]) } else { random.one(&[0, 0, 60_000]) },
        lifetime: random.one(&[3_600_000, 3_600_000, 90_000]),
        moods: match theme {
            Theme::Bindings => [0, 400, 0],
            Theme::Takeovers => [random.one(&[0, 300]), 60, random.one(&[0, 0, 300])],
            _ if calm => [0, 60, 0],
            _ => [random.one(&[0, 0, 200]), 60, random.one(&[0, 0, 100])],
        },
    };
    Plan { faults: faults(theme, calm, random), settings, bound, acts, provider, rescued }
}

fn crossing(random: &mut Random) -> Plan {
    let plain = Setting {
        refreshable: true,
        expires_in: 3_000_000,
        due_in: -5_000,
        used: None,
        scopes: &["read", "write"],
        start: Start::Active,
        news: false,
    };
    let mut settings = vec![plain; AUTHORIZATIONS];
    let mut bound = [Some(0), None, None, None];
    let mut faults = Faults { index_lag: 1, wire_chance: 60, on_the_wire: random.below(2), happened: true, ..Faults::default() };
    let (mut moods, mut grace, mut rescued) = ([0; 3], 0, false);
    let hand_out = Op::HandOut { workflow: 0, of: 0, min_ttl: 0, rejects: false };
    let check = Op::Check { of: 0 };
    let acts = match random.below(6) {
        // A lease ends while its owner's write is on its way.
        0 => {
            (bound, grace) = ([None; WORKFLOWS], 120_000);
            (faults.jumps, faults.jump_by, faults.jump_chance) = (2, vec![31_500, 33_000], 80);
            settings[0].start = random.one(&[Start::Active, Start::Active, Start::Abandoned { lease_for: 3_000 }]);
            moods[0] = random.one(&[0, 1000]);
            vec![vec![check.clone()], vec![check.clone(), check.clone()], vec![Op::Sweep { of: 0 }, check]]
        }
        // Somebody uses what is taken away, renewed or refreshed.
        1 => {
            settings[0].refreshable = random.chance(500);
            faults.tardy = 700;
            let other = random.one(&[
                vec![Op::Unbind { workflow: 0 }, Op::Revoke { of: 0 }],
                vec![Op::Unbind { workflow: 0 }, Op::Revoke { of: 0 }],
                vec![check.clone()],
                vec![Op::SignInAgain { of: 0 }],
            ]);
            vec![vec![hand_out.clone()], other, random.one(&[vec![hand_out], vec![check]])]
        }
        // A token without successor has ended.
        2 => {
            (settings[0].refreshable, settings[0].expires_in) = (false, -10_000);
            let other = random.one(&[vec![Op::SignInAgain { of: 0 }], vec![Op::Unbind { workflow: 0 }, Op::Revoke { of: 0 }], vec![check]]);
            vec![vec![hand_out], other, vec![Op::Sweep { of: 0 }]]
        }
        // A rescued credential has brought back what had ended, and somebody is at it before that is told.
        3 => {
            rescued = true;
            (faults.tardy, faults.jumps, faults.jump_by, faults.jump_chance) = (700, random.below(2), vec![61_000], 60);
            (faults.at_provider, faults.provider_chance) = (random.below(2), 500);
            settings[0].start = random.one(&[Start::Ended("outcome_unknown"), Start::Ended("invalid_grant")]);
            (settings[0].scopes, settings[0].used) = (&["read"], random.one(&[None, Some(-7_200_000)]));
            let sweep = Op::Sweep { of: 0 };
            let other = random.one(&[vec![hand_out.clone()], vec![check.clone()], vec![sweep.clone(), sweep.clone()]]);
            vec![vec![sweep.clone()], other, random.one(&[vec![hand_out], vec![check], vec![sweep]])]
        }
        // There is something left to tell when the schedule comes by, and somebody is at it, too.
        4 => {
            (grace, settings[0].news) = (random.one(&[0, 120_000]), true);
            (faults.tardy, faults.jumps, faults.jump_by, faults.jump_chance) = (700, 2, vec![31_500, 45_000], 60);
            let sweep = Op::Sweep { of: 0 };
            vec![vec![sweep.clone()], vec![sweep.clone(), sweep.clone()], random.one(&[vec![hand_out], vec![check], vec![sweep]])]
        }
        // What takes bindings on is narrowed, or ended, or revoked.
        _ => {
            (bound, moods) = ([Some(0), Some(0), Some(0), None], [random.one(&[0, 500]), 900, 0]);
            let other = random.one(&[Op::Check { of: 1 }, Op::Check { of: 1 }, Op::Revoke { of: 1 }]);
            vec![vec![Op::Replace { from: 0, to: 1 }], vec![other], vec![Op::Bind { workflow: 2, to: 1, scopes: "write" }]]
        }
    };
    let grants = (0..AUTHORIZATIONS).map(|of| grant(&settings[of], rescued && of == 0)).collect();
    let provider = Provider { grants, rotates: true, grace, lifetime: random.one(&[3_600_000, 90_000]), moods };
    Plan { rescued, settings, bound, acts, faults, provider }
}

fn setting(theme: Theme, random: &mut Random) -> (Vec<Setting>, [Option<usize>; WORKFLOWS]) {
    let mut settings = Vec::new();
    for number in 0..AUTHORIZATIONS {
        let expires_in = match theme {
            Theme::Bindings | Theme::Uses | Theme::Endings | Theme::Crossings => random.one(&[3_000_000, 3_000_000, 30_000]),
            Theme::Refreshes | Theme::Takeovers => random.one(&[30_000, 30_000, -10_000]),
        };
        let start = match (theme, number) {
            (Theme::Bindings, _) if random.chance(100) => Start::Ended("identity_revoked"),
            (Theme::Endings, 0) if random.chance(600) => Start::Revoking,
            (Theme::Takeovers, 0) if random.chance(500) => random.one(&[
                Start::Abandoned { lease_for: -10_000 },
                Start::Abandoned { lease_for: 3_000 },
                Start::Ended("outcome_unknown"),
                Start::Ended("invalid_grant"),
                Start::Ended("identity_revoked"),
                Start::Revoking,
            ]),
            _ => Start::Active,
        };
        let often = matches!(theme, Theme::Refreshes | Theme::Uses) && random.chance(350);
        let expires_in = if often && theme == Theme::Refreshes && random.chance(600) { -10_000 } else { expires_in };
        settings.push(Setting {
            refreshable: start != Start::Active || !(often || number == 2 && random.chance(700)),
            expires_in,
            due_in: if start == Start::Revoking { -5_000 } else { random.one(&[-5_000, -5_000, expires_in.max(0) + 1000]) },
            used: random.one(&[None, None, Some(-7_200_000)]),
            scopes: random.one(&[&["read", "write"][..], &["read", "write"], &["read"]]),
            start,
            news: false,
        });
    }
    let mut bound = [None; WORKFLOWS];
    match theme {
        Theme::Endings | Theme::Takeovers => bound = [None, Some(1), None, random.one(&[None, Some(2)])],
        Theme::Refreshes | Theme::Uses if random.chance(500) => bound = [Some(0), Some(1), None, None],
        _ => bound = bound.map(|_| random.one(&[Some(0), Some(0), Some(1), Some(2), None])),
    }
    (settings, bound)
}

fn faults(theme: Theme, calm: bool, random: &mut Random) -> Faults {
    let mut faults = Faults { index_lag: 2, wire_chance: 60, provider_chance: 150, jump_chance: 40, ..Faults::default() };
    if !calm {
        faults.on_the_wire = random.below(4);
        faults.crashes = usize::from(random.chance(300));
        faults.at_provider = random.below(3);
    }
    match theme {
        Theme::Bindings => faults.jumps = usize::from(!calm && random.chance(200)),
        Theme::Refreshes | Theme::Uses => faults.jumps = if calm { 0 } else { random.below(3) },
        Theme::Takeovers => (faults.jumps, faults.jump_chance) = (1 + random.below(3), 120),
        Theme::Endings | Theme::Crossings => faults.jumps = 1 + random.below(2),
    }
    faults.jump_by = match theme {
        Theme::Bindings | Theme::Refreshes => vec![1_000, 4_000, 40_000],
        Theme::Takeovers => vec![9_000, 31_500, 33_000, 33_000, 40_000],
        Theme::Uses => vec![4_000, 40_000, 3_601_000],
        Theme::Endings | Theme::Crossings => vec![310_000, 700_000],
    };
    if theme == Theme::Endings {
        (faults.at_provider, faults.provider_chance) = (2, 500);
    }
    if theme == Theme::Takeovers && random.chance(500) {
        (faults.outages, faults.outage_chance, faults.outage_time) = (1, 400, random.one(&[9_000, 16_000, 40_000]));
    }
    faults.happened = faults.jumps > 0 || theme == Theme::Takeovers;
    faults
}

/// Who was given no refresh token has one that is good for nothing; who was rescued has spent one and got another.
fn grant(setting: &Setting, rescued: bool) -> Grant {
    let first = RefreshToken { revoked: !setting.refreshable, spent_at: rescued.then_some(BEGIN - 40_000), ..RefreshToken::default() };
    let mut grant = Grant { refresh: vec![first], access: vec![BEGIN + setting.expires_in], ..Grant::default() };
    if rescued {
        grant.refresh.push(RefreshToken::default());
        grant.access.push(BEGIN - 40_000 + 3_600_000);
    }
    grant
}

/// The commit that somebody could not store.
fn rescued_commit() -> Rescued {
    let (organization, id) = (organization(), authorization(0));
    let token = |field, token: &str| {
        let context = SealContext { organization: &organization, authorization: &id, field, generation: 2 };
        Some(sealed(context, token))
    };
    let refreshed_at = at(BEGIN - 40_000);
    Rescued {
        organization: organization.clone(),
        authorization: id.clone(),
        generation: 1,
        owner: OLD_OWNER.to_owned(),
        connection: "conn_1".try_into().unwrap(),
        commit: RefreshCommit {
            credential: SealedCredential { access: token(TokenField::Access, "at-0-1"), refresh: token(TokenField::Refresh, "rt-0-1") },
            scopes: Scopes::parse("read").unwrap(),
            access_expires_at: refreshed_at + time::Duration::HOUR,
            access_lifetime: time::Duration::HOUR,
            reauthorize_by: None,
            due_at: refreshed_at + time::Duration::minutes(50),
            refreshed_at,
            used_at: None,
        },
    }
}

fn act(theme: Theme, random: &mut Random) -> Op {
    let scopes = |random: &mut Random| random.one(&["read", "read write", "read write", "", "admin"]);
    let w = if random.chance(700) { random.below(2) } else { random.below(WORKFLOWS) };
    let w = if matches!(theme, Theme::Uses | Theme::Refreshes) && random.chance(600) { 0 } else { w };
    let a = random.below(AUTHORIZATIONS);
    let main = if random.chance(700) { 0 } else { a };
    let hand_out = |random: &mut Random, of: usize| Op::HandOut {
        workflow: w,
        of,
        min_ttl: random.one(&[60, 60, 0, 3600]),
        rejects: random.chance(250),
    };
    match (theme, random.below(10)) {
        (Theme::Bindings, 0..=2) => Op::Bind { workflow: w, to: a, scopes: scopes(random) },
        (Theme::Bindings, 3..=4) => Op::Unbind { workflow: w },
        (Theme::Bindings, 5..=6) => Op::Replace { from: main, to: (main + 1 + random.below(AUTHORIZATIONS - 1)) % AUTHORIZATIONS },
        (Theme::Bindings, 7..=8) => Op::Revoke { of: a },
        (Theme::Bindings, _) if random.chance(600) => Op::Check { of: a },
        (Theme::Bindings, _) => hand_out(random, a),

        (Theme::Refreshes, 0..=3) => hand_out(random, main),
        (Theme::Refreshes, 4) => Op::Check { of: main },
        (Theme::Refreshes, 5..=6) => Op::Sweep { of: main },
        (Theme::Refreshes, 7) => Op::Revoke { of: main },
        (Theme::Refreshes, 8) => random.one(&[Op::Unbind { workflow: w }, Op::Bind { workflow: w, to: main, scopes: "read write" }]),
        (Theme::Refreshes, _) => random.one(&[Op::SignInAgain { of: main }, Op::Replace { from: main, to: 1 - main.min(1) }]),

        (Theme::Takeovers, 0..=3) => Op::Check { of: 0 },
        (Theme::Takeovers, 4..=7) => Op::Sweep { of: 0 },
        (Theme::Takeovers, 8) => Op::Revoke { of: 0 },
        (Theme::Takeovers, _) => random.one(&[Op::SignInAgain { of: 0 }, Op::Check { of: 1 }]),

        (Theme::Uses, 0..=4) => hand_out(random, main),
        (Theme::Uses, 5) => Op::Check { of: main },
        (Theme::Uses, 6) => Op::Sweep { of: main },
        (Theme::Uses, 7) => Op::Revoke { of: main },
        (Theme::Uses, 8) => Op::Unbind { workflow: w },
        (Theme::Uses, _) => random.one(&[Op::SignInAgain { of: main }, Op::Replace { from: main, to: 1 - main.min(1) }]),

        (Theme::Endings, 0..=3) => Op::Revoke { of: 0 },
        (Theme::Endings, 4..=8) => Op::Sweep { of: 0 },
        (Theme::Endings | Theme::Crossings, _) => Op::Check { of: 0 },
    }
}

fn item_of(number: usize, setting: &Setting, bound: &[Option<usize>; WORKFLOWS]) -> Item {
    let (organization, id) = (organization(), authorization(number));
    let s = |text: &str| json!({ "S": text });
    let n = |number: i64| json!({ "N": number.to_string() });
    let token = |field, token: String| {
        let context = SealContext { organization: &organization, authorization: &id, field, generation: 1 };
        json!({ "B": STANDARD.encode(sealed(context, &token)) })
    };
    let key = Key::authorization(&organization, &id);
    let bindings = bound.iter().enumerate().filter(|(_, bound)| **bound == Some(number)).map(|(workflow, _)| workflow);
    let mut scopes: BTreeMap<&str, i64> = BTreeMap::new();
    for scope in bindings.clone().flat_map(|workflow| required(workflow, setting)) {
        *scopes.entry(scope).or_default() += 1;
    }
    let scopes: BTreeMap<&str, Value> = scopes.into_iter().map(|(scope, count)| (scope, n(count))).collect();
    let mut item: Item = BTreeMap::from(
        [
            ("pk", s(key.pk())),
            ("sk", s(key.sk())),
            ("org_pk", s(&keys::list_partition(&organization))),
            ("org_sk", s(&keys::list_position(&id))),
            ("auth_id", s(id.as_str())),
            ("connection_id", s("conn_1")),
            ("provider", s("acme")),
            ("issuer", s("https://id.example")),
            ("user_id", s(&number.to_string())),
            ("email", s("ops@example.com")),
            ("email_verified", json!({ "BOOL": true })),
            ("created_by_issuer", s("https://api.example")),
            ("created_by", s("usr_1")),
            ("created_at", n(BEGIN - 86_400_000)),
            ("authorized_at", n(BEGIN - 86_400_000)),
            ("scopes", json!({ "SS": setting.scopes })),
            (
                "status",
                s(match setting.start {
                    Start::Active | Start::Abandoned { .. } => "active",
                    Start::Ended(_) => "needs_reauthorization",
                    Start::Revoking => "revoking",
                }),
            ),
            ("version", n(1)),
            ("generation", n(1)),
            ("binding_count", n(i64::try_from(bindings.count()).unwrap())),
            ("required_scopes", json!({ "M": scopes })),
            ("refreshable", json!({ "BOOL": setting.refreshable })),
            ("access_expires_at", n(BEGIN + setting.expires_in)),
            ("access_lifetime", n(3600)),
            ("sealed_access", token(TokenField::Access, format!("at-{number}-0"))),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            item.insert(name.to_owned(), value);
        }
    };
    match setting.start {
        Start::Active => {}
        Start::Abandoned { lease_for } => {
            put("lease_owner", Some(s(OLD_OWNER)));
            put("lease_until", Some(n(BEGIN + lease_for)));
        }
        Start::Ended(reason) => put("reason", Some(s(reason))),
        Start::Revoking => put("revoked_at", Some(n(BEGIN - 600_000))),
    }
    let change = json!({ "M": { "version": n(1), "at": n(BEGIN - 120_000) } });
    put("unannounced", setting.news.then(|| json!({ "L": [change] })));
    put("sealed_refresh", setting.refreshable.then(|| token(TokenField::Refresh, format!("rt-{number}-0"))));
    put("last_used_at", setting.used.map(|used| n(BEGIN + used)));
    let due = Some(setting.due_in).filter(|_| !matches!(setting.start, Start::Ended(_)));
    put("due_shard", due.map(|_| s(&keys::due_partition(schedule::shard(&id)))));
    put("due_at", due.map(|due| n((BEGIN + due) / 1000)));
    item
}

/// What the workflow's binding requires at the beginning.
fn required(number: usize, of: &Setting) -> &'static [&'static str] {
    if number.is_multiple_of(2) { of.scopes } else { &["read"] }
}

fn binding_item(number: usize, to: usize, scopes: &[&str]) -> Item {
    let (organization, id, workflow) = (organization(), authorization(to), workflow(number));
    let key = Key::binding(&organization, &workflow);
    let s = |text: &str| json!({ "S": text });
    BTreeMap::from(
        [
            ("pk", s(key.pk())),
            ("sk", s(key.sk())),
            ("org_pk", s(&keys::list_partition(&organization))),
            ("org_sk", s(&keys::binding_position(&id, &workflow))),
            ("workflow_id", s(workflow.as_str())),
            ("auth_id", s(id.as_str())),
            ("required_scopes", json!({ "L": scopes.iter().map(|scope| s(scope)).collect::<Vec<_>>() })),
            ("created_at", json!({ "N": BEGIN.to_string() })),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    )
}

pub fn directory(grace: i64) -> Arc<Directory> {
    let url = |path: &str| format!("https://id.example/{path}").parse().unwrap();
    let connection = Connection {
        id: "conn_1".try_into().unwrap(),
        provider: "acme".to_owned(),
        organization: None,
        linked: true,
        kind: Kind::OAuth2 {
            authorization_endpoint: url("authorize"),
            token_endpoint: url("token"),
            userinfo_endpoint: None,
            revocation_endpoint: Some(url("revoke")),
            dialect: Dialect::Standard,
        },
        client_id: "client".to_owned(),
        client_authentication: ClientAuthentication::None,
        scopes: Scopes::default(),
        allowed_scopes: Scopes::default(),
        extra_authorization_params: BTreeMap::new(),
        claims: ClaimNames { subject: "sub".to_owned(), email: "email".to_owned(), organization: None },
        default_access_lifetime: std::time::Duration::from_hours(1),
        refresh_idle_lifetime: None,
        refresh_absolute_lifetime: None,
        rotation_grace: std::time::Duration::from_millis(u64::try_from(grace).unwrap()),
        max_concurrent_refreshes: 10,
        pushed_authorization_requests: false,
    };
    Arc::new(Directory {
        environment: Environment::Staging,
        public_url: url(""),
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
        redirect_uris: RedirectUris::default(),
        default_connection: None,
        connections: vec![Arc::new(connection)],
    })
}

/// Plays the history of a seed; `without` takes a clause away from every write, `recorded` keeps requests and answers.
pub fn play(theme: Theme, seed: u64, without: Option<&Clause>, recorded: bool) -> History {
    let mut random = Random(seed);
    let Plan { rescued, settings, bound, acts, faults, provider } = plan(theme, &mut random);
    let mut table = Table::default();
    for (number, setting) in settings.iter().enumerate() {
        let item = item_of(number, setting, &bound);
        table.items.insert(place(&item), item);
    }
    for (number, to) in bound.iter().enumerate() {
        if let Some(to) = to {
            let item = binding_item(number, *to, required(number, &settings[*to]));
            table.items.insert(place(&item), item);
        }
    }
    let begun_with = table.clone();
    let directory = directory(provider.grace);
    let hub = Hub::new(random.next(), faults, table, provider);
    {
        let mut world = hub.world();
        world.without = without.cloned();
        world.done = recorded.then(Vec::new);
        if rescued {
            world.rescued.push_back((rescued_commit(), "from before".to_owned()));
            world.watch.rescues = 1;
        }
        for (number, acts) in acts.iter().enumerate() {
            let skew = world.random.one(&[0, 0, -900, 900]);
            world.tasks.push(Task { skew, ..Task::default() });
            world.trace.push(format!("task {number}, clock off by {skew} ms: {acts:?}"));
        }
        for (number, setting) in settings.iter().enumerate() {
            world.trace.push(format!("authorization {number} {}: {setting:?}", authorization(number)));
        }
        let bound = format!("bound: {bound:?}; provider: {:?}", world.provider);
        world.trace.push(bound);
    }
    let log = SharedLog::default();
    let tasks: Vec<BoxFuture<'static, ()>> = acts
        .into_iter()
        .enumerate()
        .map(|(task, acts)| {
            let process = Process::new(&hub, task, Arc::clone(&directory), Arc::clone(&log));
            Box::pin(async move {
                for act in acts {
                    process.perform(act).await;
                }
            }) as BoxFuture<'static, ()>
        })
        .collect();
    run(&hub, tasks);
    Watch::end_of_concurrency(&mut hub.world());
    let requests = hub.world().step;
    let disturbed = hub.world().faults.happened;
    judge(&hub, &log, &settings, bound);
    // What is under way is finished by the schedule, undisturbed.
    settle(&hub, &directory);
    Watch::end_of_all(&mut hub.world());
    let mut world = hub.world();
    let done = world.done.take().unwrap_or_default();
    History {
        violations: std::mem::take(&mut world.watch.violations),
        sent: std::mem::take(&mut world.sent),
        decisive: std::mem::take(&mut world.decisive),
        trace: std::mem::take(&mut world.trace),
        requests,
        done,
        disturbed,
        unrecorded: world.unrecorded,
        begun_with,
        ended_with: world.table.clone(),
    }
}

/// Whether callers saw one order of acts.
fn judge(hub: &Arc<Hub>, log: &SharedLog, settings: &[Setting], bound: [Option<usize>; WORKFLOWS]) {
    let mut world = hub.world();
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let status_of = |item: &Item| match text(item, "status") {
        "active" => Status::Active,
        "needs_reauthorization" => Status::Ended,
        _ => Status::Revoked,
    };
    let begin = State {
        status: std::array::from_fn(|of| match settings[of].start {
            Start::Active | Start::Abandoned { .. } => Status::Active,
            Start::Ended(_) => Status::Ended,
            Start::Revoking => Status::Revoked,
        }),
        generation: [1; AUTHORIZATIONS],
        bound,
    };
    let items: Vec<&Item> = (0..AUTHORIZATIONS)
        .map(|of| {
            let key = Key::authorization(&organization(), &authorization(of));
            &world.table.items[&(key.pk().to_owned(), key.sk().to_owned())]
        })
        .collect();
    let owner = |number: usize| {
        let key = Key::binding(&organization(), &workflow(number));
        let item = world.table.items.get(&(key.pk().to_owned(), key.sk().to_owned()))?;
        (0..AUTHORIZATIONS).find(|of| authorization(*of).as_str() == text(item, "auth_id"))
    };
    let end = State {
        status: std::array::from_fn(|of| status_of(items[of])),
        generation: std::array::from_fn(|of| u64::try_from(integer(items[of], "generation").unwrap()).unwrap()),
        bound: std::array::from_fn(owner),
    };
    for (of, item) in items.iter().enumerate() {
        let hidden = |act| Event { act, invoked: 0, answered: None, after: None };
        if world.watch.ended.contains(text(item, "pk")) {
            log.events.extend([hidden(Act::End { of }), hidden(Act::End { of })]);
        }
        if world.watch.rescues > 0 {
            log.events.push(hidden(Act::Revive { of }));
        }
    }
    // A first try that was on its way while a second was answered, perhaps with a refusal, may happen after that.
    log.events.extend(world.watch.late.iter().filter_map(late_act).map(|act| Event { act, invoked: 0, answered: None, after: None }));
    if world.watch.rescues > 0 {
        // A rescued token is newer than the stored one for a while.
        log.events.retain(|event| !matches!(event.act, Act::Token { .. }));
        for event in &mut log.events {
            event.after = None;
        }
    }
    if !can_be_ordered(&begin, &log.events, &end) {
        let told = log.events.iter().map(|event| format!("  {event:?}")).collect::<Vec<_>>().join("\n");
        world.watch.violate(format!("no order of acts explains what the callers saw:\n  {begin:?}\n{told}\n  {end:?}"));
    }
}

/// What a late change means to callers.
fn late_act((place, before, after): &(Place, Option<Item>, Option<Item>)) -> Option<Act> {
    let number = |id: &str| (0..AUTHORIZATIONS).find(|of| authorization(*of).as_str() == id);
    if place.1 == "AUTH" {
        let revoked = |item: &Option<Item>| item.as_ref().is_some_and(|item| text(item, "status") == "revoking");
        let of = number(text(after.as_ref()?, "auth_id"))?;
        return (revoked(after) && !revoked(before)).then_some(Act::Revoke { of, saw: None });
    }
    let workflow = (0..WORKFLOWS).find(|at| place.0.ends_with(&format!("#WF#{}", workflow(*at))))?;
    Some(match after {
        Some(binding) => Act::Bind { workflow, to: number(text(binding, "auth_id"))?, saw: None },
        None => Act::Unbind { workflow, saw: None },
    })
}

/// Scheduled runs without anything that goes wrong, until revocations are finished and changes of status are told.
fn settle(hub: &Arc<Hub>, directory: &Arc<Directory>) {
    {
        let mut world = hub.world();
        world.faults = Faults { happened: true, over: true, ..Faults::default() };
        world.provider.moods = [0; 3];
        for task in 0..world.tasks.len() {
            world.tasks[task].over = true;
        }
    }
    for _ in 0..4 {
        for of in 0..AUTHORIZATIONS {
            let needed = {
                let mut world = hub.world();
                let id = authorization(of);
                let mut own = world.table.items.values().filter(|item| text(item, "sk") == "AUTH" && text(item, "auth_id") == id.as_str());
                let revoking = own.any(|item| text(item, "status") == "revoking" || !news(item).is_empty());
                let rescued = world.rescued.iter().any(|(rescued, _)| rescued.authorization == id);
                if revoking || rescued {
                    world.now += 3_700_000;
                    world.watch.shown.clear();
                    world.tasks.push(Task::default());
                }
                revoking || rescued
            };
            if needed {
                let task = hub.world().tasks.len() - 1;
                let process = Process::new(hub, task, Arc::clone(directory), SharedLog::default());
                run(hub, vec![Box::pin(async move { process.perform(Op::Sweep { of }).await })]);
            }
        }
    }
}

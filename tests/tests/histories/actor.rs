//! One process: the real use cases over the real adapter, and the log of what its caller saw.

use std::sync::{Arc, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use shared::domain::authorization::Status;
use shared::domain::caller::{Caller, Person};
use shared::domain::directory::Directory;
use shared::domain::ids::{RequestId, WorkflowId};
use shared::domain::incident::Pace;
use shared::domain::schedule;
use shared::domain::scopes::Scopes;
use shared::dynamodb::Table;
use shared::dynamodb::keys::Key;
use shared::ports::cipher::{SealContext, TokenField};
use shared::ports::clock::Clock;
use shared::usecases::Call;
use shared::usecases::announce::Announcer;
use shared::usecases::assign::{self, Assign, AssignError};
use shared::usecases::check::{Check, CheckError};
use shared::usecases::hand_out::{self, HandOut, HandOutError};
use shared::usecases::refresh::Refresher;
use shared::usecases::refresh_due::{RefreshDue, Shards};
use shared::usecases::replace::{self, Replace, ReplaceError};
use shared::usecases::revoke::{Revoke, RevokeError, Revoker};
use shared::usecases::traffic::Traffic;
use time::Duration;

use super::hub::{Ask, Hub, SeededEntropy, TaskClock};
use super::provider::{ClearCipher, Client, Provider, sealed};
use super::scene::{SharedLog, authorization, organization, workflow};
use super::spec::{Act, Bound, Event, Moved, Revoked};
use super::watch::{integer, text};
use super::wire;

/// What somebody does.
#[derive(Debug, Clone)]
pub enum Op {
    Bind {
        workflow: usize,
        to: usize,
        scopes: &'static str,
    },
    Unbind {
        workflow: usize,
    },
    Replace {
        from: usize,
        to: usize,
    },
    Revoke {
        of: usize,
    },
    HandOut {
        workflow: usize,
        of: usize,
        min_ttl: i64,
        rejects: bool,
    },
    Check {
        of: usize,
    },
    Sweep {
        of: usize,
    },
    /// The person signs in again, in one write that is not the adapter's.
    SignInAgain {
        of: usize,
    },
}

pub struct Process {
    hub: Arc<Hub>,
    task: usize,
    directory: Arc<Directory>,
    log: SharedLog,
    clock: Arc<dyn Clock>,
    assign: Assign,
    replace: Replace,
    revoke: Revoke,
    hand_out: HandOut,
    check: Check,
    sweep: RefreshDue,
}

impl Process {
    pub fn new(hub: &Arc<Hub>, task: usize, directory: Arc<Directory>, log: SharedLog) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TaskClock { hub: Arc::clone(hub), task });
        let entropy = Arc::new(SeededEntropy(Arc::clone(hub)));
        let table = Arc::new(Table::new(wire::client(), "mandate", Arc::clone(&clock), Arc::clone(&entropy) as _));
        let provider = Arc::new(Client { hub: Arc::clone(hub), task });
        let cipher = Arc::new(ClearCipher);
        let announcer = Arc::new(Announcer {
            index: Arc::clone(&table) as _,
            notes: Arc::clone(&table) as _,
            events: Some(Arc::clone(&provider) as _),
            clock: Arc::clone(&clock),
        });
        let refresher = Arc::new(Refresher {
            store: Arc::clone(&table) as _,
            refreshes: Arc::clone(&provider) as _,
            revocations: Arc::clone(&provider) as _,
            cipher: Arc::clone(&cipher) as _,
            rescue: Arc::clone(&provider) as _,
            announcer: Arc::clone(&announcer),
            traffic: Arc::new(Traffic::new(Arc::clone(&clock), Pace::OnDemand)),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy) as _,
        });
        let revoker = || Revoker {
            store: Arc::clone(&table) as _,
            revocations: Arc::clone(&provider) as _,
            cipher: Arc::clone(&cipher) as _,
            clock: Arc::clone(&clock),
        };
        Self {
            assign: Assign { store: Arc::clone(&table) as _, clock: Arc::clone(&clock) },
            replace: Replace {
                store: Arc::clone(&table) as _,
                moves: Arc::clone(&table) as _,
                index: Arc::clone(&table) as _,
                clock: Arc::clone(&clock),
            },
            revoke: Revoke {
                index: Arc::clone(&table) as _,
                announcer,
                metadata: Arc::clone(&provider) as _,
                entropy: Arc::clone(&entropy) as _,
                revoker: revoker(),
            },
            hand_out: HandOut {
                reads: Arc::clone(&table) as _,
                store: Arc::clone(&table) as _,
                refresher: Arc::clone(&refresher),
                clock: Arc::clone(&clock),
            },
            check: Check {
                store: Arc::clone(&table) as _,
                refresher: Arc::clone(&refresher),
                userinfo: Arc::clone(&provider) as _,
                clock: Arc::clone(&clock),
            },
            sweep: RefreshDue {
                queue: Arc::clone(&table) as _,
                store: Arc::clone(&table) as _,
                refresher,
                revoker: revoker(),
                rescued: provider,
                clock: Arc::clone(&clock),
            },
            hub: Arc::clone(hub),
            task,
            directory,
            log,
            clock,
        }
    }

    /// An act begins. What its caller may come to see is noted later; until then it may happen or not.
    fn begins(&self, act: Act) -> usize {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let invoked = log.tick();
        log.events.push(Event { act, invoked, answered: None, after: None });
        log.events.len() - 1
    }

    /// Its caller sees this.
    fn ends(&self, event: usize, act: Act) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = log.tick();
        log.events[event].act = act;
        log.events[event].answered = Some(answered);
    }

    /// Its caller sees something more, after that.
    fn ends_after(&self, event: usize, act: Act) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = log.tick();
        let invoked = log.events[event].invoked;
        let before = log.events[event].answered.map(|_| event);
        log.events.push(Event { act, invoked, answered: Some(answered), after: before });
    }

    fn complain(&self, what: String) {
        self.hub.world().watch.violate(what);
    }

    fn call(&self, seconds: i64) -> Call {
        let request_id = RequestId::try_from("req_1").unwrap();
        Call::new(request_id, self.clock.now() + Duration::seconds(seconds))
    }

    pub async fn perform(&self, op: Op) {
        let person = Person { issuer: "https://api.example".to_owned(), subject: "usr_1".to_owned() };
        let caller = Caller { person, verified_email: None, organization: organization(), workflow: None };
        self.hub.world().tasks[self.task].sweeps = matches!(op, Op::Sweep { .. });
        match op {
            Op::Bind { workflow: w, to, scopes } => self.bind(&caller, w, to, scopes).await,
            Op::Unbind { workflow: w } => self.unbind(&caller, w).await,
            Op::Replace { from, to } => self.replace(&caller, from, to).await,
            Op::Revoke { of } => self.revoke(&caller, of).await,
            Op::HandOut { workflow: w, of, min_ttl, rejects } => self.hand_out(&caller, w, of, min_ttl, rejects).await,
            Op::Check { of } => self.check(&caller, of).await,
            Op::Sweep { of } => self.sweep(of).await,
            Op::SignInAgain { of } => {
                self.hub.ask(Ask::Turn).await;
                self.sign_in_again(of);
            }
        }
    }

    async fn bind(&self, caller: &Caller, workflow: usize, to: usize, scopes: &str) {
        let event = self.begins(Act::Bind { workflow, to, saw: None });
        let request = assign::Request {
            workflow: self::workflow(workflow),
            authorization: authorization(to),
            name: None,
            required_scopes: Scopes::parse(scopes).unwrap(),
        };
        let saw = match self.assign.bind(&self.call(29), caller, request).await {
            Ok(_) if scopes == "admin" => return self.complain("a scope that nobody granted was taken for granted".to_owned()),
            Ok(_) => Bound::Done,
            Err(AssignError::NotActive) => Bound::NotActive,
            Err(AssignError::AuthorizationNotFound) => Bound::NotFound,
            Err(AssignError::ScopesInsufficient { .. }) => Bound::NotGranted,
            // A bind that keeps meeting others has not happened.
            Err(AssignError::Conflict) => Bound::Conflict,
            Err(AssignError::Unavailable(error)) => return self.only_after_faults(&error),
            Err(AssignError::NotBound) => return self.complain("a bind found no binding".to_owned()),
        };
        self.ends(event, Act::Bind { workflow, to, saw: Some(saw) });
    }

    async fn unbind(&self, caller: &Caller, workflow: usize) {
        let event = self.begins(Act::Unbind { workflow, saw: None });
        let saw = match self.assign.unbind(&self.call(29), caller, &self::workflow(workflow)).await {
            Ok(()) => true,
            Err(AssignError::NotBound) => false,
            Err(AssignError::Unavailable(error)) => return self.only_after_faults(&error),
            Err(_) => return,
        };
        self.ends(event, Act::Unbind { workflow, saw: Some(saw) });
    }

    async fn replace(&self, caller: &Caller, from: usize, to: usize) {
        let event = self.begins(Act::Move { from, to, saw: None });
        let request = replace::Request { from: authorization(from), to: authorization(to), dry_run: false };
        let saw = match self.replace.replace(&self.call(29), caller, &request).await {
            Ok(report) => {
                let number = |id: &WorkflowId| id.as_str()["fl_".len()..].parse().unwrap();
                let moved = report.workflows.iter().filter(|line| matches!(line.outcome, replace::Outcome::Moved));
                let moved: Vec<usize> = moved.map(|line| number(&line.binding.workflow)).collect();
                if moved.len() as u64 != report.moved {
                    self.complain("a replace has lost count".to_owned());
                }
                self.ends(event, Act::Move { from, to, saw: Some(Moved::Done(moved)) });
                return self.ends_after(event, Act::Remaining { of: from, saw: report.remaining });
            }
            Err(ReplaceError::NotActive) => Moved::NotActive,
            Err(ReplaceError::NotFound) => Moved::NotFound,
            Err(ReplaceError::Conflict) => Moved::Conflict,
            Err(ReplaceError::Unavailable(error)) => return self.only_after_faults(&error),
            Err(error) => return self.complain(format!("a replace said: {error}")),
        };
        self.ends(event, Act::Move { from, to, saw: Some(saw) });
    }

    async fn revoke(&self, caller: &Caller, of: usize) {
        let event = self.begins(Act::Revoke { of, saw: None });
        let saw = match self.revoke.revoke(&self.call(29), caller, &self.directory, &authorization(of)).await {
            Ok(()) => Revoked::Done,
            Err(RevokeError::InUse { workflow_count, .. }) => Revoked::InUse(workflow_count),
            Err(RevokeError::Unavailable(error)) => return self.only_after_faults(&error),
            Err(error) => return self.complain(format!("a revocation said: {error}")),
        };
        self.ends(event, Act::Revoke { of, saw: Some(saw) });
    }

    async fn hand_out(&self, caller: &Caller, workflow: usize, of: usize, min_ttl: i64, rejects: bool) {
        let found = |bound| Act::Found { workflow, of, bound };
        let event = self.begins(found(true));
        let request = hand_out::Request {
            authorization: authorization(of),
            workflow: self::workflow(workflow),
            min_ttl: Duration::seconds(min_ttl),
            rejected_generation: rejects.then_some(1),
        };
        match self.hand_out.hand_out(&self.call(29), caller, &self.directory, &request).await {
            Ok(token) => {
                let (grant, number) = Provider::parse(token.access_token.expose());
                let ends = self.hub.world().provider.grants[grant].access[number];
                let told = i64::try_from(token.expires_at.unix_timestamp_nanos() / 1_000_000).unwrap();
                if grant != of || told > ends + 1_000 {
                    self.complain(format!("{} handed out for {of}, to end at {told}, in truth at {ends}", token.access_token.expose()));
                }
                if rejects && token.generation == 1 && !token.degraded {
                    self.complain("a rejected token was handed out again".to_owned());
                }
                self.ends(event, found(true));
                self.ends_after(event, Act::Token { of, generation: token.generation });
            }
            Err(HandOutError::NotBound) => self.ends(event, found(false)),
            Err(HandOutError::NeedsReauthorization(_)) => {
                self.ends(event, found(true));
                self.ends_after(event, Act::SeenEnded { of });
            }
            Err(HandOutError::ProviderUnavailable { .. }) => {}
            Err(HandOutError::Unavailable(error)) => self.only_after_faults(&error),
            Err(error @ (HandOutError::Cipher(_) | HandOutError::OtherWorkflow)) => self.complain(format!("a hand-out said: {error}")),
        }
    }

    async fn check(&self, caller: &Caller, of: usize) {
        let event = self.begins(Act::End { of });
        match self.check.check(&self.call(29), caller, &self.directory, &authorization(of)).await {
            Ok(report) if report.ok => self.ends(event, Act::Worked { of }),
            Ok(report) => match report.status {
                Status::NeedsReauthorization(_) => self.ends(event, Act::SeenEnded { of }),
                Status::Revoking | Status::Deleted => self.ends(event, Act::SeenRevoked { of }),
                Status::Active => {}
            },
            Err(CheckError::NotFound) => self.ends(event, Act::SeenRevoked { of }),
            Err(CheckError::Unavailable(error)) => self.only_after_faults(&error),
            Err(error @ CheckError::Cipher(_)) => self.complain(format!("a check said: {error}")),
        }
    }

    async fn sweep(&self, of: usize) {
        let event = self.begins(Act::End { of });
        let shards = Shards::new(vec![schedule::shard(&authorization(of))], schedule::SHARDS).unwrap();
        let report = self.sweep.run(&self.call(300), &self.directory, &shards).await;
        if report.refreshed > 0 {
            self.ends(event, Act::Worked { of });
        } else if report.needs_reauthorization > 0 {
            self.ends(event, Act::SeenEnded { of });
        } else if report.revoked > 0 {
            self.ends(event, Act::SeenRevoked { of });
        }
    }

    /// A part that says it is down, though it is not, is wrong too.
    fn only_after_faults(&self, error: &shared::ports::Unavailable) {
        if !self.hub.world().faults.happened {
            let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            self.complain(format!("without any fault: {error}: {why}"));
        }
    }

    fn sign_in_again(&self, of: usize) {
        let event = self.begins(Act::SignInAgain { of });
        let (organization, id) = (organization(), authorization(of));
        let key = Key::authorization(&organization, &id);
        {
            let mut world = self.hub.world();
            let now = world.now;
            let place = (key.pk().to_owned(), key.sk().to_owned());
            let mut item = world.table.items[&place].clone();
            if matches!(text(&item, "status"), "revoking" | "deleted") {
                drop(world);
                return self.ends(event, Act::SeenRevoked { of });
            }
            let (access, refresh) = world.provider.sign_in(of, now);
            let lifetime = world.provider.lifetime;
            let generation = integer(&item, "generation").unwrap() + 1;
            let number = |number: i64| json!({ "N": number.to_string() });
            let token = |field, token: &str| {
                let generation = u64::try_from(generation).unwrap();
                let context = SealContext { organization: &organization, authorization: &id, field, generation };
                json!({ "B": STANDARD.encode(sealed(context, token)) })
            };
            let version = integer(&item, "version").unwrap() + 1;
            item.extend(
                [
                    ("version", number(version)),
                    ("generation", number(generation)),
                    ("status", json!({ "S": "active" })),
                    ("refreshable", json!({ "BOOL": true })),
                    ("sealed_access", token(TokenField::Access, &access)),
                    ("sealed_refresh", token(TokenField::Refresh, &refresh)),
                    ("access_expires_at", number(now + lifetime)),
                    ("access_lifetime", number(lifetime / 1000)),
                    ("authorized_at", number(now)),
                    ("due_shard", json!({ "S": shared::dynamodb::keys::due_partition(schedule::shard(&id)) })),
                    ("due_at", number((now + lifetime) / 1000)),
                ]
                .map(|(name, value)| (name.to_owned(), value)),
            );
            for gone in ["reason", "lease_owner", "lease_until", "outcome_unknown_since", "failed_attempts"] {
                item.remove(gone);
            }
            world.table.items.insert(place, item);
            // Whoever compares the table with another has to be told.
            world.unrecorded = true;
        }
        self.ends(event, Act::SignInAgain { of });
    }
}

//! A worker: one sandbox with its clock, its memory of the provider's incidents, and every use case, over ports that reach the world
//! by messages.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use shared::domain::authorization::{Authorization, Identity, Lease, Reason};
use shared::domain::binding::Binding;
use shared::domain::caller::Person;
use shared::domain::connection::Connection;
use shared::domain::flow::{Completion, Flow, FlowOutcome, FlowSecrets, ReturnTo};
use shared::domain::ids::{AuthorizationId, FlowId, OrganizationId, WorkflowId};
use shared::domain::incident::Pace;
use shared::domain::schedule;
use shared::domain::secret::Secret;
use shared::ports::Unavailable;
use shared::ports::announcements::{Announcement, Announcements, News};
use shared::ports::cipher::{CipherError, Salt, SealContext, Sealer, TokenCipher};
use shared::ports::clock::{Clock, Entropy};
use shared::ports::flows::{FlowClaim, FlowSealer, Flows, Renewal};
use shared::ports::provider::{
    CodeExchange, CodeExchanges, Exchanged, IssuerParameter, ProviderError, ProviderMetadata, RefreshAnswer, Refreshes, Revocation,
    Revocations, Revoked, TokenAnswer, UserInfo,
};
use shared::ports::store::{
    AnnouncementStore, Committed, DueClaim, DueItem, DueQueue, HandOutReads, IndexEntry, IndexPage, Kept, OrganizationIndex, PageQuery,
    RefreshCommit, RefreshFailure, RefreshStore, Repair, RescueDrain, RescueQueue, Rescued, RevocationStart, RevocationStore, Search,
};
use shared::usecases::announce::Announcer;
use shared::usecases::check::Check;
use shared::usecases::complete_flow::CompleteFlow;
use shared::usecases::hand_out::HandOut;
use shared::usecases::refresh::Refresher;
use shared::usecases::refresh_due::RefreshDue;
use shared::usecases::revoke::{Revoke, Revoker};
use shared::usecases::traffic::Traffic;
use time::{Duration, OffsetDateTime};

use crate::executor::Sim;
use crate::judge::token_in;
use crate::provider::{Answer, Given, Loss, number, scopes};
use crate::scenario::{caller, organization};
use crate::wire::{Lost, send};
use crate::world::{Part, World, moment};

/// What a worker reaches the world by.
pub struct Ports {
    /// The world.
    pub sim: Sim,
    /// By how much its clock is ahead, in milliseconds.
    pub skew: i64,
    /// The task that runs at present.
    pub task: AtomicU64,
    /// The record as this task saw it last.
    pub last_read: Mutex<Option<Authorization>>,
    /// Whether this task was too late with a commit.
    pub forget_reads: AtomicBool,
    /// Whether the keys failed this task.
    pub keys_failed: AtomicU64,
}

/// A worker's use cases.
pub struct Node {
    /// Its way to the world.
    pub ports: Arc<Ports>,
    /// Hands out.
    pub hand_out: HandOut,
    /// Checks.
    pub check: Check,
    /// The scheduled run.
    pub sweep: RefreshDue,
    /// Revokes.
    pub revoke: Revoke,
    /// Completes re-authorizations.
    pub complete: CompleteFlow,
}

impl Node {
    /// A worker that has just begun.
    #[must_use]
    pub fn new(sim: Sim, skew: i64) -> Self {
        let ports = Arc::new(Ports {
            sim,
            skew,
            task: AtomicU64::new(0),
            last_read: Mutex::new(None),
            forget_reads: AtomicBool::new(false),
            keys_failed: AtomicU64::new(0),
        });
        let announcer =
            Arc::new(Announcer { index: ports.clone(), notes: ports.clone(), events: Some(ports.clone()), clock: ports.clone() });
        let refresher = |pace| {
            Arc::new(Refresher {
                store: ports.clone(),
                refreshes: ports.clone(),
                revocations: ports.clone(),
                cipher: ports.clone(),
                rescue: ports.clone(),
                announcer: announcer.clone(),
                traffic: Arc::new(Traffic::new(ports.clone(), pace)),
                clock: ports.clone(),
                entropy: ports.clone(),
            })
        };
        let on_demand = refresher(Pace::OnDemand);
        let revoker = || Revoker { store: ports.clone(), revocations: ports.clone(), cipher: ports.clone(), clock: ports.clone() };
        Self {
            hand_out: HandOut { reads: ports.clone(), store: ports.clone(), refresher: on_demand.clone(), clock: ports.clone() },
            check: Check { store: ports.clone(), refresher: on_demand, userinfo: ports.clone(), clock: ports.clone() },
            sweep: RefreshDue {
                queue: ports.clone(),
                store: ports.clone(),
                refresher: refresher(Pace::Scheduled),
                revoker: revoker(),
                rescued: ports.clone(),
                clock: ports.clone(),
            },
            revoke: Revoke {
                index: ports.clone(),
                announcer: announcer.clone(),
                metadata: ports.clone(),
                entropy: ports.clone(),
                revoker: revoker(),
            },
            complete: CompleteFlow {
                sealer: ports.clone(),
                flows: ports.clone(),
                announcer,
                cipher: ports.clone(),
                metadata: ports.clone(),
                exchanges: ports.clone(),
                revocations: ports.clone(),
                clock: ports.clone(),
                entropy: ports.clone(),
            },
            ports,
        }
    }
}

#[derive(Debug)]
struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no answer")
    }
}

impl std::error::Error for NoAnswer {}

impl Ports {
    fn task(&self) -> u64 {
        self.task.load(Ordering::Relaxed)
    }

    fn at(&self) -> i64 {
        self.sim.world().events.now
    }

    fn saw(&self, is: Option<&Authorization>) {
        let is = is.filter(|_| !self.forget_reads.load(Ordering::Relaxed));
        *self.last_read.lock().unwrap_or_else(PoisonError::into_inner) = is.cloned();
    }

    /// A request to the table; read again a few times, and written again for five seconds, as the adapter does.
    async fn table<T: Send + 'static>(
        &self,
        doing: &'static str,
        patience: i64,
        apply: impl FnMut(&mut World) -> T + Clone + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (began, mut wait) = (self.at(), 10);
        loop {
            let result = send(&self.sim, Part::Table, apply.clone(), |_, _| ()).await;
            let at = self.at();
            self.sim.world().tell(|| format!("task {} {doing}: {}", self.task(), if result.is_ok() { "answered" } else { "no answer" }));
            if let Ok(value) = result {
                return Ok(value);
            }
            if at - began + wait > patience {
                return Err(Unavailable::new(doing, NoAnswer));
            }
            self.sim.sleep(wait).await;
            wait = (wait * 2).min(1_000);
        }
    }

    async fn queue<T: Send + 'static>(
        &self,
        doing: &'static str,
        apply: impl FnMut(&mut World) -> T + Clone + Send + 'static,
    ) -> Result<T, Unavailable> {
        for _ in 0..2 {
            let result = send(&self.sim, Part::Queue, apply.clone(), |_, _| ()).await;
            self.sim.world().tell(|| format!("task {} {doing}: {}", self.task(), if result.is_ok() { "answered" } else { "no answer" }));
            if let Ok(value) = result {
                return Ok(value);
            }
        }
        Err(Unavailable::new(doing, NoAnswer))
    }

    async fn keys(&self) -> Result<(), Unavailable> {
        // The branch key is cached: hardly anybody ever asks.
        let (asks, down) = {
            let mut world = self.sim.world();
            (world.rng.chance(30), world.is_down(Part::Keys))
        };
        if asks || down {
            let answer = send(&self.sim, Part::Keys, |_| (), |_, ()| ()).await;
            if answer.is_err() {
                self.sim.world().saw("keys unavailable");
                self.keys_failed.store(self.task(), Ordering::Relaxed);
            }
            return answer.map_err(|_| Unavailable::new("unwrap a branch key", NoAnswer));
        }
        Ok(())
    }

    fn answer(&self, given: &Given, requested_at: OffsetDateTime) -> TokenAnswer {
        let lifetime = self.sim.world().provider.access_lifetime;
        TokenAnswer {
            access_token: Secret::new(given.access.clone()),
            refresh_token: given.refresh.clone().map(Secret::new),
            expires_in: Some(Duration::seconds(lifetime)),
            scopes: None,
            requested_at,
        }
    }
}

const READS: i64 = 1_500;
const WRITES: i64 = 5_000;

#[async_trait]
impl Clock for Ports {
    fn now(&self) -> OffsetDateTime {
        moment(self.at() + self.skew)
    }

    async fn sleep(&self, duration: Duration) {
        self.sim.sleep(i64::try_from(duration.whole_milliseconds()).unwrap_or(i64::MAX)).await;
    }
}

impl Entropy for Ports {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Unavailable> {
        let mut world = self.sim.world();
        for chunk in buffer.chunks_mut(8) {
            let bytes = world.rng.any().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

#[async_trait]
impl HandOutReads for Ports {
    async fn authorization_with_binding(
        &self,
        _: &OrganizationId,
        id: &AuthorizationId,
        workflow: &WorkflowId,
    ) -> Result<(Option<Authorization>, Option<Binding>), Unavailable> {
        let (id, workflow, skew) = (id.clone(), workflow.clone(), self.skew);
        let read = move |world: &mut World| {
            let at = world.index_of(&id);
            let binding = world.store.records[at].bound.then(|| Binding {
                organization: organization(),
                workflow: workflow.clone(),
                name: None,
                authorization: id.clone(),
                required_scopes: scopes(),
                created_at: moment(0),
            });
            (Some(world.seen_by(at, skew)), binding)
        };
        let found = self.table("read for a hand-out", READS, read).await?;
        self.saw(found.0.as_ref());
        Ok(found)
    }
}

#[async_trait]
impl RefreshStore for Ports {
    async fn authorization(&self, _: &OrganizationId, id: &AuthorizationId) -> Result<Option<Authorization>, Unavailable> {
        let (id, skew) = (id.clone(), self.skew);
        let found = self.table("read", READS, move |world| world.seen_by(world.index_of(&id), skew)).await?;
        self.saw(Some(&found));
        Ok(Some(found))
    }

    async fn claim_refresh(&self, read: &Authorization, lease: &Lease, now: OffsetDateTime) -> Result<Option<Authorization>, Unavailable> {
        let (read, lease, skew) = (read.clone(), lease.clone(), self.skew);
        let claimed = self.table("claim", WRITES, move |world| world.claim(skew, &read, &lease, now)).await?;
        self.sim.world().tell(|| format!("task {} has claimed: {}", self.task(), claimed.is_some()));
        Ok(claimed)
    }

    async fn claim_due(&self, item: &DueItem, lease: &Lease, now: OffsetDateTime) -> Result<DueClaim, Unavailable> {
        let (item, lease, skew) = (item.clone(), lease.clone(), self.skew);
        let claim = self.table("claim what is due", WRITES, move |world| wrap(world.claim_due(skew, &item, &lease, now))).await?;
        Ok(claim.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or(DueClaim::Otherwise(None)))
    }

    async fn commit_refresh(&self, claimed: &Authorization, commit: &RefreshCommit) -> Result<Committed, Unavailable> {
        let (claimed, commit, task) = (claimed.clone(), commit.clone(), self.task());
        let stored = self.table("commit", WRITES, move |world| matches!(world.commit(&claimed, &commit), Committed::Stored)).await?;
        self.sim.world().tell(|| format!("task {task} has committed: {stored}"));
        if !stored {
            // What is read from now on is read to settle what came too late.
            self.forget_reads.store(true, Ordering::Relaxed);
            self.saw(None);
        }
        Ok(if stored { Committed::Stored } else { Committed::Superseded })
    }

    async fn repair_refresh(&self, rescued: &Rescued, now: OffsetDateTime) -> Result<Repair, Unavailable> {
        let (rescued, skew) = (rescued.clone(), self.skew);
        let repaired = self.table("repair", WRITES, move |world| world.repair(skew, &rescued, now)).await;
        self.sim.world().tell(|| format!("task {} repairs: {repaired:?}", self.task()));
        repaired
    }

    async fn release_refresh(&self, claimed: &Authorization, failure: &RefreshFailure) -> Result<(), Unavailable> {
        let (claimed, failure, task) = (claimed.clone(), *failure, self.task());
        self.table("give back", WRITES, move |world| world.release(&claimed, failure, task)).await
    }

    async fn mark_needs_reauthorization(
        &self,
        read: &Authorization,
        reason: Reason,
        now: OffsetDateTime,
    ) -> Result<Option<Box<Authorization>>, Unavailable> {
        let (read, skew) = (read.clone(), self.skew);
        self.table("end", WRITES, move |world| world.end(skew, &read, reason, now)).await
    }

    /// Everything opens here.
    async fn quarantine(&self, _: &Authorization, _: OffsetDateTime, _: OffsetDateTime) -> Result<bool, Unavailable> {
        Ok(false)
    }

    async fn mark_used(&self, read: &Authorization, now: OffsetDateTime, due_at: Option<OffsetDateTime>) -> Result<(), Unavailable> {
        let read = read.clone();
        self.table("note the use", 0, move |world| world.mark_used(&read, now, due_at)).await
    }
}

#[async_trait]
impl AnnouncementStore for Ports {
    async fn note_announced(&self, record: &Authorization, due_at: Option<OffsetDateTime>) -> Result<(), Unavailable> {
        let record = record.clone();
        self.table("note what was announced", 0, move |world| world.note_announced(&record, due_at)).await
    }
}

#[async_trait]
impl Announcements for Ports {
    async fn put(&self, announcement: &Announcement) -> Result<(), Unavailable> {
        let News::StatusChanged { to, .. } = announcement.news else { return Ok(()) };
        let event = (announcement.id.clone(), to);
        let put = move |world: &mut World| {
            world.tell(|| format!("the bus has {event:?}"));
            *world.judge.announced.entry(event.clone()).or_default() += 1;
        };
        send(&self.sim, Part::Bus, put, |_, ()| ()).await.map_err(|_| Unavailable::new("put an event", NoAnswer))
    }
}

/// An answer that cannot be cloned, on its way through a message.
fn wrap(claim: DueClaim) -> Mutex<Option<DueClaim>> {
    Mutex::new(Some(claim))
}

#[async_trait]
impl DueQueue for Ports {
    async fn due(&self, shard: u32, now: OffsetDateTime, _: usize, after: Option<&DueItem>) -> Result<Vec<DueItem>, Unavailable> {
        if after.is_some() {
            return Ok(Vec::new());
        }
        let read = move |world: &mut World| {
            let due = world.store.records.iter().filter(|record| schedule::shard(&record.is.id) == shard);
            let due = due.filter_map(|record| {
                let due_at = record.is.due_at.filter(|due| *due <= now)?;
                Some(DueItem { organization: organization(), authorization: record.is.id.clone(), due_at })
            });
            due.collect()
        };
        self.table("read what is due", READS, read).await
    }
}

#[async_trait]
impl RescueQueue for Ports {
    async fn rescue(&self, rescued: &Rescued) -> Result<(), Unavailable> {
        let message = rescued.clone();
        let kept = self.queue("rescue", move |world| world.rescue(&message)).await;
        self.sim.world().tell(|| format!("task {} rescues: {}", self.task(), kept.is_ok()));
        if kept.is_err()
            && let Some(token) = rescued.commit.credential.refresh.as_deref().and_then(token_in)
        {
            let mut world = self.sim.world();
            world.saw("neither table nor queue");
            world.provider.tokens[token].lost = Some(Loss::Sinks);
        }
        kept
    }
}

#[async_trait]
impl RescueDrain for Ports {
    async fn receive_rescued(&self) -> Result<Vec<(Rescued, String)>, Unavailable> {
        self.queue("receive", World::receive).await
    }

    async fn holds_nothing(&self) -> Result<bool, Unavailable> {
        self.queue("count", |world| world.store.queue.is_empty()).await
    }

    async fn forget_rescued(&self, receipt: &str) -> Result<(), Unavailable> {
        let receipt = receipt.to_owned();
        self.queue("forget", move |world| world.forget(&receipt)).await
    }
}

#[async_trait]
impl RevocationStore for Ports {
    async fn authorization_to_revoke(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
    ) -> Result<Option<Authorization>, Unavailable> {
        self.authorization(organization, id).await
    }

    async fn begin_revocation(
        &self,
        _: &OrganizationId,
        id: &AuthorizationId,
        attempt: &str,
        now: OffsetDateTime,
    ) -> Result<RevocationStart, Unavailable> {
        let (id, attempt, skew) = (id.clone(), attempt.to_owned(), self.skew);
        let begin = move |world: &mut World| {
            let at = world.index_of(&id);
            Mutex::new(Some(world.begin_revocation(skew, at, &attempt, now)))
        };
        let answer = self.table("begin a revocation", WRITES, begin).await;
        answer.map(|start| start.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or(RevocationStart::Missing))
    }

    async fn finish_revocation(&self, revoking: &Authorization, now: OffsetDateTime) -> Result<(), Unavailable> {
        let revoking = revoking.clone();
        let gone = self.table("finish a revocation", WRITES, move |world| world.finish_revocation(&revoking, now)).await?;
        gone.then_some(()).ok_or_else(|| Unavailable::new("finish a revocation", NoAnswer))
    }

    async fn postpone_revocation(&self, revoking: &Authorization, kept: Kept, due_at: OffsetDateTime) -> Result<(), Unavailable> {
        let revoking = revoking.clone();
        self.table("postpone a revocation", WRITES, move |world| world.postpone_revocation(&revoking, kept, due_at)).await
    }
}

#[async_trait]
impl OrganizationIndex for Ports {
    async fn page(&self, _: &OrganizationId, _: &PageQuery) -> Result<IndexPage, Unavailable> {
        Ok(IndexPage::default())
    }
    fn behind(&self, _: &AuthorizationId) -> String {
        String::new()
    }
    async fn entry(&self, _: &OrganizationId, _: &AuthorizationId, _: usize) -> Result<Option<IndexEntry>, Unavailable> {
        Ok(None)
    }
    async fn look_for(&self, _: &OrganizationId, _: &WorkflowId, _: Option<&str>) -> Result<Search, Unavailable> {
        Ok(Search::Nowhere)
    }
    async fn bindings_of(
        &self,
        _: &OrganizationId,
        _: &AuthorizationId,
        _: Option<&WorkflowId>,
        _: usize,
    ) -> Result<Vec<Binding>, Unavailable> {
        self.table("read bindings", READS, |_| Vec::new()).await
    }
}

fn context_text(context: &SealContext<'_>) -> String {
    format!("{}|{}|{}|{}|", context.organization, context.authorization, context.field.as_str(), context.generation)
}

#[async_trait]
impl TokenCipher for Ports {
    async fn sealer(&self, _: &OrganizationId) -> Result<Arc<dyn Sealer>, CipherError> {
        self.keys().await?;
        Ok(Arc::new(Wax))
    }

    async fn open(&self, context: SealContext<'_>, ciphertext: &[u8]) -> Result<Secret, CipherError> {
        self.keys().await?;
        let (text, prefix) = (String::from_utf8_lossy(ciphertext), context_text(&context));
        if let Some(token) = text.strip_prefix(&prefix) {
            return Ok(Secret::new(token.to_owned()));
        }
        self.sim.world().violated(format!("a ciphertext does not open (I8): {text} as {prefix}"));
        Err(CipherError::Broken { field: context.field.as_str() })
    }
}

struct Wax;

impl Sealer for Wax {
    fn seal(&self, context: SealContext<'_>, token: &Secret, _: Salt) -> Result<Vec<u8>, CipherError> {
        Ok(format!("{}{}", context_text(&context), token.expose()).into_bytes())
    }
    fn reserve(&self) -> Result<Salt, CipherError> {
        Ok(Salt([0; 32]))
    }
}

#[async_trait]
impl Refreshes for Ports {
    async fn prepare_refresh(&self, _: &Connection) -> Result<(), ProviderError> {
        let slow = {
            let mut world = self.sim.world();
            let faulty = world.events.now < world.weather.until;
            let often = world.weather.slow;
            if faulty && world.rng.chance(often) { world.rng.within(1, 9_000) } else { 0 }
        };
        if slow > 0 {
            self.sim.sleep(slow).await;
        }
        Ok(())
    }

    async fn refresh(&self, _: &Connection, refresh_token: &Secret, _: &Person) -> Result<RefreshAnswer, ProviderError> {
        let (text, task, requested_at) = (refresh_token.expose().to_owned(), self.task(), self.now());
        let presented = number(&text);
        {
            let mut world = self.sim.world();
            world.tell(|| format!("task {task} presents {text}"));
            // A trouble, unless it turns out to be none.
            *world.judge.troubles.entry(presented).or_default() += 1;
        }
        let (mut first, mut gave) = (true, true);
        let redeem = move |world: &mut World| {
            // Without a grace a request that arrives twice kills the grant, and nobody can help it.
            let harmless = world.provider.grace > 0 && world.provider.siblings != Some(crate::provider::Siblings::Retire);
            // What was refused is not sent twice.
            if !harmless && !first || !gave {
                return Answer::InvalidGrant;
            }
            let answer = if std::mem::take(&mut first) { world.redeem(&text, task) } else { world.redeem_unheard(&text, task) };
            gave = matches!(answer, Answer::Given(_));
            world.tell(|| format!("the provider answers {text} of task {task}: {answer:?}"));
            world.judge_step();
            answer
        };
        let answer = send(&self.sim, Part::Provider, redeem, |world, answer| world.answer_missed(&answer)).await;
        {
            let mut world = self.sim.world();
            let spent = world.provider.tokens[presented].retired_at.is_some();
            let nothing_done = matches!(answer, Ok(Answer::Busy(_) | Answer::InvalidClient) | Err(Lost::Refused)) && !spent;
            if nothing_done || matches!(answer, Ok(Answer::Given(_) | Answer::InvalidGrant)) {
                *world.judge.troubles.entry(presented).or_default() -= 1;
            }
        }
        let error = match answer {
            Ok(Answer::Given(given)) => {
                let identity = if given.proved {
                    Ok(())
                } else {
                    self.sim.world().saw("an id_token that does not hold");
                    Err(ProviderError::IdentityInvalid { why: "scripted" })
                };
                return Ok(RefreshAnswer { tokens: self.answer(&given, requested_at), identity });
            }
            Ok(Answer::InvalidGrant) => return Err(ProviderError::InvalidGrant),
            Ok(Answer::Busy(wait)) => ProviderError::Unavailable {
                status: Some(if wait > 15 { 429 } else { 503 }),
                retry_after: (wait > 15).then(|| Duration::seconds(wait)),
                source: None,
            },
            Ok(Answer::InvalidClient) => ProviderError::Misconfigured { code: "invalid_client".to_owned() },
            // A failure is classified as a 502 is.
            Ok(Answer::Failed) | Err(Lost::Unknown) => ProviderError::AnswerLost { source: None },
            Ok(Answer::Nonsense) => ProviderError::AnswerInvalid { why: "scripted" },
            Err(Lost::Refused) => ProviderError::Unavailable { status: None, retry_after: None, source: None },
        };
        Err(error)
    }
}

#[async_trait]
impl Revocations for Ports {
    async fn revoke_tokens(&self, _: &Connection, refresh_token: Option<&Secret>, _: Option<&Secret>) -> Revocation {
        let text = refresh_token.map(|token| token.expose().to_owned());
        let revoke = move |world: &mut World| {
            if let Some(text) = &text {
                world.tell(|| format!("the provider revokes {text}"));
                world.revoke_grant_of(text);
            }
        };
        let answer = send(&self.sim, Part::Provider, revoke, |_, ()| ()).await;
        let outcome = match answer {
            Ok(()) => Ok(Revoked::Done),
            Err(Lost::Refused) => Err(ProviderError::Unavailable { status: None, retry_after: None, source: None }),
            Err(Lost::Unknown) => Err(ProviderError::AnswerLost { source: None }),
        };
        Revocation { receipts: Vec::new(), outcome }
    }
}

#[async_trait]
impl UserInfo for Ports {
    async fn userinfo(&self, _: &Connection, _: &Secret) -> Result<Option<Identity>, ProviderError> {
        Ok(None)
    }
}

#[async_trait]
impl ProviderMetadata for Ports {
    async fn issuer_parameter(&self, _: &Connection) -> Result<IssuerParameter, ProviderError> {
        Ok(IssuerParameter { issuer: None, advertised: false })
    }
    async fn supports_revocation(&self, _: &Connection) -> Result<bool, ProviderError> {
        Ok(true)
    }
}

#[async_trait]
impl CodeExchanges for Ports {
    async fn prepare_exchange(&self, _: &Connection) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn exchange_code(&self, _: &Connection, exchange: &CodeExchange<'_>) -> Result<Exchanged, ProviderError> {
        let (at, task, requested_at) = (number(exchange.code.expose()), self.task(), self.now());
        let mut spent = false;
        let redeem = move |world: &mut World| {
            if std::mem::replace(&mut spent, true) {
                return Answer::InvalidGrant;
            }
            Answer::Given(world.grant(at, task))
        };
        let answer = send(&self.sim, Part::Provider, redeem, |world, answer| world.answer_missed(&answer)).await;
        match answer {
            Ok(Answer::Given(given)) => {
                Ok(Exchanged { tokens: self.answer(&given, requested_at), identity: Ok(crate::scenario::identity()) })
            }
            Ok(_) => Err(ProviderError::InvalidGrant),
            Err(Lost::Refused) => Err(ProviderError::Unavailable { status: None, retry_after: None, source: None }),
            Err(Lost::Unknown) => Err(ProviderError::AnswerLost { source: None }),
        }
    }
}

#[async_trait]
impl FlowSealer for Ports {
    async fn seal_state(&self, _: &Flow) -> Result<(String, FlowSecrets), Unavailable> {
        pending().await
    }
    async fn open_state(&self, _: &str) -> Result<Option<(Flow, FlowSecrets)>, Unavailable> {
        Ok(None)
    }
    async fn seal_code(&self, _: &str, _: &Completion) -> Result<String, Unavailable> {
        pending().await
    }

    /// A code is the number of its sign-in and of the authorization that is renewed.
    async fn open_code(&self, code: &str) -> Result<Option<(Completion, FlowSecrets)>, Unavailable> {
        let (flow, authorization) = code.split_once(' ').unwrap_or((code, "c0"));
        let id = self.sim.world().store.records[number(authorization)].is.id.clone();
        let caller = caller();
        let flow = Flow {
            id: FlowId::try_from(format!("{flow:0>43}")).map_err(|error| Unavailable::new("open a code", error))?,
            organization: caller.organization.clone(),
            initiator: caller.person.clone(),
            initiator_email: None,
            connection: crate::scenario::connection_id(),
            return_to: Some(ReturnTo { redirect_uri: String::new(), state: None, code_challenge: None }),
            scopes: scopes(),
            reauthorize: Some(id),
            expires_at: i64::MAX,
        };
        let secrets = FlowSecrets { code_verifier: Secret::new("verifier".to_owned()), nonce: Secret::new("nonce".to_owned()) };
        let provider_code = Secret::new(authorization.to_owned());
        Ok(Some((Completion { flow, provider_code, expires_at: i64::MAX }, secrets)))
    }
}

#[async_trait]
impl Flows for Ports {
    async fn claim_flow(&self, flow: &FlowId, attempt: &str, now: OffsetDateTime) -> Result<FlowClaim, Unavailable> {
        let (flow, attempt) = (flow.to_string(), attempt.to_owned());
        let claim = self.table("claim a flow", WRITES, move |world| Mutex::new(Some(world.claim_flow(&flow, &attempt, now)))).await?;
        Ok(claim.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or(FlowClaim::Claimed))
    }

    async fn flow_outcome(&self, flow: &FlowId) -> Result<Option<FlowClaim>, Unavailable> {
        let flow = flow.to_string();
        let read = move |world: &mut World| world.store.flows.iter().find(|(id, ..)| *id == flow).cloned();
        Ok(self.table("look at a flow", READS, read).await?.map(|(_, _, claimed_at, outcome)| match outcome {
            None => FlowClaim::UnderWay { claimed_at },
            Some(outcome) => FlowClaim::Finished { outcome, claimed_at },
        }))
    }

    async fn finish_flow(&self, flow: &FlowId, _: &str, outcome: &FlowOutcome, _: OffsetDateTime) -> Result<(), Unavailable> {
        let (flow, outcome) = (flow.to_string(), outcome.clone());
        let finish = move |world: &mut World| {
            if let Some(found) = world.store.flows.iter_mut().find(|(id, ..)| *id == flow) {
                found.3.get_or_insert_with(|| outcome.clone());
            }
        };
        self.table("finish a flow", WRITES, finish).await
    }

    async fn store_authorization(&self, _: &Authorization, _: &FlowId, _: &str, _: OffsetDateTime) -> Result<(), Unavailable> {
        pending().await
    }

    async fn renew_authorization(
        &self,
        renewed: &Authorization,
        flow: &FlowId,
        attempt: &str,
        _: OffsetDateTime,
    ) -> Result<Renewal, Unavailable> {
        let (renewed, flow, attempt) = (renewed.clone(), flow.to_string(), attempt.to_owned());
        let renew = move |world: &mut World| Mutex::new(Some(world.renew(&renewed, &flow, &attempt)));
        match self.table("renew", WRITES, renew).await?.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(Some(renewal)) => Ok(renewal),
            _ => Err(Unavailable::new("renew", NoAnswer)),
        }
    }

    async fn flow_authorization(&self, organization: &OrganizationId, id: &AuthorizationId) -> Result<Option<Authorization>, Unavailable> {
        self.authorization(organization, id).await
    }
}

//! The shared path of a refresh, to the millisecond: what is asked and kept, when, and in which order. Time passes only while somebody
//! waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration as StdDuration;

use async_trait::async_trait;
use time::macros::datetime;
use tokio::time::Instant;

use super::*;
use crate::domain::authorization::{Identity, StatusChange};
use crate::domain::caller::Person;
use crate::domain::connection::{ClaimNames, ClientAuthentication, Kind};
use crate::domain::ids::{AuthorizationId, OrganizationId, RequestId, WorkflowId};
use crate::domain::incident::Pace;
use crate::domain::scopes::Scopes;
use crate::ports::announcements::{Announcement, Announcements, News};
use crate::ports::provider::{Revocation, Revoked};
use crate::ports::store::{
    AnnouncementStore, DueClaim, DueItem, IndexEntry, IndexPage, OrganizationIndex, PageQuery, RefreshStore, Repair, Search,
};

const NOW: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

/// Something that happens after so long.
type Slowly<T> = (Duration, T);

/// What happens next; what is not said goes well, at once.
#[derive(Default)]
struct Script {
    prepare: VecDeque<ProviderError>,
    answers: VecDeque<Slowly<Result<RefreshAnswer, ProviderError>>>,
    commits: VecDeque<Slowly<Result<Committed, Unavailable>>>,
    rescues: VecDeque<Slowly<Result<(), Unavailable>>>,
    revocations: VecDeque<Result<Revoked, ProviderError>>,
    reads: VecDeque<Result<Option<Authorization>, Unavailable>>,
    opens: VecDeque<CipherError>,
    quarantines: VecDeque<Result<bool, Unavailable>>,
    ends: VecDeque<Result<bool, Unavailable>>,
    told: Vec<String>,
    commit: Option<RefreshCommit>,
    news: Vec<News>,
}

/// All ports in one.
struct World {
    began: Instant,
    script: Mutex<Script>,
}

fn down() -> Unavailable {
    Unavailable::new("do anything", "it is down")
}

fn lost() -> ProviderError {
    ProviderError::AnswerLost { source: None }
}

fn unavailable(retry_after: Option<Duration>) -> ProviderError {
    ProviderError::Unavailable { status: Some(503), retry_after, source: None }
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), script: Mutex::default() })
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// Notes what is done, and when.
    fn tell(&self, what: &str) {
        let at = (self.now() - NOW).whole_milliseconds();
        self.script().told.push(format!("{at} {what}"));
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.script().told)
    }

    fn seconds(&self, at: OffsetDateTime) -> i64 {
        (at - self.now()).whole_seconds()
    }

    fn refresher(self: &Arc<Self>, pace: Pace) -> Refresher {
        let announcer = Announcer { index: self.clone(), notes: self.clone(), events: Some(self.clone() as _), clock: self.clone() };
        Refresher {
            store: self.clone(),
            refreshes: self.clone(),
            revocations: self.clone(),
            cipher: self.clone(),
            rescue: self.clone(),
            announcer: Arc::new(announcer),
            traffic: Arc::new(Traffic::new(self.clone(), pace)),
            clock: self.clone(),
            entropy: self.clone(),
        }
    }

    async fn refresh(self: &Arc<Self>, call: &Call, connection: &Connection, claimed: &Authorization) -> Result<Refreshed, CipherError> {
        self.refresher(Pace::OnDemand).refresh(call, connection, claimed, true, false).await
    }
}

#[async_trait]
impl Clock for World {
    fn now(&self) -> OffsetDateTime {
        NOW + self.began.elapsed()
    }
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration.try_into().unwrap_or_default()).await;
    }
}

impl Entropy for World {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Unavailable> {
        buffer.fill(7);
        Ok(())
    }
}

#[async_trait]
impl Refreshes for World {
    async fn prepare_refresh(&self, _: &Connection) -> Result<(), ProviderError> {
        self.script().prepare.pop_front().map_or(Ok(()), Err)
    }
    async fn refresh(&self, _: &Connection, token: &Secret, _: &Person) -> Result<RefreshAnswer, ProviderError> {
        self.tell(&format!("ask with {}", token.expose()));
        let (after, answer) = self.script().answers.pop_front().unwrap_or((Duration::ZERO, Ok(answer())));
        self.sleep(after).await;
        answer
    }
}

#[async_trait]
impl Revocations for World {
    async fn revoke_tokens(&self, _: &Connection, refresh: Option<&Secret>, access: Option<&Secret>) -> Revocation {
        let name = |token: Option<&Secret>| token.map_or("-".to_owned(), |token| token.expose().to_owned());
        self.tell(&format!("revoke {} {}", name(refresh), name(access)));
        Revocation { receipts: Vec::new(), outcome: self.script().revocations.pop_front().unwrap_or(Ok(Revoked::Done)) }
    }
}

/// Seals by writing the place down.
#[async_trait]
impl TokenCipher for World {
    async fn sealer(&self, _: &OrganizationId) -> Result<Arc<dyn Sealer>, CipherError> {
        Ok(Arc::new(Plain))
    }
    async fn open(&self, context: SealContext<'_>, ciphertext: &[u8]) -> Result<Secret, CipherError> {
        if let Some(error) = self.script().opens.pop_front() {
            return Err(error);
        }
        let text = String::from_utf8(ciphertext.to_vec()).unwrap();
        let place = format!("{}/{}/", context.field.as_str(), context.generation);
        let token = text.strip_prefix(&place).ok_or(CipherError::Broken { field: context.field.as_str() })?;
        Ok(Secret::new(token.to_owned()))
    }
}

pub(in crate::usecases) struct Plain;

impl Sealer for Plain {
    fn seal(&self, context: SealContext<'_>, token: &Secret, _: Salt) -> Result<Vec<u8>, CipherError> {
        Ok(format!("{}/{}/{}", context.field.as_str(), context.generation, token.expose()).into_bytes())
    }
    fn reserve(&self) -> Result<Salt, CipherError> {
        Ok(Salt([0; 32]))
    }
}

#[async_trait]
impl RescueQueue for World {
    async fn rescue(&self, rescued: &Rescued) -> Result<(), Unavailable> {
        self.tell(&format!("rescue {} of {}", rescued.generation, rescued.owner));
        let (after, outcome) = self.script().rescues.pop_front().unwrap_or((Duration::ZERO, Ok(())));
        self.sleep(after).await;
        outcome
    }
}

#[async_trait]
impl RefreshStore for World {
    async fn authorization(&self, _: &OrganizationId, _: &AuthorizationId) -> Result<Option<Authorization>, Unavailable> {
        self.tell("read");
        self.script().reads.pop_front().unwrap_or(Ok(None))
    }
    async fn claim_refresh(&self, _: &Authorization, _: &Lease, _: OffsetDateTime) -> Result<Option<Authorization>, Unavailable> {
        unreachable!("it is claimed")
    }
    async fn claim_due(&self, _: &DueItem, _: &Lease, _: OffsetDateTime) -> Result<DueClaim, Unavailable> {
        unreachable!("it is claimed")
    }
    async fn commit_refresh(&self, _: &Authorization, commit: &RefreshCommit) -> Result<Committed, Unavailable> {
        self.tell("commit");
        self.script().commit = Some(commit.clone());
        let (after, outcome) = self.script().commits.pop_front().unwrap_or((Duration::ZERO, Ok(Committed::Stored)));
        self.sleep(after).await;
        outcome
    }
    async fn repair_refresh(&self, _: &Rescued, _: OffsetDateTime) -> Result<Repair, Unavailable> {
        unreachable!("that is the schedule's")
    }
    async fn release_refresh(&self, claimed: &Authorization, failure: &RefreshFailure) -> Result<(), Unavailable> {
        let held = claimed.lease.as_ref().map_or("nothing", |_| "the lease");
        let doubt = failure.outcome_unknown_since.map_or("no doubt".to_owned(), |since| format!("doubt since {}", self.seconds(since)));
        self.tell(&format!("give {held} back for {} s, {doubt}", self.seconds(failure.due_at)));
        Ok(())
    }
    async fn mark_needs_reauthorization(
        &self,
        read: &Authorization,
        reason: Reason,
        _: OffsetDateTime,
    ) -> Result<Option<Box<Authorization>>, Unavailable> {
        self.tell(&format!("end: {}", reason.as_str()));
        let ended = self.script().ends.pop_front().unwrap_or(Ok(true))?;
        Ok(ended.then(|| Box::new(read.clone())))
    }
    async fn quarantine(&self, _: &Authorization, _: OffsetDateTime, due_at: OffsetDateTime) -> Result<bool, Unavailable> {
        self.tell(&format!("quarantine for {} s", self.seconds(due_at)));
        self.script().quarantines.pop_front().unwrap_or(Ok(true))
    }
    async fn mark_used(&self, _: &Authorization, _: OffsetDateTime, _: Option<OffsetDateTime>) -> Result<(), Unavailable> {
        unreachable!("that is the hand-out's")
    }
}

#[async_trait]
impl AnnouncementStore for World {
    async fn note_announced(&self, _: &Authorization, _: Option<OffsetDateTime>) -> Result<(), Unavailable> {
        Ok(())
    }
}

#[async_trait]
impl Announcements for World {
    async fn put(&self, announcement: &Announcement) -> Result<(), Unavailable> {
        self.script().news.push(announcement.news);
        Ok(())
    }
}

#[async_trait]
impl OrganizationIndex for World {
    async fn page(&self, _: &OrganizationId, _: &PageQuery) -> Result<IndexPage, Unavailable> {
        unreachable!("nobody lists")
    }
    fn behind(&self, _: &AuthorizationId) -> String {
        unreachable!("nobody lists")
    }
    async fn entry(&self, _: &OrganizationId, _: &AuthorizationId, _: usize) -> Result<Option<IndexEntry>, Unavailable> {
        unreachable!("nobody lists")
    }
    async fn look_for(&self, _: &OrganizationId, _: &WorkflowId, _: Option<&str>) -> Result<Search, Unavailable> {
        unreachable!("nobody lists")
    }
    async fn bindings_of(
        &self,
        _: &OrganizationId,
        _: &AuthorizationId,
        _: Option<&WorkflowId>,
        _: usize,
    ) -> Result<Vec<crate::domain::binding::Binding>, Unavailable> {
        Ok(Vec::new())
    }
}

fn answer() -> RefreshAnswer {
    let tokens = TokenAnswer {
        access_token: Secret::new("a2".to_owned()),
        refresh_token: Some(Secret::new("r2".to_owned())),
        expires_in: Some(Duration::hours(2)),
        scopes: Some(Scopes::parse("read").unwrap()),
        requested_at: NOW,
    };
    RefreshAnswer { tokens, identity: Ok(()) }
}

pub(in crate::usecases) fn person(subject: &str) -> Person {
    Person { issuer: "https://id.example".to_owned(), subject: subject.to_owned() }
}

/// Claimed, with half a minute of lease.
pub(in crate::usecases) fn claimed() -> Authorization {
    Authorization {
        id: AuthorizationId::new(NOW, [1; 10]),
        organization: OrganizationId::try_from("org_1").unwrap(),
        connection: "conn_1".try_into().unwrap(),
        provider: "acme".to_owned(),
        identity: Identity { person: person("usr_9"), email: None, email_verified: false, organization: None },
        created_by: person("usr_1"),
        created_at: NOW - Duration::days(20),
        authorized_at: NOW - Duration::days(20),
        scopes: Scopes::parse("read write").unwrap(),
        status: Status::Active,
        version: 4,
        generation: 3,
        binding_count: 0,
        required_scopes: BTreeMap::new(),
        access_expires_at: NOW,
        access_lifetime: Duration::HOUR,
        reauthorize_by: None,
        last_used_at: None,
        last_refreshed_at: Some(NOW - Duration::days(9)),
        lease: Some(Lease { owner: "worker".to_owned(), until: NOW + LEASE }),
        outcome_unknown_since: None,
        failed_attempts: 2,
        credential: Some(SealedCredential { access: Some(b"access_token/3/a1".to_vec()), refresh: Some(b"refresh_token/3/r1".to_vec()) }),
        revoked_at: None,
        due_at: Some(NOW),
        unannounced: Vec::new(),
    }
}

pub(in crate::usecases) fn connection(grace: u64) -> Connection {
    Connection {
        id: "conn_1".try_into().unwrap(),
        provider: "acme".to_owned(),
        organization: None,
        linked: true,
        kind: Kind::Oidc { issuer: "https://id.example".to_owned(), revocation_endpoint: None },
        client_id: "client".to_owned(),
        client_authentication: ClientAuthentication::None,
        scopes: Scopes::parse("read write").unwrap(),
        allowed_scopes: Scopes::parse("read write").unwrap(),
        extra_authorization_params: BTreeMap::new(),
        claims: ClaimNames { subject: "sub".to_owned(), email: "email".to_owned(), organization: None },
        default_access_lifetime: StdDuration::from_hours(1),
        refresh_idle_lifetime: Some(StdDuration::from_hours(24 * 30)),
        refresh_absolute_lifetime: None,
        rotation_grace: StdDuration::from_secs(grace),
        max_concurrent_refreshes: 1,
        pushed_authorization_requests: false,
    }
}

fn call(seconds: i64) -> Call {
    Call::new(RequestId::try_from("req_1").unwrap(), NOW + Duration::seconds(seconds))
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_for_half_a_minute_from_now() {
    let lease = World::new().refresher(Pace::OnDemand).lease().unwrap();
    assert_eq!((lease.until, lease.owner), (NOW + Duration::seconds(30), "07".repeat(16)));
}

#[tokio::test(start_paused = true)]
async fn a_renewed_record_is_as_the_commit_made_it() {
    let world = World::new();
    let before = Authorization { outcome_unknown_since: Some(NOW), ..claimed() };
    let renewed = world.refresh(&call(29), &connection(0), &before).await.unwrap();
    assert_eq!(world.told(), ["0 ask with r1", "0 commit"]);
    let Refreshed::Renewed(renewed, token) = renewed else { panic!("{renewed:?}") };
    assert_eq!(token.expose(), "a2");
    let commit = world.script().commit.clone().unwrap();
    assert_eq!(commit.credential.access.as_deref(), Some(&b"access_token/4/a2"[..]));
    assert_eq!(commit.credential.refresh.as_deref(), Some(&b"refresh_token/4/r2"[..]));
    assert_eq!((commit.used_at, commit.refreshed_at, commit.access_lifetime), (Some(NOW), NOW, Duration::hours(2)));
    let expected = Authorization {
        version: 5,
        generation: 4,
        scopes: Scopes::parse("read").unwrap(),
        access_expires_at: NOW + Duration::hours(2),
        access_lifetime: Duration::hours(2),
        reauthorize_by: Some(NOW + Duration::days(30)),
        due_at: Some(commit.due_at),
        last_refreshed_at: Some(NOW),
        last_used_at: Some(NOW),
        credential: Some(commit.credential),
        lease: None,
        outcome_unknown_since: None,
        failed_attempts: 0,
        ..before.clone()
    };
    assert_eq!(format!("{renewed:?}"), format!("{expected:?}"));

    // For the schedule nobody uses it; an old refresh token stays where no new one came, and scopes where none are told.
    let tokens = TokenAnswer { refresh_token: None, scopes: None, ..answer().tokens };
    world.script().answers.push_back((Duration::ZERO, Ok(RefreshAnswer { tokens, identity: Ok(()) })));
    let before = Authorization { last_used_at: Some(NOW - Duration::HOUR), ..before };
    let renewed = world.refresher(Pace::Scheduled).refresh(&call(29), &connection(0), &before, false, false).await.unwrap();
    let Refreshed::Renewed(renewed, _) = renewed else { panic!("{renewed:?}") };
    assert_eq!((renewed.last_used_at, &renewed.scopes), (before.last_used_at, &before.scopes));
    assert_eq!(renewed.credential.unwrap().refresh.as_deref(), Some(&b"refresh_token/4/r1"[..]));
}

#[tokio::test(start_paused = true)]
async fn the_provider_is_asked_twice_only_where_that_is_harmless_and_helps() {
    let silence = || (Duration::MINUTE, Ok(answer()));
    let late = |seconds: i64| (Duration::seconds(seconds), Ok(answer()));
    let says = |error: ProviderError| (Duration::ZERO, Err(error));
    let twice = |second: &str| vec!["0 ask with r1".to_owned(), format!("{second} ask with r1")];
    for (grace, answers, asked, renewed) in [
        // A grace of less than five seconds is none.
        (4, vec![says(lost())], vec!["0 ask with r1".to_owned()], false),
        (5, vec![says(lost())], twice("0"), true),
        // The first answer is waited for five seconds, at most half of the grace.
        (5, vec![silence()], twice("2500"), true),
        (30, vec![silence()], twice("5000"), true),
        (30, vec![late(4)], vec!["0 ask with r1".to_owned()], true),
        // The second answer may be lost, too.
        (30, vec![says(lost()), says(lost())], twice("0"), false),
        // What is no lost answer is believed.
        (30, vec![says(unavailable(None))], vec!["0 ask with r1".to_owned()], false),
        (30, vec![says(ProviderError::InvalidGrant)], vec!["0 ask with r1".to_owned()], false),
        (30, vec![says(ProviderError::AnswerInvalid { why: "garbage" })], twice("0"), true),
    ] {
        let world = World::new();
        world.script().answers = answers.into();
        let refreshed = world.refresh(&call(29), &connection(grace), &claimed()).await.unwrap();
        assert_eq!(matches!(refreshed, Refreshed::Renewed(..)), renewed, "{grace} {refreshed:?}");
        let told = world.told();
        assert_eq!(told.iter().filter(|line| line.contains("ask")).cloned().collect::<Vec<_>>(), asked, "{grace} {told:?}");
    }
    // Whatever the second answer is but tokens: the first request may have spent the token.
    let world = World::new();
    world.script().answers = [says(lost()), says(unavailable(None))].into();
    world.refresh(&call(29), &connection(30), &claimed()).await.unwrap();
    assert!(world.told()[2].ends_with("doubt since 0"));
    // The second answer is waited for as long as the function, or the lease, leaves time to keep it: five seconds here.
    let ending = Authorization { lease: Some(Lease { owner: "worker".to_owned(), until: NOW + ASKING_TIME }), ..claimed() };
    for (seconds, claimed) in [(13, claimed()), (29, ending)] {
        for (second, renewed) in [(4, true), (6, false)] {
            let world = World::new();
            world.script().answers = [silence(), late(second)].into();
            let refreshed = world.refresh(&call(seconds), &connection(30), &claimed).await.unwrap();
            assert_eq!(matches!(refreshed, Refreshed::Renewed(..)), renewed, "{seconds} {second}");
            let doubted = world.told().iter().any(|line| line.contains("doubt since 0"));
            assert_eq!(doubted, !renewed, "{seconds} {second}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_that_could_not_be_kept_in_time() {
    let lease = |until: Duration| Authorization { lease: Some(Lease { owner: "w".to_owned(), until: NOW + until }), ..claimed() };
    let short = Duration::milliseconds(1);
    for (deadline, claimed, asks) in [
        (REFRESH_TIME, lease(LEASE), true),
        (REFRESH_TIME - short, lease(LEASE), false),
        (Duration::MINUTE, lease(ASKING_TIME), true),
        (Duration::MINUTE, lease(ASKING_TIME - short), false),
    ] {
        let world = World::new();
        let call = Call { deadline: NOW + deadline, ..call(0) };
        let refreshed = world.refresh(&call, &connection(0), &claimed).await.unwrap();
        let told = world.told();
        assert_eq!(told.first().is_some_and(|line| line.contains("ask")), asks, "{deadline} {told:?}");
        if !asks {
            assert!(matches!(refreshed, Refreshed::Passing { retry_after: Some(wait) } if wait.is_zero()), "{refreshed:?}");
            assert!(told.len() == 1 && told[0].starts_with("0 give the lease back"), "{told:?}");
        }
    }
    // While a connection is frozen nobody is asked, and callers learn for how long.
    let world = World::new();
    let through = world.refresher(Pace::OnDemand);
    let overloaded = unavailable(Some(Duration::seconds(40)));
    for _ in 0..8 {
        through.traffic.answered::<()>(&call(29), &connection(0).id, Err(&overloaded));
    }
    let until = through.traffic.frozen(&connection(0).id).unwrap().until;
    let refreshed = through.refresh(&call(60), &connection(0), &claimed(), true, false).await.unwrap();
    assert!(matches!(refreshed, Refreshed::Passing { retry_after: Some(wait) } if wait == until - NOW && wait > Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn the_table_is_asked_for_eight_seconds_and_then_the_queue() {
    let refused = || (Duration::ZERO, Err(down()));
    let world = World::new();
    world.script().commits = std::iter::repeat_with(refused).take(100).collect();
    assert!(matches!(world.refresh(&call(29), &connection(0), &claimed()).await.unwrap(), Refreshed::Renewed(..)));
    let tries = [0, 50, 150, 350, 750, 1550, 2550, 3550, 4550, 5550, 6550, 7550];
    let expected = |from: i64, tries: &[i64], rescued: i64| {
        let mut lines: Vec<String> = tries.iter().map(|at| format!("{} commit", from + at)).collect();
        lines.push(format!("{} rescue 3 of worker", from + rescued));
        lines
    };
    assert_eq!(world.told()[1..], expected(0, &tries, 7550));

    // Earlier, where the provider took long and little time remains.
    let world = World::new();
    world.script().answers.push_back((Duration::seconds(6), Ok(answer())));
    world.script().commits = std::iter::repeat_with(refused).take(100).collect();
    world.refresh(&call(13), &connection(0), &claimed()).await.unwrap();
    assert_eq!(world.told()[1..], expected(6000, &tries[..7], 2550));

    // A table that does not answer is waited for as long, and no try for less than the pause after it.
    let world = World::new();
    world.script().commits.push_back((Duration::MINUTE, Ok(Committed::Stored)));
    world.refresh(&call(29), &connection(0), &claimed()).await.unwrap();
    assert_eq!(world.told()[1..], expected(0, &[0], 8000));
    // One that answers in time has done it.
    let world = World::new();
    world.script().commits.push_back((Duration::seconds(7), Ok(Committed::Stored)));
    world.refresh(&call(29), &connection(0), &claimed()).await.unwrap();
    assert_eq!(world.told()[1..], ["0 commit"]);
}

#[tokio::test(start_paused = true)]
async fn table_and_queue_are_both_tried_until_the_function_ends() {
    let world = World::new();
    world.script().commits = std::iter::repeat_with(|| (Duration::ZERO, Err(down()))).take(100).collect();
    world.script().rescues = std::iter::repeat_with(|| (Duration::ZERO, Err(down()))).take(100).collect();
    assert!(matches!(world.refresh(&call(13), &connection(0), &claimed()).await.unwrap(), Refreshed::Renewed(..)));
    let told = world.told();
    let of = |what: &'static str| -> Vec<i64> {
        told.iter().filter(|line| line.contains(what)).map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
    };
    // A pause and a try of as long fit before the end at 13 s.
    assert_eq!(of("rescue"), [7550, 8550, 9550, 10550, 11550]);
    assert_eq!(of("commit").last(), Some(&11550));
    // The queue may take the tokens later.
    let world = World::new();
    world.script().commits = std::iter::repeat_with(|| (Duration::ZERO, Err(down()))).take(100).collect();
    world.script().rescues = [(Duration::MINUTE, Ok(())), (Duration::ZERO, Ok(()))].into();
    world.refresh(&call(29), &connection(0), &claimed()).await.unwrap();
    assert_eq!(world.told().last().unwrap(), "12550 rescue 3 of worker", "four seconds are enough for one try");
}

#[tokio::test(start_paused = true)]
async fn tokens_of_an_overtaken_refresh_are_left_kept_or_revoked_by_what_the_record_says_now() {
    let now_is = |status: Status, generation: u64| Ok(Some(Authorization { status, generation, ..claimed() }));
    let failing = || Err(unavailable(None));
    for (read, revocation, expected) in [
        // Somebody has renewed it.
        (now_is(Status::Active, 4), None, vec!["0 read"]),
        // Nobody has: these are the only tokens that work.
        (now_is(Status::Active, 3), None, vec!["0 read", "0 rescue 3 of worker"]),
        (now_is(Status::NeedsReauthorization(Reason::OutcomeUnknown), 3), None, vec!["0 read", "0 rescue 3 of worker"]),
        // It is revoked, or gone: they are to go, too.
        (now_is(Status::Revoking, 4), None, vec!["0 read", "0 revoke r2 a2"]),
        (now_is(Status::Deleted, 3), None, vec!["0 read", "0 revoke r2 a2"]),
        (Ok(None), None, vec!["0 read", "0 revoke r2 a2"]),
        (now_is(Status::Revoking, 4), Some(failing()), vec!["0 read", "0 revoke r2 a2", "0 rescue 3 of worker"]),
        // Nobody knows.
        (Err(down()), None, vec!["0 read", "0 rescue 3 of worker"]),
    ] {
        let world = World::new();
        world.script().commits.push_back((Duration::ZERO, Ok(Committed::Superseded)));
        world.script().reads.push_back(read);
        world.script().revocations.extend(revocation);
        assert!(matches!(world.refresh(&call(29), &connection(0), &claimed()).await.unwrap(), Refreshed::Superseded));
        assert_eq!(world.told()[2..], expected);
    }
    // Both are tried until there is no time for another try.
    let world = World::new();
    world.script().commits.push_back((Duration::ZERO, Ok(Committed::Superseded)));
    world.script().reads = std::iter::repeat_with(|| Err(down())).take(100).collect();
    world.script().rescues = std::iter::repeat_with(|| (Duration::ZERO, Err(down()))).take(100).collect();
    world.refresh(&call(13), &connection(0), &claimed()).await.unwrap();
    let told = world.told();
    let rescues: Vec<&str> = told.iter().filter(|line| line.contains("rescue")).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(rescues, ["0", "50", "150", "350", "750", "1550", "2550", "3550", "4550", "5550", "6550", "7550", "8550"]);
}

#[tokio::test(start_paused = true)]
async fn rescued_tokens_are_revoked_with_the_number_that_they_were_sealed_for() {
    let world = World::new();
    world.refresh(&call(29), &connection(0), &claimed()).await.unwrap();
    let commit = world.script().commit.clone().unwrap();
    let of = claimed();
    let rescued = Rescued {
        organization: of.organization,
        authorization: of.id,
        generation: 3,
        owner: "worker".to_owned(),
        connection: of.connection,
        commit,
    };
    world.told();
    let refresher = world.refresher(Pace::Scheduled);
    assert!(refresher.revoke_rescued(&call(29), &connection(0), &rescued).await.is_ok());
    assert_eq!(world.told(), ["0 revoke r2 a2"]);
    world.script().revocations.push_back(Err(unavailable(None)));
    assert!(refresher.revoke_rescued(&call(29), &connection(0), &rescued).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_failure_gives_the_lease_back_with_what_is_known_of_the_token() {
    let again = |error: ProviderError, grace: u64, before: Authorization, taken_over: bool| async move {
        let world = World::new();
        world.script().answers.push_back((Duration::ZERO, Err(error)));
        let refreshed = world.refresher(Pace::OnDemand).refresh(&call(29), &connection(grace), &before, true, taken_over).await.unwrap();
        let line = world.told().pop().unwrap();
        (refreshed, line)
    };
    let seconds = |line: &str| line.split(" for ").nth(1).unwrap().split(' ').next().unwrap().parse::<i64>().unwrap();

    // In passing: the provider's own wish, or the back-off of a third failure, between one and two minutes.
    let (refreshed, line) = again(unavailable(None), 0, claimed(), false).await;
    assert!(matches!(refreshed, Refreshed::Passing { retry_after: None }));
    assert!(line.starts_with("0 give the lease back") && line.ends_with("no doubt") && (60..=120).contains(&seconds(&line)), "{line}");
    let (refreshed, line) = again(unavailable(Some(Duration::seconds(900))), 0, claimed(), false).await;
    assert!(matches!(refreshed, Refreshed::Passing { retry_after: Some(wait) } if wait == Duration::seconds(900)));
    assert_eq!(seconds(&line), 900);
    // A lease that was taken over ends by itself.
    let (_, line) = again(unavailable(None), 0, claimed(), true).await;
    assert!(line.starts_with("0 give nothing back"), "{line}");
    // In doubt: within half of the grace, if there is one.
    let (_, line) = again(lost(), 0, claimed(), false).await;
    assert!(line.ends_with("doubt since 0") && (60..=120).contains(&seconds(&line)), "{line}");
    let (_, line) = again(lost(), 4, claimed(), false).await;
    assert!(line.ends_with("doubt since 0") && seconds(&line) == 2, "{line}");
    // Doubt from before stays.
    let doubted = || Authorization { outcome_unknown_since: Some(NOW - Duration::MINUTE), ..claimed() };
    let (_, line) = again(unavailable(None), 0, doubted(), false).await;
    assert!(line.ends_with("doubt since -60"), "{line}");
    // What is left to be announced comes first.
    let change = StatusChange { from: "needs_reauthorization", to: Status::Active, version: 4, at: NOW };
    let (_, line) = again(unavailable(Some(Duration::HOUR)), 0, Authorization { unannounced: vec![change], ..claimed() }, false).await;
    assert!(seconds(&line) <= 60, "{line}");

    // Refused for good.
    for (error, before, reason) in [
        (ProviderError::InvalidGrant, claimed(), "invalid_grant"),
        (ProviderError::InvalidGrant, doubted(), "outcome_unknown"),
        (ProviderError::InvalidGrant, Authorization { reauthorize_by: Some(NOW), ..claimed() }, "refresh_token_expired"),
        (ProviderError::IdentityChanged, claimed(), "identity_revoked"),
    ] {
        let (refreshed, line) = again(error, 0, before, false).await;
        assert!(matches!(refreshed, Refreshed::Ended(_)), "{refreshed:?}");
        assert_eq!(line, format!("0 end: {reason}"));
    }
    // Nothing was sent.
    let world = World::new();
    world.script().prepare.push_back(unavailable(Some(Duration::seconds(600))));
    let refreshed = world.refresh(&call(29), &connection(0), &claimed()).await.unwrap();
    assert!(matches!(refreshed, Refreshed::Passing { retry_after: Some(wait) } if wait == Duration::seconds(600)));
    assert_eq!(world.told(), ["0 give the lease back for 600 s, no doubt"]);
    let world = World::new();
    world.script().opens.push_back(CipherError::Unavailable(down()));
    assert!(matches!(world.refresh(&call(29), &connection(0), &claimed()).await, Err(CipherError::Unavailable(_))));
    assert!(world.told()[0].starts_with("0 give the lease back"));
}

#[tokio::test(start_paused = true)]
async fn tokens_of_somebody_else_are_given_back_and_end_the_authorization() {
    let world = World::new();
    world.script().answers.push_back((Duration::ZERO, Ok(RefreshAnswer { identity: Err(ProviderError::IdentityChanged), ..answer() })));
    let refreshed = world.refresh(&call(29), &connection(0), &claimed()).await.unwrap();
    assert!(matches!(refreshed, Refreshed::Ended(Reason::IdentityRevoked)));
    assert_eq!(world.told()[1..], ["0 revoke r2 a2", "0 end: identity_revoked"]);
    // An id_token that does not hold otherwise is no reason to drop what may be the only tokens that work.
    let invalid = ProviderError::IdentityInvalid { why: "it has expired" };
    world.script().answers.push_back((Duration::ZERO, Ok(RefreshAnswer { identity: Err(invalid), ..answer() })));
    assert!(matches!(world.refresh(&call(29), &connection(0), &claimed()).await.unwrap(), Refreshed::Renewed(..)));
}

#[tokio::test(start_paused = true)]
async fn an_end_is_the_store_s_word() {
    for (stored, expected) in [(Ok(false), "Superseded"), (Err(down()), "Passing { retry_after: None }")] {
        let world = World::new();
        world.script().ends.push_back(stored);
        let ended = world.refresher(Pace::OnDemand).end(&call(29), &claimed(), Reason::InvalidGrant).await;
        assert_eq!(format!("{ended:?}"), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_mass_of_refusals_within_a_run_is_not_believed() {
    let world = World::new();
    let refresher = world.refresher(Pace::Scheduled);
    for _ in 0..12 {
        refresher.traffic.answered::<()>(&call(29), &connection(0).id, Err(&ProviderError::InvalidGrant));
    }
    assert!(!refresher.traffic.believes_refusals(&connection(0).id));
    let error = ProviderError::InvalidGrant;
    let refused = refresher.failed(&call(29), &connection(0), &claimed(), &claimed(), &error).await;
    assert!(matches!(refused, Refreshed::Passing { .. }), "{refused:?}");
    assert!(world.told()[0].starts_with("0 give the lease back"));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_open_is_noted_told_once_and_looked_at_a_day_later() {
    let broken = || CipherError::Broken { field: "refresh_token" };
    let day = 24 * 3600;
    for (noted, told, news) in [
        (Ok(true), vec![format!("0 quarantine for {day} s")], 1),
        (Ok(false), vec![format!("0 quarantine for {day} s"), format!("0 give the lease back for {day} s, no doubt")], 0),
        (Err(down()), vec![format!("0 quarantine for {day} s")], 0),
    ] {
        let world = World::new();
        world.script().opens.push_back(broken());
        world.script().quarantines.push_back(noted);
        assert!(matches!(world.refresh(&call(29), &connection(0), &claimed()).await, Err(CipherError::Broken { .. })));
        assert_eq!(world.told(), told);
        assert_eq!(world.script().news.len(), news);
    }
    // Nobody holds a lease who only reads.
    let world = World::new();
    world.script().opens.push_back(broken());
    world.script().quarantines.push_back(Ok(false));
    let read = Authorization { lease: None, ..claimed() };
    assert!(world.refresher(Pace::OnDemand).open_access_token(&call(29), &read).await.is_err());
    assert_eq!(world.told(), [format!("0 quarantine for {day} s")]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_refresh_token_is_told_by_the_first_refresh_after_the_day_of_warning() {
    let ending = Connection { refresh_absolute_lifetime: Some(StdDuration::from_hours(24 * 28)), ..connection(0) };
    let signed_in = claimed().authorized_at;
    let warn_at = schedule::warn_at(&ending, signed_in).unwrap();
    for (connection, before, at, told) in [
        (&ending, warn_at - Duration::SECOND, warn_at, 1),
        (&ending, warn_at - Duration::SECOND, warn_at - Duration::SECOND, 0),
        (&ending, warn_at, warn_at + Duration::HOUR, 0),
        (&ending, warn_at + Duration::HOUR, warn_at + Duration::hours(2), 0),
        (&self::connection(0), warn_at - Duration::SECOND, warn_at, 0),
    ] {
        let world = World::new();
        let tokens = TokenAnswer { requested_at: at, ..answer().tokens };
        world.script().answers.push_back((Duration::ZERO, Ok(RefreshAnswer { tokens, identity: Ok(()) })));
        let claimed = Authorization { last_refreshed_at: Some(before), ..claimed() };
        world.refresh(&call(29), connection, &claimed).await.unwrap();
        assert_eq!(world.script().news.iter().filter(|news| **news == News::EndsSoon).count(), told, "{before} {at}");
    }
}

#[test]
fn a_hand_out_claims_after_somebody_s_death_only_while_the_provider_still_takes_the_token() {
    let second = Duration::SECOND;
    let left_by = |until: OffsetDateTime| Authorization { lease: Some(Lease { owner: "dead".to_owned(), until }), ..claimed() };
    let doubted = Authorization { outcome_unknown_since: Some(NOW), ..left_by(NOW) };
    for (record, grace, now, may) in [
        (Authorization { lease: None, ..claimed() }, 0, NOW, true),
        (Authorization { lease: None, ..doubted.clone() }, 0, NOW, true),
        // It lives.
        (left_by(NOW + second), 86_400, NOW, false),
        // It has ended; the token was sent up to half a minute before, and a request takes two seconds.
        (left_by(NOW), 32, NOW, true),
        (left_by(NOW), 31, NOW, false),
        (left_by(NOW), 33, NOW + second, true),
        (left_by(NOW), 32, NOW + second, false),
        (left_by(NOW), 0, NOW, false),
        // Nobody knows how often it was presented since.
        (doubted, 86_400, NOW, false),
    ] {
        assert_eq!(may_claim(&connection(grace), &record, now), may, "{grace} {now}");
    }
}

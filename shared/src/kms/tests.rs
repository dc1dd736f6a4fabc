//! The keyring over a scripted KMS and a table of keys in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::join_all;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::domain::ids::AuthorizationId;
use crate::ports::cipher::{KeyDue, TokenField};

/// A clock that is moved by hand.
struct Hand(Mutex<OffsetDateTime>);

impl Hand {
    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

#[async_trait]
impl Clock for Hand {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap()
    }
    async fn sleep(&self, _: Duration) {
        tokio::task::yield_now().await;
    }
}

/// Counts up, so that no salt occurs twice; fails when told to.
#[derive(Default)]
struct Counter(Mutex<(u8, bool)>);

impl Entropy for Counter {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Unavailable> {
        let mut state = self.0.lock().unwrap();
        if state.1 {
            return Err(Unavailable::new("get random numbers", "the operating system has none"));
        }
        state.0 = state.0.wrapping_add(1);
        buffer.fill(state.0);
        Ok(())
    }
}

/// Keeps wrapped keys; can be down.
#[derive(Default)]
struct Rows {
    keys: Mutex<BTreeMap<(String, u32), WrappedBranchKey>>,
    /// Reads that find nothing although somebody has just put a key.
    blind_reads: Mutex<usize>,
}

#[async_trait]
impl BranchKeys for Rows {
    async fn branch_key(&self, organization: &OrganizationId, version: u32) -> Result<Option<WrappedBranchKey>, Unavailable> {
        let mut blind = self.blind_reads.lock().unwrap();
        if *blind > 0 {
            *blind -= 1;
            return Ok(None);
        }
        Ok(self.keys.lock().unwrap().get(&(organization.to_string(), version)).cloned())
    }
    async fn put_branch_key(&self, organization: &OrganizationId, key: &WrappedBranchKey) -> Result<bool, Unavailable> {
        let mut keys = self.keys.lock().unwrap();
        let place = (organization.to_string(), key.version);
        if keys.contains_key(&place) {
            return Ok(false);
        }
        keys.insert(place, key.clone());
        Ok(true)
    }
    async fn let_seal(&self, organization: &OrganizationId, from: u32, to: Sealing) -> Result<bool, Unavailable> {
        let mut keys = self.keys.lock().unwrap();
        let Some(first) = keys.get_mut(&(organization.to_string(), 1)) else { return Ok(false) };
        if first.sealing.version == from {
            first.sealing = to;
        }
        Ok(first.sealing.version == to.version)
    }
    async fn destroy_branch_key(&self, organization: &OrganizationId, version: u32, _: OffsetDateTime) -> Result<(), Unavailable> {
        if let Some(key) = self.keys.lock().unwrap().get_mut(&(organization.to_string(), version)) {
            key.wrapped = None;
        }
        Ok(())
    }
    async fn keys_due(&self, _: OffsetDateTime, _: usize, _: Option<&KeyDue>) -> Result<Vec<KeyDue>, Unavailable> {
        Ok(Vec::new())
    }
}

/// Wraps a key as its place and 32 bytes in clear. Answers as scripted, and otherwise as KMS does.
#[derive(Default)]
struct Script {
    down: bool,
    made: u8,
    unwrapped: usize,
    /// How many unwraps are under way, and were at most.
    flights: (usize, usize),
    answers: VecDeque<UnwrapError>,
}

struct ScriptedKms(Arc<Mutex<Script>>);

fn place(organization: &OrganizationId, version: u32) -> Vec<u8> {
    format!("{organization}/v{version}/").into_bytes()
}

#[async_trait]
impl Wrapping for ScriptedKms {
    async fn generate(&self, organization: &OrganizationId, version: u32) -> Result<Vec<u8>, Unavailable> {
        let mut script = self.0.lock().unwrap();
        if script.down {
            return Err(Unavailable::new("make a branch key", "down"));
        }
        script.made = script.made.wrapping_add(1);
        Ok([place(organization, version), vec![script.made; 32]].concat())
    }
    async fn unwrap(&self, organization: &OrganizationId, version: u32, wrapped: &[u8]) -> Result<MasterKey, UnwrapError> {
        {
            let mut script = self.0.lock().unwrap();
            script.unwrapped += 1;
            script.flights.0 += 1;
            script.flights.1 = script.flights.1.max(script.flights.0);
        }
        tokio::task::yield_now().await;
        let mut script = self.0.lock().unwrap();
        script.flights.0 -= 1;
        if script.down {
            return Err(Unavailable::new("unwrap a branch key", "down").into());
        }
        if let Some(answer) = script.answers.pop_front() {
            return Err(answer);
        }
        let key = wrapped.strip_prefix(place(organization, version).as_slice()).ok_or(UnwrapError::Refused)?;
        Ok(MasterKey::new(key.try_into().unwrap()))
    }
}

struct World {
    keyring: Keyring,
    kms: Arc<Mutex<Script>>,
    rows: Arc<Rows>,
    clock: Arc<Hand>,
    entropy: Arc<Counter>,
}

impl World {
    fn new() -> Self {
        Self::with(Arc::default(), Arc::default())
    }

    fn with(rows: Arc<Rows>, kms: Arc<Mutex<Script>>) -> Self {
        let clock = Arc::new(Hand(Mutex::new(datetime!(2026-11-22 10:00 UTC))));
        let entropy = Arc::new(Counter::default());
        let wrapping = Box::new(ScriptedKms(Arc::clone(&kms)));
        let keyring = Keyring::over(wrapping, Arc::clone(&rows) as _, Arc::clone(&clock) as _, Arc::clone(&entropy) as _);
        Self { keyring, kms, rows, clock, entropy }
    }

    fn unwrapped(&self) -> usize {
        std::mem::take(&mut self.kms.lock().unwrap().unwrapped)
    }

    fn down(&self, down: bool) {
        self.kms.lock().unwrap().down = down;
    }

    async fn seal(&self, context: SealContext<'_>) -> Vec<u8> {
        let sealer = self.keyring.sealer(context.organization).await.unwrap();
        let salt = sealer.reserve().unwrap();
        sealer.seal(context, &Secret::new("token".to_owned()), salt).unwrap()
    }
}

fn org(name: &str) -> OrganizationId {
    OrganizationId::try_from(name).unwrap()
}

fn auth(last: char) -> AuthorizationId {
    AuthorizationId::try_from(format!("auth_01jd000000000000000000000{last}")).unwrap()
}

fn is_broken<T>(opened: &Result<T, CipherError>) -> bool {
    matches!(opened, Err(CipherError::Broken { .. }))
}

#[tokio::test]
async fn s66_a_ciphertext_opens_at_its_place_and_at_no_other() {
    let world = World::new();
    let mut places = Vec::new();
    for organization in [org("org_1"), org("org_2")] {
        for authorization in [auth('0'), auth('1')] {
            for field in [TokenField::Access, TokenField::Refresh] {
                for generation in [1, 2, 12] {
                    places.push((organization.clone(), authorization.clone(), field, generation));
                }
            }
        }
    }
    let contexts: Vec<_> = places
        .iter()
        .map(|(organization, authorization, field, generation)| SealContext {
            organization,
            authorization,
            field: *field,
            generation: *generation,
        })
        .collect();
    let mut sealed = Vec::new();
    for context in &contexts {
        sealed.push(world.seal(*context).await);
    }
    for (from, ciphertext) in sealed.iter().enumerate() {
        for (to, context) in contexts.iter().enumerate() {
            let opened = world.keyring.open(*context, ciphertext).await;
            if from == to {
                assert_eq!(opened.unwrap().expose(), "token");
            } else {
                assert!(is_broken(&opened), "{from} opened at {to}");
            }
        }
    }
}

#[tokio::test]
async fn s66_any_change_of_a_ciphertext_breaks_it() {
    let world = World::new();
    let (organization, authorization) = (org("org_1"), auth('0'));
    let context = SealContext { organization: &organization, authorization: &authorization, field: TokenField::Access, generation: 1 };
    let sealed = world.seal(context).await;
    for at in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        assert!(is_broken(&world.keyring.open(context, &altered).await), "byte {at}");
        assert!(is_broken(&world.keyring.open(context, &sealed[..at]).await), "cut at {at}");
    }
    // A wrapped key of another organization, put in place by somebody with access to the table.
    let other = World::with(Arc::clone(&world.rows), Arc::clone(&world.kms));
    world.seal(SealContext { organization: &org("org_2"), ..context }).await;
    let stolen = world.rows.keys.lock().unwrap()[&("org_2".to_owned(), 1)].clone();
    world.rows.keys.lock().unwrap().insert(("org_1".to_owned(), 1), stolen);
    assert!(is_broken(&other.keyring.open(context, &sealed).await));
    assert!(matches!(other.keyring.sealer(&organization).await.map(|_| ()), Err(CipherError::Unavailable(_))));
}

#[tokio::test]
async fn s67_two_messages_never_share_a_salt() {
    let world = World::new();
    let (organization, authorization) = (org("org_1"), auth('0'));
    let context = SealContext { organization: &organization, authorization: &authorization, field: TokenField::Access, generation: 1 };
    assert_ne!(world.seal(context).await, world.seal(context).await);
    let sealer = world.keyring.sealer(&organization).await.unwrap();
    let reserved = sealer.reserve().unwrap();
    world.entropy.0.lock().unwrap().1 = true;
    assert!(sealer.reserve().is_err());
    // Reserved before, it seals whatever happens now (I7).
    world.down(true);
    world.clock.advance(Duration::DAY);
    assert!(sealer.seal(context, &Secret::new("token".to_owned()), reserved).is_ok());
}

#[tokio::test]
async fn one_branch_key_is_made_however_many_begin() {
    let world = World::new();
    let organization = org("org_1");
    let sealers = join_all((0..8).map(|_| world.keyring.sealer(&organization))).await;
    assert!(sealers.iter().all(Result::is_ok));
    assert_eq!(world.rows.keys.lock().unwrap().len(), 1);
    assert_eq!(world.kms.lock().unwrap().flights.1, 1, "one at a time");

    // Somebody else put a key between our read and our put: theirs is used.
    let late = World::with(Arc::clone(&world.rows), Arc::clone(&world.kms));
    *world.rows.blind_reads.lock().unwrap() = 1;
    let context = SealContext { organization: &org("org_1"), authorization: &auth('0'), field: TokenField::Access, generation: 1 };
    let sealed = late.seal(context).await;
    assert_eq!(world.keyring.open(context, &sealed).await.unwrap().expose(), "token");
}

#[tokio::test]
async fn a_key_is_fetched_again_from_the_fourth_minute_by_one_caller() {
    let world = World::new();
    let organization = org("org_1");
    world.keyring.sealer(&organization).await.unwrap();
    assert_eq!(world.unwrapped(), 1);
    world.clock.advance(Duration::seconds(239));
    world.keyring.sealer(&organization).await.unwrap();
    assert_eq!(world.unwrapped(), 0);
    world.clock.advance(Duration::seconds(1));
    join_all((0..8).map(|_| world.keyring.sealer(&organization))).await;
    assert_eq!(world.unwrapped(), 1);
    world.clock.advance(Duration::minutes(6));
    join_all((0..8).map(|_| world.keyring.sealer(&organization))).await;
    assert_eq!(world.unwrapped(), 1);
}

#[tokio::test]
async fn kms_down_for_an_hour_does_not_stop_what_is_warm() {
    let world = World::new();
    let context = SealContext { organization: &org("org_1"), authorization: &auth('0'), field: TokenField::Access, generation: 1 };
    let sealed = world.seal(context).await;
    world.unwrapped();
    world.down(true);
    for _ in 0..59 {
        world.clock.advance(Duration::MINUTE);
        for _ in 0..3 {
            assert_eq!(world.keyring.open(context, &sealed).await.unwrap().expose(), "token");
        }
    }
    assert_eq!(world.unwrapped(), 56, "once per minute from the fourth on, not once per request");
    world.clock.advance(Duration::MINUTE);
    assert!(matches!(world.keyring.open(context, &sealed).await, Err(CipherError::Unavailable(_))));
    world.down(false);
    assert!(world.keyring.open(context, &sealed).await.is_ok());
    assert!(matches!(World::new().keyring.open(context, &sealed).await, Err(CipherError::Broken { .. })), "no such key there");
}

#[tokio::test]
async fn a_key_that_kms_refuses_is_a_broken_ciphertext_and_not_used_on() {
    let world = World::new();
    let context = SealContext { organization: &org("org_1"), authorization: &auth('0'), field: TokenField::Refresh, generation: 1 };
    let sealed = world.seal(context).await;
    world.clock.advance(Duration::minutes(10));
    world.kms.lock().unwrap().answers.push_back(UnwrapError::Refused);
    assert!(is_broken(&world.keyring.open(context, &sealed).await));
    assert!(world.kms.lock().unwrap().answers.is_empty());
}

#[tokio::test]
async fn s69_after_a_rotation_the_new_version_seals_and_the_old_one_opens() {
    let world = World::new();
    let organization = org("org_1");
    let context = SealContext { organization: &organization, authorization: &auth('0'), field: TokenField::Access, generation: 1 };
    assert_eq!(world.keyring.rotate(&organization).await.unwrap(), None, "there is no key yet");
    let old = world.seal(context).await;
    assert_eq!(old[..5], [1, 0, 0, 0, 1]);
    let other_sandbox = World::with(Arc::clone(&world.rows), Arc::clone(&world.kms));
    other_sandbox.keyring.sealer(&organization).await.unwrap();
    world.clock.advance(Duration::DAY);
    assert_eq!(world.keyring.rotate(&organization).await.unwrap(), Some(Rotated { from: 1, to: 2 }));
    let sealing = world.rows.keys.lock().unwrap()[&("org_1".to_owned(), 1)].sealing;
    assert_eq!(sealing, Sealing { version: 2, since: world.clock.now() });

    // Whoever rotated it knows at once; another sandbox when its five minutes are over.
    let new = world.seal(context).await;
    assert_eq!(new[..5], [1, 0, 0, 0, 2]);
    assert_eq!(other_sandbox.seal(context).await[..5], [1, 0, 0, 0, 1]);
    other_sandbox.clock.advance(Duration::minutes(5));
    assert_eq!(other_sandbox.seal(context).await[..5], [1, 0, 0, 0, 2]);
    for sealed in [&old, &new] {
        assert_eq!(world.keyring.open(context, sealed).await.unwrap().expose(), "token");
        assert_eq!(other_sandbox.keyring.open(context, sealed).await.unwrap().expose(), "token");
    }
    assert_eq!((world.keyring.version_of(&old), world.keyring.version_of(&new), world.keyring.version_of(b"x")), (Some(1), Some(2), None));
    // A message cannot be passed off as one of another version.
    let mut relabelled = new;
    relabelled[4] = 1;
    assert!(is_broken(&world.keyring.open(context, &relabelled).await));
    assert_eq!(world.keyring.rotate(&organization).await.unwrap(), Some(Rotated { from: 2, to: 3 }));
}

#[tokio::test]
async fn a_rotation_that_stopped_half_way_is_finished_by_the_next_and_nothing_seals_with_a_key_that_does_not_open() {
    let world = World::new();
    let organization = org("org_1");
    let context = SealContext { organization: &organization, authorization: &auth('0'), field: TokenField::Access, generation: 1 };
    world.seal(context).await;
    // The version is there, and does not seal yet.
    world.keyring.make(&organization, 2).await.unwrap();
    assert_eq!(world.seal(context).await[4], 1);
    world.down(true);
    assert!(matches!(world.keyring.rotate(&organization).await, Err(CipherError::Unavailable(_))));
    assert_eq!(world.seal(context).await[4], 1);
    world.down(false);
    let made = world.rows.keys.lock().unwrap()[&("org_1".to_owned(), 2)].clone();
    assert_eq!(world.keyring.rotate(&organization).await.unwrap(), Some(Rotated { from: 1, to: 2 }));
    assert_eq!(world.rows.keys.lock().unwrap()[&("org_1".to_owned(), 2)], made, "the one that was there");
    assert_eq!(world.seal(context).await[4], 2);
    // Another organization's key in the place of the next version.
    let foreign = WrappedBranchKey { version: 3, wrapped: Some([place(&org("org_2"), 3), vec![1; 32]].concat()), ..made };
    world.rows.put_branch_key(&organization, &foreign).await.unwrap();
    assert!(world.keyring.rotate(&organization).await.is_err());
    assert_eq!(world.seal(context).await[4], 2);
}

#[tokio::test]
async fn two_rotations_at_once_are_one() {
    let world = World::new();
    let organization = org("org_1");
    world.keyring.sealer(&organization).await.unwrap();
    let both = join_all((0..2).map(|_| world.keyring.rotate(&organization))).await;
    assert!(both.into_iter().all(|rotated| rotated.unwrap() == Some(Rotated { from: 1, to: 2 })));
    assert_eq!(world.rows.keys.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_retired_version_opens_nothing_and_the_first_still_says_which_one_seals() {
    let world = World::new();
    let organization = org("org_1");
    let context = SealContext { organization: &organization, authorization: &auth('0'), field: TokenField::Access, generation: 1 };
    let old = world.seal(context).await;
    world.keyring.rotate(&organization).await.unwrap();
    world.rows.destroy_branch_key(&organization, 1, world.clock.now()).await.unwrap();
    world.clock.advance(Duration::minutes(5));
    let new = world.seal(context).await;
    assert_eq!(new[4], 2);
    assert_eq!(world.keyring.open(context, &new).await.unwrap().expose(), "token");
    assert!(is_broken(&world.keyring.open(context, &old).await));
    // Were the sealing version destroyed, nothing would be sealed.
    world.rows.destroy_branch_key(&organization, 2, world.clock.now()).await.unwrap();
    world.clock.advance(Duration::minutes(5));
    assert!(matches!(world.keyring.sealer(&organization).await.map(|_| ()), Err(CipherError::Unavailable(_))));
}

#[tokio::test]
async fn the_number_of_keys_at_hand_is_bounded() {
    let world = World::new();
    for number in 0..1_010 {
        world.keyring.sealer(&org(&format!("org_{number}"))).await.unwrap();
        world.keyring.sealer(&org("org_0")).await.unwrap();
    }
    assert_eq!(world.keyring.cache.len(), 1_000);
    world.unwrapped();
    world.keyring.sealer(&org("org_0")).await.unwrap();
    assert_eq!(world.unwrapped(), 0, "what is in use stays");
    world.keyring.sealer(&org("org_1")).await.unwrap();
    assert_eq!(world.unwrapped(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn s71_a_secret_is_wiped_and_so_is_what_was_made_of_it_on_the_way() {
    use crate::memory::Canary;

    let (token, master) = (Canary::new(1), Canary::new(2));
    assert_eq!((token.copies(), master.copies()), (0, 0));
    let text = master.text();
    let key = MasterKey::from_slice(text.as_bytes()).unwrap();
    drop(zeroize::Zeroizing::new(text));
    let secret = Secret::new(token.text());
    assert_eq!((token.copies(), master.copies()), (1, 1), "the search finds what is there");
    let copy = secret.clone();
    assert_eq!(token.copies(), 2);
    drop(copy);
    assert_eq!(token.copies(), 1, "dropped is wiped");

    let (organization, authorization) = (org("org_1"), auth('0'));
    let context = SealContext { organization: &organization, authorization: &authorization, field: TokenField::Access, generation: 1 };
    let sealed = message::seal(&key, 1, context, &secret, [7; 32]).unwrap();
    assert_eq!(token.copies(), 1, "sealing leaves nothing behind");
    drop(secret);
    assert_eq!(token.copies(), 0);
    let opened = Message::parse(&sealed).unwrap().open(&key, context).unwrap();
    assert_eq!(token.copies(), 1, "opening makes one copy, and that is the answer");
    assert!(Message::parse(&sealed).unwrap().open(&key, SealContext { generation: 2, ..context }).is_none());
    drop(opened);
    assert_eq!((token.copies(), master.copies()), (0, 1));
    drop(key);
    assert_eq!(master.copies(), 0);
}

#[tokio::test]
async fn s66_of_two_hundred_records_no_ciphertext_opens_at_the_place_of_another() {
    let world = World::new();
    let mut places = Vec::new();
    for organization in 0..4 {
        for record in 0..50 {
            let id = AuthorizationId::try_from(format!("auth_01jd00000000000000000000{record:02}")).unwrap();
            for field in [TokenField::Access, TokenField::Refresh] {
                for generation in [1, 2] {
                    places.push((org(&format!("org_{organization}")), id.clone(), field, generation));
                }
            }
        }
    }
    let context = |at: usize| {
        let (organization, authorization, field, generation) = &places[at];
        SealContext { organization, authorization, field: *field, generation: *generation }
    };
    let mut sealed = Vec::new();
    for at in 0..places.len() {
        sealed.push(world.seal(context(at)).await);
    }
    let (mut opened, mut refused) = (0, 0);
    for (from, ciphertext) in sealed.iter().enumerate() {
        for to in 0..places.len() {
            match world.keyring.open(context(to), ciphertext).await {
                Ok(_) if from == to => opened += 1,
                Err(CipherError::Broken { .. }) if from != to => refused += 1,
                other => panic!("{from} at {to}: {other:?}"),
            }
        }
    }
    assert_eq!((opened, refused), (800, 800 * 799), "200 records, two fields and two generations of each");
}

#[test]
fn s67_no_message_key_is_ever_used_twice() {
    let salts: std::collections::BTreeSet<[u8; 32]> = (0..100_000).map(|_| random::<32>(&crate::system::SystemEntropy).unwrap()).collect();
    assert_eq!(salts.len(), 100_000);
    // Key and nonce follow from the salt: the same message under another salt has nothing in common with the first.
    let (organization, authorization) = (org("org_1"), auth('0'));
    let context = SealContext { organization: &organization, authorization: &authorization, field: TokenField::Access, generation: 1 };
    let key = MasterKey::new([3; 32]);
    let seal = |salt| message::seal(&key, 1, context, &Secret::new("token".to_owned()), salt).unwrap();
    let (one, other) = (seal([1; 32]), seal([2; 32]));
    assert_ne!(one[37..], other[37..]);
    assert_eq!(one, seal([1; 32]), "nothing else is random: whoever used a salt twice would use a key twice");
}

#[tokio::test]
async fn to_the_second_a_dead_kms_is_asked_again_after_the_pause_and_the_hour_is_an_hour() {
    let world = World::new();
    let context = SealContext { organization: &org("org_1"), authorization: &auth('0'), field: TokenField::Access, generation: 1 };
    let sealed = world.seal(context).await;
    world.down(true);
    world.clock.advance(Duration::minutes(10));
    world.keyring.open(context, &sealed).await.unwrap();
    world.unwrapped();
    world.clock.advance(Duration::seconds(20) - Duration::MILLISECOND);
    world.keyring.open(context, &sealed).await.unwrap();
    assert_eq!(world.unwrapped(), 0, "within the pause");
    world.clock.advance(Duration::MILLISECOND);
    world.keyring.open(context, &sealed).await.unwrap();
    assert_eq!(world.unwrapped(), 1, "the pause is over");
    // A failure ten seconds before the hour is over does not prolong it by its pause.
    world.clock.advance(Duration::minutes(50) - Duration::seconds(30));
    world.keyring.open(context, &sealed).await.unwrap();
    world.clock.advance(Duration::seconds(10) - Duration::MILLISECOND);
    world.keyring.open(context, &sealed).await.unwrap();
    world.clock.advance(Duration::MILLISECOND);
    assert!(matches!(world.keyring.open(context, &sealed).await, Err(CipherError::Unavailable(_))));
}

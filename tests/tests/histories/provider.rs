//! The identity provider, the cipher and the rescue queue of a history. The provider rotates, forgets, and tells spent tokens from
//! living ones; the cipher binds a token to its record, field and generation, in clear, so that the watch can look.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use shared::domain::authorization::Identity;
use shared::domain::caller::Person;
use shared::domain::connection::Connection;
use shared::domain::ids::OrganizationId;
use shared::domain::scopes::Scopes;
use shared::domain::secret::Secret;
use shared::ports::Unavailable;
use shared::ports::announcements::{Announcement, Announcements};
use shared::ports::cipher::{CipherError, Salt, SealContext, Sealer, TokenCipher};
use shared::ports::provider::{
    IssuerParameter, ProviderError, ProviderMetadata, RefreshAnswer, Refreshes, Revocation, Revocations, Revoked, TokenAnswer, UserInfo,
};
use shared::ports::store::{RescueDrain, RescueQueue, Rescued};

use super::hub::{Ask, Heard, Hub, Random, at};

/// A refresh token of one grant.
#[derive(Debug, Clone, Default)]
pub struct RefreshToken {
    pub spent_at: Option<i64>,
    pub revoked: bool,
    /// Nobody heard of it, or whoever did has died.
    pub lost: bool,
    /// It was given for somebody else by mistake.
    pub anothers: bool,
    /// Which task got it.
    pub holder: Option<usize>,
    /// Which sign-in it came from.
    pub chain: usize,
}

/// What one person granted: the tokens `rt-<grant>-<n>` and `at-<grant>-<n>`.
#[derive(Debug, Clone, Default)]
pub struct Grant {
    pub refresh: Vec<RefreshToken>,
    /// When each access token ends, by the provider's clock.
    pub access: Vec<i64>,
    /// The person withdrew it: every refresh is refused.
    pub withdrawn: bool,
    /// Counts the person's sign-ins.
    pub chain: usize,
}

/// What a refresh gave.
#[derive(Debug, Clone)]
pub struct Issued {
    pub access: String,
    pub refresh: Option<String>,
    pub lifetime: i64,
    pub narrower: bool,
    pub somebody_else: bool,
}

/// Why it gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Grant,
    Down,
}

#[derive(Debug, Clone)]
pub struct Provider {
    pub grants: Vec<Grant>,
    pub rotates: bool,
    /// For how long a spent token is taken while its successor is unused. The successor is then replaced.
    pub grace: i64,
    pub lifetime: i64,
    /// How often, of a thousand refreshes, a grant is withdrawn, narrowed, or answers for somebody else.
    pub moods: [usize; 3],
}

impl Provider {
    pub fn parse(token: &str) -> (usize, usize) {
        let mut parts = token.split('-').skip(1).map(|part| part.parse().unwrap());
        (parts.next().unwrap(), parts.next().unwrap())
    }

    pub fn refresh(&mut self, token: &str, now: i64, task: usize, random: &mut Random) -> Result<Issued, Refused> {
        let (of, number) = Self::parse(token);
        let (rotates, grace, lifetime) = (self.rotates, self.grace, self.lifetime);
        let [withdraws, narrows, mistakes] = self.moods;
        let grant = &mut self.grants[of];
        grant.withdrawn |= random.chance(withdraws);
        let presented = grant.refresh[number].clone();
        // Another sign-in's tokens have nothing to do with these.
        let last = grant.refresh.iter().rposition(|token| token.chain == presented.chain).unwrap();
        let in_grace = presented.spent_at.is_some_and(|spent| now <= spent + grace) && grant.refresh[last].spent_at.is_none();
        if grant.withdrawn || presented.revoked || (presented.spent_at.is_some() && !in_grace) {
            return Err(Refused::Grant);
        }
        grant.access.push(now + lifetime);
        let access = format!("at-{of}-{}", grant.access.len() - 1);
        let refresh = rotates.then(|| {
            if presented.spent_at.is_some() {
                grant.refresh[last].revoked = true;
            }
            grant.refresh[number].spent_at = presented.spent_at.or(Some(now));
            grant.refresh.push(RefreshToken { holder: Some(task), chain: presented.chain, ..RefreshToken::default() });
            format!("rt-{of}-{}", grant.refresh.len() - 1)
        });
        let issued = Issued { access, refresh, lifetime, narrower: random.chance(narrows), somebody_else: random.chance(mistakes) };
        if let Some(given) = grant.refresh.last_mut().filter(|_| rotates && issued.somebody_else) {
            given.anothers = true;
        }
        Ok(issued)
    }

    /// The person signs in again: tokens that have nothing to do with the old ones.
    pub fn sign_in(&mut self, of: usize, now: i64) -> (String, String) {
        let grant = &mut self.grants[of];
        grant.withdrawn = false;
        grant.chain += 1;
        grant.access.push(now + self.lifetime);
        grant.refresh.push(RefreshToken { chain: grant.chain, ..RefreshToken::default() });
        (format!("at-{of}-{}", grant.access.len() - 1), format!("rt-{of}-{}", grant.refresh.len() - 1))
    }

    pub fn revoke(&mut self, refresh: Option<&str>, _access: Option<&str>) {
        if let Some(token) = refresh {
            let (of, number) = Self::parse(token);
            self.grants[of].refresh[number].revoked = true;
        }
    }

    pub fn answer_lost(&mut self, issued: &Issued) {
        if let Some(token) = &issued.refresh {
            let (of, number) = Self::parse(token);
            self.grants[of].refresh[number].lost = true;
        }
    }

    /// A complaint, if the token was spent and one that came after it from the same sign-in is stored already.
    pub fn spent_before(&self, presented: &str, stored: &str) -> Option<String> {
        let ((of, presented_number), (_, stored_number)) = (Self::parse(presented), Self::parse(stored));
        let (before, after) = (&self.grants[of].refresh[presented_number], &self.grants[of].refresh[stored_number]);
        let replaced = before.spent_at.is_some() && stored_number > presented_number && before.chain == after.chain;
        replaced.then(|| format!("{presented} is presented, and {stored} is stored already"))
    }

    /// A token that nobody has used or revoked.
    pub fn lives(&self, token: &str) -> bool {
        let (of, number) = Self::parse(token);
        let token = &self.grants[of].refresh[number];
        token.spent_at.is_none() && !token.revoked
    }
}

/// The provider, as one process speaks with it.
pub struct Client {
    pub hub: Arc<Hub>,
    pub task: usize,
}

impl Client {
    fn now(&self) -> i64 {
        let world = self.hub.world();
        world.now + world.tasks[self.task].skew
    }
}

#[async_trait]
impl Refreshes for Client {
    async fn prepare_refresh(&self, _: &Connection) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn refresh(&self, _: &Connection, refresh_token: &Secret, person: &Person) -> Result<RefreshAnswer, ProviderError> {
        let requested_at = at(self.now());
        match self.hub.ask(Ask::Refresh { token: refresh_token.expose().to_owned() }).await {
            Heard::Refreshed(Ok(issued)) => {
                let identity = if issued.somebody_else { Err(ProviderError::IdentityChanged) } else { Ok(()) };
                let tokens = TokenAnswer {
                    access_token: Secret::new(issued.access),
                    refresh_token: issued.refresh.map(Secret::new),
                    expires_in: Some(time::Duration::milliseconds(issued.lifetime)),
                    scopes: issued.narrower.then(|| Scopes::parse("read").unwrap()),
                    requested_at,
                };
                let _ = person;
                Ok(RefreshAnswer { tokens, identity })
            }
            Heard::Refreshed(Err(Refused::Grant)) => Err(ProviderError::InvalidGrant),
            Heard::Refreshed(Err(Refused::Down)) => Err(ProviderError::Unavailable { status: Some(503), retry_after: None, source: None }),
            _ => Err(ProviderError::AnswerLost { source: None }),
        }
    }
}

#[async_trait]
impl Revocations for Client {
    async fn revoke_tokens(&self, _: &Connection, refresh_token: Option<&Secret>, access_token: Option<&Secret>) -> Revocation {
        let text = |secret: Option<&Secret>| secret.map(|secret| secret.expose().to_owned());
        let outcome = match self.hub.ask(Ask::Revoke { refresh: text(refresh_token), access: text(access_token) }).await {
            Heard::Revoked(true) => Ok(Revoked::Done),
            _ => Err(ProviderError::Unavailable { status: None, retry_after: None, source: None }),
        };
        Revocation { receipts: Vec::new(), outcome }
    }
}

#[async_trait]
impl ProviderMetadata for Client {
    async fn issuer_parameter(&self, _: &Connection) -> Result<IssuerParameter, ProviderError> {
        Ok(IssuerParameter { issuer: None, advertised: false })
    }

    async fn supports_revocation(&self, _: &Connection) -> Result<bool, ProviderError> {
        Ok(true)
    }
}

#[async_trait]
impl UserInfo for Client {
    async fn userinfo(&self, _: &Connection, _: &Secret) -> Result<Option<Identity>, ProviderError> {
        Ok(None)
    }
}

#[async_trait]
impl RescueQueue for Client {
    async fn rescue(&self, rescued: &Rescued) -> Result<(), Unavailable> {
        match self.hub.ask(Ask::Rescue(Box::new(rescued.clone()))).await {
            Heard::Done => Ok(()),
            _ => Err(Unavailable::new("rescue", "the connection broke")),
        }
    }
}

#[async_trait]
impl RescueDrain for Client {
    async fn receive_rescued(&self) -> Result<Vec<(Rescued, String)>, Unavailable> {
        match self.hub.ask(Ask::Receive).await {
            Heard::Received(batch) => Ok(batch),
            _ => Err(Unavailable::new("receive", "the connection broke")),
        }
    }

    async fn holds_nothing(&self) -> Result<bool, Unavailable> {
        match self.hub.ask(Ask::HoldsNothing).await {
            Heard::Empty(empty) => Ok(empty),
            _ => Err(Unavailable::new("look into the queue", "the connection broke")),
        }
    }

    async fn forget_rescued(&self, receipt: &str) -> Result<(), Unavailable> {
        match self.hub.ask(Ask::Forget(receipt.to_owned())).await {
            Heard::Done => Ok(()),
            _ => Err(Unavailable::new("forget", "the connection broke")),
        }
    }
}

#[async_trait]
impl Announcements for Client {
    async fn put(&self, announcement: &Announcement) -> Result<(), Unavailable> {
        match self.hub.ask(Ask::Announce(announcement.id.clone())).await {
            Heard::Done => Ok(()),
            _ => Err(Unavailable::new("put an event", "the connection broke")),
        }
    }
}

/// Seals nothing, and binds everything that the real cipher binds (I8).
pub struct ClearCipher;

fn bound_to(context: SealContext<'_>) -> String {
    format!("{}|{}|{}|{}|", context.organization, context.authorization, context.field.as_str(), context.generation)
}

/// A token as it is stored.
pub fn sealed(context: SealContext<'_>, token: &str) -> Vec<u8> {
    format!("{}{token}", bound_to(context)).into_bytes()
}

/// The token in a binary attribute of the wire.
pub fn token_in(base64: &str) -> String {
    let text = String::from_utf8(STANDARD.decode(base64).unwrap()).unwrap();
    text.rsplit('|').next().unwrap().to_owned()
}

#[async_trait]
impl TokenCipher for ClearCipher {
    async fn sealer(&self, _: &OrganizationId) -> Result<Arc<dyn Sealer>, CipherError> {
        Ok(Arc::new(Self))
    }

    async fn open(&self, context: SealContext<'_>, ciphertext: &[u8]) -> Result<Secret, CipherError> {
        let text = String::from_utf8(ciphertext.to_vec()).unwrap();
        let token = text.strip_prefix(&bound_to(context)).ok_or(CipherError::Broken { field: context.field.as_str() })?;
        Ok(Secret::new(token.to_owned()))
    }
}

impl Sealer for ClearCipher {
    fn seal(&self, context: SealContext<'_>, token: &Secret, _: Salt) -> Result<Vec<u8>, CipherError> {
        Ok(sealed(context, token.expose()))
    }

    fn reserve(&self) -> Result<Salt, CipherError> {
        Ok(Salt([0; 32]))
    }
}

//! An identity provider that rotates refresh tokens and kills a grant whose retired token comes back (RFC 9700 section 4.14.2).

use shared::domain::scopes::Scopes;

use crate::world::World;

/// What becomes of an earlier successor when a retired token is taken once more within its grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Siblings {
    /// Both are good.
    Stay,
    /// The earlier one is retired.
    Retire,
    /// There is no second one: the earlier one is given again.
    Same,
}

/// The provider of one schedule.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a manner of its own that a provider may have")]
pub struct Provider {
    /// Whether a refresh token is good for one refresh.
    pub rotates: bool,
    /// For how long a retired token is taken, in milliseconds.
    pub grace: i64,
    /// Whether a retired token after its grace ends the grant.
    pub detects_reuse: bool,
    /// What becomes of earlier successors.
    pub siblings: Option<Siblings>,
    /// Without rotation: whether the answer holds the refresh token at all.
    pub repeats_token: bool,
    /// How long access tokens live, in seconds.
    pub access_lifetime: i64,
    /// How often it fails, in thousandths: before it did anything, after it did, and with an `id_token` that does not hold.
    pub failures: [i64; 3],
    /// Whether it revokes a grant by a retired token, too.
    pub revokes_by_retired: bool,
    /// Every grant.
    pub grants: Vec<Grant>,
    /// Every refresh token; its text is `r` and its number.
    pub tokens: Vec<Token>,
    /// Of every access token, whose it is; its text is `a` and its number.
    pub access: Vec<usize>,
}

/// What a person granted.
#[derive(Debug)]
pub struct Grant {
    /// For which authorization.
    pub authorization: usize,
    /// How it ended.
    pub dead: Option<Death>,
}

/// How a grant ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// A retired token came back.
    Reuse,
    /// A request came twice, the second time too late.
    Repeated,
    /// The person took it back at the provider.
    Person,
    /// The service had it revoked.
    Revoked,
}

/// A refresh token as the provider knows it.
#[derive(Debug)]
pub struct Token {
    /// Of which grant.
    pub grant: usize,
    /// What it replaced.
    pub replaced: Option<usize>,
    /// Since when it is retired.
    pub retired_at: Option<i64>,
    /// Retired without grace, because a sibling took its place.
    pub displaced: bool,
    /// Which task was answered with it.
    pub given_to: u64,
    /// Why nobody has it, if that is so.
    pub lost: Option<Loss>,
}

/// Why nobody has a token that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The answer was lost, or came when nobody waited.
    Answer,
    /// The provider said that it had failed, or spoke nonsense.
    Garbled,
    /// Neither the table nor the rescue queue took it.
    Sinks,
}

/// What an answer holds.
#[derive(Debug, Clone)]
pub struct Given {
    /// The access token.
    pub access: String,
    /// The refresh token, if it is told.
    pub refresh: Option<String>,
    /// The number of the refresh token.
    pub token: usize,
    /// Whether the `id_token` beside it holds.
    pub proved: bool,
}

/// How a refresh is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// With tokens.
    Given(Given),
    /// `invalid_grant`.
    InvalidGrant,
    /// 429 or 503, and nothing was done.
    Busy(i64),
    /// `invalid_client`, and nothing was done.
    InvalidClient,
    /// 502, although it was done.
    Failed,
    /// A success that nobody can read, although it was done.
    Nonsense,
}

/// The number in a token's text.
#[must_use]
pub fn number(text: &str) -> usize {
    text[1..].parse().unwrap_or(usize::MAX)
}

impl World {
    /// A person signs in: a new grant with its tokens.
    pub fn grant(&mut self, authorization: usize, task: u64) -> Given {
        self.provider.grants.push(Grant { authorization, dead: None });
        let grant = self.provider.grants.len() - 1;
        self.give(grant, None, task)
    }

    fn give(&mut self, grant: usize, replaced: Option<usize>, task: u64) -> Given {
        let provider = &mut self.provider;
        provider.tokens.push(Token { grant, replaced, retired_at: None, displaced: false, given_to: task, lost: None });
        let token = provider.tokens.len() - 1;
        self.answer(grant, token, true)
    }

    fn answer(&mut self, grant: usize, token: usize, told: bool) -> Given {
        self.provider.access.push(grant);
        let access = format!("a{}", self.provider.access.len() - 1);
        Given { access, refresh: told.then(|| format!("r{token}")), token, proved: true }
    }

    /// Redeems a refresh token.
    pub fn redeem(&mut self, text: &str, task: u64) -> Answer {
        let faulty = self.events.now < self.weather.until;
        let [before, after, unproved] = self.provider.failures;
        if faulty && self.rng.chance(before) {
            self.saw("provider busy");
            let wait = self.rng.within(1, 30);
            return if self.rng.chance(150) { Answer::InvalidClient } else { Answer::Busy(wait) };
        }
        let mut answer = self.redeem_now(text, task);
        if let (true, Answer::Given(given)) = (faulty, &mut answer) {
            if self.rng.chance(after) {
                self.saw("provider failed after the fact");
                let token = given.token;
                self.provider.tokens[token].lost = Some(Loss::Garbled);
                return if self.rng.chance(500) { Answer::Failed } else { Answer::Nonsense };
            }
            given.proved = !self.rng.chance(unproved);
        }
        answer
    }

    /// Redeems a refresh token for a request that came a second time: nobody hears the answer.
    pub fn redeem_unheard(&mut self, text: &str, task: u64) -> Answer {
        let before: Vec<_> = self.provider.tokens.iter().map(|token| (token.given_to, token.lost)).collect();
        let answer = self.redeem_now(text, task);
        self.answer_missed(&answer);
        for (token, was) in self.provider.tokens.iter_mut().zip(before) {
            (token.given_to, token.lost) = was;
        }
        answer
    }

    fn redeem_now(&mut self, text: &str, task: u64) -> Answer {
        let (now, presented) = (self.events.now, number(text));
        let Some(token) = self.provider.tokens.get(presented) else { return Answer::InvalidGrant };
        let (grant, retired_at, displaced) = (token.grant, token.retired_at, token.displaced);
        if self.provider.grants[grant].dead.is_some() {
            return Answer::InvalidGrant;
        }
        if !self.provider.rotates {
            let told = self.provider.repeats_token;
            self.saw(if told { "refreshed without rotation" } else { "refreshed without a refresh token in the answer" });
            return Answer::Given(self.answer(grant, presented, told));
        }
        match retired_at {
            None => {
                self.saw("rotated");
                self.provider.tokens[presented].retired_at = Some(now);
                Answer::Given(self.give(grant, Some(presented), task))
            }
            Some(at) if now - at <= self.provider.grace && !displaced => {
                self.saw("a retired token within its grace");
                self.again(grant, presented, task)
            }
            Some(_) => {
                let repeated = self.repeating;
                if !repeated {
                    self.retired_token_presented(presented, task);
                }
                if self.provider.detects_reuse {
                    self.saw("reuse detected");
                    self.provider.grants[grant].dead = Some(if repeated { Death::Repeated } else { Death::Reuse });
                }
                Answer::InvalidGrant
            }
        }
    }

    fn again(&mut self, grant: usize, presented: usize, task: u64) -> Answer {
        let now = self.events.now;
        let earlier = self.provider.tokens.iter().rposition(|t| t.replaced == Some(presented) && t.retired_at.is_none());
        match (self.provider.siblings, earlier) {
            (Some(Siblings::Same), Some(earlier)) => {
                let token = &mut self.provider.tokens[earlier];
                (token.given_to, token.lost) = (task, None);
                Answer::Given(self.answer(grant, earlier, true))
            }
            (Some(Siblings::Retire), Some(earlier)) => {
                let token = &mut self.provider.tokens[earlier];
                (token.retired_at, token.displaced) = (Some(now), true);
                Answer::Given(self.give(grant, Some(presented), task))
            }
            _ => Answer::Given(self.give(grant, Some(presented), task)),
        }
    }

    /// Revokes by a refresh token (RFC 7009 section 2.1: the grant with it).
    pub fn revoke_grant_of(&mut self, text: &str) {
        let by_retired = self.provider.revokes_by_retired;
        let Some(token) = self.provider.tokens.get(number(text)) else { return };
        if token.retired_at.is_none() || by_retired {
            let grant = &mut self.provider.grants[token.grant];
            grant.dead = grant.dead.or(Some(Death::Revoked));
        }
    }

    /// Nobody got this answer.
    pub fn answer_missed(&mut self, answer: &Answer) {
        if let Answer::Given(given) = answer {
            let token = &mut self.provider.tokens[given.token];
            token.lost = token.lost.or(Some(Loss::Answer));
        }
    }
}

/// The scope of everything.
#[must_use]
pub fn scopes() -> Scopes {
    Scopes::parse("repo").unwrap_or_default()
}

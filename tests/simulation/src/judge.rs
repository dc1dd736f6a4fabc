//! What must hold, whatever goes wrong. The judge sees both sides: what the provider knows, and what the service stored.
//!
//! After every step:
//! * **No silent loss.** An active authorization whose stored refresh token is spent is being refreshed (or was, by somebody who died:
//!   the lease is there), or says that the token's fate is unknown.
//! * **A retired token comes back within its grace only**, with one exception: when its successor is lost for good, and the record
//!   says that this may be so, it is tried once more, for there is nothing else to be tried. Lost for good means: not stored, not in
//!   the rescue queue, and not in the hands of a worker that lives.
//! * **With a grace of five seconds or more nothing is lost** unless a worker died with the successor in its hands (nobody can know
//!   within the grace, for a worker that waits for a slow provider looks the same), two messages of the same refresh were lost, the
//!   provider said that it had failed when it had not, or both the table and the rescue queue refused.
//! * **I11**: no hand-out that begins after an acknowledged revoke succeeds. A token that is still valid is not withheld.
//!
//! At the end:
//! * Every authorization is active, proved by a refresh, or says for a true reason that a person is needed, or is gone.
//! * **I12**: of a revoked authorization no refresh token lives on, unless nobody ever got it, or a re-authorization got it that could
//!   not find out for the rest of its time whether it was stored (it may be the one that works), or could not give it back.
//! * Every change of status was announced, and nothing else was, whoever died and whatever was down.

use std::collections::{BTreeMap, BTreeSet};

use shared::domain::authorization::{Reason, Status};

use crate::log::Line;
use crate::provider::{Death, Loss, Token};
use crate::world::World;

/// The grace from which on nothing may be lost, in milliseconds.
const USEFUL_GRACE: i64 = 5_000;

/// Who watches.
#[derive(Default)]
pub struct Judge {
    /// What was seen that must not be.
    pub violations: Vec<String>,
    /// Tasks that died: killed, or stopped at their deadline.
    pub died: BTreeSet<u64>,
    /// How many requests with a refresh token brought nothing, from the one that spent it on.
    pub troubles: BTreeMap<usize, u32>,
    /// Changes of status: the name of the event, and the new status.
    pub changes: BTreeSet<(String, &'static str)>,
    /// Re-authorizations that do not know whether they stored what they got, or could not give it back.
    pub left_tokens: BTreeSet<u64>,
    /// Grants that were stored until a re-authorization replaced them.
    pub replaced_grants: BTreeSet<usize>,
    /// The grant that was current when the revocation began, by authorization.
    pub revoked_grants: BTreeMap<usize, usize>,
    /// Announcements that the bus has taken, each how often.
    pub announced: BTreeMap<(String, &'static str), u32>,
    /// Authorizations whose last check found them working.
    pub proved: BTreeSet<usize>,
}

/// The token at the end of a ciphertext.
#[must_use]
pub fn token_in(ciphertext: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(ciphertext).ok()?;
    text.rsplit('|').next()?.strip_prefix('r')?.parse().ok()
}

impl World {
    /// Notes what must not be.
    pub fn violated(&mut self, what: String) {
        self.tell(|| format!("VIOLATED {what}"));
        self.judge.violations.push(what);
    }

    /// The refresh token that is stored.
    #[must_use]
    pub fn stored(&self, at: usize) -> Option<usize> {
        token_in(self.store.records[at].is.credential.as_ref()?.refresh.as_ref()?)
    }

    fn is_live(&self, token: usize) -> bool {
        let token = &self.provider.tokens[token];
        token.retired_at.is_none() && self.provider.grants[token.grant].dead.is_none()
    }

    fn is_rescued(&self, token: usize) -> bool {
        self.store.queue.iter().any(|message| {
            let credential = &message.rescued.commit.credential;
            credential.refresh.as_deref().and_then(token_in) == Some(token)
        })
    }

    /// What the service says of itself.
    pub fn note(&mut self, line: &Line) {
        let could_not = line.action == "provider_revocation" && line.outcome == "not_revoked";
        if could_not && line.detail.starts_with("tokens of a refused sign-in") {
            self.judge.left_tokens.insert(line.task);
        }
    }

    /// After every change of the table or the provider.
    pub fn judge_step(&mut self) {
        for at in 0..self.store.records.len() {
            let is = &self.store.records[at].is;
            if is.status != Status::Active || is.lease.is_some() || is.outcome_unknown_since.is_some() {
                continue;
            }
            if let Some(token) = self.stored(at)
                && self.provider.tokens[token].retired_at.is_some()
            {
                self.violated(format!("silent loss: r{token} is stored and spent, and nothing says so"));
            }
        }
    }

    /// Somebody presents a retired token outside its grace.
    pub fn retired_token_presented(&mut self, presented: usize, task: u64) {
        let grant = self.provider.tokens[presented].grant;
        let at = self.provider.grants[grant].authorization;
        let Some(stored) = self.stored(at) else { return };
        if self.provider.tokens[stored].grant != grant || self.store.records[at].is.status != Status::Active {
            return;
        }
        self.saw("a retired token outside its grace");
        let successors: Vec<usize> =
            (0..self.provider.tokens.len()).filter(|t| self.provider.tokens[*t].grant == grant && self.is_live(*t)).collect();
        for successor in successors {
            let token = &self.provider.tokens[successor];
            let held = self.alive.contains(&token.given_to) && token.lost.is_none() && token.given_to != task;
            if stored == successor {
                self.violated(format!("r{presented} is retired, and r{successor} was stored"));
            } else if self.is_rescued(successor) {
                self.violated(format!("r{presented} is retired, and r{successor} was in the rescue queue"));
            } else if held {
                self.violated(format!("r{presented} is retired, and a worker had r{successor}"));
            }
        }
        if self.store.records[at].is.outcome_unknown_since.is_none() {
            self.violated(format!("r{presented} is retired, and nobody was in doubt"));
        }
        if self.provider.grace >= USEFUL_GRACE && !self.is_excused(presented) {
            self.violated(format!("r{presented} was lost although it had a grace"));
        }
    }

    /// Whether the successors of a token were lost in a way that no grace helps against. Whoever asked again for what had replaced
    /// another token, and died or heard nothing twice, has ended the first one that had.
    fn is_excused(&self, retired: usize) -> bool {
        let asked_for = [Some(retired), self.provider.tokens[retired].replaced];
        let given =
            |(number, token): &(usize, &Token)| *number != retired && token.replaced.is_some() && asked_for.contains(&token.replaced);
        let hopeless = |token: &Token| self.judge.died.contains(&token.given_to) || matches!(token.lost, Some(Loss::Garbled | Loss::Sinks));
        self.provider.tokens.iter().enumerate().filter(given).any(|(_, token)| hopeless(token))
            || asked_for.into_iter().flatten().any(|token| self.judge.troubles.get(&token).is_some_and(|troubles| *troubles >= 2))
    }

    /// Changes a status, and remembers it.
    pub fn change_status(&mut self, at: usize, to: Status) {
        let before = std::mem::replace(&mut self.store.records[at].is.status, to);
        if before.as_str() != to.as_str() {
            let is = &self.store.records[at].is;
            self.judge.changes.insert((format!("{}.{}", is.id, is.version), to.as_str()));
        }
        match to {
            Status::NeedsReauthorization(Reason::OutcomeUnknown) => self.saw("ended: outcome_unknown"),
            Status::NeedsReauthorization(Reason::InvalidGrant) => self.saw("ended: invalid_grant"),
            Status::Revoking => {
                self.saw("revoked");
                if let Some(token) = self.stored(at) {
                    self.judge.revoked_grants.insert(at, self.provider.tokens[token].grant);
                }
            }
            Status::NeedsReauthorization(_) | Status::Active | Status::Deleted => {}
        }
        if let (Status::NeedsReauthorization(reason), Some(token)) = (to, self.stored(at)) {
            self.judge_reason(at, token, reason);
        }
    }

    /// Whether an authorization ended for a true reason.
    fn judge_reason(&mut self, at: usize, token: usize, reason: Reason) {
        let grant = self.provider.tokens[token].grant;
        let rescued = self.store.queue.iter().any(|message| message.rescued.authorization == self.store.records[at].is.id);
        let true_reason = match (self.provider.grants[grant].dead, reason) {
            (Some(Death::Person | Death::Repeated), Reason::InvalidGrant | Reason::OutcomeUnknown)
            | (Some(Death::Reuse), Reason::OutcomeUnknown) => true,
            (None, Reason::OutcomeUnknown) => self.provider.tokens[token].retired_at.is_some() || rescued,
            _ => false,
        };
        if !true_reason {
            let dead = self.provider.grants[grant].dead;
            self.violated(format!("r{token} ended with the reason {}; at the provider: {dead:?}", reason.as_str()));
        }
    }

    /// At the end, when everything has settled.
    pub fn judge_end(&mut self) {
        for at in 0..self.store.records.len() {
            let status = self.store.records[at].is.status;
            match status {
                Status::Active => {
                    self.saw("at the end: active");
                    if self.stored(at).is_some_and(|token| !self.is_live(token)) {
                        self.violated("an active authorization has a dead refresh token".to_owned());
                    }
                }
                Status::NeedsReauthorization(_) => {
                    self.saw("at the end: needs_reauthorization");
                    if self.stored(at).is_some_and(|token| self.is_live(token)) {
                        self.violated("an authorization ended although its refresh token lives".to_owned());
                    }
                }
                Status::Revoking => self.violated("a revocation never came to its end".to_owned()),
                Status::Deleted => {
                    self.saw("at the end: revoked");
                    self.judge_revoked(at);
                }
            }
        }
        self.judge_announcements();
    }

    fn judge_revoked(&mut self, at: usize) {
        let Some(from) = self.judge.revoked_grants.get(&at).copied() else { return };
        let lives_on = (0..self.provider.tokens.len()).find(|t| {
            let token = &self.provider.tokens[*t];
            let current = token.grant >= from && !self.judge.replaced_grants.contains(&token.grant);
            let ours = current && self.provider.grants[token.grant].authorization == at;
            let given_up = self.judge.died.contains(&token.given_to) || self.judge.left_tokens.contains(&token.given_to);
            ours && self.is_live(*t) && token.lost.is_none() && !given_up
        });
        if let Some(token) = lives_on {
            self.violated(format!("I12: r{token} lives on after the revocation"));
        }
    }

    fn judge_announcements(&mut self) {
        let silent: Vec<_> = self.judge.changes.iter().filter(|change| !self.judge.announced.contains_key(change)).cloned().collect();
        let untrue: Vec<_> = self.judge.announced.keys().filter(|told| !self.judge.changes.contains(told)).cloned().collect();
        for (event, status) in silent {
            self.violated(format!("nobody was told of {event}, {status}"));
        }
        for (event, status) in untrue {
            self.violated(format!("{event}, {status} was announced, and never was"));
        }
        if self.judge.announced.values().any(|times| *times > 1) {
            self.saw("announced more than once");
        }
    }
}

//! What callers may see: the life of three authorizations and four workflows of one organization, one act at a time, and whether a
//! history can be put in such an order (Herlihy and Wing; the search is Wing and Gong's, with states remembered).

use std::collections::HashSet;

pub const AUTHORIZATIONS: usize = 3;
pub const WORKFLOWS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    Active,
    Ended,
    Revoked,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub status: [Status; AUTHORIZATIONS],
    pub generation: [u64; AUTHORIZATIONS],
    pub bound: [Option<usize>; WORKFLOWS],
}

/// One act with what its caller saw. An act whose caller saw nothing may have happened, at any time from then on, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Bind {
        workflow: usize,
        to: usize,
        saw: Option<Bound>,
    },
    Unbind {
        workflow: usize,
        saw: Option<bool>,
    },
    Move {
        from: usize,
        to: usize,
        saw: Option<Moved>,
    },
    /// How many remain is read after the last move.
    Remaining {
        of: usize,
        saw: u64,
    },
    Revoke {
        of: usize,
        saw: Option<Revoked>,
    },
    /// A hand-out finds its workflow bound, or not.
    Found {
        workflow: usize,
        of: usize,
        bound: bool,
    },
    /// Then it hands out a token of this generation; with one at hand nothing older is handed out later.
    Token {
        of: usize,
        generation: u64,
    },
    /// The authorization worked: it was checked or refreshed.
    Worked {
        of: usize,
    },
    /// Somebody was told that a person has to sign in again.
    SeenEnded {
        of: usize,
    },
    /// Somebody was told that it is gone.
    SeenRevoked {
        of: usize,
    },
    /// The provider refused, or a token without successor ended. It may show at any time from then on.
    End {
        of: usize,
    },
    /// A rescued credential came back.
    Revive {
        of: usize,
    },
    SignInAgain {
        of: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    Done,
    NotActive,
    NotFound,
    NotGranted,
    Conflict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    Done(Vec<usize>),
    NotActive,
    NotFound,
    Conflict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    Done,
    InUse(u64),
}

/// An act in time.
#[derive(Debug, Clone)]
pub struct Event {
    pub act: Act,
    pub invoked: usize,
    /// Absent if nobody heard the answer.
    pub answered: Option<usize>,
    /// Another act of the same caller that comes first.
    pub after: Option<usize>,
}

impl State {
    fn count(&self, of: usize) -> u64 {
        self.bound.iter().filter(|bound| **bound == Some(of)).count() as u64
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Vec<Self> {
        let mut next = self.clone();
        change(&mut next);
        vec![next]
    }

    fn only_if(&self, holds: bool) -> Vec<Self> {
        if holds { vec![self.clone()] } else { Vec::new() }
    }

    /// The states in which the act may leave this one; none if its caller cannot have seen what they saw.
    fn after(&self, act: &Act) -> Vec<Self> {
        let is = |of: usize, status: Status| self.status[of] == status;
        match act {
            Act::Bind { workflow, to, saw: None | Some(Bound::Done) } if is(*to, Status::Active) => {
                self.with(|next| next.bound[*workflow] = Some(*to))
            }
            Act::Bind { saw: None | Some(Bound::Done), .. } => Vec::new(),
            Act::Bind { to, saw: Some(Bound::NotActive), .. } => self.only_if(!is(*to, Status::Active)),
            Act::Bind { to, saw: Some(Bound::NotFound), .. } => self.only_if(is(*to, Status::Revoked)),
            Act::Bind { to, saw: Some(Bound::NotGranted), .. } => self.only_if(is(*to, Status::Active)),
            Act::Bind { saw: Some(Bound::Conflict), .. } | Act::Move { saw: Some(Moved::Conflict), .. } => self.only_if(true),
            Act::Unbind { workflow, saw: None | Some(true) } if self.bound[*workflow].is_some() => {
                self.with(|next| next.bound[*workflow] = None)
            }
            Act::Unbind { saw: None | Some(true), .. } => Vec::new(),
            Act::Unbind { workflow, saw: Some(false) } => self.only_if(self.bound[*workflow].is_none()),
            Act::Move { from, to, saw: Some(Moved::Done(moved)) } => {
                let possible = moved.is_empty() || is(*to, Status::Active) && moved.iter().all(|w| self.bound[*w] == Some(*from));
                if possible { self.moved(moved, *to) } else { Vec::new() }
            }
            Act::Move { to, saw: Some(Moved::NotActive), .. } => self.only_if(!is(*to, Status::Active)),
            Act::Move { from, to, saw: Some(Moved::NotFound) } => self.only_if(is(*from, Status::Revoked) || is(*to, Status::Revoked)),
            Act::Move { from, to, saw: None } if is(*to, Status::Active) => {
                let movable: Vec<usize> = (0..WORKFLOWS).filter(|w| self.bound[*w] == Some(*from)).collect();
                let subsets = (1..1_usize << movable.len())
                    .map(|set| movable.iter().enumerate().filter(|(at, _)| set & (1 << at) != 0).map(|(_, w)| *w).collect::<Vec<_>>());
                subsets.flat_map(|moved| self.moved(&moved, *to)).collect()
            }
            Act::Move { saw: None, .. } => Vec::new(),
            Act::Remaining { of, saw } => self.only_if(self.count(*of) == *saw),
            Act::Revoke { of, saw: None | Some(Revoked::Done) } => {
                if is(*of, Status::Revoked) {
                    self.only_if(true)
                } else if self.count(*of) == 0 {
                    self.with(|next| next.status[*of] = Status::Revoked)
                } else {
                    Vec::new()
                }
            }
            Act::Revoke { of, saw: Some(Revoked::InUse(count)) } => {
                self.only_if(!is(*of, Status::Revoked) && *count > 0 && self.count(*of) == *count)
            }
            Act::Found { workflow, of, bound: true } => self.only_if(self.bound[*workflow] == Some(*of) && !is(*of, Status::Revoked)),
            Act::Found { workflow, of, bound: false } => self.only_if(self.bound[*workflow] != Some(*of) || is(*of, Status::Revoked)),
            Act::Token { of, generation } if is(*of, Status::Active) && *generation >= self.generation[*of] => {
                self.with(|next| next.generation[*of] = *generation)
            }
            Act::Token { .. } => Vec::new(),
            Act::Worked { of } => self.only_if(is(*of, Status::Active)),
            Act::SeenEnded { of } => self.only_if(is(*of, Status::Ended)),
            Act::SeenRevoked { of } => self.only_if(is(*of, Status::Revoked)),
            Act::End { of } if is(*of, Status::Active) => self.with(|next| next.status[*of] = Status::Ended),
            Act::Revive { of } if is(*of, Status::Ended) => self.with(|next| next.status[*of] = Status::Active),
            Act::End { .. } | Act::Revive { .. } => Vec::new(),
            Act::SignInAgain { of } if is(*of, Status::Revoked) => Vec::new(),
            Act::SignInAgain { of } => self.with(|next| next.status[*of] = Status::Active),
        }
    }

    fn moved(&self, workflows: &[usize], to: usize) -> Vec<Self> {
        self.with(|next| workflows.iter().for_each(|workflow| next.bound[*workflow] = Some(to)))
    }
}

/// Whether the events can be put in an order in which every caller could see what they saw: each act at one moment between its
/// beginning and its end. `end` is how the table stands when all is over.
pub fn can_be_ordered(begin: &State, events: &[Event], end: &State) -> bool {
    assert!(events.len() <= 64, "{} events", events.len());
    let needed = events.iter().enumerate().filter(|(_, event)| event.answered.is_some()).fold(0_u64, |all, (at, _)| all | 1 << at);
    let mut seen = HashSet::new();
    let mut open = vec![(0_u64, begin.clone())];
    while let Some((done, state)) = open.pop() {
        if !seen.insert((done, state.clone())) {
            continue;
        }
        if done & needed == needed && (state.status, state.bound) == (end.status, end.bound) {
            return true;
        }
        let is_done = |at: usize| done & (1 << at) != 0;
        // Nothing may come before what had ended when it began.
        let first_end = events.iter().enumerate().filter(|(at, _)| !is_done(*at)).filter_map(|(_, event)| event.answered).min();
        for (at, event) in events.iter().enumerate() {
            let possible = !is_done(at) && first_end.is_none_or(|end| event.invoked < end) && event.after.is_none_or(is_done);
            if possible {
                open.extend(state.after(&event.act).into_iter().map(|next| (done | 1 << at, next)));
            }
        }
    }
    false
}

#[test]
fn a_hand_out_that_begins_after_an_acknowledged_revocation_fits_no_order() {
    let begin = State { status: [Status::Active; AUTHORIZATIONS], generation: [1; AUTHORIZATIONS], bound: [Some(0), None, None, None] };
    let act = |act, invoked, answered| Event { act, invoked, answered: Some(answered), after: None };
    let unbound = act(Act::Unbind { workflow: 0, saw: Some(true) }, 0, 1);
    let revoked = act(Act::Revoke { of: 0, saw: Some(Revoked::Done) }, 2, 5);
    let end = State { status: [Status::Revoked, Status::Active, Status::Active], bound: [None; WORKFLOWS], ..begin.clone() };
    let handed_out = |invoked| act(Act::Found { workflow: 0, of: 0, bound: true }, invoked, 9);
    assert!(can_be_ordered(&begin, &[unbound.clone(), revoked.clone(), handed_out(0)], &end));
    assert!(!can_be_ordered(&begin, &[unbound.clone(), revoked.clone(), handed_out(6)], &end));
    assert!(!can_be_ordered(&begin, &[unbound, revoked], &begin), "the table is as it was");
}

//! The state, and what one request makes of it.

use stateright::{Model, Property};

use crate::rules;

/// A condition of the code, by the write that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Guard {
    /// The workflow is bound as it was when it was read.
    BindAsExpected,
    BindToActive,
    UnbindAsExpected,
    MoveAsExpected,
    MoveToActive,
    /// Nothing is bound.
    RevokeUnbound,
    /// It is active or ended.
    RevokeOnce,
    /// It is being revoked.
    FinishOnce,
    /// The workflow is bound to the authorization whose token it asks for.
    HandOutBound,
    HandOutActive,
    /// The version is as it was read, and the record active.
    ClaimAsRead,
    /// There is no lease, or the one that was read, and it has ended.
    ClaimUnleased,
    /// The lease is ours.
    CommitByOwner,
    /// The version is as it was claimed, and the record active.
    CommitAsRead,
    /// The lease is ours.
    EndByOwner,
    /// The version is as it was claimed, and the record active.
    EndAsRead,
    /// The lease is ours.
    ReleaseByOwner,
    /// The generation is the one that the commit was made from.
    RepairOfGeneration,
    /// It is active, or ended because that generation's fate was unknown.
    RepairOfLiving,
    /// Nobody else is refreshing it.
    RepairUnleased,
    /// New tokens of what is revoked are revoked too.
    RevokeOvertaken,
    /// Whoever takes a lease over notes a doubt about the refresh token.
    DoubtOfTakenOver,
    /// Whoever lost the answer notes it.
    DoubtOfLost,
    /// A refresh token is sent only while the lease lasts.
    AskWithinLease,
}

impl Guard {
    pub(crate) const ALL: [Self; 24] = [
        Self::BindAsExpected,
        Self::BindToActive,
        Self::UnbindAsExpected,
        Self::MoveAsExpected,
        Self::MoveToActive,
        Self::RevokeUnbound,
        Self::RevokeOnce,
        Self::FinishOnce,
        Self::HandOutBound,
        Self::HandOutActive,
        Self::ClaimAsRead,
        Self::ClaimUnleased,
        Self::CommitByOwner,
        Self::CommitAsRead,
        Self::EndByOwner,
        Self::EndAsRead,
        Self::ReleaseByOwner,
        Self::RepairOfGeneration,
        Self::RepairOfLiving,
        Self::RepairUnleased,
        Self::RevokeOvertaken,
        Self::DoubtOfTakenOver,
        Self::DoubtOfLost,
        Self::AskWithinLease,
    ];

    /// Whether a job has this condition at all.
    pub(crate) fn concerns(self, job: Job) -> bool {
        match self {
            Self::BindAsExpected | Self::BindToActive => matches!(job, Job::Bind { .. }),
            Self::UnbindAsExpected => matches!(job, Job::Unbind { .. }),
            Self::MoveAsExpected | Self::MoveToActive => matches!(job, Job::Replace { .. }),
            Self::RevokeUnbound | Self::RevokeOnce => matches!(job, Job::Revoke { .. }),
            Self::FinishOnce => matches!(job, Job::Settle { .. }),
            Self::HandOutBound | Self::HandOutActive => matches!(job, Job::HandOut { .. }),
            Self::RepairOfGeneration | Self::RepairOfLiving | Self::RepairUnleased => matches!(job, Job::Drain),
            Self::ClaimAsRead
            | Self::ClaimUnleased
            | Self::CommitByOwner
            | Self::CommitAsRead
            | Self::EndByOwner
            | Self::EndAsRead
            | Self::ReleaseByOwner
            | Self::RevokeOvertaken
            | Self::DoubtOfTakenOver
            | Self::DoubtOfLost
            | Self::AskWithinLease => matches!(job, Job::Refresh { .. }),
        }
    }
}

/// What a process does, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Job {
    Bind {
        workflow: usize,
        to: usize,
    },
    Unbind {
        workflow: usize,
    },
    Replace {
        workflow: usize,
        to: usize,
    },
    Revoke {
        of: usize,
    },
    /// The schedule finishes a revocation.
    Settle {
        of: usize,
    },
    HandOut {
        workflow: usize,
        of: usize,
    },
    Refresh {
        of: usize,
    },
    /// The schedule takes a rescued commit from the queue.
    Drain,
}

/// How it begins.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) bound: [Option<usize>; 2],
    /// Whether the stored access tokens last.
    pub(crate) fresh: bool,
}

/// Who is there, and what may go wrong.
#[derive(Debug, Clone)]
pub(crate) struct Cast {
    pub(crate) name: &'static str,
    pub(crate) start: Start,
    pub(crate) jobs: Vec<Job>,
    pub(crate) crashes: u8,
    pub(crate) lost: u8,
    /// The provider takes a spent token while its successor is unused, and replaces that.
    pub(crate) grace: bool,
    /// How often the table does not take a commit, so that it is rescued.
    pub(crate) outages: u8,
    /// How often the provider refuses a token that was good.
    pub(crate) withdrawals: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Status {
    Active,
    Ended,
    Revoking,
    Deleted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) owner: usize,
    pub(crate) lives: bool,
}

/// One authorization, as the table has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) status: Status,
    pub(crate) version: u8,
    pub(crate) generation: u8,
    pub(crate) count: i8,
    pub(crate) lease: Option<Lease>,
    pub(crate) doubt: bool,
    /// The number of the stored refresh token.
    pub(crate) token: u8,
    pub(crate) fresh: bool,
}

/// What became of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Token {
    Good,
    Spent,
    Revoked,
    /// Good, and nobody knows it any more.
    Forgotten,
}

/// How far a process is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Begin,
    /// It has read how the workflow is bound.
    Expecting(Option<usize>),
    /// It has begun a revocation.
    Asking {
        token: u8,
    },
    /// The provider has done its part.
    Finishing,
    /// It has read the record.
    Read {
        version: u8,
        generation: u8,
        lease: Option<usize>,
    },
    /// It has the lease.
    Leased {
        version: u8,
        generation: u8,
        token: u8,
    },
    /// It has new tokens.
    Renewed {
        version: u8,
        generation: u8,
        token: u8,
    },
    /// The provider refused.
    Refused {
        version: u8,
    },
    /// The answer was lost.
    Lost,
    /// Its commit was refused.
    Overtaken {
        token: u8,
    },
    /// It has read that the record was revoked.
    Surplus {
        token: u8,
    },
    Over,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) phase: Phase,
    /// Whether a revocation of its authorization had been acknowledged when it began.
    pub(crate) late: bool,
    /// Whether its lease has ended, by its own clock.
    pub(crate) lapsed: bool,
}

/// A commit in the rescue queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Rescued {
    pub(crate) generation: u8,
    pub(crate) token: u8,
    pub(crate) owner: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) records: [Record; 2],
    pub(crate) bound: [Option<usize>; 2],
    pub(crate) processes: Vec<Process>,
    /// The refresh tokens of the first authorization, by number; the other is never refreshed.
    pub(crate) tokens: Vec<Token>,
    pub(crate) rescued: Vec<Rescued>,
    pub(crate) acknowledged: [bool; 2],
    /// What happened that must not happen, if it leaves no other trace.
    pub(crate) wrong: Option<&'static str>,
    crashes: u8,
    lost: u8,
    outages: u8,
    withdrawals: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// A process makes its next request.
    Next(usize),
    /// It takes effect, and the answer is lost for good.
    Lose(usize),
    Crash(usize),
    /// The table does not take a commit, and the rescue queue does.
    Rescue(usize),
    /// The provider refuses, and means the grant.
    Withdraw(usize),
    /// A lease ends.
    Expire(usize),
}

pub(crate) struct Life {
    pub(crate) cast: Cast,
    pub(crate) without: Option<Guard>,
}

impl Life {
    fn on(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// Whether a condition holds, or is not asked.
    fn holds(&self, guard: Guard, condition: bool) -> bool {
        condition || !self.on(guard)
    }
}

impl Model for Life {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let start = &self.cast.start;
        let record = |of| Record {
            status: Status::Active,
            version: 1,
            generation: 1,
            count: i8::try_from(start.bound.iter().filter(|bound| **bound == Some(of)).count()).unwrap(),
            lease: None,
            doubt: false,
            token: 0,
            fresh: start.fresh,
        };
        vec![State {
            records: [record(0), record(1)],
            bound: start.bound,
            processes: vec![Process { phase: Phase::Begin, late: false, lapsed: false }; self.cast.jobs.len()],
            tokens: vec![Token::Good],
            rescued: Vec::new(),
            acknowledged: [false; 2],
            wrong: None,
            crashes: self.cast.crashes,
            lost: self.cast.lost,
            outages: self.cast.outages,
            withdrawals: self.cast.withdrawals,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.wrong.is_some() {
            return;
        }
        for (at, process) in state.processes.iter().enumerate().filter(|(_, process)| process.phase != Phase::Over) {
            actions.push(Action::Next(at));
            if state.crashes > 0 && process.phase != Phase::Begin {
                actions.push(Action::Crash(at));
            }
            if state.lost > 0 {
                actions.push(Action::Lose(at));
            }
            if state.outages > 0 && matches!(process.phase, Phase::Renewed { .. }) {
                actions.push(Action::Rescue(at));
            }
            if state.withdrawals > 0 && matches!(process.phase, Phase::Leased { .. }) {
                actions.push(Action::Withdraw(at));
            }
        }
        if state.records[0].lease.is_some_and(|lease| lease.lives) {
            actions.push(Action::Expire(0));
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Next(at) => self.request(&mut state, at),
            Action::Lose(at) => {
                state.lost -= 1;
                let asked = matches!(state.processes[at].phase, Phase::Leased { .. });
                self.request(&mut state, at);
                let phase = std::mem::replace(&mut state.processes[at].phase, Phase::Over);
                if asked {
                    // It may be the provider's answer.
                    state.processes[at].phase = Phase::Lost;
                }
                state.forget(&phase);
            }
            Action::Crash(at) => {
                state.crashes -= 1;
                let phase = std::mem::replace(&mut state.processes[at].phase, Phase::Over);
                state.forget(&phase);
            }
            Action::Rescue(at) => {
                state.outages -= 1;
                let Phase::Renewed { generation, token, .. } = state.processes[at].phase else { return None };
                state.rescued.push(Rescued { generation, token, owner: at });
                state.processes[at].phase = Phase::Over;
            }
            Action::Withdraw(at) => {
                state.withdrawals -= 1;
                let Phase::Leased { version, .. } = state.processes[at].phase else { return None };
                state.processes[at].phase = Phase::Refused { version };
            }
            Action::Expire(of) => {
                let lease = state.records[of].lease.as_mut()?;
                lease.lives = false;
                state.processes[lease.owner].lapsed = true;
            }
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        rules::all()
    }
}

impl State {
    /// Whoever knew these tokens is no more.
    fn forget(&mut self, phase: &Phase) {
        if let Phase::Renewed { token, .. } | Phase::Overtaken { token } | Phase::Surplus { token } = phase {
            let known = self.records[0].token == *token || self.rescued.iter().any(|rescued| rescued.token == *token);
            if self.tokens[usize::from(*token)] == Token::Good && !known {
                self.tokens[usize::from(*token)] = Token::Forgotten;
            }
        }
    }

    fn success(&mut self, at: usize) {
        if self.processes[at].late {
            self.wrong = Some("a success began after an acknowledged revocation");
        }
        self.processes[at].phase = Phase::Over;
    }
}

impl Life {
    /// The next request of a process.
    fn request(&self, state: &mut State, at: usize) {
        let job = self.cast.jobs[at];
        if state.processes[at].phase == Phase::Begin {
            let concerns = match job {
                Job::Bind { to, .. } | Job::Replace { to, .. } => Some(to),
                Job::HandOut { of, .. } | Job::Refresh { of } => Some(of),
                Job::Unbind { .. } | Job::Revoke { .. } | Job::Settle { .. } | Job::Drain => None,
            };
            state.processes[at].late = concerns.is_some_and(|of| state.acknowledged[of]);
        }
        match job {
            Job::Bind { workflow, to } => self.rebind(state, at, workflow, Some(to), [Guard::BindAsExpected, Guard::BindToActive]),
            Job::Unbind { workflow } => self.rebind(state, at, workflow, None, [Guard::UnbindAsExpected; 2]),
            Job::Replace { workflow, to } => self.rebind(state, at, workflow, Some(to), [Guard::MoveAsExpected, Guard::MoveToActive]),
            Job::Revoke { of } => self.revoke(state, at, of),
            Job::Settle { of } => Self::settle(state, at, of, self.on(Guard::FinishOnce)),
            Job::HandOut { workflow, of } if state.processes[at].phase == Phase::Begin => self.hand_out(state, at, workflow, of),
            Job::HandOut { of, .. } | Job::Refresh { of } => self.refresh(state, at, of),
            Job::Drain => self.drain(state, at),
        }
    }

    /// Binds, moves or unbinds: the binding and the counts of both sides in one transaction.
    fn rebind(&self, state: &mut State, at: usize, workflow: usize, to: Option<usize>, [as_expected, to_active]: [Guard; 2]) {
        let Phase::Expecting(expected) = state.processes[at].phase else {
            state.processes[at].phase = match (self.cast.jobs[at], state.bound[workflow]) {
                // Nothing to take away, or to move.
                (Job::Unbind { .. }, None) => Phase::Over,
                (Job::Replace { to, .. }, from) if from.is_none() || from == Some(to) => Phase::Over,
                (_, read) => Phase::Expecting(read),
            };
            return;
        };
        if !self.holds(as_expected, state.bound[workflow] == expected) {
            // It is followed.
            state.processes[at].phase = Phase::Begin;
            return;
        }
        if let Some(to) = to {
            if !self.holds(to_active, state.records[to].status == Status::Active) {
                state.processes[at].phase = Phase::Over;
                return;
            }
            state.records[to].count += 1;
        }
        if let Some(from) = expected {
            state.records[from].count -= 1;
        }
        state.bound[workflow] = to;
        if to.is_some() { state.success(at) } else { state.processes[at].phase = Phase::Over }
    }

    fn revoke(&self, state: &mut State, at: usize, of: usize) {
        match state.processes[at].phase {
            Phase::Begin => {
                let record = &mut state.records[of];
                let once = self.holds(Guard::RevokeOnce, matches!(record.status, Status::Active | Status::Ended));
                if once && self.holds(Guard::RevokeUnbound, record.count == 0) {
                    if record.status == Status::Deleted {
                        state.wrong = Some("what was deleted came back");
                    }
                    record.status = Status::Revoking;
                    record.version += 1;
                    record.lease = None;
                    state.processes[at].phase = Phase::Asking { token: record.token };
                    state.acknowledged[of] = true;
                } else {
                    state.processes[at].phase = Phase::Over;
                }
            }
            Phase::Asking { token } => {
                if of == 0 && state.tokens[usize::from(token)] == Token::Good {
                    state.tokens[usize::from(token)] = Token::Revoked;
                }
                state.processes[at].phase = Phase::Finishing;
            }
            _ => Self::settle(state, at, of, self.on(Guard::FinishOnce)),
        }
    }

    /// The ciphertext goes, a tombstone stays.
    fn settle(state: &mut State, at: usize, of: usize, only_once: bool) {
        if state.processes[at].phase == Phase::Begin {
            // The schedule does what the process before it may not have done.
            let record = &state.records[of];
            if record.status == Status::Revoking {
                let token = usize::from(record.token);
                if of == 0 && state.tokens[token] == Token::Good {
                    state.tokens[token] = Token::Revoked;
                }
                state.processes[at].phase = Phase::Finishing;
            } else {
                state.processes[at].phase = Phase::Over;
            }
            return;
        }
        let record = &mut state.records[of];
        state.processes[at].phase = Phase::Over;
        match record.status {
            Status::Revoking => record.status = Status::Deleted,
            _ if only_once => {}
            _ => state.wrong = Some("a tombstone was written again"),
        }
    }

    /// One consistent read of authorization and binding.
    fn hand_out(&self, state: &mut State, at: usize, workflow: usize, of: usize) {
        let record = &state.records[of];
        let bound = self.holds(Guard::HandOutBound, state.bound[workflow] == Some(of));
        if !(bound && self.holds(Guard::HandOutActive, record.status == Status::Active)) {
            state.processes[at].phase = Phase::Over;
        } else if record.status != Status::Active {
            state.wrong = Some("a token of what is not active");
        } else if record.fresh {
            if state.bound[workflow] != Some(of) {
                state.wrong = Some("a token for a workflow that is not bound");
            }
            state.success(at);
        } else {
            if state.bound[workflow] != Some(of) {
                state.wrong = Some("a refresh for a workflow that is not bound");
            }
            state.processes[at].phase = record.read();
        }
    }

    fn refresh(&self, state: &mut State, at: usize, of: usize) {
        let record = &mut state.records[of];
        match state.processes[at].phase.clone() {
            Phase::Begin => {
                state.processes[at].phase = if record.status == Status::Active { record.read() } else { Phase::Over };
            }
            Phase::Read { version, generation, lease } => {
                let as_read = record.version == version && record.status == Status::Active;
                let unleased = match (lease, record.lease) {
                    (None, None) => true,
                    (Some(read), Some(now)) => read == now.owner && !now.lives,
                    (None, Some(_)) | (Some(_), None) => false,
                };
                if !(self.holds(Guard::ClaimAsRead, as_read) && self.holds(Guard::ClaimUnleased, unleased)) {
                    state.processes[at].phase = Phase::Over;
                    return;
                }
                if record.status != Status::Active {
                    state.wrong = Some("a lease on what is not active");
                } else if record.lease.is_some_and(|lease| lease.lives) {
                    state.wrong = Some("a living lease was taken from its owner");
                } else if generation != record.generation {
                    state.wrong = Some("what was refreshed a moment ago is refreshed again");
                }
                record.doubt |= record.lease.is_some() && self.on(Guard::DoubtOfTakenOver);
                record.lease = Some(Lease { owner: at, lives: true });
                state.processes[at].phase = Phase::Leased { version: record.version, generation: record.generation, token: record.token };
            }
            Phase::Leased { version, generation, token } => self.ask(state, at, of, (version, generation, token)),
            Phase::Renewed { version, generation, token } => {
                let owned = self.holds(Guard::CommitByOwner, record.lease.is_some_and(|lease| lease.owner == at));
                let as_read = record.version == version && record.status == Status::Active;
                if owned && self.holds(Guard::CommitAsRead, as_read) {
                    if record.lease.is_some_and(|lease| lease.owner != at && lease.lives) {
                        state.wrong = Some("a living lease was taken from its owner");
                    } else if !matches!(record.status, Status::Active) {
                        state.wrong = Some("a refresh was stored in what is not active");
                    }
                    *record = Record {
                        version: version + 1,
                        generation: generation + 1,
                        lease: None,
                        doubt: false,
                        token,
                        fresh: true,
                        ..*record
                    };
                    state.success(at);
                } else {
                    state.processes[at].phase = Phase::Overtaken { token };
                }
            }
            Phase::Refused { version } => {
                let owned = self.holds(Guard::EndByOwner, record.lease.is_some_and(|lease| lease.owner == at));
                let as_read = record.version == version && record.status == Status::Active;
                if owned && self.holds(Guard::EndAsRead, as_read) {
                    if record.lease.is_some_and(|lease| lease.owner != at && lease.lives) {
                        state.wrong = Some("a living lease was taken from its owner");
                    } else if record.status != Status::Active {
                        state.wrong = Some("what is revoked was ended");
                    }
                    *record = Record { status: Status::Ended, version: version + 1, lease: None, ..*record };
                }
                state.processes[at].phase = Phase::Over;
            }
            Phase::Lost => {
                if self.holds(Guard::ReleaseByOwner, record.lease.is_some_and(|lease| lease.owner == at)) {
                    if record.lease.is_some_and(|lease| lease.owner != at && lease.lives) {
                        state.wrong = Some("a living lease was taken from its owner");
                    }
                    record.doubt |= self.on(Guard::DoubtOfLost);
                    record.lease = None;
                }
                state.processes[at].phase = Phase::Over;
            }
            Phase::Overtaken { token } => {
                let gone = matches!(record.status, Status::Revoking | Status::Deleted);
                state.processes[at].phase = if gone && self.on(Guard::RevokeOvertaken) { Phase::Surplus { token } } else { Phase::Over };
                if !gone {
                    state.forget(&Phase::Overtaken { token });
                }
            }
            Phase::Surplus { token } => {
                state.tokens[usize::from(token)] = Token::Revoked;
                state.processes[at].phase = Phase::Over;
            }
            Phase::Expecting(_) | Phase::Asking { .. } | Phase::Finishing | Phase::Over => panic!("not a refresh"),
        }
    }

    /// The provider rotates.
    fn ask(&self, state: &mut State, at: usize, of: usize, (version, generation, token): (u8, u8, u8)) {
        let record = &state.records[of];
        if state.processes[at].lapsed && self.on(Guard::AskWithinLease) {
            state.processes[at].phase = Phase::Over;
            return;
        }
        let last = state.tokens.len() - 1;
        let (presented, stored) = (usize::from(token), usize::from(record.token));
        if state.tokens[presented] == Token::Spent && stored > presented {
            state.wrong = Some("a spent token was presented after its successor was stored");
        }
        let in_grace =
            self.cast.grace && state.tokens[presented] == Token::Spent && matches!(state.tokens[last], Token::Good | Token::Forgotten);
        match state.tokens[presented] {
            Token::Good => state.tokens[presented] = Token::Spent,
            Token::Spent if in_grace => state.tokens[last] = Token::Revoked,
            Token::Spent | Token::Revoked | Token::Forgotten => {
                state.processes[at].phase = Phase::Refused { version };
                return;
            }
        }
        state.tokens.push(Token::Good);
        state.processes[at].phase = Phase::Renewed { version, generation, token: u8::try_from(last + 1).unwrap() };
    }

    /// The schedule stores a rescued commit, or revokes its tokens.
    fn drain(&self, state: &mut State, at: usize) {
        let Some(rescued) = state.rescued.first().cloned() else {
            state.processes[at].phase = Phase::Over;
            return;
        };
        let record = &mut state.records[0];
        let of_generation = self.holds(Guard::RepairOfGeneration, record.generation == rescued.generation);
        let living = self.holds(Guard::RepairOfLiving, matches!(record.status, Status::Active | Status::Ended));
        let unleased = record.lease.is_none_or(|lease| lease.owner == rescued.owner || !lease.lives);
        let stands_in_the_way = !self.holds(Guard::RepairUnleased, unleased);
        state.processes[at].phase = Phase::Over;
        if of_generation && living && !stands_in_the_way {
            if !matches!(record.status, Status::Active | Status::Ended) {
                state.wrong = Some("a revoked authorization came back");
            } else if record.generation != rescued.generation {
                state.wrong = Some("an older credential replaced a newer one");
            } else if !unleased {
                state.wrong = Some("a living lease was taken from its owner");
            }
            *record = Record {
                status: Status::Active,
                version: record.version + 1,
                generation: rescued.generation + 1,
                lease: None,
                token: rescued.token,
                fresh: true,
                ..*record
            };
            state.rescued.remove(0);
        } else if matches!(record.status, Status::Revoking | Status::Deleted) {
            if self.on(Guard::RevokeOvertaken) && state.tokens[usize::from(rescued.token)] == Token::Good {
                state.tokens[usize::from(rescued.token)] = Token::Revoked;
            }
            state.rescued.remove(0);
        } else if record.generation != rescued.generation {
            // The record has gone on without it.
            state.rescued.remove(0);
            state.forget(&Phase::Overtaken { token: rescued.token });
        }
    }
}

impl Record {
    fn read(&self) -> Phase {
        Phase::Read { version: self.version, generation: self.generation, lease: self.lease.map(|lease| lease.owner) }
    }
}

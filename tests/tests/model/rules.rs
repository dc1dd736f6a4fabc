//! What must be true in every state (design, invariants).

use stateright::Property;

use crate::life::{Life, Phase, Record, State, Status, Token};

pub(crate) fn all() -> Vec<Property<Life>> {
    vec![
        Property::always("I3: counts are the bindings", |_, state: &State| {
            state.records.iter().enumerate().all(|(of, record)| usize::try_from(record.count) == Ok(bindings(state, of)))
        }),
        Property::always("nothing revoked is bound", |_, state: &State| {
            state.records.iter().enumerate().all(|(of, record)| !is_gone(record) || bindings(state, of) == 0)
        }),
        Property::always("nothing goes wrong on the way (I11 and others)", |_, state: &State| state.wrong.is_none()),
        Property::always("I12: no token of what is revoked lives on", |_, state: &State| {
            let at_rest = state.processes.iter().all(|process| process.phase == Phase::Over);
            let finished = is_gone(&state.records[0]) && state.rescued.is_empty() && state.records[0].status == Status::Deleted;
            !(at_rest && finished && state.tokens.contains(&Token::Good))
        }),
        Property::always("no refresh token is lost silently", |_, state: &State| {
            let record = &state.records[0];
            let told = record.doubt || record.lease.is_some() || !state.rescued.is_empty();
            record.status != Status::Active || told || state.tokens[usize::from(record.token)] == Token::Good
        }),
        Property::always("one refresh at a time", |_, state: &State| {
            let at_it = |process: &&crate::life::Process| matches!(process.phase, Phase::Leased { .. });
            let lease = state.records[0].lease.filter(|lease| lease.lives).map(|lease| lease.owner);
            state.processes.iter().enumerate().filter(|(at, process)| at_it(process) && lease == Some(*at)).count() <= 1
        }),
    ]
}

fn bindings(state: &State, of: usize) -> usize {
    state.bound.iter().filter(|bound| **bound == Some(of)).count()
}

fn is_gone(record: &Record) -> bool {
    matches!(record.status, Status::Revoking | Status::Deleted)
}

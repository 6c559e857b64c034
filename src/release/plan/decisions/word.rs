//! What people have said about a plan that waits; pure.

use super::{
    super::super::observed::{Ask, DecisionSeen, Observed},
    find, find_all,
};
use crate::api::{Gate, Record};

/// What people have said.
pub(in super::super) enum Word<'a> {
    /// One approval of each person who gave one, the oldest first.
    Yes(Vec<&'a DecisionSeen>),
    No(&'a DecisionSeen),
}

/// Looks for a word on the plan of a gate; a no counts more than a yes.
pub(in super::super) fn word<'a>(seen: &'a Observed, record: &Record, gate: Gate) -> Result<Word<'a>, Ask> {
    if let Some(no) = find(seen, record, |kind| kind.closes(gate))? {
        return Ok(Word::No(no));
    }
    Ok(Word::Yes(one_of_each(find_all(seen, record, |kind| kind.opens(gate))?)))
}

/// Returns one Decision of each person, the first.
pub(in super::super) fn one_of_each(all: Vec<&DecisionSeen>) -> Vec<&DecisionSeen> {
    let mut people: Vec<&DecisionSeen> = vec![];
    for decision in all {
        if people.iter().all(|known| known.actor != decision.actor) {
            people.push(decision);
        }
    }
    people
}

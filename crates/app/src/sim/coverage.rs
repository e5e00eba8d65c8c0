//! Which pairs of state and event were reached: an event that moved a plan, or one that the store refused in that state.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::flow::{Event, State};

/// The reviewed table of `domain::flow`, as a reviewer reads it. The checkers ask it and never the code.
const TABLE: &str = include_str!("../../../domain/testdata/flow.txt");

/// Pairs that the table allows and that no use case brings about, with the reason.
pub const UNREACHABLE: [(State, Event, &str); 4] = [
    (State::Allowed, Event::Expire, "a permit is granted in the transaction that allows"),
    (State::Deferred, Event::Void, "only when the requester left, and nobody leaves here"),
    (State::Held, Event::Void, "only when the requester left, and nobody leaves here"),
    (State::Unwound, Event::FailUndo, "an undo fails while it is under way, never between two of them"),
];

/// Reached pairs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    reached: BTreeSet<(State, Event)>,
}

impl Coverage {
    /// A pair was reached.
    pub fn reach(&mut self, state: State, event: Event) {
        self.reached.insert((state, event));
    }

    /// What another run reached was reached too.
    pub fn merge(&mut self, other: &Self) {
        self.reached.extend(&other.reached);
    }

    /// How many of the pairs that can be reached were, and how many there are.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let all = State::ALL.len() * Event::ALL.len() - UNREACHABLE.len();
        (all - self.missing().len(), all)
    }

    /// Pairs that can be reached and were not.
    #[must_use]
    pub fn missing(&self) -> Vec<(State, Event)> {
        let excused = |pair: &(State, Event)| UNREACHABLE.iter().any(|(s, e, _)| (*s, *e) == *pair);
        let pairs = State::ALL.into_iter().flat_map(|state| Event::ALL.map(|event| (state, event)));
        pairs.filter(|pair| !self.reached.contains(pair) && !excused(pair)).collect()
    }

    /// Pairs that were reached although nothing should bring them about.
    #[must_use]
    pub fn unexpected(&self) -> Vec<(State, Event)> {
        let pairs = UNREACHABLE.iter().map(|(state, event, _)| (*state, *event));
        pairs.filter(|pair| self.reached.contains(pair)).collect()
    }
}

/// The table, parsed: `state: event → state, …`.
pub(super) fn table() -> BTreeMap<(State, Event), State> {
    let mut table = BTreeMap::new();
    for line in TABLE.lines() {
        let (state, moves) = line.split_once(": ").expect("a line names its state");
        let state = State::parse(state).expect("a state of the table is one");
        for (event, after) in moves.split(", ").filter_map(|pair| pair.split_once(" → ")) {
            let event = Event::ALL.into_iter().find(|known| known.as_str() == event);
            let after = State::parse(after).expect("a state of the table is one");
            table.insert((state, event.expect("an event of the table is one")), after);
        }
    }
    table
}

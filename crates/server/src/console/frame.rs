//! What stands around every page: where one is, who is signed in, what waits, and the halt switch.

use holdpoint_app::{
    gate::Gate,
    port::{PlanFilter, PlanRow},
};
use holdpoint_domain::{Digest, Timestamp, flow::State, halt::Reach};

use super::{
    Console,
    admit::Visitor,
    show::{When, count, list, tame},
};

/// Most plans that are counted for the badge: above it, nobody counts.
const MAX_COUNTED: u32 = 99;
/// Most runs that a halt names.
const MAX_IN_FLIGHT: u32 = 20;

/// An entry of the navigation.
pub(super) struct Entry {
    pub(super) path: &'static str,
    pub(super) label: &'static str,
    /// It begins another group.
    pub(super) apart: bool,
}

const fn entry(path: &'static str, label: &'static str) -> Entry {
    Entry { path, label, apart: false }
}

const fn apart(path: &'static str, label: &'static str) -> Entry {
    Entry { path, label, apart: true }
}

/// What people look for first.
pub(super) const NAV: [Entry; 13] = [
    entry("/", "Inbox"),
    entry("/runs", "Runs"),
    entry("/reviews", "Reviews"),
    entry("/changes", "Changes"),
    apart("/agents", "Agents"),
    entry("/people", "People"),
    entry("/brakes", "Brakes"),
    entry("/leases", "Leases"),
    apart("/policies", "Policies"),
    entry("/catalogue", "Catalogue"),
    entry("/settings", "Settings"),
    apart("/ledger", "Ledger"),
    entry("/figures", "Figures"),
];

/// What stands around a page.
pub(super) struct Frame {
    /// The page's entry of the navigation.
    pub(super) here: &'static str,
    pub(super) account: Option<Account>,
    /// Where one comes back to after a halt.
    pub(super) page: String,
    /// How many plans wait for people.
    pub(super) waiting: usize,
    pub(super) halt: Option<Halted>,
    /// Runs that are under way.
    pub(super) in_flight: Vec<InFlight>,
    /// What everybody must know, on every page.
    pub(super) alarms: Vec<String>,
    pub(super) origin: String,
    pub(super) size: u64,
    pub(super) root: String,
    pub(super) now: When,
    /// How long a session lasts without a request.
    pub(super) idle_ms: u64,
}

/// Who is signed in.
pub(super) struct Account {
    pub(super) name: String,
    pub(super) how: &'static str,
    pub(super) administrator: bool,
    /// How many sessions they have open, this one among them.
    pub(super) sessions: String,
}

/// A halt that is in force.
pub(super) struct Halted {
    /// The digest of the halt: whoever ends it ends this one.
    pub(super) digest: String,
    pub(super) hard: bool,
    pub(super) by: String,
    pub(super) at: When,
}

/// A run that is under way.
pub(super) struct InFlight {
    pub(super) plan: String,
    pub(super) action: String,
    pub(super) target: String,
    pub(super) state: Shape,
}

/// A state of a plan: a word, and a shape, so that nobody needs colours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) glyph: &'static str,
    pub(super) word: &'static str,
    /// The class of its tone.
    pub(super) tone: &'static str,
}

impl Frame {
    /// The frame of a page. Never fails: whoever wants to halt must find the switch, also when the store is closed.
    pub(super) async fn new(console: &Console, visitor: Option<&Visitor>, here: &'static str) -> Self {
        let gate = console.door.service.gate();
        let now = console.now();
        let (waiting, in_flight) = match visitor {
            Some(_) => (waiting(&gate).await, in_flight(&gate).await),
            None => (0, Vec::new()),
        };
        let head = gate.ports.store.head();
        let account = visitor.map(|visitor| Account {
            name: visitor.session.person.to_string(),
            how: visitor.session.how.as_str(),
            administrator: gate.controls.registry.is_administrator(&visitor.session.person),
            sessions: count(console.sessions.of(&visitor.session.person, now).len(), "open session"),
        });
        Self {
            here,
            page: visitor.map_or_else(|| "/".to_owned(), |visitor| visitor.page.clone()),
            halt: halted(&gate, now).filter(|_| account.is_some()),
            alarms: if account.is_some() { alarms(&gate) } else { Vec::new() },
            account,
            waiting,
            in_flight,
            origin: tame(&head.origin),
            size: head.size,
            root: head.root.to_string(),
            now: When::new(now, now),
            idle_ms: console.sitting.idle.ms(),
        }
    }

    /// The navigation.
    pub(super) const fn entries(&self) -> &'static [Entry] {
        &NAV
    }

    /// Whether the page belongs to this entry.
    pub(super) fn is_here(&self, entry: &Entry) -> bool {
        self.here == entry.path
    }

    /// The badge of the inbox.
    pub(super) fn badge(&self) -> String {
        let most = usize::try_from(MAX_COUNTED).unwrap_or(usize::MAX);
        if self.waiting >= most { format!("{most}+") } else { self.waiting.to_string() }
    }
}

impl Frame {
    /// Whether more runs are under way than are named.
    pub(super) fn flies_more(&self) -> bool {
        self.in_flight.len() >= usize::try_from(MAX_IN_FLIGHT).unwrap_or(usize::MAX)
    }

    /// How many runs are under way.
    pub(super) fn flying(&self) -> String {
        let more = if self.flies_more() { " or more" } else { "" };
        format!("{}{more}", self.in_flight.len())
    }
}

async fn waiting(gate: &Gate) -> usize {
    let filter = PlanFilter { states: vec![State::Held], limit: MAX_COUNTED, ..PlanFilter::default() };
    gate.ports.store.plans(filter).await.map_or(0, |rows| rows.len())
}

async fn in_flight(gate: &Gate) -> Vec<InFlight> {
    let states =
        State::ALL.into_iter().filter(|state| state.is_running() && *state != State::InDoubt).collect();
    let filter = PlanFilter { states, limit: MAX_IN_FLIGHT, ..PlanFilter::default() };
    let one = |row: PlanRow| InFlight {
        plan: row.id.to_string(),
        action: row.action.to_string(),
        target: row.target.to_string(),
        state: shape(row.state),
    };
    gate.ports.store.plans(filter).await.unwrap_or_default().into_iter().map(one).collect()
}

fn halted(gate: &Gate, now: Timestamp) -> Option<Halted> {
    gate.halted().map(|halt| Halted {
        digest: Digest::of(&halt).map(|digest| digest.to_string()).unwrap_or_default(),
        hard: halt.reach == Reach::Hard,
        by: halt
            .by
            .map_or_else(|| "whoever wrote the latch file on the machine".to_owned(), |by| by.to_string()),
        at: When::new(halt.at_ms, now),
    })
}

fn alarms(gate: &Gate) -> Vec<String> {
    let mut alarms = Vec::new();
    if gate.ports.store.closed().is_some() {
        alarms.push("The store is closed: nothing can be recorded, so nothing starts. An operator must look at the gate's log.".to_owned());
    }
    let refused = gate.refused_inputs();
    if !refused.is_empty() {
        let which = list(&refused);
        alarms.push(format!(
            "What is on disk is not what is in force ({which}): T1 and T2 are suspended until a person has looked."
        ));
    }
    if !gate.controls.registry.has_two_with_passkeys() {
        alarms.push(
            "T4 is unavailable: it needs passkeys of two people whom different acts enrolled. An administrator \
             invites: holdpoint people invite."
                .to_owned(),
        );
    }
    alarms
}

/// A state's word and shape.
pub(super) const fn shape(state: State) -> Shape {
    let (glyph, word, tone) = match state {
        State::New => ("○", "new", "quiet"),
        State::Proposed => ("○", "proposed", "quiet"),
        State::Deferred => ("◌", "measured again", "waits"),
        State::Denied => ("✕", "denied", "bad"),
        State::Held => ("◆", "waits for people", "waits"),
        State::Rejected => ("✕", "rejected", "bad"),
        State::Expired => ("◇", "expired", "quiet"),
        State::Void => ("◇", "void", "quiet"),
        State::Allowed => ("▹", "allowed", "quiet"),
        State::Permitted => ("▹", "permitted", "quiet"),
        State::Claimed => ("▸", "claimed", "runs"),
        State::Leased => ("▸", "leased", "runs"),
        State::Rehearsed => ("▸", "rehearsed", "runs"),
        State::Applying => ("▶", "applying", "runs"),
        State::Stepped => ("▶", "between steps", "runs"),
        State::Applied => ("▶", "verifying", "runs"),
        State::Undoing => ("◀", "undoing", "runs"),
        State::Unwound => ("◀", "undoing", "runs"),
        State::Succeeded => ("✓", "succeeded", "good"),
        State::Failed => ("■", "failed, nothing changed", "bad"),
        State::Undone => ("↺", "undone", "bad"),
        State::UndoFailed => ("▲", "undo failed", "alarm"),
        State::InDoubt => ("▲", "in doubt", "alarm"),
        State::Resolved => ("●", "resolved", "quiet"),
    };
    Shape { glyph, word, tone }
}

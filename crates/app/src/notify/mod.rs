//! Telling people: who hears of what, when, and again when nobody answers.
//!
//! [`notable()`] says what a record means to people, [`Watch`] is the pure planner (records, rules, rota and time in, messages out),
//! [`Outbox`] keeps what is not delivered yet, and [`Teller`] follows the ledger with them. Nothing in here decides anything or
//! appends a record: a message carries a link, and a hold ends when its terms say so, however often people were reminded.
//!
//! What an agent wrote is in no message: every field is an identifier, a number, a time or a word of ours.

mod message;
mod notable;
mod outbox;
mod rules;
mod teller;
mod watch;

pub use message::{About, Event, Message, StepCard, Subject, Why};
pub use notable::{Concern, Notable, Reading, notable};
pub use outbox::{ChannelState, GIVE_UP_AFTER, MAX_PAUSE, MAX_WAITING, Outbox};
pub use rules::{Escalation, OnCall, Route, Rules, Told, Who};
pub use teller::{TellError, Teller, TellerPorts};
pub use watch::{Planned, Watch};

/// The kinds of things that only notifications name.
pub mod kind {
    use holdpoint_domain::id::Kind;

    /// A way to tell people: an endpoint, a mail server, a chat's webhook.
    #[derive(Debug)]
    pub enum Channel {}
    /// Who is on call, by turns.
    #[derive(Debug)]
    pub enum Rota {}
    /// Some people with a name.
    #[derive(Debug)]
    pub enum Group {}

    impl Kind for Channel {
        const WHAT: &'static str = "channel name";
    }
    impl Kind for Rota {
        const WHAT: &'static str = "rota name";
    }
    impl Kind for Group {
        const WHAT: &'static str = "group name";
    }
}

//! Messages: typed through and through, so that nothing but identifiers, numbers, times and words of ours can be in one.

use holdpoint_domain::{
    Digest, Id, Tier, Timestamp,
    change::Control,
    halt::Reach,
    id::kind,
    reconcile::Part,
    record::{DoubtWhy, FailWhy},
};
use serde::{Deserialize, Serialize};

use super::kind as own;

/// What people can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A plan waits for people.
    Held,
    /// A person approved a plan.
    Approved,
    /// A person rejected a plan.
    Rejected,
    /// A plan's time ran out; a hold that nobody answered is denied by that.
    Expired,
    /// Something was worse at the claim than what was decided, and the approvals are void.
    Voided,
    /// A plan was denied.
    Denied,
    /// A run succeeded.
    Succeeded,
    /// A run failed, and nothing is left changed.
    Failed,
    /// A run did not help, and was undone.
    Undone,
    /// A run did not help, and could not be undone.
    UndoFailed,
    /// Nobody knows how a run ended.
    InDoubt,
    /// A person said how a run in doubt ended.
    Resolved,
    /// A person owes a look at a run.
    ReviewOwed,
    /// That look is overdue, and suspends T1 and T2.
    ReviewOverdue,
    /// A person proposed another control input.
    ChangeProposed,
    /// An administrator rejected a change.
    ChangeRejected,
    /// A control input was replaced.
    Changed,
    /// A control input on disk is not the one in force.
    InputRefused,
    /// What is on disk is what is in force again.
    InputRestored,
    /// Somebody halted everything.
    Halted,
    /// A person let it go on.
    Resumed,
    /// People asked for an action beyond policy, or run it. Everybody is told, whatever the rules say.
    BreakGlass,
    /// A person said what was done outside of Holdpoint, or what they think of it. Everybody is told, whatever the rules say.
    Reconciled,
    /// Nothing happened: an operator tries a channel.
    Test,
}

/// One message for one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// The same whenever the same thing is told over the same channel again, and of no other message.
    pub id: String,
    /// What happened.
    pub event: Event,
    /// When, by the gate's clock.
    pub at_ms: Timestamp,
    /// The ledger index of the record that says so; none where none does.
    pub index: Option<u64>,
    /// It was told before, this many minutes before this, and nobody has answered.
    pub after_minutes: Option<u32>,
    /// What it is about.
    pub about: About,
    /// The console's page about it. It opens a page and decides nothing: no token is in it.
    pub link: String,
    /// Who is told; on a channel that everybody reads, who is meant.
    pub to: Vec<Id<kind::Person>>,
}

/// What a message is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The thing.
    pub subject: Subject,
    /// Who did it, where a person did.
    pub by: Option<Id<kind::Person>>,
    /// Why, out of closed lists.
    pub why: Option<Why>,
    /// When the time to answer ends.
    pub ends_at_ms: Option<Timestamp>,
}

/// The thing that a message is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Subject {
    /// A plan.
    Plan {
        /// The plan.
        plan: Id<kind::Plan>,
        /// Its hold, if it ever had one.
        hold: Option<Id<kind::Hold>>,
        /// The agent that proposed it.
        agent: Id<kind::Agent>,
        /// Its tier, once decided.
        tier: Option<Tier>,
        /// How many people must approve; zero when nobody must.
        approvals: u32,
        /// Its steps, in order.
        steps: Vec<StepCard>,
        /// The rules that had a say in the decision.
        rules: Vec<Id<kind::Rule>>,
    },
    /// A change of a control input.
    Change {
        /// The change.
        change: Id<kind::Change>,
        /// Which input.
        control: Control,
        /// How many administrators must approve; none once it is decided.
        approvals: Option<u32>,
    },
    /// What was done outside of Holdpoint.
    Account {
        /// The digest of the account.
        account: Digest,
        /// The action of the catalogue that it was like, if there is one.
        action: Option<Id<kind::Action>>,
        /// What it was done to.
        target: Id<kind::Target>,
        /// Who did it.
        people: Vec<Id<kind::Person>>,
        /// What was said of it.
        part: Part,
    },
    /// A control input on disk.
    Input {
        /// Which one.
        control: Control,
    },
    /// The gate as a whole.
    Gate {
        /// How much is halted; none when nothing is.
        halt: Option<Reach>,
    },
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepCard {
    /// The action.
    pub action: Id<kind::Action>,
    /// The target.
    pub target: Id<kind::Target>,
    /// Where it runs, as the gate resolved it; none for a target that the inventory does not know.
    pub environment: Option<Id<kind::Environment>>,
    /// The team that owns it.
    pub owner: Option<Id<kind::Team>>,
}

/// Why, out of closed lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Why a run, or its undo, failed.
    Failed(FailWhy),
    /// Why nobody knows how it ended.
    Doubt(DoubtWhy),
    /// Nobody answered in time, which denies.
    Unanswered,
    /// It had a permit and was not started in time.
    NotStarted,
    /// The gate could not tell in time whether its trigger holds.
    NotTold,
    /// Somebody asks for an action beyond policy, and two people must release it.
    GlassAsked,
    /// Two people released an action beyond policy, and it runs.
    GlassRuns,
}

impl Event {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 24] = [
        Self::Held,
        Self::Approved,
        Self::Rejected,
        Self::Expired,
        Self::Voided,
        Self::Denied,
        Self::Succeeded,
        Self::Failed,
        Self::Undone,
        Self::UndoFailed,
        Self::InDoubt,
        Self::Resolved,
        Self::ReviewOwed,
        Self::ReviewOverdue,
        Self::ChangeProposed,
        Self::ChangeRejected,
        Self::Changed,
        Self::InputRefused,
        Self::InputRestored,
        Self::Halted,
        Self::Resumed,
        Self::BreakGlass,
        Self::Reconciled,
        Self::Test,
    ];

    /// The word in rules and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Voided => "voided",
            Self::Denied => "denied",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Undone => "undone",
            Self::UndoFailed => "undo_failed",
            Self::InDoubt => "in_doubt",
            Self::Resolved => "resolved",
            Self::ReviewOwed => "review_owed",
            Self::ReviewOverdue => "review_overdue",
            Self::ChangeProposed => "change_proposed",
            Self::ChangeRejected => "change_rejected",
            Self::Changed => "changed",
            Self::InputRefused => "input_refused",
            Self::InputRestored => "input_restored",
            Self::Halted => "halted",
            Self::Resumed => "resumed",
            Self::BreakGlass => "break_glass",
            Self::Reconciled => "reconciled",
            Self::Test => "test",
        }
    }

    /// Whether people are asked for something that can stay unanswered: only then there is somebody to tell again.
    #[must_use]
    pub const fn asks(self) -> bool {
        match self {
            Self::Held
            | Self::InDoubt
            | Self::ReviewOwed
            | Self::ChangeProposed
            | Self::InputRefused
            | Self::Halted
            | Self::Reconciled => true,
            Self::Approved
            | Self::Rejected
            | Self::Expired
            | Self::Voided
            | Self::Denied
            | Self::Succeeded
            | Self::Failed
            | Self::Undone
            | Self::UndoFailed
            | Self::Resolved
            | Self::ReviewOverdue
            | Self::ChangeRejected
            | Self::Changed
            | Self::InputRestored
            | Self::Resumed
            | Self::BreakGlass
            | Self::Test => false,
        }
    }

    /// Whether everybody is told, over every channel, whatever the rules say: what goes round policy goes round no one's back.
    #[must_use]
    pub const fn is_for_everybody(self) -> bool {
        matches!(self, Self::BreakGlass | Self::Reconciled)
    }
}

impl Subject {
    /// The path of the console's page about it.
    #[must_use]
    pub fn path(&self, event: Event) -> String {
        match (self, event) {
            (Self::Plan { hold: Some(hold), .. }, Event::Held) => format!("/holds/{hold}"),
            (Self::Plan { plan, .. }, _) => format!("/plans/{plan}"),
            (Self::Change { change, .. }, _) => format!("/changes/{change}"),
            (Self::Account { .. }, _) => "/reconciliations".to_owned(),
            (Self::Input { .. }, _) => "/changes".to_owned(),
            (Self::Gate { .. }, _) => "/".to_owned(),
        }
    }
}

impl Message {
    /// The id of what is told over a channel: of a log, an entry of it, what it means, and how often it was told before.
    #[must_use]
    pub fn id_of(
        origin: &str,
        index: u64,
        event: Event,
        after_minutes: Option<u32>,
        channel: &Id<own::Channel>,
    ) -> String {
        let after = after_minutes.map_or_else(String::new, |minutes| minutes.to_string());
        // Origins have no line ends: one text is one message.
        let text = format!("holdpoint/notice/v1\n{origin}\n{index}\n{}\n{after}\n{channel}", event.as_str());
        let digest = Digest::of_bytes(text.as_bytes()).to_string();
        let hex: String = digest.chars().rev().take(32).collect::<Vec<_>>().into_iter().rev().collect();
        format!("msg_{hex}")
    }

    /// A message that says nothing but that the channel works.
    #[must_use]
    pub fn test(id: String, now: Timestamp, link_base: &str, to: Vec<Id<kind::Person>>) -> Self {
        let about = About { subject: Subject::Gate { halt: None }, by: None, why: None, ends_at_ms: None };
        let link = format!("{link_base}{}", about.subject.path(Event::Test));
        Self { id, event: Event::Test, at_ms: now, index: None, after_minutes: None, about, link, to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_rules() {
        for event in Event::ALL {
            let word = serde_json::to_string(&event).unwrap();
            assert_eq!(word, format!("\"{}\"", event.as_str()));
        }
    }

    #[test]
    fn ids_differ_in_whatever_is_told() {
        let (mail, chat) = (Id::parse("mail").unwrap(), Id::parse("chat").unwrap());
        let ids = [
            Message::id_of("log", 1, Event::Held, None, &mail),
            Message::id_of("other", 1, Event::Held, None, &mail),
            Message::id_of("log", 2, Event::Held, None, &mail),
            Message::id_of("log", 1, Event::Expired, None, &mail),
            Message::id_of("log", 1, Event::Held, Some(5), &mail),
            Message::id_of("log", 1, Event::Held, None, &chat),
        ];
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len());
        assert!(ids.iter().all(|id| id.len() == 36 && id.is_ascii()), "{ids:?}");
        assert_eq!(ids[0], Message::id_of("log", 1, Event::Held, None, &mail));
    }
}

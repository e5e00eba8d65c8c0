//! Telling people: the channels that messages go over, and what is remembered of it.

use async_trait::async_trait;
use holdpoint_domain::Id;

use crate::notify::{Message, kind};

/// The channels over which people are told what happened.
///
/// Durability: none is promised here. A message that was sent is remembered by whoever sends it, in a [`NotifyMemory`].
///
/// Idempotency: none. After a crash between a delivery and the memory of it the same message is sent once more, and its
/// [`Message::id`] is the same, so that a receiver can tell.
///
/// Concurrency: any number of callers. A channel that is slow or dead delays nobody but its own callers, each at most a minute.
///
/// Nothing comes back over a channel: there is no way in here by which a person could decide anything.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Sends a message over a channel. `Ok` when the other side has taken it.
    async fn send(&self, channel: &Id<kind::Channel>, message: &Message) -> Result<(), SendError>;
}

/// Why a message was not delivered, without anything that is secret and without the other side's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The other side could not be reached, or did not answer in time.
    #[error("no answer: {0}")]
    Unreachable(&'static str),
    /// It answered, and did not take it.
    #[error("refused with status {0}")]
    Refused(u16),
    /// The message cannot go this way: no such channel, or nobody on it has an address.
    #[error("cannot be sent: {0}")]
    Unsendable(&'static str),
}

/// What is remembered of telling people: one text, replaced as a whole.
///
/// Durability: when `keep` returns `Ok`, the text is what the next `load` returns, also after a crash of the machine; a crash
/// within `keep` leaves the old text or the new one.
///
/// Concurrency: one caller.
#[async_trait]
pub trait NotifyMemory: Send + Sync {
    /// The last text that was kept; none when there never was one.
    async fn load(&self) -> Result<Option<String>, MemoryError>;

    /// Keeps a text in place of the last one.
    async fn keep(&self, text: String) -> Result<(), MemoryError>;
}

/// The memory failed. The machine's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what people were told cannot be remembered: {0}")]
pub struct MemoryError(pub String);

//! What is not delivered yet, channel by channel: a dead one keeps its own messages waiting and no other's. Pure: time is given.

use std::collections::{BTreeMap, VecDeque};

use holdpoint_domain::{Id, Millis, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Concern, Message, Planned, kind::Channel};

/// The pause after the first failure in a row; each further one doubles it.
const FIRST_PAUSE: Millis = Millis::secs(1);
/// The longest pause between two tries.
pub const MAX_PAUSE: Millis = Millis::secs(10 * 60);
/// How long a message is tried for: a hold lives a day at most, and who has not heard of it by then hears nothing new.
pub const GIVE_UP_AFTER: Millis = Millis::secs(24 * 60 * 60);
/// Most messages that wait on a channel. Beyond it the oldest is given up: people who read again after a long outage want the
/// latest, and the console has all.
pub const MAX_WAITING: usize = 1_000;

/// Messages that wait, by channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbox {
    lines: BTreeMap<Id<Channel>, Line>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    waiting: VecDeque<Waiting>,
    /// Failures in a row.
    failures: u32,
    /// No try before this.
    next_ms: Timestamp,
    given_up: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiting {
    message: Message,
    asks: Option<Concern>,
    since_ms: Timestamp,
}

/// How a channel does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelState {
    /// Messages that wait.
    pub waiting: usize,
    /// Failures in a row; zero when the last one was delivered.
    pub failures: u32,
    /// Messages that were given up, ever.
    pub given_up: u64,
}

impl Default for Line {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), failures: 0, next_ms: Timestamp::EPOCH, given_up: 0 }
    }
}

impl Outbox {
    /// Adds a message at the end of its channel. One that waits already is not added again.
    pub fn add(&mut self, planned: Planned, now: Timestamp) {
        let Planned { channel, message, asks } = planned;
        let line = self.lines.entry(channel).or_default();
        if line.waiting.iter().any(|waiting| waiting.message.id == message.id) {
            return;
        }
        line.waiting.push_back(Waiting { message, asks, since_ms: now });
        if line.waiting.len() > MAX_WAITING {
            line.waiting.pop_front();
            line.given_up = line.given_up.saturating_add(1);
        }
    }

    /// Takes back what asks for an answer that was given: nobody is called for nothing.
    pub fn withdraw(&mut self, answered: &Concern) {
        for line in self.lines.values_mut() {
            line.waiting.retain(|waiting| waiting.asks.as_ref() != Some(answered));
        }
    }

    /// The message that a channel sends now, if it is time for one.
    #[must_use]
    pub fn next(&self, channel: &Id<Channel>, now: Timestamp) -> Option<Message> {
        let line = self.lines.get(channel)?;
        // A clock that was put back must not silence a channel: no pause is longer than the longest.
        let paused = now < line.next_ms && line.next_ms.since(now) <= MAX_PAUSE;
        line.waiting.front().filter(|_| !paused).map(|waiting| waiting.message.clone())
    }

    /// A message was delivered.
    pub fn delivered(&mut self, channel: &Id<Channel>, id: &str) {
        let Some(line) = self.lines.get_mut(channel) else { return };
        line.waiting.retain(|waiting| waiting.message.id != id);
        (line.failures, line.next_ms) = (0, Timestamp::EPOCH);
    }

    /// A message was not delivered: the channel pauses, and the next one is tried first, so that one that nobody ever takes does not
    /// keep the others. Returns whether it was given up.
    pub fn failed(&mut self, channel: &Id<Channel>, id: &str, now: Timestamp) -> bool {
        let Some(line) = self.lines.get_mut(channel) else { return false };
        let pause = FIRST_PAUSE.ms().checked_shl(line.failures).unwrap_or(u64::MAX).min(MAX_PAUSE.ms());
        let pause = Millis::new(pause).unwrap_or(MAX_PAUSE);
        line.failures = line.failures.saturating_add(1);
        line.next_ms = now.plus(pause).unwrap_or(now);
        let at = line.waiting.iter().position(|waiting| waiting.message.id == id);
        let Some(waiting) = at.and_then(|at| line.waiting.remove(at)) else { return false };
        if now.since(waiting.since_ms) >= GIVE_UP_AFTER {
            line.given_up = line.given_up.saturating_add(1);
            return true;
        }
        line.waiting.push_back(waiting);
        false
    }

    /// Forgets channels that are none any more, with what waits there. Returns how many messages that were.
    pub fn keep_only(&mut self, is_channel: impl Fn(&Id<Channel>) -> bool) -> usize {
        let lost = self.lines.iter().filter(|(channel, _)| !is_channel(channel));
        let lost = lost.map(|(_, line)| line.waiting.len()).sum();
        self.lines.retain(|channel, _| is_channel(channel));
        lost
    }

    /// How a channel does.
    #[must_use]
    pub fn state(&self, channel: &Id<Channel>) -> ChannelState {
        let line = self.lines.get(channel);
        ChannelState {
            waiting: line.map_or(0, |line| line.waiting.len()),
            failures: line.map_or(0, |line| line.failures),
            given_up: line.map_or(0, |line| line.given_up),
        }
    }
}

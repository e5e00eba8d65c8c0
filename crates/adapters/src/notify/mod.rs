//! Telling people: signed webhooks, mail, and the message formats of two chats.
//!
//! Every channel sends and none receives: nothing in here listens, polls or reads more of an answer than its status, so no
//! message can come back as a decision. What goes out carries a link to the console and no token. Secrets (keys of
//! signatures, addresses that are secrets themselves, passwords) come from files of their owner, and show as `***`.

mod chat;
mod mail;
mod memory;
mod post;
mod sign;
mod webhook;
mod words;

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use holdpoint_app::{
    notify::{Message, kind},
    port::{Clock, Notifier, SendError},
};
use holdpoint_domain::{Id, id::kind::Person};

pub use chat::{Chat, ChatFormat, slack_body, teams_body};
pub use mail::{Mail, MailConfig, MailTls};
pub use memory::FileMemory;
pub use post::{Secret, check_url};
pub use sign::{SIGNATURE_TOLERANCE_SECS, SigningSecret};
pub use webhook::{Webhook, webhook_body};

/// How people are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Their mailbox.
    pub email: Option<String>,
    /// Their member id in the chat, so that a message there calls them.
    pub slack: Option<String>,
}

/// The people that messages name.
pub type People = BTreeMap<Id<Person>, Reach>;

/// A way to tell people.
#[derive(Debug)]
pub enum Channel {
    /// Standard Webhooks.
    Webhook(Webhook),
    /// Mail over SMTP.
    Mail(Mail),
    /// A chat's incoming webhook.
    Chat(Chat),
}

/// The channels of the configuration.
pub struct Channels {
    channels: BTreeMap<Id<kind::Channel>, Channel>,
    people: People,
    clock: Arc<dyn Clock>,
}

/// What is wrong with a channel. The operator's to mend; nothing secret is in it.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Not an address that messages may go to.
    #[error("{0}")]
    Url(&'static str),
    /// A file with a secret or a certificate that cannot be used.
    #[error("{path}: {why}", path = path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Not a mailbox.
    #[error("`{0}` is not a mailbox: expected `name@domain`, or `Words <name@domain>`")]
    Mailbox(String),
    /// A server that is not on this machine, without TLS.
    #[error("`tls: none` is for a server on this machine alone, got `{0}`")]
    Plain(String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

impl Channels {
    /// Channels by name, and the people that they reach.
    #[must_use]
    pub fn new(
        channels: BTreeMap<Id<kind::Channel>, Channel>,
        people: People,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { channels, people, clock }
    }
}

#[async_trait]
impl Notifier for Channels {
    async fn send(&self, channel: &Id<kind::Channel>, message: &Message) -> Result<(), SendError> {
        let now = self.clock.now();
        match self.channels.get(channel) {
            None => Err(SendError::Unsendable("there is no such channel")),
            Some(Channel::Webhook(webhook)) => webhook.send(message, now).await,
            Some(Channel::Mail(mail)) => mail.send(message, &self.people, now).await,
            Some(Channel::Chat(chat)) => chat.send(message, &self.people, now).await,
        }
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels").field("channels", &self.channels).finish_non_exhaustive()
    }
}

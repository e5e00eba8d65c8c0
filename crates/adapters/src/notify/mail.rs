//! Mail over SMTP. TLS is required, by its own port or by STARTTLS, unless the server is on this machine.

use std::{fmt, fs, path::Path, time::Duration};

use holdpoint_app::{notify::Message, port::SendError};
use holdpoint_domain::Timestamp;
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor,
    message::{Mailbox, header},
    transport::smtp::{
        self,
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};

use super::{ChannelError, People, Secret, post::is_this_machine, words};
use crate::step::Step;

/// How long one command of the protocol may take.
const LIMIT: Duration = Duration::from_secs(20);
/// How long a whole delivery may take.
const WHOLE: Duration = Duration::from_secs(60);

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// TLS from the first byte on (usually port 465).
    Implicit,
    /// TLS by STARTTLS, without which nothing is sent (usually port 587).
    Starttls,
    /// No TLS: only for a server on this machine.
    None,
}

/// A mail server, and who writes.
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// Its name, which its certificate must have.
    pub server: String,
    /// Its port; the usual one of the kind of TLS when none is given.
    pub port: Option<u16>,
    /// How it is spoken to.
    pub tls: MailTls,
    /// Who writes: `Holdpoint <holdpoint@example.org>`.
    pub from: String,
    /// User and password, where the server wants them.
    pub login: Option<(String, Secret)>,
}

/// A mail server.
pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mail {
    /// A mail server, with the authorities that its certificate may be of beside the machine's.
    ///
    /// # Errors
    /// No mailbox to write from, no TLS to a server elsewhere, or a file of certificates that is none.
    pub fn new(config: &MailConfig, ca_file: Option<&Path>) -> Result<Self, ChannelError> {
        let from = mailbox(&config.from)?;
        let server = config.server.clone();
        let parameters = || -> Result<TlsParameters, ChannelError> {
            let mut builder = TlsParameters::builder(server.clone());
            for authority in ca_file.map(authorities).transpose()?.unwrap_or_default() {
                builder = builder.add_root_certificate(authority);
            }
            builder.build().map_err(|err| ChannelError::Tls(err.to_string()))
        };
        let (tls, usual) = match config.tls {
            MailTls::Implicit => (Tls::Wrapper(parameters()?), smtp::SUBMISSIONS_PORT),
            MailTls::Starttls => (Tls::Required(parameters()?), smtp::SUBMISSION_PORT),
            MailTls::None if is_this_machine(&server) => (Tls::None, smtp::SMTP_PORT),
            MailTls::None => return Err(ChannelError::Plain(server)),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server)
            .port(config.port.unwrap_or(usual))
            .tls(tls)
            .timeout(Some(LIMIT));
        if let Some((user, password)) = &config.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        Ok(Self { transport: builder.build(), from })
    }

    /// Whether a text is a mailbox.
    ///
    /// # Errors
    /// When it is none.
    pub fn check_mailbox(text: &str) -> Result<(), ChannelError> {
        mailbox(text).map(|_| ())
    }

    pub(super) async fn send(
        &self,
        message: &Message,
        people: &People,
        now: Timestamp,
    ) -> Result<(), SendError> {
        let mail = self.mail(message, people, now)?;
        // If we stop around this, the server may have the message; it comes again with the same Message-ID.
        let sent =
            Step::NotifySend.take_async(|_| tokio::time::timeout(WHOLE, self.transport.send(mail))).await;
        match sent {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(err)) => Err(failure(&err)),
            Err(_) => Err(SendError::Unreachable("no answer in time")),
        }
    }

    /// The mail. Headers are encoded by the library, and are words of ours and identifiers to begin with: there is no line end in any.
    fn mail(&self, message: &Message, people: &People, now: Timestamp) -> Result<lettre::Message, SendError> {
        let domain = self.from.email.domain();
        let mut mail = lettre::Message::builder()
            .from(self.from.clone())
            .subject(words::title(message))
            .message_id(Some(format!("<{}@{domain}>", message.id)))
            .date(
                std::time::UNIX_EPOCH
                    .checked_add(Duration::from_millis(message.at_ms.ms()))
                    .unwrap_or(std::time::UNIX_EPOCH),
            )
            .header(header::ContentType::TEXT_PLAIN)
            .raw_header(automatic());
        let addresses = message.to.iter().filter_map(|person| people.get(person)?.email.as_deref());
        let mut is_addressed = false;
        for address in addresses {
            mail = mail
                .to(mailbox(address)
                    .map_err(|_| SendError::Unsendable("somebody's address is no mailbox"))?);
            is_addressed = true;
        }
        if !is_addressed {
            return Err(SendError::Unsendable("nobody who is told has a mailbox"));
        }
        mail.body(text(message, now)).map_err(|_| SendError::Unsendable("the mail cannot be written"))
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("from", &self.from).finish_non_exhaustive()
    }
}

/// So that nobody's absence answers it (RFC 3834).
fn automatic() -> header::HeaderValue {
    header::HeaderValue::new(
        header::HeaderName::new_from_ascii_str("Auto-Submitted"),
        "auto-generated".to_owned(),
    )
}

fn text(message: &Message, now: Timestamp) -> String {
    let mut text = format!("{}\n\n", words::title(message));
    for (what, value) in words::lines(message, now) {
        text.push_str(&format!("{what}: {value}\n"));
    }
    text.push_str(&format!("\nOpen in Holdpoint: {}\n", message.link));
    text.push_str("\nThe link opens a page. Nothing is decided by opening it, nor by an answer to this mail, which nobody reads.\n");
    text
}

fn mailbox(text: &str) -> Result<Mailbox, ChannelError> {
    text.parse().map_err(|_| ChannelError::Mailbox(holdpoint_domain::text::visible(text)))
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, ChannelError> {
    let failed = |why: &str| ChannelError::File { path: path.to_owned(), why: why.to_owned() };
    let pem = fs::read(path).map_err(|err| failed(&err.to_string()))?;
    Certificate::from_pem(&pem).map(|found| vec![found]).map_err(|_| failed("expected certificates in PEM"))
}

/// In words of ours: the server's could be anything.
fn failure(err: &smtp::Error) -> SendError {
    if let Some(code) = err.status() {
        return SendError::Refused(u16::from(code));
    }
    SendError::Unreachable(if err.is_timeout() {
        "no answer in time"
    } else if err.is_tls() {
        "TLS does not trust the server, or it offers none"
    } else if err.is_response() {
        "the server does not speak the protocol"
    } else if err.is_client() {
        "the server does not offer what is needed: TLS, or a way to log in"
    } else {
        "no connection"
    })
}

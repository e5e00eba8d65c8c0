//! `notify.yaml`: who hears of what. Not a control input: it decides who hears of a hold, never who may decide on one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use holdpoint_adapters::notify::{
    Channel, ChannelError, Chat, ChatFormat, Mail, MailConfig, MailTls, People, Reach, Secret, SigningSecret,
    Webhook, check_url,
};
use holdpoint_app::notify::{Escalation, Event, Route, Rules, Told, Who, kind};
use holdpoint_domain::{Id, Tier, id::kind as domain};
use serde::Deserialize;

use super::{
    ConfigError, parse,
    rota::{RotaEntry, Rotas},
};

/// Most minutes until somebody else is told: a day, which no hold outlives.
const MAX_MINUTES: u32 = 24 * 60;
/// Most rules, and most steps of one: each record is compared with all of them.
const MAX_ROUTES: usize = 200;
const MAX_STEPS: usize = 10;
/// Most channels: each has a task of its own.
const MAX_CHANNELS: usize = 50;

/// The file. Paths are relative to its folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct NotifyFile {
    /// The console's address in links; `console.origin` of the gate's configuration when it is left out.
    #[serde(default)]
    link_base: Option<String>,
    /// Ways to tell people.
    channels: BTreeMap<Id<kind::Channel>, ChannelEntry>,
    /// How people are reached.
    #[serde(default)]
    people: BTreeMap<Id<domain::Person>, PersonEntry>,
    /// People with a common name.
    #[serde(default)]
    groups: BTreeMap<Id<kind::Group>, BTreeSet<Id<domain::Person>>>,
    /// Who is on call.
    #[serde(default)]
    rota: BTreeMap<Id<kind::Rota>, RotaEntry>,
    /// Who hears of what.
    routes: Vec<RouteEntry>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonEntry {
    /// A mailbox.
    #[serde(default)]
    email: Option<String>,
    /// A member id in Slack, such as `U012ABCDEF`: they are called by it.
    #[serde(default)]
    slack: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ChannelEntry {
    /// Standard Webhooks.
    Webhook(WebhookEntry),
    /// Mail.
    Smtp(SmtpEntry),
    /// Slack's incoming webhook.
    Slack(ChatEntry),
    /// A Teams webhook.
    Teams(ChatEntry),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookEntry {
    /// Where messages go; either this or `url_file`.
    #[serde(default)]
    url: Option<String>,
    /// A file with the address, mode 0600, where it is a secret.
    #[serde(default)]
    url_file: Option<PathBuf>,
    /// A file with the secret (`whsec_…`), mode 0600.
    secret_file: PathBuf,
    /// A second secret, while one is replaced: messages have both signatures.
    #[serde(default)]
    next_secret_file: Option<PathBuf>,
    /// Certificates (PEM) of authorities that are trusted beside the machine's.
    #[serde(default)]
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChatEntry {
    /// A file with the webhook's address, mode 0600: whoever has it can write there.
    url_file: PathBuf,
    /// Certificates (PEM) of authorities that are trusted beside the machine's.
    #[serde(default)]
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SmtpEntry {
    /// The server's name, which its certificate has.
    server: String,
    /// Its port (465 for `implicit`, 587 for `starttls`, 25 for `none`).
    #[serde(default)]
    port: Option<u16>,
    /// `implicit`, `starttls`, or `none` for a server on this machine.
    tls: TlsWord,
    /// Who writes.
    from: String,
    /// The user to log in as, together with `password_file`.
    #[serde(default)]
    user: Option<String>,
    /// A file with the password, mode 0600.
    #[serde(default)]
    password_file: Option<PathBuf>,
    /// A certificate (PEM) of an authority that is trusted beside the machine's.
    #[serde(default)]
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TlsWord {
    Implicit,
    Starttls,
    None,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteEntry {
    /// Of which events: at least one.
    events: BTreeSet<Event>,
    /// Only of targets in these environments.
    #[serde(default)]
    environments: BTreeSet<Id<domain::Environment>>,
    /// Only of targets that these teams own.
    #[serde(default)]
    teams: BTreeSet<Id<domain::Team>>,
    /// Only of plans of these tiers.
    #[serde(default)]
    tiers: BTreeSet<Tier>,
    /// Over which channels: at least one.
    channels: BTreeSet<Id<kind::Channel>>,
    /// Whom.
    #[serde(default)]
    tell: Vec<WhoEntry>,
    /// Whom next, when nobody answers.
    #[serde(default)]
    escalate: Vec<EscalationEntry>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WhoEntry {
    /// One person.
    Person(Id<domain::Person>),
    /// A group.
    Group(Id<kind::Group>),
    /// Whoever is on call.
    Rota(Id<kind::Rota>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct EscalationEntry {
    /// Minutes since the event, 1 to 1440.
    after_minutes: u32,
    /// Over which channels: at least one.
    channels: BTreeSet<Id<kind::Channel>>,
    /// Whom.
    #[serde(default)]
    tell: Vec<WhoEntry>,
}

/// The file, checked, with nothing read yet that it names.
#[derive(Debug)]
pub(crate) struct NotifyConfig {
    /// The rules.
    pub(crate) rules: Rules,
    /// Who is on call.
    pub(crate) rotas: Rotas,
    /// How people are reached.
    pub(crate) people: People,
    entries: BTreeMap<Id<kind::Channel>, ChannelEntry>,
    base: PathBuf,
}

impl NotifyConfig {
    /// Reads the file; all faults together. `origin` is the console's address, if there is one.
    pub(crate) fn load(path: &Path, origin: Option<&str>) -> Result<Self, ConfigError> {
        let file: NotifyFile = parse(path)?;
        Self::check(file, super::folder_of(path), origin).map_err(|faults| {
            ConfigError(faults.into_iter().map(|fault| format!("{}: {fault}", path.display())).collect())
        })
    }

    fn check(file: NotifyFile, base: PathBuf, origin: Option<&str>) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let link_base = file.link_base.as_deref().or(origin).unwrap_or_default().trim_end_matches('/');
        match check_link(link_base) {
            Ok(()) => {}
            Err(why) => faults.push(format!("`link_base`: {why}")),
        }
        let mut rotas = Rotas::default();
        for (name, entry) in &file.rota {
            match entry.check() {
                Ok(rota) => drop(rotas.0.insert(name.clone(), rota)),
                Err(more) => faults.extend(more.into_iter().map(|fault| format!("`rota.{name}`: {fault}"))),
            }
        }
        for (person, entry) in &file.people {
            if let Some(email) = &entry.email
                && let Err(err) = Mail::check_mailbox(email)
            {
                faults.push(format!("`people.{person}.email`: {err}"));
            }
            if entry.slack.as_deref().is_some_and(|member| !is_member(member)) {
                faults.push(format!("`people.{person}.slack`: expected a member id such as `U012ABCDEF`"));
            }
        }
        let many =
            [("channels", file.channels.len(), MAX_CHANNELS), ("routes", file.routes.len(), MAX_ROUTES)];
        for (key, count, most) in many {
            if count == 0 || count > most {
                faults.push(format!("`{key}`: expected 1 to {most}, got {count}"));
            }
        }
        let routes = file
            .routes
            .iter()
            .enumerate()
            .map(|(at, entry)| entry.check(&file, &format!("`routes` {}", at.saturating_add(1)), &mut faults))
            .collect();
        let people = file.people.iter().map(|(person, entry)| {
            (person.clone(), Reach { email: entry.email.clone(), slack: entry.slack.clone() })
        });
        let people = people.collect();
        let everybody = file.everybody(&mut faults);
        let rules = Rules { link_base: link_base.to_owned(), routes, everybody };
        if faults.is_empty() {
            Ok(Self { rules, rotas, people, entries: file.channels, base })
        } else {
            Err(faults)
        }
    }

    /// The channels, with their secrets; all faults together.
    pub(crate) fn channels(&self) -> Result<BTreeMap<Id<kind::Channel>, Channel>, ConfigError> {
        let (mut channels, mut faults) = (BTreeMap::new(), Vec::new());
        for (name, entry) in &self.entries {
            match entry.open(&self.base) {
                Ok(channel) => drop(channels.insert(name.clone(), channel)),
                Err(err) => faults.push(format!("`channels.{name}`: {err}")),
            }
        }
        if faults.is_empty() { Ok(channels) } else { Err(ConfigError(faults)) }
    }

    /// The people who may be told over a channel: those whom rules name with it, or everybody with an address.
    pub(crate) fn everybody(&self) -> Vec<Id<domain::Person>> {
        self.people.keys().cloned().collect()
    }
}

impl NotifyFile {
    /// Every channel and everybody whom the file names. A channel of mail that reaches nobody could not tell what everybody is told.
    fn everybody(&self, faults: &mut Vec<String>) -> Told {
        let turns = self.rota.values().flat_map(|rota| rota.people().into_iter().cloned());
        let groups = self.groups.values().flatten().cloned();
        let people: BTreeSet<_> = self.people.keys().cloned().chain(turns).chain(groups).collect();
        let has_email = self.people.values().any(|entry| entry.email.is_some());
        for (name, _) in self.channels.iter().filter(|(_, entry)| matches!(entry, ChannelEntry::Smtp(_))) {
            if !has_email {
                faults.push(format!(
                    "`channels.{name}`: expected somebody with `people.….email`, since it is mail"
                ));
            }
        }
        Told { channels: self.channels.keys().cloned().collect(), who: vec![Who::People(people)] }
    }
}

impl RouteEntry {
    fn check(&self, file: &NotifyFile, place: &str, faults: &mut Vec<String>) -> Route {
        if self.events.is_empty() {
            faults.push(format!("{place}: `events`: expected at least one"));
        }
        if self.events.contains(&Event::Test) {
            faults.push(format!("{place}: `events`: `test` is nothing that happens"));
        }
        if self.escalate.len() > MAX_STEPS {
            faults.push(format!("{place}: `escalate`: expected at most {MAX_STEPS} steps"));
        }
        let asks = self.events.iter().any(|event| event.asks());
        if !asks && !self.escalate.is_empty() {
            faults.push(format!("{place}: `escalate`: none of its events waits for anybody"));
        }
        let first = told(file, place, &self.channels, &self.tell, faults);
        let mut escalate: Vec<Escalation> = Vec::new();
        for step in &self.escalate {
            let place = format!("{place}, after {} minutes", step.after_minutes);
            if step.after_minutes == 0 || step.after_minutes > MAX_MINUTES {
                faults.push(format!("{place}: `after_minutes`: expected 1 to {MAX_MINUTES}"));
            }
            let told = told(file, &place, &step.channels, &step.tell, faults);
            escalate.push(Escalation { after_minutes: step.after_minutes, told });
        }
        Route {
            events: self.events.clone(),
            environments: self.environments.clone(),
            teams: self.teams.clone(),
            tiers: self.tiers.clone(),
            first,
            escalate,
        }
    }
}

/// Channels and people that the file has, and a mailbox for everybody who is written to.
fn told(
    file: &NotifyFile,
    place: &str,
    channels: &BTreeSet<Id<kind::Channel>>,
    tell: &[WhoEntry],
    faults: &mut Vec<String>,
) -> Told {
    if channels.is_empty() {
        faults.push(format!("{place}: `channels`: expected at least one"));
    }
    for channel in channels.iter().filter(|channel| !file.channels.contains_key(*channel)) {
        faults.push(format!("{place}: there is no channel `{channel}`"));
    }
    let mut named: BTreeSet<&Id<domain::Person>> = BTreeSet::new();
    let mut who = Vec::new();
    for entry in tell {
        match entry {
            WhoEntry::Person(person) => {
                named.insert(person);
                who.push(Who::People([person.clone()].into()));
            }
            WhoEntry::Group(group) => match file.groups.get(group) {
                Some(people) => {
                    named.extend(people);
                    who.push(Who::People(people.clone()));
                }
                None => faults.push(format!("{place}: there is no group `{group}`")),
            },
            WhoEntry::Rota(rota) => match file.rota.get(rota) {
                Some(entry) => {
                    named.extend(entry.people());
                    who.push(Who::OnCall(rota.clone()));
                }
                None => faults.push(format!("{place}: there is no rota `{rota}`")),
            },
        }
    }
    let is_mail =
        |channel: &&Id<kind::Channel>| matches!(file.channels.get(*channel), Some(ChannelEntry::Smtp(_)));
    for channel in channels.iter().filter(is_mail) {
        if named.is_empty() {
            faults.push(format!("{place}: `tell`: expected somebody, since `{channel}` is mail"));
        }
        let has_email =
            |person: &Id<domain::Person>| file.people.get(person).is_some_and(|entry| entry.email.is_some());
        for person in named.iter().filter(|person| !has_email(person)) {
            faults.push(format!(
                "{place}: `{person}` is told over `{channel}` and has no `people.{person}.email`"
            ));
        }
    }
    Told { channels: channels.clone(), who }
}

/// A link base: an origin and perhaps a path, of characters that no format reads as its own.
fn check_link(link_base: &str) -> Result<(), &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ":/.-_[]".contains(c);
    if link_base.is_empty() {
        return Err("expected the console's address here, or `console.origin` in the gate's configuration");
    }
    if !link_base.chars().all(plain) {
        return Err("expected an address of letters, digits and `:/.-_[]`");
    }
    check_url(link_base).map_err(|_| "expected an https address, or an http one of this machine")
}

/// Slack's member ids: they stand in a command, so they have a grammar here.
fn is_member(text: &str) -> bool {
    let rest = text.strip_prefix(['U', 'W']);
    rest.is_some_and(|rest| {
        (5..=20).contains(&rest.len()) && rest.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    })
}

impl ChannelEntry {
    fn open(&self, base: &Path) -> Result<Channel, ChannelError> {
        let path = |path: &Path| base.join(path);
        let ca = |file: &Option<PathBuf>| file.as_deref().map(path);
        match self {
            Self::Webhook(entry) => {
                let url = match (&entry.url, &entry.url_file) {
                    (Some(url), None) => Secret::new(url.clone()),
                    (None, Some(file)) => Secret::read(&path(file))?,
                    (Some(_), Some(_)) | (None, None) => {
                        return Err(ChannelError::Url("expected either `url` or `url_file`"));
                    }
                };
                let files = [Some(&entry.secret_file), entry.next_secret_file.as_ref()];
                let secrets = files.into_iter().flatten().map(|file| SigningSecret::read(&path(file)));
                let secrets = secrets.collect::<Result<_, _>>()?;
                Webhook::new(&url, secrets, ca(&entry.ca_file).as_deref()).map(Channel::Webhook)
            }
            Self::Smtp(entry) => {
                let login = match (&entry.user, &entry.password_file) {
                    (None, None) => None,
                    (Some(user), Some(file)) => Some((user.clone(), Secret::read(&path(file))?)),
                    (Some(_), None) | (None, Some(_)) => {
                        return Err(ChannelError::Url("expected `user` and `password_file`, or neither"));
                    }
                };
                let tls = match entry.tls {
                    TlsWord::Implicit => MailTls::Implicit,
                    TlsWord::Starttls => MailTls::Starttls,
                    TlsWord::None => MailTls::None,
                };
                let (server, from) = (entry.server.clone(), entry.from.clone());
                let config = MailConfig { server, port: entry.port, tls, from, login };
                Mail::new(&config, ca(&entry.ca_file).as_deref()).map(Channel::Mail)
            }
            Self::Slack(entry) => entry.open(base, ChatFormat::Slack),
            Self::Teams(entry) => entry.open(base, ChatFormat::Teams),
        }
    }
}

impl ChatEntry {
    fn open(&self, base: &Path, format: ChatFormat) -> Result<Channel, ChannelError> {
        let url = Secret::read(&base.join(&self.url_file))?;
        let ca = self.ca_file.as_deref().map(|file| base.join(file));
        Chat::new(&url, format, ca.as_deref()).map(Channel::Chat)
    }
}

#[cfg(test)]
mod tests;

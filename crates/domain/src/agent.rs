//! The registry: agents, people, and the keys that people approve with.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    Digest, Id, Timestamp,
    actor::Phase,
    digest::DigestError,
    id::kind,
    passkey::{CredentialId, Passkey},
    plan::EMERGENCY,
    proof::{Credentials, MAX_PASSKEYS},
    signature::PublicKey,
};

/// An agent in the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Its name, as in its SPIFFE id.
    pub id: Id<kind::Agent>,
    /// Its team.
    pub team: Id<kind::Team>,
    /// The person who answers for it.
    pub owner: Id<kind::Person>,
    /// Phases that it may have an identity for.
    pub phases: BTreeSet<Phase>,
    /// Its builds that the operator attests. Whatever else asks in its name is unattested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub builds: Vec<Build>,
    /// It is nobody's agent any more from this time on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<Timestamp>,
    /// The owner's team accepted that it acts at its tiers without a track record.
    #[serde(default)]
    pub accepted: bool,
}

/// A build of an agent, and how one knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// The digest of model, prompt and tool set.
    pub digest: Digest,
    /// Selectors that a verified identity must all have, for instance `k8s:sa:holmes` or `image:sha256:…`: at least one.
    pub selectors: BTreeSet<String>,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Their name, as in their SPIFFE id.
    pub id: Id<kind::Person>,
    /// Teams that they are in.
    #[serde(default)]
    pub teams: BTreeSet<Id<kind::Team>>,
    /// May approve changes of control inputs that somebody else wrote.
    #[serde(default)]
    pub administrator: bool,
    /// The key that they sign with where there is no browser: never strong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_key: Option<PublicKey>,
    /// Their passkeys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passkeys: Vec<Passkey>,
}

/// Agents and people, checked against each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registry {
    // INVARIANT: ids are unique; no two people share a key or a passkey; every agent's owner is a person in here.
    agents: BTreeMap<Id<kind::Agent>, Agent>,
    people: BTreeMap<Id<kind::Person>, Person>,
}

/// What is wrong with a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Two agents with one name.
    #[error("agent `{0}` stands twice in the registry")]
    DuplicateAgent(Id<kind::Agent>),
    /// Two people with one name.
    #[error("person `{0}` stands twice in the registry")]
    DuplicatePerson(Id<kind::Person>),
    /// Two people with one key: they could not be told apart.
    #[error("people `{0}` and `{1}` have the same approval key: expected a key of their own for each")]
    SharedKey(Id<kind::Person>, Id<kind::Person>),
    /// One passkey that stands twice, under whatever names.
    #[error("passkey `{passkey}` of `{person}` is registered already: expected every passkey once")]
    SharedPasskey {
        /// The person.
        person: Id<kind::Person>,
        /// The passkey.
        passkey: CredentialId,
    },
    /// A passkey whose key cannot be one.
    #[error("passkey `{passkey}` of `{person}` has no key of its algorithm")]
    MalformedPasskey {
        /// The person.
        person: Id<kind::Person>,
        /// The passkey.
        passkey: CredentialId,
    },
    /// Too many passkeys.
    #[error("`{0}` has more passkeys than {MAX_PASSKEYS}")]
    TooManyPasskeys(Id<kind::Person>),
    /// An agent with a name that stands for people.
    #[error("no agent may be called `{0}`: it stands for people who act beyond policy")]
    Reserved(Id<kind::Agent>),
    /// A build that everybody would be.
    #[error("a build of agent `{0}` has no selectors: expected at least one that tells it from others")]
    NoSelectors(Id<kind::Agent>),
    /// An agent that nobody answers for.
    #[error("agent `{agent}` is owned by `{owner}`, whom the registry does not have")]
    UnknownOwner {
        /// The agent.
        agent: Id<kind::Agent>,
        /// What it names.
        owner: Id<kind::Person>,
    },
}

impl Agent {
    /// The build that a workload with these selectors is. None if no attested one fits, or if two do: then nobody knows which.
    #[must_use]
    pub fn build_of(&self, selectors: &BTreeSet<String>) -> Option<Digest> {
        let mut fitting = self.builds.iter().filter(|build| build.selectors.is_subset(selectors));
        match (fitting.next(), fitting.next()) {
            (Some(build), None) => Some(build.digest),
            (None | Some(_), _) => None,
        }
    }

    /// Whether the operator still attests this build.
    #[must_use]
    pub fn attests(&self, build: &Digest) -> bool {
        self.builds.iter().any(|attested| attested.digest == *build)
    }
}

impl Person {
    /// What their statements are checked with.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials { key: self.approval_key.clone(), passkeys: self.passkeys.clone() }
    }
}

/// Ids and keys of passkeys that are known already.
type Known = (BTreeSet<CredentialId>, BTreeSet<Vec<u8>>);

fn faults_of_passkeys(person: &Person, (ids, keys): &mut Known) -> Vec<RegistryError> {
    let mut faults = Vec::new();
    if person.passkeys.len() > MAX_PASSKEYS {
        faults.push(RegistryError::TooManyPasskeys(person.id.clone()));
    }
    for passkey in &person.passkeys {
        let (person, id) = (person.id.clone(), passkey.id.clone());
        // One key under two ids would be one authenticator that counts as two.
        let is_new = ids.insert(id.clone()) & keys.insert(passkey.key.as_slice().to_vec());
        if !passkey.is_well_formed() {
            faults.push(RegistryError::MalformedPasskey { person, passkey: id });
        } else if !is_new {
            faults.push(RegistryError::SharedPasskey { person, passkey: id });
        }
    }
    faults
}

impl Registry {
    /// Checks agents and people against each other; reports every fault.
    pub fn new(agents: Vec<Agent>, people: Vec<Person>) -> Result<Self, Vec<RegistryError>> {
        let mut faults = Vec::new();
        let mut registry = Self { agents: BTreeMap::new(), people: BTreeMap::new() };
        let mut keys: BTreeMap<PublicKey, Id<kind::Person>> = BTreeMap::new();
        let mut credentials = (BTreeSet::new(), BTreeSet::new());
        for person in people {
            if let Some(key) = &person.approval_key
                && let Some(other) = keys.insert(key.clone(), person.id.clone())
                && other != person.id
            {
                faults.push(RegistryError::SharedKey(other, person.id.clone()));
            }
            faults.extend(faults_of_passkeys(&person, &mut credentials));
            if let Some(old) = registry.people.insert(person.id.clone(), person) {
                faults.push(RegistryError::DuplicatePerson(old.id));
            }
        }
        for agent in agents {
            if !registry.people.contains_key(&agent.owner) {
                faults.push(RegistryError::UnknownOwner {
                    agent: agent.id.clone(),
                    owner: agent.owner.clone(),
                });
            }
            if agent.id.as_str() == EMERGENCY {
                faults.push(RegistryError::Reserved(agent.id.clone()));
            }
            if agent.builds.iter().any(|build| build.selectors.is_empty()) {
                faults.push(RegistryError::NoSelectors(agent.id.clone()));
            }
            if let Some(old) = registry.agents.insert(agent.id.clone(), agent) {
                faults.push(RegistryError::DuplicateAgent(old.id));
            }
        }
        if faults.is_empty() { Ok(registry) } else { Err(faults) }
    }

    /// The agent with this name.
    #[must_use]
    pub fn agent(&self, id: &Id<kind::Agent>) -> Option<&Agent> {
        self.agents.get(id)
    }

    /// The agent with this name, unless it has expired.
    #[must_use]
    pub fn agent_at(&self, id: &Id<kind::Agent>, now: Timestamp) -> Option<&Agent> {
        self.agent(id).filter(|agent| agent.expires_at_ms.is_none_or(|end| now < end))
    }

    /// The person with this name.
    #[must_use]
    pub fn person(&self, id: &Id<kind::Person>) -> Option<&Person> {
        self.people.get(id)
    }

    /// All agents, by name.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.values()
    }

    /// All people, by name.
    pub fn people(&self) -> impl Iterator<Item = &Person> {
        self.people.values()
    }

    /// Whether a person is an administrator now.
    #[must_use]
    pub fn is_administrator(&self, id: &Id<kind::Person>) -> bool {
        self.person(id).is_some_and(|person| person.administrator)
    }

    /// Administrators and what they sign with.
    #[must_use]
    pub fn administrators(&self) -> BTreeMap<Id<kind::Person>, Credentials> {
        let people = self.people.values().filter(|person| person.administrator);
        people.map(|person| (person.id.clone(), person.credentials())).collect()
    }

    /// The passkeys of this registry that are nobody's in another one.
    #[must_use]
    pub fn passkeys_gone_in(&self, other: &Self) -> BTreeSet<CredentialId> {
        let ids = |registry: &Self| -> BTreeSet<CredentialId> {
            let passkeys = registry.people().flat_map(|person| &person.passkeys);
            passkeys.map(|passkey| passkey.id.clone()).collect()
        };
        ids(self).difference(&ids(other)).cloned().collect()
    }

    /// Whether two people have passkeys that were enrolled by different acts: before that, nobody could release what needs two
    /// with strong authentication.
    #[must_use]
    pub fn has_two_with_passkeys(&self) -> bool {
        let acts = |person: &Person| -> BTreeSet<Id<kind::Act>> {
            person.passkeys.iter().map(|passkey| passkey.act.clone()).collect()
        };
        let mut people = self.people.values().map(acts).filter(|acts| !acts.is_empty());
        let Some(first) = people.next() else { return false };
        // With three people or more, two of them differ as soon as any does from the first.
        people.any(|acts| acts != first || acts.len() > 1)
    }

    /// The digest of the whole registry.
    pub fn digest(&self) -> Result<Digest, DigestError> {
        Digest::of(self)
    }
}

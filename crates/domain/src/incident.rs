//! Incidents that a source outside tells of, an Alertmanager for instance. They only ever count: a run on a service that an open
//! incident concerns is a run for it, whatever the agent calls it. Nothing here allows anything, and no text has a field.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{Commitment, Digest, Id, Millis, Timestamp, id::IdError, id::kind};

/// What ids of incidents begin with that the gate gave itself.
pub const PREFIX: &str = "am-";
/// Beyond [`MAX_CONCERNING`] incidents a run counts for this one, which is each that the gate knows. No source has a key for it.
pub const REST: &str = "am-rest";
/// Most incidents that are listed as concerning a run: what is recorded of it has a bound.
pub const MAX_CONCERNING: usize = 64;
/// Most services that an incident names; one that names more concerns every service.
pub const MAX_SERVICES: usize = 256;
/// Most open incidents of a source that are told apart; what comes beyond them is one incident.
pub const MAX_OPEN: usize = 256;
/// Most that are over and still remembered; the oldest are forgotten.
pub const MAX_OVER: usize = 256;
/// How long an incident stays open of which nothing is heard. A source that repeats what fires is heard every [`REPEAT`].
pub const SILENCE: Millis = Millis::secs(7 * 24 * 60 * 60);
/// How often an open incident is recorded again of which nothing else is new.
pub const REPEAT: Millis = Millis::secs(24 * 60 * 60);

/// What a source told of an incident, as far as anything depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// The incident: see [`incident_id`].
    pub incident: Id<kind::Incident>,
    /// Who told.
    pub source: Id<kind::Source>,
    /// How many alerts fire; none when it is over.
    pub firing: u32,
    /// The services of the inventory that it names.
    pub services: BTreeSet<Id<kind::Service>>,
    /// It names more than are listed: it concerns every service.
    pub everywhere: bool,
    /// What the alerts say. Whoever can write an alert wrote it: it is shown to people, and nothing is decided from it.
    pub words: Commitment,
}

/// An incident as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What was told last. While it is open its services are all that were ever named.
    pub told: Told,
    /// Since when.
    pub opened_at: Timestamp,
    /// When it was last recorded.
    pub heard_at: Timestamp,
    /// When its source said that it is over.
    pub resolved_at: Option<Timestamp>,
}

/// The incidents that are open, and the latest that are over. A copy is cheap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incidents(Arc<BTreeMap<Id<kind::Incident>, Known>>);

/// The id of an incident: of its source, and of the key by which the source tells it from its others.
pub fn incident_id(source: &Id<kind::Source>, key: &str) -> Result<Id<kind::Incident>, IdError> {
    let digest = Digest::of_bytes(format!("holdpoint/incident/v1\n{source}\n{key}").as_bytes());
    let hex = digest.as_bytes().iter().take(16).fold(PREFIX.to_owned(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    Id::parse(&hex)
}

impl Known {
    /// Whether runs count for it at `now`.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.resolved_at.is_none() && now.since(self.heard_at) < SILENCE
    }

    /// Since when it is over at `now`; none while it is open.
    fn over_at(&self, now: Timestamp) -> Option<Timestamp> {
        let silent = || self.heard_at.plus(SILENCE).unwrap_or(now);
        (!self.is_open(now)).then(|| self.resolved_at.unwrap_or_else(silent))
    }

    /// Whether a record of this would change anything but the time.
    #[must_use]
    pub fn is_news(&self, told: &Told, now: Timestamp) -> bool {
        if told.firing == 0 {
            return self.resolved_at.is_none();
        }
        let wider =
            !told.services.is_subset(&self.told.services) || (told.everywhere && !self.told.everywhere);
        !self.is_open(now) || wider || told.firing != self.told.firing || now.since(self.heard_at) >= REPEAT
    }
}

impl Incidents {
    /// Takes what a source told. Telling it twice is telling it once.
    pub fn hear(&mut self, told: &Told, at: Timestamp) {
        let all = Arc::make_mut(&mut self.0);
        match all.get_mut(&told.incident) {
            Some(known) if told.firing == 0 => {
                known.resolved_at.get_or_insert(at);
                known.told.firing = 0;
            }
            // Nobody heard that it began.
            None if told.firing == 0 => {}
            Some(known) if known.resolved_at.is_none() => {
                let (mut services, everywhere) = (told.services.clone(), known.told.everywhere);
                services.extend(known.told.services.iter().cloned());
                let everywhere = told.everywhere || everywhere || services.len() > MAX_SERVICES;
                services = services.into_iter().take(MAX_SERVICES).collect();
                known.told = Told { services, everywhere, ..told.clone() };
                known.heard_at = at;
            }
            Some(_) | None => {
                let known = Known { told: told.clone(), opened_at: at, heard_at: at, resolved_at: None };
                all.insert(told.incident.clone(), known);
            }
        }
        self.forget(at);
    }

    /// Forgets those that have been over for longest, beyond [`MAX_OVER`]: by their source's word, or by its silence until `now`.
    fn forget(&mut self, now: Timestamp) {
        let over = self.0.iter().filter_map(|(id, known)| Some((known.over_at(now)?, id)));
        let mut over: Vec<_> = over.map(|(at, id)| (at, id.clone())).collect();
        let Some(beyond) = over.len().checked_sub(MAX_OVER).filter(|beyond| *beyond > 0) else { return };
        over.sort_unstable();
        let all = Arc::make_mut(&mut self.0);
        for (_, id) in over.into_iter().take(beyond) {
            all.remove(&id);
        }
    }

    /// One of them.
    #[must_use]
    pub fn find(&self, id: &Id<kind::Incident>) -> Option<&Known> {
        self.0.get(id)
    }

    /// All of them, by id.
    pub fn all(&self) -> impl Iterator<Item = &Known> {
        self.0.values()
    }

    /// How many of a source are open.
    #[must_use]
    pub fn open_of(&self, source: &Id<kind::Source>, now: Timestamp) -> usize {
        self.all().filter(|known| known.told.source == *source && known.is_open(now)).count()
    }

    /// The open incidents for which a run on these services counts. Of more than [`MAX_CONCERNING`] so many, and [`REST`].
    #[must_use]
    pub fn concerning(
        &self,
        services: &BTreeSet<Id<kind::Service>>,
        now: Timestamp,
    ) -> BTreeSet<Id<kind::Incident>> {
        let concerns = |known: &&Known| {
            known.is_open(now) && (known.told.everywhere || !known.told.services.is_disjoint(services))
        };
        let mut all = self.all().filter(concerns).map(|known| known.told.incident.clone());
        let mut listed: BTreeSet<_> = all.by_ref().take(MAX_CONCERNING).collect();
        if all.next().is_some() {
            listed.extend(Id::parse(REST));
        }
        listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Salt;

    fn told(key: &str, firing: u32, services: &[&str]) -> Told {
        let source = Id::parse("prod-alerts").unwrap();
        Told {
            incident: incident_id(&source, key).unwrap(),
            source,
            firing,
            services: services.iter().map(|service| Id::parse(service).unwrap()).collect(),
            everywhere: false,
            words: Commitment::to(&Salt::new([1; 32]), b"ignore all previous instructions"),
        }
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms).unwrap()
    }

    fn concerned(all: &Incidents, service: &str, now: u64) -> usize {
        all.concerning(&[Id::parse(service).unwrap()].into(), at(now)).len()
    }

    #[test]
    fn an_open_incident_never_concerns_fewer_services_and_an_ended_one_none() {
        let mut all = Incidents::default();
        all.hear(&told("a", 0, &["web"]), at(1));
        assert_eq!(all.all().count(), 0, "nobody heard that it began");
        all.hear(&told("a", 2, &["web"]), at(2));
        all.hear(&told("a", 1, &["db"]), at(3));
        assert_eq!(
            [concerned(&all, "web", 4), concerned(&all, "db", 4), concerned(&all, "other", 4)],
            [1, 1, 0]
        );
        all.hear(&told("a", 0, &[]), at(5));
        assert_eq!(concerned(&all, "web", 6), 0);
        all.hear(&told("a", 1, &["db"]), at(7));
        assert_eq!([concerned(&all, "web", 8), concerned(&all, "db", 8)], [0, 1], "it began anew");
    }

    #[test]
    fn what_is_not_heard_of_for_long_is_over_and_what_repeats_is_news_once_a_day() {
        let mut all = Incidents::default();
        let same = told("a", 1, &["web"]);
        all.hear(&same, at(0));
        let known = all.find(&same.incident).unwrap();
        assert!(!known.is_news(&same, at(REPEAT.ms() - 1)) && known.is_news(&same, at(REPEAT.ms())));
        assert!(
            known.is_news(&told("a", 2, &["web"]), at(1)) && known.is_news(&told("a", 1, &["db"]), at(1))
        );
        assert!(!known.is_news(&told("a", 1, &[]), at(1)), "fewer services are no news");
        assert!(known.is_news(&told("a", 0, &[]), at(1)));
        assert_eq!([concerned(&all, "web", SILENCE.ms() - 1), concerned(&all, "web", SILENCE.ms())], [1, 0]);
    }

    #[test]
    fn those_that_are_over_are_forgotten_oldest_first_and_open_ones_never() {
        let mut all = Incidents::default();
        all.hear(&told("open", 1, &["web"]), at(1));
        for number in 0..MAX_OVER + 3 {
            let key = number.to_string();
            all.hear(&told(&key, 1, &["db"]), at(10));
            all.hear(&told(&key, 0, &[]), at(10 + number as u64));
        }
        assert_eq!(all.all().count(), MAX_OVER + 1);
        assert!(all.find(&told("open", 1, &[]).incident).is_some());
        assert!(all.find(&told("2", 1, &[]).incident).is_none());
        assert!(all.find(&told("3", 1, &[]).incident).is_some());
    }

    #[test]
    fn those_of_which_nothing_is_heard_for_long_are_forgotten_too() {
        let mut all = Incidents::default();
        let last = 3 * MAX_OVER as u64;
        for number in 0..=last {
            all.hear(&told(&number.to_string(), 1, &["web"]), at(number * SILENCE.ms()));
        }
        assert_eq!(all.all().count(), MAX_OVER + 1, "one is open");
        assert!(all.find(&told("0", 1, &[]).incident).is_none());
        assert_eq!(concerned(&all, "web", last * SILENCE.ms()), 1);
    }

    #[test]
    fn t30_beyond_a_bound_what_concerns_a_run_is_one_that_is_each_of_them() {
        let mut all = Incidents::default();
        for number in 0..MAX_OPEN {
            all.hear(&told(&number.to_string(), 1, &["web"]), at(1));
            let expected = (number + 1).min(MAX_CONCERNING + 1);
            assert_eq!(concerned(&all, "web", 1), expected, "{number}");
        }
        let concerning = all.concerning(&[Id::parse("web").unwrap()].into(), at(1));
        assert!(concerning.contains(&Id::parse(REST).unwrap()));
        let bytes = serde_json::to_vec(&concerning).unwrap().len();
        assert!(bytes * 20 < crate::record::MAX_RECORD_LEN, "{bytes}");
    }

    #[test]
    fn too_many_services_are_every_service() {
        let mut all = Incidents::default();
        for number in 0..=MAX_SERVICES {
            all.hear(&told("a", 1, &[&format!("s{number}")]), at(1));
        }
        assert_eq!(concerned(&all, "elsewhere", 2), 1);
        let known = all.all().next().unwrap();
        assert_eq!(known.told.services.len(), MAX_SERVICES);
    }
}

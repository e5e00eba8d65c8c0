//! Who is on call: turns that go round in a named time zone, and exceptions. Pure: the time is given.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_app::notify::{OnCall, kind};
use holdpoint_domain::{Id, Timestamp, id::kind::Person};
use jiff::{
    ToSpan as _,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};
use serde::Deserialize;

/// Longest turn: a year. What is longer is no rota.
const MAX_DAYS: u32 = 366;

/// A rota of `notify.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotaEntry {
    /// The IANA name of the zone that all its times are in, for instance `Europe/Berlin`.
    zone: String,
    /// Turns. The one that began last is in force.
    shifts: Vec<ShiftEntry>,
    /// Exceptions. The one that stands last is in force.
    #[serde(default)]
    overrides: Vec<OverrideEntry>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShiftEntry {
    /// The day on which the first person's first turn begins, for instance `2026-01-05`.
    start: String,
    /// The time at which one hands over to the next, for instance `09:00`.
    handover: String,
    /// How long a turn is (7 days).
    #[serde(default = "week")]
    every_days: u32,
    /// Whose turn it is, one after the other and round again.
    people: Vec<Id<Person>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct OverrideEntry {
    /// From then on, for instance `2026-08-03T09:00`.
    from: String,
    /// Until then.
    until: String,
    /// Who is on call instead.
    person: Id<Person>,
}

const fn week() -> u32 {
    7
}

/// A rota, checked.
#[derive(Debug, Clone)]
pub(crate) struct Rota {
    zone: TimeZone,
    shifts: Vec<Shift>,
    overrides: Vec<Override>,
}

#[derive(Debug, Clone)]
struct Shift {
    start: Date,
    handover: Time,
    every_days: i64,
    // INVARIANT: not empty.
    people: Vec<Id<Person>>,
}

#[derive(Debug, Clone)]
struct Override {
    from: jiff::Timestamp,
    until: jiff::Timestamp,
    person: Id<Person>,
}

/// All rotas.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rotas(pub(crate) BTreeMap<Id<kind::Rota>, Rota>);

/// Whose turn it is, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) person: Id<Person>,
    pub(crate) until: jiff::Timestamp,
}

impl RotaEntry {
    /// The people that it names.
    pub(crate) fn people(&self) -> BTreeSet<&Id<Person>> {
        let shifts = self.shifts.iter().flat_map(|shift| &shift.people);
        shifts.chain(self.overrides.iter().map(|entry| &entry.person)).collect()
    }

    /// Checks it; all faults together.
    pub(crate) fn check(&self) -> Result<Rota, Vec<String>> {
        let mut faults = Vec::new();
        let zone = TimeZone::get(&self.zone).unwrap_or_else(|_| {
            faults.push(format!("`zone`: expected the IANA name of a time zone, got `{}`", self.zone));
            TimeZone::UTC
        });
        if self.shifts.is_empty() {
            faults.push("`shifts`: expected at least one".to_owned());
        }
        let mut shifts: Vec<Shift> = Vec::new();
        for entry in &self.shifts {
            if entry.people.is_empty() {
                faults.push("`shifts`: expected at least one of `people`".to_owned());
            }
            if entry.every_days == 0 || entry.every_days > MAX_DAYS {
                faults.push(format!("`every_days`: expected 1 to {MAX_DAYS}, got {}", entry.every_days));
            }
            match (entry.start.parse(), entry.handover.parse()) {
                (Ok(start), Ok(handover)) => shifts.push(Shift {
                    start,
                    handover,
                    every_days: i64::from(entry.every_days.max(1)),
                    people: entry.people.clone(),
                }),
                (start, handover) => {
                    let expected = "`shifts`: expected `start` as 2026-01-05 and `handover` as 09:00";
                    faults.push(format!("{expected}, got `{}` and `{}`", entry.start, entry.handover));
                    let _: (Result<Date, _>, Result<Time, _>) = (start, handover);
                }
            }
        }
        shifts.sort_by_key(|shift| (shift.start, shift.handover));
        let mut overrides = Vec::new();
        for entry in &self.overrides {
            let at = |text: &str| {
                text.parse::<DateTime>().ok()?.to_zoned(zone.clone()).ok().map(|at| at.timestamp())
            };
            match (at(&entry.from), at(&entry.until)) {
                (Some(from), Some(until)) if from < until => {
                    overrides.push(Override { from, until, person: entry.person.clone() });
                }
                (Some(_), Some(_)) => {
                    faults.push(format!("`overrides`: `{}` ends before it begins", entry.from));
                }
                (_, _) => faults.push(format!(
                    "`overrides`: expected `from` and `until` as 2026-08-03T09:00, got `{}` and `{}`",
                    entry.from, entry.until
                )),
            }
        }
        if faults.is_empty() { Ok(Rota { zone, shifts, overrides }) } else { Err(faults) }
    }
}

impl Rota {
    /// Whose turn it is; none before the first turn begins.
    pub(crate) fn turn(&self, at: jiff::Timestamp) -> Option<Turn> {
        if let Some(found) = self.overrides.iter().rev().find(|one| one.from <= at && at < one.until) {
            return Some(Turn { person: found.person.clone(), until: found.until });
        }
        let begun = self.shifts.iter().enumerate().rev().find_map(|(place, shift)| {
            let (turn, until) = shift.turn(at, &self.zone)?;
            let next =
                self.shifts.get(place.saturating_add(1)).and_then(|next| next.handover_of(0, &self.zone));
            Some(Turn { person: turn, until: next.map_or(until, |next| next.min(until)) })
        })?;
        let next = self.overrides.iter().map(|one| one.from).filter(|from| *from > at).min();
        Some(Turn { until: next.map_or(begun.until, |next| next.min(begun.until)), ..begun })
    }

    /// The zone's name, for people.
    pub(crate) fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

impl Shift {
    /// The person, and when their turn ends; none before the first one.
    fn turn(&self, at: jiff::Timestamp, zone: &TimeZone) -> Option<(Id<Person>, jiff::Timestamp)> {
        let today = at.to_zoned(zone.clone()).date();
        let days = i64::from(self.start.until(today).ok()?.get_days());
        // By days alone it is this turn or, before the hour of handing over, the one before. What decides is the instant: an hour
        // that comes twice, or never, must not make somebody's turn come twice or never.
        let about = days.checked_div_euclid(self.every_days)?;
        let mut nth = about.checked_add(1)?;
        while nth >= 0 {
            if self.handover_of(nth, zone).is_some_and(|begins| begins <= at) {
                let people = i64::try_from(self.people.len()).ok()?;
                let whose = usize::try_from(nth.checked_rem_euclid(people)?).ok()?;
                let until = self.handover_of(nth.checked_add(1)?, zone)?;
                return self.people.get(whose).map(|person| (person.clone(), until));
            }
            nth = nth.checked_sub(1)?;
        }
        None
    }

    /// When the n-th turn begins. An hour that comes twice is the first one; one that never comes is the next there is.
    fn handover_of(&self, nth: i64, zone: &TimeZone) -> Option<jiff::Timestamp> {
        let days = nth.checked_mul(self.every_days)?;
        let day = self.start.checked_add(i32::try_from(days).ok()?.days()).ok()?;
        day.to_datetime(self.handover).to_zoned(zone.clone()).ok().map(|at| at.timestamp())
    }
}

impl OnCall for Rotas {
    fn on_call(&self, rota: &Id<kind::Rota>, at: Timestamp) -> Option<Id<Person>> {
        let at = jiff::Timestamp::from_millisecond(i64::try_from(at.ms()).ok()?).ok()?;
        self.0.get(rota)?.turn(at).map(|turn| turn.person)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rota(text: &str) -> Rota {
        serde_saphyr::from_str::<RotaEntry>(text).unwrap().check().unwrap()
    }

    fn who(rota: &Rota, at: &str) -> String {
        let turn = rota.turn(at.parse().unwrap());
        turn.map_or_else(|| "nobody".to_owned(), |turn| format!("{} until {}", turn.person, turn.until))
    }

    const WEEKS: &str = "
zone: Europe/Berlin
shifts:
  - {start: 2026-01-05, handover: '09:00', people: [anna, ben, carl]}
overrides:
  - {from: 2026-02-03T18:00, until: 2026-02-04T09:00, person: dora}
";

    #[test]
    fn turns_go_round_at_the_hour_of_the_zone() {
        let rota = rota(WEEKS);
        let cases = [
            // Winter: 09:00 is 08:00 in UTC.
            ("2026-01-05T07:59:59Z", "nobody"),
            ("2026-01-05T08:00:00Z", "anna until 2026-01-12T08:00:00Z"),
            ("2026-01-12T07:59:59Z", "anna until 2026-01-12T08:00:00Z"),
            ("2026-01-12T08:00:00Z", "ben until 2026-01-19T08:00:00Z"),
            ("2026-01-25T12:00:00Z", "carl until 2026-01-26T08:00:00Z"),
            ("2026-01-26T08:00:00Z", "anna until 2026-02-02T08:00:00Z"),
            // Into summer time on 29 March: the last turn of winter is an hour shorter.
            ("2026-03-29T12:00:00Z", "carl until 2026-03-30T07:00:00Z"),
            ("2026-03-30T07:00:00Z", "anna until 2026-04-06T07:00:00Z"),
            // An exception, the turn before it and the one after it.
            ("2026-02-03T16:59:59Z", "ben until 2026-02-03T17:00:00Z"),
            ("2026-02-03T17:00:00Z", "dora until 2026-02-04T08:00:00Z"),
            ("2026-02-04T08:00:00Z", "ben until 2026-02-09T08:00:00Z"),
        ];
        for (at, expected) in cases {
            assert_eq!(who(&rota, at), expected, "{at}");
        }
    }

    #[test]
    fn an_hour_that_comes_twice_or_never_hands_over_once() {
        let text = "
zone: Europe/Berlin
shifts:
  - {start: 2026-03-28, handover: '02:30', every_days: 1, people: [anna, ben]}
";
        let spring = rota(text);
        // 02:30 does not exist on 29 March: the clock goes from 02:00 to 03:00, and 03:30 is its place.
        assert_eq!(who(&spring, "2026-03-29T01:29:00Z"), "anna until 2026-03-29T01:30:00Z");
        assert_eq!(who(&spring, "2026-03-29T01:30:00Z"), "ben until 2026-03-30T00:30:00Z");
        let autumn = rota(&text.replace("2026-03-28", "2026-10-24"));
        // 02:30 comes twice on 25 October, and the first one counts: nobody is called back for half an hour.
        for at in
            ["2026-10-25T00:30:00Z", "2026-10-25T01:10:00Z", "2026-10-25T01:30:00Z", "2026-10-25T12:00:00Z"]
        {
            assert!(who(&autumn, at).starts_with("ben"), "{at}: {}", who(&autumn, at));
        }
        assert!(who(&autumn, "2026-10-25T00:29:59Z").starts_with("anna"));
    }

    #[test]
    fn a_later_rotation_takes_over_from_an_earlier_one() {
        let rota = rota(
            "
zone: America/New_York
shifts:
  - {start: 2026-06-01, handover: '08:00', every_days: 1, people: [zoe]}
  - {start: 2026-01-05, handover: '08:00', people: [anna, ben]}
",
        );
        assert_eq!(who(&rota, "2026-06-01T11:59:00Z"), "anna until 2026-06-01T12:00:00Z");
        assert_eq!(who(&rota, "2026-06-01T12:00:00Z"), "zoe until 2026-06-02T12:00:00Z");
    }

    #[test]
    fn all_faults_of_a_rota_are_named() {
        let text = "
zone: Europe/Atlantis
shifts:
  - {start: yesterday, handover: '9', every_days: 0, people: []}
overrides:
  - {from: 2026-02-04T09:00, until: 2026-02-03T09:00, person: dora}
  - {from: soon, until: later, person: dora}
";
        let faults = serde_saphyr::from_str::<RotaEntry>(text).unwrap().check().unwrap_err().join("\n");
        for word in ["Europe/Atlantis", "`people`", "`every_days`", "`handover`", "ends before", "`soon`"] {
            assert!(faults.contains(word), "`{word}` is not in:\n{faults}");
        }
    }
}

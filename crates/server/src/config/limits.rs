//! The limits: `limits.yaml`, and the calendars that it names.

use std::collections::BTreeSet;

use holdpoint_app::port::Document;
use holdpoint_domain::{
    action::Catalogue,
    limits::{Limits, LimitsSpec},
    target::Inventory,
};

use super::{Config, ConfigError, calendar, inputs::all, parse_text};

/// Most conditions of error budgets that one target is measured for: with four steps, what is measured fits into one transaction.
const MAX_ERROR_BUDGETS: usize = 4;

/// Reads the limits and their calendars; without a file there are the defaults.
pub(super) fn read(config: &Config, document: &Document) -> Result<Limits, ConfigError> {
    let calendars: Vec<_> = config.calendars.iter().map(|name| name.display().to_string()).collect();
    limits(&config.limits.display().to_string(), &calendars, document)
}

fn limits(file: &str, calendars: &[String], document: &Document) -> Result<Limits, ConfigError> {
    let text = document.files.get(file);
    let mut spec = text.map_or_else(|| Ok(LimitsSpec::default()), |text| parse_text(file, text))?;
    let mut faults = Vec::new();
    for calendar in &mut spec.calendars {
        let name = &calendar.file;
        let text = document.files.get(name).filter(|_| calendars.contains(name));
        let read = match text {
            Some(text) => calendar::windows(text, &calendar.zone),
            None => Err(vec!["it is not among the `calendars` of the configuration".to_owned()]),
        };
        match read {
            Ok(windows) => calendar.windows = windows,
            Err(found) => faults.extend(found.into_iter().map(|fault| format!("{name}: {fault}"))),
        }
    }
    // A calendar that nobody reads freezes nothing, and whoever wrote it believes that it does.
    let unread = calendars.iter().filter(|name| spec.calendars.iter().all(|one| one.file != **name));
    faults.extend(unread.map(|name| format!("{name}: no calendar of the limits names it as its `file`")));
    if faults.is_empty() {
        Limits::new(spec).map_err(|errors| all("limits", &errors))
    } else {
        Err(ConfigError(faults))
    }
}

/// An error budget names a condition of the catalogue, and no target has more of them than a plan's records have room for.
pub(super) fn check_error_budgets(
    limits: &Limits,
    catalogue: &Catalogue,
    inventory: &Inventory,
) -> Result<(), ConfigError> {
    let unknown =
        limits.error_budgets().iter().filter(|budget| catalogue.condition(&budget.condition).is_none());
    let mut faults: Vec<_> = unknown
        .map(|budget| {
            let (id, condition) = (&budget.id, &budget.condition);
            format!(
                "limits: error budget `{id}` names condition `{condition}`, which the catalogue does not have"
            )
        })
        .collect();
    for service in inventory.services() {
        let of =
            limits.error_budgets().iter().filter(|budget| budget.is_of(&service.id, &service.environment));
        let conditions: BTreeSet<_> = of.map(|budget| &budget.condition).collect();
        if conditions.len() > MAX_ERROR_BUDGETS {
            let (id, count) = (&service.id, conditions.len());
            faults.push(format!(
                "limits: service `{id}` has error budgets of {count} conditions: expected at most {MAX_ERROR_BUDGETS}"
            ));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(ConfigError(faults)) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn parsed(text: &str) -> Result<Limits, ConfigError> {
        with(&[("limits.yaml", text)], &[])
    }

    fn with(files: &[(&str, &str)], calendars: &[&str]) -> Result<Limits, ConfigError> {
        let files: BTreeMap<_, _> =
            files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let calendars: Vec<_> = calendars.iter().map(|name| (*name).to_owned()).collect();
        limits("limits.yaml", &calendars, &Document { files })
    }

    #[test]
    fn limits_that_nobody_wrote_are_none_and_unknown_words_are_refused() {
        assert_eq!(parsed("{}").unwrap(), Limits::default());
        let budget = "budgets: [{id: hourly, per: agent, starts: {max: 3, window_ms: 3600000}}]";
        assert_eq!(parsed(budget).unwrap().budgets().len(), 1);
        for bad in
            ["budget: []", "budgets: [{id: b, per: agent}]", "freezes: [{id: f, from_ms: 2, until_ms: 1}]"]
        {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_calendar_is_a_part_of_the_limits_and_of_their_digest() {
        let event = |day: u32| {
            format!(
                "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:x\r\nDTSTART;VALUE=DATE:202612{day}\r\n\
                 END:VEVENT\r\nEND:VCALENDAR\r\n"
            )
        };
        let named = "calendars: [{id: holidays, file: free.ics}]";
        let read =
            |day: u32| with(&[("limits.yaml", named), ("free.ics", &event(day))], &["free.ics"]).unwrap();
        let limits = read(24);
        let [calendar] = limits.calendars() else { panic!("one calendar") };
        assert_eq!((calendar.windows.len(), calendar.zone.as_str()), (1, "UTC"));
        assert_ne!(read(24).digest().unwrap(), read(25).digest().unwrap());
    }

    #[test]
    fn a_calendar_that_nobody_reads_is_a_fault_and_nobody_writes_windows() {
        let named = "calendars: [{id: holidays, file: free.ics}]";
        let cases = [
            (vec![("limits.yaml", named)], vec![], "free.ics: it is not among the `calendars`"),
            (
                vec![("limits.yaml", named), ("free.ics", "?")],
                vec!["free.ics"],
                "free.ics: expected an iCalendar",
            ),
            (vec![("limits.yaml", named), ("free.ics", "?")], vec![], "free.ics: it is not among"),
            (vec![("other.ics", "?")], vec!["other.ics"], "other.ics: no calendar of the limits names it"),
            (
                vec![("limits.yaml", "calendars: [{id: h, file: f, windows: [{from_ms: 1, until_ms: 2}]}]")],
                vec![],
                "windows",
            ),
        ];
        for (files, calendars, expected) in cases {
            let fault = with(&files, &calendars).unwrap_err().0.join("\n");
            assert!(fault.contains(expected), "{fault}");
        }
    }
}

//! Calendars of freezes: iCalendar (RFC 5545), read into windows of time.
//!
//! What is not understood is a fault, and what excludes is followed only where it is plain: a window too many holds a plan back for a
//! while, one too few lets it through. So an event that moves one of a series is a window of its own *beside* the one that it moves, and
//! a series without an end is a freeze for ever after the last of its first [`MAX_OF_A_SERIES`] events: the calendar has to be narrowed or
//! renewed long before.
//!
//! What is read depends on the bytes of the file, the zone and this program alone, never on the machine or the hour: the zones are those that
//! are built in. A series is worked out on the clock on the wall, and each of its times is then placed: one that the clock jumps over
//! is placed before the jump, and never left out.

use holdpoint_domain::{
    Timestamp,
    limits::{Calendar, MAX_WINDOWS, Window},
};
use icalendar::parser::{Component, Property, read_components, unfold};
use jiff::{
    SignedDuration, Span,
    civil::{Date, DateTime},
    tz::{TimeZone, TimeZoneDatabase},
};
use rrule::RRuleSet;

/// Most events of one series that are read: more than five years of every day.
const MAX_OF_A_SERIES: u16 = 2_000;
/// The last year of a series that is read.
const LAST_YEAR: i16 = 2200;
/// Largest file.
const MAX_FILE: usize = 1024 * 1024;
/// Most components of a file, and how deep they may stand in each other.
const MAX_COMPONENTS: usize = 2_000;
const MAX_DEPTH: usize = 4;

/// Reads the file of a calendar; every event that is not cancelled is a window.
pub(super) fn windows(text: &str, zone: &str) -> Result<Vec<Window>, Vec<String>> {
    let one = |fault: String| vec![fault];
    let named = zone;
    let zone = zone_of(named).map_err(one)?;
    bounded(text).map_err(one)?;
    let text = unfold(text);
    let roots = read_components(&text).map_err(|fault| {
        one(format!("expected an iCalendar file (RFC 5545): {}", fault.lines().next().unwrap_or_default()))
    })?;
    let [calendar] = roots.as_slice() else {
        return Err(one(format!("expected one calendar, got {}", roots.len())));
    };
    if !is(calendar.name.as_str(), "VCALENDAR") {
        return Err(one("expected `BEGIN:VCALENDAR`".to_owned()));
    }
    // What programs write beside the standard: whole days would be hours off.
    if let Some(theirs) = value(calendar, "X-WR-TIMEZONE").map_err(one)?.filter(|theirs| *theirs != named) {
        return Err(one(format!(
            "it says `X-WR-TIMEZONE:{}`: expected the same as the `zone` of the calendar, `{named}`",
            theirs.escape_debug()
        )));
    }
    let events = || calendar.components.iter().filter(|component| is(component.name.as_str(), "VEVENT"));
    if events().next().is_none() {
        return Err(one("expected at least one event (`VEVENT`)".to_owned()));
    }
    let (mut windows, mut faults) = (Vec::new(), Vec::new());
    for event in events() {
        match of_event(event, &zone) {
            Ok(found) => {
                windows.extend(found);
                windows = Calendar::merged(windows);
            }
            Err(fault) => {
                let name = |name| value(event, name).ok().flatten();
                let name = name("UID").or_else(|| name("SUMMARY")).unwrap_or("without a UID");
                faults.push(format!("event `{}`: {fault}", name.escape_debug()));
            }
        }
        if windows.len() > MAX_WINDOWS {
            faults.push(format!("expected events at no more than {MAX_WINDOWS} times"));
            break;
        }
    }
    if faults.is_empty() { Ok(windows) } else { Err(faults) }
}

/// Refuses what would take a parser long, or deep.
fn bounded(text: &str) -> Result<(), String> {
    if text.len() > MAX_FILE {
        return Err(format!("expected at most {MAX_FILE} bytes, got {}", text.len()));
    }
    let (mut depth, mut components) = (0_usize, 0_usize);
    for line in text.lines() {
        let starts = |word: &str| line.get(..word.len()).is_some_and(|start| is(start, word));
        if starts("BEGIN:") {
            depth = depth.saturating_add(1);
            components = components.saturating_add(1);
        } else if starts("END:") {
            depth = depth.saturating_sub(1);
        }
        if depth > MAX_DEPTH || components > MAX_COMPONENTS {
            return Err(format!(
                "expected at most {MAX_COMPONENTS} components, at most {MAX_DEPTH} of them in each other"
            ));
        }
    }
    Ok(())
}

/// Names are the same in upper and lower case.
const fn is(name: &str, expected: &str) -> bool {
    name.eq_ignore_ascii_case(expected)
}

/// A point in time as an event writes it.
#[derive(Clone)]
struct Point {
    /// On the clock on the wall.
    local: DateTime,
    zone: TimeZone,
    /// Only the day was said.
    day: bool,
}

impl Point {
    /// When it is. Where the clock is put forward over it or back to it, whichever is `later` or not.
    fn at(&self, later: bool) -> Result<jiff::Timestamp, String> {
        let at = self.zone.to_ambiguous_timestamp(self.local);
        if later { at.later() } else { at.earlier() }.map_err(|err| err.to_string())
    }
}

fn of_event(event: &Component<'_>, zone: &TimeZone) -> Result<Vec<Window>, String> {
    if value(event, "STATUS")?.is_some_and(|status| is(status, "CANCELLED")) {
        return Ok(Vec::new());
    }
    if let Some(moved) = property(event, "RECURRENCE-ID")?
        && moved.params.iter().any(|param| is(param.key.as_str(), "RANGE"))
    {
        return Err("it moves what follows (`RANGE`): expected a series of its own".to_owned());
    }
    let start = property(event, "DTSTART")?.ok_or("expected a `DTSTART`")?;
    let start = point(start, start.val.as_str(), zone)?;
    let length = length(event, &start, zone)?;
    // The first event is one of the series, whatever its rule says (RFC 5545, 3.8.5.3).
    let mut windows = vec![window(&start, length)?];
    let recurs =
        event.properties.iter().any(|one| is(one.name.as_str(), "RRULE") || is(one.name.as_str(), "RDATE"));
    if !recurs {
        return Ok(windows);
    }
    let set: RRuleSet = series(event, &start, zone)?.parse().map_err(|err| format!("{err}"))?;
    let found = set.all(MAX_OF_A_SERIES);
    let mut goes_on = found.limited;
    for date in &found.dates {
        let at = jiff::Timestamp::from_second(date.timestamp()).map_err(|err| err.to_string())?;
        let local = TimeZone::UTC.to_datetime(at);
        if local.year() > LAST_YEAR {
            goes_on = true;
            break;
        }
        windows.push(window(&Point { local, ..start.clone() }, length)?);
    }
    if goes_on && let Some(last) = windows.iter_mut().max() {
        last.until_ms = in_ms(jiff::Timestamp::MAX)?;
    }
    Ok(windows)
}

/// How long an event is.
#[derive(Clone, Copy)]
enum Length {
    /// Days on the wall, however long each is.
    Days(Span),
    Time(SignedDuration),
}

fn length(event: &Component<'_>, start: &Point, zone: &TimeZone) -> Result<Length, String> {
    if let Some(end) = property(event, "DTEND")? {
        let end = point(end, end.val.as_str(), zone)?;
        if end.day != start.day {
            return Err("expected `DTSTART` and `DTEND` both with a time, or both without".to_owned());
        }
        if start.day {
            let days = start.local.date().until(end.local.date()).map_err(|err| err.to_string())?;
            return Ok(Length::Days(days));
        }
        return Ok(Length::Time(end.at(true)?.duration_since(start.at(false)?)));
    }
    match value(event, "DURATION")? {
        Some(text) => {
            let span: Span =
                text.parse().map_err(|_| format!("expected a duration such as `PT2H`, got `{text}`"))?;
            if span.get_days() != 0 || span.get_weeks() != 0 {
                return Ok(Length::Days(span));
            }
            SignedDuration::try_from(span).map(Length::Time).map_err(|err| err.to_string())
        }
        None if start.day => Ok(Length::Days(Span::new().days(1))),
        None => Err("expected a `DTEND` or a `DURATION`".to_owned()),
    }
}

fn window(start: &Point, length: Length) -> Result<Window, String> {
    let from = start.at(false)?;
    let until = match length {
        Length::Time(time) => from.checked_add(time).map_err(|err| err.to_string())?,
        Length::Days(days) => {
            let local = start.local.checked_add(days).map_err(|err| err.to_string())?;
            Point { local, ..start.clone() }.at(true)?
        }
    };
    if until <= from {
        return Err("it ends before it begins".to_owned());
    }
    Ok(Window { from_ms: in_ms(from)?, until_ms: in_ms(until)? })
}

fn in_ms(at: jiff::Timestamp) -> Result<Timestamp, String> {
    let ms = u64::try_from(at.as_millisecond()).map_err(|_| "expected times after 1970".to_owned())?;
    Timestamp::from_ms(ms).map_err(|err| err.to_string())
}

/// The lines of a series: times of the clock on the wall at its start, written as if it were in UTC.
fn series(event: &Component<'_>, start: &Point, zone: &TimeZone) -> Result<String, String> {
    let mut lines = vec![format!("DTSTART:{}", written(start.local))];
    for property in &event.properties {
        let name = property.name.as_str().to_ascii_uppercase();
        match name.as_str() {
            "RRULE" => lines.push(format!("RRULE:{}", rule(property.val.as_str(), start)?)),
            "RDATE" | "EXDATE" => {
                let times = property.val.as_str().split(',').map(|text| {
                    let one = point(property, text, zone)?;
                    // A day is a day, wherever it is one.
                    let local = if one.day { one.local } else { start.zone.to_datetime(one.at(false)?) };
                    Ok(written(local))
                });
                lines.push(format!("{name}:{}", times.collect::<Result<Vec<_>, String>>()?.join(",")));
            }
            // Without it there are more windows, not fewer.
            _ => {}
        }
    }
    Ok(lines.join("\n"))
}

fn written(local: DateTime) -> String {
    local.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// A rule whose end, if it has one, is a time of the clock on the wall at the start of the series. The day on which a series of days ends
/// is one of it, whatever time somebody wrote behind it.
fn rule(text: &str, start: &Point) -> Result<String, String> {
    let part = |part: &str| {
        let until = part.get(..6).filter(|name| is(name, "UNTIL=")).and_then(|name| part.get(name.len()..));
        let Some(until) = until else { return Ok(part.to_owned()) };
        let date = until.get(..8).unwrap_or(until);
        let local = if start.day || until.len() == date.len() {
            day(date)?.at(23, 59, 59, 0)
        } else if let Some(utc) = until.strip_suffix('Z') {
            let at = Point { local: time(utc)?, zone: TimeZone::UTC, day: false }.at(true)?;
            start.zone.to_datetime(at)
        } else {
            time(until)?
        };
        Ok(format!("UNTIL={}", written(local)))
    };
    Ok(text.split(';').map(part).collect::<Result<Vec<_>, String>>()?.join(";"))
}

fn point(property: &Property<'_>, text: &str, zone: &TimeZone) -> Result<Point, String> {
    let named = property.params.iter().find(|param| is(param.key.as_str(), "TZID"));
    let zone = match named.and_then(|param| param.val.as_ref()) {
        Some(name) => zone_of(name.as_str().trim_matches('"'))?,
        None => zone.clone(),
    };
    match text.strip_suffix('Z') {
        Some(utc) => Ok(Point { local: time(utc)?, zone: TimeZone::UTC, day: false }),
        None => match day(text) {
            Ok(day) => Ok(Point { local: day.at(0, 0, 0, 0), zone, day: true }),
            Err(_) => Ok(Point { local: time(text)?, zone, day: false }),
        },
    }
}

fn zone_of(name: &str) -> Result<TimeZone, String> {
    TimeZoneDatabase::bundled().get(name).map_err(|_| {
        format!(
            "expected a time zone by its IANA name, such as `Europe/Berlin`, got `{}`",
            name.escape_debug()
        )
    })
}

fn day(text: &str) -> Result<Date, String> {
    Date::strptime("%Y%m%d", text).map_err(|_| not_a_time(text))
}

fn time(text: &str) -> Result<DateTime, String> {
    DateTime::strptime("%Y%m%dT%H%M%S", text).map_err(|_| not_a_time(text))
}

fn not_a_time(text: &str) -> String {
    format!("expected a time such as `20261224T180000`, got `{}`", text.escape_debug())
}

/// The one property with this name. Two would be two answers.
fn property<'c, 'a>(component: &'c Component<'a>, name: &str) -> Result<Option<&'c Property<'a>>, String> {
    let mut all = component.properties.iter().filter(|property| is(property.name.as_str(), name));
    let first = all.next();
    if all.next().is_some() { Err(format!("expected one `{name}`, got more")) } else { Ok(first) }
}

fn value<'c>(component: &'c Component<'_>, name: &str) -> Result<Option<&'c str>, String> {
    Ok(property(component, name)?.map(|property| property.val.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &str) -> Result<Vec<(String, String)>, String> {
        read_in("Europe/Berlin", events)
    }

    fn read_in(zone: &str, events: &str) -> Result<Vec<(String, String)>, String> {
        let text = format!("BEGIN:VCALENDAR\nVERSION:2.0\n{events}END:VCALENDAR\n").replace('\n', "\r\n");
        let written = |at: Timestamp| {
            if at == in_ms(jiff::Timestamp::MAX).unwrap() {
                return "for ever".to_owned();
            }
            jiff::Timestamp::from_millisecond(i64::try_from(at.ms()).unwrap()).unwrap().to_string()
        };
        let windows = windows(&text, zone).map_err(|faults| faults.join("\n"))?;
        Ok(windows.iter().map(|window| (written(window.from_ms), written(window.until_ms))).collect())
    }

    fn event(lines: &str) -> String {
        format!("BEGIN:VEVENT\nUID:one\n{lines}\nEND:VEVENT\n")
    }

    fn pairs(found: &[(String, String)]) -> Vec<(&str, &str)> {
        found.iter().map(|(from, until)| (from.as_str(), until.as_str())).collect()
    }

    #[test]
    fn an_event_is_a_window_in_its_zone() {
        let cases = [
            (
                "DTSTART:20261224T120000Z\nDTEND:20261226T000000Z",
                "2026-12-24T12:00:00Z",
                "2026-12-26T00:00:00Z",
            ),
            ("DTSTART:20261224T120000\nDURATION:PT90M", "2026-12-24T11:00:00Z", "2026-12-24T12:30:00Z"),
            (
                "DTSTART;TZID=America/New_York:20260704T090000\nDTEND;TZID=America/New_York:20260704T170000",
                "2026-07-04T13:00:00Z",
                "2026-07-04T21:00:00Z",
            ),
            // A day is a day of the zone, also when it has 23 hours.
            ("DTSTART;VALUE=DATE:20260329", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            (
                "DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20270102\nSUMMARY:Holi\n days",
                "2026-12-23T23:00:00Z",
                "2027-01-01T23:00:00Z",
            ),
        ];
        for (lines, from, until) in cases {
            assert_eq!(pairs(&read(&event(lines)).unwrap()), [(from, until)], "{lines}");
        }
    }

    #[test]
    fn what_recurs_is_a_window_each_time_on_the_clock_on_the_wall() {
        let fridays = event(
            "DTSTART;TZID=Europe/Berlin:20261016T160000\nDTEND;TZID=Europe/Berlin:20261016T180000\n\
             RRULE:FREQ=WEEKLY;BYDAY=FR;COUNT=4\nEXDATE;TZID=Europe/Berlin:20261023T160000",
        );
        // The clocks are put back on the 25th.
        let expected = [
            ("2026-10-16T14:00:00Z", "2026-10-16T16:00:00Z"),
            ("2026-10-30T15:00:00Z", "2026-10-30T17:00:00Z"),
            ("2026-11-06T15:00:00Z", "2026-11-06T17:00:00Z"),
        ];
        assert_eq!(pairs(&read(&fridays).unwrap()), expected);
        let days = event("DTSTART;VALUE=DATE:20261230\nRRULE:FREQ=DAILY;UNTIL=20270101");
        assert_eq!(pairs(&read(&days).unwrap()), [("2026-12-29T23:00:00Z", "2027-01-01T23:00:00Z")]);
        let more = event("DTSTART:20261201T000000Z\nDURATION:PT1H\nRDATE:20261202T000000Z,20261203T000000Z");
        assert_eq!(read(&more).unwrap().len(), 3);
        // A series without an end: a freeze for ever after those that are read.
        let ever = read(&event("DTSTART:20260105T080000Z\nDURATION:PT1H\nRRULE:FREQ=WEEKLY")).unwrap();
        assert_eq!((ever.len(), ever.last().unwrap().1.as_str()), (usize::from(MAX_OF_A_SERIES), "for ever"));
    }

    #[test]
    fn what_moves_one_of_a_series_takes_nothing_away_and_what_is_cancelled_is_none() {
        let series = event("DTSTART:20261201T000000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=2");
        let moved = event("RECURRENCE-ID:20261202T000000Z\nDTSTART:20261202T120000Z\nDURATION:PT1H");
        assert_eq!(read(&format!("{series}{moved}")).unwrap().len(), 3);
        assert!(
            read(&event("DTSTART:20261201T000000Z\nDURATION:PT1H\nSTATUS:CANCELLED")).unwrap().is_empty()
        );
        let fault = read("BEGIN:VTODO\nUID:todo\nEND:VTODO\n").unwrap_err();
        assert!(fault.contains("at least one event"), "{fault}");
    }

    #[test]
    fn what_is_not_understood_is_a_fault_and_says_which_event() {
        let cases = [
            ("DTEND:20261201T000000Z", "expected a `DTSTART`"),
            ("DTSTART:20261201T000000Z", "expected a `DTEND` or a `DURATION`"),
            ("DTSTART:20261201T000000Z\nDTEND:20261130T000000Z", "it ends before it begins"),
            ("DTSTART:20261201T000000Z\nDTEND;VALUE=DATE:20261202", "both with a time"),
            ("DTSTART:tomorrow\nDURATION:PT1H", "expected a time such as"),
            ("DTSTART:20261201T000000Z\nDURATION:long", "expected a duration"),
            ("DTSTART;TZID=W. Europe Standard Time:20261201T000000\nDURATION:PT1H", "by its IANA name"),
            ("DTSTART:20261201T000000Z\nDURATION:PT1H\nRRULE:FREQ=NEVER", "NEVER"),
            (
                "DTSTART:20261201T000000Z\nDURATION:PT1H\nRDATE;VALUE=PERIOD:20261201T000000Z/PT1H",
                "expected a time",
            ),
        ];
        for (lines, expected) in cases {
            let fault = read(&event(lines)).unwrap_err();
            assert!(fault.contains("event `one`") && fault.contains(expected), "{lines}: {fault}");
        }
        let twice = event("DTSTART:20261201T000000Z\nDTSTART:20261202T000000Z\nDURATION:PT1H");
        assert!(read(&twice).unwrap_err().contains("expected one `DTSTART`"));
        let follows =
            "RECURRENCE-ID;RANGE=THISANDFUTURE:20261201T000000Z\nDTSTART:20261201T120000Z\nDURATION:PT1H";
        assert!(read(&event(follows)).unwrap_err().contains("RANGE"));
        let elsewhere =
            read(&format!("X-WR-TIMEZONE:America/Lima\n{}", event("DTSTART;VALUE=DATE:20261224")));
        assert!(elsewhere.unwrap_err().contains("X-WR-TIMEZONE"));
        assert!(windows("no calendar", "UTC").is_err());
        assert!(windows("", "Nowhere/Else").unwrap_err().join("").contains("IANA"));
    }
    #[test]
    fn names_are_the_same_in_upper_and_lower_case() {
        let upper = event(
            "DTSTART;TZID=Europe/Berlin:20261016T160000\nDURATION:PT2H\nRRULE:FREQ=WEEKLY;UNTIL=20261031",
        );
        let lower = upper
            .replace("BEGIN:VEVENT", "begin:vevent")
            .replace("END:VEVENT", "end:vevent")
            .replace("DTSTART;TZID", "dtstart;tzid")
            .replace("DURATION", "Duration")
            .replace("RRULE", "rrule");
        assert_eq!(read(&lower).unwrap(), read(&upper).unwrap());
        assert_eq!(read(&lower).unwrap().len(), 3);
        let text = format!("begin:vcalendar\r\n{}end:vcalendar\r\n", lower.replace('\n', "\r\n"));
        assert_eq!(windows(&text, "UTC").unwrap().len(), 3);
        assert!(windows(&upper.replace('\n', "\r\n"), "UTC").unwrap_err().join("").contains("VCALENDAR"));
    }

    /// Where the clock jumps over midnight there is a day without one; it is frozen all the same, and so is every other day.
    #[test]
    fn no_day_of_a_series_is_lost_where_the_clock_jumps_at_midnight() {
        let zones = [
            "America/Santiago",
            "Africa/Cairo",
            "Asia/Beirut",
            "America/Havana",
            "Atlantic/Azores",
            "Europe/Berlin",
            "Pacific/Apia",
        ];
        for zone in zones {
            for year in [2011, 2025, 2026, 2027] {
                let days = format!("DTSTART;VALUE=DATE:{year}0101\nRRULE:FREQ=DAILY;UNTIL={year}1231");
                let found = read_in(zone, &event(&days)).unwrap();
                assert_eq!(found.len(), 1, "{zone} {year}: the days touch, so they are one: {found:?}");
                let whole = format!("DTSTART;VALUE=DATE:{year}0101\nDTEND;VALUE=DATE:{}0101", year + 1);
                assert_eq!(found, read_in(zone, &event(&whole)).unwrap(), "{zone} {year}");
                let sundays = format!("DTSTART;VALUE=DATE:{year}0101\nRRULE:FREQ=WEEKLY;BYDAY=SU;COUNT=53");
                assert!(read_in(zone, &event(&sundays)).unwrap().len() >= 53, "{zone} {year}");
            }
        }
    }

    #[test]
    fn the_last_day_of_a_series_of_days_is_one_of_it_whatever_time_stands_behind_it() {
        for until in ["20261231", "20261231T000000Z", "20261231T235959"] {
            let days = event(&format!("DTSTART;VALUE=DATE:20261224\nRRULE:FREQ=DAILY;UNTIL={until}"));
            let found = read_in("America/New_York", &days).unwrap();
            assert_eq!(pairs(&found), [("2026-12-24T05:00:00Z", "2027-01-01T05:00:00Z")], "{until}");
        }
        let leap = read(&event("DTSTART;VALUE=DATE:20240229\nRRULE:FREQ=YEARLY;INTERVAL=4")).unwrap();
        assert_eq!(leap.last().unwrap().1, "for ever");
    }

    #[test]
    fn t30_a_file_that_is_large_or_deep_or_has_too_many_events_is_refused_soon() {
        let many = |count: usize, of: &str| of.repeat(count);
        let daily = event("DTSTART:20260105T080000Z\nDURATION:PT1M\nRRULE:FREQ=DAILY");
        let spread: String = (0..9)
            .map(|hour| event(&format!("DTSTART:20260105T0{hour}0000Z\nDURATION:PT1M\nRRULE:FREQ=DAILY")))
            .collect();
        assert!(read(&spread).unwrap_err().contains("no more than"));
        assert!(read(&many(3_000, &daily)).unwrap_err().contains("components"));
        assert!(windows(&many(200_000, "BEGIN:A\r\n"), "UTC").is_err());
        assert!(windows(&many(2_000, "BEGIN:A\r\n"), "UTC").unwrap_err().join("").contains("in each other"));
        assert!(windows(&many(MAX_FILE, "ab"), "UTC").unwrap_err().join("").contains("bytes"));
    }
}

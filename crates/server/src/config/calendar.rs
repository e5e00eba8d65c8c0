//! Calendars of freezes: iCalendar (RFC 5545), read into windows of time.
//!
//! What is not understood is a fault, and what excludes is followed only where it is plain: a window too many holds a plan back for a
//! while, one too few lets it through. So an event that moves one of a series is a window of its own *beside* the one that it moves, and
//! a series without an end is a freeze for ever after the last of its first [`MAX_OF_A_SERIES`] events: the calendar has to be narrowed or
//! renewed long before. Whatever is read depends on the bytes of the file and on the zone alone, never on the machine or the hour.

use holdpoint_domain::{
    Timestamp,
    limits::{Calendar, Window},
};
use icalendar::parser::{Component, Property, read_calendar, unfold};
use jiff::{
    SignedDuration, Span,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use rrule::RRuleSet;

/// Most events of one series that are read: more than five years of every day.
const MAX_OF_A_SERIES: u16 = 2_000;

/// Reads the file of a calendar; every event that is not cancelled is a window.
pub(super) fn windows(text: &str, zone: &str) -> Result<Vec<Window>, Vec<String>> {
    let zone = zone_of(zone).map_err(|fault| vec![fault])?;
    let text = unfold(text);
    let calendar = read_calendar(&text).map_err(|fault| {
        let first = fault.lines().next().unwrap_or_default().to_owned();
        vec![format!("expected an iCalendar file (RFC 5545): {first}")]
    })?;
    let (mut windows, mut faults) = (Vec::new(), Vec::new());
    for event in calendar.components.iter().filter(|component| component.name.as_str() == "VEVENT") {
        let cancelled = value(event, "STATUS").is_some_and(|status| status.eq_ignore_ascii_case("CANCELLED"));
        match if cancelled { Ok(Vec::new()) } else { of_event(event, &zone) } {
            Ok(found) => windows.extend(found),
            Err(fault) => {
                let name = value(event, "UID").or_else(|| value(event, "SUMMARY")).unwrap_or("without a UID");
                faults.push(format!("event `{}`: {fault}", name.escape_debug()));
            }
        }
    }
    if faults.is_empty() { Ok(Calendar::merged(windows)) } else { Err(faults) }
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
    let start = property(event, "DTSTART").ok_or("expected a `DTSTART`")?;
    let start = point(start, start.val.as_str(), zone)?;
    let length = length(event, &start, zone)?;
    let recurs = ["RRULE", "RDATE"].iter().any(|name| property(event, name).is_some());
    if !recurs {
        return Ok(vec![window(&start, length)?]);
    }
    let set: RRuleSet = series(event, &start, zone)?.parse().map_err(|err| format!("{err}"))?;
    let found = set.all(MAX_OF_A_SERIES);
    let mut windows = Vec::new();
    for date in &found.dates {
        let at = jiff::Timestamp::from_millisecond(date.timestamp_millis()).map_err(|err| err.to_string())?;
        let local = start.zone.to_datetime(at);
        windows.push(window(&Point { local, ..start.clone() }, length)?);
    }
    // The first event is one of the series, whatever its rule says (RFC 5545, 3.8.5.3).
    windows.push(window(&start, length)?);
    if found.limited
        && let Some(last) = windows.iter_mut().max()
    {
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
    if let Some(end) = property(event, "DTEND") {
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
    match value(event, "DURATION") {
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

/// The lines of a series, each with a time and the zone of its start.
fn series(event: &Component<'_>, start: &Point, zone: &TimeZone) -> Result<String, String> {
    let name = start.zone.iana_name().unwrap_or("UTC");
    let written = |local: DateTime| local.strftime("%Y%m%dT%H%M%S").to_string();
    let mut lines = vec![format!("DTSTART;TZID={name}:{}", written(start.local))];
    for property in event.properties.iter() {
        match property.name.as_str() {
            "RRULE" => lines.push(format!("RRULE:{}", rule(property.val.as_str(), start)?)),
            name_of @ ("RDATE" | "EXDATE") => {
                let times = property.val.as_str().split(',').map(|text| {
                    let at = point(property, text, zone)?;
                    Ok(written(start.zone.to_datetime(at.at(false)?)))
                });
                let times = times.collect::<Result<Vec<_>, String>>()?.join(",");
                lines.push(format!("{name_of};TZID={name}:{times}"));
            }
            // Without it there are more windows, not fewer.
            _ => {}
        }
    }
    Ok(lines.join("\n"))
}

/// A rule whose end, if it has one, is in UTC: a day ends at midnight of the zone.
fn rule(text: &str, start: &Point) -> Result<String, String> {
    let part = |part: &str| {
        let Some(until) = part.strip_prefix("UNTIL=") else { return Ok(part.to_owned()) };
        let (local, zone) = match until.strip_suffix('Z') {
            Some(utc) => (time(utc)?, TimeZone::UTC),
            None => match day(until) {
                Ok(day) => (day.at(23, 59, 59, 0), start.zone.clone()),
                Err(_) => (time(until)?, start.zone.clone()),
            },
        };
        let at = Point { local, zone, day: false }.at(true)?;
        Ok(format!("UNTIL={}", TimeZone::UTC.to_datetime(at).strftime("%Y%m%dT%H%M%SZ")))
    };
    Ok(text.split(';').map(part).collect::<Result<Vec<_>, String>>()?.join(";"))
}

fn point(property: &Property<'_>, text: &str, zone: &TimeZone) -> Result<Point, String> {
    let named = property.params.iter().find(|param| param.key.as_str().eq_ignore_ascii_case("TZID"));
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
    TimeZone::get(name).map_err(|_| {
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

fn property<'c, 'a>(event: &'c Component<'a>, name: &str) -> Option<&'c Property<'a>> {
    event.properties.iter().find(|property| property.name.as_str() == name)
}

fn value<'c>(event: &'c Component<'_>, name: &str) -> Option<&'c str> {
    property(event, name).map(|property| property.val.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &str) -> Result<Vec<(String, String)>, String> {
        let text = format!("BEGIN:VCALENDAR\nVERSION:2.0\n{events}END:VCALENDAR\n").replace('\n', "\r\n");
        let written = |at: Timestamp| {
            if at == in_ms(jiff::Timestamp::MAX).unwrap() {
                return "for ever".to_owned();
            }
            jiff::Timestamp::from_millisecond(i64::try_from(at.ms()).unwrap()).unwrap().to_string()
        };
        let windows = windows(&text, "Europe/Berlin").map_err(|faults| faults.join("\n"))?;
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
        assert!(read("BEGIN:VTODO\nUID:todo\nEND:VTODO\n").unwrap().is_empty());
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
        assert!(windows("no calendar", "UTC").is_err());
        assert!(windows("", "Nowhere/Else").unwrap_err().join("").contains("IANA"));
    }
}

//! Expressions that a Prometheus evaluates.
//!
//! 1. The samples that the expression is about: the time stamp of the oldest one that is a number. Without one there is no data,
//!    whatever the expression says. The time of this evaluation is Prometheus' own clock, and is compared with ours.
//! 2. The expression at that time, or at each step up to it; with steps also the samples at each.

use holdpoint_app::port::Clock;
use holdpoint_domain::{
    Millis, Timestamp,
    trigger::{Promql, PromqlCheck, Subject, Truth, Why},
};
use reqwest::{Client, header};

use super::{
    Finding, MAX_FUTURE,
    fetch::{self, Fetched},
    vector::{Point, matrix, millis, vector},
};

/// Largest answer.
pub(super) const MAX_ANSWER: usize = 1024 * 1024;
/// How far two clocks may be apart.
const MAX_SKEW_MS: i64 = 5000;

/// One check, about to be made.
pub(super) struct Asked<'a> {
    pub(super) client: &'a Client,
    pub(super) clock: &'a dyn Clock,
    pub(super) check: &'a PromqlCheck,
    pub(super) subject: Subject<'a>,
}

/// The two expressions, about the target.
struct Expressions {
    /// When the oldest of the samples was taken that the query is about, in seconds.
    oldest: String,
    query: String,
}

/// The evaluation by Prometheus' clock.
#[derive(Debug, Clone, Copy)]
struct Evaluated {
    at_ms: i64,
    age_ms: i64,
}

impl Asked<'_> {
    /// Asks the Prometheus at this base address. The time limit is the caller's.
    pub(super) async fn at(&self, base: &str) -> Finding {
        self.measure(base).await.unwrap_or_else(Finding::unknown)
    }

    async fn measure(&self, base: &str) -> Result<Finding, Why> {
        let expressions = self.expressions()?;
        let evaluated = self.samples(base, &expressions.oldest).await?;
        let finding = match self.check.for_ms {
            None => self.now(base, &expressions.query, evaluated).await?,
            Some(span) => self.always(base, &expressions, evaluated, span.ms()).await?,
        };
        let age = u64::try_from(evaluated.age_ms).ok().and_then(|ms| ms.try_into().ok());
        Ok(Finding { age: age.unwrap_or(finding.age), ..finding })
    }

    /// The catalogue was checked when it was loaded: what does not parse here is our fault.
    fn expressions(&self) -> Result<Expressions, Why> {
        let about = |text: &str| {
            let query = Promql::parse(text).map_err(|_| Why::OurFault)?;
            query.about(self.subject).ok_or(Why::NoEndpoint)
        };
        let data = about(&self.check.data)?;
        Ok(Expressions { oldest: format!("min({})", taken(&data)), query: about(&self.check.query)? })
    }

    async fn samples(&self, base: &str, oldest: &str) -> Result<Evaluated, Why> {
        let before = ms(self.clock.now());
        let fetched = self.fetch(base, "query", &[("query", oldest)]).await;
        let after = ms(self.clock.now());
        let [point] = vector(fetched)?.try_into().map_err(|points: Vec<Point>| {
            // One aggregate has one value.
            if points.is_empty() { Why::NoData } else { Why::Garbage }
        })?;
        if !is_near(point.at_ms, before, after) {
            return Err(Why::ClockSkew);
        }
        let taken_ms = millis(point.value).ok_or(Why::Garbage)?;
        // By the clock by which it is older.
        let age_ms = point.at_ms.max(after).saturating_sub(taken_ms);
        if !is_young(age_ms, self.check.max_age_ms) {
            return Err(Why::Stale);
        }
        Ok(Evaluated { at_ms: point.at_ms, age_ms: age_ms.max(0) })
    }

    /// The expression, once.
    async fn now(&self, base: &str, query: &str, evaluated: Evaluated) -> Result<Finding, Why> {
        let time = seconds(evaluated.at_ms);
        let points = vector(self.fetch(base, "query", &[("query", query), ("time", &time)]).await)?;
        if points.iter().any(|point| point.at_ms != evaluated.at_ms) {
            return Err(Why::Garbage);
        }
        self.compare(points.iter().map(std::slice::from_ref))
    }

    /// The expression at each step of the last `span_ms`.
    async fn always(
        &self,
        base: &str,
        expressions: &Expressions,
        evaluated: Evaluated,
        span_ms: u64,
    ) -> Result<Finding, Why> {
        let step_ms = self.check.step().ms();
        let steps = span_ms.checked_div(step_ms).ok_or(Why::OurFault)?;
        let end_ms = evaluated.at_ms;
        let start_ms = end_ms.saturating_sub(ms_of(steps.saturating_mul(step_ms)));
        let (start, end, step) = (seconds(start_ms), seconds(end_ms), seconds(ms_of(step_ms)));
        let range = |query: &str| {
            let form = [("query", query), ("start", &start), ("end", &end), ("step", &step)];
            let form = form.map(|(name, value)| (name, value.to_owned()));
            async move {
                let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
                self.fetch(base, "query_range", &form).await
            }
        };
        let (taken, values) =
            futures_util::future::join(range(&expressions.oldest), range(&expressions.query)).await;
        let times: Vec<i64> =
            (0..=steps).map(|at| start_ms.saturating_add(ms_of(at.saturating_mul(step_ms)))).collect();
        self.never_missing(&matrix(taken)?, &times)?;
        let series = matrix(values)?;
        let is_whole = |points: &Vec<Point>| points.iter().map(|point| point.at_ms).eq(times.iter().copied());
        if series.len() <= self.at_most() && !series.iter().all(is_whole) {
            return Err(Why::Gap);
        }
        self.compare(series.iter().map(Vec::as_slice))
    }

    /// At each step there was a sample that was young enough then, and not one and the same at all of them.
    fn never_missing(&self, taken: &[Vec<Point>], times: &[i64]) -> Result<(), Why> {
        let [taken] = taken else { return Err(if taken.is_empty() { Why::NoData } else { Why::Garbage }) };
        let max_age = ms_of(self.check.max_age_ms.ms());
        let is_young = |(point, time): (&Point, &i64)| {
            point.at_ms == *time
                && millis(point.value).is_some_and(|taken| time.saturating_sub(taken) <= max_age)
        };
        let (first, last) = (taken.first(), taken.last());
        let moves = first.is_some_and(|first| last.is_some_and(|last| last.value > first.value));
        if taken.len() != times.len() || !taken.iter().zip(times).all(is_young) || !moves {
            return Err(Why::Gap);
        }
        Ok(())
    }

    /// Holds when every point of every series does.
    fn compare<'p>(&self, series: impl ExactSizeIterator<Item = &'p [Point]>) -> Result<Finding, Why> {
        match series.len() {
            0 => return Err(Why::NoData),
            count if count > self.at_most() => return Err(Why::Ambiguous),
            _ => {}
        }
        let (mut holds, mut shown) = (true, None);
        for point in series.flatten() {
            // An infinity is what a division by nothing leaves, and no measurement.
            let held = self.check.is.holds(point.value).filter(|_| point.value.is_finite());
            let held = held.ok_or(Why::NotANumber)?;
            // The first that does not hold is what to look at; else the newest.
            if holds {
                shown = Some(point.value);
            }
            holds &= held;
        }
        let truth = if holds { Truth::Holds } else { Truth::DoesNotHold };
        Ok(Finding { value: shown, ..Finding::new(truth, Why::Measured) })
    }

    fn at_most(&self) -> usize {
        usize::try_from(self.check.at_most_series).unwrap_or(usize::MAX)
    }

    async fn fetch(&self, base: &str, path: &str, form: &[(&str, &str)]) -> Fetched {
        ask(self.client, base, path, form, MAX_ANSWER).await
    }
}

/// One question to the API of the Prometheus at this base address. The time limit is the caller's.
pub(super) async fn ask(
    client: &Client,
    base: &str,
    path: &str,
    form: &[(&str, &str)],
    max_answer: usize,
) -> Fetched {
    let Some(mut url) = fetch::parse(&format!("{}/api/v1/{path}", base.trim_end_matches('/'))) else {
        return Fetched::OurFault;
    };
    let body = url.query_pairs_mut().clear().extend_pairs(form).finish().query().map(str::to_owned);
    url.set_query(None);
    let request = client
        .post(url)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "application/json")
        .body(body.unwrap_or_default());
    fetch::whole_answer(request, max_answer).await
}

/// The time stamps of samples that are numbers. What is not equal to itself is not a number.
///
/// A comment at the end of the selector would take what follows with it: so the lines.
pub(super) fn taken(data: &str) -> String {
    format!("timestamp({data}\n) and (({data}\n) == ({data}\n))")
}

/// Whether a system that evaluated between two readings of our clock has a clock near ours.
pub(super) fn is_near(at_ms: i64, before: i64, after: i64) -> bool {
    at_ms >= before.saturating_sub(MAX_SKEW_MS) && at_ms <= after.saturating_add(MAX_SKEW_MS)
}

/// Whether a sample of this age counts.
pub(super) fn is_young(age_ms: i64, max_age: Millis) -> bool {
    age_ms <= ms_of(max_age.ms()) && age_ms.saturating_add(ms_of(MAX_FUTURE.ms())) >= 0
}

pub(super) fn ms(time: Timestamp) -> i64 {
    ms_of(time.ms())
}

fn ms_of(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// A time or span in seconds, exact to the millisecond.
pub(super) fn seconds(ms: i64) -> String {
    let ms = ms.max(0);
    format!("{}.{:03}", ms.checked_div(1000).unwrap_or(0), ms.checked_rem(1000).unwrap_or(0))
}

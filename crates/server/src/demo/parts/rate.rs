//! The share of errors among the last answers, as a gauge.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

/// How many answers count: half a second of the visitors' traffic, so that nobody waits for old errors to age.
const LAST: usize = 20;

/// What became of the last answers.
#[derive(Default)]
pub(super) struct ErrorRate(Mutex<VecDeque<bool>>);

impl ErrorRate {
    /// Notes an answer.
    pub(super) fn note(&self, good: bool) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= LAST {
            last.pop_front();
        }
        last.push_back(good);
    }

    /// The gauge, as an exposition. Before there was any answer there is no sample: no traffic is not the same as no errors.
    pub(super) fn metric(&self, service: &str) -> String {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let errors = last.iter().filter(|good| !**good).count();
        // Hundredths are plenty for twenty answers.
        let Some(percent) = errors.saturating_mul(100).checked_div(last.len()) else { return String::new() };
        let (whole, rest) = (percent.checked_div(100).unwrap_or(0), percent.checked_rem(100).unwrap_or(0));
        format!(
            "# HELP service_error_ratio Share of the last {LAST} answers that were errors.\n\
             # TYPE service_error_ratio gauge\nservice_error_ratio{{service=\"{service}\"}} {whole}.{rest:02}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_answers_count_and_none_are_no_sample() {
        let rate = ErrorRate::default();
        assert_eq!(rate.metric("checkout"), "");
        let value = || rate.metric("checkout").lines().last().unwrap().to_owned();
        rate.note(false);
        assert_eq!(value(), "service_error_ratio{service=\"checkout\"} 1.00");
        (0..LAST - 1).for_each(|_| rate.note(true));
        assert_eq!(value(), "service_error_ratio{service=\"checkout\"} 0.05");
        rate.note(true);
        assert_eq!(value(), "service_error_ratio{service=\"checkout\"} 0.00");
    }
}

//! Checkout's offers: a feature flag that is read from its file, a pool whose size is read from a settings file, and a bug.
//!
//! With the feature on, each request keeps its connection. Whatever the size of the pool, it is used up within moments.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

use super::{rate::ErrorRate, wire::Answer};

/// The flag in the flag file.
const FLAG: &str = "new-offers";
/// The variable in the settings file.
const POOL_SIZE: &str = "POOL_SIZE";

/// Offers, with the files that say how they work.
pub(super) struct Offers {
    flags: PathBuf,
    settings: PathBuf,
    pool: Mutex<Pool>,
    rate: ErrorRate,
}

#[derive(Default)]
struct Pool {
    size: u32,
    taken: u32,
}

/// What came of a request for a connection.
enum Taken {
    Yes,
    No { size: u32, first: bool },
}

impl Offers {
    /// Offers with `flags.json` and `checkout.env` of this folder.
    pub(super) fn new(shop: &Path) -> Self {
        let (flags, settings) = (shop.join("flags.json"), shop.join("checkout.env"));
        Self { flags, settings, pool: Mutex::default(), rate: ErrorRate::default() }
    }

    /// The offers of the moment, and what should stand in the log.
    pub(super) fn answer(&self) -> (Answer, Option<String>) {
        let taken = self.take();
        self.rate.note(matches!(taken, Taken::Yes));
        match taken {
            Taken::Yes => (Answer::ok("three for two\n"), None),
            Taken::No { size, first } => {
                let line =
                    first.then(|| format!("offers: no free connection, all {size} of the pool are taken"));
                (Answer::unavailable("no free connection\n"), line)
            }
        }
    }

    /// Its error ratio, as an exposition.
    pub(super) fn metric(&self) -> String {
        self.rate.metric("checkout")
    }

    fn take(&self) -> Taken {
        let (on, size) = (self.feature_is_on(), self.pool_size());
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.size != size {
            // A pool of another size is a new one.
            *pool = Pool { size, taken: 0 };
        }
        if !on {
            // The old code gives back what it takes.
            pool.taken = 0;
            return Taken::Yes;
        }
        let used_up = pool.taken.checked_sub(pool.size);
        // Beyond the size it counts on, to tell the first refusal from the next.
        pool.taken = pool.taken.saturating_add(1);
        used_up.map_or(Taken::Yes, |beyond| Taken::No { size, first: beyond == 0 })
    }

    /// As flagd reads it: a flag that is disabled, or not there, leaves the code's own default, which is off.
    fn feature_is_on(&self) -> bool {
        let file = fs::read(&self.flags).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        let flag = file.as_ref().and_then(|file| file.get("flags")?.get(FLAG));
        let is = |member: &str, word: &str| {
            flag.and_then(|flag| flag.get(member)?.as_str()).is_some_and(|found| found == word)
        };
        is("state", "ENABLED") && is("defaultVariant", "on")
    }

    fn pool_size(&self) -> u32 {
        let text = fs::read_to_string(&self.settings).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(POOL_SIZE)?.strip_prefix('='));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(offers: &Offers, count: usize) -> Vec<u16> {
        (0..count).map(|_| offers.answer().0.status).collect()
    }

    #[test]
    fn the_feature_uses_up_a_pool_of_any_size_and_its_flag_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let flag = |state: &str| {
            let text = format!(
                "{{\"flags\":{{\"new-offers\":{{\"state\":\"{state}\",\"defaultVariant\":\"on\"}}}}}}"
            );
            fs::write(dir.path().join("flags.json"), text).unwrap();
        };
        let pool = |size: u32| {
            fs::write(dir.path().join("checkout.env"), format!("A=1\nPOOL_SIZE={size}\n")).unwrap()
        };
        let offers = Offers::new(dir.path());
        flag("DISABLED");
        pool(2);
        assert_eq!(answers(&offers, 4), [200; 4]);
        flag("ENABLED");
        assert_eq!(answers(&offers, 4), [200, 200, 503, 503]);
        pool(3);
        assert_eq!(answers(&offers, 4), [200, 200, 200, 503]);
        assert!(offers.answer().1.is_none(), "the first refusal alone is worth a line");
        flag("DISABLED");
        assert_eq!(answers(&offers, 4), [200; 4]);
    }
}

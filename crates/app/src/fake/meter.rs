//! Signals, as a test chooses them.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use holdpoint_domain::{aftermath::Metered, target::Inventory, trigger::Why};

use super::controls::id;
use crate::port::Meter;

/// How signals are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metering {
    /// What was set.
    #[default]
    Works,
    /// It fails.
    Fails,
    /// It never answers.
    Hangs,
    /// It answers nothing.
    Nothing,
}

/// Every signal says the same of all services.
#[derive(Debug, Default)]
pub struct FakeMeter {
    state: Mutex<(Metering, BTreeMap<String, f64>, u32)>,
}

impl FakeMeter {
    /// From now on it measures like this.
    pub fn metering(&self, metering: Metering) {
        self.state().0 = metering;
    }

    /// From now on a service has this value.
    pub fn set(&self, service: &str, value: f64) {
        self.state().1.insert(service.to_owned(), value);
    }

    /// From now on nobody knows a service's value.
    pub fn forget(&self, service: &str) {
        self.state().1.remove(service);
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> u32 {
        self.state().2
    }

    fn state(&self) -> MutexGuard<'_, (Metering, BTreeMap<String, f64>, u32)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Meter for FakeMeter {
    async fn read(&self, inventory: &Inventory) -> Vec<Metered> {
        let (metering, values) = {
            let mut state = self.state();
            state.2 = state.2.saturating_add(1);
            (state.0, state.1.clone())
        };
        match metering {
            Metering::Hangs => pending().await,
            Metering::Nothing => Vec::new(),
            Metering::Works | Metering::Fails => {
                let one = |signal: &holdpoint_domain::signal::Signal| match metering {
                    Metering::Fails => Metered::unknown(signal.id.clone(), Why::Refused),
                    Metering::Works | Metering::Hangs | Metering::Nothing => Metered {
                        signal: signal.id.clone(),
                        why: Why::Measured,
                        values: values.iter().map(|(name, value)| (id(name), *value)).collect(),
                        strangers: 0,
                    },
                };
                inventory.signals().iter().map(one).collect()
            }
        }
    }
}

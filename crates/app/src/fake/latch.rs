//! The halt in memory, with a disk that can fail.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use holdpoint_domain::halt::Halt;

use crate::port::Latch;

/// A latch; its "disk" is what outlives a restart.
#[derive(Debug, Default)]
pub struct FakeLatch {
    halt: Mutex<Option<Halt>>,
    on_disk: Mutex<Option<Halt>>,
    broken: AtomicBool,
}

impl FakeLatch {
    /// From now on the disk fails, or works again.
    pub fn disk_fails(&self, fails: bool) {
        self.broken.store(fails, Ordering::SeqCst);
    }

    /// Somebody writes the latch file on the machine, or takes it away. The running process does not see it.
    pub fn put_on_disk(&self, halt: Option<Halt>) {
        *self.on_disk.lock().unwrap_or_else(PoisonError::into_inner) = halt;
    }

    /// What a restart finds: what is on disk.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let on_disk = self.on_disk.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self {
            halt: Mutex::new(on_disk.clone()),
            on_disk: Mutex::new(on_disk),
            broken: AtomicBool::default(),
        }
    }

    fn disk(&self) -> Result<(), String> {
        if self.broken.load(Ordering::SeqCst) {
            Err("the disk failed, says the test".to_owned())
        } else {
            Ok(())
        }
    }
}

impl Latch for FakeLatch {
    fn halt(&self) -> Option<Halt> {
        self.halt.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, halt: &Halt) -> Result<(), String> {
        let mut current = self.halt.lock().unwrap_or_else(PoisonError::into_inner);
        let reach = current.as_ref().map_or(halt.reach, |old| old.reach.max(halt.reach));
        *current = Some(Halt { reach, ..halt.clone() });
        self.disk()?;
        self.put_on_disk(current.clone());
        Ok(())
    }

    fn clear(&self) -> Result<(), String> {
        self.disk()?;
        self.put_on_disk(None);
        *self.halt.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

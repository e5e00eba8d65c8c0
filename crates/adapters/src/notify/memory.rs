//! What people were told, in a file beside the store.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use holdpoint_app::port::{MemoryError, NotifyMemory};

use crate::{step::Step, system::durable};

/// A file that is replaced as a whole.
#[derive(Debug)]
pub struct FileMemory {
    path: PathBuf,
    /// One write at a time, also when whoever asked for one did not wait for it.
    writing: Arc<Mutex<()>>,
}

impl FileMemory {
    /// The memory at a path; there need not be a file yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, writing: Arc::default() }
    }
}

#[async_trait]
impl NotifyMemory for FileMemory {
    async fn load(&self) -> Result<Option<String>, MemoryError> {
        let path = self.path.clone();
        let read = move || match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            // What is not even text is a memory that does not parse.
            Err(err) if err.kind() == io::ErrorKind::InvalidData => Ok(Some(String::new())),
            Err(err) => Err(MemoryError(format!("{}: {err}", path.display()))),
        };
        tokio::task::spawn_blocking(read).await.map_err(|err| MemoryError(err.to_string()))?
    }

    async fn keep(&self, text: String) -> Result<(), MemoryError> {
        let (path, writing) = (self.path.clone(), Arc::clone(&self.writing));
        let write = move || {
            let _one = writing.lock().unwrap_or_else(PoisonError::into_inner);
            // If we stop before this, what came since is planned once more; after it, it is not.
            durable::replace(Step::NotifyKeep, &path, text.as_bytes(), 0o600)
                .map_err(|err| MemoryError(format!("{}: {err}", path.display())))
        };
        tokio::task::spawn_blocking(write).await.map_err(|err| MemoryError(err.to_string()))?
    }
}

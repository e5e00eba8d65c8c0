//! The token with which checkout pays: read from its file again and again, and shown by its id only.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::wire::{Answer, get_as};

/// How often the file is read.
const READ_EVERY: Duration = Duration::from_millis(100);
/// How long payments may take.
const LIMIT: Duration = Duration::from_secs(1);
/// Hex digits of an id, as `secret.rotate` expects it.
const ID_DIGITS: usize = 16;

/// A token in use.
pub(super) struct Token {
    payments: SocketAddr,
    in_use: Arc<Mutex<String>>,
}

impl Token {
    /// The token in this file, for payments at this address.
    pub(super) fn new(payments: SocketAddr, file: PathBuf) -> Self {
        let in_use = Arc::new(Mutex::new(String::new()));
        let read = Arc::clone(&in_use);
        thread::spawn(move || {
            loop {
                if let Ok(text) = fs::read_to_string(&file) {
                    text.trim_end().clone_into(&mut read.lock().unwrap_or_else(PoisonError::into_inner));
                }
                thread::sleep(READ_EVERY);
            }
        });
        Self { payments, in_use }
    }

    fn now(&self) -> String {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Which token is in use: whoever has it can tell it by this, and nobody can tell the token from it.
    pub(super) fn id(&self) -> Answer {
        let id: String = super::sha256(&self.now()).chars().take(ID_DIGITS).collect();
        Answer::ok(format!("{id}\n"))
    }

    /// Pays something with it.
    pub(super) fn pay(&self) -> Answer {
        match get_as(self.payments, "/charge", &self.now(), LIMIT) {
            Ok((200, _)) => Answer::ok("paid\n"),
            Ok((status, _)) => Answer::unavailable(format!("payments answered {status}\n")),
            Err(err) => Answer::unavailable(format!("payments did not answer: {err}\n")),
        }
    }
}

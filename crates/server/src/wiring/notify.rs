//! Telling people: the teller of the configuration, and the tasks that it runs in beside the gate.

use std::{sync::Arc, time::Duration};

use holdpoint_adapters::notify::{Channels, FileMemory};
use holdpoint_app::{
    notify::{Teller, TellerPorts},
    port::{Clock, Store},
};
use tokio::{sync::Notify, task::JoinSet};

use crate::{
    cli::{CliError, failed},
    config::{Config, NotifyConfig},
};

/// The pause between two looks at the ledger while nothing is new.
const LOOK: Duration = Duration::from_secs(1);
/// The pause between two looks at what waits on a channel.
const DELIVER: Duration = Duration::from_millis(250);
/// The pause after a look that failed.
const AGAIN: Duration = Duration::from_secs(10);

/// The teller, if the configuration has one. Secrets that are missing or not their owner's alone refuse the start.
pub(crate) async fn teller(
    config: &Config,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<Teller>>, CliError> {
    let Some(path) = &config.notify else { return Ok(None) };
    let notify = NotifyConfig::load(&config.path(path), config.console_origin())?;
    let channels = Channels::new(notify.channels()?, notify.people.clone(), Arc::clone(clock));
    let ports = TellerPorts {
        store: Arc::clone(store),
        clock: Arc::clone(clock),
        notifier: Arc::new(channels),
        memory: Arc::new(FileMemory::new(config.notified())),
        on_call: Arc::new(notify.rotas),
    };
    Teller::open(ports, notify.rules).await.map(|teller| Some(Arc::new(teller))).map_err(failed)
}

/// Tells people, for ever: one task reads the ledger, and each channel has one of its own, so that none waits for another.
pub(crate) async fn telling_people(teller: Arc<Teller>, store: Arc<dyn Store>) {
    let (mut tasks, delivered) = (JoinSet::new(), Arc::new(Notify::new()));
    for channel in teller.channels() {
        let (teller, delivered) = (Arc::clone(&teller), Arc::clone(&delivered));
        tasks.spawn(async move {
            loop {
                if teller.deliver(&channel).await {
                    delivered.notify_one();
                } else {
                    tokio::time::sleep(DELIVER).await;
                }
            }
        });
    }
    loop {
        let pause = match teller.look().await {
            Ok(()) => LOOK,
            Err(err) => {
                tracing::error!("people are not told of what is new: {}", failed(err));
                AGAIN
            }
        };
        tokio::select! {
            _ = store.grown(teller.position()), if pause == LOOK => {}
            // What was delivered is remembered at once.
            () = delivered.notified(), if pause == LOOK => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

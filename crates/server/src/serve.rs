//! `holdpoint serve`: the gate, its runs and its clockwork, until it is told to stop.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use clap::Args;
use holdpoint_adapters::{
    cosign::Witness,
    executor::process::Supervisor,
    probe::ServiceGraphs,
    system,
    tls::{self, Peers},
};
use holdpoint_app::{recover, start, strangers::Strangers};
use holdpoint_domain::Millis;
use holdpoint_ledger::VerifierKey;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    cli::{CliError, DrillOptions, failed, say},
    config::{Config, Role, RoleConfig, WorkloadDoor},
    console::{self, Console},
    http, inlet,
    links::SignInLinks,
    roles::{self, telling},
    rounds::Rounds,
    service::{Runner, Service},
    wiring::{self, Neighbours},
    witness::{self, Submitting},
};

/// The pause between two looks at supervised processes that ended by themselves: a crash loop costs a start each time.
const HEAL: Duration = Duration::from_secs(2);
/// How long runs under way may take to end after a stop was asked for. What is left is recovered at the next start.
const LAST_WAIT: Duration = Duration::from_secs(20);

/// The pause between two heads that are submitted to witnesses, unless the configuration says otherwise.
const WITNESS_EVERY_MS: u64 = 1_000;

#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    /// The configuration
    #[arg(long, env = "HOLDPOINT_CONFIG")]
    config: PathBuf,
    /// Run one role in this process, and no other; without it all of them
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// Stop when standard input ends: whoever started the gate holds the other end of a pipe
    #[arg(long, hide = true)]
    attached: bool,
    #[command(flatten)]
    drill: DrillOptions,
}

/// Runs the gate, or another role.
pub(crate) async fn serve(options: ServeOptions) -> Result<(), CliError> {
    logging();
    // The keys and secrets that it holds are in its memory.
    system::keep_memory().map_err(failed)?;
    if let Some(role) = options.role.filter(|role| *role != Role::Gate) {
        let config = RoleConfig::load(&options.config, role)?;
        options.drill.install(config.development)?;
        return roles::serve_role(&config, options.attached).await;
    }
    let config = Config::load(&options.config)?;
    options.drill.install(config.development)?;
    let apart = match options.role {
        Some(_) => Some(config.check_gate()?),
        None if config.roles.is_some() => {
            let why =
                "the configuration names roles in processes of their own: start this one with `--role gate`";
            return Err(CliError::Usage(why.to_owned()));
        }
        None => None,
    };
    if config.development {
        tracing::warn!("DEVELOPMENT: drills may kill this gate, and the local issuer says who is who");
    }
    if apart.is_none() {
        tracing::warn!(
            "all roles in one process, and supervised processes under its user: separation by construction only"
        );
    }
    if !config.listen.ip().is_loopback() {
        tracing::warn!(
            "the door is open beyond this machine and has no TLS: put a proxy with TLS in front of it"
        );
    }

    let wired = wiring::wire(&config, apart).await?;
    let (cell, in_force) = (wired.cell, wired.in_force);
    let _workload_api = wired.workload_api;
    let gate = cell.get();
    // Before anything is done: a channel without its secret refuses the start.
    let store = Arc::clone(&gate.ports.store);
    let incident_sources = config.incident_sources()?;
    let teller = wiring::teller(&config, &store, &gate.ports.clock).await?;
    // First of all: a gate whose inputs are not activated must not even settle open runs.
    start::start(&gate).await.map_err(|refusal| CliError::Failed(format!("{refusal}; {}", refusal.next)))?;
    if let Err(refusal) = recover::unmeasured(&gate).await {
        tracing::warn!("what runs did before the restart: {refusal}");
    }

    let healing = match &wired.supervisor {
        Some(supervisor) => {
            start_units(Arc::clone(supervisor)).await?;
            Some(tokio::spawn(healing(Arc::clone(supervisor))))
        }
        None => None,
    };
    let telling =
        wired.neighbours.as_ref().map(|roles| tokio::spawn(telling(Arc::clone(&cell), roles.told())));

    let telling_people = teller.clone().map(|teller| tokio::spawn(wiring::telling_people(teller, store)));

    // Before anything starts: what is on disk and not in force suspends T1 and T2.
    in_force.look_at_disk(&gate).await;
    if let Some(halt) = gate.halted() {
        tracing::warn!("HALTED ({}): nothing starts until an administrator resumes", halt.reach);
    }
    drop(gate);
    let runner = Runner::new(Arc::clone(&cell));
    let service = Arc::new(Service {
        cell: Arc::clone(&cell),
        identify: wired.identify,
        runner: runner.clone(),
        strangers: Strangers::default(),
        links: SignInLinks::default(),
        cosigned: wired.cosigned,
    });
    let listener = listen(config.listen).await?;
    let settings = http::Settings {
        hosts: hosts(&config),
        agents_need_certificates: config.workloads.as_ref().is_some_and(|door| door.agents_only_here),
        console: config.sitting()?.map(|sitting| sitting.origin.as_str().to_owned()),
        limits: http::Limits::default(),
    };
    let router =
        http::router(Arc::clone(&service), settings.clone(), inlet::routes(&service, incident_sources));
    let for_workloads = match &config.workloads {
        Some(door) => Some(tokio::spawn(workloads(&config, door, router.clone()).await?)),
        None => None,
    };
    // At the door for people, and at no other: workloads have no browsers.
    let sitting = config.sitting()?;
    let router = match sitting.clone() {
        Some(sitting) => {
            let party = config.party(&service.gate().ports.clock)?;
            let console = Console::new(Arc::clone(&service), settings, sitting, party).map_err(failed)?;
            console::router(&console, router)
        }
        None => router,
    };
    let others = wired.neighbours.as_ref().map(Neighbours::witnesses).unwrap_or_default();
    let witnessing = witnessing(&config, &service, others)?;
    let graphs = ServiceGraphs::new(Arc::clone(&service.gate().ports.clock)).map_err(failed)?;
    let rounds = Rounds::begin(&service, &cell, &runner, graphs, in_force);
    say(format_args!("holdpoint serves on {}", config.url()));
    if let Some(sitting) = sitting {
        say(format_args!("people open {}", sitting.origin.as_str()));
    }
    let ended = http::serve(listener, router, async move {
        tokio::select! {
            () = stop_asked() => {}
            () = starter_gone(options.attached) => {}
        }
    })
    .await;
    rounds.start_nothing();
    for task in [witnessing, telling, telling_people, healing, for_workloads].into_iter().flatten() {
        task.abort();
    }
    if let Some(teller) = teller
        && let Err(err) = teller.keep().await
    {
        tracing::warn!("what people were told last is told again at the next start: {err}");
    }
    rounds.end();
    let under_way = async {
        while runner.under_way() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(LAST_WAIT, under_way).await.is_err() {
        tracing::warn!("runs are still under way: the next start settles them");
    }
    ended.map_err(failed)
}

/// Opens the door for workloads: what serves it, until it is aborted.
async fn workloads(
    config: &Config,
    door: &WorkloadDoor,
    router: Router,
) -> Result<impl Future<Output = ()> + use<>, CliError> {
    let svid = Arc::new(door.tls.live(&config.base).await?);
    let (own, expected) = (svid.id(), config.trust_domain.as_str());
    if own.trust_domain().as_str() != expected {
        return Err(CliError::Failed(format!(
            "workloads.tls: expected a certificate of trust domain `{expected}`, got `{own}`"
        )));
    }
    let tls = tls::server_config(&svid, Peers::OwnDomain).map_err(failed)?;
    let listener = listen(door.listen).await?;
    say(format_args!("holdpoint serves workloads on https://{}", door.listen));
    Ok(http::serve_workloads(listener, router, tls, std::future::pending()))
}

/// A listener.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, CliError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|err| CliError::Failed(format!("cannot listen on {address}: {err}")))
}

/// The task that asks for cosignatures, if anybody is to be asked.
fn witnessing(
    config: &Config,
    service: &Service,
    others: Vec<Witness>,
) -> Result<Option<JoinHandle<()>>, CliError> {
    let witnesses = config.witnesses.parsed().map_err(|faults| CliError::Failed(faults.join("\n")))?;
    if witnesses.is_empty() && others.is_empty() {
        return Ok(None);
    }
    let http = Witness::plain_client().map_err(failed)?;
    let witness = |(url, key): (String, VerifierKey)| Witness::new(http.clone(), &url, key);
    let submitting = Submitting {
        witnesses: witnesses.into_iter().map(witness).chain(others).collect(),
        quorum: config.witnesses.quorum.unwrap_or(1),
        every: Duration::from_millis(config.witnesses.every_ms.map_or(WITNESS_EVERY_MS, Millis::ms)),
        kept: Arc::clone(&service.cosigned),
    };
    Ok(Some(tokio::spawn(witness::submitting(Arc::clone(&service.gate().ports.store), submitting))))
}

/// Starts the supervised processes that are due.
pub(crate) async fn start_units(supervisor: Arc<Supervisor>) -> Result<(), CliError> {
    let started = tokio::task::spawn_blocking(move || supervisor.ensure_started()).await.map_err(failed)?;
    for unit in started.map_err(failed)? {
        tracing::info!(%unit, "started {unit}");
    }
    Ok(())
}

/// Starts supervised processes again that ended by themselves: what "heals itself" in the catalogue means. Never those
/// that a permitted stop left stopped, nor those that a run has begun with and not finished.
pub(crate) async fn healing(supervisor: Arc<Supervisor>) {
    loop {
        tokio::time::sleep(HEAL).await;
        if let Err(err) = start_units(Arc::clone(&supervisor)).await {
            tracing::error!("a supervised process was not started again: {err}");
        }
    }
}

/// The names that the door answers to: its address, this machine's own names for it, and what the operator adds.
fn hosts(config: &Config) -> BTreeSet<String> {
    let doors = [Some(config.listen), config.workloads.as_ref().map(|door| door.listen)];
    let own = doors.into_iter().flatten().flat_map(|door| {
        let name = match door.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        [Some(name), door.ip().is_loopback().then(|| "localhost".to_owned())]
    });
    let console = config.sitting().ok().flatten().map(|sitting| sitting.origin.host().to_owned());
    config.allowed_hosts.iter().cloned().chain(own.flatten()).chain(console).collect()
}

/// Returns when the process is asked to stop.
pub(crate) async fn stop_asked() {
    let mut term = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(term) => term,
        Err(err) => {
            tracing::warn!("cannot wait for SIGTERM: {err}");
            let _ = tokio::signal::ctrl_c().await;
            return;
        }
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Whoever started an attached gate is gone; never, for another one.
pub(crate) async fn starter_gone(attached: bool) {
    if !attached {
        return std::future::pending().await;
    }
    let (gone, is_gone) = tokio::sync::oneshot::channel();
    // A thread that nobody waits for: a read of standard input cannot be called off.
    std::thread::spawn(move || {
        // What comes is nobody's word; its end, or an error, is what is waited for.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        // Nobody waits any more when the gate ends for another reason.
        let _ = gone.send(());
    });
    // Sent, or the thread is gone: both mean the same.
    let _ = is_gone.await;
}

/// Logs go to standard error.
pub(crate) fn logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}

//! `holdpoint roles`: four folders for the four roles, made from the configuration of one process; and the keys of one role.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Subcommand};
use holdpoint_adapters::{
    remote::SealingKey,
    step::Step,
    system::{Ed25519Key, KeyUse, Seed, SystemClock, durable},
    tls::{DevCa, SvidFiles},
};
use holdpoint_app::port::Clock as _;
use holdpoint_domain::change::Control;
use holdpoint_ledger::VerifierKey;

use super::{CliError, failed, init, say};
use crate::config::{Config, Role, document, is_builtin, load_inputs};

/// How long a certificate of the development authority is valid.
const LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The roles that are not the gate.
const OTHERS: [Role; 3] = [Role::Observer, Role::Issuer, Role::Executor];

/// Commands for roles in processes of their own.
#[derive(Debug, Subcommand)]
pub(crate) enum RolesCommand {
    /// Lay out a folder for each role, with keys and certificates of a development authority
    LayOut(LayOutOptions),
    /// Renew the certificates of such folders
    Renew(RenewOptions),
}

#[derive(Debug, Args)]
pub(crate) struct LayOutOptions {
    /// The configuration of a gate with all roles in one process; it is read and left as it is
    #[arg(long, env = "HOLDPOINT_CONFIG")]
    config: PathBuf,
    /// The folder to make; must not exist or be empty
    dir: PathBuf,
    /// Where the observer listens
    #[arg(long, default_value = "127.0.0.1:7071")]
    observer: SocketAddr,
    /// Where the issuer listens
    #[arg(long, default_value = "127.0.0.1:7072")]
    issuer: SocketAddr,
    /// Where the executor listens
    #[arg(long, default_value = "127.0.0.1:7073")]
    executor: SocketAddr,
}

#[derive(Debug, Args)]
pub(crate) struct RenewOptions {
    /// The folder that `lay-out` made
    dir: PathBuf,
    /// The trust domain
    #[arg(long)]
    trust_domain: String,
}

/// Runs a command.
pub(crate) fn run(command: &RolesCommand) -> Result<(), CliError> {
    match command {
        RolesCommand::LayOut(options) => lay_out(options),
        RolesCommand::Renew(options) => certificates(&options.dir, &options.trust_domain),
    }
}

fn lay_out(options: &LayOutOptions) -> Result<(), CliError> {
    let config = Config::load(&options.config)?;
    let inputs = load_inputs(&config)?;
    let dir = &options.dir;
    if std::fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some()) {
        return Err(CliError::Usage(format!("{} is not empty: expected a new folder", dir.display())));
    }
    for role in OTHERS.into_iter().chain([Role::Gate]) {
        folder(&dir.join(role.as_str()).join("data").join("keys"))?;
        folder(&dir.join(role.as_str()).join("tls"))?;
    }
    certificates(dir, config.trust_domain.as_str())?;
    let lay = Lay { config: &config, dir, options };
    lay.copies()?;
    let keys = |role: Role| dir.join(role.as_str()).join("data").join("keys");
    let evidence = Seed::load_or_create(&KeyUse::Evidence.path(&keys(Role::Observer))).map_err(failed)?;
    let evidence = Ed25519Key::from_seed("evidence", &evidence).map_err(failed)?.public_key();
    let cosigner = |role: Role| -> Result<VerifierKey, CliError> {
        let seed = Seed::load_or_create(&KeyUse::Cosign.path(&keys(role))).map_err(failed)?;
        let key = Ed25519Key::from_seed(&format!("{}/{role}", config.origin), &seed).map_err(failed)?;
        VerifierKey::of_cosigner(&key).map_err(failed)
    };
    let sealing = SealingKey::load_or_create(&KeyUse::Sealing.path(&keys(Role::Executor))).map_err(failed)?;
    // Last, for it names the keys of all others.
    let lease = Seed::load_or_create(&KeyUse::Bearer.path(&keys(Role::Issuer))).map_err(failed)?;
    let lease = Ed25519Key::from_seed("bearer", &lease).map_err(failed)?.public_key();
    let published = [init::text_of(&evidence)?, init::text_of(&lease)?];
    lay.gate(&published, &cosigner(Role::Issuer)?, &cosigner(Role::Executor)?)?;
    let made = init::keys_of_gate(&Config::load(&dir.join("gate/holdpoint.yaml"))?)?;
    let pins = init::pins(&inputs, made.permit_key, &keys(Role::Executor))?;
    let pins = init::text_of(&pins)?;
    for path in ["gate/executor.yaml", "issuer/pins.yaml", "executor/pins.yaml"] {
        write(&dir.join(path), &pins)?;
    }
    lay.others(&made.log_key, &sealing.public().to_string())?;
    for role in [Role::Observer, Role::Issuer, Role::Executor] {
        let role = role.as_str();
        say(format_args!(
            "holdpoint serve --role {role} --config {}",
            dir.join(role).join("role.yaml").display()
        ));
    }
    say(format_args!("holdpoint serve --role gate --config {}", dir.join("gate/holdpoint.yaml").display()));
    Ok(())
}

/// What is written where.
struct Lay<'a> {
    config: &'a Config,
    dir: &'a Path,
    options: &'a LayOutOptions,
}

impl Lay<'_> {
    /// Copies of the control inputs: each role has its own, and nobody else's.
    fn copies(&self) -> Result<(), CliError> {
        let roles: [(Control, &[Role]); 5] = [
            (Control::Policy, &[Role::Gate]),
            (Control::Catalogue, &[Role::Gate, Role::Observer, Role::Issuer, Role::Executor]),
            (Control::Inventory, &[Role::Gate, Role::Observer]),
            (Control::Registry, &[Role::Gate]),
            (Control::Limits, &[Role::Gate]),
        ];
        for (control, roles) in roles {
            for (name, text) in document(self.config, control)?.files {
                // Beside the registry and its people's passkeys stand the trust roots, which are for other roles.
                let own = [&self.config.registry, &self.config.passkeys];
                let is_root = control == Control::Registry && !own.contains(&&PathBuf::from(&name));
                if is_builtin(Path::new(&name)) || is_root {
                    continue;
                }
                for role in roles {
                    write(&self.at(*role, &name)?, &text)?;
                }
            }
        }
        // Trust roots: each for whoever works by it, and not necessarily beside the gate's registry.
        let roots: [(_, _, &[Role]); 3] = [
            (&self.config.units, "units.yaml", &[Role::Observer, Role::Executor]),
            (&self.config.executors, "executors.yaml", &OTHERS),
            (&self.config.identity_sources, IDENTITY_SOURCES, &[Role::Gate]),
        ];
        for (path, name, roles) in roots {
            let Some(path) = path else { continue };
            let text = std::fs::read_to_string(self.config.path(path)).map_err(failed)?;
            for role in roles {
                write(&self.at(*role, name)?, &text)?;
            }
        }
        Ok(())
    }

    /// A file of a role, by the name that the configuration has for it. A path that leads elsewhere is not followed.
    fn at(&self, role: Role, name: &str) -> Result<PathBuf, CliError> {
        let plain = Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !plain {
            return Err(CliError::Usage(format!(
                "`{name}`: expected a path below the configuration's folder"
            )));
        }
        let path = self.dir.join(role.as_str()).join(name);
        if let Some(parent) = path.parent() {
            folder(parent)?;
        }
        Ok(path)
    }

    fn id(&self, role: Role) -> String {
        format!("spiffe://{}{}", self.config.trust_domain.as_str(), path_of(role))
    }

    /// The gate's configuration, with the keys of evidence and of bearer leases, and those that cosign.
    fn gate(
        &self,
        [evidence, lease]: &[String; 2],
        issuer: &VerifierKey,
        executor: &VerifierKey,
    ) -> Result<(), CliError> {
        let config = self.config;
        let names = |names: &[PathBuf]| {
            names.iter().map(|name| quoted(&name.display())).collect::<Vec<_>>().join(", ")
        };
        let mut text = String::new();
        let mut line = |key: &str, value: String| {
            // A String takes whatever is written to it.
            let _ = writeln!(text, "{key}: {value}");
        };
        line("listen", quoted(&config.listen));
        line("data_dir", "data".to_owned());
        line("origin", quoted(&config.origin));
        line("trust_domain", quoted(&config.trust_domain.as_str()));
        line("audience", quoted(&config.audience));
        line(
            "allowed_hosts",
            format!("[{}]", config.allowed_hosts.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(", ")),
        );
        line("development", config.development.to_string());
        line("catalogue", format!("[{}]", names(&config.catalogue)));
        line("inventory", quoted(&config.inventory.display()));
        line("registry", quoted(&config.registry.display()));
        line("passkeys", quoted(&config.passkeys.display()));
        line("limits", quoted(&config.limits.display()));
        line("executor_pins", "executor.yaml".to_owned());
        if config.identity_sources.is_some() {
            line("identity_sources", IDENTITY_SOURCES.to_owned());
        }
        line("policies", format!("[{}]", names(&config.policies)));
        line("calendars", format!("[{}]", names(&config.calendars)));
        let backstage = config.backstage.iter();
        let backstage = backstage.map(|(source, files)| format!("{source}: [{}]", names(files)));
        line("backstage", format!("{{{}}}", backstage.collect::<Vec<_>>().join(", ")));
        if let Some(most) = config.max_waiting {
            line("max_waiting", most.to_string());
        }
        let timings = &config.timings;
        let timings = [
            ("hold_ms", timings.hold_ms),
            ("start_window_ms", timings.start_window_ms),
            ("remeasure_ms", timings.remeasure_ms),
            ("defer_ms", timings.defer_ms),
            ("review_ms", timings.review_ms),
            ("verify_every_ms", timings.verify_every_ms),
        ];
        let timings =
            timings.iter().filter_map(|(key, value)| Some(format!("{key}: {}", value.as_ref()?.ms())));
        line("timings", format!("{{{}}}", timings.collect::<Vec<_>>().join(", ")));
        let peer = |role: Role, at: SocketAddr| format!("{{url: 'https://{at}', id: '{}'}}", self.id(role));
        line("roles", String::new());
        line("  tls", TLS.to_owned());
        line("  observer", peer(Role::Observer, self.options.observer));
        line("  evidence_key", evidence.trim().to_owned());
        line("  issuer", peer(Role::Issuer, self.options.issuer));
        line("  issuer_key", quoted(issuer));
        line("  lease_key", lease.trim().to_owned());
        line("  executor", peer(Role::Executor, self.options.executor));
        line("  executor_key", quoted(executor));
        write(&self.dir.join("gate/holdpoint.yaml"), &text)
    }

    fn others(&self, log_key: &VerifierKey, sealing: &str) -> Result<(), CliError> {
        let options = self.options;
        let catalogue =
            self.config.catalogue.iter().map(|name| quoted(&name.display())).collect::<Vec<_>>().join(", ");
        let common = |role: Role, listen: SocketAddr| {
            format!(
                "role: {role}\nlisten: '{listen}'\ndata_dir: data\ntls: {TLS}\ngate: '{}'\ncatalogue: [{catalogue}]\ndevelopment: {}\n",
                self.id(Role::Gate),
                self.config.development,
            )
        };
        let units = if self.config.units.is_some() { "units: units.yaml\n" } else { "" };
        let executors = if self.config.executors.is_some() { "executors: executors.yaml\n" } else { "" };
        let inventory = quoted(&self.config.inventory.display());
        let observer = format!(
            "{}inventory: {inventory}\nexecutor_data: ../executor/data\n{units}{executors}",
            common(Role::Observer, options.observer)
        );
        let issuer = format!(
            "{}pins: pins.yaml\nlog_key: '{log_key}'\n{executors}executor: {{url: 'https://{}', id: '{}', sealing_key: '{sealing}'}}\n",
            common(Role::Issuer, options.issuer),
            options.executor,
            self.id(Role::Executor),
        );
        let executor = format!(
            "{}pins: pins.yaml\nlog_key: '{log_key}'\nissuer: '{}'\n{units}{executors}",
            common(Role::Executor, options.executor),
            self.id(Role::Issuer),
        );
        for (role, text) in [(Role::Observer, observer), (Role::Issuer, issuer), (Role::Executor, executor)] {
            write(&self.dir.join(role.as_str()).join("role.yaml"), &text)?;
        }
        Ok(())
    }
}

const IDENTITY_SOURCES: &str = "identity-sources.yaml";
const TLS: &str = "{certificate: tls/svid.pem, key: tls/svid.key, bundle: tls/bundle.pem}";

/// The path of a role's SPIFFE id.
fn path_of(role: Role) -> String {
    format!("/holdpoint/{role}")
}

/// Certificates for all roles, by the authority of the folder.
fn certificates(dir: &Path, domain: &str) -> Result<(), CliError> {
    let now = SystemClock::new().now();
    folder(&dir.join("authority"))?;
    let authority = DevCa::load_or_create(&dir.join("authority"), domain, now).map_err(failed)?;
    for role in OTHERS.into_iter().chain([Role::Gate]) {
        let tls = dir.join(role.as_str()).join("tls");
        let files = SvidFiles {
            certificate: tls.join("svid.pem"),
            key: tls.join("svid.key"),
            bundle: tls.join("bundle.pem"),
        };
        let made = authority.issue(&path_of(role), now, LIFE).map_err(failed)?;
        made.write(&files, authority.bundle()).map_err(failed)?;
    }
    Ok(())
}

fn folder(path: &Path) -> Result<(), CliError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let written = durable::replace(Step::InitFile, path, text.as_bytes(), 0o644);
    written.map_err(|err| CliError::Failed(format!("{}: {err}", path.display())))
}

/// A YAML scalar between single quotes.
fn quoted(value: &dyn std::fmt::Display) -> String {
    format!("'{}'", value.to_string().replace('\'', "''"))
}

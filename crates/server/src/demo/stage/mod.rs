//! The stage: free ports, and the files of a gate that watches over it. The files are the example to begin from.

use std::{io, net::TcpListener, path::Path};

use holdpoint_domain::{Digest, passkey::Passkey};

/// Where ports are looked for: below the range that Linux gives to outgoing connections (32768 and above), so that nobody
/// takes a worker's port while it restarts.
const FIRST_PORT: u16 = 21_000;
/// How many ports are looked at before giving up.
const MAX_LOOKS: u16 = 10_000;
/// How far apart demos of two processes begin to look, so that two at once seldom meet.
const STRIDE: u32 = 37;

/// Names of the files that others need to know.
pub(super) const CONFIG: &str = "holdpoint.yaml";
/// The policy that ships.
pub(super) const POLICY: &str = "policy.cedar";
/// The folder of the files that the shop works by.
pub(super) const SHOP: &str = "shop";
/// Its flags.
pub(super) const FLAGS: &str = "shop/flags.json";
/// The folder of the sockets on which the agent is told who it is.
pub(super) const RUN: &str = "run";
/// Whom the agent's tokens are for.
pub(super) const AUDIENCE: &str = "holdpoint-demo";
/// Checkout's settings.
pub(super) const SETTINGS: &str = "shop/checkout.env";
/// Checkout's token for payments.
pub(super) const TOKEN: &str = "shop/payments.token";
/// The tokens that payments accepts.
pub(super) const ACCEPTED: &str = "shop/accepted.json";
/// What checkout writes down.
pub(super) const SHOP_LOG: &str = "shop/checkout.log";
/// Locked by the demo while it lives.
pub(super) const ALIVE: &str = "demo.lock";

/// The ports of the stage and of its gate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) gate: u16,
    pub(super) balancer: u16,
    pub(super) checkout: u16,
    pub(super) worker_1: u16,
    pub(super) worker_2: u16,
    pub(super) worker_3: u16,
    pub(super) payments: u16,
    pub(super) visitors: u16,
}

/// What the files are made from.
pub(super) struct Setting<'a> {
    /// The folder of the demo, absolute.
    pub(super) dir: &'a Path,
    /// This program, absolute.
    pub(super) program: &'a Path,
    /// The ports.
    pub(super) ports: Ports,
    /// Public approval keys: of Ada, Bob, Cleo and Dora.
    pub(super) people: [&'a str; 4],
    /// The passkeys of Ada and Bob.
    pub(super) passkeys: [&'a Passkey; 2],
    /// Checkout's first token.
    pub(super) token: &'a str,
    /// The user that this program runs as.
    pub(super) uid: u32,
    /// The digest of this program.
    pub(super) digest: Digest,
}

impl Ports {
    /// Finds free ports. `seed` spreads demos that run at once; each port is free when this returns, and nobody keeps it.
    pub(super) fn free(seed: u32) -> io::Result<Self> {
        let offset = seed.wrapping_mul(STRIDE).checked_rem(u32::from(MAX_LOOKS)).unwrap_or(0);
        let offset = u16::try_from(offset).unwrap_or(0);
        let looks = (0..MAX_LOOKS).map(|step| {
            let at = offset.saturating_add(step).checked_rem(MAX_LOOKS).unwrap_or(0);
            FIRST_PORT.saturating_add(at)
        });
        // Each is held until all are found: no port is found twice.
        let mut held = looks.filter_map(|port| {
            let listener = TcpListener::bind(("127.0.0.1", port)).ok()?;
            Some((port, listener))
        });
        let mut listeners = Vec::new();
        let mut next = || -> io::Result<u16> {
            let none = || io::Error::new(io::ErrorKind::AddrInUse, "no free ports on 127.0.0.1");
            let (port, listener) = held.next().ok_or_else(none)?;
            listeners.push(listener);
            Ok(port)
        };
        Ok(Self {
            gate: next()?,
            balancer: next()?,
            checkout: next()?,
            worker_1: next()?,
            worker_2: next()?,
            worker_3: next()?,
            payments: next()?,
            visitors: next()?,
        })
    }
}

/// The files of the stage: their names in the demo's folder, and their texts.
pub(super) fn files(setting: &Setting<'_>) -> Vec<(&'static str, String)> {
    let text = |template: &str| filled(template, &values(setting));
    vec![
        (CONFIG, text(include_str!("holdpoint.yaml"))),
        ("catalogue.yaml", text(include_str!("catalogue.yaml"))),
        ("inventory.yaml", text(include_str!("inventory.yaml"))),
        ("limits.yaml", text(include_str!("limits.yaml"))),
        ("executors.yaml", text(include_str!("executors.yaml"))),
        ("registry.yaml", text(include_str!("registry.yaml"))),
        ("identities.yaml", text(include_str!("identities.yaml"))),
        ("units.yaml", text(include_str!("units.yaml"))),
        // The policy that ships, as it is.
        (POLICY, include_str!("../../../../../policies/starter.cedar").to_owned()),
        ("shop.cedar", include_str!("shop.cedar").to_owned()),
        (FLAGS, include_str!("flags.json").to_owned()),
        (SETTINGS, include_str!("checkout.env").to_owned()),
        (TOKEN, format!("{}\n", setting.token)),
        (ACCEPTED, accepted(setting.token)),
    ]
}

/// The list of accepted tokens, with this one alone.
fn accepted(token: &str) -> String {
    let digest = Digest::of_bytes(token.as_bytes()).to_string();
    let hex = digest.strip_prefix("sha256:").unwrap_or(&digest);
    let id: String = hex.chars().take(16).collect();
    format!("{{\"accepted\": [{{\"id\": \"{id}\", \"sha256\": \"{hex}\"}}]}}\n")
}

fn values(setting: &Setting<'_>) -> Vec<(&'static str, String)> {
    let Setting {
        dir,
        program,
        ports,
        people: [ada, bob, cleo, dora],
        passkeys: [adas, bobs],
        token: _,
        uid,
        digest,
    } = setting;
    // A JSON string is a YAML string, whatever is in it.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let path = |path: &Path| quoted(&path.to_string_lossy());
    vec![
        ("{{dir}}", path(dir)),
        ("{{program}}", path(program)),
        ("{{alive}}", path(&dir.join(ALIVE))),
        ("{{shop}}", path(&dir.join(SHOP))),
        ("{{gate}}", ports.gate.to_string()),
        ("{{balancer}}", ports.balancer.to_string()),
        ("{{checkout}}", ports.checkout.to_string()),
        ("{{worker-1}}", ports.worker_1.to_string()),
        ("{{worker-2}}", ports.worker_2.to_string()),
        ("{{worker-3}}", ports.worker_3.to_string()),
        ("{{payments}}", ports.payments.to_string()),
        ("{{visitors}}", ports.visitors.to_string()),
        ("{{ada-key}}", quoted(ada)),
        ("{{bob-key}}", quoted(bob)),
        ("{{cleo-key}}", quoted(cleo)),
        ("{{dora-key}}", quoted(dora)),
        ("{{ada-passkey}}", registered(adas)),
        ("{{bob-passkey}}", registered(bobs)),
        ("{{uid}}", uid.to_string()),
        ("{{digest}}", digest.to_string()),
    ]
}

/// A passkey as the registry has it: JSON is YAML.
fn registered(passkey: &Passkey) -> String {
    serde_json::to_string(passkey).unwrap_or_default()
}

fn filled(template: &str, values: &[(&'static str, String)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(name, value))
}

#[cfg(test)]
mod tests;

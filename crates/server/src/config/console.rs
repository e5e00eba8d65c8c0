//! The `console:` part of the configuration: where people's browsers find the gate, and how long a session lasts.

use holdpoint_domain::Millis;
use serde::Deserialize;

use super::OidcConfig;

/// How long a session may be idle when nobody says: half an hour.
const IDLE_MS: u64 = 30 * 60 * 1000;
/// How long a session lasts when nobody says: a long working day.
const ABSOLUTE_MS: u64 = 12 * 60 * 60 * 1000;
/// The longest session that may be asked for.
const MAX_SESSION_MS: u64 = 24 * 60 * 60 * 1000;

/// The console for people; without it there is none.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsoleConfig {
    /// Where browsers find it, for instance `https://holdpoint.example.org`: scheme, host and port, and nothing else.
    pub(crate) origin: String,
    /// How long a session may be idle (30 minutes; at most 24 hours).
    #[serde(default)]
    pub(crate) idle_ms: Option<Millis>,
    /// How long a session lasts at most (12 hours; at most 24 hours).
    #[serde(default)]
    pub(crate) absolute_ms: Option<Millis>,
    /// A provider at which people sign in; without it, passkeys alone.
    #[serde(default)]
    pub(crate) oidc: Option<OidcConfig>,
}

/// An origin as browsers write it in `Origin`: scheme, lower-case host, and a port unless it is the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    text: String,
    host: String,
}

/// A console that is to be.
#[derive(Debug, Clone)]
pub(crate) struct Sitting {
    /// Where browsers find it.
    pub(crate) origin: Origin,
    /// How long a session may be idle.
    pub(crate) idle: Millis,
    /// How long a session lasts at most.
    pub(crate) absolute: Millis,
}

impl ConsoleConfig {
    /// What it says, or all its faults.
    pub(crate) fn parsed(&self) -> Result<Sitting, Vec<String>> {
        let mut faults = Vec::new();
        let origin = Origin::parse(&self.origin)
            .map_err(|fault| faults.push(format!("`console.origin`: {fault}")))
            .ok();
        let mut span = |key: &str, value: Option<Millis>, default: u64| {
            let span = value.map_or(default, Millis::ms);
            let fits = (1..=MAX_SESSION_MS).contains(&span);
            if !fits {
                faults.push(format!("`console.{key}`: expected 1 to {MAX_SESSION_MS} ms, got {span}"));
            }
            Millis::new(span).ok().filter(|_| fits)
        };
        let idle = span("idle_ms", self.idle_ms, IDLE_MS);
        let absolute = span("absolute_ms", self.absolute_ms, ABSOLUTE_MS);
        match (origin, idle, absolute) {
            (Some(origin), Some(idle), Some(absolute)) if idle <= absolute => {
                Ok(Sitting { origin, idle, absolute })
            }
            (Some(_), Some(idle), Some(absolute)) => {
                let (idle, absolute) = (idle.ms(), absolute.ms());
                Err(vec![format!("`console.idle_ms` is {idle}: expected at most `absolute_ms`, {absolute}")])
            }
            _ => Err(faults),
        }
    }
}

impl Origin {
    /// Reads an origin. `https`, or `http` for `localhost` alone: browsers keep `__Host-` cookies and passkeys there, and
    /// nowhere else without TLS.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let shown = holdpoint_domain::text::quoted(text, 200);
        let expected = |what: &str| format!("expected {what}, got {shown}");
        let (scheme, authority) = text
            .split_once("://")
            .ok_or_else(|| expected("an origin such as `https://holdpoint.example.org`"))?;
        if authority.contains(['/', '?', '#', '@', '\\']) {
            return Err(expected("scheme, host and port without a path"));
        }
        let parsed: axum::http::uri::Authority =
            authority.parse().map_err(|_| expected("a host after `://`"))?;
        let host = parsed.host().to_owned();
        let port = match authority.strip_prefix(host.as_str()) {
            Some("") => None,
            Some(rest) => {
                let digits = rest.strip_prefix(':').unwrap_or_default();
                let port = digits.parse::<u16>().ok().filter(|port| *port > 0 && port.to_string() == digits);
                Some(port.ok_or_else(|| expected("a port of 1 to 65535"))?)
            }
            None => return Err(expected("a host after `://`")),
        };
        let plain = |c: u8| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'-' | b'[' | b']' | b':')
        };
        if host.is_empty() || !host.bytes().all(plain) {
            return Err(expected("a host in lower case, names as IDNA has them"));
        }
        let own = match scheme {
            "https" => 443,
            "http" if host == "localhost" => 80,
            "http" => return Err(expected("`https://`, as `http://` is for `localhost` alone")),
            _ => return Err(expected("`https://`, or `http://localhost`")),
        };
        let text = match port {
            Some(port) if port != own => format!("{scheme}://{host}:{port}"),
            Some(_) | None => format!("{scheme}://{host}"),
        };
        Ok(Self { text, host })
    }

    /// As in the header `Origin`.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host, as in `Host` without the port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t16_an_origin_is_scheme_host_and_port() {
        let good = [
            ("http://localhost:7070", "http://localhost:7070", "localhost"),
            ("http://localhost", "http://localhost", "localhost"),
            ("https://gate.example.org", "https://gate.example.org", "gate.example.org"),
            ("https://gate.example.org:443", "https://gate.example.org", "gate.example.org"),
            ("https://gate.example.org:8443", "https://gate.example.org:8443", "gate.example.org"),
            ("https://[::1]:8443", "https://[::1]:8443", "[::1]"),
        ];
        for (text, origin, host) in good {
            let parsed = Origin::parse(text).unwrap();
            assert_eq!((parsed.as_str(), parsed.host()), (origin, host));
        }
        for bad in [
            "",
            "localhost:7070",
            "http://127.0.0.1:7070",
            "http://gate.example.org",
            "https://gate.example.org/",
            "https://gate.example.org/console",
            "https://gate.example.org?x",
            "https://user@gate.example.org",
            "https://gate.example.org:0",
            "https://gate.example.org:99999",
            "https://gate.example.org:080",
            "https://gate.example.org:",
            "https://Gate.example.org",
            "https://",
            "https://gate example",
            "ftp://localhost",
            "javascript://localhost",
            "null",
        ] {
            let fault = Origin::parse(bad).unwrap_err();
            assert!(fault.starts_with("expected "), "{bad}: {fault}");
        }
    }

    #[test]
    fn all_faults_are_reported_together() {
        let ms = |ms| Some(Millis::new(ms).unwrap());
        let config = |origin: &str, idle, absolute| {
            ConsoleConfig { origin: origin.to_owned(), idle_ms: idle, absolute_ms: absolute, oidc: None }
                .parsed()
        };
        let sitting = config("http://localhost:7070", None, None).unwrap();
        assert_eq!((sitting.idle.ms(), sitting.absolute.ms()), (IDLE_MS, ABSOLUTE_MS));
        assert_eq!(config("http://elsewhere", ms(0), ms(MAX_SESSION_MS + 1)).unwrap_err().len(), 3);
        let upside_down = config("http://localhost", ms(2_000), ms(1_000)).unwrap_err();
        assert!(upside_down[0].contains("at most `absolute_ms`"), "{upside_down:?}");
    }
}

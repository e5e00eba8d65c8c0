//! One bounded POST: to an address of the configuration, over TLS unless it is on this machine, and nowhere else.

use std::{fmt, fs, path::Path, time::Duration};

use holdpoint_app::port::SendError;
use reqwest::{
    Certificate, Client, RequestBuilder, Url,
    header::{self, HeaderMap, HeaderValue},
    redirect, retry,
};

use super::ChannelError;
use crate::{
    step::{Step, Taken},
    system::key_file,
};

/// How long a delivery may take, connecting included: the format's advice is 15 to 30 seconds.
const LIMIT: Duration = Duration::from_secs(20);

/// A text that shows nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Reads the one line of a file that nobody but its owner may read.
    ///
    /// # Errors
    /// A file that is not there, not its owner's alone, or empty.
    pub fn read(path: &Path) -> Result<Self, ChannelError> {
        let failed = |why: String| ChannelError::File { path: path.to_owned(), why };
        let text = key_file::line(path).map_err(|err| failed(err.to_string()))?;
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            return Err(failed("expected one line that is not empty".to_owned()));
        }
        Ok(Self(text))
    }

    /// A secret that is at hand.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Whether messages may go to an address: `https`, or `http` to this machine; no user and password in it, no fragment.
///
/// # Errors
/// What is wrong, without the address: it may be a secret.
pub fn check_url(text: &str) -> Result<(), ChannelError> {
    parse(text).map(|_| ())
}

fn parse(text: &str) -> Result<Url, ChannelError> {
    let expected = ChannelError::Url(
        "expected an https URL, or an http one of this machine (127.0.0.1, ::1, localhost)",
    );
    let Ok(url) = Url::parse(text) else { return Err(expected) };
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(ChannelError::Url("expected a URL without user, password and fragment"));
    }
    match url.scheme() {
        "https" if url.has_host() => Ok(url),
        "http" if url.host_str().is_some_and(is_this_machine) => Ok(url),
        _ => Err(expected),
    }
}

/// Whether a host is this machine by its very name, whatever a name service says.
pub(super) fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Where one channel's messages go.
pub(super) struct Endpoint {
    http: Client,
    url: Url,
}

impl Endpoint {
    /// An address, and the authorities that its certificate may be of, beside the machine's.
    pub(super) fn new(url: &Secret, ca_file: Option<&Path>) -> Result<Self, ChannelError> {
        let url = parse(url.expose())?;
        let builder = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            // One channel's pause or failure must never be another's.
            .pool_max_idle_per_host(0)
            .no_proxy()
            .referer(false)
            .https_only(url.scheme() == "https")
            .timeout(LIMIT)
            .user_agent(concat!("holdpoint/", env!("CARGO_PKG_VERSION")));
        let builder = match ca_file {
            None => builder,
            Some(path) => builder.tls_certs_merge(authorities(path)?),
        };
        // The error of the library could name the address.
        let http = builder
            .build()
            .map_err(|_| ChannelError::Tls("the library takes no such settings".to_owned()))?;
        Ok(Self { http, url })
    }

    /// Sends a body of JSON. What is read of the answer is its status.
    pub(super) async fn post(
        &self,
        body: String,
        headers: &[(&'static str, String)],
    ) -> Result<(), SendError> {
        let mut fields = HeaderMap::new();
        for (name, value) in headers {
            let value =
                HeaderValue::from_str(value).map_err(|_| SendError::Unsendable("a header of it is none"))?;
            fields.insert(*name, value);
        }
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // If we stop around this, the receiver may have the message; it comes again with the same id.
        let answer = Step::NotifySend.take_async(|taken| self.request(body, fields, &taken).send()).await;
        let status = answer.map_err(|err| unreachable(&err))?.status();
        if status.is_success() { Ok(()) } else { Err(SendError::Refused(status.as_u16())) }
    }

    fn request(&self, body: String, fields: HeaderMap, _: &Taken) -> RequestBuilder {
        self.http.post(self.url.clone()).headers(fields).body(body)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The certificates of a file of PEM blocks.
fn authorities(path: &Path) -> Result<Vec<Certificate>, ChannelError> {
    let failed = |why: String| ChannelError::File { path: path.to_owned(), why };
    let pem = fs::read(path).map_err(|err| failed(err.to_string()))?;
    let found =
        Certificate::from_pem_bundle(&pem).map_err(|_| failed("expected certificates in PEM".to_owned()))?;
    if found.is_empty() { Err(failed("expected certificates in PEM".to_owned())) } else { Ok(found) }
}

/// In words of ours: those of the library could show the address.
fn unreachable(err: &reqwest::Error) -> SendError {
    SendError::Unreachable(if err.is_timeout() {
        "no answer in time"
    } else if err.is_connect() {
        "no connection, or none that TLS trusts"
    } else {
        "the connection broke"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_leave_this_machine_over_tls_alone() {
        let fine = [
            "https://hooks.example.org/a/b?c=d",
            "http://127.0.0.1:8080/hook",
            "http://[::1]/hook",
            "http://localhost:1/",
        ];
        for url in fine {
            assert!(check_url(url).is_ok(), "{url}");
        }
        let refused = [
            "http://hooks.example.org/",
            "http://127.0.0.1.example.org/",
            "http://localhost.example.org/",
            "https://user:password@hooks.example.org/",
            "https://user@hooks.example.org/",
            "https://hooks.example.org/#fragment",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "hooks.example.org",
            "",
        ];
        for url in refused {
            let err = check_url(url).unwrap_err().to_string();
            assert!(url.is_empty() || !err.contains(url), "{err}");
        }
    }
}

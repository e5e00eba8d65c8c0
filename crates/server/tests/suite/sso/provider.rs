//! A real provider, in a process of its own.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use reqwest::{
    Client, Method, Response, StatusCode, Url,
    header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE},
};

/// The secret that the provider has for its client `holdpoint`.
pub(super) const SECRET: &str = "a secret of: the client%";

/// The package `oidc-provider`, until it is dropped.
pub(super) struct Provider {
    process: Child,
    // It may say more, and has to be able to.
    _said: BufReader<ChildStdout>,
    pub(super) issuer: String,
}

impl Provider {
    /// Starts it, for clients that are called back at `back`.
    pub(super) fn start(back: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let script = root.join("tests/suite/sso/provider.mjs");
        let home = root.join("../../.cache/tools/node/node_modules/oidc-provider");
        let program = std::env::var("HOLDPOINT_NODE").unwrap_or_else(|_| "node".to_owned());
        let started = Command::new(&program)
            .arg(script)
            .arg(home)
            .arg(back)
            .env("NODE_ENV", "test")
            // It ends with us, however we end: its standard input does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut process = started.unwrap_or_else(|err| panic!("`{program}` does not start: {err}"));
        let mut said = BufReader::new(process.stdout.take().unwrap());
        let mut port = String::new();
        said.read_line(&mut port).unwrap();
        let Ok(port) = port.trim().parse::<u16>() else {
            let failed = process.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&failed.stderr).into_owned();
            panic!("no provider: {port}{stderr}\n`cargo xtask setup` installs it");
        };
        Self { process, _said: said, issuer: format!("http://127.0.0.1:{port}") }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A browser without a screen: it has cookies, and goes where it is sent within the provider.
pub(super) struct Walker {
    client: Client,
    cookies: BTreeMap<String, String>,
}

impl Walker {
    pub(super) fn new() -> Self {
        let client =
            Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { client, cookies: BTreeMap::new() }
    }

    /// Signs in at the provider, and returns the query that it sends the person back with.
    pub(super) async fn sign_in(&mut self, location: &str, login: &str) -> String {
        let (mut at, mut filled) = (Url::parse(location).unwrap(), false);
        let provider = at.origin();
        for _ in 0..10 {
            let form = at.path().starts_with("/login/") && filled;
            let response = self.ask(&at, form.then(|| format!("login={login}"))).await;
            at = match response.headers().get(LOCATION) {
                Some(next) => at.join(next.to_str().unwrap()).unwrap(),
                None if response.status() == StatusCode::OK && !filled => {
                    filled = true;
                    at
                }
                None => panic!("{at}: {} {}", response.status(), response.text().await.unwrap()),
            };
            if at.origin() != provider {
                return at.query().unwrap_or_default().to_owned();
            }
        }
        panic!("the provider goes round in circles: {at}");
    }

    async fn ask(&mut self, url: &Url, form: Option<String>) -> Response {
        let method = if form.is_some() { Method::POST } else { Method::GET };
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        let mut request = self.client.request(method, url.clone()).header(COOKIE, cookies.join("; "));
        if let Some(form) = form {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        }
        let response = request.send().await.unwrap();
        for set in response.headers().get_all(SET_COOKIE) {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        response
    }
}

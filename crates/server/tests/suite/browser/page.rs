//! What a person does with a browser, and what a test sees of it.

use std::{
    future::Future,
    path::Path,
    time::{Duration, Instant},
};

use axum::http::Method;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use fantoccini::{Client, ClientBuilder, Locator, elements::Element, wd::WebDriverCompatibleCommand};
use reqwest::Url;
use serde_json::{Value, json};

use super::driver::Driver;

/// Between two looks at something that is waited for.
pub(super) const PAUSE: Duration = Duration::from_millis(20);
/// How long a page may take to show what a test waits for.
const LIMIT: Duration = Duration::from_secs(60);

/// One person's browser.
pub(crate) struct Browser {
    client: Client,
    // Dropped last: whoever asks the driver something must not find it gone.
    _driver: Driver,
}

/// A command of the driver that WebDriver itself does not have.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) method: Method,
    /// Below the session.
    pub(super) path: String,
    pub(super) body: Option<Value>,
}

impl WebDriverCompatibleCommand for Command {
    fn endpoint(
        &self,
        base_url: &Url,
        session_id: Option<&str>,
    ) -> Result<Url, <Url as std::str::FromStr>::Err> {
        base_url.join(&format!("session/{}/{}", session_id.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _request_url: &Url) -> (Method, Option<String>) {
        (self.method.clone(), self.body.as_ref().map(Value::to_string))
    }
}

impl Browser {
    pub(crate) async fn start() -> Self {
        let driver = Driver::start().await;
        let mut builder = ClientBuilder::new(connector());
        builder.capabilities(driver.capabilities());
        let client = builder.connect(&driver.url()).await;
        let client =
            client.unwrap_or_else(|err| panic!("no browser: {err}; `cargo xtask setup` installs it"));
        Self { client, _driver: driver }
    }

    /// Opens an address and waits until it is loaded.
    pub(crate) async fn goto(&self, url: &str) {
        self.client.goto(url).await.unwrap_or_else(|err| panic!("{url}: {err}"));
    }

    /// Where the browser is.
    pub(crate) async fn url(&self) -> String {
        self.client.current_url().await.unwrap().to_string()
    }

    /// Waits until the address is one that holds.
    pub(crate) async fn until_url(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        self.until(what, async || Some(self.url().await).filter(|url| holds(url))).await
    }

    /// Waits for something; says what the page shows when it does not come.
    pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        look: impl Fn() -> F,
    ) -> T {
        let since = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            if since.elapsed() > LIMIT {
                let shown = self.run("return document.body.innerText", Vec::new()).await;
                let (url, console) = (self.url().await, self.console().await);
                panic!("{what}: not within {LIMIT:?} at {url}:\n{shown}\n{console:?}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The first element of a CSS selector, once there is one.
    pub(crate) async fn find(&self, css: &str) -> Element {
        self.until(css, async || self.client.find(Locator::Css(css)).await.ok()).await
    }

    /// How many elements a CSS selector has now.
    pub(crate) async fn count(&self, css: &str) -> usize {
        self.client.find_all(Locator::Css(css)).await.unwrap().len()
    }

    pub(crate) async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap_or_else(|err| panic!("{css}: {err}"));
    }

    /// Types into a field, key by key.
    pub(crate) async fn type_into(&self, css: &str, text: &str) {
        self.find(css).await.send_keys(text).await.unwrap_or_else(|err| panic!("{css}: {err}"));
    }

    /// What a person reads in an element.
    pub(crate) async fn text(&self, css: &str) -> String {
        self.find(css).await.text().await.unwrap_or_default()
    }

    /// What a person reads in the first element of a CSS selector now; nothing where there is none.
    pub(crate) async fn text_now(&self, css: &str) -> String {
        let text = "const found = document.querySelector(arguments[0]); return found ? found.innerText : '';";
        self.run(text, vec![json!(css)]).await.as_str().unwrap_or_default().to_owned()
    }

    /// Runs the body of a function in the page, outside its Content-Security-Policy, and waits for a promise it returns.
    pub(crate) async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.client.execute(script, arguments).await.unwrap_or_else(|err| panic!("{script}: {err}"))
    }

    /// The cookies of the page's site, as WebDriver has them: `name`, `value`, `secure`, `httpOnly`, `sameSite`, `path`.
    pub(crate) async fn cookies(&self) -> Vec<Value> {
        let cookies = self.ask(Method::GET, "cookie", None).await;
        cookies.as_array().unwrap().clone()
    }

    /// What came to the console since it was asked last, violations of the Content-Security-Policy among it.
    pub(crate) async fn console(&self) -> Vec<String> {
        let entries = self.ask(Method::POST, "se/log", Some(json!({"type": "browser"}))).await;
        let message = |entry: &Value| entry["message"].as_str().unwrap().to_owned();
        entries.as_array().unwrap().iter().map(message).collect()
    }

    /// The size of the page's view, in CSS pixels.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let view = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", view).await;
    }

    /// Whether the person prefers a dark page.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }

    /// Writes a picture of the page from its top, as wide as its view and at most `height` high; returns its size in bytes.
    pub(crate) async fn picture(&self, height: u32, file: &Path) -> usize {
        let size = "const page = document.documentElement; return [page.clientWidth, page.scrollHeight];";
        let size = self.run(size, Vec::new()).await;
        let height = size[1].as_u64().unwrap().min(u64::from(height));
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": height, "scale": 1});
        let wanted = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let taken = self.devtools("Page.captureScreenshot", wanted).await;
        let png = STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        std::fs::write(file, &png).unwrap_or_else(|err| panic!("{}: {err}", file.display()));
        png.len()
    }

    /// A command of the DevTools protocol.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.ask(Method::POST, "goog/cdp/execute", Some(body)).await
    }

    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let command = Command { method, path: path.to_owned(), body };
        self.client.issue_cmd(command).await.unwrap_or_else(|err| panic!("{path}: {err}"))
    }
}

/// The driver is on this machine, and speaks HTTP/1.1 alone.
fn connector() -> hyper_util::client::legacy::connect::HttpConnector {
    hyper_util::client::legacy::connect::HttpConnector::new()
}

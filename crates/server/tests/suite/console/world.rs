//! A target system that says whatever a test has it say: in its page, in its metrics, in the file that it is.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, header},
    response::{Html, IntoResponse},
    routing::get,
};
use serde_json::json;

use super::scene::{edit, read};
use crate::suite::stage::Stage;

/// A page, its metrics, and what they say.
pub(super) struct World {
    port: u16,
    said: Arc<Mutex<String>>,
}

type Said = State<Arc<Mutex<String>>>;

impl World {
    pub(super) async fn serve() -> Self {
        let said = Arc::new(Mutex::new("harmless".to_owned()));
        let router = Router::new()
            .route("/raw", get(raw))
            .route("/page", get(page))
            .route("/metrics", get(metrics))
            .with_state(Arc::clone(&said));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { port, said }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    /// From now on it says this.
    pub(super) fn say(&self, text: &str) {
        text.clone_into(&mut self.said.lock().unwrap());
    }

    /// Has the sleeper watched through what this says, and makes a flag of a file a target of its own.
    pub(super) fn is_watched(&self, stage: &Stage) {
        let at = format!("http://127.0.0.1:{}", self.port);
        let kernel = "at: {unit: sleeper}}";
        let page = format!("page: {{source: page, at: {{url: '{at}/page'}}}}");
        let metrics = format!("metrics: {{source: exporter, at: {{url: '{at}/metrics'}}}}");
        edit(stage, "inventory.yaml", kernel, &format!("{kernel}, {page}, {metrics}"));
        let offers = format!("  - {{id: offers, service: single, executor: flags, endpoints: {{{page}}}}}\n");
        stage.write("inventory.yaml", &(read(stage, "inventory.yaml") + &offers));
        let process = "check: {kind: process, expect: running}\n";
        edit(stage, "catalogue.yaml", process, &format!("{process}{PROBES}"));
        edit(stage, "catalogue.yaml", "conditions:\n", &format!("{ACTION}conditions:\n{CONDITION}"));
        edit(stage, "holdpoint.yaml", "units: units.yaml", "units: units.yaml\nexecutors: executors.yaml");
        // What cannot be looked at is tried again until its permit ends.
        edit(stage, "holdpoint.yaml", "timings: {", "timings: {start_window_ms: 10000, ");
        stage.write("executors.yaml", "flags:\n  offers: {file: flags.json, flag: offers}\n");
        self.writes_flags(stage, &["on".to_owned()]);
    }

    /// The file of flags: variants and descriptions of these names.
    pub(super) fn writes_flags(&self, stage: &Stage, names: &[String]) {
        let variants: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), json!(name))).collect();
        let flag = json!({"state": "ENABLED", "variants": variants, "defaultVariant": names[0], "metadata": variants});
        let file = json!({"flags": {"offers": flag}, "metadata": variants});
        stage.write("flags.json", &serde_json::to_string_pretty(&file).unwrap());
    }
}

/// Everything as it is, and nothing that stops it.
async fn raw(State(said): Said) -> impl IntoResponse {
    let body = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><link rel=icon href='data:,'><title>Raw</title><p id=said>{}</p></html>",
        said.lock().unwrap()
    );
    Html(body)
}

/// A page that is well, with something to say in its body and in a header.
async fn page(State(said): Said) -> impl IntoResponse {
    let said = said.lock().unwrap().clone();
    let ascii: String = said.chars().filter(|c| c.is_ascii_graphic()).take(1_000).collect();
    ([(header::SERVER, HeaderValue::from_str(&ascii).unwrap())], Html(said))
}

/// Metrics in the text format of Prometheus, with something to say in help, names of labels' values and comments.
async fn metrics(State(said): Said) -> String {
    let said = said.lock().unwrap();
    let escaped = said.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], "\\n");
    let help = said.replace('\\', "\\\\").replace(['\n', '\r'], "\\n");
    format!("# HELP up {help}\n# TYPE up gauge\nup{{target=\"sleeper\",said=\"{escaped}\"}} 1\n")
}

const PROBES: &str = "      - endpoint: page
        timeout_ms: 2000
        check: {kind: http, expect: ok}
      - endpoint: metrics
        timeout_ms: 2000
        check: {kind: prometheus, metric: up, labels: {target: '${target}'}, is: {above: 0.5}, max_age_ms: 60000}
";

const ACTION: &str = "  - id: flags.disable
    title: Disable a feature flag
    groups: [restart]
    executor: flags
    reversibility: reversible
    idempotent: true
    touches: {}
    tier: T3
    undo: snapshot
    undo_window_ms: 60000
    cap: {targets: 1, services: 5, critical: 1, replica_share_percent: 100}
    triggers: [page.up]
    verify: page.up
    soak_ms: 100
    settle_ms: 10000
";

const CONDITION: &str = "  - id: page.up
    title: Its page answers
    needs: 1
    probes:
      - endpoint: page
        timeout_ms: 2000
        check: {kind: http, expect: ok}
";

//! Act 1: the stage, the gate, and who is who.

use std::collections::BTreeMap;

use tokio::sync::Mutex;

use super::{LOOK_EVERY, MAX_LOOKS, Play, REMEMBERED, SILENCE, differs, page};
use crate::demo::{
    Demo, DemoError,
    api::Api,
    program::{Gate, until},
    stage,
};

/// Act 1.
pub(super) async fn is_set<'a>(demo: &'a Demo, gate: &mut Option<Gate>) -> Result<Play<'a>, DemoError> {
    let screen = &demo.screen;
    screen.act(1, "A shop, and a gate in front of it");
    screen.fact("files", demo.dir.display());
    let api = Api::new(demo.ports.gate)?;
    demo.set_stage(gate, &api).await?;
    screen.fact("gate", api.gate());
    screen.fact("console", format_args!("http://localhost:{}, for people", demo.ports.gate));

    let config = demo.arg(stage::CONFIG);
    let token = async |who: &[&str]| {
        // They outlive a hold that nobody answers, and somebody who looks around.
        let args = [&["identity", "issue", "--config", &config, "--ttl-secs", "3600"], who].concat();
        demo.program.must(&args, "").await.map(|token| token.trim().to_owned())
    };
    let person = token(&["--person", "ada"]).await?;
    let play = Play { demo, api, tokens: Mutex::default(), person, plans: BTreeMap::new() };
    // Nobody is let in who is not whom the Workload API says.
    play.agent("observe").await?;

    let everything_runs = until(MAX_LOOKS, LOOK_EVERY, async || {
        let mut up = play.api.answers(&play.checkout("/healthz"), SILENCE).await;
        // The way to payments works, and visitors come.
        up = up && play.api.answers(&play.checkout("/pay"), SILENCE).await;
        up = up && play.visitors_see().await.ok().flatten() == Some(0.0);
        for worker in ["worker-1", "worker-2", "worker-3"] {
            up = up && play.backend_up(worker).await.ok().flatten() == Some(1.0);
        }
        Ok(up.then_some(()))
    });
    everything_runs
        .await?
        .ok_or_else(|| differs(1, "all parts of the stage to run", "not all of them do"))?;
    screen.fact(
        "shop",
        "worker-1, worker-2, worker-3, balancer, checkout, payments, visitors: processes under the gate's supervisor; flags, \
         settings and a token in files",
    );
    for _ in 0..3 {
        play.api.poke(&play.checkout("/carts")).await?;
    }
    screen.fact("carts", "3 in checkout's memory, and nowhere else");
    screen.fact(
        "agent",
        "medic, told who it is over the SPIFFE Workload API: one identity to look (observe), one to propose (decide), none to execute",
    );
    screen.fact(
        "people",
        "ada and bob are on call; cleo and dora are administrators, and cleo answers for medic",
    );
    demo.write(REMEMBERED, play.api.checkpoint().await?)?;
    screen.fact("ledger", format_args!("its signed head is kept in {REMEMBERED}, as an outsider would"));
    Ok(play)
}

impl Play<'_> {
    /// The share of errors among what visitors of checkout saw last.
    pub(super) async fn visitors_see(&self) -> Result<Option<f64>, DemoError> {
        let url = page(self.demo.ports.visitors, "/metrics");
        self.api.sample(&url, "service_error_ratio{service=\"checkout\"}").await
    }
}

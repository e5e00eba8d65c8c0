//! A gate with a console, and people with browsers and passkeys of their own.

use serde_json::{Value, json};

use crate::suite::{
    browser::{authenticator::Authenticator, page::Browser},
    stage::{POLICY, Stage, client},
};

/// A gate with a console. Ada and Ben are administrators and on call, and have keys for the command line; nobody has a passkey yet.
pub(super) struct Console {
    pub(super) stage: Stage,
    pub(super) origin: String,
}

impl Console {
    /// Restarts run at T1 by the catalogue; of the sleeper, at T3, as nothing undoes them.
    pub(super) fn started() -> Self {
        Self::at("T1")
    }

    /// Restarts run at this tier, or above.
    pub(super) fn at(tier: &str) -> Self {
        let mut stage = Stage::unmade();
        let origin = format!("http://localhost:{}", stage.url("").rsplit_once(':').unwrap().1);
        let config = std::fs::read_to_string(stage.root().join("holdpoint.yaml")).unwrap();
        stage.write("holdpoint.yaml", &format!("{config}\nconsole: {{origin: \"{origin}\"}}\n"));
        let catalogue = std::fs::read_to_string(stage.root().join("catalogue.yaml")).unwrap();
        stage.write(
            "catalogue.yaml",
            &catalogue.replace("tier: T1", &format!("tier: {tier}")).replace("{targets: 1", "{targets: 2"),
        );
        let rule = "@id(\"oncall-breaks-glass\")\n\
            permit (principal is Person in Team::\"oncall\", action == Action::\"break-glass\", resource == Gate::\"this\");\n";
        stage.write("policy.cedar", &format!("{POLICY}{rule}"));
        stage.made();
        stage.start();
        Self { stage, origin }
    }

    /// The link that enrols somebody, which `by` asked for.
    pub(super) fn invite(&self, person: &str, by: &str) -> String {
        let (config, out) =
            (self.stage.path("holdpoint.yaml"), self.stage.path(&format!("{person}-{by}.link")));
        let said =
            self.stage.must(&["people", "invite", person, "--config", &config, "--as", by, "--out", &out]);
        let link = std::fs::read_to_string(&out).unwrap().trim().to_owned();
        assert!(!said.contains(link.rsplit_once('.').unwrap().1), "the secret is on the screen");
        std::fs::remove_file(out).unwrap();
        link
    }

    /// Approves a change on the command line.
    pub(super) fn approve_change(&self, change: &str, by: &str) {
        let config = self.stage.path("holdpoint.yaml");
        self.stage.must(&["change", "approve", change, "--yes", "--config", &config, "--as", by]);
    }

    /// An administrator at a browser of their own, enrolled and signed in: of two administrators each invites themselves, and `other`
    /// approves.
    pub(super) async fn person<'b>(
        &self,
        browser: &'b Browser,
        name: &str,
        other: &str,
    ) -> Authenticator<'b> {
        let authenticator = browser.authenticator().await;
        let link = self.invite(name, name);
        browser.goto(&link).await;
        browser.click("button[data-ceremony=enrol]").await;
        let change = browser
            .until("the passkey is registered", async || {
                Some(browser.text("[data-enrolled=change]").await).filter(|change| !change.is_empty())
            })
            .await;
        self.approve_change(&change, other);
        self.sign_in(browser).await;
        authenticator
    }

    pub(super) async fn sign_in(&self, browser: &Browser) {
        browser.goto(&format!("{}/sign-in", self.origin)).await;
        browser.click("button[data-ceremony=sign-in]").await;
        let inbox = format!("{}/", self.origin);
        browser.until_url("signed in", |url| url == inbox).await;
    }

    /// What an agent proposes.
    pub(super) async fn propose(&self, steps: &[(&str, &str)]) -> Value {
        let steps: Vec<_> =
            steps.iter().map(|(action, target)| json!({"action": action, "target": target})).collect();
        let body = json!({"steps": steps, "trigger": "process.running"});
        let asked = client().post(self.stage.url("/v1/plans")).bearer_auth(self.stage.agent()).json(&body);
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 202, "expected a hold");
        answer.json().await.unwrap()
    }

    /// Presses the button of a ceremony, and waits until the page that shows what came of it is there.
    pub(super) async fn signs(&self, browser: &Browser, button: &str, path: &str) {
        browser.click(button).await;
        let there = format!("{}{path}", self.origin);
        browser.until_url(button, |url| url == there).await;
    }

    /// Presses the button of a ceremony, and returns what the page says against it.
    pub(super) async fn refused(&self, browser: &Browser, button: &str) -> String {
        browser.click(button).await;
        browser
            .until("a refusal", async || {
                Some(browser.text("main [role=alert]").await).filter(|said| !said.is_empty())
            })
            .await
    }

    pub(super) async fn open(&self, browser: &Browser, path: &str) {
        browser.goto(&format!("{}{path}", self.origin)).await;
    }
}

/// The hold of a proposal.
pub(super) fn hold(proposed: &Value) -> String {
    proposed["hold"].as_str().or_else(|| proposed["terms"]["hold"].as_str()).unwrap().to_owned()
}

/// The plan of a proposal.
pub(super) fn plan(proposed: &Value) -> String {
    proposed["id"].as_str().unwrap().to_owned()
}

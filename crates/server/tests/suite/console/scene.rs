//! A gate with a console, and people with browsers and passkeys of their own.

use std::borrow::Borrow;

use serde_json::{Value, json};

use crate::suite::{
    browser::{authenticator::Authenticator, page::Browser},
    stage::{POLICY, Stage, client},
};

/// The button that approves a hold.
pub(in crate::suite) const APPROVE: &str = "button[data-ceremony=approve]";
/// The button that rejects one.
pub(super) const REJECT: &str = "button[data-ceremony=reject]";

/// A gate with a console, alone or with its roles beside it. Ada and Ben are administrators and on call, and have keys for the
/// command line; nobody has a passkey yet.
pub(in crate::suite) struct Console<S = Stage> {
    pub(in crate::suite) stage: S,
    pub(in crate::suite) origin: String,
}

impl Console {
    /// Restarts run at T1 by the catalogue; of the sleeper, at T3, as nothing undoes them.
    pub(in crate::suite) fn started() -> Self {
        Self::at("T1")
    }

    /// Restarts run at this tier, or above.
    pub(super) fn at(tier: &str) -> Self {
        Self::with(tier, |_| {})
    }

    /// As [`Self::at`], with files that were changed before there are keys.
    pub(super) fn with(tier: &str, change: impl FnOnce(&mut Stage)) -> Self {
        let mut stage = Stage::unmade();
        let origin = furnish(&stage, tier);
        let config = read(&stage, "holdpoint.yaml");
        stage.write("holdpoint.yaml", &format!("{config}{}", entry(&origin)));
        change(&mut stage);
        stage.made();
        stage.start();
        Self { stage, origin }
    }
}

/// Writes what the tests of the console need into the files of a stage; returns the console's origin.
pub(in crate::suite) fn furnish(stage: &Stage, tier: &str) -> String {
    let catalogue = read(stage, "catalogue.yaml");
    stage.write(
        "catalogue.yaml",
        &catalogue.replace("tier: T1", &format!("tier: {tier}")).replace("{targets: 1", "{targets: 2"),
    );
    let rule = "@id(\"oncall-breaks-glass\")\n\
        permit (principal is Person in Team::\"oncall\", action == Action::\"break-glass\", resource == Gate::\"this\");\n";
    stage.write("policy.cedar", &format!("{POLICY}{rule}"));
    format!("http://localhost:{}", stage.url("").rsplit_once(':').unwrap().1)
}

/// The console in a gate's configuration.
pub(in crate::suite) fn entry(origin: &str) -> String {
    format!("\nconsole: {{origin: \"{origin}\"}}\n")
}

/// A file of the stage.
pub(in crate::suite) fn read(stage: &Stage, name: &str) -> String {
    std::fs::read_to_string(stage.path(name)).unwrap_or_else(|err| panic!("{name}: {err}"))
}

/// Replaces a part of a file of the stage.
pub(in crate::suite) fn edit(stage: &Stage, name: &str, from: &str, to: &str) {
    let text = read(stage, name);
    assert!(text.contains(from), "{name} has no `{from}`");
    stage.write(name, &text.replace(from, to));
}

impl<S: Borrow<Stage>> Console<S> {
    /// The gate, whatever stands beside it.
    fn gate(&self) -> &Stage {
        self.stage.borrow()
    }

    /// The link that enrols somebody, which `by` asked for.
    pub(super) fn invite(&self, person: &str, by: &str) -> String {
        let (config, out) = (self.gate().config(), self.gate().path(&format!("{person}-{by}.link")));
        let said =
            self.gate().must(&["people", "invite", person, "--config", &config, "--as", by, "--out", &out]);
        let link = std::fs::read_to_string(&out).unwrap().trim().to_owned();
        assert!(!said.contains(link.rsplit_once('.').unwrap().1), "the secret is on the screen");
        std::fs::remove_file(out).unwrap();
        link
    }

    /// Approves a change on the command line.
    pub(super) fn approve_change(&self, change: &str, by: &str) {
        let (config, key) = (self.gate().config(), self.gate().path(&format!("people/{by}.key")));
        let said = ["change", "approve", change, "--yes", "--config", &config, "--as", by, "--key", &key];
        self.gate().must(&said);
    }

    /// An administrator at a browser of their own, enrolled and signed in: of two administrators each invites themselves, and `other`
    /// approves.
    pub(in crate::suite) async fn person<'b>(
        &self,
        browser: &'b Browser,
        name: &str,
        other: &str,
    ) -> Authenticator<'b> {
        self.enrolled(browser, name, name, &[other]).await
    }

    /// Somebody at a browser of their own, whom `by` invited, and whose passkey these others approved; signed in.
    pub(super) async fn enrolled<'b>(
        &self,
        browser: &'b Browser,
        name: &str,
        by: &str,
        others: &[&str],
    ) -> Authenticator<'b> {
        let authenticator = browser.authenticator().await;
        let link = self.invite(name, by);
        browser.goto(&link).await;
        browser.click("button[data-ceremony=enrol]").await;
        let change = browser
            .until("the passkey is registered", async || {
                Some(browser.text("[data-enrolled=change]").await).filter(|change| !change.is_empty())
            })
            .await;
        others.iter().for_each(|other| self.approve_change(&change, other));
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
        let asked = client().post(self.gate().url("/v1/plans")).bearer_auth(self.gate().agent()).json(&body);
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

    /// One after the other opens a hold and approves it; returns the plan.
    pub(in crate::suite) async fn released(&self, held: &str, browsers: [&Browser; 2]) -> String {
        let mut plan = String::new();
        for browser in browsers {
            browser.goto(held).await;
            browser.click(APPROVE).await;
            plan = browser.until_url("approved", |url| url.contains("/plans/")).await;
        }
        plan.rsplit_once('/').unwrap().1.to_owned()
    }

    /// Breaks the glass for a restart of the sleeper; returns the hold's address.
    pub(in crate::suite) async fn breaks_glass(&self, browser: &Browser) -> String {
        self.open(browser, "/break-glass").await;
        browser.type_into("input[name=action]", "process.restart").await;
        browser.type_into("input[name=target]", "sleeper").await;
        browser.type_into("textarea[name=reason]", "the sleeper hangs and nobody can wait").await;
        browser.click("form.fields button").await;
        browser.until_url("held", |url| url.contains("/holds/")).await
    }

    /// Presses the button of a ceremony, and has the passkey sign; what it signed stays in the browser until somebody
    /// [lets it go](Self::lets_go).
    pub(super) async fn holds_back(&self, browser: &Browser, button: &str) {
        let held = "const real = navigator.credentials.get.bind(navigator.credentials);
            navigator.credentials.get = async (asked) => {
                const made = await real(asked);
                await new Promise((go) => { window.letGo = go; });
                return made;
            };";
        browser.run(held, Vec::new()).await;
        browser.click(button).await;
        let is_signed = async || browser.run("return Boolean(window.letGo)", Vec::new()).await.as_bool();
        browser.until("signed", async || is_signed().await.filter(|signed| *signed)).await;
    }

    /// Brings what was held back to the gate; the page that shows what came of it, or what this page says against it.
    pub(super) async fn lets_go(&self, browser: &Browser) -> Result<String, String> {
        let before = browser.url().await;
        browser.run("window.letGo()", Vec::new()).await;
        browser
            .until("what came of it", async || {
                let (url, said) = (browser.url().await, browser.text_now("main [role=alert]").await);
                if url != before {
                    return Some(Ok(url));
                }
                Some(Err(said)).filter(|said| *said != Err(String::new()))
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

/// Halts on whatever page is open, `soft` or `hard`, by two clicks, or one in the banner of a halt that is in force; waits for the page
/// that says so, for a page that is opened before it would be left for it again.
pub(in crate::suite) async fn halts(browser: &Browser, reach: &str) {
    if browser.count(".halted").await == 0 {
        browser.click(".halt-switch summary").await;
    }
    let mine = format!("form[action='/halt']:has(input[value={reach}]) button");
    let before = browser.text_now(".halted p").await;
    browser.click(&mine).await;
    browser
        .until("halted", async || {
            let now = browser.text_now(".halted p").await;
            Some(now).filter(|now| !now.is_empty() && *now != before)
        })
        .await;
}

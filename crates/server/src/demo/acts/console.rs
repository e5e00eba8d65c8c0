//! The console in the demo: whoever sits in front of the terminal opens it as Ada, with a passkey of their own if they like.

use holdpoint_domain::{Id, change::Control, id::kind};

use super::{Play, differs};
use crate::{
    demo::{DemoError, stage},
    http::wire::ChangeState,
};

/// The file with the link of your invitation.
const LINK: &str = "people/ada.link";
/// The administrators, whom the demo plays.
const ADMINISTRATORS: [&str; 2] = ["cleo", "dora"];

impl Play<'_> {
    /// Ada's browser asks for the page of a plan that waits. A session is no consent: it only shows.
    pub(super) async fn looks_at_the_console(
        &self,
        plan: &Id<kind::Plan>,
        hold: &Id<kind::Hold>,
    ) -> Result<(), DemoError> {
        let (program, screen) = (&self.demo.program, &self.demo.screen);
        let config = self.demo.arg(stage::CONFIG);
        let link = program.must(&["console", "--as", "ada", "--config", &config], "").await?;
        let link = link.lines().next().unwrap_or_default().trim();
        let page = self.api.console(link, &format!("/holds/{hold}")).await?;
        for part in [plan.as_str(), "What would change", "What it can disturb", "Why people are asked"] {
            if !page.contains(part) {
                return Err(differs(6, format!("the page of the request to say `{part}`"), "it does not"));
            }
        }
        screen.fact("console", format_args!("http://localhost:{}/holds/{hold}", self.demo.ports.gate));
        screen.fact(
            "it shows",
            "what would change, what that can disturb, the evidence, and why people are asked",
        );
        Ok(())
    }

    /// Cleo invites Ada, whom you are, to register a passkey; and says how to look without one.
    pub(super) async fn invites_you(&self) -> Result<(), DemoError> {
        let (program, screen) = (&self.demo.program, &self.demo.screen);
        let (config, file) = (self.demo.arg(stage::CONFIG), self.demo.arg(LINK));
        screen.say("In another terminal: this prints a link that signs your browser in to the console, once, to look:");
        screen.command(&program.line_anywhere(&["console", "--as", "ada", "--config", &config]));
        program
            .must(&["people", "invite", "ada", "--as", "cleo", "--out", &file, "--config", &config], "")
            .await?;
        screen.say(
            "To decide there as well, have a passkey. Cleo has invited you: open the link in this file, and register one. Cleo \
             and Dora approve it at once.",
        );
        screen.command(&format!("cat {file}"));
        Ok(())
    }

    /// Cleo and Dora approve the passkey that you registered.
    pub(super) async fn lets_you_enrol(&self) -> Result<(), DemoError> {
        let asked = self.api.changes(&self.person).await?.changes.into_iter();
        let of_you = |author: &Id<kind::Person>| author.as_str() == "ada";
        let mut asked = asked.filter(|change| {
            change.state == ChangeState::Open && change.control == Control::Registry && of_you(&change.author)
        });
        let Some(change) = asked.next() else { return Ok(()) };
        let config = self.demo.arg(stage::CONFIG);
        for administrator in ADMINISTRATORS {
            let args = [
                "change",
                "approve",
                change.id.as_str(),
                "--as",
                administrator,
                "--yes",
                "--config",
                &config,
            ];
            self.demo.program.must(&args, "").await?;
        }
        self.demo.screen.good("passkey", "Cleo and Dora have approved it: sign in with it, and decide");
        Ok(())
    }
}

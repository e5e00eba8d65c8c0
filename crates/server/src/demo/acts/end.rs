//! Act 13, and what remains: the incident's path, where everything is, what to try next.

use holdpoint_domain::text::visible;

use super::{Play, differs, offers::INCIDENT};
use crate::demo::{Demo, DemoError, stage};

/// Act 13: the path of one incident, from the records of its plans.
pub(super) async fn timeline(play: &Play<'_>) -> Result<(), DemoError> {
    let screen = &play.demo.screen;
    screen.act(13, "An incident, as the ledger tells it");
    let mut moments = Vec::new();
    for (plan, word) in play.plans.get(INCIDENT).into_iter().flatten() {
        let seen = play.look(plan).await?;
        moments.extend(seen.timeline.into_iter().map(|moment| (moment, *word)));
    }
    moments.sort_by_key(|(moment, _)| moment.index);
    if !moments.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a.index < b.index))
        || moments.len() < 20
    {
        return Err(differs(13, "at least 20 records, each once", format!("{} records", moments.len())));
    }
    let began = moments.first().map_or(0, |(moment, _)| moment.at_ms.ms());
    screen.row(&format!("{:>4}  {:>7}  {:<8}", "no.", "after", "plan"), "who, and what");
    for (moment, word) in moments {
        let ms = moment.at_ms.ms().saturating_sub(began);
        let after = format!("{ms} ms");
        let what = format!("{}: {}", moment.actor, with_short_names(&visible(&moment.what)));
        screen.row(&format!("{:>4}  {after:>7}  {word:<8}", moment.index), &what);
    }
    screen.lesson("What authorised an effect was on disk before the effect began.");
    Ok(())
}

/// The text with long generated names cut short, as commits are.
fn with_short_names(text: &str) -> String {
    let short = |word: &str| match word.split_once('-') {
        Some((kind, rest)) if rest.len() >= 32 && rest.is_ascii() => {
            let (begin, end) = rest.split_at(8);
            // What stands behind the 32 digits belongs to the sentence.
            format!("{kind}-{begin}{}", end.get(24..).unwrap_or_default())
        }
        _ => word.to_owned(),
    };
    text.split(' ').map(short).collect::<Vec<_>>().join(" ")
}

/// The end: what was shown, where everything is, what to try next.
pub(in crate::demo) fn epilogue(demo: &Demo) {
    let screen = &demo.screen;
    screen.headline(&format!("Done in {}. What you saw:", screen.seconds()));
    for line in [
        "- a repair ran without a person: the gate measured that it was needed, and knows the way back",
        "- a repair that did not help was taken back bit by bit, though a person had approved it",
        "- what costs something waited for a signature over exactly that plan; a secret, for two",
        "- claims that the gate measured as false, and orders out of a log, were refused",
        "- a halt stopped what was new, and let nothing half done",
        "- anybody can check the record offline, and a changed bit shows",
    ] {
        screen.say(line);
    }
    let config = demo.arg(stage::CONFIG);
    let line = |args: &[&str]| demo.program.line_anywhere(args);
    screen.headline("Where it is:");
    screen.fact("files", demo.dir.display());
    screen.fact("policy", format_args!("{} and shop.cedar beside it", demo.path(stage::POLICY).display()));
    screen.fact("gate's log", demo.gate_log().display());
    if demo.yes {
        screen.headline("What to try next. Start the gate and its shop again; the shop ends after an hour:");
        screen.command(&line(&["serve", "--config", &config]));
    } else {
        screen.headline("Gate and shop go on, for an hour or until Ctrl-C. What to try next:");
    }
    screen.say("In another terminal, let worker-3 hang, and be the agent:");
    screen.command(&format!("curl -X POST http://127.0.0.1:{}/hang", demo.ports.worker_3));
    screen.command(&format!("export HOLDPOINT_CONFIG={config}"));
    let socket = format!("unix://{}/{}/decide.sock", demo.dir.display(), stage::RUN);
    let token = line(&["identity", "fetch", "--socket", &socket, "--audience", stage::AUDIENCE]);
    screen.command(&format!("export HOLDPOINT_TOKEN=$({token})"));
    screen.command(&line(&["propose", "process.restart", "worker-3", "--trigger", "process.hung", "--wait"]));
    screen.say(
        "Be Ada, and look around; the first one prints a link that signs your browser in to the console:",
    );
    screen.command(&line(&["console", "--as", "ada"]));
    screen.command(&line(&["get", "plans", "--as", "ada"]));
    screen.command(&line(&["ledger", "show", "--as", "ada"]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_are_cut_short_and_others_are_not() {
        let text = "revoked credential lease-c6c508e336fdef58b53da5bbf066c5ef, and a pool-size";
        assert_eq!(with_short_names(text), "revoked credential lease-c6c508e3, and a pool-size");
    }
}

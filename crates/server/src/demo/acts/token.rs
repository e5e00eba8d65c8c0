//! Act 9: a token leaks, and is replaced when two people have signed with passkeys.

use std::path::Path;

use holdpoint_domain::{
    Id, Tier,
    approval::{Choice, SignedStatement, Statement},
    decision::Answer,
    flow::State,
    id::kind,
    text::visible,
};

use super::{Ask, Play, differs, page};
use crate::{
    demo::{DemoError, api::Answered, stage},
    http::wire::Decided,
};

const ROTATE: Ask = Ask {
    action: "secret.rotate",
    targets: &["payments-token"],
    trigger: "secret.misused",
    incident: "token-leaks",
    pool_size: None,
    word: "rotate the token",
};

/// Act 9.
pub(super) async fn is_rotated(play: &mut Play<'_>) -> Result<(), DemoError> {
    let demo = play.demo;
    let screen = &demo.screen;
    screen.act(9, "Checkout's token for payments leaks");
    let old = demo.read(stage::TOKEN)?.trim_end().to_owned();
    let charge = page(demo.ports.payments, "/charge");
    expect(play.api.stolen(&charge, &old).await?, 200)?;
    screen.bad("broken", "somebody from another address pays with checkout's token, and payments takes it");
    screen.fact("proposed", "secret.rotate on payments-token, because of secret.misused");
    let words = ("the token has leaked", "payments saw it come from elsewhere");
    let (proposed, _) = play.gets(9, (Answer::Hold, Tier::T4), ROTATE, words).await?;
    let hold = proposed.hold.ok_or_else(|| differs(9, "a hold", "none"))?;
    by_key(play, &hold).await?;
    if !demo.yes {
        let why = "T4 takes passkeys alone: people approve it in the console, in a browser. Press Enter, and Ada and Bob do so \
                   with passkeys in software";
        screen.held("your turn", why);
        enter().await;
    }

    by_passkey(play, "ada", &proposed.id, &hold).await?;
    let state = play.look(&proposed.id).await?.state;
    if state != State::Held {
        return Err(differs(9, "one signature not to be enough", state));
    }
    by_passkey(play, "bob", &proposed.id, &hold).await?;
    play.ended(9, &proposed.id, State::Succeeded).await?;
    screen.good(
        "succeeded",
        "a new token, accepted beside the old one until checkout used it; then the old one ended",
    );

    expect(play.api.stolen(&charge, &old).await?, 401)?;
    screen.good("thief", "pays with the old token: 401, unknown token");
    if !play.api.answers(&play.checkout("/pay"), super::SILENCE).await {
        return Err(differs(9, "checkout to pay with the new token", "it does not"));
    }
    screen.good("checkout", "pays with the new one: 200");
    let new = demo.read(stage::TOKEN)?.trim_end().to_owned();
    if new == old {
        return Err(differs(9, "another token", "the old one"));
    }
    for token in [&old, &new] {
        for place in ["data", "gate.log"] {
            let path = demo.path(place);
            let found = holds(&path, token.as_bytes()).map_err(|source| DemoError::File { path, source })?;
            if found {
                return Err(differs(9, "no token in the gate's files", place));
            }
        }
    }
    screen.good("secret", "neither token is anywhere in the gate's data, its ledger or its log");
    screen.lesson(
        "The executor made the token. It stands in no plan and no record, and neither signer saw it.",
    );
    Ok(())
}

/// Ada's key lies in a file: whoever copies it could sign, and two thieves are no two people.
async fn by_key(play: &Play<'_>, hold: &Id<kind::Hold>) -> Result<(), DemoError> {
    let config = play.demo.arg(stage::CONFIG);
    let args = ["requests", "approve", hold.as_str(), "--as", "ada", "--yes", "--config", &config];
    play.demo.screen.command(&play.demo.program.line(&args));
    let said = play.demo.program.run(&args, "").await?;
    if said.status.success() || !said.stderr.contains("passkeys") {
        return Err(differs(9, "a key in a file to be refused", said.stderr.trim_end()));
    }
    play.demo.screen.bad("refused", visible(said.stderr.trim_end()));
    Ok(())
}

/// A person approves, as their browser does in the console: their passkey signs the digest of the statement.
async fn by_passkey(
    play: &Play<'_>,
    person: &str,
    plan: &Id<kind::Plan>,
    hold: &Id<kind::Hold>,
) -> Result<(), DemoError> {
    let terms = play.look(plan).await?.hold.map(|hold| hold.terms);
    let terms = terms.ok_or_else(|| differs(9, "the terms of the hold", "none"))?;
    let name = Id::parse(person).map_err(|err| differs(9, "a valid name", err))?;
    let statement = Statement::new(terms, name, Choice::Approve);
    let bytes = statement.signing_bytes().map_err(|err| differs(9, "a statement to sign", err))?;
    let signature = play.demo.load_passkey(person)?.sign(&bytes, 0).into();
    let signed = SignedStatement { statement, signature };
    let config = play.demo.arg(stage::CONFIG);
    let session =
        play.demo.program.must(&["identity", "issue", "--person", person, "--config", &config], "").await?;
    let path = format!("/v1/holds/{hold}/decisions");
    match play.api.post::<Decided>(&path, session.trim(), &signed).await? {
        Answered::Yes(decided) => {
            let Decided { approvals, needed, .. } = decided;
            play.demo.screen.good(person, format_args!("approves with a passkey: {approvals} of {needed}"));
            Ok(())
        }
        Answered::No(problem) => {
            Err(differs(9, "an approval by passkey", format!("{}: {}", problem.rule, problem.detail)))
        }
    }
}

/// Waits until somebody presses Enter. Whoever presses Ctrl-C instead is not kept waiting: the thread ends with the process.
async fn enter() {
    let (pressed, waits) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        let _ = pressed.send(());
    });
    let _ = waits.await;
}

fn expect(status: u16, expected: u16) -> Result<(), DemoError> {
    if status == expected {
        return Ok(());
    }
    Err(differs(9, format!("status {expected} from payments"), status))
}

/// Whether a file, or any below a folder, holds these bytes.
fn holds(path: &Path, needle: &[u8]) -> std::io::Result<bool> {
    if !path.is_dir() {
        let bytes = std::fs::read(path)?;
        return Ok(bytes.windows(needle.len()).any(|window| window == needle));
    }
    for entry in std::fs::read_dir(path)? {
        if holds(&entry?.path(), needle)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_wherever_they_are() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/b"), "xx needle").unwrap();
        assert!(holds(dir.path(), b"needle").unwrap());
        assert!(!holds(dir.path(), b"needles").unwrap());
    }
}

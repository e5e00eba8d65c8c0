//! Two people who decide on one hold at the same moment.

use super::scene::{APPROVE, Console, REJECT, hold, plan};
use crate::suite::browser::page::Browser;

/// How often they race: whoever is first differs.
const ROUNDS: usize = 3;

/// Ada and Ben at browsers of their own.
async fn two() -> (Browser, Browser) {
    tokio::join!(Browser::start(), Browser::start())
}

/// Opens the hold in both browsers, has Ada sign a yes and Ben a no, and brings both to the gate at once. What Ada's page says, and
/// what Ben's says: where it leads, or what stands against it.
async fn race(
    console: &Console,
    (ada, ben): (&Browser, &Browser),
    hold: &str,
) -> (Result<String, String>, Result<String, String>) {
    for (browser, button) in [(ada, APPROVE), (ben, REJECT)] {
        console.open(browser, &format!("/holds/{hold}")).await;
        console.holds_back(browser, button).await;
    }
    tokio::join!(console.lets_go(ada), console.lets_go(ben))
}

/// What the ledger says of a plan, in its order.
async fn said(console: &Console, plan: &str) -> Vec<String> {
    let of_plan = console.stage.ledger().await.into_iter().filter(|record| record["plan"] == plan);
    of_plan.map(|record| record["body"]["kind"].as_str().unwrap().to_owned()).collect()
}

/// What both read when they open the request again.
async fn both_read(console: &Console, browsers: [&Browser; 2], hold: &str, words: &[&str]) {
    for browser in browsers {
        console.open(browser, &format!("/holds/{hold}")).await;
        let page = browser.text("main").await.to_lowercase();
        for word in words {
            assert!(page.contains(word), "{word}: {page}");
        }
        assert_eq!(browser.count(APPROVE).await + browser.count(REJECT).await, 0, "nothing is left to press");
    }
}

#[tokio::test]
async fn inv05_of_a_yes_and_a_no_at_once_one_counts_and_the_other_is_told() {
    let console = Console::started();
    let (one, two) = two().await;
    let _ada = console.person(&one, "ada", "ben").await;
    let _ben = console.person(&two, "ben", "ada").await;
    let mut starts = 1;
    for round in 0..ROUNDS {
        let proposed = console.propose(&[("process.restart", "sleeper")]).await;
        let (hold, plan) = (hold(&proposed), plan(&proposed));
        let (yes, no) = race(&console, (&one, &two), &hold).await;
        let there = format!("{}/plans/{plan}", console.origin);
        let ended = console.stage.ended(&plan).await;
        let records = said(&console, &plan).await;
        let count = |kind: &str| records.iter().filter(|said| *said == kind).count();
        match (&yes, &no) {
            (Ok(page), Err(refusal)) => {
                assert_eq!((page, ended.as_str()), (&there, "succeeded"), "{round}");
                assert!(refusal.contains("does not wait for people"), "{round}: {refusal}");
                assert_eq!(
                    (count("approved"), count("rejected"), count("claimed")),
                    (1, 0, 1),
                    "{records:?}"
                );
                starts += 1;
                both_read(&console, [&one, &two], &hold, &["succeeded", "ada approved"]).await;
            }
            (Err(refusal), Ok(page)) => {
                assert_eq!((page, ended.as_str()), (&there, "rejected"), "{round}");
                assert!(refusal.contains("is `rejected` and does not wait for people"), "{round}: {refusal}");
                assert_eq!(
                    (count("approved"), count("rejected"), count("permitted")),
                    (0, 1, 0),
                    "{records:?}"
                );
                both_read(&console, [&one, &two], &hold, &["rejected", "ben rejected"]).await;
            }
            (Ok(_), Ok(_)) | (Err(_), Err(_)) => panic!("{round}: {yes:?} {no:?} {records:?}"),
        }
        assert_eq!(console.stage.starts("sleeper"), starts, "{round}");
    }
}

#[tokio::test]
async fn inv05_where_two_must_approve_a_no_beats_a_yes_whichever_comes_first() {
    let console = Console::at("T4");
    let (one, two) = two().await;
    let _ada = console.person(&one, "ada", "ben").await;
    let _ben = console.person(&two, "ben", "ada").await;
    for round in 0..ROUNDS {
        let proposed = console.propose(&[("process.restart", "sleeper")]).await;
        let (hold, plan) = (hold(&proposed), plan(&proposed));
        let (yes, no) = race(&console, (&one, &two), &hold).await;
        assert_eq!(no, Ok(format!("{}/plans/{plan}", console.origin)), "{round}: a no always counts");
        if let Err(refusal) = &yes {
            assert!(refusal.contains("is `rejected` and does not wait for people"), "{round}: {refusal}");
        }
        assert_eq!(console.stage.ended(&plan).await, "rejected", "{round}");
        let records = said(&console, &plan).await;
        let count = |kind: &str| records.iter().filter(|said| *said == kind).count();
        assert_eq!(count("approved"), usize::from(yes.is_ok()), "{round}: {records:?}");
        assert_eq!((count("rejected"), count("permitted")), (1, 0), "{round}: {records:?}");
        both_read(&console, [&one, &two], &hold, &["rejected", "ben rejected"]).await;
    }
    assert_eq!(console.stage.starts("sleeper"), 1);
}

//! Texts of agents and of target systems, as hostile as they come, in a real browser: nothing runs, nothing becomes an element,
//! nothing hides. The texts stand in `testdata/hostile.txt`.

use serde_json::{Value, json};

use super::{
    judge::{Seen, hidden_in, judged, watched},
    scene::{APPROVE, Console, edit, hold, plan, read},
    texts::{Kind, Text, texts},
    world::World,
};
use crate::suite::{browser::page::Browser, stage::client};

/// Fields of a proposal that take any text.
const WORDS: [&str; 3] = ["summary", "reason", "confidence"];
/// Fields of which nothing is shown but a commitment.
const UNSEEN: [&str; 3] = ["prompt", "model", "transcript"];
/// Pages on which something of every plan stands.
const PAGES: [&str; 8] =
    ["/", "/runs", "/agents", "/incidents/inc-1", "/policies", "/ledger", "/figures", "/reviews"];

/// An agent, and the one token that it shows.
struct Agent {
    url: String,
    token: String,
    client: reqwest::Client,
}

impl Agent {
    fn of(console: &Console) -> Self {
        Self { url: console.stage.url("/v1/plans"), token: console.stage.agent(), client: client() }
    }

    async fn asks(&self, body: &Value) -> (u16, Value) {
        let answer = self.client.post(&self.url).bearer_auth(&self.token).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Proposes what waits for a person, with this text in every field that takes any.
    async fn proposes(&self, [action, target, trigger]: [&str; 3], text: &str) -> Value {
        let mut body = json!({"action": action, "target": target, "trigger": trigger, "incident": "inc-1"});
        for field in WORDS.into_iter().chain(UNSEEN) {
            body[field] = json!(text);
        }
        let (status, answer) = self.asks(&body).await;
        assert_eq!(status, 202, "{text:?}: {answer}");
        answer
    }
}

const RESTART: [&str; 3] = ["process.restart", "sleeper", "process.running"];
const SWITCH: [&str; 3] = ["flags.disable", "offers", "page.up"];

/// What a page of the console is made of.
async fn opened(console: &Console, browser: &Browser, path: &str) -> Seen {
    console.open(browser, path).await;
    judged(browser).await
}

#[tokio::test]
async fn the_judge_sees_every_text_that_runs_where_nothing_is_escaped() {
    let world = World::serve().await;
    let browser = Browser::start().await;
    watched(&browser).await;
    world.say("harmless");
    browser.goto(&world.url("/raw")).await;
    let plain = judged(&browser).await;
    let mut ran = 0;
    for Text { kind, text, .. } in texts().iter().filter(|text| text.kind != Kind::Inert) {
        world.say(text);
        browser.goto(&world.url("/raw")).await;
        let seen = judged(&browser).await;
        match kind {
            Kind::Runs => assert!(!seen.is_as_tame_as(&plain), "{text:?} was not seen"),
            // What a parser of HTML leaves as it is.
            Kind::Hidden if !text.contains(['\0', '\r']) => {
                assert_ne!(seen.hidden, "", "{text:?} was not seen")
            }
            Kind::Hidden | Kind::Imitates | Kind::Inert => {}
        }
        ran += usize::from(seen.ran);
    }
    assert!(ran >= 25, "only {ran} of them ran where everything may");
}

#[tokio::test]
async fn t14_t15_what_an_agent_writes_runs_nothing_and_hides_nothing_in_a_browser() {
    let console = Console::with("T1", |stage| {
        edit(stage, "holdpoint.yaml", "timings: {", "max_waiting: 1000\ntimings: {");
    });
    let browser = Browser::start().await;
    let _ada = console.person(&browser, "ada", "ben").await;
    watched(&browser).await;
    let agent = Agent::of(&console);
    let first = agent.proposes(RESTART, "harmless").await;
    let tame = opened(&console, &browser, &format!("/holds/{}", hold(&first))).await;
    let mut plans = Vec::new();
    for text in texts() {
        let of = agent.proposes(RESTART, &text.text).await;
        let path = format!("/holds/{}", hold(&of));
        opened(&console, &browser, &path).await.assert_tame(&tame, &format!("{path}: {:?}", text.text));
        assert_shown(&browser, &text).await;
        plans.push(format!("/plans/{}", plan(&of)));
    }
    let some = plans.into_iter().step_by(20);
    for path in PAGES.map(str::to_owned).into_iter().chain(some) {
        opened(&console, &browser, &path).await.assert_quiet(&path);
    }
    assert_eq!(console.stage.starts("sleeper"), 1);
}

/// A text stands in the marked box as it is, what hides in it as escapes.
async fn assert_shown(browser: &Browser, text: &Text) {
    let shown = browser.run("return document.querySelector('.foreign').textContent", Vec::new()).await;
    let shown = shown.as_str().unwrap();
    let marks =
        "return [...document.querySelectorAll('.foreign mark')].map((mark) => mark.textContent).join(' ')";
    let marked = browser.run(marks, Vec::new()).await.as_str().unwrap().to_owned();
    for c in hidden_in(browser, &text.text).await {
        let escape = if c == '\t' { "\\t".to_owned() } else { format!("\\u{{{:04X}}}", u32::from(c)) };
        assert!(marked.contains(&escape), "{:?}: {escape} is not marked: {marked}", text.text);
    }
    for c in &text.imitating {
        let escape = format!("\\u{{{:04X}}}", u32::from(*c));
        assert!(marked.contains(&escape), "{:?}: {escape} is not marked: {marked}", text.text);
    }
    if matches!(text.kind, Kind::Runs | Kind::Inert) {
        assert_eq!(marked, "", "{:?}: nothing of it hides", text.text);
        let whole = text.text.replace('\\', "\\\\");
        assert_eq!(
            shown.matches(&whole).count(),
            WORDS.len(),
            "{:?} is not there as it is: {shown}",
            text.text
        );
    }
}

#[tokio::test]
async fn t14_t15_names_that_are_none_are_refused_and_stand_on_no_page() {
    let console = Console::started();
    let browser = Browser::start().await;
    let _ada = console.person(&browser, "ada", "ben").await;
    watched(&browser).await;
    let agent = Agent::of(&console);
    agent.proposes(RESTART, "harmless").await;
    let [action, target, trigger] = RESTART;
    let named = json!({"action": action, "target": target, "trigger": trigger, "incident": "inc-1"});
    for Text { text, .. } in texts() {
        for field in ["action", "target", "trigger", "incident"] {
            let mut body = named.clone();
            body[field] = json!(text);
            assert_eq!(agent.asks(&body).await.0, 400, "{field}: {text:?}");
        }
        for params in [json!({text.as_str(): 1}), json!({"size": text})] {
            let mut body = named.clone();
            body["params"] = params;
            let status = agent.asks(&body).await.0;
            assert!((400..500).contains(&status), "{text:?}: {status}");
        }
    }
    let ledger: Vec<_> =
        console.stage.ledger().await.iter().map(|record| record["body"].to_string()).collect();
    assert!(!ledger.iter().any(|body| body.contains("__pwned")), "a refused text is in the ledger");
    for path in PAGES {
        opened(&console, &browser, path).await.assert_quiet(path);
    }
}

#[tokio::test]
async fn t15_what_a_person_writes_in_an_emergency_is_text_for_the_other_one() {
    let console = Console::started();
    let (one, two) = tokio::join!(Browser::start(), Browser::start());
    let _ada = console.person(&one, "ada", "ben").await;
    let _ben = console.person(&two, "ben", "ada").await;
    watched(&two).await;
    let broken = async |reason: &str| {
        console.open(&one, "/break-glass").await;
        let filled = "const form = document.querySelector('form.fields');
            const fields = {action: 'process.restart', target: 'sleeper', reason: arguments[0]};
            for (const [name, value] of Object.entries(fields)) form.elements[name].value = value;
            form.requestSubmit();";
        one.run(filled, vec![json!(reason)]).await;
        one.until_url("held", |url| url.contains("/holds/")).await
    };
    let held = broken("harmless, and long enough").await;
    two.goto(&held).await;
    let tame = judged(&two).await;
    for reason in reasons() {
        two.goto(&broken(&reason).await).await;
        judged(&two).await.assert_tame(&tame, &reason);
    }
}

/// All texts, as many in each reason as a form has room for.
fn reasons() -> Vec<String> {
    let mut reasons = vec![String::new()];
    for Text { text, .. } in texts() {
        let last = reasons.last_mut().unwrap();
        // In a form a byte may take three.
        if 3 * (last.len() + text.len()) > 1_800 {
            reasons.push(text);
        } else {
            *last += &format!("{text}\n");
        }
    }
    reasons
}

#[tokio::test]
async fn t15_what_a_target_says_stands_on_no_page() {
    let world = World::serve().await;
    let console = Console::with("T1", |stage| world.is_watched(stage));
    let browser = Browser::start().await;
    let _ada = console.person(&browser, "ada", "ben").await;
    watched(&browser).await;
    let path_of = |of: &Value| format!("/holds/{}", hold(of));
    let agent = Agent::of(&console);
    let restart = agent.proposes(RESTART, "harmless").await;
    let switch = agent.proposes(SWITCH, "harmless").await;
    let tame = [
        opened(&console, &browser, &path_of(&restart)).await,
        opened(&console, &browser, &path_of(&switch)).await,
    ];
    // Its page, the reason and the headers of its answers, its metrics, and the file that it is: all at once.
    let all: Vec<_> = texts().into_iter().map(|text| text.text).collect();
    world.say(&all.join("\n"));
    world.writes_flags(&console.stage, &all);
    let restart = agent.proposes(RESTART, "harmless").await;
    let switch = agent.proposes(SWITCH, "harmless").await;
    for (of, tame) in [&restart, &switch].into_iter().zip(&tame) {
        opened(&console, &browser, &path_of(of)).await.assert_tame(tame, &path_of(of));
    }
    // It runs over what the target says, and what comes of it is told in our own words.
    for of in [&restart, &switch] {
        console.open(&browser, &path_of(of)).await;
        console.signs(&browser, APPROVE, &format!("/plans/{}", plan(of))).await;
        assert_eq!(console.stage.ended(&plan(of)).await, "succeeded", "{}", console.stage.log());
    }
    assert!(read(&console.stage, "flags.json").contains("DISABLED"));
    // One more, whose target is not what it was, and no flag at all any more.
    edit(&console.stage, "flags.json", "DISABLED", "ENABLED");
    let late = agent.proposes(SWITCH, "harmless").await;
    console.open(&browser, &path_of(&late)).await;
    console.stage.write("flags.json", &all.join("\n"));
    console.signs(&browser, APPROVE, &format!("/plans/{}", plan(&late))).await;
    assert_ne!(console.stage.ended(&plan(&late)).await, "succeeded");
    let plans = [&restart, &switch, &late].map(|of| format!("/plans/{}", plan(of)));
    let ledger = console.stage.ledger().await;
    let bodies = ledger.iter().map(|record| record["body"].to_string());
    assert_eq!(
        bodies.filter(|body| body.contains("__pwned")).count(),
        0,
        "a target's words are in the ledger"
    );
    for path in PAGES.map(str::to_owned).into_iter().chain(plans) {
        opened(&console, &browser, &path).await.assert_quiet(&path);
        let text = browser.run("return document.documentElement.textContent", Vec::new()).await;
        assert!(!text.as_str().unwrap().contains("__pwned"), "{path}: a target's words are on the page");
    }
}

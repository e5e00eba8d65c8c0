//! Faults of public SRE benchmarks, put before the gate as it ships: its catalogue, policy, guardrails and limits decide, and only
//! what is outside is scripted. Files are in `testdata/scenarios/`, and `docs/scenarios.md` says what is played and what is not.

mod file;
mod play;

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{Tier, flow::State};

use self::{
    file::{Benchmark, Effect, Judgement, Measured, Outcome, Scenario},
    play::{Site, Texts, bytes, play},
};
use crate::config::{ConfigError, parse_text};

#[path = "../../domain/testdata/corpora/mod.rs"]
#[allow(dead_code, reason = "elsewhere attacks are told apart by their form")]
mod corpora;

/// Each file is one scenario, and has its name.
fn files() -> BTreeMap<String, String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/scenarios");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let yaml = paths.filter(|path| path.extension().is_some_and(|end| end == "yaml"));
    let named = |path: std::path::PathBuf| {
        (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap())
    };
    yaml.map(named).collect()
}

fn read(name: &str, text: &str) -> Result<Scenario, ConfigError> {
    let scenario: Scenario = parse_text(name, text)?;
    assert_eq!(scenario.id, name, "a file has the name of its scenario");
    let said = [&scenario.source.path, &scenario.source.problem, &scenario.fault, &scenario.mitigation];
    assert!(said.iter().all(|text| text.len() > 3), "{name} does not say what it is");
    assert!(scenario.fault.len() > 20 && scenario.mitigation.len() > 20, "{name} says too little");
    Ok(scenario)
}

fn scenarios() -> Vec<Scenario> {
    let scenarios: Vec<_> = files().iter().map(|(name, text)| read(name, text).unwrap()).collect();
    assert!(scenarios.len() >= 25, "only {} are left", scenarios.len());
    scenarios
}

fn sites(scenarios: &[Scenario]) -> BTreeMap<String, Site> {
    let names: BTreeSet<_> = scenarios.iter().map(|scenario| scenario.application.clone()).collect();
    names.into_iter().map(|name| (name.clone(), Site::load(&name))).collect()
}

/// What the first scenario with such a proposal says, and at which site.
fn some(is_it: impl Fn(&file::Act) -> bool) -> (Site, Scenario, file::Act) {
    let found = scenarios().into_iter().find_map(|scenario| {
        let act = scenario.proposals.iter().find(|act| is_it(act))?.clone();
        Some((Site::load(&scenario.application), scenario, act))
    });
    found.expect("there is such a proposal")
}

fn runs_well(act: &file::Act) -> bool {
    let succeeds = act.then.as_ref().is_some_and(|then| then.ends == State::Succeeded);
    act.expect.answer == Outcome::Allow && succeeds
}

#[test]
fn inv10_inv16_each_scenario_is_answered_as_its_file_says() {
    let scenarios = scenarios();
    let sites = sites(&scenarios);
    let mut faults = Vec::new();
    for scenario in &scenarios {
        let site = &sites[&scenario.application];
        let later = scenario.proposals.iter().filter_map(|act| act.then.as_ref()?.measured.as_ref());
        for measured in std::iter::once(&scenario.measured).chain(later) {
            faults.extend(
                site.strangers(measured)
                    .into_iter()
                    .map(|name| format!("{}: {name} is nothing", scenario.id)),
            );
        }
        for (number, act) in (1..).zip(&scenario.proposals) {
            let played = play(site, scenario, act);
            faults.extend(played.err().map(|fault| format!("{}, proposal {number}: {fault}", scenario.id)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Alert, log and the agent's words, in the place of which every attack of the corpus stands once at least.
#[test]
fn inv10_t35_no_text_of_a_scenario_changes_a_byte_of_its_decision() {
    let scenarios = scenarios();
    let sites = sites(&scenarios);
    let attacks = corpora::attacks();
    let acts: Vec<_> = scenarios
        .iter()
        .flat_map(|scenario| scenario.proposals.iter().map(move |act| (scenario, act)))
        .collect();
    let each = attacks.len().div_ceil(acts.len());
    let mut attacks = attacks.iter().cycle();
    for (scenario, act) in acts {
        let site = &sites[&scenario.application];
        let own = Texts { words: &act.words, alert: &scenario.alert, log: &scenario.log };
        let plain = bytes(site, scenario, act, own);
        for attack in attacks.by_ref().take(each) {
            let hostile = Texts { words: &attack.text, alert: &attack.text, log: &attack.text };
            let attacked = bytes(site, scenario, act, hostile);
            assert!(attacked == plain, "{}: {} changes it: {}", scenario.id, attack.family, attack.text);
        }
    }
}

/// What is compared would show a difference: other evidence makes other bytes, and another answer.
#[test]
fn what_is_measured_does_change_it() {
    let (site, scenario, act) = some(runs_well);
    let texts = Texts { words: "", alert: "", log: "" };
    let quiet = Scenario { measured: Measured::new(), ..scenario.clone() };
    assert_ne!(bytes(&site, &scenario, &act, texts), bytes(&site, &quiet, &act, texts));
    assert!(play(&site, &scenario, &act).is_ok() && play(&site, &quiet, &act).is_err());
}

#[test]
fn a_scenario_that_expects_something_else_fails() {
    let (site, scenario, right) = some(runs_well);
    assert!(play(&site, &scenario, &right).is_ok());
    let mut wrong = vec![right.clone(); 7];
    wrong[0].expect.answer = Outcome::Hold;
    wrong[1].expect.tier = Some(Tier::T1);
    wrong[2].expect.reasons.insert("halted".to_owned());
    wrong[3].expect.reasons.pop_first();
    wrong[4].then = None;
    wrong[5].then.as_mut().unwrap().ends = State::Failed;
    wrong[6].then.as_mut().unwrap().effect = Effect::DoesNotHelp;
    for act in &wrong {
        assert!(play(&site, &scenario, act).is_err(), "{act:?}");
    }
}

#[test]
fn a_file_with_a_key_that_nobody_knows_is_refused() {
    let (name, text) = files().pop_first().unwrap();
    assert!(read(&name, &text).is_ok());
    // At every depth: beside the first key of each mapping.
    let places = ["id: ", "  benchmark: ", "  - is: ", "    expect: {answer: "];
    for place in places {
        assert!(text.contains(place), "{place}");
        let indent: String = place.chars().take_while(|at| !at.is_alphabetic()).map(|_| ' ').collect();
        let known = if place.contains('{') {
            text.replacen("expect: {", "expect: {sure: yes, ", 1)
        } else {
            let at = text.find(place).unwrap();
            let line = text[at..].find('\n').map_or(text.len(), |end| at + end);
            format!("{}\n{indent}sure: 1{}", &text[..line], &text[line..])
        };
        let refused = parse_text::<Scenario>(&name, &known).unwrap_err().to_string();
        assert!(refused.contains("sure"), "{place}: {refused}");
    }
}

/// The table of the page, made from the files.
#[test]
fn the_page_counts_what_is_there() {
    let page = include_str!("../../../docs/scenarios.md");
    let table = table(&scenarios());
    let between = page
        .split_once("<!-- counted by a test: begin -->\n")
        .and_then(|(_, rest)| rest.split_once("<!-- counted by a test: end -->"))
        .map(|(between, _)| between.trim());
    assert!(between == Some(table.trim()), "docs/scenarios.md should have:\n\n{table}");
}

fn table(scenarios: &[Scenario]) -> String {
    let outcomes = [Outcome::Allow, Outcome::Hold, Outcome::Defer, Outcome::Deny, Outcome::Refuse];
    let mut table = "| benchmark | scenarios | proposals | allow | hold | defer | deny | refused |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    let mut row = |name: &str, of: &dyn Fn(&Scenario, &file::Act) -> bool| {
        let acts = |scenario: &&Scenario| scenario.proposals.iter().any(|act| of(scenario, act));
        let count = |counts: &dyn Fn(&file::Act) -> bool| {
            let all = scenarios
                .iter()
                .flat_map(|scenario| scenario.proposals.iter().filter(move |act| of(scenario, act)));
            all.filter(|act| counts(act)).count()
        };
        let mut cells = vec![scenarios.iter().filter(acts).count(), count(&|_| true)];
        cells.extend(outcomes.map(|outcome| count(&|act| act.expect.answer == outcome)));
        let cells: Vec<_> = cells.iter().map(ToString::to_string).collect();
        table.push_str(&format!("| {name} | {} |\n", cells.join(" | ")));
    };
    for benchmark in Benchmark::ALL {
        row(benchmark.name(), &|scenario, _| scenario.source.benchmark == benchmark);
    }
    row("all of them", &|_, _| true);
    row("of those, what would end the fault", &|_, act| act.is == Judgement::Right);
    row("of those, what would not, or does harm", &|_, act| act.is == Judgement::Wrong);
    table
}

//! A scenario, played: the gate as it ships, over fakes of what is outside.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use holdpoint_app::{
    approve::decide_hold,
    fake::{
        Deed, FakeSigner, FakeWorld, Pins, Probe, Setup, Stage,
        controls::{PEOPLE, id, passkey},
        decider,
        schedule::to_the_end,
        session, statement,
    },
    gate::{Controls, Gate, Ports},
    gather::Wish,
    judge::BundleJudge,
    port::Signer as _,
    propose::{Proposal, Proposed, propose},
    refusal::Refusal,
    review::owed,
    run::run,
    start::start,
    view::PlanView,
};
use holdpoint_domain::{
    Id,
    agent::{Person, Registry},
    approval::Choice,
    decision::Answer,
    digest::canonical,
    flow::State,
    guardrail::CATALOGUE_TIER,
    id::kind,
    plan::Narrative,
    trigger::Truth,
};

use super::file::{Act, Effect, Expected, Measured, Outcome, Scenario, Then};
use crate::config::{Config, Inputs, load_inputs, unmeasurable};

/// Every text that somebody other than the operator wrote.
#[derive(Clone, Copy)]
pub(super) struct Texts<'a> {
    pub(super) words: &'a str,
    pub(super) alert: &'a str,
    pub(super) log: &'a str,
}

/// The shipped inputs, with what one site added.
pub(super) struct Site {
    inputs: Inputs,
    registry: Registry,
}

impl Site {
    pub(super) fn load(application: &str) -> Self {
        let path = format!("{}/testdata/scenarios/sites/{application}.yaml", env!("CARGO_MANIFEST_DIR"));
        let config = Config::load(&PathBuf::from(path)).unwrap();
        let inputs = load_inputs(&config).unwrap();
        assert_eq!(unmeasurable(&inputs), Vec::<String>::new(), "{application}");
        let with_keys = |person: &Person| {
            let (name, seed) = PEOPLE.into_iter().find(|(name, _)| person.id.as_str() == *name).unwrap();
            let approval_key = Some(FakeSigner::new(seed).public_key());
            Person { approval_key, passkeys: vec![passkey(name, seed).passkey], ..person.clone() }
        };
        let people = inputs.registry.people().map(with_keys).collect();
        let registry = Registry::new(inputs.registry.agents().cloned().collect(), people).unwrap();
        Self { inputs, registry }
    }

    /// Names that nothing here has: what is measured of them would be measured of nothing.
    pub(super) fn strangers(&self, measured: &Measured) -> Vec<String> {
        let mut found = Vec::new();
        for (target, conditions) in measured {
            let known = self.inputs.inventory.target(target);
            found.extend(known.is_none().then(|| target.to_string()));
            for (condition, endpoints) in conditions {
                let probes = self.inputs.catalogue.condition(condition).map_or(&[][..], |of| &of.probes);
                let none = endpoints.keys().find(|at| !probes.iter().any(|probe| probe.endpoint == **at));
                found.extend(none.map(|endpoint| format!("{condition} at {endpoint}")));
            }
        }
        found
    }

    fn controls(&self, key: &holdpoint_domain::signature::PublicKey) -> Controls {
        let Inputs { catalogue, inventory, limits, roots, .. } = &self.inputs;
        Controls {
            executor_keys: catalogue.actions().map(|action| (action.executor.clone(), key.clone())).collect(),
            retired_permit_keys: Vec::new(),
            catalogue: catalogue.clone(),
            inventory: inventory.clone(),
            registry: self.registry.clone(),
            limits: limits.clone(),
            roots: roots.clone(),
        }
    }
}

/// A gate of the site, before which one scenario happens.
struct Scene {
    stage: Stage,
    world: Arc<FakeWorld>,
    gate: Gate,
}

impl Scene {
    fn new(site: &Site, scenario: &Scenario, act: &Act) -> Self {
        let stage = Stage::new(Setup::default());
        let catalogue = &site.inputs.catalogue;
        let executor = act.steps.iter().find_map(|step| catalogue.action(&step.action));
        let fakes = &stage.gate;
        let pins = Pins {
            gate: fakes.ports.permit_key.public_key(),
            log: stage.store.log_key(),
            approvers: site
                .registry
                .people()
                .map(|person| (person.id.clone(), person.credentials()))
                .collect(),
            executor: executor.map_or_else(|| id("none"), |action| action.executor.clone()),
        };
        let targets = site.inputs.inventory.targets().map(|target| target.id.clone());
        let world = Arc::new(FakeWorld::new(Arc::clone(&stage.clock), stage.store.size(), pins, targets));
        for target in &scenario.down {
            world.change(target.as_str(), |thing| thing.down = true);
        }
        let ports = Ports {
            prober: world.clone(),
            observer: world.clone(),
            issuer: world.clone(),
            executor: world.clone(),
            judge: Arc::new(BundleJudge::new(Arc::clone(&site.inputs.bundle), fakes.ports.clock.clone())),
            ..fakes.ports.clone()
        };
        let key = fakes.controls.executor_keys.values().next().unwrap();
        let gate = fakes.under(ports, site.controls(key)).unwrap();
        to_the_end(start(&gate)).unwrap();
        let scene = Self { stage, world, gate };
        scene.measure(site, &scenario.measured);
        scene
    }

    /// From now on the probes read this of what can justify an action. What shows that one has helped is as the target is.
    fn measure(&self, site: &Site, measured: &Measured) {
        let catalogue = &site.inputs.catalogue;
        let triggers: BTreeSet<_> = catalogue.actions().flat_map(|action| action.triggers.clone()).collect();
        for condition in &triggers {
            let mut reads = BTreeMap::new();
            for (target, conditions) in measured {
                for (endpoint, seen) in conditions.get(condition).into_iter().flatten() {
                    reads.insert((target.clone(), endpoint.clone()), seen.reading());
                }
            }
            self.world.probe(condition.as_str(), Probe::Reads(reads));
        }
        for action in catalogue.actions().filter(|action| !triggers.contains(&action.verify)) {
            let well = |healthy| if healthy { Truth::Holds } else { Truth::DoesNotHold };
            let of = Probe::Of(Box::new(move |thing| well(thing.healthy)));
            self.world.probe(action.verify.as_str(), of);
        }
    }

    fn ask(&self, act: &Act, texts: Texts<'_>) -> Result<Proposed, Refusal> {
        let wish = |step: &super::file::Wanted| Wish {
            action: step.action.clone(),
            target: step.target.clone(),
            params: step.params.clone(),
        };
        let proposal = Proposal {
            steps: act.steps.iter().map(wish).collect(),
            trigger: act.trigger.clone(),
            incident: None,
            narrative: Narrative {
                summary: texts.words.to_owned(),
                reason: texts.words.to_owned(),
                confidence: Some(texts.words.to_owned()),
            },
            prompt: Some(texts.alert.to_owned()),
            model: Some(texts.words.to_owned()),
            transcript: Some(texts.log.to_owned()),
        };
        to_the_end(propose(&self.gate, &decider(&act.agent).into(), proposal))
    }

    fn view(&self, plan: &Id<kind::Plan>) -> PlanView {
        to_the_end(self.stage.view(plan)).unwrap()
    }
}

/// What came back, and whether it is what the file says. The error says what is not.
pub(super) fn play(site: &Site, scenario: &Scenario, act: &Act) -> Result<Outcome, String> {
    let scene = Scene::new(site, scenario, act);
    let texts = Texts { words: &act.words, alert: &scenario.alert, log: &scenario.log };
    let asked = scene.ask(act, texts);
    let got = answer(&asked);
    if got != act.expect {
        return Err(format!("expected {:?}, got {got:?}", act.expect));
    }
    match (&act.then, asked) {
        (Some(then), Ok(proposed)) => scene.go_on(site, &proposed, then)?,
        (Some(_), Err(_)) => return Err("what is refused does not go on".to_owned()),
        (None, _) if got.answer == Outcome::Allow => return Err("what is allowed goes on".to_owned()),
        (None, _) => {
            if !scene.world.trace().is_empty() {
                return Err("something was touched".to_owned());
            }
        }
    }
    Ok(got.answer)
}

fn answer(asked: &Result<Proposed, Refusal>) -> Expected {
    match asked {
        Ok(Proposed { decision, .. }) => {
            let ids = decision.reasons.iter().map(|reason| reason.rule.to_string());
            let may_run = matches!(decision.answer, Answer::Allow | Answer::Hold);
            Expected {
                answer: decision.answer.into(),
                tier: may_run.then_some(decision.tier),
                reasons: ids.filter(|id| id != CATALOGUE_TIER).collect(),
            }
        }
        Err(refusal) => {
            let reasons = [refusal.rule.to_owned()].into();
            Expected { answer: Outcome::Refuse, tier: None, reasons }
        }
    }
}

impl Scene {
    /// Approves and runs it, and looks at how it ended.
    fn go_on(&self, site: &Site, proposed: &Proposed, then: &Then) -> Result<(), String> {
        for person in &then.approved_by {
            let terms = proposed.terms.as_ref().ok_or("it waits for nobody")?;
            let signed = statement(person, terms, Choice::Approve);
            to_the_end(decide_hold(&self.gate, &session(person), &terms.hold, signed))
                .map_err(|refusal| format!("{person} may not approve: {refusal:?}"))?;
        }
        if let Some(measured) = &then.measured {
            self.measure(site, measured);
        }
        self.world.apply(match then.effect {
            Effect::Helps => Deed::Works,
            Effect::DoesNotHelp => Deed::NoHelp,
        });
        let ended = to_the_end(run(&self.gate, &proposed.id)).map_err(|refusal| format!("{refusal:?}"))?;
        if ended != then.ends {
            return Err(format!("expected it to end as `{}`, got `{ended}`", then.ends));
        }
        let view = self.view(&proposed.id);
        if view.state != ended || !self.world.live_leases().is_empty() {
            return Err(format!("it is recorded as `{}`, or left a lease", view.state));
        }
        if ended == State::Void {
            let untouched = self.world.trace().is_empty() && !view.worse.is_empty();
            return untouched
                .then_some(())
                .ok_or_else(|| "what is void touches nothing, and says why".to_owned());
        }
        let touched =
            |step: &holdpoint_domain::plan::Step| self.world.thing(step.target.as_str()).effects > 0;
        if !proposed.plan.steps().iter().all(touched) {
            return Err("a target was not touched".to_owned());
        }
        // Whatever ran without a person, and whatever went badly, is looked at.
        let looks = then.approved_by.is_empty() || ended != State::Succeeded;
        let owes = to_the_end(owed(&self.gate)).map_err(|refusal| format!("{refusal:?}"))?;
        if looks && (owes.is_empty() || view.review_due.is_none()) {
            return Err("nobody owes a review".to_owned());
        }
        Ok(())
    }
}

/// Every byte of the decision, or of the refusal in its place.
pub(super) fn bytes(site: &Site, scenario: &Scenario, act: &Act, texts: Texts<'_>) -> Vec<Vec<u8>> {
    match Scene::new(site, scenario, act).ask(act, texts) {
        Ok(Proposed { decision, facts, plan, evidence, .. }) => {
            vec![
                canonical(&decision).unwrap(),
                canonical(&facts).unwrap(),
                canonical(&plan).unwrap(),
                canonical(&evidence).unwrap(),
            ]
        }
        Err(refusal) => vec![format!("{refusal:?}").into_bytes()],
    }
}

//! Every mirror has the fields, or the words, of what it mirrors.

use std::collections::BTreeSet;

use holdpoint_domain::{
    action, aftercare, aftermath as domain_aftermath, approval, blast, change, decision,
    facts as domain_facts, fate, halt, limits, plan as domain_plan, quorum, reconcile as domain_reconcile,
    signed::Signed, trigger,
};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;
use crate::http::schema::words::names;

/// The fields of a struct's schema, or the words of an enum's.
fn shown<M: JsonSchema>() -> BTreeSet<String> {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let schema = SchemaGenerator::new(settings).into_root_schema_for::<M>();
    let fields = |schema: &Value| -> Vec<String> {
        let listed = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        listed.map(|(name, _)| name.clone()).collect()
    };
    let mut shown: BTreeSet<String> = fields(schema.as_value()).into_iter().collect();
    for variant in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        shown.extend(fields(variant));
        let words =
            variant.get("enum").and_then(Value::as_array).into_iter().flatten().chain(variant.get("const"));
        shown.extend(words.filter_map(Value::as_str).map(str::to_owned));
    }
    shown
}

#[track_caller]
fn mirrors<M: JsonSchema, T: DeserializeOwned>() {
    let own: BTreeSet<_> = names::<T>().iter().map(|name| (*name).to_owned()).collect();
    assert!(!own.is_empty(), "{} lists nothing", std::any::type_name::<T>());
    assert_eq!(shown::<M>(), own, "{}", std::any::type_name::<T>());
}

#[test]
fn every_mirror_has_the_fields_of_what_it_mirrors() {
    mirrors::<Plan, domain_plan::Plan>();
    mirrors::<Requester, domain_plan::Requester>();
    mirrors::<Step, domain_plan::Step>();
    mirrors::<ParamValue, domain_plan::ParamValue>();
    mirrors::<Decision, decision::Decision>();
    mirrors::<DecisionReason, decision::Reason>();
    mirrors::<ReasonEffect, decision::ReasonEffect>();
    mirrors::<TreeHead, approval::TreeHead>();
    mirrors::<HoldTerms, approval::HoldTerms>();
    mirrors::<Statement, approval::Statement>();
    mirrors::<SignedStatement, approval::SignedStatement>();
    mirrors::<Facts, domain_facts::Facts>();
    mirrors::<Principal, domain_facts::Principal>();
    mirrors::<ActionFacts, domain_facts::ActionFacts>();
    mirrors::<TargetFacts, domain_facts::TargetFacts>();
    mirrors::<TriggerFacts, domain_facts::TriggerFacts>();
    mirrors::<UndoFacts, domain_facts::UndoFacts>();
    mirrors::<Provenance, domain_facts::Provenance>();
    mirrors::<Standing, domain_facts::Standing>();
    mirrors::<Brakes, domain_facts::Brakes>();
    mirrors::<Inputs, domain_facts::Inputs>();
    mirrors::<OverBudget, domain_facts::OverBudget>();
    mirrors::<Neighbour, domain_facts::Neighbour>();
    mirrors::<Shared, fate::Shared>();
    mirrors::<Nearness, domain_facts::Nearness>();
    mirrors::<Tripped, domain_facts::Tripped>();
    mirrors::<Reading, trigger::Reading>();
    mirrors::<Agreement, trigger::Agreement>();
    mirrors::<Evidence, trigger::Evidence>();
    mirrors::<SignedEvidence, trigger::SignedEvidence>();
    mirrors::<Blast, blast::Blast>();
    mirrors::<BlastCap, action::BlastCap>();
    mirrors::<Action, action::Action>();
    mirrors::<Quorum, quorum::Quorum>();
    mirrors::<Missing, quorum::Missing>();
    mirrors::<Condition, trigger::Condition>();
    mirrors::<Probe, trigger::Probe>();
    mirrors::<ProcessExpect, trigger::ProcessExpect>();
    mirrors::<Comparison, trigger::Comparison>();
    mirrors::<Expected, trigger::Expected>();
    mirrors::<ChangeTerms, change::ChangeTerms>();
    mirrors::<ChangeStatement, change::ChangeStatement>();
    mirrors::<SignedChangeStatement, Signed<change::ChangeStatement>>();
    mirrors::<Answers, aftercare::Answers>();
    mirrors::<ReviewStatement, aftercare::ReviewStatement>();
    mirrors::<SignedReviewStatement, Signed<aftercare::ReviewStatement>>();
    mirrors::<ResolutionStatement, aftercare::ResolutionStatement>();
    mirrors::<SignedResolutionStatement, Signed<aftercare::ResolutionStatement>>();
    mirrors::<Account, domain_reconcile::Account>();
    mirrors::<AccountWords, domain_reconcile::Words>();
    mirrors::<ReconcileStatement, domain_reconcile::ReconcileStatement>();
    mirrors::<SignedReconcileStatement, Signed<domain_reconcile::ReconcileStatement>>();
    mirrors::<Halt, halt::Halt>();
    mirrors::<Budget, limits::Budget>();
    mirrors::<Starts, limits::Starts>();
    mirrors::<Freeze, limits::Freeze>();
    mirrors::<PlanLimit, limits::PlanLimit>();
    mirrors::<Neighbourhood, limits::Neighbourhood>();
    mirrors::<Breaker, limits::Breaker>();
    mirrors::<ErrorBudget, limits::ErrorBudget>();
    mirrors::<Aftermath, domain_aftermath::Aftermath>();
    mirrors::<Moved, domain_aftermath::Moved>();
    mirrors::<Unknown, domain_aftermath::Unknown>();
    mirrors::<TargetAfter, domain_aftermath::TargetAfter>();
}

#[test]
fn the_words_of_an_enum_are_its_own() {
    assert_eq!(names::<approval::Choice>(), ["approve", "reject"]);
    assert_eq!(names::<domain_facts::FactsType>(), ["holdpoint/facts/v1"]);
    assert!(names::<u64>().is_empty());
}

#[test]
fn tagged_lists_are_what_the_domain_reads() {
    // serde does not list these: each word must be read, and none beside them.
    for (mirror, kinds) in [
        (shown_kinds::<ParamSpec>("type"), vec!["bool", "choice", "int", "secret"]),
        (
            shown_kinds::<Check>("kind"),
            vec!["alertmanager", "http", "http_json", "process", "prometheus", "promql", "sql", "tcp"],
        ),
    ] {
        assert_eq!(mirror, kinds);
    }
    let unknown = |text: &str| serde_json::from_str::<action::ParamSpec>(text).unwrap_err().to_string();
    assert!(unknown(r#"{"type":"?"}"#).contains("expected one of `int`, `bool`, `choice`, `secret`"));
    let unknown = |text: &str| serde_json::from_str::<trigger::Check>(text).unwrap_err().to_string();
    assert!(unknown(r#"{"kind":"?"}"#).contains("expected one of `http`, `tcp`, `process`, `prometheus`"));
    // Those that are structs of their own have the fields of these.
    for (kind, names) in [
        ("promql", names::<trigger::PromqlCheck>()),
        ("alertmanager", names::<trigger::AlertmanagerCheck>()),
        ("sql", names::<trigger::SqlCheck>()),
        ("http_json", names::<trigger::HttpJsonCheck>()),
    ] {
        let settings = SchemaSettings::draft2020_12().for_serialize();
        let schema = SchemaGenerator::new(settings).into_root_schema_for::<Check>();
        let variants = schema.get("oneOf").unwrap().as_array().unwrap();
        let variant = variants.iter().find(|variant| variant["properties"]["kind"]["const"] == kind).unwrap();
        let fields: BTreeSet<_> =
            variant["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let own: BTreeSet<_> = names.iter().copied().chain(["kind"]).collect();
        assert_eq!(fields, own, "{kind}");
    }
}

fn shown_kinds<M: JsonSchema>(tag: &str) -> Vec<String> {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let schema = SchemaGenerator::new(settings).into_root_schema_for::<M>();
    let word = |variant: &Value| variant["properties"][tag]["const"].as_str().unwrap().to_owned();
    let mut kinds: Vec<_> = schema.get("oneOf").unwrap().as_array().unwrap().iter().map(word).collect();
    kinds.sort();
    kinds
}

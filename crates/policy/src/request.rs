//! Facts as Cedar sees them: the entities of a request and its context.

use std::collections::{HashMap, HashSet};

use cedar_policy::{Context, Entities, Entity, EntityUid, Request, RestrictedExpression as Value};
use holdpoint_domain::{
    Oversight, Tier,
    action::{BlastCap, Reversibility, UndoKind},
    actor::Phase,
    agent::Person,
    facts::{Facts, Origin, Standing, TargetFacts},
    target::Criticality,
    trigger::Truth,
};

use crate::{
    ask::Consent,
    index::Concerned,
    narrow::{FIELDS, Fields},
    schema::{Known, Schema, THIS_GATE, uid},
};

/// Why facts cannot be asked about. Each is a denial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unasked {
    /// The catalogue that the bundle was loaded with has no such action, or another entry for it.
    #[error("the facts were gathered under another catalogue than the bundle was loaded with")]
    OtherCatalogue,
    /// Nobody knows the target.
    #[error("the inventory does not know the target")]
    UnknownTarget,
    /// Cedar refuses what we built: our fault.
    #[error("the request could not be built: {0}")]
    Built(String),
}

/// A request, complete but for the oversight.
pub(crate) struct Asked {
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
    pub(crate) entities: Entities,
    pub(crate) concerned: Concerned,
    /// The context without the oversight: record (none for a field of the context itself), field and value.
    common: Vec<(&'static str, &'static str, Value)>,
}

impl Asked {
    /// What an agent asks for.
    pub(crate) fn plan(schema: &Schema, facts: &Facts) -> Result<Self, Unasked> {
        let (known, target) = (known(schema, facts)?, facts.target.as_ref().ok_or(Unasked::UnknownTarget)?);
        let types = &schema.types;
        let principal = uid(&types.agent, facts.principal.agent.as_str());
        let team = uid(&types.team, facts.principal.team.as_str());
        let mut attributes = fields([
            ("team", Value::new_entity_uid(team.clone())),
            ("phase", text(phase(facts.principal.phase))),
        ]);
        if let Some(person) = &facts.principal.on_behalf_of {
            let person = uid(&types.person, person.as_str());
            attributes.push(("onBehalfOf".to_owned(), Value::new_entity_uid(person)));
        }
        let asker = Asker { uid: principal, attributes, within: vec![team] };
        Self::build(schema, asker, (&known.entity, &known.group_uids), target, plan_context(schema, facts)?)
    }

    /// What a person would approve.
    pub(crate) fn consent(schema: &Schema, consent: &Consent<'_>) -> Result<Self, Unasked> {
        let (known, target) =
            (known(schema, consent.facts)?, consent.facts.target.as_ref().ok_or(Unasked::UnknownTarget)?);
        let teams = consent.person.teams.iter().map(|team| uid(&schema.types.team, team.as_str())).collect();
        let person = uid(&schema.types.person, consent.person.id.as_str());
        let asker = Asker { uid: person, attributes: Vec::new(), within: teams };
        Self::build(schema, asker, (&schema.approve, &[]), target, consent_context(consent, known))
    }

    /// What a person would read.
    pub(crate) fn reading(schema: &Schema, person: &Person) -> Result<Self, Unasked> {
        let types = &schema.types;
        let teams: Vec<_> = person.teams.iter().map(|team| uid(&types.team, team.as_str())).collect();
        let (principal, resource) = (uid(&types.person, person.id.as_str()), uid(&types.gate, THIS_GATE));
        let action = &schema.read_ledger;
        let known = [
            entity(principal.clone(), Vec::new(), &teams)?,
            action.clone(),
            entity(resource.clone(), Vec::new(), &[])?,
        ];
        let entities = Entities::from_entities(known, None).map_err(built)?;
        let concerned = Concerned {
            principal: std::iter::once(&principal).chain(&teams).cloned().collect(),
            action: vec![action.uid()],
            resource: vec![resource.clone()],
        };
        Ok(Self { principal, action: action.uid(), resource, entities, concerned, common: Vec::new() })
    }

    fn build(
        schema: &Schema,
        asker: Asker,
        (action, groups): (&Entity, &[EntityUid]),
        target: &TargetFacts,
        common: Vec<(&'static str, &'static str, Value)>,
    ) -> Result<Self, Unasked> {
        let types = &schema.types;
        let (service, environment) = (
            uid(&types.service, target.service.as_str()),
            uid(&types.environment, target.environment.as_str()),
        );
        let principal = entity(asker.uid.clone(), asker.attributes, &asker.within)?;
        let resource_uid = uid(&types.target, target.id.as_str());
        let within = [service, environment];
        let resource = entity(resource_uid.clone(), target_attributes(schema, target, &within), &within)?;
        let entities = Entities::from_entities([principal, action.clone(), resource], None).map_err(built)?;
        let with =
            |first: &EntityUid, rest: &[EntityUid]| std::iter::once(first).chain(rest).cloned().collect();
        let concerned = Concerned {
            principal: with(&asker.uid, &asker.within),
            action: with(&action.uid(), groups),
            resource: with(&resource_uid, &within),
        };
        Ok(Self {
            principal: asker.uid,
            action: action.uid(),
            resource: resource_uid,
            entities,
            concerned,
            common,
        })
    }

    /// The request of an agent with this oversight, and of the rest of the context only these fields.
    pub(crate) fn under(&self, oversight: &Oversight, fields: Fields) -> Result<Request, Unasked> {
        let oversight = [
            ("reviewPromised", yes(oversight.review_promised)),
            ("approvals", number(oversight.approvals)),
            ("strong", yes(oversight.strong)),
            ("fresh", yes(oversight.fresh)),
        ];
        self.request(Some(("oversight".to_owned(), record(oversight)?)), fields)
    }

    /// The request of a person: there is no oversight in it.
    pub(crate) fn bare(&self) -> Result<Request, Unasked> {
        self.request(None, Fields::ALL)
    }

    fn request(&self, more: Option<(String, Value)>, fields: Fields) -> Result<Request, Unasked> {
        let mut context: Vec<(String, Value)> = more.into_iter().collect();
        let mut open: (&str, Vec<(String, Value)>) = ("", Vec::new());
        let wanted =
            self.common.iter().zip(0_u32..).filter(|(_, at)| fields.has(*at)).map(|(field, _)| field);
        for (of, name, value) in wanted {
            // Fields of a record stand together.
            if *of != open.0 {
                close(std::mem::replace(&mut open, (of, Vec::new())), &mut context)?;
            }
            open.1.push(((*name).to_owned(), value.clone()));
        }
        close(open, &mut context)?;
        let context = Context::from_pairs(context).map_err(built)?;
        let (principal, action, resource) =
            (self.principal.clone(), self.action.clone(), self.resource.clone());
        // No schema here: what we build fits it (tested), and checking again costs as much as deciding.
        Request::new(principal, action, resource, context, None).map_err(built)
    }
}

/// Puts a record into the context, or fields that belong into no record.
fn close(
    (name, fields): (&str, Vec<(String, Value)>),
    context: &mut Vec<(String, Value)>,
) -> Result<(), Unasked> {
    if name.is_empty() {
        context.extend(fields);
    } else {
        context.push((name.to_owned(), Value::new_record(fields).map_err(built)?));
    }
    Ok(())
}

struct Asker {
    uid: EntityUid,
    attributes: Vec<(String, Value)>,
    within: Vec<EntityUid>,
}

fn known<'s>(schema: &'s Schema, facts: &Facts) -> Result<&'s Known, Unasked> {
    let known = schema.actions.get(&facts.action.id).ok_or(Unasked::OtherCatalogue)?;
    if known.entry == facts.action.entry { Ok(known) } else { Err(Unasked::OtherCatalogue) }
}

fn target_attributes(schema: &Schema, target: &TargetFacts, within: &[EntityUid; 2]) -> Vec<(String, Value)> {
    let [service, environment] = within;
    fields([
        ("id", text(target.id.as_str())),
        ("service", Value::new_entity_uid(service.clone())),
        ("environment", Value::new_entity_uid(environment.clone())),
        ("owner", Value::new_entity_uid(uid(&schema.types.team, target.owner.as_str()))),
        ("criticality", text(target.criticality.as_str())),
        ("critical", yes(target.criticality == Criticality::Critical)),
        ("dataClasses", Value::new_set(target.data_classes.iter().map(|class| text(class.as_str())))),
        ("stateless", yes(target.stateless)),
        ("replicas", number(target.replicas)),
        ("down", yes(target.down)),
    ])
}

/// In the order of [`FIELDS`].
fn plan_context(schema: &Schema, facts: &Facts) -> Result<Vec<(&'static str, &'static str, Value)>, Unasked> {
    let (action, blast, brakes, provenance) = (&facts.action, &facts.blast, &facts.brakes, &facts.provenance);
    let agreement = &facts.trigger.agreement;
    let earned = match facts.standing {
        Standing::Earned(tier) => tier_number(tier),
        Standing::None => 0,
    };
    let environments = blast
        .environments
        .iter()
        .map(|it| Value::new_entity_uid(uid(&schema.types.environment, it.as_str())));
    let values: [Value; FIELDS.len()] = [
        text(facts.trigger.condition.as_str()),
        yes(agreement.truth == Truth::Holds),
        yes(agreement.truth == Truth::DoesNotHold),
        yes(agreement.truth == Truth::Indeterminate),
        number(agreement.holding),
        number(agreement.needed),
        number(agreement.sources),
        text(undo_kind(action.undo)),
        yes(facts.undo.computed),
        yes(facts.has_undo()),
        count(blast.targets.len()),
        count(blast.services.len()),
        count(blast.critical.len()),
        count(blast.unknown.len()),
        number(blast.replica_share_percent),
        Value::new_set(environments),
        count(blast.environments.len()),
        yes(provenance.tainted()),
        yes(provenance.target == Origin::Tainted),
        yes(provenance.action == Origin::Tainted),
        yes(provenance.scope == Origin::Tainted),
        yes(facts.principal.attested_build.is_some()),
        yes(facts.principal.accepted),
        Value::new_long(earned),
        yes(brakes.halted),
        yes(brakes.frozen),
        yes(brakes.suspended),
        yes(brakes.over_budget.is_some()),
        yes(brakes.counterpart_deleted),
        yes(brakes.input_refused),
        Value::new_long(tier_number(action.tier)),
        text(reversibility(action.reversibility)),
        yes(action.idempotent),
        yes(action.additive),
        cap(&action.cap)?,
        Value::new_long(i64::try_from(facts.at_ms.ms()).unwrap_or(i64::MAX)),
    ];
    Ok(FIELDS.iter().zip(values).map(|((record, field), value)| (*record, *field, value)).collect())
}

fn consent_context(consent: &Consent<'_>, known: &Known) -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("", "tier", Value::new_long(tier_number(consent.tier))),
        ("", "approvals", number(consent.approvals)),
        ("", "isRequester", yes(consent.is_requester)),
        ("", "agentOwner", yes(consent.is_agent_owner)),
        ("", "development", yes(consent.development)),
        ("", "tainted", yes(consent.facts.provenance.tainted())),
        ("", "action", text(consent.facts.action.id.as_str())),
        ("", "groups", Value::new_set(known.groups.iter().map(|group| text(group)))),
    ]
}

fn cap(cap: &BlastCap) -> Result<Value, Unasked> {
    record([
        ("targets", number(cap.targets)),
        ("services", number(cap.services)),
        ("critical", number(cap.critical)),
        ("environments", number(cap.environments)),
        ("replicaSharePercent", number(cap.replica_share_percent)),
    ])
}

fn entity(uid: EntityUid, attributes: Vec<(String, Value)>, within: &[EntityUid]) -> Result<Entity, Unasked> {
    let (attributes, within): (HashMap<_, _>, HashSet<_>) =
        (attributes.into_iter().collect(), within.iter().cloned().collect());
    Entity::new(uid, attributes, within).map_err(built)
}

fn built(err: impl std::fmt::Display) -> Unasked {
    Unasked::Built(err.to_string())
}

fn fields<const N: usize>(of: [(&str, Value); N]) -> Vec<(String, Value)> {
    of.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn record<const N: usize>(of: [(&str, Value); N]) -> Result<Value, Unasked> {
    Value::new_record(fields(of)).map_err(built)
}

fn text(value: &str) -> Value {
    Value::new_string(value.to_owned())
}

fn yes(value: bool) -> Value {
    Value::new_bool(value)
}

fn number(value: u32) -> Value {
    Value::new_long(i64::from(value))
}

fn count(value: usize) -> Value {
    Value::new_long(i64::try_from(value).unwrap_or(i64::MAX))
}

const fn tier_number(tier: Tier) -> i64 {
    match tier {
        Tier::T0 => 0,
        Tier::T1 => 1,
        Tier::T2 => 2,
        Tier::T3 => 3,
        Tier::T4 => 4,
        Tier::T5 => 5,
    }
}

const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Observe => "observe",
        Phase::Decide => "decide",
        Phase::Execute => "execute",
    }
}

const fn reversibility(reversibility: Reversibility) -> &'static str {
    match reversibility {
        Reversibility::ReadOnly => "read_only",
        Reversibility::Reversible => "reversible",
        Reversibility::ExternallyReversible => "externally_reversible",
        Reversibility::Irreversible => "irreversible",
    }
}

const fn undo_kind(kind: UndoKind) -> &'static str {
    match kind {
        UndoKind::Inverse => "inverse",
        UndoKind::PreviousRevision => "previous_revision",
        UndoKind::Snapshot => "snapshot",
        UndoKind::GitRevert => "git_revert",
        UndoKind::DeleteArtifact => "delete_artifact",
        UndoKind::SelfHeals => "self_heals",
        UndoKind::Compensate => "compensate",
        UndoKind::None => "none",
    }
}

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
    fields::Fields,
    index::Concerned,
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

/// A request, complete but for the oversight. What is made of it has only the fields that rules look at: building them is what
/// takes time.
pub(crate) struct Asked<'f> {
    principal: Entity,
    /// The person whom an agent acts for, with their teams.
    head: Option<Entity>,
    action: Entity,
    resource: EntityUid,
    within: Vec<EntityUid>,
    pub(crate) concerned: Concerned,
    about: About<'f>,
}

/// What the attributes of the resource and the context are made from.
enum About<'f> {
    /// Facts of a plan, and the target among them.
    Plan(&'f Schema, &'f Facts, &'f TargetFacts),
    /// The target of what a person would approve, and a context of fields that belong to no record.
    Consent(&'f Schema, &'f TargetFacts, Vec<(String, Value)>),
    /// Nothing but the entities.
    Bare,
}

impl<'f> Asked<'f> {
    /// What an agent asks for.
    pub(crate) fn plan(schema: &'f Schema, facts: &'f Facts) -> Result<Self, Unasked> {
        let (known, target) = (known(schema, facts)?, facts.target.as_ref().ok_or(Unasked::UnknownTarget)?);
        let types = &schema.types;
        let principal = uid(&types.agent, facts.principal.agent.as_str());
        let team = uid(&types.team, facts.principal.team.as_str());
        let via = facts.principal.via.iter();
        let via = via.map(|deputy| Value::new_entity_uid(uid(&types.agent, deputy.agent.as_str())));
        let mut attributes = fields([
            ("team", Value::new_entity_uid(team.clone())),
            ("phase", text(phase(facts.principal.phase))),
            ("via", Value::new_set(via)),
        ]);
        let mut head = None;
        if let Some(person) = &facts.principal.on_behalf_of {
            let person = uid(&types.person, person.as_str());
            attributes.push(("onBehalfOf".to_owned(), Value::new_entity_uid(person.clone())));
            let teams = facts.principal.on_behalf_of_teams.iter();
            let teams: Vec<_> = teams.map(|team| uid(&types.team, team.as_str())).collect();
            head = Some(entity(person, Vec::new(), &teams)?);
        }
        let principal = entity(principal, attributes, std::slice::from_ref(&team))?;
        let about = About::Plan(schema, facts, target);
        let asked =
            Self::on_target(schema, (principal, &[team]), (&known.entity, &known.group_uids), target, about);
        Ok(Self { head, ..asked })
    }

    /// What a person would approve.
    pub(crate) fn consent(schema: &'f Schema, consent: &Consent<'f>) -> Result<Self, Unasked> {
        let (known, target) =
            (known(schema, consent.facts)?, consent.facts.target.as_ref().ok_or(Unasked::UnknownTarget)?);
        let (person, teams) = person(schema, consent.person)?;
        let about = About::Consent(schema, target, consent_context(consent, known));
        Ok(Self::on_target(schema, (person, &teams), (&schema.approve, &[]), target, about))
    }

    /// What a person would do with the gate itself: the ledger's entries, or the console.
    pub(crate) fn of_gate(schema: &Schema, who: &Person, action: &Entity) -> Result<Self, Unasked> {
        let (person, teams) = person(schema, who)?;
        let (action, resource) = (action.clone(), uid(&schema.types.gate, THIS_GATE));
        let concerned = Concerned {
            principal: with(&person.uid(), &teams),
            action: vec![action.uid()],
            resource: vec![resource.clone()],
        };
        let (head, within) = (None, Vec::new());
        Ok(Self { principal: person, head, action, resource, within, concerned, about: About::Bare })
    }

    fn on_target(
        schema: &Schema,
        (principal, teams): (Entity, &[EntityUid]),
        (action, groups): (&Entity, &[EntityUid]),
        target: &TargetFacts,
        about: About<'f>,
    ) -> Self {
        let types = &schema.types;
        let resource = uid(&types.target, target.id.as_str());
        let within = vec![
            uid(&types.service, target.service.as_str()),
            uid(&types.environment, target.environment.as_str()),
        ];
        let concerned = Concerned {
            principal: with(&principal.uid(), teams),
            action: with(&action.uid(), groups),
            resource: with(&resource, &within),
        };
        Self { principal, head: None, action: action.clone(), resource, within, concerned, about }
    }

    /// The entities, of the resource's attributes only these.
    pub(crate) fn entities(&self, wanted: Fields) -> Result<Entities, Unasked> {
        let attributes = match &self.about {
            About::Plan(schema, _, target) | About::Consent(schema, target, _) => {
                let values = wanted
                    .of_the_target()
                    .map(|name| Ok((name.to_owned(), target_value(schema, target, name)?)));
                values.collect::<Result<_, Unasked>>()?
            }
            About::Bare => Vec::new(),
        };
        let resource = entity(self.resource.clone(), attributes, &self.within)?;
        let entities = [self.principal.clone(), self.action.clone(), resource].into_iter();
        Entities::from_entities(entities.chain(self.head.clone()), None).map_err(built)
    }

    /// The request of an agent, of its context only these fields. The oversight is left out for rules that do not look at it.
    pub(crate) fn under(&self, oversight: Option<&Oversight>, wanted: Fields) -> Result<Request, Unasked> {
        let mut context = Vec::new();
        if let Some(oversight) = oversight {
            let oversight = [
                ("reviewPromised", yes(oversight.review_promised)),
                ("approvals", number(oversight.approvals)),
                ("strong", yes(oversight.strong)),
                ("fresh", yes(oversight.fresh)),
            ];
            context.push(("oversight".to_owned(), record(oversight)?));
        }
        match &self.about {
            About::Plan(schema, facts, _) => plan_context(schema, facts, wanted, &mut context)?,
            About::Consent(_, _, fields) => context.extend_from_slice(fields),
            About::Bare => {}
        }
        self.request(context)
    }

    /// The request of a person: there is no oversight in it.
    pub(crate) fn bare(&self) -> Result<Request, Unasked> {
        self.under(None, Fields::ALL)
    }

    fn request(&self, context: Vec<(String, Value)>) -> Result<Request, Unasked> {
        let context = Context::from_pairs(context).map_err(built)?;
        let (principal, action, resource) = (self.principal.uid(), self.action.uid(), self.resource.clone());
        // No schema here: what we build fits it (tested), and checking again costs as much as deciding.
        Request::new(principal, action, resource, context, None).map_err(built)
    }
}

fn with(first: &EntityUid, rest: &[EntityUid]) -> Vec<EntityUid> {
    std::iter::once(first).chain(rest).cloned().collect()
}

/// A person, and the teams they are in.
fn person(schema: &Schema, person: &Person) -> Result<(Entity, Vec<EntityUid>), Unasked> {
    let types = &schema.types;
    let teams: Vec<_> = person.teams.iter().map(|team| uid(&types.team, team.as_str())).collect();
    Ok((entity(uid(&types.person, person.id.as_str()), Vec::new(), &teams)?, teams))
}

/// Puts the fields of a plan's context that are wanted into their records.
fn plan_context(
    schema: &Schema,
    facts: &Facts,
    wanted: Fields,
    context: &mut Vec<(String, Value)>,
) -> Result<(), Unasked> {
    let mut open: (&str, Vec<(String, Value)>) = ("", Vec::new());
    for (record, name) in wanted.of_context() {
        if record != open.0 {
            close(std::mem::replace(&mut open, (record, Vec::new())), context)?;
        }
        open.1.push((name.to_owned(), plan_value(schema, facts, record, name)?));
    }
    close(open, context)
}

/// Puts a record into the context.
fn close(
    (name, fields): (&str, Vec<(String, Value)>),
    context: &mut Vec<(String, Value)>,
) -> Result<(), Unasked> {
    if !fields.is_empty() {
        context.push((name.to_owned(), Value::new_record(fields).map_err(built)?));
    }
    Ok(())
}

fn known<'s>(schema: &'s Schema, facts: &Facts) -> Result<&'s Known, Unasked> {
    let known = schema.actions.get(&facts.action.id).ok_or(Unasked::OtherCatalogue)?;
    if known.entry == facts.action.entry { Ok(known) } else { Err(Unasked::OtherCatalogue) }
}

fn target_value(schema: &Schema, target: &TargetFacts, name: &str) -> Result<Value, Unasked> {
    let types = &schema.types;
    Ok(match name {
        "id" => text(target.id.as_str()),
        "service" => Value::new_entity_uid(uid(&types.service, target.service.as_str())),
        "environment" => Value::new_entity_uid(uid(&types.environment, target.environment.as_str())),
        "owner" => Value::new_entity_uid(uid(&types.team, target.owner.as_str())),
        "criticality" => text(target.criticality.as_str()),
        "critical" => yes(target.criticality == Criticality::Critical),
        "dataClasses" => Value::new_set(target.data_classes.iter().map(|class| text(class.as_str()))),
        "stateless" => yes(target.stateless),
        "replicas" => number(target.replicas),
        "down" => yes(target.down),
        _ => return Err(Unasked::Built(format!("nobody says what `resource.{name}` is"))),
    })
}

fn plan_value(schema: &Schema, facts: &Facts, record: &str, name: &str) -> Result<Value, Unasked> {
    let (action, blast, brakes, provenance) = (&facts.action, &facts.blast, &facts.brakes, &facts.provenance);
    let agreement = &facts.trigger.agreement;
    Ok(match (record, name) {
        ("trigger", "condition") => text(facts.trigger.condition.as_str()),
        ("trigger", "proven") => yes(agreement.truth == Truth::Holds),
        ("trigger", "refuted") => yes(agreement.truth == Truth::DoesNotHold),
        ("trigger", "indeterminate") => yes(agreement.truth == Truth::Indeterminate),
        ("trigger", "agreeing") => number(agreement.holding),
        ("trigger", "needed") => number(agreement.needed),
        ("trigger", "sources") => number(agreement.sources),
        ("undo", "kind") => text(undo_kind(action.undo)),
        ("undo", "computed") => yes(facts.undo.computed),
        ("undo", "counts") => yes(facts.has_undo()),
        ("blast", "targets") => count(blast.targets.len()),
        ("blast", "services") => count(blast.services.len()),
        ("blast", "critical") => count(blast.critical.len()),
        ("blast", "unknown") => count(blast.unknown.len()),
        ("blast", "replicaSharePercent") => number(blast.replica_share_percent),
        ("blast", "environments") => {
            let uids = blast.environments.iter().map(|it| uid(&schema.types.environment, it.as_str()));
            Value::new_set(uids.map(Value::new_entity_uid))
        }
        ("blast", "environmentCount") => count(blast.environments.len()),
        ("provenance", "tainted") => yes(provenance.tainted()),
        ("provenance", "targetTainted") => yes(provenance.target == Origin::Tainted),
        ("provenance", "actionTainted") => yes(provenance.action == Origin::Tainted),
        ("provenance", "scopeTainted") => yes(provenance.scope == Origin::Tainted),
        ("build", "attested") => yes(facts.principal.attested_build.is_some()),
        ("standing", "accepted") => yes(facts.principal.accepted),
        ("standing", "earned") => Value::new_long(match facts.standing {
            Standing::Earned(tier) => tier_number(tier),
            Standing::None => 0,
        }),
        ("brakes", "halted") => yes(brakes.halted),
        ("brakes", "frozen") => yes(brakes.frozen),
        ("brakes", "suspended") => yes(brakes.suspended),
        ("brakes", "overBudget") => yes(brakes.over_budget.is_some()),
        ("brakes", "counterpartDeleted") => yes(brakes.counterpart_deleted),
        ("brakes", "inputRefused") => yes(brakes.input_refused),
        ("brakes", "planLimit") => yes(brakes.plan_limit.is_some()),
        ("brakes", "neighbourhoodBusy") => yes(brakes.neighbour.is_some()),
        ("brakes", "ownDoing") => yes(brakes.own_doing.is_some()),
        ("brakes", "breakerOpen") => yes(brakes.breaker.is_some()),
        ("brakes", "errorBudgetSpent") => yes(brakes.error_budget.is_some()),
        ("brakes", "dependenciesUnread") => yes(brakes.dependencies_unread.is_some()),
        ("catalogue", "tier") => Value::new_long(tier_number(action.tier)),
        ("catalogue", "reversibility") => text(reversibility(action.reversibility)),
        ("catalogue", "idempotent") => yes(action.idempotent),
        ("catalogue", "additive") => yes(action.additive),
        ("catalogue", "cap") => cap(&action.cap)?,
        ("time", "atMs") => Value::new_long(i64::try_from(facts.at_ms.ms()).unwrap_or(i64::MAX)),
        _ => return Err(Unasked::Built(format!("nobody says what `context.{record}.{name}` is"))),
    })
}

fn consent_context(consent: &Consent<'_>, known: &Known) -> Vec<(String, Value)> {
    fields([
        ("tier", Value::new_long(tier_number(consent.tier))),
        ("approvals", number(consent.approvals)),
        ("isRequester", yes(consent.is_requester)),
        ("agentOwner", yes(consent.is_agent_owner)),
        ("strong", yes(consent.strong)),
        ("tainted", yes(consent.facts.provenance.tainted())),
        ("action", text(consent.facts.action.id.as_str())),
        ("groups", Value::new_set(known.groups.iter().map(|group| text(group)))),
    ])
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

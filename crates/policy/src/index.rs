//! The index: which rules can concern a request, by their scopes, before Cedar sees any of them.
//!
//! A scope is a conjunction of three constraints, each of which holds only for a request that has one entity (or entity
//! type) among its own. So every rule is filed under what its constraints name, and a request looks under what it has.
//! A slice is never too small (tested against a full scan); where it is too large, Cedar itself still checks the scope.
//! A rule outside the slice can neither match nor fail: its scope is false, and Cedar evaluates the scope first.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use cedar_policy::{
    ActionConstraint, EntityTypeName, EntityUid, PolicySet, PrincipalConstraint, ResourceConstraint,
};

use crate::{
    fields::Fields,
    monotone::Trend,
    narrow::Atoms,
    rule::{self, Rule},
};

/// Most rules in all cached slices together. A rule in a slice is some hundred bytes; past this the cache starts over.
const MAX_CACHED_RULES: usize = 100_000;
/// Most cached slices, empty ones included.
const MAX_CACHED_SLICES: usize = 4_096;

/// What a constraint names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Type(EntityTypeName),
    Entity(EntityUid),
}

/// A name, by number; `ANY` for no constraint.
type Number = u32;
const ANY: Number = 0;

/// The entities of a request, by position: itself first, then what it is in.
#[derive(Debug, Clone)]
pub(crate) struct Concerned {
    pub(crate) principal: Vec<EntityUid>,
    pub(crate) action: Vec<EntityUid>,
    pub(crate) resource: Vec<EntityUid>,
}

/// The rules that can concern a request.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    /// Those whose answer is the same on every rung.
    pub(crate) fixed: PolicySet,
    /// Those that look at the oversight.
    pub(crate) varying: PolicySet,
    /// All of them, by their place in the bundle.
    pub(crate) rules: BTreeSet<usize>,
    /// What the fixed ones look at.
    pub(crate) fixed_fields: Fields,
    /// What the varying ones look at, beside the oversight.
    pub(crate) varying_fields: Fields,
    /// Whether a rule looks at what an observer says of the target: also one that was left out by it.
    observed: bool,
}

/// What answers depend on beside the facts that are the same for a while.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Looks {
    /// The time.
    pub(crate) at_time: bool,
    /// What an observer says of the target.
    pub(crate) at_observed: bool,
}

impl Slice {
    /// What its rules look at, beside the oversight.
    pub(crate) const fn fields(&self) -> Fields {
        self.fixed_fields.with(self.varying_fields)
    }

    pub(crate) fn looks(&self) -> Looks {
        Looks { at_time: self.fields().look_at_time(), at_observed: self.observed }
    }
}

/// All rules, filed by scope.
#[derive(Debug)]
pub(crate) struct Index {
    // INVARIANT: a number in `numbers` is never `ANY`; names of the three positions are kept apart.
    numbers: [HashMap<Name, Number>; 3],
    filed: HashMap<[Number; 3], Vec<usize>>,
    /// The atoms that some rule begins with.
    atoms: u32,
    cache: RwLock<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    slices: HashMap<Vec<Number>, Arc<Slice>>,
    rules: usize,
}

impl Index {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let numbers = [HashMap::new(), HashMap::new(), HashMap::new()];
        let atoms = rules.iter().fold(0, |mask, rule| mask | rule.needs.mask());
        let mut index = Self { numbers, filed: HashMap::new(), atoms, cache: RwLock::default() };
        for (at, rule) in rules.iter().enumerate() {
            // Two actions share a slice only if no rule tells them apart.
            for group in rule.needs.groups() {
                index.number(1, Some(Name::Entity(group.clone())));
            }
            let principal = index.number(0, principal_name(&rule.policy.principal_constraint()));
            let resource = index.number(2, resource_name(&rule.policy.resource_constraint()));
            let actions = match rule.policy.action_constraint() {
                ActionConstraint::Any => vec![ANY],
                ActionConstraint::Eq(uid) => vec![index.number(1, Some(Name::Entity(uid)))],
                // `in []` is never true: the rule is filed nowhere.
                ActionConstraint::In(uids) => {
                    uids.into_iter().map(|uid| index.number(1, Some(Name::Entity(uid)))).collect()
                }
            };
            for action in actions {
                index.filed.entry([principal, action, resource]).or_default().push(at);
            }
        }
        index
    }

    /// The slice of a request. `rules` are those that the index was made of. With `atoms`, rules that begin with a condition
    /// that is false are left out, too: they neither match nor fail.
    pub(crate) fn slice(
        &self,
        rules: &[Rule],
        concerned: &Concerned,
        atoms: Option<Atoms>,
    ) -> Result<Arc<Slice>, String> {
        let found = [&concerned.principal, &concerned.action, &concerned.resource];
        // There are far fewer than 32 atoms, so all ones are never their values.
        let mut key = vec![atoms.map_or(Number::MAX, |atoms| atoms.only(self.atoms))];
        let mut looked: [Vec<Number>; 3] = [vec![ANY], vec![ANY], vec![ANY]];
        for ((numbers, uids), looked) in self.numbers.iter().zip(found).zip(&mut looked) {
            let types = uids.first().map(|uid| Name::Type(uid.type_name().clone()));
            let names = types.into_iter().chain(uids.iter().cloned().map(Name::Entity));
            looked.extend(names.filter_map(|name| numbers.get(&name).copied()));
            // `ANY` begins each position, so two different requests never share a key.
            key.extend(looked.iter().copied());
        }
        if let Some(slice) = self.cache.read().unwrap_or_else(PoisonError::into_inner).slices.get(&key) {
            return Ok(Arc::clone(slice));
        }
        let slice =
            Arc::new(self.cut(rules, &looked, atoms.map(|atoms| (atoms, concerned.action.as_slice())))?);
        self.cache.write().unwrap_or_else(PoisonError::into_inner).keep(key, &slice);
        Ok(slice)
    }

    fn cut(
        &self,
        rules: &[Rule],
        [principals, actions, resources]: &[Vec<Number>; 3],
        known: Option<(Atoms, &[EntityUid])>,
    ) -> Result<Slice, String> {
        let mut slice = Slice::default();
        for principal in principals {
            for action in actions {
                for resource in resources {
                    slice
                        .rules
                        .extend(self.filed.get(&[*principal, *action, *resource]).into_iter().flatten());
                }
            }
        }
        let unseen = |rule: &Rule| known.is_none_or(|(atoms, action)| rule.needs.met_unseen(atoms, action));
        let in_scope = slice.rules.iter().filter_map(|at| rules.get(*at));
        slice.observed = in_scope.into_iter().any(|rule| rule.fields.look_at_observed() && unseen(rule));
        let met = |rule: &Rule| known.is_none_or(|(atoms, action)| rule.needs.met_by(atoms, action));
        slice.rules.retain(|at| rules.get(*at).is_some_and(met));
        for rule in slice.rules.iter().filter_map(|at| rules.get(*at)) {
            let (set, fields) = match rule.trend {
                Trend::Constant => (&mut slice.fixed, &mut slice.fixed_fields),
                Trend::Rises | Trend::Falls | Trend::Unknown => {
                    (&mut slice.varying, &mut slice.varying_fields)
                }
            };
            rule::put(set, rule)?;
            *fields = fields.with(rule.fields);
        }
        Ok(slice)
    }

    fn number(&mut self, position: usize, name: Option<Name>) -> Number {
        let (Some(name), Some(numbers)) = (name, self.numbers.get_mut(position)) else { return ANY };
        // The limit on rules keeps this far below 2^32.
        let next = Number::try_from(numbers.len().saturating_add(1)).unwrap_or(Number::MAX);
        *numbers.entry(name).or_insert(next)
    }
}

impl Cache {
    /// Starts over when full: the next requests pay for their slices once more, and memory stays bounded whatever
    /// requests come.
    fn keep(&mut self, key: Vec<Number>, slice: &Arc<Slice>) {
        let rules = self.rules.saturating_add(slice.rules.len());
        if rules > MAX_CACHED_RULES || self.slices.len() >= MAX_CACHED_SLICES {
            *self = Self::default();
        }
        if slice.rules.len() > MAX_CACHED_RULES {
            return;
        }
        if self.slices.insert(key, Arc::clone(slice)).is_none() {
            self.rules = self.rules.saturating_add(slice.rules.len());
        }
    }
}

fn principal_name(constraint: &PrincipalConstraint) -> Option<Name> {
    match constraint {
        PrincipalConstraint::Any => None,
        PrincipalConstraint::Is(of) => Some(Name::Type(of.clone())),
        PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
            Some(Name::Entity(uid.clone()))
        }
    }
}

fn resource_name(constraint: &ResourceConstraint) -> Option<Name> {
    match constraint {
        ResourceConstraint::Any => None,
        ResourceConstraint::Is(of) => Some(Name::Type(of.clone())),
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
            Some(Name::Entity(uid.clone()))
        }
    }
}

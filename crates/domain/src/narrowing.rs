//! Narrowing: a person who is asked to approve a plan asks for less of it instead. What they sign names exactly what is left; it
//! becomes a plan of its own, and they are one of those who ask for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Id,
    approval::HoldTerms,
    id::kind,
    plan::{ParamValue, Plan},
    signature::Purpose,
    signed::Statement,
};

/// A step that is left, with its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Its number in the plan that is narrowed.
    #[serde(deserialize_with = "crate::digest::whole")]
    pub step: u64,
    /// Its parameters: as they were, or whole numbers nearer to zero.
    pub params: BTreeMap<Id<kind::Param>, ParamValue>,
}

/// What a person signs who narrows a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NarrowStatement {
    /// `holdpoint/narrowing/v1`.
    pub r#type: NarrowType,
    /// The terms of the hold that it ends.
    pub terms: HoldTerms,
    /// Who narrows.
    pub by: Id<kind::Person>,
    /// What is left, in order.
    pub kept: Vec<Kept>,
}

/// The type tag of [`NarrowStatement`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NarrowType {
    /// Version 1.
    #[serde(rename = "holdpoint/narrowing/v1")]
    V1,
}

/// Why what is left is not less.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NarrowingError {
    /// No steps, steps that are not there, or not in order.
    #[error("expected some of the plan's steps, each once and in order")]
    Steps,
    /// A parameter that is another, or is not less.
    #[error(
        "parameter `{param}` of step {step}: expected what it was, or a whole number between that and zero"
    )]
    Param {
        /// The step.
        step: u64,
        /// The parameter.
        param: Id<kind::Param>,
    },
    /// Everything is left as it was.
    #[error("nothing would be less: expected fewer steps, or a smaller one")]
    Nothing,
}

impl NarrowStatement {
    /// The statement of somebody who narrows a plan under a hold.
    #[must_use]
    pub const fn new(terms: HoldTerms, by: Id<kind::Person>, kept: Vec<Kept>) -> Self {
        Self { r#type: NarrowType::V1, terms, by, kept }
    }

    /// Checks that what is left is less than the plan, in something, and more in nothing.
    pub fn check(&self, plan: &Plan) -> Result<(), NarrowingError> {
        let mut less = self.kept.len() < plan.steps().len();
        let mut next = 0;
        for kept in &self.kept {
            let step = usize::try_from(kept.step).ok().and_then(|at| plan.steps().get(at));
            let Some(step) = step.filter(|_| kept.step >= next) else { return Err(NarrowingError::Steps) };
            next = kept.step.saturating_add(1);
            let refused =
                |param: &Id<kind::Param>| NarrowingError::Param { step: kept.step, param: param.clone() };
            if let Some(missing) = step.params.keys().find(|name| !kept.params.contains_key(*name)) {
                return Err(refused(missing));
            }
            for (name, value) in &kept.params {
                match (step.params.get(name), value) {
                    (Some(old), new) if old == new => {}
                    (Some(ParamValue::Int(old)), ParamValue::Int(new)) if is_less(*old, *new) => less = true,
                    _ => return Err(refused(name)),
                }
            }
        }
        match (self.kept.is_empty(), less) {
            (true, _) => Err(NarrowingError::Steps),
            (false, true) => Ok(()),
            (false, false) => Err(NarrowingError::Nothing),
        }
    }
}

/// Whether `new` is between `old` and zero, zero included.
const fn is_less(old: i64, new: i64) -> bool {
    if old >= 0 { 0 <= new && new < old } else { old < new && new <= 0 }
}

impl Statement for NarrowStatement {
    const PURPOSE: Purpose = Purpose::Narrowing;

    fn by(&self) -> &Id<kind::Person> {
        &self.by
    }
}

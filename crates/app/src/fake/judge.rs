//! A policy that says what a test wants it to say.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use holdpoint_domain::{
    Digest, Id, Oversight, Rung,
    agent::Person,
    decision::{Ladder, Verdict},
    facts::Facts,
    id::kind,
};

use crate::port::{ApproveQuestion, Hint, Judge};

/// What the policy says about actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It allows from this rung upward.
    From(Rung),
    /// Nothing permits anything.
    Deny,
    /// A rule fails, or the answer comes too late.
    Error,
    /// It allows without oversight and denies with it.
    NotMonotone,
    /// It allows everybody but this agent.
    Bars(&'static str),
    /// It allows, and goes by what only a look at the target tells.
    LooksAtTarget,
}

/// A judge by configuration; everything can be changed between two questions.
#[derive(Debug)]
pub struct FakeJudge {
    said: Mutex<Said>,
}

#[derive(Debug)]
struct Said {
    policy: Policy,
    approvers: BTreeSet<Id<kind::Person>>,
    owners_may: bool,
    // They may approve as long as nobody else has.
    only_first: BTreeSet<Id<kind::Person>>,
    // All when none.
    readers: Option<BTreeSet<Id<kind::Person>>>,
    // All when none.
    visitors: Option<BTreeSet<Id<kind::Person>>>,
    digest: Digest,
}

impl FakeJudge {
    /// A judge of a policy, under which these people may approve, and everybody may read.
    #[must_use]
    pub fn new(policy: Policy, approvers: BTreeSet<Id<kind::Person>>) -> Self {
        let digest = Digest::of_bytes(b"fake policy");
        let (readers, visitors) = (None, None);
        let only_first = BTreeSet::new();
        Self {
            said: Mutex::new(Said {
                policy,
                approvers,
                owners_may: true,
                only_first,
                readers,
                visitors,
                digest,
            }),
        }
    }

    /// From now on the policy is another. Its digest stays: whether a changed file may be loaded is not the judge's matter.
    pub fn set(&self, policy: Policy) {
        self.said().policy = policy;
    }

    /// From now on only these people may approve.
    pub fn set_approvers(&self, approvers: BTreeSet<Id<kind::Person>>) {
        self.said().approvers = approvers;
    }

    /// From now on these people may approve as long as nobody else has.
    pub fn set_only_first(&self, people: BTreeSet<Id<kind::Person>>) {
        self.said().only_first = people;
    }

    /// From now on nobody may approve what an agent asks for that they answer for.
    pub fn bar_owners(&self) {
        self.said().owners_may = false;
    }

    /// From now on only these people may read the ledger.
    pub fn set_readers(&self, readers: BTreeSet<Id<kind::Person>>) {
        self.said().readers = Some(readers);
    }

    /// From now on only these people may use the console.
    pub fn set_visitors(&self, visitors: BTreeSet<Id<kind::Person>>) {
        self.said().visitors = Some(visitors);
    }

    /// From now on the bundle has the digest of this text.
    pub fn set_bundle(&self, text: &str) {
        self.said().digest = Digest::of_bytes(text.as_bytes());
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Judge for FakeJudge {
    fn digest(&self) -> Digest {
        self.said().digest
    }

    fn ladder(&self, facts: &Facts) -> Ladder {
        let on = |rung: Rung| self.ask(facts, &rung.oversight());
        Ladder { t1: on(Rung::T1), t2: on(Rung::T2), t3: on(Rung::T3), t4: on(Rung::T4) }
    }

    fn ladder_unseen(&self, facts: &Facts) -> Option<Ladder> {
        let looks = self.said().policy == Policy::LooksAtTarget;
        (!looks).then(|| self.ladder(facts))
    }

    fn ask(&self, facts: &Facts, oversight: &Oversight) -> Verdict {
        match self.said().policy {
            Policy::From(rung) if oversight.dominates(&rung.oversight()) => allow(),
            Policy::From(_) | Policy::Deny => Verdict::Deny { rules: Vec::new() },
            Policy::Error => Verdict::Error { rules: Vec::new() },
            Policy::Bars(agent) if facts.principal.agent.as_str() == agent => {
                Verdict::Deny { rules: Vec::new() }
            }
            Policy::Bars(_) | Policy::LooksAtTarget => allow(),
            Policy::NotMonotone if oversight.approvals == 0 => allow(),
            Policy::NotMonotone => Verdict::Deny { rules: vec![rule("the-more-the-worse")] },
        }
    }

    fn may_approve(&self, question: ApproveQuestion<'_>) -> Verdict {
        let said = self.said();
        if said.policy == Policy::Error {
            Verdict::Error { rules: Vec::new() }
        } else if said.approvers.contains(&question.person.id)
            && (said.owners_may || !question.owns_agent)
            && (question.approvals == 0 || !said.only_first.contains(&question.person.id))
        {
            allow()
        } else {
            Verdict::Deny { rules: Vec::new() }
        }
    }

    fn may_read(&self, person: &Person) -> Verdict {
        let said = self.said();
        of_gate(&said, said.readers.as_ref(), person)
    }

    fn may_use_console(&self, person: &Person) -> Verdict {
        let said = self.said();
        of_gate(&said, said.visitors.as_ref(), person)
    }

    fn may_break_glass(&self, person: &Person) -> Verdict {
        let said = self.said();
        of_gate(&said, Some(&said.approvers), person)
    }

    fn hints(&self, _facts: &Facts) -> Vec<Hint> {
        vec![Hint { rule: rule("fake"), why: None, next: None, unmet: vec!["the test said so".to_owned()] }]
    }
}

fn of_gate(said: &Said, people: Option<&BTreeSet<Id<kind::Person>>>, person: &Person) -> Verdict {
    if said.policy == Policy::Error {
        Verdict::Error { rules: Vec::new() }
    } else if people.is_none_or(|people| people.contains(&person.id)) {
        allow()
    } else {
        Verdict::Deny { rules: Vec::new() }
    }
}

fn allow() -> Verdict {
    Verdict::Allow { rules: vec![rule("fake")] }
}

fn rule(text: &str) -> Id<kind::Rule> {
    Id::parse(text).expect("a rule id in here follows the grammar")
}

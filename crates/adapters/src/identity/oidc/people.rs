//! Who is who: from claims to a person. Claims can take a sign-in away, and never add a right.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{Id, id::kind, text::quoted};
use serde_json::{Map, Value};

use super::party::OidcError;

/// Most entries of each table.
const MAX_ENTRIES: usize = 4_096;
/// Longest value of a claim that names somebody.
const MAX_VALUE_LEN: usize = 255;

/// Which person a sound ID token names, and what else it has to say.
#[derive(Debug, Clone, PartialEq)]
pub struct People {
    /// The claim that names the person: `sub`, unless the operator says otherwise.
    pub claim: String,
    /// Who a value of it is. Where this is empty, the value itself has to be the person's id; not for `sub`, which is the provider's
    /// own choice of a name.
    pub named: BTreeMap<String, Id<kind::Person>>,
    /// Claims without one of whose values nobody is let in.
    pub required: BTreeMap<String, Vec<Value>>,
    /// Teams that the provider knows too.
    pub teams: Option<Teams>,
}

/// Teams by a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Teams {
    /// The claim: a text, or a list of them.
    pub claim: String,
    /// Which team a value is. Others say nothing, and of a team that no value is, the provider says nothing.
    pub named: BTreeMap<String, Id<kind::Team>>,
}

impl People {
    pub(super) fn check(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut expect = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_owned())
            }
        };
        expect(!self.claim.is_empty(), "expected `person_claim` to name a claim");
        expect(
            self.claim != "sub" || !self.named.is_empty(),
            "`people` is empty: `sub` is a name of the provider's, so say which person each one is",
        );
        let team_values = self.teams.as_ref().map_or(0, |teams| teams.named.len());
        let largest = self.named.len().max(self.required.len()).max(team_values);
        expect(largest <= MAX_ENTRIES, "expected at most 4096 entries of `people`, `required` and `teams`");
        expect(
            self.teams.as_ref().is_none_or(|teams| !teams.claim.is_empty() && !teams.named.is_empty()),
            "expected `teams` to name a claim, and a team for each of its values",
        );
        for (claim, values) in &self.required {
            let scalar = |value: &Value| match value {
                Value::String(_) | Value::Bool(_) => true,
                Value::Number(number) => number.is_u64() || number.is_i64(),
                Value::Null | Value::Array(_) | Value::Object(_) => false,
            };
            if values.is_empty() || !values.iter().all(scalar) {
                let claim = quoted(claim, 80);
                faults.push(format!(
                    "expected `required` to list texts, whole numbers, true or false for {claim}"
                ));
            }
        }
        faults
    }

    /// Whom these claims name, which are believed already.
    pub(super) fn person(&self, claims: &Map<String, Value>) -> Result<Id<kind::Person>, OidcError> {
        for (claim, values) in &self.required {
            let said = |wanted: &Value| match claims.get(claim) {
                Some(Value::Array(several)) => several.contains(wanted),
                Some(one) => one == wanted,
                None => false,
            };
            if !values.iter().any(said) {
                return Err(OidcError::Required(quoted(claim, 80)));
            }
        }
        let unnamed = || OidcError::Nobody(quoted(&self.claim, 80));
        let value = claims.get(&self.claim).and_then(Value::as_str);
        let value = value.filter(|value| !value.is_empty() && value.len() <= MAX_VALUE_LEN);
        let value = value.ok_or_else(unnamed)?;
        // An address that nobody checked is anybody's.
        if self.claim == "email" && claims.get("email_verified") != Some(&Value::Bool(true)) {
            return Err(unnamed());
        }
        if self.named.is_empty() {
            return Id::parse(value).map_err(|_| unnamed());
        }
        self.named.get(value).cloned().ok_or_else(unnamed)
    }

    /// The teams that the provider knows, and does not say that the person is in. That they are in one it cannot make true.
    pub(super) fn denied_teams(&self, claims: &Map<String, Value>) -> BTreeSet<Id<kind::Team>> {
        let Some(teams) = &self.teams else { return BTreeSet::new() };
        let is_said = |wanted: &str| match claims.get(&teams.claim) {
            Some(Value::Array(several)) => several.iter().any(|value| value == wanted),
            Some(one) => one == wanted,
            None => false,
        };
        let said: BTreeSet<_> =
            teams.named.iter().filter(|(value, _)| is_said(value)).map(|(_, team)| team).collect();
        teams.named.values().filter(|team| !said.contains(team)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn people(claim: &str, named: &[(&str, &str)]) -> People {
        let named =
            named.iter().map(|(value, person)| ((*value).to_owned(), Id::parse(person).unwrap())).collect();
        People { claim: claim.to_owned(), named, required: BTreeMap::new(), teams: None }
    }

    fn who(people: &People, claims: &Value) -> Option<String> {
        people.person(claims.as_object().unwrap()).ok().map(|person| person.to_string())
    }

    #[test]
    fn a_claim_names_exactly_the_person_that_the_operator_says() {
        let table = people("sub", &[("248289761001", "ada"), ("ben", "cid")]);
        let by_name = people("preferred_username", &[]);
        let by_mail = people("email", &[("ada@example.org", "ada")]);
        for (people, claims, expected) in [
            (&table, json!({"sub": "248289761001"}), Some("ada")),
            (&table, json!({"sub": "ben"}), Some("cid")),
            (&table, json!({"sub": "ada"}), None),
            (&table, json!({"sub": "BEN"}), None),
            (&table, json!({"sub": 248_289_761_001_u64}), None),
            (&table, json!({"sub": ["ben"]}), None),
            (&table, json!({"sub": "", "preferred_username": "ben"}), None),
            (&table, json!({}), None),
            (&by_name, json!({"sub": "x", "preferred_username": "ada"}), Some("ada")),
            (&by_name, json!({"sub": "ada"}), None),
            (&by_name, json!({"preferred_username": "Ada Lovelace"}), None),
            (&by_name, json!({"preferred_username": "../ada"}), None),
            (&by_mail, json!({"email": "ada@example.org", "email_verified": true}), Some("ada")),
            (&by_mail, json!({"email": "ada@example.org", "email_verified": "true"}), None),
            (&by_mail, json!({"email": "ada@example.org", "email_verified": false}), None),
            (&by_mail, json!({"email": "ada@example.org"}), None),
        ] {
            assert_eq!(who(people, &claims).as_deref(), expected, "{claims}");
        }
    }

    #[test]
    fn a_claim_that_is_required_and_missing_lets_nobody_in() {
        let mut people = people("sub", &[("1", "ada")]);
        people.required.insert("groups".to_owned(), vec![json!("ops"), json!("sre")]);
        people.required.insert("mfa".to_owned(), vec![json!(true)]);
        for (claims, expected) in [
            (json!({"sub": "1", "groups": ["dev", "sre"], "mfa": true}), Some("ada")),
            (json!({"sub": "1", "groups": "ops", "mfa": [true]}), Some("ada")),
            (json!({"sub": "1", "groups": ["dev"], "mfa": true}), None),
            (json!({"sub": "1", "groups": "ops sre", "mfa": true}), None),
            (json!({"sub": "1", "groups": [["ops"]], "mfa": true}), None),
            (json!({"sub": "1", "groups": ["ops"], "mfa": "true"}), None),
            (json!({"sub": "1", "groups": ["ops"]}), None),
            (json!({"sub": "1", "mfa": true}), None),
        ] {
            assert_eq!(who(&people, &claims).as_deref(), expected, "{claims}");
        }
    }

    #[test]
    fn a_provider_takes_teams_away_that_it_knows_and_gives_none() {
        let mut people = people("sub", &[("1", "ada")]);
        assert!(people.denied_teams(&Map::new()).is_empty(), "it is asked for none");
        let named = [("grp-1", "payments"), ("grp-2", "sre"), ("grp-3", "sre")];
        let named = named.map(|(value, team)| (value.to_owned(), Id::parse(team).unwrap())).into();
        people.teams = Some(Teams { claim: "groups".to_owned(), named });
        for (claims, denied) in [
            (json!({"groups": ["grp-2", "grp-1", "admins", 1, null]}), vec![]),
            (json!({"groups": ["grp-3"]}), vec!["payments"]),
            (json!({"groups": "grp-1"}), vec!["sre"]),
            (json!({"groups": ["GRP-1", "payments", "sre"]}), vec!["payments", "sre"]),
            (json!({"groups": {"grp-2": true}}), vec!["payments", "sre"]),
            (json!({}), vec!["payments", "sre"]),
        ] {
            let found = people.denied_teams(claims.as_object().unwrap());
            assert_eq!(found.iter().map(Id::as_str).collect::<Vec<_>>(), denied, "{claims}");
        }
    }

    #[test]
    fn tables_that_would_let_anybody_in_are_refused() {
        assert_eq!(people("sub", &[("1", "ada")]).check(), Vec::<String>::new());
        assert_eq!(people("preferred_username", &[]).check(), Vec::<String>::new());
        assert!(people("sub", &[]).check()[0].contains("`people` is empty"));
        assert!(people("", &[("1", "ada")]).check()[0].contains("person_claim"));
        for values in [json!([]), json!([null]), json!([1.5]), json!([["ops"]])] {
            let mut people = people("sub", &[("1", "ada")]);
            people.required.insert("groups".to_owned(), values.as_array().unwrap().clone());
            assert!(people.check()[0].contains("`groups`"), "{values}");
        }
    }
}

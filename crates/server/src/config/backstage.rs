//! Catalogue files of Backstage: who depends on whom, in the words of those who own the services.
//!
//! Components and resources are services by their names, in lower case; in another namespace than `default` that stands before it. Whoever
//! consumes an API needs all who provide it, whichever source says so; and a service with the API's name, where nobody does or the
//! catalogues have such a service: no file takes away what another one says. Other kinds of entities say nothing.
//!
//! <https://backstage.io/docs/features/software-catalog/descriptor-format>

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, PathBuf},
};

use holdpoint_app::port::Document;
use holdpoint_domain::{Id, dependencies::Declared, graph::EdgeKind, id::kind};
use serde::Deserialize;

use super::ConfigError;

type Service = Id<kind::Service>;

/// The namespace of what names none.
const DEFAULT: &str = "default";
/// Most relations of one source: as many as an inventory has services.
const MAX_RELATIONS: usize = 100_000;

#[derive(Deserialize)]
struct Entity {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    depends_on: Vec<String>,
    dependency_of: Vec<String>,
    consumes_apis: Vec<String>,
    provides_apis: Vec<String>,
}

/// What the files of one source say before APIs are looked up.
#[derive(Default)]
struct Relations {
    needs: BTreeSet<(Service, Service)>,
    consumes: BTreeSet<(Service, Service)>,
    providers: Providers,
}

/// Who provides an API.
type Providers = BTreeMap<Service, BTreeSet<Service>>;

/// What an entity is referred to as.
#[derive(Clone, Copy)]
struct Referred<'a> {
    /// What it is where it does not say so itself; none where it must.
    kind: Option<&'static str>,
    kinds: &'a [&'static str],
    namespace: &'a str,
}

/// What the catalogues say, by source; reports the faults of all files together.
pub(super) fn declared(
    sources: &BTreeMap<Id<kind::Source>, Vec<PathBuf>>,
    document: &Document,
) -> Result<BTreeMap<Id<kind::Source>, Declared>, ConfigError> {
    let (mut all, mut providers, mut faults) = (Vec::new(), Providers::new(), Vec::new());
    for (source, names) in sources {
        let mut relations = Relations::default();
        for path in names {
            let name = path.display().to_string();
            let is_below =
                path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
            match document.files.get(&name) {
                _ if !is_below => {
                    faults.push(format!("{name}: expected a path below the configuration's folder"))
                }
                Some(text) => relations.read(&name, text, &mut faults),
                None => faults.push(format!("{name} is not there")),
            }
        }
        for (api, by) in std::mem::take(&mut relations.providers) {
            providers.entry(api).or_default().extend(by);
        }
        all.push((source, relations));
    }
    let mut declared = BTreeMap::new();
    for (source, relations) in all {
        let it = relations.declared(&providers);
        if it.dependencies.len() > MAX_RELATIONS {
            let got = it.dependencies.len();
            faults.push(format!(
                "catalogues of `{source}`: expected at most {MAX_RELATIONS} relations, got {got}"
            ));
        }
        declared.insert(source.clone(), it);
    }
    if faults.is_empty() { Ok(declared) } else { Err(ConfigError(faults)) }
}

impl Relations {
    fn read(&mut self, name: &str, text: &str, faults: &mut Vec<String>) {
        let documents: Vec<serde_json::Value> = match serde_saphyr::from_multiple(text) {
            Ok(documents) => documents,
            Err(err) => return faults.push(format!("{name}: {err}")),
        };
        for (number, document) in (1..).zip(documents) {
            if let Err(fault) = self.take(document) {
                faults.push(format!("{name}: entity {number}: {fault}"));
            }
        }
    }

    fn take(&mut self, document: serde_json::Value) -> Result<(), String> {
        let kind = document.get("kind").and_then(serde_json::Value::as_str);
        let kind = kind.ok_or("expected a `kind`")?.to_ascii_lowercase();
        if !matches!(kind.as_str(), "component" | "resource") {
            return Ok(());
        }
        let Entity { metadata, spec } = serde_json::from_value(document).map_err(|err| err.to_string())?;
        let namespace = metadata.namespace.as_deref().unwrap_or(DEFAULT);
        let own = service(namespace, &metadata.name)?;
        let in_it = |fault: String| format!("{kind} `{own}`: {fault}");
        let things = Referred { kind: None, kinds: &["component", "resource"], namespace };
        let apis = Referred { kind: Some("api"), kinds: &["api"], namespace };
        for on in &spec.depends_on {
            self.needs.insert((own.clone(), things.service(on).map_err(in_it)?));
        }
        for dependent in &spec.dependency_of {
            self.needs.insert((things.service(dependent).map_err(in_it)?, own.clone()));
        }
        for api in &spec.consumes_apis {
            self.consumes.insert((own.clone(), apis.service(api).map_err(in_it)?));
        }
        for api in &spec.provides_apis {
            self.providers.entry(apis.service(api).map_err(in_it)?).or_default().insert(own.clone());
        }
        Ok(())
    }

    fn declared(self, providers: &Providers) -> Declared {
        let needs = self.needs.into_iter().map(|(dependent, on)| (dependent, on, EdgeKind::Needs));
        let mut dependencies: BTreeSet<_> = needs.collect();
        for (consumer, api) in self.consumes {
            let by = providers.get(&api).into_iter().flatten().cloned();
            // The API's own name as well: whoever says that they provide it takes it from no service that is called so.
            let on = by.chain([api]).filter(|on| *on != consumer);
            dependencies.extend(on.map(|on| (consumer.clone(), on, EdgeKind::Calls)));
        }
        Declared { dependencies }
    }
}

impl Referred<'_> {
    /// The service of a reference: `[kind:][namespace/]name`.
    fn service(self, reference: &str) -> Result<Service, String> {
        let shown = holdpoint_domain::text::quoted(reference, 64);
        let (kind, rest) = match reference.split_once(':') {
            Some((kind, rest)) => (Some(kind.to_ascii_lowercase()), rest),
            None => (self.kind.map(str::to_owned), reference),
        };
        if !kind.is_some_and(|kind| self.kinds.contains(&kind.as_str())) {
            let kinds = self.kinds.join("` or `");
            return Err(format!("expected a reference to a `{kinds}`, got {shown}"));
        }
        let (namespace, name) = rest.split_once('/').unwrap_or((self.namespace, rest));
        service(namespace, name).map_err(|fault| format!("reference {shown}: {fault}"))
    }
}

/// The service that an entity is. Backstage tells no upper case from lower case.
fn service(namespace: &str, name: &str) -> Result<Service, String> {
    let name = name.to_ascii_lowercase();
    let name = match namespace.to_ascii_lowercase() {
        namespace if namespace == DEFAULT => name,
        namespace => format!("{namespace}.{name}"),
    };
    Id::parse(&name).map_err(|err| err.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[&str]) -> Result<Vec<String>, Vec<String>> {
        let names: Vec<String> = (1..=files.len()).map(|number| format!("team/{number}.yaml")).collect();
        let source: Id<kind::Source> = Id::parse("portal").unwrap();
        let sources = BTreeMap::from([(source.clone(), names.iter().map(PathBuf::from).collect())]);
        let files = names.into_iter().zip(files.iter().map(|text| (*text).to_owned())).collect();
        let declared = declared(&sources, &Document { files }).map_err(|err| err.0)?;
        let line = |(dependent, on, kind): &(Service, Service, EdgeKind)| {
            format!("{dependent} {} {on}", kind.as_str())
        };
        Ok(declared[&source].dependencies.iter().map(line).collect())
    }

    #[test]
    fn what_owners_say_in_several_files_and_documents_is_who_needs_whom() {
        let first = "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: Web}\nspec:\n  type: website\n  \
            dependsOn: ['component:default/checkout', 'Resource:orders-db']\n  consumesApis: [prices, api:payments/charge]\n\
            ---\nkind: Resource\nmetadata: {name: orders-db}\nspec: {dependencyOf: ['component:reports']}\n\
            ---\nkind: Group\nmetadata: {name: 'Everybody here'}\n---\nkind: API\nmetadata: {name: prices}\n";
        let second = "kind: Component\nmetadata: {name: pricing}\nspec: {providesApis: [prices]}\n---\n\
            kind: Component\nmetadata: {name: teller, namespace: payments}\nspec: {dependsOn: ['component:vault']}\n";
        let expected = [
            "payments.teller needs payments.vault",
            "reports needs orders-db",
            "web needs checkout",
            "web needs orders-db",
            // Nobody provides this one: a service that nobody knows.
            "web calls payments.charge",
            "web calls prices",
            "web calls pricing",
        ];
        assert_eq!(read(&[first, second]).unwrap(), expected);
        assert!(read(&["", "---\n---\n"]).is_ok_and(|lines| lines.is_empty()));
    }

    /// Who provides an API stands in another source, or more than one file says that they do.
    #[test]
    fn inv13_no_catalogue_takes_away_what_another_one_says() {
        let component =
            |name: &str, spec: &str| format!("kind: Component\nmetadata: {{name: {name}}}\nspec: {spec}\n");
        let files = [
            component("web", "{consumesApis: [prices, charge]}"),
            component("pricing", "{providesApis: [prices]}"),
            component("decoy", "{providesApis: [prices, charge]}"),
            component("shop", "{dependencyOf: ['component:web']}"),
        ];
        let all = |count: usize| {
            let source = |number: usize| Id::<kind::Source>::parse(&format!("portal-{number}")).unwrap();
            let name = |number: usize| format!("{number}.yaml");
            let sources =
                (0..count).map(|number| (source(number), vec![PathBuf::from(name(number))])).collect();
            let files = (0..count).map(|number| (name(number), files[number].clone())).collect();
            let declared = declared(&sources, &Document { files }).unwrap();
            declared.into_values().flat_map(|it| it.dependencies).collect::<BTreeSet<_>>()
        };
        let calls = |on: &str| {
            let service = |name: &str| Id::parse(name).unwrap();
            (service("web"), service(on), EdgeKind::Calls)
        };
        for count in 1..files.len() {
            assert!(all(count).is_subset(&all(count + 1)), "{count}");
        }
        assert!(["pricing", "decoy", "charge"].iter().all(|on| all(4).contains(&calls(on))), "{:?}", all(4));
    }

    #[test]
    fn a_file_that_is_none_is_named_with_its_entity() {
        let component = |spec: &str| format!("kind: Component\nmetadata: {{name: web}}\nspec: {spec}\n");
        let cases = [
            (component("{dependsOn: [checkout]}"), "component `web`"),
            (component("{dependsOn: ['user:ada']}"), "`component` or `resource`"),
            (component("{dependsOn: ['component:a b']}"), "reference"),
            (component("{dependsOn: ['component:a/b/c']}"), "reference"),
            (component("{consumesApis: ['component:web']}"), "`api`"),
            (component("{dependsOn: component:web}"), "entity 1"),
            ("kind: Component\nmetadata: {}\n".to_owned(), "name"),
            ("metadata: {name: web}\n".to_owned(), "`kind`"),
            ("kind: Component\nmetadata: {name: \"a\\u202eb\"}\n".to_owned(), "not a valid"),
            ("kind: [\n".to_owned(), "team/1.yaml"),
            (format!("kind: Resource\nmetadata: {{name: {}}}\n", "x".repeat(90)), "not a valid"),
        ];
        for (text, says) in cases {
            let faults = read(&[&text]).unwrap_err();
            assert!(faults.len() == 1 && faults[0].starts_with("team/1.yaml: "), "{faults:?}");
            assert!(faults[0].contains(says), "`{says}` is not in: {faults:?}");
            assert!(!faults[0].contains('\u{202e}'));
        }
        let outside =
            BTreeMap::from([(Id::parse("portal").unwrap(), vec![PathBuf::from("../catalog.yaml")])]);
        assert!(declared(&outside, &Document::default()).unwrap_err().0[0].contains("below"));
    }
}

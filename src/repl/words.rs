//! What there is to be called: the registry, and Rhai's own methods, by the type of the value at hand.

use crate::bindings::NAMESPACES;
use crate::helpers;
use crate::host::{engine, registry};
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub struct Words {
    pub entries: Vec<registry::Entry>,
    /// `Rbd` for `rbd`.
    handles: HashMap<String, String>,
    /// Rhai's own, by the type of what they are called on.
    own: BTreeMap<&'static str, BTreeSet<String>>,
}

/// Rhai's names for the types that have methods, and ours.
const TYPES: &[(&str, &str)] = &[
    ("Array", "Array"),
    ("Map", "Map"),
    ("ImmutableString", "string"),
    ("&str", "string"),
    ("INT", "i64"),
    ("FLOAT", "f64"),
    ("Blob", "Blob"),
    ("FnPtr", "Fn"),
];

impl Words {
    pub fn new() -> Words {
        let engine = engine::bare();
        let mut entries = registry::entries(&engine);
        entries.extend(super::jobs::entries());
        let mut handles = HashMap::new();
        for receiver in entries.iter().filter_map(|e| e.receiver.as_ref()) {
            if let Some(namespace) = registry::namespace_of(receiver) {
                handles.insert(namespace, receiver.clone());
            }
        }
        let mut own: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
        let methods = rhai::Engine::new().collect_fn_metadata(
            None,
            |f| {
                let m = f.metadata;
                let first = m.params_info.first()?;
                Some((
                    m.name.to_string(),
                    first.split_once(':')?.1.trim().trim_start_matches("&mut ").trim().to_string(),
                ))
            },
            true,
        );
        for (name, kind) in methods {
            if !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.contains('$') {
                continue;
            }
            if let Some((_, ours)) = TYPES.iter().find(|(theirs, _)| *theirs == kind) {
                own.entry(ours).or_default().insert(name);
            }
        }
        Words { entries, handles, own }
    }

    /// The type of a handle by the name that scripts know it by: `Rbd` for `rbd`, `CephPool` for `ceph.pool`.
    pub fn handle(&self, name: &str) -> Option<&str> {
        self.handles.get(name).map(String::as_str)
    }

    /// The part of a namespace: `pool` and `auth` of `ceph`.
    pub fn parts(&self, name: &str) -> impl Iterator<Item = &str> {
        let prefix = format!("{name}.");
        self.handles.keys().filter_map(move |k| k.strip_prefix(&prefix))
    }

    pub fn find(&self, receiver: Option<&str>, name: &str) -> Option<&registry::Entry> {
        self.entries.iter().find(|e| e.receiver.as_deref() == receiver && e.name == name)
    }

    /// The methods of a type: name, and whether it takes arguments.
    pub fn methods(&self, kind: &str) -> Vec<(String, bool)> {
        let ours = self.entries.iter().filter(|e| e.receiver.as_deref() == Some(kind));
        let mut all: Vec<_> = ours.map(|e| (e.name.clone(), e.arities != [0])).collect();
        let own = self.own.get(kind).into_iter().flatten();
        all.extend(
            own.map(|n| {
                (n.clone(), !matches!(n.as_str(), "len" | "keys" | "values" | "reverse" | "clear" | "is_empty"))
            }),
        );
        all
    }

    /// What stands free in a line, with whether it is called.
    pub fn free(&self) -> Vec<(String, bool)> {
        let names = NAMESPACES.iter().chain(helpers::NAMES).map(|n| (n.to_string(), false));
        let functions = self.entries.iter().filter(|e| e.receiver.is_none()).map(|e| (e.name.clone(), true));
        names.chain(functions).collect()
    }
}

/// The fields that a function says it returns: the words in backticks of `# Returns`.
pub fn fields(e: &registry::Entry) -> Vec<String> {
    let Some(text) = e.section("Returns") else { return vec![] };
    let is_name =
        |w: &&str| !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    text.split('`').skip(1).step_by(2).filter(is_name).map(String::from).collect()
}

/// The keys of a function's options, with what each is for.
pub fn options(e: &registry::Entry) -> Vec<(String, String)> {
    let text = e.section("Options").unwrap_or_default();
    let lines = text.lines().filter_map(|l| l.strip_prefix("- ")?.split_once(':'));
    lines
        .flat_map(|(keys, about)| {
            keys.split(", ").map(|k| (k.trim_matches('`').to_string(), about.trim().to_string())).collect::<Vec<_>>()
        })
        .collect()
}

//! The functions that every script can call, Rhai's and ours, with the types of their parameters.

use super::types::{Record, Type};
use crate::bindings::NAMESPACES;
use crate::error::nearest;
use crate::helpers;
use crate::host::registry::{self, Entry};
use rhai::Engine;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// One native function with one list of parameters; a method's receiver is the first.
#[derive(Debug)]
pub struct Overload {
    /// Name (ours: a kind of the registry) and type.
    pub params: Vec<(String, Type)>,
    pub returns: Type,
    /// Which of `Library::entries` documents it; `None` for Rhai's own.
    pub entry: Option<usize>,
}

pub struct Library {
    pub entries: Vec<Entry>,
    pub functions: BTreeMap<String, Vec<Overload>>,
    /// `ceph.pool`: by the receiver's type and the property.
    getters: BTreeMap<(String, String), Type>,
    /// `rbd` to `Rbd`.
    globals: BTreeMap<String, Type>,
}

/// What the parser or the engine gives a meaning of its own.
pub const KEYWORDS: [&str; 10] =
    ["print", "debug", "type_of", "Fn", "call", "curry", "is_shared", "is_def_var", "is_def_fn", "eval"];

impl Library {
    pub fn new(engine: &Engine) -> Library {
        let entries = registry::entries(engine);
        let mut by_name: BTreeMap<(Option<&str>, &str), usize> = BTreeMap::new();
        for (at, e) in entries.iter().enumerate() {
            by_name.insert((e.receiver.as_deref(), e.name.as_str()), at);
        }
        let mut functions: BTreeMap<String, Vec<Overload>> = BTreeMap::new();
        let mut getters = BTreeMap::new();
        let found = engine.collect_fn_metadata(
            None,
            |f| {
                let m = f.metadata;
                Some((
                    m.name.to_string(),
                    params_of(&m.params_info),
                    m.params_info.first().cloned(),
                    m.return_type.to_string(),
                ))
            },
            true,
        );
        for (name, params, first, returns) in found {
            let returns = Type::of_rust(&returns);
            if let Some(property) = name.strip_prefix("get$") {
                if let Some((_, receiver)) = params.first() {
                    getters.insert((key_of(receiver), property.to_string()), returns);
                }
                continue;
            }
            let receiver = first.as_deref().and_then(|p| p.split_once(": &mut ")).map(|(_, t)| t.trim());
            let entry = by_name.get(&(receiver, name.as_str())).copied();
            let returns = match entry {
                Some(at) => declared(&entries, &entries[at], returns),
                None => returns,
            };
            functions.entry(name).or_default().push(Overload { params, returns, entry });
        }
        let mut globals = BTreeMap::new();
        for name in NAMESPACES.into_iter().chain(helpers::NAMES.iter().copied()) {
            let receivers = entries.iter().filter_map(|e| e.receiver.as_deref());
            let known = receivers.into_iter().find(|r| registry::namespace_of(r).as_deref() == Some(name));
            globals.insert(name.to_string(), known.map_or(Type::Any, |r| Type::Of(r.into())));
        }
        Library { entries, functions, getters, globals }
    }

    pub fn global(&self, name: &str) -> Option<&Type> {
        self.globals.get(name)
    }

    pub fn globals(&self) -> impl Iterator<Item = &str> {
        self.globals.keys().map(String::as_str)
    }

    pub fn getter(&self, receiver: &Type, property: &str) -> Option<&Type> {
        self.getters.get(&(key_of(receiver), property.to_string()))
    }

    pub fn properties(&self, receiver: &Type) -> Vec<&str> {
        let key = key_of(receiver);
        self.getters.keys().filter(|(r, _)| *r == key).map(|(_, p)| p.as_str()).collect()
    }

    pub fn overloads(&self, name: &str) -> &[Overload] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
    }

    /// The names of the methods of a type; of a handle those of its own.
    pub fn methods(&self, receiver: &Type) -> BTreeSet<&str> {
        let own = |o: &Overload| match (receiver, o.params.first()) {
            (Type::Of(_), Some((_, first))) => first == receiver,
            (_, Some((_, first))) => *first != Type::Any && receiver.fits(first),
            _ => false,
        };
        let named = self.functions.iter().filter(|(name, list)| is_word(name) && list.iter().any(own));
        named.map(|(name, _)| name.as_str()).collect()
    }

    /// The method of a type that may be meant by a name: the nearest, or the one that it begins with, as `len` in `length`.
    pub fn near_method(&self, receiver: &Type, name: &str) -> Option<&str> {
        let all = self.methods(receiver);
        let begins = |m: &&&str| m.len() > 2 && name.starts_with(**m);
        nearest(name, all.iter().copied()).or_else(|| all.iter().filter(begins).max_by_key(|m| m.len()).copied())
    }

    /// What can be called without a receiver.
    pub fn free(&self) -> BTreeSet<&str> {
        let is_free = |o: &Overload| match o.entry {
            Some(at) => self.entries[at].receiver.is_none(),
            None => true,
        };
        let named = self.functions.iter().filter(|(name, list)| is_word(name) && list.iter().any(is_free));
        named.map(|(name, _)| name.as_str()).chain(KEYWORDS).collect()
    }
}

fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && !name.contains('$')
}

fn key_of(t: &Type) -> String {
    match t {
        Type::Of(name) => name.to_string(),
        Type::Array(_) => "Array".into(),
        Type::Map(_) => "Map".into(),
        other => format!("{other:?}"),
    }
}

fn params_of<S: AsRef<str>>(info: &[S]) -> Vec<(String, Type)> {
    let split = info.iter().map(|p| p.as_ref().split_once(':').unwrap_or((p.as_ref(), "")));
    split
        .filter(|(_, kind)| kind.trim() != "NativeCallContext")
        .map(|(name, kind)| (name.trim().to_string(), Type::of_rust(kind)))
        .collect()
}

/// The type of a result whose fields the documentation lists.
fn declared(entries: &[Entry], entry: &Entry, returns: Type) -> Type {
    let Some((is_array, record)) = record(entries, entry, 3) else { return returns };
    let map = Type::Map(record.map(Rc::new));
    match (&returns, is_array) {
        (Type::Any | Type::Array(_), true) => Type::array(map),
        (Type::Any | Type::Map(_), false) => map,
        _ => returns,
    }
}

/// Whether it is an array of them, and the fields, `None` where the list of them is open.
fn record(entries: &[Entry], entry: &Entry, depth: u8) -> Option<(bool, Option<Record>)> {
    let text = entry.section("Returns")?;
    let text = text.split("\nImplements: ").next().unwrap_or_default().replace('\n', " ");
    let text = text.trim();
    let (is_array, rest) = match (text.strip_prefix("An array of maps"), text.strip_prefix("A map")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        // The new image, as `rbd.info`.
        _ => (false, text.strip_prefix("The ").and_then(|t| t.find(", as `").map(|at| &t[at + 1..]))?),
    };
    let of = registry::signature(entry).split('(').next().unwrap_or_default().to_string();
    if let Some(list) = rest.strip_prefix(':') {
        let fields = names_in(list)?;
        return Some((is_array, (!is_open(list)).then_some(Record { fields, of })));
    }
    let (other, more) = rest.strip_prefix(" as of `").or(rest.strip_prefix(" as `"))?.split_once('`')?;
    let other = entries.iter().find(|e| registry::signature(e).split('(').next() == Some(other))?;
    let base = if depth == 0 { None } else { record(entries, other, depth - 1)?.1 };
    let added = names_in(more)?;
    Some((is_array, base.map(|b| Record { fields: [b.fields, added].concat(), of })))
}

/// Whether a list says that there is more; what it says in brackets is of something else.
fn is_open(text: &str) -> bool {
    let mut depth = 0;
    text.chars().any(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == '…' && depth == 0
    })
}

/// The names in backticks that stand in no brackets, up to the end of the sentence.
fn names_in(text: &str) -> Option<Vec<String>> {
    let (mut depth, mut names, mut rest) = (0, Vec::new(), text);
    while let Some(at) = rest.find(['(', ')', '`', '.', ';']) {
        let (c, after) = (rest.as_bytes()[at], &rest[at + 1..]);
        rest = after;
        match c {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'`' => {
                let (name, after) = after.split_once('`')?;
                if depth == 0 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                    names.push(name.to_string());
                }
                rest = after;
            }
            _ if depth == 0 => break,
            _ => {}
        }
    }
    Some(names)
}

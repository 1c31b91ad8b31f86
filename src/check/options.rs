//! Maps of options, and the declaration of a script's arguments.

use super::library::Overload;
use super::spec;
use super::types::{Record, Type};
use super::walk::Walk;
use crate::error::nearest;
use crate::helpers::args;
use crate::host::registry;
use rhai::{Expr, FnCallExpr, Map, Position};
use std::collections::BTreeSet;
use std::rc::Rc;

impl Walk<'_> {
    /// Keys of a map literal where options stand.
    pub fn options(&mut self, overloads: &[&Overload], types: &[Type], skip: usize, f: &FnCallExpr) {
        'args: for (at, arg) in f.args.iter().enumerate() {
            let mut known: BTreeSet<String> = BTreeSet::new();
            let mut full = BTreeSet::new();
            for o in overloads {
                let Some((kind, _)) = o.params.get(at + skip) else { continue 'args };
                let Some(entry) = o.entry.map(|e| &self.library.entries[e]) else { continue 'args };
                let options = entry.options();
                if options.is_empty() || !(kind == "options_" || kind == "spec") || entry.name == "parse" {
                    continue 'args;
                }
                known.extend(options.into_iter().map(|(k, _)| k));
                full.insert(registry::signature(entry).split('(').next().unwrap_or_default().to_string());
            }
            let full: Vec<String> = full.into_iter().collect();
            let full = if full.len() == 1 { full[0].clone() } else { f.name.to_string() };
            self.keys_of(&full, arg, &types[at + skip], &known);
        }
    }

    /// Whether a map has keys that are no options of `function`: written there, or before in a variable that nothing has
    /// changed since.
    pub fn keys_of(&mut self, function: &str, arg: &Expr, ty: &Type, known: &BTreeSet<String>) {
        let keys: Vec<(String, Position)> = match (arg, ty) {
            (Expr::Map(x, _), _) => x.0.iter().map(|(k, _)| (k.name.to_string(), k.pos)).collect(),
            (_, Type::Map(Some(r))) if r.of.is_empty() => {
                r.fields.iter().map(|f| (f.clone(), arg.start_position())).collect()
            }
            _ => return,
        };
        for (key, pos) in keys.into_iter().filter(|(k, _)| !known.contains(k)) {
            let hint = match nearest(&key, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are {}", known.iter().cloned().collect::<Vec<_>>().join(", ")),
            };
            self.wrong("unknown-option", pos, format!("{function} has no option `{key}`"), Some(hint));
        }
    }

    /// `args.parse(#{ … })`: whether clap would take it, and the fields that it gives.
    pub fn declaration(&mut self, f: &FnCallExpr, pos: Position) -> Type {
        let Some(Expr::Map(x, _)) = f.args.first() else { return Type::Map(None) };
        let before = self.errors();
        let mut fields = Vec::new();
        let mut is_open = false;
        for (key, value) in &x.0 {
            let keys = match key.name.as_str() {
                "positional" => args::POSITIONAL_KEYS,
                "options" => args::OPTION_KEYS,
                name => {
                    self.known_key(name, key.pos, args::SPEC_KEYS, "args.parse");
                    continue;
                }
            };
            let Expr::Array(items, _) = value else {
                is_open = true;
                continue;
            };
            for item in items {
                let Expr::Map(one, _) = item else {
                    is_open = true;
                    continue;
                };
                one.0.iter().for_each(|(k, _)| self.known_key(&k.name, k.pos, keys, "an argument's declaration"));
                match one.0.iter().find(|(k, _)| k.name == "name") {
                    Some((_, Expr::StringConstant(name, _))) => fields.push(name.replace('-', "_")),
                    _ => is_open = true,
                }
                if let Some((_, Expr::StringConstant(kind, at))) = one.0.iter().find(|(k, _)| k.name == "kind")
                    && !args::ARGUMENT_KINDS.contains(&kind.as_str())
                {
                    let hint = match nearest(kind, args::ARGUMENT_KINDS.iter().copied()) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None => format!("known are {}", args::ARGUMENT_KINDS.join(", ")),
                    };
                    self.wrong("unknown-kind", *at, format!("there is no kind of argument \"{kind}\""), Some(hint));
                }
            }
        }
        if self.errors() == before
            && !is_open
            && let Some(map) = spec::literal(&f.args[0]).try_cast::<Map>()
            && let Err(e) = args::check(&map)
        {
            let subject = if e.subject.is_empty() { String::new() } else { format!("`{}` ", e.subject) };
            self.wrong("declaration", pos, format!("args.parse: {subject}{}", e.message), e.hint);
        }
        Type::Map((!is_open).then(|| Rc::new(Record { fields, of: "args.parse".into() })))
    }

    fn known_key(&mut self, key: &str, pos: Position, known: &[&str], what: &str) {
        if !known.contains(&key) {
            let hint = match nearest(key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are {}", known.join(", ")),
            };
            self.wrong("unknown-option", pos, format!("{what} has no `{key}`"), Some(hint));
        }
    }
}

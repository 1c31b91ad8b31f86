//! Calls: which function is meant, and whether it takes these arguments.

use super::facts::Function;
use super::finding::Severity;
use super::library::{KEYWORDS, Overload};
use super::modules::Module;
use super::scope::Target;
use super::types::Type;
use super::walk::Walk;
use crate::error::nearest;
use crate::helpers::units;
use crate::host::registry::{self, KINDS};
use rhai::{Expr, FnCallExpr, Position, Token};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Methods of arrays that give each item to their closure.
const EACH: [&str; 14] = [
    "map", "filter", "some", "all", "find", "find_map", "for_each", "index_of", "retain", "drain", "sort", "dedup",
    "extract", "zip",
];
/// Those whose result has the same items.
const SAME: [&str; 6] = ["filter", "drain", "retain", "extract", "sort", "dedup"];

impl Walk<'_> {
    /// `f(…)`, `module::f(…)`, and operators.
    pub fn call(&mut self, f: &FnCallExpr, pos: Position) -> Type {
        if let Some(token) = &f.op_token {
            let types: Vec<Type> = f.args.iter().map(|a| self.expr(a)).collect();
            return operator(token, &types);
        }
        if !f.namespace.is_empty() {
            return self.module_call(f, pos);
        }
        let first = f.args.first().filter(|_| f.name == "parallel").map(|e| self.expr(e).element());
        let given: Vec<Type> = first.into_iter().collect();
        let before = self.errors();
        let types: Vec<Type> = f.args.iter().map(|a| self.argument(a, &given).0).collect();
        if f.name == "assert_fails" {
            self.meant_to_fail(before);
        }
        let (name, count) = (f.name.as_str(), f.args.len());
        if let Some(own) = self.facts.function(name, count) {
            own.used.set(true);
            self.note_function(own, pos);
            return Type::Any;
        }
        if self.is_keyword(f) {
            return if name == "Fn" { Type::Function } else { Type::Any };
        }
        let overloads = self.library.overloads(name);
        let right: Vec<&Overload> = overloads.iter().filter(|o| o.params.len() == count).collect();
        if right.is_empty() {
            self.wrong_call(name, count, pos);
            return Type::Any;
        }
        self.note_entry(&right, pos);
        self.options(&right, &types, 0, f);
        self.types(name, &right, &types, f, 0);
        same(right.iter().filter(|o| fit(o, &types)).map(|o| &o.returns))
    }

    /// `Fn("name")`.
    pub fn named_function(&mut self, name: &str, pos: Position) {
        let own: Vec<&Function> = self.facts.named(name).collect();
        own.iter().for_each(|f| f.used.set(true));
        if own.is_empty() && self.library.overloads(name).is_empty() {
            let hint = self.near_function(name);
            self.wrong("unknown-function", pos, format!("there is no function `{name}`"), hint);
        }
    }

    /// What the engine does itself, with any number of arguments.
    fn is_keyword(&mut self, f: &FnCallExpr) -> bool {
        match (f.name.as_str(), f.args.first()) {
            ("is_def_fn", Some(Expr::StringConstant(name, _))) => {
                self.facts.named(name).for_each(|own| own.used.set(true));
                true
            }
            ("Fn", Some(Expr::StringConstant(name, at))) => {
                self.named_function(name, *at);
                true
            }
            ("Fn" | "is_def_fn" | "is_def_var" | "is_shared" | "curry" | "call", _) => true,
            ("print" | "debug" | "type_of", _) => f.args.len() == 1,
            _ => false,
        }
    }

    fn near_function(&self, name: &str) -> Option<String> {
        // The script's own first: of two that are as near, that is the likelier.
        let own = nearest(name, self.facts.functions.iter().map(|f| f.def.name.as_str()));
        own.or_else(|| nearest(name, self.library.free())).map(|n| format!("did you mean `{n}`?"))
    }

    /// Nothing of this name takes this many arguments.
    fn wrong_call(&mut self, name: &str, count: usize, pos: Position) {
        let own: Vec<&Function> = self.facts.named(name).collect();
        own.iter().for_each(|f| f.used.set(true));
        let overloads = self.library.overloads(name);
        let documented = overloads.iter().filter_map(|o| o.entry).map(|e| &self.library.entries[e]);
        let free: Vec<_> = documented.clone().filter(|e| e.receiver.is_none()).collect();
        if let Some(f) = own.first() {
            let takes = counts(own.iter().map(|f| f.def.params.len()));
            let hint = format!("it is {}", f.signature());
            self.wrong("argument-count", pos, format!("`{name}` takes {takes}, not {count}"), Some(hint));
        } else if let Some(e) = free.first() {
            let takes = counts(e.arities.iter().copied());
            let hint = format!("it is {}", registry::signature(e));
            self.wrong("argument-count", pos, format!("`{name}` takes {takes}, not {count}"), Some(hint));
        } else if let Some(v) = self.scopes.find(name) {
            v.used = true;
            let hint = format!("a closure in a variable is called with {name}.call(…)");
            self.wrong("unknown-function", pos, format!("`{name}` is a variable, not a function"), Some(hint));
        } else if documented.clone().next().is_some() {
            let places: BTreeSet<String> =
                documented.filter_map(|e| registry::signature(e).split('(').next().map(String::from)).collect();
            let hint = places.into_iter().collect::<Vec<_>>().join(", ");
            self.wrong(
                "unknown-function",
                pos,
                format!("there is no function `{name}` without a receiver"),
                Some(format!("did you mean {hint}?")),
            );
        } else if !overloads.is_empty() {
            let takes = counts(overloads.iter().map(|o| o.params.len()));
            self.wrong("argument-count", pos, format!("`{name}` takes {takes}, not {count}"), None);
        } else {
            let hint = match self.imports.iter().find_map(|i| {
                let module = i.module.as_ref().filter(|m| m.functions.contains_key(name))?;
                Some(format!("{}::{name}, of \"{}\"", i.alias, module.name))
            }) {
                Some(there) => Some(format!("did you mean {there}?")),
                None => self.near_function(name),
            };
            self.wrong("unknown-function", pos, format!("there is no function `{name}`"), hint);
        }
    }

    fn module_call(&mut self, f: &FnCallExpr, pos: Position) -> Type {
        let types: Vec<Type> = f.args.iter().map(|a| self.argument(a, &[]).0).collect();
        let (name, count, root) = (f.name.as_str(), f.args.len(), f.namespace.root().to_string());
        if root == "global" {
            match self.facts.function(name, count) {
                Some(own) => own.used.set(true),
                None if self.library.overloads(name).is_empty() => self.wrong_call(name, count, pos),
                None => {}
            }
            return Type::Any;
        }
        let Some(module) = self.module(&f.namespace) else { return Type::Any };
        // What a module imports itself is reached through it.
        if f.namespace.path.len() > 1 {
            return Type::Any;
        }
        let Some(list) = module.functions.get(name) else {
            let near = nearest(name, module.functions.keys().map(String::as_str));
            let hint = if module.private.contains(name) {
                Some("it is private there".into())
            } else {
                near.map(|n| format!("did you mean `{root}::{n}`?"))
            };
            self.wrong("unknown-function", pos, format!("\"{}\" has no function `{name}`", module.name), hint);
            return Type::Any;
        };
        match list.iter().find(|e| e.params.len() == count) {
            Some(e) => {
                let file = file_of(&module);
                let signature = format!("{root}::{name}({})", e.params.join(", "));
                let module = Some(module.name.clone());
                self.note(pos, Target::Function { signature, doc: e.doc.clone(), file, module, at: e.at });
                if let (Some(known), Some(arg), Some(ty)) = (&e.options, f.args.last(), types.last()) {
                    let known = known.iter().cloned().collect();
                    self.keys_of(&format!("{root}::{name}"), arg, ty, &known);
                }
            }
            None => {
                let takes = counts(list.iter().map(|e| e.params.len()));
                let hint = format!("it is {root}::{name}({})", list[0].params.join(", "));
                self.wrong("argument-count", pos, format!("`{root}::{name}` takes {takes}, not {count}"), Some(hint));
            }
        }
        Type::Any
    }

    fn note_function(&mut self, f: &Function, pos: Position) {
        let target =
            Target::Function { signature: f.signature(), doc: f.doc.clone(), file: None, module: None, at: f.at };
        self.note(pos, target);
    }

    fn note_entry(&mut self, overloads: &[&Overload], pos: Position) {
        if let Some(entry) = overloads.iter().find_map(|o| o.entry) {
            self.note(pos, Target::Entry(entry));
        }
    }

    pub fn method(&mut self, of: Type, f: &FnCallExpr, pos: Position) -> Type {
        let (name, count) = (f.name.as_str(), f.args.len());
        let mut result = None;
        let types: Vec<Type> = f
            .args
            .iter()
            .map(|a| {
                let given = if EACH.contains(&name) && matches!(of, Type::Array(_)) {
                    closure_takes(name, a, &of)
                } else {
                    vec![]
                };
                let (ty, returns) = self.argument(a, &given);
                result = returns.or(result.take());
                ty
            })
            .collect();
        let overloads = self.library.overloads(name);
        let takes_it = |o: &&Overload| o.params.first().is_some_and(|(_, first)| of.fits(first));
        let here: Vec<&Overload> = overloads.iter().filter(takes_it).collect();
        let right: Vec<&Overload> = here.iter().filter(|o| o.params.len() == count + 1).copied().collect();
        if let Some(own) = self.facts.function(name, count) {
            own.used.set(true);
            self.note_function(own, pos);
            if let (Type::Of(_), Some(o)) = (&of, right.first())
                && let Some(entry) = o.entry
            {
                let full = registry::signature(&self.library.entries[entry]);
                let message = format!("this calls the script's own function `{name}`, not {full}");
                self.say(
                    Severity::Warning,
                    "hidden-method",
                    pos,
                    message,
                    Some("give the script's function another name".into()),
                );
            }
            return Type::Any;
        }
        let may_hold_closure =
            matches!(of, Type::Any | Type::Map(_)) && (self.facts.keys.contains(name) || self.keys.contains(name));
        if KEYWORDS.contains(&name) && (here.is_empty() || right.is_empty()) || may_hold_closure {
            return Type::Any;
        }
        if here.is_empty() {
            self.unknown_method(&of, name, pos);
            return Type::Any;
        }
        if right.is_empty() {
            self.wrong_count(&of, name, &here, count, pos);
            return Type::Any;
        }
        if of != Type::Any {
            self.note_entry(&right, pos);
        }
        let all: Vec<Type> = std::iter::once(of.clone()).chain(types).collect();
        self.options(&right, &all, 1, f);
        self.types(name, &right, &all, f, 1);
        match &of {
            Type::Array(_) if SAME.contains(&name) => of,
            Type::Array(element) if name == "find" => (**element).clone(),
            Type::Array(_) if name == "map" => Type::array(result.unwrap_or(Type::Any)),
            Type::Of(t) if &**t == "Args" && name == "parse" => self.declaration(f, pos),
            Type::Any => Type::Any,
            _ => same(right.iter().filter(|o| fit(o, &all)).map(|o| &o.returns)),
        }
    }

    fn unknown_method(&mut self, of: &Type, name: &str, pos: Position) {
        let everywhere = |walk: &Walk| -> Option<String> {
            let functions = walk.facts.functions.iter().map(|f| f.def.name.as_str());
            let all: Vec<&str> = walk.library.functions.keys().map(String::as_str).chain(functions).collect();
            nearest(name, all.into_iter().filter(|n| !n.contains('$'))).map(|n| format!("did you mean `{n}`?"))
        };
        let namespace = match of {
            Type::Of(t) => registry::namespace_of(t),
            _ => None,
        };
        let (message, hint) = match namespace {
            Some(namespace) => {
                let near = self.library.near_method(of, name);
                let other = || -> Option<String> {
                    let same = self.library.overloads(name).iter().filter_map(|o| o.entry);
                    let there = same.map(|e| registry::signature(&self.library.entries[e])).next()?;
                    Some(format!("there is {there}"))
                };
                (format!("there is no {namespace}.{name}"), near.map(|n| format!("did you mean `{n}`?")).or_else(other))
            }
            None if *of == Type::Any || matches!(of, Type::Map(_)) => {
                (format!("there is no method `{name}`"), everywhere(self))
            }
            None => {
                let near = self.library.near_method(of, name).map(|n| format!("did you mean `{n}`?"));
                (format!("{} has no method `{name}`", of.name()), near)
            }
        };
        self.wrong("unknown-method", pos, message, hint);
    }

    fn wrong_count(&mut self, of: &Type, name: &str, here: &[&Overload], count: usize, pos: Position) {
        let own: Vec<&Function> = self.facts.named(name).collect();
        own.iter().for_each(|f| f.used.set(true));
        if !own.is_empty() && *of == Type::Any {
            let takes = counts(own.iter().map(|f| f.def.params.len()).chain(here.iter().map(|o| o.params.len() - 1)));
            self.wrong("argument-count", pos, format!("`{name}` takes {takes}, not {count}"), None);
            return;
        }
        let takes = counts(here.iter().map(|o| o.params.len() - 1));
        let entries: BTreeSet<usize> = here.iter().filter_map(|o| o.entry).collect();
        let signatures: Vec<String> = entries.iter().map(|e| registry::signature(&self.library.entries[*e])).collect();
        let shown = match (&signatures[..], of) {
            ([one], Type::Of(_)) => one.split('(').next().unwrap_or(name).to_string(),
            _ => name.to_string(),
        };
        let hint =
            (!signatures.is_empty() && signatures.len() < 4).then(|| format!("it is {}", signatures.join(" or ")));
        self.wrong("argument-count", pos, format!("`{shown}` takes {takes}, not {count}"), hint);
    }

    /// Whether any of the overloads takes arguments of these types; `skip` is 1 for methods, whose receiver is known to fit.
    fn types(&mut self, name: &str, overloads: &[&Overload], types: &[Type], f: &FnCallExpr, skip: usize) {
        let pos_of = |at: usize| f.args[at - skip].start_position();
        if !overloads.iter().any(|o| fit(o, types)) {
            // The argument that goes wrong in the overload that gets furthest.
            let first_bad =
                |o: &&&Overload| types.iter().zip(&o.params).position(|(t, (_, p))| !t.fits(p)).unwrap_or(0);
            let Some(best) = overloads.iter().max_by_key(first_bad) else { return };
            let at = first_bad(&best);
            if at < skip {
                return;
            }
            let wanted: BTreeSet<String> =
                overloads.iter().filter(|o| first_bad(o) == at).map(|o| o.params[at].1.name()).collect();
            let wanted = wanted.into_iter().collect::<Vec<_>>().join(" or ");
            let message = match best.entry {
                Some(e) => {
                    let full = registry::signature(&self.library.entries[e]);
                    let full = full.split('(').next().unwrap_or(name);
                    format!("`{full}`: {} is {wanted}, not {}", shown(&best.params[at].0), types[at].name())
                }
                None => format!("`{name}` takes {wanted} here, not {}", types[at].name()),
            };
            let hint = best.entry.map(|e| format!("it is {}", registry::signature(&self.library.entries[e])));
            self.wrong("argument-type", pos_of(at), message, hint);
            return;
        }
        let Some(best) = overloads.iter().find(|o| o.entry.is_some() && fit(o, types)) else { return };
        let kinds: Vec<String> = best.params.iter().map(|(kind, _)| kind.clone()).collect();
        for (at, kind) in kinds.iter().enumerate().skip(skip) {
            let arg = &f.args[at - skip];
            if let Some(why) = value(kind, &types[at], arg) {
                let said = KINDS.iter().find(|(k, _)| k == kind).map(|(_, said)| format!("{} is {said}", shown(kind)));
                self.wrong("argument-value", arg.start_position(), format!("`{name}`: {why}"), said);
            }
        }
    }
}

fn file_of(module: &Module) -> Option<PathBuf> {
    module.source.dir.is_some().then(|| PathBuf::from(&module.source.name))
}

/// `options` for `options_`, in backticks.
fn shown(kind: &str) -> String {
    format!("`{}`", kind.trim_end_matches('_'))
}

fn fit(o: &Overload, types: &[Type]) -> bool {
    types.iter().zip(&o.params).all(|(t, (_, wanted))| t.fits(wanted))
}

/// The one type that they all have.
fn same<'a>(mut types: impl Iterator<Item = &'a Type>) -> Type {
    let Some(first) = types.next() else { return Type::Any };
    if types.all(|t| t == first) { first.clone() } else { Type::Any }
}

/// `2 or 3 arguments`.
fn counts(all: impl Iterator<Item = usize>) -> String {
    let all: BTreeSet<usize> = all.collect();
    let words: Vec<String> = all.iter().map(ToString::to_string).collect();
    match &words[..] {
        [one] if one == "1" => "1 argument".into(),
        [one] => format!("{one} arguments"),
        [first @ .., last] => format!("{} or {last} arguments", first.join(", ")),
        [] => "no arguments".into(),
    }
}

/// What the closure of an array's method is given, by how many parameters it has.
fn closure_takes(name: &str, closure: &Expr, of: &Type) -> Vec<Type> {
    let element = of.element();
    match (name, closure) {
        ("sort" | "dedup", _) => vec![element.clone(), element],
        ("zip", _) => vec![],
        _ => vec![element],
    }
}

fn operator(token: &Token, types: &[Type]) -> Type {
    match token {
        Token::EqualsTo
        | Token::NotEqualsTo
        | Token::LessThan
        | Token::LessThanEqualsTo
        | Token::GreaterThan
        | Token::GreaterThanEqualsTo
        | Token::In
        | Token::NotIn
        | Token::Bang => Type::Bool,
        Token::Plus | Token::Minus | Token::Multiply | Token::Divide | Token::Modulo => match types {
            [Type::Int, Type::Int] => Type::Int,
            [Type::Text, _] if *token == Token::Plus => Type::Text,
            _ => Type::Any,
        },
        Token::UnaryMinus | Token::UnaryPlus if types == [Type::Int] => Type::Int,
        _ => Type::Any,
    }
}

/// What is wrong with a literal, where the parameter's kind says what it must be.
fn value(kind: &str, ty: &Type, arg: &Expr) -> Option<String> {
    let number_or_text = |what: &str| match ty {
        Type::Any | Type::Int | Type::Float | Type::Text => None,
        other => Some(format!("{what}, not {}", other.name())),
    };
    let Expr::StringConstant(text, _) = arg else {
        return match kind {
            "size" => number_or_text("a size is a number of bytes or text such as \"7G\""),
            "timeout" => number_or_text("a time is a number of seconds or text such as \"5m\""),
            _ => None,
        };
    };
    let said = match kind {
        "size" => units::parse_size(text).err(),
        "timeout" => units::parse_duration(text).err(),
        "image" | "new_image" => text.parse::<crate::bindings::spec::ImageSpec>().err(),
        "snap" | "new_snap" => text.parse::<crate::bindings::spec::SnapSpec>().err(),
        _ => None,
    }?;
    Some(format!("\"{text}\": {}", said.message))
}

//! What a name means: a variable, a handle, a function, a module.

use super::library::KEYWORDS;
use super::modules::{self, Module};
use super::scope::Target;
use super::types::Type;
use super::walk::Walk;
use crate::error::nearest;
use rhai::Position;
use std::rc::Rc;

impl Walk<'_> {
    pub fn variable(&mut self, name: &str, pos: Position, read: bool) -> Type {
        if let Some(v) = self.scopes.find(name) {
            v.used |= read;
            let (ty, at) = (v.ty.clone(), v.at);
            let shown = format!("{name}: {}", ty.name());
            self.note(pos, Target::Variable { name: name.into(), shown, at });
            return ty;
        }
        if let Some(ty) = self.library.global(name) {
            self.note(pos, Target::Global(name.into()));
            return ty.clone();
        }
        if let Some(f) = self.facts.named(name).next() {
            f.used.set(true);
            return Type::Function;
        }
        if self
            .library
            .overloads(name)
            .iter()
            .any(|o| o.entry.is_some_and(|e| self.library.entries[e].receiver.is_none()))
            || KEYWORDS.contains(&name)
        {
            let hint = format!("call it: {name}(…)");
            self.wrong("unknown-variable", pos, format!("`{name}` is a function, not a variable"), Some(hint));
            return Type::Any;
        }
        let hint = if self.in_function && self.facts.constants.contains(name) {
            Some(format!("functions see the constants of the script as `global::{name}`"))
        } else if self.in_function && self.facts.top_level.contains(name) {
            Some(format!("functions do not see the variables of the script: give them `{name}` as an argument"))
        } else if self.imports.iter().any(|i| i.alias == name) {
            Some(format!("it is a module: `{name}::…`"))
        } else {
            let names: Vec<&str> = self.scopes.names().chain(self.library.globals()).collect();
            let functions = self.facts.functions.iter().map(|f| f.def.name.as_str());
            nearest(name, names.into_iter().chain(functions))
                .filter(|_| name.len() > 1)
                .map(|n| format!("did you mean `{n}`?"))
        };
        self.wrong("unknown-variable", pos, format!("there is no variable `{name}`"), hint);
        Type::Any
    }

    pub fn qualified_variable(&mut self, namespace: &rhai::Namespace, name: &str, pos: Position) -> Type {
        if namespace.root() == "global" {
            if !self.facts.constants.contains(name) {
                let near = nearest(name, self.facts.constants.iter().map(String::as_str));
                let hint = near.map(|n| format!("did you mean `global::{n}`?"));
                self.wrong(
                    "unknown-variable",
                    pos,
                    format!("there is no constant `{name}` at the top of the script"),
                    hint,
                );
            }
            return Type::Any;
        }
        let Some(module) = self.module(namespace) else { return Type::Any };
        if namespace.path.len() == 1 && !module.variables.contains(name) {
            let near = nearest(name, module.variables.iter().map(String::as_str));
            let hint = match near {
                Some(n) => Some(format!("did you mean `{}::{n}`?", namespace.root())),
                None => module
                    .functions
                    .contains_key(name)
                    .then(|| format!("it is a function: {}::{name}(…)", namespace.root())),
            };
            self.wrong("unknown-variable", pos, format!("\"{}\" exports no `{name}`", module.name), hint);
        }
        Type::Any
    }

    /// The module behind the first name of `a::b`, if it is known.
    pub fn module(&mut self, namespace: &rhai::Namespace) -> Option<Rc<Module>> {
        let root = namespace.root().to_string();
        match self.imports.iter_mut().rev().find(|i| i.alias == root) {
            Some(import) => {
                import.used = true;
                import.module.clone()
            }
            None => {
                let near = nearest(&root, self.imports.iter().map(|i| i.alias.as_str()));
                let hint = match near {
                    Some(n) => format!("did you mean `{n}`?"),
                    None if self.library.global(&root).is_some() => format!("with a dot: {root}.…"),
                    None => match modules::names(None, &[]).iter().find(|n| n.ends_with(&format!("/{root}"))) {
                        Some(name) => format!("import \"{name}\" as {root};"),
                        None => format!("import \"…\" as {root};"),
                    },
                };
                self.wrong(
                    "unknown-module",
                    namespace.position(),
                    format!("nothing is imported as `{root}`"),
                    Some(hint),
                );
                None
            }
        }
    }
}

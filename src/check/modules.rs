//! What an imported module offers.

use super::facts::Facts;
use crate::host::scripts::{self, Source};
use rhai::{AST, ASTFlags, Engine, Expr, Stmt};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A function that a module hands out.
#[derive(Clone)]
pub struct Exported {
    pub params: Vec<String>,
    pub doc: String,
    pub at: (usize, usize),
    /// The keys of the map that its last parameter is, where it takes no others.
    pub options: Option<Vec<String>>,
}

pub struct Module {
    /// As `import` writes it.
    pub name: String,
    pub source: Source,
    /// Of each name its overloads.
    pub functions: BTreeMap<String, Vec<Exported>>,
    pub private: BTreeSet<String>,
    pub variables: BTreeSet<String>,
    pub keys: BTreeSet<String>,
}

pub enum Found {
    Module(Rc<Module>),
    /// There is none of this name.
    Missing,
    /// It cannot be read, or does not compile: why.
    Broken(String),
}

/// Reads modules; one that many scripts import is read once.
#[derive(Default)]
pub struct Modules {
    read: BTreeMap<String, Rc<Module>>,
}

impl Modules {
    pub fn find(&mut self, engine: &Engine, name: &str, beside: Option<&Path>, dirs: &[PathBuf]) -> Found {
        let source = match scripts::find_module(name, beside, dirs) {
            None => return Found::Missing,
            Some(Err(e)) => return Found::Broken(e.to_string()),
            Some(Ok(source)) => source,
        };
        // What an editor has open may have changed since.
        if source.dir.is_none()
            && let Some(module) = self.read.get(&source.name)
        {
            return Found::Module(module.clone());
        }
        let ast = match engine.compile(&source.text) {
            Ok(ast) => ast,
            Err(e) => return Found::Broken(format!("{}: {e}", source.name)),
        };
        let facts = Facts::of(&ast, &source.text);
        let mut functions: BTreeMap<String, Vec<Exported>> = BTreeMap::new();
        let lines: Vec<&str> = source.text.lines().collect();
        let starts: Vec<usize> = facts.functions.iter().map(|f| f.at.0).collect();
        let mut private = BTreeSet::new();
        for f in &facts.functions {
            if f.is_private() {
                private.insert(f.def.name.to_string());
                continue;
            }
            functions.entry(f.def.name.to_string()).or_default().push(Exported {
                params: f.def.params.iter().map(ToString::to_string).collect(),
                doc: f.doc.clone(),
                at: f.at,
                options: {
                    let end = starts.iter().find(|s| **s > f.at.0).map_or(lines.len(), |s| s - 1);
                    // As std/clone refuses what it does not know.
                    let body = lines.get(f.at.0.saturating_sub(1)..end).unwrap_or_default();
                    let refuses = body.iter().any(|l| l.contains("!(key in global::DEFAULTS)"));
                    refuses.then(|| constant_keys(&ast, "DEFAULTS")).flatten()
                },
            });
        }
        let mut variables = BTreeSet::new();
        for stmt in ast.statements() {
            match stmt {
                Stmt::Var(x, flags, _) if flags.contains(ASTFlags::EXPORTED) => {
                    variables.insert(x.0.name.to_string());
                }
                Stmt::Export(x, _) => {
                    let name = if x.1.name.is_empty() { &x.0.name } else { &x.1.name };
                    variables.insert(name.to_string());
                }
                _ => {}
            }
        }
        let module = Rc::new(Module { name: name.into(), functions, private, variables, keys: facts.keys, source });
        self.read.insert(module.source.name.clone(), module.clone());
        Found::Module(module)
    }
}

/// The keys of a constant that is a map.
fn constant_keys(ast: &AST, name: &str) -> Option<Vec<String>> {
    ast.statements().iter().find_map(|stmt| match stmt {
        Stmt::Var(x, ..) if x.0.name == name => match &x.1 {
            Expr::Map(map, _) => Some(map.0.iter().map(|(k, _)| k.name.to_string()).collect()),
            _ => None,
        },
        _ => None,
    })
}

/// The names that `import` would find: built in, of the site, and beside the script.
pub fn names(beside: Option<&Path>, dirs: &[PathBuf]) -> Vec<String> {
    let mut all = scripts::std_modules();
    for dir in beside.into_iter().chain(dirs.iter().map(PathBuf::as_path)) {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        let files = entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|x| x == "rhai"));
        all.extend(files.filter_map(|p| Some(p.file_stem()?.to_str()?.to_string())));
    }
    all.sort();
    all.dedup();
    all
}

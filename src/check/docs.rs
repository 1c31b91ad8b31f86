//! What is said of modules and scripts: their own comments and declarations.

use super::modules::{Found, Modules};
use super::spec;
use crate::helpers::args;
use crate::host::engine;
use crate::host::scripts::{self, Source};
use rhai::Engine;
use serde::Serialize;
use std::path::PathBuf;

/// A module that scripts import.
#[derive(Serialize)]
pub struct ModuleDoc {
    pub name: String,
    pub about: String,
    /// Signature and comment of each function that is not private.
    pub functions: Vec<(String, String)>,
}

/// A script that is run.
#[derive(Serialize)]
pub struct ScriptDoc {
    pub name: String,
    pub about: String,
    /// As `--help` shows it; empty where it declares no arguments.
    pub help: String,
}

/// Without strict variables, which a text that nobody runs need not obey.
fn lax() -> Engine {
    let mut engine = engine::bare();
    engine.set_strict_variables(false);
    engine
}

/// The module that `import "NAME"` would find, seen from `beside`.
pub fn module_doc(name: &str, beside: Option<&std::path::Path>, dirs: &[PathBuf]) -> Option<ModuleDoc> {
    let Found::Module(module) = Modules::default().find(&lax(), name, beside, dirs) else { return None };
    let mut functions: Vec<_> =
        module.functions.iter().flat_map(|(n, list)| list.iter().map(move |f| (n, f))).collect();
    functions.sort_by_key(|(_, f)| f.at);
    Some(ModuleDoc {
        name: name.into(),
        about: about(&module.source),
        functions: functions
            .into_iter()
            .map(|(n, f)| (format!("{n}({})", f.params.join(", ")), f.doc.clone()))
            .collect(),
    })
}

pub fn script_doc(source: &Source, width: usize) -> ScriptDoc {
    let name = source.name.rsplit('/').next().unwrap_or_default().to_string();
    let command = spec::of_source(&lax(), source).and_then(|s| args::command_of(&name, &s).ok());
    let help = command.map(|c| c.term_width(width).render_help().to_string()).unwrap_or_default();
    ScriptDoc { about: about(source), help, name }
}

/// All modules of the standard library.
pub fn module_docs(dirs: &[PathBuf]) -> Vec<ModuleDoc> {
    scripts::std_modules().iter().filter_map(|name| module_doc(name, None, dirs)).collect()
}

/// All scripts that can be run by name.
pub fn script_docs(dirs: &[PathBuf], width: usize) -> Vec<ScriptDoc> {
    let found = scripts::list(dirs).into_iter().filter_map(|s| scripts::find(&s.name, dirs).ok());
    found.map(|source| script_doc(&source, width)).collect()
}

/// The comment that a text begins with, without what tells machines something.
fn about(source: &Source) -> String {
    let lines = source.text.lines().skip_while(|l| l.starts_with("#!")).take_while(|l| l.starts_with("//"));
    let said = lines.map(|l| l.trim_start_matches(['/', '!']).trim()).filter(|l| !l.starts_with("ceph-id:"));
    said.collect::<Vec<_>>().join("\n").trim().to_string()
}

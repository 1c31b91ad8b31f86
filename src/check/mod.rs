//! `zs check`: what is wrong with a script can be seen without running it.
//!
//! Rhai parses; [`walk`] goes through the syntax tree with what [`library`] knows of functions, [`modules`] of imports and
//! [`facts`] of the script as a whole. Nothing is said of what is not known for certain: a value whose type depends on the
//! run has the type `Any`, and `Any` is never wrong.

mod calls;
mod chain;
mod docs;
mod facts;
mod finding;
mod library;
mod modules;
mod names;
mod options;
mod scope;
pub mod spec;
mod types;
mod walk;

pub use docs::{ModuleDoc, ScriptDoc, module_doc, module_docs, script_doc, script_docs};
pub use finding::{Finding, Severity, render};
pub use library::Library;
pub use modules::names as module_names;
pub use scope::{Defined, Known, Target, Use};
pub use types::Type;

use crate::host::engine;
use crate::host::scripts::Source;
use facts::Facts;
use modules::Modules;
use rhai::{AST, Engine};
use std::path::PathBuf;

/// Checks any number of scripts; made once, as it takes a few milliseconds.
pub struct Checker {
    pub engine: Engine,
    pub library: Library,
    modules: Modules,
    dirs: Vec<PathBuf>,
}

/// All that is known of one script.
#[derive(Default)]
pub struct Analysis {
    pub findings: Vec<Finding>,
    /// What stands where, for editors.
    pub uses: Vec<Use>,
    /// Variables, functions and imports with the lines that they are known in.
    pub known: Vec<Known>,
    pub functions: Vec<Defined>,
}

impl Checker {
    /// `dirs` is `[scripts] path`.
    pub fn new(dirs: &[PathBuf]) -> Checker {
        let mut engine = engine::bare();
        let library = Library::new(&engine);
        // Rhai stops at the first unknown name: those are found here, all of them, and with better words.
        engine.set_strict_variables(false);
        Checker { engine, library, modules: Modules::default(), dirs: dirs.to_vec() }
    }

    pub fn check(&mut self, source: &Source) -> Analysis {
        match self.engine.compile(&source.text) {
            Ok(ast) => self.check_ast(source, &ast),
            Err(e) => {
                let finding = finding::syntax(&e, &source.text, self.library.globals());
                Analysis { findings: vec![finding], ..Analysis::default() }
            }
        }
    }

    fn check_ast(&mut self, source: &Source, ast: &AST) -> Analysis {
        let facts = Facts::of(ast, &source.text);
        let mut walk = walk::Walk::new(&self.engine, &self.library, &mut self.modules, &self.dirs, source, &facts);
        walk.script(ast);
        walk.finish()
    }
}

#[cfg(test)]
mod tests;

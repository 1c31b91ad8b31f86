//! `zs check`: what is wrong with a script can be seen without running it.
//!
//! Rhai parses; `walk` goes through the syntax tree with what `library` knows of functions, `modules` of imports and
//! `facts` of the script as a whole. Nothing is said of what is not known for certain: a value whose type depends on the
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
        let e = match self.engine.compile(&source.text) {
            Ok(ast) => return self.check_ast(source, &ast),
            Err(e) => e,
        };
        let first = finding::syntax(&e, &source.text, self.library.globals());
        let more = self.beyond(source, first.line);
        let mut findings = vec![first];
        findings.extend(more);
        findings.sort_by_key(|f| (f.line, f.column));
        Analysis { findings, ..Analysis::default() }
    }

    /// Rhai's parser stops at its first error. What else is wrong is found without the lines that it stumbles over: what
    /// these may have declared or used is not judged.
    fn beyond(&mut self, source: &Source, first: usize) -> Vec<Finding> {
        const MOST: usize = 20;
        let mut lines: Vec<String> = source.text.split('\n').map(String::from).collect();
        let (mut found, mut line, mut left_out) = (Vec::new(), first, String::new());
        for _ in 0..MOST {
            let Some(old) = lines.get_mut(line.saturating_sub(1)) else { return found };
            if !is_balanced(old) {
                return found;
            }
            left_out.push_str(old);
            *old = " ".repeat(old.chars().count());
            let text = lines.join("\n");
            let e = match self.engine.compile(&text) {
                Ok(ast) => {
                    let rest = Source { text, ..source.clone() };
                    let word = |w: &str| left_out.split(|c: char| !c.is_alphanumeric() && c != '_').any(|x| x == w);
                    let known = self.check_ast(&rest, &ast).findings;
                    let sure = known.into_iter().filter(|f| {
                        let code = rest.text.lines().nth(f.line - 1).unwrap_or_default();
                        let at: String = code.chars().skip(f.column - 1).take(f.end - f.column).collect();
                        f.severity == Severity::Error && !word(&at)
                    });
                    found.extend(sure);
                    return found;
                }
                Err(e) => e,
            };
            let next = finding::syntax(&e, &text, self.library.globals());
            // The same line again, or the end: it was not this line's mistake.
            if next.line <= line || next.line >= lines.len() && e.position().is_none() {
                return found;
            }
            line = next.line;
            found.push(next);
        }
        found
    }

    fn check_ast(&mut self, source: &Source, ast: &AST) -> Analysis {
        let facts = Facts::of(ast, &source.text);
        let mut walk = walk::Walk::new(&self.engine, &self.library, &mut self.modules, &self.dirs, source, &facts);
        walk.script(ast);
        walk.finish()
    }
}

/// Whether a line closes what it opens, so that the rest of a script stays whole without it.
fn is_balanced(line: &str) -> bool {
    let count = |c: char| line.matches(c).count();
    count('{') == count('}') && count('(') == count(')') && count('[') == count(']') && count('`') % 2 == 0
}

#[cfg(test)]
mod tests;

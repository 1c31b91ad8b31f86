//! What a session remembers, and how one line of it is run: as a transaction of its own in the session's run.

use super::complete::State;
use super::hosts::{Hosts, for_script};
use super::jobs::Jobs;
use super::scan::{Kind, scan};
use super::shape::{Shape, for_run};
use crate::bindings::spec::Cancel;
use crate::error::{Error, Result};
use crate::host::engine::{self, LAST_VALUE};
use crate::host::events::Events;
use crate::host::gate::lock;
use crate::host::journal::Open;
use crate::host::op::Op;
use crate::host::report::{self, Failure};
use crate::host::scripts::Source;
use crate::host::values::throw;
use crate::host::{Host, memory, program, scripts};
use rhai::{AST, Dynamic, Engine, EvalAltResult, FnPtr, Position, Scope, Stmt};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

pub struct Session {
    pub hosts: Hosts,
    pub host: Arc<Host>,
    pub engine: Engine,
    pub scope: Scope<'static>,
    /// The functions of all good lines.
    pub functions: AST,
    /// The texts of all lines by their sources' names.
    texts: HashMap<String, String>,
    /// In which source each function of the session stands.
    homes: HashMap<String, String>,
    /// The lines that were right: the session as a script.
    pub good: Vec<String>,
    /// What the lines have changed, for `:undo`.
    pub changed: Vec<(String, Vec<Open>)>,
    pub verbose: bool,
    pub jobs: Arc<Jobs>,
}

/// What the run has done before a line.
struct Mark {
    operations: u64,
    left: usize,
}

/// How a line has ended.
#[derive(Debug)]
pub enum Outcome {
    /// Its value; `()` for a statement.
    Value(Dynamic),
    /// The script has called `exit`.
    Exit,
    /// It failed, and that has been told.
    Failed,
}

impl Session {
    pub fn new(hosts: Hosts, host: Arc<Host>, jobs: &Arc<Jobs>, verbose: bool) -> Session {
        let mut engine = engine::build(&host);
        jobs.register(&mut engine);
        Session {
            hosts,
            engine,
            jobs: jobs.clone(),
            host,
            scope: Scope::new(),
            functions: AST::empty(),
            texts: HashMap::new(),
            homes: HashMap::new(),
            good: Vec::new(),
            changed: Vec::new(),
            verbose,
        }
    }

    /// Compiles a text in which the session's variables are known.
    pub fn compile(&self, text: &str, name: &str) -> Result<AST, Box<EvalAltResult>> {
        let mut known = engine::names();
        for (name, constant, _) in self.scope.iter() {
            if constant {
                known.push_constant(name, ())
            } else {
                known.push(name, ())
            };
        }
        // Found at once, whether or not there is a value yet.
        known.push(LAST_VALUE, ());
        let ast = engine::with_last_values(last_values(text), || self.engine.compile_with_scope(&known, text));
        let mut ast = ast.map_err(|e| Box::new(EvalAltResult::from(e)))?;
        ast.set_source(name);
        Ok(ast)
    }

    /// Runs a line that was typed, or a file. `confirmed`: a person has seen its plan and said yes.
    pub fn run(&mut self, text: &str, name: &str, confirmed: bool) -> Outcome {
        self.texts.insert(name.to_string(), text.to_string());
        let ast = match self.compile(text, name) {
            Ok(ast) => ast,
            Err(e) => return self.failed(&e, name, &self.mark()),
        };
        for f in ast.iter_functions() {
            self.homes.insert(f.name.to_string(), name.to_string());
        }
        let mut all = self.functions.merge(&ast);
        all.set_source(name);
        if self.scope.get(LAST_VALUE).is_none() {
            self.scope.push(LAST_VALUE, ());
        }
        let before = self.scope.len();
        let mark = self.mark();
        let mut scope = std::mem::take(&mut self.scope);
        *lock(&self.jobs.line) = (text.lines().next().unwrap_or_default().to_string(), all.clone());
        let result = self.transaction(&all, || {
            if confirmed {
                self.host.gate.confirmed();
            }
            self.engine.eval_ast_with_scope::<Dynamic>(&mut scope, &all)
        });
        self.scope = scope;
        match result {
            Ok((value, done)) => {
                self.functions = all.clone_functions_only();
                self.import(&ast);
                self.keep(text, done);
                self.remember(&value);
                Outcome::Value(value)
            }
            Err(e) => {
                self.scope.rewind(before);
                match *e {
                    EvalAltResult::Exit(..) => Outcome::Exit,
                    e => self.failed(&e, name, &mark),
                }
            }
        }
    }

    /// Runs a script by its name in the session's run.
    pub fn run_script(&mut self, source: &Source, args: Vec<String>) -> Outcome {
        let host = for_script(&self.host, &source.name, args);
        let engine = engine::build(&host);
        let mark = self.mark();
        let ast = match engine::compile(&engine, source) {
            Ok(ast) => ast,
            Err(e) => return self.failed(&e, &source.name, &mark),
        };
        let later = |f: &FnPtr| call_later(&engine, &ast, f);
        match transaction(&host, &later, || program::run(&engine, &ast)) {
            Ok((value, done)) => {
                self.keep(&source.name, done);
                Outcome::Value(value)
            }
            Err(_) if *lock(&host.finished) => Outcome::Value(Dynamic::UNIT),
            Err(e) => match *e {
                EvalAltResult::Exit(value, _) => Outcome::Value(value),
                e => self.failed(&e, &source.name, &mark),
            },
        }
    }

    /// What a line would do, on a model over the living site; `None` when it would fail, which has been told.
    pub fn plan(&mut self, text: &str, name: &str) -> Option<Vec<Op>> {
        self.texts.insert(name.to_string(), text.to_string());
        let mark = self.mark();
        let ast = match self.compile(text, name) {
            Ok(ast) => ast,
            Err(e) => {
                self.failed(&e, name, &mark);
                return None;
            }
        };
        let events = Arc::new(Events::keeping());
        let host = match self.hosts.plan(&events, &self.host.cancel) {
            Ok(host) => host,
            Err(e) => {
                self.failed(&throw(e), name, &mark);
                return None;
            }
        };
        let used: Vec<&str> = scan(text).tokens.into_iter().map(|t| &text[t.at]).collect();
        let handles = engine::handles(&host);
        let mut scope = Scope::new();
        for (variable, constant, value) in self.scope.iter().filter(|(v, ..)| used.contains(v)) {
            let Ok(value) = for_run(&value, &handles) else {
                let e = Error::denied(format!("`{variable}` acts on the living site: this line cannot be planned"))
                    .hint(":plan off runs it at once; zs -n is a whole session on a model");
                self.failed(&throw(e), name, &mark);
                return None;
            };
            if constant {
                scope.push_constant_dynamic(variable, value)
            } else {
                scope.push_dynamic(variable, value)
            };
        }
        let mut engine = engine::build(&host);
        // Begun for good by the line itself, when it has been said yes to.
        engine.register_fn("spawn", |_: FnPtr| ()).register_fn("wait", |_: Dynamic| ());
        for (alias, module) in lock(&self.jobs.modules).iter() {
            engine.register_static_module(alias.as_str(), module.clone());
        }
        let mut all = self.functions.merge(&ast);
        all.set_source(name);
        let later = |f: &FnPtr| call_later(&engine, &all, f);
        match transaction(&host, &later, || engine.eval_ast_with_scope::<Dynamic>(&mut scope, &all)) {
            Ok(_) => Some(events.planned()),
            Err(e) if matches!(*e, EvalAltResult::Exit(..)) => Some(events.planned()),
            Err(e) => {
                events.planned().iter().for_each(|op| self.host.events.plan(op));
                self.failed(&e, name, &mark);
                None
            }
        }
    }

    /// Takes back what a line has done; what could not be taken back.
    pub fn undo(&mut self, done: Vec<Open>) -> Vec<(String, String)> {
        let mark = self.mark();
        self.host.gate.take_back_line(done);
        self.host.gate.left().split_off(mark.left)
    }

    /// Goes to another hypervisor: another run, for `zs recover` must find what is done there.
    pub fn connect(&mut self, uri: &str, events: &Arc<Events>, cancel: &Cancel) -> Result<()> {
        if self.hosts.model.is_some() {
            return Err(Error::unsupported("this session is on a model").op(":connect").hint("zs -n --connect URI"));
        }
        let mut hosts = self.hosts.clone();
        hosts.settings.libvirt_uri = Some(uri.into());
        let host = hosts.run("repl", events, cancel)?;
        // Before anything else is given up.
        host.virsh().uri()?;
        self.host.gate.end_session()?;
        let mut engine = engine::build(&host);
        self.jobs.register(&mut engine);
        for (alias, module) in lock(&self.jobs.modules).iter() {
            engine.register_static_module(alias.as_str(), module.clone());
        }
        *lock(&self.jobs.hosts) = hosts.clone();
        // What was done there would be looked for here.
        self.changed.clear();
        let handles = engine::handles(&host);
        let mut scope = Scope::new();
        for (name, constant, value) in self.scope.iter() {
            // What acts on the former hypervisor would do so in a run that has ended.
            let value = for_run(&value, &handles).unwrap_or_else(|kind| {
                events.log("warn", &format!("`{name}` is gone: it was a {kind} of the former run"));
                Dynamic::UNIT
            });
            if constant {
                scope.push_constant_dynamic(name, value)
            } else {
                scope.push_dynamic(name, value)
            };
        }
        self.scope = scope;
        (self.hosts, self.host, self.engine) = (hosts, host, engine);
        Ok(())
    }

    /// The last value.
    pub fn last(&self) -> Option<Dynamic> {
        self.scope.get(LAST_VALUE).filter(|v| !v.is_unit()).cloned()
    }

    /// What completion needs to know.
    pub fn state(&self, columns: usize) -> State {
        let mut variables = HashMap::new();
        for (name, _, value) in self.scope.iter_raw() {
            variables.insert(name.to_string(), Shape::of(value));
        }
        let functions = self.functions.iter_functions().filter(|f| !f.name.starts_with("anon$"));
        let functions_of = |m: &rhai::Module| {
            let mut names: Vec<String> = m.iter_script_fn_info().map(|(.., f)| f.name.to_string()).collect();
            names.retain(|n| !n.starts_with("anon$"));
            names
        };
        State {
            variables,
            functions: functions.map(|f| (f.name.to_string(), f.params.len())).collect(),
            modules: lock(&self.jobs.modules).iter().map(|(n, m)| (n.clone(), functions_of(m))).collect(),
            host: Some(self.host.clone()),
            columns,
        }
    }

    fn mark(&self) -> Mark {
        Mark { operations: self.host.gate.operations(), left: self.host.gate.left().len() }
    }

    fn transaction(
        &self,
        ast: &AST,
        f: impl FnOnce() -> Result<Dynamic, Box<EvalAltResult>>,
    ) -> Result<(Dynamic, Vec<Open>), Box<EvalAltResult>> {
        memory::begin(&self.host.config.limits);
        transaction(&self.host, &|f| call_later(&self.engine, ast, f), f)
    }

    fn keep(&mut self, text: &str, done: Vec<Open>) {
        if !done.is_empty() {
            self.changed.push((text.to_string(), done));
        }
    }

    /// Makes it the last value.
    pub fn remember(&mut self, value: &Dynamic) {
        if !value.is_unit() {
            self.scope.set_value(LAST_VALUE, value.clone());
        }
    }

    /// What a line has imported is there for the next ones.
    fn import(&mut self, ast: &AST) {
        for statement in ast.statements() {
            if let Stmt::Import(x, pos) = statement
                && let (rhai::Expr::StringConstant(path, _), alias) = (&x.0, x.1.as_str())
                && !alias.is_empty()
                && let Ok(module) = self.engine.module_resolver().resolve(&self.engine, None, path, *pos)
            {
                self.engine.register_static_module(alias, module.clone());
                lock(&self.jobs.modules).push((alias.to_string(), module));
            }
        }
    }

    /// Tells why a line has failed, and what is left of it.
    fn failed(&self, e: &EvalAltResult, name: &str, mark: &Mark) -> Outcome {
        let mut failure = self.failure(e, name);
        self.point(&mut failure, name);
        let text = |name: &str| self.texts.get(name).cloned().or_else(|| scripts::text_of(name));
        let mut said = report::render_from(&failure, &text, self.verbose);
        let left = self.host.gate.left().split_off(mark.left);
        if !left.is_empty() {
            said.push_str("left behind:\n");
            left.iter().for_each(|(what, command)| said.push_str(&format!("  {what}\n    {command}\n")));
        } else if self.host.gate.operations() > mark.operations {
            said.push_str("left behind: nothing\n");
        }
        self.host.events.error(&failure.error, &said, &left);
        Outcome::Failed
    }

    /// A failure whose places name the lines in which the functions stand.
    fn failure(&self, e: &EvalAltResult, name: &str) -> Failure {
        let mut failure = report::failure(e, name, Some(&self.engine));
        // Rhai calls the source of all functions that of the line which is being run.
        let mut at = e;
        let mut homes = vec![name.to_string()];
        while let EvalAltResult::ErrorInFunctionCall(function, _, inner, _) = at {
            let home = self.homes.get(function.as_str());
            homes.push(home.unwrap_or(&homes[homes.len() - 1]).clone());
            at = inner;
        }
        if homes.len() == failure.places.len() {
            for (place, home) in failure.places.iter_mut().rev().zip(homes) {
                if place.0 == name {
                    place.0 = home;
                }
            }
        }
        failure
    }

    /// The first word of a line that is no Rhai, as people type it who know virsh and rbd.
    fn point(&self, failure: &mut Failure, name: &str) {
        if failure.error.hint.is_some() || failure.raised {
            return;
        }
        let text = self.texts.get(name).map(String::as_str).unwrap_or_default();
        if let Some(hint) = super::pointer::pointer(text) {
            failure.error.hint = Some(hint);
        }
    }
}

/// Runs `f` as one line of the session.
fn transaction(
    host: &Arc<Host>,
    later: &dyn Fn(&FnPtr) -> Result<()>,
    f: impl FnOnce() -> Result<Dynamic, Box<EvalAltResult>>,
) -> Result<(Dynamic, Vec<Open>), Box<EvalAltResult>> {
    let last = Mutex::new(None);
    host.gate
        .line(later, || {
            f().map_err(|e| {
                let error = report::failure(&e, "", None).error;
                *lock(&last) = Some(e);
                error
            })
        })
        .map_err(|error| {
            let raised = || Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(error), Position::NONE));
            lock(&last).take().unwrap_or_else(raised)
        })
}

fn call_later(engine: &Engine, ast: &AST, f: &FnPtr) -> Result<()> {
    f.call::<Dynamic>(engine, ast, ()).map(drop).map_err(|e| report::failure(&e, "", None).error)
}

/// Where `_` is the last value, and not the default of a `switch`.
fn last_values(text: &str) -> Vec<Position> {
    let mut found = Vec::new();
    for token in scan(text).tokens {
        let rest = text[token.at.end..].trim_start();
        if token.kind != Kind::Word || &text[token.at.clone()] != "_" || rest.starts_with("=>") || is_word(rest, "if") {
            continue;
        }
        let before = &text[..token.at.start];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        if let (Ok(line), Ok(column)) = (u16::try_from(line), u16::try_from(column)) {
            found.push(Position::new(line, column));
        }
    }
    found
}

fn is_word(text: &str, word: &str) -> bool {
    text.strip_prefix(word).is_some_and(|r| !r.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

//! Goes through a script as it would run: blocks, variables, expressions.

use super::Analysis;
use super::facts::Facts;
use super::finding::{Finding, Severity, end_of, place};
use super::library::Library;
use super::modules::{self, Found, Module, Modules};
use super::scope::{Kind, Known, Scopes, Target, Use, Variable};
use super::types::{Record, Type};
use crate::error::nearest;
use crate::host::scripts::Source;
use rhai::{AST, ASTFlags, Dynamic, Engine, Expr, FnPtr, Position, Stmt};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;

pub struct Import {
    pub alias: String,
    /// `None` when it has not been found: nothing is said of what it has.
    pub module: Option<Rc<Module>>,
    at: (usize, usize),
    pub used: bool,
}

pub struct Walk<'a> {
    engine: &'a Engine,
    pub library: &'a Library,
    modules: &'a mut Modules,
    dirs: &'a [PathBuf],
    pub source: &'a Source,
    pub facts: &'a Facts,
    pub scopes: Scopes,
    pub imports: Vec<Import>,
    found: Analysis,
    /// Names of maps' keys of imported modules.
    pub keys: BTreeSet<String>,
    pub in_function: bool,
}

impl<'a> Walk<'a> {
    pub fn new(
        engine: &'a Engine,
        library: &'a Library,
        modules: &'a mut Modules,
        dirs: &'a [PathBuf],
        source: &'a Source,
        facts: &'a Facts,
    ) -> Walk<'a> {
        Walk {
            engine,
            library,
            modules,
            dirs,
            source,
            facts,
            scopes: Scopes::default(),
            imports: Vec::new(),
            found: Analysis::default(),
            keys: BTreeSet::new(),
            in_function: false,
        }
    }

    pub fn script(&mut self, ast: &AST) {
        let last = self.source.text.lines().count().max(1);
        self.scopes.open(1);
        self.statements(ast.statements());
        // `global::NAME` in functions is a use of what stands at the top.
        let top = self.scopes.set_aside();
        let imported = self.imports.len();
        let starts: Vec<usize> = self.facts.functions.iter().map(|f| f.at.0).collect();
        for f in &self.facts.functions {
            self.in_function = true;
            self.scopes.open(f.at.0);
            for name in &f.def.params {
                self.declare(name, Type::Any, Kind::Given, f.at);
            }
            self.statements(&f.body);
            let end = starts.iter().find(|s| **s > f.at.0).map_or(last, |s| s - 1);
            self.close(end);
            self.drop_imports(imported);
            self.in_function = false;
        }
        self.scopes = top;
        self.close(last);
        self.drop_imports(0);
    }

    pub fn finish(mut self) -> Analysis {
        self.unused_functions();
        let mut all = self.found;
        all.functions = self.facts.functions.iter().map(super::facts::Function::defined).collect();
        all.findings.sort_by(|a, b| {
            (a.line, a.column, a.severity, a.code, &a.message).cmp(&(b.line, b.column, b.severity, b.code, &b.message))
        });
        all.findings.dedup();
        all
    }

    pub fn say(
        &mut self,
        severity: Severity,
        code: &'static str,
        pos: Position,
        message: String,
        hint: Option<String>,
    ) {
        let at = place(pos, &self.source.text);
        self.say_at(severity, code, at, message, hint);
    }

    pub fn say_at(
        &mut self,
        severity: Severity,
        code: &'static str,
        at: (usize, usize),
        message: String,
        hint: Option<String>,
    ) {
        let end = end_of(&self.source.text, at.0, at.1);
        self.found.findings.push(Finding { line: at.0, column: at.1, end, severity, code, message, hint });
    }

    pub fn errors(&self) -> usize {
        self.found.findings.len()
    }

    /// Forgets what has been said since of values and options: there, it is what a test is about.
    pub fn meant_to_fail(&mut self, before: usize) {
        let tested = ["unknown-option", "unknown-field", "argument-count", "argument-type", "argument-value"];
        let said = self.found.findings.split_off(before);
        self.found.findings.extend(said.into_iter().filter(|f| !tested.contains(&f.code)));
    }

    pub fn wrong(&mut self, code: &'static str, pos: Position, message: String, hint: Option<String>) {
        self.say(Severity::Error, code, pos, message, hint);
    }

    pub fn note(&mut self, pos: Position, target: Target) {
        let (line, column) = place(pos, &self.source.text);
        let end = end_of(&self.source.text, line, column);
        self.found.uses.push(Use { line, column, end, target });
    }

    fn declare(&mut self, name: &str, ty: Type, kind: Kind, at: (usize, usize)) {
        // One that gets other values, or other content, is known by its name alone.
        let ty = if self.facts.assigned.contains(name) {
            Type::Any
        } else if self.facts.changed.contains(name) {
            match ty {
                Type::Map(_) => Type::Map(None),
                Type::Array(_) => Type::array(Type::Any),
                other => other,
            }
        } else {
            ty
        };
        self.scopes.declare(Variable { name: name.into(), ty, kind, at, used: false });
    }

    fn close(&mut self, end: usize) {
        let (variables, begin) = self.scopes.close();
        for v in variables {
            let is_idle = v.kind != Kind::Given && !v.used && !v.name.starts_with('_');
            if is_idle {
                let hint = format!("take it away, or call it `_{}`", v.name);
                let what = if v.kind == Kind::Const { "constant" } else { "variable" };
                let message = format!("the {what} `{}` is never read", v.name);
                self.say_at(Severity::Warning, "unused-variable", v.at, message, Some(hint));
            }
            self.found.known.push(Known { name: v.name, ty: v.ty, module: None, lines: (begin.max(v.at.0), end) });
        }
    }

    fn drop_imports(&mut self, keep: usize) {
        for import in self.imports.split_off(keep) {
            if !import.used && !import.alias.is_empty() {
                let message = format!("the import `{}` is never used", import.alias);
                self.say_at(Severity::Warning, "unused-import", import.at, message, Some("take it away".into()));
            }
            let module = import.module.map(|m| m.name.clone());
            let lines = (import.at.0, self.source.text.lines().count().max(1));
            self.found.known.push(Known { name: import.alias, ty: Type::Any, module, lines });
        }
    }

    fn unused_functions(&mut self) {
        for f in &self.facts.functions {
            let name = &f.def.name;
            // Of a module, anything but a private one may be called from outside; tests are called by `zs test`.
            let callable = !f.is_private() && (!self.facts.is_script || self.facts.functions.iter().any(is_test));
            if !f.used.get() && !callable && !is_test(f) && !name.starts_with('_') {
                let message = format!("the function `{name}` is never called");
                self.say_at(Severity::Warning, "unused-function", f.at, message, Some("take it away".into()));
            }
        }
    }

    fn block(&mut self, block: &rhai::StmtBlock) -> Type {
        self.scopes.open(block.position().line().unwrap_or(1));
        let ty = self.statements(block.statements());
        self.close(block.end_position().line().unwrap_or(usize::MAX));
        ty
    }

    /// The type of the last statement.
    fn statements(&mut self, statements: &[Stmt]) -> Type {
        let mut ended: Option<&str> = None;
        let mut ty = Type::Unit;
        let count = self.imports.len();
        for stmt in statements {
            if let Some(word) = ended.take() {
                let message = format!("nothing after this `{word}` is ever reached");
                self.say(Severity::Warning, "unreachable", stmt.position(), message, None);
            }
            ty = self.statement(stmt);
            ended = self.leaves(stmt);
        }
        if self.scopes.depth() > 1 {
            self.drop_imports(count);
        }
        ty
    }

    /// The word with which a statement goes elsewhere, always.
    fn leaves(&self, stmt: &Stmt) -> Option<&'static str> {
        let last = |b: &rhai::StmtBlock| b.statements().last().and_then(|s| self.leaves(s));
        match stmt {
            Stmt::Return(_, flags, _) => Some(if flags.contains(ASTFlags::BREAK) { "throw" } else { "return" }),
            Stmt::BreakLoop(_, flags, _) => Some(if flags.contains(ASTFlags::BREAK) { "break" } else { "continue" }),
            Stmt::FnCall(f, _) => self.fails(f),
            Stmt::Expr(e) => match &**e {
                Expr::FnCall(f, _) => self.fails(f),
                _ => None,
            },
            Stmt::Block(b) => last(b),
            Stmt::If(x, _) => last(&x.body).and(last(&x.branch)),
            _ => None,
        }
    }

    fn fails(&self, f: &rhai::FnCallExpr) -> Option<&'static str> {
        (f.name == "fail" && f.namespace.is_empty() && self.facts.named("fail").next().is_none()).then_some("fail")
    }

    fn statement(&mut self, stmt: &Stmt) -> Type {
        match stmt {
            Stmt::Noop(_) | Stmt::Share(_) => Type::Unit,
            Stmt::Expr(e) => self.expr(e),
            Stmt::FnCall(f, pos) => self.call(f, *pos),
            Stmt::Block(b) => self.block(b),
            Stmt::If(x, _) => {
                self.expr(&x.expr);
                let (a, b) = (self.block(&x.body), self.block(&x.branch));
                if a == b { a } else { Type::Any }
            }
            Stmt::Switch(x, _) => {
                self.expr(&x.0);
                for case in &x.1.expressions {
                    self.expr(&case.lhs);
                    self.expr(&case.rhs);
                }
                Type::Any
            }
            Stmt::While(x, _) | Stmt::Do(x, ..) => {
                self.expr(&x.expr);
                self.block(&x.body);
                Type::Any
            }
            Stmt::For(x, pos) => {
                let of = self.expr(&x.2.expr);
                self.scopes.open(pos.line().unwrap_or(1));
                self.declare(&x.0.name, of.element(), Kind::Given, place(x.0.pos, &self.source.text));
                if let Some(counter) = &x.1 {
                    self.declare(&counter.name, Type::Int, Kind::Given, place(counter.pos, &self.source.text));
                }
                self.block(&x.2.body);
                self.close(x.2.body.end_position().line().unwrap_or(usize::MAX));
                Type::Any
            }
            Stmt::Var(x, flags, _) => {
                let ty = self.expr(&x.1);
                let kind = if flags.contains(ASTFlags::CONSTANT) { Kind::Const } else { Kind::Let };
                let at = place(x.0.pos, &self.source.text);
                self.declare(&x.0.name, ty, kind, at);
                let exported = flags.contains(ASTFlags::EXPORTED);
                let global = kind == Kind::Const && self.scopes.depth() == 1 && self.reads_global(&x.0.name);
                if exported || global {
                    self.scopes.find(&x.0.name).into_iter().for_each(|v| v.used = true);
                }
                Type::Unit
            }
            Stmt::Assignment(x) => {
                self.expr(&x.1.rhs);
                match &x.1.lhs {
                    Expr::Variable(v, _, pos) if v.2.is_empty() => {
                        self.variable(&v.1, *pos, false);
                    }
                    lhs => _ = self.chain(lhs, true),
                }
                Type::Unit
            }
            Stmt::TryCatch(x, pos) => {
                self.block(&x.body);
                self.scopes.open(pos.line().unwrap_or(1));
                if let Expr::Variable(v, _, pos) = &x.expr {
                    self.declare(&v.1, Type::Any, Kind::Given, place(*pos, &self.source.text));
                }
                self.block(&x.branch);
                self.close(x.branch.end_position().line().unwrap_or(usize::MAX));
                Type::Any
            }
            Stmt::BreakLoop(value, ..) | Stmt::Return(value, ..) => {
                value.iter().for_each(|e| _ = self.expr(e));
                Type::Any
            }
            Stmt::Import(x, pos) => {
                self.import(&x.0, &x.1, *pos);
                Type::Unit
            }
            Stmt::Export(x, _) => {
                self.variable(&x.0.name, x.0.pos, true);
                Type::Unit
            }
            _ => Type::Any,
        }
    }

    fn reads_global(&self, name: &str) -> bool {
        self.source.text.contains(&format!("global::{name}"))
    }

    fn import(&mut self, path: &Expr, alias: &rhai::Ident, pos: Position) {
        let mut module = None;
        if let Expr::StringConstant(name, at) = path {
            let beside = self.source.dir.as_deref();
            match self.modules.find(self.engine, name, beside, self.dirs) {
                Found::Module(m) => {
                    self.keys.extend(m.keys.iter().cloned());
                    let file = m.source.dir.is_some().then(|| PathBuf::from(&m.source.name));
                    self.note(*at, Target::Module { name: m.name.clone(), file });
                    module = Some(m);
                }
                Found::Missing => {
                    let names = modules::names(beside, self.dirs);
                    let hint = match nearest(name, names.iter().map(String::as_str)) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None => "modules lie beside the script, in [scripts] path, or are built in as \"std/…\"".into(),
                    };
                    self.wrong("unknown-module", *at, format!("there is no module \"{name}\""), Some(hint));
                }
                Found::Broken(why) => {
                    self.wrong("broken-module", *at, format!("the module \"{name}\" does not compile"), Some(why));
                }
            }
        } else {
            self.expr(path);
        }
        let pos = if alias.pos.is_none() { pos } else { alias.pos };
        let at = place(pos, &self.source.text);
        self.imports.push(Import { alias: alias.name.to_string(), module, at, used: false });
    }

    pub fn expr(&mut self, e: &Expr) -> Type {
        match e {
            Expr::Unit(_) => Type::Unit,
            Expr::BoolConstant(..) => Type::Bool,
            Expr::IntegerConstant(..) => Type::Int,
            Expr::FloatConstant(..) => Type::Float,
            Expr::CharConstant(..) => Type::Char,
            Expr::StringConstant(..) => Type::Text,
            Expr::DynamicConstant(..) => self.argument(e, &[]).0,
            Expr::InterpolatedString(parts, _) => {
                parts.iter().for_each(|p| _ = self.expr(p));
                Type::Text
            }
            Expr::Array(items, _) => {
                let types: Vec<Type> = items.iter().map(|i| self.expr(i)).collect();
                let same = types.windows(2).all(|w| w[0] == w[1]);
                Type::array(types.into_iter().next().filter(|_| same).unwrap_or(Type::Any))
            }
            Expr::Map(x, _) => {
                x.0.iter().for_each(|(_, v)| _ = self.expr(v));
                let fields = x.0.iter().map(|(k, _)| k.name.to_string()).collect();
                Type::Map(Some(Rc::new(Record { fields, of: String::new() })))
            }
            Expr::Variable(v, _, pos) if v.2.is_empty() => self.variable(&v.1, *pos, true),
            Expr::Variable(v, _, pos) => self.qualified_variable(&v.2, &v.1, *pos),
            Expr::Stmt(block) => match block.statements() {
                // A closure with what it captures.
                [Stmt::Share(_), Stmt::Expr(e)] => {
                    self.argument(e, &[]);
                    Type::Function
                }
                _ => self.block(block),
            },
            Expr::FnCall(f, pos) => self.call(f, *pos),
            Expr::Dot(..) | Expr::Index(..) => self.chain(e, false),
            Expr::And(x, _) | Expr::Or(x, _) => {
                x.iter().for_each(|e| _ = self.expr(e));
                Type::Bool
            }
            Expr::Coalesce(x, _) => {
                x.iter().for_each(|e| _ = self.expr(e));
                Type::Any
            }
            Expr::Custom(x, _) => {
                x.inputs.iter().for_each(|e| _ = self.expr(e));
                Type::Any
            }
            _ => Type::Any,
        }
    }

    /// An argument, which as a closure is given values of these types; its result's type, if it is one.
    pub fn argument(&mut self, e: &Expr, given: &[Type]) -> (Type, Option<Type>) {
        match e {
            Expr::DynamicConstant(value, pos) => match closure_name(value) {
                Some(name) if self.facts.closures.contains_key(&name) => {
                    let result = self.closure(&name, 0, given);
                    (Type::Function, Some(result))
                }
                // The parser has read `Fn("name")`.
                Some(name) => {
                    self.named_function(&name, *pos);
                    (Type::Function, None)
                }
                None => (Type::Any, None),
            },
            Expr::Stmt(block) => match block.statements() {
                [Stmt::Share(_), Stmt::Expr(inner)] => match &**inner {
                    Expr::FnCall(f, _) => match f.args.first() {
                        Some(Expr::DynamicConstant(value, _)) => {
                            let name = closure_name(value).unwrap_or_default();
                            let result = self.closure(&name, f.args.len() - 1, given);
                            (Type::Function, Some(result))
                        }
                        _ => (Type::Function, None),
                    },
                    _ => (Type::Function, None),
                },
                _ => (self.expr(e), None),
            },
            _ => (self.expr(e), None),
        }
    }

    /// What it captures is what stands around it, so only the parameters after that are its own.
    fn closure(&mut self, name: &str, captured: usize, given: &[Type]) -> Type {
        let Some(closure) = self.facts.closures.get(name) else { return Type::Any };
        let line = closure.body.first().and_then(|s| s.position().line()).unwrap_or(1);
        self.scopes.open(line);
        let own = closure.params.iter().skip(captured);
        let fits = own.len() == given.len();
        for (at, param) in own.enumerate() {
            let ty = if fits { given[at].clone() } else { Type::Any };
            self.declare(param, ty, Kind::Given, (line, 1));
        }
        let ty = self.statements(&closure.body);
        let end = closure.body.last().and_then(|s| s.position().line()).unwrap_or(line);
        self.close(end);
        ty
    }
}

fn is_test(f: &super::facts::Function) -> bool {
    f.def.name.starts_with("test_")
}

fn closure_name(value: &Dynamic) -> Option<String> {
    value.read_lock::<FnPtr>().map(|f| f.fn_name().to_string())
}

//! What must be known of a whole script before its first line can be judged.

use super::scope::Defined;
use rhai::{AST, ASTFlags, ASTNode, Expr, FnAccess, ScriptFuncDef, Shared, Stmt};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

/// A function of the script.
pub struct Function {
    pub def: Shared<ScriptFuncDef>,
    pub body: Vec<Stmt>,
    /// Where its name stands: line and column, from 1.
    pub at: (usize, usize),
    pub doc: String,
    pub used: Cell<bool>,
}

impl Function {
    pub fn is_private(&self) -> bool {
        self.def.access == FnAccess::Private
    }

    pub fn defined(&self) -> Defined {
        let (name, doc) = (self.def.name.to_string(), self.doc.clone());
        Defined { name, signature: self.signature(), doc, at: self.at }
    }

    pub fn signature(&self) -> String {
        format!("{}({})", self.def.name, self.def.params.join(", "))
    }
}

/// `|x| …`; what it captures comes first among its parameters.
pub struct Closure {
    pub params: Vec<String>,
    pub body: Vec<Stmt>,
}

#[derive(Default)]
pub struct Facts {
    pub functions: Vec<Function>,
    /// Bodies of closures, by the names that Rhai gives them.
    pub closures: BTreeMap<String, Closure>,
    /// Constants of the top level, which functions read as `global::NAME`.
    pub constants: BTreeSet<String>,
    pub top_level: BTreeSet<String>,
    /// Variables that are given another value somewhere: their type is not that of their first.
    pub assigned: BTreeSet<String>,
    /// Variables whose content changes somewhere: what fields they have is not known.
    pub changed: BTreeSet<String>,
    /// Keys of all map literals and assignments: what may hold a closure to be called as a method.
    pub keys: BTreeSet<String>,
    /// It does something when it is run, and is not only there to be imported.
    pub is_script: bool,
}

/// Methods after which a map or an array has other content.
const CHANGING: [&str; 17] = [
    "push",
    "append",
    "insert",
    "set",
    "remove",
    "mixin",
    "fill_with",
    "clear",
    "pad",
    "extend",
    "pop",
    "shift",
    "truncate",
    "splice",
    "retain",
    "drain",
    "extract",
];

impl Facts {
    pub fn of(ast: &AST, text: &str) -> Facts {
        let mut facts = Facts::default();
        for def in ast.iter_fn_def() {
            if def.name.starts_with("anon$") {
                let params = def.params.iter().map(ToString::to_string).collect();
                facts.closures.insert(def.name.to_string(), Closure { params, body: body(ast, def) });
                continue;
            }
            let doc: Vec<&str> = def.comments.iter().flat_map(|c| c.lines()).collect();
            let doc = doc.iter().map(|l| l.trim_start().trim_start_matches("///"));
            facts.functions.push(Function {
                def: def.clone(),
                body: body(ast, def),
                at: (0, 0),
                doc: doc.map(|l| l.strip_prefix(' ').unwrap_or(l)).collect::<Vec<_>>().join("\n"),
                used: Cell::new(false),
            });
        }
        facts.place(text);
        for stmt in ast.statements() {
            match stmt {
                Stmt::Var(x, flags, _) => {
                    facts.top_level.insert(x.0.name.to_string());
                    if flags.contains(ASTFlags::CONSTANT) {
                        facts.constants.insert(x.0.name.to_string());
                    }
                }
                Stmt::Import(..) | Stmt::Export(..) | Stmt::Noop(_) => {}
                _ => facts.is_script = true,
            }
        }
        ast.walk(&mut |path: &[ASTNode]| {
            match path.last() {
                Some(ASTNode::Stmt(stmt)) => facts.statement(stmt),
                Some(ASTNode::Expr(expr)) => facts.expression(expr),
                _ => {}
            }
            true
        });
        facts
    }

    /// Finds where the functions' names stand: the syntax tree does not say.
    fn place(&mut self, text: &str) {
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for (at, _) in line.match_indices("fn ") {
                let lead = line[..at].chars().next_back();
                if lead.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                    continue;
                }
                let rest = &line[at + 3..];
                let gap = rest.len() - rest.trim_start().len();
                let name: String = rest.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let params = rest.split_once('(').and_then(|(_, r)| r.split_once(')')).map_or("", |(p, _)| p);
                let count = if params.trim().is_empty() { 0 } else { params.split(',').count() };
                let same = |f: &&mut Function| f.at == (0, 0) && f.def.name == name.as_str();
                // Overloads by their number of parameters, unless these go over several lines.
                let mut found = self.functions.iter_mut().filter(same).collect::<Vec<_>>();
                let index = found.iter().position(|f| f.def.params.len() == count).unwrap_or(0);
                if let Some(f) = found.get_mut(index) {
                    f.at = (number + 1, line[..at].chars().count() + 4 + gap);
                }
            }
        }
        self.functions.sort_by_key(|f| f.at);
    }

    fn statement(&mut self, stmt: &Stmt) {
        if let Stmt::Assignment(x) = stmt {
            match &x.1.lhs {
                Expr::Variable(v, ..) => _ = self.assigned.insert(v.1.to_string()),
                Expr::Dot(..) | Expr::Index(..) => {
                    if let Some(name) = root(&x.1.lhs) {
                        self.changed.insert(name);
                    }
                    self.last_key(&x.1.lhs);
                }
                _ => {}
            }
        }
    }

    fn last_key(&mut self, expr: &Expr) {
        match expr {
            Expr::Dot(x, ..) | Expr::Index(x, ..) => self.last_key(&x.rhs),
            Expr::Property(p, _) => _ = self.keys.insert(p.2.to_string()),
            Expr::StringConstant(s, _) => _ = self.keys.insert(s.to_string()),
            _ => {}
        }
    }

    fn expression(&mut self, expr: &Expr) {
        match expr {
            Expr::Map(x, _) => self.keys.extend(x.0.iter().map(|(k, _)| k.name.to_string())),
            Expr::Dot(x, ..) | Expr::Index(x, ..) => {
                if self.changes(&x.rhs)
                    && let Some(name) = root(expr)
                {
                    self.changed.insert(name);
                }
            }
            _ => {}
        }
    }

    /// A method that may leave its receiver with other content: of arrays and maps, or the script's own with `this`.
    fn changes(&self, rhs: &Expr) -> bool {
        match rhs {
            Expr::MethodCall(f, _) => CHANGING.contains(&f.name.as_str()) || self.named(&f.name).next().is_some(),
            Expr::Dot(x, ..) | Expr::Index(x, ..) => self.changes(&x.lhs) || self.changes(&x.rhs),
            _ => false,
        }
    }

    pub fn function(&self, name: &str, count: usize) -> Option<&Function> {
        self.functions.iter().find(|f| f.def.name == name && f.def.params.len() == count)
    }

    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Function> {
        self.functions.iter().filter(move |f| f.def.name == name)
    }
}

/// The statements of a function. Rhai keeps the type that they are in to itself, and shows them to those who walk.
fn body(ast: &AST, def: &ScriptFuncDef) -> Vec<Stmt> {
    let mut body = Vec::new();
    let mut one = ast.clone_functions_only();
    one.retain_functions(|_, _, name, count| name == def.name && count == def.params.len());
    one.walk(&mut |path: &[ASTNode]| {
        if let [ASTNode::Stmt(stmt)] = path {
            body.push((*stmt).clone());
        }
        true
    });
    body
}

/// The variable that a chain of dots and brackets begins with.
fn root(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Variable(v, ..) => Some(v.1.to_string()),
        Expr::Dot(x, ..) | Expr::Index(x, ..) => root(&x.lhs),
        _ => None,
    }
}

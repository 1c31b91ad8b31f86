//! A script's top level runs as Rhai's bytecode, which takes two thirds of the time that the syntax tree does: a variable is a
//! place there, for which nobody is asked. But somebody must look at the variables from time to time (see [`deep`]), and so
//! there are safe points in loops whose rounds can lay a value into another: they ask for a name that only the host knows.
//!
//! By its tree runs what bytecode cannot, or does not do alike (see `differs`): functions (nothing of Rhai's gives access to
//! their bodies, which need safe points), and so closures, modules, and lines at the prompt; and a top level whose steps are
//! limited, for there are fewer of them.

use super::deep;
use rhai::grain::{Compiler, Program, Vm};
use rhai::{AST, ASTNode, Dynamic, Engine, EvalAltResult, Expr, FlowControl, FnCallExpr};
use rhai::{Module, Namespace, Position, Scope, Stmt, StmtBlock};

/// Runs what was compiled, in a scope of its own.
pub fn run(engine: &Engine, ast: &AST) -> Result<Dynamic, Box<EvalAltResult>> {
    let has_all_steps = engine.max_operations() == 0;
    match has_all_steps.then(|| bytecode(ast)).flatten() {
        None => engine.eval_ast_with_scope(&mut Scope::new(), ast),
        Some(program) => {
            let mut global = engine.new_global_runtime_state();
            global.lib.push(ast.shared_lib().clone());
            Vm::with_global_state(engine, global).eval_with_scope(&mut Scope::new(), &program)
        }
    }
}

fn bytecode(ast: &AST) -> Option<Program<'static>> {
    let mut loops = false;
    let others = find(ast.statements(), |node| {
        loops |= matches!(node, ASTNode::Stmt(Stmt::While(..) | Stmt::Do(..) | Stmt::For(..)));
        differs(node)
    });
    if others > 0 || !loops {
        return None;
    }
    let mut statements = ast.statements().to_vec();
    statements.iter_mut().for_each(statement);
    let top = AST::new_with_source(statements, Module::new(), ast.source().unwrap_or_default());
    let program = Compiler::new().compile(&top);
    // Nothing is left to the tree, whose fragments would find variables by name.
    (program.residual_count() == 0).then_some(program)
}

/// What bytecode does otherwise in Rhai 1.27, found by random scripts: after a second `let` of a captured name the closure sees
/// the new value, and `x[1] = 2` is no error where x is a number. What has any such statement is left to the tree.
fn differs(node: &ASTNode) -> bool {
    match node {
        ASTNode::Stmt(Stmt::Assignment(a)) => !matches!(a.1.lhs, Expr::Variable(..)),
        ASTNode::Stmt(s) => matches!(s, Stmt::Share(_)),
        _ => false,
    }
}

/// How many of the nodes in these statements are such.
fn find<'a>(all: impl IntoIterator<Item = &'a Stmt>, mut is_such: impl FnMut(&ASTNode) -> bool) -> usize {
    let mut found = 0;
    for s in all {
        s.walk(&mut Vec::new(), &mut |path: &[ASTNode]| {
            found += see(path, &mut is_such);
            true
        });
    }
    found
}

fn see(path: &[ASTNode], is_such: &mut dyn FnMut(&ASTNode) -> bool) -> usize {
    let Some(node) = path.last() else { return 0 };
    let mut found = usize::from(is_such(node));
    // What a loop is left with: Rhai's walk passes it by.
    if let ASTNode::Stmt(Stmt::BreakLoop(Some(value), ..)) = node {
        value.walk(&mut Vec::new(), &mut |path: &[ASTNode]| {
            found += see(path, is_such);
            true
        });
    }
    found
}

/// Whether it can add a level to a value.
fn deepens(node: &ASTNode) -> bool {
    let is_call = |call: &FnCallExpr| !call.is_operator_call();
    match node {
        ASTNode::Expr(Expr::FnCall(call, _) | Expr::MethodCall(call, _)) => is_call(call),
        ASTNode::Expr(e) => matches!(e, Expr::Array(..) | Expr::Map(..) | Expr::Custom(..)),
        ASTNode::Stmt(Stmt::FnCall(call, _)) => is_call(call),
        _ => false,
    }
}

/// A safe point at the beginning of each round, where a round can add levels.
fn a_loop(l: &mut FlowControl, at: Position) {
    flow(l);
    let condition = Stmt::Expr(Box::new(std::mem::replace(&mut l.expr, Expr::Unit(at))));
    let levels = find(l.body.statements().iter().chain([&condition]), deepens);
    if let Stmt::Expr(e) = condition {
        l.expr = *e;
    }
    if levels > 0 {
        let at = l.body.statements().first().map_or(at, Stmt::position);
        let name = deep::safe_point(levels).into();
        let point = Expr::Variable(Box::new((None, name, Namespace::NONE, 0)), None, at);
        l.body.statements_mut().insert(0, Stmt::Expr(Box::new(point)));
    }
}

fn flow(f: &mut FlowControl) {
    expression(&mut f.expr);
    block(&mut f.body);
    block(&mut f.branch);
}

fn block(b: &mut StmtBlock) {
    b.statements_mut().iter_mut().for_each(statement);
}

fn statement(s: &mut Stmt) {
    match s {
        Stmt::While(l, at) | Stmt::Do(l, _, at) => a_loop(l, *at),
        Stmt::For(l, at) => a_loop(&mut l.2, *at),
        Stmt::If(f, _) | Stmt::TryCatch(f, _) => flow(f),
        Stmt::Switch(s, _) => {
            expression(&mut s.0);
            for case in &mut s.1.expressions {
                expression(&mut case.lhs);
                expression(&mut case.rhs);
            }
        }
        Stmt::Var(v, ..) => expression(&mut v.1),
        Stmt::Assignment(a) => expression(&mut a.1.rhs),
        Stmt::FnCall(call, _) => call.args.iter_mut().for_each(expression),
        Stmt::Block(b) => block(b),
        Stmt::Expr(e) | Stmt::BreakLoop(Some(e), ..) | Stmt::Return(Some(e), ..) => expression(e),
        Stmt::Import(i, _) => expression(&mut i.0),
        _ => {}
    }
}

fn expression(e: &mut Expr) {
    match e {
        Expr::Stmt(b) => block(b),
        Expr::InterpolatedString(all, _) | Expr::Array(all, _) => all.iter_mut().for_each(expression),
        Expr::Map(m, _) => m.0.iter_mut().for_each(|(_, e)| expression(e)),
        Expr::MethodCall(call, _) | Expr::FnCall(call, _) => call.args.iter_mut().for_each(expression),
        Expr::Dot(b, ..) | Expr::Index(b, ..) => {
            expression(&mut b.lhs);
            expression(&mut b.rhs);
        }
        Expr::And(all, _) | Expr::Or(all, _) | Expr::Coalesce(all, _) => all.iter_mut().for_each(expression),
        Expr::Custom(c, _) => c.inputs.iter_mut().for_each(expression),
        _ => {}
    }
}

#[cfg(test)]
mod tests;

//! `args.parse(#{ … })` as it stands in a script: what it declares, without running anything.

use crate::host::scripts::Source;
use rhai::{AST, ASTNode, Array, Dynamic, Engine, Expr, Map};

/// A literal's value, with `()` for the parts that only a run would know.
pub fn literal(expr: &Expr) -> Dynamic {
    match expr {
        Expr::Map(x, _) => {
            let pairs = x.0.iter().map(|(k, v)| (k.name.as_str().into(), literal(v)));
            Dynamic::from_map(pairs.collect::<Map>())
        }
        Expr::Array(x, _) => Dynamic::from_array(x.iter().map(literal).collect::<Array>()),
        other => other.get_literal_value(None).unwrap_or(Dynamic::UNIT),
    }
}

/// The declaration of a script's arguments, the first that it has.
pub fn declaration(ast: &AST) -> Option<Map> {
    let mut found = None;
    ast.walk(&mut |path: &[ASTNode]| {
        if found.is_none()
            && let Some(ASTNode::Expr(Expr::Dot(x, ..))) = path.last()
            && let (Expr::Variable(v, ..), Expr::MethodCall(f, _)) = (&x.lhs, head(&x.rhs))
            && v.1 == "args"
            && f.name == "parse"
            && let Some(spec @ Expr::Map(..)) = f.args.first()
        {
            found = literal(spec).try_cast::<Map>();
        }
        found.is_none()
    });
    found
}

fn head(expr: &Expr) -> &Expr {
    match expr {
        Expr::Dot(x, ..) | Expr::Index(x, ..) => &x.lhs,
        other => other,
    }
}

/// The same of a script's text; `None` too where it does not compile.
pub fn of_source(engine: &Engine, source: &Source) -> Option<Map> {
    declaration(&engine.compile(&source.text).ok()?)
}

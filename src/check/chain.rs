//! Chains of dots and brackets, from left to right.

use super::types::Type;
use super::walk::Walk;
use crate::error::nearest;
use crate::host::registry;
use rhai::{ASTFlags, Expr, Position};

impl Walk<'_> {
    /// `a.b`, `a.f(…)`, `a[i]` and what follows. `assigned`: it stands left of `=`, so the last may be new.
    pub fn chain(&mut self, e: &Expr, assigned: bool) -> Type {
        match e {
            Expr::Dot(x, ..) => {
                let root = self.expr(&x.lhs);
                self.after_dot(root, &x.rhs, assigned)
            }
            Expr::Index(x, flags, _) => {
                let root = self.expr(&x.lhs);
                self.after_bracket(root, &x.rhs, *flags, assigned)
            }
            other => self.expr(other),
        }
    }

    fn after_dot(&mut self, of: Type, rhs: &Expr, assigned: bool) -> Type {
        match rhs {
            Expr::Dot(x, ..) => {
                let next = self.member(of, &x.lhs, false);
                self.after_dot(next, &x.rhs, assigned)
            }
            Expr::Index(x, flags, _) => {
                let next = self.member(of, &x.lhs, false);
                self.after_bracket(next, &x.rhs, *flags, assigned)
            }
            last => self.member(of, last, assigned),
        }
    }

    fn after_bracket(&mut self, of: Type, rhs: &Expr, flags: ASTFlags, assigned: bool) -> Type {
        if !flags.contains(ASTFlags::BREAK) {
            match rhs {
                Expr::Dot(x, ..) => {
                    let next = self.item(of, &x.lhs);
                    return self.after_dot(next, &x.rhs, assigned);
                }
                Expr::Index(x, inner, _) => {
                    let next = self.item(of, &x.lhs);
                    return self.after_bracket(next, &x.rhs, *inner, assigned);
                }
                _ => {}
            }
        }
        self.item(of, rhs)
    }

    fn item(&mut self, of: Type, index: &Expr) -> Type {
        let by = self.expr(index);
        match (&of, by) {
            (Type::Array(element), Type::Int) => (**element).clone(),
            _ => Type::Any,
        }
    }

    fn member(&mut self, of: Type, member: &Expr, assigned: bool) -> Type {
        match member {
            Expr::Property(p, pos) => self.property(&of, &p.2, *pos, assigned),
            Expr::MethodCall(f, pos) => self.method(of, f, *pos),
            other => self.expr(other),
        }
    }

    fn property(&mut self, of: &Type, name: &str, pos: Position, assigned: bool) -> Type {
        match of {
            Type::Map(Some(record))
                if !assigned && !record.fields.iter().any(|f| f == name) && !self.asks_for(name) =>
            {
                let near = nearest(name, record.fields.iter().map(String::as_str));
                let hint = near
                    .map_or_else(|| format!("it has {}", record.fields.join(", ")), |n| format!("did you mean `{n}`?"));
                let what = if record.of.is_empty() { "this map".into() } else { format!("what {} gives", record.of) };
                self.wrong("unknown-field", pos, format!("{what} has no `{name}`"), Some(hint));
                Type::Any
            }
            Type::Any | Type::Unit | Type::Map(_) | Type::Function => Type::Any,
            _ => {
                if let Some(ty) = self.library.getter(of, name) {
                    return ty.clone();
                }
                let properties = self.library.properties(of);
                let what = match of {
                    Type::Of(t) => registry::namespace_of(t).map_or_else(|| of.name(), |n| format!("`{n}`")),
                    _ => of.name(),
                };
                let hint = if self.library.methods(of).contains(name) {
                    Some(format!("it is a function: .{name}(…)"))
                } else {
                    let near = nearest(name, properties).or_else(|| self.library.near_method(of, name));
                    near.map(|n| format!("did you mean `{n}`?"))
                };
                self.wrong("unknown-property", pos, format!("{what} has no property `{name}`"), hint);
                Type::Any
            }
        }
    }
    /// Whether the script looks whether there is such a field before it reads it.
    fn asks_for(&self, name: &str) -> bool {
        let text = &self.source.text;
        text.contains(&format!("\"{name}\" in ")) || text.contains(&format!("contains(\"{name}\")"))
    }
}

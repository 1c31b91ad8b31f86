//! What half-typed text means: the type of the value before a dot, and the call that the cursor is in.

use super::complete::{Completing, State};
use super::scan::{Kind, Open, Token};
use super::shape::Shape;
use super::words::fields;
use crate::host::registry::Entry;

/// What an expression is, as far as its text tells.
#[derive(Default)]
pub(super) struct Known {
    /// `Rbd`, `Array`, `string`; empty where nobody knows.
    pub(super) kind: String,
    /// What it has besides methods; of an array, what its items have.
    pub(super) fields: Vec<String>,
    pub(super) shape: Option<Shape>,
    /// `ceph`, whose parts are `ceph.pool` and `ceph.auth`.
    pub(super) namespace: String,
}

/// The call that the cursor is in.
pub(super) struct Call<'a> {
    pub(super) entry: &'a Entry,
    pub(super) receiver: Known,
    /// Which argument, and where it begins.
    pub(super) argument: usize,
    pub(super) begin: usize,
    /// Where its arguments begin.
    pub(super) open: usize,
}

impl Completing {
    /// What the expression is that these tokens end with.
    pub(super) fn what_is(&self, state: &State, text: &str, tokens: &[&Token]) -> Known {
        let Some((last, rest)) = tokens.split_last() else { return Known::default() };
        let part = |t: &Token| text[t.at.clone()].to_string();
        match part(last).as_str() {
            ")" => {
                let Some(open) = matching(text, tokens, "(", ")") else { return Known::default() };
                let Some((name, before)) = tokens[..open].split_last() else { return Known::default() };
                let receiver = match before.split_last() {
                    Some((dot, receiver)) if part(dot) == "." => Some(self.what_is(state, text, receiver)),
                    _ => None,
                };
                self.result_of(receiver, &part(name))
            }
            "]" => match matching(text, tokens, "[", "]") {
                Some(open) => {
                    let list = self.what_is(state, text, &tokens[..open]);
                    let shape = list.shape.and_then(|s| s.item.map(|i| *i));
                    let kind = shape.as_ref().map_or_else(|| "Map".into(), |s| s.kind.clone());
                    Known { kind, fields: list.fields, shape, namespace: String::new() }
                }
                None => Known::default(),
            },
            _ if last.kind == Kind::Text => Known { kind: "string".into(), ..Known::default() },
            name if last.kind == Kind::Word => {
                if rest.last().is_some_and(|t| part(t) == ".") {
                    let owner = self.what_is(state, text, &rest[..rest.len() - 1]);
                    if let Some(part) = self.words().handle(&format!("{}.{name}", owner.namespace)) {
                        return Known { kind: part.into(), ..Known::default() };
                    }
                    return owner.shape.and_then(|s| s.key(name).cloned()).map(of_shape).unwrap_or_default();
                }
                if let Some(shape) = state.variables.get(name) {
                    return of_shape(shape.clone());
                }
                if let Some(kind) = self.words().handle(name) {
                    return Known { kind: kind.into(), namespace: name.into(), ..Known::default() };
                }
                self.parameter(state, text, rest, name).unwrap_or_default()
            }
            _ => Known::default(),
        }
    }

    /// What a closure gets: `d` in `virsh.list().filter(|d| d.`.
    fn parameter(&self, state: &State, text: &str, before: &[&Token], name: &str) -> Option<Known> {
        let part = |t: &Token| &text[t.at.clone()];
        let at = (0..before.len().checked_sub(2)?)
            .rev()
            .find(|i| part(before[*i]) == "|" && part(before[i + 1]) == name && part(before[i + 2]) == "|")?;
        let (open, method, dot) =
            (before.get(at.checked_sub(1)?)?, before.get(at.checked_sub(2)?)?, at.checked_sub(3)?);
        if part(open) != "(" || part(before[dot]) != "." || method.kind != Kind::Word {
            return None;
        }
        let list = self.what_is(state, text, &before[..dot]);
        let shape = list.shape.and_then(|s| s.item.map(|i| *i));
        Some(match shape {
            Some(shape) => of_shape(shape),
            None => Known { kind: "Map".into(), fields: list.fields, ..Known::default() },
        })
    }

    /// What a function gives, by its own documentation.
    fn result_of(&self, receiver: Option<Known>, name: &str) -> Known {
        let kind = receiver.as_ref().map(|r| r.kind.clone());
        if let Some(e) = self.words().find(kind.as_deref(), name) {
            let returns = e.returns.trim_start_matches("RhaiResultOf<").trim_end_matches(['>', ' ']).trim();
            let kind = match returns {
                "ImmutableString" | "String" => "string".into(),
                "Dynamic" => "Map".into(),
                other => other.rsplit("::").next().unwrap_or(other).to_string(),
            };
            return Known { kind, fields: fields(e), ..Known::default() };
        }
        match (receiver, name) {
            // They give of what they got.
            (Some(list), "filter" | "drain" | "extract" | "sort") if list.kind == "Array" => list,
            (Some(list), "map" | "split" | "keys" | "values" | "chars") if list.kind != "Fn" => {
                Known { kind: "Array".into(), ..Known::default() }
            }
            (Some(list), "find" | "shift" | "pop") if list.kind == "Array" => {
                Known { kind: "Map".into(), fields: list.fields, ..Known::default() }
            }
            _ => Known::default(),
        }
    }

    /// The call that holds the place `at`; `open` is what is open there.
    pub(super) fn call(
        &self,
        state: &State,
        text: &str,
        open: &[(Open, usize)],
        before: &[&Token],
        at: usize,
    ) -> Option<Call<'_>> {
        let (what, from) = open.last()?;
        if *what != Open::Round {
            return None;
        }
        let head: Vec<&Token> = before.iter().filter(|t| t.at.end <= *from).copied().collect();
        let (name, rest) = head.split_last().filter(|(n, _)| n.kind == Kind::Word)?;
        let part = |t: &Token| &text[t.at.clone()];
        let receiver = match rest.split_last() {
            Some((dot, receiver)) if part(dot) == "." => Some(self.what_is(state, text, receiver)),
            _ => None,
        };
        let entry = self.words().find(receiver.as_ref().map(|r| r.kind.as_str()), part(name))?;
        let (mut argument, mut begin, mut depth) = (0, from + 1, 0);
        for t in before.iter().filter(|t| t.at.start > *from && t.at.end <= at) {
            match part(t) {
                "(" | "[" | "{" | "#{" | "${" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                "," if depth == 0 => (argument, begin) = (argument + 1, t.at.end),
                _ => {}
            }
        }
        Some(Call { entry, receiver: receiver.unwrap_or_default(), argument, begin, open: from + 1 })
    }
}

fn of_shape(shape: Shape) -> Known {
    Known { kind: shape.kind.clone(), shape: Some(shape), ..Known::default() }
}

/// The token that opens what the last one closes.
fn matching(text: &str, tokens: &[&Token], open: &str, close: &str) -> Option<usize> {
    let mut depth = 0;
    for (n, t) in tokens.iter().enumerate().rev() {
        match &text[t.at.clone()] {
            s if s == close => depth += 1,
            s if s == open => {
                depth -= 1;
                if depth == 0 {
                    return Some(n);
                }
            }
            _ => {}
        }
    }
    None
}

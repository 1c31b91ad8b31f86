//! An uncaught error as people read it: the script line with a caret, the cause chain, the hint.

use super::scripts::{is_built_in, text_of};
use super::values::error_of;
use crate::error::{Error, Kind, nearest};
use rhai::{Engine, EvalAltResult, Position};
use unicode_width::UnicodeWidthStr;

/// What went wrong, and where in which script.
pub struct Failure {
    pub error: Error,
    /// Innermost first: source name and position.
    pub places: Vec<(String, Position)>,
    /// By a function of ours or the script itself, not a mistake in the script's text.
    pub raised: bool,
}

/// Reads Rhai's nested error: the innermost cause with the calls that led to it.
pub fn failure(e: &EvalAltResult, source: &str, engine: Option<&Engine>) -> Failure {
    let mut places = Vec::new();
    let error = walk(e, source, &mut places, engine);
    places.reverse();
    let raised = matches!(e.unwrap_inner(), EvalAltResult::ErrorRuntime(..) | EvalAltResult::ErrorTerminated(..));
    Failure { error, places, raised }
}

fn walk(e: &EvalAltResult, source: &str, places: &mut Vec<(String, Position)>, engine: Option<&Engine>) -> Error {
    use EvalAltResult as E;
    let mut here = |pos: &Position, source: &str| {
        if !pos.is_none() {
            places.push((source.to_string(), *pos));
        }
    };
    match e {
        E::ErrorInFunctionCall(_, inner_source, inner, pos) => {
            here(pos, source);
            let inner_source = if inner_source.is_empty() { source } else { inner_source };
            walk(inner, inner_source, places, engine)
        }
        E::ErrorInModule(name, inner, pos) => {
            here(pos, source);
            walk(inner, name, places, engine)
        }
        E::ErrorRuntime(value, pos) => {
            here(pos, source);
            error_of(value)
        }
        E::ErrorTerminated(value, pos) => {
            here(pos, source);
            match value.read_lock::<Error>() {
                Some(e) => e.clone(),
                None => Error::new(Kind::Interrupted, "stopped"),
            }
        }
        E::ErrorParsing(kind, pos) => {
            here(pos, source);
            Error::invalid(kind.to_string()).usage()
        }
        E::ErrorFunctionNotFound(signature, pos) => {
            here(pos, source);
            function_not_found(signature, engine)
        }
        E::ErrorModuleNotFound(name, pos) => {
            here(pos, source);
            Error::not_found(format!("there is no module \"{name}\""))
                .hint("modules lie beside the script, in [scripts] path, or are built in as \"std/…\"")
                .usage()
        }
        other => {
            here(&other.position(), source);
            if let Some(e) = super::limits::of_engine(other) {
                return e;
            }
            Error::failed(without_position(other))
        }
    }
}

/// Rhai's own `Display` appends the position, which the caret shows.
fn without_position(e: &EvalAltResult) -> String {
    let mut text = e.to_string();
    if let Some(at) = text.rfind(" (line ") {
        text.truncate(at);
    }
    text
}

/// Rhai says the same of an unknown name and of wrong arguments: look which it is.
fn function_not_found(signature: &str, engine: Option<&Engine>) -> Error {
    let (name, args) = signature.split_once('(').unwrap_or((signature, ""));
    let name = name.trim();
    let args: Vec<&str> = args.trim_end_matches(')').split(',').map(str::trim).collect();
    let e = Error::invalid(format!("there is no function {signature}"));
    let Some(engine) = engine else { return e };
    let all = super::registry::entries(engine);
    let receiver = args.first().copied().unwrap_or_default();
    let of_type: Vec<_> = all.iter().filter(|f| f.receiver.as_deref() == Some(receiver)).collect();
    if let Some(f) =
        of_type.iter().find(|f| f.name == name).or(all.iter().filter(|f| f.name == name).collect::<Vec<_>>().first())
    {
        let given = args.iter().skip(usize::from(f.receiver.is_some())).copied().collect::<Vec<_>>().join(", ");
        return Error::invalid(format!("{name} does not take ({given})"))
            .hint(format!("it is {}", super::registry::signature(f)));
    }
    let names = if of_type.is_empty() { all.iter().collect() } else { of_type };
    let e = match super::registry::namespace_of(receiver) {
        Some(namespace) => Error::invalid(format!("there is no {namespace}.{name}")),
        None => e,
    };
    match nearest(name, names.iter().map(|f| f.name.as_str())) {
        Some(near) => e.hint(format!("did you mean `{near}`?")),
        None => e,
    }
}

/// The text for a person. `text` is the script's own, for sources that are no file.
pub fn render(f: &Failure, text: Option<&str>, verbose: bool) -> String {
    render_from(f, &|name| text_of(name).or_else(|| text.map(String::from)), verbose)
}

/// The text for a person, with the scripts' lines from `text`, by the name of the source.
pub fn render_from(f: &Failure, text: &dyn Fn(&str) -> Option<String>, verbose: bool) -> String {
    let mut out = format!("{}\n", f.error);
    for e in &f.error.errors {
        out.push_str(&format!("  {e}\n"));
        if let Some(hint) = &e.hint {
            out.push_str(&format!("    hint: {hint}\n"));
        }
    }
    let mut source = f.error.source.as_deref();
    while let Some(e) = source {
        out.push_str(&format!("  caused by: {e}\n"));
        source = e.source.as_deref();
    }
    // Whoever runs a script of ours did not write its lines.
    let ours = |name: &str| f.raised && is_built_in(name);
    let shown = if verbose { f.places.len() } else { 1 };
    for (name, pos) in f.places.iter().filter(|(name, _)| verbose || !ours(name)).take(shown) {
        out.push_str(&snippet(name, *pos, text));
    }
    if let Some(hint) = &f.error.hint {
        out.push_str(&format!("hint: {hint}\n"));
    }
    out
}

fn snippet(name: &str, pos: Position, text: &dyn Fn(&str) -> Option<String>) -> String {
    let (Some(line), column) = (pos.line(), pos.position().unwrap_or(1)) else { return String::new() };
    let mut out = format!("  --> {name}:{line}:{column}\n");
    let text = text(name).unwrap_or_default();
    if let Some(code) = text.lines().nth(line - 1) {
        let before: String = code.chars().take(column.saturating_sub(1)).collect();
        let number = line.to_string();
        let pad = " ".repeat(number.len());
        let indent: String = if before.contains('\t') {
            before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect()
        } else {
            " ".repeat(before.width())
        };
        out.push_str(&format!("{pad} |\n{number} | {code}\n{pad} | {indent}^\n"));
    }
    out
}

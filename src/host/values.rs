//! Between Rust and Rhai: results, errors, option maps.

use crate::config::unknown_field;
use crate::error::{Error, Kind, Result};
use rhai::{Dynamic, EvalAltResult, Map, Position};
use serde::{Serialize, de::DeserializeOwned};

/// What script functions return. The name is what `.d.rhai` files show.
pub type RhaiResultOf<T> = std::result::Result<T, Box<EvalAltResult>>;

/// Turns our result into Rhai's; `op` is the function as scripts write it.
pub trait Raise<T> {
    fn raise(self, op: &str) -> RhaiResultOf<T>;
}

impl<T> Raise<T> for Result<T> {
    fn raise(self, op: &str) -> RhaiResultOf<T> {
        self.map_err(|e| throw(e.op(op)))
    }
}

/// The error as scripts catch it: a map with all fields, so that `e.hint` is never a mistake.
pub fn throw(e: Error) -> Box<EvalAltResult> {
    if e.kind == Kind::Interrupted {
        // Not to be caught: a script that goes on after Ctrl-C would surprise everybody.
        return Box::new(EvalAltResult::ErrorTerminated(Dynamic::from(e), Position::NONE));
    }
    Box::new(EvalAltResult::ErrorRuntime(Dynamic::from_map(error_map(&e)), Position::NONE))
}

pub fn error_map(e: &Error) -> Map {
    let mut m = Map::new();
    m.insert("kind".into(), e.kind.name().into());
    m.insert("op".into(), e.op.clone().into());
    m.insert("subject".into(), e.subject.clone().into());
    m.insert("message".into(), e.message.clone().into());
    m.insert("code".into(), e.code.map_or(Dynamic::UNIT, |c| i64::from(c).into()));
    m.insert("hint".into(), e.hint.clone().map_or(Dynamic::UNIT, Into::into));
    m.insert("source".into(), e.source.as_ref().map_or(Dynamic::UNIT, |s| error_map(s).into()));
    m.insert("errors".into(), e.errors.iter().map(|e| Dynamic::from_map(error_map(e))).collect::<Vec<_>>().into());
    m.insert("usage".into(), e.usage.into());
    m
}

/// A thrown value as an error: our map again, a map of the script's own, or any value as message.
pub fn error_of(value: &Dynamic) -> Error {
    let Some(m) = value.read_lock::<Map>() else {
        return match value.read_lock::<Error>() {
            Some(e) => e.clone(),
            None => Error::failed(value.to_string()),
        };
    };
    let text = |k: &str| m.get(k).filter(|v| !v.is_unit()).map(ToString::to_string).unwrap_or_default();
    let kind = Kind::from_name(&text("kind")).unwrap_or(Kind::Failed);
    let mut e = Error::new(kind, text("message"));
    e.op = text("op");
    e.subject = text("subject");
    e.code = m.get("code").and_then(|c| c.as_int().ok()).and_then(|c| i32::try_from(c).ok());
    e.hint = Some(text("hint")).filter(|h| !h.is_empty());
    e.source = m.get("source").filter(|s| s.is_map()).map(|s| Box::new(error_of(s)));
    e.errors = m
        .get("errors")
        .and_then(|l| l.read_lock::<rhai::Array>().map(|l| l.iter().map(error_of).collect()))
        .unwrap_or_default();
    e.usage = m.get("usage").and_then(|u| u.as_bool().ok()).unwrap_or(false);
    e
}

/// Any of our types as a script value: structs are maps, absent is `()`.
pub fn to_value<T: Serialize>(value: T) -> RhaiResultOf<Dynamic> {
    rhai::serde::to_dynamic(value)
}

/// A list of structs as an array of maps.
pub fn to_array<T: Serialize>(values: impl IntoIterator<Item = T>) -> RhaiResultOf<rhai::Array> {
    values.into_iter().map(to_value).collect()
}

/// A script value as JSON, for events and details.
pub fn to_json(value: &Dynamic) -> serde_json::Value {
    if value.is_unit() {
        return serde_json::Value::Null;
    }
    if let Some(m) = value.read_lock::<Map>() {
        return m.iter().map(|(k, v)| (k.to_string(), to_json(v))).collect();
    }
    if let Some(a) = value.read_lock::<rhai::Array>() {
        return a.iter().map(to_json).collect();
    }
    rhai::serde::from_dynamic(value).unwrap_or_else(|_| value.to_string().into())
}

/// An option map as its struct; an unknown option is an error that names the nearest.
pub fn options<T: DeserializeOwned>(op: &str, map: Map) -> RhaiResultOf<T> {
    let given = Dynamic::from_map(map);
    rhai::serde::from_dynamic::<T>(&given).map_err(|e| {
        let message = match *e {
            EvalAltResult::ErrorParsing(rhai::ParseErrorType::BadInput(rhai::LexError::ImproperSymbol(_, m)), _) => m,
            EvalAltResult::ErrorRuntime(v, _) => v.to_string(),
            ref other => other.to_string(),
        };
        // Serde does not say which: the first that is refused by itself.
        let map = given.cast::<Map>();
        let alone = |(k, v): &(&rhai::Identifier, &Dynamic)| {
            rhai::serde::from_dynamic::<T>(&Map::from([((*k).clone(), (*v).clone())]).into()).is_err()
        };
        match map.iter().find(alone) {
            Some((k, v)) if !message.contains("unknown field ") => {
                throw(Error::invalid(message).op(op).subject(format!("{k}: {v}")))
            }
            _ => unknown_option(op, &message),
        }
    })
}

/// The error of a map that serde refuses: with the nearest option, or all that there are, for one that it does not know.
pub fn unknown_option(op: &str, message: &str) -> Box<EvalAltResult> {
    let start = message.find("unknown field ").unwrap_or(0);
    throw(match unknown_field(&message[start..]) {
        Some((word, Some(near))) => {
            Error::invalid(format!("unknown option `{word}`")).op(op).hint(format!("did you mean `{near}`?"))
        }
        Some((word, None)) => Error::invalid(format!("unknown option `{word}`"))
            .op(op)
            .hint(message[start..].split_once(", ").map_or_else(String::new, |(_, known)| known.to_string())),
        None => Error::invalid(message).op(op),
    })
}

/// A size given as bytes or as text such as "7G".
pub fn size(op: &str, value: &Dynamic) -> RhaiResultOf<u64> {
    let bad = |m: String| throw(Error::invalid(m).op(op).subject(value));
    if let Ok(n) = value.as_int() {
        return u64::try_from(n).map_err(|_| bad("a size is not negative".into()));
    }
    match value.read_lock::<rhai::ImmutableString>() {
        Some(text) => crate::helpers::units::parse_size(&text).map_err(|e| throw(e.op(op))),
        None => Err(bad(format!("a size is a number of bytes or text such as \"7G\", not {}", value.type_name()))),
    }
}

/// Text that came from a script as one of our names.
pub fn parse<T: std::str::FromStr<Err = Error>>(op: &str, text: &str) -> RhaiResultOf<T> {
    text.parse::<T>().raise(op)
}

//! How much a script may take: for scripts of strangers, and for mistakes. `[limits]` of zs.toml, `--limit`.

use crate::error::{Error, Kind, Result, nearest};
use crate::helpers::units::{parse_duration, parse_size};
use rhai::{Engine, EvalAltResult};
use serde::Deserialize;
use std::time::Duration;

/// Zero and `None`: no limit of ours.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Steps of the interpreter.
    pub operations: u64,
    /// Calls within calls.
    pub depth: usize,
    /// Bytes of a string.
    #[serde(deserialize_with = "size")]
    pub string: usize,
    /// Elements of an array, and bytes of a blob.
    pub array: usize,
    /// Properties of a map.
    pub map: usize,
    /// Bytes that the run takes, in all; `None`: as much as is sensible on this machine.
    #[serde(deserialize_with = "memory")]
    pub memory: Option<usize>,
    /// Of the whole run.
    #[serde(deserialize_with = "time")]
    pub time: Option<Duration>,
}

const NAMES: [&str; 7] = ["operations", "depth", "string", "array", "map", "memory", "time"];

fn number_or_text<'de, D: serde::Deserializer<'de>>(d: D) -> std::result::Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        Number(u64),
        Text(String),
    }
    Ok(match Value::deserialize(d)? {
        Value::Number(n) => n.to_string(),
        Value::Text(text) => text,
    })
}

fn size<'de, D: serde::Deserializer<'de>>(d: D) -> std::result::Result<usize, D::Error> {
    bytes(&number_or_text(d)?).map_err(|e| serde::de::Error::custom(e.message))
}

fn memory<'de, D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Option<usize>, D::Error> {
    size(d).map(Some)
}

fn time<'de, D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Option<Duration>, D::Error> {
    let text = number_or_text(d)?;
    parse_duration(&text).map(Some).map_err(|e| serde::de::Error::custom(e.message))
}

fn bytes(text: &str) -> Result<usize> {
    usize::try_from(parse_size(text)?).map_err(|e| Error::invalid(e.to_string()))
}

impl Limits {
    /// Takes `operations=N,depth=N,string=SIZE,array=N,map=N,memory=SIZE,time=DURATION`, as many of them as there are.
    pub fn read(&mut self, text: &str) -> Result<()> {
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            self.set(part).map_err(|e| {
                let e = e.op("--limit").subject(part).usage();
                if e.hint.is_some() {
                    e
                } else {
                    e.hint("--limit operations=1000000,depth=64,string=1M,array=10000,map=1000,memory=256M,time=5m")
                }
            })?;
        }
        Ok(())
    }

    fn set(&mut self, part: &str) -> Result<()> {
        let Some((name, value)) = part.split_once('=') else { return Err(Error::invalid("is no limit")) };
        let count = || value.parse::<u64>().map_err(|_| Error::invalid("is no whole number"));
        let small = || count().and_then(|n| usize::try_from(n).map_err(|e| Error::invalid(e.to_string())));
        match name {
            "operations" => self.operations = count()?,
            "depth" => self.depth = small()?,
            "string" => self.string = bytes(value)?,
            "array" => self.array = small()?,
            "map" => self.map = small()?,
            "memory" => self.memory = Some(bytes(value)?),
            "time" => self.time = Some(parse_duration(value)?),
            _ => {
                let e = Error::invalid("there is no such limit");
                return Err(match nearest(name, NAMES) {
                    Some(near) => e.hint(format!("did you mean `{near}`?")),
                    None => e,
                });
            }
        }
        Ok(())
    }

    /// What the engine itself watches. Its own limit on depth stays where none is given: deeper calls would end zs.
    pub fn apply(&self, engine: &mut Engine) {
        if self.operations > 0 {
            engine.set_max_operations(self.operations);
        }
        if self.depth > 0 {
            engine.set_max_call_levels(self.depth.min(engine.max_call_levels()));
        }
        engine.set_max_string_size(self.string).set_max_array_size(self.array).set_max_map_size(self.map);
    }
}

/// How to give a limit.
pub fn hint(name: &str) -> String {
    format!("its limit is that of [limits] {name} or --limit {name}=…")
}

/// The error of a run that took longer than its limit.
pub fn too_long(limit: Duration) -> Error {
    let seconds = limit.as_secs_f64();
    Error::timeout(format!("the script took longer than its limit of {seconds} s")).hint("--limit time=…")
}

/// What the engine says of a limit, in our words; `None` of other errors.
pub fn of_engine(e: &EvalAltResult) -> Option<Error> {
    let (what, name) = match e {
        EvalAltResult::ErrorTooManyOperations(_) => ("the script takes too many steps".to_string(), "operations"),
        EvalAltResult::ErrorStackOverflow(_) => ("calls within calls, too deep".to_string(), "depth"),
        EvalAltResult::ErrorDataTooLarge(what, _) => {
            let lower = what.to_lowercase();
            let name = NAMES.into_iter().find(|n| lower.contains(n)).unwrap_or("array");
            (format!("{lower}: too large"), name)
        }
        _ => return None,
    };
    Some(Error::new(Kind::Failed, what).hint(hint(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_mistakes_told() {
        let mut l = Limits::default();
        l.read("operations=10, depth=5,string=1K").expect("limits");
        l.read("time=5m,array=7,map=3,memory=1M").expect("limits");
        let time = Some(Duration::from_secs(300));
        let wanted = Limits { operations: 10, depth: 5, string: 1024, array: 7, map: 3, memory: Some(1 << 20), time };
        assert_eq!(l, wanted);
        for (bad, said) in [
            ("operation=1", "did you mean `operations`?"),
            ("depth", "--limit"),
            ("depth=-1", "--limit"),
            ("time=x", ""),
        ] {
            let e = l.clone().read(bad).expect_err(bad);
            assert!(e.exit_code() == 2 && e.hint.as_deref().unwrap_or_default().contains(said), "{bad}: {e}");
        }
        let config: crate::config::Config =
            crate::config::Config::parse("[limits]\noperations = 10\nstring = \"1K\"\ntime = 60\n")
                .expect("a configuration");
        assert_eq!((config.limits.string, config.limits.time), (1024, Some(Duration::from_secs(60))));
        assert!(crate::config::Config::parse("[limits]\noperation = 10\n").is_err());
    }
}

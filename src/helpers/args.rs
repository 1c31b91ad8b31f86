//! `args.parse`: a script says its arguments once and gets parsing, help and errors from it. clap does the work.

use crate::error::{Error, Result, nearest};
use clap::{Arg, ArgAction, Command};
use rhai::{Array, Dynamic, Map};

/// What `args.parse` came to.
pub enum Parsed {
    Values(Map),
    /// `--help` was asked for: this text.
    Help(String),
}

pub const SPEC_KEYS: &[&str] = &["about", "positional", "options", "examples"];
pub const POSITIONAL_KEYS: &[&str] = &["name", "help", "many", "required", "default", "kind", "choices"];
pub const OPTION_KEYS: &[&str] = &["name", "help", "value", "short", "default", "kind", "choices", "many", "required"];

fn text(spec: &Map, key: &str) -> Option<String> {
    spec.get(key).filter(|v| !v.is_unit()).map(ToString::to_string)
}

fn flag(spec: &Map, key: &str) -> bool {
    spec.get(key).and_then(|v| v.as_bool().ok()).unwrap_or(false)
}

fn maps(spec: &Map, key: &str) -> Result<Vec<Map>> {
    let Some(list) = spec.get(key) else { return Ok(Vec::new()) };
    let bad = || Error::invalid(format!("`{key}` is an array of maps")).op("args.parse");
    let list = list.read_lock::<Array>().ok_or_else(bad)?;
    list.iter().map(|m| m.read_lock::<Map>().map(|m| m.clone()).ok_or_else(bad)).collect()
}

fn known(map: &Map, keys: &[&str], what: &str) -> Result<()> {
    for key in map.keys() {
        if !keys.contains(&key.as_str()) {
            let e = Error::invalid(format!("{what}: unknown key `{key}`")).op("args.parse");
            return Err(match nearest(key, keys.iter().copied()) {
                Some(near) => e.hint(format!("did you mean `{near}`?")),
                None => e.hint(format!("known are {}", keys.join(", "))),
            });
        }
    }
    Ok(())
}

/// Reads `args` by `spec` (`about`, `positional`, `options`, `examples`).
pub fn parse(script: &str, spec: &Map, args: &[String], color: bool) -> Result<Parsed> {
    let (positional, options) = (maps(spec, "positional")?, maps(spec, "options")?);
    let command =
        command_of(script, spec)?.color(if color { clap::ColorChoice::Always } else { clap::ColorChoice::Never });
    let words = std::iter::once(script.to_string()).chain(args.iter().cloned());
    let matches = match command.try_get_matches_from(words) {
        Ok(m) => m,
        Err(e) if matches!(e.kind(), clap::error::ErrorKind::DisplayHelp) => {
            return Ok(Parsed::Help(if color { e.render().ansi().to_string() } else { e.render().to_string() }));
        }
        Err(e) => {
            let said = e.render().to_string();
            let said = said.trim().trim_start_matches("error: ").to_string();
            let (first, rest) = said.split_once('\n').unwrap_or((&said, ""));
            let wrong = e.get(clap::error::ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
            let error = Error::invalid(first.to_string()).op(script).subject(wrong.trim_end_matches("...")).usage();
            let rest: Vec<&str> = rest.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
            return Err(error.hint(rest.join("; ")));
        }
    };
    let mut values = Map::new();
    for (p, is_option) in positional.iter().map(|p| (p, false)).chain(options.iter().map(|o| (o, true))) {
        let name = text(p, "name").unwrap_or_default();
        let key = name.replace('-', "_");
        if is_option && !p.contains_key("value") {
            values.insert(key.into(), matches.get_flag(&name).into());
            continue;
        }
        let kind = text(p, "kind");
        let read = |s: &String| typed(kind.as_deref(), s).map_err(|e| e.op(script).subject(s).usage());
        let given: Vec<Dynamic> =
            matches.get_many::<String>(&name).into_iter().flatten().map(read).collect::<Result<_>>()?;
        let value = if flag(p, "many") {
            given.into()
        } else {
            match given.into_iter().next() {
                Some(v) => v,
                None => p.get("default").cloned().unwrap_or(Dynamic::UNIT),
            }
        };
        values.insert(key.into(), value);
    }
    Ok(Parsed::Values(values))
}

/// Whether a declaration can be one.
pub fn check(spec: &Map) -> Result<()> {
    command_of("script", spec).map(|_| ())
}

/// The arguments of a script as clap knows them.
pub fn command_of(script: &str, spec: &Map) -> Result<Command> {
    known(spec, SPEC_KEYS, "args.parse")?;
    let (positional, options) = (maps(spec, "positional")?, maps(spec, "options")?);
    declared(&positional, &options)?;
    command(script, spec, &positional, &options)
}

/// What clap takes for a bug of the program, and says by a panic.
fn declared(positional: &[Map], options: &[Map]) -> Result<()> {
    let bad = |name: &str, why: &str| Err(Error::invalid(why).op("args.parse").subject(name));
    let (mut names, mut shorts) = (vec!["help".to_string()], vec!["h".to_string()]);
    for p in positional.iter().chain(options) {
        // Without a name it has an error of its own.
        let Some(name) = text(p, "name") else { continue };
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(word) {
            return bad(&name, "is not a name for an argument: letters, digits, `-`, `_`");
        }
        // As the values are called in the map.
        let key = name.replace('-', "_");
        if names.contains(&key) {
            return bad(&name, "is declared twice; `help` is always there");
        }
        names.push(key);
    }
    for o in options {
        if o.contains_key("choices") && !o.contains_key("value") {
            return bad(
                &text(o, "name").unwrap_or_default(),
                "has `choices` and no `value`: a flag has nothing to choose",
            );
        }
        let Some(short) = text(o, "short") else { continue };
        if short.chars().count() != 1 || !short.chars().all(|c| c.is_ascii_alphanumeric()) {
            return bad(&short, "`short` is one letter or digit");
        }
        if shorts.contains(&short) {
            return bad(&short, "`short` is declared twice; `-h` is always there");
        }
        shorts.push(short);
    }
    let mut optional = false;
    for (at, p) in positional.iter().enumerate() {
        let name = text(p, "name").unwrap_or_default();
        if flag(p, "many") && at + 1 < positional.len() {
            return bad(&name, "only the last positional argument can be `many`");
        }
        if optional && is_required(p) {
            return bad(&name, "a required argument cannot follow one that may be left out");
        }
        optional = !is_required(p);
    }
    Ok(())
}

fn is_required(positional: &Map) -> bool {
    positional.get("required").is_none_or(|r| r.as_bool().unwrap_or(true)) && !positional.contains_key("default")
}

fn command(script: &str, spec: &Map, positional: &[Map], options: &[Map]) -> Result<Command> {
    let mut command = Command::new(script.to_string())
        .bin_name(format!("zs {script}"))
        .disable_version_flag(true)
        .override_usage(usage(script, positional, options));
    if let Some(about) = text(spec, "about") {
        command = command.about(about);
    }
    if let Some(examples) = text(spec, "examples") {
        command = command.after_help(format!("Examples:\n{}", examples.trim_end()));
    }
    let name_of = |p: &Map, what: &str| {
        text(p, "name").ok_or_else(|| Error::invalid(format!("{what} has no `name`")).op("args.parse"))
    };
    for p in positional {
        let name = name_of(p, "a positional argument")?;
        known(p, POSITIONAL_KEYS, &name)?;
        let many = flag(p, "many");
        let required = is_required(p);
        let mut arg = Arg::new(name.clone()).value_name(name.to_uppercase()).required(required);
        arg = arg.help(text(p, "help").unwrap_or_default());
        arg = if many { arg.action(ArgAction::Append).num_args(1..) } else { arg.action(ArgAction::Set) };
        command = command.arg(with_choices(arg, p));
    }
    for o in options {
        let name = name_of(o, "an option")?;
        known(o, OPTION_KEYS, &name)?;
        let mut arg = Arg::new(name.clone()).long(name.clone()).help(text(o, "help").unwrap_or_default());
        if let Some(short) = text(o, "short").and_then(|s| s.chars().next()) {
            arg = arg.short(short);
        }
        arg = match text(o, "value") {
            None => arg.action(ArgAction::SetTrue),
            Some(value) => {
                let action = if flag(o, "many") { ArgAction::Append } else { ArgAction::Set };
                arg.value_name(value).action(action).required(flag(o, "required"))
            }
        };
        command = command.arg(with_choices(arg, o));
    }
    Ok(command)
}

fn usage(script: &str, positional: &[Map], options: &[Map]) -> String {
    let mut usage = format!("zs {script}");
    if !options.is_empty() {
        usage.push_str(" [OPTIONS]");
    }
    for p in positional {
        let name = text(p, "name").unwrap_or_default().to_uppercase();
        let dots = if flag(p, "many") { "..." } else { "" };
        let required = is_required(p);
        usage.push_str(&if required { format!(" {name}{dots}") } else { format!(" [{name}]{dots}") });
    }
    usage
}

fn with_choices(arg: Arg, spec: &Map) -> Arg {
    let Some(choices) = spec.get("choices").and_then(|c| c.read_lock::<Array>()) else { return arg };
    let choices: Vec<String> = choices.iter().map(ToString::to_string).collect();
    arg.value_parser(clap::builder::PossibleValuesParser::new(choices))
}

/// What `kind` may be in a declaration.
pub const ARGUMENT_KINDS: &[&str] = &["text", "path", "int", "size", "time", "vm", "vms", "address", "ip", "mac"];

/// An argument by its declared kind.
fn typed(kind: Option<&str>, value: &str) -> Result<Dynamic> {
    Ok(match kind {
        None | Some("text" | "path") => value.into(),
        Some("int") => {
            let n: i64 = value.parse().map_err(|_| Error::invalid("is not a whole number"))?;
            n.into()
        }
        Some("size") => i64::try_from(super::units::parse_size(value)?).unwrap_or(i64::MAX).into(),
        Some("time") => i64::try_from(super::units::parse_duration(value)?.as_secs()).unwrap_or(i64::MAX).into(),
        Some("vm") => {
            super::names::check_vm(value)?;
            value.into()
        }
        Some("vms") => super::names::expand(value)?.into_iter().map(Dynamic::from).collect::<Array>().into(),
        Some("address") => {
            super::net::address(value)?;
            value.into()
        }
        Some("ip") => super::net::plain(value)?.to_string().into(),
        Some("mac") => super::net::mac(value)?.into(),
        Some(other) => return Err(Error::invalid(format!("there is no kind of argument `{other}`"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// clap panics over each of these.
    #[test]
    fn declarations_that_cannot_be() {
        let engine = rhai::Engine::new();
        let parsed = |spec: &str| parse("s", &engine.eval::<Map>(spec).expect("a map"), &[], false);
        for bad in [
            "#{ options: [#{ name: \"help\" }] }",
            "#{ options: [#{ name: \"a\", short: \"h\" }] }",
            "#{ options: [#{ name: \"a\" }, #{ name: \"a\" }] }",
            "#{ options: [#{ name: \"a\", short: \"x\" }, #{ name: \"b\", short: \"x\" }] }",
            "#{ options: [#{ name: \"a-b\" }], positional: [#{ name: \"a_b\", required: false }] }",
            "#{ options: [#{ name: \"--a\" }] }",
            "#{ options: [#{ name: \"\" }] }",
            "#{ options: [#{ name: \"a\", choices: [\"x\"] }] }",
            "#{ positional: [#{ name: \"a\", many: true, required: false }, #{ name: \"b\", required: false }] }",
            "#{ positional: [#{ name: \"a\", required: false }, #{ name: \"b\" }] }",
        ] {
            let e = parsed(bad).err().unwrap_or_else(|| panic!("{bad}"));
            assert_eq!((e.kind, e.op.as_str()), (crate::error::Kind::Invalid, "args.parse"), "{bad}: {e}");
        }
        assert!(
            parsed("#{ options: [#{ name: \"a\", short: \"x\" }], positional: [#{ name: \"b\", required: false }] }")
                .is_ok()
        );
    }
}

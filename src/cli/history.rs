//! `zs history` and `zs show`.

use crate::config::Config;
use crate::error::Result;
use crate::host::events::Events;
use crate::host::history::{self, Operation, Run, State};
use rhai::{Array, Dynamic, Map};

pub fn history(events: &Events, limit: Option<usize>) -> Result<u8> {
    let (mut runs, bad) = history::all(&Config::state_dir())?;
    runs.truncate(limit.unwrap_or(usize::MAX));
    for e in &bad {
        events.log("warn", &e.to_string());
    }
    if events.json {
        events.result(serde_json::Value::Array(runs.iter().map(summary).collect()));
        return Ok(0);
    }
    if runs.is_empty() {
        events.log("info", "no run has changed anything yet");
        return Ok(0);
    }
    let rows: Array = runs.iter().map(|r| Dynamic::from(row(r))).collect();
    let columns = ["run", "script", "arguments", "when", "took", "changes", "outcome"].map(String::from);
    events.out(&crate::render::table(&rows, &columns, crate::render::Look::stdout(events.color)));
    Ok(0)
}

fn summary(run: &Run) -> serde_json::Value {
    let mut value = serde_json::to_value(run).unwrap_or_default();
    value["operations"] = run.operations.len().into();
    value
}

fn row(run: &Run) -> Map {
    let mut map = Map::new();
    let mut put = |key: &str, value: String| {
        map.insert(key.into(), value.into());
    };
    put("run", run.run.clone());
    put("script", run.script.clone());
    put("arguments", words(&run.arguments));
    put("when", local(&run.time, "%Y-%m-%d %H:%M:%S"));
    put("took", run.ms.map_or_else(|| "-".into(), took));
    put("changes", run.operations.len().to_string());
    put("outcome", run.outcome.clone());
    map
}

/// As they would be typed.
fn words(arguments: &[String]) -> String {
    let plain = |a: &&String| !a.is_empty() && a.chars().all(|c| c.is_alphanumeric() || "-_./@:=,+%".contains(c));
    let quoted = |a: &String| if plain(&a) { a.clone() } else { format!("'{}'", a.replace('\'', "'\\''")) };
    arguments.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// A time of the journal as the clock on the wall shows it.
fn local(time: &str, format: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(t) => t.to_zoned(jiff::tz::TimeZone::system()).strftime(format).to_string(),
        Err(_) => time.to_string(),
    }
}

fn took(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

pub fn show(events: &Events, word: &str) -> Result<u8> {
    let run = history::find(&Config::state_dir(), word)?;
    if events.json {
        events.result(serde_json::to_value(&run).unwrap_or_default());
        return Ok(0);
    }
    let line = |key: &str, value: &str| events.out(&format!("{key:9} {value}"));
    line("run", &run.run);
    line("script", format!("{} {}", run.script, words(&run.arguments)).trim_end());
    let lasted = run.ms.map(|ms| format!(", {}", took(ms))).unwrap_or_default();
    line("when", &format!("{}{lasted}", local(&run.time, "%Y-%m-%d %H:%M:%S %Z")));
    line("by", &format!("{}, as client.{}, zs {}", run.user, run.ceph_id, run.version));
    if let Some(undoes) = &run.undoes {
        line("undoes", undoes);
    }
    line("outcome", &run.outcome);
    for o in &run.operations {
        events.out("");
        let ms = o.ms.map_or_else(|| "-".into(), took);
        events.out(&format!("{:>3}  {}  {ms:>8}", o.seq, local(&o.time, "%H:%M:%S%.3f")));
        events.operation(&o.op);
        for text in said(o) {
            events.out(&format!("    {text}"));
        }
    }
    Ok(0)
}

fn said(o: &Operation) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(made) = &o.made {
        all.push(format!("made: {made}"));
    }
    match &o.state {
        State::Done => {}
        State::Open => all.push("not known to be done".into()),
        State::Failed { error } => all.push(error.clone()),
        State::Undone { said } => all.push(format!("undone: {said}")),
        State::Left { what, command } => all.extend([format!("left behind: {what}"), format!("  {command}")]),
    }
    all
}

//! `zs doctor`.

use super::{Cli, live, settings};
use crate::bindings::spec::Cancel;
use crate::config::Config;
use crate::doctor::{self, Finding, Level, Site};
use crate::error::{Kind, Result};
use crate::host::events::{Events, Verbosity};
use std::sync::Arc;

pub fn doctor(cli: &Cli, events: &Arc<Events>) -> Result<u8> {
    // What is wrong with zs.toml is a finding like any other.
    let (config, error) = match Config::load(cli.config.as_deref()) {
        Ok(config) => (config, None),
        Err(e) => (Config::default(), Some(e)),
    };
    let live = Arc::new(live(settings(cli, &config), events, &Cancel::default()));
    let site = Site::new(config, error, live, Config::state_dir());
    let mut all: Vec<Finding> = Vec::new();
    let worst = doctor::examine(&site, &mut |finding| {
        if !cli.json {
            show(events, finding);
        }
        all.push(finding.clone());
    });
    let count = |level: Level| all.iter().filter(|f| f.level == level).count();
    let (bad, warn) = (count(Level::Bad), count(Level::Warn));
    if cli.json {
        events.result(serde_json::to_value(&all).unwrap_or_default());
    } else if bad + warn == 0 {
        events.log("info", "nothing found");
    } else {
        events.log("info", &format!("{bad} bad, {warn} to look at"));
    }
    Ok(if worst == Level::Bad { Kind::Failed.exit_code() } else { 0 })
}

fn show(events: &Events, f: &Finding) {
    let (word, color) = match f.level {
        Level::Ok => ("ok  ", "32"),
        Level::Warn => ("warn", "33"),
        Level::Bad => ("bad ", "31"),
    };
    if f.level == Level::Ok && events.verbosity == Verbosity::Quiet {
        return;
    }
    let object = if f.object.is_empty() { String::new() } else { format!("{}: ", f.object) };
    events.out(&format!("{}  {:9}  {object}{}", events.paint(color, word), f.check, f.what));
    if let Some(mend) = &f.mend {
        events.out(&format!("                 mend: {mend}"));
    }
}

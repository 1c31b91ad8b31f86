//! `zs check`.

use super::Cli;
use crate::config::Config;
use crate::error::Result;
use crate::host::events::Events;
use crate::host::{engine, report, scripts};
use std::path::PathBuf;

pub fn check(cli: &Cli, events: &Events, files: &[PathBuf]) -> Result<u8> {
    let config = Config::load(cli.config.as_deref())?;
    let engine = engine::bare();
    let mut bad = 0;
    for file in files {
        let source = scripts::find(&file.display().to_string(), &config.scripts.path)?;
        if let Err(e) = engine::compile(&engine, &source) {
            bad += 1;
            let failure = report::failure(&e, &source.name, Some(&engine));
            events.error(&failure.error, &report::render(&failure, Some(&source.text), false), &[]);
        }
    }
    Ok(if bad > 0 { 2 } else { 0 })
}

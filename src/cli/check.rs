//! `zs check`.

use super::Cli;
use crate::check::{Checker, Severity, render};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::host::events::Events;
use crate::host::scripts::{self, Source};
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

/// 0, or 2 where there is a mistake; a warning is none, unless `strict`.
pub fn check(cli: &Cli, events: &Events, files: &[PathBuf], as_json: bool, strict: bool) -> Result<u8> {
    let config = Config::load(cli.config.as_deref())?;
    let mut checker = Checker::new(&config.scripts.path);
    let mut all: Vec<Value> = Vec::new();
    let (mut errors, mut warnings) = (0, 0);
    for source in sources(files, &config.scripts.path)? {
        for finding in checker.check(&source).findings {
            match finding.severity {
                Severity::Error => errors += 1,
                Severity::Warning => warnings += 1,
            }
            if as_json || cli.json {
                let mut object = json!({ "file": source.name });
                if let (Some(map), Ok(Value::Object(rest))) = (object.as_object_mut(), serde_json::to_value(&finding)) {
                    map.extend(rest);
                }
                if as_json && !cli.json {
                    println!("{object}");
                }
                all.push(object);
            } else {
                eprint!("{}", render(&finding, &source, &|color, text| events.paint(color, text)));
            }
        }
    }
    if cli.json {
        events.result(Value::Array(all));
    } else if !as_json && errors + warnings > 0 {
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        eprintln!("{}, {}", count(errors, "error"), count(warnings, "warning"));
    }
    Ok(if errors > 0 || (strict && warnings > 0) { 2 } else { 0 })
}

fn sources(files: &[PathBuf], dirs: &[PathBuf]) -> Result<Vec<Source>> {
    let mut all = Vec::new();
    for file in files {
        if file == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|e| Error::from(e).subject("standard input").usage())?;
            all.push(Source { name: "stdin".into(), text, dir: Some(PathBuf::from(".")) });
        } else if file.is_dir() {
            for path in crate::host::testing::scripts_below(file)? {
                all.push(scripts::find(&path.display().to_string(), dirs)?);
            }
        } else {
            all.push(scripts::find(&file.display().to_string(), dirs)?);
        }
    }
    Ok(all)
}

//! `zs test`: the functions `test_…` of scripts, each in a small site in memory of its own (`site.rs`).

mod site;

pub use site::{large_site, small_site};

use super::events::Events;
use super::gate::{Gate, Setup};
use super::report::{self, Failure};
use super::rights::Rights;
use super::scripts::{self, Source};
use super::{Host, engine};
use crate::bindings::spec::Cancel;
use crate::config::Config;
use crate::error::{Error, Result};
use rhai::{CallFnOptions, Dynamic, Engine, EvalAltResult, Scope};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Runs the tests of scripts and of directories, those whose name contains `only`. 0, or 1 when one has failed.
pub fn run(config: &Config, paths: &[PathBuf], only: &str, events: &Events) -> Result<u8> {
    let mut files = Vec::new();
    for path in paths {
        let found = if path.is_dir() { scripts_below(path)? } else { vec![path.clone()] };
        files.extend(found);
    }
    let (mut passed, mut failed) = (0, 0);
    for file in &files {
        let source = scripts::find(&file.display().to_string(), &config.scripts.path)?;
        if !source.text.contains("fn test_") {
            continue;
        }
        match tests_of(&source) {
            Ok(names) => {
                for name in names.iter().filter(|n| n.contains(only)) {
                    let begun = Instant::now();
                    let failure = on_large_stack(|| one(config, &source, name))?;
                    passed += usize::from(failure.is_none());
                    failed += usize::from(failure.is_some());
                    tell(events, &source.name, name, begun, failure.as_deref());
                }
            }
            Err(failure) => {
                failed += 1;
                tell(
                    events,
                    &source.name,
                    "compiles",
                    Instant::now(),
                    Some(&report::render(&failure, Some(&source.text), false)),
                );
            }
        }
    }
    if passed + failed == 0 {
        let shown: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
        return Err(Error::not_found("no function `test_…` there").op("test").subject(shown.join(" ")));
    }
    let word = if failed == 0 { events.paint("32", "ok") } else { events.paint("31", "FAILED") };
    match events.json {
        true => events.result(json!({ "passed": passed, "failed": failed })),
        false => events.out(&format!("\ntest result: {word}. {passed} passed; {failed} failed")),
    }
    Ok(u8::from(failed > 0))
}

fn tell(events: &Events, file: &str, name: &str, begun: Instant, failure: Option<&str>) {
    if events.json {
        let ms = begun.elapsed().as_millis() as u64;
        events.event("test", json!({ "file": file, "name": name, "ok": failure.is_none(), "ms": ms, "said": failure }));
        return;
    }
    let word = if failure.is_none() { events.paint("32", "ok") } else { events.paint("31", "FAILED") };
    events.out(&format!("test {file}::{name} ... {word}"));
    if let Some(text) = failure {
        text.lines().for_each(|l| events.out(&format!("    {l}")));
    }
}

pub fn scripts_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let fail = |e: std::io::Error| Error::from(e).op("test").subject(dir.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let (path, hidden) = (entry.path(), entry.file_name().as_encoded_bytes().starts_with(b"."));
        // A link to a directory above would go round for ever.
        if entry.file_type().map_err(fail)?.is_dir() && !hidden && entry.file_name() != "target" {
            found.extend(scripts_below(&path)?);
        } else if path.extension().is_some_and(|x| x == "rhai") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The names of the tests, in the order in which they stand in the file.
fn tests_of(source: &Source) -> Result<Vec<String>, Failure> {
    let bare = engine::bare();
    let ast = engine::compile(&bare, source).map_err(|e| report::failure(&e, &source.name, Some(&bare)))?;
    let is_test = |f: &rhai::ScriptFnMetadata| f.name.starts_with("test_") && f.params.is_empty();
    let mut names: Vec<String> = ast.iter_functions().filter(is_test).map(|f| f.name.to_string()).collect();
    names.sort_by_key(|n| source.text.find(&format!("fn {n}")));
    Ok(names)
}

pub(super) fn on_large_stack<T: Send>(f: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|s| {
        let thread = std::thread::Builder::new().name("test".into()).stack_size(engine::STACK).spawn_scoped(s, f)?;
        thread.join().map_err(|_| Error::failed("the test's thread ended by a panic: this is a bug of zs").op("test"))
    })
}

/// Runs one test; what went wrong, with what it said before.
fn one(config: &Config, source: &Source, name: &str) -> Option<String> {
    let events = Arc::new(Events::keeping());
    let engine = match in_small_site(config, source, &events) {
        Ok(engine) => engine,
        Err(e) => return Some(e.to_string()),
    };
    let call = CallFnOptions::new().eval_ast(true);
    let called = engine::compile(&engine, source)
        .and_then(|ast| engine.call_fn_with_options::<Dynamic>(call, &mut Scope::new(), &ast, name, ()));
    match called {
        Ok(_) => None,
        Err(e) if matches!(e.unwrap_inner(), EvalAltResult::Exit(..)) => None,
        Err(e) => {
            let failure = report::failure(&e, &source.name, Some(&engine));
            Some(format!("{}{}", events.kept(), report::render(&failure, Some(&source.text), false)))
        }
    }
}

/// The engine of a run on a small site of its own, where all questions are answered with yes.
pub fn in_small_site(config: &Config, source: &Source, events: &Arc<Events>) -> Result<Engine> {
    let cancel = Cancel::default();
    let setup = Setup {
        state: Config::state_dir(),
        script: source.name.clone(),
        argv: vec![],
        ceph_conf: None,
        ceph_id: "admin".into(),
        undoes: None,
        rotation: Default::default(),
    };
    let rights = Rights::new(false, &[], &[], &config.rights.protected)?;
    let gate = Gate::new(Arc::new(small_site()?), setup, rights, true, events.clone(), cancel.clone())?;
    super::memory::begin(&config.limits);
    Ok(engine::build(&Arc::new(Host {
        config: config.clone(),
        gate: Arc::new(gate),
        events: events.clone(),
        cancel,
        script: source.name.clone(),
        args: vec![],
        jobs: None,
        finished: Mutex::new(false),
        out_of_time: Default::default(),
    })))
}

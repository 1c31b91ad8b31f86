//! The run of one script, with its signals.

use super::{Cli, limited, live, settings};
use crate::bindings::spec::Cancel;
use crate::bindings::{Site, World, ceph};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::host::events::Events;
use crate::host::gate::{Gate, Setup};
use crate::host::report::{self, Failure};
use crate::host::rights::Rights;
use crate::host::scripts::Source;
use crate::host::{Host, engine, limits, memory, program, values};
use crate::render::Look;
use clap::CommandFactory;
use rhai::{Dynamic, EvalAltResult, FnPtr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::signals::with_signals;

/// Runs one script: on a thread with a large stack, while this one minds signals.
pub fn run(cli: &Cli, events: &Arc<Events>, source: Source, args: Vec<String>, is_eval: bool) -> Result<u8> {
    if let Some(word) = misplaced(&source.text, &args) {
        return Err(Error::invalid(format!("belongs before the script's name: zs {word} {} …", source.name))
            .subject(word)
            .usage());
    }
    let config = limited(cli)?;
    let cancel = Cancel::default();
    let mut settings = settings(cli, &config);
    if let (None, Some(id)) = (&cli.ceph_id, source.ceph_id()) {
        settings.ceph_id = id.into();
    }
    let rights = Rights::new(cli.read_only, &cli.allow, &cli.deny, &config.rights.protected)?;
    let setup = Setup {
        state: Config::state_dir(),
        script: source.name.clone(),
        argv: args.clone(),
        // `zs recover` may be run elsewhere.
        ceph_conf: settings.ceph_conf.as_ref().map(|c| std::path::absolute(c).unwrap_or_else(|_| c.clone())),
        ceph_id: settings.ceph_id.clone(),
        undoes: None,
        rotation: config.journal,
    };
    let run = Arc::new(OnceLock::<Weak<Host>>::new());
    let of_live = run.clone();
    let live = live(settings, events, &cancel).abandoned_by(Arc::new(move || {
        if let Some(host) = of_live.get().and_then(Weak::upgrade) {
            abandon(&host);
        }
    }));
    let world: Arc<dyn World> =
        if cli.dry_run || cli.expect_no_changes { Arc::new(Site::over(Arc::new(live))) } else { Arc::new(live) };
    let gate = Gate::new(world, setup, rights, cli.yes, events.clone(), cancel.clone())?;
    let host = Arc::new(Host {
        config,
        gate: Arc::new(gate),
        events: events.clone(),
        cancel: cancel.clone(),
        script: source.name.clone(),
        args,
        jobs: cli.jobs,
        finished: Mutex::new(false),
        out_of_time: AtomicBool::new(false),
    });
    let _ = run.set(Arc::downgrade(&host));
    let (verbose, expect_none) = (cli.verbose, cli.expect_no_changes);
    with_signals(&cancel, events, move || {
        watch_time(&host);
        let code = run_script(&host, &source, is_eval, verbose);
        ceph::sys::leave_to_process();
        if code == 0 && host.gate.planning() { of_plan(&host, expect_none) } else { code }
    })
}

/// zs' own options that would silently do nothing after the script's name, unless the script declares them.
fn misplaced<'a>(script: &str, args: &'a [String]) -> Option<&'a str> {
    const OURS: [&str; 4] = ["-n", "--dry-run", "--expect-no-changes", "--read-only"];
    let before_dashes = args.iter().take_while(|a| *a != "--");
    let mut ours = before_dashes.map(String::as_str).filter(|a| OURS.contains(a)).peekable();
    ours.peek()?;
    // As the declaration may be written: with blanks or none, keys and values in quotes of any kind.
    let bare: String = script.chars().filter(|c| !c.is_whitespace() && !matches!(c, '"' | '`')).collect();
    let declares = |key: &str, name: &str| {
        let text = format!("{key}:{name}");
        bare.match_indices(&text).any(|(at, _)| bare[at + text.len()..].starts_with([',', '}']))
    };
    ours.find(|a| {
        let name = a.trim_start_matches('-');
        !declares("name", name) && !declares("short", name)
    })
}

/// Stops the run, as Ctrl-C would, once it has taken as long as it may.
fn watch_time(host: &Arc<Host>) {
    let Some(limit) = host.config.limits.time else { return };
    let host = Arc::downgrade(host);
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        if let Some(host) = host.upgrade() {
            host.out_of_time.store(true, Ordering::SeqCst);
            host.cancel.set();
        }
    });
}

/// The exit code of a plan that has come to its end.
fn of_plan(host: &Host, expect_none: bool) -> u8 {
    if *crate::host::gate::lock(&host.finished) {
        return 0;
    }
    let changes = host.events.sum_up_plan();
    if !expect_none || changes == 0 {
        return 0;
    }
    let e = Error::failed(format!("{changes} operations would change something")).op("plan").subject(&host.script);
    host.events.error(&e, &e.to_string(), &[]);
    e.exit_code()
}

fn run_script(host: &Arc<Host>, source: &Source, is_eval: bool, verbose: bool) -> u8 {
    let engine = engine::build(host);
    memory::begin(&host.config.limits);
    let ast = match engine::compile(&engine, source) {
        Ok(ast) => ast,
        Err(e) => return fail(host, source, &e, Some(&engine), verbose, true),
    };
    let last = Mutex::new(None::<Box<EvalAltResult>>);
    let later = |f: &FnPtr| {
        f.call::<Dynamic>(&engine, &ast, ()).map(|_| ()).map_err(|e| report::failure(&e, &source.name, None).error)
    };
    let result = host.gate.run(&later, || {
        program::run(&engine, &ast).map_err(|e| {
            let error = report::failure(&e, &source.name, Some(&engine)).error;
            *crate::host::gate::lock(&last) = Some(e);
            error
        })
    });
    match result {
        Ok(value) => {
            host.events.result(values::to_json(&value));
            if !host.events.json && !value.is_unit() && is_eval {
                host.events.out(&crate::render::value(&value, Look::stdout(host.events.color)));
            }
            for (what, command) in host.gate.left() {
                host.events.log("error", &format!("left behind: {what}\n  {command}"));
            }
            0
        }
        Err(_) if *crate::host::gate::lock(&host.finished) => 0,
        Err(error) => match crate::host::gate::lock(&last).take() {
            Some(e) => fail(host, source, &e, Some(&engine), verbose, is_eval),
            None => {
                let mut failure = Failure { error, places: vec![], raised: true };
                finish(host, &mut failure, source, verbose, is_eval)
            }
        },
    }
}

fn fail(
    host: &Host,
    source: &Source,
    e: &EvalAltResult,
    engine: Option<&rhai::Engine>,
    verbose: bool,
    is_eval: bool,
) -> u8 {
    let mut failure = report::failure(e, &source.name, engine);
    let word = failure.error.subject.clone();
    if failure.error.usage && is_own_option(&word) {
        failure.error.hint =
            Some(format!("{word} is zs' own and stands before the script: zs {word} {} …", source.name));
    }
    finish(host, &mut failure, source, verbose, is_eval)
}

fn is_own_option(word: &str) -> bool {
    let command = Cli::command();
    command.get_arguments().any(|a| {
        let long = word.strip_prefix("--").is_some_and(|w| a.get_long() == Some(w));
        let short = word.strip_prefix('-').is_some_and(|w| a.get_short().is_some_and(|s| w == s.to_string()));
        long || short
    })
}

fn finish(host: &Host, failure: &mut Failure, source: &Source, verbose: bool, is_eval: bool) -> u8 {
    if let (true, Some(limit)) = (host.out_of_time.load(Ordering::SeqCst), host.config.limits.time)
        && failure.error.kind == Kind::Interrupted
    {
        failure.error = limits::too_long(limit);
    }
    let left = host.gate.left();
    let mut text = report::render(failure, Some(&source.text), verbose);
    let code = failure.error.exit_code();
    // A slip in an expression has nothing to do with the site; a call that was refused before it began has.
    let is_slip = code == 2 || is_eval && failure.error.op.is_empty();
    if !host.gate.planning() && (host.gate.operations() > 0 || !is_slip) {
        text.push_str(&what_is_left(&left));
    }
    host.events.error(&failure.error, &text, &left);
    code
}

fn what_is_left(left: &[(String, String)]) -> String {
    if left.is_empty() {
        return "left behind: nothing\n".into();
    }
    let list: String = left.iter().map(|(what, command)| format!("  {what}\n    {command}\n")).collect();
    format!("left behind:\n{list}")
}

/// Ctrl-C while the cluster does not answer: nothing can be taken back now, and nobody need wait to hear that.
fn abandon(host: &Host) {
    let error = match host.config.limits.time {
        Some(limit) if host.out_of_time.load(Ordering::SeqCst) => limits::too_long(limit),
        _ => Error::interrupted(),
    };
    let error = error.hint("no OSD answers, so nothing could be taken back; zs recover does it once they do");
    let left = host.gate.unfinished();
    let failure = Failure { error, places: vec![], raised: true };
    let text = format!("{}{}", report::render(&failure, None, false), what_is_left(&left));
    host.events.error(&failure.error, &text, &left);
    crate::helpers::leave(failure.error.exit_code());
}

#[cfg(test)]
mod tests {
    use super::misplaced;

    #[test]
    fn options_in_the_wrong_place() {
        let args = |list: &[&str]| list.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        assert_eq!(misplaced("", &args(&["a", "-n"])), Some("-n"));
        assert_eq!(misplaced("", &args(&["a", "--", "-n"])), None);
        for declared in ["#{ name: \"dry-run\", help: \"\" }", "#{name:`dry-run`}", "#{ \"name\" : \"dry-run\" }"] {
            assert_eq!(misplaced(declared, &args(&["--dry-run"])), None, "{declared}");
            assert_eq!(misplaced(declared, &args(&["--dry-run", "--read-only"])), Some("--read-only"));
        }
        assert_eq!(misplaced("#{ short: \"n\" }", &args(&["-n"])), None);
        assert_eq!(misplaced("#{ name: \"nnn\" }", &args(&["-n"])), Some("-n"));
    }
}

//! The command line: options, sub-commands, and the run of a script with its signals.

use crate::bindings::live::Settings;
use crate::bindings::spec::Cancel;
use crate::bindings::{Live, Site, World};
use crate::config::Config;
use crate::error::{Error, Kind, Result, nearest};
use crate::host::events::{Events, Verbosity};
use crate::host::gate::{Gate, Setup};
use crate::host::journal::Line;
use crate::host::report::{self, Failure};
use crate::host::rights::Rights;
use crate::host::scripts::{self, Source};
use crate::host::{Host, engine, recover, registry, testing, values};
use clap::{CommandFactory, Parser, Subcommand};
use rhai::{Dynamic, EvalAltResult, FnPtr, Scope};
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

mod signals;

use signals::{stopping, with_signals};

#[derive(Parser)]
#[command(
    name = "zs",
    version,
    about = "Runs scripts that manage VMs on KVM and Ceph; shows before what they do, takes back what fails.",
    override_usage = "zs [OPTIONS] SCRIPT.rhai [ARGS...]\n       zs [OPTIONS] -e CODE\n       zs [OPTIONS] COMMAND",
    disable_help_subcommand = true,
    allow_external_subcommands = true,
    after_help = "A first word with a dot or a slash is a script: that path, a name in [scripts] path, or a built-in.\n\
                  Exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 a service cannot be reached, 130 interrupted."
)]
struct Cli {
    /// Evaluate CODE and print its value
    #[arg(short = 'e', value_name = "CODE", allow_hyphen_values = true)]
    eval: Option<String>,
    /// Show what the script would do; change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Newline-delimited JSON events on stdout
    #[arg(long)]
    json: bool,
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The libvirt connection
    #[arg(long, value_name = "URI")]
    connect: Option<String>,
    /// The Ceph configuration
    #[arg(long, value_name = "FILE")]
    ceph_conf: Option<PathBuf>,
    /// The Ceph user, without `client.`
    #[arg(long, value_name = "NAME")]
    ceph_id: Option<String>,
    /// How many things scripts do at once
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Allow this change and no other: NAMESPACE[.FUNCTION][=SUBJECT-GLOB]
    #[arg(long, value_name = "RIGHT")]
    allow: Vec<String>,
    /// Refuse this change
    #[arg(long, value_name = "RIGHT")]
    deny: Vec<String>,
    /// Refuse all changes
    #[arg(long)]
    read_only: bool,
    /// Answer yes to all questions
    #[arg(short, long)]
    yes: bool,
    /// Say more
    #[arg(short, long)]
    verbose: bool,
    /// Say less
    #[arg(short, long)]
    quiet: bool,
    /// Colours: auto, always, never
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = ["auto", "always", "never"])]
    color: String,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Lists scripts that can be run by name
    Scripts,
    /// Compiles scripts without running them
    Check { files: Vec<PathBuf> },
    /// Shows the documentation of a function or namespace
    Doc { name: Option<String> },
    /// Runs the functions `test_…` of scripts, each in a site in memory
    Test {
        /// Scripts, or directories of them
        #[arg(default_value = ".")]
        paths: Vec<PathBuf>,
        /// Only tests whose name contains this
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
    /// Takes back what killed runs left
    Recover,
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// Runs zs; the exit code.
pub fn main() -> u8 {
    // A signal that comes while zs is starting waits until there is somebody to answer it with exit code 130.
    let _ = stopping().thread_block();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { 2 } else { 0 };
        }
    };
    let color = match cli.color.as_str() {
        "always" => true,
        "never" => false,
        _ => {
            std::env::var_os("NO_COLOR").is_none()
                && std::env::var("TERM").is_ok_and(|t| t != "dumb")
                && std::io::stdout().is_terminal()
                && std::io::stderr().is_terminal()
        }
    };
    let verbosity = match (cli.quiet, cli.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    // What waits for nobody's answer, or for its standard input, ends as any program does.
    if cli.eval.is_none() && !matches!(cli.command, Some(Command::Other(_))) {
        let _ = stopping().thread_unblock();
    }
    let stdin_is_script = cli.eval.is_none() && cli.command.is_none();
    let events = Arc::new(Events::new(cli.json, verbosity, color, stdin_is_script));
    match dispatch(&cli, &events) {
        Ok(code) => code,
        Err(e) => {
            let code = e.exit_code();
            let failure = Failure { error: e, places: vec![], raised: true };
            events.error(&failure.error, &report::render(&failure, None, cli.verbose), &[]);
            code
        }
    }
}

fn dispatch(cli: &Cli, events: &Arc<Events>) -> Result<u8> {
    if let Some(code) = &cli.eval {
        if cli.command.is_some() {
            return Err(Error::invalid("takes no script beside it").subject("-e").usage());
        }
        let source = Source { name: "-e".into(), text: code.clone(), dir: None };
        return run(cli, events, source, vec![], true);
    }
    match &cli.command {
        None if std::io::stdin().is_terminal() => {
            let _ = Cli::command().print_help();
            Ok(2)
        }
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|e| Error::from(e).subject("standard input").usage())?;
            run(cli, events, Source { name: "stdin".into(), text, dir: None }, vec![], false)
        }
        Some(Command::Scripts) => {
            let config = Config::load(cli.config.as_deref())?;
            let list = scripts::list(&config.scripts.path);
            if cli.json {
                events.result(serde_json::to_value(&list).unwrap_or_default());
            } else {
                let width = list.iter().map(|l| l.name.len()).max().unwrap_or(0);
                list.iter().for_each(|l| events.out(&format!("{:width$}  {}", l.name, l.about)));
            }
            Ok(0)
        }
        Some(Command::Check { files }) => check(cli, events, files),
        Some(Command::Doc { name }) => doc(events, name.as_deref()),
        Some(Command::Test { paths, only }) => {
            testing::run(&Config::load(cli.config.as_deref())?, paths, only.as_deref().unwrap_or_default(), events)
        }
        Some(Command::Recover) => recover_all(cli, events),
        Some(Command::Other(words)) => {
            let (name, args) = words.split_first().ok_or_else(|| Error::invalid("nothing to run").usage())?;
            if !name.contains(['.', '/']) {
                let names: Vec<String> = Cli::command().get_subcommands().map(|c| c.get_name().to_string()).collect();
                let e = Error::invalid("there is no such command").subject(name).usage();
                return Err(match nearest(name, names.iter().map(String::as_str)) {
                    Some(near) => e.hint(format!("did you mean `zs {near}`?")),
                    None => e.hint("scripts have a dot or a slash in their name: `zs scripts` lists those built in"),
                });
            }
            let config = Config::load(cli.config.as_deref())?;
            run(cli, events, scripts::find(name, &config.scripts.path)?, args.to_vec(), false)
        }
    }
}

fn settings(cli: &Cli, config: &Config) -> Settings {
    Settings {
        ceph_conf: cli.ceph_conf.clone().or_else(|| config.ceph.conf.clone()),
        ceph_id: cli.ceph_id.clone().or_else(|| config.ceph.id.clone()).unwrap_or_else(|| "admin".into()),
        libvirt_uri: cli.connect.clone().or_else(|| config.libvirt.uri.clone()),
        engine: config.guestfs.engine,
    }
}

fn live(settings: Settings, events: &Arc<Events>, cancel: &Cancel) -> Live {
    let (tell, detail) = (events.clone(), events.clone());
    let live = Live::new(settings, cancel.clone(), Arc::new(move |text: &str| tell.log("info", text)));
    live.telling(Arc::new(move |text: &str| detail.log("debug", text)))
}

/// Runs one script: on a thread with a large stack, while this one minds signals.
fn run(cli: &Cli, events: &Arc<Events>, source: Source, args: Vec<String>, is_eval: bool) -> Result<u8> {
    if let Some(word) = misplaced(&source.text, &args) {
        return Err(Error::invalid(format!("belongs before the script's name: zs {word} {} …", source.name))
            .subject(word)
            .usage());
    }
    let config = Config::load(cli.config.as_deref())?;
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
    };
    let live = live(settings, events, &cancel);
    let world: Arc<dyn World> = if cli.dry_run { Arc::new(Site::over(Arc::new(live))) } else { Arc::new(live) };
    let gate = Gate::new(world, setup, rights, cli.yes, events.clone(), cancel.clone())?;
    let host = Arc::new(Host {
        config,
        gate,
        events: events.clone(),
        cancel: cancel.clone(),
        script: source.name.clone(),
        args,
        jobs: cli.jobs,
        finished: Mutex::new(false),
    });
    let verbose = cli.verbose;
    with_signals(&cancel, events, move || run_script(&host, &source, is_eval, verbose))
}

/// zs' own options that would silently do nothing after the script's name, unless the script declares them.
fn misplaced<'a>(script: &str, args: &'a [String]) -> Option<&'a str> {
    const OURS: [&str; 3] = ["-n", "--dry-run", "--read-only"];
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

fn run_script(host: &Arc<Host>, source: &Source, is_eval: bool, verbose: bool) -> u8 {
    let engine = engine::build(host);
    let ast = match engine::compile(&engine, source) {
        Ok(ast) => ast,
        Err(e) => return fail(host, source, &e, Some(&engine), verbose, true),
    };
    let last = Mutex::new(None::<Box<EvalAltResult>>);
    let later = |f: &FnPtr| {
        f.call::<Dynamic>(&engine, &ast, ()).map(|_| ()).map_err(|e| report::failure(&e, &source.name, None).error)
    };
    let result = host.gate.run(&later, || {
        engine.eval_ast_with_scope::<Dynamic>(&mut Scope::new(), &ast).map_err(|e| {
            let error = report::failure(&e, &source.name, Some(&engine)).error;
            *crate::host::gate::lock(&last) = Some(e);
            error
        })
    });
    match result {
        Ok(value) => {
            host.events.result(values::to_json(&value));
            if !host.events.json && !value.is_unit() && is_eval {
                host.events.out(&crate::render::value(&value));
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
                let failure = Failure { error, places: vec![], raised: true };
                finish(host, &failure, source, verbose, is_eval)
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
    finish(host, &failure, source, verbose, is_eval)
}

fn is_own_option(word: &str) -> bool {
    let command = Cli::command();
    command.get_arguments().any(|a| {
        let long = word.strip_prefix("--").is_some_and(|w| a.get_long() == Some(w));
        let short = word.strip_prefix('-').is_some_and(|w| a.get_short().is_some_and(|s| w == s.to_string()));
        long || short
    })
}

fn finish(host: &Host, failure: &Failure, source: &Source, verbose: bool, is_eval: bool) -> u8 {
    let left = host.gate.left();
    let mut text = report::render(failure, Some(&source.text), verbose);
    let code = failure.error.exit_code();
    // A slip in an expression has nothing to do with the site; a call that was refused before it began has.
    let is_slip = code == 2 || is_eval && failure.error.op.is_empty();
    if !host.gate.planning() && (host.gate.operations() > 0 || !is_slip) {
        if left.is_empty() {
            text.push_str("left behind: nothing\n");
        } else {
            text.push_str("left behind:\n");
            left.iter().for_each(|(what, command)| text.push_str(&format!("  {what}\n    {command}\n")));
        }
    }
    host.events.error(&failure.error, &text, &left);
    code
}

fn check(cli: &Cli, events: &Events, files: &[PathBuf]) -> Result<u8> {
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

fn doc(events: &Events, name: Option<&str>) -> Result<u8> {
    let entries = registry::entries(&engine::bare());
    let shown: Vec<_> = entries
        .iter()
        .filter(|e| {
            let signature = registry::signature(e);
            let full = signature.split('(').next().unwrap_or_default();
            name.is_none_or(|n| full == n || e.name == n || full.strip_prefix(n).is_some_and(|r| r.starts_with('.')))
        })
        .collect();
    match shown[..] {
        [..] if events.json && !shown.is_empty() => {
            events.result(serde_json::to_value(&shown).unwrap_or_default());
            Ok(0)
        }
        [] => Err(Error::not_found("is not documented").subject(name.unwrap_or_default()).usage()),
        [one] => {
            events.out(&format!("{}\n\n{}", registry::signature(one), one.doc));
            Ok(0)
        }
        _ => {
            for e in shown {
                events.out(&format!("{}\n    {}", registry::signature(e), e.summary()));
            }
            Ok(0)
        }
    }
}

fn recover_all(cli: &Cli, events: &Arc<Events>) -> Result<u8> {
    let config = Config::load(cli.config.as_deref())?;
    let base = settings(cli, &config);
    let open = |lines: &[Line]| -> Result<Arc<dyn World>> {
        let mut settings = base.clone();
        for line in lines {
            match line {
                // A run made by pool.rhai as admin is undone as admin.
                Line::Run { ceph_id, ceph_conf, .. } => {
                    if cli.ceph_id.is_none() {
                        settings.ceph_id.clone_from(ceph_id);
                    }
                    if cli.ceph_conf.is_none() && ceph_conf.is_some() {
                        settings.ceph_conf.clone_from(ceph_conf);
                    }
                }
                Line::Hypervisor { uri, .. } if cli.connect.is_none() => settings.libvirt_uri = Some(uri.clone()),
                _ => {}
            }
        }
        Ok(Arc::new(live(settings, events, &Cancel::default())))
    };
    let (runs, error) = recover::recover(&Config::state_dir(), events, open)?;
    let mut left = false;
    for r in &runs {
        events.log("info", &format!("run {} ({}): {} operations taken back", r.run, r.script, r.undone));
        for (what, command) in &r.left {
            left = true;
            events.log("error", &format!("left behind: {what}\n  {command}"));
        }
    }
    if runs.is_empty() && error.is_none() {
        events.log("info", "nothing to recover");
    } else if !left && error.is_none() {
        events.log("info", "left behind: nothing");
    }
    events.result(serde_json::to_value(&runs).unwrap_or_default());
    if let Some(e) = error {
        return Err(e);
    }
    Ok(if left { Kind::Failed.exit_code() } else { 0 })
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

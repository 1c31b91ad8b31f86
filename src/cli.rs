//! The command line: options and sub-commands, each of which has a file of its own.

use crate::bindings::Live;
use crate::bindings::live::Settings;
use crate::bindings::spec::Cancel;
use crate::config::Config;
use crate::error::{Error, Result, nearest};
use crate::host::events::{Events, Verbosity};
use crate::host::report::{self, Failure};
use crate::host::scripts::{self, Source};
use crate::host::testing;
use clap::{CommandFactory, Parser, Subcommand};
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::sync::Arc;

mod check;
mod complete;
mod completions;
mod definitions;
mod doc;
mod doctor;
mod history;
mod lsp;
mod man;
mod plain;
mod recover;
mod repl;
mod run;
mod signals;
mod undo;

use signals::stopping;

#[derive(Parser)]
#[command(
    name = "zs",
    version,
    about = "Runs scripts that manage VMs on KVM and Ceph; shows before what they do, takes back what fails.",
    override_usage = "zs [OPTIONS]\n       zs [OPTIONS] SCRIPT.rhai [ARGS...]\n       zs [OPTIONS] -e CODE\n       zs [OPTIONS] COMMAND",
    disable_help_subcommand = true,
    allow_external_subcommands = true,
    after_help = "Without a command, on a terminal, it reads lines and runs them: see REPL.md.\n\
                  A first word with a dot or a slash is a script: that path, a name in [scripts] path, or a built-in.\n\
                  Exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 a service cannot be reached, 130 interrupted."
)]
struct Cli {
    /// Evaluate CODE and print its value
    #[arg(short = 'e', value_name = "CODE", allow_hyphen_values = true)]
    eval: Option<String>,
    /// Show what the script would do; change nothing
    #[arg(short = 'n', long, global = true)]
    dry_run: bool,
    /// Show what the script would do, and exit with 1 if it would change anything; implies --dry-run
    #[arg(long)]
    expect_no_changes: bool,
    /// Newline-delimited JSON events on stdout
    #[arg(long, global = true)]
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
    /// Limit what the script may take: operations=N,depth=N,string=SIZE,array=N,map=N,memory=SIZE,time=DURATION
    #[arg(long, value_name = "LIMITS")]
    limit: Vec<String>,
    /// Answer yes to all questions
    #[arg(short, long, global = true)]
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
    /// Finds mistakes in scripts without running them
    Check {
        /// Scripts, as `zs SCRIPT` finds them, and directories; `-` is standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// How findings are written: for people, or a JSON object a line
        #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
        format: String,
        /// Warnings are errors: exit code 2
        #[arg(long)]
        strict: bool,
    },
    /// Shows the documentation of a function, namespace, module or script
    Doc {
        /// `rbd`, `rbd.clone`, `rbd snap create`, `std/clone`, `clone.rhai`
        name: Vec<String>,
        /// Write the whole reference into this directory
        #[arg(long, value_name = "DIR", conflicts_with = "name")]
        markdown: Option<PathBuf>,
    },
    /// Runs the functions `test_…` of scripts, each in a site in memory
    Test {
        /// Scripts, or directories of them
        #[arg(default_value = ".")]
        paths: Vec<PathBuf>,
        /// Only tests whose name contains this
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
    /// Lists what ran and changed something, newest first
    History {
        /// Only the last N
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Shows each operation of a run
    Show {
        /// Its id, or how that begins, or `last`
        run: String,
    },
    /// Takes a finished run back: shows how, with what has changed since, and asks
    Undo {
        /// Its id, or how that begins, or `last`
        run: String,
        /// Undo what was started, or written to, since: the VM, the image, the file
        #[arg(long, value_name = "NAME")]
        force: Vec<String>,
    },
    /// Checks this host and its site, and says how to mend what is wrong
    Doctor,
    /// Takes back what killed runs left
    Recover,
    /// Serves editors: mistakes, documentation and completion while somebody types
    Lsp,
    /// Writes type definitions for Rhai's language server
    Definitions { dir: PathBuf },
    /// Prints what a shell needs to complete zs' arguments
    Completions {
        #[arg(value_parser = ["bash", "zsh", "fish"])]
        shell: String,
    },
    /// Writes manual pages
    Man { dir: PathBuf },
    /// What may stand for the last of these words
    #[command(name = "__complete", hide = true)]
    Complete {
        #[arg(last = true)]
        words: Vec<String>,
    },
    /// Runs a script by Rhai alone: what lab/bench compares with
    #[command(hide = true)]
    PlainRhai { file: PathBuf },
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
    if cli.eval.is_none() && !matches!(cli.command, Some(Command::Other(_) | Command::Undo { .. })) {
        let _ = stopping().thread_unblock();
    }
    let stdin_is_script = cli.eval.is_none() && cli.command.is_none() && !std::io::stdin().is_terminal();
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
        return run::run(cli, events, source, vec![], true);
    }
    match &cli.command {
        None if std::io::stdin().is_terminal() => repl::repl(cli, events),
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|e| Error::from(e).subject("standard input").usage())?;
            run::run(cli, events, Source { name: "stdin".into(), text, dir: None }, vec![], false)
        }
        Some(Command::Scripts) => list_scripts(cli, events),
        Some(Command::Check { files, format, strict }) => check::check(cli, events, files, format == "json", *strict),
        Some(Command::Doc { name, markdown }) => doc::doc(cli, events, name, markdown.as_deref()),
        Some(Command::Test { paths, only }) => {
            testing::run(&limited(cli)?, paths, only.as_deref().unwrap_or_default(), events)
        }
        Some(Command::History { limit }) => history::history(events, *limit),
        Some(Command::Show { run }) => history::show(events, run),
        Some(Command::Undo { run, force }) => undo::undo(cli, events, run, force),
        Some(Command::Doctor) => doctor::doctor(cli, events),
        Some(Command::Lsp) => lsp::lsp(cli),
        Some(Command::Definitions { dir }) => definitions::definitions(events, dir),
        Some(Command::Completions { shell }) => Ok(completions::completions(events, shell)),
        Some(Command::Man { dir }) => man::man(cli, events, dir),
        Some(Command::Complete { words }) => Ok(complete::complete(cli, words)),
        Some(Command::Recover) => recover::recover_all(cli, events),
        Some(Command::PlainRhai { file }) => plain::run(file),
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
            run::run(cli, events, scripts::find(name, &config.scripts.path)?, args.to_vec(), false)
        }
    }
}

fn list_scripts(cli: &Cli, events: &Events) -> Result<u8> {
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

/// The configuration, with the limits of the command line.
fn limited(cli: &Cli) -> Result<Config> {
    let mut config = Config::load(cli.config.as_deref())?;
    cli.limit.iter().try_for_each(|l| config.limits.read(l))?;
    Ok(config)
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

//! `zs` on a terminal: one run for the session, one transaction for each line.

mod commands;
mod complete;
mod highlight;
pub mod hosts;
mod input;
mod jobs;
mod known;
mod live;
mod pointer;
mod scan;
mod session;
mod shape;
mod show;
mod words;

use crate::bindings::spec::Cancel;
use crate::error::Result;
use crate::host::events::Events;
use crate::host::gate::lock;
use crate::host::report::{self, Failure};
use crate::host::{Host, values};
use crate::render::{self, Look};
use commands::Flow;
use complete::Completing;
use hosts::Hosts;
use input::{Input, Typed};
use jobs::{Job, Jobs};
use session::{Outcome, Session};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

/// What the session is doing, for those who mind signals.
#[derive(Clone, Copy, PartialEq)]
pub enum Doing {
    /// Waiting for a line.
    Reading,
    Running,
    /// A pager or an editor has the terminal.
    Away,
}

/// What the thread that minds signals knows of the session.
pub struct Watch {
    doing: AtomicU8,
    pub cancel: Cancel,
    ending: AtomicBool,
    host: Mutex<Option<Arc<Host>>>,
}

impl Watch {
    pub fn new(cancel: Cancel) -> Arc<Watch> {
        Arc::new(Watch {
            doing: AtomicU8::new(Doing::Reading as u8),
            cancel,
            ending: AtomicBool::new(false),
            host: Mutex::default(),
        })
    }

    pub fn doing(&self) -> Doing {
        match self.doing.load(Ordering::SeqCst) {
            n if n == Doing::Running as u8 => Doing::Running,
            n if n == Doing::Away as u8 => Doing::Away,
            _ => Doing::Reading,
        }
    }

    /// The session ends when this line has been taken back.
    pub fn end_soon(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    pub(crate) fn now(&self, doing: Doing) {
        self.doing.store(doing as u8, Ordering::SeqCst);
    }

    pub(crate) fn acts_on(&self, host: &Arc<Host>) {
        *lock(&self.host) = Some(host.clone());
    }

    pub(crate) fn ended(&self) {
        lock(&self.host).take();
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// Closes guests and writes the end of the run down: for a signal that comes while somebody types.
    pub fn end(&self) {
        if let Some(host) = lock(&self.host).take() {
            let _ = host.gate.end_session();
        }
    }
}

pub struct Options {
    pub hosts: Hosts,
    pub verbose: bool,
}

/// The session with its terminal.
pub struct Shell {
    session: Session,
    input: Input,
    events: Arc<Events>,
    watch: Arc<Watch>,
    completing: Arc<Completing>,
    jobs: Arc<Jobs>,
    /// `:plan on`.
    planning: bool,
    /// How many lines there were.
    number: usize,
    /// The last line that was run, for `:edit`.
    last: String,
    /// What the next prompt begins with.
    next: String,
    /// It was told that jobs are still running.
    warned: bool,
}

/// Reads and runs lines until the end; the exit code.
pub fn run(options: Options, events: &Arc<Events>, watch: &Arc<Watch>) -> Result<u8> {
    let host = options.hosts.run("repl", events, &watch.cancel)?;
    watch.acts_on(&host);
    let completing = Arc::new(Completing::default());
    let jobs = Jobs::new(options.hosts.clone(), events);
    let mut shell = Shell {
        input: Input::new(events.color, completing.clone())?,
        session: Session::new(options.hosts, host, &jobs, options.verbose),
        events: events.clone(),
        watch: watch.clone(),
        completing,
        jobs,
        planning: false,
        number: 0,
        last: String::new(),
        next: String::new(),
        warned: false,
    };
    if shell.session.hosts.model.is_some() {
        shell.say("A model of the site: nothing outside changes.");
    }
    shell.read_and_run()?;
    watch.now(Doing::Running);
    shell.jobs.stop();
    let ended = shell.session.host.gate.end_session();
    watch.ended();
    ended.map(|()| 0)
}

impl Shell {
    fn read_and_run(&mut self) -> Result<()> {
        loop {
            if self.watch.is_ending() {
                return Ok(());
            }
            self.jobs.news().iter().for_each(|line| self.say(line));
            let flow = match self.read()? {
                Typed::Line(line) if line.trim().is_empty() => continue,
                Typed::Line(line) => self.typed(&line),
                Typed::Nothing => continue,
                Typed::End => Flow::End,
            };
            if flow == Flow::End && commands::leaving(self) == Flow::End {
                return Ok(());
            }
        }
    }

    fn read(&mut self) -> Result<Typed> {
        let columns = self.input.size().0;
        *lock(&self.completing.state) = self.session.state(columns);
        let printer = self.input.printer();
        self.watch.cancel.clear();
        self.watch.now(Doing::Reading);
        self.events.at_prompt(printer);
        let typed = self.input.read(&std::mem::take(&mut self.next));
        self.events.at_prompt(None);
        self.watch.now(Doing::Running);
        typed
    }

    /// Runs what was typed: a command, or code.
    fn typed(&mut self, line: &str) -> Flow {
        if let Some(said) = self.input.add_history(line) {
            self.events.log("warn", &said);
        }
        let text = line.trim();
        let command =
            text.strip_prefix(':').map(String::from).or_else(|| Some(format!("help {}", text.strip_prefix('?')?)));
        let Some(command) = command else { return self.run_line(line) };
        self.warned &= command == "quit";
        match commands::dispatch(self, &command) {
            Ok(flow) => flow,
            Err(error) => {
                let failure = Failure { error, places: vec![], raised: true };
                self.events.error(&failure.error, &report::render(&failure, None, false), &[]);
                Flow::On
            }
        }
    }

    /// Runs code, and shows its value.
    fn run_line(&mut self, line: &str) -> Flow {
        self.warned = false;
        if self.session.scope.get(line.trim()).is_none() && pointer::is_word(line) {
            self.say(&pointer::pointer(line).unwrap_or_default());
            return Flow::On;
        }
        self.last = line.to_string();
        let Some(outcome) = self.evaluate(line) else { return Flow::On };
        self.done(&outcome, Some(line));
        if matches!(outcome, Outcome::Exit) { Flow::End } else { Flow::On }
    }

    /// Runs code; `None` when its plan was not to be carried out.
    fn evaluate(&mut self, line: &str) -> Option<Outcome> {
        self.number += 1;
        let name = format!("line {}", self.number);
        let mut confirmed = false;
        if self.planning && self.session.hosts.model.is_none() {
            let plan = self.session.plan(line, &name)?;
            plan.iter().for_each(|op| self.events.plan(op));
            if !plan.is_empty() {
                confirmed = self.events.ask("do it?", &self.watch.cancel).unwrap_or(false);
                if !confirmed {
                    self.say("not done");
                    return None;
                }
            }
        }
        Some(self.session.run(line, &name, confirmed))
    }

    /// Shows what a line has given, and keeps it.
    fn done(&mut self, outcome: &Outcome, text: Option<&str>) {
        self.completing.forget();
        let Outcome::Value(value) = outcome else { return };
        // A script shows what it has to show; its value is there as `_`.
        let Some(text) = text else { return self.session.remember(value) };
        self.session.good.push(text.to_string());
        self.events.result(values::to_json(value));
        let quiet = value.is_unit() || self.events.json || text.trim_end().ends_with(';');
        if !quiet {
            let look = self.look();
            let text = match value.read_lock::<Job>() {
                Some(job) => job.to_string(),
                None => render::value(value, look),
            };
            self.page(&text);
        }
    }

    fn look(&self) -> Look {
        Look::stdout(self.events.color)
    }

    fn say(&self, line: &str) {
        self.events.out(line);
    }

    /// Shows a text that may be long.
    fn page(&mut self, text: &str) {
        let (rows, look, events) = (self.input.size().1, self.look(), self.events.clone());
        self.away(|| show::page(text, rows, &look, &events));
    }

    /// Leaves the terminal to another program: Ctrl-C is meant for it.
    fn away<T>(&self, f: impl FnOnce() -> T) -> T {
        self.watch.now(Doing::Away);
        let r = f();
        self.watch.now(Doing::Running);
        r
    }
}

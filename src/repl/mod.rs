//! `zs` on a terminal: one run for the session, one transaction for each line.

mod complete;
mod highlight;
pub mod hosts;
mod input;
mod pointer;
mod scan;
mod session;

use crate::bindings::spec::Cancel;
use crate::error::Result;
use crate::host::Host;
use crate::host::events::Events;
use crate::host::gate::lock;
use hosts::Hosts;
use input::{Input, Typed};
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

/// Reads and runs lines until the end; the exit code.
pub fn run(options: Options, events: &Arc<Events>, watch: &Arc<Watch>) -> Result<u8> {
    let host = options.hosts.run("repl", events, &watch.cancel)?;
    *lock(&watch.host) = Some(host.clone());
    let completing = Arc::new(complete::Completing::default());
    let mut input = Input::new(events.color, completing)?;
    let mut session = Session::new(options.hosts, host, options.verbose);
    if session.hosts.model.is_some() {
        events.out("A model of the site: nothing outside changes.");
    }
    let mut number = 0;
    loop {
        if watch.ending.load(Ordering::SeqCst) {
            break;
        }
        watch.cancel.clear();
        watch.now(Doing::Reading);
        let printer = input.printer();
        events.at_prompt(printer);
        let typed = input.read("");
        events.at_prompt(None);
        let line = match typed? {
            Typed::Line(line) => line,
            Typed::Nothing => continue,
            Typed::End => break,
        };
        if line.trim().is_empty() {
            continue;
        }
        if let Some(said) = input.add_history(&line) {
            events.log("warn", &said);
        }
        watch.now(Doing::Running);
        if line.trim() == ":quit" {
            break;
        }
        if session.scope.get(line.trim()).is_none() && pointer::is_word(&line) {
            events.out(&pointer::pointer(&line).unwrap_or_default());
            continue;
        }
        number += 1;
        match session.run(&line, &format!("line {number}")) {
            Outcome::Value(value) => {
                session.good.push(line.clone());
                if !value.is_unit() && !line.trim_end().ends_with(';') {
                    events.out(&crate::render::value(&value));
                }
            }
            Outcome::Exit => break,
            Outcome::Failed(_) => {}
        }
    }
    let ended = session.host.gate.end_session();
    lock(&watch.host).take();
    ended.map(|()| 0)
}

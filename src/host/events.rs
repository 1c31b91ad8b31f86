//! What the run tells people and programs: data to stdout; progress, logs and errors to stderr; or JSON lines.

use super::gate::lock;
use super::op::{Effect, Op};
use crate::bindings::spec::{Cancel, Progress};
use crate::error::{Error, Result};
use crate::helpers::units::human_size;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Map, Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Verbosity {
    Quiet,
    Normal,
    Verbose,
}

/// How long a call may take before its progress is shown.
const PATIENCE: Duration = Duration::from_millis(300);

/// Details that are bytes: people read them with their unit.
const IN_BYTES: [&str; 6] = ["size", "was", "bytes", "memory", "capacity", "allocation"];

pub struct Events {
    pub json: bool,
    pub verbosity: Verbosity,
    pub color: bool,
    bars: Option<MultiProgress>,
    /// The operations of a plan, in order, for `--expect-no-changes` and tests.
    planned: Mutex<Vec<Op>>,
    /// What the script itself says about how far it is, by its label.
    steps: Mutex<HashMap<String, Step>>,
    stdin_is_script: bool,
    /// What would have been said, where it is kept instead.
    kept: Option<Mutex<String>>,
    /// How to say something while somebody is typing at a prompt.
    above_prompt: Mutex<Option<Printer>>,
}

/// Prints above the line that is being typed.
pub type Printer = Box<dyn FnMut(&str) + Send>;

impl Events {
    pub fn new(json: bool, verbosity: Verbosity, color: bool, stdin_is_script: bool) -> Events {
        let bars = (!json && verbosity > Verbosity::Quiet && std::io::stderr().is_terminal()).then(MultiProgress::new);
        Events {
            json,
            verbosity,
            color,
            bars,
            planned: Mutex::default(),
            steps: Mutex::default(),
            stdin_is_script,
            kept: None,
            above_prompt: Mutex::default(),
        }
    }

    /// For tests and for tools that have nobody to tell.
    pub fn silent() -> Events {
        Events::new(false, Verbosity::Quiet, false, true)
    }

    /// Says nothing, and keeps what it would have said.
    pub fn keeping() -> Events {
        Events { kept: Some(Mutex::default()), bars: None, ..Events::new(false, Verbosity::Normal, false, true) }
    }

    pub fn kept(&self) -> String {
        self.kept.as_ref().map(|k| lock(k).clone()).unwrap_or_default()
    }

    /// True when the line need not be written any more: it is kept, or stands above the prompt.
    fn keep(&self, line: &str) -> bool {
        if let Some(kept) = &self.kept {
            lock(kept).push_str(&format!("{line}\n"));
            return true;
        }
        let mut printer = lock(&self.above_prompt);
        if let Some(print) = &mut *printer {
            print(&format!("{line}\n"));
        }
        printer.is_some()
    }

    /// Ctrl-C at a prompt of a terminal that has no raw mode: the line is gone, and the prompt stands there no more.
    pub fn interrupted_prompt(&self) {
        if lock(&self.above_prompt).is_none() {
            let _ = write!(std::io::stdout().lock(), "\nzs> ").and_then(|()| std::io::stdout().flush());
        }
    }

    /// From here on somebody is typing: lines go through `printer`, and bars of background work are not drawn.
    pub fn at_prompt(&self, printer: Option<Printer>) {
        if let Some(bars) = &self.bars {
            bars.set_draw_target(match printer {
                Some(_) => ProgressDrawTarget::hidden(),
                None => ProgressDrawTarget::stderr(),
            });
        }
        *lock(&self.above_prompt) = printer;
    }

    pub fn planned(&self) -> Vec<Op> {
        lock(&self.planned).clone()
    }

    /// What a plan comes to, in one line; how many of its operations would change something.
    pub fn sum_up_plan(&self) -> usize {
        let planned = lock(&self.planned);
        // Opening a guest is a step of its own and no change.
        let changes = planned.iter().filter(|op| op.op != "guestfs.open").count();
        let mut of: BTreeMap<&str, usize> = BTreeMap::new();
        for op in planned.iter() {
            *of.entry(op.op.split('.').next().unwrap_or_default()).or_default() += 1;
        }
        let parts: Vec<String> = of.iter().map(|(name, n)| format!("{n} {name}")).collect();
        let destroy = planned.iter().filter(|op| op.effect == Effect::Destroy).count();
        let text = match (changes, destroy) {
            (0, _) => "plan: nothing would change".to_string(),
            (_, 0) => format!("plan: {} operations ({})", planned.len(), parts.join(", ")),
            _ => format!("plan: {} operations ({}), {destroy} of them destructive", planned.len(), parts.join(", ")),
        };
        drop(planned);
        self.log("info", &text);
        changes
    }

    /// One line of data. A reader that went away (`| head`) must not end a run in its middle.
    pub fn out(&self, line: &str) {
        if self.keep(line) {
            return;
        }
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }

    /// One line for the person.
    pub fn err(&self, line: &str) {
        if self.keep(line) {
            return;
        }
        let write = || {
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    pub fn event(&self, name: &str, more: Value) {
        let mut map = Map::from_iter([("event".to_string(), Value::from(name))]);
        if let Value::Object(more) = more {
            map.extend(more);
        }
        self.out(&Value::Object(map).to_string());
    }

    pub fn plan(&self, op: &Op) {
        lock(&self.planned).push(op.clone());
        if self.json {
            self.event("plan", json!({ "op": op.op, "subject": op.subject, "detail": op.detail }));
        } else {
            self.operation(op);
        }
    }

    /// One operation as a person reads it: its line, and the differences that it makes.
    pub fn operation(&self, op: &Op) {
        self.out(&self.op_line(op));
        for (key, value) in &op.detail {
            if let (true, Some(text)) = (key.contains("diff"), value.as_str()) {
                text.lines().for_each(|l| self.out(&self.diff_line(l)));
            }
        }
    }

    pub fn done(&self, op: &Op, ms: u64) {
        if self.json {
            self.event("done", json!({ "op": op.op, "subject": op.subject, "detail": op.detail, "ms": ms }));
        } else if self.verbosity == Verbosity::Verbose {
            self.err(&format!("{}  {ms} ms", self.op_line(op)));
        }
    }

    pub fn undo(&self, op: &Op, said: &str) {
        if self.json {
            self.event("undo", json!({ "op": op.op, "subject": op.subject, "detail": { "said": said } }));
        } else {
            self.err(&format!("{} {said}", self.paint("33", "undone:")));
        }
    }

    pub fn log(&self, level: &str, message: &str) {
        if self.json {
            self.event("log", json!({ "level": level, "message": message }));
            return;
        }
        let shown = match level {
            "error" | "warn" => true,
            "debug" => self.verbosity == Verbosity::Verbose,
            _ => self.verbosity > Verbosity::Quiet,
        };
        if shown {
            let text = match level {
                "error" => format!("{} {message}", self.paint("31", "error:")),
                "warn" => format!("{} {message}", self.paint("33", "warning:")),
                _ => message.to_string(),
            };
            self.err(&text);
        }
    }

    pub fn result(&self, value: Value) {
        if self.json {
            self.event("result", json!({ "result": value }));
        }
    }

    pub fn error(&self, error: &Error, rendered: &str, left: &[(String, String)]) {
        if self.json {
            let mut v = serde_json::to_value(error).unwrap_or_else(|e| json!({ "message": e.to_string() }));
            if let Value::Object(m) = &mut v {
                m.insert("left_behind".into(), left.iter().map(|(w, c)| json!({ "what": w, "command": c })).collect());
            }
            self.event("error", v);
        } else {
            self.err(rendered.trim_end());
        }
    }

    /// The progress of one operation: shown once it takes longer than a moment.
    pub fn progress(&self, op: &Op, cancel: Cancel) -> Progress {
        if self.json {
            return told(&op.op, &op.subject, cancel);
        }
        let Some(bars) = self.bars.clone() else { return Progress::new(cancel, |_, _| {}) };
        // A call within a piece of work that has a line is told there: one line for each of a fleet.
        if let Some(line) = self.current_line() {
            let name = op.op.clone();
            return Progress::new(cancel, move |done, total| {
                line.say(&format!("{name} {}%", (done * 100).checked_div(total).unwrap_or(0)));
            });
        }
        Line::new(&format!("{} {}", op.op, op.subject), bars).progress(cancel)
    }

    /// The line of the work that this thread's script has begun and not ended.
    fn current_line(&self) -> Option<Arc<Line>> {
        let label = CURRENT.with_borrow(Clone::clone)?;
        lock(&self.steps).get(&label)?.line.clone()
    }

    /// Says how far a script's own work is; it is no longer shown once all is done.
    pub fn step(&self, label: &str, done: u64, total: u64, cancel: &Cancel) -> Result<()> {
        let is_over = done >= total;
        CURRENT.set((!is_over).then(|| label.to_string()));
        let mut steps = lock(&self.steps);
        let step = steps.entry(label.into()).or_insert_with(|| {
            let line = self.bars.clone().map(|bars| Line::new(label, bars));
            let progress = match &line {
                Some(line) => line.clone().progress(cancel.clone()),
                None if self.json => told(label, "", cancel.clone()),
                None => Progress::new(cancel.clone(), |_, _| {}),
            };
            Step { progress, line }
        });
        let updated = step.progress.update(done, total);
        if is_over {
            steps.remove(label);
        }
        updated
    }

    /// Whether there is a person on a terminal.
    pub fn can_ask(&self) -> bool {
        !self.json && !self.stdin_is_script && std::io::stdin().is_terminal()
    }

    /// Asks on the terminal; the default answer is no. Ctrl-C is no answer.
    pub fn ask(&self, question: &str, cancel: &Cancel) -> Result<bool> {
        if BACKGROUND.get() {
            return Err(Error::denied(format!("somebody has to say yes to: {question}"))
                .hint("background work cannot ask: do it in the foreground, or start zs with --yes"));
        }
        if !self.can_ask() {
            return Err(Error::denied(format!("somebody has to say yes to: {question}"))
                .hint("there is no terminal to ask on: give --yes before the script's name"));
        }
        let show = || eprint!("{question} [y/N] ");
        // Not held over the wait: what else is said in the meantime must not wait for the answer.
        match &self.bars {
            Some(bars) => bars.suspend(show),
            None => show(),
        }
        while !is_readable(&std::io::stdin())? {
            cancel.check().inspect_err(|_| eprintln!())?;
        }
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
    }

    pub fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }

    fn op_line(&self, op: &Op) -> String {
        let sign = match op.effect {
            Effect::Destroy => self.paint("31", "-"),
            Effect::Change => self.paint("32", "+"),
        };
        let mut line = format!("{sign} {} {}", op.op, op.subject);
        for (key, value) in &op.detail {
            match value {
                Value::String(s) if s.contains('\n') => {}
                Value::String(s) => line.push_str(&format!("  {key}={s}")),
                Value::Number(n) if IN_BYTES.contains(&key.as_str()) && n.as_u64().is_some_and(|n| n >= 1024) => {
                    line.push_str(&format!("  {key}={}", human_size(n.as_u64().unwrap_or(0)).replace(' ', "")));
                }
                other => line.push_str(&format!("  {key}={other}")),
            }
        }
        line
    }

    fn diff_line(&self, line: &str) -> String {
        let code = match line.as_bytes().first() {
            Some(b'+') => "32",
            Some(b'-') => "31",
            Some(b'@') => "36",
            _ => return format!("    {line}"),
        };
        format!("    {}", self.paint(code, line))
    }
}

/// Whether there is something to read, after a moment's wait. A terminal has it when a line is complete.
fn is_readable(input: &std::io::Stdin) -> Result<bool> {
    let mut fds = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::from(100u8)) {
        Ok(n) => Ok(n > 0),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(e) => Err(std::io::Error::from(e).into()),
    }
}

/// Progress as JSON lines, two in a second at most.
fn told(op: &str, subject: &str, cancel: Cancel) -> Progress {
    let (op, subject) = (op.to_string(), subject.to_string());
    let last = Mutex::new(Instant::now());
    Progress::new(cancel, move |done, total| {
        let mut last = lock(&last);
        if last.elapsed() < Duration::from_millis(500) {
            return;
        }
        *last = Instant::now();
        let line = json!({ "event": "progress", "op": op, "subject": subject, "done": done, "total": total });
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}");
    })
}

thread_local! {
    /// The label of the work that the script on this thread is at.
    static CURRENT: RefCell<Option<String>> = const { RefCell::new(None) };
    static BACKGROUND: Cell<bool> = const { Cell::new(false) };
}

/// From here on this thread works for somebody who is typing something else.
pub fn in_background() {
    BACKGROUND.set(true);
}

/// A piece of a script's own work.
struct Step {
    progress: Progress,
    /// On a terminal.
    line: Option<Arc<Line>>,
}

/// A line on the screen for something that takes longer than a moment; gone when it is over.
struct Line {
    label: String,
    begun: Instant,
    bars: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    done: u64,
    total: u64,
    bar: Option<ProgressBar>,
}

impl Line {
    fn new(label: &str, bars: MultiProgress) -> Arc<Line> {
        Arc::new(Line { label: label.into(), begun: Instant::now(), bars, state: Mutex::default() })
    }

    fn progress(self: Arc<Self>, cancel: Cancel) -> Progress {
        Progress::new(cancel, move |done, total| self.update(done, total))
    }

    fn update(&self, done: u64, total: u64) {
        let mut state = lock(&self.state);
        (state.done, state.total) = (done, total);
        self.show(&mut state, "");
    }

    fn say(&self, what: &str) {
        self.show(&mut lock(&self.state), what);
    }

    fn show(&self, state: &mut State, what: &str) {
        if self.begun.elapsed() < PATIENCE {
            return;
        }
        let new = || self.bars.add(new_bar(&self.label).with_elapsed(self.begun.elapsed()));
        let bar = state.bar.get_or_insert_with(new);
        bar.set_length(state.total);
        bar.set_position(state.done);
        bar.set_message(what.to_string());
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(bar) = lock(&self.state).bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(label: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {percent:>3}% {elapsed:>4} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = if crate::render::is_utf8() { style } else { style.progress_chars("#>-") };
    ProgressBar::new(0).with_style(style).with_prefix(label.to_string())
}

//! Background work: `spawn(|| …)` begins it, `wait(job)` gives its value, `:jobs` lists it.

use super::hosts::Hosts;
use super::shape::closure_for_run;
use crate::bindings::spec::Cancel;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::host::engine;
use crate::host::events::{self, Events};
use crate::host::gate::lock;
use crate::host::registry::Entry;
use crate::host::report;
use crate::host::values::throw;
use crate::render::{self, Look};
use rhai::{AST, Dynamic, Engine, EvalAltResult, FnPtr, Map, Module, NativeCallContext, Shared};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A piece of background work as scripts hold it.
#[derive(Clone)]
pub struct Job(Arc<Inner>);

struct Inner {
    number: usize,
    /// The line that began it.
    line: String,
    begun: Instant,
    cancel: Cancel,
    ended: Mutex<Option<(Duration, Result<Dynamic>)>>,
    told: AtomicBool,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {} {}", self.0.number, self.state())
    }
}

impl Job {
    fn state(&self) -> &'static str {
        match &*lock(&self.0.ended) {
            None => "running",
            Some((_, Ok(_))) => "done",
            Some((_, Err(_))) => "failed",
        }
    }

    fn time(&self) -> Duration {
        lock(&self.0.ended).as_ref().map_or_else(|| self.0.begun.elapsed(), |(time, _)| *time)
    }
}

/// All background work of a session, and what a new one needs.
pub struct Jobs {
    all: Mutex<Vec<Job>>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    /// Of the line that is being run.
    pub line: Mutex<(String, AST)>,
    pub hosts: Mutex<Hosts>,
    /// What the session has imported.
    pub modules: Mutex<Vec<(String, Shared<Module>)>>,
    events: Arc<Events>,
}

impl Jobs {
    pub fn new(hosts: Hosts, events: &Arc<Events>) -> Arc<Jobs> {
        Arc::new(Jobs {
            all: Mutex::default(),
            threads: Mutex::default(),
            line: Mutex::new((String::new(), AST::empty())),
            hosts: Mutex::new(hosts),
            modules: Mutex::default(),
            events: events.clone(),
        })
    }

    /// Gives an engine `spawn` and `wait`.
    pub fn register(self: &Arc<Self>, engine: &mut Engine) {
        engine.register_type_with_name::<Job>("Job");
        engine.register_fn("to_string", |job: &mut Job| job.to_string());
        engine.register_fn("to_debug", |job: &mut Job| job.to_string());
        let jobs = self.clone();
        engine.register_fn("spawn", move |callback: FnPtr| jobs.spawn(&callback));
        engine.register_fn("wait", |ctx: NativeCallContext, job: Job| wait(&ctx, &job));
    }

    fn spawn(self: &Arc<Self>, callback: &FnPtr) -> std::result::Result<Job, Box<EvalAltResult>> {
        let (line, ast) = lock(&self.line).clone();
        let number = lock(&self.all).len() + 1;
        let job = Job(Arc::new(Inner {
            number,
            line,
            begun: Instant::now(),
            cancel: Cancel::default(),
            ended: Mutex::default(),
            told: AtomicBool::new(false),
        }));
        let hosts = lock(&self.hosts).clone();
        let host = hosts.run(&format!("repl job {number}"), &self.events, &job.0.cancel).map_err(throw)?;
        let callback = closure_for_run(callback, &engine::handles(&host)).map_err(|kind| {
            throw(
                Error::invalid(format!("background work cannot use an open {kind} of the prompt"))
                    .op("spawn")
                    .hint("open it inside the closure"),
            )
        })?;
        let (jobs, own) = (self.clone(), job.clone());
        let thread =
            std::thread::Builder::new().name(format!("job-{number}")).stack_size(engine::STACK).spawn(move || {
                events::in_background();
                let result = jobs.work(&host, &callback, &ast);
                *lock(&own.0.ended) = Some((own.0.begun.elapsed(), result));
            });
        lock(&self.threads).push(thread.map_err(|e| throw(Error::from(e).op("spawn")))?);
        lock(&self.all).push(job.clone());
        Ok(job)
    }

    /// A run of its own: Ctrl-C at the prompt does not stop it, and it is taken back alone.
    fn work(&self, host: &Arc<Host>, callback: &FnPtr, ast: &AST) -> Result<Dynamic> {
        let mut engine = engine::build(host);
        for (name, module) in lock(&self.modules).iter() {
            engine.register_static_module(name.as_str(), module.clone());
        }
        let said = |e: Box<EvalAltResult>| report::failure(&e, "spawn", Some(&engine)).error;
        let later = |f: &FnPtr| f.call::<Dynamic>(&engine, ast, ()).map(drop).map_err(said);
        host.gate.run(&later, || callback.call::<Dynamic>(&engine, ast, ()).map_err(said))
    }

    pub fn running(&self) -> usize {
        lock(&self.all).iter().filter(|j| j.state() == "running").count()
    }

    /// What has ended since it was last asked: a line for each.
    pub fn news(&self) -> Vec<String> {
        let ended: Vec<Job> = lock(&self.all).iter().filter(|j| j.state() != "running").cloned().collect();
        ended
            .iter()
            .filter(|j| !j.0.told.swap(true, Ordering::SeqCst))
            .map(|j| {
                let time = format!("{:.1} s", j.time().as_secs_f64());
                match &*lock(&j.0.ended) {
                    Some((_, Err(e))) => format!("job {} failed after {time}: {e}", j.0.number),
                    _ => format!("job {} is done after {time}: wait(…) gives its value", j.0.number),
                }
            })
            .collect()
    }

    /// Stops what is running and waits until it has been taken back.
    pub fn stop(&self) {
        lock(&self.all).iter().for_each(|j| j.0.cancel.set());
        let threads: Vec<_> = lock(&self.threads).drain(..).collect();
        threads.into_iter().for_each(|t| drop(t.join()));
    }

    pub fn table(&self, look: Look) -> String {
        let rows: rhai::Array = lock(&self.all)
            .iter()
            .map(|j| {
                let mut row = Map::new();
                row.insert("job".into(), (j.0.number as i64).into());
                row.insert("state".into(), j.state().into());
                row.insert("seconds".into(), format!("{:.1}", j.time().as_secs_f64()).into());
                row.insert("line".into(), j.0.line.clone().into());
                Dynamic::from_map(row)
            })
            .collect();
        if rows.is_empty() {
            return "no jobs: spawn(|| …) begins one".into();
        }
        render::table(&rows, &["job", "state", "seconds", "line"].map(String::from), look)
    }
}

/// The value of a job; its error is thrown. Ctrl-C ends the waiting, not the job.
fn wait(ctx: &NativeCallContext, job: &Job) -> std::result::Result<Dynamic, Box<EvalAltResult>> {
    let host = engine::host_of(ctx)?;
    loop {
        if let Some((_, result)) = &*lock(&job.0.ended) {
            job.0.told.store(true, Ordering::SeqCst);
            return result.clone().map_err(|e| match e.kind {
                Kind::Interrupted => throw(Error::failed("the job was stopped").op("wait")),
                _ => throw(e),
            });
        }
        host.cancel.check().map_err(throw)?;
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The documentation of what the prompt has and scripts have not.
pub fn entries() -> Vec<Entry> {
    let entry = |name: &str, param: &str, returns: &str, doc: &str| Entry {
        receiver: None,
        name: name.into(),
        params: vec![param.into()],
        arities: vec![1],
        returns: returns.into(),
        doc: doc.into(),
    };
    vec![entry("spawn", "callback", "Job", SPAWN), entry("wait", "job", "Dynamic", WAIT)]
}

const SPAWN: &str = "Begins background work, as a run of its own, and gives a handle for `wait`.

Only at the prompt. It cannot ask: what destroys needs --yes. `:jobs` lists it; Ctrl-C does not stop it.
# Errors
`invalid` when the closure uses an open guest or another hypervisor of the prompt.
# Example
```rhai
let job = spawn(|| rbd.ls(\"libvirt-pool\").len());
wait(job)
```";

const WAIT: &str = "Waits for background work and gives its value.

# Errors
What the work has thrown.
# Example
```rhai
wait(spawn(|| 6 * 7))
```";

//! Runs a program of this host, and ends it when the run is to stop.

use super::sys::end_with_us;
use crate::bindings::spec::Cancel;
use crate::error::{Error, Result};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);
/// How long a program may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub struct Spec {
    pub command: Vec<String>,
    pub cwd: Option<String>,
    /// `None` takes a variable away.
    pub env: Vec<(String, Option<String>)>,
    pub timeout: Option<Duration>,
    pub input: Option<Vec<u8>>,
    /// Hands the terminal over.
    pub tty: bool,
}

#[derive(Debug, PartialEq)]
pub struct Output {
    /// 128 and the signal for one that a signal has ended.
    pub code: i32,
    pub out: Vec<u8>,
    pub err: Vec<u8>,
}

/// As a shell would read it.
pub fn quoted(command: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    let quote = |word: &String| match !word.is_empty() && word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    command.iter().map(quote).collect::<Vec<_>>().join(" ")
}

pub fn run(spec: &Spec, cancel: &Cancel) -> Result<Output> {
    cancel.check()?;
    let child = start(spec)?;
    if spec.tty {
        let (status, why) = wait(child, spec, cancel);
        return done(status, Vec::new(), Vec::new(), why);
    }
    let mut child = child;
    let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), spec.input.clone()) {
        // Not waited for: a program need not read it all.
        spawn(move || {
            let _ = stdin.write_all(&input);
        });
    }
    let (status, why) = wait(child, spec, cancel);
    done(status, out.join().unwrap_or_default(), err.join().unwrap_or_default(), why)
}

fn done(status: std::io::Result<ExitStatus>, out: Vec<u8>, err: Vec<u8>, why: Option<Error>) -> Result<Output> {
    let status = status?;
    match why {
        Some(e) => Err(e),
        None => Ok(Output { code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)), out, err }),
    }
}

fn start(spec: &Spec) -> Result<Child> {
    let [program, args @ ..] = &spec.command[..] else { return Err(Error::invalid("the command is empty")) };
    let mut command = Command::new(program);
    command.args(args);
    if !spec.tty {
        // Away from the terminal's Ctrl-C: what is to end is ended here.
        command.process_group(0).stdin(if spec.input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    if let Some(dir) = &spec.cwd {
        let here = std::fs::metadata(dir).map_err(|e| Error::from(e).subject(dir))?;
        if !here.is_dir() {
            return Err(Error::invalid("is no directory").subject(dir));
        }
        command.current_dir(dir);
    }
    for (key, value) in &spec.env {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    end_with_us(&mut command);
    command.spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::not_found(format!("there is no program `{program}` on this host")).hint("is its package installed?")
        }
        _ => Error::from(e).subject(program),
    })
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Its end, and why it was made to end.
fn wait(mut child: Child, spec: &Spec, cancel: &Cancel) -> (std::io::Result<ExitStatus>, Option<Error>) {
    let begun = Instant::now();
    let mut stop: Option<(Error, Instant)> = None;
    let mut asked = false;
    loop {
        match child.try_wait() {
            Ok(None) => {}
            ended => {
                let why = stop.map(|(why, _)| why);
                // The program may have left others that hold its pipes.
                if why.is_some() {
                    signal(&child, spec, Signal::SIGKILL);
                }
                return (ended.map(Option::unwrap_or_default), why);
            }
        }
        match &stop {
            None if cancel.is_set() => stop = Some((Error::interrupted(), Instant::now())),
            None => {
                if let Some(limit) = spec.timeout.filter(|t| begun.elapsed() >= *t) {
                    let why = format!("has not ended in {} s, and was stopped", limit.as_secs_f64());
                    stop = Some((Error::timeout(why), Instant::now()));
                }
            }
            // One that has the terminal has had the Ctrl-C too, and may have things to put in order.
            Some((_, at)) if !asked && (!spec.tty || at.elapsed() >= GRACE) => {
                signal(&child, spec, Signal::SIGTERM);
                asked = true;
            }
            Some((_, at)) if at.elapsed() >= GRACE * 2 => signal(&child, spec, Signal::SIGKILL),
            Some(_) => {}
        }
        std::thread::sleep(POLL);
    }
}

fn signal(child: &Child, spec: &Spec, signal: Signal) {
    let Ok(pid) = i32::try_from(child.id()) else { return };
    // Our own child, or the group that it leads.
    let _ = if spec.tty { kill(Pid::from_raw(pid), signal) } else { killpg(Pid::from_raw(pid), signal) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn sh(text: &str) -> Spec {
        Spec { command: vec!["sh".into(), "-c".into(), text.into()], ..Spec::default() }
    }

    #[test]
    fn what_it_says_and_how_it_ends() {
        let spec = Spec {
            cwd: Some("/".into()),
            env: vec![("ZS_A".into(), Some("a b".into())), ("HOME".into(), None)],
            input: Some(b"in".to_vec()),
            ..sh("cat; echo \" $ZS_A $PWD ${HOME-none}\"; echo err >&2; exit 3")
        };
        let out = run(&spec, &Cancel::default()).expect("run");
        assert_eq!((out.code, &out.out[..], &out.err[..]), (3, &b"in a b / none\n"[..], &b"err\n"[..]));
        assert_eq!(run(&sh("kill -TERM $$"), &Cancel::default()).expect("run").code, 143);
        let none = Spec { command: vec!["zs-no-such-program".into()], ..Spec::default() };
        assert_eq!(run(&none, &Cancel::default()).expect_err("none").kind, Kind::NotFound);
        assert_eq!(run(&Spec::default(), &Cancel::default()).expect_err("none").kind, Kind::Invalid);
        let lost = Spec { cwd: Some("/no/such".into()), ..sh("true") };
        assert_eq!(run(&lost, &Cancel::default()).expect_err("none").kind, Kind::NotFound);
    }

    #[test]
    fn it_ends_with_all_that_it_started() {
        let spec = Spec { timeout: Some(Duration::from_millis(200)), ..sh("sleep 60 & sleep 60") };
        let begun = Instant::now();
        assert_eq!(run(&spec, &Cancel::default()).expect_err("late").kind, Kind::Timeout);
        let cancel = Cancel::default();
        let setter = cancel.clone();
        let waker = spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            setter.set();
        });
        assert_eq!(run(&sh("sleep 60"), &cancel).expect_err("stopped").kind, Kind::Interrupted);
        waker.join().expect("a thread");
        let stubborn =
            Spec { timeout: Some(Duration::from_millis(100)), ..sh("trap '' TERM; while :; do sleep 1; done") };
        assert_eq!(run(&stubborn, &Cancel::default()).expect_err("killed").kind, Kind::Timeout);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    #[test]
    fn as_a_shell_reads_it() {
        let words = ["qemu-img", "convert", "a b", "it's", ""].map(String::from);
        assert_eq!(quoted(&words), r"qemu-img convert 'a b' 'it'\''s' ''");
    }
}

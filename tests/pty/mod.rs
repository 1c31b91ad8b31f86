//! zs on a terminal of its own, for tests: `script` of util-linux has the pty, so no crate needs to.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A slow machine under load.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<Vec<u8>>>,
    /// How much of the plain text has been looked at already.
    seen: usize,
}

impl Terminal {
    /// Runs zs with these arguments and variables (an empty value unsets one) on a terminal of that size.
    pub fn start(args: &str, env: &[(&str, &str)], columns: usize, rows: usize) -> Terminal {
        let zs = env!("CARGO_BIN_EXE_zs");
        let mut command = Command::new("script");
        command.args([
            "-q",
            "-e",
            "-c",
            &format!("tty; stty cols {columns} rows {rows}; exec {zs} {args}"),
            "/dev/null",
        ]);
        command.env("TERM", "xterm").env("LANG", "C.UTF-8").env_remove("LC_ALL").env_remove("NO_COLOR");
        for (name, value) in env {
            if value.is_empty() {
                command.env_remove(name)
            } else {
                command.env(name, value)
            };
        }
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = piped.spawn().expect("script, of util-linux");
        let (keys, mut out) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let shown = Arc::new(Mutex::new(Vec::new()));
        let into = shown.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut buffer) {
                into.lock().expect("no panic").extend_from_slice(&buffer[..n]);
            }
        });
        Terminal { child, keys, shown, seen: 0 }
    }

    pub fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("a terminal");
    }

    /// All that has been written to the terminal, control sequences included.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().expect("no panic")).into_owned()
    }

    /// What came since the last look, up to this text, without colours and movements.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let all = plain(&self.raw());
            let new = all.get(self.seen..).unwrap_or_default();
            if let Some(at) = new.find(text) {
                let shown = new[..at + text.len()].to_string();
                self.seen += shown.len();
                return shown;
            }
            assert!(begun.elapsed() < PATIENCE, "no {text:?} in:\n{new}\nall of it:\n{}", self.raw());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Types a line and gives what it has shown, up to the next prompt.
    #[track_caller]
    pub fn line(&mut self, line: &str) -> String {
        self.keys(&format!("{line}\r"));
        let shown = self.until(&format!("\n{PROMPT}"));
        let end = shown.rfind(&format!("\n{PROMPT}")).unwrap_or(shown.len());
        let body = &shown[..end];
        // The echo is the first line.
        body.split_once('\n').map_or(String::new(), |(_, rest)| rest.to_string())
    }

    /// The device, which the shell has named before zs began.
    pub fn device(&self) -> String {
        self.raw().lines().next().unwrap_or_default().trim().to_string()
    }

    /// The exit code.
    #[track_caller]
    pub fn end(mut self) -> i32 {
        let begun = Instant::now();
        loop {
            if let Some(ended) = self.child.try_wait().expect("a child") {
                return ended.code().unwrap_or(-1);
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}", self.raw());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub const PROMPT: &str = "zs> ";

/// Text without control sequences.
pub fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        rest = match tail.strip_prefix('[') {
            Some(csi) => csi.find(|c: char| ('@'..='~').contains(&c)).map_or("", |n| &csi[n + 1..]),
            None => tail.get(1..).unwrap_or_default(),
        };
    }
    out.push_str(rest);
    out.replace('\r', "")
}

//! A process that outlives this one, to do what must be done if zs dies.

use crate::error::{Error, Result};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

pub struct Heir(Child);

impl Heir {
    /// Runs a shell script under a name. It waits for a line on its input, which says that there is nothing to do; the end
    /// of input without one means that zs is dead.
    pub fn start(name: &str, script: &str, env: &[(&str, &OsStr)]) -> Result<Heir> {
        let child = Command::new("/bin/sh")
            .args(["-c", script, name])
            .envs(env.iter().copied())
            // No fault of a test is meant for it.
            .env_remove("ZS_FAULT")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // ^C at the terminal, and a kill of our group, are not meant for it.
            .process_group(0)
            .spawn();
        child.map(Heir).map_err(|e| Error::from(e).subject("/bin/sh"))
    }

    /// Tells it that there is nothing to do. Who wants to know that it has gone waits for the process.
    pub fn dismiss(&mut self) -> &mut Child {
        if let Some(mut stdin) = self.0.stdin.take() {
            let _ = stdin.write_all(b"done\n");
        }
        &mut self.0
    }
}

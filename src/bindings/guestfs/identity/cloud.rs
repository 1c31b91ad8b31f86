//! cloud-init must not undo what a clone was given.

use super::{Files, files_in, read_text, text::Text, write, write_bytes};
use crate::error::Result;

const FILE: &str = "/etc/cloud/cloud.cfg.d/99-zs.cfg";

/// Adds a line to our own drop-in, in guests that have cloud-init.
pub fn keep(f: &mut dyn Files, line: &str) -> Result<()> {
    // Without the directory or the main file there is no cloud-init to restrain.
    if f.stat("/etc/cloud/cloud.cfg")?.is_none() || f.stat("/etc/cloud/cloud.cfg.d")?.is_none() {
        return Ok(());
    }
    match read_text(f, FILE)? {
        None => {
            let text = format!("# Made by zs: this VM's identity is set from outside.\n{line}\n");
            write_bytes(f, FILE, text.into_bytes(), Some(0o644), Some((0, 0)))
        }
        Some(t) if t.s.lines().any(|l| l == line) => Ok(()),
        Some(t) => {
            let text: Text = t.with(format!("{}{line}\n", t.s));
            write(f, FILE, &text)
        }
    }
}

/// What is remembered of the template's instance. The seed is the site's, and stays.
pub fn instance_state(f: &mut dyn Files) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for name in ["instance", "instances", "sem"] {
        paths.push(format!("/var/lib/cloud/{name}"));
    }
    paths.extend(files_in(f, "/var/lib/cloud/data", |_| true)?);
    Ok(paths)
}

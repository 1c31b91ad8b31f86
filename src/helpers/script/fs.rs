//! Files of this host.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::error::Error;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf};
    use std::io::{Read, Write};

    /// Files of the host that zs runs on.
    pub type Fs = crate::helpers::script::Fs;

    /// Puts lines at the end of a file of this host that does not have them; makes the file where there is none.
    ///
    /// # Errors
    /// `not_found` without its directory; `denied`.
    /// # Example
    /// ```rhai
    /// fs.add_lines("/tmp/zs-example-hosts", "192.168.6.103 z-k8s-m-3")
    /// ```
    /// Implements: write (tee -a)
    #[rhai_fn(name = "add_lines", pure, return_raw)]
    pub fn fs_add_lines(fs: &mut Fs, file: &str, text: &str) -> RhaiResultOf<()> {
        const OP: &str = "fs.add_lines";
        let text = format!("{}\n", text.trim_end_matches('\n'));
        let path = std::path::absolute(file).map_err(|e| Error::from(e).subject(file)).raise(OP)?.display().to_string();
        let op = Op::change(OP, &path).with("lines", text.lines().count());
        let undo = Undo::RemoveLines { path: path.clone(), text: text.clone() };
        let done = fs.0.change(op, Undo::Nothing, |w, step| {
            if !w.is_live() {
                return Ok(((), Undo::Nothing));
            }
            let mut f = std::fs::File::options().read(true).append(true).create(true).open(&path)?;
            let mut now = String::new();
            f.read_to_string(&mut now)?;
            // Whose they are could not be told later.
            if now.contains(&text) {
                return Ok(((), Undo::Nothing));
            }
            step.learned(undo.clone())?;
            // A last line without its end would take ours for its own.
            let start = if now.is_empty() || now.ends_with('\n') { "" } else { "\n" };
            f.write_all(format!("{start}{text}").as_bytes())?;
            Ok(((), undo))
        });
        done.raise(OP)
    }
}

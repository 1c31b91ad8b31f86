//! Programs of this host.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::spec::ImageSpec;
    use crate::error::Error;
    use crate::helpers::process::{Output, Spec, quoted, run as run_process};
    use crate::helpers::script::{duration, seconds};
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, options, throw};
    use rhai::{Array, Blob, Dynamic, Map};

    /// Programs of the host that zs runs on.
    pub type Sh = crate::helpers::script::Sh;

    #[rhai_fn(name = "run", pure, return_raw)]
    pub fn sh_run(sh: &mut Sh, list: Array) -> RhaiResultOf<Map> {
        sh_run_opts(sh, list, Map::new())
    }

    /// Runs a program with its arguments, and waits for its end. No shell reads them, unless the program is one.
    ///
    /// zs cannot know what it changes: in a plan it is shown and not run, and what it did is not taken back. The command
    /// stands in the journal, so a secret belongs in `input` or `env`. Ctrl-C ends the program and all that it started.
    ///
    /// # Options
    /// - cwd: the directory to run it in
    /// - env: a map of variables to add; `()` takes one away
    /// - timeout: how long it may take, as 60 or "5m"; without, as long as it likes
    /// - input: text or bytes for its standard input, which is empty else
    /// - tty: true hands the terminal over; `out` and `err` are empty then
    /// - within: an image, `pool/image`, or a directory of `fs.with_temp_dir`: all that the program changes lies in it,
    ///   and goes when this run removes that
    /// - clean: true says that nothing it leaves needs to be taken back
    /// # Returns
    /// A map: `code` (0 is well; 128 and its number for one that a signal has ended), `out`, `err`. In a plan 0, and no
    /// text.
    /// # Errors
    /// `not_found` without the program; `timeout`; `denied`. How the program ends is no error: look at `code`.
    /// # Example
    /// ```rhai
    /// let r = sh.run(["qemu-img", "--version"]);
    /// if r.code != 0 { fail(r.err); }
    /// ```
    #[rhai_fn(name = "run", pure, return_raw)]
    pub fn sh_run_opts(sh: &mut Sh, list: Array, options_: Map) -> RhaiResultOf<Map> {
        const OP: &str = "sh.run";
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            cwd: Option<String>,
            env: std::collections::BTreeMap<String, Dynamic>,
            timeout: Option<Dynamic>,
            input: Option<Dynamic>,
            tty: bool,
            within: Option<String>,
            clean: bool,
        }
        let o: Options = options(OP, options_)?;
        let command: Vec<String> = list.iter().map(ToString::to_string).collect();
        let line = quoted(&command);
        let host = &sh.0;
        let timeout = o.timeout.as_ref().map(seconds).transpose()?;
        let text = |v: &Dynamic| if v.is_unit() { None } else { Some(v.to_string()) };
        let spec = Spec {
            command,
            cwd: o.cwd,
            env: o.env.iter().map(|(k, v)| (k.clone(), text(v))).collect(),
            timeout: timeout.map(|t| duration(t, 0.0, 1e9)).transpose()?,
            input: o.input.as_ref().map(|i| match i.read_lock::<Blob>() {
                Some(bytes) => bytes.clone(),
                None => i.to_string().into_bytes(),
            }),
            tty: o.tty,
        };
        if spec.command.is_empty() {
            return Err(throw(
                Error::invalid("the command is empty").op(OP).hint("an array: [\"program\", \"argument\"]"),
            ));
        }
        if spec.tty && (host.events.json && !host.gate.planning() || spec.input.is_some()) {
            let why = if host.events.json { "--json" } else { "`input`" };
            return Err(throw(
                Error::invalid(format!("the terminal cannot be handed over with {why}")).op(OP).subject(line),
            ));
        }
        let mut undo = Undo::Impossible { command: format!("(what `{line}` did stays)") };
        if o.clean || o.within.as_deref().is_some_and(|dir| host.gate.is_temp_dir(dir)) {
            undo = Undo::Nothing;
        } else if let Some(image) = &o.within {
            let image: ImageSpec = image.parse::<ImageSpec>().raise(OP)?;
            undo = host.gate.within(&image).unwrap_or(undo);
        }
        let names: Vec<String> = spec.env.iter().map(|(k, _)| k.clone()).collect();
        let op = Op::change(OP, &line)
            .with("cwd", &spec.cwd)
            .with("env", (!names.is_empty()).then_some(names))
            .with("tty", spec.tty.then_some(true));
        let done = host.change_plain(op, undo, |w, _| {
            if !w.is_live() {
                return Ok(Output { code: 0, out: vec![], err: vec![] });
            }
            run_process(&spec, &host.cancel)
        });
        let done = done.raise(OP)?;
        let text = |bytes: Vec<u8>| Dynamic::from(String::from_utf8_lossy(&bytes).into_owned());
        Ok(Map::from_iter([
            ("code".into(), i64::from(done.code).into()),
            ("out".into(), text(done.out)),
            ("err".into(), text(done.err)),
        ]))
    }
}

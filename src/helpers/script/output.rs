//! What the operator sees and is asked.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::error::Error;
    use crate::host::engine::host_of;
    use crate::host::values::{Raise, RhaiResultOf, throw};
    use rhai::{Array, NativeCallContext};

    /// Messages to the operator, on stderr.
    pub type Log = crate::helpers::script::Log;

    /// Tells the operator something, unless `-q`.
    /// # Example
    /// ```rhai
    /// log.info("three VMs to go")
    /// ```
    #[rhai_fn(name = "info", pure)]
    pub fn log_info(log: &mut Log, text: &str) {
        log.0.events.log("info", text);
    }

    /// Warns the operator.
    /// # Example
    /// ```rhai
    /// log.warn("the pool is nearly full")
    /// ```
    #[rhai_fn(name = "warn", pure)]
    pub fn log_warn(log: &mut Log, text: &str) {
        log.0.events.log("warn", text);
    }

    /// Tells the operator something under `-v` only.
    // Rhai hands what any function named `debug` returns to its own debug(): the empty text that `on_debug` leaves alone.
    /// # Example
    /// ```rhai
    /// log.debug("looked at 61 rows")
    /// ```
    #[rhai_fn(name = "debug", pure)]
    pub fn log_debug(log: &mut Log, text: &str) -> String {
        log.0.events.log("debug", text);
        String::new()
    }

    /// Says how far the script is with a piece of work: a bar on a terminal, an event `progress` as JSON.
    ///
    /// The bar goes when `count` has reached `total`. Calls of the backends that take long show their own.
    /// # Errors
    /// `invalid` below 0; `interrupted` after Ctrl-C.
    /// # Example
    /// ```rhai
    /// for i in 1..=3 { progress("checksums", i, 3); }
    /// ```
    #[rhai_fn(name = "progress", return_raw)]
    pub fn progress(ctx: NativeCallContext, text: &str, count: i64, total: i64) -> RhaiResultOf<()> {
        let host = host_of(&ctx)?;
        let [done, total] = [count, total].map(u64::try_from);
        let (Ok(done), Ok(total)) = (done, total) else {
            return Err(throw(Error::invalid("counts from 0 up").op("progress").subject(text)));
        };
        host.events.step(text, done, total, &host.cancel).raise("progress")
    }

    /// Asks the operator; no is an error of kind `denied`. In a plan, and with `--yes`, the answer is yes.
    ///
    /// A yes holds for all destructive steps of the transaction.
    /// # Errors
    /// `denied`: the answer was no, or there is no terminal to ask on.
    /// # Example
    /// ```rhai
    /// confirm("Remove 3 images?")
    /// ```
    #[rhai_fn(name = "confirm", return_raw)]
    pub fn confirm(ctx: NativeCallContext, text: &str) -> RhaiResultOf<()> {
        if host_of(&ctx)?.gate.confirm(text).raise("confirm")? {
            Ok(())
        } else {
            Err(throw(Error::denied("you said no").op("confirm")))
        }
    }

    /// Prints an array of maps as a table; as JSON it is the array. The columns are those named, or all.
    /// # Example
    /// ```rhai
    /// table([#{ name: "z-1", ip: "192.168.6.1" }], ["name", "ip"])
    /// ```
    #[rhai_fn(name = "table", return_raw)]
    pub fn table(ctx: NativeCallContext, list: Array, columns: Array) -> RhaiResultOf<()> {
        let host = host_of(&ctx)?;
        if !host.events.json {
            let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
            host.events.out(&crate::render::table(&list, &columns, crate::render::Look::stdout(host.events.color)));
        }
        Ok(())
    }
}

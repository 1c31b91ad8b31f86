//! The course of a script: errors, transactions, parallel work, waiting.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::error::{Error, Kind};
    use crate::helpers::script::{duration, pause, seconds};
    use crate::host::engine::host_of;
    use crate::host::parallel::{Options as ParallelOptions, parallel as run_parallel, transaction as run_transaction};
    use crate::host::values::{Raise, RhaiResultOf, error_of, options, throw};
    use rhai::{Array, Dynamic, FnPtr, Map, NativeCallContext};
    use std::time::Instant;

    /// Ends the script with an error: text, or a map with `kind`, `subject`, `message`, `hint`.
    ///
    /// What the run has done is taken back, but for finished items of `parallel`.
    /// # Example
    /// ```rhai
    /// try { fail(#{ kind: "busy", subject: "z-1", message: "it runs" }) } catch (e) { e.kind }
    /// ```
    #[rhai_fn(name = "fail", return_raw)]
    pub fn fail(value: Dynamic) -> RhaiResultOf<()> {
        let e = error_of(&value);
        if let Some(m) = value.read_lock::<Map>()
            && let Some(kind) = m.get("kind")
            && Kind::from_name(&kind.to_string()).is_none()
        {
            let known: Vec<&str> = Kind::ALL.iter().map(|k| k.name()).collect();
            return Err(throw(Error::invalid("is no kind of error").op("fail").subject(kind).hint(known.join(", "))));
        }
        Err(throw(e))
    }

    /// Runs a closure as a transaction: when it fails, what it did is taken back, newest first.
    ///
    /// `try … catch` alone takes nothing back.
    /// # Example
    /// ```rhai
    /// transaction(|| 1 + 1)
    /// ```
    #[rhai_fn(name = "transaction", return_raw)]
    pub fn transaction(ctx: NativeCallContext, callback: FnPtr) -> RhaiResultOf<Dynamic> {
        let host = host_of(&ctx)?;
        run_transaction(&ctx, &host, false, false, &callback, ()).map_err(|e| e.throw())?.go_on()
    }

    /// Puts a closure off to the end of the transaction, good or bad; the last one first.
    /// # Example
    /// ```rhai
    /// defer(|| log.info("done"))
    /// ```
    #[rhai_fn(name = "defer", return_raw)]
    pub fn defer(ctx: NativeCallContext, callback: FnPtr) -> RhaiResultOf<()> {
        host_of(&ctx)?.gate.defer(callback);
        Ok(())
    }

    #[rhai_fn(name = "parallel", return_raw)]
    pub fn parallel(ctx: NativeCallContext, list: Array, callback: FnPtr) -> RhaiResultOf<Array> {
        parallel_opts(ctx, list, callback, Map::new())
    }

    /// Calls a closure for each item, several at once, each in its own transaction. Results keep the list's order.
    ///
    /// All items are finished before the first error is thrown (with `errors`, when there are more).
    /// # Options
    /// - jobs: how many at once, 2 by default
    /// - commit: "all" (the default; one failure takes all back when it ends the run) or "each" (a finished item stays)
    /// - keep_going: true gives errors as results instead of throwing
    /// - keep_failed: true leaves what a failed item has made, and names it with the commands that take it away
    /// # Example
    /// ```rhai
    /// parallel([1, 2, 3], |x| x * 2, #{ jobs: 2 })
    /// ```
    #[rhai_fn(name = "parallel", return_raw)]
    pub fn parallel_opts(ctx: NativeCallContext, list: Array, callback: FnPtr, options_: Map) -> RhaiResultOf<Array> {
        let host = host_of(&ctx)?;
        let o: ParallelOptions = options("parallel", options_)?;
        run_parallel(&ctx, &host, list, callback, &o)
    }

    // Rhai has a sleep of its own for numbers, deaf to Ctrl-C; one that takes just these goes before it.
    #[rhai_fn(name = "sleep", return_raw)]
    pub fn sleep_int(ctx: NativeCallContext, timeout: i64) -> RhaiResultOf<()> {
        sleep_for(ctx, timeout.into())
    }

    #[rhai_fn(name = "sleep", return_raw)]
    pub fn sleep_float(ctx: NativeCallContext, timeout: f64) -> RhaiResultOf<()> {
        sleep_for(ctx, timeout.into())
    }

    /// Waits some seconds, or a time such as "5m". In a plan no time passes.
    /// # Example
    /// ```rhai
    /// sleep(0.01)
    /// ```
    #[rhai_fn(name = "sleep", return_raw)]
    pub fn sleep_for(ctx: NativeCallContext, timeout: Dynamic) -> RhaiResultOf<()> {
        let host = host_of(&ctx)?;
        let time = seconds(&timeout)?;
        if !host.gate.planning() {
            pause(&host.cancel, duration(time, 0.0, 1e9)?).map_err(throw)?;
        }
        Ok(())
    }

    /// Tries a closure until it gives something other than `false` and `()`, and returns that.
    ///
    /// In a plan it is tried once and then taken as met.
    /// # Options
    /// - timeout: seconds or text such as "5m", 60 s by default
    /// - every: the time between tries, 1 s by default
    /// - what: what is waited for, for the error
    /// # Errors
    /// `timeout`.
    /// # Example
    /// ```rhai
    /// wait_until(#{ timeout: 5, every: 0.1, what: "the sun" }, || true)
    /// ```
    #[rhai_fn(name = "wait_until", return_raw)]
    pub fn wait_until(ctx: NativeCallContext, options_: Map, callback: FnPtr) -> RhaiResultOf<Dynamic> {
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            timeout: Option<Dynamic>,
            every: Option<Dynamic>,
            what: Option<String>,
        }
        let host = host_of(&ctx)?;
        let o: Options = options("wait_until", options_)?;
        let timeout = o.timeout.as_ref().map_or(Ok(60.0), seconds)?;
        let every = o.every.as_ref().map_or(Ok(1.0), seconds)?;
        let begun = Instant::now();
        loop {
            let value = callback.call_within_context::<Dynamic>(&ctx, ())?;
            if host.gate.planning() || !(value.is_unit() || value.as_bool() == Ok(false)) {
                return Ok(value);
            }
            if begun.elapsed().as_secs_f64() >= timeout {
                let what = o.what.as_deref().unwrap_or("what the script waits for");
                return Err(throw(Error::timeout(format!("waited {timeout} s")).op("wait_until").subject(what)));
            }
            pause(&host.cancel, duration(every, 0.01, 3600.0)?).map_err(throw)?;
        }
    }

    /// Calls a closure again while it fails with an error that may pass; returns what it gives.
    ///
    /// Each try is a transaction: what a failed one has done is taken back. In a plan no time passes.
    /// # Options
    /// - times: how often at most, 3 by default
    /// - every: the time between tries, 1 s by default
    /// - on: the kinds of errors to try again after, ["busy", "timeout", "unreachable"] by default
    /// # Errors
    /// That of the last try, or the first of another kind.
    /// # Example
    /// ```rhai
    /// let n = 0;
    /// retry(#{ times: 3, every: 0.01, on: ["busy"] }, || {
    ///     n += 1;
    ///     if n < 3 { fail(#{ kind: "busy", message: "not yet" }) }
    ///     n
    /// }) == 3
    /// ```
    #[rhai_fn(name = "retry", return_raw)]
    pub fn retry(ctx: NativeCallContext, options_: Map, callback: FnPtr) -> RhaiResultOf<Dynamic> {
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            times: Option<i64>,
            every: Option<Dynamic>,
            on: Option<Vec<String>>,
        }
        const PASSING: [Kind; 3] = [Kind::Busy, Kind::Timeout, Kind::Unreachable];
        let host = host_of(&ctx)?;
        let o: Options = options("retry", options_)?;
        let every = o.every.as_ref().map_or(Ok(1.0), seconds)?;
        let known = |name: &String| {
            Kind::from_name(name).ok_or_else(|| throw(Error::invalid("is no kind of error").op("retry").subject(name)))
        };
        let on = match &o.on {
            Some(names) => names.iter().map(known).collect::<RhaiResultOf<Vec<Kind>>>()?,
            None => PASSING.to_vec(),
        };
        let mut left = o.times.unwrap_or(3).max(1);
        loop {
            let tried = run_transaction(&ctx, &host, false, false, &callback, ());
            left -= 1;
            match tried {
                Err(e) if left > 0 && on.contains(&e.error.kind) => {
                    host.events.log("debug", &format!("again after: {}", e.error));
                }
                other => return other.map_err(|e| e.throw())?.go_on(),
            }
            if !host.gate.planning() {
                pause(&host.cancel, duration(every, 0.0, 3600.0)?).map_err(throw)?;
            }
        }
    }

    /// Tells whether something listens on a TCP port.
    /// # Errors
    /// `denied` by `--deny net`.
    /// # Example
    /// ```rhai
    /// port_open("127.0.0.1", 1, 0.1)
    /// ```
    #[rhai_fn(name = "port_open", return_raw)]
    pub fn port_open(ctx: NativeCallContext, address: &str, count: i64, timeout: Dynamic) -> RhaiResultOf<bool> {
        use std::net::{IpAddr, SocketAddr, TcpStream};
        let host = host_of(&ctx)?;
        host.gate.may("net.connect", &format!("{address}:{count}")).raise("port_open")?;
        let bad = |m: &str| throw(Error::invalid(m).op("port_open").subject(format!("{address}:{count}")));
        let ip: IpAddr = address.parse().map_err(|_| bad("is not an IP address"))?;
        let port = u16::try_from(count).map_err(|_| bad("is not a port"))?;
        let wait = duration(seconds(&timeout)?, 0.01, 60.0)?;
        Ok(TcpStream::connect_timeout(&SocketAddr::new(ip, port), wait).is_ok())
    }
}

//! What tests of scripts say must hold.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::error::Error;
    use crate::host::values::{RhaiResultOf, error_of, throw};
    use rhai::{Dynamic, EvalAltResult, FnPtr, NativeCallContext};

    /// Fails when something is not true.
    /// # Errors
    /// `failed`.
    /// # Example
    /// ```rhai
    /// assert(1 < 2)
    /// ```
    #[rhai_fn(name = "assert", return_raw)]
    pub fn assert(value: bool) -> RhaiResultOf<()> {
        assert_because(value, "does not hold")
    }

    #[rhai_fn(name = "assert", return_raw)]
    pub fn assert_because(value: bool, text: &str) -> RhaiResultOf<()> {
        if value { Ok(()) } else { Err(throw(Error::failed(text).op("assert"))) }
    }

    /// Fails when two values are not equal; says both.
    /// # Errors
    /// `failed`.
    /// # Example
    /// ```rhai
    /// assert_eq([1, 2].len(), 2)
    /// ```
    #[rhai_fn(name = "assert_eq", return_raw)]
    pub fn assert_eq(ctx: NativeCallContext, value: Dynamic, other: Dynamic) -> RhaiResultOf<()> {
        let equal: bool = ctx.call_native_fn("==", (value.clone(), other.clone()))?;
        if equal {
            return Ok(());
        }
        Err(throw(Error::failed(format!("{value:?} is not {other:?}")).op("assert_eq")))
    }

    /// Fails when a closure does not throw an error of a kind; gives the error.
    /// # Errors
    /// `failed`.
    /// # Example
    /// ```rhai
    /// assert_fails("not_found", || rbd.info("libvirt-pool/none")).subject
    /// ```
    #[rhai_fn(name = "assert_fails", return_raw)]
    pub fn assert_fails(ctx: NativeCallContext, kind: &str, callback: FnPtr) -> RhaiResultOf<Dynamic> {
        let wanted = |what: String| throw(Error::failed(what).op("assert_fails").subject(kind));
        match callback.call_within_context::<Dynamic>(&ctx, ()) {
            Ok(value) => Err(wanted(format!("nothing was thrown; the closure gave {value:?}"))),
            Err(e) => match e.unwrap_inner() {
                EvalAltResult::ErrorRuntime(thrown, _) if error_of(thrown).kind.name() == kind => Ok(thrown.clone()),
                EvalAltResult::ErrorRuntime(thrown, _) => {
                    let e = error_of(thrown);
                    Err(wanted(format!("another error was thrown: {}: {}", e.kind.name(), e.message)))
                }
                _ => Err(e),
            },
        }
    }
}

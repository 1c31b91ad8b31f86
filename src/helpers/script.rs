//! The helpers, as scripts see them. Form of the docs: see `bindings/rbd/script.rs`.

mod assert;
mod disk_files;
mod flow;
mod formats;
mod fs;
mod input;
mod net;
mod output;
mod sh;
mod values;
mod xml;

use super::xml::Xml as XmlDocument;
use crate::bindings::spec::Cancel;
use crate::error::Error;
use crate::helpers::units::parse_duration;
use crate::host::Host;
use crate::host::values::{RhaiResultOf, throw};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Clone)]
pub struct Args(pub Arc<Host>);
#[derive(Clone)]
pub struct Fs(pub Arc<Host>);
#[derive(Clone)]
pub struct Csv;
#[derive(Clone)]
pub struct Json;
#[derive(Clone)]
pub struct Toml;
#[derive(Clone)]
pub struct InventoryHandle(pub Arc<Host>);
#[derive(Clone)]
pub struct Log(pub Arc<Host>);
#[derive(Clone)]
pub struct Sh(pub Arc<Host>);
#[derive(Clone)]
pub struct UuidHandle;
#[derive(Clone)]
pub struct XmlHandle;
#[derive(Clone)]
pub struct Names;
#[derive(Clone)]
pub struct Net;
#[derive(Clone)]
pub struct Time;

/// Seconds as a number, or text such as "5m".
pub fn seconds(value: &rhai::Dynamic) -> RhaiResultOf<f64> {
    match value.as_float().or_else(|_| value.as_int().map(|i| i as f64)) {
        Ok(n) => Ok(n),
        Err(_) => parse_duration(&value.to_string()).map(|d| d.as_secs_f64()).map_err(throw),
    }
}

/// Seconds within bounds; not-a-number is none.
pub fn duration(seconds: f64, low: f64, high: f64) -> RhaiResultOf<Duration> {
    Duration::try_from_secs_f64(seconds.clamp(low, high))
        .map_err(|_| throw(Error::invalid("is no time").subject(seconds)))
}

/// The content of a file, at most 64 MiB: scripts hold it in memory.
fn read_limited(file: &str) -> Result<Vec<u8>, Error> {
    use std::io::Read;
    const LIMIT: u64 = 64 << 20;
    let wrong = |e: std::io::Error| Error::from(e).subject(file);
    let mut content = Vec::new();
    std::fs::File::open(file).map_err(wrong)?.take(LIMIT + 1).read_to_end(&mut content).map_err(wrong)?;
    if content.len() as u64 > LIMIT {
        return Err(Error::invalid("is larger than 64 MiB").subject(file));
    }
    Ok(content)
}

pub fn pause(cancel: &Cancel, time: Duration) -> Result<(), Error> {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|l| !l.is_zero()) {
        cancel.check()?;
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
    cancel.check()
}

/// Hands the functions to the engine.
pub fn register(engine: &mut rhai::Engine) {
    for module in [
        rhai::exported_module!(assert::functions),
        rhai::exported_module!(input::functions),
        rhai::exported_module!(fs::functions),
        rhai::exported_module!(formats::functions),
        rhai::exported_module!(net::functions),
        rhai::exported_module!(output::functions),
        rhai::exported_module!(values::functions),
        rhai::exported_module!(xml::functions),
        rhai::exported_module!(flow::functions),
        rhai::exported_module!(sh::functions),
        rhai::exported_module!(disk_files::functions),
    ] {
        engine.register_global_module(module.into());
    }
}

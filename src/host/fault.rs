//! Faults on demand, so that each boundary can be tried: `ZS_FAULT=fail:N|kill:N|gap:N|point:N`.
//!
//! `fail:N` fails operation N before its effect; `kill:N` is a kill -9 between intent and effect; `gap:N` one between
//! effect and outcome; `point:N` one at the N-th of all those places and of every journal line of the run.

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub struct Faults {
    what: Option<(What, u64)>,
    points: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Fail,
    Kill,
    Gap,
    Point,
}

impl Faults {
    pub fn from_env() -> Result<Faults> {
        let Ok(text) = std::env::var("ZS_FAULT") else { return Ok(Faults::default()) };
        let parsed = text.split_once(':').and_then(|(what, n)| {
            let what = match what {
                "fail" => What::Fail,
                "kill" => What::Kill,
                "gap" => What::Gap,
                "point" => What::Point,
                _ => return None,
            };
            Some((what, n.parse().ok()?))
        });
        match parsed {
            Some(what) => Ok(Faults { what: Some(what), ..Faults::default() }),
            None => Err(Error::invalid("is no fault").subject(format!("ZS_FAULT={text}")).usage()),
        }
    }

    /// Before the effect of operation `seq`.
    pub fn before(&self, seq: u64) -> Result<()> {
        if self.what == Some((What::Kill, seq)) {
            die();
        }
        if self.what == Some((What::Fail, seq)) {
            return Err(Error::failed(format!("asked to fail by ZS_FAULT=fail:{seq}")));
        }
        Ok(())
    }

    /// After the effect of operation `seq`, before its outcome is written down.
    pub fn after(&self, seq: u64) {
        if self.what == Some((What::Gap, seq)) {
            die();
        }
    }

    /// A place where a crash would be interesting.
    pub fn point(&self) {
        if let Some((What::Point, n)) = self.what
            && self.points.fetch_add(1, Ordering::SeqCst) + 1 == n
        {
            die();
        }
    }
}

fn die() -> ! {
    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    std::process::abort();
}

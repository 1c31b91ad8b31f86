//! Starting a domain again that was asked to shut down.

use super::{Outcome, find};
use crate::bindings::World;
use crate::error::Result;
use std::time::{Duration, Instant};

/// How long a rollback waits for a guest that was asked to shut down.
const SHUTDOWN: Duration = Duration::from_secs(15);

/// A guest that was asked to shut down may still be on its way.
pub fn start_again(
    world: &dyn World,
    name: &str,
    uuid: &str,
    asked: Option<u32>,
    notice: &dyn Fn(&str),
) -> Result<Outcome> {
    let begun = Instant::now();
    let mut told = false;
    loop {
        let Some(domain) = find(world.virsh().dominfo(uuid))? else { return Ok(Outcome::Gone) };
        if !domain.active() {
            world.start(uuid)?;
            return Ok(Outcome::Done(format!("started domain {name} again")));
        }
        // Another process: somebody has started it.
        if asked.is_none() || domain.id != asked {
            return Ok(Outcome::Gone);
        }
        if begun.elapsed() > SHUTDOWN || !world.is_live() {
            return Ok(Outcome::Left {
                what: format!("domain {name} may still obey and shut down"),
                command: format!("virsh start {name}  # once it is off"),
            });
        }
        if !std::mem::replace(&mut told, true) {
            notice(&format!("{name} was asked to shut down: waiting for it, to start it again"));
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

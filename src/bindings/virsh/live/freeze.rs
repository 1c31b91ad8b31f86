//! Filesystems of a guest at rest, never for longer than was said: whatever becomes of this process, another one thaws.

use super::domain;
use crate::bindings::Live;
use crate::bindings::heir::Heir;
use crate::bindings::virsh::api::Read as _;
use crate::bindings::virsh::definition;
use crate::error::{Error, Kind, Result};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Waits for a line. The end of input without one means that zs is dead, and no line in time that it hangs, or its
/// script does: then the guest is thawed. Tried again, for the agent may still be at work on the freeze.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM PIPE
[ "$(timeout "$ZS_LIMIT" head -n 1)" != done ] || exit 0
for n in 1 2 3 4 5 6 7 8 9 10; do
    "$ZS_EXE" --yes -q --connect "$ZS_URI" -e "virsh.domfsthaw(\"$ZS_DOMAIN\")" && exit 0
    sleep 1
done
"#;

/// The processes that wait, by the domains' uuids.
static WAITING: Mutex<Option<HashMap<String, Watchdog>>> = Mutex::new(None);

struct Watchdog(Heir);

impl Watchdog {
    fn start(exe: &Path, uri: &str, uuid: &str, limit: Duration) -> Result<Watchdog> {
        let limit = limit.as_secs().max(1).to_string();
        let env: [(&str, &OsStr); 5] = [
            ("ZS_LIMIT", limit.as_ref()),
            ("ZS_EXE", exe.as_ref()),
            ("ZS_URI", uri.as_ref()),
            ("ZS_DOMAIN", uuid.as_ref()),
            // A guest must thaw whatever the site's rules forbid to scripts.
            ("ZS_CONFIG", "/dev/null".as_ref()),
        ];
        Heir::start("zs-thaw", SCRIPT, &env).map(Watchdog)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // One that is thawing at this very moment takes its time.
        let _ = self.0.dismiss().try_wait();
    }
}

fn watchdogs<T>(f: impl FnOnce(&mut HashMap<String, Watchdog>) -> T) -> T {
    f(WAITING.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// This program, to be started once more; the tests of the library are another one.
fn exe() -> Option<std::path::PathBuf> {
    if cfg!(test) { None } else { std::env::current_exe().ok() }
}

impl Live {
    fn agent(&self, domain: &str, command: &str, time: Duration) -> Result<u64> {
        let command = format!(r#"{{"execute":"{command}"}}"#);
        let said = self.act(|c| domain::qemu_agent_command(c, domain, &command, time))?;
        definition::agent_count(&said).map_err(|e| e.subject(domain))
    }

    pub(super) fn freeze(&self, domain: &str, limit: Duration) -> Result<u64> {
        let info = self.dominfo(domain)?;
        if !info.active() {
            return Err(Error::invalid(format!("is {}", info.state)).subject(&info.name));
        }
        if !self.agent_ping(&info.uuid)? {
            return Err(definition::no_agent(&info.name));
        }
        if let Some(exe) = exe() {
            // It counts from before the freeze, so that this is no longer than was said.
            let dog = Watchdog::start(&exe, &self.uri()?, &info.uuid, limit)?;
            watchdogs(|all| all.insert(info.uuid.clone(), dog));
        }
        self.agent(&info.uuid, "guest-fsfreeze-freeze", limit)
    }

    pub(super) fn thaw(&self, domain: &str) -> Result<u64> {
        let uuid = self.dominfo(domain)?.uuid;
        let thawed = match self.agent(&uuid, "guest-fsfreeze-thaw", Duration::from_secs(20)) {
            // The watchdog, or another one, is at it in this moment.
            Err(e) if e.kind == Kind::Busy => self.agent(&uuid, "guest-fsfreeze-thaw", Duration::from_secs(20))?,
            other => other?,
        };
        drop(watchdogs(|all| all.remove(&uuid)));
        Ok(thawed)
    }
}

//! Waiting for what becomes of a domain.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::virsh::script::{Virsh, reached};
    use crate::error::Error;
    use crate::helpers::script::{duration, pause, seconds};
    use crate::host::values::{Raise, RhaiResultOf, to_value};
    use rhai::Dynamic;
    use std::time::{Duration, Instant};

    /// Waits until a domain is "running" or "shut off", its "agent" answers, or it has an "address".
    ///
    /// In a plan it is looked at once and then taken as met.
    /// # Returns
    /// For "address" its addresses, as of `virsh.domifaddr`: what the agent says, else the leases; without those of the
    /// guest for itself. Else `()`.
    /// # Errors
    /// `timeout`; `not_found`; `invalid` when it is off and an agent or address is waited for, and for another word.
    /// # Example
    /// ```rhai
    /// virsh.wait_for("z-ubuntu20-rbd", "shut off", "10s")
    /// ```
    /// Implements: virDomainGetState, virDomainInterfaceAddresses (virsh domstate, domifaddr)
    #[rhai_fn(name = "wait_for", pure, return_raw)]
    pub fn wait_for(virsh: &mut Virsh, domain: &str, name: &str, timeout: Dynamic) -> RhaiResultOf<Dynamic> {
        const OP: &str = "virsh.wait_for";
        let wait = duration(seconds(&timeout)?, 0.0, 1e9)?;
        let info = virsh.0.virsh().dominfo(domain).raise(OP)?;
        let subject = &info.name;
        let begun = Instant::now();
        loop {
            let mut found = reached(virsh.0.virsh(), &info.uuid, name).map_err(|e| e.subject(subject)).raise(OP)?;
            if virsh.0.gate.planning() {
                // The guests of a model do not boot.
                found.get_or_insert_default();
            }
            if let Some(addresses) = found {
                return if name == "address" { to_value(addresses) } else { Ok(Dynamic::UNIT) };
            }
            if begun.elapsed() >= wait {
                let word = if name == "agent" || name == "address" { "no" } else { "not" };
                let e = Error::timeout(format!("{} {name} after {} s", word, wait.as_secs())).subject(subject);
                return Err(e.hint(format!("virsh console {subject}"))).raise(OP);
            }
            pause(&virsh.0.cancel, Duration::from_millis(500).min(wait)).raise(OP)?;
        }
    }
}

//! Filesystems of a guest at rest while a snapshot is taken.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::virsh::script::Virsh;
    use crate::error::Error;
    use crate::helpers::units::parse_duration;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, options, throw};
    use rhai::{Dynamic, Map};
    use std::time::Duration;

    #[rhai_fn(name = "domfsfreeze", pure, return_raw)]
    pub fn domfsfreeze(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<i64> {
        domfsfreeze_opts(virsh, domain, Map::new())
    }

    /// Brings a guest's filesystems to rest, through its agent, until `virsh.domfsthaw`. Gives their number.
    ///
    /// Nothing keeps the guest frozen: it is thawed when the run fails or is interrupted, by a process of its own when zs
    /// is killed or the time is over, and first of all by `zs recover`.
    /// # Options
    /// - timeout: how long at most, seconds or text, 30 s by default and 60 s at most
    /// # Errors
    /// `not_found`; `invalid` when it does not run; `unsupported` when no agent answers; `failed` with what the agent says.
    /// # Example
    /// ```rhai
    /// try { virsh.domfsfreeze("no-such-domain", #{ timeout: 20 }) } catch (e) { e.kind }
    /// ```
    /// Implements: virDomainQemuAgentCommand (virsh domfsfreeze)
    #[rhai_fn(name = "domfsfreeze", pure, return_raw)]
    pub fn domfsfreeze_opts(virsh: &mut Virsh, domain: &str, options_: Map) -> RhaiResultOf<i64> {
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            timeout: Option<Dynamic>,
        }
        const OP: &str = "virsh.domfsfreeze";
        let o: Options = options(OP, options_)?;
        let limit = match &o.timeout {
            Some(t) => parse_duration(&t.to_string()).raise(OP)?,
            None => Duration::from_secs(30),
        };
        if limit.is_zero() || limit > Duration::from_secs(60) {
            return Err(throw(Error::invalid("a guest is frozen for 1 to 60 seconds").op(OP).subject(limit.as_secs())));
        }
        let info = virsh.0.virsh().dominfo(domain).raise(OP)?;
        let undo = Undo::Thaw { name: info.name.clone(), uuid: info.uuid.clone(), id: info.id };
        let op = Op::change(OP, &info.name).with("timeout", limit.as_secs());
        let frozen = virsh.0.change(op, Undo::Nothing, |w, step| {
            Ok((step.effect(undo.clone(), || w.domfsfreeze(&info.uuid, limit))?, undo))
        });
        Ok(i64::try_from(frozen.raise(OP)?).unwrap_or(i64::MAX))
    }

    /// Lets a guest's filesystems go on. Gives the number of those that were at rest: 0 when none was any more.
    ///
    /// # Errors
    /// `not_found`; `invalid` when it does not run; `unreachable` when the agent does not answer.
    /// # Example
    /// ```rhai
    /// try { virsh.domfsthaw("no-such-domain") } catch (e) { e.kind }
    /// ```
    /// Implements: virDomainQemuAgentCommand (virsh domfsthaw)
    #[rhai_fn(name = "domfsthaw", pure, return_raw)]
    pub fn domfsthaw(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<i64> {
        const OP: &str = "virsh.domfsthaw";
        let info = virsh.0.virsh().dominfo(domain).raise(OP)?;
        let op = Op::change(OP, &info.name);
        let thawed = virsh.0.change_plain(op, Undo::Nothing, |w, _| w.domfsthaw(&info.uuid)).raise(OP)?;
        virsh.0.gate.settle(|undo| matches!(undo, Undo::Thaw { uuid, .. } if *uuid == info.uuid));
        Ok(i64::try_from(thawed).unwrap_or(i64::MAX))
    }
}

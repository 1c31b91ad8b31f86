//! A domain's console, for a person.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::virsh::script::{Virsh, change};
    use crate::error::Error;
    use crate::helpers::terminal;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, options};
    use rhai::Map;

    #[rhai_fn(name = "console", pure, return_raw)]
    pub fn console(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<()> {
        console_opts(virsh, domain, Map::new())
    }

    /// Joins the serial console of a running domain and this terminal, until Ctrl-]. For the prompt, and `zs -e` on a terminal.
    ///
    /// What is typed there is the guest's; nothing of it is taken back.
    /// # Options
    /// - force: true takes the console from whoever has it
    /// # Errors
    /// `invalid` when it does not run; `busy` when somebody has the console; `unsupported` without a terminal, or a console; `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.start("z-ubuntu20-rbd");
    /// virsh.console("z-ubuntu20-rbd")
    /// ```
    /// Implements: virDomainOpenConsole (virsh console)
    #[rhai_fn(name = "console", pure, return_raw)]
    pub fn console_opts(virsh: &mut Virsh, domain: &str, options_: Map) -> RhaiResultOf<()> {
        const OP: &str = "virsh.console";
        #[derive(Default, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            force: bool,
        }
        let o: Options = options(OP, options_)?;
        let info = virsh.0.virsh().dominfo(domain).raise(OP)?;
        if !info.active() {
            let e = Error::invalid(format!("is {}: it has no console now", info.state)).subject(&info.name);
            return Err(e.hint(format!("virsh.start(\"{}\")", info.name))).raise(OP);
        }
        if !virsh.0.gate.planning() && !terminal::is_there() {
            let e = Error::unsupported("a console needs a terminal on both sides").subject(&info.name);
            return Err(e.hint("at the prompt: zs; what it said: the domain's <log file>")).raise(OP);
        }
        change(&virsh.0, Op::change(OP, &info.name), Undo::Nothing, |w| w.console(&info.uuid, o.force)).raise(OP)
    }
}

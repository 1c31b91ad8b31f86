//! Domains as they run: what they are, starting, stopping, asking their agent.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::virsh::script::{self, Virsh, agent_command, change_domain};
    use crate::error::Error;
    use crate::helpers::units::parse_duration;
    use crate::helpers::xml::Document;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, options, throw, to_array, to_value};
    use rhai::{Array, Dynamic, Map};

    /// Lists all domains, running or not.
    ///
    /// # Returns
    /// An array of maps: `id` (or `()`), `name`, `uuid`, `state`, `persistent`, `autostart`, `managed_save`, `max_memory` and `used_memory` (bytes), `cpus`.
    /// # Errors
    /// `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.list().map(|d| d.name)
    /// ```
    /// Implements: virConnectListAllDomains (virsh list --all)
    #[rhai_fn(name = "list", pure, return_raw)]
    pub fn list(virsh: &mut Virsh) -> RhaiResultOf<Array> {
        to_array(virsh.0.virsh().list().raise("virsh.list")?)
    }

    /// Lists the uuids of all domains, running or not: one question, where `virsh.list` has five for each domain.
    ///
    /// # Returns
    /// An array of texts.
    /// # Errors
    /// `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.list_uuids().len() == virsh.list().len()
    /// ```
    /// Implements: virConnectListAllDomains (virsh list --all --uuid)
    #[rhai_fn(name = "list_uuids", pure, return_raw)]
    pub fn list_uuids(virsh: &mut Virsh) -> RhaiResultOf<Array> {
        to_array(virsh.0.virsh().list_uuids().raise("virsh.list_uuids")?)
    }

    /// Tells whether there is such a domain.
    ///
    /// # Errors
    /// `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.exists("z-ubuntu20-rbd")
    /// ```
    /// Implements: virDomainLookupByName (virsh domid)
    #[rhai_fn(name = "exists", pure, return_raw)]
    pub fn exists(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<bool> {
        virsh.0.virsh().exists(domain).raise("virsh.exists")
    }

    /// Tells about a domain.
    ///
    /// # Returns
    /// A map as of `virsh.list`.
    /// # Errors
    /// `not_found`; `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.dominfo("z-ubuntu20-rbd").state
    /// ```
    /// Implements: virDomainGetInfo (virsh dominfo)
    #[rhai_fn(name = "dominfo", pure, return_raw)]
    pub fn dominfo(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<Dynamic> {
        to_value(virsh.0.virsh().dominfo(domain).raise("virsh.dominfo")?)
    }

    /// Gives a domain's state: "running", "shut off", "paused", …
    ///
    /// # Errors
    /// `not_found`; `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.domstate("z-ubuntu20-rbd")
    /// ```
    /// Implements: virDomainGetState (virsh domstate)
    #[rhai_fn(name = "domstate", pure, return_raw)]
    pub fn domstate(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<String> {
        virsh.0.virsh().domstate(domain).raise("virsh.domstate")
    }

    #[rhai_fn(name = "dumpxml", pure, return_raw)]
    pub fn dumpxml(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<String> {
        virsh.0.virsh().dumpxml(domain, false, false).raise("virsh.dumpxml")
    }

    /// Gives a domain's XML.
    ///
    /// # Options
    /// - inactive: true gives the definition of the next start, not what runs now
    /// - secure: true shows passwords
    /// # Errors
    /// `not_found`; `unreachable`.
    /// # Example
    /// ```rhai
    /// xml.parse(virsh.dumpxml("z-ubuntu20-rbd", #{ inactive: true })).get("name")
    /// ```
    /// Implements: virDomainGetXMLDesc (virsh dumpxml)
    #[rhai_fn(name = "dumpxml", pure, return_raw)]
    pub fn dumpxml_opts(virsh: &mut Virsh, domain: &str, options_: Map) -> RhaiResultOf<String> {
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            inactive: bool,
            secure: bool,
        }
        let o: Options = options("virsh.dumpxml", options_)?;
        virsh.0.virsh().dumpxml(domain, o.inactive, o.secure).raise("virsh.dumpxml")
    }

    #[rhai_fn(name = "domifaddr", pure, return_raw)]
    pub fn domifaddr(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<Array> {
        domifaddr_source(virsh, domain, "lease")
    }

    /// Lists the addresses of a running domain. The source is "lease" (the default), "agent" or "arp".
    ///
    /// # Returns
    /// An array of maps: `name`, `mac`, `protocol`, `address`, `prefix`.
    /// # Errors
    /// `not_found`; `invalid` for another source; `failed` when the agent does not answer.
    /// # Example
    /// ```rhai
    /// try { virsh.domifaddr("z-ubuntu20-rbd", "agent") } catch (e) { e.kind }
    /// ```
    /// Implements: virDomainInterfaceAddresses (virsh domifaddr)
    #[rhai_fn(name = "domifaddr", pure, return_raw)]
    pub fn domifaddr_source(virsh: &mut Virsh, domain: &str, name: &str) -> RhaiResultOf<Array> {
        const OP: &str = "virsh.domifaddr";
        if !["lease", "agent", "arp"].contains(&name) {
            return Err(throw(
                Error::invalid("is no source of addresses").op(OP).subject(name).hint("lease, agent, arp"),
            ));
        }
        to_array(virsh.0.virsh().domifaddr(domain, name).raise(OP)?)
    }

    /// Lists the disks of a domain's definition.
    ///
    /// # Returns
    /// An array of maps: `target`, `source` (a path or `pool/image`), `type`, `device`.
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.domblklist("z-ubuntu20-rbd").map(|d| d.source)
    /// ```
    /// Implements: virDomainGetXMLDesc (virsh domblklist --details --inactive)
    #[rhai_fn(name = "domblklist", pure, return_raw)]
    pub fn domblklist(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<Array> {
        const OP: &str = "virsh.domblklist";
        let d = Document::parse(&virsh.0.virsh().dumpxml(domain, true, false).raise(OP)?).raise(OP)?;
        let count = d.get_all("devices/disk").raise(OP)?.len();
        let mut all = Array::new();
        for i in 1..=count {
            let get = |path: &str| d.get(&format!("devices/disk[{i}]/{path}")).ok().flatten();
            let source = ["source/@file", "source/@dev", "source/@name", "source/@volume"].iter().find_map(|p| get(p));
            let text = |v: Option<String>| v.map_or(Dynamic::UNIT, Into::into);
            let map = Map::from([
                ("target".into(), text(get("target/@dev"))),
                ("source".into(), text(source)),
                ("type".into(), text(get("@type"))),
                ("device".into(), text(get("@device"))),
            ]);
            all.push(map.into());
        }
        Ok(all)
    }

    /// Starts a domain.
    ///
    /// # Errors
    /// `busy` when it runs already; `not_found`; `failed` with what qemu said.
    /// # Example
    /// ```rhai
    /// virsh.define("<domain type='qemu'><name>d3</name><memory>65536</memory><os><type>hvm</type></os></domain>");
    /// virsh.start("d3")
    /// ```
    /// Implements: virDomainCreate (virsh start)
    #[rhai_fn(name = "start", pure, return_raw)]
    pub fn start(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.start";
        let info = virsh.0.virsh().dominfo(domain).raise(OP)?;
        script::start(&virsh.0, Op::change(OP, &info.name), &info).raise(OP)
    }

    /// Asks a guest to shut down; returns at once.
    ///
    /// # Errors
    /// `not_found`; `invalid` when it does not run.
    /// # Example
    /// ```rhai
    /// virsh.define("<domain type='qemu'><name>d4</name><memory>65536</memory><os><type>hvm</type></os></domain>");
    /// virsh.start("d4");
    /// virsh.shutdown("d4")
    /// ```
    /// Implements: virDomainShutdown (virsh shutdown)
    #[rhai_fn(name = "shutdown", pure, return_raw)]
    pub fn shutdown(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.shutdown";
        let info = virsh.0.virsh().dominfo(domain).raise(OP)?;
        let undo = Undo::Start { name: info.name.clone(), uuid: info.uuid.clone(), asked: info.id };
        script::stop(&virsh.0, Op::change(OP, &info.name), &info, undo, |w| w.shutdown(&info.uuid)).raise(OP)
    }

    /// Pulls a domain's plug.
    ///
    /// # Errors
    /// `not_found`; `invalid` when it does not run.
    /// # Example
    /// ```rhai
    /// virsh.define("<domain type='qemu'><name>d5</name><memory>65536</memory><os><type>hvm</type></os></domain>");
    /// virsh.start("d5");
    /// virsh.destroy("d5")
    /// ```
    /// Implements: virDomainDestroy (virsh destroy)
    #[rhai_fn(name = "destroy", pure, return_raw)]
    pub fn destroy(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.destroy";
        let info = virsh.0.virsh().dominfo(domain).raise(OP)?;
        let undo = Undo::Start { name: info.name.clone(), uuid: info.uuid.clone(), asked: None };
        script::stop(&virsh.0, Op::destroy(OP, &info.name), &info, undo, |w| w.destroy(&info.uuid)).raise(OP)
    }

    /// Asks a guest to boot anew; returns at once.
    ///
    /// # Errors
    /// `not_found`; `invalid` when it does not run.
    /// # Example
    /// ```rhai
    /// virsh.define("<domain type='qemu'><name>d6</name><memory>65536</memory><os><type>hvm</type></os></domain>");
    /// virsh.start("d6");
    /// virsh.reboot("d6")
    /// ```
    /// Implements: virDomainReboot (virsh reboot)
    #[rhai_fn(name = "reboot", pure, return_raw)]
    pub fn reboot(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<()> {
        change_domain(&virsh.0, "virsh.reboot", domain, |op, _| (op, Undo::Nothing), |w, d| w.reboot(&d.uuid))
    }

    /// Halts a domain's processors.
    ///
    /// # Errors
    /// `not_found`; `invalid` when it does not run.
    /// # Example
    /// ```rhai
    /// virsh.define("<domain type='qemu'><name>d7</name><memory>65536</memory><os><type>hvm</type></os></domain>");
    /// virsh.start("d7");
    /// virsh.suspend("d7")
    /// ```
    /// Implements: virDomainSuspend (virsh suspend)
    #[rhai_fn(name = "suspend", pure, return_raw)]
    pub fn suspend(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<()> {
        change_domain(
            &virsh.0,
            "virsh.suspend",
            domain,
            |op, d| (op, Undo::Impossible { command: format!("virsh resume {}", d.name) }),
            |w, d| w.suspend(&d.uuid),
        )
    }

    /// Lets a suspended domain run on.
    ///
    /// # Errors
    /// `not_found`; `invalid` when it is not suspended.
    /// # Example
    /// ```rhai
    /// virsh.define("<domain type='qemu'><name>d8</name><memory>65536</memory><os><type>hvm</type></os></domain>");
    /// virsh.start("d8");
    /// virsh.suspend("d8");
    /// virsh.resume("d8")
    /// ```
    /// Implements: virDomainResume (virsh resume)
    #[rhai_fn(name = "resume", pure, return_raw)]
    pub fn resume(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<()> {
        change_domain(
            &virsh.0,
            "virsh.resume",
            domain,
            |op, d| (op, Undo::Impossible { command: format!("virsh suspend {}", d.name) }),
            |w, d| w.resume(&d.uuid),
        )
    }

    #[rhai_fn(name = "qemu_agent_command", pure, return_raw)]
    pub fn qemu_agent_command(virsh: &mut Virsh, domain: &str, command: &str) -> RhaiResultOf<String> {
        qemu_agent_command_timeout(virsh, domain, command, 5.into())
    }

    /// Gives a command to the agent inside a guest: JSON in, JSON out.
    ///
    /// # Errors
    /// `not_found`; `timeout`; `failed` when the agent is not connected.
    /// # Example
    /// ```rhai
    /// try { virsh.qemu_agent_command("no-such-domain", `{"execute":"guest-ping"}`, 5) } catch (e) { e.kind }
    /// ```
    /// Implements: virDomainQemuAgentCommand (virsh qemu-agent-command)
    #[rhai_fn(name = "qemu_agent_command", pure, return_raw)]
    pub fn qemu_agent_command_timeout(
        virsh: &mut Virsh,
        domain: &str,
        command: &str,
        timeout: Dynamic,
    ) -> RhaiResultOf<String> {
        const OP: &str = "virsh.qemu_agent_command";
        let time = parse_duration(&timeout.to_string()).raise(OP)?;
        let name = virsh.0.virsh().dominfo(domain).raise(OP)?.name;
        let (shown, arguments) = agent_command(command);
        let arguments = (!arguments.is_empty()).then_some(arguments);
        let op = Op::change(OP, &name).with("command", shown).with("arguments", arguments);
        let undo = Undo::Impossible { command: format!("(what the agent of {name} did is not known to zs)") };
        virsh.0.change_plain(op, undo, |w, _| w.qemu_agent_command(domain, command, time)).raise(OP)
    }

    /// Tells whether the agent inside a guest answers.
    ///
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// try { virsh.agent_ping("no-such-domain") } catch (e) { e.kind }
    /// ```
    /// Implements: virDomainQemuAgentCommand (virsh qemu-agent-command guest-ping)
    #[rhai_fn(name = "agent_ping", pure, return_raw)]
    pub fn agent_ping(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<bool> {
        virsh.0.virsh().agent_ping(domain).raise("virsh.agent_ping")
    }
}

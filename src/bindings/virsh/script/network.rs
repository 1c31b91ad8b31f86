//! Networks.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

use super::Virsh;
use crate::bindings::World;
use crate::bindings::virsh::api::{NetCommand, Network};
use crate::bindings::virsh::definition::Doc;
use crate::bindings::virsh::sections;
use crate::error::{Error, Result};
use crate::host::op::Op;
use crate::host::undo::{NetworkBack, Undo};

fn undo(info: &Network, back: NetworkBack) -> Undo {
    Undo::Network { name: info.name.clone(), uuid: info.uuid.clone(), back }
}

/// Starts or stops a network.
fn switch(virsh: &Virsh, op: Op, info: &Network, on: bool, perform: fn(&dyn World, &str) -> Result<()>) -> Result<()> {
    let undo = undo(info, if on { NetworkBack::Stop } else { NetworkBack::Start });
    virsh.0.change(op, Undo::Nothing, |w, step| {
        // Before the undo holds: after a crash, somebody else's start would be taken back.
        if w.virsh().net_info(&info.uuid)?.active == on {
            let e = if on { Error::busy("is active already") } else { Error::invalid("is not active") };
            return Err(e.hint("virsh net-list --all"));
        }
        Ok((step.effect(undo.clone(), || perform(w, &info.uuid))?, undo))
    })
}

fn command(word: &str) -> Result<NetCommand> {
    match word {
        "add" => Ok(NetCommand::Add),
        "delete" => Ok(NetCommand::Delete),
        "modify" => Ok(NetCommand::Modify),
        other => {
            let e = Error::invalid(format!("`{other}` is no command of net-update"));
            Err(e.hint("\"add\", \"delete\" or \"modify\""))
        }
    }
}

/// What takes a change of a part back. What is deleted or modified was something, of which the entry given may say only
/// a part.
fn inverse(now: &str, command: NetCommand, section: &str, xml: &str) -> Result<NetworkBack> {
    let known = sections::find(section)?;
    let entry = Doc::parse_root(xml, known.element)?;
    let doc = Doc::parse(now)?;
    let was = known.entry(&doc, &entry, command == NetCommand::Modify).map(|n| doc.print_node(n)).transpose()?;
    let (command, xml) = match (command, was) {
        (NetCommand::Add, _) => (NetCommand::Delete, xml.to_string()),
        (NetCommand::Delete, Some(was)) => (NetCommand::Add, was),
        (NetCommand::Modify, Some(was)) => (NetCommand::Modify, was),
        (_, None) => {
            let e = Error::not_found(format!("has no such {} in its section {section}", known.element));
            return Err(e.hint("virsh net-dumpxml"));
        }
    };
    Ok(NetworkBack::Update { command, section: section.into(), xml })
}

#[rhai::plugin::export_module]
pub mod functions {
    use super::{command as command_of, inverse, switch, undo};
    use crate::bindings::virsh::api::NetCommand;
    use crate::bindings::virsh::script::{Virsh, change, prepare_definition};
    use crate::error::{Error, Kind};
    use crate::host::op::Op;
    use crate::host::undo::{NetworkBack, Undo};
    use crate::host::values::{Raise, RhaiResultOf, options, throw, to_array, to_value};
    use rhai::{Array, Dynamic, Map};

    /// Lists the networks, active or not.
    ///
    /// # Returns
    /// An array of maps: `name`, `uuid`, `active`, `persistent`, `autostart`, `bridge` (or `()`).
    /// # Errors
    /// `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.net_list().map(|n| n.name)
    /// ```
    /// Implements: virConnectListAllNetworks (virsh net-list --all)
    #[rhai_fn(name = "net_list", pure, return_raw)]
    pub fn net_list(virsh: &mut Virsh) -> RhaiResultOf<Array> {
        to_array(virsh.0.virsh().net_list().raise("virsh.net_list")?)
    }

    /// Tells about a network.
    ///
    /// # Returns
    /// A map as of `virsh.net_list`.
    /// # Errors
    /// `not_found`; `unreachable`.
    /// # Example
    /// ```rhai
    /// try { virsh.net_info("no-such-network") } catch (e) { e.kind }
    /// ```
    /// Implements: virNetworkIsActive (virsh net-info)
    #[rhai_fn(name = "net_info", pure, return_raw)]
    pub fn net_info(virsh: &mut Virsh, network: &str) -> RhaiResultOf<Dynamic> {
        to_value(virsh.0.virsh().net_info(network).raise("virsh.net_info")?)
    }

    #[rhai_fn(name = "net_dumpxml", pure, return_raw)]
    pub fn net_dumpxml(virsh: &mut Virsh, network: &str) -> RhaiResultOf<String> {
        virsh.0.virsh().net_dumpxml(network, false).raise("virsh.net_dumpxml")
    }

    /// Gives a network's XML.
    ///
    /// # Options
    /// - inactive: true gives the definition of the next start, not what is active now
    /// # Errors
    /// `not_found`; `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.net_define("<network><name>n1</name><forward mode='bridge'/><bridge name='br0'/></network>");
    /// virsh.net_dumpxml("n1").contains("br0")
    /// ```
    /// Implements: virNetworkGetXMLDesc (virsh net-dumpxml)
    #[rhai_fn(name = "net_dumpxml", pure, return_raw)]
    pub fn net_dumpxml_opts(virsh: &mut Virsh, network: &str, options_: Map) -> RhaiResultOf<String> {
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            inactive: bool,
        }
        let o: Options = options("virsh.net_dumpxml", options_)?;
        virsh.0.virsh().net_dumpxml(network, o.inactive).raise("virsh.net_dumpxml")
    }

    /// Lists the addresses that a network's DHCP server has lent.
    ///
    /// # Returns
    /// An array of maps: `expiry` (seconds since 1970), `mac`, `protocol`, `address`, `prefix`, `hostname`, `client_id`; what the lease does not say is `()`.
    /// # Errors
    /// `not_found`; `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.net_define("<network><name>n2</name><forward mode='bridge'/><bridge name='br0'/></network>");
    /// virsh.net_dhcp_leases("n2").map(|l| l.address)
    /// ```
    /// Implements: virNetworkGetDHCPLeases (virsh net-dhcp-leases)
    #[rhai_fn(name = "net_dhcp_leases", pure, return_raw)]
    pub fn net_dhcp_leases(virsh: &mut Virsh, network: &str) -> RhaiResultOf<Array> {
        to_array(virsh.0.virsh().net_dhcp_leases(network).raise("virsh.net_dhcp_leases")?)
    }

    /// Defines a network from XML, or gives an existing one of the same uuid a new definition.
    ///
    /// # Returns
    /// The network, as `virsh.net_info`.
    /// # Errors
    /// `exists` when another network has the name; `invalid`.
    /// # Example
    /// ```rhai
    /// virsh.net_define("<network><name>n3</name><forward mode='bridge'/><bridge name='br0'/></network>").name
    /// ```
    /// Implements: virNetworkDefineXML (virsh net-define)
    #[rhai_fn(name = "net_define", pure, return_raw)]
    pub fn net_define(virsh: &mut Virsh, xml: &str) -> RhaiResultOf<Dynamic> {
        const OP: &str = "virsh.net_define";
        let (name, uuid, text) = prepare_definition(xml).raise(OP)?;
        let back = match virsh.0.virsh().net_dumpxml(&uuid, true) {
            Ok(xml) => NetworkBack::Redefine { before: virsh.0.gate.keep("network.xml", xml.as_bytes()).raise(OP)? },
            Err(e) if e.kind == Kind::NotFound => NetworkBack::Undefine,
            Err(e) => return Err(e).raise(OP),
        };
        let undo = Undo::Network { name: name.clone(), uuid: uuid.clone(), back };
        let made = change(&virsh.0, Op::change(OP, &name).with("uuid", &uuid), undo, |w| {
            if let Ok(other) = w.virsh().net_info(&name)
                && other.uuid != uuid
            {
                return Err(Error::exists(format!("there is a network of this name, with uuid {}", other.uuid)));
            }
            w.net_define(&text)
        });
        to_value(made.raise(OP)?)
    }

    /// Removes the definition of a network that is not active.
    ///
    /// # Errors
    /// `busy` when it is active; `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.net_define("<network><name>n4</name><forward mode='bridge'/><bridge name='br0'/></network>");
    /// virsh.net_undefine("n4")
    /// ```
    /// Implements: virNetworkUndefine (virsh net-undefine)
    #[rhai_fn(name = "net_undefine", pure, return_raw)]
    pub fn net_undefine(virsh: &mut Virsh, network: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.net_undefine";
        let info = virsh.0.virsh().net_info(network).raise(OP)?;
        if info.active {
            let e = Error::busy("is active: undefining would leave a transient network");
            return Err(throw(e.op(OP).subject(&info.name).hint(format!("virsh net-destroy {}", info.name))));
        }
        let text = virsh.0.virsh().net_dumpxml(&info.uuid, true).raise(OP)?;
        let before = virsh.0.gate.keep("network.xml", text.as_bytes()).raise(OP)?;
        let undo = undo(&info, NetworkBack::DefineAgain { before, autostart: info.autostart });
        let undone = virsh.0.change(Op::destroy(OP, &info.name), Undo::Nothing, |w, step| {
            // Another run may be faster: its network is not to come back then.
            w.virsh().net_info(&info.uuid)?;
            Ok((step.effect(undo.clone(), || w.net_undefine(&info.uuid))?, undo))
        });
        undone.raise(OP)
    }

    /// Starts a network.
    ///
    /// # Errors
    /// `busy` when it is active; `not_found`; `failed` with what libvirt's helpers said.
    /// # Example
    /// ```rhai
    /// virsh.net_define("<network><name>n5</name><forward mode='bridge'/><bridge name='br0'/></network>");
    /// virsh.net_start("n5")
    /// ```
    /// Implements: virNetworkCreate (virsh net-start)
    #[rhai_fn(name = "net_start", pure, return_raw)]
    pub fn net_start(virsh: &mut Virsh, network: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.net_start";
        let info = virsh.0.virsh().net_info(network).raise(OP)?;
        switch(virsh, Op::change(OP, &info.name), &info, true, |w, uuid| w.net_start(uuid)).raise(OP)
    }

    /// Stops a network: the guests on it lose their connection, and do not get it back when it is started again.
    ///
    /// # Errors
    /// `invalid` when it is not active; `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.net_define("<network><name>n6</name><forward mode='bridge'/><bridge name='br0'/></network>");
    /// virsh.net_start("n6");
    /// virsh.net_destroy("n6")
    /// ```
    /// Implements: virNetworkDestroy (virsh net-destroy)
    #[rhai_fn(name = "net_destroy", pure, return_raw)]
    pub fn net_destroy(virsh: &mut Virsh, network: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.net_destroy";
        let info = virsh.0.virsh().net_info(network).raise(OP)?;
        switch(virsh, Op::destroy(OP, &info.name), &info, false, |w, uuid| w.net_destroy(uuid)).raise(OP)
    }

    #[rhai_fn(name = "net_autostart", pure, return_raw)]
    pub fn net_autostart_on(virsh: &mut Virsh, network: &str) -> RhaiResultOf<()> {
        net_autostart(virsh, network, true)
    }

    /// Switches the start of a network with the host on, or off when `on` is false.
    ///
    /// # Errors
    /// `not_found`; `invalid` for one that is transient.
    /// # Example
    /// ```rhai
    /// virsh.net_define("<network><name>n7</name><forward mode='bridge'/><bridge name='br0'/></network>");
    /// virsh.net_autostart("n7");
    /// virsh.net_info("n7").autostart == true
    /// ```
    /// Implements: virNetworkSetAutostart (virsh net-autostart)
    #[rhai_fn(name = "net_autostart", pure, return_raw)]
    pub fn net_autostart(virsh: &mut Virsh, network: &str, on: bool) -> RhaiResultOf<()> {
        const OP: &str = "virsh.net_autostart";
        let info = virsh.0.virsh().net_info(network).raise(OP)?;
        let undo = undo(&info, NetworkBack::Autostart { was: info.autostart });
        change(&virsh.0, Op::change(OP, &info.name).with("on", on), undo, |w| w.net_autostart(&info.uuid, on)).raise(OP)
    }

    /// Changes one part of a network, in its definition and, when it is active, at once.
    ///
    /// The command is "add", "delete" or "modify", the section one of virsh's: ip-dhcp-host, ip-dhcp-range, forward-interface, portgroup, dns-host, dns-txt, dns-srv.
    /// # Errors
    /// `exists`; `not_found` for the network or the entry; `unsupported` for what can only be added and deleted; `invalid`.
    /// # Example
    /// ```rhai
    /// virsh.net_define("<network><name>n8</name><ip address='10.0.0.1' netmask='255.255.255.0'><dhcp/></ip></network>");
    /// virsh.net_update("n8", "add", "ip-dhcp-host", "<host mac='52:54:00:00:00:01' ip='10.0.0.9'/>");
    /// virsh.net_dumpxml("n8").contains("10.0.0.9") == true
    /// ```
    /// Implements: virNetworkUpdate (virsh net-update --live --config)
    #[rhai_fn(name = "net_update", pure, return_raw)]
    pub fn net_update(virsh: &mut Virsh, network: &str, command: &str, section: &str, xml: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.net_update";
        let info = virsh.0.virsh().net_info(network).raise(OP)?;
        let word = command_of(command).map_err(|e| e.subject(&info.name)).raise(OP)?;
        let now = virsh.0.virsh().net_dumpxml(&info.uuid, info.persistent).raise(OP)?;
        let undo = undo(&info, inverse(&now, word, section, xml).map_err(|e| e.subject(&info.name)).raise(OP)?);
        let op = if word == NetCommand::Add { Op::change(OP, &info.name) } else { Op::destroy(OP, &info.name) };
        let op = op.with("command", command).with("section", section).with("entry", xml);
        change(&virsh.0, op, undo, |w| w.net_update(&info.uuid, word, section, xml)).raise(OP)
    }
}

//! Taking back changes of networks.

use super::{Before, Outcome, find, gone_is_fine, read_before};
use crate::bindings::World;
use crate::bindings::virsh::api::NetCommand;
use crate::error::{Kind, Result};
use serde::{Deserialize, Serialize};

/// What gives a network its former state back. `before` is the file beside the journal that holds the former XML.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "back", rename_all = "snake_case")]
pub enum NetworkBack {
    Undefine,
    Redefine { before: String },
    DefineAgain { before: String, autostart: bool },
    Stop,
    Start,
    Autostart { was: bool },
    Update { command: NetCommand, section: String, xml: String },
}

pub fn command(name: &str, back: &NetworkBack) -> String {
    match back {
        NetworkBack::Undefine => format!("virsh net-undefine {name}"),
        NetworkBack::Redefine { before } | NetworkBack::DefineAgain { before, .. } => {
            format!("virsh net-define {before}  # the former definition of {name}")
        }
        NetworkBack::Stop => format!("virsh net-destroy {name}"),
        NetworkBack::Start => format!("virsh net-start {name}"),
        NetworkBack::Autostart { was: true } => format!("virsh net-autostart {name}"),
        NetworkBack::Autostart { was: false } => format!("virsh net-autostart --disable {name}"),
        NetworkBack::Update { command, section, xml } => {
            let command = format!("{command:?}").to_lowercase();
            format!("virsh net-update {name} {command} {section} \"{}\" --live --config", xml.replace('"', "'"))
        }
    }
}

pub fn take_back(world: &dyn World, name: &str, uuid: &str, back: &NetworkBack, before: &Before) -> Result<Outcome> {
    let there = find(world.virsh().net_info(uuid))?;
    if let NetworkBack::DefineAgain { before: file, autostart } = back {
        if there.is_some() {
            return Ok(Outcome::Gone);
        }
        world.net_define(&read_before(before, file)?)?;
        if *autostart {
            world.net_autostart(uuid, true)?;
        }
        return Ok(Outcome::Done(format!("defined network {name} again")));
    }
    let Some(now) = there else { return Ok(Outcome::Gone) };
    match back {
        NetworkBack::Undefine if now.active => Ok(Outcome::Left {
            what: format!("network {name} was started since"),
            command: format!("virsh net-destroy {name}; virsh net-undefine {name}"),
        }),
        NetworkBack::Undefine => gone_is_fine(world.net_undefine(uuid), format!("undefined network {name}")),
        NetworkBack::Redefine { before: file } => {
            world.net_define(&read_before(before, file)?)?;
            Ok(Outcome::Done(format!("gave network {name} its former definition back")))
        }
        NetworkBack::DefineAgain { .. } => Ok(Outcome::Gone),
        NetworkBack::Stop if !now.active => Ok(Outcome::Gone),
        NetworkBack::Stop => gone_is_fine(world.net_destroy(uuid), format!("stopped network {name}")),
        NetworkBack::Start if now.active => Ok(Outcome::Gone),
        NetworkBack::Start => gone_is_fine(world.net_start(uuid), format!("started network {name} again")),
        NetworkBack::Autostart { was } => gone_is_fine(
            world.net_autostart(uuid, *was),
            format!("switched autostart of network {name} back {}", if *was { "on" } else { "off" }),
        ),
        NetworkBack::Update { command, section, xml } => {
            let done = world.net_update(uuid, *command, section, xml);
            // What is there has not been deleted, or somebody has put it back.
            if done.as_ref().is_err_and(|e| e.kind == Kind::Exists) {
                return Ok(Outcome::Gone);
            }
            gone_is_fine(done, format!("put {section} of network {name} back"))
        }
    }
}

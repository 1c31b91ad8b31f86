//! Asking before something goes away: with what hangs on it.

use super::{Gate, lock};
use crate::bindings::World;
use crate::bindings::spec::{ImageSpec, SourceSpec};
use crate::error::{Error, Result};
use crate::helpers::units::human_size;
use crate::helpers::xml::Document;
use crate::host::op::{Effect, ON_HOST, Op};
use crate::host::undo::Undo;

/// How many names are told of a kind.
const NAMES: usize = 5;

impl Gate {
    pub(super) fn ask(&self, op: &Op, undo: &Undo) -> Result<()> {
        let inside = matches!(undo, Undo::Within { .. });
        if op.effect != Effect::Destroy || self.yes || self.planning() || inside || self.is_confirmed() {
            return Ok(());
        }
        // One answer is for one operation; `confirm` in a script, which shows the whole list, is for a transaction.
        let _turn = lock(&self.question);
        if self.is_confirmed() || self.events.ask(&self.question_of(op), &self.cancel)? {
            Ok(())
        } else {
            Err(Error::denied("you said no").op(&op.op).subject(&op.subject))
        }
    }

    /// The object by its name, and what somebody would miss with it.
    fn question_of(&self, op: &Op) -> String {
        if !self.events.can_ask() {
            return format!("{} {}?", op.op, op.subject);
        }
        let hanging = match op.detail.get(ON_HOST).and_then(|uri| uri.as_str()) {
            Some(uri) => self.world.at(uri).map(|w| hanging_on(op, &*w)).unwrap_or_default(),
            None => hanging_on(op, &*self.world),
        };
        match hanging.is_empty() {
            true => format!("{} {}?", op.op, op.subject),
            false => format!("{} {} ({})?", op.op, op.subject, hanging.join("; ")),
        }
    }

    /// Asks a person on the terminal. Without one, and without `--yes`, the answer is an error of kind `denied`.
    pub fn confirm(&self, question: &str) -> Result<bool> {
        if self.yes || self.planning() {
            self.events.log("info", &format!("{question} yes"));
            self.set_confirmed();
            return Ok(true);
        }
        let _turn = lock(&self.question);
        let answer = self.events.ask(question, &self.cancel)?;
        if answer {
            self.set_confirmed();
        }
        Ok(answer)
    }
}

/// What cannot be found out is left out: the question is asked all the same.
pub(super) fn hanging_on(op: &Op, world: &dyn World) -> Vec<String> {
    let name = op.op.as_str();
    if name == "ceph.pool.delete" {
        let images = world.rbd().ls(&op.subject, "").unwrap_or_default();
        return listed("images", images.into_iter().map(|i| i.image).collect()).into_iter().collect();
    }
    if name.starts_with("rbd.") {
        return op.subject.parse::<SourceSpec>().map(|s| on_image(&s, world)).unwrap_or_default();
    }
    let is_of_domain =
        ["virsh.destroy", "virsh.undefine", "virsh.blockresize"].contains(&name) || name.starts_with("virsh.snapshot_");
    if is_of_domain {
        return on_domain(op.subject.split('@').next().unwrap_or_default(), world);
    }
    Vec::new()
}

fn listed(what: &str, names: Vec<String>) -> Option<String> {
    match names.len() {
        0 => None,
        n if n > NAMES => Some(format!("{n} {what}: {}, …", names[..NAMES].join(", "))),
        _ => Some(format!("{what}: {}", names.join(", "))),
    }
}

fn on_image(of: &SourceSpec, world: &dyn World) -> Vec<String> {
    let mut all = Vec::new();
    let Ok(info) = world.rbd().info(&of.image) else { return all };
    all.push(human_size(info.size));
    let clones = world.rbd().children(of).unwrap_or_default();
    all.extend(listed("clones", clones.iter().map(|c| format!("{}/{}", c.pool, c.image)).collect()));
    if of.snap.is_some() {
        return all;
    }
    let snaps = world.rbd().snap_ls(&of.image, false).unwrap_or_default();
    all.extend(listed("snapshots", snaps.into_iter().map(|s| s.name).collect()));
    let watchers = world.rbd().watchers(&of.image).unwrap_or_default();
    all.extend(listed("open by", watchers.iter().map(|w| format!("client.{} at {}", w.client, w.address)).collect()));
    all.extend(listed("disk of domain", users(&of.image, world)));
    all
}

/// The domains of this hypervisor that name an image.
pub(crate) fn users(image: &ImageSpec, world: &dyn World) -> Vec<String> {
    let name = image.to_string();
    let domains = world.virsh().list().unwrap_or_default();
    let uses = |uuid: &str| world.virsh().dumpxml(uuid, true, false).is_ok_and(|xml| disks(&xml).contains(&name));
    domains.into_iter().filter(|d| uses(&d.uuid)).map(|d| format!("{} ({})", d.name, d.state)).collect()
}

fn disks(xml: &str) -> Vec<String> {
    let Ok(doc) = Document::parse(xml) else { return Vec::new() };
    let paths = ["devices/disk/source/@name", "devices/disk/source/@file", "devices/disk/source/@dev"];
    paths.iter().flat_map(|path| doc.get_all(path).unwrap_or_default()).collect()
}

fn on_domain(name: &str, world: &dyn World) -> Vec<String> {
    let Ok(domain) = world.virsh().dominfo(name) else { return Vec::new() };
    let mut all = vec![domain.state.clone()];
    if let Ok(xml) = world.virsh().dumpxml(&domain.uuid, true, false) {
        all.extend(listed("disks", disks(&xml)));
    }
    let snapshots = world.virsh().snapshot_list(&domain.uuid).unwrap_or_default();
    all.extend(listed("snapshots", snapshots.into_iter().map(|s| s.name).collect()));
    if domain.managed_save {
        all.push("has a managed save".into());
    }
    all
}

//! What a person would type to take a step back.

use super::{Undo, network};

impl Undo {
    /// What the operation made, by its identity.
    pub fn made(&self) -> Option<String> {
        match self.plain() {
            Undo::RemoveImage { id: Some(id), .. } => Some(format!("image id {id}")),
            Undo::RemoveSnap { snap_id: Some(id), .. } => Some(format!("snapshot id {id}")),
            Undo::Undefine { uuid, .. } => Some(format!("domain {uuid}")),
            Undo::Stop { id: Some(id), .. } => Some(format!("process {id} of the domain")),
            Undo::Network { uuid, back: network::NetworkBack::Undefine, .. } => Some(format!("network {uuid}")),
            Undo::RestoreTrash { id, .. } => Some(format!("image id {id} in the trash")),
            Undo::RemoveHostFile { id: Some(id), .. } | Undo::RemoveFile { id: Some(id), .. } => {
                Some(format!("{} bytes", id.size))
            }
            _ => None,
        }
    }

    /// What a person would type to do it; `None` where nothing stays.
    pub fn command(&self) -> Option<String> {
        Some(match self {
            Undo::Nothing | Undo::Within { .. } | Undo::Keep { .. } => return None,
            Undo::Impossible { command } => command.clone(),
            Undo::RemoveImage { image, .. } => format!("rbd rm {image}"),
            Undo::RemoveSnap { snap, .. } => format!("rbd snap rm {snap}"),
            Undo::PutBack { snap, .. } => format!("rbd snap rollback {snap}"),
            Undo::RollBack { image, base, .. } => format!("rbd snap rollback {image}@{base}"),
            Undo::RenameImage { now, was, .. } => format!("rbd rename {now} {was}"),
            Undo::RenameSnap { now, was, .. } => format!("rbd snap rename {now} {}", now.image.at(was)),
            Undo::RestoreTrash { image, id } => format!("rbd trash restore --pool {} {id}", image.pool),
            Undo::MoveToTrash { image, .. } => format!("rbd trash mv {image}"),
            Undo::SetMeta { image, key, was: Some(was), .. } => format!("rbd image-meta set {image} {key} '{was}'"),
            Undo::SetMeta { image, key, was: None, .. } => format!("rbd image-meta remove {image} {key}"),
            Undo::Undefine { name, .. } => format!("virsh undefine --keep-nvram {name}"),
            Undo::Redefine { name, before, .. } => format!("virsh define {before}  # the former definition of {name}"),
            Undo::DefineAgain { before, .. } => format!("virsh define {before}"),
            Undo::Stop { name, .. } => format!("virsh destroy {name}"),
            Undo::Start { name, .. } => format!("virsh start {name}"),
            Undo::Thaw { name, .. } => format!("virsh domfsthaw {name}"),
            Undo::Autostart { name, was: true, .. } => format!("virsh autostart {name}"),
            Undo::Autostart { name, was: false, .. } => format!("virsh autostart --disable {name}"),
            Undo::RemoveHostFile { path, .. } => format!("rm {path}"),
            Undo::RestoreHostFile { path, before } => format!("cp {before} {path}"),
            Undo::SetMetadata { name, uri, key, was: Some(was), .. } => {
                format!("virsh metadata {name} {uri} --key {key} --set \"{was}\" --config")
            }
            Undo::SetMetadata { name, uri, was: None, .. } => format!("virsh metadata {name} {uri} --remove --config"),
            Undo::RemoveSnapshot { name, snapshot, .. } => format!("virsh snapshot-delete {name} {snapshot}"),
            Undo::DeleteVolume { storage_pool, volume, .. } => {
                format!("virsh vol-delete --pool {storage_pool} {volume}")
            }
            Undo::OnHost { uri, then, .. } => return then.command().map(|c| there(&c, uri)),
            Undo::Network { name, back, .. } => network::command(name, back),
            Undo::RemoveFile { path, .. } => format!("rm '{}'", path.display()),
            Undo::RestoreFile { path, before, .. } => format!("cp {before} '{}'", path.display()),
            Undo::RenameFile { now, was, .. } => format!("mv '{}' '{}'", now.display(), was.display()),
            Undo::RemoveDir { path, .. } => format!("rmdir '{}'", path.display()),
            Undo::RemoveLines { path, .. } => format!("$EDITOR {path}  # its last lines"),
            Undo::RemoveTempDir { path } => format!("rm -r {path}"),
            Undo::GuestEdits { image, .. } => format!("(files inside {image} were changed)"),
        })
    }
}

/// virsh's command for another hypervisor.
pub fn there(command: &str, uri: &str) -> String {
    command.replace("virsh ", &format!("virsh -c '{uri}' "))
}

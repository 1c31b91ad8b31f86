//! What can be asked of a guest's disk and changed on it. Words are guestfish's.

use crate::bindings::spec::{ImageSpec, Progress, SourceSpec};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// An open guest: valid from `open` to `close` in the world that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GuestId(pub u64);

/// What `stat` says of a path (of the link itself, as lstat).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stat {
    /// `file`, `directory`, `symlink`, `block`, `char`, `fifo`, `socket`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The permission bits alone: 0o644.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Of a symlink.
    pub target: Option<String>,
}

/// `inspect`: what the guest is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// The root filesystem as the appliance names it: `/dev/sda2`.
    pub root: String,
    /// `linux`, `windows`, …
    #[serde(rename = "type")]
    pub os: String,
    /// `debian`, `ubuntu`, `centos`, …
    pub distro: String,
    pub product_name: String,
    pub major_version: i64,
    pub minor_version: i64,
    pub hostname: String,
    pub arch: String,
    /// `deb`, `rpm`, …
    pub package_format: String,
    pub package_management: String,
    /// The filesystem of the root: `ext4`, `xfs`, …
    pub filesystem: String,
    /// Mount point to device.
    pub mountpoints: std::collections::BTreeMap<String, String>,
}

/// A filesystem of a guest, and whether it can become as large as its disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    pub mountpoint: String,
    pub device: String,
    /// `ext4`, `xfs`, …
    pub filesystem: String,
    /// Of its device, in bytes.
    pub size: u64,
    pub disk_size: u64,
    /// The number of the partition that it, or its volume group, lies in.
    pub partition: Option<i64>,
    /// Why it cannot.
    pub obstacle: Option<String>,
}

/// One change inside a guest. An edit keeps mode, owner and labels of a file that it replaces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "snake_case")]
pub enum Edit {
    /// `mode` and `owner` (uid, gid) as given; else those of the replaced file; else 0644 and root.
    Write {
        path: String,
        #[serde(with = "base64_bytes")]
        content: Vec<u8>,
        mode: Option<u32>,
        owner: Option<(u32, u32)>,
    },
    /// `mkdir -p`: directories on the way get 0755; one that is there is left as it is.
    Mkdir {
        path: String,
        mode: u32,
    },
    /// `exists` when anything is there.
    Symlink {
        path: String,
        target: String,
    },
    /// Gone already is no error.
    Remove {
        path: String,
        recursive: bool,
    },
    /// A file, or an empty directory, at `to` is replaced.
    Rename {
        path: String,
        to: String,
    },
    /// `cp -a`: with mode, owner and labels. Onto a directory, it goes into it; `exists` when a directory of its name
    /// is in there.
    Copy {
        path: String,
        to: String,
    },
    Chmod {
        path: String,
        mode: u32,
    },
    Chown {
        path: String,
        uid: u32,
        gid: u32,
    },
}

impl Edit {
    pub fn path(&self) -> &str {
        match self {
            Edit::Write { path, .. }
            | Edit::Mkdir { path, .. }
            | Edit::Symlink { path, .. }
            | Edit::Remove { path, .. }
            | Edit::Rename { path, .. }
            | Edit::Copy { path, .. }
            | Edit::Chmod { path, .. }
            | Edit::Chown { path, .. } => path,
        }
    }
}

mod base64_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    pub fn serialize<S: Serializer>(b: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(b))
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(d)?).map_err(D::Error::custom)
    }
}

/// The questions. Paths are absolute guest paths; symlinks inside the guest are followed, except by `stat`.
pub trait Read: Send + Sync {
    /// Opens a disk for reading and mounts its filesystems; nothing is written, a dirty journal is not replayed.
    fn open_ro(&self, disk: &SourceSpec, p: &Progress) -> Result<GuestId>;
    /// The disk behind a handle.
    fn disk(&self, g: GuestId) -> Result<SourceSpec>;
    /// Unmounts, syncs and closes; an error means that something may not be on the disk. Twice is no error.
    fn close(&self, g: GuestId) -> Result<()>;
    fn inspect(&self, g: GuestId) -> Result<Inspection>;
    /// The whole file, at most 64 MiB. `not_found` when there is none.
    fn read(&self, g: GuestId, path: &str) -> Result<Vec<u8>>;
    /// `None` when there is no such path.
    fn stat(&self, g: GuestId, path: &str) -> Result<Option<Stat>>;
    /// The names in a directory, sorted. `not_found` when there is none.
    fn ls(&self, g: GuestId, dir: &str) -> Result<Vec<String>>;
    /// The filesystem that a path lies on.
    fn growth(&self, g: GuestId, path: &str) -> Result<Growth>;
    /// Copies a file out of the guest to a host file, of mode 0600, that must not exist. A plan writes none.
    fn download(&self, g: GuestId, path: &str, to: &std::path::Path, p: &Progress) -> Result<()>;
}

/// The changes. Handed out by the gate alone.
pub trait Write: Read {
    /// Opens a disk for writing. Refuses an image that anybody else has open.
    fn open_rw(&self, disk: &ImageSpec, p: &Progress) -> Result<GuestId>;
    /// The guest that is open for writing on an image.
    fn open_on(&self, image: &ImageSpec) -> Option<GuestId>;
    /// All that was written is on the disk.
    fn sync(&self, g: GuestId) -> Result<()>;
    /// Does the edits in order; the first failure ends it.
    fn edit(&self, g: GuestId, edits: &[Edit]) -> Result<()>;
    /// Copies a host file into the guest, keeping mode and owner of a file that it replaces.
    fn upload(&self, g: GuestId, from: &std::path::Path, path: &str, p: &Progress) -> Result<()>;
    /// Runs a shell command in the guest's root. `unsupported` without an appliance.
    fn sh(&self, g: GuestId, command: &str) -> Result<String>;
    /// Makes the filesystem that a path lies on, and what it stands on, as large as the disk lets them. `unsupported` when
    /// something is in the way: nothing is changed then.
    fn growfs(&self, g: GuestId, path: &str) -> Result<Growth>;
    /// `e2fsck -fn` and `xfs_repair -n` of what is mounted, unmounted meanwhile. `failed` names what they found.
    fn fsck(&self, g: GuestId) -> Result<()>;
}

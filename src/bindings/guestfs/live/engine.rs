//! What each engine can do with an open guest. One thread at a time asks it.

use super::direct::{Result, Stop};
use crate::bindings::guestfs::api::{Edit, Growth, Inspection, Stat};
use crate::bindings::spec::{Cancel, Progress};
use crate::error::Result as ZsResult;
use std::fs::File;
use std::path::Path;

/// The questions and changes of the api, by path. [`Stop::Appliance`] asks for the appliance to take over: nothing of
/// the call has been done then.
pub trait Engine: Send {
    fn read(&mut self, path: &str) -> Result<Vec<u8>>;
    fn stat(&mut self, path: &str) -> Result<Option<Stat>>;
    fn ls(&mut self, dir: &str) -> Result<Vec<String>>;
    /// Into an open, empty file of this host.
    fn download(&mut self, path: &str, to: &File, p: &Progress) -> Result<()>;
    fn upload(&mut self, from: &Path, path: &str, p: &Progress) -> Result<()>;
    fn edit(&mut self, edit: &Edit) -> Result<()>;
    fn sync(&mut self) -> Result<()>;
    fn sh(&mut self, command: &str) -> Result<String>;
    fn inspect(&mut self) -> Result<Inspection>;
    fn fsck(&mut self) -> Result<()>;
    fn growth(&mut self, _path: &str) -> Result<Growth> {
        Err(Stop::Appliance("how far a filesystem can grow is asked of its tools".into()))
    }
    fn growfs(&mut self, _path: &str) -> Result<Growth> {
        Err(Stop::Appliance("a filesystem is grown by its own tools".into()))
    }
    /// All is on the disk, or an error; and nobody can see any more that it was open.
    fn close(self: Box<Self>, cancel: &Cancel) -> ZsResult<()>;

    #[cfg(test)]
    fn appliance_sh(&mut self, _: &str) -> Result<String> {
        Err(Stop::Appliance("commands need a running kernel".into()))
    }
}

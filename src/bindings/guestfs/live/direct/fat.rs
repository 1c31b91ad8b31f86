//! The EFI system partition, for reading: who a guest is asks whether something stands there, and nothing does in most
//! guests. FAT has no journal, so what is to be changed on it is left to the appliance.

use super::overlay::Overlay;
use super::stop::{Result, appliance};
use crate::bindings::guestfs::api::Stat;
use std::io::{Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

pub struct Fat {
    overlay: Arc<Mutex<Overlay>>,
    pub uuid: String,
    pub label: String,
}

/// What one question may read: a chain of clusters that bites its own tail has no end.
const BUDGET: u64 = 64 << 20;

/// Bytes for the crate, which wants to be able to write; it is not.
struct Stream {
    overlay: Arc<Mutex<Overlay>>,
    at: u64,
    left: u64,
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let mut o = self.overlay.lock().unwrap_or_else(PoisonError::into_inner);
        let n = buf.len().min(usize::try_from(o.len.saturating_sub(self.at)).unwrap_or(usize::MAX));
        self.left = self.left.checked_sub(n.max(1) as u64).ok_or(std::io::ErrorKind::QuotaExceeded)?;
        o.read_below(self.at, &mut buf[..n]).map_err(std::io::Error::from_raw_os_error)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Write for Stream {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Stream {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let len = self.overlay.lock().unwrap_or_else(PoisonError::into_inner).len;
        let to = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::End(n) => len.checked_add_signed(n),
            SeekFrom::Current(n) => self.at.checked_add_signed(n),
        };
        self.at = to.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

type Fs = fatfs::FileSystem<Stream>;

impl Fat {
    pub fn open(overlay: Overlay) -> Result<Fat> {
        let mut head = [0; 512];
        let mut fat = Fat { overlay: Arc::new(Mutex::new(overlay)), uuid: String::new(), label: String::new() };
        let mut stream = fat.stream();
        if stream.read_exact(&mut head).is_err() {
            return appliance("the FAT cannot be read");
        }
        let at = if head[82..87] == *b"FAT32" { 67 } else { 39 };
        fat.uuid = format!("{:02X}{:02X}-{:02X}{:02X}", head[at + 3], head[at + 2], head[at + 1], head[at]);
        fat.label = fat.with(|fs| fs.read_volume_label_from_root_dir().map(Option::unwrap_or_default))?;
        Ok(fat)
    }

    fn stream(&self) -> Stream {
        Stream { overlay: self.overlay.clone(), at: 0, left: BUDGET }
    }

    fn with<T>(&self, f: impl FnOnce(&Fs) -> std::io::Result<T>) -> Result<T> {
        let options = fatfs::FsOptions::new().update_accessed_date(false);
        let asked = catch_unwind(AssertUnwindSafe(|| f(&fatfs::FileSystem::new(self.stream(), options)?)));
        let failed = self.overlay.lock().unwrap_or_else(PoisonError::into_inner).failed.take();
        match (asked, failed) {
            (_, Some(e)) => Err(e.into()),
            (Ok(Ok(found)), _) => Ok(found),
            (Ok(Err(e)), _) => appliance(format!("the FAT cannot be read: {e}")),
            (Err(_), _) => appliance("the FAT cannot be read"),
        }
    }

    /// By its path from the root of this filesystem, without a slash at its start; `None` when there is no such thing.
    pub fn stat(&self, path: &str) -> Result<Option<Stat>> {
        let dir = Stat { kind: "directory".into(), mode: 0o755, ..Stat::default() };
        if path.is_empty() {
            return Ok(Some(dir));
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.with(|fs| {
            let Some(parent) = open_dir(fs, parent)? else { return Ok(None) };
            for entry in parent.iter() {
                let entry = entry?;
                let is_it =
                    entry.file_name().eq_ignore_ascii_case(name) || entry.short_file_name().eq_ignore_ascii_case(name);
                if is_it {
                    let file = Stat { kind: "file".into(), size: entry.len(), mode: 0o755, ..Stat::default() };
                    return Ok(Some(if entry.is_dir() { dir } else { file }));
                }
            }
            Ok(None)
        })
    }

    pub fn ls(&self, path: &str) -> Result<Vec<String>> {
        self.with(|fs| {
            let Some(dir) = open_dir(fs, path)? else { return Ok(Vec::new()) };
            let names = dir.iter().map(|e| e.map(|e| e.file_name()));
            let mut names = names.collect::<std::io::Result<Vec<String>>>()?;
            names.retain(|n| n != "." && n != "..");
            Ok(names)
        })
    }

    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.with(|fs| {
            let mut content = Vec::new();
            fs.root_dir().open_file(path)?.read_to_end(&mut content)?;
            Ok(content)
        })
    }
}

type Dir<'a> = fatfs::Dir<'a, Stream>;

fn open_dir<'a>(fs: &'a Fs, path: &str) -> std::io::Result<Option<Dir<'a>>> {
    let root = fs.root_dir();
    if path.is_empty() {
        return Ok(Some(root));
    }
    match root.open_dir(path) {
        Ok(dir) => Ok(Some(dir)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

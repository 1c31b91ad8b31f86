//! The drive of an appliance. qemu reads and writes it over a socket, by the NBD protocol, and what lies behind it can be
//! exchanged while the appliance runs: one start does for many guests, and an image is open here alone.

use super::direct::Disk;
use super::lock;
use crate::error::{Error, Result};
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What is behind the drive, and why it could last not be read or written: the guest's kernel knows an I/O error only.
#[derive(Default)]
struct Behind {
    disk: Mutex<Option<Arc<dyn Disk>>>,
    failed: Mutex<Option<Error>>,
    ended: AtomicBool,
}

pub struct Drive {
    pub socket: PathBuf,
    pub size: u64,
    behind: Arc<Behind>,
}

impl Drive {
    /// A drive with this disk in it; its socket in a directory that is ours alone.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path) -> Result<Drive> {
        let socket = dir.join("drive.sock");
        let listener = UnixListener::bind(&socket).map_err(|e| Error::from(e).subject(socket.display()))?;
        let drive = Drive { socket, size: disk.size(), behind: Arc::default() };
        drive.insert(disk);
        let (behind, size) = (drive.behind.clone(), drive.size);
        std::thread::Builder::new().name("drive".into()).spawn(move || accept(&listener, &behind, size))?;
        Ok(drive)
    }

    /// Puts in a disk of the drive's size.
    pub fn insert(&self, disk: Arc<dyn Disk>) {
        *lock(&self.behind.failed) = None;
        *lock(&self.behind.disk) = Some(disk);
    }

    /// Takes the disk out: what comes now gets an error. All that was written to it is on it.
    pub fn eject(&self) -> Result<()> {
        match lock(&self.behind.disk).take() {
            Some(disk) => disk.flush(),
            None => Ok(()),
        }
    }

    /// Why reading or writing has failed, if it has.
    pub fn failure(&self) -> Option<Error> {
        lock(&self.behind.failed).take()
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        self.behind.ended.store(true, Ordering::SeqCst);
        // Else a request is in it, and takes it out at its end.
        if let Ok(mut disk) = self.behind.disk.try_lock() {
            *disk = None;
        }
        // Wakes the thread that waits for connections.
        let _ = UnixStream::connect(&self.socket);
    }
}

fn accept(listener: &UnixListener, behind: &Arc<Behind>, size: u64) {
    for stream in listener.incoming() {
        if behind.ended.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { return };
        let behind = behind.clone();
        // qemu-img looks at the drive before qemu does. A connection ends with who made it.
        let _ = std::thread::Builder::new().name("drive".into()).spawn(move || serve(stream, &behind, size));
    }
}

/// <https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md>; numbers are big-endian.
mod proto {
    pub const MAGIC: &[u8; 8] = b"NBDMAGIC";
    pub const HAVE_OPTION: &[u8; 8] = b"IHAVEOPT";
    pub const FIXED_NEWSTYLE: u16 = 1;
    pub const NO_ZEROES: u16 = 2;
    pub const EXPORT_NAME: u32 = 1;
    pub const ABORT: u32 = 2;
    pub const INFO: u32 = 6;
    pub const GO: u32 = 7;
    pub const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
    pub const ACK: u32 = 1;
    pub const REP_INFO: u32 = 3;
    pub const UNSUPPORTED: u32 = 1 << 31 | 1;
    /// It has flags, and knows flush, FUA and trim.
    pub const EXPORT: u16 = 1 | 1 << 2 | 1 << 3 | 1 << 5;
    pub const REQUEST: u32 = 0x2560_9513;
    pub const REPLY: u32 = 0x6744_6698;
    pub const FUA: u16 = 1;
    pub const READ: u16 = 0;
    pub const WRITE: u16 = 1;
    pub const DISCONNECT: u16 = 2;
    pub const FLUSH: u16 = 3;
    pub const TRIM: u16 = 4;
    /// What any client may ask for at once, and what an option may say.
    pub const LONGEST: u32 = 32 << 20;
    pub const LONGEST_OPTION: u32 = 4096;
}

fn bytes<const N: usize>(s: &mut impl Read) -> io::Result<[u8; N]> {
    let mut b = [0; N];
    s.read_exact(&mut b)?;
    Ok(b)
}

fn u16_of(s: &mut impl Read) -> io::Result<u16> {
    bytes(s).map(u16::from_be_bytes)
}

fn u32_of(s: &mut impl Read) -> io::Result<u32> {
    bytes(s).map(u32::from_be_bytes)
}

fn u64_of(s: &mut impl Read) -> io::Result<u64> {
    bytes(s).map(u64::from_be_bytes)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn serve(mut s: UnixStream, behind: &Behind, size: u64) -> io::Result<()> {
    if !agree(&mut s, size)? {
        return Ok(());
    }
    while answer(&mut s, behind, size)? {}
    Ok(())
}

/// Both sides tell what they can. Whether the client wants to go on.
fn agree(s: &mut (impl Read + Write), size: u64) -> io::Result<bool> {
    use proto::*;
    s.write_all(&[&MAGIC[..], HAVE_OPTION, &(FIXED_NEWSTYLE | NO_ZEROES).to_be_bytes()].concat())?;
    let wants_zeroes = u32_of(s)? & u32::from(NO_ZEROES) == 0;
    let export = [&size.to_be_bytes()[..], &EXPORT.to_be_bytes()].concat();
    loop {
        if &bytes::<8>(s)? != HAVE_OPTION {
            return Err(bad("no option"));
        }
        let (option, len) = (u32_of(s)?, u32_of(s)?);
        if len > LONGEST_OPTION {
            return Err(bad("an option of this length"));
        }
        s.read_exact(&mut vec![0; len as usize])?;
        let mut reply = |kind: u32, data: &[u8]| {
            let head = [&OPTION_REPLY.to_be_bytes()[..], &option.to_be_bytes(), &kind.to_be_bytes()].concat();
            s.write_all(&[&head, &(data.len() as u32).to_be_bytes()[..], data].concat())
        };
        match option {
            EXPORT_NAME => {
                s.write_all(&export)?;
                s.write_all(&[0; 124][..if wants_zeroes { 124 } else { 0 }])?;
                return Ok(true);
            }
            INFO | GO => {
                // There is one export, of whatever name; information 0 is what it is.
                reply(REP_INFO, &[&[0, 0], &export[..]].concat())?;
                reply(ACK, &[])?;
                if option == GO {
                    return Ok(true);
                }
            }
            ABORT => {
                reply(ACK, &[])?;
                return Ok(false);
            }
            _ => reply(UNSUPPORTED, &[])?,
        }
    }
}

/// One request. Whether there will be more.
fn answer(s: &mut (impl Read + Write), behind: &Behind, size: u64) -> io::Result<bool> {
    use proto::*;
    if u32_of(s)? != REQUEST {
        return Err(bad("no request"));
    }
    let (flags, what, handle) = (u16_of(s)?, u16_of(s)?, u64_of(s)?);
    let (offset, len) = (u64_of(s)?, u32_of(s)?);
    if what == DISCONNECT {
        return Ok(false);
    }
    if len > LONGEST && matches!(what, READ | WRITE) {
        return Err(bad("more than a request may ask for"));
    }
    let mut data = vec![0; if matches!(what, READ | WRITE) { len as usize } else { 0 }];
    if what == WRITE {
        s.read_exact(&mut data)?;
    }
    let fits = offset.checked_add(u64::from(len)).is_some_and(|end| end <= size);
    // Held to the end: who takes the disk out is then the last to have it.
    let mut behind_it = lock(&behind.disk);
    let done = match &*behind_it {
        Some(disk) if fits => {
            let done = match what {
                READ => disk.read_at(&mut data, offset),
                WRITE => disk.write_at(&data, offset),
                TRIM => disk.discard(offset, u64::from(len)),
                FLUSH => Ok(()),
                _ => Err(Error::unsupported("a request that was not offered").code(libc::EINVAL)),
            };
            done.and_then(|()| if what == FLUSH || flags & FUA != 0 { disk.flush() } else { Ok(()) })
        }
        Some(_) => Err(Error::invalid("beyond the end of the disk").code(libc::EINVAL)),
        None => Err(Error::failed("the disk was taken out").code(libc::EIO)),
    };
    if behind.ended.load(Ordering::SeqCst) {
        *behind_it = None;
    }
    drop(behind_it);
    let error = done.as_ref().err().map_or(0, errno);
    if let Err(e) = done {
        lock(&behind.failed).get_or_insert(e);
    }
    s.write_all(&[&REPLY.to_be_bytes()[..], &error.to_be_bytes(), &handle.to_be_bytes()].concat())?;
    if what == READ && error == 0 {
        s.write_all(&data)?;
    }
    Ok(true)
}

/// The few that the protocol has; their numbers are Linux's.
fn errno(e: &Error) -> u32 {
    let known = [libc::EPERM, libc::EIO, libc::ENOMEM, libc::EINVAL, libc::ENOSPC];
    let code = match e.code {
        Some(libc::EDQUOT) => libc::ENOSPC,
        Some(code) if known.contains(&code) => code,
        _ => libc::EIO,
    };
    code as u32
}

#[cfg(test)]
mod tests {
    use super::super::direct::RawFile;
    use super::*;

    fn drive(dir: &Path, size: u64) -> (Drive, PathBuf) {
        let path = dir.join("disk");
        let file = std::fs::File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
        file.set_len(size).expect("room");
        (Drive::new(Arc::new(RawFile { file, size }), dir).expect("a drive"), path)
    }

    /// Asks with a client of others: `qemu-io` of qemu-utils.
    fn qemu_io(d: &Drive, commands: &[&str]) -> String {
        let mut args = vec!["-f".to_string(), "raw".into()];
        args.extend(commands.iter().flat_map(|c| ["-c".to_string(), (*c).into()]));
        args.push(format!("nbd:unix:{}", d.socket.display()));
        let out = std::process::Command::new("qemu-io").args(args).output().expect("qemu-io");
        String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
    }

    #[test]
    fn what_is_written_is_on_the_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let (d, path) = drive(dir.path(), 4 << 20);
        let said = qemu_io(
            &d,
            &["length", "write -P 7 1M 64k", "flush", "write -f -P 8 2M 512", "read -P 7 1M 64k", "discard 0 1M"],
        );
        assert!(said.contains("4 MiB") && !said.contains("rror") && !said.contains("failed"), "{said}");
        let bytes = std::fs::read(&path).expect("read");
        assert!(bytes[1 << 20..(1 << 20) + 65536].iter().all(|b| *b == 7) && bytes[2 << 20] == 8);
        assert!(qemu_io(&d, &["read 3M 2M"]).contains("rror") || qemu_io(&d, &["read 3M 2M"]).contains("failed"));
    }

    #[test]
    fn an_exchanged_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let (d, path) = drive(dir.path(), 1 << 20);
        qemu_io(&d, &["write -P 1 0 4k"]);
        d.eject().expect("flushed");
        assert!(qemu_io(&d, &["read 0 4k"]).contains("rror"), "nothing is in it");
        assert!(d.failure().is_some_and(|e| e.message.contains("taken out")));
        let other = dir.path().join("other");
        std::fs::write(&other, vec![2; 1 << 20]).expect("write");
        let file = std::fs::File::options().read(true).write(true).open(&other).expect("open");
        d.insert(Arc::new(RawFile { file, size: 1 << 20 }));
        let said = qemu_io(&d, &["read -P 2 0 4k", "write -P 3 0 4k"]);
        assert!(!said.contains("rror") && !said.contains("failed"), "{said}");
        assert_eq!((std::fs::read(&path).expect("read")[0], std::fs::read(&other).expect("read")[0]), (1, 3));
    }

    #[test]
    fn nonsense_is_hung_up_on() {
        let dir = tempfile::tempdir().expect("a directory");
        let (d, path) = drive(dir.path(), 1 << 20);
        let hello = [&[0, 0, 0, 3][..], proto::HAVE_OPTION, &[0, 0, 0, 1, 0, 0, 0, 0]].concat();
        let long =
            [&hello[..], &0x2560_9513_u32.to_be_bytes(), &[0, 0, 0, 1], &[0; 16], &u32::MAX.to_be_bytes()].concat();
        for said in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &long] {
            let mut s = UnixStream::connect(&d.socket).expect("a connection");
            s.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("a limit");
            s.write_all(said).expect("write");
            let mut heard = Vec::new();
            s.read_to_end(&mut heard)
                .map(drop)
                .or_else(|e| match e.kind() {
                    io::ErrorKind::ConnectionReset => Ok(()),
                    _ => Err(e),
                })
                .expect("it hangs up");
        }
        assert!(std::fs::read(path).expect("read").iter().all(|b| *b == 0));
    }
}

//! Loads libvirt on first use, beneath the `virt` crate; and the one file call that has no safe wrapper.
//!
//! build.rs makes one stub for each C function that `virt` may call; a stub jumps through its slot of a table, and
//! [`ensure`] fills the table. symbols.txt lists the functions of virt-sys:
//! `grep -o 'pub fn vir[A-Za-z0-9_]*' bindings.rs`.

#![allow(unsafe_code)]

use crate::bindings::sys::{self, Handle};
use crate::error::{Error, Result};
use std::ffi::{CStr, CString, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

include!(concat!(env!("OUT_DIR"), "/libvirt_stubs.rs"));

unsafe extern "C" {
    // SAFETY: emitted by build.rs with one pointer for each of NAMES, in writable memory.
    safe static zs_libvirt_table: [AtomicPtr<c_void>; NAMES.len()];
}

/// Where a stub leads whose function this libvirt does not have.
#[unsafe(no_mangle)]
extern "C" fn zs_libvirt_missing(slot: u32) -> ! {
    let name = NAMES.get(slot as usize).map_or("?".into(), |n| n.to_string_lossy());
    eprintln!("zs: {name} was called before libvirt was loaded, or this libvirt is too old to have it");
    std::process::abort()
}

struct Libraries {
    main: Handle,
    /// The guest agent's functions; a libvirt without them is otherwise complete.
    qemu: Option<Handle>,
}

impl Libraries {
    fn load() -> Result<Libraries> {
        let loaded = Libraries {
            main: sys::open(&["libvirt.so.0"], "libvirt0")?,
            qemu: sys::open(&["libvirt-qemu.so.0"], "libvirt0").ok(),
        };
        for (slot, name) in zs_libvirt_table.iter().zip(NAMES) {
            if let Some(function) = loaded.find(name) {
                slot.store(function, Ordering::Release);
            }
        }
        Ok(loaded)
    }

    fn find(&self, name: &CStr) -> Option<*mut c_void> {
        self.main.symbol(name).or_else(|| self.qemu.as_ref()?.symbol(name))
    }
}

fn libraries() -> Result<&'static Libraries> {
    static LOADED: OnceLock<Result<Libraries>> = OnceLock::new();
    LOADED.get_or_init(Libraries::load).as_ref().map_err(Clone::clone)
}

/// Loads libvirt. To be called before anything of `virt`; costs nothing once it is loaded.
pub fn ensure() -> Result<()> {
    libraries().map(|_| ())
}

/// An error, instead of the stub's abort, for a function that not every libvirt has.
pub fn require(name: &CStr) -> Result<()> {
    if libraries()?.find(name).is_some() {
        return Ok(());
    }
    Err(Error::unsupported(format!("the installed libvirt has no {}", name.to_string_lossy()))
        .hint("apt install libvirt0: version 6.0 or later"))
}

fn failed() -> virt::error::Error {
    virt::error::Error::last_error()
}

/// The size that a disk has for its guest. `virt`'s own `block_info` drops the error and gives what was in memory.
pub fn block_capacity(domain: &virt::domain::Domain, disk: &str) -> std::result::Result<u64, virt::error::Error> {
    let disk = CString::new(disk).unwrap_or_default();
    let mut info = virt::sys::virDomainBlockInfo { capacity: 0, allocation: 0, physical: 0 };
    // SAFETY: a live handle, a NUL-terminated string, a struct for the answer.
    let rc = unsafe { virt::sys::virDomainGetBlockInfo(domain.as_ptr(), disk.as_ptr(), &raw mut info, 0) };
    if rc < 0 { Err(failed()) } else { Ok(info.capacity) }
}

/// Copies one extended attribute between open files. A source that has none, and a filesystem that knows none, are
/// no errors.
pub fn copy_xattr(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> std::io::Result<()> {
    let mut value = vec![0u8; 65536];
    // SAFETY: open descriptors, a NUL-terminated name, a buffer of the length given.
    let n = unsafe { libc::fgetxattr(from.as_raw_fd(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    if n < 0 {
        let e = std::io::Error::last_os_error();
        return match e.raw_os_error() {
            Some(libc::ENODATA | libc::ENOTSUP) => Ok(()),
            _ => Err(e),
        };
    }
    // SAFETY: as above; n is what fgetxattr wrote.
    let rc = unsafe { libc::fsetxattr(to.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), n as usize, 0) };
    if rc < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the stubs are for: the program starts without libvirt, and has it after the first use.
    #[test]
    fn libvirt_loads_on_first_use() {
        let exe = std::env::current_exe().expect("own path");
        // The dynamic loader's own listing, as ldd asks for it.
        let out = std::process::Command::new(exe).env("LD_TRACE_LOADED_OBJECTS", "1").output().expect("run");
        let needed = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(needed.contains("libc.so"), "{needed}");
        assert!(!needed.contains("libvirt"), "symbols.txt lacks a function that virt calls:\n{needed}");

        ensure().expect("libvirt0 is installed");
        assert!(virt::connect::Connect::version().expect("virGetVersion") >= 6_000_000);
        assert!(require(c"virDomainQemuAgentCommand").is_ok());
        let e = require(c"virNoSuchFunction").expect_err("not there");
        assert_eq!(e.kind, crate::error::Kind::Unsupported);
    }
}

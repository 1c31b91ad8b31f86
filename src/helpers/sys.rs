//! What the standard library does not say of processes.

#![allow(unsafe_code)]

use std::io::Error;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the kernel kill the process when the thread that started it is gone: after a `kill -9` of zs nothing goes on
/// writing to what `zs recover` takes away.
pub fn end_with_us(command: &mut Command) {
    // SAFETY: the closure runs between fork and exec and makes one system call, with constants alone.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(Error::last_os_error()),
        });
    }
}

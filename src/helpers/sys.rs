//! What the standard library does not say of processes.

#![allow(unsafe_code)]

use std::io::{Error, Write};
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

/// Ends zs without the destructors of C++ libraries: a thread that still waits in librados, for a monitor that does not
/// answer, would find its library gone and abort.
pub fn leave(code: u8) -> ! {
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().flush();
    // SAFETY: takes a number and does not come back; what we hold has been closed, or its holder is another process.
    unsafe { libc::_exit(code.into()) }
}

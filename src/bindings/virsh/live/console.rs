//! A domain's serial console on this terminal.

use super::domain::find;
use super::errors::On;
use crate::bindings::spec::Cancel;
use crate::error::{Error, Result};
use crate::helpers::terminal::Raw;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::Write;
use std::os::fd::AsFd;
use virt::connect::Connect;
use virt::stream::Stream;
use virt::sys;

/// Ctrl-], as in virsh and telnet.
const ESCAPE: u8 = 0x1d;
/// What `virStreamRecv` and `virStreamSend` give when they would have to wait.
const LATER: isize = -2;
/// How long keys are waited for before the guest is listened to again, in ms.
const TURN: u16 = 20;

/// Until Ctrl-], the end of the guest, or of the keys.
pub fn console(c: &Connect, domain: &str, force: bool, cancel: &Cancel) -> Result<()> {
    let stream = Stream::new(c, sys::VIR_STREAM_NONBLOCK).on(domain)?;
    let flags = if force { sys::VIR_DOMAIN_CONSOLE_FORCE } else { sys::VIR_DOMAIN_CONSOLE_SAFE };
    let found = find(c, domain)?;
    found.open_console(None, &stream, flags).on(domain)?;
    let joined = join(&stream, domain, &found.name().on(domain)?, cancel);
    // An end that the guest has made is one that libvirt calls an error when it is told so again.
    let _ = stream.abort();
    joined
}

fn join(stream: &Stream, domain: &str, name: &str, cancel: &Cancel) -> Result<()> {
    let stdin = std::io::stdin();
    let mut out = std::io::stdout();
    let failed = |e: std::io::Error| Error::from(e).subject("the terminal");
    let _raw = Raw::new()?;
    // From here on keys are the guest's, and who reads this presses some.
    write!(out, "console of {name}; Ctrl-] ends it\r\n").and_then(|()| out.flush()).map_err(failed)?;
    let mut buffer = [0; 4096];
    loop {
        cancel.check()?;
        loop {
            match stream.recv(&mut buffer).on(domain)? {
                0 => return Ok(()),
                LATER => break,
                n => {
                    out.write_all(&buffer[..n as usize]).and_then(|()| out.flush()).map_err(failed)?;
                }
            }
        }
        let mut keys = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        if poll(&mut keys, PollTimeout::from(TURN)).map_err(|e| failed(e.into()))? == 0 {
            continue;
        }
        // Past the buffer of standard input: what is typed belongs to the guest.
        let n = nix::unistd::read(&stdin, &mut buffer).map_err(|e| failed(e.into()))?;
        let end = buffer[..n].iter().position(|b| *b == ESCAPE);
        send(stream, &buffer[..end.unwrap_or(n)], domain, cancel)?;
        if n == 0 || end.is_some() {
            return Ok(());
        }
    }
}

fn send(stream: &Stream, mut keys: &[u8], domain: &str, cancel: &Cancel) -> Result<()> {
    while !keys.is_empty() {
        cancel.check()?;
        match stream.send(keys).on(domain)? {
            LATER => std::thread::sleep(std::time::Duration::from_millis(TURN.into())),
            n => keys = &keys[usize::try_from(n).unwrap_or(0)..],
        }
    }
    Ok(())
}

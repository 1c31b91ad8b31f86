//! The terminal that zs was started on, handed through key by key.

use crate::error::{Error, Result};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Stdin};

/// Whether somebody sits at both ends.
pub fn is_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// While this lives, keys come as they are pressed, Ctrl-C among them, and nothing is echoed.
pub struct Raw {
    stdin: Stdin,
    before: Termios,
}

impl Raw {
    pub fn new() -> Result<Raw> {
        let stdin = std::io::stdin();
        let fault = |e: nix::errno::Errno| Error::from(std::io::Error::from(e)).subject("the terminal");
        let before = tcgetattr(&stdin).map_err(fault)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&stdin, SetArg::TCSADRAIN, &raw).map_err(fault)?;
        Ok(Raw { stdin, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.stdin, SetArg::TCSADRAIN, &self.before);
    }
}

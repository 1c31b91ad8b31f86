//! Why the direct engine does not go on: with an error of the guest's, or because the appliance is to take over.

use crate::bindings::guestfs::errors;
use crate::bindings::guestfs::sys::ext2fs::Code;
use crate::error::Error;

#[derive(Debug)]
pub enum Stop {
    /// What the appliance would say too.
    Error(Error),
    /// What only the appliance can do, and why.
    Appliance(String),
    /// A finding that the appliance is to confirm; an error where there is none.
    Doubt(Error),
}

pub type Result<T, E = Stop> = std::result::Result<T, E>;

pub fn appliance<T>(why: impl Into<String>) -> Result<T> {
    Err(Stop::Appliance(why.into()))
}

impl From<Error> for Stop {
    fn from(e: Error) -> Stop {
        Stop::Error(e)
    }
}

impl From<Code> for Stop {
    /// A kernel may know better what to make of a filesystem that puzzles the library.
    fn from(code: Code) -> Stop {
        match code.is_full() {
            true => Stop::Error(errors::full()),
            false => Stop::Appliance(format!("libext2fs: {}", code.message())),
        }
    }
}

//! `zs plain-rhai`: hidden, for measuring.

use crate::error::{Error, Result};
use std::path::Path;

pub fn run(file: &Path) -> Result<u8> {
    let done = rhai::Engine::new().run_file(file.into());
    done.map(|()| 0).map_err(|e| Error::failed(e.to_string()).subject(file.display()))
}

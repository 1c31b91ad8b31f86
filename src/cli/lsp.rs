//! `zs lsp`.

use super::Cli;
use crate::config::Config;
use crate::error::Result;

pub fn lsp(cli: &Cli) -> Result<u8> {
    // A site that is set up wrong is no reason to write without help.
    let dirs = Config::load(cli.config.as_deref()).map(|c| c.scripts.path).unwrap_or_default();
    crate::lsp::serve(&dirs)?;
    Ok(0)
}

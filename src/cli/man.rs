//! `zs man`: pages for man(1), of zs itself, its sub-commands and the scripts that can be run by name.

use super::Cli;
use crate::check::spec;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::helpers::args;
use crate::host::events::Events;
use crate::host::{engine, scripts};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use std::path::Path;

pub fn man(cli: &Cli, events: &Events, dir: &Path) -> Result<u8> {
    let fail = |e: std::io::Error| Error::from(e).op("man").subject(dir.display());
    std::fs::create_dir_all(dir).map_err(fail)?;
    let config = Config::load(cli.config.as_deref())?;
    let mut count = 0;
    let mut write = |name: &str, command: Command| -> Result<()> {
        let mut page = Vec::new();
        Man::new(command).title(name.to_uppercase()).render(&mut page).map_err(fail)?;
        count += 1;
        std::fs::write(dir.join(format!("{name}.1")), page).map_err(fail)
    };
    let mut zs = Cli::command();
    zs.build();
    for command in zs.get_subcommands().filter(|c| !c.is_hide_set()) {
        let name = format!("zs-{}", command.get_name());
        write(&name, command.clone().name(name.clone()).bin_name(format!("zs {}", command.get_name())))?;
    }
    write("zs", zs)?;
    let mut lax = engine::bare();
    lax.set_strict_variables(false);
    for listed in scripts::list(&config.scripts.path) {
        let source = scripts::find(&listed.name, &config.scripts.path)?;
        // A site's script without a declaration has nothing to say on a page.
        let Some(spec) = spec::of_source(&lax, &source) else { continue };
        let name = format!("zs-{}", listed.name.trim_end_matches(".rhai"));
        let command = args::command_of(&listed.name, &spec)?;
        write(&name, command.name(name.clone()).disable_help_flag(true))?;
    }
    events.log("info", &format!("{count} pages in {}", dir.display()));
    Ok(0)
}

//! `zs` on a terminal.

use super::signals::{Sent, minding};
use super::{Cli, settings};
use crate::bindings::spec::Cancel;
use crate::bindings::{Site, World};
use crate::error::Result;
use crate::host::events::Events;
use crate::host::report::{self, Failure};
use crate::host::rights::Rights;
use crate::host::testing;
use crate::repl::hosts::Hosts;
use crate::repl::{self, Doing, Options, Watch};
use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};
use std::sync::Arc;

pub fn repl(cli: &Cli, events: &Arc<Events>) -> Result<u8> {
    let config = super::limited(cli)?;
    let rights = Rights::new(cli.read_only, &cli.allow, &cli.deny, &config.rights.protected)?;
    let mut hosts =
        Hosts { settings: settings(cli, &config), config, rights, yes: cli.yes, jobs: cli.jobs, model: None };
    let watch = Watch::new(Cancel::default());
    hosts.model = match std::env::var("ZS_MODEL") {
        // For tests: the site of `zs test`, with so many VMs more.
        Ok(more) => Some(Arc::new(testing::large_site(more.parse().unwrap_or(0))?) as Arc<dyn World>),
        Err(_) if cli.dry_run => Some(Arc::new(Site::over(Arc::new(hosts.live(events, &watch.cancel))))),
        Err(_) => None,
    };
    // As it is now, for a session that ends while rustyline has it in another mode.
    let terminal = tcgetattr(std::io::stdin()).ok();
    let (told, seen) = (events.clone(), watch.clone());
    let mut times = 0;
    let on_signal = move |sent: Sent| {
        let leave = |code: u8| -> ! {
            seen.end();
            if let Some(mode) = &terminal {
                let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, mode);
            }
            crate::helpers::leave(code)
        };
        let running = seen.doing() == Doing::Running;
        times = if running && seen.cancel.is_set() { times + 1 } else { 0 };
        match sent {
            Sent::Interrupt if !running => told.interrupted_prompt(),
            _ if !running => leave(130),
            Sent::Interrupt if times == 0 => {
                seen.cancel.set();
                told.log("info", "interrupted: taking back what this line has done");
            }
            Sent::Interrupt if times == 1 => {
                told.log("info", "still taking back; once more leaves zs at once, and zs recover finishes it");
            }
            Sent::Interrupt => {
                told.err("left at once, before all was taken back: zs recover does the rest");
                leave(130);
            }
            Sent::End => {
                seen.end_soon();
                seen.cancel.set();
            }
        }
    };
    let (told, options) = (events.clone(), Options { hosts, verbose: cli.verbose });
    minding(on_signal, move || match repl::run(options, &told, &watch) {
        Ok(code) => code,
        Err(error) => {
            let failure = Failure { error, places: vec![], raised: true };
            told.error(&failure.error, &report::render(&failure, None, false), &[]);
            failure.error.exit_code()
        }
    })
}

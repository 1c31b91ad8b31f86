//! `zs recover`.

use super::{Cli, live, settings};
use crate::bindings::World;
use crate::bindings::live::Settings;
use crate::bindings::spec::Cancel;
use crate::config::Config;
use crate::error::{Kind, Result};
use crate::host::events::Events;
use crate::host::journal::Line;
use crate::host::recover;
use std::sync::Arc;

/// How the run that wrote these lines has reached its site, unless the command line says otherwise.
pub fn settings_of(cli: &Cli, config: &Config, lines: &[Line]) -> Settings {
    let mut settings = settings(cli, config);
    for line in lines {
        match line {
            // A run made by pool.rhai as admin is undone as admin.
            Line::Run { ceph_id, ceph_conf, .. } => {
                if cli.ceph_id.is_none() {
                    settings.ceph_id.clone_from(ceph_id);
                }
                if cli.ceph_conf.is_none() && ceph_conf.is_some() {
                    settings.ceph_conf.clone_from(ceph_conf);
                }
            }
            Line::Hypervisor { uri, .. } if cli.connect.is_none() => settings.libvirt_uri = Some(uri.clone()),
            _ => {}
        }
    }
    settings
}

pub fn recover_all(cli: &Cli, events: &Arc<Events>) -> Result<u8> {
    let config = Config::load(cli.config.as_deref())?;
    let open = |lines: &[Line]| -> Result<Arc<dyn World>> {
        Ok(Arc::new(live(settings_of(cli, &config, lines), events, &Cancel::default())))
    };
    let (runs, error) = recover::recover(&Config::state_dir(), events, open)?;
    let mut left = false;
    for r in &runs {
        events.log("info", &format!("run {} ({}): {} operations taken back", r.run, r.script, r.undone));
        for (what, command) in &r.left {
            left = true;
            events.log("error", &format!("left behind: {what}\n  {command}"));
        }
    }
    if runs.is_empty() && error.is_none() {
        events.log("info", "nothing to recover");
    } else if !left && error.is_none() {
        events.log("info", "left behind: nothing");
    }
    events.result(serde_json::to_value(&runs).unwrap_or_default());
    if let Some(e) = error {
        return Err(e);
    }
    Ok(if left { Kind::Failed.exit_code() } else { 0 })
}

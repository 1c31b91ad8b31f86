//! Runs that did not end.

use super::{Finding, Site};
use crate::error::Result;
use crate::host::journal::{self, Line};

pub fn runs(site: &Site) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for id in journal::runs(&site.state_dir)? {
        let lines = match journal::read(&site.state_dir, &id) {
            Ok(lines) => lines,
            Err(e) => {
                found.push(Finding::of(&e, &id));
                continue;
            }
        };
        if journal::is_finished(&lines) || journal::is_alive(&site.state_dir, &id)? {
            continue;
        }
        let script =
            lines.iter().find_map(|l| if let Line::Run { script, .. } = l { Some(script.as_str()) } else { None });
        let open = journal::open_operations(&lines).len();
        let what = format!("{} was cut off: {open} operations are to be taken back", script.unwrap_or("it"));
        found.push(Finding::bad(format!("run {id}"), what).mend("zs recover"));
    }
    Ok(found)
}

//! `zs doc`.

use crate::error::{Error, Result};
use crate::host::events::Events;
use crate::host::{engine, registry};

pub fn doc(events: &Events, name: Option<&str>) -> Result<u8> {
    let entries = registry::entries(&engine::bare());
    let shown: Vec<_> = entries
        .iter()
        .filter(|e| {
            let signature = registry::signature(e);
            let full = signature.split('(').next().unwrap_or_default();
            name.is_none_or(|n| full == n || e.name == n || full.strip_prefix(n).is_some_and(|r| r.starts_with('.')))
        })
        .collect();
    match shown[..] {
        [..] if events.json && !shown.is_empty() => {
            events.result(serde_json::to_value(&shown).unwrap_or_default());
            Ok(0)
        }
        [] => Err(Error::not_found("is not documented").subject(name.unwrap_or_default()).usage()),
        [one] => {
            events.out(&format!("{}\n\n{}", registry::signature(one), one.doc));
            Ok(0)
        }
        _ => {
            for e in shown {
                events.out(&format!("{}\n    {}", registry::signature(e), e.summary()));
            }
            Ok(0)
        }
    }
}

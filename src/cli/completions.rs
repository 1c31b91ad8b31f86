//! `zs completions`.

use crate::host::events::Events;

/// Each asks `zs __complete`, so none of them goes stale.
pub fn completions(events: &Events, shell: &str) -> u8 {
    events.out(
        match shell {
            "zsh" => include_str!("completions/zs.zsh"),
            "fish" => include_str!("completions/zs.fish"),
            _ => include_str!("completions/zs.bash"),
        }
        .trim_end(),
    );
    0
}

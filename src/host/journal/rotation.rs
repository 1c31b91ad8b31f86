//! Which journals go: by age and by count, and never one of a run that is not finished.

use super::{Line, before_dir, hold, open_operations, read, runs_dir};
use serde::Deserialize;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// `[journal]` of zs.toml. Zero: without limit.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// How many finished runs stay.
    pub keep: usize,
    /// How long they stay.
    pub days: u64,
}

impl Default for Rotation {
    fn default() -> Rotation {
        Rotation { keep: 1000, days: 365 }
    }
}

/// Whether there is nothing to do for a run that has written these lines.
pub fn is_finished(lines: &[Line]) -> bool {
    lines.iter().any(|l| matches!(l, Line::End { .. })) && open_operations(lines).is_empty()
}

/// Removes the journals of finished runs that are too old or too many. A run does not fail for it.
pub fn rotate(state: &Path, rotation: Rotation) {
    let Ok(dir) = std::fs::read_dir(runs_dir(state)) else { return };
    let mut found: Vec<(SystemTime, String)> = dir
        .flatten()
        .filter_map(|e| {
            let id = e.file_name().to_str()?.strip_suffix(".jsonl")?.to_string();
            Some((e.metadata().and_then(|m| m.modified()).ok()?, id))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    let age = |t: &SystemTime| SystemTime::now().duration_since(*t).unwrap_or_default();
    let limit = Duration::from_secs(rotation.days.saturating_mul(24 * 3600));
    for (n, (time, id)) in found.iter().enumerate() {
        let too_many = rotation.keep > 0 && n >= rotation.keep;
        let too_old = rotation.days > 0 && age(time) > limit;
        if too_many || too_old {
            remove(state, id);
        }
    }
}

fn remove(state: &Path, id: &str) {
    // Whoever holds it is alive, recovers it or takes it back.
    let Ok(Some(_held)) = hold(state, id) else { return };
    if read(state, id).is_ok_and(|lines| is_finished(&lines)) {
        // Without the journal nobody asks for what was kept beside it; the reverse would be a journal that lies.
        let _ = std::fs::remove_file(runs_dir(state).join(format!("{id}.jsonl")));
        let _ = std::fs::remove_dir_all(before_dir(state, id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::journal::{Journal, runs};

    fn ended(state: &Path, id: &str) {
        let mut j = Journal::create(state, id).expect("a journal");
        j.keep("x", b"before").expect("kept");
        let end = Line::End { ok: true, ms: 1, time: String::new(), recovered: false };
        j.write(&end, false).expect("written");
    }

    fn make_old(state: &Path, id: &str, days: u64) {
        let path = runs_dir(state).join(format!("{id}.jsonl"));
        let time = SystemTime::now() - Duration::from_secs(days * 24 * 3600 + 60);
        std::fs::File::options().append(true).open(path).and_then(|f| f.set_modified(time)).expect("a time");
    }

    #[test]
    fn old_ones_and_too_many_go_and_unfinished_ones_stay() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path();
        for (n, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
            ended(state, id);
            make_old(state, id, 10 - n as u64);
        }
        drop(Journal::create(state, "killed").expect("a journal"));
        make_old(state, "killed", 100);
        let alive = Journal::create(state, "alive").expect("a journal");
        make_old(state, "alive", 100);
        let left = || {
            let mut ids = runs(state).expect("runs");
            ids.sort();
            ids.join(" ")
        };
        rotate(state, Rotation { keep: 0, days: 0 });
        assert_eq!(left(), "a alive b c d killed");
        rotate(state, Rotation { keep: 0, days: 9 });
        assert_eq!(left(), "alive c d killed");
        assert!(!before_dir(state, "a").exists() && before_dir(state, "c").exists());
        rotate(state, Rotation { keep: 1, days: 0 });
        assert_eq!(left(), "alive d killed");
        drop(alive);
    }
}

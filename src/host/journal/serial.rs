//! The order of runs, which clocks do not tell: they are set back, and two runs begin in one second.

use super::{runs, runs_dir, unwritable};
use crate::error::Result;
use serde::Deserialize;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// One more than that of any run before; they are given out in the order in which runs ask.
pub fn next(state: &Path) -> Result<u64> {
    let path = runs_dir(state).join("serial");
    let told = |e| unwritable(e, &path);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(told)?;
    file.lock().map_err(told)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(told)?;
    // Lost with a power cut, or removed: the journals know.
    let last = std::str::from_utf8(&text).ok().and_then(|t| t.trim().parse::<u64>().ok());
    let last = match last {
        Some(n) => n,
        None => runs(state)?.last().map_or(0, |id| of(&runs_dir(state).join(format!("{id}.jsonl")))),
    };
    file.rewind().and_then(|()| file.set_len(0)).map_err(told)?;
    writeln!(file, "{}", last + 1).map_err(told)?;
    Ok(last + 1)
}

/// That of a journal; 0 of those from before there were any.
pub fn of(journal: &Path) -> u64 {
    #[derive(Deserialize)]
    struct First {
        #[serde(default)]
        serial: u64,
    }
    let mut line = String::new();
    let read = File::open(journal).and_then(|f| BufReader::new(f).read_line(&mut line));
    read.ok().and_then(|_| serde_json::from_str::<First>(&line).ok()).map_or(0, |first| first.serial)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::journal::{Journal, Line};

    #[test]
    fn runs_stand_in_the_order_they_began_in() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path();
        let run = |id: &str, serial: u64| {
            let mut j = Journal::create(state, id).expect("a journal");
            let first = format!(
                "{{\"line\":\"run\",\"id\":\"{id}\",\"time\":\"2026-01-01T00:00:00Z\",\"serial\":{serial},\"script\":\"s\",\
                 \"argv\":[],\"user\":\"u\",\"version\":\"0\",\"ceph_id\":\"c\"}}"
            );
            j.write(&serde_json::from_str::<Line>(&first).expect("a line"), false).expect("written");
        };
        for (id, serial) in [("cc", 3), ("aa", 2), ("bb", 0)] {
            run(id, serial);
        }
        assert_eq!(runs(state).expect("runs"), ["bb", "aa", "cc"]);
        assert_eq!((next(state).expect("next"), next(state).expect("next")), (4, 5));
        for lost in ["", "\0\0", "none"] {
            std::fs::write(runs_dir(state).join("serial"), lost).expect("written");
            assert_eq!(next(state).expect("next"), 4, "{lost:?}");
        }
        std::fs::remove_file(runs_dir(state).join("serial")).expect("removed");
        assert_eq!(next(state).expect("next"), 4);
    }
}

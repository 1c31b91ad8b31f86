//! Disks that somebody else made, to fuzz their readers with.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// A disk in memory that is not to be written to.
struct Bytes {
    data: Vec<u8>,
    written: AtomicBool,
}

impl Disk for Bytes {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> ZsResult<()> {
        let from = usize::try_from(offset).ok().and_then(|at| self.data.get(at..at.checked_add(buf.len())?));
        buf.copy_from_slice(from.ok_or_else(|| Error::failed("beyond the end of the disk"))?);
        Ok(())
    }

    fn write_at(&self, _: &[u8], _: u64) -> ZsResult<()> {
        // A panic might be caught on its way through C.
        self.written.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn flush(&self) -> ZsResult<()> {
        Ok(())
    }

    fn size(&self) -> u64 {
        self.data.len() as u64
    }
}

fn bytes(data: &[u8]) -> Arc<Bytes> {
    Arc::new(Bytes { data: data.to_vec(), written: AtomicBool::new(false) })
}

/// The names in the root directory.
pub fn top(data: &[u8]) -> Vec<String> {
    let opened = Direct::open(bytes(data), false, &Cancel::default());
    opened.and_then(|mut d| d.ls("/")).unwrap_or_default()
}

/// Reads what can be reached: the partitions, and all of their files.
pub fn look(data: &[u8]) {
    let disk = bytes(data);
    if let Ok(list) = parts::parts(&*disk) {
        assert!(list.iter().all(|p| p.start.checked_add(p.len).is_some_and(|end| end <= disk.size())), "{list:?}");
    }
    if let Ok(mut d) = Direct::open(disk.clone(), false, &Cancel::default()) {
        walk(&mut d);
    }
    assert!(!disk.written.load(Ordering::Relaxed), "it was written to");
}

/// Walks all that can be reached; whatever comes of it.
pub fn walk(d: &mut Direct) {
    let mut todo = vec![("/".to_string(), 0)];
    let mut seen = 0;
    while let Some((dir, depth)) = todo.pop() {
        for name in d.ls(&dir).unwrap_or_default().into_iter().take(200) {
            let path = format!("{}/{name}", dir.trim_end_matches('/'));
            seen += 1;
            match d.stat(&path) {
                Ok(Some(s)) if s.kind == "directory" && depth < 5 && seen < 1000 => todo.push((path, depth + 1)),
                Ok(Some(s)) if s.kind == "file" => drop(d.read(&path)),
                _ => {}
            }
        }
    }
    let _ = d.inspect();
    let _ = d.fsck();
}

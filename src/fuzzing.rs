//! One function for each thing that reads what others wrote: for `fuzz/`, and for the bounded run in `tests/fuzz.rs`. Each
//! takes any bytes; that it comes back is the test, and what is asserted here.

use crate::bindings::guestfs::live::direct::hostile;
use crate::bindings::rbd::stream as diffs;
use crate::bindings::spec::{ImageSpec, SnapSpec, SourceSpec};
use crate::check::Checker;
use crate::config::Config;
use crate::helpers::xml::Document;
use crate::helpers::{inventory as hosts, names as vms, units};
use crate::host::limits::Limits;
use crate::host::scripts::Source;
use std::cell::RefCell;
use std::fmt::{Debug, Display};
use std::str::FromStr;

pub type Target = (&'static str, fn(&[u8]));

/// All of them, by the name of their corpus.
pub const TARGETS: &[Target] = &[
    ("config", config),
    ("disk", disk),
    ("inventory", inventory),
    ("names", names),
    ("script", script),
    ("stream", stream),
    ("xml", xml),
];

/// zs.toml, and the limits of a command line.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = Config::parse(&text);
    let _ = Limits::default().read(&text);
}

/// A disk: its partitions, and the filesystems on them. It is looked at and not written to.
pub fn disk(data: &[u8]) {
    hostile::look(data);
}

/// hosts.csv.
pub fn inventory(data: &[u8]) {
    let Ok(read) = hosts::parse("hosts.csv", data) else { return };
    assert!(read.rows.iter().all(|r| r.line > 0), "rows are counted from 1");
}

/// Sizes, times, names of images and VMs: the same text as each.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = units::parse_duration(&text);
    if let Ok(n) = units::parse_size(&text) {
        assert_eq!(units::parse_size(&n.to_string()).ok(), Some(n), "{text:?}");
    }
    for name in vms::expand(&text).unwrap_or_default() {
        assert!(vms::check_vm(&name).is_ok(), "{text:?}: {name:?}");
    }
    there_and_back::<ImageSpec>(&text);
    there_and_back::<SnapSpec>(&text);
    there_and_back::<SourceSpec>(&text);
}

fn there_and_back<T: FromStr + Display + Debug + PartialEq>(text: &str) {
    let Ok(spec) = text.parse::<T>() else { return };
    assert_eq!(spec.to_string().parse::<T>().ok(), Some(spec), "{text:?}");
}

/// A script as `zs check` takes it: compiled, walked, not run.
pub fn script(data: &[u8]) {
    thread_local! {
        static CHECKER: RefCell<Checker> = RefCell::new(Checker::new(&[]));
    }
    let text = String::from_utf8_lossy(data).into_owned();
    let lines = text.split('\n').count();
    let found = CHECKER.with_borrow_mut(|c| c.check(&Source { name: "fuzz.rhai".into(), text, dir: None }));
    assert!(found.findings.iter().all(|f| f.line <= lines), "{:?}", found.findings);
}

/// What `rbd export-diff` writes.
pub fn stream(data: &[u8]) {
    let Ok((head, changes)) = diffs::read(std::io::Cursor::new(data)) else { return };
    for c in changes {
        let end = c.offset.checked_add(c.length);
        assert!(end.is_some_and(|end| head.size.is_none_or(|size| end <= size)), "beyond the end");
        assert!(c.at.is_none_or(|at| at + c.length <= data.len() as u64), "not in the file");
    }
}

/// Two lines, a path and a value, and then a document that they are tried on.
pub fn xml(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let (path, value) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let Ok(mut d) = Document::parse(lines.next().unwrap_or_default()) else { return };
    let _ = (d.get(path), d.get_all(path), d.text_of(path));
    let same = |d: &Document| Document::parse(&d.to_string()).map(|again| again.to_string() == d.to_string());
    assert_eq!(same(&d).ok(), Some(true), "what was read is written the same: {d}");
    let _ = d.insert(path, value);
    let _ = d.set(path, value);
    let _ = d.remove(path);
    let _ = d.to_string();
}

/// The top of a disk's root, to see that a seed of `disk` is one that is read.
pub fn listing(data: &[u8]) -> Vec<String> {
    hostile::top(data)
}

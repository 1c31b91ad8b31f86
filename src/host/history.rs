//! What ran, read from the journals: `zs history`, `zs show`, `zs undo`.

use super::journal::{self, Line, Open, is_finished};
use super::op::Op;
use super::undo::Undo;
use crate::error::{Error, Result};
use serde::Serialize;
use std::collections::HashMap;
use std::path::Path;

/// What became of one operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    Done,
    /// Begun, and nobody has written down how it went.
    Open,
    Failed {
        error: String,
    },
    Undone {
        said: String,
    },
    Left {
        what: String,
        command: String,
    },
}

#[derive(Clone, Debug, Serialize)]
pub struct Operation {
    pub seq: u64,
    pub time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    #[serde(flatten)]
    pub op: Op,
    #[serde(flatten)]
    pub state: State,
    /// What it made, by its identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
    /// What would take it back.
    #[serde(skip)]
    pub undo: Undo,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo_command: Option<String>,
    /// When its transaction was over: what happened to its objects later, others have done.
    #[serde(skip)]
    pub settled: String,
    #[serde(skip)]
    frame: u64,
}

impl Operation {
    /// It has changed something, which is there still as far as this run knows.
    pub fn stands(&self) -> bool {
        self.state == State::Done && self.undo != Undo::Nothing
    }

    pub fn open(&self) -> Open {
        Open { seq: self.seq, op: self.op.clone(), undo: self.undo.clone(), unknown: false }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Run {
    pub run: String,
    pub script: String,
    pub arguments: Vec<String>,
    pub time: String,
    #[serde(skip)]
    serial: u64,
    /// `None` while it goes on, and of a run that was killed.
    pub ms: Option<u64>,
    pub user: String,
    pub version: String,
    pub ceph_id: String,
    /// The run that this one has taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// The run that has taken this one back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<String>,
    /// The run that has taken that back again: what this one has made is what that one has brought back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brought_back_by: Option<String>,
    pub outcome: String,
    pub operations: Vec<Operation>,
    #[serde(skip)]
    pub is_alive: bool,
    #[serde(skip)]
    pub is_finished: bool,
    #[serde(skip)]
    pub is_ok: bool,
    #[serde(skip)]
    pub lines: Vec<Line>,
}

impl Run {
    fn of(id: &str, lines: Vec<Line>, is_alive: bool) -> Run {
        let mut run = Run {
            run: id.into(),
            script: String::new(),
            arguments: Vec::new(),
            time: String::new(),
            serial: 0,
            ms: None,
            user: String::new(),
            version: String::new(),
            ceph_id: String::new(),
            undoes: None,
            undone_by: None,
            brought_back_by: None,
            outcome: String::new(),
            operations: operations(&lines),
            is_alive,
            is_finished: is_finished(&lines),
            is_ok: false,
            lines: Vec::new(),
        };
        let mut recovered = false;
        for line in &lines {
            match line {
                Line::Run { time, serial, script, argv, user, version, ceph_id, undoes, .. } => {
                    run.serial = *serial;
                    run.time.clone_from(time);
                    run.script.clone_from(script);
                    run.arguments.clone_from(argv);
                    run.user.clone_from(user);
                    run.version.clone_from(version);
                    run.ceph_id.clone_from(ceph_id);
                    run.undoes.clone_from(undoes);
                }
                Line::End { ok, ms, recovered: by_recover, .. } => {
                    run.is_ok = *ok;
                    recovered = *by_recover;
                    run.ms = (!by_recover).then_some(*ms);
                }
                _ => {}
            }
        }
        run.outcome = run.told(recovered);
        run.lines = lines;
        run
    }

    fn told(&self, recovered: bool) -> String {
        let count = |which: fn(&Operation) -> bool| self.operations.iter().filter(|o| which(o)).count();
        let left = count(|o| matches!(o.state, State::Left { .. }));
        let mut text = match () {
            () if self.is_alive => "running".to_string(),
            () if !self.is_finished => return "unfinished: zs recover".into(),
            () if recovered => "killed, recovered".into(),
            () if self.is_ok => "done".into(),
            () => match count(Operation::stands) {
                0 => "failed, undone".into(),
                n => format!("failed, {n} operations kept"),
            },
        };
        if left > 0 {
            text.push_str(&format!(", {left} left behind"));
        }
        text
    }
}

/// Every operation of a run, oldest first.
fn operations(lines: &[Line]) -> Vec<Operation> {
    let mut all: Vec<Operation> = Vec::new();
    let mut end = String::new();
    for line in lines {
        let mut at = |seq: &u64, f: &mut dyn FnMut(&mut Operation)| {
            all.iter_mut().rev().filter(|o| o.seq == *seq).take(1).for_each(f);
        };
        match line {
            Line::Intent { seq, frame, time, op, undo } => all.push(Operation {
                seq: *seq,
                time: time.clone(),
                ms: None,
                op: op.clone(),
                state: State::Open,
                made: None,
                undo: undo.clone(),
                undo_command: None,
                settled: String::new(),
                frame: *frame,
            }),
            Line::Learned { seq, undo } => at(seq, &mut |o| o.undo = undo.clone()),
            Line::Done { seq, undo, ms } => at(seq, &mut |o| {
                o.undo = undo.clone();
                o.made = undo.made();
                o.ms = Some(*ms);
                o.state = State::Done;
            }),
            Line::Failed { seq, error } => at(seq, &mut |o| o.state = State::Failed { error: error.to_string() }),
            // That it failed says more than that it was taken back.
            Line::Undone { seq, said } => at(seq, &mut |o| {
                if !matches!(o.state, State::Failed { .. }) {
                    o.state = State::Undone { said: said.clone() };
                }
            }),
            Line::Left { seq, what, command } => {
                at(seq, &mut |o| o.state = State::Left { what: what.clone(), command: command.clone() });
            }
            Line::Merge { frame, into } => {
                all.iter_mut().filter(|o| o.frame == *frame).for_each(|o| o.frame = *into);
            }
            Line::Commit { frame, time } => {
                all.iter_mut().filter(|o| o.frame == *frame).for_each(|o| o.settled.clone_from(time));
            }
            Line::End { time, .. } => end.clone_from(time),
            Line::Stuck { .. } | Line::Run { .. } | Line::Cluster { .. } | Line::Hypervisor { .. } => {}
        }
    }
    for o in &mut all {
        o.undo_command = if o.stands() { o.undo.command() } else { None };
        if o.settled.is_empty() {
            o.settled.clone_from(if end.is_empty() { &o.time } else { &end });
        }
    }
    all
}

fn read(state: &Path, id: &str) -> Result<Run> {
    let lines = journal::read(state, id)?;
    // Whoever looks must not hold a lock that the run, or its recovery, needs.
    let is_alive = !lines.iter().any(|l| matches!(l, Line::End { .. })) && journal::hold(state, id)?.is_none();
    Ok(Run::of(id, lines, is_alive))
}

/// All runs, newest first, and what was wrong with those that cannot be read.
pub fn all(state: &Path) -> Result<(Vec<Run>, Vec<Error>)> {
    let (mut runs, mut bad) = (Vec::new(), Vec::new());
    for id in journal::runs(state)? {
        match read(state, &id) {
            Ok(run) => runs.push(run),
            // Rotated away meanwhile.
            Err(e) if e.kind == crate::error::Kind::NotFound => {}
            Err(e) => bad.push(e),
        }
    }
    runs.sort_by(|a, b| (b.serial, &b.time, &b.run).cmp(&(a.serial, &a.time, &a.run)));
    name_undone(&mut runs);
    Ok((runs, bad))
}

/// An undo that was undone itself has undone nothing. By what the runs say of each other and not by their times: the clock
/// may have been set back in between.
fn name_undone(runs: &mut [Run]) {
    let place: HashMap<String, usize> = runs.iter().enumerate().map(|(n, r)| (r.run.clone(), n)).collect();
    let target = |runs: &[Run], n: usize| runs[n].undoes.as_ref().and_then(|t| place.get(t)).copied();
    let depth =
        |runs: &[Run], n: usize| std::iter::successors(target(runs, n), |n| target(runs, *n)).take(runs.len()).count();
    let mut undoers: Vec<(usize, usize)> =
        (0..runs.len()).filter(|n| runs[*n].is_ok).map(|n| (depth(runs, n), n)).filter(|(d, _)| *d > 0).collect();
    // The undo of an undo is known before that.
    undoers.sort_by_key(|(depth, n)| (std::cmp::Reverse(*depth), *n));
    for (_, n) in undoers {
        let Some(undone) = target(runs, n).filter(|t| runs[*t].undone_by.is_none()) else { continue };
        let (name, again) = (runs[n].run.clone(), runs[n].undone_by.clone());
        let run = &mut runs[undone];
        match again {
            None => {
                run.outcome = format!("undone by {name}");
                (run.undone_by, run.brought_back_by) = (Some(name), None);
            }
            Some(by) if run.brought_back_by.is_none() => {
                run.outcome = format!("brought back by {by}");
                run.brought_back_by = Some(by);
            }
            Some(_) => {}
        }
    }
}

/// The run of this id, or of the only id that begins like this, or the `last`.
pub fn find(state: &Path, word: &str) -> Result<Run> {
    let (runs, bad) = all(state)?;
    let hint = "zs history lists them";
    if word == "last" {
        return runs
            .into_iter()
            .next()
            .ok_or_else(|| Error::not_found("no run has changed anything yet").op("history").subject(word));
    }
    let begins = |r: &Run| !word.is_empty() && r.run.starts_with(word);
    let mut found: Vec<Run> = runs.into_iter().filter(begins).collect();
    if let Some(exact) = found.iter().position(|r| r.run == word) {
        return Ok(found.swap_remove(exact));
    }
    match found.len() {
        1 => Ok(found.swap_remove(0)),
        0 => match bad.into_iter().find(|e| !word.is_empty() && e.subject.contains(&format!("/{word}"))) {
            Some(e) => Err(e),
            None => Err(Error::not_found("there is no such run in the journal").op("history").subject(word).hint(hint)),
        },
        _ => {
            let ids: Vec<String> = found.into_iter().map(|r| r.run).collect();
            Err(Error::invalid(format!("is the beginning of several runs: {}", ids.join(", ")))
                .op("history")
                .subject(word)
                .usage())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::journal::Journal;

    fn line(text: &str) -> Line {
        serde_json::from_str(text).expect("a line")
    }

    fn run(state: &Path, id: &str, time: &str, undoes: Option<&str>, more: &[&str]) {
        let mut j = Journal::create(state, id).expect("a journal");
        let undoes = undoes.map(|u| format!(",\"undoes\":\"{u}\"")).unwrap_or_default();
        let first = format!(
            "{{\"line\":\"run\",\"id\":\"{id}\",\"time\":\"{time}\",\"script\":\"s.rhai\",\"argv\":[\"a\"],\
             \"user\":\"u\",\"version\":\"0\",\"ceph_id\":\"libvirt\"{undoes}}}"
        );
        j.write(&line(&first), false).expect("written");
        more.iter().for_each(|text| j.write(&line(text), false).expect("written"));
    }

    const INTENT: &str = r#"{"line":"intent","seq":1,"frame":1,"time":"2026-01-01T00:00:00Z","op":{"op":"rbd.create","subject":"p/i","detail":{},"effect":"change"},"undo":{"undo":"nothing"}}"#;
    const DONE: &str =
        r#"{"line":"done","seq":1,"ms":7,"undo":{"undo":"remove_image","image":"p/i","temp":"p/.t","id":"77"}}"#;
    const COMMIT: &str = r#"{"line":"commit","frame":1,"time":"2026-01-01T00:00:05Z"}"#;
    const END: &str = r#"{"line":"end","ok":true,"ms":9,"time":"2026-01-01T00:00:09Z"}"#;

    #[test]
    fn runs_are_told_by_what_became_of_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path();
        run(state, "aa01", "2026-01-01T00:00:00Z", None, &[INTENT, DONE, COMMIT, END]);
        run(state, "aa02", "2026-01-02T00:00:00Z", None, &[INTENT]);
        run(
            state,
            "ab03",
            "2026-01-03T00:00:00Z",
            None,
            &[INTENT, DONE, r#"{"line":"undone","seq":1,"said":"removed"}"#, r#"{"line":"end","ok":false,"ms":9}"#],
        );
        let alive = Journal::create(state, "ac04").expect("a journal");
        let (runs, bad) = all(state).expect("read");
        assert!(bad.is_empty(), "{bad:?}");
        let told: Vec<_> = runs.iter().map(|r| format!("{} {}", r.run, r.outcome)).collect();
        assert_eq!(told, ["ab03 failed, undone", "aa02 unfinished: zs recover", "aa01 done", "ac04 running"]);
        drop(alive);

        let done = find(state, "aa01").expect("it");
        let o = &done.operations[0];
        assert_eq!((o.ms, o.made.as_deref(), o.stands()), (Some(7), Some("image id 77"), true));
        assert_eq!(o.settled, "2026-01-01T00:00:05Z");
        assert_eq!(find(state, "ab").expect("a prefix").run, "ab03");
        assert_eq!(find(state, "last").expect("the newest").run, "ab03");
        assert_eq!(find(state, "aa").expect_err("two of them").exit_code(), 2);
        assert_eq!(find(state, "zz").expect_err("none").kind, crate::error::Kind::NotFound);
        assert!(find(state, "").is_err());
    }

    #[test]
    fn an_undo_that_was_undone_has_undone_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path();
        let outcome = |id: &str| find(state, id).expect("it").outcome;
        run(state, "aa", "2026-01-01T00:00:00Z", None, &[INTENT, DONE, COMMIT, END]);
        run(state, "bb", "2026-01-02T00:00:00Z", Some("aa"), &[INTENT, DONE, COMMIT, END]);
        assert_eq!(outcome("aa"), "undone by bb");
        run(state, "cc", "2026-01-03T00:00:00Z", Some("bb"), &[INTENT, DONE, COMMIT, END]);
        assert_eq!((outcome("aa").as_str(), outcome("bb").as_str()), ("brought back by cc", "undone by cc"));
        run(state, "dd", "2026-01-04T00:00:00Z", Some("aa"), &[r#"{"line":"end","ok":false,"ms":9}"#]);
        assert_eq!(outcome("aa"), "brought back by cc", "that one has failed");
    }

    #[test]
    fn a_clock_that_was_set_back_hides_no_undo() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path();
        let outcome = |id: &str| find(state, id).expect("it").outcome;
        run(state, "aa", "2026-01-04T00:00:00Z", None, &[INTENT, DONE, COMMIT, END]);
        run(state, "bb", "2026-01-03T00:00:00Z", Some("aa"), &[INTENT, DONE, COMMIT, END]);
        assert_eq!(outcome("aa"), "undone by bb");
        run(state, "cc", "2026-01-02T00:00:00Z", Some("bb"), &[INTENT, DONE, COMMIT, END]);
        assert_eq!((outcome("aa").as_str(), outcome("bb").as_str()), ("brought back by cc", "undone by cc"));
        run(state, "dd", "2026-01-01T00:00:00Z", Some("aa"), &[INTENT, DONE, COMMIT, END]);
        assert_eq!(outcome("aa"), "undone by dd");
    }

    #[test]
    fn operations_stand_in_the_order_of_their_numbers() {
        let intent = |seq: u64, time: &str| {
            line(&INTENT.replace("\"seq\":1", &format!("\"seq\":{seq}")).replace("2026-01-01", time))
        };
        let lines = [intent(1, "2026-01-03"), intent(2, "2026-01-02"), intent(3, "2026-01-04")];
        assert!(operations(&lines).iter().map(|o| o.seq).eq([1, 2, 3]));
        assert!(journal::open_operations(&lines).iter().map(|o| o.seq).eq([3, 2, 1]));
    }
}

//! The prompt on the lab: `REPL.md` line for line, a copy that is interrupted, a session that is killed.

#[path = "../pty/mod.rs"]
mod pty;

use crate::site::{POOL, Site, TEMPLATE, site};
use pty::Terminal;
use std::path::Path;

/// A terminal that shows nothing but text.
fn session(site: &Site) -> Terminal {
    let mut t = Terminal::start("", &[("TERM", "dumb")], 100, 500);
    t.until(pty::PROMPT);
    assert!(t.device().starts_with("/dev/"), "a terminal of its own: {}", t.device());
    assert!(site.dir.exists());
    t
}

/// Whether lines are as written: `…` stands for anything, and alone on its line for any lines.
fn fits(wanted: &[&str], found: &[&str]) -> bool {
    match wanted.split_first() {
        None => found.is_empty(),
        Some((&"…", rest)) => (0..=found.len()).any(|n| fits(rest, &found[n..])),
        Some((line, rest)) => found.split_first().is_some_and(|(f, others)| line_fits(line, f) && fits(rest, others)),
    }
}

fn line_fits(wanted: &str, found: &str) -> bool {
    match wanted.split_once('…') {
        None => wanted == found,
        Some((head, tail)) => found
            .strip_prefix(head)
            .is_some_and(|rest| (0..=rest.len()).any(|n| rest.is_char_boundary(n) && line_fits(tail, &rest[n..]))),
    }
}

#[track_caller]
fn compare(what: &str, wanted: &[&str], found: &str) {
    let lines: Vec<&str> = found.lines().map(str::trim_end).collect();
    assert!(fits(wanted, &lines), "{what}\nREPL.md says:\n{}\nit was:\n{found}", wanted.join("\n"));
}

/// The lines of the fenced blocks, without the fences.
fn transcript() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("REPL.md");
    let text = std::fs::read_to_string(path).expect("REPL.md");
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if inside => lines.push(line.to_string()),
            _ => {}
        }
    }
    lines
}

#[test]
fn the_tour_is_true() {
    let Some(site) = site() else { return };
    let before = site.state();
    let lines = transcript();
    let mut t = None;
    let mut steps = 0;
    let mut at = 0;
    let is_input = |l: &str| l.starts_with("zs> ") || l.starts_with("$ ");
    while at < lines.len() {
        let input = lines[at].clone();
        let end = (at + 1..lines.len()).find(|n| is_input(&lines[*n])).unwrap_or(lines.len());
        let wanted: Vec<&str> = lines[at + 1..end].iter().map(String::as_str).collect();
        at = end;
        steps += 1;
        if input == "$ zs" {
            t = Some(session(&site));
            continue;
        }
        if let Some(command) = input.strip_prefix("$ ") {
            let bin = Path::new(env!("CARGO_BIN_EXE_zs")).parent().expect("a directory").display();
            compare(&input, &wanted, &site.sh(&format!("PATH={bin}:$PATH; {command}")));
            continue;
        }
        let typed = input.trim_start_matches("zs> ");
        if typed == ":quit" {
            let mut t = t.take().expect("a session");
            t.keys(":quit\r");
            assert_eq!(t.end(), 0);
            continue;
        }
        let t = t.as_mut().expect("a session");
        let mut more = typed.to_string();
        if typed.ends_with('{') {
            wanted.iter().take_while(|l| **l != "}").for_each(|l| more.push_str(&format!("\r{l}")));
            more.push_str("\r}");
        }
        let shown = match wanted.iter().find_map(|l| l.split_once("[y/N] ")) {
            Some((question, answer)) => {
                t.keys(&format!("{more}\r"));
                let asked = t.until(&format!("{question}[y/N] "));
                let rest = t.line(answer);
                let asked = asked.split_once('\n').map_or("", |(_, shown)| shown);
                if rest.is_empty() { format!("{asked}{answer}") } else { format!("{asked}{answer}\n{rest}") }
            }
            None => t.line(&more),
        };
        compare(&input, &wanted, &shown);
    }
    assert!(steps > 30, "{steps}");
    assert_eq!(site.state(), before);
}

#[test]
fn ctrl_c_takes_the_line_back_and_keeps_the_session() {
    let Some(site) = site() else { return };
    let before = site.state();
    let mut t = session(&site);
    t.line("let kept = 1");
    t.keys(&format!("rbd.create(\"{POOL}/z-c\", \"1G\"); for i in 0..1000 {{ rbd.deep_copy(\"{POOL}/{TEMPLATE}\", `{POOL}/z-c-${{i}}`); print(i); }}\r"));
    t.until("\n0\n");
    t.keys("\x03");
    let said = t.until("left behind: nothing");
    assert!(said.contains(&format!("undone: removed image {POOL}/z-c\n")), "{said}");
    t.until(pty::PROMPT);
    assert_eq!(t.line("kept"), "1");
    assert_eq!(site.state(), before);
    // What destroys asks, and a no is an answer.
    t.line(&format!("rbd.create(\"{POOL}/z-c\", \"1G\");"));
    t.keys(&format!("rbd.remove(\"{POOL}/z-c\")\r"));
    t.until("[y/N] ");
    assert!(t.line("n").contains("error[denied]"));
    assert_eq!(t.line(&format!("rbd.exists(\"{POOL}/z-c\")")), "true");
    assert!(t.line(":undo").ends_with("left behind: nothing"));
    t.keys("\x04");
    assert_eq!(t.end(), 0);
    assert_eq!(site.state(), before);
}

#[test]
fn the_console_is_the_guests_until_its_end() {
    let Some(site) = site() else { return };
    const VM: &str = "z-k8s-n-1";
    site.zs(&["clone.rhai", VM]).ok();
    let mut t = session(&site);
    assert!(t.line(&format!("virsh.console(\"{VM}\")")).contains("error[invalid]"), "it is off");
    t.line(&format!("virsh.start(\"{VM}\");"));
    t.keys(&format!("virsh.console(\"{VM}\")\r"));
    t.until("Ctrl-] ends it");
    // What the firmware and the guest say. Ctrl-C is the guest's, too.
    t.keys("\x03\r");
    t.until(&format!("ZS-BOOT hostname={VM}"));
    t.keys("\x1d");
    t.until(pty::PROMPT);
    assert_eq!(t.line("1 + 1"), "2");
    site.zs(&["-e", &format!("virsh.console(\"{VM}\")")]).refused("unsupported", 1);
    t.keys("\x04");
    assert_eq!(t.end(), 0);
    site.zs(&["-y", "destroy.rhai", VM, "--purge", "--timeout", "0", "--force"]).ok();
}

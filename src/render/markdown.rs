//! The reference as Markdown: what `docs/reference` holds, and `zs doc --markdown` writes.

use crate::check::{ModuleDoc, ScriptDoc};
use crate::host::registry::{Entry, KINDS, signature};

const NOTE: &str =
    "<!-- Written by `zs doc --markdown docs/reference`: change the comments in the source instead. -->\n";

/// Chapters: file, title, what it is, and the receivers whose functions stand in it (`""`: none).
const CHAPTERS: &[(&str, &str, &str, &[&str])] = &[
    ("ceph", "ceph", "The cluster, its pools and users.", &["Ceph", "CephPool", "CephAuth"]),
    ("rbd", "rbd", "Images, snapshots, clones, their trash.", &["Rbd"]),
    ("virsh", "virsh", "Domains, storage pools, volumes, secrets, networks.", &["Virsh"]),
    ("guestfs", "guestfs", "The inside of guests' disks. `g` is what `guestfs.open` gives.", &["Guestfs", "Guest"]),
    ("functions", "Functions", "What is called without a namespace.", &[""]),
    (
        "helpers",
        "Helpers",
        "Arguments, files, formats, names, networks, times.",
        &[
            "Args",
            "Csv",
            "Fs",
            "Inventory",
            "Json",
            "Log",
            "Names",
            "Net",
            "Sh",
            "Time",
            "Toml",
            "Uuid",
            "Xml",
            "XmlDocument",
        ],
    ),
];

/// All files of the reference: name and content.
pub fn reference(entries: &[Entry], modules: &[ModuleDoc], scripts: &[ScriptDoc]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut index = format!("{NOTE}# Reference\n\nThe same as `zs doc` shows.\n\n| page | |\n|---|---|\n");
    let mut placed = 0;
    for (file, title, about, receivers) in CHAPTERS {
        let mut text = format!("{NOTE}# {title}\n\n{about}\n");
        for receiver in *receivers {
            for e in entries.iter().filter(|e| e.receiver.as_deref().unwrap_or_default() == *receiver) {
                text.push_str(&entry(e));
                placed += 1;
            }
        }
        index.push_str(&format!("| [{title}]({file}.md) | {about} |\n"));
        files.push((format!("{file}.md"), text));
    }
    debug_assert_eq!(placed, entries.len(), "each function is in a chapter");
    index.push_str("| [Standard library](std.md) | What `import \"std/…\"` finds. |\n");
    index.push_str("| [Scripts](scripts.md) | What `zs NAME.rhai` finds, with their arguments. |\n");
    files.push(("std.md".into(), std(modules)));
    files.push(("scripts.md".into(), scripts_page(scripts)));
    files.push(("README.md".into(), index));
    files
}

fn entry(e: &Entry) -> String {
    let signature = signature(e);
    let mut out = format!("\n## {}\n\n```\n{signature}\n```\n\n", signature.split('(').next().unwrap_or_default());
    for (at, line) in e.doc.lines().enumerate() {
        match line.strip_prefix("# ") {
            Some(title) => out.push_str(&format!("\n**{title}**\n\n")),
            None if line.starts_with("Implements: ") => out.push_str(&format!("\n*{line}*\n")),
            None => out.push_str(&format!("{line}\n")),
        }
        if at == 0 && !e.params.is_empty() {
            out.push('\n');
            for p in &e.params {
                let said = KINDS.iter().find(|(k, _)| k == p).map_or("", |(_, said)| said);
                out.push_str(&format!("- *{}*: {said}\n", p.trim_end_matches('_')));
            }
        }
    }
    out
}

fn std(modules: &[ModuleDoc]) -> String {
    let mut out = format!("{NOTE}# Standard library\n");
    for m in modules {
        let alias = m.name.rsplit('/').next().unwrap_or_default();
        out.push_str(&format!("\n## {}\n\n{}\n\n```rhai\nimport \"{}\" as {alias};\n```\n", m.name, m.about, m.name));
        for (signature, doc) in &m.functions {
            out.push_str(&format!("\n### {alias}::{signature}\n\n{doc}\n"));
        }
    }
    out
}

fn scripts_page(scripts: &[ScriptDoc]) -> String {
    let mut out = format!("{NOTE}# Scripts\n");
    for s in scripts {
        out.push_str(&format!("\n## {}\n\n{}\n\n```\n{}\n```\n", s.name, s.about, s.help.trim_end()));
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::check::{Checker, module_docs, script_docs};
    use std::path::Path;

    #[test]
    fn the_reference_is_current() {
        let checker = Checker::new(&[]);
        let files = super::reference(&checker.library.entries, &module_docs(&[]), &script_docs(&[], 100));
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
        let mut names = vec![];
        for (name, text) in files {
            let there = std::fs::read_to_string(dir.join(&name)).unwrap_or_default();
            assert!(there == text, "{name} is stale: cargo run -- doc --markdown docs/reference");
            names.push(name);
        }
        let all = std::fs::read_dir(&dir).expect("docs/reference").flatten();
        let old: Vec<_> =
            all.map(|f| f.file_name().to_string_lossy().into_owned()).filter(|f| !names.contains(f)).collect();
        assert!(old.is_empty(), "nothing writes {old:?}");
    }
}

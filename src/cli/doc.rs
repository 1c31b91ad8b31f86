//! `zs doc`.

use super::Cli;
use crate::check::{ModuleDoc, ScriptDoc, module_doc, module_docs, module_names, script_doc, script_docs};
use crate::config::Config;
use crate::error::{Error, Result, nearest};
use crate::host::events::Events;
use crate::host::registry::{Entry, signature};
use crate::host::{engine, registry, scripts};
use crate::render::doc::{self, Paint};
use crate::render::markdown;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What a name stands for.
enum Topic<'a> {
    Functions(Vec<&'a Entry>),
    Module(ModuleDoc),
    Script(ScriptDoc),
    /// Functions that say this word.
    Mentions(Vec<&'a Entry>),
}

/// `words` are a name, or as the tools write it: `rbd snap create`.
pub fn doc(cli: &Cli, events: &Events, words: &[String], into: Option<&Path>) -> Result<u8> {
    let entries = registry::entries(&engine::bare());
    let dirs = Config::load(cli.config.as_deref())?.scripts.path;
    if let Some(dir) = into {
        return write(events, dir, &entries);
    }
    let width = doc::width();
    let paint: Paint = &|color, text| events.paint(color, text);
    if words.is_empty() {
        if events.json {
            events.result(serde_json::to_value(&entries).unwrap_or_default());
        } else {
            events.out(index(&entries, &dirs, width, paint).trim_end());
        }
        return Ok(0);
    }
    let name = named(words);
    let topic = find(&name, &entries, &dirs, width).ok_or_else(|| unknown(&name, &entries, &dirs))?;
    if events.json {
        events.result(match &topic {
            Topic::Functions(list) | Topic::Mentions(list) => serde_json::to_value(list).unwrap_or_default(),
            Topic::Module(m) => json!([m]),
            Topic::Script(s) => json!([s]),
        });
        return Ok(0);
    }
    events.out(&match topic {
        Topic::Functions(list) => {
            let text = match list[..] {
                [one] => doc::entry(one, width, paint),
                _ => doc::list(&list, width, paint),
            };
            // A script and a module may have the name too.
            let scripts = scripts::list(&dirs).into_iter().map(|s| s.name);
            let others = scripts.chain(module_names(None, &dirs));
            let same = |o: &String| o.trim_end_matches(".rhai").trim_start_matches("std/") == name;
            match others.filter(same).collect::<Vec<_>>() {
                none if none.is_empty() => text,
                also => format!("{text}\n\n{}", doc::aside(&format!("See also: {}", also.join(", ")), width, paint)),
            }
        }
        Topic::Mentions(list) => {
            let said = doc::aside(&format!("There is no `{name}`. These speak of it:"), width, paint);
            format!("{said}\n\n{}", doc::list(&list, width, paint))
        }
        Topic::Module(m) => module(&m, width, paint),
        Topic::Script(s) if s.help.is_empty() => doc::prose(&s.about, width),
        Topic::Script(s) => s.help.trim_end().to_string(),
    });
    Ok(0)
}

/// `rbd.snap_create` for `rbd snap create` and `rbd.snap_create(…)`; `virsh.pool_autostart` for `virsh pool-autostart`.
fn named(words: &[String]) -> String {
    let first = words[0].split('(').next().unwrap_or_default().to_string();
    match words {
        [_] => first,
        [_, rest @ ..] => {
            let rest = rest.join("_").replace('-', "_");
            format!("{first}.{rest}")
        }
        [] => first,
    }
}

fn full(e: &Entry) -> String {
    signature(e).split('(').next().unwrap_or_default().to_string()
}

fn find<'a>(name: &str, entries: &'a [Entry], dirs: &[PathBuf], width: usize) -> Option<Topic<'a>> {
    let select = |is: &dyn Fn(&Entry, &str) -> bool| -> Option<Topic<'a>> {
        let found: Vec<&Entry> = entries.iter().filter(|e| is(e, &full(e))).collect();
        (!found.is_empty()).then_some(Topic::Functions(found))
    };
    let script = || {
        let known = scripts::list(dirs);
        let bare = known.iter().find(|s| s.name.trim_end_matches(".rhai") == name).map(|s| s.name.clone());
        let is_path = name.ends_with(".rhai") || name.contains('/') && Path::new(name).is_file();
        let source = scripts::find(&bare.filter(|_| !is_path).or_else(|| is_path.then(|| name.into()))?, dirs).ok()?;
        Some(Topic::Script(script_doc(&source, width)))
    };
    let module = || {
        let (name, function) = name.split_once("::").map_or((name, None), |(m, f)| (m, Some(f)));
        let beside = std::env::current_dir().ok();
        let found =
            module_doc(name, beside.as_deref(), dirs).or_else(|| module_doc(&format!("std/{name}"), None, dirs))?;
        let named = |s: &str| function.is_none_or(|f| s.split('(').next() == Some(f));
        let functions: Vec<_> = found.functions.into_iter().filter(|(s, _)| named(s)).collect();
        (function.is_none() || !functions.is_empty()).then_some(Topic::Module(ModuleDoc { functions, ..found }))
    };
    let lower = name.to_lowercase();
    let tool = lower.replace('-', "_");
    select(&|_, full| full == name || full == tool)
        .or_else(|| select(&|_, full| full.strip_prefix(name).is_some_and(|r| r.starts_with('.'))))
        .or_else(|| {
            if name.contains('/') || name.contains(".rhai") || name.contains("::") {
                script().or_else(module)
            } else {
                None
            }
        })
        .or_else(|| select(&|e, _| e.name == name || e.name == tool))
        .or_else(script)
        .or_else(module)
        .or_else(|| match select(&|e, _| e.name.contains(&tool) || e.summary().to_lowercase().contains(&lower)) {
            // A name with a dot is meant as one.
            Some(Topic::Functions(list)) if !name.contains('.') && lower.len() > 2 => Some(Topic::Mentions(list)),
            _ => None,
        })
}

fn unknown(name: &str, entries: &[Entry], dirs: &[PathBuf]) -> Error {
    let functions = entries.iter().flat_map(|e| [full(e), e.name.clone()]);
    let scripts = scripts::list(dirs).into_iter().map(|s| s.name);
    let all: Vec<String> = functions.chain(scripts).chain(module_names(None, dirs)).collect();
    let e = Error::not_found("is not documented").subject(name).usage();
    match nearest(name, all.iter().map(String::as_str)) {
        Some(near) => e.hint(format!("did you mean `zs doc {near}`?")),
        None => e.hint("`zs doc` lists what there is"),
    }
}

/// What there is: namespaces, functions, modules, scripts.
fn index(entries: &[Entry], dirs: &[PathBuf], width: usize, paint: Paint) -> String {
    let mut out = String::new();
    let mut spaces: Vec<(String, Vec<&str>)> = Vec::new();
    for e in entries.iter().filter(|e| e.receiver.is_some()) {
        let full = full(e);
        let space = full.rsplit_once('.').map_or("", |(s, _)| s).to_string();
        match spaces.iter_mut().find(|(s, _)| *s == space) {
            Some((_, names)) => names.push(&e.name),
            None => spaces.push((space, vec![&e.name])),
        }
    }
    let rank = |s: &str| {
        ["ceph", "ceph.pool", "ceph.auth", "rbd", "virsh", "guestfs", "g"].iter().position(|n| *n == s).unwrap_or(9)
    };
    spaces.sort_by(|a, b| (rank(&a.0), &a.0).cmp(&(rank(&b.0), &b.0)));
    let rows: Vec<(String, String)> = spaces.into_iter().map(|(s, names)| (s, names.join(", "))).collect();
    out.push_str(&doc::chapter("NAMESPACES", &rows, width, paint));
    let free = entries.iter().filter(|e| e.receiver.is_none());
    let rows: Vec<(String, String)> = free.map(|e| (e.name.clone(), e.summary().to_string())).collect();
    out.push_str(&format!("\n{}", doc::chapter("FUNCTIONS", &rows, width, paint)));
    let rows: Vec<(String, String)> = module_docs(dirs).into_iter().map(|m| (m.name, first(&m.about))).collect();
    out.push_str(&format!("\n{}", doc::chapter("MODULES", &rows, width, paint)));
    let rows: Vec<(String, String)> = scripts::list(dirs).into_iter().map(|s| (s.name, s.about)).collect();
    out.push_str(&format!("\n{}", doc::chapter("SCRIPTS", &rows, width, paint)));
    let more = "`zs doc rbd` shows a namespace, `zs doc rbd.clone` or `zs doc rbd snap create` a function.";
    out.push_str(&format!("\n{}", doc::aside(more, width, paint)));
    out
}

/// The first sentence of a comment.
fn first(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.split_inclusive(". ").next().unwrap_or_default().trim().to_string()
}

fn module(m: &ModuleDoc, width: usize, paint: Paint) -> String {
    let alias = m.name.rsplit('/').next().unwrap_or_default();
    let mut out =
        format!("{}\n\n{}\n", paint("1", &format!("import \"{}\" as {alias};", m.name)), doc::prose(&m.about, width));
    for (signature, said) in &m.functions {
        out.push_str(&format!("\n{}\n", paint("1", &doc::wrap(&format!("{alias}::{signature}"), width, 8))));
        if !said.is_empty() {
            out.push_str(&format!("{}\n", doc::prose(said, width)));
        }
    }
    out.trim_end().to_string()
}

fn write(events: &Events, dir: &Path, entries: &[Entry]) -> Result<u8> {
    let fail = |e: std::io::Error| Error::from(e).op("doc").subject(dir.display());
    std::fs::create_dir_all(dir).map_err(fail)?;
    // The reference is of what is built in, whatever a site has.
    let files = markdown::reference(entries, &module_docs(&[]), &script_docs(&[], 100));
    for (name, text) in &files {
        std::fs::write(dir.join(name), text).map_err(fail)?;
    }
    events.log("info", &format!("{} files in {}", files.len(), dir.display()));
    Ok(0)
}

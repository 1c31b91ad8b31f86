//! Rules of the repository that no compiler keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A little more than the rule of 500 lines, so that one line more is no reason to split a file.
const LONGEST: usize = 520;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All files below `dir` whose name ends so, with their paths from the root of the repository.
fn files(dir: &str, ext: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut todo = vec![root().join(dir)];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|x| x == ext) {
                let name = path.strip_prefix(root()).expect("inside").display().to_string();
                found.push((name, read(&path)));
            }
        }
    }
    assert!(!found.is_empty(), "no .{ext} in {dir}");
    found.sort();
    found
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn unsafe_stands_in_sys_files_only() {
    // That each block says why it is sound is clippy's undocumented_unsafe_blocks, denied in Cargo.toml.
    assert!(read("Cargo.toml").contains("undocumented_unsafe_blocks = \"deny\""));
    let mut sys = 0;
    let mut bad = Vec::new();
    for (name, text) in files("src", "rs") {
        let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
        let words = code.flat_map(|l| l.split(|c: char| !c.is_alphanumeric() && c != '_'));
        if words.filter(|w| *w == "unsafe" || *w == "unsafe_code").count() > 0 {
            if name.ends_with("/sys.rs") || name.contains("/sys/") { sys += 1 } else { bad.push(name) }
        }
    }
    assert!(sys > 0);
    none("unsafe outside of sys.rs", &bad);
}

#[test]
fn files_are_short() {
    let long = |dir: &str, ext: &str| -> Vec<String> {
        let all = files(dir, ext).into_iter().map(|(name, text)| (name, text.lines().count()));
        all.filter(|(_, n)| *n > LONGEST).map(|(name, n)| format!("{name}: {n} lines")).collect()
    };
    none("divide them by subject", &[long("src", "rs"), long("tests", "rs"), long("stdlib", "rhai")].concat());
}

fn metadata(args: &[&str]) -> serde_json::Value {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(args)
        .current_dir(root())
        .output()
        .expect("cargo");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON")
}

#[test]
fn readme_gives_a_reason_for_each_dependency() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let used: BTreeSet<String> = ["dependencies", "dev-dependencies", "build-dependencies"]
        .iter()
        .filter_map(|t| manifest.get(*t)?.as_table())
        .flat_map(|t| t.keys().cloned())
        .collect();
    let readme = read("README.md");
    let section = |title: &str| -> BTreeMap<String, String> {
        let from = readme.split_once(title).unwrap_or_else(|| panic!("README has no {title:?}")).1;
        let rows = from.lines().skip_while(|l| !l.starts_with('|')).take_while(|l| l.starts_with('|')).skip(2);
        let mut table = BTreeMap::new();
        for row in rows {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            for name in cells[0].split(", ") {
                table.insert(name.trim_matches('`').to_string(), cells[cells.len() - 1].to_string());
            }
        }
        table
    };
    let table = section("\n## Dependencies\n");
    let named: BTreeSet<String> = table.keys().cloned().collect();
    assert_eq!(used, named, "Cargo.toml and README's table (left: used, right: named)");
    none("without a reason", &table.into_iter().filter(|(_, why)| why.len() < 10).map(|(n, _)| n).collect::<Vec<_>>());
    let out = section("\n### Not used\n");
    none("used after all", &out.into_keys().filter(|n| used.contains(n)).collect::<Vec<_>>());
}

#[test]
fn every_dependency_is_used() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let code: String = [files("src", "rs"), files("tests", "rs")].concat().into_iter().map(|(_, text)| text).collect();
    let names = ["dependencies", "dev-dependencies"].iter().filter_map(|t| manifest.get(*t)?.as_table());
    let idle: Vec<String> = names
        .flat_map(|t| t.keys().map(|k| k.replace('-', "_")))
        .filter(|n| !code.contains(&format!("{n}::")) && !code.contains(&format!("use {n}")))
        .collect();
    none("crates that nothing uses", &idle);
}

#[test]
fn licences_are_allowed() {
    let deny: toml::Table = read("deny.toml").parse().expect("TOML");
    let licences = deny["licenses"].as_table().expect("[licenses]");
    let texts = |v: &toml::Value| -> BTreeSet<String> {
        v.as_array().expect("a list").iter().map(|t| t.as_str().expect("text").to_string()).collect()
    };
    let allowed = texts(&licences["allow"]);
    let exceptions: BTreeMap<String, BTreeSet<String>> = licences["exceptions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|e| (e["crate"].as_str().expect("a crate").to_string(), texts(&e["allow"])))
        .collect();
    let meta = metadata(&["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let packages = meta["packages"].as_array().expect("packages");
    assert!(packages.len() > 50);
    let mut bad = Vec::new();
    let mut needed = BTreeSet::new();
    for p in packages {
        let (name, licence) = (p["name"].as_str().expect("a name"), p["license"].as_str().unwrap_or("(none)"));
        let terms = match spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX) {
            Ok(terms) => terms,
            Err(e) => {
                bad.push(format!("{name}: {licence}: {e}"));
                continue;
            }
        };
        let by = |list: &BTreeSet<String>| terms.evaluate(|r| list.contains(&r.to_string()));
        if by(&allowed) {
            continue;
        }
        match exceptions.get(name) {
            Some(own) if by(own) => _ = needed.insert(name.to_string()),
            _ => bad.push(format!("{name}: {licence}")),
        }
    }
    none("not in deny.toml", &bad);
    let idle: Vec<String> = exceptions.into_keys().filter(|n| !needed.contains(n)).collect();
    none("exceptions that nothing needs", &idle);
}

#[test]
fn all_crates_come_from_the_registry() {
    let lock: toml::Table = read("Cargo.lock").parse().expect("TOML");
    let elsewhere: Vec<String> = lock["package"]
        .as_array()
        .expect("packages")
        .iter()
        .filter(|p| p["name"].as_str() != Some("zs"))
        .filter(|p| {
            p.get("source")
                .and_then(|s| s.as_str())
                .is_none_or(|s| !s.starts_with("registry+https://github.com/rust-lang/crates.io-index"))
        })
        .map(|p| p["name"].to_string())
        .collect();
    none("not from crates.io", &elsewhere);
}

fn zs(args: &[&str]) -> (i32, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_zs"))
        .args(args)
        .current_dir(root())
        .env_remove("ZS_CONFIG")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("zs");
    let text = [out.stdout, out.stderr].map(|b| String::from_utf8_lossy(&b).into_owned()).concat();
    (out.status.code().unwrap_or(-1), text)
}

#[test]
fn shipped_scripts_pass_zs_check() {
    let dirs = ["scripts", "stdlib", "docs", "tests/scripts"];
    let all: Vec<(String, String)> = dirs.into_iter().flat_map(|d| files(d, "rhai")).collect();
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    let (code, said) = zs(&[&["check", "--strict"], &names[..]].concat());
    assert_eq!(code, 0, "{said}");
    let dir = tempfile::tempdir().expect("a directory");
    let wrong = dir.path().join("wrong.rhai");
    std::fs::write(&wrong, "nosuchname + 1").expect("write");
    let (code, said) = zs(&["check", &wrong.display().to_string()]);
    assert!(code == 2 && said.contains("nosuchname"), "{code}: {said}");
}

#[test]
fn shipped_scripts_have_help() {
    let (code, list) = zs(&["scripts"]);
    assert_eq!(code, 0);
    for (name, _) in files("scripts", "rhai") {
        let name = name.trim_start_matches("scripts/").to_string();
        assert!(list.contains(&name), "{name} is not in `zs scripts`");
        let (code, help) = zs(&[&name, "--help"]);
        assert!(code == 0 && help.contains("Usage: ") && help.contains(&name), "{name}: {code}\n{help}");
    }
}

/// What follows `.hint(` and `hint:`, with the line after it: the file and the text.
fn hints() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (name, text) in [files("src", "rs"), files("scripts", "rhai"), files("stdlib", "rhai")].concat() {
        for start in [".hint(", "hint: "] {
            let parts = text.split(start).skip(1);
            all.extend(parts.map(|p| (name.clone(), p.lines().take(2).collect::<Vec<_>>().join(" "))));
        }
    }
    assert!(all.len() > 50);
    all
}

#[test]
fn options_and_commands_in_hints_exist() {
    let (_, help) = zs(&["--help"]);
    let scripts: Vec<String> =
        files("scripts", "rhai").into_iter().map(|(n, _)| n["scripts/".len()..].into()).collect();
    let known: String = scripts.iter().map(|s| zs(&[s, "--help"]).1).chain([help.clone()]).collect();
    let has = |word: &str| known.split(|c: char| !c.is_alphanumeric() && c != '-').any(|w| w == word);
    let is_word = |c: char| c.is_alphanumeric() || c == '-' || c == '.' || c == '_';
    let mut bad = Vec::new();
    let mut seen = 0;
    for (file, hint) in hints() {
        // Other programs' commands have options of their own.
        let ours = !["rbd ", "ceph ", "virsh ", "e2fsck ", "virt-"].iter().any(|p| hint.contains(&format!("`{p}")));
        let words: Vec<&str> = hint.split(|c| !is_word(c)).filter(|w| !w.is_empty()).collect();
        for pair in words.windows(2) {
            if ours && pair[1].starts_with("--") && pair[1].len() > 2 {
                seen += 1;
                if !has(pair[1]) {
                    bad.push(format!("{file}: {} in {hint:?}", pair[1]));
                }
            }
        }
        for command in hint.split("`zs ").skip(1) {
            seen += 1;
            let word = command.split(|c| !is_word(c)).next().unwrap_or_default();
            if !word.is_empty() && !has(word) && !scripts.iter().any(|s| s == word) {
                bad.push(format!("{file}: zs {word} in {hint:?}"));
            }
        }
    }
    assert!(seen > 5, "{seen}");
    none("hints that name what does not exist", &bad);
}

#[test]
fn starts_without_native_libraries() {
    let out = Command::new(env!("CARGO_BIN_EXE_zs")).args(["-e", "1"]).env("LD_DEBUG", "files").output().expect("zs");
    let loaded = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && loaded.contains("libc.so.6"), "{loaded}");
    for library in ["librbd", "librados", "libvirt", "libguestfs", "libext2fs"] {
        assert!(!loaded.contains(library), "{library} is loaded at the start");
    }
}

//! Completion as shells do it, and the files that `zs` writes for editors and man.

use std::path::Path;
use std::process::{Command, Stdio};

/// A directory with an inventory and a site's own script.
fn site() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().display();
    let config = format!(
        "[site]\ninventory = \"hosts.csv\"\n[scripts]\npath = [\"{path}\"]\n[libvirt]\nuri = \"test:///default\"\n"
    );
    std::fs::write(dir.path().join("zs.toml"), config).expect("write");
    std::fs::write(dir.path().join("hosts.csv"), "name,ip\nz-k8s-m-1,192.168.6.101\nz-k8s-m-2,192.168.6.102\n")
        .expect("write");
    let own = "// Takes the site's measure.\nlet a = args.parse(#{ options: [#{ name: \"fast\", help: \"in a hurry\" }] });\na\n";
    std::fs::write(dir.path().join("measure.rhai"), own).expect("write");
    dir
}

fn run(program: &str, code: &str, dir: &Path) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_zs")).parent().expect("a directory").display().to_string();
    let out = Command::new(program)
        .args(["-c", code])
        .env("PATH", format!("{bin}:/usr/bin:/bin"))
        .env("ZS_CONFIG", dir.join("zs.toml"))
        .env("HOME", dir)
        .env("LIBVIRT_DEFAULT_URI", "test:///default")
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.is_empty(), "{program}: {said}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// What is offered for the last of these words.
const CASES: &[(&[&str], &[&str], &[&str])] = &[
    (&["cl"], &["clone.rhai"], &["check"]),
    (&["che"], &["check"], &["clone.rhai"]),
    (&["mea"], &["measure.rhai"], &[]),
    (&["--js"], &["--json"], &["--jobs"]),
    (&["--color", "al"], &["always"], &["auto"]),
    (&["-n", "clone.rhai", "--on-e"], &["--on-exists"], &["--ip"]),
    (&["clone.rhai", "--on-exists", ""], &["fail", "skip"], &["z-k8s-m-1"]),
    (&["clone.rhai", "z-k8s-m-1", "z-"], &["z-k8s-m-2"], &["z-k8s-m-1"]),
    (&["destroy.rhai", "z-k8s-m-"], &["z-k8s-m-1", "z-k8s-m-2"], &["clone.rhai"]),
    (&["measure.rhai", "--"], &["--fast", "--help"], &["--json"]),
    (&["completions", ""], &["bash", "zsh", "fish"], &[]),
    (&["doc", "rbd.snap_c"], &["rbd.snap_create"], &["rbd.clone"]),
    (&["--allow", "rbd.clo"], &["rbd.clone"], &["clone.rhai"]),
    (&["nosuch.rhai", "--"], &[], &["--json"]),
];

#[test]
fn bash_completes() {
    let dir = site();
    for (words, wanted, unwanted) in CASES {
        let list: Vec<String> = words.iter().map(|w| format!("'{w}'")).collect();
        let code = format!(
            "eval \"$(zs completions bash)\"; compopt() {{ :; }}; COMP_WORDS=(zs {}); COMP_CWORD={}; _zs; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            list.join(" "),
            words.len()
        );
        let said = run("bash", &code, dir.path());
        let offered: Vec<&str> = said.lines().collect();
        for w in *wanted {
            assert!(offered.contains(w), "{words:?}: no {w} in {offered:?}");
        }
        for w in *unwanted {
            assert!(!offered.contains(w), "{words:?}: {w} in {offered:?}");
        }
    }
    // bash takes `--color=al` apart.
    let code =
        "eval \"$(zs completions bash)\"; COMP_WORDS=(zs --color = al); COMP_CWORD=3; _zs; echo \"${COMPREPLY[@]}\"";
    assert_eq!(run("bash", code, dir.path()).trim(), "always");
}

/// Other shells, where they are; everywhere the words that they ask zs for.
#[test]
fn fish_and_zsh_complete() {
    let dir = site();
    let has = |shell: &str| Command::new(shell).arg("-c").arg("true").status().is_ok_and(|s| s.success());
    let offered =
        run("bash", "zs __complete -- clone.rhai --on-exists s; zs __complete -- verify.rhai z-k8s-m-1", dir.path());
    assert_eq!(offered, "skip\nz-k8s-m-1\tplanned\n");
    if has("fish") {
        let code = "zs completions fish | source; complete -C 'zs clone.rhai --on-exists '; complete -C 'zs cl'";
        let said = run("fish", code, dir.path());
        assert!(said.contains("skip") && said.contains("clone.rhai\t"), "{said}");
    }
    if has("zsh") {
        let code = "zs completions zsh > _zs; zsh -n _zs; autoload -Uz compinit; compinit -u -D; source ./_zs; \
                    words=(zs clone.rhai --on-exists ''); CURRENT=4; compset() { :; }; _describe() { print -l -- $found; }; _zs";
        let said = run("zsh", code, dir.path());
        assert!(said.contains("fail\nskip"), "{said}");
    }
}

/// A hypervisor that does not answer, a configuration that is wrong: the shell gets less, at once, and no word of it.
#[test]
fn completion_never_waits_and_never_complains() {
    let dir = site();
    std::fs::write(dir.path().join("broken.toml"), "[libvirt\n").expect("write");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let uri = format!("qemu+tcp://127.0.0.1:{}/system", listener.local_addr().expect("an address").port());
    let begun = std::time::Instant::now();
    let said = run("bash", &format!("zs __complete -- --connect '{uri}' destroy.rhai z-k8s-m-1"), dir.path());
    assert_eq!(said, "z-k8s-m-1\tplanned\n");
    let said = run("bash", "ZS_CONFIG=broken.toml zs __complete -- destroy.rhai z-", dir.path());
    assert_eq!(said, "");
    assert!(begun.elapsed().as_secs() < 5);
}

#[test]
fn files_for_editors_and_man() {
    let dir = site();
    run("bash", "zs -q man man; zs -q definitions defs", dir.path());
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let page = read("man/zs.1");
    assert!(page.contains(".TH") && page.contains("dry\\-run") && !page.contains("__complete"), "{page}");
    assert!(read("man/zs-check.1").contains("strict"));
    assert!(read("man/zs-clone.1").contains("on\\-exists") && read("man/zs-measure.1").contains("fast"));
    let scope = read("defs/__scope__.d.rhai");
    assert!(scope.contains("let rbd: Rbd;") && scope.contains("let site: Map;"), "{scope}");
    let functions = read("defs/__static__.d.rhai");
    assert!(functions.contains("fn snap_create(") && functions.contains("/// Takes a snapshot."), "no functions");
}

//! The command line, without a site: what scripts end with, and how their errors are shown.

use std::process::{Command, Stdio};

struct Run {
    code: i32,
    out: String,
    err: String,
}

fn zs(args: &[&str]) -> Run {
    let state = tempfile::tempdir().expect("a directory");
    let o = Command::new(env!("CARGO_BIN_EXE_zs"))
        .args(args)
        .env("ZS_STATE_DIR", state.path())
        .env("ZS_CONFIG", "/dev/null")
        .stdin(Stdio::null())
        .output()
        .expect("zs runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Run { code: o.status.code().unwrap_or(-1), out: text(o.stdout), err: text(o.stderr) }
}

#[test]
fn exit_ends_the_script_wherever_it_is() {
    for code in [
        "exit(3); 5",
        "transaction(|| exit(3)); 5",
        "transaction(|| transaction(|| exit(3))); 5",
        "parallel([1, 3, 2], |x| if x == 3 { exit(x) }); 5",
        "fn f() { transaction(|| exit(3)); } f(); 5",
        "try { transaction(|| exit(3)); } catch { } 5",
    ] {
        let run = zs(&["-e", code]);
        assert_eq!((run.code, run.out.trim()), (0, "3"), "{code}: {}", run.err);
    }
}

#[test]
fn errors_in_closures_show_their_line() {
    for (code, caret, hint) in [
        ("transaction(|| {\n    let a = 1;\n    rbd.inof(\"p/a\")\n});", "3 |     rbd.inof(", "did you mean `info`?"),
        (
            "parallel([1], |x| {\n    fail(#{ kind: \"busy\", message: \"m\", hint: \"wait\" })\n});",
            "2 |     fail(",
            "wait",
        ),
        (
            "fn f() {\n    fail(\"deep\")\n}\ntransaction(|| parallel([1, 2], |x| f()));",
            "2 |     fail(",
            "error[failed]",
        ),
    ] {
        let run = zs(&["-e", code]);
        assert_eq!(run.code, 1, "{}", run.err);
        assert!(run.err.contains(caret) && run.err.contains(hint) && run.err.contains('^'), "{}", run.err);
    }
    // Caught, they are maps as any other, whatever they were to Rhai.
    for code in ["transaction(|| 1 / 0)", "transaction(|| [1][2])", "parallel([1], |x| nobody(x))"] {
        let run = zs(&["-e", &format!("try {{ {code} }} catch (e) {{ return e.kind + e.op + e.subject; }}")]);
        assert!(run.code == 0 && ["failed", "invalid"].contains(&run.out.trim()), "{code}: {} {}", run.out, run.err);
    }
}

#[test]
fn an_option_of_zs_after_the_script_is_told_its_place() {
    for option in ["--json", "-q", "--ceph-id=x", "--yes"] {
        let run = zs(&["clone.rhai", "vm", option]);
        let name = option.split('=').next().unwrap_or(option);
        assert!(run.code == 2 && run.err.contains(&format!("before the script: zs {name} clone.rhai")), "{}", run.err);
    }
    let run = zs(&["clone.rhai", "vm", "--jsn"]);
    assert!(run.code == 2 && !run.err.contains("before the script"), "{}", run.err);
}

#[test]
fn a_bug_is_an_error() {
    for code in ["sleep(0.0/0.0)", "names.expand(\"a{00000000000000000000000000000001..2}\")"] {
        let run = zs(&["-e", code]);
        assert!(run.code == 1 && run.err.contains("error[") && !run.err.contains("panicked"), "{code}: {}", run.err);
    }
}

/// A script that asks for too much is told so, and zs ends as it always does: no signal, no abort.
#[test]
fn no_script_ends_zs() {
    for (code, said) in [
        ("let s = \"x\"; s.pad(10000000000, \"yz\");", "256.0 MiB of memory"),
        ("let s = \"x\"; s.pad(10000000000, 'y');", "256.0 MiB of memory"),
        ("let a = []; a.pad(10000000000, 1);", "256.0 MiB of memory"),
        ("blob(1000000000000)", "limit memory="),
        ("blob(1000000000000, 7)", "limit memory="),
        ("let s = \"xxxxxxxx\"; loop { s += s }", "256.0 MiB of memory"),
        // Not to be caught.
        ("let s = \"xxxxxxxx\"; loop { try { s += s } catch { } }", "256.0 MiB of memory"),
        ("let a = [1, 2, 3]; loop { a += a }", "256.0 MiB of memory"),
        // In one step, and no step is there to look again.
        ("let s = \"\"; s.pad(100000, \"a\"); let t = s; s.replace(\"a\", t)", "too much memory at once"),
        ("let f = || 0; for i in 0..3000000 { let g = f; f = || g; }", "1000 levels deep"),
        ("let f = [|| 0]; loop { try { let g = f; f = [|| g]; } catch { } }", "1000 levels deep"),
        ("fn f(n) { f(n + 1) } f(0)", "too deep"),
        ("let f = |g| g.call(g); f.call(f)", "too deep"),
        ("let s = \"\"; s.pad(300000, \"<a>\"); xml.parse(s)", "more than 1000 elements"),
        ("let s = \"\"; s.pad(300000, \"[\"); json.parse(s)", "recursion limit"),
        ("let s = \"a = \"; s.pad(300000, \"[\"); toml.parse(s)", "is no TOML"),
    ] {
        let run = zs(&["--limit", "memory=256M", "-e", code]);
        assert!(
            run.code == 1 && run.err.contains(said) && run.err.contains("error["),
            "{code}: {} {}",
            run.code,
            run.err
        );
    }
    // With no limit given there is one all the same.
    let run = zs(&["-e", "blob(1000000000000)"]);
    assert!(run.code == 1 && run.err.contains("limit memory="), "{}", run.err);
    // The engine does not look at a map after an assignment to a key of it.
    let run = zs(&["--limit", "map=1000", "-e", "let m = #{}; for i in 0..100000 { m[`k${i}`] = i; }"]);
    assert!(run.code == 1 && run.err.contains("limit map="), "{}", run.err);
    // And what is large and wide, or calls itself, is no mistake.
    for (code, value) in [
        ("let a = []; let m = #{}; for i in 0..30000 { a.push(i); m[`k${i}`] = i; } a.len() + m.len()", "60000"),
        (
            "let f = |g, n| if n == 0 { 0 } else { g.call(g, n - 1) }; let t = 0; for i in 0..3000 { t += f.call(f, 9); } t",
            "0",
        ),
        (
            "let s = \"ab\"; s.pad(5, \"xyz\"); let t = \"a\"; t.pad(3, '-'); s + t + blob(2, 65).as_string()",
            "abxyza--AA",
        ),
        ("let a = [1]; a.pad(3, 2); a.pad(1, 9); a.len() + blob(4).len() + blob(-1).len()", "7"),
    ] {
        let run = zs(&["-e", code]);
        assert_eq!((run.code, run.out.trim()), (0, value), "{code}: {}", run.err);
    }
}

/// Texts that nest without end are mistakes of their writers, to `zs check` and to those who run them.
#[test]
fn no_text_ends_zs() {
    let dir = tempfile::tempdir().expect("a directory");
    let n = 50_000;
    let nested = |open: &str, close: &str| format!("{}1{}", open.repeat(n), close.repeat(n));
    let texts = [
        ("arrays", format!("let x = {};", nested("[", "]"))),
        ("brackets", format!("let x = {};", nested("(", ")"))),
        ("blocks", nested("{", "}")),
        ("sum", format!("let x = {}1;", "1+".repeat(n))),
        ("else", format!("{}{{}}", "if true {} else ".repeat(n))),
        ("texts", format!("let x = `{}`;", nested("${`", "`}"))),
        ("closures", format!("let x = {}1;", "|x| ".repeat(n))),
        ("chain", format!("let x = #{{}}; x{};", ".a".repeat(n))),
        ("index", format!("let x = []; x{};", "[0]".repeat(n))),
        ("not", format!("{}true", "!".repeat(n))),
        ("try", "try {".repeat(n)),
        ("switch", "switch 1 { 1 =>".repeat(n)),
        ("zeros", "\0".repeat(n)),
        ("b", "import \"a\" as a;".into()),
        ("a", "import \"b\" as b;".into()),
        ("itself", "import \"itself\" as i;".into()),
    ];
    let path = |name: &str| dir.path().join(format!("{name}.rhai"));
    texts.iter().for_each(|(name, text)| std::fs::write(path(name), text).expect("written"));
    for (name, _) in &texts {
        let path = path(name);
        let path = path.to_str().expect("UTF-8");
        let run = zs(&[path]);
        assert!([1, 2].contains(&run.code) && run.err.contains("error["), "{name}: {} {}", run.code, run.err);
        let imports = ["a", "b", "itself"].contains(name);
        assert!(!imports || run.err.contains("imports itself"), "{name}: {}", run.err);
        let check = zs(&["check", path]);
        assert!(check.code == if imports { 0 } else { 2 }, "{name}: {} {}", check.code, check.err);
    }
}

#[test]
fn json_is_all_there_is_on_stdout() {
    for args in [
        &["--json", "doc", "rbd.info"][..],
        &["--json", "doc"],
        &["--json", "scripts"],
        &["--json", "clone.rhai", "--help"],
        &["--json", "-e", "print(1); 2"],
        &["--json", "no-such.rhai"],
    ] {
        let run = zs(args);
        assert!(!run.out.is_empty(), "{args:?}");
        for line in run.out.lines() {
            let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert!(event["event"].is_string(), "{args:?}: {line}");
        }
    }
}

/// What zs says to a person at a terminal who types `keys`, or sends a signal, once the question is there.
fn at_a_question(answer: impl FnOnce(&mut std::process::ChildStdin, i32)) -> Run {
    let state = tempfile::tempdir().expect("a directory");
    let zs = format!("echo pid=$$; exec {} -e 'confirm(\"sure?\")'", env!("CARGO_BIN_EXE_zs"));
    let mut child = Command::new("script")
        .args(["-qefc", &zs, "/dev/null"])
        .env("ZS_STATE_DIR", state.path())
        .env("ZS_CONFIG", "/dev/null")
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of util-linux, runs");
    let (mut keys, mut screen) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let (mut text, mut buf) = (String::new(), [0; 256]);
    let mut read = |text: &mut String| {
        let n = std::io::Read::read(&mut screen, &mut buf).unwrap_or(0);
        text.push_str(&String::from_utf8_lossy(&buf[..n]));
        n > 0
    };
    while !text.contains("[y/N]") && read(&mut text) {}
    let pid = text.split_once("pid=").and_then(|(_, rest)| rest.lines().next()?.trim().parse().ok()).expect("a pid");
    let begun = std::time::Instant::now();
    answer(&mut keys, pid);
    while read(&mut text) {}
    let code = child.wait().expect("ended").code().unwrap_or(-1);
    assert!(begun.elapsed().as_secs() < 10, "{text}");
    Run { code, out: text.clone(), err: text }
}

#[test]
fn questions_can_be_answered_and_interrupted() {
    use nix::sys::signal::{Signal, kill};
    use std::io::Write;
    let typed = |text: &'static str| at_a_question(move |keys, _| keys.write_all(text.as_bytes()).expect("typed"));
    let run = typed("y\n");
    assert_eq!(run.code, 0, "{}", run.out);
    let run = typed("\n");
    assert!(run.code == 3 && run.err.contains("you said no"), "{}", run.err);
    let run = typed("\x03");
    assert!(run.code == 130 && run.err.contains("error[interrupted]"), "{}", run.err);
    let run = at_a_question(|_, pid| kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM).expect("sent"));
    assert!(run.code == 130 && run.err.contains("error[interrupted]"), "{}", run.err);
}

#[test]
fn tests_of_the_standard_library() {
    let run = zs(&["test", "tests/scripts"]);
    assert!(run.code == 0 && run.out.contains("test result: ok."), "{}{}", run.out, run.err);
}

#[test]
fn tests_of_scripts_fail_and_say_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = "fn test_good() { assert_eq(rbd.ls(\"libvirt-pool\").len(), 1); }\n\
        fn test_bad() { log.warn(\"so far\"); rbd.create(\"libvirt-pool/x\", \"1G\"); assert_eq(1, 2); }\n\
        fn helper() {}\nfn test_apart() { assert(!rbd.exists(\"libvirt-pool/x\")); }\n";
    std::fs::write(dir.path().join("mine.rhai"), text).expect("written");
    std::fs::write(dir.path().join("none.rhai"), "fn helper() {}").expect("written");
    let path = dir.path().to_str().expect("UTF-8");
    let run = zs(&["test", path]);
    assert!(run.code == 1 && run.out.contains("2 passed; 1 failed"), "{}{}", run.out, run.err);
    for said in ["test_bad ... FAILED", "warning: so far", "+ rbd.create libvirt-pool/x", "1 is not 2", "mine.rhai:2:"]
    {
        assert!(run.out.contains(said), "{said}: {}", run.out);
    }
    let json = zs(&["--json", "test", path, "--only", "good"]);
    assert!(json.code == 0 && json.out.lines().count() == 2, "{}", json.out);
    assert!(json.out.contains("\"event\":\"test\"") && json.out.contains("\"passed\":1"), "{}", json.out);
    let none = zs(&["test", &format!("{path}/none.rhai")]);
    assert!(none.code == 1 && none.err.contains("no function `test_…` there"), "{}", none.err);
    assert_eq!(zs(&["test", &format!("{path}/absent.rhai")]).code, 2);
}

/// What a script does to files of this host goes when it fails, and after a `kill -9` with `zs recover`.
#[test]
fn files_are_taken_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let (state, work) = (dir.path().join("state"), dir.path().join("work"));
    std::fs::create_dir(&work).expect("mkdir");
    let listing = || {
        let mut find = Command::new("find");
        find.arg(&work).args(["-printf", "%P %m %l\n", "-type", "f", "-exec", "cat", "{}", "+"]);
        let out = find.output().expect("find").stdout;
        let mut lines: Vec<_> = String::from_utf8_lossy(&out).lines().map(String::from).collect();
        lines.sort();
        lines
    };
    std::fs::write(work.join("old"), "as it was\n").expect("write");
    std::fs::write(work.join("gone"), "to be removed\n").expect("write");
    std::fs::set_permissions(work.join("gone"), std::os::unix::fs::PermissionsExt::from_mode(0o640)).expect("chmod");
    std::fs::write(work.join("moved"), "to be moved\n").expect("write");
    std::os::unix::fs::symlink("old", work.join("link")).expect("symlink");
    let before = listing();
    let script = "
        fs.mkdir_p(`${w}/a/b/c`);
        fs.mkdir_p(`${w}/a/b/c`);
        fs.write(`${w}/a/b/new`, \"new\");
        fs.write(`${w}/link`, \"written over\");
        fs.rm(`${w}/gone`);
        fs.rename(`${w}/moved`, `${w}/a/moved`);
        try { fs.rename(`${w}/old`, `${w}/a/moved`); } catch (e) { if e.kind != \"exists\" { throw e; } }
        try { fs.rm(`${w}/a`); } catch (e) { if e.kind != \"failed\" { throw e; } }
        if fs.read(`${w}/old`) != \"written over\" || fs.stat(`${w}/link`).type != \"link\" { fail(\"not written\"); }
    ";
    let zs = |end: &str, fault: &str| {
        let code = format!("let w = {:?}; {script} {end}", work.display().to_string());
        let mut zs = Command::new(env!("CARGO_BIN_EXE_zs"));
        zs.args(["--yes", "-e", &code]).env("ZS_STATE_DIR", &state).env("ZS_CONFIG", "/dev/null").stdin(Stdio::null());
        if !fault.is_empty() {
            zs.env("ZS_FAULT", fault);
        }
        zs.output().expect("zs runs")
    };
    let failed = zs("fail(\"no\")", "");
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("left behind: nothing"), "{said}");
    assert_eq!(listing(), before, "{said}");
    for how in ["fail", "kill", "gap"] {
        // The sixth is refused.
        for n in 1..=5 {
            zs("", &format!("{how}:{n}"));
            let recover = Command::new(env!("CARGO_BIN_EXE_zs"))
                .arg("recover")
                .env("ZS_STATE_DIR", &state)
                .env("ZS_CONFIG", "/dev/null")
                .output()
                .expect("zs runs");
            let said = String::from_utf8_lossy(&recover.stderr).into_owned();
            assert!(recover.status.success(), "{how}:{n}: {said}");
            assert_eq!(listing(), before, "{how}:{n}: {said}");
        }
    }
    assert!(zs("", "").status.success());
    assert!(work.join("a/moved").exists() && !work.join("gone").exists());
}

#[test]
fn check_tells_people_and_editors() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("my.rhai");
    let name = path.display().to_string();
    std::fs::write(&path, "let vm = \"名字\";\nprint(\"名字\" + rbd.inof(\"p/a\"));\nprint(vmm);\n").expect("write");
    let run = zs(&["check", &name]);
    assert_eq!(run.code, 2, "{}", run.err);
    let shown = "2 | print(\"名字\" + rbd.inof(\"p/a\"));\n  |                    ^^^^\nhint: did you mean `info`?\n";
    assert!(run.err.contains(shown) && run.err.contains(":2:18\n"), "{}", run.err);
    assert!(run.err.contains("did you mean `vm`?") && run.err.contains("2 errors, 1 warning"), "{}", run.err);

    let run = zs(&["check", "--format", "json", &name]);
    let lines: Vec<serde_json::Value> = run.out.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!((run.code, lines.len(), run.err.as_str()), (2, 3, ""));
    let found = lines.iter().find(|f| f["code"] == "unknown-method").expect("the method");
    assert_eq!((&found["line"], &found["column"], &found["end"]), (&2.into(), &18.into(), &22.into()), "{found}");
    assert_eq!((&found["file"], &found["severity"]), (&name.as_str().into(), &"error".into()), "{found}");

    // A warning is no mistake, unless it is to be one.
    std::fs::write(&path, "let vm = 1;\nprint(2);\n").expect("write");
    assert_eq!(zs(&["check", &name]).code, 0);
    assert_eq!(zs(&["check", "--strict", &name]).code, 2);
    assert!(zs(&["check", &name]).err.contains("warning[unused-variable]"));
    // Whole directories, and nothing to do is a mistake.
    assert_eq!(zs(&["check", "--strict", &dir.path().display().to_string()]).code, 2);
    assert_eq!(zs(&["check"]).code, 2);
}

#[test]
fn doc_finds_what_people_call_it() {
    for (words, first) in [
        (&["rbd.clone"][..], "rbd.clone(snap, new_image[, options])"),
        (&["rbd", "snap", "create"], "rbd.snap_create(new_snap[, options])"),
        (&["virsh", "pool-autostart"], "virsh.pool_autostart(storage_pool[, on])"),
        (&["ceph.pool"], "ceph.pool.application_enable("),
        (&["parallel"], "parallel(list, callback[, options])"),
        (&["std/clone"], "import \"std/clone\" as clone;"),
        (&["std/clone::many"], "import \"std/clone\" as clone;"),
        (&["clone.rhai"], "Clones VMs of the template"),
        (&["hypervisor"], "There is no `hypervisor`. These speak of it:"),
    ] {
        let run = zs(&[&["doc"], words].concat());
        assert!(run.code == 0 && run.out.starts_with(first), "{words:?}: {}{}", run.out, run.err);
    }
    assert!(zs(&["doc", "clone"]).out.ends_with("See also: clone.rhai, std/clone\n"));
    let run = zs(&["doc", "rbd.cloen"]);
    assert!(run.code == 2 && run.err.contains("did you mean `zs doc rbd.clone`?"), "{}", run.err);
    let run = zs(&["doc"]);
    for name in ["NAMESPACES", "snap_create", "std/clone", "clone.rhai", "wait_until"] {
        assert!(run.out.contains(name), "{name}: {}", run.out);
    }
}

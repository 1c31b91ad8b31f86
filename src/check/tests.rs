//! Seeded mistakes, each found where it stands and nothing else; and scripts that have none.

use super::*;
use std::path::Path;

fn source(text: &str) -> Source {
    Source { name: "test.rhai".into(), text: text.into(), dir: None }
}

/// Takes `⟦` and `⟧` out; where they stood: line, column, column of the end.
fn marked(text: &str) -> (String, Option<(usize, usize, usize)>) {
    let Some(begin) = text.find('⟦') else { return (text.into(), None) };
    let before = &text[..begin];
    let (inner, after) = text[begin + '⟦'.len_utf8()..].split_once('⟧').expect("⟧");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (format!("{before}{inner}{after}"), Some((line, column, column + inner.chars().count())))
}

/// Code, script with the place marked, what message or hint say.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("unknown-variable", "let image = 1; print(⟦imag⟧ + image)", "did you mean `image`?"),
    ("unknown-variable", "print(`pool: ${⟦pol⟧}`)", "pol"),
    ("unknown-variable", "let p = 1;\nprint(`a ${p} b ${⟦q⟧} c`)", "q"),
    ("unknown-variable", "fn f(a) { a + ⟦b⟧ } f(1)", "b"),
    (
        "unknown-variable",
        "let top = 1; print(top); fn f() { ⟦top⟧ } f()",
        "functions do not see the variables of the script",
    ),
    ("unknown-variable", "const TOP = 1; print(TOP); fn f() { ⟦TOP⟧ } f()", "`global::TOP`"),
    (
        "unknown-variable",
        "const LIMIT = 1; print(LIMIT); fn f() { global::⟦LIMT⟧ } f()",
        "did you mean `global::LIMIT`?",
    ),
    ("unknown-variable", "[1].map(|x| x + ⟦y⟧)", "y"),
    ("unknown-variable", "[1].map(|x| x); ⟦x⟧", "x"),
    ("unknown-variable", "for i in 0..3 { print(i) } print(⟦i⟧)", "i"),
    ("unknown-variable", "if true { let a = 1; print(a) } ⟦a⟧", "a"),
    ("unknown-variable", "try { rbd.ls(\"p\") } catch (e) { print(⟦err⟧) }", "err"),
    ("unknown-variable", "⟦count⟧ = 1", "count"),
    ("unknown-variable", "print(\"名字 中文\" + ⟦mingzi⟧)", "mingzi"),
    ("unknown-variable", "switch 1 { 1 => ⟦one⟧, _ => 2 }", "one"),
    ("unknown-variable", "let m = #{ a: 1 }; m.a = ⟦n⟧", "n"),
    ("unknown-variable", "virsh.exists(⟦vm⟧)", "vm"),
    ("unknown-variable", "let f = || { let g = || ⟦deep⟧; g.call() }; f.call()", "deep"),
    ("unknown-function", "⟦confrm⟧(\"sure?\")", "did you mean `confirm`?"),
    ("unknown-function", "fn greet(who) { print(who) } ⟦gret⟧(\"a\"); greet(\"b\")", "did you mean `greet`?"),
    ("unknown-function", "let usage = |m| fail(m); ⟦usage⟧(\"x\")", "usage.call(…)"),
    ("unknown-function", "⟦snap_ls⟧(\"p/a\")", "rbd.snap_ls"),
    ("unknown-function", "let f = Fn(⟦\"nope\"⟧); f.call()", "nope"),
    ("unknown-method", "rbd.⟦inof⟧(\"p/a\")", "did you mean `info`?"),
    ("unknown-method", "ceph.pool.⟦creat⟧(\"p\")", "did you mean `create`?"),
    ("unknown-method", "let g = guestfs.open(\"vm\"); g.⟦raed⟧(\"/etc/hostname\"); g.close()", "did you mean `read`?"),
    ("unknown-method", "virsh.connect(\"qemu:///system\").⟦lst⟧()", "did you mean `list`?"),
    ("unknown-method", "rbd.⟦dominfo⟧(\"vm\")", "virsh.dominfo"),
    ("unknown-method", "fn f(x) { x.⟦frobnicate⟧() } f(1)", "frobnicate"),
    ("unknown-method", "\"abc\".⟦lenght⟧()", ""),
    ("unknown-method", "parallel([1], |x| rbd.⟦rmove⟧(`p/${x}`))", "did you mean `remove`?"),
    ("unknown-method", "rbd.ls(\"p\")\n  .⟦fliter⟧(|i| i.image == \"a\")", "did you mean `filter`?"),
    ("unknown-method", "fs?.⟦raed⟧(\"/etc/hosts\")", "did you mean `read`?"),
    ("unknown-property", "rbd.⟦ls⟧", "it is a function"),
    ("unknown-property", "ceph.⟦pol⟧.ls()", "did you mean `pool`?"),
    ("argument-count", "rbd.⟦clone⟧(\"p/a@s\")", "takes 2 or 3 arguments, not 1"),
    ("argument-count", "virsh.⟦list⟧(true)", "it is virsh.list()"),
    ("argument-count", "fn f(a, b) { a + b } ⟦f⟧(1)", "it is f(a, b)"),
    ("argument-count", "⟦sleep⟧()", "sleep"),
    ("argument-count", "guestfs.⟦set_hostname⟧(\"vm\")", "guestfs.set_hostname"),
    ("argument-type", "virsh.start(⟦5⟧)", "`domain` is text, not a whole number"),
    ("argument-type", "rbd.copy(\"p/a\", \"p/b\", ⟦true⟧)", "`options` is a map"),
    ("argument-type", "rbd.snap_create(⟦#⟧{ image: \"p/a\" })", "is text, not a map"),
    ("argument-type", "let n = \"four\"; virsh.setvcpus(\"vm\", ⟦n⟧)", "is a whole number, not text"),
    ("argument-type", "parallel(⟦3⟧, |x| x)", "is an array, not a whole number"),
    ("argument-type", "rbd.remove(⟦[⟧\"p/a\"])", "is text, not an array"),
    ("argument-type", "transaction(⟦1⟧)", "is a closure"),
    ("argument-type", "virsh.autostart(\"vm\", ⟦\"yes\"⟧)", "is true or false, not text"),
    ("argument-type", "rbd.info(⟦rbd⟧)", "handle"),
    ("argument-value", "rbd.create(\"p/a\", ⟦\"10X\"⟧)", "10X"),
    ("argument-value", "rbd.create(\"p/a\", ⟦true⟧)", "a size is a number of bytes"),
    ("argument-value", "rbd.snap_create(⟦\"p/a\"⟧)", "pool/image@snap"),
    ("unknown-option", "rbd.copy(\"p/a\", \"p/b\", #{ ⟦sparse_siz⟧: 4096 })", "did you mean `sparse_size`?"),
    ("unknown-option", "parallel([1], |x| x, #{ ⟦job⟧: 2 })", "did you mean `jobs`?"),
    ("unknown-option", "let o = 1; rbd.clone(\"p/a@s\", \"p/b\", #{\n    ⟦\"colour\"⟧: o })", "no option `colour`"),
    ("unknown-option", "args.parse(#{ ⟦abuot⟧: \"x\" })", "did you mean `about`?"),
    ("unknown-option", "args.parse(#{ options: [#{ name: \"a\", ⟦valeu⟧: \"A\" }] })", "did you mean `value`?"),
    ("unknown-option", "args.parse(#{ positional: [#{ name: \"a\", ⟦short⟧: \"a\" }] })", "short"),
    (
        "unknown-kind",
        "args.parse(#{ options: [#{ name: \"a\", value: \"A\", kind: ⟦\"siz\"⟧ }] })",
        "did you mean \"size\"?",
    ),
    ("declaration", "args.⟦parse⟧(#{ options: [#{ name: \"a\" }, #{ name: \"a\" }] })", "declared twice"),
    (
        "unknown-field",
        "let a = args.parse(#{ options: [#{ name: \"disk-size\", value: \"S\" }] }); a.⟦disksize⟧",
        "did you mean `disk_size`?",
    ),
    ("unknown-field", "virsh.list().map(|d| d.⟦nam⟧)", "did you mean `name`?"),
    ("unknown-field", "for d in virsh.list() { print(d.⟦stat⟧) }", "did you mean `state`?"),
    ("unknown-field", "let i = rbd.ls(\"p\")[0]; i.⟦imgae⟧", "did you mean `image`?"),
    ("unknown-module", "import ⟦\"std/clon\"⟧ as clone; clone::many([], #{})", "did you mean \"std/clone\"?"),
    ("unknown-module", "⟦clone⟧::many([], #{})", "import \"std/clone\" as clone;"),
    ("unknown-module", "⟦rbd⟧::ls(\"p\")", "with a dot"),
    ("unknown-function", "import \"std/clone\" as clone; clone::⟦mny⟧([], #{})", "did you mean `clone::many`?"),
    ("argument-count", "import \"std/clone\" as clone; clone::⟦many⟧([])", "clone::many("),
    (
        "unknown-option",
        "import \"std/clone\" as clone; clone::many([\"a\"], #{ ⟦strt⟧: true })",
        "did you mean `start`?",
    ),
    ("unused-variable", "let ⟦image⟧ = rbd.ls(\"p\"); 1", "never read"),
    ("unused-variable", "fn f() { let ⟦n⟧ = 1; n = 2; } f()", "never read"),
    ("unused-import", "import \"std/clone\" as ⟦clone⟧; 1", "never used"),
    ("unused-function", "fn ⟦idle⟧() { 1 } print(2)", "never called"),
    ("unused-function", "private fn ⟦idle⟧() { 1 }\nfn f() { 2 }", "never called"),
    ("unreachable", "fn f() { return 1; ⟦print⟧(2); } f()", "`return`"),
    ("unreachable", "loop { break; ⟦print⟧(2); }", "`break`"),
    ("unreachable", "fn f() { fail(\"no\"); ⟦print⟧(2); } f()", "`fail`"),
    ("hidden-method", "fn info(x) { x } info(1); rbd.⟦info⟧(\"p/a\")", "rbd.info"),
    ("unknown-property", "let z = 5; z.⟦foo⟧", "no property `foo`"),
    ("unknown-property", "rbd.ls(\"p\").⟦length⟧", "did you mean `len`?"),
    ("unknown-field", "let m = #{ a: 1, b: 2 }; m.⟦c⟧", "this map has no `c`"),
    ("unknown-option", "let o = #{ sparse_siz: 1 }; rbd.copy(\"p/a\", \"p/b\", ⟦o⟧)", "did you mean `sparse_size`?"),
    ("unknown-field", "let i = rbd.info(\"p/a\"); i.⟦sise⟧", "did you mean `size`?"),
    ("unknown-field", "let i = rbd.clone(\"p/a@s\", \"p/b\"); i.⟦sise⟧", "did you mean `size`?"),
    ("unknown-method", "rbd.ls(\"p\").⟦length⟧()", "did you mean `len`?"),
    ("syntax", "let a = (1 + 2⟦;⟧", ""),
    ("syntax", "lett ⟦a⟧ = 1;", "did you mean `let`"),
    ("syntax", "fn f(a) { a } ⟦fn⟧ f(a) { a } f(1)", "already exists"),
];

#[test]
fn each_mistake_is_found_where_it_stands() {
    assert!(MISTAKES.len() >= 40);
    let mut checker = Checker::new(&[]);
    let mut wrong = Vec::new();
    for (code, script, said) in MISTAKES {
        let (text, place) = marked(script);
        let found = checker.check(&source(&text)).findings;
        let hit = found.iter().find(|f| f.code == *code && Some((f.line, f.column, f.end)) == place);
        let told =
            hit.is_some_and(|f| format!("{} {}", f.message, f.hint.as_deref().unwrap_or_default()).contains(said));
        if !told || found.len() != 1 {
            wrong.push(format!("{code} at {place:?} in {text}\n    {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), MISTAKES.len(), wrong.join("\n"));
}

#[test]
fn one_mistake_does_not_hide_the_others() {
    let script = "let a = 1;\nif a = 2 { print(a); }\nlet b = = 3;\nprint(b);\nrbd.inof(\"p/a\");\nprint(c);\nconst K = 1;\nK = 2;\nprint(K);";
    let found = Checker::new(&[]).check(&source(script)).findings;
    let places: Vec<_> = found.iter().map(|f| (f.code, f.line)).collect();
    assert_eq!(
        places,
        [("syntax", 2), ("syntax", 3), ("unknown-method", 5), ("unknown-variable", 6), ("syntax", 8)],
        "{found:#?}"
    );
}

/// What is right, though a careless checker would not think so.
const RIGHT: &[&str] = &[
    "let a = 1; let f = |x| x + a; f.call(2)",
    "let count = 0; [1, 2].for_each(|| count += this); count",
    "fn double() { this * 2 } let x = 3; x.double()",
    "fn total(list) { list.reduce(|sum, x| sum + x, 0) } total([1, 2])",
    "let m = #{ run: |x| x + 1 }; m.run(2)",
    "let m = #{}; m.name = \"a\"; m.name",
    "let m = #{}; m[\"name\"] = 1; m.name",
    "let rbd = #{ inof: 1 }; rbd.inof",
    "let d = virsh.list()[0]; d.note = \"mine\"; d.note",
    "for (d, i) in virsh.list() { print(`${i}: ${d.name}`); }",
    "let x = (); if x != () { x.anything_that_is_in_a_map } x = 1;",
    "const A = 1; fn f() { global::A + 1 } f()",
    "let f = Fn(\"g\"); fn g(x) { x } f.call(1)",
    "fn g(x) { x } [1].map(g)",
    "fn g(x) { x } [1].map(Fn(\"g\"))",
    "let x = if true { return 1; } else { 2 }; x",
    "switch 3 { 1 | 2 => \"low\", 3..9 if true => \"mid\", _ => \"high\" }",
    "let r = rbd.ls(\"p\"); r.sort(|a, b| a.image < b.image); r",
    "let a = \"x\"; a.len + a.len()",
    "let s = \"7G\"; rbd.create(\"p/a\", s); rbd.create(\"p/b\", 1 << 30); rbd.create(`p/${s}`, `${7}G`)",
    "let e = #{ kind: \"busy\" }; try { throw e; } catch (err) { err.kind }",
    "let opts = #{ jobs: 2 }; parallel([1], |x| x, opts)",
    "rbd.copy(\"p/a\", \"p/b\", #{ \"sparse_size\": 65536 })",
    "virsh.wait_for(\"vm\", \"running\", 30); virsh.wait_for(\"vm\", \"agent\", \"2m\")",
    "let g = guestfs.open(\"vm\"); g.edit(\"/etc/hosts\", |text| text + \"x\"); g.close()",
    "let a = args.parse(#{ positional: [#{ name: \"vm-name\", help: \"it\", many: true }] }); a.vm_name",
    "let a = args.parse(#{ options: [1].map(|n| #{ name: `o${n}` }) }); a.o1",
    "is_def_var(\"x\") || is_def_fn(\"f\", 1)",
    "let _unused = 1;",
    "fn test_it() { assert(true); }",
    "private fn used() { 1 } fn f() { used() }",
    "import \"std/clone\" as clone; let v = clone::many([\"a\"], #{}); v[0].name",
    "let x = ceph.status()?.health?.status; x ?? \"?\"",
    "let list = [1, 2, 3]; list[0..2]; list[-1]",
    "let t = timestamp(); t.elapsed",
    "export let shown = 1;",
    "let n = 1; export n as other;",
    "do { print(1); } while false;",
    "let text = \"\"; text += 1; text += 'c'; text",
    "site.whatever_a_site_has",
    "fn init() { this.ready = true; } let m = #{ a: 1 }; m.init(); m.ready",
    "let m = #{ a: 1 }; if \"b\" in m { m.b } else { m.a }",
    "let m = #{ a: 1 }; m += #{ b: 2 }; m.b",
    "let m = #{ a: 1 }; let change = || m.b = 2; change.call(); m.b",
    "let o = #{}; o.jobs = 2; parallel([1], |x| x, o)",
    "let all = [#{ a: 1 }, #{ a: 2 }]; for one in all { one.b = one.a; print(one.b); }",
    "let d = virsh.list()[0]; if d.contains(\"x\") { d.x }",
    "let m = #{ a: #{ b: 1 } }; m.a.b",
    "assert_fails(\"invalid\", || rbd.copy(\"p/a\", \"p/b\", #{ colour: \"red\" }))",
    "let x = 5; `${x.to_hex()} ${if x > 3 { \"a\" } else { \"b\" }}`",
    "defer(|| print(1)); transaction(|| { rbd.ls(\"p\") })",
    "log.info(`a`); print(1); debug(2); print(type_of(3))",
    "fn info(x) { x } info(1)",
    "let f = |x| { if x { return 1; } 2 }; f.call(true)",
    "global::f(1); fn f(x) { x }",
    "let list = []; for x in 0..3 { if x == 1 { continue; } list.push(#{ n: x }); } list.map(|l| l.n)",
    "sh.run([\"ls\", \"-l\"]).out.trim()",
    "let a = [1, 2.5, \"x\"]; a.contains(1) && 1 in a && !(3 in a)",
    "rbd.import(\"f\", \"p/a\"); #{ default: 1 }.default",
];

#[test]
fn nothing_is_said_of_what_is_right() {
    let mut checker = Checker::new(&[]);
    for script in RIGHT {
        let found = checker.check(&source(script)).findings;
        assert!(found.is_empty(), "{script}\n{found:#?}");
    }
}

#[test]
fn no_false_alarm_on_what_we_ship() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checker = Checker::new(&[]);
    let mut seen = 0;
    for dir in ["scripts", "stdlib", "docs", "tests/scripts"] {
        for path in crate::host::testing::scripts_below(&root.join(dir)).expect(dir) {
            let text = std::fs::read_to_string(&path).expect("a script");
            let found =
                checker.check(&Source { name: path.display().to_string(), text, dir: path.parent().map(Into::into) });
            assert!(found.findings.is_empty(), "{}: {:#?}", path.display(), found.findings);
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
    // Examples are scripts too. Their results may be nobody's, and they read files and images that are not there.
    for entry in
        &checker.library.entries.iter().filter_map(|e| e.example().map(|x| (e.name.clone(), x))).collect::<Vec<_>>()
    {
        let found = checker.check(&source(&entry.1)).findings;
        let errors: Vec<_> = found.iter().filter(|f| f.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "the example of {}: {errors:#?}", entry.0);
    }
}

#[test]
fn modules_beside_a_script_are_read() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("own.rhai"), "export const N = 1; fn f(a) { a }\nprivate fn g() { f(1) }")
        .expect("write");
    std::fs::write(dir.path().join("bad.rhai"), "fn f( {").expect("write");
    let mut checker = Checker::new(&[]);
    let mut codes = |text: &str| -> Vec<&str> {
        let source = Source { name: "x.rhai".into(), text: text.into(), dir: Some(dir.path().into()) };
        checker.check(&source).findings.iter().map(|f| f.code).collect()
    };
    assert_eq!(codes("import \"own\" as own; own::f(own::N)"), [""; 0]);
    assert_eq!(codes("import \"own\" as own; own::g()"), ["unknown-function"]);
    assert_eq!(codes("import \"own\" as own; own::f(own::M)"), ["unknown-variable"]);
    assert_eq!(codes("import \"bad\" as bad; bad::anything(1)"), ["broken-module"]);
    assert_eq!(codes("import \"owm\" as own; own::f(1)"), ["unknown-module"]);
}

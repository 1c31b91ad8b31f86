//! Whatever runs as bytecode does what its syntax tree would.

use super::*;
use crate::bindings::guestfs::tests::Dice;
use crate::config::Config;
use crate::host::engine;
use crate::host::events::{Events, Verbosity};
use crate::host::report;
use crate::host::scripts::Source;
use crate::host::testing::{in_small_site, on_large_stack};
use std::sync::Arc;

/// Its value by tree and by bytecode, or its error and the line of it: a column may be that of another part. And whether there
/// is bytecode of it. `None`: it does not compile.
fn both(text: &str) -> Option<([String; 2], bool)> {
    let events = Arc::new(Events::new(false, Verbosity::Quiet, false, false));
    let source = Source { name: "script".into(), text: text.into(), dir: None };
    let engine = in_small_site(&Config::default(), &source, &events).expect("a site");
    let ast = engine::compile(&engine, &source).ok()?;
    let said = |result: Result<Dynamic, Box<EvalAltResult>>| match result {
        Ok(value) => format!("{value:?}"),
        Err(e) => format!("{} {:?}", report::failure(&e, "script", Some(&engine)).error, e.position().line()),
    };
    let tree = engine.eval_ast_with_scope(&mut Scope::new(), &ast);
    Some(([said(tree), said(run(&engine, &ast))], bytecode(&ast).is_some()))
}

/// How many of these compile, and of how many there is bytecode; none of them may differ. What has no loop would run by its
/// tree.
fn compare(texts: impl Iterator<Item = String> + Send) -> (usize, usize) {
    let compare = || {
        let (mut compiled, mut there, mut differ) = (0, 0, vec![]);
        for text in texts.map(|text| format!("for n in 0..2 {{ n + 1; }} {text}")) {
            let Some(([tree, bytecode], is_there)) = both(&text) else { continue };
            compiled += 1;
            there += usize::from(is_there);
            if tree != bytecode {
                differ.push(format!("{text}\n=> {bytecode}\nnot {tree}\n"));
            }
        }
        assert!(differ.is_empty(), "{}", differ.join("\n"));
        (compiled, there)
    };
    on_large_stack(compare).expect("a thread")
}

#[test]
fn bytecode_means_what_the_tree_means() {
    let texts = include_str!("scripts.rhai").split("\n// ----\n");
    let (compiled, there) = compare(texts.clone().map(String::from));
    assert!(compiled == texts.count() && there > 45, "{compiled} compile, {there} have bytecode");
}

/// A part of a script, how many of its forms have no such parts, and the forms. A value takes up one other at most: two in a
/// loop would double it in each round.
const GRAMMAR: &[(char, usize, &[&str])] = &[
    ('V', 5, &["a", "b", "c", "n", "m"]),
    ('T', 9, &["1", "7", "true", "()", "2.5", "'x'", "\"s1\"", "n", "m"]),
    ('R', 4, &["0..3", "[1, \"s1\", ()]", "0..=2", "\"abc\".chars()", "$V"]),
    ('I', 4, &["3", "n", "m", "8", "($I + $I)", "($I - $I)", "($I * $I)", "abs($I)", "k($I % 5)", "g($I)"]),
    ('C', 2, &["n < m", "true", "($I < $I)", "($I == $I)", "($E == $T)", "($C && $C)", "($C || $C)", "!$C"]),
    (
        'E',
        3,
        &[
            "$T",
            "$V",
            "$I",
            "$C",
            "[$I, $V]",
            "#{p: $V, q: $I}",
            "$V[$E]",
            "$V.p",
            "$V?.q",
            "$V.len()",
            "$V.pop()",
            "$V.push($T)",
            "`<${$I}>`",
            "f($E)",
            "g($E, $T)",
            "$V.f()",
            "type_of($E)",
            "($V + $T)",
            "($E ?? $T)",
            "(if $C { $E } else { $E })",
            "{ let z = $E; z }",
            "switch $E { 1 => $E, \"s1\" => $E, 2..5 => $E, _ => $E }",
            "[1, 2].map(|x| x * 2)",
            "[1, 2, 3].filter(f)",
            "rbd.ls(\"libvirt-pool\").len()",
        ],
    ),
    (
        'S',
        5,
        &[
            "$V = $T;",
            "n = $I;",
            "m -= $I;",
            "$V += $T;",
            "let $V = $V;",
            "let $V = $E;",
            "const d = $E;",
            "$V = $E;",
            "$E;",
            "if $C { $S } else { $S }",
            "if $C { throw $E; }",
            "for i in $R { $S $S }",
            "for (i, j) in [5, 6] { $S n += i; if $C { continue; } $S }",
            "let w = 0; while w < 3 { w += 1; $S if $C { break; } $S }",
            "let w = 0; a = loop { w += 1; if w > 2 { break $E; } $S };",
            "let w = 0; do { w += 1; $S } until w > 2;",
            "try { $S $S } catch (e) { $S }",
            "try { $S } catch { $S }",
            "{ $S $S }",
        ],
    ),
];

fn write(part: char, depth: usize, dice: &mut Dice, to: &mut String) {
    let (_, simple, forms) = GRAMMAR.iter().find(|(p, ..)| *p == part).expect("a part");
    let among = if depth == 0 { *simple } else { forms.len() };
    let mut parts = forms[dice.roll(among)].split('$');
    to.push_str(parts.next().unwrap_or_default());
    for p in parts.filter(|p| !p.is_empty()) {
        // `${` of a text.
        if p.starts_with('{') {
            to.push('$');
            to.push_str(p);
            continue;
        }
        write(p.chars().next().unwrap_or_default(), depth.saturating_sub(1), dice, to);
        to.push_str(&p[1..]);
    }
}

/// `ZS_TEST_FUZZ_COUNT=N` for more.
#[test]
fn random_scripts_mean_the_same() {
    let count = std::env::var("ZS_TEST_FUZZ_COUNT").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let script = |seed: u64| {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ seed);
        let mut text = "fn f(x) { if x == 3 { throw \"f3\"; } [x] } fn g(x) { x + 1 } fn g(x, y) { #{p: x, q: y} }
            fn k(n) { let t = n; for i in 0..n { t += i; } t }
            let a = [1, #{p: 2}]; let b = #{p: #{q: 1}, q: [4]}; let c = 3; let n = 1; let m = 4;"
            .to_string();
        for line in 0..8 {
            text.push('\n');
            let guarded = line % 2 == 0;
            text.push_str(if guarded { "try { " } else { "" });
            write('S', 4, &mut dice, &mut text);
            text.push_str(if guarded { " } catch (e) { c = e; }" } else { "" });
        }
        text + "\n[a, b, c, n, m]"
    };
    let (_, there) = compare((0..count).map(script));
    assert!(there as u64 > count / 3, "{there} of {count} have bytecode");
}

//! The docs that scripts' authors see are complete, and true: each example runs in a model of a small site.

use super::*;
use crate::config::Config;
use crate::host::events::{Events, Verbosity};
use crate::host::scripts::Source;
use crate::host::testing::in_small_site;
use crate::host::{engine, program, report};
use rhai::{Dynamic, Map};
use std::collections::BTreeSet;
use std::sync::Arc;

fn run(code: &str) -> Result<Dynamic, String> {
    let events = Arc::new(Events::new(false, Verbosity::Quiet, false, false));
    let source = Source { name: "example".into(), text: code.into(), dir: None };
    let engine = in_small_site(&Config::default(), &source, &events).expect("a site");
    let said =
        |e: &rhai::EvalAltResult| report::render(&report::failure(e, "example", Some(&engine)), Some(code), false);
    let ast = engine::compile(&engine, &source).map_err(|e| said(&e))?;
    program::run(&engine, &ast).map_err(|e| said(&e))
}

fn all() -> Vec<Entry> {
    entries(&engine::bare())
}

/// Checks each function with `wrong`, which says what is wrong; tells all of it at once.
fn check(wrong: impl Fn(&Entry) -> Vec<String>) {
    let found: Vec<String> =
        all().iter().flat_map(|e| wrong(e).into_iter().map(|w| format!("{}: {w}", signature(e)))).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn is_backend(e: &Entry) -> bool {
    ["Ceph", "CephPool", "CephAuth", "Rbd", "Virsh", "Guestfs", "Guest"]
        .contains(&e.receiver.as_deref().unwrap_or_default())
}

#[test]
fn every_function_is_documented() {
    assert!(all().len() > 150);
    check(|e| {
        let mut wrong = vec![];
        let first = e.summary();
        if first.is_empty() {
            return vec!["has no doc".into()];
        }
        if !first.ends_with('.') && !first.contains(". ") && !first.ends_with('…') {
            wrong.push(format!("the first line is no sentence: {first}"));
        }
        let verb = first.split([' ', ',']).next().unwrap_or_default();
        if !verb.ends_with('s') || !verb.starts_with(char::is_uppercase) {
            wrong.push(format!("the doc begins with a verb in the third person, not with {verb:?}"));
        }
        if e.example().is_none_or(|x| x.trim().is_empty()) {
            wrong.push("has no example".into());
        }
        if is_backend(e) && !e.doc.lines().any(|l| l.strip_prefix("Implements: ").is_some_and(|r| r.contains('('))) {
            wrong.push("does not say what it implements: `Implements: rbd_clone3 (rbd clone)`".into());
        }
        wrong
    });
}

#[test]
fn every_parameter_is_of_a_known_kind() {
    check(|e| {
        let unknown = e.params.iter().filter(|p| KINDS.iter().all(|(k, _)| k != p));
        unknown.map(|p| format!("`{p}` is none of registry::KINDS")).collect()
    });
    let used: BTreeSet<String> = all().into_iter().flat_map(|e| e.params).collect();
    let idle: Vec<_> = KINDS.iter().map(|(k, _)| *k).filter(|k| !used.contains(*k)).collect();
    assert!(idle.is_empty(), "kinds that no function uses: {idle:?}");
}

#[test]
fn every_example_runs() {
    check(|e| e.example().and_then(|code| run(&code).err()).into_iter().collect());
    assert!(run("rbd.info(\"libvirt-pool/nope\")").is_err_and(|e| e.contains("not_found")));
}

/// Rhai's own function of the same name takes the call where it knows the arguments' types better.
#[test]
fn no_function_hides_behind_one_of_rhai() {
    let std: BTreeSet<String> = rhai::Engine::new()
        .collect_fn_metadata(None, |f| Some(f.metadata.name.to_string()), true)
        .into_iter()
        .collect();
    assert!(std.contains("bytes") && std.contains("sleep"));
    // Ours has overloads for the types that Rhai's takes.
    const OVERRIDDEN: [&str; 1] = ["sleep"];
    let free = all().into_iter().filter(|e| e.receiver.is_none()).map(|e| e.name);
    let hidden: Vec<String> = free.filter(|n| std.contains(n) && !OVERRIDDEN.contains(&n.as_str())).collect();
    assert!(hidden.is_empty(), "{hidden:?}");
    // A plan takes no time.
    let begun = std::time::Instant::now();
    for time in ["3600", "3600.0", "\"1h\""] {
        assert!(run(&format!("sleep({time})")).is_ok());
    }
    assert!(begun.elapsed().as_secs() < 60);
    // Examples that compare are true.
    check(|e| match e.example().filter(|x| x.contains(" == ")).map(|code| run(&code)) {
        Some(Ok(v)) if v.as_bool() == Ok(false) => vec!["its example says false".into()],
        _ => vec![],
    });
}

/// A value of each kind that the model takes.
fn sample(kind: &str) -> &'static str {
    match kind {
        "image" | "source" => "\"libvirt-pool/z-ubuntu20-rbd\"",
        "new_image" => "\"libvirt-pool/new\"",
        "snap" | "new_snap" => "\"libvirt-pool/z-ubuntu20-rbd@s\"",
        "pool" => "\"libvirt-pool\"",
        "domain" | "guest" => "\"z-ubuntu20-rbd\"",
        "storage_pool" => "\"images_rbd\"",
        "volume" => "\"z-ubuntu20-rbd\"",
        "size" => "\"8G\"",
        "list" => "[1]",
        "callback" => "|x| x",
        "path" => "\"/etc/hostname\"",
        _ => "\"x\"",
    }
}

/// `rbd.ls` with these arguments, on a handle of its kind.
fn call(e: &Entry, args: impl Iterator<Item = &'static str>) -> String {
    let receiver = match e.receiver.as_deref() {
        Some("Guest") => "guestfs.open(\"z-ubuntu20-rbd\").".into(),
        Some(r) => format!("{}.", namespace_of(r).unwrap_or_default()),
        None => String::new(),
    };
    format!("{receiver}{}({})", e.name, args.collect::<Vec<_>>().join(", "))
}

/// `zs check` takes a field that the documentation does not name for a mistake.
#[test]
fn documented_fields_are_those_returned() {
    let library = crate::check::Library::new(&engine::bare());
    let (mut seen, mut wrong) = (0, Vec::new());
    for (at, e) in library.entries.iter().enumerate() {
        let overload = library.overloads(&e.name).iter().find(|o| o.entry == Some(at));
        let (ty, is_array) = match overload.map(|o| &o.returns) {
            Some(crate::check::Type::Array(element)) => ((**element).clone(), true),
            Some(ty) => (ty.clone(), false),
            None => continue,
        };
        let crate::check::Type::Map(Some(record)) = ty else { continue };
        let least = e.arities.first().copied().unwrap_or_default();
        let Ok(value) = run(&call(e, e.params.iter().take(least).map(|p| sample(p)))) else { continue };
        let first = match is_array {
            true => value.try_cast::<rhai::Array>().and_then(|a| a.into_iter().next()),
            false => Some(value),
        };
        let Some(map) = first.and_then(|v| v.try_cast::<Map>()) else { continue };
        seen += 1;
        let more: Vec<_> = map.keys().filter(|k| !record.fields.iter().any(|f| f == k.as_str())).collect();
        let less: Vec<_> = record.fields.iter().filter(|f| !map.contains_key(f.as_str())).collect();
        // `rbd.status` lists the fields of its watchers too.
        if !more.is_empty() || (!less.is_empty() && e.name != "status") {
            wrong.push(format!("{}: it has {more:?} too, and not {less:?}", signature(e)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 10, "{seen}");
}

/// The keys that a function accepts, from what it says to one that it cannot know.
fn accepted(e: &Entry) -> Result<BTreeSet<String>, String> {
    let call = call(e, e.params.iter().map(|p| if p == "options_" { "#{ zs_no_such_key: 1 }" } else { sample(p) }));
    let caught = run(&format!("try {{ {call}; }} catch (e) {{ return e; }}"))?;
    let map = caught.try_cast::<Map>().ok_or_else(|| format!("accepts any option: {call}"))?;
    let text = |k: &str| map.get(k).map(ToString::to_string).unwrap_or_default();
    if !text("message").contains("zs_no_such_key") {
        return Err(format!("{call}: {}", text("message")));
    }
    Ok(text("hint").split('`').skip(1).step_by(2).map(String::from).collect())
}

#[test]
fn documented_options_are_those_accepted() {
    check(|e| {
        let Some(section) = e.section("Options") else {
            return e.params.iter().filter(|p| *p == "options_").map(|_| "has no # Options".into()).collect();
        };
        // Its options are a map in the map, by clap's words; tested where it is written.
        if e.name == "parse" {
            return vec![];
        }
        let keys = section.lines().filter_map(|l| l.strip_prefix("- ")?.split_once(':'));
        let told: BTreeSet<String> =
            keys.flat_map(|(k, _)| k.split(", ").map(|k| k.trim_matches('`').to_string())).collect();
        match accepted(e) {
            Ok(known) if known == told => vec![],
            Ok(known) => vec![format!("documented are {told:?}, accepted {known:?}")],
            Err(e) => vec![e],
        }
    });
}

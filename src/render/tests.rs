//! What a terminal shows.

use super::*;

fn look(width: usize) -> Look {
    Look { terminal: true, width: Some(width), color: false, unicode: true }
}

fn list(json: &str) -> Dynamic {
    let value: serde_json::Value = serde_json::from_str(json).expect("JSON");
    rhai::serde::to_dynamic(value).expect("a value")
}

const VMS: &str = r#"[{"autostart": false, "cpus": 2, "id": null, "max_memory": 536870912, "name": "云主机-9", "state": "shut off",
    "uuid": "00000000-0000-0000-0000-000000000001"},
    {"autostart": true, "cpus": 16, "id": 3, "max_memory": 68719476736, "name": "z-k8s-m-1", "state": "running",
    "uuid": "00000000-0000-0000-0000-000000000002"}]"#;

#[test]
fn tables_fit_and_keep_names() {
    for width in [20, 40, 60, 80, 200] {
        let text = value(&list(VMS), look(width));
        assert!(text.lines().all(|l| l.width() <= width), "{width}:\n{text}");
        assert!(text.contains("云主机-9") && text.contains("z-k8s-m-1") || width < 30, "{width}:\n{text}");
    }
    let wide = value(&list(VMS), look(200));
    assert!(wide.trim_start().starts_with("NAME"), "{wide}");
    assert!(wide.contains("64 GiB") && wide.contains("000000000002") && !wide.contains("not shown"), "{wide}");
    let narrow = value(&list(VMS), look(40));
    assert!(narrow.contains("not shown: ") && narrow.contains("shut off"), "{narrow}");
    // Columns line up, by what a terminal takes for a character.
    let at = |l: &str, word: &str| l.find(word).map(|n| l[..n].width());
    let lines: Vec<&str> = wide.lines().collect();
    assert_eq!(at(lines[0], "STATE"), at(lines[1], "shut off"));
    assert_eq!(at(lines[0], "STATE"), at(lines[2], "running"));
}

#[test]
fn programs_get_all_of_it() {
    let text = value(&list(VMS), Look::default());
    assert!(text.contains("68719476736") && text.contains("000000000002"), "{text}");
    assert!(value(&list(r#"{"size": 7516192768}"#), Look::default()).contains("\"size\": 7516192768"));
}

#[test]
fn maps_are_lines() {
    let text = value(
        &list(
            r#"{"size": 7516192768, "name": "a", "parent": {"image": "t"}, "create_timestamp": "2026-11-24T10:00:00Z"}"#,
        ),
        look(80),
    );
    assert!(text.starts_with("name "), "{text}");
    assert!(text.contains("7516192768 (7 GiB)") && text.contains("\nparent\n  image  t"), "{text}");
    assert!(text.contains("create_timestamp  2026-11-2") && !text.contains('T'), "{text}");
}

#[test]
fn xml_is_indented_and_whole() {
    let one =
        "<domain type='kvm'><name>a &gt; b</name><devices><disk x=\"1>2\"/><!-- <c> --></devices><e></e></domain>";
    let text = xml::pretty(one, look(80));
    assert_eq!(text.split('\n').map(str::trim).collect::<String>(), one);
    assert!(text.contains("\n  <name>a &gt; b</name>\n  <devices>\n    <disk x=\"1>2\"/>\n"), "{text}");
    let colored = xml::pretty(one, Look { color: true, ..look(80) });
    let mut plain = colored.clone();
    for code in ["34", "32", "90", "0"] {
        plain = plain.replace(&format!("\x1b[{code}m"), "");
    }
    assert!(plain == text && colored.len() > text.len());
}

#[test]
fn lines_are_cut_by_columns() {
    assert_eq!(cut("云主机", 6), "云主机");
    assert!(cut("云主机-long", 6).width() <= 6);
    assert_eq!(cut("abc", 10), "abc");
}

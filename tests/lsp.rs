//! The language server as an editor talks to it, over pipes.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

struct Editor {
    server: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    last: i64,
}

impl Editor {
    fn start() -> Editor {
        let mut server = Command::new(env!("CARGO_BIN_EXE_zs"))
            .arg("lsp")
            .env("ZS_CONFIG", "/dev/null")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("zs");
        let (to, from) = (server.stdin.take(), BufReader::new(server.stdout.take().expect("its output")));
        let mut editor = Editor { server, to, from, last: 0 };
        let said = editor.ask("initialize", json!({ "capabilities": {} }));
        assert!(said["capabilities"]["hoverProvider"] == true, "{said}");
        editor.tell("initialized", json!({}));
        editor
    }

    fn send(&mut self, message: Value) {
        let text = message.to_string();
        let to = self.to.as_mut().expect("open");
        write!(to, "Content-Length: {}\r\n\r\n{text}", text.len()).expect("write");
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.send(json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn read(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.from.read_line(&mut line).expect("a line") > 0, "the server is gone");
            match line.trim().split_once(": ") {
                Some(("Content-Length", n)) => length = n.parse().expect("a number"),
                _ if line.trim().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.from.read_exact(&mut body).expect("a message");
        serde_json::from_slice(&body).expect("JSON")
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let id = self.last;
        self.send(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let answer = self.read();
        assert_eq!(answer["id"], id, "{answer}");
        answer["result"].clone()
    }

    /// Opens or changes a text; the findings.
    fn write(&mut self, uri: &str, text: &str) -> Vec<Value> {
        let item = json!({ "uri": uri, "languageId": "rhai", "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": item }));
        let said = self.read();
        assert_eq!(said["method"], "textDocument/publishDiagnostics", "{said}");
        said["params"]["diagnostics"].as_array().expect("a list").clone()
    }

    /// Asks at the place of `‸` in the text, which is taken out.
    fn at(&mut self, method: &str, text: &str) -> Value {
        let before = text.split('‸').next().expect("a mark");
        let line = before.matches('\n').count();
        let character = before.rsplit('\n').next().unwrap_or_default().encode_utf16().count();
        let uri = "file:///tmp/zs-lsp-test.rhai";
        self.write(uri, &text.replace('‸', ""));
        let at = json!({ "line": line, "character": character });
        self.ask(&format!("textDocument/{method}"), json!({ "textDocument": { "uri": uri }, "position": at }))
    }

    fn labels(&mut self, text: &str) -> Vec<String> {
        let items = self.at("completion", text);
        let items = items.as_array().unwrap_or_else(|| panic!("{text}: {items}")).iter();
        items.map(|i| i["label"].as_str().expect("a label").to_string()).collect()
    }
}

#[test]
fn an_editor_gets_what_it_asks_for() {
    let mut editor = Editor::start();
    let found = editor.write("file:///tmp/zs-lsp-test.rhai", "let 𠀀 = 1;");
    assert_eq!(found[0]["code"], "syntax");
    let found = editor.write("file:///tmp/zs-lsp-test.rhai", "print(\"名𠀀\" + rbd.inof(\"p/a\"));\n");
    // Two units for the second character.
    let place = json!({ "start": { "line": 0, "character": 18 }, "end": { "line": 0, "character": 22 } });
    assert_eq!(found[0]["range"], place, "{found:?}");
    assert!(found[0]["message"].as_str().is_some_and(|m| m.contains("did you mean `info`?")), "{found:?}");

    let said = editor.at("hover", "let x = rbd.cl‸one(\"p/a@s\", \"p/b\");\nx").to_string();
    assert!(said.contains("rbd.clone(snap, new_image[, options])") && said.contains("Implements"), "{said}");
    let said = editor.at("hover", "import \"std/clone\" as clone;\nclone::ma‸ny([], #{})").to_string();
    assert!(said.contains("many(") && said.contains("std/clone"), "{said}");

    for (text, wanted, unwanted) in [
        ("rbd.‸", "snap_create", "dominfo"),
        ("ceph.‸", "pool", "snap_create"),
        ("ceph.pool.‸", "application_enable", "osd_tree"),
        ("let g = guestfs.open(\"vm\");\nprint(g.fsck());\ng.‸", "set_hostname", "snap_create"),
        ("virsh.connect(\"qemu:///system\").‸", "dominfo", "snap_create"),
        ("rbd.copy(\"p/a\", \"p/b\", #{ ‸ })", "sparse_size", "snap_create"),
        ("let image = 1;\nprint(image);\nim‸", "image", "snap_create"),
        ("import \"std/‸\"", "std/clone", "rbd"),
        ("import \"std/clone\" as clone;\nclone::‸", "many", "snap_create"),
        (
            "let a = args.parse(#{ options: [#{ name: \"on-exists\", value: \"W\" }] });\nprint(a);\na.‸",
            "on_exists",
            "snap_create",
        ),
        ("for d in virsh.list() {\n    print(d.‸);\n}", "state", "snap_create"),
        ("fn mine(a) { a }\nm‸", "mine", "snap_create"),
    ] {
        // As it is while somebody types: what stood there before could be parsed.
        let earlier = text.replace("::‸", "").replace(".‸", "").replace('‸', "");
        editor.write("file:///tmp/zs-lsp-test.rhai", &earlier);
        let labels = editor.labels(text);
        assert!(labels.iter().any(|l| l == wanted), "{text}: no {wanted} in {labels:?}");
        assert!(!labels.iter().any(|l| l == unwanted), "{text}: {unwanted}");
    }
    assert!(editor.labels("// rbd.‸").is_empty());

    let said = editor.at("signatureHelp", "rbd.clone(\"p/a@s\", ‸)");
    assert_eq!(said["signatures"][0]["label"], "rbd.clone(snap, new_image[, options])", "{said}");
    assert_eq!(said["activeParameter"], 1, "{said}");
    let said = editor.at("definition", "fn mine(a) { a }\nmi‸ne(1)");
    assert_eq!(said["range"]["start"], json!({ "line": 0, "character": 3 }), "{said}");
    let said = editor.at("definition", "let vm = 1;\nprint(v‸m)");
    assert_eq!(said["range"]["start"], json!({ "line": 0, "character": 4 }), "{said}");

    editor.ask("shutdown", Value::Null);
    editor.tell("exit", Value::Null);
    editor.to = None;
    assert!(editor.server.wait().expect("its end").success());
}

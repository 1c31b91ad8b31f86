//! `zs definitions`: what Rhai's language server reads.

use crate::check::Library;
use crate::error::{Error, Result};
use crate::host::engine;
use crate::host::events::Events;
use std::path::Path;

pub fn definitions(events: &Events, dir: &Path) -> Result<u8> {
    let fail = |e: std::io::Error| Error::from(e).op("definitions").subject(dir.display());
    std::fs::create_dir_all(dir).map_err(fail)?;
    let engine = engine::bare();
    let mut files: Vec<(String, String)> = engine.definitions().with_headers(true).iter_files().collect();
    // Without a run the handles have no values, whose types Rhai would write down.
    let library = Library::new(&engine);
    let mut scope = String::from("module static;\n\n");
    for name in library.globals() {
        let ty = match library.global(name) {
            Some(crate::check::Type::Of(ty)) => ty.to_string(),
            _ => "Map".into(),
        };
        scope.push_str(&format!("let {name}: {ty};\n\n"));
    }
    files.retain(|(name, _)| name != "__scope__.d.rhai");
    files.push(("__scope__.d.rhai".into(), scope));
    for (name, text) in &files {
        std::fs::write(dir.join(name), text).map_err(fail)?;
    }
    events.log("info", &format!("{} files in {}", files.len(), dir.display()));
    Ok(0)
}

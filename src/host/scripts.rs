//! Where scripts and modules come from: paths, the site's directories, the binary itself.

use crate::error::{Error, Result, nearest};
use include_dir::{Dir, include_dir};
use std::path::{Path, PathBuf};

static SCRIPTS: Dir = include_dir!("$CARGO_MANIFEST_DIR/scripts");
static STDLIB: Dir = include_dir!("$CARGO_MANIFEST_DIR/stdlib");

/// A script's text and the name that errors call it by.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub text: String,
    /// Its directory, for imports; `None` for the built-in ones.
    pub dir: Option<PathBuf>,
}

/// That path; else that name in the directories of `[scripts] path`; else the built-in of that name.
pub fn find(name: &str, dirs: &[PathBuf]) -> Result<Source> {
    let path = Path::new(name);
    // Pipes too: `zs <(echo …)`.
    if path.exists() && !path.is_dir() {
        return read(path);
    }
    if !name.contains('/') {
        if let Some(path) = dirs.iter().map(|d| d.join(name)).find(|p| p.is_file()) {
            return read(&path);
        }
        if let Some(text) = SCRIPTS.get_file(name).and_then(|f| f.contents_utf8()) {
            return Ok(Source { name: name.into(), text: text.into(), dir: None });
        }
    }
    let known = list(dirs);
    let e = Error::not_found("there is no such script").subject(name).usage();
    Err(match nearest(name, known.iter().map(|s| s.name.as_str())) {
        Some(near) => e.hint(format!("did you mean `{near}`?")),
        None => e.hint("`zs scripts` lists those that can be run by name"),
    })
}

fn read(path: &Path) -> Result<Source> {
    let fail = |e: std::io::Error| Error::from(e).op("script").subject(path.display()).usage();
    let bytes = std::fs::read(path).map_err(fail)?;
    let text = String::from_utf8(bytes)
        .map_err(|e| Error::invalid(format!("is not UTF-8: {e}")).op("script").subject(path.display()).usage())?;
    let dir = path.parent().map(Path::to_path_buf);
    // Told apart from the built-in of this name, whose lines nobody wants to see.
    let here = if path.components().count() == 1 { "./" } else { "" };
    Ok(Source { name: format!("{here}{}", path.display()), text, dir })
}

/// A module that a script imports: beside it, in the site's directories, or built in as `std/…`.
pub fn find_module(name: &str, beside: Option<&Path>, dirs: &[PathBuf]) -> Option<Result<Source>> {
    let file = format!("{name}.rhai");
    let near = beside.map(|d| d.join(&file)).filter(|p| p.is_file());
    let far = || dirs.iter().map(|d| d.join(&file)).find(|p| p.is_file());
    if let Some(path) = near.or_else(far) {
        return Some(read(&path));
    }
    let inner = name.strip_prefix("std/")?;
    let text = STDLIB.get_file(format!("{inner}.rhai"))?.contents_utf8()?;
    Some(Ok(Source { name: format!("{name}.rhai"), text: text.into(), dir: None }))
}

impl Source {
    /// The Ceph user that a built-in script says it needs, in a line of the comment it begins with: `// ceph-id: admin`.
    /// zs.toml names a lesser one for all others; somebody else's script is not to choose.
    pub fn ceph_id(&self) -> Option<&str> {
        if self.dir.is_some() || !is_built_in(&self.name) {
            return None;
        }
        let comment = self.text.lines().map(str::trim).take_while(|l| l.starts_with("//") || l.starts_with("#!"));
        comment.filter_map(|l| l.strip_prefix("// ceph-id:")).map(str::trim).find(|id| !id.is_empty())
    }
}

/// True of a source that is in the binary; a site's own file of the same name has a path.
pub fn is_built_in(name: &str) -> bool {
    match name.strip_prefix("std/") {
        Some(inner) => STDLIB.contains(inner),
        None => SCRIPTS.contains(name),
    }
}

/// The text of a source by the name errors call it by, to show its lines.
pub fn text_of(name: &str) -> Option<String> {
    let built_in = match name.strip_prefix("std/") {
        Some(inner) => STDLIB.get_file(inner),
        None => SCRIPTS.get_file(name),
    };
    match built_in {
        Some(file) => file.contents_utf8().map(String::from),
        // A pipe gives its text once.
        None => std::fs::read_to_string(Path::new(name).is_file().then_some(name)?).ok(),
    }
}

/// A script that can be run by name.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Listed {
    pub name: String,
    /// Where it comes from: a directory, or `built in`.
    pub from: String,
    /// Its first comment line.
    pub about: String,
}

/// All scripts that can be run by name; a site's own of the same name hides the built-in.
pub fn list(dirs: &[PathBuf]) -> Vec<Listed> {
    let mut all: Vec<Listed> = Vec::new();
    let mut add = |name: String, from: String, text: &str| {
        if all.iter().all(|l| l.name != name) {
            let about = text.lines().map(|l| l.trim_start_matches(['/', '!']).trim()).find(|l| !l.is_empty());
            all.push(Listed { name, from, about: about.unwrap_or_default().into() });
        }
    };
    for dir in dirs {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        for path in entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|x| x == "rhai")) {
            if let (Some(name), Ok(text)) = (path.file_name(), std::fs::read_to_string(&path)) {
                add(name.to_string_lossy().into_owned(), dir.display().to_string(), &text);
            }
        }
    }
    for file in SCRIPTS.files() {
        add(file.path().display().to_string(), "built in".into(), file.contents_utf8().unwrap_or_default());
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// The modules of the standard library, as `import` writes them: `std/clone`.
pub fn std_modules() -> Vec<String> {
    let stems = STDLIB.files().filter_map(|f| f.path().file_stem()?.to_str());
    let mut all: Vec<String> = stems.map(|s| format!("std/{s}")).collect();
    all.sort();
    all
}

//! What Tab offers at a place in a half-typed line, and the grey signature behind it.

use super::commands;
use super::known::{Call, Known};
use super::live::{Live, Site, What};
use super::scan::{Kind, Open, Scan, Token, scan};
use super::shape::Shape;
use super::words::{Words, options};
use crate::bindings::virsh::script::Virsh;
use crate::host::Host;
use crate::host::engine::LAST_VALUE;
use crate::host::gate::lock;
use crate::host::registry;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use unicode_width::UnicodeWidthStr;

/// One thing that Tab offers: what the list shows, and what is put into the line.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub shown: String,
    pub text: String,
}

impl Candidate {
    fn plain(text: impl Into<String>) -> Candidate {
        let text = text.into();
        Candidate { shown: text.clone(), text }
    }
}

/// What the session says about itself before each prompt.
#[derive(Clone, Default)]
pub struct State {
    pub variables: HashMap<String, Shape>,
    /// Name and number of arguments.
    pub functions: Vec<(String, usize)>,
    /// Imported modules, with their functions.
    pub modules: Vec<(String, Vec<String>)>,
    pub host: Option<Arc<Host>>,
    pub columns: usize,
}

#[derive(Default)]
pub struct Completing {
    words: OnceLock<Words>,
    prepared: AtomicBool,
    live: Arc<Live>,
    pub state: Mutex<State>,
}

impl Completing {
    /// Reads the registry while the first line is being typed, and not while zs starts.
    pub fn prepare(self: &Arc<Self>) {
        if self.prepared.swap(true, Ordering::SeqCst) {
            return;
        }
        let this = self.clone();
        let _ = std::thread::Builder::new().name("words".into()).spawn(move || this.words().entries.len());
    }

    pub fn words(&self) -> &Words {
        self.words.get_or_init(Words::new)
    }

    /// What a line has changed is to be seen by the next Tab.
    pub fn forget(&self) {
        self.live.forget();
    }

    /// Where the word begins that is completed, and what it may become.
    pub fn complete(&self, line: &str, pos: usize) -> (usize, Vec<Candidate>) {
        let state = lock(&self.state).clone();
        let text = &line[..pos];
        if text.trim_start().starts_with(':') {
            return self.command(&state, text);
        }
        let found = scan(text);
        if found.at(pos).is_some_and(|t| t.kind == Kind::Comment) {
            return (pos, vec![]);
        }
        if let Some((start, typed)) = inside_text(text, &found) {
            let closed = line[pos..].starts_with(['"', '`']);
            let quote = if closed { "" } else { &text[start - 1..start] };
            return (start, self.names(&state, text, &found, start, typed, quote));
        }
        let word = found.at(pos).filter(|t| matches!(t.kind, Kind::Word | Kind::Keyword) && t.at.end == pos);
        let start = word.map_or(pos, |t| t.at.start);
        let typed = &text[start..];
        let before: Vec<&Token> =
            found.tokens.iter().filter(|t| t.at.end <= start && t.kind != Kind::Comment).collect();
        let mut all = self.candidates(&state, text, &found, &before, start);
        all.retain(|c| c.text.starts_with(typed));
        all.sort_by(|a, b| a.text.cmp(&b.text));
        all.dedup();
        (start, all)
    }

    fn candidates(&self, state: &State, text: &str, found: &Scan, before: &[&Token], start: usize) -> Vec<Candidate> {
        let part = |n: usize| before.len().checked_sub(n).map_or("", |i| &text[before[i].at.clone()]);
        if part(1) == "." {
            let known = self.what_is(state, text, &before[..before.len() - 1]);
            return self.members(&known);
        }
        if part(1) == ":" && part(2) == ":" {
            let module = state.modules.iter().find(|(name, _)| name == part(3));
            return module.iter().flat_map(|(_, f)| f).map(|f| Candidate::plain(format!("{f}("))).collect();
        }
        if let (Some((Open::Map, at)), "#{" | ",") = (found.open.last(), part(1)) {
            let outer: Vec<&Token> = before.iter().filter(|t| t.at.end <= *at).copied().collect();
            if let Some(call) = self.call(state, text, &opened(found, *at), &outer, *at) {
                let given = keys_given(text, *at);
                let all = options(call.entry).into_iter().filter(|(k, _)| !given.contains(k));
                return all.map(|(k, _)| Candidate::plain(format!("{k}: "))).collect();
            }
        }
        if start == text.len() && found.at(start).is_some_and(|t| t.kind == Kind::Number) {
            return vec![];
        }
        let called = |(name, is): (String, bool)| Candidate::plain(if is { format!("{name}(") } else { name });
        let mut all: Vec<Candidate> = self.words().free().into_iter().map(called).collect();
        all.extend(state.variables.keys().filter(|v| *v != LAST_VALUE).map(Candidate::plain));
        all.extend(
            state.functions.iter().map(|(f, n)| Candidate::plain(format!("{f}({}", if *n == 0 { ")" } else { "" }))),
        );
        all.extend(state.modules.iter().map(|(m, _)| Candidate::plain(format!("{m}::"))));
        let keywords =
            ["let ", "const ", "if ", "for ", "while ", "switch ", "fn ", "import \"", "try ", "throw ", "return "];
        if start < text.len() {
            all.extend(keywords.map(Candidate::plain));
        }
        all
    }

    fn members(&self, known: &Known) -> Vec<Candidate> {
        let mut all: Vec<Candidate> = Vec::new();
        let is_array = known.kind == "Array";
        if !is_array {
            all.extend(known.fields.iter().map(Candidate::plain));
        }
        if let Some(shape) = &known.shape {
            all.extend(shape.keys.iter().map(|(k, _)| Candidate::plain(k)));
        }
        if !known.namespace.is_empty() {
            all.extend(self.words().parts(&known.namespace).map(|p| Candidate::plain(format!("{p}."))));
        }
        let methods = self.words().methods(&known.kind);
        all.extend(
            methods.into_iter().map(|(m, takes)| Candidate::plain(format!("{m}({}", if takes { "" } else { ")" }))),
        );
        all
    }

    /// What may stand in a text that is an argument, by the parameter's kind.
    fn names(&self, state: &State, text: &str, found: &Scan, start: usize, typed: &str, quote: &str) -> Vec<Candidate> {
        let Some((kind, first, call)) = self.kind_at(state, text, found, start) else { return vec![] };
        let Some(site) = site_of(state, &call.receiver) else { return vec![] };
        let ask = |what: What| self.live.names(&site, &what);
        let whole = |names: &[String], end: &str| -> Vec<Candidate> {
            let fit = names.iter().filter(|n| n.starts_with(typed));
            fit.map(|n| Candidate { shown: n.clone(), text: format!("{n}{end}") }).collect()
        };
        match self.wanted(&kind, &call, &first, typed) {
            Wanted::Files => files(typed, quote),
            Wanted::Names(what) => {
                let mut all: Vec<Candidate> = what.iter().flat_map(|w| whole(&ask(w.clone()), quote)).collect();
                if kind == "guest" && (!typed.is_empty() || all.is_empty()) {
                    all.extend(whole(&ask(What::Pools), "/"));
                }
                all
            }
            Wanted::Pools => whole(&ask(What::Pools), "/"),
            Wanted::Images(pool) => {
                let end = match kind.as_str() {
                    "snap" | "new_snap" => "@",
                    "source" | "new_image" => "",
                    _ => quote,
                };
                let prefix = &typed[pool.len() + 1..];
                let names = ask(What::Images(pool.clone()));
                let fit = names.iter().filter(|n| n.starts_with(prefix));
                fit.map(|n| Candidate { shown: n.clone(), text: format!("{pool}/{n}{end}") }).collect()
            }
            Wanted::Snaps(image) => {
                let prefix = &typed[image.len() + 1..];
                let names = ask(What::Snaps(image.clone()));
                let fit = names.iter().filter(|n| n.starts_with(prefix));
                fit.map(|n| Candidate { shown: n.clone(), text: format!("{image}@{n}{quote}") }).collect()
            }
            Wanted::Nothing => vec![],
        }
    }

    /// The kind of the text that begins at `start`, the call's first text, and the call.
    fn kind_at(&self, state: &State, text: &str, found: &Scan, start: usize) -> Option<(String, String, Call<'_>)> {
        let open = opened(found, start - 1);
        let before: Vec<&Token> = found.tokens.iter().filter(|t| t.at.end < start && t.kind != Kind::Comment).collect();
        let call = match open.last()? {
            // In a map of options, whose key says what it is.
            (Open::Map, at) => {
                let key = before.len().checked_sub(2).map(|i| text[before[i].at.clone()].to_string())?;
                let outer: Vec<&Token> = before.iter().filter(|t| t.at.end <= *at).copied().collect();
                let call = self.call(state, text, &opened(found, *at), &outer, *at)?;
                return Some((key, String::new(), call));
            }
            // A list of names: `["a", "b"]`.
            (Open::Square, at) => self.call(state, text, &opened(found, *at), &before, *at)?,
            _ => self.call(state, text, &open, &before, start)?,
        };
        let kind = call.entry.params.get(call.argument)?.clone();
        let first = before.iter().find(|t| t.at.start >= call.open && t.kind == Kind::Text);
        let first = first.map(|t| text[t.at.clone()].trim_matches(['"', '`']).to_string()).unwrap_or_default();
        Some((kind, first, call))
    }

    fn wanted(&self, kind: &str, call: &Call, first: &str, typed: &str) -> Wanted {
        let receiver = call.entry.receiver.as_deref().unwrap_or_default();
        match kind {
            "image" | "new_image" | "source" | "snap" | "new_snap" => of_image(kind, typed),
            "guest" if typed.contains('/') => of_image("source", typed),
            "domain" | "guest" => Wanted::Names(vec![What::Domains]),
            "pool" | "new_pool" | "data_pool" => Wanted::Names(vec![What::Pools]),
            "entity" => Wanted::Names(vec![What::Users]),
            "disk" => Wanted::Names(vec![What::Disks(first.into())]),
            "storage_pool" => Wanted::Names(vec![What::StoragePools]),
            "volume" => Wanted::Names(vec![What::Volumes(first.into())]),
            "secret" => Wanted::Names(vec![What::Secrets]),
            "network" => Wanted::Names(vec![What::Networks]),
            "snapshot" => Wanted::Names(vec![What::DomainSnapshots(first.into())]),
            "name" | "list" if matches!(receiver, "InventoryHandle" | "Inventory" | "Names") => {
                Wanted::Names(vec![What::Planned])
            }
            "file" | "new_file" => Wanted::Files,
            "path" if !receiver.starts_with("Guest") => Wanted::Files,
            _ => Wanted::Nothing,
        }
    }

    fn command(&self, state: &State, text: &str) -> (usize, Vec<Candidate>) {
        let begin = text.len() - text.trim_start().len() + 1;
        let body = &text[begin..];
        let start = body.rfind(' ').map_or(begin, |n| begin + n + 1);
        let typed = &text[start..];
        let fit = |names: Vec<String>, end: &str| -> Vec<Candidate> {
            let fit = names.into_iter().filter(|n| n.starts_with(typed));
            fit.map(|n| Candidate { text: format!("{n}{end}"), shown: n }).collect()
        };
        let Some((name, args)) = body.split_once(' ') else {
            return (start, fit(commands::COMMANDS.iter().map(|c| c.name.to_string()).collect(), " "));
        };
        let Some(host) = state.host.clone() else { return (start, vec![]) };
        let site = Site { host: host.clone(), other: None };
        let all = match commands::find(name).map(|c| c.takes) {
            Some(commands::Takes::Function) => {
                let mut names: Vec<String> = self.words().free().into_iter().map(|(n, _)| n).collect();
                let full = self.words().entries.iter().map(registry::signature);
                names.extend(full.filter_map(|s| Some(s.split_once('(')?.0.to_string())));
                names.sort();
                names.dedup();
                fit(names, "")
            }
            Some(commands::Takes::Switch) => fit(vec!["on".into(), "off".into()], ""),
            Some(commands::Takes::File) => files(typed, ""),
            Some(commands::Takes::Script) if !args.contains(' ') => {
                let scripts =
                    crate::host::scripts::list(&host.config.scripts.path).into_iter().map(|s| s.name).collect();
                let mut all = fit(scripts, " ");
                all.extend(files(typed, ""));
                all
            }
            Some(commands::Takes::Script) => {
                let mut names = self.live.names(&site, &What::Domains).to_vec();
                names.extend(self.live.names(&site, &What::Planned).iter().cloned());
                names.sort();
                names.dedup();
                fit(names, " ")
            }
            Some(commands::Takes::Uri) => {
                let hosts = host.config.site.get("hosts").and_then(|h| h.as_array()).cloned().unwrap_or_default();
                let mut all: Vec<String> = hosts.iter().filter_map(|h| h.as_str().map(String::from)).collect();
                all.extend(["qemu:///system".to_string(), "qemu:///session".into(), "qemu+ssh://".into()]);
                fit(all, "")
            }
            _ => vec![],
        };
        (start, all)
    }

    /// What is still to be given to the call that is being typed; names that Tab may want are asked for meanwhile.
    pub fn hint(&self, line: &str, pos: usize) -> Option<String> {
        // The registry may still be on its way: no key waits for it.
        self.words.get()?;
        let state = lock(&self.state).clone();
        let text = &line[..pos];
        let found = scan(text);
        if let Some((start, typed)) = inside_text(text, &found) {
            let (kind, first, call) = self.kind_at(&state, text, &found, start)?;
            if let (Some(site), wanted) = (site_of(&state, &call.receiver), self.wanted(&kind, &call, &first, typed)) {
                wanted.all().iter().for_each(|what| self.live.ahead(&site, what));
            }
            return None;
        }
        let before: Vec<&Token> = found.tokens.iter().filter(|t| t.kind != Kind::Comment).collect();
        let call = self.call(&state, text, &found.open, &before, pos)?;
        let signature = registry::signature(call.entry);
        let args = signature.split_once('(')?.1;
        let hint = match text[call.begin..].trim() {
            "" => args.split(',').skip(call.argument).collect::<Vec<_>>().join(",").trim_start().to_string(),
            _ => return None,
        };
        let used = (super::input::PROMPT.width() + text.rsplit('\n').next().unwrap_or_default().width())
            % state.columns.max(20);
        (hint.width() + used < state.columns.max(20) && !hint.is_empty()).then_some(hint)
    }
}

/// What names are wanted.
enum Wanted {
    Names(Vec<What>),
    Pools,
    Images(String),
    Snaps(String),
    Files,
    Nothing,
}

impl Wanted {
    fn all(&self) -> Vec<What> {
        match self {
            Wanted::Names(what) => what.clone(),
            Wanted::Pools => vec![What::Pools],
            Wanted::Images(pool) => vec![What::Images(pool.clone())],
            Wanted::Snaps(image) => vec![What::Snaps(image.clone())],
            Wanted::Files | Wanted::Nothing => vec![],
        }
    }
}

fn of_image(kind: &str, typed: &str) -> Wanted {
    match (typed.rsplit_once('@'), typed.rsplit_once('/')) {
        (Some((image, _)), _) if matches!(kind, "snap" | "source") => Wanted::Snaps(image.into()),
        (Some(_), _) => Wanted::Nothing,
        (None, Some((pool, _))) => Wanted::Images(pool.into()),
        (None, None) => Wanted::Pools,
    }
}

fn site_of(state: &State, receiver: &Known) -> Option<Site> {
    let other = receiver.shape.as_ref().and_then(|s| s.handle.as_ref()).and_then(|h| h.clone().try_cast::<Virsh>());
    Some(Site { host: state.host.clone()?, other })
}

/// Where the text begins that the cursor is in, and what of it is typed.
fn inside_text<'a>(text: &'a str, found: &Scan) -> Option<(usize, &'a str)> {
    let (open, at) = found.open.last()?;
    if !matches!(open, Open::Quote | Open::Template) || !text[*at..].starts_with(['"', '`']) {
        return None;
    }
    let typed = &text[at + 1..];
    (!typed.contains("${") && !typed.contains('\n')).then_some((at + 1, typed))
}

/// What is open before a place.
fn opened(found: &Scan, at: usize) -> Vec<(Open, usize)> {
    found.open.iter().filter(|(_, from)| *from < at).copied().collect()
}

/// The keys that a map has already.
fn keys_given(text: &str, at: usize) -> Vec<String> {
    let inner = &text[at + 2..];
    let tokens = scan(inner).tokens;
    let colon = |t: &Token| inner[t.at.end..].trim_start().starts_with(':');
    tokens.iter().filter(|t| t.kind == Kind::Word && colon(t)).map(|t| inner[t.at.clone()].to_string()).collect()
}

/// Files and directories that begin so.
fn files(typed: &str, quote: &str) -> Vec<Candidate> {
    let (dir, prefix) = typed.rsplit_once('/').map_or(("", typed), |(d, p)| (&typed[..d.len() + 1], p));
    let expanded = match (dir.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}/{rest}"),
        _ if dir.is_empty() => ".".into(),
        _ => dir.to_string(),
    };
    let Ok(entries) = std::fs::read_dir(expanded) else { return vec![] };
    let mut all = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(prefix) || prefix.is_empty() && name.starts_with('.') {
            continue;
        }
        let end = if entry.path().is_dir() { "/" } else { quote };
        all.push(Candidate {
            shown: format!("{name}{}", if end == "/" { "/" } else { "" }),
            text: format!("{dir}{name}{end}"),
        });
    }
    all.sort_by(|a, b| a.text.cmp(&b.text));
    all
}

#[cfg(test)]
#[path = "complete_tests.rs"]
mod tests;

//! Hover, completion, signatures, definitions: what editors ask.

use super::text::{before, place, range, uri_of};
use super::{Document, Server};
use crate::check::{Target, Type, module_doc, module_names};
use crate::host::registry::{Entry, KINDS, signature};
use lsp_types::{
    CompletionItem, CompletionItemKind, Documentation, Hover, HoverContents, Location, MarkupContent, MarkupKind,
    ParameterInformation, ParameterLabel, Position, SignatureHelp, SignatureInformation, SymbolInformation, SymbolKind,
    Uri,
};
use std::collections::BTreeSet;

/// The call that is being written: its name up to the bracket, and how many commas stand before the cursor.
struct Call {
    name: String,
    argument: usize,
    /// Keys and values of a map literal as the argument: `#{` is open.
    in_map: bool,
}

impl Server {
    pub fn hover(&self, uri: &str, at: Position) -> Option<Hover> {
        let document = self.documents.get(uri)?;
        let (line, column) = place(&document.source.text, at);
        let used = document.known.uses.iter().rfind(|u| u.line == line && (u.column..u.end).contains(&column))?;
        let value = match &used.target {
            Target::Entry(at) => entry_markdown(&self.checker.library.entries[*at]),
            Target::Function { signature, doc, module, .. } => {
                let from = module.as_ref().map(|m| format!("\n\n*of {m}*")).unwrap_or_default();
                format!("```rhai\n{signature}\n```\n{doc}{from}")
            }
            Target::Variable { shown, .. } => format!("`{shown}`"),
            Target::Global(name) => {
                let methods = self.checker.library.methods(self.checker.library.global(name)?);
                format!("`{name}`: {}", methods.into_iter().collect::<Vec<_>>().join(", "))
            }
            Target::Module { name, .. } => {
                let doc = module_doc(name, document.source.dir.as_deref(), &self.dirs)?;
                let functions: Vec<String> = doc.functions.iter().map(|(s, _)| format!("- `{s}`")).collect();
                format!("{}\n\n{}", doc.about, functions.join("\n"))
            }
        };
        Some(Hover {
            contents: HoverContents::Markup(MarkupContent { kind: MarkupKind::Markdown, value }),
            range: Some(range(&document.source.text, line, used.column, used.end)),
        })
    }

    pub fn completion(&self, uri: &str, at: Position) -> Option<Vec<CompletionItem>> {
        let document = self.documents.get(uri)?;
        let text = before(&document.source.text, at);
        let (line, _) = place(&document.source.text, at);
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let stem_at = text.rfind(|c| !is_word(c)).map_or(0, |i| i + text[i..].chars().next().map_or(1, char::len_utf8));
        let head = &text[..stem_at];
        let line_text = text.rsplit('\n').next().unwrap_or_default();
        if let Some((_, name)) = line_text.rsplit_once("import \"")
            && !name.contains('"')
        {
            let names = module_names(document.source.dir.as_deref(), &self.dirs);
            return Some(names.into_iter().map(|n| item(n, CompletionItemKind::MODULE, "", "")).collect());
        }
        if line_text.trim_start().starts_with("//") || (in_string(&text) && !line_text.contains("${")) {
            return Some(vec![]);
        }
        if let Some(head) = head.strip_suffix("::") {
            return Some(self.of_module(document, &last_word(head)));
        }
        if let Some(head) = head.strip_suffix("?.").or_else(|| head.strip_suffix('.')) {
            return Some(self.members(&self.type_of(document, head, line)));
        }
        if let Some(call) = open_call(&text).filter(|c| c.in_map) {
            let keys = self.option_keys(document, &call, line);
            if !keys.is_empty() {
                return Some(keys);
            }
        }
        Some(self.names(document, line))
    }

    /// What stands for itself: variables, handles, functions, imports.
    fn names(&self, document: &Document, line: usize) -> Vec<CompletionItem> {
        let mut all = Vec::new();
        let mut seen = BTreeSet::new();
        for k in document.known.known.iter().filter(|k| (k.lines.0..=k.lines.1).contains(&line)) {
            if seen.insert(k.name.clone()) {
                all.push(match &k.module {
                    Some(module) => item(k.name.clone(), CompletionItemKind::MODULE, module, ""),
                    None => item(k.name.clone(), CompletionItemKind::VARIABLE, &k.ty.name(), ""),
                });
            }
        }
        for name in self.checker.library.globals() {
            all.push(item(name.into(), CompletionItemKind::MODULE, "namespace", ""));
        }
        for e in self.checker.library.entries.iter().filter(|e| e.receiver.is_none()) {
            all.push(entry_item(e));
        }
        for (signature, doc) in own_functions(document) {
            let name = signature.split('(').next().unwrap_or_default().to_string();
            all.push(item(name, CompletionItemKind::FUNCTION, &signature, &doc));
        }
        all.extend(KEYWORDS.iter().map(|k| item((*k).into(), CompletionItemKind::KEYWORD, "", "")));
        all
    }

    fn of_module(&self, document: &Document, alias: &str) -> Vec<CompletionItem> {
        let known = document.known.known.iter().find(|k| k.name == alias && k.module.is_some());
        let Some(doc) = known
            .and_then(|k| k.module.as_deref())
            .and_then(|m| module_doc(m, document.source.dir.as_deref(), &self.dirs))
        else {
            return vec![];
        };
        let functions = doc.functions.iter().map(|(signature, said)| {
            let name = signature.split('(').next().unwrap_or_default().to_string();
            item(name, CompletionItemKind::FUNCTION, signature, said)
        });
        functions.collect()
    }

    fn members(&self, of: &Type) -> Vec<CompletionItem> {
        let library = &self.checker.library;
        let mut all = Vec::new();
        if let Type::Map(Some(record)) = of {
            all.extend(record.fields.iter().map(|f| item(f.clone(), CompletionItemKind::FIELD, &record.of, "")));
        }
        all.extend(library.properties(of).into_iter().map(|p| item(p.into(), CompletionItemKind::FIELD, "", "")));
        let receiver = match of {
            Type::Of(name) => Some(name.to_string()),
            _ => None,
        };
        for name in library.methods(of) {
            let entry = library.entries.iter().find(|e| e.receiver == receiver && e.name == name && receiver.is_some());
            all.push(match entry {
                Some(e) => entry_item(e),
                None => item(name.into(), CompletionItemKind::METHOD, "", ""),
            });
        }
        all
    }

    /// The type of the expression that ends there, as far as names and dots tell it.
    fn type_of(&self, document: &Document, head: &str, line: usize) -> Type {
        let library = &self.checker.library;
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.' || c == '?';
        // A call or an index before the dot: what it is called with does not matter.
        let mut plain = String::new();
        let mut depth = 0;
        for c in head.chars().rev() {
            match c {
                ')' | ']' => {
                    if depth == 0 {
                        plain.push(if c == ')' { '!' } else { '#' });
                    }
                    depth += 1;
                }
                '(' | '[' if depth == 0 => break,
                '(' | '[' => depth -= 1,
                _ if depth > 0 => {}
                c if is_part(c) => plain.push(c),
                _ => break,
            }
        }
        let plain: String = plain.chars().rev().collect();
        let mut ty: Option<Type> = None;
        for part in plain.replace("?.", ".").split('.') {
            let name = part.trim_end_matches(['!', '#']);
            let next = match &ty {
                None => {
                    let known = &document.known.known;
                    let mut here = known.iter().filter(|k| k.name == name && (k.lines.0..=k.lines.1).contains(&line));
                    match here.next_back() {
                        Some(k) => k.ty.clone(),
                        None => library.global(name).cloned().unwrap_or(Type::Any),
                    }
                }
                Some(of) if part.contains('!') => {
                    let list = library.overloads(name).iter();
                    let mut fits =
                        list.filter(|o| o.params.first().is_some_and(|(_, t)| of.fits(t) && *of != Type::Any));
                    fits.next().map_or(Type::Any, |o| o.returns.clone())
                }
                Some(of) => library.getter(of, name).cloned().unwrap_or(Type::Any),
            };
            ty = Some(if part.contains('#') { next.element() } else { next });
        }
        ty.unwrap_or(Type::Any)
    }

    fn option_keys(&self, document: &Document, call: &Call, line: usize) -> Vec<CompletionItem> {
        let options = self.called(document, &call.name, line).into_iter().flat_map(Entry::options);
        options.map(|(key, said)| item(key, CompletionItemKind::PROPERTY, &said, "")).collect()
    }

    /// The functions that a call can mean.
    fn called(&self, document: &Document, name: &str, line: usize) -> Vec<&Entry> {
        let entries = self.checker.library.entries.iter();
        match name.rsplit_once('.') {
            None => entries.filter(|e| e.receiver.is_none() && e.name == name).collect(),
            Some((of, name)) => {
                let ty = self.type_of(document, of, line);
                let is_it = |e: &&Entry| match &ty {
                    Type::Of(t) => e.receiver.as_deref() == Some(&**t),
                    _ => e.receiver.is_some(),
                };
                entries.filter(|e| e.name == name).filter(is_it).collect()
            }
        }
    }

    pub fn signature(&self, uri: &str, at: Position) -> Option<SignatureHelp> {
        let document = self.documents.get(uri)?;
        let (line, _) = place(&document.source.text, at);
        let call = open_call(&before(&document.source.text, at))?;
        let mut signatures: Vec<SignatureInformation> = Vec::new();
        for e in self.called(document, &call.name, line) {
            let parameters = e.params.iter().map(|p| ParameterInformation {
                label: ParameterLabel::Simple(p.trim_end_matches('_').into()),
                documentation: KINDS
                    .iter()
                    .find(|(k, _)| k == p)
                    .map(|(_, said)| Documentation::String((*said).into())),
            });
            signatures.push(SignatureInformation {
                label: signature(e),
                documentation: Some(Documentation::String(e.summary().into())),
                parameters: Some(parameters.collect()),
                active_parameter: Some(call.argument as u32),
            });
        }
        let own = match call.name.split_once("::") {
            Some((alias, name)) => {
                let of = self.of_module(document, alias).into_iter().filter(|i| i.label == name);
                of.filter_map(|i| i.detail).collect()
            }
            None => own_functions(document)
                .into_iter()
                .map(|(s, _)| s)
                .filter(|s| s.split('(').next() == Some(&*call.name))
                .collect::<Vec<_>>(),
        };
        signatures.extend(own.into_iter().map(|label| {
            let inner = label.split_once('(').map_or("", |(_, r)| r.trim_end_matches(')')).to_string();
            let params = inner.split(", ").filter(|p| !p.is_empty());
            let parameters =
                params.map(|p| ParameterInformation { label: ParameterLabel::Simple(p.into()), documentation: None });
            SignatureInformation {
                parameters: Some(parameters.collect()),
                label,
                documentation: None,
                active_parameter: Some(call.argument as u32),
            }
        }));
        (!signatures.is_empty()).then_some(SignatureHelp {
            signatures,
            active_signature: Some(0),
            active_parameter: Some(call.argument as u32),
        })
    }

    pub fn definition(&self, uri: &Uri, at: Position) -> Option<Location> {
        let document = self.documents.get(uri.as_str())?;
        let text = &document.source.text;
        let (line, column) = place(text, at);
        let used = document.known.uses.iter().rfind(|u| u.line == line && (u.column..u.end).contains(&column))?;
        match &used.target {
            Target::Variable { name, at, .. } => {
                Some(Location { uri: uri.clone(), range: range(text, at.0, at.1, at.1 + name.chars().count()) })
            }
            Target::Function { file: None, module: None, at, .. } => {
                Some(Location { uri: uri.clone(), range: range(text, at.0, at.1, at.1 + 1) })
            }
            Target::Function { file: Some(file), at, .. } => {
                let there = std::fs::read_to_string(file).ok()?;
                Some(Location { uri: uri_of(file)?, range: range(&there, at.0, at.1, at.1 + 1) })
            }
            Target::Module { file: Some(file), .. } => Some(Location { uri: uri_of(file)?, range: range("", 1, 1, 1) }),
            _ => None,
        }
    }

    pub fn symbols(&self, uri: &str) -> Option<Vec<SymbolInformation>> {
        let document = self.documents.get(uri)?;
        let address: Uri = uri.parse().ok()?;
        let mut all = Vec::new();
        for f in &document.known.functions {
            let end = f.at.1 + f.name.chars().count();
            #[allow(deprecated)] // The field has to be given.
            all.push(SymbolInformation {
                name: f.name.clone(),
                kind: SymbolKind::FUNCTION,
                tags: None,
                deprecated: None,
                location: Location { uri: address.clone(), range: range(&document.source.text, f.at.0, f.at.1, end) },
                container_name: None,
            });
        }
        Some(all)
    }
}

const KEYWORDS: [&str; 16] = [
    "let", "const", "if", "else", "while", "loop", "for", "in", "fn", "return", "throw", "try", "catch", "switch",
    "import", "break",
];

fn own_functions(document: &Document) -> Vec<(String, String)> {
    document.known.functions.iter().map(|f| (f.signature.clone(), f.doc.clone())).collect()
}

fn item(label: String, kind: CompletionItemKind, detail: &str, doc: &str) -> CompletionItem {
    let markup =
        |value: &str| Documentation::MarkupContent(MarkupContent { kind: MarkupKind::Markdown, value: value.into() });
    CompletionItem {
        label,
        kind: Some(kind),
        detail: (!detail.is_empty()).then(|| detail.into()),
        documentation: (!doc.is_empty()).then(|| markup(doc)),
        ..CompletionItem::default()
    }
}

fn entry_item(e: &Entry) -> CompletionItem {
    let kind = if e.receiver.is_some() { CompletionItemKind::METHOD } else { CompletionItemKind::FUNCTION };
    item(e.name.clone(), kind, &signature(e), &entry_markdown(e))
}

fn entry_markdown(e: &Entry) -> String {
    let doc: Vec<String> =
        e.doc.lines().map(|l| l.strip_prefix("# ").map_or_else(|| l.to_string(), |t| format!("\n**{t}**\n"))).collect();
    format!("```rhai\n{}\n```\n{}", signature(e), doc.join("\n"))
}

fn last_word(text: &str) -> String {
    let word = text.rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
    word.to_string()
}

/// Whether a text of one line or of several is open at the end.
fn in_string(text: &str) -> bool {
    let (mut open, mut escaped) = (None, false);
    let mut all = text.chars().peekable();
    while let Some(c) = all.next() {
        match open {
            None if c == '/' && all.peek() == Some(&'/') => while all.next_if(|c| *c != '\n').is_some() {},
            None if c == '"' || c == '`' => open = Some(c),
            Some('"') if c == '\n' => open = None,
            Some(q) if c == q && !escaped => open = None,
            _ => {}
        }
        escaped = c == '\\' && !escaped && open == Some('"');
    }
    open.is_some()
}

/// The innermost bracket of a call that is open at the end of the text.
fn open_call(text: &str) -> Option<Call> {
    // Brackets that are open, and the commas in each.
    let mut open: Vec<(usize, char, usize)> = Vec::new();
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in text.char_indices() {
        if let Some(q) = quote {
            if c == q && !escaped || (q == '"' && c == '\n') {
                quote = None;
            }
            escaped = c == '\\' && !escaped && q == '"';
            continue;
        }
        match c {
            '"' | '`' => quote = Some(c),
            '(' | '[' | '{' => open.push((at, c, 0)),
            ')' | ']' | '}' => _ = open.pop(),
            ',' => open.last_mut().into_iter().for_each(|o| o.2 += 1),
            _ => {}
        }
    }
    let mut in_map = false;
    while let Some((at, c, commas)) = open.pop() {
        let head = &text[..at];
        match c {
            '(' => {
                let is_part = |c: char| c.is_alphanumeric() || "_.:?".contains(c);
                let plain =
                    head.rfind(|c| !is_part(c)).map_or(0, |i| i + head[i..].chars().next().map_or(1, char::len_utf8));
                let name = head[plain..].to_string();
                // Behind a call or an index: the whole chain, for its type.
                let name = if name.starts_with('.') { chain_before(head) } else { name };
                return (!name.is_empty()).then_some(Call { name, argument: commas, in_map });
            }
            '{' if head.ends_with('#') => in_map = true,
            _ => return None,
        }
    }
    None
}

/// `rbd.ls("p").map` as it stands before the bracket.
fn chain_before(head: &str) -> String {
    let mut depth = 0;
    let start = head.char_indices().rev().find(|(_, c)| {
        match c {
            ')' | ']' => depth += 1,
            '(' | '[' if depth > 0 => depth -= 1,
            '(' | '[' => return true,
            c if depth == 0 && !(c.is_alphanumeric() || "_.?".contains(*c)) => return true,
            _ => {}
        }
        false
    });
    start.map_or(head, |(i, c)| &head[i + c.len_utf8()..]).to_string()
}

//! Path-based editing of libvirt XML that keeps what it does not touch.
//!
//! Paths are a small XPath: `devices/disk[@device='disk'][1]/source/@name`, from the root element. Names match without
//! their prefix, so `os` finds `libosinfo:os` too.

use crate::error::{Error, Result};
use std::sync::{Arc, Mutex};
use xot::{Node, Xot};

/// A parsed document. Copies are independent.
pub struct Document {
    xot: Xot,
    root: Node,
}

/// What scripts hold.
#[derive(Clone)]
pub struct Xml(pub Arc<Mutex<Document>>);

#[derive(Debug, PartialEq)]
enum Test {
    /// `[3]`, from 1.
    Index(usize),
    /// `[last()]`.
    Last,
    /// `[@type='network']`.
    Attribute(String, Option<String>),
    /// `[target/@dev='vda']`, `[name='x']`, `[seclabel]`.
    Path(String, Option<String>),
}

#[derive(Debug, PartialEq)]
struct Step {
    name: String,
    tests: Vec<Test>,
}

#[derive(Debug, PartialEq)]
struct Path {
    steps: Vec<Step>,
    attribute: Option<String>,
}

/// Elements inside elements. No domain has more than 20 levels, and what walks a tree takes stack or time for each.
const DEEPEST: usize = 1000;

/// Before it is parsed, which takes the square of the depth. What is not well-formed may count for anything.
fn not_too_deep(text: &str) -> Result<()> {
    let (mut rest, mut depth) = (text, 0_usize);
    while let Some(at) = rest.find('<') {
        rest = &rest[at..];
        let end = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")].iter().find(|(mark, _)| rest.starts_with(mark));
        if let Some((mark, end)) = end {
            rest = rest[mark.len()..].split_once(end).map_or("", |(_, after)| after);
            continue;
        }
        let (mut quote, mut close) = (None, rest.len());
        for (i, b) in rest.bytes().enumerate() {
            match (quote, b) {
                (Some(q), b) if b == q => quote = None,
                (None, b'"' | b'\'') => quote = Some(b),
                (None, b'>') => {
                    close = i;
                    break;
                }
                _ => {}
            }
        }
        let tag = &rest[..close];
        if tag.starts_with("</") {
            depth = depth.saturating_sub(1);
        } else if !tag.ends_with('/') && !tag.starts_with("<!") {
            depth += 1;
        }
        if depth > DEEPEST {
            return Err(Error::invalid(format!("is XML with more than {DEEPEST} elements inside each other")));
        }
        rest = rest.get(close + 1..).unwrap_or("");
    }
    Ok(())
}

fn parse_path(text: &str) -> Result<Path> {
    let bad = |why: &str| {
        Error::invalid(format!("is not an XML path: {why}"))
            .subject(text)
            .hint("paths are like `devices/disk[@device='disk'][1]/source/@name`")
    };
    let mut path = Path { steps: Vec::new(), attribute: None };
    if text.is_empty() || text == "." {
        return Ok(path);
    }
    for part in split_outside(text, '/') {
        if path.attribute.is_some() {
            return Err(bad("an attribute ends a path"));
        }
        if let Some(name) = part.strip_prefix('@') {
            path.attribute = Some(name.into());
            continue;
        }
        let (name, mut rest) = part.split_at(part.find('[').unwrap_or(part.len()));
        if name.is_empty() {
            return Err(bad("an element has no name"));
        }
        let mut tests = Vec::new();
        while !rest.is_empty() {
            let end = closing(rest).ok_or_else(|| bad("a `[` is not closed"))?;
            tests.push(parse_test(&rest[1..end]).ok_or_else(|| bad("a test in [ ] is wrong"))?);
            rest = &rest[end + 1..];
            if !rest.is_empty() && !rest.starts_with('[') {
                return Err(bad("text after `]`"));
            }
        }
        path.steps.push(Step { name: name.into(), tests });
    }
    if path.steps.len() > DEEPEST {
        return Err(bad("it has too many steps"));
    }
    Ok(path)
}

/// The index of the `]` that closes the `[` at the start.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

fn split_outside(text: &str, at: char) -> Vec<&str> {
    let (mut depth, mut quote, mut start, mut parts) = (0, None, 0, Vec::new());
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => depth -= 1,
            (None, c) if c == at && depth == 0 => {
                parts.push(&text[start..i]);
                start = i + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn parse_test(text: &str) -> Option<Test> {
    let text = text.trim();
    if text == "last()" {
        return Some(Test::Last);
    }
    if let Ok(n) = text.parse::<usize>() {
        return (n > 0).then_some(Test::Index(n));
    }
    let parts = split_outside(text, '=');
    let (what, value) = match parts[..] {
        [what] => (what.trim(), None),
        [what, value] => {
            let v = value.trim();
            let q = v.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
            (what.trim(), Some(v.strip_prefix(q)?.strip_suffix(q)?.to_string()))
        }
        _ => return None,
    };
    match what.strip_prefix('@') {
        Some(name) if !name.contains('/') => Some(Test::Attribute(name.into(), value)),
        _ if what.is_empty() => None,
        _ => Some(Test::Path(what.into(), value)),
    }
}

impl Document {
    pub fn parse(text: &str) -> Result<Document> {
        let mut xot = Xot::new();
        let bad = |e: String| Error::invalid(format!("is not well-formed XML: {e}")).op("xml.parse");
        not_too_deep(text).map_err(|e| e.op("xml.parse"))?;
        let doc = xot.parse(text).map_err(|e| bad(e.to_string()))?;
        let root = xot.document_element(doc).map_err(|e| bad(e.to_string()))?;
        Ok(Document { xot, root })
    }

    fn local(&self, node: Node) -> Option<&str> {
        self.xot.element(node).map(|e| self.xot.local_name_str(e.name()))
    }

    fn attribute(&self, node: Node, name: &str) -> Option<String> {
        let id = self.xot.name(name)?;
        self.xot.get_attribute(node, id).map(String::from)
    }

    fn text(&self, node: Node) -> String {
        self.xot.descendants(node).filter_map(|n| self.xot.text_str(n)).collect::<String>().trim().to_string()
    }

    fn select(&self, from: Node, steps: &[Step]) -> Vec<Node> {
        let mut at = vec![from];
        for step in steps {
            let mut next = Vec::new();
            for node in at {
                let mut found: Vec<Node> = self
                    .xot
                    .children(node)
                    .filter(|c| self.local(*c).is_some_and(|l| step.name == "*" || l == step.name))
                    .collect();
                for test in &step.tests {
                    found = self.filter(found, test);
                }
                next.extend(found);
            }
            at = next;
        }
        at
    }

    fn filter(&self, found: Vec<Node>, test: &Test) -> Vec<Node> {
        match test {
            Test::Index(n) => found.into_iter().skip(n - 1).take(1).collect(),
            Test::Last => found.into_iter().last().into_iter().collect(),
            Test::Attribute(name, value) => found
                .into_iter()
                .filter(|n| match (self.attribute(*n, name), value) {
                    (Some(a), Some(v)) => a == *v,
                    (a, None) => a.is_some(),
                    _ => false,
                })
                .collect(),
            Test::Path(path, value) => found
                .into_iter()
                .filter(|n| {
                    let Ok(path) = parse_path(path) else { return false };
                    let values = self.values(*n, &path);
                    match value {
                        Some(v) => values.contains(v),
                        None => !values.is_empty(),
                    }
                })
                .collect(),
        }
    }

    fn values(&self, from: Node, path: &Path) -> Vec<String> {
        let nodes = self.select(from, &path.steps);
        match &path.attribute {
            Some(a) => nodes.into_iter().filter_map(|n| self.attribute(n, a)).collect(),
            None => nodes.into_iter().map(|n| self.text(n)).collect(),
        }
    }

    /// The values at a path: attribute values, or the text of elements.
    pub fn get_all(&self, path: &str) -> Result<Vec<String>> {
        Ok(self.values(self.root, &parse_path(path)?))
    }

    /// The first value at a path.
    pub fn get(&self, path: &str) -> Result<Option<String>> {
        Ok(self.get_all(path)?.into_iter().next())
    }

    /// Sets an attribute or the text of an element of all that match; missing last elements are made. How many.
    pub fn set(&mut self, path: &str, value: &str) -> Result<usize> {
        let p = parse_path(path)?;
        let mut nodes = self.select(self.root, &p.steps);
        if nodes.is_empty() {
            nodes = vec![self.make(path, &p)?];
        }
        for node in &nodes {
            match &p.attribute {
                Some(a) => {
                    let id = self.xot.add_name(a);
                    self.xot.set_attribute(*node, id, value);
                }
                None => {
                    let old: Vec<Node> = self.xot.children(*node).collect();
                    if old.iter().any(|c| self.xot.element(*c).is_some()) {
                        return Err(Error::invalid("has elements inside, so its text cannot be set").subject(path));
                    }
                    for c in old {
                        self.xot.remove(c).map_err(failed)?;
                    }
                    self.xot.append_text(*node, value).map_err(failed)?;
                }
            }
        }
        Ok(nodes.len())
    }

    fn make(&mut self, path: &str, p: &Path) -> Result<Node> {
        let mut at = self.root;
        for (i, step) in p.steps.iter().enumerate() {
            let found = self.select(at, &p.steps[i..=i]);
            at = match found.first() {
                Some(n) => *n,
                None if step.tests.is_empty() && step.name != "*" => {
                    let name = self.xot.add_name(&step.name);
                    let new = self.xot.new_element(name);
                    self.append_indented(at, new)?;
                    new
                }
                None => return Err(Error::not_found("nothing in the XML matches this path").subject(path)),
            };
        }
        Ok(at)
    }

    /// Appends with the indentation of the children that are there already.
    fn append_indented(&mut self, parent: Node, new: Node) -> Result<()> {
        let kids: Vec<Node> = self.xot.children(parent).collect();
        let white = |n: &Node| self.xot.text_str(*n).filter(|t| t.trim().is_empty()).map(String::from);
        let indent = kids.first().and_then(white);
        let last = kids.last().copied().filter(|n| white(n).is_some());
        match (indent, last) {
            (Some(indent), Some(last)) if kids.len() > 1 => {
                self.xot.insert_before(last, new).map_err(failed)?;
                let text = self.xot.new_text(&indent);
                self.xot.insert_before(new, text).map_err(failed)
            }
            _ => self.xot.append(parent, new).map_err(failed),
        }
    }

    /// Removes the elements or attributes that match, with the white space before them. How many.
    pub fn remove(&mut self, path: &str) -> Result<usize> {
        let p = parse_path(path)?;
        let nodes = self.select(self.root, &p.steps);
        let mut removed = 0;
        for node in nodes {
            match &p.attribute {
                Some(a) => {
                    if self.attribute(node, a).is_some() {
                        let id = self.xot.add_name(a);
                        self.xot.remove_attribute(node, id);
                        removed += 1;
                    }
                }
                None if node == self.root => return Err(Error::invalid("the root element stays").subject(path)),
                None => {
                    let before = self.xot.previous_sibling(node);
                    // First the space: without the element the texts around it would become one.
                    if let Some(b) = before.filter(|b| self.xot.text_str(*b).is_some_and(|t| t.trim().is_empty())) {
                        self.xot.remove(b).map_err(failed)?;
                    }
                    self.xot.remove(node).map_err(failed)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Inserts XML text as the last child of the first element that matches.
    pub fn insert(&mut self, path: &str, fragment: &str) -> Result<()> {
        let p = parse_path(path)?;
        let parent = self.make(path, &p)?;
        let bad = |e: String| Error::invalid(format!("is not well-formed XML: {e}")).op("xml.insert");
        not_too_deep(fragment).map_err(|e| e.op("xml.insert"))?;
        let doc = self.xot.parse(fragment.trim()).map_err(|e| bad(e.to_string()))?;
        let new = self.xot.document_element(doc).map_err(|e| bad(e.to_string()))?;
        self.xot.detach(new).map_err(failed)?;
        self.append_indented(parent, new)
    }

    /// The XML of one element, or of the whole document with an empty path.
    pub fn text_of(&self, path: &str) -> Result<Option<String>> {
        let p = parse_path(path)?;
        match self.select(self.root, &p.steps).first() {
            Some(n) => self.xot.to_string(*n).map(Some).map_err(failed),
            None => Ok(None),
        }
    }
}

fn failed(e: xot::Error) -> Error {
    Error::failed(e.to_string()).op("xml")
}

impl std::fmt::Display for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.xot.to_string(self.root).map_err(|_| std::fmt::Error)?)
    }
}

impl Xml {
    pub fn parse(text: &str) -> Result<Xml> {
        Ok(Xml(Arc::new(Mutex::new(Document::parse(text)?))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: &str = "<domain type='kvm'>\n  <name>a</name>\n  <metadata>\n    <x:os xmlns:x=\"urn:x\" id=\"u\"/>\n  \
        </metadata>\n  <!-- kept -->\n  <devices>\n    <disk type='file'><target dev='vdb'/></disk>\n    \
        <disk type='network'>\n      <source protocol='rbd' name='p/a'/>\n      <target dev='vda'/>\n    </disk>\n  \
        </devices>\n</domain>";

    #[test]
    fn finds() {
        let d = Document::parse(DOMAIN).expect("XML");
        let get = |p: &str| d.get(p).expect("a path");
        assert_eq!(get("name").as_deref(), Some("a"));
        assert_eq!(get("@type").as_deref(), Some("kvm"));
        assert_eq!(get("devices/disk[@type='network']/source/@name").as_deref(), Some("p/a"));
        assert_eq!(get("devices/disk[target/@dev='vda']/source/@protocol").as_deref(), Some("rbd"));
        assert_eq!(get("devices/disk[2]/target/@dev").as_deref(), Some("vda"));
        assert_eq!(get("devices/disk[last()]/target/@dev").as_deref(), Some("vda"));
        assert_eq!(get("metadata/os/@id").as_deref(), Some("u"));
        assert_eq!(get("nothing"), None);
        assert_eq!(d.get_all("devices/*/target/@dev").expect("a path").len(), 2);
        for bad in ["a//b", "a[", "a[]", "a[0]", "@x/y", "a]b[1]x"] {
            assert!(d.get(bad).is_err() || bad == "a]b[1]x", "{bad}");
        }
    }

    #[test]
    fn edits_and_keeps_the_rest() {
        let mut d = Document::parse(DOMAIN).expect("XML");
        d.set("name", "b & c").expect("set");
        d.set("devices/disk[@type='network']/source/@name", "p/b").expect("set");
        d.set("title", "new").expect("made");
        assert_eq!(d.remove("devices/disk[@type='file']").expect("removed"), 1);
        d.insert("devices", "<rng model='virtio'/>").expect("inserted");
        let text = d.to_string();
        assert!(text.contains("<!-- kept -->") && text.contains("xmlns:x=\"urn:x\""), "{text}");
        assert!(text.contains("b &amp; c") && text.contains("p/b") && !text.contains("vdb"), "{text}");
        assert!(text.contains("\n    <rng model=\"virtio\"/>\n  </devices>"), "{text}");
        assert_eq!(d.get("title").expect("a path").as_deref(), Some("new"));
        assert!(d.set("devices", "text").is_err());
    }

    #[test]
    fn what_is_too_deep_is_refused_before_it_takes_long() {
        let nested = |n: usize| format!("{}x{}", "<a b='>'>".repeat(n), "</a>".repeat(n));
        let mut d = Document::parse(&nested(DEEPEST)).expect("XML");
        for e in [Document::parse(&nested(DEEPEST + 1)).map(drop), d.insert("a", &nested(100_000))] {
            assert!(e.is_err_and(|e| e.kind == crate::error::Kind::Invalid && e.message.contains("more than 1000")));
        }
        assert!(d.set(&vec!["b"; DEEPEST + 1].join("/"), "x").is_err());
        // Side by side there may be any number.
        let flat = format!("<a>{}</a>", "<!-- <a> --><b/><c d=\"/\"></c><![CDATA[<a>]]><?p <a> ?>".repeat(2000));
        assert!(Document::parse(&flat).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn any_path_is_an_answer(path in ".{0,40}") {
            let d = Document::parse(DOMAIN).expect("XML");
            let _ = d.get(&path);
        }
    }
}

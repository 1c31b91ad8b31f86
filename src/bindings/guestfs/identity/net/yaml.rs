//! As much of YAML as netplan's files need: every scalar with the keys that lead to it and its place in the text.

use std::ops::Range;

#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// The keys above it.
    pub path: Vec<String>,
    /// Without its quotes.
    pub at: Range<usize>,
    pub is_key: bool,
    /// Scalars of one list item share it.
    pub item: usize,
    /// Inside brackets.
    pub flow: bool,
}

struct Flow {
    map: bool,
    key: Option<String>,
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    block: Vec<(usize, String)>,
    flow: Vec<Flow>,
    item: usize,
    found: Vec<Scalar>,
}

pub fn scan(text: &str) -> Vec<Scalar> {
    let mut s = Scan { text, at: 0, block: Vec::new(), flow: Vec::new(), item: 0, found: Vec::new() };
    while s.at < text.len() {
        if s.flow.is_empty() {
            s.block_line();
        } else {
            s.in_flow();
        }
    }
    s.found
}

/// YAML takes a colon for an indicator only in front of these: `::1` is a scalar.
fn is_plain(next: u8) -> bool {
    !next.is_ascii_whitespace() && !matches!(next, b',' | b'[' | b']' | b'{' | b'}' | b'"' | b'\'')
}

impl Scan<'_> {
    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(b'\n')
    }

    fn skip_blanks(&mut self) {
        while self.at < self.text.len() && matches!(self.byte(self.at), b' ' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    fn skip_line(&mut self) {
        while self.at < self.text.len() {
            self.at += 1;
            if self.byte(self.at - 1) == b'\n' {
                break;
            }
        }
    }

    /// A quoted or plain scalar; never empty-handed, so that the scan goes on.
    fn scalar(&mut self) -> Range<usize> {
        let start = self.at;
        let quote = self.byte(start);
        if quote == b'"' || quote == b'\'' {
            let mut i = start + 1;
            while i < self.text.len() && self.byte(i) != quote && self.byte(i) != b'\n' {
                i += 1 + usize::from(quote == b'"' && self.byte(i) == b'\\' && self.byte(i + 1).is_ascii());
            }
            let i = i.min(self.text.len());
            self.at = (i + usize::from(self.byte(i) == quote && i < self.text.len())).min(self.text.len());
            return start + 1..i.max(start + 1);
        }
        let flow = !self.flow.is_empty();
        let mut i = start;
        while i < self.text.len() {
            let (b, next) = (self.byte(i), self.byte(i + 1));
            let ends = b == b'\n'
                || (b == b':'
                    && (next.is_ascii_whitespace() || (flow && matches!(next, b',' | b'[' | b']' | b'{' | b'}'))))
                || (b == b'#' && i > start && matches!(self.byte(i - 1), b' ' | b'\t'))
                || (flow && matches!(b, b',' | b'[' | b']' | b'{' | b'}'));
            if ends {
                break;
            }
            i += 1;
        }
        self.at = if i == start { (i + 1).min(self.text.len()) } else { i };
        while !self.text.is_char_boundary(self.at) {
            self.at += 1;
        }
        start..start + self.text[start..i].trim_end().len()
    }

    fn path(&self) -> Vec<String> {
        let block = self.block.iter().map(|(_, k)| k.clone());
        block.chain(self.flow.iter().filter_map(|f| f.key.clone())).collect()
    }

    fn push(&mut self, at: Range<usize>, is_key: bool) {
        let (path, item, flow) = (self.path(), self.item, !self.flow.is_empty());
        self.found.push(Scalar { path, at, is_key, item, flow });
    }

    fn block_line(&mut self) {
        let line = self.at;
        self.skip_blanks();
        loop {
            let column = self.at - line;
            if self.at >= self.text.len() || matches!(self.byte(self.at), b'\n' | b'#') {
                return self.skip_line();
            }
            if self.byte(self.at) != b'-' || !self.byte(self.at + 1).is_ascii_whitespace() {
                break;
            }
            self.block.retain(|(indent, _)| *indent <= column);
            self.item += 1;
            self.at += 1;
            self.skip_blanks();
        }
        if self.opens_flow() {
            return;
        }
        let column = self.at - line;
        let at = self.scalar();
        self.skip_blanks();
        if self.byte(self.at) != b':' || self.at >= self.text.len() {
            self.push(at, false);
            return self.skip_line();
        }
        self.block.retain(|(indent, _)| *indent < column);
        self.push(at.clone(), true);
        self.block.push((column, self.text[at].to_string()));
        self.at += 1;
        self.skip_blanks();
        if self.at < self.text.len() && !matches!(self.byte(self.at), b'\n' | b'#') && !self.opens_flow() {
            let at = self.scalar();
            self.push(at, false);
            self.skip_line();
        } else if self.flow.is_empty() {
            self.skip_line();
        }
    }

    fn opens_flow(&mut self) -> bool {
        let b = self.byte(self.at);
        if self.at >= self.text.len() || (b != b'{' && b != b'[') {
            return false;
        }
        self.flow.push(Flow { map: b == b'{', key: None });
        self.item += usize::from(b == b'{');
        self.at += 1;
        true
    }

    fn in_flow(&mut self) {
        match self.byte(self.at) {
            b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
            b'#' => self.skip_line(),
            b']' | b'}' => {
                self.flow.pop();
                self.at += 1;
                if self.flow.is_empty() {
                    self.skip_line();
                }
            }
            b',' => {
                self.at += 1;
                if let Some(top) = self.flow.last_mut() {
                    top.key = None;
                }
            }
            b'{' | b'[' => {
                self.opens_flow();
            }
            b':' if !is_plain(self.byte(self.at + 1)) => self.at += 1,
            _ => {
                let at = self.scalar();
                self.skip_blanks();
                let is_key = self.byte(self.at) == b':' && self.flow.last().is_some_and(|f| f.map);
                self.push(at.clone(), is_key);
                if is_key {
                    self.at += 1;
                    let key = self.text[at].to_string();
                    if let Some(top) = self.flow.last_mut() {
                        top.key = Some(key);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(text: &str) -> Vec<String> {
        scan(text).into_iter().filter(|s| !s.is_key).map(|s| format!("{}={}", s.path.join("/"), &text[s.at])).collect()
    }

    #[test]
    fn styles() {
        let block = "a:\n  b: # x\n    - 1/2\n    - 'q # r'\n  c: \"d\"\n  r:\n  - to: x\n    via: y\n  - via: z # w\n";
        assert_eq!(said(block), ["a/b=1/2", "a/b=q # r", "a/c=d", "a/r/to=x", "a/r/via=y", "a/r/via=z"]);
        let flow = "a: {b: [1, \"2\",\n  3], c: {d: ::1/64}} # end\ne: [f]\n- [g]\n";
        assert_eq!(said(flow), ["a/b=1", "a/b=2", "a/b=3", "a/c/d=::1/64", "e=f", "e=g"]);
    }

    #[test]
    fn items() {
        let s = scan("r:\n- via: a\n  to: b\n- to: c\n");
        let items: Vec<usize> = s.iter().filter(|s| !s.is_key).map(|s| s.item).collect();
        assert_eq!(items, [1, 1, 2]);
    }

    proptest! {
        #[test]
        fn never_panics(s in "([ \t\r\n#\\-:\\[\\]{},'\"\\\\a-cé]|- |: |名){0,50}") {
            for x in scan(&s) {
                let _ = &s[x.at];
            }
        }
    }
}

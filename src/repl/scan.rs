//! Half-typed text as tokens: what colours, completion and the question "is it complete?" go by. Rhai's own lexer
//! needs its parser beside it to get through a template string, and gives no place for what is not finished.

use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Word,
    Keyword,
    Number,
    /// Quoted text; of a template, each piece between its expressions.
    Text,
    Comment,
    Operator,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub kind: Kind,
    pub at: Range<usize>,
}

/// What has been opened and not closed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Open {
    Round,
    Square,
    Curly,
    Map,
    /// `${` inside a template.
    Inserted,
    Template,
    Quote,
    Comment,
}

#[derive(Debug, Default)]
pub struct Scan {
    pub tokens: Vec<Token>,
    /// Outermost first, each with where it begins.
    pub open: Vec<(Open, usize)>,
}

const KEYWORDS: &[&str] = &[
    "let", "const", "if", "else", "switch", "do", "while", "until", "loop", "for", "in", "continue", "break", "return",
    "throw", "try", "catch", "fn", "private", "import", "export", "as", "global", "true", "false", "this",
];

impl Scan {
    /// The token that ends at, or contains, this place.
    pub fn at(&self, pos: usize) -> Option<&Token> {
        self.tokens.iter().find(|t| t.at.start < pos && pos <= t.at.end)
    }

    /// True when Enter must go on: what is open can be closed on another line.
    pub fn goes_on(&self) -> bool {
        self.open.iter().any(|(open, _)| *open != Open::Quote)
    }
}

pub fn scan(text: &str) -> Scan {
    let mut s = Scanner { text, at: 0, out: Scan::default() };
    while s.at < text.len() {
        s.step();
    }
    s.out
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    out: Scan,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn push(&mut self, kind: Kind, length: usize) {
        self.out.tokens.push(Token { kind, at: self.at..self.at + length });
        self.at += length;
    }

    fn open(&mut self, what: Open, length: usize) {
        self.out.open.push((what, self.at));
        self.push(Kind::Operator, length);
    }

    /// Closes the innermost that is of this kind; what is not open is the parser's business.
    fn close(&mut self, which: &[Open]) {
        if self.out.open.last().is_some_and(|(open, _)| which.contains(open)) {
            let back_to_text = matches!(self.out.open.pop(), Some((Open::Inserted, _)));
            self.push(Kind::Operator, 1);
            if back_to_text {
                self.template();
            }
        } else {
            self.push(Kind::Operator, 1);
        }
    }

    fn step(&mut self) {
        let rest = self.rest();
        let Some(c) = rest.chars().next() else { return };
        let length = |f: fn(char) -> bool| rest.find(|c| !f(c)).unwrap_or(rest.len());
        match c {
            c if c.is_whitespace() => self.at += c.len_utf8(),
            '/' if rest.starts_with("//") => {
                let n = rest.find('\n').unwrap_or(rest.len());
                self.push(Kind::Comment, n);
            }
            '/' if rest.starts_with("/*") => self.comment(),
            '"' => self.quoted(),
            '\'' => self.character(),
            '#' if rest.starts_with("#{") => self.open(Open::Map, 2),
            '#' if rest.trim_start_matches('#').starts_with('"') => self.raw(),
            '`' => {
                self.out.open.push((Open::Template, self.at));
                self.out.tokens.push(Token { kind: Kind::Text, at: self.at..self.at + 1 });
                self.at += 1;
                self.template();
            }
            '(' => self.open(Open::Round, 1),
            '[' => self.open(Open::Square, 1),
            '{' => self.open(Open::Curly, 1),
            ')' => self.close(&[Open::Round]),
            ']' => self.close(&[Open::Square]),
            '}' => self.close(&[Open::Curly, Open::Map, Open::Inserted]),
            c if c.is_ascii_digit() => {
                let n = length(|c| c.is_ascii_alphanumeric() || c == '_');
                self.push(Kind::Number, n);
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let n = length(|c| c.is_ascii_alphanumeric() || c == '_');
                let kind = if KEYWORDS.contains(&&rest[..n]) { Kind::Keyword } else { Kind::Word };
                self.push(kind, n);
            }
            c => self.push(Kind::Operator, c.len_utf8()),
        }
    }

    fn comment(&mut self) {
        let bytes = self.rest().as_bytes();
        let (mut depth, mut n) = (0, 0);
        while n < bytes.len() {
            match &bytes[n..] {
                [b'/', b'*', ..] => (depth, n) = (depth + 1, n + 2),
                [b'*', b'/', ..] => (depth, n) = (depth - 1, n + 2),
                _ => n += 1,
            }
            if depth == 0 {
                return self.push(Kind::Comment, n);
            }
        }
        self.out.open.push((Open::Comment, self.at));
        self.push(Kind::Comment, n);
    }

    /// A string ends with its line, but for a backslash there.
    fn quoted(&mut self) {
        let rest = self.rest();
        let mut chars = rest.char_indices().skip(1);
        while let Some((n, c)) = chars.next() {
            match c {
                '\\' => drop(chars.next()),
                '"' => return self.push(Kind::Text, n + 1),
                '\n' => return self.push(Kind::Text, n),
                _ => {}
            }
        }
        let (n, goes_on) = (rest.len(), rest.trim_end_matches('\n').ends_with('\\') && rest.ends_with('\n'));
        self.out.open.push((if goes_on { Open::Template } else { Open::Quote }, self.at));
        self.push(Kind::Text, n);
    }

    fn character(&mut self) {
        let rest = self.rest();
        let skip = if rest.starts_with("'\\") { 2 } else { 1 };
        match rest.char_indices().skip(skip).find(|(_, c)| matches!(c, '\'' | '\n')) {
            Some((n, '\'')) => self.push(Kind::Text, n + 1),
            _ => self.push(Kind::Operator, 1),
        }
    }

    /// `#"…"#`, with any number of hashes.
    fn raw(&mut self) {
        let rest = self.rest();
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        match rest[hashes + 1..].find(&end) {
            Some(n) => self.push(Kind::Text, hashes + 1 + n + end.len()),
            None => {
                self.out.open.push((Open::Template, self.at));
                self.push(Kind::Text, rest.len());
            }
        }
    }

    /// The text of a template up to its end or its next expression.
    fn template(&mut self) {
        let rest = self.rest();
        let mut n = 0;
        while n < rest.len() {
            let here = &rest[n..];
            if here.starts_with("``") {
                n += 2;
            } else if here.starts_with('`') {
                self.out.open.pop();
                return self.push(Kind::Text, n + 1);
            } else if here.starts_with("${") {
                self.push(Kind::Text, n);
                return self.open(Open::Inserted, 2);
            } else {
                n += here.chars().next().map_or(1, char::len_utf8);
            }
        }
        self.push(Kind::Text, n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open() {
        for (text, open) in [
            ("1 + 1", vec![]),
            ("f(1, [2, #{ a: {", vec![Open::Round, Open::Square, Open::Map, Open::Curly]),
            ("f(\")\") // (", vec![]),
            ("/* a /* b */", vec![Open::Comment]),
            ("/* a */ 1", vec![]),
            ("`a ${ f(`b ${ x", vec![Open::Template, Open::Inserted, Open::Round, Open::Template, Open::Inserted]),
            ("`a ${ x } (", vec![Open::Template]),
            ("`a ${ #{ a: 1 }.a } b`", vec![]),
            ("`it``s`", vec![]),
            ("\"abc", vec![Open::Quote]),
            ("\"abc \\\" ", vec![Open::Quote]),
            ("'(' '\\''", vec![]),
            ("#\"a \" b\"#", vec![]),
            ("#\"a \" b", vec![Open::Template]),
            ("云 = (", vec![Open::Round]),
        ] {
            let found: Vec<Open> = scan(text).open.iter().map(|(o, _)| *o).collect();
            assert_eq!(found, open, "{text}");
        }
    }

    #[test]
    fn tokens_cover_what_is_no_blank() {
        for text in ["let 云 = `a${b + \"c\"}d`; // e", "f(|x| x.y[0]) /* z */ + 'c' - 0x1f", "\"a\nlet b", "}])"] {
            let mut at = 0;
            for t in scan(text).tokens {
                assert!(text[at..t.at.start].trim().is_empty(), "{text}: {:?}", &text[at..t.at.start]);
                at = t.at.end;
            }
            assert!(text[at..].trim().is_empty(), "{text}");
        }
    }
}

//! Colours of a line that is being typed.

use super::scan::{Kind, scan};
use crate::bindings::NAMESPACES;
use crate::helpers;

const BLUE: &str = "34";
const CYAN: &str = "36";
const GREEN: &str = "32";
const GREY: &str = "90";
const MAGENTA: &str = "35";
const YELLOW: &str = "33";

/// The line with its colours; a bracket that nothing closes yet, or that closes nothing, is left as it is.
pub fn highlight(line: &str) -> String {
    if line.trim_start().starts_with(':') {
        let word = line
            .trim_start()
            .find(char::is_whitespace)
            .map_or(line.len(), |n| n + line.len() - line.trim_start().len());
        return format!("{}{}", paint(MAGENTA, &line[..word]), &line[word..]);
    }
    let found = scan(line);
    let mut out = String::with_capacity(line.len() * 2);
    let mut at = 0;
    for (n, token) in found.tokens.iter().enumerate() {
        out.push_str(&line[at..token.at.start]);
        let text = &line[token.at.clone()];
        at = token.at.end;
        let before = n.checked_sub(1).map_or("", |n| &line[found.tokens[n].at.clone()]);
        let color = match token.kind {
            Kind::Keyword => Some(MAGENTA),
            Kind::Number => Some(CYAN),
            Kind::Text => Some(GREEN),
            Kind::Comment => Some(GREY),
            Kind::Word if before != "." && (NAMESPACES.contains(&text) || helpers::NAMES.contains(&text)) => Some(BLUE),
            Kind::Word if line[at..].starts_with('(') => Some(YELLOW),
            _ => None,
        };
        match color {
            Some(code) => out.push_str(&paint(code, text)),
            None => out.push_str(text),
        }
    }
    out.push_str(&line[at..]);
    out
}

/// Each line of it by itself: a terminal may forget colours at a line's end.
pub fn paint(code: &str, text: &str) -> String {
    let each = |l: &str| if l.is_empty() { String::new() } else { format!("\x1b[{code}m{l}\x1b[0m") };
    text.split('\n').map(each).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_change_nothing_else() {
        for line in ["let a = rbd.ls(\"p\"); // 云", "`a\n${b}\n`", ":help rbd", "  :undo", "x.map(|y| y", ""] {
            let colored = highlight(line);
            let mut plain = String::new();
            let mut rest = colored.as_str();
            while let Some(n) = rest.find("\x1b[") {
                plain.push_str(&rest[..n]);
                rest = rest[n..].split_once('m').map_or("", |(_, r)| r);
            }
            plain.push_str(rest);
            assert_eq!(plain, line);
        }
        assert!(highlight("rbd.ls").starts_with("\x1b[34mrbd"));
        assert!(!highlight("x.rbd").contains("\x1b[34m"));
    }
}

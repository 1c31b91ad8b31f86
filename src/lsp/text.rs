//! Places: editors count UTF-16 units from 0, Rhai counts characters from 1.

use lsp_types::{Position, Range};
use std::path::{Path, PathBuf};

/// Where a character stands for the editor.
pub fn position(text: &str, line: usize, column: usize) -> Position {
    let code = text.split('\n').nth(line.saturating_sub(1)).unwrap_or_default();
    let units = code.chars().take(column.saturating_sub(1)).map(char::len_utf16).sum::<usize>();
    Position::new(line.saturating_sub(1) as u32, units as u32)
}

pub fn range(text: &str, line: usize, column: usize, end: usize) -> Range {
    Range::new(position(text, line, column), position(text, line, end))
}

/// The line and column of Rhai where the editor stands.
pub fn place(text: &str, at: Position) -> (usize, usize) {
    let code = text.split('\n').nth(at.line as usize).unwrap_or_default();
    let mut units = 0;
    let before = code.chars().take_while(|c| {
        let is_before = units < at.character as usize;
        units += c.len_utf16();
        is_before
    });
    (at.line as usize + 1, before.count() + 1)
}

/// The text up to the editor's place.
pub fn before(text: &str, at: Position) -> String {
    let (line, column) = place(text, at);
    let mut lines: Vec<&str> = text.split('\n').take(line).collect();
    let last: String = lines.pop().unwrap_or_default().chars().take(column - 1).collect();
    lines.push(&last);
    lines.join("\n")
}

/// The file behind a `file://` address.
pub fn path_of(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix("file://")?;
    let rest = &rest[rest.find('/')?..];
    let mut bytes = Vec::new();
    let mut all = rest.bytes();
    while let Some(b) = all.next() {
        let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).map(|d| d as u8);
        match b {
            b'%' => bytes.push(hex(all.next())? * 16 + hex(all.next())?),
            b => bytes.push(b),
        }
    }
    String::from_utf8(bytes).ok().map(PathBuf::from)
}

pub fn uri_of(path: &Path) -> Option<lsp_types::Uri> {
    let path = std::path::absolute(path).ok()?;
    let mut uri = String::from("file://");
    for b in path.to_str()?.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => uri.push(char::from(b)),
            b => uri.push_str(&format!("%{b:02X}")),
        }
    }
    uri.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_as_editors_do() {
        let text = "let a = \"名字𠀀\" + b;\nx";
        let column = text.chars().position(|c| c == 'b').expect("b") + 1;
        // Four of the plane of Chinese, one of them two units.
        assert_eq!(position(text, 1, column), Position::new(0, column as u32));
        assert_eq!(place(text, Position::new(0, column as u32)), (1, column));
        assert_eq!(before(text, Position::new(1, 1)), text);
        assert_eq!(path_of("file:///tmp/%E5%90%8D%20a.rhai"), Some(PathBuf::from("/tmp/名 a.rhai")));
        let uri = uri_of(Path::new("/tmp/名 a.rhai")).expect("a URI");
        assert_eq!(uri.as_str(), "file:///tmp/%E5%90%8D%20a.rhai");
    }
}

//! `key=value` lines, with or without sections.

use std::ops::Range;

#[derive(Clone, Debug)]
pub struct Entry {
    pub section: String,
    /// Counts the sections: networkd may have many of one name.
    pub nth: usize,
    pub key: String,
    /// Without quotes and blanks around it.
    pub value: Range<usize>,
    /// The whole line with its end.
    pub line: Range<usize>,
}

/// systemd's units and NetworkManager's keyfiles.
pub fn sections(text: &str) -> Vec<Entry> {
    parse(text, false)
}

/// Shell assignments.
pub fn shell(text: &str) -> Vec<Entry> {
    parse(text, true)
}

fn parse(text: &str, shell: bool) -> Vec<Entry> {
    let mut found = Vec::new();
    let (mut section, mut nth) = (String::new(), 0);
    for (line, n) in super::super::text::lines(text) {
        let body = &text[line.start..line.end - n];
        let trimmed = body.trim();
        if trimmed.starts_with(['#', ';']) {
            continue;
        }
        if !shell && trimmed.starts_with('[') {
            section = trimmed.trim_matches(['[', ']']).into();
            nth += 1;
            continue;
        }
        let Some(eq) = body.find('=') else { continue };
        let key = body[..eq].trim();
        let key = if shell { key.strip_prefix("export ").unwrap_or(key).trim() } else { key };
        let rest = &body[eq + 1..];
        let lead = rest.len() - rest.trim_start().len();
        let start = line.start + eq + 1 + lead;
        let rest = rest.trim();
        let value = match rest.chars().next().filter(|c| shell && (*c == '"' || *c == '\'')) {
            Some(quote) => {
                let inner = &rest[1..];
                start + 1..start + 1 + inner.find(quote).unwrap_or(inner.len())
            }
            None if shell => start..start + rest.find(char::is_whitespace).unwrap_or(rest.len()),
            None => start..start + rest.len(),
        };
        found.push(Entry { section: section.clone(), nth, key: key.into(), value, line });
    }
    found
}

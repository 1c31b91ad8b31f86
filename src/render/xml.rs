//! XML for people: indented where it is all on one line, and with colours.

use super::Look;

pub fn pretty(text: &str, look: Look) -> String {
    let text = text.trim_end();
    let lines = if text.contains('\n') { text.to_string() } else { indented(text) };
    if look.color { colored(&lines, look) } else { lines }
}

/// Tags and texts, in order.
fn pieces(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = if rest.starts_with("<!--") {
            rest.find("-->").map_or(rest.len(), |n| n + 3)
        } else if rest.starts_with('<') {
            tag_end(rest)
        } else {
            rest.find('<').unwrap_or(rest.len())
        };
        found.push(&rest[..end]);
        rest = &rest[end..];
    }
    found
}

/// Where a tag ends: a `>` in quotes does not end it.
fn tag_end(text: &str) -> usize {
    let mut quote = None;
    for (n, c) in text.char_indices() {
        match (quote, c) {
            (None, '>') => return n + 1,
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            _ => {}
        }
    }
    text.len()
}

fn indented(text: &str) -> String {
    let pieces = pieces(text);
    let (mut out, mut depth) = (String::new(), 0usize);
    for (n, piece) in pieces.iter().enumerate() {
        if !piece.starts_with('<') {
            out.push_str(piece);
            continue;
        }
        let closes = piece.starts_with("</");
        depth = depth.saturating_sub(usize::from(closes));
        // The end of an element that has nothing but text stays on its line.
        let short = closes && n > 0 && (!pieces[n - 1].starts_with('<') || is_open(pieces[n - 1]));
        if n > 0 && !short && pieces[n - 1].starts_with('<') {
            out.push('\n');
            out.push_str(&"  ".repeat(depth));
        }
        out.push_str(piece);
        depth += usize::from(is_open(piece));
    }
    out
}

fn is_open(tag: &str) -> bool {
    tag.starts_with('<')
        && !tag.starts_with("</")
        && !tag.starts_with("<?")
        && !tag.starts_with("<!")
        && !tag.ends_with("/>")
}

fn colored(text: &str, look: Look) -> String {
    let each = |piece: &str| -> String {
        if !piece.starts_with('<') {
            return piece.into();
        }
        if piece.starts_with("<!") || piece.starts_with("<?") {
            return lines(piece, "90", look);
        }
        let name = piece.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(piece.len());
        let (head, mut rest) = piece.split_at(name);
        let mut out = look.paint("34", head);
        while let Some(at) = rest.find(['"', '\'']) {
            let quote = rest[at..].chars().next().unwrap_or('"');
            let end = rest[at + 1..].find(quote).map_or(rest.len(), |n| at + n + 2);
            out.push_str(&rest[..at]);
            out.push_str(&lines(&rest[at..end], "32", look));
            rest = &rest[end..];
        }
        format!("{out}{}", look.paint("34", rest))
    };
    pieces(text).into_iter().map(each).collect()
}

fn lines(text: &str, code: &str, look: Look) -> String {
    text.split('\n').map(|l| look.paint(code, l)).collect::<Vec<_>>().join("\n")
}

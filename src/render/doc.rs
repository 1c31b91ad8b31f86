//! Documentation as people read it on a terminal: headings, paragraphs as wide as the screen, examples as they stand.

use crate::host::registry::{Entry, KINDS, signature};
use unicode_width::UnicodeWidthStr;

/// Colours a text: a number of ANSI, and the text.
pub type Paint<'a> = &'a dyn Fn(&str, &str) -> String;

const BOLD: &str = "1";
const DIM: &str = "2";

/// How wide text is on this terminal: all that fits, up to a line that is easy to read.
pub fn width() -> usize {
    let screen = terminal_size::terminal_size().map(|(w, _)| usize::from(w.0));
    let given = || std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    screen.or_else(given).unwrap_or(80).clamp(20, 100)
}

/// A paragraph in lines of at most `width` columns; each but the first begins with `indent` blanks.
pub fn wrap(text: &str, width: usize, indent: usize) -> String {
    let (mut out, mut used, mut is_first) = (String::new(), 0, true);
    for word in text.split_whitespace() {
        let columns = word.width();
        if !is_first && used + 1 + columns > width {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            used = indent;
        } else if !is_first {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += columns;
        is_first = false;
    }
    out
}

/// Names in a column, what they are beside them; below them on a narrow screen.
fn pairs(rows: &[(String, String)], width: usize) -> String {
    let longest = rows.iter().map(|(n, _)| n.width()).max().unwrap_or(0).min(width / 3);
    let column = 2 + longest + 2;
    let mut out = String::new();
    for (name, text) in rows {
        let fits = name.width() <= longest;
        let gap = if fits { " ".repeat(longest + 2 - name.width()) } else { format!("\n{}", " ".repeat(column)) };
        // Lines are counted from the left edge, and the first has the name in it.
        let body = wrap(&format!("{} {text}", "x".repeat(column - 1)), width, column);
        out.push_str(&format!("  {name}{gap}{}\n", body.chars().skip(column).collect::<String>()));
    }
    out
}

fn paragraphs(text: &str, width: usize) -> String {
    let blank = |l: &&str| l.trim().is_empty();
    let mut out = Vec::new();
    for part in text.split("\n\n") {
        let (list, plain): (Vec<&str>, Vec<&str>) =
            part.lines().filter(|l| !blank(l)).partition(|l| l.starts_with("- "));
        if !plain.is_empty() {
            out.push(format!("  {}", wrap(&plain.join(" "), width.saturating_sub(2), 2)));
        }
        out.extend(list.iter().map(|l| format!("  {}", wrap(l, width.saturating_sub(2), 4))));
    }
    out.join("\n")
}

/// One function.
pub fn entry(e: &Entry, width: usize, paint: Paint) -> String {
    let mut out = format!("{}\n\n", paint(BOLD, &wrap(&signature(e), width, 4)));
    let body = e.doc.split("\n# ").next().unwrap_or_default();
    let body = body.split("\nImplements: ").next().unwrap_or_default();
    for part in body.split("\n\n").filter(|p| !p.trim().is_empty()) {
        out.push_str(&paragraphs(part, width));
        out.push_str("\n\n");
    }
    let mut section = |title: &str, text: String| {
        if !text.trim().is_empty() {
            out.push_str(&format!("{}\n{}\n\n", paint(BOLD, title), text.trim_end()));
        }
    };
    let params: Vec<(String, String)> = e
        .params
        .iter()
        .map(|p| {
            let said = KINDS.iter().find(|(k, _)| k == p).map_or("", |(_, said)| said);
            (p.trim_end_matches('_').to_string(), said.to_string())
        })
        .collect();
    section("PARAMETERS", pairs(&params, width));
    let told = e.section("Options").unwrap_or_default();
    let other = told.lines().filter(|l| !l.starts_with("- ")).collect::<Vec<_>>().join("\n");
    section("OPTIONS", format!("{}{}", pairs(&e.options(), width), paragraphs(&other, width)));
    for title in ["Returns", "Errors"] {
        let text = e.section(title).unwrap_or_default();
        let text = text.split("Implements: ").next().unwrap_or_default();
        section(&title.to_uppercase(), paragraphs(text, width));
    }
    let example = e.example().unwrap_or_default();
    let code: Vec<String> = example.lines().map(|l| format!("  {l}")).collect();
    section("EXAMPLE", code.join("\n"));
    if let Some(c) = e.doc.lines().find_map(|l| l.strip_prefix("Implements: ")) {
        section("IMPLEMENTS", format!("  {}", wrap(c, width.saturating_sub(2), 2)));
    }
    out.trim_end().to_string()
}

/// Many functions, a line each where the screen is wide enough.
pub fn list(entries: &[&Entry], width: usize, paint: Paint) -> String {
    let mut out = String::new();
    for e in entries {
        out.push_str(&format!("{}\n", paint(BOLD, &wrap(&signature(e), width, 8))));
        out.push_str(&format!("    {}\n", wrap(e.summary(), width.saturating_sub(4), 4)));
    }
    out.trim_end().to_string()
}

/// A heading with names and what they are.
pub fn chapter(title: &str, rows: &[(String, String)], width: usize, paint: Paint) -> String {
    if rows.is_empty() { String::new() } else { format!("{}\n{}", paint(BOLD, title), pairs(rows, width)) }
}

/// Comments of a script as paragraphs.
pub fn prose(text: &str, width: usize) -> String {
    let parts = text.split("\n\n").filter(|p| !p.trim().is_empty());
    parts.map(|p| paragraphs(p, width)).collect::<Vec<_>>().join("\n\n")
}

/// What stands beside something else, less loud.
pub fn aside(text: &str, width: usize, paint: Paint) -> String {
    paint(DIM, &wrap(text, width, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{engine, registry};

    #[test]
    fn nothing_is_wider_than_the_screen() {
        let plain = |_: &str, text: &str| text.to_string();
        let entries = registry::entries(&engine::bare());
        for columns in [40, 60, 100] {
            for e in &entries {
                let text = entry(e, columns, &plain);
                let code = e.example().unwrap_or_default();
                for line in text.lines().filter(|l| !code.contains(l.trim())) {
                    // A word that is longer than the line stays whole.
                    let is_word = !line.trim().contains(' ');
                    assert!(line.width() <= columns || is_word, "{columns}: {line}");
                }
            }
        }
        assert_eq!(wrap("名字 名字 名字", 9, 2), "名字 名字\n  名字");
    }
}

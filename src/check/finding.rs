//! What the checker has to say, and how people and editors read it.

use crate::error::nearest;
use crate::host::scripts::Source;
use rhai::{ParseError, ParseErrorType, Position};
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It fails when the line is reached.
    Error,
    /// It runs, and is hardly what was meant.
    Warning,
}

/// One mistake. Lines and columns count characters from 1; `end` is the column after the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub line: usize,
    pub column: usize,
    pub end: usize,
    pub severity: Severity,
    /// `unknown-function`: short, and stays as it is.
    pub code: &'static str,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What Rhai's parser says.
pub fn syntax<'a>(e: &ParseError, text: &str, globals: impl Iterator<Item = &'a str>) -> Finding {
    let (line, column) = place(e.position(), text);
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let hint = match e.err_type() {
        ParseErrorType::Reserved(w) => Some(format!("`{w}` has a meaning of its own: choose another name")),
        ParseErrorType::UnknownOperator(_) | ParseErrorType::BadInput(_) | ParseErrorType::MissingToken(..) => {
            // `lett x = 1` is a variable before something unexpected.
            let code = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
            let first: String = code.trim_start().chars().take_while(|c| word(*c)).collect();
            let keywords = [
                "let", "const", "fn", "if", "else", "while", "for", "return", "import", "export", "private", "switch",
                "throw",
            ];
            let is_known = keywords.contains(&first.as_str()) || globals.into_iter().any(|g| g == first);
            let near = nearest(&first, keywords).filter(|_| !is_known && first.len() > 2);
            near.map(|n| format!("did you mean `{n}` for `{first}`?"))
        }
        _ => None,
    };
    Finding {
        line,
        column,
        end: end_of(text, line, column),
        severity: Severity::Error,
        code: "syntax",
        message: e.err_type().to_string(),
        hint,
    }
}

/// Line and column of a position; the end of the text for none.
pub fn place(pos: Position, text: &str) -> (usize, usize) {
    match pos.line() {
        Some(line) => (line, pos.position().unwrap_or(1)),
        None => {
            let last = text.lines().count().max(1);
            (last, text.lines().last().map_or(1, |l| l.chars().count() + 1))
        }
    }
}

/// The column after the word, the string or the sign that stands there.
pub fn end_of(text: &str, line: usize, column: usize) -> usize {
    let code = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let rest: Vec<char> = code.chars().skip(column.saturating_sub(1)).collect();
    let word = |c: &char| c.is_alphanumeric() || *c == '_';
    let length = match rest.first() {
        Some(q @ ('"' | '`' | '\'')) => {
            let mut escaped = false;
            let close = rest.iter().skip(1).position(|c| {
                let ends = c == q && !escaped;
                escaped = *c == '\\' && !escaped && *q != '`';
                ends
            });
            close.map_or(rest.len(), |at| at + 2)
        }
        Some(c) if word(c) => rest.iter().take_while(|c| word(c)).count(),
        _ => 1,
    };
    column + length
}

/// As runtime errors look: what, where, the line with a caret, what to do.
pub fn render(f: &Finding, source: &Source, paint: &dyn Fn(&str, &str) -> String) -> String {
    let (word, color) = match f.severity {
        Severity::Error => ("error", "1;31"),
        Severity::Warning => ("warning", "1;33"),
    };
    let mut out = format!("{}: {}\n", paint(color, &format!("{word}[{}]", f.code)), f.message);
    out.push_str(&format!("  --> {}:{}:{}\n", source.name, f.line, f.column));
    if let Some(code) = source.text.lines().nth(f.line - 1) {
        let before: String = code.chars().take(f.column - 1).collect();
        let marked: String = code.chars().skip(f.column - 1).take(f.end - f.column).collect();
        let (number, pad) = (f.line.to_string(), " ".repeat(f.line.to_string().len()));
        let indent: String = if before.contains('\t') {
            before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect()
        } else {
            " ".repeat(before.width())
        };
        let carets = paint(color, &"^".repeat(marked.width().max(1)));
        out.push_str(&format!("{pad} |\n{number} | {code}\n{pad} | {indent}{carets}\n"));
    }
    if let Some(hint) = &f.hint {
        out.push_str(&format!("hint: {hint}\n"));
    }
    out
}

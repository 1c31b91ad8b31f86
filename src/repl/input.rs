//! The line editor: when Enter ends the input, colours, history.

use super::complete::Completing;
use super::highlight::{highlight, paint};
use super::scan::scan;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::host::engine;
use crate::host::events::Printer;
use rhai::{Engine, ParseErrorType};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::{FileHistory, History};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{
    Behavior, Cmd, ColorMode, CompletionType, Context, Editor, EventHandler, ExternalPrinter, Helper, KeyCode,
    KeyEvent, Modifiers,
};
use std::borrow::Cow;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

pub const PROMPT: &str = "zs> ";

const HISTORY: usize = 10_000;

/// What came from the keyboard.
pub enum Typed {
    Line(String),
    /// Ctrl-C.
    Nothing,
    /// Ctrl-D.
    End,
}

pub struct Input {
    editor: Editor<Typing, FileHistory>,
    history: PathBuf,
    /// The history's place was told to be no good.
    told: bool,
}

impl Input {
    pub fn new(color: bool, completing: Arc<Completing>) -> Result<Input> {
        let config = rustyline::Config::builder()
            .max_history_size(HISTORY)
            .and_then(|c| c.history_ignore_dups(true))
            .map_err(unusable)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .color_mode(if color { ColorMode::Enabled } else { ColorMode::Disabled })
            .bracketed_paste(true)
            .tab_stop(4)
            .behavior(Behavior::Stdio)
            .build();
        let mut editor = Editor::with_config(config).map_err(unusable)?;
        editor.set_helper(Some(Typing { color, completing, parser: OnceLock::new() }));
        // Another line, whether or not this one is complete.
        let newline = EventHandler::Simple(Cmd::Newline);
        editor.bind_sequence(KeyEvent(KeyCode::Enter, Modifiers::ALT), newline);
        let history = Config::state_dir().join("history");
        let _ = editor.load_history(&history);
        Ok(Input { editor, history, told: false })
    }

    pub fn read(&mut self, initial: &str) -> Result<Typed> {
        let read = match initial {
            "" => self.editor.readline(PROMPT),
            text => self.editor.readline_with_initial(PROMPT, (text, "")),
        };
        match read {
            Ok(line) => Ok(Typed::Line(line)),
            Err(ReadlineError::Interrupted) => Ok(Typed::Nothing),
            Err(ReadlineError::Eof) => Ok(Typed::End),
            // Input that is no UTF-8 is a slip of the hand, not the end of a session.
            Err(ReadlineError::Io(e)) if e.kind() == std::io::ErrorKind::InvalidData => Ok(Typed::Nothing),
            Err(e) => Err(unusable(e)),
        }
    }

    /// Adds a line to the history at once: another session, or the next one after a crash, has it. What is wrong with
    /// the history's place is said once.
    pub fn add_history(&mut self, line: &str) -> Option<String> {
        if !self.editor.add_history_entry(line).unwrap_or(false) {
            return None;
        }
        let dir = self.history.parent().map(PathBuf::from).unwrap_or_default();
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        let kept = made.map_err(ReadlineError::from).and_then(|()| self.editor.append_history(&self.history));
        let e = kept.err()?;
        (!std::mem::replace(&mut self.told, true)).then(|| format!("no history: {}: {e}", self.history.display()))
    }

    /// The newest lines, oldest first.
    pub fn history(&self, count: usize) -> Vec<String> {
        let all = self.editor.history();
        let first = all.len().saturating_sub(count);
        all.iter().skip(first).cloned().collect()
    }

    /// Prints above the line that is being typed; `None` where the terminal cannot do that.
    pub fn printer(&mut self) -> Option<Printer> {
        let mut printer = self.editor.create_external_printer().ok()?;
        Some(Box::new(move |text| drop(printer.print(text.to_string()))))
    }

    /// The size of the terminal: columns and rows.
    pub fn size(&mut self) -> (usize, usize) {
        self.editor.dimensions().map_or((80, 24), |(w, h)| (usize::from(w), usize::from(h)))
    }
}

fn unusable(e: ReadlineError) -> Error {
    Error::failed(format!("the terminal cannot be read: {e}"))
}

/// An engine that only looks whether a text is complete: it takes any name.
fn parser() -> Engine {
    let mut parser = engine::bare();
    parser.set_strict_variables(false);
    parser
}

/// Whether Enter ends the input: nothing is open, and the parser misses nothing at the end. A blank line ends what the
/// parser alone is waiting for.
fn is_complete(parser: &Engine, text: &str) -> bool {
    if text.trim_start().starts_with([':', '?']) {
        return true;
    }
    let found = scan(text);
    if found.goes_on() {
        return false;
    }
    let last = text.rsplit('\n').next().unwrap_or_default();
    if text.trim().is_empty() || text.contains('\n') && last.trim().is_empty() || super::pointer::is_word(text) {
        return true;
    }
    let Err(e) = parser.compile(text) else { return true };
    let (lines, columns) = (text.lines().count(), last.chars().count());
    let at_end = || match (e.position().line(), e.position().position()) {
        (Some(line), Some(column)) => line > lines || line == lines && column > columns,
        _ => true,
    };
    !(matches!(e.err_type(), ParseErrorType::UnexpectedEOF) || at_end())
}

/// What rustyline asks while somebody types.
struct Typing {
    color: bool,
    completing: Arc<Completing>,
    /// Made when it is first needed: not before the first prompt.
    parser: OnceLock<Engine>,
}

impl Helper for Typing {}

impl Validator for Typing {
    fn validate(&self, ctx: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        let complete = is_complete(self.parser.get_or_init(parser), ctx.input());
        Ok(if complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Highlighter for Typing {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.color { highlight(line).into() } else { line.into() }
    }
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        if self.color { paint("1", prompt).into() } else { prompt.into() }
    }
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.color { paint("90", hint).into() } else { hint.into() }
    }
    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.color && kind != CmdKind::MoveCursor
    }
}

impl Completer for Typing {
    type Candidate = Pair;
    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, found) = self.completing.complete(line, pos);
        Ok((start, found.into_iter().map(|c| Pair { display: c.shown, replacement: c.text }).collect()))
    }
}

impl Hinter for Typing {
    type Hint = Hint;
    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Hint> {
        if !line.is_empty() {
            self.completing.prepare();
        }
        // Grey is what tells a hint from what was typed.
        let hint = self.completing.hint(line, pos).filter(|_| self.color && pos == line.len());
        hint.map(Hint)
    }
}

/// To be read, not to be taken over by the arrow key.
struct Hint(String);

impl rustyline::hint::Hint for Hint {
    fn display(&self) -> &str {
        &self.0
    }
    fn completion(&self) -> Option<&str> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_enter_ends_the_input() {
        let parser = parser();
        for text in [
            "1 + 1",
            "",
            "let x = 5",
            "f(1)",
            "x.y",
            "list",
            "virsh list --all",
            ":plan on",
            "\"open",
            ")",
            "a b",
            "fn f() { 1 }",
            "for x in [1] { }",
            "`a ${1} b`",
            "1 +\n",
            "rbd.ls(\"p\").map(|x| x.image)",
            "if",
            "{ 1 }\n",
        ] {
            assert!(is_complete(&parser, text) || text == "if", "{text:?}");
        }
        for text in [
            "1 +",
            "f(",
            "let x =",
            "fn f() {",
            "`a",
            "/* a",
            "#{ a: 1,",
            "x.map(|y| {",
            "[1,\n2",
            "let x = `${",
            "1 +\n2 *",
            "x.",
            "if x == 1",
            "return f(",
        ] {
            assert!(!is_complete(&parser, text), "{text:?}");
        }
    }
}

//! Variables and where they are known.

use super::types::Type;
use std::path::PathBuf;

/// What stands at a place.
#[derive(Clone, Debug)]
pub enum Target {
    /// A function of the registry: its index in `Library::entries`.
    Entry(usize),
    /// Of this script, or of a module in that file (`None`: built in).
    Function {
        signature: String,
        doc: String,
        file: Option<PathBuf>,
        module: Option<String>,
        at: (usize, usize),
    },
    Variable {
        name: String,
        shown: String,
        at: (usize, usize),
    },
    Global(String),
    Module {
        name: String,
        file: Option<PathBuf>,
    },
}

#[derive(Clone, Debug)]
pub struct Use {
    pub line: usize,
    pub column: usize,
    pub end: usize,
    pub target: Target,
}

/// A name that completion may offer between two lines.
#[derive(Clone, Debug)]
pub struct Known {
    pub name: String,
    pub ty: Type,
    /// The module behind the name of an import.
    pub module: Option<String>,
    pub lines: (usize, usize),
}

/// A function of the script itself.
#[derive(Clone, Debug)]
pub struct Defined {
    pub name: String,
    pub signature: String,
    pub doc: String,
    pub at: (usize, usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Let,
    Const,
    /// Of a function, a closure, a loop, a `catch`: nobody minds if they are not used.
    Given,
}

pub struct Variable {
    pub name: String,
    pub ty: Type,
    pub kind: Kind,
    pub at: (usize, usize),
    pub used: bool,
}

/// The variables that are known at a place, innermost last.
#[derive(Default)]
pub struct Scopes {
    all: Vec<Variable>,
    /// Where each open block begins, and its first line.
    blocks: Vec<(usize, usize)>,
}

impl Scopes {
    pub fn open(&mut self, line: usize) {
        self.blocks.push((self.all.len(), line));
    }

    /// The variables of the block that ends, and its first line.
    pub fn close(&mut self) -> (Vec<Variable>, usize) {
        let (from, line) = self.blocks.pop().unwrap_or((0, 1));
        (self.all.split_off(from), line)
    }

    pub fn declare(&mut self, variable: Variable) {
        self.all.push(variable);
    }

    pub fn find(&mut self, name: &str) -> Option<&mut Variable> {
        self.all.iter_mut().rev().find(|v| v.name == name)
    }

    pub fn depth(&self) -> usize {
        self.blocks.len()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|v| v.name.as_str())
    }

    /// What a function sees of its surroundings: nothing. `restore` brings it back.
    pub fn set_aside(&mut self) -> Scopes {
        std::mem::take(self)
    }
}

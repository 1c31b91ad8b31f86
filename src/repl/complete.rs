//! What Tab offers.

/// One thing that Tab offers: what the list shows, and what is put into the line.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub shown: String,
    pub text: String,
}

#[derive(Default)]
pub struct Completing {}

impl Completing {
    pub fn complete(&self, _line: &str, pos: usize) -> (usize, Vec<Candidate>) {
        (pos, vec![])
    }

    pub fn hint(&self, _line: &str, _pos: usize) -> Option<String> {
        None
    }
}

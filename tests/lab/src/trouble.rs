//! The lab's one error: a sentence for the person who runs the tests or the demo.
//!
//! Nothing in the lab decides on an error's kind, so there is no enum; what counts is that the sentence says what
//! failed, on what, and what to do. [`Because`] adds the first half to any error and keeps its whole cause chain.

use std::error::Error;
use std::fmt;

/// What went wrong, as a sentence with its causes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble(String);

impl Trouble {
    /// An error from a complete sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Trouble {}

/// Turns any error into [`Trouble`] by saying what was being done.
pub trait Because<T> {
    /// `what` names the deed and its object: "could not create the table orders".
    fn because(self, what: impl fmt::Display) -> Result<T, Trouble>;
}

impl<T, E: Error> Because<T> for Result<T, E> {
    fn because(self, what: impl fmt::Display) -> Result<T, Trouble> {
        self.map_err(|error| Trouble(format!("{what}: {}", chain(&error))))
    }
}

/// An error and its sources on one line. A source that its parent already quotes is not said twice.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

//! Faults of a configuration: which place breaks which rule.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

/// One place that breaks one rule. It holds no value of the document, only names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, e.g. `connections[1].issuer`; `$` is the document itself.
    pub path: String,
    /// What must be so there.
    pub rule: Cow<'static, str>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.rule)
    }
}

/// Every fault of a document; displayed one per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// All of them in one line, separated by `; `.
    #[must_use]
    pub fn one_line(&self) -> String {
        self.0.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Where faults are gathered while a document is walked.
#[derive(Default)]
pub(super) struct Collector(RefCell<Vec<Fault>>);

impl Collector {
    pub(super) fn add(&self, path: String, rule: impl Into<Cow<'static, str>>) {
        self.0.borrow_mut().push(Fault { path, rule: rule.into() });
    }

    /// What was read, if there was no fault.
    pub(super) fn judge<T>(self, read: Option<T>) -> Result<T, Faults> {
        let faults = self.0.into_inner();
        match read {
            Some(value) if faults.is_empty() => Ok(value),
            _ => Err(Faults(faults)),
        }
    }
}

/// The path of a member. A name that is no plain word is quoted, escaped and cut: it could be anything, and it ends in a log.
pub(super) fn member(path: &str, name: &str) -> String {
    let plain = (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    match (plain, path) {
        (true, "$") => name.to_owned(),
        (true, _) => format!("{path}.{name}"),
        (false, _) => format!("{path}[{:?}]", name.chars().take(64).collect::<String>()),
    }
}

/// The path of an item of a list.
pub(super) fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

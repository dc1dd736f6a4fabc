//! The `scope` parameter (RFC 6749 section 3.3), and what it says to a person.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Scopes without repetition, in the order asked for. Any well-formed scope is granted: this provider protects nothing,
/// so that it suits whatever connection the directory describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Scopes(Vec<String>);

impl Scopes {
    /// `None` when a character is not allowed in a scope.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut scopes: Vec<String> = Vec::new();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            if !word.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
                return None;
            }
            if !scopes.iter().any(|known| known == word) {
                scopes.push(word.to_owned());
            }
        }
        Some(Self(scopes))
    }

    pub(super) fn contains(&self, scope: &str) -> bool {
        self.0.iter().any(|known| known == scope)
    }

    /// Whether every scope of this one is in `granted` too.
    pub(super) fn is_within(&self, granted: &Scopes) -> bool {
        self.0.iter().all(|scope| granted.contains(scope))
    }

    /// What the person is asked to allow, in words, each thing once.
    pub(super) fn in_words(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for scope in &self.0 {
            let line = match scope.as_str() {
                // the id_token carries all three whatever else is asked, so one line tells the truth about it
                "openid" | "email" | "profile" => "Know who you are: your name, e\u{2011}mail address and organization".to_owned(),
                "offline_access" => "Keep this access while you are away".to_owned(),
                "sites:read" => "See your sites".to_owned(),
                "sites:write" => "Change your sites".to_owned(),
                other => format!("Use the permission “{other}”"),
            };
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(" "))
    }
}

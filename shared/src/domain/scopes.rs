//! Scopes: a set of scope tokens (RFC 6749 section 3.3), written in a stable order.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A set of scope tokens. The order in which they were first given does not matter to OAuth, so it is not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Scopes(BTreeSet<String>);

/// A text was not a scope token of RFC 6749 section 3.3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a scope token (1–256 characters of %x21 / %x23-5B / %x5D-7E)")]
pub struct InvalidScope;

impl Scopes {
    /// The scopes of one text, separated by spaces or commas.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        text.split([' ', ',']).filter(|s| !s.is_empty()).map(str::to_owned).collect::<Vec<_>>().try_into()
    }

    /// Whether this set has the scope.
    #[must_use]
    pub fn contains(&self, scope: &str) -> bool {
        self.0.contains(scope)
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes of `required` that this set does not have.
    #[must_use]
    pub fn missing(&self, required: &Scopes) -> Scopes {
        Scopes(required.0.difference(&self.0).cloned().collect())
    }

    /// Whether every scope of `required` is in this set.
    #[must_use]
    pub fn covers(&self, required: &Scopes) -> bool {
        required.0.is_subset(&self.0)
    }

    /// The scopes that both sets have.
    #[must_use]
    pub fn common(&self, other: &Scopes) -> Scopes {
        Scopes(self.0.intersection(&other.0).cloned().collect())
    }

    /// This set and one more.
    #[must_use]
    pub fn with(mut self, scope: &str) -> Self {
        self.0.insert(scope.to_owned());
        self
    }

    /// The scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The scopes as OAuth writes them, separated by single spaces.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.iter().collect::<Vec<_>>().join(" ")
    }
}

impl TryFrom<Vec<String>> for Scopes {
    type Error = InvalidScope;
    fn try_from(scopes: Vec<String>) -> Result<Self, InvalidScope> {
        let valid = |s: &String| (1..=256).contains(&s.len()) && s.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
        if scopes.iter().all(valid) { Ok(Self(scopes.into_iter().collect())) } else { Err(InvalidScope) }
    }
}

impl From<Scopes> for Vec<String> {
    fn from(scopes: Scopes) -> Self {
        scopes.0.into_iter().collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_a_set_and_say_what_is_missing() {
        let granted = Scopes::parse("write read,read").unwrap();
        assert_eq!(granted.to_text(), "read write");
        let required = Scopes::parse("read admin").unwrap();
        assert!(!granted.covers(&required));
        assert_eq!(granted.missing(&required).to_text(), "admin");
        assert_eq!(granted.common(&required).to_text(), "read");
        assert!(Scopes::try_from(vec!["a b".to_owned()]).is_err());
        assert!(Scopes::try_from(vec!["a\"".to_owned()]).is_err());
    }
}

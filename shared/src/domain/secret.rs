//! Secrets that cannot be printed, compared or serialized by accident.

use zeroize::Zeroizing;

/// A secret text: an access or refresh token, an authorization code, a client secret, a PKCE verifier.
///
/// It has no `Display`, `PartialEq` or `Serialize`, its `Debug` says `[redacted]`, and it is wiped from memory when dropped.
/// [`Secret::expose`] is the one way in, loud enough to be found by a search.
///
/// ```compile_fail,E0277
/// println!("{}", shared::domain::secret::Secret::new(String::new()));
/// ```
/// ```compile_fail,E0369
/// let (one, other) = (shared::domain::secret::Secret::new(String::new()), shared::domain::secret::Secret::new(String::new()));
/// let same = one == other;
/// ```
/// ```compile_fail,E0277
/// serde_json::to_string(&shared::domain::secret::Secret::new(String::new()));
/// ```
/// ```compile_fail,E0277
/// let read: shared::domain::secret::Secret = serde_json::from_str("\"x\"").unwrap();
/// ```
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text in as a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Opens the secret. What is done with the answer must end at a provider, a cipher or the caller it belongs to.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_nothing_of_itself() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), "[redacted]");
    }
}

//! Reading a query string: each known parameter once; for API routes, nothing else.

use lambda_http::Request;
use url::form_urlencoded;

use super::error::ApiError;

/// The parameters of a query that have not been taken yet.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query string.
    #[must_use]
    pub fn read(request: &Request) -> Self {
        let raw = request.uri().query().unwrap_or_default();
        Self(form_urlencoded::parse(raw.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// Whether any parameter is given twice, known or not (RFC 6749 section 3.1).
    #[must_use]
    pub fn has_duplicates(&self) -> bool {
        let mut seen = std::collections::HashSet::new();
        !self.0.iter().all(|(name, _)| seen.insert(name.as_str()))
    }

    /// Takes a parameter; one that is given twice is an error (RFC 6749 section 3.1).
    pub fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let mut values = self.0.extract_if(.., |(n, _)| n == name).map(|(_, value)| value);
        let first = values.next();
        if values.next().is_some() { Err(ApiError::invalid(name, "be given once")) } else { Ok(first) }
    }

    /// A parameter of at least one character.
    pub fn non_empty(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.text(name)? {
            Some(text) if text.is_empty() => Err(ApiError::invalid(name, "not be empty")),
            text => Ok(text),
        }
    }

    /// A parameter that is a value of `T`.
    pub fn parsed<T>(&mut self, name: &str, must: &str, parse: impl FnOnce(String) -> Option<T>) -> Result<Option<T>, ApiError> {
        self.text(name)?.map(|text| parse(text).ok_or_else(|| ApiError::invalid(name, must))).transpose()
    }

    /// Whether every parameter was taken; the first that was not is an error.
    pub fn finish(self) -> Result<(), ApiError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(ApiError::unknown(name)),
        }
    }
}

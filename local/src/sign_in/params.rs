//! Parameters of a query or a form, read as RFC 6749 section 3.1 asks: one without a value counts as omitted, and one
//! that comes twice is no parameter at all.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{HeaderMap, header};
use url::form_urlencoded;

/// The parameters of one request.
#[derive(Debug, Default)]
pub(super) struct Params {
    once: BTreeMap<String, String>,
    repeated: BTreeSet<String>,
}

impl Params {
    /// Reads `application/x-www-form-urlencoded` text.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut params = Self::default();
        for (name, value) in form_urlencoded::parse(text) {
            let name = name.into_owned();
            if params.repeated.contains(&name) {
                continue;
            }
            if params.once.remove(&name).is_some() {
                params.repeated.insert(name);
            } else {
                params.once.insert(name, value.into_owned());
            }
        }
        params
    }

    /// Reads a body, if it says that it is a form.
    pub(super) fn of_form(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let essence = kind.split(';').next()?.trim();
        essence.eq_ignore_ascii_case("application/x-www-form-urlencoded").then(|| Self::parse(body))
    }

    /// The value of a parameter that came exactly once and is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.once.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn any_repeated(&self) -> bool {
        !self.repeated.is_empty()
    }
}

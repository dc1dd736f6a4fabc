//! What scripted counterparts have in common: what they were asked, and single answers that they give instead of their own. Nothing
//! scripted may be left over at the end.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use url::form_urlencoded;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The query.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub body: String,
}

impl Asked {
    pub(crate) fn new(method: Method, uri: &Uri, headers: HeaderMap, body: &Bytes) -> Self {
        let (path, query) = (uri.path().to_owned(), uri.query().unwrap_or_default().to_owned());
        Self { method, path, query, headers, body: String::from_utf8_lossy(body).into_owned() }
    }

    /// A header as text; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A parameter of the form in the body.
    #[must_use]
    pub fn form(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.body.as_bytes()).find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
    }

    /// The body as JSON; `null` if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// An answer that is given once instead of the counterpart's own.
#[derive(Debug, Clone)]
pub struct Instead {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Instead {
    /// JSON.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self { status, headers: vec![("content-type", "application/json; charset=utf-8".to_owned())], body: body.to_string().into_bytes() }
    }

    /// Any text.
    #[must_use]
    pub fn text(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn response(self) -> Response {
        let mut response = (StatusCode::from_u16(self.status).unwrap(), self.body).into_response();
        response.headers_mut().remove("content-type");
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    }
}

/// The notes of a counterpart.
#[derive(Default)]
pub(crate) struct Notes {
    asked: Mutex<Vec<Asked>>,
    instead: Mutex<VecDeque<(String, Instead)>>,
}

impl Notes {
    /// Scripts the answer to the next request to a path that has none yet.
    pub(crate) fn once(&self, path: &str, instead: Instead) {
        lock(&self.instead).push_back((path.to_owned(), instead));
    }

    /// Notes a request; the answer that is scripted for it, if there is one.
    pub(crate) fn note(&self, asked: &Asked) -> Option<Instead> {
        lock(&self.asked).push(asked.clone());
        let mut scripted = lock(&self.instead);
        let at = scripted.iter().position(|(path, _)| *path == asked.path)?;
        scripted.remove(at).map(|(_, instead)| instead)
    }

    /// What arrived at a path.
    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        lock(&self.asked).iter().filter(|asked| asked.path == path).cloned().collect()
    }

    /// Stops a test that has scripted more than was used.
    pub(crate) fn settle(&self) {
        if !std::thread::panicking() {
            let left = lock(&self.instead).iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
            assert!(left.is_empty(), "scripted and not used: {left:?}");
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first parameter of a URL with this name.
pub(crate) fn parameter(url: &url::Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
}

/// The S256 challenge of a verifier (RFC 7636 section 4.6).
pub(crate) fn s256(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// Whether a verifier is the one of an S256 challenge.
pub(crate) fn verifies(verifier: &str, challenge: &str) -> bool {
    s256(verifier) == challenge
}

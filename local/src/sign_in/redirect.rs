//! The way back to the client: its redirect URI with the answer added (RFC 6749 section 4.1.2, RFC 9207).

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use url::Url;

/// A registered redirect URI, with what every answer carries.
#[derive(Debug)]
pub(super) struct Return {
    /// As the client wrote it, for the comparison at the token endpoint.
    pub(super) redirect_uri: String,
    url: Url,
    state: Option<String>,
    issuer: String,
}

impl Return {
    /// `None` if the URI is none.
    pub(super) fn new(redirect_uri: &str, state: Option<&str>, issuer: &str) -> Option<Self> {
        Some(Self {
            redirect_uri: redirect_uri.to_owned(),
            url: Url::parse(redirect_uri).ok()?,
            state: state.map(str::to_owned),
            issuer: issuer.to_owned(),
        })
    }

    /// Where the person will be afterwards, for the page.
    pub(super) fn place(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    pub(super) fn with_code(self, code: &str) -> Response {
        self.with("code", code)
    }

    pub(super) fn with_error(self, error: &str) -> Response {
        self.with("error", error)
    }

    fn with(mut self, name: &str, value: &str) -> Response {
        {
            let mut query = self.url.query_pairs_mut();
            query.append_pair(name, value);
            if let Some(state) = &self.state {
                query.append_pair("state", state);
            }
            query.append_pair("iss", &self.issuer);
        }
        // 303, so that a browser never posts the form on
        let headers =
            [(header::LOCATION, self.url.as_str()), (header::CACHE_CONTROL, "no-store"), (header::REFERRER_POLICY, "no-referrer")];
        (StatusCode::SEE_OTHER, headers).into_response()
    }
}

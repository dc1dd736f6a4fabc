//! What an answer must be.

use local::client::Answer;
use serde_json::Value;
use shared::http::error::{ApiError, Code};

const KINDS: [&str; 8] = [
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "conflict_error",
    "rate_limit_error",
    "provider_error",
    "api_error",
];

/// The fields of every error.
const FIELDS: [&str; 4] = ["type", "code", "message", "doc_url"];

/// Words that people outside have no use for, and attackers have.
const INTERNALS: [&str; 26] = [
    "dynamodb",
    "dynoxide",
    "kms",
    "secrets manager",
    "sqs",
    "aws",
    "lambda",
    "arn:",
    "panic",
    "thread",
    "unwrap",
    "serde",
    "postcard",
    "tokio",
    "reqwest",
    ".rs",
    "src/",
    "://",
    "127.0.0.1",
    "localhost",
    "exception",
    "conditional",
    "ciphertext",
    "eyj",
    "own words",
    "maintenance",
];

/// What an error says beyond its four fields; `docs/errors.md` says so too.
#[must_use]
pub fn further_fields(code: &str) -> &'static [&'static str] {
    match code {
        "parameter_invalid" | "parameter_missing" | "parameter_reserved" | "parameter_unknown" => &["param"],
        "ambiguous_connection_selector"
        | "connection_invalid"
        | "connection_strategy_invalid"
        | "connection_unlinked"
        | "invalid_connection_selector"
        | "organization_invalid" => &["url"],
        "authorization_in_use" => &["workflows", "workflow_count"],
        "needs_reauthorization" => &["reason"],
        "scopes_insufficient" => &["missing_scopes"],
        _ => &[],
    }
}

/// Expectations of an answer; each stops the test where it is not met.
pub trait Expect {
    /// The status, and for JSON answers the headers of contract section 1. Returns the body.
    #[track_caller]
    fn is(&self, status: u16) -> Value;
    /// An error of contract section 3: status, code, all four fields, headers. Returns the body.
    #[track_caller]
    fn refused(&self, status: u16, code: &str) -> Value;
    /// A page for a browser, and nothing of it in any cache or other site's hands (contract section 6.1). Returns its text.
    #[track_caller]
    fn page(&self, status: u16) -> &str;
    /// A parameter of the URL that the answer sends the browser to.
    fn sent(&self, name: &str) -> Option<String>;
}

impl Expect for Answer {
    fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("cache-control"), "no-store");
        let id = self.header("x-request-id");
        assert!((1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()), "X-Request-Id {id:?}");
        if status == 204 {
            assert_eq!(self.text, "");
        } else {
            assert_eq!(self.header("content-type"), "application/json");
        }
        self.json()
    }

    fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.json()["code"].as_str()), (status, Some(code)), "{}", self.text);
        let body = self.is(status);
        let kind = match status {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            409 => "conflict_error",
            429 => "rate_limit_error",
            502 => "provider_error",
            _ => body["type"].as_str().unwrap_or_default(),
        };
        assert_eq!(body["type"], kind);
        assert!(KINDS.contains(&kind), "{kind}");
        let message = body["message"].as_str().unwrap();
        assert!(!message.is_empty() && !message.chars().any(char::is_control));
        let internal = INTERNALS.iter().find(|word| message.to_lowercase().contains(**word));
        assert_eq!(internal, None, "{message}");
        let in_the_table = Code::ALL.iter().any(|entry| {
            let error = ApiError::from(*entry);
            entry.as_str() == code && error.status() == status && error.body("")["type"] == body["type"]
        });
        assert!(in_the_table, "no code {code} of type {} has the status {status}", body["type"]);
        for field in body.as_object().unwrap().keys() {
            assert!(FIELDS.contains(&field.as_str()) || further_fields(code).contains(&field.as_str()), "{code} has the field {field}");
        }
        assert_eq!(body["doc_url"], format!("https://example.com/errors/{code}"));
        match status {
            401 => assert!(self.header("www-authenticate").starts_with("Bearer"), "WWW-Authenticate"),
            405 => assert_ne!(self.header("allow"), "", "Allow"),
            429 | 503 => assert!(self.header("retry-after").parse::<u32>().is_ok_and(|s| s > 0), "Retry-After"),
            _ => {}
        }
        body
    }

    fn page(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.text);
        assert!(self.header("content-type").starts_with("text/html"));
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.header("referrer-policy"), "no-referrer");
        let policy = self.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        for foreign in ["<script", "<img", "<link", "<iframe", "src=", "http://", "https://", "@import", "url("] {
            assert!(!self.text.contains(foreign), "the page holds {foreign}");
        }
        assert_ne!(self.header("x-request-id"), "");
        &self.text
    }

    fn sent(&self, name: &str) -> Option<String> {
        let url = url::Url::parse(self.location()).ok()?;
        url.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
    }
}

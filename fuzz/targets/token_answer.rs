//! Answers of token endpoints. The first line is `<dialect> <status> [Retry-After]`, the rest is the body.
#![no_main]

use std::collections::BTreeSet;

use fuzz::fakes::NOW;
use fuzz::service::SERVICE;
use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use shared::domain::connection::{Connection, Dialect, Kind};
use shared::json;
use shared::oauth::fuzzing::{Told, read_identity, read_token_answer, read_workos_answer};
use shared::ports::provider::{ProviderError, TokenAnswer};

/// The good ones are understood: a target that refuses everything finds nothing.
fn begin() {
    let told = |body: &'static [u8]| Told { status: StatusCode::OK, retry_after: None, body, now: NOW };
    let plain = told(br#"{"access_token":"at-1","token_type":"Bearer","expires_in":"3600","scope":"a,b"}"#);
    assert!(read_token_answer(&plain, Dialect::Standard).is_ok() && read_token_answer(&plain, Dialect::GitHub).is_ok());
    let slack = told(br#"{"ok":true,"authed_user":{"id":"U1","access_token":"xoxp-1","token_type":"user"}}"#);
    assert!(read_token_answer(&slack, Dialect::Slack).is_ok());
    let own = told(br#"{"user":{"id":"user_1"},"access_token":"at-1","refresh_token":"rt-1"}"#);
    assert!(read_workos_answer(&own, workos()).is_ok_and(|(_, identity)| identity.is_ok()));
}

fuzz_target!(init: begin(), |data: &[u8]| {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (head, body) = (String::from_utf8_lossy(&data[..end]).into_owned(), data.get(end + 1..).unwrap_or_default());
    let mut words = head.splitn(3, ' ');
    let dialect = words.next().unwrap_or_default();
    let status = words.next().and_then(|word| word.parse().ok()).unwrap_or(StatusCode::OK);
    let told = Told { status, retry_after: words.next(), body, now: NOW };

    // The strict reader sees what the lenient one sees, or nothing.
    let strict = json::parse(body).ok();
    let lenient = serde_json::from_slice::<Value>(body).ok();
    if let Some(strict) = &strict {
        assert_eq!(Some(strict), lenient.as_ref());
    }
    let object = strict.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
    let success = (200..300).contains(&status.as_u16());

    let tokens = match dialect {
        "workos" => read_workos_answer(&told, workos()).map(|(tokens, identity)| {
            if let Ok(identity) = identity {
                assert_eq!(Some(identity.person.subject.as_str()), object["user"]["id"].as_str());
            }
            tokens
        }),
        _ => {
            let dialect = match dialect {
                "github" => Dialect::GitHub,
                "slack" => Dialect::Slack,
                _ => Dialect::Standard,
            };
            read_token_answer(&told, dialect).map(|(tokens, rest)| {
                for name in ["access_token", "refresh_token"] {
                    assert!(!rest.contains_key(name), "{name} is left among the further members");
                }
                for connection in &SERVICE.directory.connections {
                    let _ = read_identity(connection, &rest);
                }
                if dialect == Dialect::Slack {
                    assert!(object.get("ok").is_none_or(|ok| *ok == true), "not ok");
                    assert!(object.get("ok").is_some() || object.get("error").is_none(), "an error");
                } else {
                    let error = object.get("error");
                    assert!(error.is_none_or(|error| error.is_null() || *error == ""), "an error");
                    assert_eq!(object["access_token"], tokens.access_token.expose());
                }
                tokens
            })
        }
    };
    match tokens {
        Ok(tokens) => {
            assert!(success, "tokens in an answer of {status}");
            holds(&tokens, &object);
        }
        Err(error) => refused(&error),
    }
});

fn workos() -> &'static Connection {
    SERVICE.directory.connections.iter().find(|c| matches!(c.kind, Kind::WorkOs { .. })).expect("a connection")
}

/// Tokens that were said, of a form that can be sent on, for a time that there is.
fn holds(tokens: &TokenAnswer, object: &Map<String, Value>) {
    let mut said = BTreeSet::new();
    for value in object.values() {
        strings(value, &mut said);
    }
    let refresh = tokens.refresh_token.as_ref().map(|token| token.expose());
    for token in [Some(tokens.access_token.expose()), refresh].into_iter().flatten() {
        assert!(said.contains(token), "a token that nobody said");
        assert!((1..=16 * 1024).contains(&token.len()) && token.bytes().all(|b| matches!(b, 0x20..=0x7e)), "{token:?}");
    }
    if let Some(lifetime) = tokens.expires_in {
        assert!(!lifetime.is_negative(), "{lifetime}");
        let _ = NOW.saturating_add(lifetime);
    }
    for scope in tokens.scopes.iter().flat_map(|scopes| scopes.iter()) {
        assert!(!scope.is_empty() && scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "{scope:?}");
    }
}

fn strings<'v>(value: &'v Value, into: &mut BTreeSet<&'v str>) {
    match value {
        Value::String(text) => drop(into.insert(text)),
        Value::Array(values) => values.iter().for_each(|value| strings(value, into)),
        Value::Object(members) => members.values().for_each(|value| strings(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A provider's own words go no further than a short code of harmless characters.
fn refused(error: &ProviderError) {
    match error {
        ProviderError::Refused { code } | ProviderError::Misconfigured { code } => {
            let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            assert!((1..=64).contains(&code.len()) && code.chars().all(harmless), "{code:?}");
        }
        ProviderError::Unavailable { retry_after: Some(wait), .. } => assert!(!wait.is_negative(), "{wait}"),
        _ => {}
    }
}

//! From claims to an identity, by the names that a connection configures.

use serde_json::{Map, Value};

use super::id_token::is_subject;
use crate::domain::authorization::Identity;
use crate::domain::caller::Person;
use crate::domain::connection::Connection;
use crate::ports::provider::ProviderError;

/// No e-mail address is longer (RFC 5321 section 4.5.3.1).
const MAX_EMAIL: usize = 320;
/// No organization's name at a provider is longer here.
const MAX_ORGANIZATION: usize = 256;

/// Who the claims speak of.
pub(super) fn identity(connection: &Connection, claims: &Map<String, Value>) -> Result<Identity, ProviderError> {
    let invalid = || ProviderError::IdentityInvalid { why: "the subject is missing or not 1–255 ASCII characters" };
    let subject = claim(claims, &connection.claims.subject).and_then(subject_text).ok_or_else(invalid)?;
    let email = claim(claims, &connection.claims.email).and_then(Value::as_str).and_then(email_text);
    let email_verified = email.is_some() && is_true(claims.get("email_verified"));
    let organization = connection.claims.organization.as_deref().and_then(|name| claim(claims, name)).and_then(Value::as_str);
    Ok(Identity {
        person: Person { issuer: connection.identity_issuer(), subject },
        email,
        email_verified,
        organization: organization
            .filter(|o| (1..=MAX_ORGANIZATION).contains(&o.len()) && !o.chars().any(char::is_control))
            .map(str::to_owned),
    })
}

/// A claim by its name, or by a path into nested claims (`user.id`) where no claim has the whole name.
fn claim<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        claim(claims.get(first)?.as_object()?, rest)
    })
}

/// A subject as text; GitHub's are numbers.
fn subject_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
    .filter(|text| is_subject(text))
}

/// An e-mail address that can be shown and compared; one that cannot is none.
pub(super) fn email_text(text: &str) -> Option<String> {
    let fine = (3..=MAX_EMAIL).contains(&text.chars().count()) && text.contains('@') && !text.chars().any(char::is_control);
    fine.then(|| text.to_owned())
}

/// `true`, also as the text that some providers send.
pub(super) fn is_true(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

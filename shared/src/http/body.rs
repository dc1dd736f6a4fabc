//! Reading a JSON body: at most 16 KiB, `application/json`, one object, known fields only (contract section 1).

use http::header::CONTENT_TYPE;
use lambda_http::Request;
use serde_json::{Map, Value};

use super::error::{ApiError, Code};
use crate::domain::scopes::Scopes;
use crate::domain::secret::Secret;
use crate::json;

/// The longest body that is read, in bytes.
pub const MAX_BODY: usize = 16 * 1024;

/// The fields of a body that have not been taken yet. `null` counts as absent.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Reads the body. No body at all is the same as `{}`.
    pub fn read(request: &Request) -> Result<Self, ApiError> {
        let bytes: &[u8] = request.body().as_ref();
        if bytes.len() > MAX_BODY {
            return Err(Code::BodyTooLarge.into());
        }
        if bytes.is_empty() {
            return Ok(Self(Map::new()));
        }
        let media_type = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if !media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            return Err(Code::UnsupportedMediaType.into());
        }
        json::parse_object(bytes).map(Self).map_err(|_| Code::BodyInvalid.into())
    }

    /// Whether every field was taken; the first that was not is an error.
    pub fn finish(self) -> Result<(), ApiError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(ApiError::unknown(name)),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|v| !v.is_null())
    }

    /// A text, as it is.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ApiError::invalid(name, "be a text")),
        }
    }

    /// A text of 1 to `most` bytes without control characters.
    pub fn line(&mut self, name: &str, most: usize) -> Result<Option<String>, ApiError> {
        match self.text(name)? {
            Some(text) if text.is_empty() || text.len() > most || text.chars().any(char::is_control) => {
                Err(ApiError::invalid(name, &format!("have 1 to {most} bytes and no control characters")))
            }
            text => Ok(text),
        }
    }

    /// A line that is passed on; an empty one is none, for nothing is emitted empty.
    pub fn hint(&mut self, name: &str, most: usize) -> Result<Option<String>, ApiError> {
        if self.0.get(name).and_then(Value::as_str) == Some("") {
            self.0.remove(name);
        }
        self.line(name, most)
    }

    /// A text that is a secret.
    pub fn secret(&mut self, name: &str) -> Result<Option<Secret>, ApiError> {
        Ok(self.text(name)?.map(Secret::new))
    }

    /// A text that is a value of `T`, e.g. an id.
    pub fn parsed<T: TryFrom<String>>(&mut self, name: &str, must: &str) -> Result<Option<T>, ApiError> {
        self.text(name)?.map(|text| T::try_from(text).map_err(|_| ApiError::invalid(name, must))).transpose()
    }

    /// A whole number within bounds.
    pub fn integer(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match whole(&value).filter(|n| (least..=most).contains(n)) {
                Some(number) => Ok(Some(number)),
                None => Err(ApiError::invalid(name, &format!("be a whole number from {least} to {most}"))),
            },
        }
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(ApiError::invalid(name, "be true or false")),
        }
    }

    /// Scopes: an array of texts, or one text separated by spaces or commas.
    pub fn scopes(&mut self, name: &str) -> Result<Option<Scopes>, ApiError> {
        let invalid = || ApiError::invalid(name, "be an array of scopes, or one text of scopes separated by spaces or commas");
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Scopes::parse(&text).map(Some).map_err(|_| invalid()),
            Some(value @ Value::Array(_)) => serde_json::from_value(value).map(Some).map_err(|_| invalid()),
            Some(_) => Err(invalid()),
        }
    }

    /// An object of texts, numbers and booleans, as texts.
    pub fn flat_object(&mut self, name: &str) -> Result<Vec<(String, String)>, ApiError> {
        let invalid = || ApiError::invalid(name, "be an object of texts, numbers and booleans");
        let object = match self.take(name) {
            None => return Ok(Vec::new()),
            Some(Value::Object(object)) => object,
            Some(_) => return Err(invalid()),
        };
        object
            .into_iter()
            .map(|(key, value)| match value {
                Value::String(text) => Ok((key, text)),
                Value::Number(number) => Ok((key, number.to_string())),
                Value::Bool(flag) => Ok((key, flag.to_string())),
                Value::Null | Value::Array(_) | Value::Object(_) => Err(invalid()),
            })
            .collect()
    }
}

/// JSON has one kind of number: `1` and `1.0` are the same whole number (RFC 8259 section 6).
fn whole(value: &Value) -> Option<u64> {
    if let Some(number) = value.as_u64() {
        return Some(number);
    }
    let number = value.as_f64()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and within 53 bits just before")]
    (number.fract() == 0.0 && (0.0..=9_007_199_254_740_991.0).contains(&number)).then_some(number as u64)
}

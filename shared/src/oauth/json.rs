//! JSON as identity providers send it, read strictly: UTF-8, no duplicate names (RFC 8259 section 4 leaves them undefined, so two
//! readers may see two documents), at most 32 levels, numbers that fit. Whatever comes, it does not panic.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deeply arrays and objects may be nested.
const MAX_DEPTH: usize = 32;

/// The text is not JSON in the strict sense of this module. It does not say where, for the text may hold secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not strict JSON")]
pub(super) struct NotStrictJson;

/// Reads one JSON document.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, NotStrictJson> {
    let text = std::str::from_utf8(bytes).map_err(|_| NotStrictJson)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { levels: MAX_DEPTH }.deserialize(&mut reader).map_err(|_| NotStrictJson)?;
    reader.end().map_err(|_| NotStrictJson)?;
    Ok(value)
}

/// Reads one JSON object.
pub(super) fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, NotStrictJson> {
    match parse(bytes)? {
        Value::Object(object) => Ok(object),
        _ => Err(NotStrictJson),
    }
}

#[derive(Clone, Copy)]
struct Strict {
    levels: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        self.levels.checked_sub(1).map(|levels| Self { levels }).ok_or_else(|| E::custom("nested too deeply"))
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("strict JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(seed)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(seed)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate name"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    #[test]
    fn s55_hostile_json_is_refused_without_panic() {
        let deep = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        let numbers = [format!("{{\"a\":1{}}}", "0".repeat(4_000_000)), "1e999".to_owned(), "NaN".to_owned(), "-Infinity".to_owned()];
        for bad in numbers.iter().map(String::as_str).chain([
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":1,"a":1}}"#,
            "",
            "{",
            "{} {}",
            "\u{feff}{}",
            r#""\ud800""#,
            &deep(33),
            &deep(100_000),
        ]) {
            assert_eq!(parse(bad.as_bytes()), Err(NotStrictJson), "{}", &bad[..bad.len().min(40)]);
        }
        assert_eq!(parse(b"{\"a\":\"\xff\"}"), Err(NotStrictJson));
        assert!(parse(deep(32).as_bytes()).is_ok());
        assert_eq!(parse_object(br#"{"a":[1,-2,3.5,null,true,"x"]}"#).unwrap()["a"][2], 3.5);
        assert_eq!(parse_object(b"[]"), Err(NotStrictJson));
    }
}

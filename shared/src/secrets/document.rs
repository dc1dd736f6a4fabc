//! A secret's text read as JSON. A name that is given twice is a fault, where most readers would silently keep one of the two.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use zeroize::Zeroize;

use super::faults::{Collector, Faults, item, member};
use super::node::Node;

/// A document whose texts are wiped when it is dropped.
struct Document(Value);

impl Drop for Document {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Reads a text as JSON and walks it; what `walk` makes of it counts only if there was no fault at all.
pub(super) fn read<T>(text: &str, walk: impl FnOnce(&Node<'_>) -> Option<T>) -> Result<T, Faults> {
    let faults = Collector::default();
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = Build { path: "$".to_owned(), faults: &faults }.deserialize(&mut json).map(Document);
    match parsed.and_then(|document| json.end().map(|()| document)) {
        Ok(document) => {
            let made = walk(&Node::root(&document.0, &faults));
            faults.judge(made)
        }
        Err(error) => {
            // The parser's own words can quote the text; the place is enough.
            faults.add("$".to_owned(), format!("must be JSON, and is not at line {} column {}", error.line(), error.column()));
            faults.judge(None)
        }
    }
}

struct Build<'a> {
    path: String,
    faults: &'a Collector,
}

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(next) = access.next_element_seed(Build { path: item(&self.path, items.len()), faults: self.faults })? {
            items.push(next);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let path = member(&self.path, &name);
            if members.contains_key(&name) {
                self.faults.add(path.clone(), "is given twice");
            }
            let value = access.next_value_seed(Build { path, faults: self.faults })?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

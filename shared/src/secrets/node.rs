//! A small walker over a JSON document. Each reader records what is wrong and goes on, so that all faults are found at once.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::faults::{Collector, item, member};

/// A value could not be read; why is in the collector.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recorded;

/// What reading a place gave.
pub(super) type Read<T> = Result<T, Recorded>;

/// A place in a document.
pub(super) struct Node<'a> {
    path: String,
    value: &'a Value,
    faults: &'a Collector,
}

/// An object, which remembers the fields that were asked for: the others are unknown.
pub(super) struct Object<'a> {
    node: Node<'a>,
    members: &'a Map<String, Value>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value, faults: &'a Collector) -> Self {
        Self { path: "$".to_owned(), value, faults }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Records that this place breaks a rule.
    pub(super) fn fault(&self, rule: impl Into<Cow<'static, str>>) -> Recorded {
        self.faults.add(self.path.clone(), rule);
        Recorded
    }

    /// Any text.
    pub(super) fn any_text(&self) -> Read<&'a str> {
        self.value.as_str().ok_or_else(|| self.fault("must be text"))
    }

    /// A text of 1 to `max` characters, none of them a control character.
    pub(super) fn text(&self, max: usize) -> Read<&'a str> {
        match self.any_text()? {
            text if (1..=max).contains(&text.chars().count()) && !text.chars().any(char::is_control) => Ok(text),
            _ => Err(self.fault(format!("must have 1 to {max} characters, none of them a control character"))),
        }
    }

    pub(super) fn flag(&self) -> Read<bool> {
        self.value.as_bool().ok_or_else(|| self.fault("must be true or false"))
    }

    /// A whole number from `min` to `max`.
    pub(super) fn whole(&self, min: u64, max: u64) -> Read<u64> {
        let within = self.value.as_u64().filter(|number| (min..=max).contains(number));
        within.ok_or_else(|| self.fault(format!("must be a whole number from {min} to {max}")))
    }

    /// One of a few words.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&'static str, T)]) -> Read<T> {
        let found = self.value.as_str().and_then(|text| words.iter().find(|(word, _)| *word == text));
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.fault(format!("must be one of {}", words.join(", ")))
        })
    }

    pub(super) fn items(&self) -> Read<Vec<Node<'a>>> {
        let items = self.value.as_array().ok_or_else(|| self.fault("must be a list"))?;
        Ok(items.iter().enumerate().map(|(at, value)| Node { path: item(&self.path, at), value, faults: self.faults }).collect())
    }

    /// The members of an object whose names are free.
    pub(super) fn entries(&self) -> Read<Vec<(&'a str, Node<'a>)>> {
        let members = self.value.as_object().ok_or_else(|| self.fault("must be an object"))?;
        Ok(members.iter().map(|(name, value)| (name.as_str(), self.member(name, value))).collect())
    }

    pub(super) fn object(&self) -> Read<Object<'a>> {
        let members = self.value.as_object().ok_or_else(|| self.fault("must be an object"))?;
        let node = Node { path: self.path.clone(), value: self.value, faults: self.faults };
        Ok(Object { node, members, asked: RefCell::default() })
    }

    pub(super) fn is_text(&self) -> bool {
        self.value.is_string()
    }

    pub(super) fn is_object(&self) -> bool {
        self.value.is_object()
    }

    fn member(&self, name: &str, value: &'a Value) -> Node<'a> {
        Node { path: member(&self.path, name), value, faults: self.faults }
    }
}

impl<'a> Object<'a> {
    /// A field that may be absent; `null` says the same.
    pub(super) fn optional(&self, name: &'static str) -> Option<Node<'a>> {
        self.asked.borrow_mut().insert(name);
        self.members.get(name).filter(|value| !value.is_null()).map(|value| self.node.member(name, value))
    }

    /// Reads a field that must be there.
    pub(super) fn must<T>(&self, name: &'static str, read: impl FnOnce(&Node<'a>) -> Read<T>) -> Read<T> {
        if let Some(node) = self.optional(name) {
            read(&node)
        } else {
            self.node.faults.add(member(&self.node.path, name), "is required");
            Err(Recorded)
        }
    }

    /// Reads a field that may be absent.
    pub(super) fn may<T>(&self, name: &'static str, read: impl FnOnce(&Node<'a>) -> Read<T>) -> Read<Option<T>> {
        self.optional(name).map(|node| read(&node)).transpose()
    }

    /// Reads a field that has a value when it is absent.
    pub(super) fn or<T>(&self, name: &'static str, absent: T, read: impl FnOnce(&Node<'a>) -> Read<T>) -> Read<T> {
        self.optional(name).map_or(Ok(absent), |node| read(&node))
    }

    /// Says of a field that nobody will ask for it, and that this is no fault.
    pub(super) fn disregard(&self, names: &[&'static str]) {
        self.asked.borrow_mut().extend(names);
    }

    /// Reports every field that nobody asked for. Those of `elsewhere` are known, but have no meaning here; null is harmless.
    pub(super) fn done(&self, elsewhere: &[&str], why: &'static str) {
        let asked = self.asked.borrow();
        for (name, value) in self.members.iter().filter(|(name, _)| !asked.contains(name.as_str())) {
            let known = elsewhere.contains(&name.as_str());
            if !(known && value.is_null()) {
                self.node.faults.add(member(&self.node.path, name), if known { why } else { "unknown field" });
            }
        }
    }

    /// Reports every field that nobody asked for.
    pub(super) fn done_all(&self) {
        self.done(&[], "unknown field");
    }
}

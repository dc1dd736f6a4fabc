//! The expressions that the adapter sends, and no others: whatever is not known here is a loud failure, never a guess.
//!
//! Attribute values stay in the JSON of the wire, e.g. `{"N": "1"}`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value, json};

/// An item, as the wire has it.
pub type Item = BTreeMap<String, Value>;

/// `#name`s and `:value`s of one request.
#[derive(Debug, Default)]
pub struct Placeholders {
    pub names: BTreeMap<String, String>,
    pub values: BTreeMap<String, Value>,
}

/// A path of at most two parts: an attribute, or an entry of a map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<String>);

#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    Path(Path),
    Value(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A condition. `All` and `Any` inside of one another are what parentheses make.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Compare(Operand, Comparison, Operand),
    Between(Operand, Operand, Operand),
    In(Operand, Vec<Operand>),
    Exists(Path),
    Absent(Path),
    Contains(Path, Operand),
    BeginsWith(Path, Operand),
}

/// What an assignment computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Computed {
    Operand(Operand),
    IfNotExists(Path, Operand),
    Sum(Box<Computed>, Box<Computed>),
    Difference(Box<Computed>, Box<Computed>),
}

#[derive(Debug, Default)]
pub struct Update {
    pub set: Vec<(Path, Computed)>,
    pub remove: Vec<Path>,
}

/// DynamoDB would answer with a `ValidationException` here.
#[derive(Debug, PartialEq)]
pub struct Invalid(pub String);

struct Parser<'a> {
    tokens: Vec<&'a str>,
    at: usize,
}

/// The clauses that all have to hold, as the outermost `AND` separates them.
pub fn parse_clauses(text: &str) -> Vec<Condition> {
    let mut parser = Parser::of(text);
    let condition = parser.any();
    parser.end(text);
    match condition {
        // One clause in parentheses has no `AND` beside it.
        Condition::All(parts) if parser.has_outer_and(text) => parts,
        one => vec![one],
    }
}

pub fn parse_update(text: &str) -> Update {
    let mut parser = Parser::of(text);
    let mut update = Update::default();
    if parser.take("SET") {
        loop {
            let path = parser.path();
            parser.need("=");
            update.set.push((path, parser.computed()));
            if !parser.take(",") {
                break;
            }
        }
    }
    if parser.take("REMOVE") {
        loop {
            update.remove.push(parser.path());
            if !parser.take(",") {
                break;
            }
        }
    }
    parser.end(text);
    update
}

/// The attributes of a projection.
pub fn parse_projection(text: &str) -> Vec<String> {
    let mut parser = Parser::of(text);
    let mut paths = Vec::new();
    loop {
        paths.push(parser.path().0.join("."));
        if !parser.take(",") {
            break;
        }
    }
    parser.end(text);
    paths
}

impl<'a> Parser<'a> {
    fn of(text: &'a str) -> Self {
        let (mut tokens, mut rest) = (Vec::new(), text.trim_start());
        while !rest.is_empty() {
            let word = |c: char| c.is_ascii_alphanumeric() || "_#:".contains(c);
            let length = rest.find(|c| !word(c)).filter(|at| *at > 0);
            let length = match length {
                Some(length) => length,
                None if rest.chars().all(word) => rest.len(),
                None if rest.starts_with("<=") || rest.starts_with(">=") => 2,
                None => 1,
            };
            let (token, after) = rest.split_at(length);
            assert!(length > 1 || token.chars().all(word) || "()=<>,+-.".contains(token), "an unknown sign {token} in {text}");
            tokens.push(token);
            rest = after.trim_start();
        }
        Self { tokens, at: 0 }
    }

    fn peek(&self) -> &'a str {
        self.tokens.get(self.at).copied().unwrap_or_default()
    }

    fn next(&mut self) -> &'a str {
        self.at += 1;
        self.tokens.get(self.at - 1).copied().unwrap_or_default()
    }

    fn take(&mut self, token: &str) -> bool {
        let here = self.peek() == token;
        self.at += usize::from(here);
        here
    }

    fn need(&mut self, token: &str) {
        assert!(self.take(token), "{token} expected at {} of {:?}", self.at, self.tokens);
    }

    fn end(&self, text: &str) {
        assert_eq!(self.at, self.tokens.len(), "not understood to its end: {text}");
    }

    fn has_outer_and(&self, _: &str) -> bool {
        let mut depth = 0;
        self.tokens.iter().any(|token| {
            depth += i32::from(*token == "(") - i32::from(*token == ")");
            depth == 0 && *token == "AND"
        })
    }

    fn any(&mut self) -> Condition {
        let mut parts = vec![self.all()];
        while self.take("OR") {
            parts.push(self.all());
        }
        if parts.len() == 1 { parts.remove(0) } else { Condition::Any(parts) }
    }

    fn all(&mut self) -> Condition {
        let mut parts = vec![self.one()];
        while self.take("AND") {
            parts.push(self.one());
        }
        if parts.len() == 1 { parts.remove(0) } else { Condition::All(parts) }
    }

    fn one(&mut self) -> Condition {
        if self.take("(") {
            let inner = self.any();
            self.need(")");
            return inner;
        }
        for function in ["attribute_not_exists", "attribute_exists", "contains", "begins_with"] {
            if self.take(function) {
                self.need("(");
                let path = self.path();
                let condition = match function {
                    "attribute_not_exists" => Condition::Absent(path),
                    "attribute_exists" => Condition::Exists(path),
                    other => {
                        self.need(",");
                        let operand = self.operand();
                        if other == "contains" { Condition::Contains(path, operand) } else { Condition::BeginsWith(path, operand) }
                    }
                };
                self.need(")");
                return condition;
            }
        }
        let left = self.operand();
        match self.next() {
            "=" => Condition::Compare(left, Comparison::Equal, self.operand()),
            "<" => Condition::Compare(left, Comparison::Less, self.operand()),
            "<=" => Condition::Compare(left, Comparison::LessOrEqual, self.operand()),
            ">" => Condition::Compare(left, Comparison::Greater, self.operand()),
            ">=" => Condition::Compare(left, Comparison::GreaterOrEqual, self.operand()),
            "BETWEEN" => {
                let from = self.operand();
                self.need("AND");
                Condition::Between(left, from, self.operand())
            }
            "IN" => {
                self.need("(");
                let mut among = vec![self.operand()];
                while self.take(",") {
                    among.push(self.operand());
                }
                self.need(")");
                Condition::In(left, among)
            }
            other => panic!("an unknown comparison {other} in {:?}", self.tokens),
        }
    }

    fn operand(&mut self) -> Operand {
        if self.peek().starts_with(':') { Operand::Value(self.next().to_owned()) } else { Operand::Path(self.path()) }
    }

    fn path(&mut self) -> Path {
        let mut parts = Vec::new();
        loop {
            let part = self.next();
            let plain = part.trim_start_matches('#');
            let well_made = !plain.is_empty() && plain.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            assert!(well_made && !["AND", "OR", "NOT", "SET", "REMOVE", "IN"].contains(&part), "no path: {part} in {:?}", self.tokens);
            parts.push(part.to_owned());
            if !self.take(".") {
                return Path(parts);
            }
        }
    }

    fn computed(&mut self) -> Computed {
        let mut value = self.term();
        loop {
            if self.take("+") {
                value = Computed::Sum(Box::new(value), Box::new(self.term()));
            } else if self.take("-") {
                value = Computed::Difference(Box::new(value), Box::new(self.term()));
            } else {
                return value;
            }
        }
    }

    fn term(&mut self) -> Computed {
        if !self.take("if_not_exists") {
            return Computed::Operand(self.operand());
        }
        self.need("(");
        let path = self.path();
        self.need(",");
        let otherwise = self.operand();
        self.need(")");
        Computed::IfNotExists(path, otherwise)
    }
}

impl Placeholders {
    fn name<'a>(&'a self, part: &'a str) -> Result<&'a str, Invalid> {
        match part.strip_prefix('#') {
            None => Ok(part),
            Some(_) => self.names.get(part).map(String::as_str).ok_or_else(|| Invalid(format!("the name {part} is not defined"))),
        }
    }

    fn value(&self, placeholder: &str) -> Result<Value, Invalid> {
        self.values.get(placeholder).cloned().ok_or_else(|| Invalid(format!("the value {placeholder} is not defined")))
    }

    fn look(&self, item: &Item, path: &Path) -> Result<Option<Value>, Invalid> {
        let mut parts = path.0.iter();
        let first = parts.next().map(|part| self.name(part)).transpose()?.unwrap_or_default();
        let mut found = item.get(first).cloned();
        for part in parts {
            let name = self.name(part)?;
            found = found.and_then(|value| value.get("M").and_then(|map| map.get(name)).cloned());
        }
        Ok(found)
    }

    fn operand(&self, item: &Item, operand: &Operand) -> Result<Option<Value>, Invalid> {
        match operand {
            Operand::Path(path) => self.look(item, path),
            Operand::Value(placeholder) => self.value(placeholder).map(Some),
        }
    }

    /// The names of a path's parts.
    pub fn resolve(&self, path: &Path) -> Result<Vec<String>, Invalid> {
        path.0.iter().map(|part| self.name(part).map(str::to_owned)).collect()
    }
}

impl Condition {
    /// Whether it holds for the item; an absent item has no attribute.
    pub fn holds(&self, with: &Placeholders, item: &Item) -> Result<bool, Invalid> {
        Ok(match self {
            Self::All(parts) => {
                let mut all = true;
                for part in parts {
                    all &= part.holds(with, item)?;
                }
                all
            }
            Self::Any(parts) => {
                let mut any = false;
                for part in parts {
                    any |= part.holds(with, item)?;
                }
                any
            }
            Self::Compare(left, how, right) => match (with.operand(item, left)?, with.operand(item, right)?) {
                (Some(left), Some(right)) => compare(&left, *how, &right),
                _ => false,
            },
            Self::Between(value, from, to) => match (with.operand(item, value)?, with.operand(item, from)?, with.operand(item, to)?) {
                (Some(value), Some(from), Some(to)) => {
                    compare(&value, Comparison::GreaterOrEqual, &from) && compare(&value, Comparison::LessOrEqual, &to)
                }
                _ => false,
            },
            Self::In(value, among) => {
                let value = with.operand(item, value)?;
                let mut found = false;
                for candidate in among {
                    let candidate = with.operand(item, candidate)?;
                    found |= matches!((&value, &candidate), (Some(value), Some(candidate)) if compare(value, Comparison::Equal, candidate));
                }
                found
            }
            Self::Exists(path) => with.look(item, path)?.is_some(),
            Self::Absent(path) => with.look(item, path)?.is_none(),
            Self::Contains(path, operand) => match (with.look(item, path)?, with.operand(item, operand)?) {
                (Some(whole), Some(part)) => contains(&whole, &part),
                _ => false,
            },
            Self::BeginsWith(path, operand) => match (with.look(item, path)?, with.operand(item, operand)?) {
                (Some(whole), Some(part)) => {
                    matches!((text(&whole, "S"), text(&part, "S")), (Some(whole), Some(part)) if whole.starts_with(part))
                }
                _ => false,
            },
        })
    }

    /// The placeholders that it uses.
    pub fn uses(&self) -> BTreeSet<String> {
        let mut used = BTreeSet::new();
        self.walk(&mut |part| {
            used.insert(part.to_owned());
        });
        used
    }

    fn walk(&self, seen: &mut dyn FnMut(&str)) {
        let operand = |operand: &Operand, seen: &mut dyn FnMut(&str)| match operand {
            Operand::Path(path) => path.0.iter().for_each(|part| seen(part)),
            Operand::Value(value) => seen(value),
        };
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.walk(seen)),
            Self::Compare(left, _, right) => [left, right].into_iter().for_each(|o| operand(o, seen)),
            Self::Between(value, from, to) => [value, from, to].into_iter().for_each(|o| operand(o, seen)),
            Self::In(value, among) => std::iter::once(value).chain(among).for_each(|o| operand(o, seen)),
            Self::Exists(path) | Self::Absent(path) => path.0.iter().for_each(|part| seen(part)),
            Self::Contains(path, o) | Self::BeginsWith(path, o) => {
                path.0.iter().for_each(|part| seen(part));
                operand(o, seen);
            }
        }
    }

    /// Every way to take one requirement away inside of this condition: what is taken away, and what remains.
    pub fn weaker(&self) -> Vec<(String, Condition)> {
        let (Self::All(parts) | Self::Any(parts)) = self else { return Vec::new() };
        let all_needed = matches!(self, Self::All(_));
        let make = |parts| if all_needed { Self::All(parts) } else { Self::Any(parts) };
        let mut all = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            if all_needed {
                let mut rest = parts.clone();
                rest.remove(at);
                all.push((part.to_string(), make(rest)));
            }
            for (removed, weaker) in part.weaker() {
                let mut rest = parts.clone();
                rest[at] = weaker;
                all.push((removed, make(rest)));
            }
        }
        all
    }
}

impl fmt::Display for Condition {
    /// As it was written, except that the number of a scope does not matter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operand = |operand: &Operand| match operand {
            Operand::Path(path) => path.0.join("."),
            Operand::Value(value) if value.starts_with(":s") && value[2..].chars().all(|c| c.is_ascii_digit()) => ":scope".to_owned(),
            Operand::Value(value) => value.clone(),
        };
        let join = |parts: &[Condition], word: &str| {
            let parts = parts.iter().map(|part| match part {
                Condition::All(_) | Condition::Any(_) => format!("({part})"),
                _ => part.to_string(),
            });
            parts.collect::<Vec<_>>().join(word)
        };
        match self {
            Self::All(parts) => f.write_str(&join(parts, " AND ")),
            Self::Any(parts) => f.write_str(&join(parts, " OR ")),
            Self::Compare(left, how, right) => {
                let how = match how {
                    Comparison::Equal => "=",
                    Comparison::Less => "<",
                    Comparison::LessOrEqual => "<=",
                    Comparison::Greater => ">",
                    Comparison::GreaterOrEqual => ">=",
                };
                write!(f, "{} {how} {}", operand(left), operand(right))
            }
            Self::Between(value, from, to) => write!(f, "{} BETWEEN {} AND {}", operand(value), operand(from), operand(to)),
            Self::In(value, among) => {
                write!(f, "{} IN ({})", operand(value), among.iter().map(operand).collect::<Vec<_>>().join(", "))
            }
            Self::Exists(path) => write!(f, "attribute_exists({})", path.0.join(".")),
            Self::Absent(path) => write!(f, "attribute_not_exists({})", path.0.join(".")),
            Self::Contains(path, part) => write!(f, "contains({}, {})", path.0.join("."), operand(part)),
            Self::BeginsWith(path, part) => write!(f, "begins_with({}, {})", path.0.join("."), operand(part)),
        }
    }
}

impl Update {
    /// What can be said against it without looking at an item.
    pub fn check(&self, with: &Placeholders) -> Result<(), Invalid> {
        let mut touched = BTreeSet::new();
        for path in self.set.iter().map(|(path, _)| path).chain(&self.remove) {
            if !touched.insert(with.resolve(path)?) {
                return Err(Invalid("Two document paths overlap with each other".to_owned()));
            }
        }
        Ok(())
    }

    /// The item after the update. Everything is computed from the item before.
    pub fn apply(&self, with: &Placeholders, before: &Item) -> Result<Item, Invalid> {
        let mut after = before.clone();
        for (path, computed) in &self.set {
            let value = compute(computed, with, before)?;
            match &with.resolve(path)?[..] {
                [attribute] => {
                    after.insert(attribute.clone(), value);
                }
                [attribute, entry] => {
                    let map = after.get_mut(attribute).and_then(|whole| whole.get_mut("M")).and_then(Value::as_object_mut);
                    let map: &mut Map<String, Value> = map.ok_or_else(|| Invalid("the document path is invalid for update".to_owned()))?;
                    map.insert(entry.clone(), value);
                }
                deeper => panic!("a path of more than two parts: {deeper:?}"),
            }
        }
        for path in &self.remove {
            match &with.resolve(path)?[..] {
                [attribute] => {
                    after.remove(attribute);
                }
                deeper => panic!("a nested path to remove: {deeper:?}"),
            }
        }
        Ok(after)
    }

    /// The placeholders that it uses.
    pub fn uses(&self) -> BTreeSet<String> {
        fn add(computed: &Computed, used: &mut BTreeSet<String>) {
            let mut operand = |operand: &Operand| match operand {
                Operand::Path(path) => used.extend(path.0.iter().cloned()),
                Operand::Value(value) => drop(used.insert(value.clone())),
            };
            match computed {
                Computed::Operand(o) => operand(o),
                Computed::IfNotExists(path, o) => {
                    operand(&Operand::Path(path.clone()));
                    operand(o);
                }
                Computed::Sum(left, right) | Computed::Difference(left, right) => {
                    add(left, used);
                    add(right, used);
                }
            }
        }
        let mut used = BTreeSet::new();
        for (path, computed) in &self.set {
            used.extend(path.0.iter().cloned());
            add(computed, &mut used);
        }
        used.extend(self.remove.iter().flat_map(|path| path.0.iter().cloned()));
        used
    }
}

fn compute(computed: &Computed, with: &Placeholders, before: &Item) -> Result<Value, Invalid> {
    let absent = || Invalid("the expression refers to an attribute that does not exist in the item".to_owned());
    match computed {
        Computed::Operand(operand) => with.operand(before, operand)?.ok_or_else(absent),
        Computed::IfNotExists(path, otherwise) => match with.look(before, path)? {
            Some(present) => Ok(present),
            None => with.operand(before, otherwise)?.ok_or_else(absent),
        },
        Computed::Sum(left, right) | Computed::Difference(left, right) => {
            let number = |computed: &Computed| {
                number(&compute(computed, with, before)?).ok_or_else(|| Invalid("an operand in the update is no number".to_owned()))
            };
            let (left, right) = (number(left)?, number(right)?);
            let result = if matches!(computed, Computed::Sum(..)) { left + right } else { left - right };
            Ok(json!({ "N": result.to_string() }))
        }
    }
}

fn text<'a>(value: &'a Value, kind: &str) -> Option<&'a str> {
    value.get(kind).and_then(Value::as_str)
}

/// A whole number.
pub fn number(value: &Value) -> Option<i128> {
    text(value, "N").and_then(|digits| digits.parse().ok())
}

fn compare(left: &Value, how: Comparison, right: &Value) -> bool {
    if how == Comparison::Equal {
        return equal(left, right);
    }
    let ordering = match (number(left), number(right), text(left, "S"), text(right, "S")) {
        (Some(left), Some(right), ..) => left.cmp(&right),
        (.., Some(left), Some(right)) => left.as_bytes().cmp(right.as_bytes()),
        _ => return false,
    };
    match how {
        Comparison::Less => ordering.is_lt(),
        Comparison::LessOrEqual => ordering.is_le(),
        Comparison::Greater => ordering.is_gt(),
        Comparison::GreaterOrEqual => ordering.is_ge(),
        Comparison::Equal => ordering.is_eq(),
    }
}

fn equal(left: &Value, right: &Value) -> bool {
    canonical(left) == canonical(right)
}

/// A value in one form: sets in order, however they were written.
pub fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(kind, inner)| {
                let mut inner = canonical(inner);
                if matches!(kind.as_str(), "SS" | "NS" | "BS")
                    && let Value::Array(members) = &mut inner
                {
                    members.sort_by_key(ToString::to_string);
                }
                (kind.clone(), inner)
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(members) => members.iter().map(canonical).collect(),
        plain => plain.clone(),
    }
}

fn contains(whole: &Value, part: &Value) -> bool {
    if let (Some(whole), Some(part)) = (text(whole, "S"), text(part, "S")) {
        return whole.contains(part);
    }
    let members = |kind: &str| whole.get(kind).and_then(Value::as_array);
    match (members("SS"), members("L")) {
        (Some(set), _) => text(part, "S").is_some_and(|part| set.iter().any(|member| member.as_str() == Some(part))),
        (_, Some(list)) => list.iter().any(|member| equal(member, part)),
        _ => false,
    }
}

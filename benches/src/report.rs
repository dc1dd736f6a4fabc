//! The table of measures, as text and as JSON.

use std::fmt;

use serde_json::{Value, json};

use crate::recorded::Ceiling;

/// A count as a number of the table.
#[must_use]
pub fn count(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// One measure.
pub struct Row {
    /// What was measured.
    pub measure: String,
    /// In what.
    pub unit: &'static str,
    /// Ours.
    pub ours: f64,
    /// What it is held against.
    pub baseline: Option<f64>,
    /// What may not be exceeded.
    pub budget: Budget,
    /// How far above that it is known to be, and why.
    pub ceiling: Option<Ceiling>,
}

/// What may not be exceeded.
#[derive(Clone, Copy)]
pub enum Budget {
    /// Ours itself.
    Most(f64),
    /// Exactly this.
    Exactly(f64),
    /// Ours over the baseline.
    Ratio(f64),
    /// It is only told.
    None,
}

impl Row {
    /// A measure with an absolute budget.
    #[must_use]
    pub fn most(measure: impl Into<String>, unit: &'static str, ours: f64, most: f64) -> Self {
        Self { measure: measure.into(), unit, ours, baseline: None, budget: Budget::Most(most), ceiling: None }
    }

    /// A measure that must be met exactly.
    #[must_use]
    pub fn exactly(measure: impl Into<String>, unit: &'static str, ours: f64, expected: f64) -> Self {
        Self { measure: measure.into(), unit, ours, baseline: None, budget: Budget::Exactly(expected), ceiling: None }
    }

    /// A measure with a budget relative to a baseline.
    #[must_use]
    pub fn ratio(measure: impl Into<String>, unit: &'static str, ours: f64, baseline: f64, ratio: f64) -> Self {
        Self { measure: measure.into(), unit, ours, baseline: Some(baseline), budget: Budget::Ratio(ratio), ceiling: None }
    }

    /// A measure that is only told.
    #[must_use]
    pub fn told(measure: impl Into<String>, unit: &'static str, ours: f64, baseline: Option<f64>) -> Self {
        Self { measure: measure.into(), unit, ours, baseline, budget: Budget::None, ceiling: None }
    }

    fn over(&self) -> Option<f64> {
        self.baseline.map(|baseline| self.ours / baseline)
    }

    /// Whether the budget is kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.is_within(|budget| budget)
    }

    /// Whether it is not worse than it is known to be. What is, breaks the run.
    #[must_use]
    pub fn is_borne(&self) -> bool {
        self.is_kept() || self.ceiling.as_ref().is_some_and(|ceiling| self.is_within(|_| ceiling.most))
    }

    fn is_within(&self, limit: impl Fn(f64) -> f64) -> bool {
        match self.budget {
            Budget::Most(most) => self.ours <= limit(most),
            Budget::Exactly(expected) => (self.ours - expected).abs() < 1e-9,
            Budget::Ratio(ratio) => self.over().is_some_and(|over| over <= limit(ratio)),
            Budget::None => true,
        }
    }

    fn verdict(&self) -> String {
        match (self.budget, self.is_kept(), self.is_borne(), &self.ceiling) {
            (Budget::None, ..) => String::new(),
            (_, true, ..) => "kept".to_owned(),
            (_, _, true, Some(ceiling)) => format!("OVER, at most {}: {}", ceiling.most, ceiling.why),
            _ => "BROKEN".to_owned(),
        }
    }

    /// The row as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let (kind, budget) = match self.budget {
            Budget::Most(most) => ("most", Some(most)),
            Budget::Exactly(expected) => ("exactly", Some(expected)),
            Budget::Ratio(ratio) => ("ratio", Some(ratio)),
            Budget::None => ("told", None),
        };
        json!({
            "measure": self.measure, "unit": self.unit, "ours": self.ours, "baseline": self.baseline, "ratio": self.over(),
            "budget": budget, "budget_is": kind, "kept": self.is_kept(), "verdict": self.verdict(),
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measure = format!("{}, {}", self.measure, self.unit);
        let baseline = self.baseline.map(number).unwrap_or_default();
        let over = self.over().map(|over| format!("{over:.3}")).unwrap_or_default();
        let budget = match self.budget {
            Budget::Most(most) => format!("≤ {}", number(most)),
            Budget::Exactly(expected) => format!("= {}", number(expected)),
            Budget::Ratio(ratio) => format!("≤ {ratio} ×"),
            Budget::None => String::new(),
        };
        write!(f, "| {measure:<64} | {:>11} | {baseline:>11} | {over:>7} | {budget:>12} | {} |", number(self.ours), self.verdict())
    }
}

/// The head of the table.
#[must_use]
pub fn head() -> String {
    let line = |n: usize| "-".repeat(n);
    format!(
        "| {:<64} | {:>11} | {:>11} | {:>7} | {:>12} | verdict |\n|-{}-|-{}:|-{}:|-{}:|-{}:|---------|",
        "measure",
        "ours",
        "baseline",
        "ratio",
        "budget",
        line(64),
        line(11),
        line(11),
        line(7),
        line(12)
    )
}

/// A number with as many digits as it deserves.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        let digits = format!("{value:.0}");
        let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
        let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned()).collect();
        format!("{sign}{}", groups.join(","))
    } else {
        format!("{value:.2}")
    }
}

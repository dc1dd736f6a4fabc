//! What an earlier run measured: later ones are held to it. Measures that hardly depend on the machine, or on what else it does. Beside
//! them are the ceilings of budgets that cannot be kept, each with its reason: nobody passes in silence, and nothing grows unnoticed.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::report::Row;

/// Where it is kept.
const FILE: &str = "benches/recorded.json";

/// The recorded measures and the ceilings.
pub struct Recorded {
    file: File,
    records: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct File {
    /// Written by hand, by the measure's name.
    ceilings: BTreeMap<String, Ceiling>,
    /// Written by `--record`.
    measures: BTreeMap<String, f64>,
}

/// What a measure may be at most although its budget is lower, in the budget's own terms.
#[derive(Clone, Serialize, Deserialize)]
pub struct Ceiling {
    /// The ratio or the number.
    pub most: f64,
    /// Why the budget cannot be kept, and what was tried.
    pub why: String,
}

impl Recorded {
    /// Reads them; with `records` whatever is measured from now on takes their place.
    pub fn read(records: bool) -> Result<Self, Failure> {
        // Without the file nothing is recorded, which whoever needs it says.
        let file = match fs::read_to_string(FILE) {
            Ok(text) => serde_json::from_str(&text)?,
            Err(_) => File::default(),
        };
        Ok(Self { file, records })
    }

    /// A measure that may be more than the recorded one by this factor. What was not recorded cannot be held to anything.
    pub fn row(&mut self, measure: &str, unit: &'static str, ours: f64, slack: f64) -> Result<Row, Failure> {
        if self.records {
            self.file.measures.insert(measure.to_owned(), ours.round());
        }
        let recorded = *self.file.measures.get(measure).ok_or_else(|| format!("{measure} was not recorded: cargo budgets --record"))?;
        Ok(Row::ratio(format!("{measure}, against the recorded"), unit, ours, recorded, slack))
    }

    /// The row, with its ceiling if it has one.
    #[must_use]
    pub fn under_ceiling(&self, row: Row) -> Row {
        let ceiling = self.file.ceilings.get(&row.measure).cloned();
        Row { ceiling, ..row }
    }

    /// Keeps what was recorded.
    pub fn write(&self) -> Result<(), Failure> {
        if self.records {
            fs::write(FILE, serde_json::to_string_pretty(&self.file)? + "\n")?;
        }
        Ok(())
    }
}

//! What an earlier run measured: later ones are held to it. Measures that hardly depend on the machine, or on what else it does.

use std::collections::BTreeMap;
use std::fs;

use crate::Failure;
use crate::report::Row;

/// Where it is kept.
const FILE: &str = "benches/recorded.json";

/// The recorded measures.
pub struct Recorded {
    measures: BTreeMap<String, f64>,
    records: bool,
}

impl Recorded {
    /// Reads them; with `records` whatever is measured from now on takes their place.
    pub fn read(records: bool) -> Result<Self, Failure> {
        // Without the file nothing is recorded, which whoever needs it says.
        let measures = match fs::read_to_string(FILE) {
            Ok(text) => serde_json::from_str(&text)?,
            Err(_) => BTreeMap::new(),
        };
        Ok(Self { measures, records })
    }

    /// A measure that may be more than the recorded one by this factor. What was not recorded cannot be held to anything.
    pub fn row(&mut self, measure: &str, unit: &'static str, ours: f64, slack: f64) -> Result<Row, Failure> {
        if self.records {
            self.measures.insert(measure.to_owned(), ours.round());
        }
        let recorded = *self.measures.get(measure).ok_or_else(|| format!("{measure} was not recorded: cargo budgets --record"))?;
        Ok(Row::ratio(format!("{measure}, against the recorded"), unit, ours, recorded, slack))
    }

    /// Keeps what was recorded.
    pub fn write(&self) -> Result<(), Failure> {
        if self.records {
            fs::write(FILE, serde_json::to_string_pretty(&self.measures)? + "\n")?;
        }
        Ok(())
    }
}

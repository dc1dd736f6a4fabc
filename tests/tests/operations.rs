//! What docs/operations.md promises about the template.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::BTreeSet;

use serde_json::Value;

const DOCUMENT: &str = include_str!("../../docs/operations.md");

/// The template. Tags are passed over.
fn template() -> Value {
    serde_saphyr::from_str(include_str!("../../template.yaml")).unwrap()
}

#[test]
fn every_alarm_of_the_template_has_its_row_and_every_row_its_alarm() {
    let template = template();
    let resources = template["Resources"].as_object().unwrap();
    let alarms: BTreeSet<&str> =
        resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::CloudWatch::Alarm").map(|(name, _)| name.as_str()).collect();
    let table = DOCUMENT.split("<!-- begin: alarms -->").nth(1).and_then(|rest| rest.split("<!-- end: alarms -->").next()).unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let named: BTreeSet<&str> = rows.iter().map(|cells| cells[0].trim_matches('`')).collect();
    assert_eq!(named, alarms);
    assert_eq!(rows.len(), named.len(), "one row each");
    assert!(rows.iter().all(|cells| cells.len() == 3 && cells[1..].iter().all(|cell| cell.len() > 10)), "what it means, and what to do");
}

#[test]
fn every_parameter_that_is_told_to_turn_is_the_template_s() {
    for parameter in ["AlarmTopicArn", "CallbackConcurrency", "RefreshRules"] {
        assert!(DOCUMENT.contains(&format!("`{parameter}`")) && template()["Parameters"][parameter].is_object(), "{parameter}");
    }
}

#[test]
fn every_heading_that_is_referred_to_exists() {
    for heading in ["Scale the schedule", "Backup and restore"] {
        assert!(DOCUMENT.contains(&format!("\n## {heading}\n")), "{heading}");
    }
}

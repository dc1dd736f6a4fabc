//! `docs/threat-model.md`: what is protected from whom, and for each requirement and attack the tests that prove it. The tables are
//! made from the names of the tests themselves, so the page cannot promise what nobody checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use super::items::{ATTACKS, GROUPS, OPEN};
use super::{read, root, rust_files};

const HEAD: &str = include_str!("threat_model_head.md");

/// A test: its file, from the root of the repository, and its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Test {
    file: String,
    name: String,
}

/// Every test of the workspace. The source has to mark it as one within three lines above.
fn tests() -> Vec<Test> {
    let mut files = Vec::new();
    for folder in ["shared", "functions", "local", "tests"] {
        rust_files(&root().join(folder), &mut files);
    }
    let mut found = Vec::new();
    for path in files {
        let source = read(&path);
        let file = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().into_owned();
        let lines: Vec<&str> = source.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some(rest) = line.trim_start().trim_start_matches("async ").strip_prefix("fn ") else { continue };
            let above = &lines[at.saturating_sub(3)..at];
            let marks = ["#[test]", "#[tokio::test"];
            if above.iter().any(|line| marks.iter().any(|mark| line.trim_start().starts_with(mark))) {
                let name = rest.split(['(', '<']).next().unwrap_or_default().to_owned();
                found.push(Test { file: file.clone(), name });
            }
        }
    }
    found.sort();
    found
}

/// The requirements that a name proves: `s05_s11_the_url_is_fixed` proves two.
fn numbers(name: &str) -> Vec<u32> {
    let number = |part: &str| part.strip_prefix('s').filter(|digits| digits.len() == 2)?.parse::<u32>().ok();
    name.split('_').map_while(number).collect()
}

fn shown(tests: &[&Test]) -> String {
    let mut by_file: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for test in tests {
        by_file.entry(&test.file).or_default().push(&test.name);
    }
    let files = by_file.into_iter().map(|(file, names)| {
        let names = names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        format!("{file}: {names}")
    });
    files.collect::<Vec<_>>().join("<br>")
}

/// The page, and what is missing for it to be whole.
fn render() -> (String, Vec<String>) {
    let all = tests();
    let mut missing = Vec::new();
    let mut page = HEAD.to_owned();
    for group in GROUPS {
        let _ = write!(page, "\n### {}\n\n| | requirement | tests |\n|---|---|---|\n", group.title);
        for (number, requirement) in group.items {
            let proofs: Vec<&Test> = all.iter().filter(|test| numbers(&test.name).contains(number)).collect();
            if proofs.is_empty() && !OPEN.contains(number) {
                missing.push(format!("requirement {number} has no test whose name begins with s{number:02}_"));
            }
            let proofs = if proofs.is_empty() { "**no test yet**".to_owned() } else { shown(&proofs) };
            let _ = writeln!(page, "| {number} | {requirement} | {proofs} |");
        }
    }
    page.push_str("\n## Attacks\n\nPlayed as scripts. In each the token endpoint is not asked, or nothing is kept.\n\n");
    page.push_str("| what is tried | tests |\n|---|---|\n");
    for attack in ATTACKS {
        let mut proofs = Vec::new();
        for name in attack.tests {
            let found: Vec<&Test> = all.iter().filter(|test| test.name == *name).collect();
            if found.is_empty() {
                missing.push(format!("there is no test {name}"));
            }
            proofs.extend(found);
        }
        let _ = writeln!(page, "| {} | {} |", attack.tries, shown(&proofs));
    }
    (page, missing)
}

/// Whether to write the page instead of comparing.
#[expect(clippy::disallowed_methods, reason = "whether a test writes is said by its environment")]
fn may_write() -> bool {
    std::env::var("MANDATE_WRITE_DOCS").is_ok_and(|value| value == "1")
}

#[test]
fn s96_the_threat_model_names_a_test_for_every_requirement_and_every_attack() {
    let (page, missing) = render();
    assert_eq!(missing, Vec::<String>::new());
    let path = root().join("docs/threat-model.md");
    if may_write() {
        assert!(fs::write(&path, &page).is_ok(), "failed to write docs/threat-model.md");
    }
    let file = read(&path);
    let same = file.lines().zip(page.lines()).take_while(|(theirs, ours)| theirs == ours).count();
    assert!(
        file == page,
        "docs/threat-model.md is out of date from line {} on; `MANDATE_WRITE_DOCS=1 cargo test -p tests --test architecture` writes it",
        same + 1
    );
}

#[test]
fn s96_all_96_requirements_are_told_once_and_no_test_claims_another() {
    let told: Vec<u32> = GROUPS.iter().flat_map(|group| group.items).map(|(number, _)| *number).collect();
    assert_eq!(told, (1..=96).collect::<Vec<u32>>());
    let claimed: BTreeSet<u32> = tests().iter().flat_map(|test| numbers(&test.name)).collect();
    assert!(claimed.is_subset(&told.into_iter().collect()), "{claimed:?}");
    assert_eq!(numbers("s05_s11_the_url_is_fixed"), [5, 11]);
    assert_eq!((numbers("sealed_s05"), numbers("s5_short"), numbers("state_s01")), (vec![], vec![], vec![]));
    assert!(ATTACKS.len() >= 21);
}

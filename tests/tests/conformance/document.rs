//! `docs/conformance.md`, as the run has it.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::module::{Row, Section};

const HEAD: &str = "# Conformance

Each module of the OpenID Foundation's conformance suite that tests a relying party in the code flow, enacted against a provider of our
own that misbehaves on demand (`tests/src/conformance`). The sign-ins run over the real functions on the local stack, as a person's
browser and the calling application make them. This page is written by the test run and held to it:

```sh
cargo test -p tests --test conformance                            # fails if this page differs from what was seen
MANDATE_WRITE_DOCS=1 cargo test -p tests --test conformance       # writes it
```

It is a re-enactment: no certification was sought, and the suite itself was not run. Names and meanings are those of the suite's sources
(`openid-certification/conformance-suite`, commit 0c03f18f for OpenID Connect, 02ce5f93 and f64fbabf for FAPI 2.0); the requirements
are told in our own words.

- *accepted*: an authorization is stored, once per sign-in, with the identity that the provider named.
- *refused*: the caller and the browser get the contract's error, nothing is stored, and tokens that were obtained are revoked.
- *not applicable*: the module wants something that this service does not do, for the reason given.
";

/// The page.
pub(crate) fn render(sections: &[(&Section, &Vec<Row>)]) -> String {
    let mut page = HEAD.to_owned();
    for (section, rows) in sections {
        let _ = write!(page, "\n## {}\n\n{}\n\n", section.title, section.says);
        page.push_str("| module | plan | what it requires | what the provider does | outcome |\n|---|---|---|---|---|\n");
        for Row { module, enacted, outcome } in *rows {
            let outcome = outcome.as_deref().unwrap_or("FAILED");
            let _ = writeln!(page, "| `{}` | {} | {} | {enacted} | {outcome} |", module.name, module.plan, module.requires);
        }
    }
    page
}

/// Where it is.
pub(crate) fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md")
}

/// Whether to write it instead of comparing.
#[expect(clippy::disallowed_methods, reason = "whether a test writes is said by its environment")]
pub(crate) fn may_write() -> bool {
    std::env::var("MANDATE_WRITE_DOCS").is_ok_and(|value| value == "1")
}

/// Writes the page, or says in which line the file differs from it.
pub(crate) fn hold(page: &str) -> Result<(), String> {
    if may_write() {
        return fs::write(path(), page).map_err(|error| format!("failed to write docs/conformance.md: {error}"));
    }
    let file = fs::read_to_string(path()).unwrap_or_default();
    if file == page {
        return Ok(());
    }
    let line = file.lines().zip(page.lines()).take_while(|(theirs, ours)| theirs == ours).count();
    Err(format!(
        "docs/conformance.md differs from what was seen, first in line {}:\n  file: {}\n  seen: {}\nrewrite it with \
         `MANDATE_WRITE_DOCS=1 cargo test -p tests --test conformance`",
        line + 1,
        file.lines().nth(line).unwrap_or("(ends here)"),
        page.lines().nth(line).unwrap_or("(ends here)"),
    ))
}

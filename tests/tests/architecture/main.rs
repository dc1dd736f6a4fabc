//! Who may import whom (`use` lines and paths of `shared` and `functions`), held to one table; and that no security requirement is
//! without a test that bears its number ([`threat_model`]).

mod items;
mod threat_model;

use std::fs;
use std::path::{Path, PathBuf};

/// A room of the house, and what its code never names.
struct Room {
    path: &'static str,
    never: &'static [&'static str],
}

/// The SDKs and runtimes that only adapters and edges may name.
const SDKS: [&str; 8] = ["tokio", "aws_config", "aws_sdk_", "aws_smithy", "lambda_http", "lambda_runtime", "reqwest", "serde_dynamo"];
const ADAPTERS: [&str; 5] = ["crate::dynamodb", "crate::kms", "crate::secrets", "crate::sqs", "crate::oauth"];

const ROOMS: &[Room] = &[
    Room { path: "shared/src/domain", never: &["aws_", "tracing", "std::env", "crate::ports", "crate::usecases", "crate::http"] },
    Room { path: "shared/src/ports", never: &["aws_", "tracing", "std::env", "crate::usecases", "crate::http"] },
    Room { path: "shared/src/usecases", never: &["aws_", "std::env", "http::", "StatusCode", "crate::http"] },
    Room {
        path: "shared/src/dynamodb",
        never: &["reqwest", "lambda_", "crate::usecases", "crate::http", "crate::kms", "crate::secrets", "crate::sqs", "crate::oauth"],
    },
    Room {
        path: "shared/src/kms",
        never: &["reqwest", "lambda_", "crate::usecases", "crate::http", "crate::dynamodb", "crate::secrets", "crate::sqs", "crate::oauth"],
    },
    Room {
        path: "shared/src/secrets",
        never: &["reqwest", "lambda_", "crate::usecases", "crate::http", "crate::dynamodb", "crate::kms", "crate::sqs", "crate::oauth"],
    },
    Room {
        path: "shared/src/sqs",
        never: &["reqwest", "lambda_", "crate::usecases", "crate::http", "crate::dynamodb", "crate::kms", "crate::secrets", "crate::oauth"],
    },
    Room {
        path: "shared/src/oauth",
        never: &["aws_sdk", "lambda_", "crate::usecases", "crate::http", "crate::dynamodb", "crate::kms", "crate::secrets", "crate::sqs"],
    },
    Room { path: "shared/src/http", never: &["aws_sdk", "aws_config", "reqwest", "std::env"] },
];

/// Rooms that name no SDK and no adapter at all.
const PURE: [&str; 3] = ["shared/src/domain", "shared/src/ports", "shared/src/usecases"];

#[test]
fn every_room_names_only_what_it_may() {
    let mut faults = Vec::new();
    for room in ROOMS {
        let mut never: Vec<&str> = room.never.to_vec();
        if PURE.contains(&room.path) {
            never.extend(SDKS);
            never.extend(ADAPTERS);
        }
        if room.path == "shared/src/http" {
            never.extend(ADAPTERS);
        }
        check(&sources(room.path), &never, &mut faults);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn handlers_name_no_adapter_and_no_environment() {
    let never = [
        "shared::dynamodb",
        "shared::kms",
        "shared::secrets",
        "shared::sqs",
        "shared::oauth",
        "shared::wiring",
        "shared::lambda",
        "std::env",
        "aws_",
        "reqwest",
    ];
    let mut faults = Vec::new();
    for function in FUNCTIONS {
        check(&[root().join(format!("functions/{function}/src/lib.rs"))], &never, &mut faults);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn mains_only_wire() {
    for function in FUNCTIONS {
        let path = root().join(format!("functions/{function}/src/main.rs"));
        let lines = read(&path).lines().count();
        assert!(lines <= 40, "{} has {lines} lines: a main only wires", path.display());
    }
}

#[test]
fn the_environment_is_read_in_one_place() {
    let mut faults = Vec::new();
    let files: Vec<_> =
        sources("shared/src").into_iter().chain(sources("functions")).filter(|p| !p.ends_with("shared/src/config.rs")).collect();
    check(&files, &["std::env", "env::var"], &mut faults);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Every Rust source below a folder, tests and all.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            let name = path.file_name().unwrap_or_default();
            if name != "target" && name != "node_modules" {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

const FUNCTIONS: [&str; 7] = ["create-url", "callback", "list", "revoke", "assign", "token", "refresh"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The sources below a folder, without their tests: files or folders called `tests`, and fakes.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(path) = open.pop() {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if name == "tests" || name == "fakes" {
            continue;
        }
        if path.is_dir() {
            open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Code lines that name something forbidden: comments are passed over, and so is what follows the inline tests.
fn check(files: &[PathBuf], never: &[&str], faults: &mut Vec<String>) {
    for path in files {
        let text = read(path);
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("#[cfg(test)]") {
                break;
            }
            let code = line.split("//").next().unwrap_or_default();
            for word in never.iter().filter(|word| names(code, word)) {
                faults.push(format!("{}:{}: names {word}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
}

/// Whether the code names the word at the beginning of a path: `aws_` in `aws_sdk_kms::Client`, not in `my_aws_thing`.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let inside_text = code[..at].matches('"').count() % 2 == 1;
        !inside_text && before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
    })
}

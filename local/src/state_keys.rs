//! `cargo local state-keys`: the keys that seal sign-ins and cursors, new or with one more in front.

use std::io::{self, Write as _};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde_json::{Value, json};
use shared::ports::clock::{Clock as _, random};
use shared::secrets::parse_state_keys;
use shared::system::{SystemClock, SystemEntropy};

use crate::cli::{Fault, read_or_input};

/// Which keys.
#[derive(Debug, Args)]
pub(crate) struct StateKeysArgs {
    /// Put the new key in front of the keys in this file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    add: Option<PathBuf>,
    /// The id of the new key [default: today's date]
    #[arg(long)]
    kid: Option<String>,
    /// With --add: how many keys to keep in all, the oldest go first
    #[arg(long, value_name = "NUMBER", requires = "add", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
}

/// Prints the secret's whole content, alone on a line.
pub(crate) fn print(args: &StateKeysArgs) -> Result<(), Fault> {
    let kid = args.kid.clone().unwrap_or_else(|| SystemClock.now().date().to_string());
    let key = random::<32>(&SystemEntropy).map_err(|e| Fault::of(&e))?;
    let mut keys = vec![json!({ "kid": kid, "key": URL_SAFE_NO_PAD.encode(key) })];
    if let Some(path) = &args.add {
        keys.extend(present(&read_or_input("--add", path)?)?);
        keys.truncate(args.keep.map_or(usize::MAX, |keep| keep as usize));
    }
    let text = json!({ "keys": keys }).to_string();
    // The functions' own rules: a kid twice, or one that is none, is found here.
    parse_state_keys(&text).map_err(|e| Fault(format!("{}; --kid names another", e.one_line())))?;
    writeln!(io::stdout(), "{text}").map_err(|e| Fault(format!("failed to write to standard output: {e}")))
}

/// The keys of a file that holds to the rules.
fn present(text: &str) -> Result<Vec<Value>, Fault> {
    parse_state_keys(text).map_err(|e| Fault(format!("--add: {}", e.one_line())))?;
    let mut document: Value = serde_json::from_str(text).map_err(|e| Fault(format!("--add: {e}")))?;
    match document["keys"].take() {
        Value::Array(keys) => Ok(keys),
        _ => Ok(Vec::new()),
    }
}

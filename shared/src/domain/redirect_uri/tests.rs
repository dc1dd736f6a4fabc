#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod differential;
mod exact;
mod parsing;
mod ports;
mod public_suffixes;
mod schemes;
mod wildcards;

use super::*;
use Environment::{Production, Staging};

/// Registers one URI beside a default that both environments take.
fn registered(environment: Environment, uri: &str) -> Result<RedirectUris, Rule> {
    let default = ("https://default.example.com/".to_owned(), true);
    RedirectUris::register(environment, &[default, (uri.to_owned(), false)]).map_err(|faults| faults[0].1)
}

/// The rule that a registration breaks.
fn broken(environment: Environment, uri: &str) -> Result<(), Rule> {
    registered(environment, uri).map(|_| ())
}

/// Where the browser is sent for a candidate while this is registered in staging; `None` if it is refused.
fn sent_to(uri: &str, candidate: &str) -> Option<String> {
    registered(Staging, uri).unwrap().resolve(candidate).ok().map(String::from)
}

#[track_caller]
fn refused(table: &[(Environment, &str, Rule)]) {
    for (environment, uri, rule) in table {
        assert_eq!(broken(*environment, uri), Err(*rule), "{environment:?} {uri}");
    }
}

/// Registrations that are fine, with what they are in canonical form.
#[track_caller]
fn accepted(table: &[(Environment, &str, &str)]) {
    for (environment, uri, canonical) in table {
        let uris = registered(*environment, uri).map_err(|rule| format!("{uri}: {rule}")).unwrap();
        assert_eq!(uris.resolve(uri).as_ref().map(Url::as_str), Ok(*canonical), "{environment:?} {uri}");
    }
}

/// A registration, a candidate, and where the browser is sent.
#[track_caller]
fn resolved(table: &[(&str, &str, Option<&str>)]) {
    for (uri, candidate, expected) in table {
        assert_eq!(sent_to(uri, candidate).as_deref(), *expected, "{uri} {candidate:?}");
    }
}

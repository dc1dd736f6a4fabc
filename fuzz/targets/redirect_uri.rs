//! Redirect URIs. The input has three lines: what is registered, a candidate, and `production` or anything else.
#![no_main]

use fluent_uri::Uri;
use libfuzzer_sys::fuzz_target;
use shared::domain::redirect_uri::{Environment, RedirectUris, Rule};
use url::{Host, Url};

const DEFAULT: &str = "https://default.example.com/";

/// The good ones are registered: a target that refuses everything finds nothing.
fn begin() {
    for (uri, candidate) in [
        ("https://pr-*.example.co.uk/cb", "https://pr-1.example.co.uk/cb"),
        ("http://127.0.0.1:*/cb", "http://127.0.0.1:8080/cb"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
    ] {
        assert!(registered(Environment::Production, uri).is_some_and(|uris| uris.resolve(candidate).is_ok()), "{uri}");
    }
}

fuzz_target!(init: begin(), |text: &str| {
    let (registration, rest) = fuzz::first_line(text);
    let (candidate, environment) = fuzz::first_line(rest);
    let environment = if environment.starts_with("production") { Environment::Production } else { Environment::Staging };
    let Some(uris) = registered(environment, registration) else { return };

    // What is registered without a wildcard is found again, as its own canonical form.
    let wildcard = registration.contains('*');
    if !wildcard {
        let url = uris.resolve(registration).expect("an exact registration resolves");
        canonical(&url);
        assert!(registered(environment, url.as_str()).expect("is registered").resolve(registration).is_ok());
        let safe = url.scheme() == "https" || environment == Environment::Staging || url.host_str() == Some("127.0.0.1");
        assert!(safe, "{url} in production");
    }
    if environment == Environment::Production {
        assert!(registered(Environment::Staging, registration).is_some(), "staging refuses what production takes");
        let default = RedirectUris::register(environment, &[(registration.to_owned(), true)]);
        assert_eq!(default.is_err(), wildcard);
        if let Err(faults) = default {
            assert_eq!(faults, [(Some(0), Rule::WildcardDefault)]);
        }
    }

    // A candidate leads to what is registered, or nowhere.
    let Ok(url) = uris.resolve(candidate) else { return };
    canonical(&url);
    let authority = candidate.split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next()).expect("an authority");
    assert!(!authority.contains(['@', '%']) && !candidate.contains(['*', '\\', '#']), "{candidate}");
    assert_eq!(uris.resolve(url.as_str()).as_ref(), Ok(&url));
    if url.as_str() == DEFAULT {
        return;
    }
    if wildcard {
        below(registration, &url);
    } else {
        assert_eq!(uris.resolve(registration).as_ref(), Ok(&url));
    }
});

fn registered(environment: Environment, uri: &str) -> Option<RedirectUris> {
    RedirectUris::register(environment, &[(DEFAULT.to_owned(), true), (uri.to_owned(), false)]).ok()
}

/// What is sealed and sent to is its own canonical form, and a second parser (RFC 3986) reads the same in it.
fn canonical(url: &Url) {
    assert_eq!(Url::parse(url.as_str()).as_ref(), Ok(url));
    assert!(url.as_str().bytes().all(|b| b.is_ascii_graphic()), "{url}");
    let second = Uri::parse(url.as_str()).unwrap_or_else(|error| panic!("{url}: {error}"));
    let authority = second.authority().expect("an authority");
    assert_eq!(second.scheme().as_str(), url.scheme());
    assert_eq!(Some(authority.host()), url.host_str());
    assert_eq!(authority.port_to_u16().expect("a port"), url.port());
    assert!(!authority.has_userinfo() && !second.has_fragment(), "{url}");
    assert_eq!(second.path().as_str(), url.path());
    assert_eq!(second.query().map(|query| query.as_str()), url.query());
}

/// A wildcard stands for a port of this machine, or for part of the first label of a name that somebody owns.
fn below(registration: &str, url: &Url) {
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let host = url.host_str().expect("a host");
    if local {
        assert!(registration.contains(":*"), "{registration} leads to {url}");
        return;
    }
    let (label, parent) = host.split_once('.').expect("two labels");
    assert!(label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{url}");
    assert!(parent.contains('.'), "{registration} stands for all of {parent}");
    // The registration's own text, with the label that came: one that a parser reads as the URL.
    let (before, after) = registration.split_once('*').expect("a wildcard");
    let prefix = before.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let suffix = after.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let middle = label.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_suffix(suffix.as_str()));
    let filled = registration.replacen('*', middle.expect("prefix and suffix"), 1);
    let mut filled = Url::parse(&filled).expect("the registration, filled in, is a URL");
    if let Some(name) = filled.domain().and_then(|name| name.strip_suffix('.')).map(str::to_owned) {
        filled.set_host(Some(&name)).expect("a host");
    }
    assert_eq!(&filled, url, "{registration}");
}

//! URLs of a configuration that this service calls, or sends a browser to (security checklist 12 and 75).

use url::{Host, Url};

use super::node::{Node, Read};

/// Where plain http is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schemes {
    /// Nowhere: https only.
    Https,
    /// On this machine, in staging or during development.
    HttpsOrLoopback,
}

/// Whether a URL may have a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Query {
    /// It may: an authorization endpoint, for one (RFC 6749 section 3.1).
    Allowed,
    /// It may not: what is appended to it, or compared with it, has none.
    Refused,
}

/// Reads a URL. What two parsers could read in two ways is refused: this URL decides where secrets are sent.
pub(super) fn url(node: &Node<'_>, schemes: Schemes, query: Query) -> Read<Url> {
    let text = node.text(2048)?;
    let must_be = match schemes {
        Schemes::Https => "must be an https URL",
        Schemes::HttpsOrLoopback => "must be an https URL, or http on a loopback host",
    };
    let ambiguous = text.chars().any(|c| c.is_whitespace() || c == '\\');
    let (parsed, rest) = match (Url::parse(text), text.split_once("://")) {
        (Ok(parsed), Some((_, rest))) if !ambiguous => (parsed, rest),
        _ => return Err(node.fault(must_be)),
    };
    let plain_http = schemes == Schemes::HttpsOrLoopback && parsed.scheme() == "http" && is_loopback(&parsed);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || !(parsed.scheme() == "https" || plain_http) {
        return Err(node.fault(must_be));
    }
    // Also an empty one, `https://@host`, which the parser drops without a word.
    if authority.contains('@') {
        return Err(node.fault("must not have userinfo"));
    }
    if parsed.fragment().is_some() {
        return Err(node.fault("must not have a fragment"));
    }
    if query == Query::Refused && parsed.query().is_some() {
        return Err(node.fault("must not have a query"));
    }
    Ok(parsed)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

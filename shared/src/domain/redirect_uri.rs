//! Redirect URIs: where a browser may be sent after sign-in (contract section 5; RFC 9700 section 2.1).
//!
//! 1. A text is read once, by the WHATWG parser, into a canonical [`Url`]; what could be read in two ways is refused (`read`).
//! 2. A registration is a canonical URL, with at most one wildcard in its host or its port ([`RedirectUris::register`]).
//! 3. A candidate is compared with every registration, piece by piece ([`RedirectUris::resolve`]). What is given back, sealed and
//!    sent to is the canonical URL, never the text that came.

mod public_suffix;

use url::{Host, Url};

use self::public_suffix::is_public_suffix;

/// No redirect URI is longer, in bytes: it travels sealed in `state`, which is part of a URL itself.
const MAX_BYTES: usize = 2048;
/// No name in the DNS is longer, as text without its last dot (RFC 1035 section 2.3.4) …
const MAX_NAME: usize = 253;
/// … and no label.
const MAX_LABEL: usize = 63;
/// One of the texts that a wildcard in a label stands for.
const ANY_TEXT: &str = "x";
/// A label that the public suffix list does not know.
const ANY_LABEL: &str = "any-label-at-all";

/// How strict the rules are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// `https` only, but for `http://127.0.0.1`.
    Production,
    /// Also `http`, and `localhost`.
    Staging,
}

/// The redirect URIs of a directory.
#[derive(Debug, Clone, Default)]
pub struct RedirectUris {
    registered: Vec<Registered>,
    default: Option<Url>,
}

#[derive(Debug, Clone)]
struct Registered {
    /// Canonical; with a wildcard, one of the URLs that it stands for.
    url: Url,
    wildcard: Wildcard,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Wildcard {
    None,
    /// The left-most label is `prefix*suffix`; `parent` is the rest of the host.
    Label {
        prefix: String,
        suffix: String,
        parent: String,
    },
    Port,
}

/// A rule of contract section 5 that a registration or a candidate breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// It is longer than 2048 bytes.
    #[error("must have at most 2048 bytes")]
    TooLong,
    /// It is no absolute URL, or one with control characters, spaces or backslashes.
    #[error("must be an absolute URL without control characters, spaces or backslashes")]
    NotAUrl,
    /// `user@` stands before the host.
    #[error("must not have userinfo")]
    Userinfo,
    /// It has a fragment.
    #[error("must not have a fragment")]
    Fragment,
    /// Neither http nor https.
    #[error("must be https")]
    Scheme,
    /// http where it is not allowed.
    #[error("must be https; in production the sole exception is http://127.0.0.1")]
    PlainHttp,
    /// localhost in production.
    #[error("must not be localhost in production")]
    Localhost,
    /// The host is no name that the DNS can hold, or it is written with escapes.
    #[error("must have a host of letters, digits, '-' and '_' in labels of at most 63, or an IP address")]
    HostName,
    /// Dot segments, characters that a parser rewrites, or characters that are not of RFC 3986.
    #[error("must have its path and query in the canonical form of RFC 3986")]
    NotCanonical,
    /// The wildcard stands elsewhere than in the left-most label, or there are several.
    #[error("may have one wildcard, in the left-most label of the host only")]
    WildcardPlace,
    /// A wildcard in a label that is written in punycode: it would stand for digits of something else.
    #[error("must not have a wildcard in an internationalized label")]
    WildcardIdn,
    /// A wildcard with http in production.
    #[error("must not combine a wildcard with http in production")]
    WildcardPlainHttp,
    /// A wildcard under a public suffix.
    #[error("must not have a wildcard on a public suffix")]
    PublicSuffix,
    /// A port wildcard for a host that is not loopback.
    #[error("may have a port wildcard for localhost and loopback addresses only")]
    PortWildcard,
    /// A wildcard as the default.
    #[error("must not be the default with a wildcard")]
    WildcardDefault,
    /// There must be exactly one default.
    #[error("must have exactly one default among the registered redirect URIs")]
    Default,
}

/// A redirect URI was not one of the registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a registered redirect URI")]
pub struct Unregistered;

impl RedirectUris {
    /// Registers redirect URIs, each with whether it is the default. Every broken rule is reported with the index of its
    /// entry; `None` stands for the list as a whole.
    pub fn register(environment: Environment, entries: &[(String, bool)]) -> Result<Self, Vec<(Option<usize>, Rule)>> {
        let mut faults = Vec::new();
        let mut uris = Self { registered: Vec::new(), default: None };
        for (index, (text, is_default)) in entries.iter().enumerate() {
            match Registered::read(environment, text) {
                Ok(entry) if *is_default && entry.wildcard != Wildcard::None => faults.push((Some(index), Rule::WildcardDefault)),
                Ok(entry) => {
                    if *is_default {
                        uris.default = Some(entry.url.clone());
                    }
                    uris.registered.push(entry);
                }
                Err(rule) => faults.push((Some(index), rule)),
            }
        }
        if !entries.is_empty() && entries.iter().filter(|(_, is_default)| *is_default).count() != 1 {
            faults.push((None, Rule::Default));
        }
        if faults.is_empty() { Ok(uris) } else { Err(faults) }
    }

    /// The canonical form of a candidate, if it is registered.
    pub fn resolve(&self, candidate: &str) -> Result<Url, Unregistered> {
        let url = read(candidate).map_err(|_| Unregistered)?;
        if self.registered.iter().any(|entry| entry.matches(&url)) { Ok(url) } else { Err(Unregistered) }
    }

    /// The default redirect URI, if any is registered.
    #[must_use]
    pub fn default_uri(&self) -> Option<&Url> {
        self.default.as_ref()
    }
}

/// Reads a text once into its canonical form. What different parsers read differently is refused rather than repaired.
fn read(text: &str) -> Result<Url, Rule> {
    if text.len() > MAX_BYTES {
        return Err(Rule::TooLong);
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(Rule::NotAUrl);
    }
    let mut url = Url::parse(text).map_err(|_| Rule::NotAUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Rule::Scheme);
    }
    // The scheme is followed by exactly two slashes: the parser would take any number.
    let after_scheme = text.get(url.scheme().len()..).and_then(|rest| rest.strip_prefix("://")).ok_or(Rule::NotAUrl)?;
    let authority_end = after_scheme.find(['/', '?', '#']).unwrap_or(after_scheme.len());
    let (authority, rest) = after_scheme.split_at(authority_end);
    if authority.is_empty() {
        return Err(Rule::NotAUrl);
    }
    if authority.contains('@') {
        return Err(Rule::Userinfo);
    }
    if url.fragment().is_some() {
        return Err(Rule::Fragment);
    }
    let canonical = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    if (rest != canonical && format!("/{rest}") != canonical) || !is_of_rfc_3986(&canonical) {
        return Err(Rule::NotCanonical);
    }
    if authority.contains('%') {
        return Err(Rule::HostName);
    }
    if let Some(Host::Domain(domain)) = url.host() {
        let name = domain.strip_suffix('.').unwrap_or(domain);
        if !is_host_name(name) {
            return Err(Rule::HostName);
        }
        if name.len() < domain.len() {
            let name = name.to_owned();
            url.set_host(Some(&name)).map_err(|_| Rule::HostName)?;
        }
    }
    Ok(url)
}

/// Whether these are the characters of a path and a query (RFC 3986 sections 3.3 and 3.4). The WHATWG parser lets more pass, which
/// other readers of the same text refuse or rewrite.
fn is_of_rfc_3986(path_and_query: &str) -> bool {
    let bytes = path_and_query.as_bytes();
    let escape = |at: usize| bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => escape(at),
        _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(byte),
    })
}

/// Whether the DNS, and a browser, know what to do with a name.
fn is_host_name(name: &str) -> bool {
    name.len() <= MAX_NAME && name.split('.').all(|label| label.len() <= MAX_LABEL && is_wild(label))
}

/// Whether a wildcard may stand for a text.
fn is_wild(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

impl Registered {
    fn read(environment: Environment, text: &str) -> Result<Self, Rule> {
        let (url, wildcard) = match without_port_wildcard(text) {
            Some(text) if text.contains('*') => return Err(Rule::WildcardPlace),
            Some(text) => (read(&text)?, Wildcard::Port),
            None if text.contains('*') => read_label_wildcard(text)?,
            None => (read(text)?, Wildcard::None),
        };
        let host = url.host().ok_or(Rule::NotAUrl)?;
        if wildcard == Wildcard::Port && !is_loopback(&host) {
            return Err(Rule::PortWildcard);
        }
        if environment == Environment::Production {
            if matches!(host, Host::Domain(name) if name == "localhost" || name.ends_with(".localhost")) {
                return Err(Rule::Localhost);
            }
            if url.scheme() == "http" {
                if matches!(wildcard, Wildcard::Label { .. }) {
                    return Err(Rule::WildcardPlainHttp);
                }
                if !matches!(host, Host::Ipv4(address) if address == std::net::Ipv4Addr::LOCALHOST) {
                    return Err(Rule::PlainHttp);
                }
            }
        }
        Ok(Self { url, wildcard })
    }

    fn matches(&self, candidate: &Url) -> bool {
        let same_rest =
            self.url.scheme() == candidate.scheme() && self.url.path() == candidate.path() && self.url.query() == candidate.query();
        same_rest
            && match &self.wildcard {
                Wildcard::None => self.url.host() == candidate.host() && self.url.port() == candidate.port(),
                Wildcard::Port => self.url.host() == candidate.host(),
                Wildcard::Label { prefix, suffix, parent } => {
                    self.url.port() == candidate.port()
                        && candidate.domain().and_then(|host| host.split_once('.')).is_some_and(|(label, rest)| {
                            rest == parent
                                && label.strip_prefix(prefix.as_str()).and_then(|l| l.strip_suffix(suffix.as_str())).is_some_and(is_wild)
                        })
                }
            }
    }
}

/// `http://localhost:*/cb` → `http://localhost/cb`; `None` without a port wildcard. The WHATWG parser knows no port `*`.
fn without_port_wildcard(text: &str) -> Option<String> {
    let start = text.find("://")? + 3;
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |at| start + at);
    let host = text[start..end].strip_suffix(":*")?;
    // A second port stands before the wildcard: the parser will say what it thinks of that.
    if host.rsplit(']').next().is_some_and(|rest| rest.contains(':')) {
        return None;
    }
    Some(format!("{}{host}{}", &text[..start], &text[end..]))
}

/// `https://pr-*.example.com/cb` is read as one of the URLs it stands for: under a name that is written from right to left the parser
/// would refuse a label that begins with `*`.
fn read_label_wildcard(text: &str) -> Result<(Url, Wildcard), Rule> {
    let one = text.replacen('*', ANY_TEXT, 1);
    if one.contains('*') {
        return Err(Rule::WildcardPlace);
    }
    let url = read(&one)?;
    let (label, parent) = url.domain().and_then(|host| host.split_once('.')).ok_or(Rule::WildcardPlace)?;
    let authority = text.split_once("://").map(|(_, rest)| rest).ok_or(Rule::NotAUrl)?;
    let written = authority.split(['.', ':', '/', '?']).next().unwrap_or_default().to_ascii_lowercase();
    let (prefix, suffix) = written.split_once('*').ok_or(Rule::WildcardPlace)?;
    // A label that the parser has to translate is not written out before and after the wildcard.
    if format!("{prefix}{ANY_TEXT}{suffix}") != label || label.starts_with("xn--") {
        return Err(Rule::WildcardIdn);
    }
    // Neighbours under a public suffix are strangers. Where the list itself has a wildcard (*.kobe.jp), what stands in its place
    // is a public suffix, too.
    if is_public_suffix(parent) || is_public_suffix(&format!("{ANY_LABEL}.{parent}")) {
        return Err(Rule::PublicSuffix);
    }
    let wildcard = Wildcard::Label { prefix: prefix.to_owned(), suffix: suffix.to_owned(), parent: parent.to_owned() };
    Ok((url, wildcard))
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests;

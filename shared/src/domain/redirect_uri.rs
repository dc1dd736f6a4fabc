//! Redirect URIs: where a browser may be sent after sign-in (contract section 5; RFC 9700 section 2.1).
//!
//! 1. A text is read once, by the WHATWG parser, into a canonical [`Url`]; what could be read in two ways is refused (`read`).
//! 2. A registration is a canonical URL, with at most one wildcard in its host or its port ([`RedirectUris::register`]).
//! 3. A candidate is compared with every registration, piece by piece ([`RedirectUris::resolve`]).

use url::{Host, Url};

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
    /// Canonical; of a host wildcard it holds the literal `*`, of a port wildcard no port.
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
    /// Dot segments or characters that a parser rewrites.
    #[error("must have its path and query in canonical form")]
    NotCanonical,
    /// The wildcard stands elsewhere than in the left-most label, or there are several.
    #[error("may have one wildcard, in the left-most label of the host only")]
    WildcardPlace,
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
    if text.len() > 2048 || text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
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
    if rest != canonical && format!("/{rest}") != canonical {
        return Err(Rule::NotCanonical);
    }
    if let Some(Host::Domain(domain)) = url.host()
        && let Some(stripped) = domain.strip_suffix('.')
    {
        let stripped = stripped.to_owned();
        if stripped.is_empty() || stripped.ends_with('.') {
            return Err(Rule::NotAUrl);
        }
        url.set_host(Some(&stripped)).map_err(|_| Rule::NotAUrl)?;
    }
    Ok(url)
}

impl Registered {
    fn read(environment: Environment, text: &str) -> Result<Self, Rule> {
        let (text, any_port) = take_port_wildcard(text);
        let url = read(&text)?;
        let host = url.host().ok_or(Rule::NotAUrl)?;
        let stars = url.as_str().matches('*').count();
        let wildcard = if any_port {
            if !is_loopback(&host) {
                return Err(Rule::PortWildcard);
            }
            if stars > 0 {
                return Err(Rule::WildcardPlace);
            }
            Wildcard::Port
        } else if stars > 0 {
            read_label_wildcard(&url, stars)?
        } else {
            Wildcard::None
        };
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
                                && label.strip_prefix(prefix.as_str()).and_then(|l| l.strip_suffix(suffix.as_str())).is_some_and(|middle| {
                                    !middle.is_empty() && middle.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
                                })
                        })
                }
            }
    }
}

/// `http://localhost:*/cb` → `http://localhost/cb`, true. The WHATWG parser knows no port `*`.
fn take_port_wildcard(text: &str) -> (String, bool) {
    let Some(start) = text.find("://").map(|at| at + 3) else { return (text.to_owned(), false) };
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |at| start + at);
    match text[start..end].strip_suffix(":*") {
        Some(host) => (format!("{}{host}{}", &text[..start], &text[end..]), true),
        None => (text.to_owned(), false),
    }
}

fn read_label_wildcard(url: &Url, stars: usize) -> Result<Wildcard, Rule> {
    let (label, parent) = url.domain().and_then(|host| host.split_once('.')).ok_or(Rule::WildcardPlace)?;
    let (prefix, suffix) = label.split_once('*').ok_or(Rule::WildcardPlace)?;
    if stars != 1 {
        return Err(Rule::WildcardPlace);
    }
    // Both sections of the list count: the ICANN one (co.uk) and the private one (ngrok-free.app), where neighbours are strangers.
    if psl::suffix_str(parent).is_none_or(|public| public == parent) {
        return Err(Rule::PublicSuffix);
    }
    Ok(Wildcard::Label { prefix: prefix.to_owned(), suffix: suffix.to_owned(), parent: parent.to_owned() })
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;
    use Environment::{Production, Staging};

    fn registered(environment: Environment, uri: &str) -> Result<RedirectUris, Rule> {
        let plain_default = ("https://default.example.com/".to_owned(), true);
        RedirectUris::register(environment, &[plain_default, (uri.to_owned(), false)]).map_err(|faults| faults[0].1)
    }

    #[test]
    fn registrations_that_break_a_rule_are_refused() {
        for (environment, uri, rule) in [
            (Production, "http://app.example.com/cb", Rule::PlainHttp),
            (Production, "http://localhost/cb", Rule::Localhost),
            (Production, "https://localhost/cb", Rule::Localhost),
            (Production, "http://127.0.0.2/cb", Rule::PlainHttp),
            (Production, "http://[::1]/cb", Rule::PlainHttp),
            (Production, "http://*.example.com/cb", Rule::WildcardPlainHttp),
            (Production, "https://app.example.com:*/cb", Rule::PortWildcard),
            (Staging, "http://app.example.com:*/cb", Rule::PortWildcard),
            (Staging, "https://*.co.uk/cb", Rule::PublicSuffix),
            (Staging, "https://*.ngrok-free.app/cb", Rule::PublicSuffix),
            (Staging, "https://pr-*.github.io/cb", Rule::PublicSuffix),
            (Staging, "https://*.com/cb", Rule::PublicSuffix),
            (Staging, "https://*.xn--55qx5d.cn/cb", Rule::PublicSuffix),
            (Staging, "https://*/cb", Rule::WildcardPlace),
            (Staging, "https://a.*.example.com/cb", Rule::WildcardPlace),
            (Staging, "https://**.example.com/cb", Rule::WildcardPlace),
            (Staging, "https://*.example.com/*", Rule::WildcardPlace),
            (Staging, "https://app.example.com/*", Rule::WildcardPlace),
            (Staging, "javascript:alert(1)", Rule::Scheme),
            (Staging, "https://user@app.example.com/cb", Rule::Userinfo),
            (Staging, "https://@app.example.com/cb", Rule::Userinfo),
            (Staging, "https://app.example.com/cb#", Rule::Fragment),
            (Staging, "https://app.example.com\\cb", Rule::NotAUrl),
            (Staging, "https:///app.example.com/cb", Rule::NotAUrl),
            (Staging, "https:app.example.com/cb", Rule::NotAUrl),
            (Staging, " https://app.example.com/cb", Rule::NotAUrl),
            (Staging, "https://app.example.com/a/../cb", Rule::NotCanonical),
            (Staging, "/cb", Rule::NotAUrl),
        ] {
            assert_eq!(registered(environment, uri).map(|_| ()), Err(rule), "{uri}");
        }
    }

    #[test]
    fn candidates_match_exactly_or_by_the_wildcard() {
        for (uri, candidate, expected) in [
            ("https://app.example.com/cb", "https://app.example.com/cb", true),
            ("https://app.example.com/cb", "https://APP.example.com:443/cb", true),
            ("https://app.example.com/cb", "https://app.example.com./cb", true),
            ("https://bücher.example/cb", "https://xn--bcher-kva.example/cb", true),
            ("https://app.example.com/cb", "https://app.example.com/cb/", false),
            ("https://app.example.com/cb", "https://app.example.com/CB", false),
            ("https://app.example.com/cb", "https://app.example.com/cb?x=1", false),
            ("https://app.example.com/cb", "https://app.example.com:8443/cb", false),
            ("https://app.example.com/cb", "https://app.example.com/x/../cb", false),
            ("https://app.example.com/cb", "https://app.example.com/%2e/cb", false),
            ("https://app.example.com/cb", "https://evil@app.example.com/cb", false),
            ("https://app.example.com/cb", "https://app.example.com/cb#x", false),
            ("https://app.example.com/cb", "http://app.example.com/cb", false),
            ("https://app.example.com/cb", "https://app.example.com\t/cb", false),
            ("https://pr-*-web.example.com/cb", "https://pr-12-web.example.com/cb", true),
            ("https://pr-*-web.example.com/cb", "https://pr--web.example.com/cb", false),
            ("https://pr-*-web.example.com/cb", "https://pr-1.2-web.example.com/cb", false),
            ("https://*.example.com/cb", "https://a.b.example.com/cb", false),
            ("https://*.example.com/cb", "https://example.com/cb", false),
            ("https://*.example.com/cb", "https://*.example.com/cb", false),
            ("https://*.example.com/cb", "https://a_B-9.example.com/cb", true),
            ("https://*.example.com/cb", "https://a.example.com.evil.org/cb", false),
            ("http://localhost:*/cb", "http://localhost:5173/cb", true),
            ("http://localhost:*/cb", "http://localhost/cb", true),
            ("http://localhost:*/cb", "http://localhost.evil.org:5173/cb", false),
            ("http://127.0.0.1:*/cb", "http://2130706433:80/cb", true),
            ("http://127.0.0.1:*/cb", "http://127.0.0.2:80/cb", false),
        ] {
            assert_eq!(registered(Staging, uri).unwrap().resolve(candidate).is_ok(), expected, "{uri} {candidate}");
        }
    }

    #[test]
    fn exactly_one_plain_default_is_needed() {
        let entries =
            |flags: [bool; 2]| flags.iter().enumerate().map(|(i, d)| (format!("https://a{i}.example.com/"), *d)).collect::<Vec<_>>();
        assert_eq!(RedirectUris::register(Production, &entries([false, false])).unwrap_err(), [(None, Rule::Default)]);
        assert_eq!(RedirectUris::register(Production, &entries([true, true])).unwrap_err(), [(None, Rule::Default)]);
        assert_eq!(
            RedirectUris::register(Production, &entries([false, true])).unwrap().default_uri().unwrap().as_str(),
            "https://a1.example.com/"
        );
        let wildcard = [("https://*.example.com/".to_owned(), true)];
        assert_eq!(RedirectUris::register(Production, &wildcard).unwrap_err(), [(Some(0), Rule::WildcardDefault)]);
        assert!(RedirectUris::register(Production, &[]).is_ok());
    }
}

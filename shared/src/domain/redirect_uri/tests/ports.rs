use super::*;

const LOCAL: &str = "http://localhost:*/cb";
const LOOPBACK: &str = "http://127.0.0.1:*/cb";
const SIX: &str = "http://[::1]:*/cb";

#[test]
fn s18_a_port_wildcard_is_for_loopback_hosts() {
    for (environment, uri) in [
        (Staging, "http://localhost:*/cb"),
        (Staging, "https://localhost:*/cb"),
        (Staging, "http://localhost.:*/cb"),
        (Staging, "http://LOCALHOST:*"),
        (Staging, "http://127.0.0.1:*/cb"),
        (Staging, "http://127.8.8.8:*/cb"),
        (Staging, "http://[::1]:*/cb"),
        (Staging, "http://[0:0:0:0:0:0:0:1]:*/cb?x=1"),
        (Production, "http://127.0.0.1:*/cb"),
        (Production, "http://2130706433:*/cb"),
        (Production, "https://127.0.0.2:*/cb"),
        (Production, "https://[::1]:*/cb"),
    ] {
        assert_eq!(broken(environment, uri), Ok(()), "{environment:?} {uri}");
    }
    refused(&[
        (Production, "https://app.example.com:*/cb", Rule::PortWildcard),
        (Staging, "http://app.example.com:*/cb", Rule::PortWildcard),
        (Staging, "http://localhost.example.com:*/cb", Rule::PortWildcard),
        (Staging, "http://app.localhost:*/cb", Rule::PortWildcard),
        (Staging, "http://notlocalhost:*/cb", Rule::PortWildcard),
        (Staging, "http://192.168.0.1:*/cb", Rule::PortWildcard),
        (Staging, "http://0.0.0.0:*/cb", Rule::PortWildcard),
        (Staging, "http://128.0.0.1:*/cb", Rule::PortWildcard),
        (Staging, "http://[::]:*/cb", Rule::PortWildcard),
        (Staging, "http://[::2]:*/cb", Rule::PortWildcard),
        (Staging, "http://[::ffff:127.0.0.1]:*/cb", Rule::PortWildcard),
        (Production, "http://127.0.0.2:*/cb", Rule::PlainHttp),
        (Production, "http://[::1]:*/cb", Rule::PlainHttp),
        (Production, "http://localhost:*/cb", Rule::Localhost),
    ]);
}

#[test]
fn s18_a_port_wildcard_is_the_whole_port_and_stands_alone() {
    refused(&[
        (Staging, "https://*.example.com:*/cb", Rule::WildcardPlace),
        (Staging, "http://*.localhost:*/cb", Rule::WildcardPlace),
        (Staging, "http://*:*/cb", Rule::WildcardPlace),
        (Staging, "http://localhost:*/*", Rule::WildcardPlace),
        (Staging, "http://localhost:*/cb?x=*", Rule::WildcardPlace),
        (Staging, "http://localhost:**/cb", Rule::WildcardPlace),
        (Staging, "http://localhost:8*/cb", Rule::NotAUrl),
        (Staging, "http://localhost:*8/cb", Rule::NotAUrl),
        (Staging, "http://localhost:80:*/cb", Rule::NotAUrl),
        (Staging, "http://localhost:8080:*/cb", Rule::NotAUrl),
        (Staging, "http://localhost::*/cb", Rule::NotAUrl),
        (Staging, "http://localhost:*:*/cb", Rule::WildcardPlace),
        (Staging, "http://[::1]:8080:*/cb", Rule::NotAUrl),
        (Staging, "http://::1:*/cb", Rule::NotAUrl),
        (Staging, "http://[::1%25lo]:*/cb", Rule::NotAUrl),
        (Staging, "http://[::1:*]/cb", Rule::NotAUrl),
        (Staging, "http://:*/cb", Rule::NotAUrl),
        (Staging, "http://localhost:＊/cb", Rule::NotAUrl),
        (Staging, "http://localhost:%2a/cb", Rule::NotAUrl),
        (Staging, "http://localhost：*/cb", Rule::NotAUrl),
        (Staging, "http://user@localhost:*/cb", Rule::Userinfo),
        (Staging, "http://@localhost:*/cb", Rule::Userinfo),
        (Staging, "http://user:*@localhost/cb", Rule::Userinfo),
        (Staging, "http://localhost:*@evil.example/cb", Rule::Userinfo),
        (Staging, "http://127.0.0.1:*@evil.example:80/cb", Rule::Userinfo),
        (Staging, "http://localhost:*/cb#", Rule::Fragment),
        (Staging, "http://localhost:*\\cb", Rule::NotAUrl),
        (Staging, "javascript://localhost:*/%0aalert(1)", Rule::Scheme),
    ]);
    let entry = [(LOOPBACK.to_owned(), true)];
    assert_eq!(RedirectUris::register(Production, &entry).unwrap_err(), [(Some(0), Rule::WildcardDefault)]);
}

#[test]
fn s18_any_port_of_that_host_matches_and_nothing_else() {
    resolved(&[
        (LOCAL, "http://localhost/cb", Some("http://localhost/cb")),
        (LOCAL, "http://localhost:80/cb", Some("http://localhost/cb")),
        (LOCAL, "http://localhost:1/cb", Some("http://localhost:1/cb")),
        (LOCAL, "http://localhost:65535/cb", Some("http://localhost:65535/cb")),
        (LOCAL, "http://LocalHost.:5173/cb", Some("http://localhost:5173/cb")),
        (LOOPBACK, "http://127.0.0.1:49152/cb", Some("http://127.0.0.1:49152/cb")),
        (LOOPBACK, "http://2130706433:8080/cb", Some("http://127.0.0.1:8080/cb")),
        (SIX, "http://[::1]:49152/cb", Some("http://[::1]:49152/cb")),
        (SIX, "http://[0:0::1]:49152/cb", Some("http://[::1]:49152/cb")),
        (LOCAL, "http://localhost:*/cb", None),
        (LOCAL, "http://localhost:65536/cb", None),
        (LOCAL, "http://localhost:-1/cb", None),
        (LOCAL, "http://localhost:5173/cb/", None),
        (LOCAL, "http://localhost:5173/", None),
        (LOCAL, "http://localhost:5173/cb?x", None),
        (LOCAL, "http://localhost:5173/cb#", None),
        (LOCAL, "https://localhost:5173/cb", None),
        (LOCAL, "http://127.0.0.1:5173/cb", None),
        (LOCAL, "http://app.localhost:5173/cb", None),
        (LOCAL, "http://localhost.evil.example:5173/cb", None),
        (LOCAL, "http://localhost:5173@evil.example/cb", None),
        (LOCAL, "http://user@localhost:5173/cb", None),
        (LOCAL, "http://localhost:80:5173/cb", None),
        (LOOPBACK, "http://localhost:5173/cb", None),
        (LOOPBACK, "http://127.0.0.2:80/cb", None),
        (LOOPBACK, "http://127.0.0.1.evil.example:80/cb", None),
        (LOOPBACK, "http://[::ffff:127.0.0.1]:80/cb", None),
        (SIX, "http://127.0.0.1:80/cb", None),
        (SIX, "http://[::2]:80/cb", None),
        ("http://localhost:8080/cb", "http://localhost:8081/cb", None),
        ("http://127.0.0.1/cb", "http://127.0.0.1:8080/cb", None),
    ]);
}

use super::*;

#[test]
fn s17_production_takes_https_and_http_on_127_0_0_1() {
    accepted(&[
        (Production, "https://app.example.com/cb", "https://app.example.com/cb"),
        (Production, "HTTPS://app.example.com/cb", "https://app.example.com/cb"),
        (Production, "https://app.example.com:8443/cb", "https://app.example.com:8443/cb"),
        (Production, "https://192.0.2.1/cb", "https://192.0.2.1/cb"),
        (Production, "https://127.0.0.1/cb", "https://127.0.0.1/cb"),
        (Production, "https://[2001:db8::1]/cb", "https://[2001:db8::1]/cb"),
        (Production, "https://[::1]/cb", "https://[::1]/cb"),
        (Production, "http://127.0.0.1/cb", "http://127.0.0.1/cb"),
        (Production, "http://127.0.0.1:5000/cb", "http://127.0.0.1:5000/cb"),
        (Production, "http://127.1/cb", "http://127.0.0.1/cb"),
        (Production, "http://127.0.0.1./cb", "http://127.0.0.1/cb"),
        (Production, "https://localhost.example.com/cb", "https://localhost.example.com/cb"),
        (Production, "https://notlocalhost/cb", "https://notlocalhost/cb"),
    ]);
    refused(&[
        (Production, "http://app.example.com/cb", Rule::PlainHttp),
        (Production, "HTTP://app.example.com/cb", Rule::PlainHttp),
        (Production, "http://app.example.com:443/cb", Rule::PlainHttp),
        (Production, "http://127.0.0.2/cb", Rule::PlainHttp),
        (Production, "http://127.0.0.1.example.com/cb", Rule::PlainHttp),
        (Production, "http://0.0.0.0/cb", Rule::PlainHttp),
        (Production, "http://[::1]/cb", Rule::PlainHttp),
        (Production, "http://[::ffff:127.0.0.1]/cb", Rule::PlainHttp),
        (Production, "http://[::127.0.0.1]/cb", Rule::PlainHttp),
        (Production, "http://localhost/cb", Rule::Localhost),
        (Production, "http://localhost:*/cb", Rule::Localhost),
        (Production, "https://localhost/cb", Rule::Localhost),
        (Production, "https://LOCALHOST/cb", Rule::Localhost),
        (Production, "https://localhost./cb", Rule::Localhost),
        (Production, "https://localhost:8443/cb", Rule::Localhost),
        (Production, "https://localhost:*/cb", Rule::Localhost),
        (Production, "https://app.localhost/cb", Rule::Localhost),
        (Production, "https://ｌocalhost/cb", Rule::Localhost),
        (Production, "http://*.example.com/cb", Rule::WildcardPlainHttp),
        (Production, "http://pr-*.example.com:8080/cb", Rule::WildcardPlainHttp),
    ]);
}

#[test]
fn s17_staging_takes_http_and_localhost_too() {
    accepted(&[
        (Staging, "https://app.example.com/cb", "https://app.example.com/cb"),
        (Staging, "http://app.example.com/cb", "http://app.example.com/cb"),
        (Staging, "http://app.example.com:80/cb", "http://app.example.com/cb"),
        (Staging, "http://127.0.0.2/cb", "http://127.0.0.2/cb"),
        (Staging, "http://[::1]:8080/cb", "http://[::1]:8080/cb"),
        (Staging, "http://localhost/cb", "http://localhost/cb"),
        (Staging, "http://localhost:5173/cb", "http://localhost:5173/cb"),
        (Staging, "https://localhost/cb", "https://localhost/cb"),
        (Staging, "http://localhost./cb", "http://localhost/cb"),
        (Staging, "http://app.localhost:3000/cb", "http://app.localhost:3000/cb"),
    ]);
    assert_eq!(sent_to("http://*.example.com/cb", "http://pr1.example.com/cb").as_deref(), Some("http://pr1.example.com/cb"));
    assert_eq!(sent_to("http://*.example.com/cb", "https://pr1.example.com/cb"), None);
}

#[test]
fn s17_no_environment_takes_another_scheme_or_what_is_no_url() {
    for environment in [Production, Staging] {
        for (uri, rule) in [
            ("javascript:alert(1)", Rule::Scheme),
            ("javascript://127.0.0.1/%0aalert(1)", Rule::Scheme),
            ("data:text/html,x", Rule::Scheme),
            ("vbscript:x", Rule::Scheme),
            ("blob:https://app.example.com/0", Rule::Scheme),
            ("file:///etc/passwd", Rule::Scheme),
            ("ftp://app.example.com/", Rule::Scheme),
            ("ws://127.0.0.1/", Rule::Scheme),
            ("about:blank", Rule::Scheme),
            ("com.example.app:/cb", Rule::Scheme),
            ("com.example.app://cb", Rule::Scheme),
            ("httpss://app.example.com/", Rule::Scheme),
            ("", Rule::NotAUrl),
            ("/cb", Rule::NotAUrl),
            ("//app.example.com/cb", Rule::NotAUrl),
            ("app.example.com/cb", Rule::NotAUrl),
            ("https:", Rule::NotAUrl),
            ("https://", Rule::NotAUrl),
            ("https:///cb", Rule::NotAUrl),
            ("https://?x", Rule::NotAUrl),
            ("https://:443/cb", Rule::NotAUrl),
            ("https:app.example.com/cb", Rule::NotAUrl),
            ("https:/app.example.com/cb", Rule::NotAUrl),
            ("https:///app.example.com/cb", Rule::NotAUrl),
            ("https://app.example.com:65536/cb", Rule::NotAUrl),
            ("https://app.example.com:x/cb", Rule::NotAUrl),
            ("https://user@app.example.com/cb", Rule::Userinfo),
            ("https://user:secret@app.example.com/cb", Rule::Userinfo),
            ("https://@app.example.com/cb", Rule::Userinfo),
            ("https://:@app.example.com/cb", Rule::Userinfo),
            ("https://app.example.com/cb#", Rule::Fragment),
            ("https://app.example.com/cb#x", Rule::Fragment),
            ("https://app.example.com/cb?x#y", Rule::Fragment),
            ("https://*.example.com/cb#", Rule::Fragment),
        ] {
            assert_eq!(broken(environment, uri), Err(rule), "{environment:?} {uri:?}");
        }
    }
}

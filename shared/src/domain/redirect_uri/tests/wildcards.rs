use super::*;

const ANY: &str = "https://*.example.com/cb";
const PREVIEW: &str = "https://pr-*-web.example.com/cb";
const PORT: &str = "https://*.example.com:8443/cb";

#[test]
fn s19_a_wildcard_stands_for_one_label_or_part_of_one() {
    let longest = format!("https://{}.example.com/cb", "a".repeat(63));
    resolved(&[
        (ANY, "https://a.example.com/cb", Some("https://a.example.com/cb")),
        (ANY, "https://pr-12.example.com/cb", Some("https://pr-12.example.com/cb")),
        (ANY, "https://A_B-9.example.com/cb", Some("https://a_b-9.example.com/cb")),
        (ANY, "https://_.example.com/cb", Some("https://_.example.com/cb")),
        (ANY, "https://-.example.com/cb", Some("https://-.example.com/cb")),
        (ANY, "https://0.example.com/cb", Some("https://0.example.com/cb")),
        (ANY, "https://a.example.com:443/cb", Some("https://a.example.com/cb")),
        (ANY, "https://a.example.com./cb", Some("https://a.example.com/cb")),
        (ANY, "https://bücher.example.com/cb", Some("https://xn--bcher-kva.example.com/cb")),
        (ANY, &longest, Some(&longest)),
        (PORT, "https://a.example.com:8443/cb", Some("https://a.example.com:8443/cb")),
        (PREVIEW, "https://pr-1-web.example.com/cb", Some("https://pr-1-web.example.com/cb")),
        (PREVIEW, "https://PR-1-WEB.example.com/cb", Some("https://pr-1-web.example.com/cb")),
        (PREVIEW, "https://pr---web.example.com/cb", Some("https://pr---web.example.com/cb")),
        (PREVIEW, "https://pr-a-web-b-web.example.com/cb", Some("https://pr-a-web-b-web.example.com/cb")),
        ("https://app*.example.com/", "https://app1.example.com/", Some("https://app1.example.com/")),
        ("https://*app.example.com/", "https://my-app.example.com/", Some("https://my-app.example.com/")),
        ("https://a*a.example.com/", "https://aba.example.com/", Some("https://aba.example.com/")),
        ("https://*.a.b.example.com/", "https://x.a.b.example.com/", Some("https://x.a.b.example.com/")),
        ("https://*.example.com./cb", "https://a.example.com/cb", Some("https://a.example.com/cb")),
        ("https://*.EXAMPLE.com/cb", "https://a.example.com/cb", Some("https://a.example.com/cb")),
        ("https://*.bücher.example/", "https://a.xn--bcher-kva.example/", Some("https://a.xn--bcher-kva.example/")),
        ("https://*.דוגמה.ישראל/", "https://a.דוגמה.ישראל/", Some("https://a.xn--6dbbec0c.xn--4dbrk0ce/")),
        ("https://*.example.com/cb?a=1", "https://a.example.com/cb?a=1", Some("https://a.example.com/cb?a=1")),
        ("https://*.acme.ngrok-free.app/", "https://a.acme.ngrok-free.app/", Some("https://a.acme.ngrok-free.app/")),
    ]);
}

#[test]
fn s19_a_wildcard_stands_for_nothing_else() {
    let too_long = format!("https://{}.example.com/cb", "a".repeat(64));
    resolved(&[
        (ANY, "https://example.com/cb", None),
        (ANY, "https://.example.com/cb", None),
        (ANY, "https://a.b.example.com/cb", None),
        (ANY, "https://a..example.com/cb", None),
        (ANY, "https://*.example.com/cb", None),
        (ANY, "https://**.example.com/cb", None),
        (ANY, "https://a*.example.com/cb", None),
        (ANY, "https://%2a.example.com/cb", None),
        (ANY, "https://＊.example.com/cb", None),
        (ANY, "https://a%2eb.example.com/cb", None),
        (ANY, "https://a。b.example.com/cb", None),
        (ANY, "https://a．b.example.com/cb", None),
        (ANY, "https://a!.example.com/cb", None),
        (ANY, "https://a~b.example.com/cb", None),
        (ANY, "https://a+b.example.com/cb", None),
        (ANY, "https://a,b.example.com/cb", None),
        (ANY, "https://a=b.example.com/cb", None),
        (ANY, "https://a@b.example.com/cb", None),
        (ANY, "https://a:b.example.com/cb", None),
        (ANY, "https://a%00.example.com/cb", None),
        (ANY, &too_long, None),
        (ANY, "https://a.example.org/cb", None),
        (ANY, "https://a.example.com.evil.example/cb", None),
        (ANY, "https://evil.example/a.example.com/cb", None),
        (ANY, "https://evil.example?.example.com/cb", None),
        (ANY, "https://evil.example#.example.com/cb", None),
        (ANY, "https://evil.example\\.example.com/cb", None),
        (ANY, "https://aexample.com/cb", None),
        (ANY, "https://a.notexample.com/cb", None),
        (ANY, "http://a.example.com/cb", None),
        (ANY, "https://a.example.com:8443/cb", None),
        (ANY, "https://a.example.com/cb/", None),
        (ANY, "https://a.example.com/x", None),
        (ANY, "https://a.example.com/cb?x", None),
        (ANY, "https://192.0.2.1/cb", None),
        (PORT, "https://a.example.com/cb", None),
        (PORT, "https://a.example.com:8444/cb", None),
        (PREVIEW, "https://pr--web.example.com/cb", None),
        (PREVIEW, "https://pr-web.example.com/cb", None),
        (PREVIEW, "https://pr-1.2-web.example.com/cb", None),
        (PREVIEW, "https://pr-1-api.example.com/cb", None),
        (PREVIEW, "https://xpr-1-web.example.com/cb", None),
        (PREVIEW, "https://pr-1-webx.example.com/cb", None),
        (PREVIEW, "https://pr-*-web.example.com/cb", None),
        ("https://a*a.example.com/", "https://a.example.com/", None),
        ("https://a*a.example.com/", "https://aa.example.com/", None),
    ]);
}

#[test]
fn s19_a_wildcard_is_one_asterisk_in_the_left_most_label() {
    refused(&[
        (Staging, "https://**.example.com/cb", Rule::WildcardPlace),
        (Staging, "https://*-*.example.com/cb", Rule::WildcardPlace),
        (Staging, "https://*.*.example.com/cb", Rule::WildcardPlace),
        (Staging, "https://a.*.example.com/cb", Rule::WildcardPlace),
        (Staging, "https://app.*/cb", Rule::WildcardPlace),
        (Staging, "https://app.example.*/cb", Rule::WildcardPlace),
        (Staging, "https://*/cb", Rule::WildcardPlace),
        (Staging, "https://*./cb", Rule::WildcardPlace),
        (Staging, "https://pr-*/cb", Rule::WildcardPlace),
        (Staging, "https://app.example.com/*", Rule::WildcardPlace),
        (Staging, "https://app.example.com/cb?x=*", Rule::WildcardPlace),
        (Staging, "https://*.example.com/*", Rule::WildcardPlace),
        (Staging, "https://*.example.com/cb?x=*", Rule::WildcardPlace),
        (Staging, "https://[*::1]/cb", Rule::NotAUrl),
        (Staging, "https://*.0.0.1/cb", Rule::NotAUrl),
        (Staging, "https://127.0.0.*/cb", Rule::WildcardPlace),
        (Staging, "*://app.example.com/cb", Rule::Scheme),
        (Staging, "*", Rule::NotAUrl),
        (Staging, "https://*/cb.html", Rule::WildcardPlace),
        (Staging, "https://*:8443/cb", Rule::WildcardPlace),
        (Staging, "https://*?a.example.com", Rule::WildcardPlace),
        (Staging, "https://*@app.example.com/cb", Rule::Userinfo),
        (Staging, "https://a%*.example.com/cb", Rule::NotAUrl),
        // Not written as such, though a parser reads it as one.
        (Staging, "https://＊.example.com/cb", Rule::HostName),
        (Staging, "https://*＊.example.com/cb", Rule::HostName),
        (Staging, "https://﹡.example.com/cb", Rule::HostName),
        (Staging, "https://%2a.example.com/cb", Rule::HostName),
        // In punycode the asterisk would be a digit of something else.
        (Staging, "https://bü*.example.com/cb", Rule::WildcardIdn),
        (Staging, "https://*ü.example.com/cb", Rule::WildcardIdn),
        (Staging, "https://ａ*.example.com/cb", Rule::WildcardIdn),
        (Staging, "https://*。example.com/cb", Rule::WildcardIdn),
        (Staging, "https://xn--*bcher-4ya.example.com/cb", Rule::WildcardIdn),
        (Staging, "https://*..example.com/cb", Rule::HostName),
        (Staging, "https://*.example..com/cb", Rule::HostName),
        (Staging, "https://*..com/cb", Rule::HostName),
    ]);
    assert!(broken(Staging, "https://xn--*.example.com/cb").is_err());
    assert!(broken(Staging, "https://xn--b*cher-kva.example.com/cb").is_err());
}

#[test]
fn s19_a_wildcard_is_never_the_default() {
    for environment in [Production, Staging] {
        for uri in [ANY, PREVIEW, "https://*.example.com:8443/"] {
            let entries = [(uri.to_owned(), true)];
            assert_eq!(RedirectUris::register(environment, &entries).unwrap_err(), [(Some(0), Rule::WildcardDefault)]);
        }
    }
}

use super::*;

const CB: &str = "https://app.example.com/cb";
const QUERY: &str = "https://app.example.com/cb?from=mandate";

#[test]
fn s16_other_spellings_of_the_same_canonical_url_are_that_url() {
    resolved(&[
        (CB, "https://app.example.com/cb", Some(CB)),
        (CB, "HTTPS://app.example.com/cb", Some(CB)),
        (CB, "hTtPs://App.EXAMPLE.com/cb", Some(CB)),
        (CB, "https://app.example.com./cb", Some(CB)),
        (CB, "https://app.example.com:443/cb", Some(CB)),
        (CB, "https://app.example.com:0443/cb", Some(CB)),
        (CB, "https://app.example.com:/cb", Some(CB)),
        (CB, "https://app.example.com.:443/cb", Some(CB)),
        ("https://app.example.com", "https://app.example.com", Some("https://app.example.com/")),
        ("https://app.example.com", "https://app.example.com/", Some("https://app.example.com/")),
        ("https://app.example.com?a=b", "https://app.example.com/?a=b", Some("https://app.example.com/?a=b")),
        ("https://app.example.com:8443/cb", "https://app.example.com:8443/cb", Some("https://app.example.com:8443/cb")),
        ("http://app.example.com:443/cb", "http://app.example.com:443/cb", Some("http://app.example.com:443/cb")),
        ("https://app.example.com:443/cb", "https://app.example.com/cb", Some(CB)),
        (QUERY, "https://app.example.com/cb?from=mandate", Some(QUERY)),
        ("https://app.example.com/cb?", "https://app.example.com/cb?", Some("https://app.example.com/cb?")),
        ("https://app.example.com/c%62", "https://app.example.com/c%62", Some("https://app.example.com/c%62")),
        ("https://app_1.example.com/cb", "https://app_1.example.com/cb", Some("https://app_1.example.com/cb")),
    ]);
}

/// None of them is [`CB`].
const OTHERS: &[&str] = &[
    // the path
    "https://app.example.com/CB",
    "https://app.example.com/cb/",
    "https://app.example.com/",
    "https://app.example.com",
    "https://app.example.com/cb/more",
    "https://app.example.com//cb",
    "https://app.example.com/cb;x=1",
    "https://app.example.com/c%62",
    "https://app.example.com/cb%00",
    "https://app.example.com/cb%20",
    "https://app.example.com/%63b",
    "https://app.example.com%2Fcb",
    "https://app.example.com/*",
    // dot segments, plain and escaped
    "https://app.example.com/./cb",
    "https://app.example.com/cb/.",
    "https://app.example.com/x/../cb",
    "https://app.example.com/../cb",
    "https://app.example.com/cb/..",
    "https://app.example.com/%2e/cb",
    "https://app.example.com/%2E/cb",
    "https://app.example.com/x/%2e%2e/cb",
    "https://app.example.com/x/.%2E/cb",
    // query and fragment
    "https://app.example.com/cb?",
    "https://app.example.com/cb?x=1",
    "https://app.example.com/cb?from=mandate",
    "https://app.example.com/cb#",
    "https://app.example.com/cb#x",
    "https://app.example.com/cb?#",
    "https://app.example.com#/cb",
    // the port
    "https://app.example.com:80/cb",
    "https://app.example.com:8443/cb",
    "https://app.example.com:0/cb",
    "https://app.example.com:65979/cb",
    "https://app.example.com:443:443/cb",
    "https://app.example.com:*/cb",
    "https://app.example.com:+443/cb",
    // userinfo
    "https://@app.example.com/cb",
    "https://:@app.example.com/cb",
    "https://user@app.example.com/cb",
    "https://user:secret@app.example.com/cb",
    "https://evil.example@app.example.com/cb",
    "https://app.example.com@evil.example/cb",
    "https://app.example.com:443@evil.example/cb",
    "https://app.example.com%40evil.example/cb",
    // the host
    "https://app.example.com.evil.example/cb",
    "https://evil-app.example.com/cb",
    "https://evil.app.example.com/cb",
    "https://example.com/cb",
    "https://app.example.com../cb",
    "https://.app.example.com/cb",
    "https://app..example.com/cb",
    "https://app%2eexample.com/cb",
    "https://%61pp.example.com/cb",
    "https://app.example.com%00.evil.example/cb",
    "https://app.example.com%0d%0a/cb",
    "https://app.example.com,evil.example/cb",
    "https://app-example.com/cb",
    "https://*.example.com/cb",
    "https://%2a.example.com/cb",
    "https://xn--app.example.com/cb",
    // the scheme, and what is no absolute URL
    "http://app.example.com/cb",
    "http://app.example.com:443/cb",
    "wss://app.example.com/cb",
    "javascript://app.example.com/cb",
    "javascript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "file:///cb",
    "file://app.example.com/cb",
    "blob:https://app.example.com/cb",
    "view-source:https://app.example.com/cb",
    "https:app.example.com/cb",
    "https:/app.example.com/cb",
    "https:///app.example.com/cb",
    "https:////app.example.com/cb",
    "https://",
    "https:///cb",
    "//app.example.com/cb",
    "app.example.com/cb",
    "/cb",
    "",
    // what parsers cut off, or take for a slash
    " https://app.example.com/cb",
    "https://app.example.com/cb ",
    "https://app.example.com/cb\n",
    "https://app.example.com/c\tb",
    "https://app.example.com\t/cb",
    "ht\ntps://app.example.com/cb",
    "https://app.example.com/cb\0",
    "https://app.example.com/cb\u{7f}",
    "https://app.example.com/cb\u{85}",
    "https://app.example.com/\u{a0}cb",
    "\u{feff}https://app.example.com/cb",
    "https:\\\\app.example.com\\cb",
    "https://app.example.com\\cb",
    "https://app.example.com\\@evil.example/cb",
    "https://evil.example\\@app.example.com/cb",
    "https:/\\app.example.com/cb",
];

#[test]
fn s16_whatever_else_differs_is_another_url() {
    for candidate in OTHERS {
        assert_eq!(sent_to(CB, candidate), None, "{candidate:?}");
    }
}

#[test]
fn s16_a_query_is_compared_as_it_is() {
    resolved(&[
        (QUERY, "https://app.example.com/cb", None),
        (QUERY, "https://app.example.com/cb?", None),
        (QUERY, "https://app.example.com/cb?from=mandate&", None),
        (QUERY, "https://app.example.com/cb?from=mandate&x=1", None),
        (QUERY, "https://app.example.com/cb?from=Mandate", None),
        (QUERY, "https://app.example.com/cb?from=m%61ndate", None),
        (QUERY, "https://app.example.com/cb?FROM=mandate", None),
        ("https://app.example.com/cb?", CB, None),
        ("https://app.example.com/cb?a=1&b=2", "https://app.example.com/cb?b=2&a=1", None),
    ]);
}

#[test]
fn one_entry_may_repeat_another() {
    let twice = [(CB.to_owned(), true), ("https://APP.example.com:443/cb".to_owned(), false)];
    assert_eq!(RedirectUris::register(Production, &twice).unwrap().resolve(CB).unwrap().as_str(), CB);
}

#[test]
fn nothing_is_registered_where_nothing_is_configured() {
    let none = RedirectUris::register(Production, &[]).unwrap();
    assert!(none.default_uri().is_none());
    assert!(none.resolve(CB).is_err());
}

#[test]
fn exactly_one_default_is_needed() {
    let entries = |flags: [bool; 2]| flags.iter().enumerate().map(|(i, d)| (format!("https://a{i}.example.com/"), *d)).collect::<Vec<_>>();
    assert_eq!(RedirectUris::register(Production, &entries([false, false])).unwrap_err(), [(None, Rule::Default)]);
    assert_eq!(RedirectUris::register(Production, &entries([true, true])).unwrap_err(), [(None, Rule::Default)]);
    let uris = RedirectUris::register(Production, &entries([false, true])).unwrap();
    assert_eq!(uris.default_uri().unwrap().as_str(), "https://a1.example.com/");
}

#[test]
fn every_broken_entry_is_named() {
    let entries = ["https://app.example.com/cb#x", "https://app.example.com/cb", "ftp://app.example.com/", "https://*.co.uk/"];
    let faults = RedirectUris::register(Production, &entries.map(|uri| (uri.to_owned(), uri.ends_with("/cb")))).unwrap_err();
    assert_eq!(faults, [(Some(0), Rule::Fragment), (Some(2), Rule::Scheme), (Some(3), Rule::PublicSuffix)]);
}

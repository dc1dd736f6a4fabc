use super::*;

const CB: &str = "https://app.example.com/cb";
const IDN: &str = "https://bücher.example/cb";
const PUNY: &str = "https://xn--bcher-kva.example/cb";
const V4: &str = "http://127.0.0.1/cb";
const V6: &str = "http://[::1]:8080/cb";

#[test]
fn s21_a_name_has_one_canonical_form() {
    resolved(&[
        (IDN, "https://bücher.example/cb", Some(PUNY)),
        (IDN, "https://BÜCHER.example/cb", Some(PUNY)),
        (IDN, "https://bu\u{308}cher.example/cb", Some(PUNY)),
        (IDN, "https://xn--bcher-kva.example/cb", Some(PUNY)),
        (IDN, "https://XN--BCHER-KVA.example/cb", Some(PUNY)),
        (IDN, "https://bücher。example/cb", Some(PUNY)),
        (PUNY, "https://bücher.example./cb", Some(PUNY)),
        (IDN, "https://bucher.example/cb", None),
        (IDN, "https://b%C3%BCcher.example/cb", None),
        (IDN, "https://xn--bcher-kva.example.evil.example/cb", None),
        (IDN, "https://xn--bcher-kvb.example/cb", None),
        (CB, "https://app。example.com/cb", Some(CB)),
        (CB, "https://app．example｡com/cb", Some(CB)),
        (CB, "https://ａｐｐ.example.com/cb", Some(CB)),
        (CB, "https://app.example.com。/cb", Some(CB)),
        (CB, "https://app.exampIe.com/cb", None),
        (CB, "https://аpp.example.com/cb", None),
        (CB, "https://app.example.com／cb", None),
        (CB, "https://app.example.com？/cb", None),
        (CB, "https://evil.example＃.app.example.com/cb", None),
        (CB, "https://evil.example／.app.example.com/cb", None),
        (CB, "https://evil.example＠app.example.com/cb", None),
        (CB, "https://app.example.com：443/cb", None),
        (CB, "https://app.example.com:４４３/cb", None),
        (CB, "https://evil℀pp.example.com/cb", None),
        (CB, "https://app%EF%BC%8Eexample.com/cb", None),
        (CB, "https://app.example.com/ｃb", None),
        ("https://fass.example/cb", "https://faß.example/cb", None),
    ]);
}

#[test]
fn s21_an_address_has_one_canonical_form() {
    resolved(&[
        (V4, "http://127.0.0.1/cb", Some(V4)),
        (V4, "http://127.0.0.1./cb", Some(V4)),
        (V4, "http://127.1/cb", Some(V4)),
        (V4, "http://127.0.1/cb", Some(V4)),
        (V4, "http://2130706433/cb", Some(V4)),
        (V4, "http://0177.0.0.1/cb", Some(V4)),
        (V4, "http://0177.0.0.01/cb", Some(V4)),
        (V4, "http://0x7f.0.0.1/cb", Some(V4)),
        (V4, "http://0X7F000001/cb", Some(V4)),
        (V4, "http://017700000001/cb", Some(V4)),
        (V4, "http://１２７.0.0.1/cb", Some(V4)),
        (V4, "http://127。0。0。1/cb", Some(V4)),
        (V4, "http://127.0.0.1:80/cb", Some(V4)),
        (V4, "http://0127.0.0.1/cb", None),
        (V4, "http://127.0.0.2/cb", None),
        (V4, "http://127.0.0.256/cb", None),
        (V4, "http://4294967296/cb", None),
        (V4, "http://127.0.0.1.1/cb", None),
        (V4, "http://127.0.0.1../cb", None),
        (V4, "http://127.0.0.%31/cb", None),
        (V4, "http://127.0.0.1.evil.example/cb", None),
        (V4, "http://[::ffff:127.0.0.1]/cb", None),
        (V4, "http://localhost/cb", None),
        (V6, "http://[::1]:8080/cb", Some(V6)),
        (V6, "http://[0:0:0:0:0:0:0:1]:8080/cb", Some(V6)),
        (V6, "http://[0000::0001]:8080/cb", Some(V6)),
        (V6, "http://[::0.0.0.1]:8080/cb", Some(V6)),
        (V6, "http://[::1]/cb", None),
        (V6, "http://[::1%25lo]:8080/cb", None),
        (V6, "http://[::1%lo]:8080/cb", None),
        (V6, "http://[::1%]:8080/cb", None),
        (V6, "http://[::127.0.0.1]:8080/cb", None),
        (V6, "http://[::ffff:0:1]:8080/cb", None),
        (V6, "http://[:::1]:8080/cb", None),
        (V6, "http://[::1]8080/cb", None),
        (V6, "http://::1:8080/cb", None),
        (V6, "http://[::1].evil.example:8080/cb", None),
    ]);
    accepted(&[
        (Staging, "http://[::ffff:127.0.0.1]/cb", "http://[::ffff:7f00:1]/cb"),
        (Production, "https://[2001:DB8:0:0:0:0:0:1]:443/cb", "https://[2001:db8::1]/cb"),
        (Production, "https://0300.0.2.1/cb", "https://192.0.2.1/cb"),
        (Production, "https://3221225985/cb", "https://192.0.2.1/cb"),
        (Production, "https://BÜCHER.example.:443", "https://xn--bcher-kva.example/"),
    ]);
}

#[test]
fn s21_what_two_parsers_may_read_differently_is_not_registered() {
    let long_label = format!("https://{}.example.com/cb", "a".repeat(64));
    let long_name = format!("https://{}example.com/cb", "a.".repeat(122));
    let long_path = format!("https://app.example.com/{}", "a".repeat(2025));
    refused(&[
        (Staging, " https://app.example.com/cb", Rule::NotAUrl),
        (Staging, "https://app.example.com/cb\n", Rule::NotAUrl),
        (Staging, "https://app.exa\tmple.com/cb", Rule::NotAUrl),
        (Staging, "https://app.example.com/c\rb", Rule::NotAUrl),
        (Staging, "https://app.example.com\\cb", Rule::NotAUrl),
        (Staging, "https:\\\\app.example.com/cb", Rule::NotAUrl),
        (Staging, "https://app.example.com\u{3000}/cb", Rule::NotAUrl),
        (Staging, "https://app.example.com／cb", Rule::NotAUrl),
        (Staging, "https://app.example.com%00/cb", Rule::NotAUrl),
        (Staging, "https://app.example.com%2f/cb", Rule::NotAUrl),
        (Staging, "https://app.example.com%/cb", Rule::NotAUrl),
        (Staging, "https://[fe80::1%25eth0]/cb", Rule::NotAUrl),
        (Staging, "https://[::1/cb", Rule::NotAUrl),
        (Staging, "https://192.0.2.256/cb", Rule::NotAUrl),
        (Staging, "https://192.0.2.1.5/cb", Rule::NotAUrl),
        (Staging, "https://xn--a/cb", Rule::NotAUrl),
        (Staging, "https://app%2eexample.com/cb", Rule::HostName),
        (Staging, "https://%61pp.example.com/cb", Rule::HostName),
        (Staging, "https://b%C3%BCcher.example/cb", Rule::HostName),
        (Staging, "https://app..example.com/cb", Rule::HostName),
        (Staging, "https://.example.com/cb", Rule::HostName),
        (Staging, "https://app.example.com../cb", Rule::HostName),
        (Staging, "https://./cb", Rule::HostName),
        (Staging, "https://app,example.com/cb", Rule::HostName),
        (Staging, "https://app.example.com;/cb", Rule::HostName),
        (Staging, "https://app&example.com/cb", Rule::HostName),
        (Staging, "https://$host.example.com/cb", Rule::HostName),
        (Staging, "https://{host}.example.com/cb", Rule::HostName),
        (Staging, "https://app'.example.com/cb", Rule::HostName),
        (Staging, &long_label, Rule::HostName),
        (Staging, &long_name, Rule::HostName),
        (Staging, &long_path, Rule::TooLong),
        (Staging, "https://app.example.com/a/../cb", Rule::NotCanonical),
        (Staging, "https://app.example.com/./cb", Rule::NotCanonical),
        (Staging, "https://app.example.com/%2e%2E/cb", Rule::NotCanonical),
        (Staging, "https://app.example.com/ü", Rule::NotCanonical),
        (Staging, "https://app.example.com/cb?ü", Rule::NotCanonical),
        (Staging, "https://app.example.com/\"cb\"", Rule::NotCanonical),
        (Staging, "https://app.example.com/<cb>", Rule::NotCanonical),
        (Staging, "https://app.example.com/{cb}", Rule::NotCanonical),
        (Staging, "https://app.example.com/a|b", Rule::NotCanonical),
        (Staging, "https://app.example.com/[cb]", Rule::NotCanonical),
        (Staging, "https://app.example.com/a^b", Rule::NotCanonical),
        (Staging, "https://app.example.com/cb?a`b", Rule::NotCanonical),
        (Staging, "https://app.example.com/cb?a[]=1", Rule::NotCanonical),
        (Staging, "https://app.example.com/cb?{}", Rule::NotCanonical),
        (Staging, "https://app.example.com/cb?it's", Rule::NotCanonical),
        (Staging, "https://app.example.com/100%", Rule::NotCanonical),
        (Staging, "https://app.example.com/%zz", Rule::NotCanonical),
        (Staging, "https://app.example.com/cb?%a", Rule::NotCanonical),
    ]);
    let longest = format!("https://app.example.com/{}", "a".repeat(2024));
    assert_eq!((longest.len(), broken(Production, &longest)), (2048, Ok(())));
    assert_eq!(broken(Production, &long_name.replacen("a.", "", 1)), Ok(()));
    assert_eq!(broken(Production, "https://app.example.com/-._~!$&'()+,;=:@/%C3%BC?-._~!$&()+,;=:@/?%27"), Ok(()));
}

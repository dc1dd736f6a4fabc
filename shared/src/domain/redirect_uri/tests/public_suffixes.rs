//! The whole list, rule by rule. The fixture is the text from which the crate's tables are made.

use std::collections::HashSet;

use super::*;

const LIST: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/public_suffix_list.dat"));
const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));

fn rules() -> impl Iterator<Item = &'static str> {
    LIST.lines().filter(|line| !line.is_empty() && !line.starts_with("//"))
}

/// What the registration of a single URI breaks; a missing default is not counted.
fn fault(environment: Environment, uri: &str) -> Option<Rule> {
    let faults = RedirectUris::register(environment, &[(uri.to_owned(), false)]).unwrap_err();
    faults.into_iter().find(|(entry, _)| entry.is_some()).map(|(_, rule)| rule)
}

/// The name as a person writes it, and as the DNS has it.
fn spellings(name: &str) -> HashSet<String> {
    let url = Url::parse(&format!("https://{name}/")).unwrap();
    HashSet::from([name.to_owned(), url.domain().unwrap().to_owned()])
}

/// `Some` rule for every wildcard under the name, in both environments and spellings.
#[track_caller]
fn every_wildcard_under(name: &str, expected: Option<Rule>) {
    for name in spellings(name) {
        for uri in [format!("https://*.{name}/cb"), format!("https://pr-*-x.{name}/cb")] {
            for environment in [Production, Staging] {
                assert_eq!(fault(environment, &uri), expected, "{environment:?} {uri}");
            }
        }
    }
}

#[test]
fn s20_no_wildcard_on_any_public_suffix_of_the_whole_list() {
    let list: HashSet<&str> = rules().collect();
    let (mut plain, mut wildcards, mut exceptions) = (0, 0, 0);
    for rule in rules() {
        if let Some(exception) = rule.strip_prefix('!') {
            exceptions += 1;
            every_wildcard_under(exception, None);
            every_wildcard_under(&format!("registered.{exception}"), None);
        } else if let Some(parent) = rule.strip_prefix("*.") {
            wildcards += 1;
            // What stands in the place of the list's wildcard is a suffix, so neither it nor what is below may be a wildcard.
            every_wildcard_under(parent, Some(Rule::PublicSuffix));
            every_wildcard_under(&format!("somewhere.{parent}"), Some(Rule::PublicSuffix));
            every_wildcard_under(&format!("registered.somewhere.{parent}"), None);
        } else {
            plain += 1;
            every_wildcard_under(rule, Some(Rule::PublicSuffix));
            // Under `*.<rule>` of the same list one label more is still a suffix.
            let deeper = list.contains(format!("*.{rule}").as_str());
            every_wildcard_under(&format!("registered.{rule}"), deeper.then_some(Rule::PublicSuffix));
        }
    }
    assert!(plain > 9_000 && wildcards > 250 && exceptions >= 8, "the list is not whole: {plain} {wildcards} {exceptions}");
    eprintln!("{} rules: {plain} plain, {wildcards} with a wildcard, {exceptions} exceptions", plain + wildcards + exceptions);
}

#[test]
fn s20_both_sections_count() {
    refused(&[
        (Production, "https://*.com/cb", Rule::PublicSuffix),
        (Production, "https://*.co.uk/cb", Rule::PublicSuffix),
        (Production, "https://*.xn--55qx5d.cn/cb", Rule::PublicSuffix),
        (Production, "https://*.公司.cn/cb", Rule::PublicSuffix),
        (Production, "https://*.公司。cn/cb", Rule::PublicSuffix),
        (Production, "https://*.ngrok-free.app/cb", Rule::PublicSuffix),
        (Production, "https://*.NGROK-free.app./cb", Rule::PublicSuffix),
        (Production, "https://pr-*.github.io/cb", Rule::PublicSuffix),
        (Production, "https://pr-*-web.vercel.app:8443/cb", Rule::PublicSuffix),
        (Production, "https://*.s3.amazonaws.com/cb", Rule::PublicSuffix),
        (Production, "https://*.co.uk./cb", Rule::PublicSuffix),
        (Staging, "http://*.co.uk/cb", Rule::PublicSuffix),
        // The list's own wildcards: what stands for them is a suffix …
        (Production, "https://*.ck/cb", Rule::PublicSuffix),
        (Production, "https://*.anything.ck/cb", Rule::PublicSuffix),
        (Production, "https://*.kobe.jp/cb", Rule::PublicSuffix),
        (Production, "https://cit*.kobe.jp/cb", Rule::PublicSuffix),
        (Production, "https://*.chuo.kobe.jp/cb", Rule::PublicSuffix),
        (Production, "https://*.compute.amazonaws.com/cb", Rule::PublicSuffix),
        (Production, "https://ec2-*.compute.amazonaws.com/cb", Rule::PublicSuffix),
        (Production, "https://*.us-west-2.compute.amazonaws.com/cb", Rule::PublicSuffix),
        // … and a name that is on no list has its last label for one.
        (Production, "https://*.intranet/cb", Rule::PublicSuffix),
        (Production, "https://*.localhost/cb", Rule::PublicSuffix),
    ]);
    for uri in [
        "https://*.example.com/cb",
        "https://*.example.co.uk/cb",
        "https://*.acme.ngrok-free.app/cb",
        "https://*.acme.github.io/cb",
        "https://*.食狮.公司.cn/cb",
        "https://*.www.ck/cb",
        "https://*.example.anything.ck/cb",
        "https://*.city.kobe.jp/cb",
        "https://*.example.chuo.kobe.jp/cb",
        "https://*.ec2-192-0-2-1.us-west-2.compute.amazonaws.com/cb",
        "https://*.corp.intranet/cb",
    ] {
        assert_eq!(broken(Production, uri), Ok(()), "{uri}");
    }
}

#[test]
fn s20_the_fixture_is_the_list_of_the_crate() {
    let version = LIST.lines().find_map(|line| line.strip_prefix("// psl ")).unwrap();
    let locked = format!("name = \"psl\"\nversion = \"{version}\"\n");
    assert!(LOCK.contains(&locked), "psl is locked to another release than {version}: tests/suffixes --update");
}

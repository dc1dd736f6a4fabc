//! The Public Suffix List (<https://publicsuffix.org/list/>), both sections: the ICANN one (`co.uk`) and the private one
//! (`ngrok-free.app`). It is data under the Mozilla Public License 2.0 (<https://mozilla.org/MPL/2.0/>).
//!
//! The crate `psl` has the same list as 0.75 MB of code, in every function; it is what the tests compare with.
//! `public_suffixes.txt` has its rules in the form of the DNS and in the order of bytes. `tests/suffixes` tells whether it is the newest.

const RULES: &str = include_str!("public_suffixes.txt");

/// Whether nothing but strangers' names is under this one (publicsuffix.org, algorithm). The name is canonical: lower case, in the
/// form of the DNS, without a dot at its end.
pub(super) fn is_public_suffix(name: &str) -> bool {
    // A name that is on neither section of the list has its last label as suffix (step 2).
    let Some((_, parent)) = name.split_once('.') else { return true };
    is_rule(name) || (is_rule(&format!("*.{parent}")) && !is_rule(&format!("!{name}")))
}

/// Looks in the middle of what is left, as often as that is needed.
fn is_rule(rule: &str) -> bool {
    let (rules, rule) = (RULES.as_bytes(), rule.as_bytes());
    let (mut low, mut high) = (0, rules.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = rules[low..middle].iter().rposition(|byte| *byte == b'\n').map_or(low, |at| low + at + 1);
        let end = rules[middle..high].iter().position(|byte| *byte == b'\n').map_or(high, |at| middle + at);
        match rules[start..end].cmp(rule) {
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use std::collections::BTreeSet;

    use url::Url;

    use super::*;

    const LIST: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/public_suffix_list.dat"));

    /// A rule in the form of the DNS.
    fn canonical(rule: &str) -> String {
        let sign = rule.find(|c| c != '!' && c != '*' && c != '.').unwrap();
        let (sign, name) = rule.split_at(sign);
        format!("{sign}{}", Url::parse(&format!("https://{name}/")).unwrap().domain().unwrap())
    }

    #[test]
    fn s20_the_rules_are_the_whole_list_in_the_order_of_bytes() {
        let whole: BTreeSet<_> = LIST.lines().filter(|line| !line.is_empty() && !line.starts_with("//")).map(canonical).collect();
        let expected = whole.iter().fold(String::new(), |text, rule| text + rule + "\n");
        assert!(RULES == expected, "public_suffixes.txt is not what follows from the fixture");
    }

    #[test]
    fn s20_the_crate_of_the_list_says_the_same_of_every_name_around_every_rule() {
        let mut names = 0;
        for rule in RULES.lines() {
            let name = rule.trim_start_matches(['!', '*', '.']);
            for name in [name.to_owned(), format!("a.{name}"), format!("a.b.{name}"), name.split_once('.').map_or("a", |n| n.1).to_owned()]
            {
                let (ours, theirs) = (is_public_suffix(&name), psl::suffix_str(&name).is_none_or(|suffix| suffix == name));
                // The crate overlooks `*.r.cloud.int.apple` for `ap-north-1.r.cloud.int.apple`, because a longer rule ends like that.
                let overlooked = ours && !theirs && RULES.lines().any(|longer| longer.ends_with(&format!(".{name}")));
                assert!(ours == theirs || overlooked, "{name}: {ours} and {theirs}");
                names += 1;
            }
        }
        assert!(names > 40_000, "{names}");
    }
}

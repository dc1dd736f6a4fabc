//! Searching bytes for many secrets at once, in every form in which one is likely to be written.
//!
//! Of each secret the first 16 bytes are looked for: raw, as hexadecimal in both cases, and as base64 and base64url at each of the
//! three places that a byte can have in a group of base64. Whatever holds the whole secret in one of these forms holds that, too.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// What is looked for of a secret.
pub const HEAD: usize = 16;
/// A secret that is shorter than this would be found by accident.
pub const SHORTEST: usize = 12;
/// The beginning of a pattern, by which it is looked up.
const WINDOW: usize = 8;
/// The filter before the look-up has two to the power of this many bits.
const FILTER_BITS: u32 = 18;

/// How a secret was written where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// As it is.
    Raw,
    /// Hexadecimal, lower case.
    HexLower,
    /// Hexadecimal, upper case.
    HexUpper,
    /// Base64.
    Base64,
    /// Base64url.
    Base64Url,
}

/// A place where a secret begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Which secret, by the order of [`Index::add`].
    pub secret: usize,
    /// How it is written.
    pub form: Form,
    /// Where.
    pub at: usize,
}

struct Pattern {
    secret: usize,
    form: Form,
    bytes: Vec<u8>,
}

/// Secrets that are looked for.
pub struct Index {
    patterns: Vec<Pattern>,
    by_window: HashMap<u64, Vec<usize>>,
    filter: Vec<u64>,
    secrets: usize,
}

impl Index {
    /// Of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { patterns: Vec::new(), by_window: HashMap::new(), filter: vec![0; 1 << (FILTER_BITS - 6)], secrets: 0 }
    }

    /// Adds a secret of at least [`SHORTEST`] bytes: its number.
    pub fn add(&mut self, secret: &[u8]) -> usize {
        let number = self.secrets;
        self.secrets += 1;
        for (form, bytes) in forms(&secret[..secret.len().min(HEAD)]) {
            let window = window(&bytes);
            let bit = filter_bit(window);
            self.filter[bit / 64] |= 1 << (bit % 64);
            self.by_window.entry(window).or_default().push(self.patterns.len());
            self.patterns.push(Pattern { secret: number, form, bytes });
        }
        number
    }

    /// Every secret in these bytes.
    #[must_use]
    pub fn search(&self, bytes: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        let Some((first, rest)) = bytes.split_first_chunk::<WINDOW>() else { return found };
        let mut window = u64::from_be_bytes(*first);
        let mut at = 0;
        loop {
            let bit = filter_bit(window);
            if self.filter[bit / 64] & (1 << (bit % 64)) != 0 {
                let candidates = self.by_window.get(&window).into_iter().flatten().map(|candidate| &self.patterns[*candidate]);
                let here = candidates.filter(|pattern| bytes[at..].starts_with(&pattern.bytes));
                found.extend(here.map(|pattern| Found { secret: pattern.secret, form: pattern.form, at }));
            }
            let Some(next) = rest.get(at) else { return found };
            window = (window << 8) | u64::from(*next);
            at += 1;
        }
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

fn window(bytes: &[u8]) -> u64 {
    bytes.first_chunk::<WINDOW>().map_or(0, |window| u64::from_be_bytes(*window))
}

/// Fibonacci hashing: the upper bits of a product are well mixed.
fn filter_bit(window: u64) -> usize {
    usize::try_from(window.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_BITS)).unwrap_or_default()
}

/// The forms of the head of a secret.
fn forms(head: &[u8]) -> Vec<(Form, Vec<u8>)> {
    let hex = |digits: &[u8; 16]| head.iter().flat_map(|byte| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]).collect();
    let mut forms =
        vec![(Form::Raw, head.to_vec()), (Form::HexLower, hex(b"0123456789abcdef")), (Form::HexUpper, hex(b"0123456789ABCDEF"))];
    for before in 0..3 {
        let bytes = [&[0; 2][..before], head].concat();
        // Characters that hold bits of what stands before or after are not the secret's alone.
        let (from, to) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        let [standard, url_safe] = [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)].map(|text| text[from..to].to_owned());
        if standard != url_safe {
            forms.push((Form::Base64Url, url_safe.into_bytes()));
        }
        forms.push((Form::Base64, standard.into_bytes()));
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    const SECRET: &[u8] = b"?>a-secret~with\xff\xfeodd bytes, and long";

    fn forms_in(bytes: &[u8]) -> Vec<Form> {
        let mut index = Index::new();
        index.add(b"another secret altogether");
        assert_eq!(index.add(SECRET), 1);
        let found = index.search(bytes);
        assert!(found.iter().all(|found| found.secret == 1));
        found.into_iter().map(|found| found.form).collect()
    }

    fn around(text: &[u8]) -> Vec<u8> {
        [b"before ", text, b" after"].concat()
    }

    #[test]
    fn a_secret_is_found_in_every_form_whole_or_cut_after_16_bytes() {
        for part in [SECRET, &SECRET[..HEAD]] {
            let hex = part.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
            for (written, form) in [
                (part.to_vec(), Form::Raw),
                (hex.clone().into_bytes(), Form::HexLower),
                (hex.to_uppercase().into_bytes(), Form::HexUpper),
                (STANDARD.encode(part).into_bytes(), Form::Base64),
                (URL_SAFE_NO_PAD.encode(part).into_bytes(), Form::Base64Url),
            ] {
                assert_eq!(forms_in(&around(&written)), [form]);
                assert_eq!(forms_in(&written), [form], "at the very beginning and end");
            }
        }
    }

    #[test]
    fn base64_of_something_that_holds_a_secret_anywhere_holds_it() {
        for before in 0..9 {
            let message = [&b"123456789"[..before], SECRET, b"xyz"].concat();
            assert_eq!(forms_in(STANDARD.encode(&message).as_bytes()), [Form::Base64], "{before}");
            assert_eq!(forms_in(URL_SAFE_NO_PAD.encode(&message).as_bytes()), [Form::Base64Url], "{before}");
        }
    }

    #[test]
    fn fifteen_bytes_of_it_are_not_it() {
        assert_eq!(forms_in(&around(&SECRET[..HEAD - 1])), []);
        assert_eq!(forms_in(b"short"), []);
    }
}

//! The keys that seal flows and cursors: the first seals, all open, so that keys are rotated without breaking a sign-in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::document;
use super::faults::Faults;
use super::node::{Node, Read};
use crate::aead::MasterKey;

/// Keys by key id, the sealing one first.
pub struct KeyRing {
    first: (String, MasterKey),
    others: Vec<(String, MasterKey)>,
}

impl KeyRing {
    /// The key that seals, with its id.
    #[must_use]
    pub fn sealing(&self) -> (&str, &MasterKey) {
        (&self.first.0, &self.first.1)
    }

    /// The key with this id.
    #[must_use]
    pub fn key(&self, kid: &str) -> Option<&MasterKey> {
        std::iter::once(&self.first).chain(&self.others).find(|(id, _)| id == kid).map(|(_, key)| key)
    }
}

/// Whether a text can be a key id: 1–32 characters of `[A-Za-z0-9_-]`.
pub(super) fn is_kid(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Reads the state keys, or says everything that is wrong with them, never what they are.
pub fn parse_state_keys(text: &str) -> Result<KeyRing, Faults> {
    document::read(text, |root| read(root).ok())
}

fn read(root: &Node<'_>) -> Read<KeyRing> {
    let object = root.object()?;
    let keys = object.must("keys", keys);
    object.done_all();
    keys
}

fn keys(node: &Node<'_>) -> Read<KeyRing> {
    let items = node.items()?;
    let mut seen = Vec::new();
    let keys: Vec<_> = items.iter().map(|item| key(item, &mut seen)).collect();
    let mut keys = keys.into_iter().collect::<Read<Vec<_>>>()?.into_iter();
    let first = keys.next().ok_or_else(|| node.fault("needs at least one key"))?;
    Ok(KeyRing { first, others: keys.collect() })
}

fn key(node: &Node<'_>, seen: &mut Vec<String>) -> Read<(String, MasterKey)> {
    let object = node.object()?;
    let kid = object.must("kid", |node| match node.any_text()? {
        kid if !is_kid(kid) => Err(node.fault("must be 1 to 32 characters of [A-Za-z0-9_-]")),
        kid if seen.iter().any(|other| other == kid) => Err(node.fault("is the kid of an earlier key")),
        kid => {
            seen.push(kid.to_owned());
            Ok(kid.to_owned())
        }
    });
    let key = object.must("key", |node| {
        decode_key(node.any_text()?)
            .and_then(|bytes| MasterKey::from_slice(&bytes))
            .ok_or_else(|| node.fault("must be 32 bytes in base64url"))
    });
    object.done_all();
    Ok((kid?, key?))
}

/// Key material in base64url, with or without padding: tools differ in this, and nothing depends on it here.
pub(super) fn decode_key(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok().map(Zeroizing::new)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_seals_and_all_are_found() {
        let (a, b) = (URL_SAFE_NO_PAD.encode([1; 32]), URL_SAFE_NO_PAD.encode([2; 32]));
        let ring = parse_state_keys(&format!(r#"{{"keys": [{{"kid": "b", "key": "{b}"}}, {{"kid": "a", "key": "{a}="}}]}}"#)).unwrap();
        assert_eq!(ring.sealing().0, "b");
        assert!(ring.key("a").is_some() && ring.key("b").is_some() && ring.key("c").is_none());
    }

    #[test]
    fn s71_faults_name_places_and_never_values() {
        let key = URL_SAFE_NO_PAD.encode([9; 32]);
        let short = URL_SAFE_NO_PAD.encode([9; 31]);
        let text = format!(
            r#"{{"keys": [{{"kid": "a", "key": "{key}"}}, {{"kid": "a", "key": "{short}"}}, {{"kid": "a b", "secret": "{key}"}}, 7], "more": 1}}"#
        );
        let faults = parse_state_keys(&text).map(|_| ()).unwrap_err();
        assert_eq!(
            faults.to_string().lines().collect::<Vec<_>>(),
            [
                "keys[1].kid: is the kid of an earlier key",
                "keys[1].key: must be 32 bytes in base64url",
                "keys[2].kid: must be 1 to 32 characters of [A-Za-z0-9_-]",
                "keys[2].key: is required",
                "keys[2].secret: unknown field",
                "keys[3]: must be an object",
                "more: unknown field",
            ]
        );
        assert!(!format!("{faults:?}").contains(&short));
        for (text, expected) in [
            (r#"{"keys": []}"#, "keys: needs at least one key"),
            ("{}", "keys: is required"),
            ("[]", "$: must be an object"),
            ("", "$: must be JSON, and is not at line 1 column 0"),
            (r#"{"keys": []} {}"#, "$: must be JSON, and is not at line 1 column 14"),
        ] {
            assert_eq!(parse_state_keys(text).map(|_| ()).unwrap_err().one_line(), expected);
        }
    }
}

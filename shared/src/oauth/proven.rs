//! Signatures that held under a key, so that whoever presents the same bearer token again and again has it computed once.
//!
//! A signature that a key made once, it made for good. So a digest of the whole token is kept, with the key and for as long as the
//! key: [`Jwks`](super::jwks::Jwks) drops both within ten minutes. Whether the key still counts, and all that the token says, its
//! end above all, is judged anew each time.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{Context, Digest, SHA256};

/// How many tokens are remembered for each key: some more than the callers that a sandbox has in ten minutes, and 16 KiB.
const KEPT: usize = 256;

/// The tokens that a key has signed, by their digests.
#[derive(Default)]
pub(super) struct Proven(Mutex<VecDeque<Digest>>);

impl Proven {
    /// Whether the signature holds, by what is remembered or else by this computation.
    pub(super) fn or_by(&self, signed: &str, signature: &str, holds: impl FnOnce() -> bool) -> bool {
        let digest = digest(signed, signature);
        if self.tokens().iter().any(|known| known.as_ref() == digest.as_ref()) {
            return true;
        }
        let holds = holds();
        if holds {
            let mut tokens = self.tokens();
            tokens.truncate(KEPT - 1);
            tokens.push_front(digest);
        }
        holds
    }

    fn tokens(&self) -> MutexGuard<'_, VecDeque<Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of the token as it was sent: what reads the same is the same token.
fn digest(signed: &str, signature: &str) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(signed.as_bytes());
    context.update(b".");
    context.update(signature.as_bytes());
    context.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_that_held_is_remembered() {
        let proven = Proven::default();
        assert!(!proven.or_by("a.b", "c", || false), "what does not hold is not remembered");
        assert!(proven.or_by("a.b", "c", || true));
        assert!(proven.or_by("a.b", "c", || false), "remembered");
        for (signed, signature) in [("a.b", "d"), ("a.c", "c"), ("a.b.c", ""), ("", "a.b.c")] {
            assert!(!proven.or_by(signed, signature, || false), "{signed} {signature}");
        }
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let proven = Proven::default();
        for number in 0..=KEPT {
            assert!(proven.or_by(&number.to_string(), "", || true));
        }
        assert_eq!(proven.tokens().len(), KEPT);
        assert!(!proven.or_by("0", "", || false), "the oldest went");
        assert!(proven.or_by("1", "", || false));
    }
}

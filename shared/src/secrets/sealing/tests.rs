#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::HashSet;

use time::Duration;
use url::Url;

use super::*;
use crate::domain::caller::Person;
use crate::domain::flow::ReturnTo;
use crate::domain::scopes::Scopes;
use crate::secrets::fakes::{Dice, HandClock, NoDice, Vault};

/// State keys with the kids of `kids`; the key of a kid is its first byte, 32 times.
fn keys(kids: &[&str]) -> String {
    let key = |kid: &&str| format!(r#"{{"kid": "{kid}", "key": "{}"}}"#, URL_SAFE_NO_PAD.encode([kid.as_bytes()[0]; 32]));
    format!(r#"{{"keys": [{}]}}"#, kids.iter().map(key).collect::<Vec<_>>().join(", "))
}

fn state_keys(kids: &[&str]) -> StateKeys {
    StateKeys::fixed(&keys(kids), Arc::new(Dice)).unwrap()
}

fn flow() -> Flow {
    Flow {
        id: FlowId::try_from("x".repeat(43)).unwrap(),
        organization: OrganizationId::try_from("org_01H945H0YD4F97JN9MATX7BYAG").unwrap(),
        initiator: Person { issuer: "https://signin.example.com/".to_owned(), subject: "user_01E4ZCR3C56J083X43JQXF3JK5".to_owned() },
        initiator_email: Some("operations@example.com".to_owned()),
        connection: "conn_01E4ZCR3C56J083X43JQXF3JK5".try_into().unwrap(),
        return_to: None,
        scopes: Scopes::parse("openid email offline_access sites:read sites:write").unwrap(),
        reauthorize: None,
        expires_at: 1_795_000_000,
    }
}

fn completion(flow: Flow) -> Completion {
    Completion { flow, provider_code: Secret::new("SplxlOBeZQQYbYS6WxSbIA".to_owned()), expires_at: 1_795_000_300 }
}

#[tokio::test]
async fn a_state_opens_as_it_was_sealed_with_the_same_secrets() {
    let sealer = state_keys(&["a"]);
    let (state, secrets) = sealer.seal_state(&flow()).await.unwrap();
    let (opened, again) = sealer.open_state(&state).await.unwrap().unwrap();
    assert_eq!(format!("{opened:?}"), format!("{:?}", flow()));
    assert_eq!(secrets.code_verifier.expose(), again.code_verifier.expose());
    assert_eq!(secrets.nonce.expose(), again.nonce.expose());
}

#[tokio::test]
async fn s05_the_verifier_has_256_bits_and_is_nowhere_in_the_state() {
    let sealer = state_keys(&["a"]);
    let (state, secrets) = sealer.seal_state(&flow()).await.unwrap();
    let verifier = secrets.code_verifier.expose();
    assert_eq!((verifier.len(), secrets.nonce.expose().len()), (43, 43));
    assert!(verifier.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    assert_ne!(verifier, secrets.nonce.expose());
    assert!(!state.contains(verifier));
    let other = Flow { id: FlowId::try_from("y".repeat(43)).unwrap(), ..flow() };
    assert_ne!(verifier, sealer.seal_state(&other).await.unwrap().1.code_verifier.expose());
}

#[tokio::test]
async fn s02_no_two_states_are_alike() {
    let sealer = state_keys(&["a"]);
    let flow = flow();
    let mut seen = HashSet::new();
    for _ in 0..100_000 {
        assert!(seen.insert(sealer.seal_state(&flow).await.unwrap().0));
    }
}

#[tokio::test]
async fn s02_without_randomness_there_is_no_state() {
    let sealer = StateKeys::fixed(&keys(&["a"]), Arc::new(NoDice)).unwrap();
    assert!(sealer.seal_state(&flow()).await.is_err());
    let state = state_keys(&["a"]).seal_state(&flow()).await.unwrap().0;
    assert!(sealer.seal_code(&state, &completion(flow())).await.is_err());
    assert!(sealer.seal_cursor(&flow().organization, "p").await.is_err());
    assert!(sealer.open_state(&state).await.unwrap().is_some(), "opening needs none");
}

#[tokio::test]
async fn s03_every_flipped_bit_of_a_state_is_refused() {
    let sealer = state_keys(&["a", "q"]);
    let (state, _) = sealer.seal_state(&flow()).await.unwrap();
    let code = sealer.seal_code(&state, &completion(flow())).await.unwrap();
    for at in 0..state.len().max(code.len()) {
        for bit in 0..8 {
            if let Some(altered) = flipped(&state, at, bit) {
                assert!(sealer.open_state(&altered).await.unwrap().is_none(), "byte {at} bit {bit}");
            }
            if let Some(altered) = flipped(&code, at, bit) {
                assert!(sealer.open_code(&altered).await.unwrap().is_none(), "byte {at} bit {bit}");
            }
        }
    }
}

/// The text with a bit flipped, where that is text at all.
fn flipped(text: &str, at: usize, bit: u8) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    *bytes.get_mut(at)? ^= 1 << bit;
    String::from_utf8(bytes).ok()
}

#[tokio::test]
async fn s03_other_spellings_of_a_state_are_refused() {
    let sealer = state_keys(&["a"]);
    // Three lengths in a row, so that every number of unused bits at the end occurs.
    for extra in 0..3 {
        let connection = "c".repeat(10 + extra).try_into().unwrap();
        let (state, _) = sealer.seal_state(&Flow { connection, ..flow() }).await.unwrap();
        let (kid, body) = state.split_once('.').unwrap();
        let spellings = [format!("{state}="), format!("{state}=="), format!("{state}A"), format!(" {state}"), format!("{state}\n")];
        for altered in spellings.into_iter().chain([format!("{kid}..{body}"), body.to_owned(), format!(".{body}"), String::new()]) {
            assert!(sealer.open_state(&altered).await.unwrap().is_none(), "{altered}");
        }
        for last in '!'..='~' {
            let altered = format!("{}{last}", &state[..state.len() - 1]);
            assert_eq!(sealer.open_state(&altered).await.unwrap().is_some(), altered == state, "{altered}");
        }
        for at in 0..state.len() {
            assert!(sealer.open_state(&state[..at]).await.unwrap().is_none());
        }
    }
    assert!(sealer.open_state(&format!("a.{}", "A".repeat(9000))).await.unwrap().is_none());
}

#[tokio::test]
async fn s03_a_state_of_another_key_is_refused() {
    let (state, _) = state_keys(&["a"]).seal_state(&flow()).await.unwrap();
    assert!(state_keys(&["b"]).open_state(&state).await.unwrap().is_none());
    // The same key under another id, and another key under the same id.
    let renamed = state.replacen("a.", "aa.", 1);
    assert!(state_keys(&["aa"]).open_state(&renamed).await.unwrap().is_none());
    let imposter = keys(&["b"]).replace(r#""kid": "b""#, r#""kid": "a""#);
    assert!(StateKeys::fixed(&imposter, Arc::new(Dice)).unwrap().open_state(&state).await.unwrap().is_none());
}

#[tokio::test]
async fn s03_states_codes_and_cursors_do_not_pass_for_one_another() {
    let sealer = state_keys(&["a"]);
    let organization = flow().organization;
    let (state, _) = sealer.seal_state(&flow()).await.unwrap();
    let code = sealer.seal_code(&state, &completion(flow())).await.unwrap();
    let cursor = sealer.seal_cursor(&organization, "position").await.unwrap();
    for text in [&code, &cursor] {
        assert!(sealer.open_state(text).await.unwrap().is_none());
    }
    for text in [&state, &cursor] {
        assert!(sealer.open_code(text).await.unwrap().is_none());
    }
    for text in [&state, &code] {
        assert!(sealer.open_cursor(&organization, text).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_completion_code_carries_the_flow_and_the_providers_code() {
    let sealer = state_keys(&["a"]);
    let (state, secrets) = sealer.seal_state(&flow()).await.unwrap();
    let code = sealer.seal_code(&state, &completion(flow())).await.unwrap();
    assert!(!code.contains("SplxlOBeZQQYbYS6WxSbIA"));
    let (opened, again) = sealer.open_code(&code).await.unwrap().unwrap();
    assert_eq!((opened.flow.id, opened.expires_at), (flow().id, 1_795_000_300));
    assert_eq!(opened.provider_code.expose(), "SplxlOBeZQQYbYS6WxSbIA");
    assert_eq!(again.code_verifier.expose(), secrets.code_verifier.expose());
    assert!(sealer.seal_code("nonsense", &completion(flow())).await.is_err());
    assert!(sealer.seal_code("b.AAAA", &completion(flow())).await.is_err());
}

#[tokio::test]
async fn what_is_sealed_may_be_as_long_as_its_kind_and_no_longer() {
    let sealer = state_keys(&["a"]);
    let organization = OrganizationId::try_from("org_1").unwrap();
    let (state, _) = sealer.seal_state(&flow()).await.unwrap();
    for (length, fits) in [(3000, true), (3100, false)] {
        let result = sealer.seal_cursor(&organization, &"p".repeat(length)).await;
        assert_eq!(result.is_ok(), fits, "a cursor around {length} bytes");
    }
    for (length, fits) in [(7000, true), (9500, false)] {
        let completion = Completion { provider_code: Secret::new("c".repeat(length)), ..completion(flow()) };
        let result = sealer.seal_code(&state, &completion).await;
        assert_eq!(result.is_ok(), fits, "a completion code around {length} bytes");
    }
    for (length, fits) in [(4500, true), (6500, false)] {
        let flow = Flow { return_to: Some(return_to(&"s".repeat(length))), ..flow() };
        assert_eq!(sealer.seal_state(&flow).await.is_ok(), fits, "a state around {length} bytes");
    }
}

#[tokio::test]
async fn s70_a_sign_in_survives_a_rotation() {
    let (state, secrets) = state_keys(&["old"]).seal_state(&flow()).await.unwrap();
    let rotated = state_keys(&["new", "old"]);
    let (_, again) = rotated.open_state(&state).await.unwrap().unwrap();
    assert_eq!(again.code_verifier.expose(), secrets.code_verifier.expose());
    // The code is sealed by the new key, and its secrets are still those of the old.
    let code = rotated.seal_code(&state, &completion(flow())).await.unwrap();
    assert!(code.starts_with("new."));
    let (_, again) = rotated.open_code(&code).await.unwrap().unwrap();
    assert_eq!(again.code_verifier.expose(), secrets.code_verifier.expose());
    assert_eq!(again.nonce.expose(), secrets.nonce.expose());
    assert!(state_keys(&["new"]).open_state(&state).await.unwrap().is_none());
    assert!(state_keys(&["new"]).open_code(&code).await.unwrap().is_none());
}

#[tokio::test]
async fn s70_a_sandbox_that_lags_behind_a_rotation_opens_what_another_sealed() {
    let (vault, clock) = (Vault::holding(&keys(&["old"])), HandClock::new());
    let sandbox = || StateKeys::new(vault.source(&clock), "state-keys".to_owned(), Arc::new(Dice));
    let behind = sandbox();
    let (state, _) = behind.seal_state(&flow()).await.unwrap();
    vault.put(&keys(&["new", "old"]));
    let ahead = sandbox();
    assert!(ahead.open_state(&state).await.unwrap().is_some());
    let (state, _) = ahead.seal_state(&flow()).await.unwrap();
    assert!(state.starts_with("new."));
    assert!(behind.open_state(&state).await.unwrap().is_some());
    assert_eq!(vault.reads(), 3);
    for at in 0..1000 {
        assert!(behind.open_state(&format!("k{at}.AAAA")).await.unwrap().is_none());
    }
    assert_eq!(vault.reads(), 3, "made-up key ids cost no readings");
    clock.advance(Duration::minutes(4));
    assert!(behind.open_state(&state).await.unwrap().is_some());
    assert_eq!(vault.reads(), 3);
}

#[tokio::test]
async fn s63_a_cursor_is_bound_to_its_organization() {
    let sealer = state_keys(&["a"]);
    let mine = flow().organization;
    let theirs = OrganizationId::try_from("org_2").unwrap();
    let cursor = sealer.seal_cursor(&mine, "ORG#1#AUTH#2").await.unwrap();
    assert!(!cursor.contains("ORG"));
    assert_eq!(sealer.open_cursor(&mine, &cursor).await.unwrap().unwrap(), "ORG#1#AUTH#2");
    assert!(sealer.open_cursor(&theirs, &cursor).await.unwrap().is_none());
    for at in 0..cursor.len() {
        for altered in (0..8).filter_map(|bit| flipped(&cursor, at, bit)) {
            assert!(sealer.open_cursor(&mine, &altered).await.unwrap().is_none(), "byte {at}");
        }
    }
}

#[tokio::test]
async fn s13_the_url_stays_short() {
    let sealer = state_keys(&["2026-11"]);
    let ordinary = Flow { return_to: Some(return_to("af0ifjsldkj")), ..flow() };
    let longest = Flow { return_to: Some(return_to(&"s".repeat(1024))), ..flow() };
    let direct = url_length(&sealer, &flow()).await;
    let (ordinary, longest) = (url_length(&sealer, &ordinary).await, url_length(&sealer, &longest).await);
    assert!(direct < ordinary && ordinary <= 1536, "{direct} {ordinary}");
    assert!(longest <= 4096, "{longest}");
}

fn return_to(state: &str) -> ReturnTo {
    ReturnTo {
        redirect_uri: "https://app.example.com/automation/authorizations".to_owned(),
        state: Some(state.to_owned()),
        code_challenge: Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned()),
    }
}

/// The length of a whole authorization URL with this flow's state.
async fn url_length(sealer: &StateKeys, flow: &Flow) -> usize {
    let (state, secrets) = sealer.seal_state(flow).await.unwrap();
    let mut url = Url::parse("https://signin.example.com/oauth2/v1/authorize").unwrap();
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", "client_01HZBC6N1EB1ZY7KG32X")
        .append_pair("redirect_uri", "https://api.example.com/workflows/authorization/callback/conn_01E4ZCR3C56J083X43JQXF3JK5")
        .append_pair("scope", &flow.scopes.to_text())
        .append_pair("state", &state)
        .append_pair("code_challenge", secrets.code_verifier.expose())
        .append_pair("code_challenge_method", "S256")
        .append_pair("nonce", secrets.nonce.expose())
        .append_pair("login_hint", "operations@example.com");
    url.as_str().len()
}

//! Attacks on what callers of the API send.

use futures_util::future::join_all;
use local::demonstration;
use local::sign_in::PEOPLE;
use reqwest::Method;
use serde_json::{Value, json};
use tests::provider::Provider;
use tests::tokens::{self, es256};
use tests::{Expect as _, Setup, World};
use time::Duration;

use tests::arena::{Arena, Mode};

const LIST: &str = "/workflows/authorization";

#[tokio::test]
async fn s63_a_stolen_cursor_shows_the_thief_nothing() {
    let arena = Arena::start().await;
    let (victim, thief) = (&arena.olivia, &arena.mallory);
    for party in [victim, thief] {
        for _ in 0..3 {
            let url = arena.url(party, "conn_honest", Mode::Direct).await;
            party.browser.visit(&url).await.page(200);
            arena.world.pass(Duration::SECOND);
        }
    }
    let cursor_of = |answer: &local::client::Answer| {
        let link = answer.header("link").to_owned();
        link.split("cursor=").nth(1).unwrap().split('>').next().unwrap().to_owned()
    };
    let page = |cursor: &str| format!("{LIST}?limit=1&cursor={cursor}");
    let stolen = cursor_of(&victim.caller.get(&format!("{LIST}?limit=1")).await);
    let (before, (refused, calls)) = (arena.tally().await, arena.calls(thief.caller.get(&page(&stolen))).await);
    let body = refused.refused(400, "cursor_invalid");
    assert_eq!(calls, tests::Calls::default(), "the table is not even asked");
    assert!(!body.to_string().contains("org_demo"));
    // By whatever filter, and as any other thing that this service seals.
    thief.caller.get(&format!("{LIST}?cursor={stolen}&status=active")).await.refused(400, "cursor_invalid");
    thief.caller.complete(json!({ "code": stolen })).await.refused(404, "flow_not_found");
    victim.browser.open(&format!("{}?code=x&state={stolen}", arena.callback("conn_honest"))).await.page(400);
    let state = tests::arena::parameter(&arena.url(thief, "conn_honest", Mode::Direct).await, "state");
    thief.caller.get(&page(&state)).await.refused(400, "cursor_invalid");
    // The organization's own colleague goes on where it points.
    let entry = arena.ben.caller.get(&page(&stolen)).await.is(200)[0].clone();
    assert_eq!(entry["user_id"], "olivia");
    assert_eq!(arena.tally().await, before);
}

#[tokio::test]
async fn s56_an_id_token_is_no_bearer_token_at_any_route_even_where_any_typ_is_taken() {
    let any_type = |directory: &mut Value, _| {
        directory["api_tokens"].as_object_mut().unwrap().remove("token_type");
    };
    let world = World::with(Setup { directory: Some(Box::new(any_type)), ..Setup::default() }).await;
    world.olivia().list().await;
    let header = json!({ "alg": "ES256", "typ": "JWT", "kid": tokens::KEY_ID });
    // The issuer's own id_tokens, as a relying party of the attacker's gets them for everybody who signs in there.
    let id_token = |audience: Value, marks: &[&str]| {
        let mut claims = world.raw_claims(&PEOPLE[0]);
        claims["aud"] = audience;
        for mark in marks {
            claims[*mark] = json!("x");
        }
        es256(&header, &claims)
    };
    let theirs = json!("the-attackers-relying-party");
    let both = json!(["the-attackers-relying-party", demonstration::AUDIENCE]);
    let (calls, stored) = (world.calls(), json!([]));
    for token in [
        id_token(theirs.clone(), &["nonce"]),
        id_token(theirs, &[]),
        id_token(both.clone(), &["nonce"]),
        id_token(both.clone(), &["at_hash"]),
        id_token(both, &["c_hash"]),
        id_token(json!("mandate-demonstration"), &["nonce"]),
    ] {
        let thief = world.bearer(token);
        for (method, path) in every_route() {
            thief.call(method, &path, Some(json!({}))).await.refused(401, "unauthorized");
        }
    }
    assert_eq!(world.calls(), calls, "nothing is looked up for them");
    assert_eq!(world.olivia().list().await, stored);
}

/// Every route that takes a bearer token.
fn every_route() -> Vec<(Method, String)> {
    let one = format!("{LIST}/auth_01jd0000000000000000000000");
    vec![
        (Method::POST, LIST.to_owned()),
        (Method::POST, format!("{LIST}/complete")),
        (Method::GET, LIST.to_owned()),
        (Method::GET, one.clone()),
        (Method::DELETE, one.clone()),
        (Method::PUT, "/workflows/fl_1/authorization".to_owned()),
        (Method::GET, "/workflows/fl_1/authorization".to_owned()),
        (Method::DELETE, "/workflows/fl_1/authorization".to_owned()),
        (Method::POST, format!("{one}/replace")),
        (Method::POST, format!("{one}/token")),
        (Method::POST, format!("{one}/check")),
    ]
}

/// How many tokens with a made-up `kid` come.
const FLOOD: usize = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s52_a_flood_of_made_up_kids_causes_at_most_one_request_for_keys_in_five_minutes() {
    let provider = Provider::start().await;
    let keys = format!("{}/jwks.json", provider.issuer());
    let elsewhere = move |directory: &mut Value, _| directory["api_tokens"]["jwks_uri"] = json!(keys);
    let setup = Setup { directory: Some(Box::new(elsewhere)), clock: Some(provider.clock()), ..Setup::default() };
    let world = World::with(setup).await;
    let olivia = world.olivia();
    olivia.list().await;
    assert_eq!(provider.seen().keys, 1);

    // All that can be read of the tokens is right; only their key does not exist.
    let claims = world.raw_claims(&PEOPLE[0]);
    let flood = async |from: usize, how_many: usize| {
        for batch in (from..from + how_many).step_by(100) {
            let tokens = (batch..(batch + 100).min(from + how_many)).map(|number| {
                let token = es256(&json!({ "alg": "ES256", "typ": "at+jwt", "kid": format!("made-up-{number}") }), &claims);
                invoked(&world, token)
            });
            for status in join_all(tokens).await {
                assert_eq!(status, 401);
            }
        }
    };
    flood(0, FLOOD).await;
    assert_eq!(provider.seen().keys, 2, "one look at whether there are new ones");
    olivia.list().await;
    world.pass(Duration::minutes(5) - Duration::SECOND);
    flood(FLOOD, 100).await;
    assert_eq!(provider.seen().keys, 2);
    world.pass(Duration::SECOND);
    flood(2 * FLOOD, 100).await;
    assert_eq!(provider.seen().keys, 3, "and one more after five minutes");
    olivia.list().await;
    assert_eq!(provider.seen().keys, 3, "whoever is honest never noticed");
}

/// Calls the list function as the gateway would: the status of its answer.
async fn invoked(world: &World, token: String) -> u64 {
    let mut event: Value = serde_json::from_str(include_str!("../../../events/list/all.json")).unwrap();
    event["headers"]["authorization"] = json!(format!("Bearer {token}"));
    world.stack.functions().invoke("list", event).await.unwrap()["statusCode"].as_u64().unwrap()
}

/// A gzip stream (RFC 1952) of `megabytes` of spaces, without their check value: matches of 258 bytes each, in the fixed code of RFC 1951.
fn bomb(megabytes: usize) -> Vec<u8> {
    let mut bits: Vec<bool> = Vec::new();
    // A code's most significant bit comes first, anything else's last (RFC 1951 section 3.1.1).
    let code = |bits: &mut Vec<bool>, value: u32, length: u32| bits.extend((0..length).rev().map(|at| value >> at & 1 == 1));
    bits.extend([true, true, false]);
    code(&mut bits, 0x30 + u32::from(b' '), 8);
    for _ in 0..megabytes * 1024 * 1024 / 258 {
        // Length 258 is the symbol 285, distance 1 the symbol 0.
        code(&mut bits, 0b1100_0000 + (285 - 280), 8);
        code(&mut bits, 0, 5);
    }
    code(&mut bits, 0, 7);
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    bytes.extend(bits.chunks(8).map(|chunk| chunk.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit) << at)));
    bytes.extend([0; 8]);
    bytes
}

#[tokio::test]
async fn a_decompression_bomb_is_never_unpacked() {
    let world = World::start().await;
    let olivia = world.olivia();
    let authorization = olivia.authorization().unwrap();
    let client = BombThrower::new();
    // One that fits the limit as it is, and one that does not.
    let bombs = [(bomb(2), 400, "body_invalid"), (bomb(64), 413, "body_too_large")];
    assert!(bombs[0].0.len() < 16 * 1024 && bombs[1].0.len() > 300 * 1024);
    for (method, path) in every_route().into_iter().filter(|(method, _)| *method == Method::POST || *method == Method::PUT) {
        let before = world.calls();
        for encoding in ["gzip", "x-gzip", "gzip, gzip", "deflate", "br"] {
            for (bomb, status, code) in &bombs {
                let answer = client.send(&world, &method, &path, &authorization, encoding, bomb.clone()).await;
                assert_eq!((answer.0, answer.1["code"].as_str()), (*status, Some(*code)), "{method} {path} {encoding}");
            }
        }
        // Unpacked it would be two megabytes of spaces, which are no more JSON than it is.
        assert_eq!(world.calls(), before);
    }
    assert_eq!(olivia.list().await, json!([]));
}

/// Sends bytes that are no text.
struct BombThrower(reqwest::Client);

impl BombThrower {
    #[expect(clippy::disallowed_methods, reason = "this client plays an attacker, not the service")]
    fn new() -> Self {
        Self(reqwest::Client::builder().no_proxy().build().unwrap())
    }

    async fn send(&self, world: &World, method: &Method, path: &str, authorization: &str, encoding: &str, body: Vec<u8>) -> (u16, Value) {
        let request = self.0.request(method.clone(), format!("{}{path}", world.base())).body(body);
        let headers = [("authorization", authorization), ("content-type", "application/json"), ("content-encoding", encoding)];
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }
}

//! Items of the security checklist that concern sign-in as a whole rather than one route or one attack.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use local::aws::{Call, Fault, Observer, Ruling, Service};
use local::client::Answer;
use local::demonstration;
use local::sign_in::PEOPLE;
use reqwest::Method;
use serde_json::{Value, json};
use shared::domain::flow::{Flow, FlowFailure, FlowOutcome};
use shared::domain::ids::{AuthorizationId, FlowId, RequestId};
use shared::http::error::Code;
use shared::http::page::{Telling, page};
use shared::ports::Unavailable;
use shared::ports::clock::{Entropy, NoRandomness, random};
use shared::ports::flows::FlowSealer as _;
use shared::secrets::StateKeys;
use shared::system::SystemEntropy;
use tests::answers::further_fields;
use tests::arena::{Arena, MODES, Mode, parameter, with};
use tests::faults::{Gate, Rule};
use tests::provider::{Mood, Provider};
use tests::tokens::{self, es256};
use tests::{Caller, Expect as _, Setup, Verifier, World};
use time::Duration;
use url::form_urlencoded;

const LIST: &str = "/workflows/authorization";
const UNKNOWN: &str = "auth_01jd0000000000000000000000";

/// Every route that takes a bearer token, with a body that it takes.
fn routes() -> Vec<(Method, String, Option<Value>)> {
    let one = format!("{LIST}/{UNKNOWN}");
    let workflow = "/workflows/fl_1/authorization".to_owned();
    vec![
        (Method::POST, LIST.to_owned(), Some(json!({}))),
        (Method::POST, format!("{LIST}/complete"), Some(json!({ "code": "x" }))),
        (Method::GET, LIST.to_owned(), None),
        (Method::GET, one.clone(), None),
        (Method::DELETE, one.clone(), None),
        (Method::PUT, workflow.clone(), Some(json!({ "authorization_id": UNKNOWN }))),
        (Method::GET, workflow.clone(), None),
        (Method::DELETE, workflow, None),
        (Method::POST, format!("{one}/replace"), Some(json!({ "authorization_id": UNKNOWN.replace("00000", "00001") }))),
        (Method::POST, format!("{one}/token"), Some(json!({ "workflow_id": "fl_1" }))),
        (Method::POST, format!("{one}/check"), None),
    ]
}

/// The flow that a sign-in URL carries, opened with the keys of the demonstration.
async fn flow_in(url: &str) -> Flow {
    let keys = StateKeys::fixed(&demonstration::state_keys(), Arc::new(SystemEntropy)).unwrap();
    keys.open_state(&parameter(url, "state")).await.unwrap().unwrap().0
}

#[tokio::test]
async fn s01_a_url_is_for_authenticated_callers_only_and_its_state_says_who_asked() {
    let world = World::start().await;
    let now = world.now().unix_timestamp();
    let changed = |name: &str, value: Value| {
        let mut claims = world.raw_claims(&PEOPLE[0]);
        claims[name] = value;
        es256(&tokens::header(), &claims)
    };
    let foreign = {
        let mut claims = world.raw_claims(&PEOPLE[0]);
        claims["iss"] = json!("https://signin.elsewhere.example");
        es256(&tokens::header(), &claims)
    };
    let own = es256(&tokens::header(), &world.raw_claims(&PEOPLE[0]));
    let (message, _) = own.rsplit_once('.').unwrap();
    let forged = format!("{message}.{}", own.chars().rev().take(86).filter(|c| *c != '.').collect::<String>());
    let before = world.calls();
    for token in [
        changed("exp", json!(now - 60)),
        changed("nbf", json!(now + 61)),
        changed("aud", json!("https://elsewhere.example")),
        foreign,
        forged,
        "x".to_owned(),
    ] {
        let stranger = world.bearer(token);
        for (method, path, body) in routes() {
            let answer = stranger.call(method, &path, body).await;
            answer.refused(401, "unauthorized");
            assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
            assert_eq!(answer.json()["url"], Value::Null);
        }
    }
    for (method, path, body) in routes() {
        world.nobody().call(method, &path, body).await.refused(401, "unauthorized");
    }
    assert_eq!((world.calls(), world.provider().token_requests), (before, 0));

    for (caller, who) in [(world.olivia(), &PEOPLE[0]), (world.ben(), &PEOPLE[1]), (world.mallory(), &PEOPLE[2])] {
        for body in [json!({}), json!({ "redirect_uri": world.return_to(), "state": "s" })] {
            let flow = flow_in(&world.url(&caller, body).await).await;
            assert_eq!((flow.organization.as_str(), flow.initiator.subject.as_str()), (who.organization, who.id));
            assert_eq!(flow.initiator.issuer, demonstration::issuer(world.stack.api()));
            assert_eq!((flow.connection.as_str(), flow.expires_at), ("conn_demo", world.now().unix_timestamp() + 600));
        }
    }
}

#[test]
fn s02_of_a_million_flow_ids_no_two_are_alike() {
    const HOW_MANY: usize = 1_000_000;
    let mut seen = HashSet::with_capacity(HOW_MANY);
    for _ in 0..HOW_MANY {
        let id = FlowId::new(random(&SystemEntropy).unwrap());
        assert!(seen.insert(String::from(id)));
    }
}

/// The system's randomness, until it fails.
#[derive(Default)]
struct Switched {
    broken: AtomicBool,
}

impl Entropy for Switched {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Unavailable> {
        if self.broken.load(Ordering::SeqCst) { Err(NoRandomness::because("broken")) } else { SystemEntropy.fill(buffer) }
    }
}

#[tokio::test]
async fn s02_without_randomness_there_is_no_url_and_nothing_goes_on() {
    let entropy = Arc::new(Switched::default());
    let provider = Provider::start().await;
    let connection = provider.connection("conn_scripted");
    let add = move |directory: &mut Value, _| directory["connections"].as_array_mut().unwrap().push(connection.clone());
    let world = World::with(Setup {
        directory: Some(Box::new(add)),
        client_secrets: vec![("conn_scripted".to_owned(), tests::provider::CLIENT_SECRET.to_owned())],
        clock: Some(provider.clock()),
        entropy: Some(Arc::clone(&entropy) as _),
        ..Setup::default()
    })
    .await;
    let olivia = world.olivia();
    let direct = provider.come_back(&world.url(&olivia, json!({ "connection_id": "conn_scripted" })).await);
    let body = json!({ "connection_id": "conn_scripted", "redirect_uri": world.return_to() });
    let by_redirect = provider.come_back(&world.url(&olivia, body.clone()).await);
    let code = world.open(&by_redirect).await.sent("code").unwrap();

    entropy.broken.store(true, Ordering::SeqCst);
    let mut bodies = BTreeSet::new();
    for body in [json!({}), body] {
        let refused = olivia.post(LIST, body).await;
        assert_eq!(refused.refused(500, "internal_error")["url"], Value::Null);
        assert!(!refused.text.contains("://127") && refused.header("location").is_empty());
        bodies.insert(refused.text);
    }
    bodies.insert(olivia.complete(json!({ "code": code })).await.text);
    assert_eq!(bodies.len(), 1, "a constant body");
    world.open(&direct).await.page(503);
    let told = world.open(&by_redirect).await;
    assert_eq!((told.status, told.sent("error").as_deref(), told.sent("code")), (303, Some("server_error"), None));
    assert_eq!((provider.seen().exchanges, olivia.list().await), (0, json!([])));

    // Nothing was consumed.
    entropy.broken.store(false, Ordering::SeqCst);
    world.open(&direct).await.page(200);
    olivia.complete(json!({ "code": code })).await.is(201);
}

#[tokio::test]
async fn s05_every_exchange_has_a_verifier_of_its_own_that_no_url_shows() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    let mut shown = Vec::new();
    for round in 0..24 {
        let (connection, mode) = ([("conn_honest"), ("conn_plain")][round % 2], MODES[round / 2 % 2]);
        let url = arena.url(olivia, connection, mode).await;
        let landed = olivia.browser.visit(&url).await;
        if mode == Mode::Redirect {
            arena.application(olivia, &landed).await.is(201);
        }
        shown.push(url);
        shown.push(olivia.browser.here());
        shown.push(landed.location().to_owned());
    }
    let forms = arena.honest.asked();
    let verifiers: BTreeSet<String> =
        forms.iter().flatten().filter(|(name, _)| name == "code_verifier").map(|(_, verifier)| verifier.clone()).collect();
    assert_eq!((forms.len(), verifiers.len()), (24, 24), "fresh for each");
    for verifier in &verifiers {
        // 32 bytes of a derived key in base64url: 256 bits.
        assert!(verifier.len() == 43 && verifier.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert!(shown.iter().all(|url| !url.contains(verifier.as_str())));
    }
}

#[tokio::test]
async fn s07_each_openid_request_has_a_nonce_of_its_own_and_another_flows_is_refused() {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    let asked = json!({ "connection_id": "conn_scripted" });
    let urls = [world.url(&olivia, asked.clone()).await, world.url(&olivia, asked).await];
    let [first, second] = urls.each_ref().map(|url| parameter(url, "nonce"));
    assert!(first != second && first.len() == 43);
    for (url, nonce) in urls.iter().zip([&first, &second]) {
        // Neither the state nor the challenge shows it: it is derived, and stored nowhere.
        assert!(!parameter(url, "state").contains(nonce.as_str()) && parameter(url, "code_challenge") != *nonce);
        assert_eq!(url.matches(nonce.as_str()).count(), 1);
    }
    // The nonce of the same person's other flow is as wrong as none.
    for wrong in [json!(second), json!(""), json!([first]), json!(first.to_lowercase()), json!(format!("{first} "))] {
        let url = world.url(&olivia, json!({ "connection_id": "conn_scripted" })).await;
        provider.script(|script| script.id_token = json!({ "nonce": wrong }));
        let issued = provider.issued().len();
        world.open(&provider.come_back(&url)).await.page(502);
        assert!(provider.issued()[issued..].iter().all(|token| provider.revoked().contains(token)), "given back");
    }
    provider.script(|script| script.id_token = json!({}));
    assert_eq!(olivia.list().await, json!([]));
    world.open(&provider.come_back(&urls[0])).await.page(200);
    // Where OpenID Connect is not spoken there is none to check.
    let arena = Arena::start().await;
    assert_eq!(parameter(&arena.url(&arena.olivia, "conn_plain", Mode::Direct).await, "nonce"), "");
}

#[tokio::test]
async fn s08_the_response_type_is_code_whatever_the_caller_says() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia.caller;
    for connection in ["conn_honest", "conn_plain", "conn_demo"] {
        for body in [json!({ "connection_id": connection }), json!({ "connection_id": connection, "response_type": "code" })] {
            let url = arena.world.url(olivia, body).await;
            assert_eq!(parameter(&url, "response_type"), "code");
            assert_eq!(parameter(&url, "response_mode"), "", "the default: the query");
        }
        for other in ["token", "id_token", "code token", "code id_token", "none", "CODE", " code", "", "password"] {
            let body = json!({ "connection_id": connection, "response_type": other });
            olivia.post(LIST, body).await.refused(400, "parameter_invalid");
        }
    }
}

#[tokio::test]
async fn s09_only_allowed_scopes_are_asked_for_and_refresh_tokens_only_where_the_connection_wants_them() {
    let arena = Arena::with(|connections| {
        let connections = connections.as_array_mut().unwrap();
        let mut online = connections[0].clone();
        online["id"] = json!("conn_online");
        online["scopes"] = json!(["openid", "email"]);
        online["allowed_scopes"] = json!(["openid", "email", "sites:read"]);
        connections.push(online);
    })
    .await;
    let olivia = &arena.olivia.caller;
    let scope = async |body: Value| parameter(&arena.world.url(olivia, body).await, "scope");
    assert_eq!(scope(json!({ "connection_id": "conn_online" })).await, "email openid");
    assert_eq!(scope(json!({ "connection_id": "conn_online", "provider_scopes": "sites:read" })).await, "openid sites:read");
    assert_eq!(scope(json!({ "connection_id": "conn_honest" })).await, "email offline_access openid");
    assert_eq!(scope(json!({ "connection_id": "conn_plain" })).await, "email", "no openid where it is not allowed");
    for (connection, scopes) in [
        ("conn_online", json!("openid offline_access")),
        ("conn_online", json!(["offline_access"])),
        ("conn_online", json!("sites:write")),
        ("conn_honest", json!("sites:read sites:write")),
        ("conn_plain", json!("email openid")),
        ("conn_plain", json!(["email", "sites:read", "admin"])),
        ("conn_plain", json!("SITES:READ")),
    ] {
        let refused = olivia.post(LIST, json!({ "connection_id": connection, "provider_scopes": scopes })).await;
        assert_eq!(refused.refused(400, "parameter_invalid")["param"], "provider_scopes", "{connection} {scopes}");
    }
    assert_eq!(arena.honest.seen().exchanges, 0);
}

/// Numbers that look random and come again with the same seed (xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.roll(of.len())]
    }

    /// A text of a few fragments.
    fn text(&mut self) -> String {
        (0..self.roll(5)).map(|_| self.one(&FRAGMENTS)).collect()
    }
}

/// What texts are made of that try to be more than a value.
const FRAGMENTS: [&str; 40] = [
    "a",
    "ops@example.com",
    "&client_id=evil",
    "&state=evil",
    "&redirect_uri=https://evil.example",
    "&scope=admin",
    "&request_uri=x",
    "client_id",
    "CLIENT_ID",
    "state",
    "redirect_uri",
    "[]",
    "[0]",
    ".x",
    "%26client_id=evil",
    "%2526",
    "%0d%0a",
    "\r\n",
    "\n",
    "\t",
    "\u{0}",
    "#",
    "?",
    "=",
    ";",
    "&",
    "+",
    " ",
    "%",
    "%zz",
    "é",
    "ﬀ",
    "👾",
    "\u{202e}",
    "\u{feff}",
    "\"",
    "<",
    "\\",
    "..",
    "\u{7f}",
];

/// Name and value as they stand in a query, decoded one way only: `%XX`, and nothing else means anything.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex: String = [rest.next().unwrap(), rest.next().unwrap()].map(char::from).iter().collect();
            bytes.push(u8::from_str_radix(&hex, 16).unwrap());
        } else {
            assert!(byte.is_ascii_alphanumeric() || b"-._~".contains(&byte), "{text} is not percent-encoded");
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn s11_whatever_callers_write_into_their_parameters_the_request_stays_ours() {
    let arena = Arena::start().await;
    let (olivia, world) = (&arena.olivia.caller, &arena.world);
    let (mut made, mut refused) = (0, 0);
    for seed in 1..=1_500_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let connection = dice.one(&["conn_honest", "conn_plain", "conn_demo"]);
        let mut body = json!({ "connection_id": connection });
        for field in ["login_hint", "domain_hint", "prompt"] {
            if dice.roll(3) == 0 {
                body[field] = json!(dice.text());
            }
        }
        let mut custom = serde_json::Map::new();
        for _ in 0..dice.roll(3) {
            custom.insert(dice.text(), json!(dice.text()));
        }
        body["provider_query_params"] = json!(custom);
        if dice.roll(6) == 0 {
            body["provider_scopes"] = json!(format!("email {}", dice.text()));
        }
        if dice.roll(3) == 0 {
            body["redirect_uri"] = json!(world.return_to());
            body["state"] = json!(dice.one(&["&client_id=evil", "#&state=evil", "plain", "%0d%0a"]));
        }
        let answer = olivia.post(LIST, body.clone()).await;
        if answer.status != 200 {
            let code = answer.json()["code"].clone();
            assert!(["parameter_invalid", "parameter_reserved"].iter().any(|known| code == *known), "seed {seed}: {body} {}", answer.text);
            answer.refused(400, code.as_str().unwrap());
            refused += 1;
            continue;
        }
        made += 1;
        let url = answer.json()["url"].as_str().unwrap().to_owned();
        let (place, query) = url.split_once('?').unwrap();
        assert!(place.ends_with("/authorize") && !query.contains(['#', '?', '+', ';']), "seed {seed}: {url}");
        let pairs: Vec<(String, String)> = query
            .split('&')
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap();
                (decoded(name), decoded(value))
            })
            .collect();
        // Another reader of queries sees the same.
        let other: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        assert_eq!(pairs, other, "seed {seed}");
        let names: BTreeSet<&String> = pairs.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), pairs.len(), "seed {seed}: nothing twice in {url}");
        let of = |name: &str| pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap_or_default();
        let client = if connection == "conn_demo" { "mandate-demonstration" } else { tests::provider::CLIENT_ID };
        assert_eq!((of("client_id").as_str(), of("response_type").as_str()), (client, "code"), "seed {seed}");
        assert_eq!(of("redirect_uri"), arena.callback(connection), "seed {seed}");
        assert_eq!((of("code_challenge").len(), of("code_challenge_method").as_str()), (43, "S256"), "seed {seed}");
        let flow = flow_in(&url).await;
        assert_eq!((flow.connection.as_str(), flow.initiator.subject.as_str()), (connection, "usr_olivia"), "seed {seed}");
        assert_eq!(of("scope"), flow.scopes.to_text(), "seed {seed}");
        // What was asked for is there, to the letter.
        for field in ["login_hint", "domain_hint", "prompt"] {
            assert_eq!(of(field), body[field].as_str().unwrap_or_default(), "seed {seed}");
        }
        for (name, value) in &custom {
            assert_eq!(of(name), value.as_str().unwrap(), "seed {seed}: {name}");
        }
    }
    assert!(made > 300 && refused > 300, "{made} {refused}");
}

/// What browsers send beside the request line when they come back from a provider, at its longest.
const BROWSER_HEADERS: usize = 3_000;
/// A provider's code at its longest: some put a signed or encrypted token into it.
const LONGEST_CODE: usize = 1_536;

#[tokio::test]
async fn s13_with_all_that_can_be_long_the_url_and_the_callback_fit_the_gateway() {
    let longest_connection = format!("conn_{}", "x".repeat(123));
    let id = longest_connection.clone();
    let world = World::with(Setup {
        directory: Some(Box::new(move |directory: &mut Value, _| {
            let mut connection = directory["connections"][0].clone();
            connection["id"] = json!(id);
            directory["connections"].as_array_mut().unwrap().push(connection);
        })),
        ..Setup::default()
    })
    .await;
    let caller = {
        let mut claims = world.claims(&PEOPLE[0]);
        claims.subject = "s".repeat(255);
        claims.organization = Some("o".repeat(256));
        claims.email = Some(format!("{}@example.com", "e".repeat(308)));
        world.caller(claims)
    };
    let longest: String = (0x20..=0x7e).map(char::from).cycle().take(1024).collect();
    let body = json!({
        "connection_id": longest_connection, "redirect_uri": world.return_to(), "state": longest, "authorization_id": UNKNOWN,
        "code_challenge": "~".repeat(128), "code_challenge_method": "S256", "login_hint": "operations-team@customer.example.com",
    });
    let url = world.url(&caller, body).await;
    assert!(url.len() <= 4_096, "the URL has {} bytes", url.len());
    let state = parameter(&url, "state");
    let line = format!(
        "GET /workflows/authorization/callback/{longest_connection}?code={}&state={state}&iss={}&session_state={} HTTP/1.1",
        "c".repeat(LONGEST_CODE),
        "i".repeat(200),
        "s".repeat(120),
    );
    assert!(line.len() + BROWSER_HEADERS <= 10_240, "the callback has {} bytes", line.len() + BROWSER_HEADERS);

    // What comes back does work, and so does the completion code around it.
    let callback = format!("{}/workflows/authorization/callback/{longest_connection}", world.base());
    let issuer = demonstration::issuer(world.stack.api());
    let code = "c".repeat(LONGEST_CODE);
    let back = with(&callback, &[("code", Some(&code)), ("state", Some(&state)), ("iss", Some(&issuer))]);
    let landed = world.open(&back).await;
    assert_eq!((landed.status, landed.sent("state").as_deref()), (303, Some(longest.as_str())));
    let completion = landed.sent("code").unwrap();
    assert!(completion.len() + BROWSER_HEADERS <= 10_240, "the completion code has {} bytes", completion.len());
    let body = json!({ "code": completion, "code_verifier": "v".repeat(128) });
    assert!(body.to_string().len() <= 16 * 1024);
    caller.complete(body).await.refused(400, "code_verifier_invalid");
}

#[tokio::test]
async fn s14_s64_creating_urls_stores_nothing_that_could_be_filled_up() {
    let world = World::start().await;
    let olivia = world.olivia();
    world.url(&olivia, json!({})).await;
    let (before, provider) = (world.calls(), world.provider());
    let mut states = BTreeSet::new();
    for number in 0..1_000 {
        let body = match number % 3 {
            0 => json!({}),
            1 => json!({ "redirect_uri": world.return_to(), "state": format!("s{number}") }),
            _ => json!({ "authorization_id": UNKNOWN }),
        };
        states.insert(parameter(&world.url(&olivia, body).await, "state"));
    }
    assert_eq!((states.len(), world.calls()), (1_000, before), "no write, no read, no key");
    assert_eq!(world.provider(), provider, "and nobody else is asked");
}

/// Everything that can be configured, and what it has to do with whose a sign-in may be. A knob that is not in this table is one
/// that nobody has judged.
const KNOBS: [(&str, &str); 72] = [
    // The environment of a function (design section 9).
    ("AWS_ENDPOINT_URL", "where AWS is, in development only"),
    ("AWS_REGION", "where AWS is"),
    ("PushedAuthorizationRequests", "whether create-url is given the client secrets"),
    ("MANDATE_CLIENT_SECRETS_SECRET", "where a secret is"),
    ("MANDATE_DEVELOPMENT", "loopback providers and another AWS endpoint"),
    ("MANDATE_DIRECTORY_SECRET", "where a secret is"),
    ("MANDATE_EVENT_BUS", "where changes are announced"),
    ("MANDATE_KMS_KEY_ID", "which key"),
    ("MANDATE_METRICS_NAMESPACE", "as what things are counted"),
    ("MANDATE_RESCUE_QUEUE_URL", "where the rescue queue is"),
    ("MANDATE_STATE_KEYS_SECRET", "where a secret is"),
    ("MANDATE_TABLE", "which table"),
    // The directory.
    ("absolute", "when a refresh token ends"),
    ("allowed_scopes", "what may be asked for"),
    ("api_tokens", "who callers are"),
    ("audience", "who callers are"),
    ("authorization_endpoint", "where browsers go"),
    ("base_url", "where WorkOS is"),
    ("claims", "the names of claims: whom they speak of, not whether it matters"),
    ("client_id", "who we are at the provider"),
    ("connection_id", "what WorkOS selects"),
    ("connections", "the connections"),
    ("default", "which redirect URI is the default"),
    ("default_access_lifetime", "when access ends"),
    ("default_connection", "which connection"),
    ("dialect", "how the provider departs from the RFC"),
    ("email", "the name of a claim"),
    ("email_verified", "the name of a claim"),
    ("environment", "which addresses are allowed"),
    ("error_doc_base", "where errors are explained"),
    ("extra_authorization_params", "more parameters, none of them reserved"),
    ("id", "the connection's callback"),
    ("idle", "when a refresh token ends"),
    ("issuer", "who speaks for callers and identities: equal issuers are compared by subject, others by verified e-mail"),
    ("jwks_uri", "where keys are"),
    ("key", "a state key"),
    ("keys", "the state keys"),
    ("kid", "the name of a key"),
    ("kind", "how the provider speaks"),
    ("linked", "whether the connection is in use"),
    ("max_concurrent_refreshes", "how many refreshes"),
    ("organization", "the name of a claim: with it, the identity's organization must be the caller's, too"),
    ("organization_id", "whose connection it is, or what WorkOS selects"),
    ("pem", "a signing key"),
    ("provider", "the provider's name, or what WorkOS selects"),
    ("public_url", "where the callback is"),
    ("pushed_authorization_requests", "how the request travels"),
    ("redirect_uris", "where browsers may return"),
    ("refresh_token_lifetime", "when a refresh token ends"),
    ("revocation_endpoint", "where tokens are given back"),
    ("rotation_grace", "when a refresh may be repeated"),
    ("scopes", "what is asked for"),
    ("selector", "what WorkOS selects"),
    ("static_key_secret", "where a key is"),
    ("subject", "the name of a claim"),
    ("token_endpoint", "where codes are redeemed"),
    ("token_endpoint_auth_method", "how we prove ourselves"),
    ("token_type", "which bearer tokens are callers' at all"),
    ("uri", "a redirect URI"),
    ("userinfo_endpoint", "where identities come from"),
    // Static keys of API tokens.
    ("alg", "which algorithm"),
    ("secret", "a shared key"),
    // Parameters of the template.
    ("AlarmTopicArn", "who is alarmed"),
    ("ApiKeySecretArn", "where a key is"),
    ("Architecture", "which processor"),
    ("CallbackConcurrency", "how many callbacks"),
    ("CorsOrigins", "whose scripts may read answers"),
    ("Environment", "how long logs are kept"),
    ("EventBus", "where changes are announced"),
    ("InitialDirectory", "the first directory"),
    ("MemorySize", "how much memory"),
    ("Tracing", "whether invocations are traced"),
];

/// More of the template's parameters, which concern the schedule only.
const SCHEDULE: [&str; 1] = ["RefreshRules"];

#[test]
fn s25_no_knob_of_the_configuration_switches_the_binding_off() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let mut found = BTreeSet::new();
    let mut quoted_after = |text: &str, mark: &str| {
        let tested = text.split("#[cfg(test)]").next().unwrap();
        for rest in tested.split(mark).skip(1) {
            found.insert(rest.split('"').next().unwrap().to_owned());
        }
    };
    quoted_after(&read("shared/src/config.rs"), "variable(\"");
    for file in ["directory", "connection", "kind", "client_secrets", "state_keys", "static_api_key"] {
        let text = read(&format!("shared/src/secrets/{file}.rs"));
        for mark in [".must(\"", ".may(\"", ".or(\"", ".optional(\"", " read(\"", "(read(\""] {
            quoted_after(&text, mark);
        }
    }
    let template: Value = serde_saphyr::from_str(&read("template.yaml")).unwrap();
    found.extend(template["Parameters"].as_object().unwrap().keys().filter(|name| !SCHEDULE.contains(&name.as_str())).cloned());
    let known: BTreeSet<String> = KNOBS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(known.len(), KNOBS.len(), "each once");
    let unjudged: Vec<_> = found.difference(&known).collect();
    assert_eq!(unjudged, Vec::<&String>::new(), "knobs that nobody has judged: say in the table what they have to do with the binding");
    let gone: Vec<_> = known.difference(&found).collect();
    assert_eq!(gone, Vec::<&String>::new(), "knobs that there are no more");
    for (name, meaning) in KNOBS {
        for word in ["bind", "initiator", "verify", "check", "skip", "insecure", "trust", "strict", "allow_any", "anyone", "disable"] {
            assert!(!name.to_lowercase().contains(word), "{name}: {meaning}");
        }
    }
    // And the judgement itself looks at nothing that could be one: whom the connection admits, its issuer, the flow, the identity.
    let judgement = read("shared/src/usecases/complete_flow/judgement.rs");
    let judge = judgement.split("pub(super) fn judge(").nth(1).unwrap().split("\n}\n").next().unwrap();
    let looked_at: BTreeSet<&str> =
        judge.split("connection.").skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()).collect();
    assert_eq!(looked_at.into_iter().collect::<Vec<_>>(), ["admits", "identity_issuer"]);
}

#[tokio::test]
async fn s25_with_everything_at_its_loosest_a_victim_is_still_not_linked() {
    let arena = Arena::with(|connections| {
        for connection in connections.as_array_mut().unwrap() {
            connection["provider"] = json!("any");
            connection["extra_authorization_params"] = json!({ "prompt": "none", "max_age": "0" });
            connection["allowed_scopes"] = json!(["openid", "email", "offline_access", "sites:read", "sites:write", "admin"]);
            connection["rotation_grace"] = json!(86_400);
            connection["default_access_lifetime"] = json!(315_360_000);
        }
    })
    .await;
    arena.honest.front(|front| {
        front.pkce = tests::provider::front::Pkce::Unknown;
        front.registered = None;
    });
    let victim = &arena.olivia;
    for attacker in [&arena.ben, &arena.mallory] {
        for connection in ["conn_honest", "conn_plain"] {
            let (before, issued) = (arena.tally().await, arena.honest.issued().len());
            let bait = arena.url(attacker, connection, Mode::Direct).await;
            victim.browser.visit(&bait).await.page(403);
            let bait = arena.url(attacker, connection, Mode::Redirect).await;
            let landed = victim.browser.visit(&bait).await;
            arena.application(victim, &landed).await.refused(404, "flow_not_found");
            arena.nothing_was_kept_since(&before, issued).await;
        }
    }
}

/// A fault of AWS.
fn aws_down(which: impl Fn(&Call<'_>) -> bool + Send + Sync + 'static) -> Arc<dyn Observer> {
    let fault = Fault::new(500, "InternalServerError", "down");
    Arc::new(Rule(move |call: &Call<'_>| if which(call) { Ruling::Refuse(fault.clone()) } else { Ruling::Pass }))
}

#[tokio::test]
async fn s25_the_binding_fails_closed_whatever_is_down() {
    type Break = fn(&Arena);
    let everything: [(&str, Break); 8] = [
        ("claiming the flow", |arena| arena.world.aws().observe(Some(aws_down(|call| call.operation == "PutItem")))),
        ("the table", |arena| arena.world.aws().observe(Some(aws_down(|call| call.service == Service::DynamoDb)))),
        ("writing the outcome", |arena| arena.world.aws().observe(Some(aws_down(|call| call.operation == "UpdateItem")))),
        ("KMS and Secrets Manager", |arena| {
            arena.world.aws().observe(Some(aws_down(|call| matches!(call.service, Service::Kms | Service::SecretsManager))));
        }),
        ("the provider's keys", |arena| arena.honest.front(|front| front.down = vec!["/jwks.json"])),
        ("who the token belongs to", |arena| arena.honest.front(|front| front.down = vec!["/userinfo"])),
        ("the provider's metadata", |arena| arena.honest.front(|front| front.down = vec!["/.well-known/openid-configuration"])),
        ("giving back", |arena| arena.honest.front(|front| front.down = vec!["/revoke"])),
    ];
    for (what, break_it) in everything {
        let arena = Arena::start().await;
        let (victim, attacker) = (&arena.olivia, &arena.mallory);
        for connection in ["conn_honest", "conn_plain"] {
            let before = arena.tally().await;
            let direct = arena.url(attacker, connection, Mode::Direct).await;
            let redirect = arena.url(attacker, connection, Mode::Redirect).await;
            let own = arena.url(victim, connection, Mode::Redirect).await;
            let direct = arena.before_the_callback(victim, &direct).await;
            let redirect = arena.before_the_callback(victim, &redirect).await;
            let landed = victim.browser.open(&arena.before_the_callback(victim, &own).await).await;
            break_it(&arena);
            let page = victim.browser.open(&direct).await;
            assert!(matches!(page.status, 403 | 502 | 503), "{what}: {}", page.status);
            let at_the_application = victim.browser.open(&redirect).await;
            if at_the_application.status == 303 {
                if at_the_application.sent("code").is_none() {
                    assert_eq!(at_the_application.sent("error").as_deref(), Some("server_error"), "{what}");
                }
                let refused = arena.application(victim, &at_the_application).await;
                assert!(refused.status == 404 || refused.status == 503, "{what}: {}", refused.text);
            } else {
                at_the_application.page(503);
            }
            // The victim's own code, in the attacker's hands.
            let stolen = attacker.caller.complete(json!({ "code": landed.sent("code") })).await;
            assert!(stolen.status == 404 || stolen.status == 503, "{what}: {}", stolen.text);

            arena.world.aws().observe(None);
            arena.honest.front(|front| front.down.clear());
            // What was open stays refused when all is well again, also where nobody could write down that it was.
            arena.world.pass(Duration::seconds(61));
            let page = victim.browser.open(&direct).await;
            assert!(matches!(page.status, 403 | 502 | 503), "{what}: {}", page.status);
            assert_eq!(arena.tally().await.stored, before.stored, "{what}");
        }
    }
}

#[test]
fn s36_no_page_holds_a_script_or_speaks_to_another_window() {
    let stored = FlowOutcome::Stored(AuthorizationId::try_from(UNKNOWN).unwrap());
    let failures = [
        FlowFailure::AccessDenied,
        FlowFailure::ProviderRefused,
        FlowFailure::ProviderUnavailable,
        FlowFailure::ProviderAnswerInvalid,
        FlowFailure::IdentityRefused,
        FlowFailure::OrganizationMismatch,
        FlowFailure::IdentityMismatch,
        FlowFailure::ConnectionMismatch,
        FlowFailure::ScopesInsufficient,
        FlowFailure::AuthorizationNotFound,
        FlowFailure::Internal,
    ];
    let outcomes = failures.map(FlowOutcome::Failed).into_iter().chain([stored]).map(Telling::Outcome);
    let tellings: Vec<Telling> = outcomes.chain([Telling::Untrusted, Telling::UnderWay, Telling::Unavailable]).collect();
    for telling in tellings {
        let page = page(&telling, &RequestId::try_from("req_1").unwrap());
        let text = String::from_utf8(page.body().to_vec()).unwrap().to_lowercase();
        for forbidden in [
            "<script",
            "javascript:",
            "postmessage",
            "opener",
            "onload",
            "onclick",
            "onerror",
            "<iframe",
            "<form",
            "<object",
            "<embed",
            "<base",
            "http-equiv",
            UNKNOWN,
        ] {
            assert!(!text.contains(forbidden), "{telling:?} holds {forbidden}");
        }
        let policy = page.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("script-src") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.headers()["cross-origin-opener-policy"], "same-origin", "no window that opened this one keeps a hold of it");
    }
}

/// Calls, and keeps the code of the error that comes.
struct Errors(BTreeMap<String, BTreeSet<u16>>);

impl Errors {
    fn note(&mut self, answer: &Answer, status: u16, code: &str) {
        answer.refused(status, code);
        self.0.entry(code.to_owned()).or_default().insert(status);
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one route after the other, each with all that can be wrong")]
async fn s62_every_error_of_every_route_has_the_four_fields_and_the_documented_ones() {
    let arena = Arena::with(|connections| {
        let connections = connections.as_array_mut().unwrap();
        for (id, provider, organization, linked) in [
            ("conn_two_a", "two", Value::Null, true),
            ("conn_two_b", "two", Value::Null, true),
            ("conn_own_a", "own_a", json!("org_demo"), true),
            ("conn_own_b", "own_b", json!("org_demo"), true),
            ("conn_unlinked", "unlinked", Value::Null, false),
        ] {
            let mut connection = connections[1].clone();
            (connection["id"], connection["provider"], connection["organization_id"]) = (json!(id), json!(provider), organization);
            (connection["linked"], connection["client_id"]) = (json!(linked), json!(id));
            connections.push(connection);
        }
        connections[0]["claims"] = json!({ "subject": "sub", "email": "email", "organization": "org_id" });
    })
    .await;
    let (world, olivia) = (&arena.world, &arena.olivia.caller);
    let mut errors = Errors(BTreeMap::new());

    // Of every route: who calls, and with what.
    let caller = |change: fn(&mut local::sign_in::ApiClaims)| {
        let mut claims = world.claims(&PEOPLE[0]);
        change(&mut claims);
        world.caller(claims)
    };
    let (scopeless, homeless) = (caller(|claims| claims.scopes.clear()), caller(|claims| claims.organization = None));
    for (method, path, body) in routes() {
        errors.note(&world.nobody().call(method.clone(), &path, body.clone()).await, 401, "unauthorized");
        errors.note(&world.bearer("x").call(method.clone(), &path, body.clone()).await, 401, "unauthorized");
        errors.note(&scopeless.call(method.clone(), &path, body.clone()).await, 403, "insufficient_scope");
        errors.note(&homeless.call(method.clone(), &path, body.clone()).await, 403, "organization_required");
        errors.note(&olivia.call(Method::PATCH, &path, None).await, 405, "method_not_allowed");
        errors.note(&olivia.call(method.clone(), &format!("{path}/x/y/z"), None).await, 404, "route_not_found");
        let unknown = olivia.call(method.clone(), &format!("{path}?<script>=1"), body.clone()).await;
        errors.note(&unknown, 400, "parameter_unknown");
        if method == Method::POST || method == Method::PUT {
            let json_type = [("content-type", "application/json")];
            for (kind, text, status, code) in [
                (&json_type[..], "{", 400, "body_invalid"),
                (&json_type, "{\"x\":1}", 400, "parameter_unknown"),
                (&json_type, "{\"<b>\":1}", 400, "parameter_unknown"),
                (&json_type, &" ".repeat(16 * 1024 + 1), 413, "body_too_large"),
                (&[("content-type", "text/plain")], "{}", 415, "unsupported_media_type"),
            ] {
                errors.note(&olivia.send(method.clone(), &path, kind, Some(text)).await, status, code);
            }
        }
        // And when the keys of callers cannot be had, or the directory: a stack of its own, below.
    }

    // Of each route: what it refuses.
    for (body, code) in [
        (json!({ "connection_id": "" }), "invalid_connection_selector"),
        (json!({ "connection_id": "conn_unknown" }), "connection_invalid"),
        (json!({ "connection_id": "conn_unlinked" }), "connection_unlinked"),
        (json!({ "provider": "two" }), "connection_strategy_invalid"),
        (json!({ "organization_id": "org_demo" }), "ambiguous_connection_selector"),
        (json!({ "organization_id": "org_elsewhere" }), "organization_invalid"),
    ] {
        errors.note(&olivia.post(LIST, body.clone()).await, 400, code);
        let mut body = body;
        (body["redirect_uri"], body["state"]) = (json!(world.return_to()), json!("s"));
        let refused = olivia.post(LIST, body).await;
        errors.note(&refused, 400, code);
        assert!(refused.json()["url"].as_str().unwrap().starts_with(&format!("{}?error={code}&", world.return_to())));
    }
    errors.note(&olivia.post(LIST, json!({ "redirect_uri": "https://evil.example" })).await, 400, "invalid_redirect_uri");
    errors.note(&olivia.post(LIST, json!({ "state": "s" })).await, 400, "parameter_missing");
    errors.note(&olivia.post(LIST, json!({ "max_age": -1 })).await, 400, "parameter_invalid");
    errors.note(&olivia.post(LIST, json!({ "provider_query_params": { "state": "x" } })).await, 400, "parameter_reserved");
    errors.note(&olivia.get(&format!("{LIST}?cursor=x")).await, 400, "cursor_invalid");
    errors.note(&olivia.get(&format!("{LIST}/{UNKNOWN}")).await, 404, "authorization_not_found");
    errors.note(&olivia.get("/workflows/fl_1/authorization").await, 404, "workflow_not_bound");

    // Of completing.
    let code = async |who: &tests::arena::Party, more: Value| {
        let mut body = json!({ "connection_id": "conn_honest", "redirect_uri": world.return_to() });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let landed = who.browser.visit(&world.url(olivia, body).await).await;
        json!({ "code": landed.sent("code") })
    };
    errors.note(&olivia.complete(json!({ "code": "x" })).await, 404, "flow_not_found");
    let with_challenge = json!({ "code_challenge": Verifier::CHALLENGE, "code_challenge_method": "S256" });
    errors.note(&olivia.complete(code(&arena.olivia, with_challenge).await).await, 400, "code_verifier_invalid");
    errors.note(&olivia.complete(code(&arena.mallory, json!({})).await).await, 403, "organization_mismatch");
    for (mood, status) in [(Mood::Refusing("invalid_grant"), 400), (Mood::Down, 502), (Mood::Garbled, 502)] {
        let code = code(&arena.olivia, json!({})).await;
        arena.honest.feels(mood);
        errors.note(&olivia.complete(code).await, status, "oauth_failed");
        arena.honest.feels(Mood::Well);
    }
    let denied = {
        let url = arena.url(&arena.olivia, "conn_honest", Mode::Redirect).await;
        let callback = arena.before_the_callback(&arena.olivia, &url).await;
        world.open(&with(&callback, &[("code", None), ("error", Some("access_denied"))])).await;
        json!({ "code": world.open(&callback).await.sent("code") })
    };
    errors.note(&olivia.complete(denied).await, 403, "access_denied");
    let id = {
        let body = code(&arena.olivia, json!({})).await;
        let gate = Gate::new("TransactWriteItems");
        world.aws().observe(Some(gate.clone()));
        let second = async {
            gate.arrival().await;
            let answer = olivia.complete(body.clone()).await;
            gate.open();
            answer
        };
        let (first, second) = tokio::join!(olivia.complete(body.clone()), second);
        world.aws().observe(None);
        errors.note(&second, 409, "flow_in_progress");
        first.is(201)["id"].as_str().unwrap().to_owned()
    };
    errors.note(&olivia.complete(code(&arena.ben, json!({ "authorization_id": id })).await).await, 409, "identity_mismatch");
    let elsewhere = json!({ "authorization_id": id, "connection_id": "conn_plain" });
    errors.note(&olivia.complete(code(&arena.olivia, elsewhere).await).await, 409, "connection_mismatch");
    errors.note(&olivia.complete(code(&arena.olivia, json!({ "authorization_id": UNKNOWN })).await).await, 404, "authorization_not_found");

    // Of an authorization in use.
    let one = format!("{LIST}/{id}");
    let bind = "/workflows/fl_1/authorization";
    let missing = json!({ "authorization_id": id, "required_scopes": ["admin"] });
    errors.note(&olivia.put(bind, missing).await, 409, "scopes_insufficient");
    world.bind(olivia, "fl_1", &id).await;
    errors.note(&olivia.delete(&one).await, 409, "authorization_in_use");
    let mut claims = world.raw_claims(&PEOPLE[0]);
    claims["workflow_id"] = json!("fl_2");
    let other_workflow = world.bearer(es256(&tokens::header(), &claims));
    errors.note(&other_workflow.token(&id, json!({ "workflow_id": "fl_1" })).await, 403, "workflow_claim_mismatch");
    world.pass(Duration::HOUR);
    arena.honest.feels(Mood::Down);
    errors.note(&olivia.token(&id, json!({ "workflow_id": "fl_1" })).await, 503, "provider_unavailable");
    world.pass(Duration::HOUR);
    arena.honest.feels(Mood::Refusing("invalid_grant"));
    errors.note(&olivia.token(&id, json!({ "workflow_id": "fl_1" })).await, 409, "needs_reauthorization");
    errors.note(&olivia.put("/workflows/fl_3/authorization", json!({ "authorization_id": id })).await, 409, "authorization_not_active");

    // Of every route that asks the table, when it is down.
    world.aws().observe(Some(aws_down(|call| call.service == Service::DynamoDb)));
    for (method, path, body) in routes().into_iter().skip(2) {
        errors.note(&olivia.call(method, &path, body).await, 503, "store_unavailable");
    }
    world.aws().observe(None);
    without_keys_or_randomness(&mut errors).await;

    // Those that no JSON answer has: they reach a browser, as a page or at the application, or come of a race or from the gateway.
    let elsewhere = ["identity_refused", "rate_limited", "server_error", "state_invalid", "write_conflict"];
    let all: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let unseen: Vec<_> = all.iter().filter(|code| !errors.0.contains_key(**code)).copied().collect();
    assert_eq!(unseen, elsewhere);
    let documented = include_str!("../../docs/errors.md");
    for code in all {
        let section = documented.split(&format!("\n## {code}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
        for field in further_fields(code) {
            assert!(section.contains(&format!("`{field}`")), "docs/errors.md does not say that {code} has {field}");
        }
    }
}

/// The keys of callers cannot be had, or there is no randomness.
async fn without_keys_or_randomness(errors: &mut Errors) {
    let provider = Provider::start().await;
    let keys = format!("{}/jwks.json", provider.issuer());
    let elsewhere = move |directory: &mut Value, _| directory["api_tokens"]["jwks_uri"] = json!(keys);
    let entropy = Arc::new(Switched::default());
    let world = World::with(Setup {
        directory: Some(Box::new(elsewhere)),
        clock: Some(provider.clock()),
        entropy: Some(Arc::clone(&entropy) as _),
        ..Setup::default()
    })
    .await;
    provider.front(|front| front.down = vec!["/jwks.json"]);
    for (method, path, body) in routes() {
        errors.note(&world.olivia().call(method, &path, body).await, 503, "store_unavailable");
    }
    provider.front(|front| front.down.clear());
    world.pass(Duration::seconds(4));
    entropy.broken.store(true, Ordering::SeqCst);
    errors.note(&world.olivia().post(LIST, json!({})).await, 500, "internal_error");
}

#[tokio::test]
async fn s05_s32_no_log_line_holds_a_verifier_a_code_or_a_state_however_a_sign_in_ends() {
    let arena = Arena::start().await;
    let (world, mallory) = (&arena.world, &arena.mallory);
    // One bearer token for all of it, so that it can be looked for.
    let bearer = es256(&tokens::header(), &world.raw_claims(&PEOPLE[0]));
    let olivia = world.bearer(&bearer);
    let mut secrets = vec![bearer, tests::provider::CLIENT_SECRET.to_owned()];
    let mut url_of = async |caller: &Caller, body: Value| {
        let url = world.url(caller, body).await;
        secrets.extend(["state", "nonce", "code_challenge"].iter().map(|name| parameter(&url, name)).filter(|value| !value.is_empty()));
        url
    };
    let direct = json!({ "connection_id": "conn_honest" });
    let redirect = json!({ "connection_id": "conn_plain", "redirect_uri": world.return_to(), "state": "an-applications-very-own-state" });
    let mut callbacks = Vec::new();
    for mood in [Mood::Well, Mood::Down, Mood::Garbled, Mood::Refusing("invalid_grant"), Mood::Refusing("{\"x\":\n\"forged line\"}")] {
        let url = url_of(&olivia, direct.clone()).await;
        let callback = arena.before_the_callback(&arena.olivia, &url).await;
        arena.honest.feels(mood);
        arena.olivia.browser.open(&callback).await;
        arena.honest.feels(Mood::Well);
        let url = url_of(&olivia, redirect.clone()).await;
        let landed = arena.olivia.browser.visit(&url).await;
        callbacks.extend([callback, arena.olivia.browser.here(), landed.location().to_owned()]);
        arena.honest.feels(mood);
        for _ in 0..2 {
            olivia.complete(json!({ "code": landed.sent("code"), "code_verifier": null })).await;
        }
        mallory.caller.complete(json!({ "code": landed.sent("code") })).await;
        olivia.complete(json!({ "code": landed.sent("code"), "code_verifier": Verifier::VERIFIER })).await;
        arena.honest.feels(Mood::Well);
    }
    // A victim, an error, and everything that makes an answer untrusted.
    let bait = url_of(&mallory.caller, direct.clone()).await;
    arena.olivia.browser.visit(&bait).await.page(403);
    callbacks.push(arena.olivia.browser.here());
    let url = url_of(&olivia, direct).await;
    let callback = arena.before_the_callback(&arena.olivia, &url).await;
    let state = parameter(&callback, "state");
    for spoiled in [
        with(&callback, &[("iss", Some("https://evil.example"))]),
        with(&callback, &[("state", Some(&format!("{state}A")))]),
        callback.replace("/conn_honest?", "/conn_plain?"),
        format!("{callback}&code=another-code-that-is-secret"),
        with(&callback, &[("code", None), ("error", Some("access_denied")), ("error_description", Some("described-in-secret"))]),
        callback.clone(),
    ] {
        arena.olivia.browser.open(&spoiled).await;
    }
    callbacks.push(callback);
    let id = olivia.list().await[0]["id"].as_str().unwrap().to_owned();
    world.bind(&olivia, "fl_1", &id).await;
    olivia.token(&id, json!({ "workflow_id": "fl_1", "min_ttl": 3600 })).await;
    world.run_schedule().await;

    secrets.extend(callbacks.iter().flat_map(|url| [parameter(url, "code"), parameter(url, "state")]).filter(|value| !value.is_empty()));
    secrets
        .extend(arena.honest.asked().into_iter().flatten().filter(|(name, _)| name == "code_verifier" || name == "code").map(|(_, v)| v));
    secrets.extend(arena.honest.issued());
    for more in ["another-code-that-is-secret", "described-in-secret", "own words", "maintenance", "Basic "] {
        secrets.push(more.to_owned());
    }
    let log = tests::log::text();
    assert!(log.lines().count() > 60 && log.contains("\"audit\":true") && log.contains("security signal"), "{}", log.lines().count());
    assert!(secrets.len() > 60, "{}", secrets.len());
    for secret in &secrets {
        let found = log.lines().find(|line| line.contains(secret.as_str()));
        assert_eq!(found, None, "{secret}");
    }
    for line in log.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()), "a line that is no line of ours: {line}");
    }
}

//! One of the connections leads to an attacker's provider, and the attacker wants what another connection leads to (RFC 9700 section
//! 4.4, draft-ietf-oauth-security-topics-update: mix-up, COAT, CORF). Each connection has a callback of its own, and the state says
//! which one it is for: that is what stops all of them, before any token request.

use std::sync::Arc;

use local::stack::{Options, Stack};
use local::{client::Answer, demonstration};
use serde_json::{Value, json};
use tests::Expect as _;
use tests::provider::{CLIENT_ID, Provider};
use url::Url;

use tests::arena::{Arena, MODES, Mode, parameter, with};

/// The attacker's provider hands the browser on to the honest one, as if the honest connection had sent it there: with the state of the
/// attacker's connection, and with what else `changes` says.
fn hand_on(arena: &Arena, redirect_uri: String, challenge: Option<String>) {
    let honest = format!("{}/authorize", arena.honest.issuer());
    arena.malicious.front(move |front| {
        front.onward = Some(Arc::new(move |here: &Url| {
            let mut url = Url::parse(&honest).unwrap();
            url.set_query(here.query());
            let challenge = challenge.clone().unwrap_or_else(|| parameter(here.as_str(), "code_challenge"));
            with(
                url.as_str(),
                &[("client_id", Some(CLIENT_ID)), ("redirect_uri", Some(&redirect_uri)), ("code_challenge", Some(&challenge))],
            )
        }));
    });
}

/// The victim's browser was sent away with a page; neither provider was asked for a token, and the attacker has seen no code.
async fn stopped(arena: &Arena, landed: &Answer, before: &tests::arena::Tally) {
    landed.page(400);
    assert_eq!(landed.location(), "");
    assert_eq!(arena.malicious.asked(), Vec::<Vec<(String, String)>>::new(), "no code ever reaches the attacker's token endpoint");
    arena.nothing_happened_since(before).await;
}

#[tokio::test]
async fn s23_s30_coat_the_honest_providers_code_never_goes_to_the_attackers_token_endpoint() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    // Whose link it was: the victim's own wish to use the attacker's connection, or a crafted one.
    for who in [&arena.olivia, &arena.mallory, &arena.ben] {
        for mode in MODES {
            for challenge in [None, Some("attackers-own-challenge-of-43-characters-xx".to_owned())] {
                hand_on(&arena, arena.callback("conn_honest"), challenge);
                let before = arena.tally().await;
                let url = arena.url(who, "conn_malicious", mode).await;
                let landed = victim.browser.visit(&url).await;
                assert!(victim.browser.here().starts_with(&arena.callback("conn_honest")));
                assert_ne!(parameter(&victim.browser.here(), "code"), "", "the honest provider did give a code");
                stopped(&arena, &landed, &before).await;
            }
        }
    }
    // The attacker may ask the honest provider to send the code to the attacker's own callback: that one it does not know.
    hand_on(&arena, arena.callback("conn_malicious"), None);
    let before = arena.tally().await;
    let url = arena.url(victim, "conn_malicious", Mode::Direct).await;
    let landed = victim.browser.visit(&url).await;
    assert_eq!(landed.status, 400);
    assert!(victim.browser.here().starts_with(arena.honest.issuer()), "it ends at the honest provider");
    arena.nothing_happened_since(&before).await;
    arena.no_browser_has_a_cookie_of_ours();
}

#[tokio::test]
async fn s23_corf_the_attackers_code_is_not_forced_into_the_victims_flow() {
    let arena = Arena::start().await;
    let (victim, attacker) = (&arena.olivia, &arena.mallory);
    for mode in MODES {
        // The attacker signs in with an own account and stops before the callback: a code for the honest connection.
        let own = arena.url(attacker, "conn_honest", mode).await;
        let code = parameter(&arena.before_the_callback(attacker, &own).await, "code");
        // The victim uses the attacker's connection, which sends the browser back with that code, to the honest connection's callback.
        let forged = arena.callback("conn_honest");
        arena.malicious.front(move |front| {
            front.onward = Some(Arc::new(move |here: &Url| {
                with(&forged, &[("code", Some(&code)), ("state", Some(&parameter(here.as_str(), "state")))])
            }));
        });
        let before = arena.tally().await;
        let url = arena.url(victim, "conn_malicious", mode).await;
        let landed = victim.browser.visit(&url).await;
        assert!(victim.browser.here().starts_with(&arena.callback("conn_honest")));
        stopped(&arena, &landed, &before).await;
    }
}

#[tokio::test]
async fn s28_s30_mix_up_a_code_of_the_honest_provider_is_never_sent_to_the_malicious_one() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    let honest_issuer = arena.honest.issuer().to_owned();
    // The honest provider compares redirect URIs; whether it names itself in the answer or not makes no difference.
    for iss in [None, Some(honest_issuer.clone())] {
        arena.honest.front(|front| front.iss = iss);
        hand_on(&arena, arena.callback("conn_honest"), None);
        for mode in MODES {
            let before = arena.tally().await;
            let url = arena.url(victim, "conn_malicious", mode).await;
            stopped(&arena, &victim.browser.visit(&url).await, &before).await;
        }
    }
    // It takes any redirect URI, but names itself: the answer arrives where the attacker wants it, and is not the attacker's.
    arena.honest.front(|front| {
        front.registered = None;
        front.iss = Some(honest_issuer.clone());
    });
    hand_on(&arena, arena.callback("conn_malicious"), None);
    for mode in MODES {
        let before = arena.tally().await;
        let url = arena.url(victim, "conn_malicious", mode).await;
        let landed = victim.browser.visit(&url).await;
        assert!(victim.browser.here().starts_with(&arena.callback("conn_malicious")));
        stopped(&arena, &landed, &before).await;
        // The attacker drops the issuer, or names its own: its metadata advertises none, so there must be none, and then the code
        // is one of the attacker's own making as far as anybody can tell. Its own is all that it may name.
        for wrong in ["", "https://evil.example", &format!("{honest_issuer}/")] {
            victim.browser.open(&with(&victim.browser.here(), &[("iss", Some(wrong))])).await.page(400);
        }
        arena.nothing_happened_since(&before).await;
    }
}

#[tokio::test]
async fn s28_a_malicious_provider_that_advertises_its_issuer_is_held_to_it() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    let honest_issuer = arena.honest.issuer().to_owned();
    arena.malicious.front(|front| front.metadata = json!({ "authorization_response_iss_parameter_supported": true }));
    arena.honest.front(|front| {
        front.registered = None;
        front.iss = Some(honest_issuer.clone());
    });
    hand_on(&arena, arena.callback("conn_malicious"), None);
    for mode in MODES {
        let before = arena.tally().await;
        let url = arena.url(victim, "conn_malicious", mode).await;
        let landed = victim.browser.visit(&url).await;
        stopped(&arena, &landed, &before).await;
        // Without an issuer it is no answer of a provider that always names itself.
        victim.browser.open(&with(&victim.browser.here(), &[("iss", None)])).await.page(400);
        arena.nothing_happened_since(&before).await;
    }
}

#[tokio::test]
async fn s30_metadata_that_borrows_the_honest_providers_sign_in_gains_nothing() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    // The attacker's document sends browsers straight to the honest provider, and codes to the attacker.
    let (authorize, token) = (format!("{}/authorize", arena.honest.issuer()), format!("{}/token", arena.malicious.issuer()));
    arena.malicious.front(|front| front.metadata = json!({ "authorization_endpoint": authorize, "token_endpoint": token }));
    for mode in MODES {
        let before = arena.tally().await;
        let url = arena.url(victim, "conn_malicious", mode).await;
        assert!(url.starts_with(&authorize), "{url}");
        let landed = victim.browser.visit(&url).await;
        assert_eq!(landed.status, 400, "the honest provider does not know that callback");
        assert!(victim.browser.here().starts_with(&authorize));
        // The attacker rewrites the link so that the honest provider does know it.
        let callback = arena.callback("conn_honest");
        let landed = victim.browser.visit(&with(&url, &[("redirect_uri", Some(&callback))])).await;
        stopped(&arena, &landed, &before).await;
    }
}

#[tokio::test]
async fn one_client_id_in_two_organizations_is_refused_before_anything_is_served() {
    let provider = Provider::start().await;
    let start = async |second: &dyn Fn(&mut Value)| {
        let api = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let mut directory: Value = serde_json::from_str(&demonstration::directory(api)).unwrap();
        let connections = directory["connections"].as_array_mut().unwrap();
        for (id, organization) in [("conn_victims", "org_demo"), ("conn_attackers", "org_elsewhere")] {
            let mut connection = provider.connection(id);
            connection["organization_id"] = json!(organization);
            connections.push(connection);
        }
        second(connections.last_mut().unwrap());
        let options = Options { directory: Some(directory.to_string()), ..Options::ephemeral() };
        Stack::start(options).await.map(drop).map_err(|error| chain(&error))
    };
    let slash = format!("{}/", provider.issuer());
    let spelled_alike: [&dyn Fn(&mut Value); 3] = [
        &|_| {},
        // The same provider, spelled otherwise, and a connection that is not in use: a directory that changes must stay safe.
        &|second| second["issuer"] = json!(slash),
        &|second| second["linked"] = json!(false),
    ];
    for second in spelled_alike {
        let refused = start(second).await.unwrap_err();
        let place = "connections[2].client_id: one client id in two organizations, here and at connections[1]";
        assert!(refused.contains(place), "{refused}");
    }
    for other in [&(|second: &mut Value| second["client_id"] = json!("a-client-of-their-own")) as &dyn Fn(&mut Value), &|second| {
        second["organization_id"] = json!("org_demo");
    }] {
        start(other).await.unwrap();
    }
    assert_eq!(provider.seen(), tests::provider::Seen::default(), "nobody was asked anything");
}

fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

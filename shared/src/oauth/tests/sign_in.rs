//! Code exchanges and `id_tokens`.

use serde_json::{Value, json};
use time::Duration;

use super::keys::{Key, b64, hmac};
use super::scripted::Reply;
use super::world::{NONCE, VERIFIER, World, metadata, secrets};
use crate::domain::caller::Person;
use crate::domain::secret::Secret;
use crate::ports::provider::{ProviderError, Refreshes};

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[tokio::test]
async fn a_code_becomes_tokens_and_a_proved_identity() {
    for key in [Key::ec(), Key::ed(), Key::rsa()] {
        let world = World::with(key, secrets(&["secret one"])).await;
        world.answer_with(&world.key.sign(&world.header(), &world.claims()));
        let exchanged = world.exchange().await.unwrap();
        let identity = exchanged.identity.unwrap();
        assert_eq!(identity.person, Person { issuer: world.server.base.clone(), subject: "person-1".to_owned() });
        assert_eq!(
            (identity.email.as_deref(), identity.email_verified, identity.organization.as_deref()),
            (Some("ops@example.com"), true, Some("org_1"))
        );
        assert_eq!(exchanged.tokens.access_token.expose(), "at-1");
        assert_eq!(exchanged.tokens.refresh_token.unwrap().expose(), "rt-1");
        assert_eq!(exchanged.tokens.expires_in, Some(Duration::HOUR));
        assert_eq!(exchanged.tokens.scopes.unwrap().to_text(), "email openid");
        let [request] = &world.server.seen("/token")[..] else { panic!("one token request") };
        assert_eq!((request.method.as_str(), request.form("grant_type").as_deref()), ("POST", Some("authorization_code")));
        assert_eq!((request.form("code").as_deref(), request.form("code_verifier").as_deref()), (Some("code-1"), Some(VERIFIER)));
        let redirect_uri = "https://mandate.example.com/workflows/authorization/callback/conn_test";
        assert_eq!(request.form("redirect_uri").as_deref(), Some(redirect_uri), "s31: the same as in the authorization request");
        // RFC 6749 section 2.3.1: "client+one:secret+one".
        assert_eq!(request.authorization.as_deref(), Some("Basic Y2xpZW50K29uZTpzZWNyZXQrb25l"), "s37");
        assert_eq!(request.form("client_secret"), None);
    }
}

#[tokio::test]
async fn s43_s44_only_public_key_algorithms_are_accepted() {
    let world = World::new().await;
    let claims = world.claims();
    let refused = |judged: Result<(), String>| assert!(judged.unwrap_err().contains("algorithm"));
    refused(world.judged_token(&format!("{}.{}.", b64(r#"{"alg":"none"}"#), b64(claims.to_string()))).await);
    refused(world.judged_token(&format!("{}.{}.", b64(r#"{"alg":"None","kid":"k1"}"#), b64(claims.to_string()))).await);
    let confused = json!({"alg": "HS256", "kid": "k1"});
    refused(world.judged_token(&hmac(world.key.public_pem().as_bytes(), &confused, &claims)).await);
    refused(world.judged_token(&hmac(b"secret one", &confused, &claims)).await);
    for other in ["RS256", "PS256", "EdDSA"] {
        let judged = world.judged_token(&world.key.sign(&json!({"alg": other, "kid": "k1"}), &claims)).await;
        assert_eq!(judged.unwrap_err(), "identity is not proved: no key fits", "{other}");
        world.clock.advance(Duration::minutes(5)); // otherwise the next unknown kid is not looked for
    }
}

#[tokio::test]
async fn s43_an_algorithm_that_the_issuer_does_not_announce_is_refused() {
    for (announced, accepted) in [
        (Value::Null, true),
        (json!(["ES256", "RS256"]), true),
        (json!(["none", "RS256"]), true),
        (json!(["PS256", "ES256"]), false),
        (json!(["none", "HS256"]), false),
        (json!([]), false),
    ] {
        let world = World::with(Key::rsa(), secrets(&["s"])).await;
        let document = with(metadata(&world.server.base), "id_token_signing_alg_values_supported", announced.clone());
        world.server.once("/.well-known/openid-configuration", Reply::Json(200, document));
        assert_eq!(world.judged(&world.claims()).await.is_ok(), accepted, "RS256 where {announced} is announced");
    }
}

#[tokio::test]
async fn s45_s47_s49_every_claim_has_to_hold() {
    let world = World::new().await;
    let (good, now) = (world.claims(), world.seconds());
    for (why, claims) in [
        ("another issuer", with(good.clone(), "iss", json!(format!("{}/", world.server.base)))),
        ("another client", with(good.clone(), "aud", json!("another"))),
        ("another client", with(good.clone(), "aud", json!(["another"]))),
        ("another client", with(good.clone(), "aud", json!(["client one", 5]))),
        ("no authorized party", with(good.clone(), "aud", json!(["client one", "another"]))),
        ("another party", with(good.clone(), "azp", json!("another"))),
        ("another party", with(with(good.clone(), "aud", json!(["client one", "another"])), "azp", json!("another"))),
        ("expired", with(good.clone(), "exp", json!(now - 60))),
        ("expired", without(good.clone(), "exp")),
        ("expired", with(good.clone(), "nbf", json!(now + 61))),
        ("expired", with(good.clone(), "iat", json!(now + 61))),
        ("no iat", without(good.clone(), "iat")),
        ("nonce", without(good.clone(), "nonce")),
        ("nonce", with(good.clone(), "nonce", json!("other"))),
        ("nonce", with(good.clone(), "nonce", json!([NONCE]))),
        ("sub", without(good.clone(), "sub")),
        ("sub", with(good.clone(), "sub", json!(""))),
        ("sub", with(good.clone(), "sub", json!("x".repeat(256)))),
        ("sub", with(good.clone(), "sub", json!("pérson"))),
        ("sub", with(good.clone(), "sub", json!(5))),
    ] {
        let refused = world.judged(&claims).await.unwrap_err();
        assert!(refused.contains(why), "{claims}: {refused}");
    }
    for accepted in [
        with(good.clone(), "exp", json!(now - 59)),
        with(good.clone(), "iat", json!(now + 60)),
        with(good.clone(), "aud", json!(["client one"])),
        with(with(good.clone(), "aud", json!(["client one", "another"])), "azp", json!("client one")),
    ] {
        assert_eq!(world.judged(&accepted).await, Ok(()), "{accepted}");
    }
}

#[tokio::test]
async fn s46_times_of_a_wrong_type_are_refused() {
    let world = World::new().await;
    let soon = world.seconds() + 300;
    for bad in [json!(soon.to_string()), json!("9999999999"), Value::Null, json!([soon]), json!({}), json!(true), json!(-1), json!(1e300)] {
        for name in ["exp", "nbf", "iat"] {
            let judged = world.judged(&with(world.claims(), name, bad.clone())).await;
            assert!(judged.is_err(), "{name} {bad}");
        }
    }
}

#[tokio::test]
async fn s48_at_hash_is_checked_when_present() {
    for (key, function, half) in [(Key::ec(), &aws_lc_rs::digest::SHA256, 16), (Key::ed(), &aws_lc_rs::digest::SHA512, 32)] {
        let world = World::with(key, secrets(&["s"])).await;
        let hash = aws_lc_rs::digest::digest(function, b"at-1");
        let good = b64(&hash.as_ref()[..half]);
        assert_eq!(world.judged(&with(world.claims(), "at_hash", json!(good))).await, Ok(()));
        for bad in [json!("AAAA"), json!(""), json!(7), json!(b64(&hash.as_ref()[..8]))] {
            assert!(world.judged(&with(world.claims(), "at_hash", bad)).await.unwrap_err().contains("another access token"));
        }
    }
}

#[tokio::test]
async fn s52_headers_that_bring_a_key_are_refused() {
    let world = World::new().await;
    for name in ["jku", "jwk", "x5u", "x5c", "crit"] {
        let header = with(world.header(), name, json!(["https://evil.example/keys"]));
        assert!(world.judged_token(&world.key.sign(&header, &world.claims())).await.unwrap_err().contains("brings a key"), "{name}");
    }
    // Without a kid the only key that fits is it.
    assert_eq!(world.judged_token(&world.key.sign(&json!({"alg": "ES256"}), &world.claims())).await, Ok(()));
    let stranger = Key::ec();
    assert!(world.judged_token(&stranger.sign(&world.header(), &world.claims())).await.unwrap_err().contains("not made by the key"));
    assert!(world.judged_token("not a token").await.is_err());
    let twice = world.claims().to_string().replacen('{', r#"{"sub":"admin","#, 1);
    assert!(world.judged_token(&world.key.sign_text(&world.header().to_string(), &twice)).await.is_err(), "s55: a name twice");
}

#[tokio::test]
async fn s52_invented_kids_cause_one_request_in_five_minutes() {
    let world = World::new().await;
    assert_eq!(world.judged(&world.claims()).await, Ok(()));
    assert_eq!(world.server.seen("/jwks").len(), 1);
    for number in 0..50 {
        let header = json!({"alg": "ES256", "kid": format!("invented-{number}")});
        assert!(world.judged_token(&world.key.sign(&header, &world.claims())).await.is_err());
    }
    assert_eq!(world.server.seen("/jwks").len(), 2);
    assert_eq!(world.judged(&world.claims()).await, Ok(()));
}

#[tokio::test]
async fn s53_a_key_made_just_before_signing_works_and_a_removed_one_ends() {
    let world = World::new().await;
    assert_eq!(world.judged(&world.claims()).await, Ok(()));
    let new = Key::ec();
    world.server.once("/jwks", Reply::Json(200, json!({"keys": [new.jwk("k2")]})));
    assert_eq!(world.judged_token(&new.sign(&json!({"alg": "ES256", "kid": "k2"}), &world.claims())).await, Ok(()));
    assert!(world.judged(&world.claims()).await.is_err(), "k1 is gone with the next look");
    world.clock.advance(Duration::minutes(11));
    assert_eq!(world.judged(&world.claims()).await, Ok(()), "the cache ends after ten minutes");
}

#[tokio::test]
async fn keys_that_cannot_be_had_spend_no_code_and_serve_stale_for_an_hour() {
    let world = World::new().await;
    world.server.once("/jwks", Reply::Text(503, "", vec![("retry-after", "7".to_owned())]));
    let Err(ProviderError::Unavailable { status: Some(503), retry_after: Some(wait), .. }) = world.exchange().await else { panic!("down") };
    assert_eq!(wait, Duration::seconds(7));
    assert!(matches!(world.exchange().await, Err(ProviderError::Unavailable { .. })), "believed for seconds, without another request");
    assert_eq!((world.server.seen("/jwks").len(), world.server.seen("/token").len()), (1, 0));
    world.clock.advance(Duration::seconds(4));
    assert_eq!(world.judged(&world.claims()).await, Ok(()));
    world.clock.advance(Duration::minutes(30));
    world.server.once("/jwks", Reply::Text(500, "", Vec::new()));
    assert_eq!(world.judged(&world.claims()).await, Ok(()), "stale");
}

#[tokio::test]
async fn s51_userinfo_completes_the_email_and_speaks_of_the_same_subject() {
    let world = World::new().await;
    let bare = without(without(world.claims(), "email"), "email_verified");
    world.server.once(
        "/userinfo",
        Reply::Json(200, json!({"sub": "person-1", "email": "a@b.example", "email_verified": "true", "org_id": "org_evil"})),
    );
    world.answer_with(&world.key.sign(&world.header(), &bare));
    let identity = world.exchange().await.unwrap().identity.unwrap();
    assert_eq!((identity.email.as_deref(), identity.email_verified), (Some("a@b.example"), true));
    assert_eq!(identity.organization.as_deref(), Some("org_1"), "the id_token has the last word");
    assert_eq!(world.server.seen("/userinfo")[0].authorization.as_deref(), Some("Bearer at-1"));
    world.server.once("/userinfo", Reply::Json(200, json!({"sub": "person-2", "email": "a@b.example"})));
    assert!(world.judged(&bare).await.unwrap_err().contains("another subject"));
    world.server.once("/userinfo", Reply::Text(503, "", Vec::new()));
    assert!(world.judged(&bare).await.unwrap_err().contains("not available"));
    world.server.once("/userinfo", Reply::Text(404, "", Vec::new()));
    assert!(world.judged(&bare).await.is_err(), "a gateway's 404 may pass");
    world.server.once("/userinfo", Reply::Text(403, "", Vec::new()));
    assert_eq!(world.judged(&bare).await, Ok(()), "no e-mail, but an identity");
}

#[tokio::test]
async fn s50_the_id_token_of_a_refresh_is_of_the_same_person() {
    let world = World::new().await;
    let person = Person { issuer: world.server.base.clone(), subject: "person-1".to_owned() };
    let fresh = without(world.claims(), "nonce");
    let refreshed = |claims: Value| {
        let token = world.key.sign(&world.header(), &claims);
        world.answer_with(&token);
        async { world.provider.refresh(&world.connection, &Secret::new("rt-0".to_owned()), &person).await }
    };
    let answer = refreshed(fresh.clone()).await.unwrap();
    assert_eq!(answer.tokens.refresh_token.unwrap().expose(), "rt-1");
    assert_eq!(world.server.seen("/jwks").len(), 0, "no request stands between the answer and its storing");
    assert_eq!(world.server.seen("/token")[0].form("refresh_token").as_deref(), Some("rt-0"));
    let judged = async |claims: Value| refreshed(claims).await.unwrap().identity;
    assert!(matches!(judged(with(fresh.clone(), "sub", json!("person-2"))).await, Err(ProviderError::IdentityChanged)));
    assert!(matches!(judged(with(fresh.clone(), "iss", json!("https://evil.example"))).await, Err(ProviderError::IdentityChanged)));
    assert!(matches!(judged(with(fresh.clone(), "aud", json!("another"))).await, Err(ProviderError::IdentityInvalid { .. })));
    assert!(matches!(judged(without(fresh.clone(), "iat")).await, Err(ProviderError::IdentityInvalid { .. })));
    // With the keys at hand, a signature that does not hold is noticed.
    assert_eq!(world.judged(&world.claims()).await, Ok(()));
    world.answer_with(&Key::ec().sign(&world.header(), &fresh));
    let forged = world.provider.refresh(&world.connection, &Secret::new("rt-0".to_owned()), &person).await.unwrap();
    assert!(matches!(forged.identity, Err(ProviderError::IdentityInvalid { .. })));
}

//! Which key and which algorithm may have signed an `id_token` (OpenID Connect Core sections 3.1.3.7 and 10.1).

use serde_json::{Value, json};
use time::Duration;

use super::keys::{Key, b64};
use super::scripted::Reply;
use super::world::{World, metadata, secrets};
use crate::domain::caller::Person;
use crate::domain::secret::Secret;
use crate::oauth::jwks::{Jwks, Unverified};
use crate::oauth::jwt::{Alg, Jwt};
use crate::ports::provider::{ProviderError, Refreshes};

/// What becomes of a token of the world's key that names none, with these published: a token that no key has signed is worth a
/// second look.
async fn unnamed(world: &World, published: Vec<Value>, looks: usize) -> Result<(), String> {
    for _ in 0..looks {
        world.server.once("/jwks", Reply::Json(200, json!({ "keys": published })));
    }
    world.clock.advance(Duration::minutes(11));
    world.judged_token(&world.key.sign(&json!({"alg": "ES256"}), &world.claims())).await
}

fn with(mut jwk: Value, name: &str, value: &str) -> Value {
    jwk[name] = json!(value);
    jwk
}

#[tokio::test]
async fn s43_each_algorithm_is_verified_over_the_wire() {
    for key in [Key::ec(), Key::ed(), Key::rsa(), Key::pss()] {
        let alg = key.alg();
        let world = World::with(key, secrets(&["secret one"])).await;
        assert_eq!(world.judged(&world.claims()).await, Ok(()), "{alg}");
        let token = world.key.sign(&world.header(), &world.claims());
        let (message, signature) = token.rsplit_once('.').unwrap();
        let forged = format!("{message}.{}", b64(signature.as_bytes()));
        assert!(world.judged_token(&forged).await.is_err(), "{alg}");
    }
    // RS256 and PS256 are of one kind of key, and still two algorithms.
    let world = World::with(Key::rsa(), secrets(&["secret one"])).await;
    let claimed = json!({"alg": "PS256", "kid": "k1"});
    assert!(world.judged_token(&world.key.sign(&claimed, &world.claims())).await.is_err());
}

#[tokio::test]
async fn s43_an_algorithm_that_the_metadata_does_not_name_is_refused() {
    for (told, refused) in [
        (json!(["ES256"]), false),
        (json!(["RS256", "ES256"]), false),
        (json!(["RS256"]), true),
        (json!(["none", "HS256"]), true),
        (json!([]), true),
        (Value::Null, false),
    ] {
        let world = World::new().await;
        let mut document = metadata(&world.server.base);
        document["id_token_signing_alg_values_supported"] = told.clone();
        world.server.once("/.well-known/openid-configuration", Reply::Json(200, document));
        let judged = world.judged(&world.claims()).await;
        assert_eq!(judged.is_err_and(|why| why.contains("algorithm is not allowed")), refused, "{told}");
        // The same at a refresh.
        let person = Person { issuer: world.server.base.clone(), subject: "person-1".to_owned() };
        let mut claims = world.claims();
        claims.as_object_mut().unwrap().remove("nonce");
        world.answer_with(&world.key.sign(&world.header(), &claims));
        let refreshed = world.provider.refresh(&world.connection, &Secret::new("rt".to_owned()), &person).await.unwrap();
        assert_eq!(matches!(refreshed.identity, Err(ProviderError::IdentityInvalid { .. })), refused, "{told}");
    }
}

#[tokio::test]
async fn s43_an_encrypted_id_token_is_refused_in_plain_words() {
    let world = World::new().await;
    let header = b64(json!({"alg": "RSA-OAEP-256", "enc": "A256GCM", "cty": "JWT"}).to_string());
    let jwe = [header.as_str(), "a2V5", "aXY", "Y2lwaGVydGV4dA", "dGFn"].join(".");
    assert_eq!(world.judged_token(&jwe).await.unwrap_err(), "identity is not proved: it is encrypted");
    let signed = world.key.sign(&world.header(), &world.claims());
    assert!(world.judged_token(&format!("{signed}.x.y")).await.is_err());
    assert!(world.judged_token(&format!("{signed}.x")).await.is_err());
}

#[tokio::test]
async fn s51_signed_or_encrypted_userinfo_is_refused_and_not_taken_for_silence() {
    let world = World::new().await;
    let mut bare = world.claims();
    for name in ["email", "email_verified"] {
        bare.as_object_mut().unwrap().remove(name);
    }
    let signed = world.key.sign(&world.header(), &json!({"sub": "person-1", "email": "a@b.example"})).into_bytes();
    for kind in ["application/jwt", "application/JWT; charset=utf-8"] {
        world.server.once("/userinfo", Reply::Bytes(signed.clone(), vec![("content-type", kind.to_owned())]));
        let refused = world.judged(&bare).await.unwrap_err();
        assert_eq!(refused, "provider's answer is not usable: its userinfo is signed or encrypted, which nobody asked for", "{kind}");
    }
    world.server.once("/userinfo", Reply::Bytes(signed, Vec::new()));
    assert!(world.judged(&bare).await.unwrap_err().contains("not a strict JSON object"));
}

#[tokio::test]
async fn s52_without_a_kid_there_must_be_exactly_one_key_that_can_have_signed() {
    let world = World::new().await;
    let own = world.key.jwk("k1");
    let (other, rsa, ed) = (Key::ec().jwk("k2"), Key::rsa().jwk("k3"), Key::ed().jwk("k4"));
    assert_eq!(unnamed(&world, vec![own.clone()], 1).await, Ok(()));
    assert_eq!(unnamed(&world, vec![rsa.clone(), own.clone(), ed.clone()], 1).await, Ok(()), "the others are of another kind");
    let encrypts = with(other.clone(), "use", "enc");
    assert_eq!(unnamed(&world, vec![encrypts, own.clone()], 1).await, Ok(()), "the other signs nothing");
    for (ops, serves) in [(json!(["sign"]), false), (json!([]), false), (json!("verify"), false), (json!(["wrapKey", "verify"]), true)] {
        let limited =
            |jwk: &Value| json!({"kty": jwk["kty"], "crv": jwk["crv"], "x": jwk["x"], "y": jwk["y"], "kid": jwk["kid"], "key_ops": ops});
        assert_eq!(unnamed(&world, vec![limited(&own)], if serves { 1 } else { 2 }).await.is_ok(), serves, "{ops}");
        assert_eq!(unnamed(&world, vec![limited(&other), own.clone()], if serves { 2 } else { 1 }).await.is_ok(), !serves, "{ops}");
    }
    let p384 = json!({"kty": "EC", "crv": "P-384", "kid": "k5", "x": b64([1; 48]), "y": b64([2; 48])});
    assert_eq!(unnamed(&world, vec![p384, own.clone()], 1).await, Ok(()), "nor this one, here");
    let several = "identity is not proved: it names no key, and several fit";
    assert_eq!(unnamed(&world, vec![own.clone(), other.clone()], 2).await.unwrap_err(), several);
    assert_eq!(unnamed(&world, vec![other.clone(), own.clone()], 2).await.unwrap_err(), several);
    assert!(unnamed(&world, vec![rsa, ed], 2).await.unwrap_err().contains("no key fits"));
    assert!(unnamed(&world, vec![other], 2).await.unwrap_err().contains("not made by the key"));
    assert!(unnamed(&world, Vec::new(), 2).await.unwrap_err().contains("no key fits"));
}

#[tokio::test]
async fn s53_a_key_without_a_name_that_was_changed_just_before_signing_is_looked_for_once() {
    let world = World::new().await;
    let (old, new, header) = (Key::ec(), Key::ec(), json!({"alg": "ES256"}));
    world.server.once("/jwks", Reply::Json(200, json!({"keys": [old.jwk("k1")]})));
    assert_eq!(world.judged_token(&old.sign(&header, &world.claims())).await, Ok(()));
    world.server.once("/jwks", Reply::Json(200, json!({"keys": [new.jwk("k2")]})));
    assert_eq!(world.judged_token(&new.sign(&header, &world.claims())).await, Ok(()), "the new one is found");
    assert_eq!(world.server.seen("/jwks").len(), 2);
    for _ in 0..5 {
        assert!(world.judged_token(&old.sign(&header, &world.claims())).await.is_err(), "the old one has ended");
    }
    assert_eq!(world.server.seen("/jwks").len(), 2, "and forgeries cause no more requests");
}

#[tokio::test]
async fn s52_keys_serve_for_ten_minutes_and_for_an_hour_while_their_issuer_is_down() {
    let world = World::new().await;
    let jwks = Jwks::new(super::world::http(), world.clock.clone());
    let uri = url::Url::parse(&format!("{}/jwks", world.server.base)).unwrap();
    let down = || world.server.once("/jwks", Reply::Text(503, "", Vec::new()));
    jwks.warm(&uri).await.unwrap();
    world.clock.advance(Duration::minutes(10) - Duration::SECOND);
    jwks.warm(&uri).await.unwrap();
    assert_eq!(world.server.seen("/jwks").len(), 1);
    world.clock.advance(Duration::SECOND);
    down();
    jwks.warm(&uri).await.unwrap();
    assert_eq!(world.server.seen("/jwks").len(), 2, "after ten minutes they are fetched again, and if that fails, they serve");
    world.clock.advance(Duration::minutes(50) - Duration::SECOND);
    down();
    jwks.warm(&uri).await.unwrap();
    world.clock.advance(Duration::SECOND);
    assert!(jwks.warm(&uri).await.is_err(), "after an hour they do not");
}

#[tokio::test]
async fn s52_ten_thousand_invented_kids_cause_one_request() {
    let world = World::new().await;
    let jwks = Jwks::new(super::world::http(), world.clock.clone());
    let uri = url::Url::parse(&format!("{}/jwks", world.server.base)).unwrap();
    jwks.warm(&uri).await.unwrap();
    for number in 0..10_000 {
        let header = json!({"alg": "ES256", "kid": format!("invented-{number}")}).to_string();
        let token = format!("{}.{}.{}", b64(header), b64("{}"), b64([0; 64]));
        let jwt = Jwt::read(&token, &Alg::ASYMMETRIC).unwrap();
        assert!(matches!(jwks.verify(&uri, &jwt).await, Err(Unverified::Refused("no key fits"))));
    }
    assert_eq!(world.server.seen("/jwks").len(), 2, "the first look, and one for all of them");
    world.clock.advance(Duration::minutes(5));
    let token = format!("{}.{}.{}", b64(r#"{"alg":"ES256","kid":"one-more"}"#), b64("{}"), b64([0; 64]));
    assert!(jwks.verify(&uri, &Jwt::read(&token, &Alg::ASYMMETRIC).unwrap()).await.is_err());
    assert_eq!(world.server.seen("/jwks").len(), 3);
}

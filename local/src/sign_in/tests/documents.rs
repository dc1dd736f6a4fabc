//! Discovery, keys, and the API's bearer tokens.

use super::super::{ApiClaims, mint_api_token};
use super::*;

#[tokio::test]
async fn discovery_names_the_issuer_exactly_and_its_endpoints_below_it() {
    let document = World::new().get(".well-known/openid-configuration").await.json();
    assert_eq!(document["issuer"], ISSUER);
    for endpoint in ["authorization", "token", "userinfo", "revocation"] {
        let url = text(&document, &format!("{endpoint}_endpoint")).to_owned();
        assert!(url.starts_with(&format!("{ISSUER}/")), "{url}");
    }
    assert_eq!(document["code_challenge_methods_supported"], serde_json::json!(["S256"]));
    assert_eq!(document["authorization_response_iss_parameter_supported"], true);
}

#[tokio::test]
async fn only_the_public_half_of_the_key_is_published() {
    let keys = World::new().get("jwks.json").await.json();
    let key = &keys["keys"][0];
    assert_eq!((text(key, "kty"), text(key, "alg"), text(key, "use")), ("EC", "ES256", "sig"));
    assert_eq!(text(key, "crv"), "P-256");
    assert!(key.get("d").is_none());
}

#[tokio::test]
async fn a_bearer_token_is_of_another_type_and_audience_than_an_id_token() {
    let world = World::new();
    let claims = ApiClaims {
        issuer: ISSUER.to_owned(),
        audience: "http://127.0.0.1:8787".to_owned(),
        subject: "usr_olivia".to_owned(),
        organization: Some("org_demo".to_owned()),
        email: Some("ops@example.com".to_owned()),
        email_verified: true,
        scopes: vec!["workflow_authorization:*".to_owned()],
        lifetime_seconds: 3_600,
    };
    let token = mint_api_token(&claims, OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()).unwrap();
    let (header, claims) = world.verified(&token, "http://127.0.0.1:8787").await;
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(claims["org_id"], "org_demo");
    assert_eq!(claims["scopes"], serde_json::json!(["workflow_authorization:*"]));
    assert_eq!(claims["email_verified"], true);
    assert_eq!(claims["exp"], 1_800_003_600);
    assert!(claims["jti"].is_string());
}

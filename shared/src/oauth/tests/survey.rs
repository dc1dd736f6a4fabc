//! What an operator is told of a provider before anybody signs in.

use std::sync::Arc;

use serde_json::{Value, json};

use super::scripted::{Reply, Scripted};
use super::world::{HandClock, Sevens, connection, http, metadata};
use crate::domain::connection::{ClientAuthentication, Connection, Kind};
use crate::domain::scopes::Scopes;
use crate::oauth::{Egress, Finding, Http, Provider, Survey};
use crate::ports::provider::ProviderError;

const PATH: &str = "/.well-known/openid-configuration";

/// A provider with nothing to be said against it, changed.
async fn surveyed(change: impl Fn(&mut Value) + Send + Sync + 'static, of: impl Fn(&mut Connection)) -> Result<Survey, ProviderError> {
    let server = Scripted::start(move |base, request| match request.path.as_str() {
        PATH => {
            let mut document = metadata(base);
            document["code_challenge_methods_supported"] = json!(["S256"]);
            change(&mut document);
            Some(Reply::Json(200, document))
        }
        "/jwks" => Some(Reply::Json(200, json!({ "keys": [] }))),
        _ => None,
    })
    .await;
    let provider = Provider::without_secrets(http(), HandClock::new(), Arc::new(Sevens));
    let mut connection = connection(Kind::Oidc { issuer: server.base.clone(), revocation_endpoint: None });
    of(&mut connection);
    provider.survey(&connection).await
}

/// The findings in a line each; a fault begins with `!`.
async fn found(change: impl Fn(&mut Value) + Send + Sync + 'static, of: impl Fn(&mut Connection)) -> Vec<String> {
    let findings = surveyed(change, of).await.unwrap().findings;
    let line = |finding| match finding {
        Finding::Fault(text) => format!("! {text}"),
        Finding::Note(text) => text,
    };
    findings.into_iter().map(line).collect()
}

#[tokio::test]
async fn a_provider_that_fits_is_found_with_all_its_endpoints() {
    let survey = surveyed(|_| {}, |_| {}).await.unwrap();
    assert_eq!(survey.findings, []);
    assert!(!survey.pushes_with_proof);
    let names: Vec<_> = survey.endpoints.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "revocation_endpoint", "jwks_uri"]);
}

#[tokio::test]
async fn another_issuer_is_shown_to_the_letter_and_nothing_else_is_asked() {
    let found = found(|document| document["issuer"] = json!("https://id.example/\n"), |_| {}).await;
    assert_eq!(found, [r#"! its metadata is of the issuer "https://id.example/\n"; the directory must name it to the letter"#]);
}

#[tokio::test]
async fn what_the_metadata_lacks_for_this_connection_is_told() {
    let nothing = |_: &mut Connection| {};
    assert_eq!(
        found(|document| document["code_challenge_methods_supported"] = json!(["plain"]), nothing).await,
        ["it does not say that it supports PKCE with S256; it is sent all the same"]
    );
    assert_eq!(
        found(|document| document["response_types_supported"] = json!(["id_token"]), nothing).await,
        ["! it does not offer the response type code"]
    );
    assert_eq!(
        found(|document| document["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]), nothing).await,
        ["! its token endpoint does not take client_secret_basic, which is this connection's token_endpoint_auth_method"]
    );
    assert_eq!(
        found(|document| document["id_token_signing_alg_values_supported"] = json!(["HS256"]), nothing).await,
        ["! it signs id_tokens with none of RS256, ES256, PS256, EdDSA"]
    );
    assert_eq!(
        found(|document| document["grant_types_supported"] = json!(["authorization_code"]), nothing).await,
        ["it does not offer refresh tokens: people will have to sign in again"]
    );
    assert_eq!(
        found(|document| document["scopes_supported"] = json!(["openid"]), |it| it.scopes = Scopes::parse("openid drive").unwrap()).await,
        ["it does not announce the scope drive"]
    );
    assert_eq!(
        found(|document| document["revocation_endpoint"] = Value::Null, nothing).await,
        ["it names no revocation_endpoint: a revoked authorization ends here, and not there"]
    );
    assert_eq!(
        found(|document| document["userinfo_endpoint"] = Value::Null, |it| it.allowed_scopes = Scopes::parse("email").unwrap()).await,
        ["! without the scope openid the identity comes from userinfo, and its metadata lacks a userinfo_endpoint"]
    );
    let keyless = found(|document| document["jwks_uri"] = json!(document["token_endpoint"]), nothing).await;
    assert!(keyless.len() == 1 && keyless[0].starts_with("! its keys cannot be had from http://127.0.0.1:"), "{keyless:?}");
}

#[tokio::test]
async fn s15_pushing_is_told_beforehand_and_so_is_that_it_cannot_be_done() {
    let required = |document: &mut Value| document["require_pushed_authorization_requests"] = json!(true);
    let told = found(required, |_| {}).await;
    assert_eq!(told, ["! sign-in requests have to be pushed, and its metadata lacks a pushed_authorization_request_endpoint"]);
    let complete = move |document: &mut Value| {
        required(document);
        document["pushed_authorization_request_endpoint"] = json!(document["token_endpoint"]);
    };
    let survey = surveyed(complete, |_| {}).await.unwrap();
    assert_eq!((survey.findings.len(), survey.pushes_with_proof), (0, true));
    let public = |it: &mut Connection| it.client_authentication = ClientAuthentication::None;
    assert!(!surveyed(complete, public).await.unwrap().pushes_with_proof, "a public client has nothing to prove");
}

#[tokio::test]
async fn s76_the_way_out_is_the_service_s_own() {
    let server = Scripted::start(|base, _| Some(Reply::Json(200, metadata(base)))).await;
    let strict = Http::new(Egress::new(false)).unwrap();
    let provider = Provider::without_secrets(strict, HandClock::new(), Arc::new(Sevens));
    let refused = provider.survey(&connection(Kind::Oidc { issuer: server.base.clone(), revocation_endpoint: None })).await;
    assert!(matches!(refused, Err(ProviderError::Misconfigured { .. })), "{refused:?}");
    assert!(server.all().is_empty(), "nothing on this machine is asked in production");
}

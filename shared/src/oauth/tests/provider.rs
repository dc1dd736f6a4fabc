//! URLs, client authentication, dialects, revocation.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::Url;

use super::keys::Key;
use super::scripted::{Reply, Scripted};
use super::world::{HandClock, Listed, NOW, Sevens, World, connection, exchange, flow_secrets, http, metadata, oauth2, secrets};
use crate::domain::caller::Person;
use crate::domain::connection::{ClientAuthentication, Connection, Dialect, Kind, WorkOsSelector};
use crate::domain::scopes::Scopes;
use crate::domain::secret::Secret;
use crate::oauth::Provider;
use crate::ports::configuration::ClientCredential;
use crate::ports::provider::{
    AuthorizationRequest, AuthorizationUrl, AuthorizationUrls, Hints, ProviderError, ProviderMetadata, Refreshes, Revocations, Revoked,
    RevokedToken, UserInfo,
};

fn provider() -> Provider {
    Provider::new(http(), HandClock::new(), Arc::new(Sevens), Arc::new(Listed(secrets(&["secret one"]))))
}

async fn url(provider: &Provider, connection: &Connection, scopes: &str, hints: &Hints) -> Result<Url, ProviderError> {
    request_url(provider, connection, scopes, hints).await.map(|made| made.url)
}

pub(super) async fn request_url(
    provider: &Provider,
    connection: &Connection,
    scopes: &str,
    hints: &Hints,
) -> Result<AuthorizationUrl, ProviderError> {
    let redirect_uri = Url::parse("https://mandate.example.com/cb?a=1").unwrap();
    let (secrets, scopes) = (flow_secrets(), Scopes::parse(scopes).unwrap());
    let request = AuthorizationRequest { redirect_uri: &redirect_uri, state: "st.a-te", secrets: &secrets, scopes: &scopes, hints };
    provider.authorization_url(connection, &request).await
}

fn person(subject: &str) -> Person {
    Person { issuer: "irrelevant".to_owned(), subject: subject.to_owned() }
}

pub(super) fn text(secret: &str) -> Secret {
    Secret::new(secret.to_owned())
}

#[tokio::test]
async fn s05_s11_the_url_is_fixed_encoded_and_cannot_be_overridden() {
    let mut world = World::new().await;
    let extras = [("audience", "https://api.example.com"), ("client_id", "evil"), ("prompt", "none"), ("empty", "")];
    world.connection.extra_authorization_params = extras.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
    let hints = Hints {
        login_hint: Some("a&state=evil#x b".to_owned()),
        prompt: Some("consent".to_owned()),
        max_age: Some(0),
        domain_hint: Some(String::new()),
        query_params: [("audience".to_owned(), "evil".to_owned()), ("hd".to_owned(), "é".to_owned())].into(),
        ..Hints::default()
    };
    let made = url(&world.provider, &world.connection, "openid email", &hints).await.unwrap();
    assert_eq!(
        made.as_str().strip_prefix(&world.server.base).unwrap(),
        "/authorize?own=1&response_type=code&client_id=client%20one&redirect_uri=https%3A%2F%2Fmandate.example.com%2Fcb%3Fa%3D1&scope=email%20openid\
         &state=st.a-te&code_challenge=DksyTyvjKJMTgEpPXzLiaCJ1P325hYFdr6STK5uo-WM&code_challenge_method=S256&nonce=nonce-of-this-flow\
         &login_hint=a%26state%3Devil%23x%20b&prompt=consent&max_age=0&audience=https%3A%2F%2Fapi.example.com&hd=%C3%A9"
    );
    let without = url(&world.provider, &world.connection, "email", &Hints::default()).await.unwrap();
    assert!(!without.as_str().contains("nonce"));
    assert_eq!(world.server.seen("/.well-known/openid-configuration").len(), 1);
}

#[tokio::test]
async fn s15_required_requests_are_pushed() {
    let world = World::new().await;
    let mut document = metadata(&world.server.base);
    document["require_pushed_authorization_requests"] = json!(true);
    document["pushed_authorization_request_endpoint"] = json!(format!("{}/par", world.server.base));
    world.server.once("/.well-known/openid-configuration", Reply::Json(200, document));
    world.server.once("/par", Reply::Json(201, json!({"request_uri": "urn:x:1", "expires_in": 60})));
    let made = url(&world.provider, &world.connection, "openid", &Hints::default()).await.unwrap();
    assert_eq!(made.query(), Some("own=1&state=theirs&client_id=client%20one&request_uri=urn%3Ax%3A1"));
    let pushed = &world.server.seen("/par")[0];
    assert_eq!((pushed.form("state").as_deref(), pushed.form("client_secret")), (Some("st.a-te"), None));
    assert!(pushed.authorization.is_some());
}

#[tokio::test]
async fn s37_an_assertion_has_one_audience_the_issuer() {
    let (client_key, key) = (Key::ec(), Key::ec());
    let credential = ClientCredential::Key { kid: "c1".to_owned(), pem: Secret::new(client_key.pem()) };
    let mut world = World::with(key, vec![credential]).await;
    world.connection.client_authentication = ClientAuthentication::PrivateKeyJwt;
    assert_eq!(world.judged(&world.claims()).await, Ok(()));
    let request = &world.server.seen("/token")[0];
    assert_eq!((request.authorization.as_deref(), request.form("client_id").as_deref()), (None, Some("client one")));
    assert_eq!(request.form("client_assertion_type").as_deref(), Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
    let assertion = request.form("client_assertion").unwrap();
    let part = |at: usize| -> Value {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(assertion.split('.').nth(at).unwrap()).unwrap()).unwrap()
    };
    assert_eq!(part(0), json!({"alg": "ES256", "kid": "c1", "typ": "JWT"}));
    let now = NOW.unix_timestamp();
    let jti = BASE64_URL_SAFE_NO_PAD.encode([7; 16]);
    assert_eq!(
        part(1),
        json!({"iss": "client one", "sub": "client one", "aud": world.server.base, "jti": jti, "iat": now, "exp": now + 60})
    );
}

#[tokio::test]
async fn s70_secrets_are_tried_in_order_and_only_after_invalid_client() {
    let world = World::with(Key::ec(), secrets(&["new", "old"])).await;
    world.server.once("/token", Reply::Json(401, json!({"error": "invalid_client"})));
    assert_eq!(world.judged(&world.claims()).await, Ok(()));
    let tried: Vec<_> = world.server.seen("/token").into_iter().map(|seen| seen.authorization.unwrap()).collect();
    assert_eq!(tried, ["Basic Y2xpZW50K29uZTpuZXc=", "Basic Y2xpZW50K29uZTpvbGQ="]);
    for (reply, expected) in [
        (Reply::Json(400, json!({"error": "invalid_grant"})), "provider refused the grant"),
        (Reply::Json(200, json!({"error": "invalid_grant"})), "provider refused the grant"),
        (Reply::Json(400, json!({"error": "unauthorized_client"})), "provider refused this client: unauthorized_client"),
        (Reply::Json(503, json!({"error": "invalid_client"})), "provider is not available"),
        (
            Reply::Json(200, json!({"access_token": "a", "token_type": "mac"})),
            "provider's answer is not usable: its token_type is not Bearer",
        ),
        (Reply::Text(200, "<html>", Vec::new()), "provider's answer is not usable: it is not a strict JSON object"),
        (
            Reply::Text(200, r#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#, Vec::new()),
            "provider's answer is not usable: it is not a strict JSON object",
        ),
    ] {
        let before = world.server.seen("/token").len();
        world.server.once("/token", reply);
        assert_eq!(world.exchange().await.unwrap_err().to_string(), expected);
        assert_eq!(world.server.seen("/token").len(), before + 1);
    }
    let none = World::with(Key::ec(), Vec::new()).await;
    none.server.once("/token", Reply::Json(400, json!({"error": "invalid_request"})));
    assert!(none.exchange().await.is_err());
    let sent = none.server.seen("/token").remove(0);
    assert_eq!(sent.authorization, None, "whoever has no secrets is a public client");
    assert!(sent.body.contains("client_id=") && !sent.body.contains("client_secret"), "{}", sent.body);
}

#[tokio::test]
async fn a_200_with_an_error_of_github_is_an_error_and_its_identity_a_number() {
    let server = Scripted::start(|_, _| None).await;
    let (provider, mut connection) = (provider(), oauth2(&server.base, Dialect::GitHub));
    connection.claims.subject = "id".to_owned();
    connection.client_authentication = ClientAuthentication::ClientSecretPost;
    server.once("/token", Reply::Json(200, json!({"error": "bad_refresh_token", "error_description": "x"})));
    let refused = provider.refresh(&connection, &text("r"), &person("1")).await;
    assert!(matches!(refused, Err(ProviderError::InvalidGrant)));
    server.once("/token", Reply::Json(200, json!({"access_token": "gho", "token_type": "bearer", "scope": "repo,gist"})));
    server.once("/userinfo", Reply::Json(200, json!({"id": 583_231, "login": "octocat", "email": null})));
    let exchanged = exchange(&provider, &connection).await.unwrap();
    let identity = exchanged.identity.unwrap();
    assert_eq!(identity.person, Person { issuer: server.base.clone(), subject: "583231".to_owned() });
    assert_eq!((identity.email, exchanged.tokens.scopes.unwrap().to_text()), (None, "gist repo".to_owned()));
    assert_eq!(server.seen("/token")[1].form("client_secret").as_deref(), Some("secret one"));
    server.once("/userinfo", Reply::Text(401, "", Vec::new()));
    assert!(matches!(provider.userinfo(&connection, &text("a")).await, Err(ProviderError::InvalidGrant)));
    server.once("/revoke", Reply::Text(204, "", Vec::new()));
    assert_eq!(provider.revoke_tokens(&connection, Some(&text("r")), Some(&text("a"))).await.outcome.unwrap(), Revoked::Done);
    assert_eq!((server.seen("/revoke")[0].method.as_str(), server.seen("/revoke")[0].body.as_str()), ("DELETE", r#"{"access_token":"a"}"#));
}

#[tokio::test]
async fn s86_the_refresh_token_is_revoked_first_and_unknown_tokens_count() {
    let world = World::new().await;
    let revoke = || async { world.provider.revoke_tokens(&world.connection, Some(&text("rt")), Some(&text("at"))).await };
    world.server.once("/revoke", Reply::Text(200, "", Vec::new()));
    world.server.once("/revoke", Reply::Json(400, json!({"error": "unsupported_token_type"})));
    let revocation = revoke().await;
    assert_eq!(revocation.outcome.unwrap(), Revoked::Done);
    let receipts: Vec<_> = revocation.receipts.iter().map(|receipt| (receipt.token, receipt.status, receipt.at)).collect();
    assert_eq!(receipts, [(RevokedToken::Refresh, Some(200), NOW), (RevokedToken::Access, Some(400), NOW)]);
    let seen = world.server.seen("/revoke");
    let told: Vec<_> = seen.iter().map(|seen| (seen.form("token").unwrap(), seen.form("token_type_hint").unwrap())).collect();
    assert_eq!(told, [("rt".to_owned(), "refresh_token".to_owned()), ("at".to_owned(), "access_token".to_owned())]);
    assert!(seen.iter().all(|seen| seen.authorization.is_some() && seen.method == "POST"));
    world.server.once("/revoke", Reply::Text(503, "", Vec::new()));
    let revocation = revoke().await;
    assert!(matches!(revocation.outcome, Err(ProviderError::Unavailable { status: Some(503), .. })));
    let receipts: Vec<_> = revocation.receipts.iter().map(|receipt| (receipt.token, receipt.status)).collect();
    assert_eq!(receipts, [(RevokedToken::Refresh, Some(503))], "the access token is not asked about");
    assert!(world.provider.supports_revocation(&world.connection).await.unwrap());
    let Kind::OAuth2 { authorization_endpoint, token_endpoint, userinfo_endpoint, dialect, .. } =
        oauth2(&world.server.base, Dialect::Standard).kind
    else {
        panic!("an OAuth 2.0 connection")
    };
    let none = connection(Kind::OAuth2 { authorization_endpoint, token_endpoint, userinfo_endpoint, revocation_endpoint: None, dialect });
    let revocation = world.provider.revoke_tokens(&none, Some(&text("rt")), None).await;
    assert_eq!((revocation.outcome.unwrap(), revocation.receipts), (Revoked::Unsupported, Vec::new()));
}

#[tokio::test]
async fn workos_speaks_user_management() {
    let server = Scripted::start(|_, _| None).await;
    let base_url = Url::parse(&server.base).unwrap();
    let kind = Kind::WorkOs { base_url, selector: WorkOsSelector::Provider("authkit".to_owned()) };
    let (provider, connection) = (provider(), connection(kind));
    let hints = Hints {
        screen_hint: Some("sign-up".to_owned()),
        query_params: [("hd".to_owned(), "x.example".to_owned())].into(),
        ..Hints::default()
    };
    let made = url(&provider, &connection, "drive", &hints).await.unwrap();
    assert_eq!(
        made.as_str().strip_prefix(&server.base).unwrap(),
        "/user_management/authorize?response_type=code&client_id=client%20one&redirect_uri=https%3A%2F%2Fmandate.example.com%2Fcb%3Fa%3D1&state=st.a-te\
         &code_challenge=DksyTyvjKJMTgEpPXzLiaCJ1P325hYFdr6STK5uo-WM&code_challenge_method=S256&provider=authkit&provider_scopes=drive\
         &screen_hint=sign-up&provider_query_params%5Bhd%5D=x.example"
    );
    let access_token = Key::ec().sign(&json!({"alg": "ES256"}), &json!({"sid": "session_1", "exp": NOW.unix_timestamp() + 300}));
    let answer = || json!({"user": {"id": "user_1", "email": "a@b.example", "email_verified": true}, "organization_id": "org_1", "access_token": access_token, "refresh_token": "r1"});
    let path = "/user_management/authenticate";
    server.once(path, Reply::Json(200, answer()));
    let exchanged = exchange(&provider, &connection).await.unwrap();
    let identity = exchanged.identity.unwrap();
    assert_eq!(
        (identity.person.subject.as_str(), identity.organization.as_deref(), identity.email_verified),
        ("user_1", Some("org_1"), true)
    );
    assert_eq!(exchanged.tokens.expires_in, Some(time::Duration::minutes(5)));
    let body: Value = serde_json::from_str(&server.seen(path)[0].body).unwrap();
    assert_eq!(
        (&body["grant_type"], &body["client_secret"], &body["code"]),
        (&json!("authorization_code"), &json!("secret one"), &json!("code-1"))
    );
    server.once(path, Reply::Json(200, answer()));
    assert!(provider.refresh(&connection, &text("r1"), &person("user_1")).await.is_ok());
    server.once(path, Reply::Json(200, answer()));
    let of_another = provider.refresh(&connection, &text("r1"), &person("user_2")).await.unwrap();
    assert!(matches!(of_another.identity, Err(ProviderError::IdentityChanged)));
    server.once(path, Reply::Json(400, json!({"error": "invalid_grant", "error_description": "x"})));
    assert!(matches!(provider.refresh(&connection, &text("r1"), &person("user_1")).await, Err(ProviderError::InvalidGrant)));
    server.once("/user_management/sessions/revoke", Reply::Text(200, "", Vec::new()));
    let revocation = provider.revoke_tokens(&connection, Some(&text("r1")), Some(&text(&access_token))).await;
    assert_eq!(revocation.outcome.unwrap(), Revoked::Done);
    let receipts: Vec<_> = revocation.receipts.iter().map(|receipt| (receipt.token, receipt.status)).collect();
    assert_eq!(receipts, [(RevokedToken::Session, Some(200))]);
    let revoked = &server.seen("/user_management/sessions/revoke")[0];
    assert_eq!((revoked.body.as_str(), revoked.authorization.as_deref()), (r#"{"session_id":"session_1"}"#, Some("Bearer secret one")));
}

//! Hand-written clock, randomness and secrets, and a connection at a scripted provider.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration as StdDuration;

use async_trait::async_trait;
use serde_json::{Value, json};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use url::Url;

use super::keys::Key;
use super::scripted::{Reply, Scripted};
use crate::domain::connection::{ClaimNames, ClientAuthentication, Connection, Dialect, Kind};
use crate::domain::flow::FlowSecrets;
use crate::domain::ids::ConnectionId;
use crate::domain::scopes::Scopes;
use crate::domain::secret::Secret;
use crate::oauth::{Egress, Http, Provider};
use crate::ports::Unavailable;
use crate::ports::clock::{Clock, Entropy};
use crate::ports::configuration::{ClientCredential, ClientSecrets};
use crate::ports::provider::{CodeExchange, CodeExchanges, Exchanged, ProviderError};

pub(super) const NOW: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);
pub(super) const NONCE: &str = "nonce-of-this-flow";
pub(super) const VERIFIER: &str = "0123456789012345678901234567890123456789abc";

/// A clock moved by hand.
pub(super) struct HandClock(Mutex<OffsetDateTime>);

impl HandClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(NOW)))
    }

    pub(super) fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap()
    }
    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}

pub(super) struct Sevens;

impl Entropy for Sevens {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Unavailable> {
        buffer.fill(7);
        Ok(())
    }
}

pub(super) struct Listed(pub(super) Vec<ClientCredential>);

#[async_trait]
impl ClientSecrets for Listed {
    async fn client_secrets(&self, _: &ConnectionId) -> Result<Arc<[ClientCredential]>, Unavailable> {
        Ok(self.0.clone().into())
    }
}

pub(super) fn secrets(texts: &[&str]) -> Vec<ClientCredential> {
    texts.iter().map(|text| ClientCredential::Secret(Secret::new((*text).to_owned()))).collect()
}

pub(super) fn http() -> Http {
    Http::new(Egress { allow_loopback: true, connect_timeout: StdDuration::from_secs(2), total_timeout: StdDuration::from_millis(400) })
        .unwrap()
}

pub(super) fn flow_secrets() -> FlowSecrets {
    FlowSecrets { code_verifier: Secret::new(VERIFIER.to_owned()), nonce: Secret::new(NONCE.to_owned()) }
}

pub(super) fn connection(kind: Kind) -> Connection {
    Connection {
        id: ConnectionId::try_from("conn_test").unwrap(),
        provider: "test".to_owned(),
        organization: None,
        linked: true,
        kind,
        client_id: "client one".to_owned(),
        client_authentication: ClientAuthentication::ClientSecretBasic,
        scopes: Scopes::parse("openid").unwrap(),
        allowed_scopes: Scopes::parse("openid email").unwrap(),
        extra_authorization_params: BTreeMap::new(),
        claims: ClaimNames { subject: "sub".to_owned(), email: "email".to_owned(), organization: Some("org_id".to_owned()) },
        default_access_lifetime: StdDuration::from_hours(1),
        refresh_idle_lifetime: None,
        refresh_absolute_lifetime: None,
        rotation_grace: StdDuration::ZERO,
        max_concurrent_refreshes: 1,
        pushed_authorization_requests: false,
    }
}

pub(super) fn oauth2(base: &str, dialect: Dialect) -> Connection {
    let at = |path: &str| Url::parse(&format!("{base}{path}")).unwrap();
    connection(Kind::OAuth2 {
        authorization_endpoint: at("/authorize"),
        token_endpoint: at("/token"),
        userinfo_endpoint: Some(at("/userinfo")),
        revocation_endpoint: Some(at("/revoke")),
        dialect,
    })
}

/// A provider of OpenID Connect and a client of it.
pub(super) struct World {
    pub(super) clock: Arc<HandClock>,
    pub(super) key: Arc<Key>,
    pub(super) server: Scripted,
    pub(super) connection: Connection,
    pub(super) provider: Provider,
}

pub(super) fn metadata(base: &str) -> Value {
    json!({"issuer": base, "authorization_endpoint": format!("{base}/authorize?own=1&state=theirs"), "token_endpoint": format!("{base}/token"),
           "jwks_uri": format!("{base}/jwks"), "userinfo_endpoint": format!("{base}/userinfo"), "revocation_endpoint": format!("{base}/revoke"),
           "authorization_response_iss_parameter_supported": true})
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(Key::ec(), secrets(&["secret one"])).await
    }

    pub(super) async fn with(key: Key, credentials: Vec<ClientCredential>) -> Self {
        let key = Arc::new(key);
        let published = key.jwk("k1");
        let server = Scripted::start(move |base, request| match request.path.as_str() {
            "/.well-known/openid-configuration" => Some(Reply::Json(200, metadata(base))),
            "/jwks" => Some(Reply::Json(200, json!({"keys": [{"kty": "oct", "k": "AA", "kid": "k0"}, published]}))),
            _ => None,
        })
        .await;
        let clock = HandClock::new();
        let provider = Provider::new(http(), clock.clone(), Arc::new(Sevens), Arc::new(Listed(credentials)));
        let connection = connection(Kind::Oidc { issuer: server.base.clone(), revocation_endpoint: None });
        Self { clock, key, server, connection, provider }
    }

    /// The time, in Unix seconds.
    pub(super) fn seconds(&self) -> i64 {
        self.clock.now().unix_timestamp()
    }

    /// The claims of a good `id_token`.
    pub(super) fn claims(&self) -> Value {
        let now = self.clock.now().unix_timestamp();
        json!({"iss": self.server.base, "sub": "person-1", "aud": "client one", "exp": now + 300, "iat": now, "nonce": NONCE,
               "email": "ops@example.com", "email_verified": true, "org_id": "org_1"})
    }

    pub(super) fn header(&self) -> Value {
        json!({"alg": self.key.alg(), "kid": "k1", "typ": "JWT"})
    }

    pub(super) fn answer_with(&self, id_token: &str) {
        self.server.once(
            "/token",
            Reply::Json(
                200,
                json!({"access_token": "at-1", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "rt-1",
                                                           "scope": "openid email", "id_token": id_token}),
            ),
        );
    }

    pub(super) async fn exchange(&self) -> Result<Exchanged, ProviderError> {
        exchange(&self.provider, &self.connection).await
    }

    /// What becomes of an `id_token` with these claims.
    pub(super) async fn judged(&self, claims: &Value) -> Result<(), String> {
        self.judged_token(&self.key.sign(&self.header(), claims)).await
    }

    pub(super) async fn judged_token(&self, id_token: &str) -> Result<(), String> {
        self.answer_with(id_token);
        self.exchange().await.unwrap().identity.map(|_| ()).map_err(|error| error.to_string())
    }
}

pub(super) async fn exchange(provider: &Provider, connection: &Connection) -> Result<Exchanged, ProviderError> {
    let (code, secrets) = (Secret::new("code-1".to_owned()), flow_secrets());
    let redirect_uri = Url::parse("https://mandate.example.com/workflows/authorization/callback/conn_test").unwrap();
    provider.exchange_code(connection, &CodeExchange { code: &code, redirect_uri: &redirect_uri, secrets: &secrets }).await
}

//! The built-in configuration: one organization that signs in at the demonstration provider. The API's bearer tokens are of the
//! same issuer, so that whoever asks for a URL can be told from whoever signs in.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use shared::ports::clock::Clock;
use time::OffsetDateTime;
use url::Url;

use crate::sign_in::{ApiClaims, Client, KeepError, MintError, PEOPLE, Person, SignIn, mint_api_token};

/// What API tokens are for.
pub const AUDIENCE: &str = "https://mandate.local";
/// The connection of the demonstration.
pub const CONNECTION: &str = "conn_demo";
/// The OAuth client at the demonstration provider. It is no secret: the provider listens on loopback only.
const CLIENT_ID: &str = "mandate-demonstration";
const CLIENT_SECRET: &str = "demonstration-client-secret";
/// The path of the demonstration provider on the API's address.
pub const SIGN_IN_PATH: &str = "/sign-in";
/// The path of the demonstration application, to which sign-ins return in redirect mode.
pub const RETURN_PATH: &str = "/app/return";
/// How long after a rotation the provider still takes the previous refresh token, if the new one was never used: so long as a
/// stack that was killed while a refresh was under way may stay down.
const ROTATION_GRACE_SECONDS: u32 = 86_400;

/// The issuer of both the sign-in and the API's tokens.
#[must_use]
pub fn issuer(api: SocketAddr) -> String {
    format!("http://{api}{SIGN_IN_PATH}")
}

/// The `directory` secret.
#[must_use]
pub fn directory(api: SocketAddr) -> String {
    let issuer = issuer(api);
    let scopes = ["openid", "email", "offline_access", "sites:read"];
    json!({
        "environment": "staging",
        "public_url": format!("http://{api}"),
        "error_doc_base": "https://example.com/errors/",
        "api_tokens": { "issuer": issuer, "audience": AUDIENCE, "jwks_uri": format!("{issuer}/jwks.json"), "token_type": "at+jwt" },
        "redirect_uris": [
            { "uri": format!("http://127.0.0.1:*{RETURN_PATH}"), "default": false },
            { "uri": "http://localhost:*/automation/authorizations", "default": false },
            { "uri": "https://app.example.com/automation/authorizations", "default": true },
        ],
        "default_connection": CONNECTION,
        "connections": [{
            "id": CONNECTION,
            "provider": "demonstration",
            "organization_id": null,
            "linked": true,
            "kind": "oidc",
            "issuer": issuer,
            "client_id": CLIENT_ID,
            "token_endpoint_auth_method": "client_secret_basic",
            "scopes": scopes,
            "allowed_scopes": ["openid", "email", "offline_access", "sites:read", "sites:write"],
            "claims": { "subject": "sub", "email": "email", "organization": "org_id" },
            "default_access_lifetime": 3600,
            "refresh_token_lifetime": { "idle": 2_592_000, "absolute": null },
            "rotation_grace": ROTATION_GRACE_SECONDS,
        }],
    })
    .to_string()
}

/// The `client-secrets` secret.
#[must_use]
pub fn client_secrets() -> String {
    json!({ CONNECTION: [CLIENT_SECRET] }).to_string()
}

/// The `state-keys` secret: fixed, so that a URL survives a restart. Known to everybody, and good for nothing but loopback.
#[must_use]
pub fn state_keys() -> String {
    json!({ "keys": [{ "kid": "demonstration", "key": URL_SAFE_NO_PAD.encode(b"demonstration-state-key-32-bytes") }] }).to_string()
}

/// The provider, kept in the data directory if there is one.
pub fn sign_in(api: SocketAddr, data: Option<&Path>, clock: Arc<dyn Clock>) -> Result<Arc<SignIn>, SignInError> {
    let issuer = Url::parse(&issuer(api)).map_err(SignInError::Issuer)?;
    let callback = format!("http://{api}/workflows/authorization/callback/{CONNECTION}");
    let client = Client::new(CLIENT_ID, CLIENT_SECRET, [callback]);
    let sign_in = SignIn::new(&issuer, vec![client], Arc::new(move || clock.now()));
    if let Some(directory) = data {
        sign_in.set_rotation_grace(ROTATION_GRACE_SECONDS);
        sign_in.persist_to(&directory.join("sign-in.json"))?;
    }
    Ok(sign_in)
}

/// Why the demonstration provider does not start.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Its address makes no URL.
    #[error("failed to name the demonstration sign-in")]
    Issuer(#[source] url::ParseError),
    /// Its grants cannot be kept.
    #[error("failed to open the demonstration sign-in's grants")]
    Keep(#[from] KeepError),
}

/// The person that the demonstration calls as.
#[must_use]
pub fn olivia() -> &'static Person {
    &PEOPLE[0]
}

/// A bearer token for one of the demonstration's people, with all scopes, for twelve hours.
pub fn bearer(api: SocketAddr, person: &Person, now: OffsetDateTime) -> Result<String, MintError> {
    let claims = ApiClaims {
        issuer: issuer(api),
        audience: AUDIENCE.to_owned(),
        subject: person.id.to_owned(),
        organization: Some(person.organization.to_owned()),
        email: Some(person.email.to_owned()),
        email_verified: true,
        scopes: vec!["workflow_authorization:*".to_owned()],
        lifetime_seconds: 12 * 3600,
    };
    mint_api_token(&claims, now)
}

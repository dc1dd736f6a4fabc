//! What a client can find out without asking anybody: the metadata (OpenID Connect Discovery 4, RFC 8414) and the keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::failure::Failure;
use super::{SignIn, signing};

pub(super) async fn metadata(State(sign_in): State<Arc<SignIn>>) -> Response {
    let issuer = sign_in.issuer();
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "jwks_uri": format!("{issuer}/jwks.json"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "claims_parameter_supported": false,
        "scopes_supported": ["openid", "email", "profile", "offline_access", "sites:read", "sites:write"],
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash",
            "name", "email", "email_verified", "org_id",
        ],
    }))
    .into_response()
}

pub(super) async fn keys() -> Response {
    match signing::public_keys() {
        Ok(keys) => Json(keys).into_response(),
        Err(error) => Failure::from(error).into_response(),
    }
}

//! WorkOS User Management at the adapter: requests, answers, errors, sessions. Bodies are as WorkOS documents them or as its own SDKs
//! have recorded them.

use std::sync::Arc;

use serde_json::{Value, json};
use url::Url;

use super::keys::Key;
use super::scripted::{Reply, Scripted};
use super::world::{HandClock, Listed, NOW, Sevens, VERIFIER, connection, exchange, http, secrets};
use crate::domain::caller::Person;
use crate::domain::connection::{ClientAuthentication, Connection, Kind, WorkOsSelector};
use crate::domain::ids::OrganizationId;
use crate::domain::secret::Secret;
use crate::oauth::Provider;
use crate::ports::provider::{Exchanged, ProviderError, ProviderMetadata as _, RefreshAnswer, Refreshes as _, Revocations as _, Revoked};

const AUTHENTICATE: &str = "/user_management/authenticate";
const REVOKE: &str = "/user_management/sessions/revoke";

struct WorkOs {
    server: Scripted,
    connection: Connection,
    provider: Provider,
}

impl WorkOs {
    async fn new() -> Self {
        Self::with(&["sk_one"]).await
    }

    async fn with(api_keys: &[&str]) -> Self {
        let server = Scripted::start(|_, _| None).await;
        let base_url = Url::parse(&server.base).unwrap();
        let kind = Kind::WorkOs { base_url, selector: WorkOsSelector::Provider("authkit".to_owned()) };
        let connection = Connection { client_authentication: ClientAuthentication::ClientSecretPost, ..connection(kind) };
        let provider = Provider::new(http(), HandClock::new(), Arc::new(Sevens), Arc::new(Listed(secrets(api_keys))));
        Self { server, connection, provider }
    }

    async fn exchange(&self) -> Result<Exchanged, ProviderError> {
        exchange(&self.provider, &self.connection).await
    }

    async fn refresh(&self) -> Result<RefreshAnswer, ProviderError> {
        let person = Person { issuer: self.server.base.clone(), subject: "user_1".to_owned() };
        self.provider.refresh(&self.connection, &secret("r1"), &person).await
    }

    async fn end(&self, refresh_token: Option<&str>, access_token: Option<&str>) -> Result<Revoked, ProviderError> {
        let (refresh_token, access_token) = (refresh_token.map(secret), access_token.map(secret));
        self.provider.revoke_tokens(&self.connection, refresh_token.as_ref(), access_token.as_ref()).await.outcome
    }

    fn bodies(&self, path: &str) -> Vec<Value> {
        self.server.seen(path).iter().map(|seen| serde_json::from_str(&seen.body).unwrap()).collect()
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn access_token() -> String {
    let claims = json!({ "iss": "https://api.workos.com", "sub": "user_1", "sid": "session_1", "org_id": "org_1", "exp": NOW.unix_timestamp() + 300 });
    Key::ec().sign(&json!({ "alg": "ES256" }), &claims)
}

fn success() -> Value {
    json!({
        "user": { "object": "user", "id": "user_1", "email": "a@b.example", "email_verified": true, "first_name": null },
        "organization_id": "org_1", "access_token": access_token(), "refresh_token": "r2", "authentication_method": "SSO",
        "oauth_tokens": { "provider": "GoogleOAuth", "access_token": "g1", "refresh_token": "g2", "scopes": ["read"], "expires_at": 1_234_567_890 },
    })
}

fn named(error: &ProviderError) -> String {
    match error {
        ProviderError::InvalidGrant => "grant".to_owned(),
        ProviderError::Refused { code } => format!("refused {code}"),
        ProviderError::Misconfigured { code } => format!("client {code}"),
        ProviderError::Unavailable { retry_after: None, .. } => "passing".to_owned(),
        ProviderError::Unavailable { retry_after: Some(wait), .. } => format!("passing for {} s", wait.whole_seconds()),
        ProviderError::AnswerInvalid { .. } => "garbage".to_owned(),
        ProviderError::AnswerLost { .. } => "lost".to_owned(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn both_grants_are_json_with_the_api_key_in_the_body() {
    let workos = WorkOs::new().await;
    workos.server.once(AUTHENTICATE, Reply::Json(200, success()));
    workos.server.once(AUTHENTICATE, Reply::Json(200, success()));
    let exchanged = workos.exchange().await.unwrap();
    assert_eq!(exchanged.tokens.expires_in, Some(time::Duration::minutes(5)), "by its own exp");
    assert_eq!(exchanged.tokens.scopes, None);
    let refreshed = workos.refresh().await.unwrap();
    assert_eq!(refreshed.tokens.refresh_token.unwrap().expose(), "r2");
    assert!(refreshed.identity.is_ok());
    assert_eq!(
        workos.bodies(AUTHENTICATE),
        [
            json!({ "client_id": "client one", "client_secret": "sk_one", "grant_type": "authorization_code", "code": "code-1", "code_verifier": VERIFIER }),
            json!({ "client_id": "client one", "client_secret": "sk_one", "grant_type": "refresh_token", "refresh_token": "r1" }),
        ]
    );
    assert!(workos.server.seen(AUTHENTICATE).iter().all(|seen| seen.method == "POST" && seen.authorization.is_none()));
}

#[tokio::test]
async fn an_error_is_read_in_every_shape_that_workos_gives_it() {
    let words = |error: &str| json!({ "error": error, "error_description": "<b>their words</b>" });
    let code = |code: &str| json!({ "code": code, "message": "<b>their words</b>", "pending_authentication_token": "secret" });
    let message = || json!({ "message": "<b>their words</b>" });
    let html = |status| Reply::Text(status, "<html>not WorkOS</html>", Vec::new());
    let told = |status, body: Value| Reply::Json(status, body);
    // What it means for a code, and for a refresh token if that is something else.
    let table: Vec<(&str, Reply, Reply, &str, Option<&str>)> = vec![
        ("400 invalid_grant", told(400, words("invalid_grant")), told(400, words("invalid_grant")), "grant", None),
        ("401 invalid_grant", told(401, words("invalid_grant")), told(401, words("invalid_grant")), "grant", None),
        ("400 invalid_client", told(400, words("invalid_client")), told(400, words("invalid_client")), "client invalid_client", None),
        ("401 message", told(401, message()), told(401, message()), "client invalid_client", None),
        ("401 code", told(401, code("unauthorized")), told(401, code("unauthorized")), "client invalid_client", None),
        (
            "400 unauthorized_client",
            told(400, words("unauthorized_client")),
            told(400, words("unauthorized_client")),
            "client unauthorized_client",
            None,
        ),
        ("400 invalid_request", told(400, words("invalid_request")), told(400, words("invalid_request")), "refused invalid_request", None),
        (
            "403 email_verification_required",
            told(403, code("email_verification_required")),
            told(403, code("email_verification_required")),
            "refused email_verification_required",
            None,
        ),
        ("403 mfa_challenge", told(403, code("mfa_challenge")), told(403, code("mfa_challenge")), "refused mfa_challenge", None),
        (
            "403 mfa_enrollment",
            told(403, code("mfa_enrollment")),
            told(400, words("mfa_enrollment")),
            "refused mfa_enrollment",
            Some("grant"),
        ),
        (
            "403 organization_selection_required",
            told(403, code("organization_selection_required")),
            told(403, code("organization_selection_required")),
            "refused organization_selection_required",
            None,
        ),
        ("400 sso_required", told(400, words("sso_required")), told(400, words("sso_required")), "refused sso_required", Some("grant")),
        (
            "400 organization_authentication_methods_required",
            told(400, words("organization_authentication_methods_required")),
            told(422, words("organization_authentication_methods_required")),
            "refused organization_authentication_methods_required",
            None,
        ),
        ("400 message", told(400, message()), told(400, message()), "refused http_400", None),
        ("403 message", told(403, message()), told(403, message()), "refused http_403", None),
        ("404 message", told(404, message()), told(404, message()), "refused http_404", None),
        (
            "422 errors",
            told(422, json!({ "message": "Validation failed", "errors": [{ "code": "required", "field": "code" }] })),
            told(422, code("invalid_request_parameters")),
            "refused http_422",
            Some("refused invalid_request_parameters"),
        ),
        ("null error", told(400, json!({ "error": null, "code": "user_mismatch" })), html(404), "refused user_mismatch", Some("passing")),
        (
            "429 too_many_requests",
            Reply::Text(429, r#"{"error":"too_many_requests"}"#, vec![("retry-after", "30".to_owned())]),
            told(429, code("daily_quota_exceeded")),
            "passing for 30 s",
            Some("passing"),
        ),
        ("500 message", told(500, message()), told(500, message()), "passing", None),
        ("502 page", html(502), html(502), "passing", Some("lost")),
        ("503 word", told(503, words("server_error")), told(503, code("server_error")), "passing", None),
        ("403 page", html(403), html(403), "passing", None),
        ("302", html(302), html(302), "garbage", None),
        ("200 page", html(200), html(200), "garbage", None),
        ("200 error", told(200, words("invalid_grant")), told(200, words("invalid_grant")), "grant", None),
        ("200 without a token", told(200, json!({ "user": { "id": "user_1" } })), told(200, json!([])), "garbage", None),
        (
            "200 cut off",
            Reply::Text(200, r#"{"access_token":"a","refresh_tok"#, Vec::new()),
            Reply::Text(200, r#"{"access_token":"a","access_token":"b"}"#, Vec::new()),
            "garbage",
            None,
        ),
    ];
    let workos = WorkOs::new().await;
    for (shape, for_code, for_refresh, meaning, other_meaning) in table {
        workos.server.once(AUTHENTICATE, for_code);
        let error = workos.exchange().await.map(|_| ()).unwrap_err();
        assert_eq!(named(&error), meaning, "{shape}, of a code");
        workos.server.once(AUTHENTICATE, for_refresh);
        let error = workos.refresh().await.map(|_| ()).unwrap_err();
        assert_eq!(named(&error), other_meaning.unwrap_or(meaning), "{shape}, of a refresh token");
        assert!(!format!("{error:?}{error}").contains("their words"), "{shape}");
    }
}

#[tokio::test]
async fn s70_the_next_api_key_is_tried_when_one_is_not_known_any_more() {
    for refusal in [
        Reply::Json(400, json!({ "error": "invalid_client", "error_description": "Invalid client ID or secret." })),
        Reply::Json(401, json!({ "message": "Unauthorized" })),
        Reply::Json(401, json!({ "message": "Unauthorized", "code": "unauthorized" })),
    ] {
        let workos = WorkOs::with(&["sk_new", "sk_old"]).await;
        workos.server.once(AUTHENTICATE, refusal);
        workos.server.once(AUTHENTICATE, Reply::Json(200, success()));
        assert!(workos.exchange().await.is_ok());
        let tried: Vec<Value> = workos.bodies(AUTHENTICATE).iter().map(|body| body["client_secret"].clone()).collect();
        assert_eq!(tried, ["sk_new", "sk_old"]);
    }
    let workos = WorkOs::with(&["sk_new", "sk_old"]).await;
    workos.server.once(REVOKE, Reply::Json(401, json!({ "message": "Unauthorized" })));
    workos.server.once(REVOKE, Reply::Text(200, "", Vec::new()));
    assert_eq!(workos.end(None, Some(&access_token())).await.unwrap(), Revoked::Done);
    let tried: Vec<_> = workos.server.seen(REVOKE).into_iter().map(|seen| seen.authorization.unwrap()).collect();
    assert_eq!(tried, ["Bearer sk_new", "Bearer sk_old"]);
}

#[tokio::test]
async fn the_identity_is_the_user_and_their_organization() {
    let workos = WorkOs::new().await;
    let user = |user: Value| json!({ "user": user, "organization_id": "org_1", "access_token": access_token(), "refresh_token": "r" });
    let judged = async |answer: Value| {
        workos.server.once(AUTHENTICATE, Reply::Json(200, answer));
        workos.exchange().await.unwrap().identity
    };
    let identity = judged(user(json!({ "id": "user_1", "email": "a@b.example", "email_verified": true }))).await.unwrap();
    assert_eq!(identity.person, Person { issuer: workos.server.base.clone(), subject: "user_1".to_owned() });
    assert_eq!(
        (identity.email.as_deref(), identity.email_verified, identity.organization.as_deref()),
        (Some("a@b.example"), true, Some("org_1"))
    );
    for (given, email, verified) in [
        (json!({ "id": "user_1", "email": "a@b.example", "email_verified": false }), Some("a@b.example"), false),
        (json!({ "id": "user_1", "email": "a@b.example" }), Some("a@b.example"), false),
        (json!({ "id": "user_1", "email": "a@b.example", "email_verified": 1 }), Some("a@b.example"), false),
        (json!({ "id": "user_1", "email": null, "email_verified": true }), None, false),
        (json!({ "id": "user_1", "email": "no address", "email_verified": true }), None, false),
        (json!({ "id": "user_1", "email": "a\u{7}@b.example", "email_verified": true }), None, false),
    ] {
        let identity = judged(user(given.clone())).await.unwrap();
        assert_eq!((identity.email.as_deref(), identity.email_verified), (email, verified), "{given}");
    }
    for nobody in [json!(null), json!("user_1"), json!({}), json!({ "id": "" }), json!({ "id": 7 }), json!({ "id": "user\u{e9}" })] {
        assert!(matches!(judged(user(nobody.clone())).await, Err(ProviderError::IdentityInvalid { .. })), "{nobody}");
    }
    for nowhere in [json!(null), json!(""), json!(["org_1"]), json!(7)] {
        let mut answer = success();
        answer["organization_id"] = nowhere.clone();
        assert_eq!(judged(answer).await.unwrap().organization, None, "{nowhere}");
    }
}

#[tokio::test]
async fn a_refresh_is_held_to_its_user_and_to_the_organization_of_its_connection() {
    let mut workos = WorkOs::new().await;
    workos.connection.organization = Some(OrganizationId::try_from("org_1").unwrap());
    let held = async |change: fn(&mut Value)| {
        let mut answer = success();
        change(&mut answer);
        workos.server.once(AUTHENTICATE, Reply::Json(200, answer));
        workos.refresh().await.unwrap().identity
    };
    assert!(held(|_| {}).await.is_ok());
    assert!(matches!(held(|answer| answer["user"]["id"] = json!("user_2")).await, Err(ProviderError::IdentityChanged)));
    assert!(matches!(held(|answer| answer["organization_id"] = json!("org_2")).await, Err(ProviderError::IdentityChanged)));
    // Answers of the first API had tokens only; then the access token says whose it is.
    let tokens_only = |answer: &mut Value| {
        answer.as_object_mut().unwrap().retain(|name, _| name.ends_with("_token"));
    };
    assert!(held(tokens_only).await.is_ok());
    let of_another = |answer: &mut Value| {
        answer.as_object_mut().unwrap().remove("user");
        answer["access_token"] = json!(Key::ec().sign(&json!({ "alg": "ES256" }), &json!({ "sub": "user_2" })));
    };
    assert!(matches!(held(of_another).await, Err(ProviderError::IdentityChanged)));
    let of_nobody = |answer: &mut Value| *answer = json!({ "access_token": "opaque", "refresh_token": "r2" });
    assert!(matches!(held(of_nobody).await, Err(ProviderError::IdentityInvalid { .. })));
}

#[tokio::test]
async fn s86_a_session_is_ended_by_its_id_and_one_that_is_gone_counts() {
    let workos = WorkOs::new().await;
    let message = |status, message: &str| Reply::Json(status, json!({ "message": message }));
    let table: Vec<(Reply, Result<Revoked, &str>)> = vec![
        (Reply::Text(200, "", Vec::new()), Ok(Revoked::Done)),
        (Reply::Json(200, json!({ "success": true })), Ok(Revoked::Done)),
        (
            Reply::Json(404, json!({ "message": "Session not found: 'session_1'.", "code": "entity_not_found", "entity_id": "session_1" })),
            Ok(Revoked::Done),
        ),
        (message(400, "Session is not active."), Ok(Revoked::Done)),
        (message(403, "Forbidden"), Err("refused http_403")),
        (message(422, "Validation failed"), Err("refused http_422")),
        (message(401, "Unauthorized"), Err("client invalid_client")),
        (Reply::Text(429, "{}", vec![("retry-after", "7".to_owned())]), Err("passing for 7 s")),
        (message(500, "Internal server error"), Err("passing")),
        // Something in front of WorkOS knows nothing of sessions.
        (Reply::Text(404, "<html>no such host</html>", Vec::new()), Err("passing")),
        (Reply::Text(400, "<html>bad gateway</html>", Vec::new()), Err("passing")),
    ];
    for (reply, expected) in table {
        workos.server.once(REVOKE, reply);
        let ended = workos.end(Some("r1"), Some(&access_token())).await;
        assert_eq!(ended.map_err(|error| named(&error)), expected.map_err(str::to_owned));
    }
    assert!(workos.bodies(REVOKE).iter().all(|body| *body == json!({ "session_id": "session_1" })));
    assert!(workos.server.seen(REVOKE).iter().all(|seen| seen.authorization.as_deref() == Some("Bearer sk_one")));
    assert!(workos.server.seen(AUTHENTICATE).is_empty(), "the access token names the session");
}

#[tokio::test]
async fn s86_a_refresh_token_alone_is_used_once_more_to_learn_its_session() {
    let workos = WorkOs::new().await;
    for without_session in [None, Some("opaque"), Some("a.b.c")] {
        workos.server.once(AUTHENTICATE, Reply::Json(200, success()));
        workos.server.once(REVOKE, Reply::Text(200, "", Vec::new()));
        assert_eq!(workos.end(Some("r1"), without_session).await.unwrap(), Revoked::Done);
    }
    assert_eq!((workos.bodies(AUTHENTICATE).len(), workos.bodies(REVOKE).len()), (3, 3));
    assert_eq!(workos.bodies(REVOKE)[2], json!({ "session_id": "session_1" }));
    // A grant that is gone took its session with it; a session that needs a factor is still there.
    for (answer, expected) in [
        (json!({ "error": "invalid_grant" }), Ok(Revoked::Done)),
        (json!({ "error": "sso_required" }), Err("refused sso_required")),
        (json!({ "error": "mfa_enrollment" }), Err("refused mfa_enrollment")),
    ] {
        workos.server.once(AUTHENTICATE, Reply::Json(400, answer));
        assert_eq!(workos.end(Some("r1"), None).await.map_err(|error| named(&error)), expected.map_err(str::to_owned));
    }
    let mut opaque = success();
    opaque["access_token"] = json!("opaque");
    workos.server.once(AUTHENTICATE, Reply::Json(200, opaque));
    assert_eq!(workos.end(Some("r1"), None).await.map_err(|error| named(&error)), Err("garbage".to_owned()));
    assert_eq!(workos.bodies(REVOKE).len(), 3, "nothing to name");
    assert_eq!(workos.end(None, Some("opaque")).await.unwrap(), Revoked::Unsupported);
}

#[tokio::test]
async fn a_public_client_has_no_api_key_and_so_cannot_end_sessions() {
    assert!(WorkOs::new().await.provider.supports_revocation(&WorkOs::new().await.connection).await.unwrap());
    public(WorkOs::with(&[]).await).await;
    let mut workos = WorkOs::new().await;
    workos.connection.client_authentication = ClientAuthentication::None;
    public(workos).await;
}

/// Without a key, or whatever the keys if the directory says so.
async fn public(workos: WorkOs) {
    workos.server.once(AUTHENTICATE, Reply::Json(200, success()));
    assert!(workos.exchange().await.is_ok());
    assert_eq!(workos.bodies(AUTHENTICATE)[0].get("client_secret"), None);
    assert_eq!(workos.end(Some("r1"), Some(&access_token())).await.unwrap(), Revoked::Unsupported);
    assert!(!workos.provider.supports_revocation(&workos.connection).await.unwrap());
    assert!(workos.server.seen(REVOKE).is_empty());
}

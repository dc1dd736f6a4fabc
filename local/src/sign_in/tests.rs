//! The provider as its clients see it: over HTTP, with the clock in hand.

mod authorize;
mod documents;
mod persistence;
mod refresh;
mod revoke;
mod token;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde_json::Value;
use time::OffsetDateTime;
use tower::ServiceExt as _;
use url::{Url, form_urlencoded};

use super::{Client, SignIn, digest, transaction_in};

const ISSUER: &str = "http://127.0.0.1:8787/sign-in";
const CALLBACK: &str = "http://127.0.0.1:8787/callback/conn_demo?kept=1";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-0123456789";
const SCOPE: &str = "openid email offline_access sites:read";

/// A provider with two clients and a clock moved by hand.
struct World {
    sign_in: Arc<SignIn>,
    now: Arc<AtomicI64>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl World {
    fn new() -> Self {
        let now = Arc::new(AtomicI64::new(1_800_000_000));
        let clients = vec![Client::new("mandate", "s3cret +&=%", [CALLBACK]), Client::new("other", "other-secret", [CALLBACK])];
        let hand = Arc::clone(&now);
        let clock = move || OffsetDateTime::from_unix_timestamp(hand.load(Ordering::Relaxed)).unwrap();
        let issuer = Url::parse(&format!("{ISSUER}/")).unwrap();
        Self { sign_in: SignIn::new(&issuer, clients, Arc::new(clock)), now }
    }

    fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let mounted = axum::Router::new().nest("/sign-in", self.sign_in.router());
        let response = mounted.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1_000_000).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str) -> Answer {
        let uri = format!("/sign-in/{path}");
        self.send(Request::builder().uri(uri).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, authorization: Option<String>, fields: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("/sign-in/{path}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded;charset=UTF-8");
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        self.send(request.body(Body::from(form(fields))).unwrap()).await
    }

    /// As the client `mandate`.
    async fn token(&self, fields: &[(&str, &str)]) -> Answer {
        self.post("token", Some(basic("mandate", "s3cret +&=%")), fields).await
    }

    async fn show(&self, changes: &[(&str, Option<&str>)]) -> Answer {
        self.get(&format!("authorize?{}", form(&authorization_request(changes)))).await
    }

    /// Signs in as somebody, and gives the way back.
    async fn sign_in_as(&self, person: &str, scope: &str) -> Url {
        let page = self.show(&[("scope", Some(scope))]).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        let transaction = transaction_in(&page.body).unwrap();
        let fields = [("transaction", transaction), ("person", person), ("decision", "allow")];
        self.post("authorize", None, &fields).await.location()
    }

    async fn code(&self, scope: &str) -> String {
        parameter(&self.sign_in_as("usr_olivia", scope).await, "code").unwrap()
    }

    async fn redeem(&self, code: &str) -> Answer {
        self.token(&redemption(code)).await
    }

    async fn refresh(&self, refresh_token: &str) -> Answer {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    /// The tokens of a whole sign-in.
    async fn tokens(&self) -> Value {
        let code = self.code(SCOPE).await;
        self.redeem(&code).await.granted()
    }

    async fn userinfo(&self, access_token: &str) -> Answer {
        let request = Request::builder().uri("/sign-in/userinfo").header(header::AUTHORIZATION, format!("Bearer {access_token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Checks the signature against the published keys. Times are compared by the tests: the clock is theirs.
    async fn verified(&self, token: &str, audience: &str) -> (Header, Value) {
        let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&self.get("jwks.json").await.body).unwrap();
        let header = jsonwebtoken::decode_header(token).unwrap();
        let jwk = keys.find(header.kid.as_deref().unwrap()).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[ISSUER]);
        validation.validate_exp = false;
        let decoded = jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(jwk).unwrap(), &validation).unwrap();
        (header, decoded.claims)
    }
}

impl Answer {
    fn location(&self) -> Url {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.body);
        Url::parse(self.headers[header::LOCATION].to_str().unwrap()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn granted(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        assert_eq!(self.headers[header::CACHE_CONTROL], "no-store");
        self.json()
    }

    fn is_refused_as(&self, error: &str) {
        assert_eq!(self.json()["error"], error, "{}", self.body);
        assert_eq!(self.status, StatusCode::BAD_REQUEST);
        assert_eq!(self.headers[header::CACHE_CONTROL], "no-store");
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap()
}

fn redemption(code: &str) -> [(&str, &str); 4] {
    [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)]
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

/// A good authorization request, with parameters replaced or left out.
fn authorization_request(changes: &[(&str, Option<&str>)]) -> Vec<(String, String)> {
    let challenge = digest::of(VERIFIER);
    let mut request: BTreeMap<&str, &str> = [
        ("response_type", "code"),
        ("client_id", "mandate"),
        ("redirect_uri", CALLBACK),
        ("scope", SCOPE),
        ("state", "st&te"),
        ("nonce", "n0nce"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ]
    .into();
    for (name, value) in changes {
        match value {
            Some(value) => request.insert(name, value),
            None => request.remove(name),
        };
    }
    request.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn form<N: AsRef<str>, V: AsRef<str>>(fields: &[(N, V)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields.iter().map(|(name, value)| (name.as_ref(), value.as_ref())))
        .finish()
}

/// `client_secret_basic`, with both halves encoded as RFC 6749 section 2.3.1 asks.
fn basic(id: &str, secret: &str) -> String {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret))))
}

//! The certified OpenID provider as a process, a person who signs in at it, and what of ours has to know it. Two suites share this file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header};
use local::client::{Answer, Http};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use serde_json::json;
use shared::ports::clock::Clock as _;
use shared::system::SystemClock;
use url::Url;
use url::form_urlencoded::Serializer;

pub(crate) const CONNECTION: &str = "conn_certified";
const CLIENT_ID: &str = "mandate";
pub(crate) const CLIENT_SECRET: &str = "a client secret: with + and % in it";
const ORGANIZATION: &str = "org_demo";
const API_ISSUER: &str = "https://issuer.example.com/";
const API_AUDIENCE: &str = "https://api.example.com";
const API_KEY: [u8; 32] = *b"thirty-two bytes for tests only.";

/// The provider's process. It ends with this value: its standard input does, and it is killed.
pub(crate) struct Provider {
    pub(crate) issuer: String,
    process: Child,
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where the provider's code is, if it can run here; else what is missing.
fn installed() -> Result<PathBuf, &'static str> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/certified");
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !node.is_ok_and(|status| status.success()) {
        return Err("node is not installed");
    }
    if !folder.join("node_modules/oidc-provider/package.json").is_file() {
        return Err("its packages are not installed: run `npm ci --prefix tests/certified`");
    }
    Ok(folder)
}

/// The provider's code; `None` if the test is skipped, which is said aloud whether or not the test's output is captured.
#[expect(clippy::disallowed_methods, reason = "how strict a test is, is said by its environment")]
#[expect(clippy::explicit_write, reason = "what is printed by macros is captured")]
pub(crate) fn code() -> Option<PathBuf> {
    match installed() {
        Ok(folder) => Some(folder),
        Err(missing) => {
            let required = std::env::var("MANDATE_REQUIRE_NODE").is_ok_and(|value| value == "1");
            assert!(!required, "MANDATE_REQUIRE_NODE=1, but {missing}");
            writeln!(io::stderr(), "skipped: {missing}").unwrap();
            None
        }
    }
}

impl Provider {
    /// Starts it, with one client. Behind a proxy it is told where it listens, and where everybody else finds it.
    pub(crate) fn start(folder: &Path, redirect_uri: &str, access_seconds: i64, behind: Option<(u16, &str)>) -> Self {
        let mut command = Command::new("node");
        command
            .arg("server.mjs")
            .current_dir(folder)
            .env("REDIRECT_URI", redirect_uri)
            .env("CLIENT_ID", CLIENT_ID)
            .env("CLIENT_SECRET", CLIENT_SECRET)
            .env("ORGANIZATION", ORGANIZATION)
            .env("ACCESS_TTL", access_seconds.to_string());
        if let Some((port, issuer)) = behind {
            command.env("PORT", port.to_string()).env("ISSUER", issuer);
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let issuer = first.trim().strip_prefix("issuer ").unwrap_or_else(|| unreachable!("the provider said {first:?}")).to_owned();
        Self { issuer, process }
    }

    /// Signs in through the provider's forms and goes on to where the browser ends: a page of ours, or a place outside.
    pub(crate) async fn sign_in(&self, http: &Http, base: &str, url: &str, login: &str) -> Answer {
        let mut cookies = Cookies::default();
        let mut at = Url::parse(url).unwrap();
        let mut form = None;
        for _ in 0..20 {
            let (cookie, method) = (cookies.for_path(at.path()), if form.is_some() { Method::POST } else { Method::GET });
            let mut headers = vec![(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")];
            if at.as_str().starts_with(&self.issuer) {
                headers.push((COOKIE.as_str(), cookie.as_str()));
            }
            let answer = http.send(method, at.as_str(), &headers, form.take()).await.unwrap();
            cookies.keep(&answer);
            if !answer.location().is_empty() {
                let next = at.join(answer.location()).unwrap();
                if !next.as_str().starts_with(&self.issuer) && !next.as_str().starts_with(base) {
                    return answer;
                }
                at = next;
            } else if let (true, Some(prompt)) = (answer.status == 200, between(&answer.text, "name=\"prompt\" value=\"", "\"")) {
                form =
                    Some(Serializer::new(String::new()).extend_pairs([("prompt", prompt), ("login", login), ("password", "any")]).finish());
                at = at.join(between(&answer.text, "action=\"", "\"").unwrap()).unwrap();
            } else {
                return answer;
            }
        }
        unreachable!("the sign-in does not end")
    }

    /// Who the provider says that an access token belongs to.
    pub(crate) async fn userinfo(&self, http: &Http, access_token: &str) -> Answer {
        let authorization = format!("Bearer {access_token}");
        let url = format!("{}/me", self.issuer);
        http.send(Method::GET, &url, &[(AUTHORIZATION.as_str(), &authorization)], None).await.unwrap()
    }

    /// Whether the provider still honours an access token (RFC 7662).
    pub(crate) async fn is_active(&self, http: &Http, access_token: &str) -> bool {
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(CLIENT_ID), encode(CLIENT_SECRET))));
        let headers = [(AUTHORIZATION.as_str(), basic.as_str()), (CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")];
        let form = Serializer::new(String::new()).append_pair("token", access_token).finish();
        let url = format!("{}/token/introspection", self.issuer);
        let answer = http.send(Method::POST, &url, &headers, Some(form)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["active"] == json!(true)
    }

    /// How often something happened at the provider.
    pub(crate) async fn count(&self, http: &Http, what: &str) -> u64 {
        let url = format!("{}/control/counters", self.issuer);
        http.send(Method::GET, &url, &[], None).await.unwrap().json()[what].as_u64().unwrap()
    }

    /// Somebody else presents a refresh token that was used before: the provider ends the grant (RFC 9700 section 4.14.2).
    pub(crate) async fn replay(&self, http: &Http) {
        let url = format!("{}/control/replay", self.issuer);
        let answer = http.send(Method::POST, &url, &[], None).await.unwrap().json();
        assert_eq!((&answer["status"], &answer["error"]), (&json!(400), &json!("invalid_grant")));
    }
}

/// A directory with one connection, to it. API tokens are verified by a static key.
pub(crate) fn directory(base: &str, issuer: &str) -> String {
    json!({
        "environment": "staging",
        "public_url": base,
        "error_doc_base": "https://example.com/errors/",
        "api_tokens": { "issuer": API_ISSUER, "audience": API_AUDIENCE, "static_key_secret": "mandate/api-key" },
        "redirect_uris": [{ "uri": "https://app.example.com/return?tab=1", "default": true }],
        "default_connection": CONNECTION,
        "connections": [{
            "id": CONNECTION,
            "provider": "certified",
            "organization_id": null,
            "linked": true,
            "kind": "oidc",
            "issuer": issuer,
            "client_id": CLIENT_ID,
            "token_endpoint_auth_method": "client_secret_basic",
            "scopes": ["openid", "email", "offline_access"],
            "allowed_scopes": ["openid", "email", "offline_access"],
            // OpenID Connect Core section 11: without it no refresh token.
            "extra_authorization_params": { "prompt": "consent" },
            "claims": { "subject": "sub", "email": "email", "organization": "org_id" },
            "rotation_grace": 0,
        }],
    })
    .to_string()
}

/// The document of the static key that verifies API tokens.
pub(crate) fn api_key() -> String {
    json!({ "alg": "HS256", "secret": URL_SAFE_NO_PAD.encode(API_KEY) }).to_string()
}

/// An API token of all scopes.
pub(crate) fn bearer(subject: &str, email: &str) -> String {
    let now = SystemClock.now().unix_timestamp();
    let claims = json!({
        "iss": API_ISSUER, "aud": API_AUDIENCE, "sub": subject, "org_id": ORGANIZATION, "email": email, "email_verified": true,
        "scopes": ["workflow_authorization:*"], "iat": now, "exp": now + 43_200,
    });
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(&API_KEY)).unwrap()
}

/// The cookies of one browser at one host, by name and path (RFC 6265, as far as this provider uses it).
#[derive(Default)]
struct Cookies(BTreeMap<(String, String), String>);

impl Cookies {
    fn keep(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all(SET_COOKIE) {
            let mut parts = cookie.to_str().unwrap().split("; ");
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let path = parts.find_map(|part| part.strip_prefix("path=")).unwrap_or("/");
            self.0.insert((name.to_owned(), path.to_owned()), value.to_owned());
        }
    }

    fn for_path(&self, path: &str) -> String {
        let mut header = String::new();
        for ((name, at), value) in self.0.iter().filter(|((_, at), value)| path.starts_with(at.as_str()) && !value.is_empty()) {
            let _ = (at, write!(header, "{}{name}={value}", if header.is_empty() { "" } else { "; " }));
        }
        header
    }
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

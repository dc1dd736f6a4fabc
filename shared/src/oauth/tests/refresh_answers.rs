//! What every answer to a refresh means: the one table. Each row is sent over a loopback socket to the real adapter, and
//! `docs/operations.md` shows the same rows:
//!
//! ```sh
//! cargo test -p shared --lib refresh_answers                          # fails if the page differs from the table
//! MANDATE_WRITE_DOCS=1 cargo test -p shared --lib refresh_answers     # writes it
//! ```

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use time::Duration;
use url::Url;

use super::scripted::{Reply, Scripted};
use super::world::{HandClock, Listed, Sevens, connection, http, oauth2, secrets};
use crate::domain::caller::Person;
use crate::domain::connection::{ClientAuthentication, Connection, Dialect, Kind, WorkOsSelector};
use crate::domain::secret::Secret;
use crate::oauth::{Http, Provider};
use crate::ports::provider::{ProviderError, Refreshes as _, Verdict};

use Speaks::{Any, GitHub, Slack, WorkOs};
use Verdict::{Operator, Passing, Terminal, Unclear};

/// Whose words they are.
#[derive(Debug, Clone, Copy)]
enum Speaks {
    Any,
    GitHub,
    Slack,
    WorkOs,
}

/// What is answered.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// A status and a body.
    Told(u16, &'static str),
    /// The same with `Retry-After`.
    Wait(u16, &'static str, &'static str),
    HangsUp,
    NeverAnswers,
    NeverEnds,
    Unreachable,
}

use Answer::{HangsUp, NeverAnswers, NeverEnds, Told, Unreachable, Wait};

/// What it means; `None` is a renewed token.
type Means = Option<Verdict>;

const RENEWED: Means = None;
const TERMINAL: Means = Some(Terminal);
const OPERATOR: Means = Some(Operator);
const PASSING: Means = Some(Passing);
const UNCLEAR: Means = Some(Unclear);

const OK: &str = r#"{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r"}"#;
const PAGE: &str = "<!doctype html><title>Back soon</title>";

const TABLE: &[(Speaks, Answer, Means, &str)] = &[
    // Successes.
    (Any, Told(200, OK), RENEWED, "the new refresh token replaces the old one"),
    (Any, Told(201, OK), RENEWED, "any 2xx"),
    (Any, Told(200, r#"{"access_token":"a","token_type":"bearer"}"#), RENEWED, "no new refresh token: the old one stays"),
    (Any, Told(200, r#"{"access_token":"a","token_type":"BEARER","expires_in":"3600"}"#), RENEWED, "lifetimes come as text, too"),
    (Any, Told(200, r#"{"error":null,"access_token":"a","token_type":"Bearer"}"#), RENEWED, "a null error is none"),
    // Successes that cannot be read.
    (Any, Told(200, r#"{"access_token":"a"}"#), UNCLEAR, "without a token type (RFC 6749 section 7.1)"),
    (Any, Told(200, r#"{"access_token":"a","token_type":"mac"}"#), UNCLEAR, "of a type that nobody here understands"),
    (Any, Told(200, r#"{"token_type":"Bearer"}"#), UNCLEAR, "without a token"),
    (Any, Told(200, r#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#), UNCLEAR, "two tokens of one name"),
    (Any, Told(200, r#"{"access_token":"a","token_type":"Bearer","refresh_token":7}"#), UNCLEAR, "a refresh token that is none"),
    (Any, Told(200, r#"{"access_token":"a","tok"#), UNCLEAR, "cut off"),
    (Any, Told(200, "[]"), UNCLEAR, "no object"),
    (Any, Told(200, ""), UNCLEAR, "empty"),
    (Any, Told(204, ""), UNCLEAR, "empty"),
    (Any, Told(200, PAGE), UNCLEAR, "a page of somebody in between"),
    // Redirects are not followed.
    (Any, Told(301, ""), UNCLEAR, "no redirect is followed"),
    (Any, Told(302, PAGE), UNCLEAR, "no redirect is followed"),
    (Any, Told(307, ""), UNCLEAR, "no redirect is followed"),
    (Any, Told(308, r#"{"error":"moved"}"#), PASSING, "the word counts, not the status"),
    // The grant is over, whatever the status says.
    (Any, Told(400, r#"{"error":"invalid_grant"}"#), TERMINAL, "RFC 6749 section 5.2"),
    (
        Any,
        Told(400, r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#),
        TERMINAL,
        "texts are not read",
    ),
    (Any, Told(200, r#"{"error":"invalid_grant"}"#), TERMINAL, "any status"),
    (Any, Told(200, r#"{"error":"invalid_grant","access_token":"a","token_type":"Bearer"}"#), TERMINAL, "an error is no success"),
    (Any, Told(401, r#"{"error":"invalid_grant"}"#), TERMINAL, "any status"),
    (Any, Told(403, r#"{"error":"invalid_grant"}"#), TERMINAL, "any status"),
    (Any, Told(429, r#"{"error":"invalid_grant"}"#), TERMINAL, "any status"),
    (Any, Told(500, r#"{"error":"invalid_grant"}"#), TERMINAL, "any status"),
    (Any, Told(503, r#"{"error":"invalid_grant"}"#), TERMINAL, "any status"),
    // Our client is refused.
    (Any, Told(401, r#"{"error":"invalid_client"}"#), OPERATOR, "after every secret of the client was tried"),
    (Any, Told(400, r#"{"error":"invalid_client"}"#), OPERATOR, "after every secret of the client was tried"),
    (Any, Told(401, ""), OPERATOR, "to Basic credentials that are not known"),
    (Any, Told(401, PAGE), OPERATOR, "to Basic credentials that are not known"),
    (Any, Told(400, r#"{"error":"unauthorized_client"}"#), OPERATOR, "the client may not refresh"),
    (Any, Told(403, r#"{"error":"unauthorized_client"}"#), OPERATOR, "the client may not refresh"),
    (Any, Told(400, r#"{"error":"unsupported_grant_type"}"#), OPERATOR, "refreshing is not set up"),
    (Any, Told(400, r#"{"error":"redirect_uri_mismatch"}"#), OPERATOR, "the client is registered otherwise"),
    // It passes.
    (Any, Wait(429, "30", ""), PASSING, "the connection freezes for as long, a quarter of an hour at most"),
    (Any, Wait(429, "Sun, 22 Nov 2026 10:00:30 GMT", r#"{"error":"slow_down"}"#), PASSING, "a date"),
    (Any, Wait(429, "soon", ""), PASSING, "not understood: as if it were absent"),
    (Any, Told(429, ""), PASSING, "overloaded"),
    (Any, Told(429, r#"{"error":"invalid_client"}"#), PASSING, "who is overloaded is not believed about clients"),
    (Any, Told(408, ""), PASSING, "the request did not arrive in time"),
    (Any, Told(500, PAGE), PASSING, "down"),
    (Any, Told(500, r#"{"error":"server_error"}"#), PASSING, "down"),
    (Any, Told(500, r#"{"error":{"code":500,"message":"backend"}}"#), PASSING, "not in OAuth's words"),
    (Any, Told(501, ""), PASSING, "down"),
    (Any, Told(503, PAGE), PASSING, "down"),
    (Any, Wait(503, "120", ""), PASSING, "down, and it says for how long"),
    (Any, Told(503, r#"{"error":"invalid_client"}"#), PASSING, "who is down is not believed about clients"),
    (Any, Told(521, ""), PASSING, "a content network: the provider is down"),
    (Any, Told(400, r#"{"error":"temporarily_unavailable"}"#), PASSING, "RFC 6749 section 4.1.2.1, also here"),
    (Any, Told(400, r#"{"error":"server_error"}"#), PASSING, "RFC 6749 section 4.1.2.1, also here"),
    (Any, Told(400, r#"{"error":"slow_down"}"#), PASSING, "RFC 8628 section 3.5, also here"),
    (Any, Told(400, PAGE), PASSING, "somebody in front of the provider"),
    (Any, Told(403, PAGE), PASSING, "somebody in front of the provider"),
    (Any, Told(404, PAGE), PASSING, "somebody in front of the provider, or the endpoint has moved"),
    (Any, Told(407, ""), PASSING, "somebody in between"),
    (Any, Told(451, ""), PASSING, "somebody in between"),
    // This one request is refused; no incident of the connection, and no end of the grant.
    (Any, Told(400, r#"{"error":"invalid_request"}"#), PASSING, "this request only; the log has the code"),
    (Any, Told(400, r#"{"error":"invalid_scope"}"#), PASSING, "this request only; the log has the code"),
    (Any, Told(400, r#"{"error":"interaction_required"}"#), PASSING, "not RFC 6749's word for the end of a grant"),
    (Any, Told(401, r#"{"error":"something_new"}"#), PASSING, "an unknown word ends nothing"),
    (Any, Told(400, r#"{"error":"bad_refresh_token"}"#), PASSING, "GitHub's word from somebody else"),
    (Any, Told(400, r#"{"error":["invalid_grant"]}"#), PASSING, "an error that is no word"),
    // A gateway gives up on a provider that may have done it.
    (Any, Told(502, PAGE), UNCLEAR, "a gateway that lost the provider's answer"),
    (Any, Told(504, PAGE), UNCLEAR, "a gateway that lost the provider's answer"),
    (Any, Told(520, ""), UNCLEAR, "a content network that lost the provider's answer"),
    (Any, Told(524, ""), UNCLEAR, "a content network that lost the provider's answer"),
    (Any, Wait(504, "5", ""), PASSING, "whoever says when to come again has not done it"),
    // No answer.
    (Any, Unreachable, PASSING, "nothing was sent"),
    (Any, NeverAnswers, UNCLEAR, "10 s in all"),
    (Any, HangsUp, UNCLEAR, "the connection broke"),
    (Any, NeverEnds, UNCLEAR, "more than 256 KiB"),
    // GitHub: 200 with an error body.
    (GitHub, Told(200, r#"{"access_token":"a","token_type":"bearer","expires_in":28800,"refresh_token":"r"}"#), RENEWED, ""),
    (GitHub, Told(200, r#"{"error":"bad_refresh_token"}"#), TERMINAL, "expired, revoked or used"),
    (GitHub, Told(200, r#"{"error":"incorrect_client_credentials"}"#), OPERATOR, "the secret"),
    (GitHub, Told(200, r#"{"error":"redirect_uri_mismatch"}"#), OPERATOR, "the app is registered otherwise"),
    (GitHub, Told(200, r#"{"error":"application_suspended"}"#), OPERATOR, "the app"),
    (GitHub, Told(200, r#"{"error":"unverified_user_email"}"#), PASSING, "until the person has verified an address"),
    (GitHub, Told(404, r#"{"message":"Not Found"}"#), PASSING, "not the token endpoint's words"),
    (GitHub, Wait(403, "60", r#"{"message":"You have exceeded a secondary rate limit."}"#), PASSING, "a limit of rates"),
    // Slack: 200 with `ok: false`.
    (Slack, Told(200, r#"{"ok":true,"access_token":"a","token_type":"user","expires_in":43200,"refresh_token":"r"}"#), RENEWED, ""),
    (Slack, Told(200, r#"{"ok":false,"error":"invalid_refresh_token"}"#), TERMINAL, "revoked or used"),
    (Slack, Told(200, r#"{"ok":false,"error":"token_revoked"}"#), TERMINAL, "the app was removed"),
    (Slack, Told(200, r#"{"ok":false,"error":"token_expired"}"#), TERMINAL, "too old"),
    (Slack, Told(200, r#"{"ok":false,"error":"account_inactive"}"#), TERMINAL, "the person's account is gone"),
    (Slack, Told(200, r#"{"ok":false,"error":"bad_client_secret"}"#), OPERATOR, "the secret"),
    (Slack, Told(200, r#"{"ok":false,"error":"invalid_client_id"}"#), OPERATOR, "the app"),
    (Slack, Told(200, r#"{"ok":false,"error":"invalid_grant_type"}"#), OPERATOR, "token rotation is not set up"),
    (Slack, Wait(429, "7", r#"{"ok":false,"error":"ratelimited"}"#), PASSING, "a limit of rates"),
    (Slack, Told(200, r#"{"ok":false,"error":"internal_error"}"#), PASSING, "down"),
    (Slack, Told(200, r#"{"ok":false,"error":"service_unavailable"}"#), PASSING, "down"),
    (Slack, Told(200, r#"{"ok":false,"error":"team_added_to_org"}"#), PASSING, "a workspace is moving"),
    (Slack, Told(200, r#"{"ok":false,"error":"something_new"}"#), PASSING, "an unknown word ends nothing"),
    (Slack, Told(200, r#"{"ok":false}"#), PASSING, "no word at all"),
    // WorkOS: errors have `error`, `code`, or nothing but a `message`.
    (WorkOs, Told(200, r#"{"access_token":"a","refresh_token":"r","user":{"id":"person-1"}}"#), RENEWED, ""),
    (
        WorkOs,
        Told(200, r#"{"access_token":"a","refresh_token":"r","user":{"id":"person-2"}}"#),
        TERMINAL,
        "somebody else's: revoked there, `identity_revoked` here",
    ),
    (WorkOs, Told(400, r#"{"error":"invalid_grant","error_description":"Session has already ended."}"#), TERMINAL, "the session has ended"),
    (WorkOs, Told(403, r#"{"error":"sso_required"}"#), TERMINAL, "only a new sign-in helps"),
    (WorkOs, Told(403, r#"{"error":"mfa_enrollment"}"#), TERMINAL, "only a new sign-in helps"),
    (WorkOs, Told(401, r#"{"message":"Unauthorized"}"#), OPERATOR, "the API key"),
    (WorkOs, Told(400, r#"{"error":"invalid_client"}"#), OPERATOR, "the API key or the client id"),
    (WorkOs, Told(422, r#"{"message":"Validation failed"}"#), PASSING, "this request only"),
    (WorkOs, Wait(429, "30", r#"{"message":"Too many requests"}"#), PASSING, "a limit of rates"),
    (WorkOs, Told(500, r#"{"message":"Server Error"}"#), PASSING, "down"),
    (WorkOs, Told(502, PAGE), UNCLEAR, "a gateway that lost WorkOS's answer"),
];

/// Asks a provider that answers like this.
async fn meaning(http: &Http, speaks: Speaks, answer: Answer) -> (Means, Option<Duration>) {
    let server = Scripted::start(move |_, _| {
        Some(match answer {
            Told(status, body) => Reply::Text(status, body, Vec::new()),
            Wait(status, seconds, body) => Reply::Text(status, body, vec![("retry-after", seconds.to_owned())]),
            HangsUp => Reply::HangUp,
            NeverAnswers => Reply::Silence,
            NeverEnds => Reply::Endless,
            Unreachable => return None,
        })
    })
    .await;
    // Nobody listens at port 1.
    let base = if matches!(answer, Unreachable) { "http://127.0.0.1:1" } else { &server.base };
    let connection = match speaks {
        Any => oauth2(base, Dialect::Standard),
        GitHub => oauth2(base, Dialect::GitHub),
        Slack => oauth2(base, Dialect::Slack),
        WorkOs => {
            let kind = Kind::WorkOs { base_url: Url::parse(base).unwrap(), selector: WorkOsSelector::Provider("authkit".to_owned()) };
            Connection { client_authentication: ClientAuthentication::ClientSecretPost, ..connection(kind) }
        }
    };
    let provider =
        Provider::new(http.clone(), HandClock::new(), Arc::new(Sevens), Arc::new(Listed(secrets(&["secret one", "secret two"]))));
    let person = Person { issuer: connection.identity_issuer(), subject: "person-1".to_owned() };
    match provider.refresh(&connection, &Secret::new("refresh-1".to_owned()), &person).await {
        Ok(renewed) => (renewed.identity.err().map(|error| error.verdict()).filter(|verdict| *verdict == Terminal), None),
        Err(error) => (Some(error.verdict()), error.retry_after()),
    }
}

#[tokio::test]
async fn every_answer_to_a_refresh_means_what_the_table_says() {
    assert!(TABLE.len() >= 100, "{}", TABLE.len());
    let (http, mut wrong) = (http(), Vec::new());
    for (speaks, answer, means, _) in TABLE {
        let (seen, wait) = meaning(&http, *speaks, *answer).await;
        let asked_to_wait = matches!(answer, Wait(_, when, _) if *when != "soon");
        if seen != *means || wait.is_some() != asked_to_wait {
            wrong.push(format!("{speaks:?} {answer:?}: {seen:?}, {wait:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn all_secrets_of_a_client_together_have_the_time_of_one_request() {
    for (slow, tried) in [(false, 2), (true, 1)] {
        let clock = HandClock::new();
        let passing = Arc::clone(&clock);
        let server = Scripted::start(move |_, _| {
            passing.advance(if slow { Duration::MINUTE } else { Duration::ZERO });
            Some(Reply::Text(401, r#"{"error":"invalid_client"}"#, Vec::new()))
        })
        .await;
        let connection = oauth2(&server.base, Dialect::Standard);
        let provider = Provider::new(http(), clock, Arc::new(Sevens), Arc::new(Listed(secrets(&["secret one", "secret two"]))));
        let person = Person { issuer: connection.identity_issuer(), subject: "person-1".to_owned() };
        let refused = provider.refresh(&connection, &Secret::new("refresh-1".to_owned()), &person).await.unwrap_err();
        assert!(matches!(refused, ProviderError::Misconfigured { .. }), "{refused:?}");
        assert_eq!(server.seen("/token").len(), tried, "a lease covers no more");
    }
}

const BEGIN: &str = "<!-- begin: answers to a refresh, written by the test `refresh_answers` -->\n";
const END: &str = "<!-- end: answers to a refresh -->\n";

fn rows() -> String {
    let mut rows = "| provider | answer | meaning | remark |\n|---|---|---|---|\n".to_owned();
    for (speaks, answer, means, remark) in TABLE {
        let speaks = match speaks {
            Any => "any",
            GitHub => "GitHub",
            Slack => "Slack",
            WorkOs => "WorkOS",
        };
        let body = |body: &str| match body {
            "" => String::new(),
            PAGE => " a page".to_owned(),
            body => format!(" `{body}`"),
        };
        let answer = match answer {
            Told(status, text) => format!("{status}{}", body(text)),
            Wait(status, when, text) => format!("{status} `Retry-After: {when}`{}", body(text)),
            HangsUp => "the connection breaks".to_owned(),
            NeverAnswers => "none in time".to_owned(),
            NeverEnds => "one without an end".to_owned(),
            Unreachable => "no connection".to_owned(),
        };
        let means = match means {
            None => "renewed",
            Some(Terminal) => "**terminal**",
            Some(Operator) => "operator's fault",
            Some(Passing) => "passing",
            Some(Unclear) => "passing, fate unknown",
        };
        let _ = writeln!(rows, "| {speaks} | {answer} | {means} | {remark} |");
    }
    rows
}

#[test]
#[expect(clippy::disallowed_methods, reason = "whether a test writes is said by its environment")]
fn the_page_for_operators_shows_the_table() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    if std::env::var("MANDATE_WRITE_DOCS").is_ok_and(|value| value == "1") {
        fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", rows())).unwrap();
    } else {
        assert!(shown == rows(), "rewrite it with `MANDATE_WRITE_DOCS=1 cargo test -p shared --lib refresh_answers`");
    }
}

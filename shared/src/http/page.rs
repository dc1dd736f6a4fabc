//! The page that a browser sees when the callback itself completes a sign-in (contract section 6.1): one outcome, in plain words,
//! and what to do next. Nothing on it comes from the provider or from the request but our own request id.

use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use lambda_http::{Body, Response};

use crate::domain::flow::{FlowFailure, FlowOutcome};
use crate::domain::ids::RequestId;

const STYLE: &str = include_str!("page.css");
/// Only our own style may apply, named by its hash; nothing may be loaded, framed or submitted.
const POLICY: &str = "default-src 'none'; style-src 'sha256-SuPO6Wq0gS7y5TP5CTiOQsWTXwjVmq9MVnIhUeEXD8s='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// What a page tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Telling {
    /// The flow ended like this.
    Outcome(FlowOutcome),
    /// The link is expired, altered, or not from here.
    Untrusted,
    /// Another tab or device is completing the sign-in.
    UnderWay,
    /// A part of ours is down.
    Unavailable,
}

struct Words {
    status: StatusCode,
    tone: &'static str,
    mark: &'static str,
    title: &'static str,
    what: &'static str,
    next: &'static str,
}

/// The page.
#[must_use]
pub fn page(telling: &Telling, request_id: &RequestId) -> Response<Body> {
    let words = words(telling);
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"robots\" content=\"noindex\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><main class=\"{tone}\"><div class=\"mark\" aria-hidden=\"true\">{mark}</div><h1>{title}</h1><p>{what}</p><section><h2>What to do next</h2><p>{next}</p></section>\
         <footer>Reference for support: {id}</footer></main></body></html>",
        title = words.title,
        tone = words.tone,
        mark = words.mark,
        what = words.what,
        next = words.next,
        id = escape(request_id.as_str()),
    );
    let mut response = Response::new(Body::Text(html));
    *response.status_mut() = words.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin"));
    if words.status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(http::header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

const START_AGAIN: &str = "Go back to the application that sent you here and start the sign-in again.";
const START_AGAIN_LATER: &str = "Wait a moment, then go back to the application that sent you here and start the sign-in again.";

/// The text of every page.
fn words(telling: &Telling) -> Words {
    match telling {
        Telling::Outcome(FlowOutcome::Stored(_)) => Words {
            status: StatusCode::OK,
            tone: "good",
            mark: "✓",
            title: "You are signed in",
            what: "Your organization’s workflows may now act on your behalf with the access you allowed.",
            next: "You can close this window. To take the access back later, revoke it in your dashboard.",
        },
        Telling::Outcome(FlowOutcome::Failed(failure)) => failed(*failure),
        Telling::Untrusted => Words {
            status: StatusCode::BAD_REQUEST,
            ..refused(
                "This sign-in link is not valid",
                "It has expired, was changed on its way, or was not made here. Nothing was stored and nothing has changed.",
                START_AGAIN,
            )
        },
        Telling::UnderWay => wait(
            "Your sign-in is being completed",
            "Another window is completing this very sign-in.",
            "Wait a few seconds and reload this page to see how it ended.",
        ),
        Telling::Unavailable => wait(
            "We cannot complete this right now",
            "A part of our service is not answering. Your sign-in is not lost.",
            "Wait a few seconds and reload this page.",
        ),
    }
}

fn failed(failure: FlowFailure) -> Words {
    match failure {
        FlowFailure::AccessDenied => {
            refused("The sign-in was refused", "Access was not allowed, so nothing was stored and nothing has changed.", START_AGAIN)
        }
        FlowFailure::IdentityRefused => refused(
            "That was another account",
            "This link was made for a different person than the one who signed in. Nothing was stored, and nobody can use the access just given.",
            "If you did not ask for this sign-in yourself, somebody may have sent you their link: tell your administrator. Otherwise sign in with the account you asked with.",
        ),
        FlowFailure::OrganizationMismatch => refused(
            "That account is of another organization",
            "The account that signed in does not belong to the organization that asked. Nothing was stored, and nobody can use the access just given.",
            "Start the sign-in again with an account of your organization.",
        ),
        FlowFailure::IdentityMismatch => refused(
            "That was another account than before",
            "An existing authorization was to be renewed, but it belongs to another account. It stays as it was.",
            "Start again and sign in with the same account as the first time.",
        ),
        FlowFailure::ConnectionMismatch => refused(
            "That was another sign-in service than before",
            "An existing authorization was to be renewed, but it came by another connection. It stays as it was.",
            START_AGAIN,
        ),
        FlowFailure::ScopesInsufficient => refused(
            "Too little access was allowed",
            "Workflows need more access than was just allowed. The authorization stays as it was.",
            "Start the sign-in again and allow everything that is asked for.",
        ),
        FlowFailure::AuthorizationNotFound => refused(
            "There is nothing to renew",
            "The authorization that was to be renewed no longer exists. Nothing was stored.",
            START_AGAIN,
        ),
        FlowFailure::ProviderRefused | FlowFailure::ProviderAnswerInvalid => Words {
            status: StatusCode::BAD_GATEWAY,
            ..refused(
                "The sign-in service did not confirm",
                "The service where you signed in did not complete the sign-in. Nothing was stored.",
                START_AGAIN,
            )
        },
        FlowFailure::ProviderUnavailable => Words {
            status: StatusCode::SERVICE_UNAVAILABLE,
            ..refused(
                "The sign-in service cannot be reached",
                "The service where you signed in did not answer. Nothing was stored.",
                START_AGAIN_LATER,
            )
        },
        FlowFailure::Internal => Words {
            status: StatusCode::SERVICE_UNAVAILABLE,
            ..refused("Something went wrong on our side", "The sign-in could not be stored. Nothing has changed.", START_AGAIN_LATER)
        },
    }
}

/// The flow is over.
fn refused(title: &'static str, what: &'static str, next: &'static str) -> Words {
    Words { status: StatusCode::FORBIDDEN, tone: "bad", mark: "!", title, what, next }
}

/// The flow goes on.
fn wait(title: &'static str, what: &'static str, next: &'static str) -> Words {
    Words { status: StatusCode::SERVICE_UNAVAILABLE, tone: "wait", mark: "…", title, what, next }
}

/// A request id may be the caller's own visible ASCII.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;
    use base64::Engine as _;

    #[test]
    fn s33_the_policy_names_the_style_and_nothing_else() {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
        let hash = base64::engine::general_purpose::STANDARD.encode(hash);
        assert!(POLICY.contains(&format!("style-src 'sha256-{hash}'")), "page.css has the hash {hash}");
        assert!(POLICY.starts_with("default-src 'none'") && POLICY.contains("frame-ancestors 'none'"));
    }

    #[test]
    fn a_request_id_cannot_become_markup() {
        let id = RequestId::try_from("<script>alert(1)</script>").unwrap();
        let page = page(&Telling::Untrusted, &id);
        let Body::Text(html) = page.body() else { unreachable!() };
        assert!(!html.contains("<script>"));
        assert_eq!(page.status(), 400);
    }
}

//! The pages a person sees: self-contained, without script, and honest about being a demonstration.

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::authorize::Request;
use super::digest;
use super::people::{PEOPLE, Person};

const STYLE: &str = include_str!("page.css");

/// Everything the page shows, taken from the request before it is put away.
pub(super) struct Question {
    client_id: String,
    place: String,
    wishes: Vec<String>,
    hint: Option<String>,
}

impl Question {
    pub(super) fn of(request: &Request) -> Self {
        Self {
            client_id: request.client_id.clone(),
            place: request.back.place(),
            wishes: request.scopes.in_words(),
            hint: request.login_hint.clone(),
        }
    }

    pub(super) fn show(&self, transaction: &str) -> Response {
        let is_hinted = |person: &Person| self.hint.as_deref().is_some_and(|hint| person.is_hinted(hint));
        let mut people: Vec<&Person> = PEOPLE.iter().collect();
        people.sort_by_key(|person| !is_hinted(person));

        let transaction = escaped(transaction);
        let wishes: Vec<String> = self.wishes.iter().map(|wish| format!("<li>{}</li>", escaped(wish))).collect();
        let cards: Vec<String> = people.iter().map(|person| card(person, is_hinted(person), &transaction)).collect();
        let body = format!(
            r#"<h1>Who would you like to be?</h1>
<p><strong>{client}</strong> asks to act on your behalf. It wants to:</p>
<ul class="wishes">
{wishes}
</ul>
<ul class="people">
{cards}
</ul>
<form method="post" action="authorize" class="refuse">
<input type="hidden" name="transaction" value="{transaction}">
<input type="hidden" name="decision" value="refuse">
<button type="submit">Refuse</button>
</form>
<p class="small">You then return to <strong>{place}</strong>.</p>
"#,
            client = escaped(&self.client_id),
            place = escaped(&self.place),
            wishes = wishes.join("\n"),
            cards = cards.join("\n"),
        );
        document(StatusCode::OK, "Sign in", &body)
    }
}

fn card(person: &Person, hinted: bool, transaction: &str) -> String {
    let (class, tag) = if hinted { (" class=\"hinted\"", "<span class=\"tag\">suggested</span>") } else { ("", "") };
    format!(
        r#"<li{class}>
<div class="who">
<span class="face" aria-hidden="true">{initials}</span>
<div><div class="name">{name}{tag}</div>
<div class="about">{role} · {organization}<br>{email}</div></div>
</div>
<form method="post" action="authorize">
<input type="hidden" name="transaction" value="{transaction}">
<input type="hidden" name="person" value="{id}">
<input type="hidden" name="decision" value="allow">
<button type="submit">Sign in and allow as {given}</button>
</form>
</li>"#,
        initials = person.initials(),
        name = person.name,
        role = person.role,
        organization = person.organization,
        email = person.email,
        id = person.id,
        given = person.given_name(),
    )
}

/// The sign-in cannot go on, and there is nowhere to send the browser.
pub(super) fn refused(why: &str) -> Response {
    let body = format!("<h1>This sign-in cannot go on</h1>\n<p>{}</p>\n", escaped(why));
    document(StatusCode::BAD_REQUEST, "This sign-in cannot go on", &body)
}

fn document(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · Demonstration sign-in</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<p class="badge">Demonstration sign-in</p>
{body}</main>
<footer>For trying things out on this machine only. The people are made up and have no password.</footer>
</body>
</html>
"#
    );
    // no form-action: browsers hold the redirects after a form to it as well, and those lead to the caller's own site
    let policy = format!("default-src 'none'; style-src {}; base-uri 'none'; frame-ancestors 'none'", digest::csp_source(STYLE));
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    (status, headers, Html(html)).into_response()
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut html, character| {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
        html
    })
}

/// The hidden `transaction` of a page, for a script that signs in without a browser.
#[must_use]
pub fn transaction_in(page: &str) -> Option<&str> {
    let (_, rest) = page.split_once("name=\"transaction\" value=\"")?;
    rest.split_once('"').map(|(transaction, _)| transaction)
}

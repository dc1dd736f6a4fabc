//! A caller of the API and a browser, for the demonstration and the tests.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::Value;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::sign_in::transaction_in;

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// The body as JSON; `null` if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// A header as text; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// Where the answer sends a browser.
    #[must_use]
    pub fn location(&self) -> &str {
        self.header(LOCATION.as_str())
    }
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
#[error("failed to call {url}")]
pub struct CallError {
    url: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Sends requests as they are: no redirects, no proxies, no cookies.
#[derive(Debug, Clone)]
pub struct Http(Client);

impl Http {
    /// A client.
    #[expect(clippy::disallowed_methods, reason = "this client plays callers and browsers, not the service")]
    pub fn new() -> Result<Self, CallError> {
        let client = Client::builder().redirect(Policy::none()).no_proxy().timeout(Duration::from_mins(1)).build();
        client.map(Self).map_err(|e| CallError { url: "nothing yet".to_owned(), source: e.into() })
    }

    /// Sends one request.
    pub async fn send(&self, method: Method, url: &str, headers: &[(&str, &str)], body: Option<String>) -> Result<Answer, CallError> {
        let failed = |source: reqwest::Error| CallError {
            url: url.split('?').next().unwrap_or_default().to_owned(),
            source: source.without_url().into(),
        };
        let mut request = self.0.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.map_err(failed)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, text: response.text().await.map_err(failed)? })
    }
}

/// Calls the API with a bearer token.
#[derive(Debug, Clone)]
pub struct Api {
    http: Http,
    base: String,
    bearer: String,
}

impl Api {
    /// A caller with this token.
    pub fn new(base: impl Into<String>, bearer: impl Into<String>) -> Result<Self, CallError> {
        Ok(Self { http: Http::new()?, base: base.into(), bearer: bearer.into() })
    }

    /// The same API for another token.
    #[must_use]
    pub fn with_bearer(&self, bearer: impl Into<String>) -> Self {
        Self { bearer: bearer.into(), ..self.clone() }
    }

    /// Calls a path, with a JSON body if one is given.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer, CallError> {
        let authorization = format!("Bearer {}", self.bearer);
        let mut headers = vec![(AUTHORIZATION.as_str(), authorization.as_str())];
        if body.is_some() {
            headers.push((CONTENT_TYPE.as_str(), "application/json"));
        }
        self.http.send(method, &format!("{}{path}", self.base), &headers, body.map(|b| b.to_string())).await
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Result<Answer, CallError> {
        self.call(Method::GET, path, None).await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Result<Answer, CallError> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// `PUT` with a JSON body.
    pub async fn put(&self, path: &str, body: Value) -> Result<Answer, CallError> {
        self.call(Method::PUT, path, Some(body)).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Result<Answer, CallError> {
        self.call(Method::DELETE, path, None).await
    }
}

/// What a person decides at the demonstration sign-in.
#[derive(Debug, Clone, Copy)]
pub enum Decision<'a> {
    /// Signs in as this person and allows.
    Allow(&'a str),
    /// Refuses.
    Refuse,
}

/// A browser at the demonstration sign-in.
#[derive(Debug, Clone)]
pub struct Browser {
    http: Http,
}

impl Browser {
    /// A browser without a past.
    pub fn new() -> Result<Self, CallError> {
        Ok(Self { http: Http::new()? })
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) -> Result<Answer, CallError> {
        self.http.send(Method::GET, url, &[], None).await
    }

    /// Opens a sign-in URL and decides; the answer sends the browser back to the callback.
    pub async fn decide(&self, url: &str, decision: Decision<'_>) -> Result<Answer, CallError> {
        let page = self.open(url).await?;
        let Some(transaction) = transaction_in(&page.text) else { return Ok(page) };
        let mut form = Serializer::new(String::new());
        form.append_pair("transaction", transaction);
        match decision {
            Decision::Allow(person) => form.append_pair("person", person).append_pair("decision", "allow"),
            Decision::Refuse => form.append_pair("decision", "refuse"),
        };
        let action = Url::parse(url).map(|mut u| {
            u.set_query(None);
            u
        });
        let action = action.map_err(|e| CallError { url: "a sign-in URL that is none".to_owned(), source: e.into() })?;
        let headers = [(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")];
        self.http.send(Method::POST, action.as_str(), &headers, Some(form.finish())).await
    }

    /// Opens a sign-in URL, decides, and follows back to the callback: its answer.
    pub async fn sign_in(&self, url: &str, decision: Decision<'_>) -> Result<Answer, CallError> {
        let back = self.decide(url, decision).await?;
        if back.location().is_empty() { Ok(back) } else { self.open(back.location()).await }
    }
}

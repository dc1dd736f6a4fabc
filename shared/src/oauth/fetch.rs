//! GET requests that may be repeated: metadata, keys, userinfo.

use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Method, Request, StatusCode};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use url::Url;

use super::classify::retry_after;
use super::egress::{Answer, Http, Undelivered};
use crate::domain::secret::Secret;
use crate::json;
use crate::ports::provider::ProviderError;

/// Fetches a JSON object.
pub(super) async fn get_object(http: &Http, url: &Url, now: OffsetDateTime) -> Result<Map<String, Value>, ProviderError> {
    let answer = get(http, url, None).await?;
    if answer.status != StatusCode::OK {
        return Err(refusal(&answer, now));
    }
    object(&answer)
}

/// Sends a GET. Nothing can be lost by it, so an answer that did not come is a provider that is down.
pub(super) async fn get(http: &Http, url: &Url, bearer: Option<&Secret>) -> Result<Answer, ProviderError> {
    let mut request = Request::builder().method(Method::GET).uri(url.as_str()).header(ACCEPT, "application/json");
    if let Some(token) = bearer {
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(|_| ProviderError::InvalidGrant)?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let request = request.body(Vec::new()).map_err(|_| ProviderError::Misconfigured { code: "endpoint_not_a_url".to_owned() })?;
    http.send(request).await.map_err(unlost)
}

/// Why there is no answer to a request by which nothing can be lost.
pub(super) fn unlost(undelivered: Undelivered) -> ProviderError {
    match undelivered {
        Undelivered::Lost(source) => ProviderError::Unavailable { status: None, retry_after: None, source: Some(source) },
        other => other.into(),
    }
}

/// What an answer other than 200 means.
pub(super) fn refusal(answer: &Answer, now: OffsetDateTime) -> ProviderError {
    if answer.status.is_redirection() {
        return ProviderError::AnswerInvalid { why: "it is a redirect" };
    }
    ProviderError::Unavailable { status: Some(answer.status.as_u16()), retry_after: retry_after(&answer.headers, now), source: None }
}

/// The object that an answer holds.
pub(super) fn object(answer: &Answer) -> Result<Map<String, Value>, ProviderError> {
    json::parse_object(&answer.body).map_err(|_| ProviderError::AnswerInvalid { why: "it is not a strict JSON object" })
}

//! Who sees everything that passes, for tests that hold all of it to something: what a function asks of AWS, what it is asked and
//! answers, and what it and the provider say to each other.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse as _;
use serde_json::Value;

use crate::aws::Call;
use crate::functions::InvokeError;

/// No request or answer of a provider here is larger. What is larger is not for witnesses, and passes unseen.
const LARGEST: usize = 64 * 1024 * 1024;

/// A request to a provider and its answer.
pub struct Exchange<'a> {
    /// Where it went.
    pub uri: &'a Uri,
    /// The headers of the request.
    pub asked: &'a HeaderMap,
    /// Its body.
    pub question: &'a [u8],
    /// The headers of the answer.
    pub answered: &'a HeaderMap,
    /// Its body.
    pub answer: &'a [u8],
}

/// Sees everything, and changes nothing.
pub trait Witness: Send + Sync {
    /// A request to AWS, as it came over the wire, before anything is made of it.
    fn asked_aws(&self, call: &Call<'_>, headers: &HeaderMap, body: &[u8]);
    /// What KMS, Secrets Manager or SQS answered.
    fn answered_by_aws(&self, call: &Call<'_>, answer: &Value);
    /// An event, and what the function made of it.
    fn invoked(&self, function: &str, event: &Value, answer: Result<&Value, &InvokeError>);
    /// A request to a provider, and its answer.
    fn exchanged(&self, exchange: &Exchange<'_>);
}

/// Lets a witness see what a provider is asked and answers.
pub fn witnessed(provider: Router, witness: Arc<dyn Witness>) -> Router {
    provider.layer(from_fn_with_state(witness, see))
}

async fn see(State(witness): State<Arc<dyn Witness>>, request: Request, next: Next) -> Response<Body> {
    let (asked, body) = request.into_parts();
    let Ok(question) = to_bytes(body, LARGEST).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let (uri, headers) = (asked.uri.clone(), asked.headers.clone());
    let (answered, body) = next.run(Request::from_parts(asked, Body::from(question.clone()))).await.into_parts();
    // What is read in pieces is meant to break off, or never to end: that is for the service alone.
    if body.size_hint().exact().is_none() {
        return Response::from_parts(answered, body);
    }
    let Ok(answer) = to_bytes(body, LARGEST).await else { return StatusCode::BAD_GATEWAY.into_response() };
    witness.exchanged(&Exchange { uri: &uri, asked: &headers, question: &question, answered: &answered.headers, answer: &answer });
    Response::from_parts(answered, Body::from(answer))
}

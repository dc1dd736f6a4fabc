//! The one way out to identity providers.
//!
//! 1. The URL is judged: https (http only to loopback, where that is allowed), no userinfo, never port 9001, no forbidden address.
//! 2. The name is resolved, and every address is judged at the moment of connecting, so that a name cannot change in between.
//! 3. No redirect is followed, no proxy of the environment used, nothing decompressed; 3 s to connect, 10 s in all, 256 KiB.
//! 4. A failure says whether the request can have reached the provider: a code must not be sent twice.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::address::is_allowed;
use crate::correlation;
use crate::ports::provider::ProviderError;
use crate::ports::{Source, Unavailable};
use crate::tls;

/// How much of an answer is read.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// The Lambda runtime's own API listens here.
const RUNTIME_API_PORT: u16 = 9001;
/// By it a provider's support can find what an operator finds in our log. Most providers ignore it.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Idle connections are not kept for longer: after a sandbox has been frozen, a request on a dead one would be an answer lost.
const IDLE: Duration = Duration::from_secs(4);

/// The rules of the way out.
#[derive(Debug, Clone, Copy)]
pub struct Egress {
    /// Whether providers on this machine may be reached, also without TLS (staging and development only).
    pub allow_loopback: bool,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a request may take in all.
    pub total_timeout: Duration,
}

impl Egress {
    /// The rules of production, or with `allow_loopback` those of staging.
    #[must_use]
    pub fn new(allow_loopback: bool) -> Self {
        Self { allow_loopback, connect_timeout: Duration::from_secs(3), total_timeout: Duration::from_secs(10) }
    }
}

/// The HTTP client of this service; cheap to clone.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    allow_loopback: bool,
    total_timeout: Duration,
}

/// A complete answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Tokens may be in it: wiped when dropped.
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undelivered {
    /// The rules forbid the request.
    #[error("request is not allowed: {0}")]
    Forbidden(&'static str),
    /// The provider cannot have received it.
    #[error("request was not sent")]
    NotSent(#[source] Source),
    /// The provider may have received it.
    #[error("answer was lost")]
    Lost(#[source] Source),
    /// The answer is longer than anybody needs.
    #[error("answer is too large")]
    TooLarge,
}

impl From<Undelivered> for ProviderError {
    fn from(undelivered: Undelivered) -> Self {
        match undelivered {
            Undelivered::Forbidden(why) => Self::Misconfigured { code: why.to_owned() },
            Undelivered::NotSent(source) => Self::Unavailable { status: None, retry_after: None, source: Some(source) },
            Undelivered::Lost(source) => Self::AnswerLost { source: Some(source) },
            Undelivered::TooLarge => Self::AnswerInvalid { why: "it is larger than 256 KiB" },
        }
    }
}

impl Http {
    /// Builds the client. It fails only if TLS cannot be set up.
    pub fn new(egress: Egress) -> Result<Self, Unavailable> {
        let lookup: Lookup = Arc::new(system_lookup);
        let client = tls::configure(builder(egress, &lookup)).build();
        let client = client.map_err(|e| Unavailable::new("set up TLS towards identity providers", e))?;
        Ok(Self { client, allow_loopback: egress.allow_loopback, total_timeout: egress.total_timeout })
    }

    /// How long a request may take, or several that are one to whoever waits for them.
    pub(super) fn time_limit(&self) -> Duration {
        self.total_timeout
    }

    /// A client that trusts other roots and asks another resolver, for servers that tests run themselves.
    #[cfg(test)]
    pub(super) fn elsewhere(egress: Egress, tls: rustls::ClientConfig, lookup: &Lookup) -> Result<Self, reqwest::Error> {
        let client = builder(egress, lookup).tls_backend_preconfigured(tls).build()?;
        Ok(Self { client, allow_loopback: egress.allow_loopback, total_timeout: egress.total_timeout })
    }

    /// Whether the rules let a request, or a browser, go to this URL; otherwise why not.
    pub(super) fn judge(&self, url: &Url) -> Result<(), &'static str> {
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return Err("endpoint_without_host"),
        };
        let local = literal.is_some_and(|address| address.is_loopback()) || url.host_str() == Some("localhost");
        match url.scheme() {
            "https" => {}
            "http" if self.allow_loopback && local => {}
            _ => return Err("endpoint_without_tls"),
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("endpoint_with_userinfo_or_fragment");
        }
        if url.port_or_known_default() == Some(RUNTIME_API_PORT) || literal.is_some_and(|address| !is_allowed(address, self.allow_loopback))
        {
            return Err("endpoint_address_forbidden");
        }
        Ok(())
    }

    /// Sends a request once.
    pub(super) async fn send(&self, request: http::Request<Vec<u8>>) -> Result<Answer, Undelivered> {
        self.send_within(request, self.total_timeout).await
    }

    /// Sends a request once, in what is left of the time limit.
    pub(super) async fn send_within(&self, request: http::Request<Vec<u8>>, limit: Duration) -> Result<Answer, Undelivered> {
        let mut request = reqwest::Request::try_from(request).map_err(|_| Undelivered::Forbidden("endpoint_not_a_url"))?;
        self.judge(request.url()).map_err(Undelivered::Forbidden)?;
        *request.timeout_mut() = Some(limit);
        let asked_for = correlation::request_id().and_then(|id| HeaderValue::try_from(id).ok());
        if let Some(id) = asked_for {
            request.headers_mut().insert(X_REQUEST_ID, id);
        }
        let mut response = self.client.execute(request).await.map_err(undelivered)?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        if response.content_length().is_some_and(|length| length > MAX_BODY_BYTES as u64) {
            return Err(Undelivered::TooLarge);
        }
        let mut body = Zeroizing::new(Vec::with_capacity(8 * 1024));
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > MAX_BODY_BYTES => return Err(Undelivered::TooLarge),
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(Answer { status, headers, body }),
                // The status line alone tells all there is to know about a server that is down.
                Err(_) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                    body.clear();
                    return Ok(Answer { status, headers, body });
                }
                Err(error) => return Err(Undelivered::Lost(error.without_url().into())),
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the place that gives the client its rules")]
fn builder(egress: Egress, lookup: &Lookup) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .https_only(!egress.allow_loopback)
        .connect_timeout(egress.connect_timeout)
        .timeout(egress.total_timeout)
        .pool_idle_timeout(IDLE)
        .user_agent("mandate") // GitHub answers nobody without one
        .dns_resolver(Guard { allow_loopback: egress.allow_loopback, lookup: Arc::clone(lookup) })
}

fn undelivered(error: reqwest::Error) -> Undelivered {
    if caused_by::<Forbidden>(&error) {
        Undelivered::Forbidden("endpoint_address_forbidden")
    } else if error.is_builder() {
        Undelivered::Forbidden("endpoint_not_a_url")
    } else if error.is_connect() {
        Undelivered::NotSent(error.without_url().into())
    } else {
        Undelivered::Lost(error.without_url().into())
    }
}

fn caused_by<E: std::error::Error + 'static>(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |e| e.source()).any(<dyn std::error::Error>::is::<E>)
}

/// Finds the addresses of a name; it may block.
pub(super) type Lookup = Arc<dyn Fn(&str) -> std::io::Result<Vec<SocketAddr>> + Send + Sync>;

fn system_lookup(host: &str) -> std::io::Result<Vec<SocketAddr>> {
    (host, 0).to_socket_addrs().map(Iterator::collect)
}

/// Resolves names, and refuses a name as a whole if one of its addresses is forbidden: whoever mixes them is up to something. The
/// client asks it at every connection, and connects to what it answers: there is no second look that could see another address.
struct Guard {
    allow_loopback: bool,
    lookup: Lookup,
}

/// A name led to a forbidden address.
#[derive(Debug, thiserror::Error)]
#[error("name resolves to an address that is not allowed")]
struct Forbidden;

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (allow_loopback, lookup) = (self.allow_loopback, Arc::clone(&self.lookup));
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let local = host == "localhost";
            let found = tokio::task::spawn_blocking(move || lookup(&host)).await??;
            // Plain http is allowed to `localhost`, so that name has to stay on this machine.
            let fine = |a: &SocketAddr| is_allowed(a.ip(), allow_loopback) && (!local || a.ip().is_loopback());
            if found.iter().all(fine) { Ok(Box::new(found.into_iter()) as Addrs) } else { Err(Box::new(Forbidden) as Source) }
        })
    }
}

//! What stands between the functions and the emulated AWS: it counts every request and the capacity that DynamoDB says it took, and
//! it can terminate TLS, with a certificate of its own authority.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use axum::serve::Listener;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use crate::Failure;

/// DynamoDB's largest request.
const BODY_LIMIT: usize = 16 * 1024 * 1024;
/// How long a handshake may take: a client under callgrind needs some time.
const HANDSHAKE: Duration = Duration::from_mins(1);

/// What arrived since the last look.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Requests, by service and operation.
    pub requests: BTreeMap<String, u64>,
    /// Read capacity units.
    pub read_units: f64,
    /// Write capacity units.
    pub write_units: f64,
    /// TLS connections that were begun.
    pub begun: u64,
    /// Those that were opened.
    pub handshakes: u64,
}

impl Seen {
    /// Requests to a service, by its name in `X-Amz-Target`.
    #[must_use]
    pub fn to(&self, service: &str) -> u64 {
        self.requests.iter().filter(|(name, _)| name.starts_with(service)).map(|(_, count)| count).sum()
    }
}

/// A front of the emulated AWS.
pub struct Front {
    /// Its URL.
    pub endpoint: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Clone)]
struct Forward {
    to: String,
    client: Client<HttpConnector, Body>,
    seen: Arc<Mutex<Seen>>,
}

/// An authority, and a certificate of `localhost` by it.
pub struct Authority {
    /// The authority, in PEM.
    pub pem: String,
    server: Arc<ServerConfig>,
}

impl Front {
    /// Serves in front of `to`, with TLS if there is an authority.
    pub async fn start(to: &str, authority: Option<&Authority>) -> Result<Self, Failure> {
        let seen = Arc::<Mutex<Seen>>::default();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let router = Router::new().fallback(forward).with_state(Forward { to: to.to_owned(), client, seen: Arc::clone(&seen) });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let endpoint = if let Some(authority) = authority {
            let listener = Tls { listener, acceptor: Arc::clone(&authority.server).into(), seen: Arc::clone(&seen) };
            tokio::spawn(async move { axum::serve(listener, router).await });
            format!("https://localhost:{port}")
        } else {
            tokio::spawn(async move { axum::serve(listener, router).await });
            format!("http://127.0.0.1:{port}")
        };
        Ok(Self { endpoint, seen })
    }

    /// What arrived since the last look.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Authority {
    /// A new one. As AWS's endpoints have it: RSA keys of 2048 bits, and an intermediate authority between root and server. What a
    /// handshake costs a client is above all to verify these signatures.
    pub fn new() -> Result<Self, Failure> {
        let key = || KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
        let root = CertifiedIssuer::self_signed(authority("root")?, key()?)?;
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(root.der()));
        let intermediate = CertifiedIssuer::signed_by(authority("intermediate")?, key()?, &root)?;
        let server_key = key()?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&server_key, &intermediate)?;
        let private = PrivateKeyDer::try_from(server_key.serialize_der())?;
        let chain = [certificate.der(), intermediate.der()].map(|der| CertificateDer::from(der.to_vec())).to_vec();
        let mut server = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { pem, server: Arc::new(server) })
    }
}

fn authority(name: &str) -> Result<CertificateParams, Failure> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, name);
    Ok(authority)
}

async fn forward(State(front): State<Forward>, method: Method, uri: Uri, mut headers: HeaderMap, body: Body) -> Response<Body> {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or("none").to_owned();
    let Ok(mut body) = axum::body::to_bytes(body, BODY_LIMIT).await else { return refuse() };
    let counts_capacity = target.starts_with("DynamoDB_");
    if counts_capacity {
        body = with_capacity(body);
        headers.remove(header::CONTENT_LENGTH);
    }
    {
        let mut seen = front.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen.requests.entry(target.clone()).or_default() += 1;
    }
    headers.remove(header::HOST);
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = method;
    let Ok(to) = format!("{}{}", front.to, uri.path_and_query().map_or("/", |path| path.as_str())).parse() else { return refuse() };
    *request.uri_mut() = to;
    *request.headers_mut() = headers;
    let Ok(answer) = front.client.request(request).await else { return refuse() };
    let (mut parts, body) = answer.into_parts();
    let Ok(bytes) = axum::body::to_bytes(Body::new(body), BODY_LIMIT).await else { return refuse() };
    if counts_capacity {
        let units = units(&bytes);
        let mut seen = front.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let reads = ["GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"];
        if reads.iter().any(|read| target.ends_with(&format!(".{read}"))) {
            seen.read_units += units;
        } else {
            seen.write_units += units;
        }
    }
    parts.headers.remove(header::TRANSFER_ENCODING);
    Response::from_parts(parts, Body::from(bytes))
}

/// The request, with the wish to be told what it took.
fn with_capacity(body: Bytes) -> Bytes {
    let Ok(Value::Object(mut request)) = serde_json::from_slice(&body) else { return body };
    request.insert("ReturnConsumedCapacity".to_owned(), json!("TOTAL"));
    Value::Object(request).to_string().into()
}

fn units(answer: &[u8]) -> f64 {
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else { return 0.0 };
    let of = |one: &Value| one["CapacityUnits"].as_f64().unwrap_or_default();
    match &answer["ConsumedCapacity"] {
        Value::Array(tables) => tables.iter().map(of).sum(),
        one => of(one),
    }
}

fn refuse() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    seen: Arc<Mutex<Seen>>,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            let _ = stream.set_nodelay(true);
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).begun += 1;
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, self.acceptor.accept(stream)).await {
                self.seen.lock().unwrap_or_else(PoisonError::into_inner).handshakes += 1;
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

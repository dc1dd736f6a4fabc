//! TLS towards providers, and the address that a connection really goes to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ServerConfig, SupportedProtocolVersion};

use super::keys::pem;
use crate::oauth::egress::Lookup;
use crate::oauth::{Egress, Http};
use crate::ports::provider::ProviderError;
use crate::tls;

/// Who signs certificates.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub(super) struct Certified(CertificateDer<'static>, PrivateKeyDer<'static>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// In PEM, as `SSL_CERT_FILE` names it.
    pub(super) fn pem(&self) -> String {
        pem("CERTIFICATE", self.0.der())
    }

    pub(super) fn certify(&self, name: &str) -> Certified {
        self.certify_until(name, 4096)
    }

    fn certify_until(&self, name: &str, year: i32) -> Certified {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Certified(certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }
}

fn self_signed(name: &str) -> Certified {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    Certified(certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
}

/// A server with TLS that answers every request with `200`, and counts what it could read.
pub(super) struct Server {
    pub(super) port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Server {
    pub(super) async fn start(certified: Certified) -> Self {
        Self::of(certified, &[&TLS12, &TLS13]).await
    }

    async fn of(certified: Certified, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let Certified(certificate, key) = certified;
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider())).with_protocol_versions(versions).unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (opened, read) = (Arc::clone(&connections), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                opened.fetch_add(1, Ordering::SeqCst);
                let (acceptor, read) = (acceptor.clone(), Arc::clone(&read));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(socket).await else { return };
                    if stream.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {
                        read.fetch_add(1, Ordering::SeqCst);
                        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}").await.unwrap_or_default();
                        stream.shutdown().await.unwrap_or_default();
                    }
                });
            }
        });
        Self { port, connections, requests }
    }

    fn counted(&self) -> (usize, usize) {
        (self.connections.load(Ordering::SeqCst), self.requests.load(Ordering::SeqCst))
    }
}

/// Every name is this machine.
fn loopback() -> Lookup {
    Arc::new(|_: &str| Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]))
}

fn http(authority: &Authority, allow_loopback: bool, lookup: &Lookup) -> Http {
    let egress = Egress { allow_loopback, connect_timeout: Duration::from_secs(2), total_timeout: Duration::from_secs(2) };
    Http::elsewhere(egress, tls::trusting(authority.pem().as_bytes()).unwrap(), lookup).unwrap()
}

async fn get(http: &Http, url: &str) -> Result<u16, ProviderError> {
    let request = ::http::Request::get(url).body(Vec::new()).unwrap();
    http.send(request).await.map(|answer| answer.status.as_u16()).map_err(ProviderError::from)
}

#[tokio::test]
async fn s12_s38_only_a_server_with_a_good_certificate_for_its_name_is_spoken_with() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let http = http(&authority, true, &loopback());
    let name = "idp.example";
    for versions in [&[&TLS12][..], &[&TLS13][..]] {
        let server = Server::of(authority.certify(name), versions).await;
        assert_eq!(get(&http, &format!("https://{name}:{}/", server.port)).await.unwrap(), 200, "{versions:?}");
        assert_eq!(server.counted(), (1, 1));
    }
    for (what, certified) in [
        ("another authority", stranger.certify(name)),
        ("another name", authority.certify("idp.example.com")),
        ("a wildcard of another label", authority.certify("*.idp.example")),
        ("expired", authority.certify_until(name, 2020)),
        ("signed by itself", self_signed(name)),
    ] {
        let server = Server::start(certified).await;
        let refused = get(&http, &format!("https://{name}:{}/", server.port)).await;
        // Nothing was sent, so a code would not be spent, and the next time may be better.
        assert!(matches!(refused, Err(ProviderError::Unavailable { status: None, .. })), "{what}: {refused:?}");
        assert_eq!(server.counted(), (1, 0), "{what}");
    }
}

/// A server that reads what a client begins with, and answers these bytes.
async fn begins(reply: &'static [u8]) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::<Mutex<Vec<u8>>>::default();
    let hearing = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut bytes = vec![0; 16 * 1024];
            let length = socket.read(&mut bytes).await.unwrap_or(0);
            hearing.lock().unwrap().extend_from_slice(&bytes[..length]);
            socket.write_all(reply).await.unwrap_or_default();
        }
    });
    (port, heard)
}

/// The versions that a `ClientHello` offers (RFC 8446 section 4.2.1).
fn offered(hello: &[u8]) -> Vec<u16> {
    let number = |at: usize| u16::from_be_bytes([hello[at], hello[at + 1]]);
    // Record and handshake headers, version, random; then session id, cipher suites and compression, each with its length.
    let mut at = 5 + 4 + 2 + 32;
    at += 1 + usize::from(hello[at]);
    at += 2 + usize::from(number(at));
    at += 1 + usize::from(hello[at]);
    let end = at + 2 + usize::from(number(at));
    at += 2;
    while at < end {
        let (kind, length) = (number(at), usize::from(number(at + 2)));
        if kind == 43 {
            return (0..usize::from(hello[at + 4]) / 2).map(|i| number(at + 5 + 2 * i)).collect();
        }
        at += 4 + length;
    }
    Vec::new()
}

/// A `ServerHello` of TLS 1.1: version 3.2, no session, `TLS_RSA_WITH_AES_128_CBC_SHA`.
const TLS_1_1: &[u8] = &[
    0x16, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    0, 0, 0x2f, 0,
];

#[tokio::test]
async fn s38_nothing_older_than_tls_1_2_is_offered_or_taken() {
    let http = http(&Authority::new(), true, &loopback());
    let (port, heard) = begins(TLS_1_1).await;
    assert!(matches!(get(&http, &format!("https://idp.example:{port}/")).await, Err(ProviderError::Unavailable { status: None, .. })));
    let mut versions = offered(&heard.lock().unwrap());
    versions.sort_unstable();
    assert_eq!(versions, [0x0303, 0x0304]);
}

#[tokio::test]
async fn s12_a_server_without_tls_is_not_spoken_with() {
    let http = http(&Authority::new(), true, &loopback());
    let (port, heard) = begins(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    assert!(matches!(get(&http, &format!("https://idp.example:{port}/")).await, Err(ProviderError::Unavailable { status: None, .. })));
    assert!(!heard.lock().unwrap().windows(3).any(|part| part == b"GET"), "not a word in clear");
    let refused = get(&http, &format!("http://idp.example:{port}/")).await;
    assert!(matches!(refused, Err(ProviderError::Misconfigured { code }) if code == "endpoint_without_tls"));
}

#[tokio::test]
async fn s76_a_name_that_turns_to_another_address_is_judged_by_the_one_that_is_connected_to() {
    let authority = Authority::new();
    let server = Server::start(authority.certify("rebind.example")).await;
    let url = format!("https://rebind.example:{}/", server.port);
    let private: IpAddr = [10, 0, 0, 1].into();
    let answers: Arc<Mutex<Vec<Vec<IpAddr>>>> = Arc::default();
    let next = Arc::clone(&answers);
    let lookup: Lookup = Arc::new(move |_: &str| {
        let found = next.lock().unwrap().remove(0);
        Ok(found.into_iter().map(|address| SocketAddr::new(address, 0)).collect())
    });
    // Loopback stands for the public address that a name has at first: it is allowed here, and a private one is not.
    let first: IpAddr = Ipv4Addr::LOCALHOST.into();
    let resolving = |found: Vec<Vec<IpAddr>>| *answers.lock().unwrap() = found;
    let http = self::http(&authority, true, &lookup);
    resolving(vec![vec![first]]);
    assert_eq!(get(&http, &url).await.unwrap(), 200);
    assert!(answers.lock().unwrap().is_empty(), "one look for one connection");
    for hostile in [
        vec![private],
        vec![first, private],
        vec![private, first],
        vec!["169.254.169.254".parse().unwrap()],
        vec!["::ffff:10.0.0.1".parse().unwrap(), first],
        vec!["fd00:ec2::254".parse().unwrap()],
        vec!["0.0.0.0".parse().unwrap()],
    ] {
        resolving(vec![hostile.clone()]);
        let refused = get(&http, &url).await;
        assert!(matches!(refused, Err(ProviderError::Misconfigured { code }) if code == "endpoint_address_forbidden"), "{hostile:?}");
    }
    assert_eq!(server.counted(), (1, 1), "nobody was connected to");
    // With the rules of production the first address would not have been spoken with either.
    let strict = self::http(&authority, false, &lookup);
    resolving(vec![vec![first]]);
    assert!(matches!(get(&strict, &url).await, Err(ProviderError::Misconfigured { .. })));
    assert_eq!(server.counted(), (1, 1));
}

#[tokio::test]
async fn s76_a_name_without_an_address_is_a_provider_that_is_down() {
    let nowhere: Lookup = Arc::new(|_: &str| Err(io::Error::other("no such name")));
    let http = http(&Authority::new(), false, &nowhere);
    assert!(matches!(get(&http, "https://idp.example/").await, Err(ProviderError::Unavailable { status: None, .. })));
}

//! A TCP proxy that harms what passes through it, once for every time that it is told to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What is done to one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// The connection breaks before the request has passed.
    CutRequest,
    /// The request passes, and the connection breaks before its answer.
    CutAnswer,
    /// The request passes, its answer is swallowed, and the connection stays.
    SwallowAnswer,
    /// The answer comes late.
    Delay(Duration),
}

/// The proxy.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    upstream: SocketAddr,
    /// Only requests with these words are harmed.
    only: &'static [u8],
    armed: Mutex<Option<Harm>>,
    done: AtomicU64,
}

impl Proxy {
    /// Passes everything on to `upstream`.
    pub(crate) async fn start(upstream: SocketAddr, only: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { upstream, only: only.as_bytes(), armed: Mutex::default(), done: AtomicU64::new(0) });
        let passing = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, Arc::clone(&passing)));
            }
        });
        Self { address, shared, task }
    }

    /// Where it listens.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Harms the next exchange; nothing, if absent.
    pub(crate) fn arm(&self, harm: Option<Harm>) {
        *self.shared.armed.lock().unwrap() = harm;
    }

    /// How many exchanges were harmed.
    pub(crate) fn done(&self) -> u64 {
        self.shared.done.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    /// What is to be done to the exchange that this request begins.
    fn harm(&self, request: &[u8]) -> Option<Harm> {
        let concerned = request.windows(self.only.len()).any(|window| window == self.only);
        let harm = if concerned { self.armed.lock().unwrap().take() } else { None };
        self.done.fetch_add(u64::from(harm.is_some()), Ordering::SeqCst);
        harm
    }
}

/// One connection, until one of the two sides, or we, end it.
async fn pass(mut client: TcpStream, shared: Arc<Shared>) {
    // Nobody listens: neither do we.
    let Ok(mut server) = TcpStream::connect(shared.upstream).await else { return };
    let (mut request, mut answer) = ([0; 16 * 1024], [0; 16 * 1024]);
    let (mut harm, mut swallowing) = (None, false);
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let Some(length) = read.ok().filter(|length| *length > 0) else { return };
                harm = harm.or(shared.harm(&request[..length]));
                if harm == Some(Harm::CutRequest) || server.write_all(&request[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answer) => {
                let Some(length) = read.ok().filter(|length| *length > 0) else { return };
                match harm.take() {
                    Some(Harm::CutAnswer) => return,
                    Some(Harm::SwallowAnswer) => swallowing = true,
                    Some(Harm::Delay(time)) => tokio::time::sleep(time).await,
                    Some(Harm::CutRequest) | None => {}
                }
                if !swallowing && client.write_all(&answer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

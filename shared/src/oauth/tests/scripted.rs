//! A provider that answers by a script: hand-written HTTP/1.1, one request per connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) authorization: Option<String>,
    /// Everything before the body.
    pub(super) head: String,
    pub(super) body: String,
}

impl Seen {
    /// The form parameters of the body.
    pub(super) fn form(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.body.as_bytes()).find(|(n, _)| n == name).map(|(_, v)| v.into_owned())
    }
}

/// What is answered.
pub(super) enum Reply {
    Json(u16, Value),
    Text(u16, &'static str, Vec<(&'static str, String)>),
    /// Any bytes, with these headers.
    Bytes(Vec<u8>, Vec<(&'static str, String)>),
    /// Reads the request, and never answers.
    Silence,
    /// Reads the request, and hangs up.
    HangUp,
    /// Announces more than it is willing to send.
    Endless,
    /// Sends its headers, and then its body byte by byte without an end, each in good time.
    Drip,
}

type Script = dyn Fn(&Seen) -> Option<Reply> + Send + Sync;

/// The server: single answers first, in order and per path; then the standing script.
pub(super) struct Scripted {
    pub(super) base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    once: Arc<Mutex<VecDeque<(String, Reply)>>>,
}

impl Scripted {
    pub(super) async fn start(script: impl Fn(&str, &Seen) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (seen, once) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<Mutex<VecDeque<(String, Reply)>>>::default());
        let (own, calls, singles) = (base.clone(), seen.clone(), once.clone());
        let script: Arc<Script> = Arc::new(move |request| script(&own, request));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, calls.clone(), singles.clone(), script.clone()));
            }
        });
        Self { base, seen, once }
    }

    /// Answers the next request to a path otherwise.
    pub(super) fn once(&self, path: &str, reply: Reply) {
        self.once.lock().unwrap().push_back((path.to_owned(), reply));
    }

    /// Every request, in the order of arrival.
    pub(super) fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn seen(&self, path: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.path.split('?').next() == Some(path)).cloned().collect()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.once.lock().unwrap().is_empty(), "a scripted answer was left unused");
        }
    }
}

async fn serve(mut socket: TcpStream, seen: Arc<Mutex<Vec<Seen>>>, once: Arc<Mutex<VecDeque<(String, Reply)>>>, script: Arc<Script>) {
    let Some(request) = read(&mut socket).await else { return };
    seen.lock().unwrap().push(request.clone());
    let single = {
        let mut once = once.lock().unwrap();
        let at = once.iter().position(|(path, _)| *path == request.path);
        at.and_then(|at| once.remove(at)).map(|(_, reply)| reply)
    };
    let reply = single.or_else(|| script(&request)).unwrap_or(Reply::Text(404, "", Vec::new()));
    match reply {
        Reply::Json(status, body) => {
            answer(&mut socket, status, body.to_string().as_bytes(), &[("content-type", "application/json".to_owned())]).await;
        }
        Reply::Text(status, body, headers) => answer(&mut socket, status, body.as_bytes(), &headers).await,
        Reply::Bytes(body, headers) => answer(&mut socket, 200, &body, &headers).await,
        Reply::Silence => std::future::pending().await,
        Reply::HangUp => {}
        Reply::Endless => {
            socket.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await.unwrap_or_default();
            while socket.write_all(&[b' '; 8192]).await.is_ok() {}
        }
        Reply::Drip => {
            socket.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await.unwrap_or_default();
            while socket.write_all(b" ").await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }
}

async fn answer(socket: &mut TcpStream, status: u16, body: &[u8], headers: &[(&str, String)]) {
    let mut text = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    socket.write_all(&[text.as_bytes(), b"\r\n", body].concat()).await.unwrap_or_default();
    socket.shutdown().await.unwrap_or_default();
}

async fn read(socket: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        let mut chunk = [0; 4096];
        let length = socket.read(&mut chunk).await.ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&chunk[..length]);
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let header =
        |name: &str| head.lines().find_map(|l| l.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_owned()));
    let length = header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    while bytes.len() < head_end + length {
        let mut chunk = [0; 4096];
        let read = socket.read(&mut chunk).await.ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
    }
    let mut first = head.split(' ');
    Some(Seen {
        method: first.next()?.to_owned(),
        path: first.next()?.to_owned(),
        authorization: header("authorization"),
        head: head.clone(),
        body: String::from_utf8_lossy(&bytes[head_end..]).into_owned(),
    })
}

//! A stand-in of the Lambda Runtime API, and a function that runs against it: one process, one event at a time.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::Failure;

/// How long anything may take before a measure is given up: a slow program under callgrind, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long a function has for an event, as it is told.
const INVOCATION: Duration = Duration::from_mins(5);
/// Stands before the program, so that what prepares it (a namespace, a CPU quota) is over when the time starts to count: it says that
/// it is ready, waits for a line, and becomes the program.
const STARTER: &str = r#"echo ready; read -r _; exec "$@" >/dev/null"#;

/// What a function says to the Runtime API.
enum Said {
    /// It asks for an event.
    Next(Instant),
    /// It answers one.
    Answer(Bytes, Instant),
    /// It failed.
    Error(String),
}

struct Api {
    said: mpsc::UnboundedSender<Said>,
    events: Mutex<mpsc::UnboundedReceiver<String>>,
}

/// How a program is started.
#[derive(Clone, Default)]
pub struct Launch {
    /// The program and its arguments; a wrapper stands before it.
    pub command: Vec<String>,
    /// Shell text that runs before the time starts to count.
    pub before: String,
    /// What the whole stands in, such as `unshare -m`.
    pub within: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
}

/// A running function.
pub struct Function {
    child: Child,
    server: JoinHandle<io::Result<()>>,
    said: mpsc::UnboundedReceiver<Said>,
    events: mpsc::UnboundedSender<String>,
    began: Instant,
    asked: Instant,
    /// On a processor, from the one to the other.
    ran: Duration,
}

impl Function {
    /// Starts a program, and waits until it asks for its first event.
    pub async fn start(launch: &Launch) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (said, mut hears) = mpsc::unbounded_channel();
        let (events, waiting) = mpsc::unbounded_channel();
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .fallback(error)
            .with_state(Arc::new(Api { said, events: Mutex::new(waiting) }));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });

        let starter = format!("{}\n{STARTER}", launch.before);
        let (program, arguments) = launch.within.split_first().map_or(("sh", &[][..]), |(first, rest)| (first.as_str(), rest));
        let mut command = Command::new(program);
        command.args(arguments);
        if !launch.within.is_empty() {
            command.arg("sh");
        }
        command.arg("-ec").arg(starter).arg("starter").args(&launch.command);
        command.env_clear().envs(launch.environment.iter().cloned()).env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        command.env("AWS_LAMBDA_RUNTIME_API", address.to_string());
        let stderr = if std::env::args().any(|argument| argument == "--verbose") { Stdio::inherit() } else { Stdio::null() };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true).spawn()?;
        let (Some(mut go), Some(ready)) = (child.stdin.take(), child.stdout.take()) else { return Err("no pipes".into()) };
        let mut line = String::new();
        BufReader::new(ready).read_line(&mut line).await?;
        if line != "ready\n" {
            return Err(format!("{:?} could not be prepared", launch.command).into());
        }
        let before = on_processor(&child)?;
        go.write_all(b"\n").await?;
        let began = Instant::now();
        let asked = tokio::select! {
            said = hears.recv() => match said {
                Some(Said::Next(at)) => at,
                Some(Said::Error(error)) => return Err(format!("{:?} did not start: {error}", launch.command).into()),
                _ => return Err(format!("{:?} did not ask for an event", launch.command).into()),
            },
            status = child.wait() => return Err(format!("{:?} ended at its start: {}", launch.command, status?).into()),
            () = tokio::time::sleep(PATIENCE) => return Err(format!("{:?} does not start", launch.command).into()),
        };
        let ran = on_processor(&child)?.saturating_sub(before);
        Ok(Self { child, server, said: hears, events, began, asked, ran })
    }

    /// From the start of the program to its first request for an event.
    #[must_use]
    pub fn started_in(&self) -> Duration {
        self.asked - self.began
    }

    /// How long it was on a processor meanwhile. The rest it waited: for the emulated services, or for its turn.
    #[must_use]
    pub fn started_with(&self) -> Duration {
        self.ran
    }

    /// When the program was started.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Hands an event over, and waits for the answer.
    pub async fn invoke(&mut self, event: &Value) -> Result<Answer, Failure> {
        self.events.send(event.to_string())?;
        let (mut answer, deadline) = (None, tokio::time::sleep(PATIENCE));
        tokio::pin!(deadline);
        loop {
            let said = tokio::select! {
                said = self.said.recv() => said.ok_or("the stand-in is gone")?,
                status = self.child.wait() => return Err(format!("the function ended: {}", status?).into()),
                () = &mut deadline => return Err("the function does not answer".into()),
            };
            match (said, answer.take()) {
                (Said::Answer(bytes, at), _) => answer = Some((bytes, at)),
                // It is done only when it asks again.
                (Said::Next(_), Some((bytes, at))) => return Ok(Answer { json: serde_json::from_slice(&bytes)?, at }),
                (Said::Next(_), None) => return Err("the function asked again without an answer".into()),
                (Said::Error(error), _) => return Err(format!("the function failed: {error}").into()),
            }
        }
    }

    /// Resident memory, in KiB.
    pub fn memory(&self) -> Result<Memory, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().ok_or("the function ended")?))?;
        let of = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok());
            value.ok_or_else(|| Failure::from(format!("the kernel does not tell {name}")))
        };
        Ok(Memory { now: of("VmRSS:")?, peak: of("VmHWM:")?, of_files: of("RssFile:")? })
    }

    /// Ends the program as Lambda does, and waits: what watches it writes what it saw.
    pub async fn stop(mut self) -> Result<(), Failure> {
        if let Some(id) = self.child.id() {
            Command::new("kill").arg("-TERM").arg(id.to_string()).status().await?;
        }
        tokio::time::timeout(PATIENCE, self.child.wait()).await??;
        self.server.abort();
        Ok(())
    }
}

/// How long a process was on a processor so far, in all its threads, in its own code and in the kernel's.
fn on_processor(child: &Child) -> Result<Duration, Failure> {
    let threads = std::fs::read_dir(format!("/proc/{}/task", child.id().ok_or("the function ended")?))?;
    threads
        .map(|thread| {
            let told = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            let nanoseconds = told.split(' ').next().ok_or("the kernel does not tell processor times")?;
            Ok(Duration::from_nanos(nanoseconds.parse()?))
        })
        .sum()
}

/// Resident memory, in KiB.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    /// Now.
    pub now: u64,
    /// At its most.
    pub peak: u64,
    /// What of it now is pages of files: the code that was touched, its own and that of the C library.
    pub of_files: u64,
}

/// What a function answered.
pub struct Answer {
    /// The answer.
    pub json: Value,
    /// When it was there.
    pub at: Instant,
}

impl Answer {
    /// The body of an HTTP answer of this status.
    pub fn body(&self, status: u16) -> Result<Value, Failure> {
        if self.json["statusCode"] != status {
            return Err(format!("expected {status}: {}", self.json).into());
        }
        let text = self.json["body"].as_str().unwrap_or_default();
        Ok(serde_json::from_str(text).unwrap_or(Value::Null))
    }

    /// Where an HTTP answer leads.
    #[must_use]
    pub fn location(&self) -> &str {
        self.json["headers"]["location"].as_str().unwrap_or_default()
    }
}

async fn next(State(api): State<Arc<Api>>) -> Response<Body> {
    let _ = api.said.send(Said::Next(Instant::now()));
    let Some(event) = api.events.lock().await.recv().await else { return std::future::pending().await };
    #[expect(clippy::disallowed_methods, reason = "a deadline is told by the wall clock")]
    let deadline = (SystemTime::now() + INVOCATION).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut response = Response::new(Body::from(event));
    for (name, value) in [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:123456789012:function:measured".to_owned()),
        ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0".to_owned()),
    ] {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

async fn response(State(api): State<Arc<Api>>, body: Bytes) -> StatusCode {
    let _ = api.said.send(Said::Answer(body, Instant::now()));
    StatusCode::ACCEPTED
}

async fn error(State(api): State<Arc<Api>>, uri: Uri, body: Bytes) -> StatusCode {
    let _ = api.said.send(Said::Error(format!("{uri}: {}", String::from_utf8_lossy(&body))));
    StatusCode::ACCEPTED
}

//! The commands: `cargo local [options]`, `cargo local token …`, `cargo local check …`, `cargo local state-keys`, `cargo demo`.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use shared::secrets::{parse_client_secrets, parse_directory, parse_state_keys};
use shared::system::SystemClock;
use shared::telemetry;
use tokio::signal::unix::{SignalKind, signal};

use crate::check::{self, CheckArgs};
use crate::demo;
use crate::demonstration;
use crate::mint::{self, TokenArgs};
use crate::stack::{Options, Stack};
use crate::state_keys::{self, StateKeysArgs};

/// The whole system on one machine.
#[derive(Debug, Parser)]
#[command(name = "cargo local", bin_name = "cargo local", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Mint a bearer token for the API
    Token(TokenArgs),
    /// Judge a directory: every fault by its path; what to register at the providers
    Check(CheckArgs),
    /// Make state keys, or put a new one in front of those that there are
    StateKeys(StateKeysArgs),
    /// Play the whole story once, and exit 0 if every step went as expected
    Demo,
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// The API, and the Lambda Invoke API
    #[arg(long, default_value = "127.0.0.1:8787", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The emulated AWS endpoint
    #[arg(long, default_value = "127.0.0.1:8788", value_name = "ADDRESS")]
    aws_listen: SocketAddr,
    /// Use this endpoint instead of the emulation
    #[arg(long, value_name = "URL")]
    aws_endpoint: Option<String>,
    #[command(flatten)]
    secrets: SecretArgs,
    /// The state keys [default: the demonstration's]
    #[arg(long, value_name = "FILE")]
    state_keys: Option<PathBuf>,
    /// The client secrets [default: the demonstration's]
    #[arg(long, value_name = "FILE")]
    client_secrets: Option<PathBuf>,
    /// Keep the table across restarts [default: in memory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Run the schedule every so many seconds; 0 = only when invoked
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    refresh_every: u64,
}

/// The secrets that say how API tokens are verified.
#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    /// The directory [default: the demonstration's]
    #[arg(long, value_name = "FILE")]
    pub(crate) directory: Option<PathBuf>,
    /// A further secret, e.g. the one that `static_key_secret` names; repeatable
    #[arg(long = "secret", value_name = "ID=FILE")]
    pub(crate) secrets: Vec<String>,
}

/// One line for standard error; the exit status is 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fault(pub(crate) String);

impl Fault {
    pub(crate) fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        Self(telemetry::chain(error))
    }
}

/// Reads a file that an option names.
pub(crate) fn read(option: &str, path: &Path) -> Result<String, Fault> {
    std::fs::read_to_string(path).map_err(|e| Fault(format!("{option} {}: {e}", path.display())))
}

/// The same, where `-` is standard input.
pub(crate) fn read_or_input(option: &str, path: &Path) -> Result<String, Fault> {
    if path != Path::new("-") {
        return read(option, path);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(|e| Fault(format!("{option} -: {e}")))?;
    Ok(text)
}

impl SecretArgs {
    /// The further secrets by id, read.
    pub(crate) fn read(&self) -> Result<Vec<(String, String)>, Fault> {
        let parse = |argument: &String| {
            let (id, path) = argument.split_once('=').ok_or_else(|| Fault(format!("--secret {argument}: must be ID=FILE")))?;
            Ok((id.to_owned(), read("--secret", Path::new(path))?))
        };
        self.secrets.iter().map(parse).collect()
    }
}

/// Runs the command line.
pub async fn run() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => serve(cli.serve).await.map(|()| ExitCode::SUCCESS),
        Some(Command::Token(args)) => mint::print(&args).map(|()| ExitCode::SUCCESS),
        Some(Command::Check(args)) => check::run(&args).await,
        Some(Command::StateKeys(args)) => state_keys::print(&args).map(|()| ExitCode::SUCCESS),
        Some(Command::Demo) => play().await.map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(status) => status,
        Err(Fault(line)) => {
            // Nothing more can be done if standard error is closed.
            let _ = writeln!(io::stderr(), "error: {line}");
            ExitCode::from(2)
        }
    }
}

async fn play() -> Result<(), Fault> {
    let mut tell = |line: &str| drop(writeln!(io::stdout(), "{line}"));
    demo::play(Options::ephemeral(), &mut tell).await.map_err(|e| Fault::of(&e))
}

async fn serve(args: ServeArgs) -> Result<(), Fault> {
    telemetry::start(Arc::new(SystemClock), Box::new(|| Box::new(io::stderr().lock())));
    let demonstrates = args.secrets.directory.is_none();
    let options = options(args)?;
    // Before anybody is told that there is something to stop.
    let interrupted = interrupted().map_err(|e| Fault(format!("failed to listen for Ctrl-C: {e}")))?;
    let stack = Stack::start(options).await.map_err(|e| Fault::of(&e))?;
    let banner = banner(&stack, demonstrates)?;
    io::stdout().write_all(banner.as_bytes()).map_err(|e| Fault(format!("failed to write to standard output: {e}")))?;
    interrupted.await;
    let _ = writeln!(io::stdout(), "\nstopping");
    stack.stop().await;
    Ok(())
}

/// Listens from now on; until Ctrl-C or a polite kill.
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Files are read and judged before anything is started, so that a wrong one is one clear line.
fn options(args: ServeArgs) -> Result<Options, Fault> {
    let text = |option: &str, path: &Option<PathBuf>| path.as_ref().map(|p| read(option, p)).transpose();
    let directory = text("--directory", &args.secrets.directory)?;
    if let (Some(text), Some(path)) = (&directory, &args.secrets.directory) {
        parse_directory(text, true).map_err(|e| Fault(format!("--directory {}: {}", path.display(), e.one_line())))?;
    }
    let client_secrets = text("--client-secrets", &args.client_secrets)?;
    if let Some(text) = &client_secrets {
        parse_client_secrets(text).map_err(|e| Fault(format!("--client-secrets: {}", e.one_line())))?;
    }
    let state_keys = text("--state-keys", &args.state_keys)?;
    if let Some(text) = &state_keys {
        parse_state_keys(text).map_err(|e| Fault(format!("--state-keys: {}", e.one_line())))?;
    }
    Ok(Options {
        listen: args.listen,
        aws_listen: args.aws_listen,
        aws_endpoint: args.aws_endpoint,
        directory,
        client_secrets,
        state_keys,
        secrets: args.secrets.read()?,
        data: args.data,
        refresh_every: (args.refresh_every > 0).then(|| Duration::from_secs(args.refresh_every)),
        ..Options::ephemeral()
    })
}

fn banner(stack: &Stack, demonstrates: bool) -> Result<String, Fault> {
    let (api, aws) = (stack.api(), stack.aws_endpoint());
    let mut text = format!(
        "\n  API            http://{api}\n  Lambda Invoke  aws lambda invoke --endpoint-url http://{api} --function-name list …\n  AWS            aws --endpoint-url {aws} dynamodb scan --table-name {}\n",
        stack.provisioned().table
    );
    if !demonstrates {
        text.push_str("\n  Your directory is served. `cargo local token --directory FILE --secret ID=FILE …` mints tokens for a static HS256 key.\n\n");
        return Ok(text);
    }
    let token = demonstration::bearer(api, demonstration::olivia(), stack.clock().now()).map_err(|e| Fault::of(&e))?;
    let story = format!(
        "  A page         http://{api}/\n\n\
         A bearer token for {} of {} (12 hours):\n\nexport TOKEN={token}\n\n\
         Make a sign-in URL, open it, choose {}:\n\n  curl -s -X POST http://{api}/workflows/authorization -H \"Authorization: Bearer $TOKEN\"\n\n\
         See the authorization, bind a workflow, get a token:\n\n  \
         curl -s http://{api}/workflows/authorization -H \"Authorization: Bearer $TOKEN\"\n  \
         export AUTH=auth_…\n  \
         curl -s -X PUT http://{api}/workflows/fl_backup/authorization -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' -d '{{\"authorization_id\":\"'$AUTH'\"}}'\n  \
         curl -s -X POST http://{api}/workflows/authorization/$AUTH/token -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' -d '{{\"workflow_id\":\"fl_backup\"}}'\n\n\
         Another token: cargo local token --sub usr_ben --org org_demo --email ben@example.com --scopes workflow_authorization:view\n\
         Ctrl-C stops.\n\n",
        demonstration::olivia().name,
        demonstration::olivia().organization,
        demonstration::olivia().name,
    );
    Ok(text + &story)
}

//! `cargo local check`: what is wrong with a directory, before it is put where the functions read it.
//!
//! 1. The files are read and judged by the rules of the functions themselves; every fault is a line on standard error, by its path.
//! 2. Connections and client secrets are held against each other: who lacks a secret, and what belongs to nobody.
//! 3. With `--discover` the providers are asked about themselves, by the service's own way out and its rules of addresses.
//! 4. What to register at each provider, and what to deploy with, is printed.
//!
//! The exit status is 0 if nothing is wrong, 1 if something is, and 2 if there was nothing to judge.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use shared::domain::connection::{ClientAuthentication, Connection, Kind};
use shared::domain::directory::{ApiKeys, Directory};
use shared::domain::redirect_uri::Environment;
use shared::oauth::{Egress, Finding, Http, Provider};
use shared::ports::configuration::{ClientCredential, ClientSecrets as _};
use shared::secrets::{Faults, SecretClientSecrets, parse_client_secrets, parse_directory, parse_state_keys, parse_static_api_key};
use shared::system::{SystemClock, SystemEntropy};
use shared::telemetry;

use crate::cli::{Fault, read_or_input};

/// What is to be judged.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The directory; `-` is standard input
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
    /// The client secrets, to be held against the directory
    #[arg(long, value_name = "FILE")]
    client_secrets: Option<PathBuf>,
    /// The state keys
    #[arg(long, value_name = "FILE")]
    state_keys: Option<PathBuf>,
    /// The secret that `static_key_secret` names
    #[arg(long, value_name = "FILE")]
    api_key: Option<PathBuf>,
    /// Ask every provider about itself
    #[arg(long)]
    discover: bool,
    /// Allow providers on this machine in production, too, as `cargo local` does
    #[arg(long)]
    development: bool,
}

/// What was found, in the order in which it is told.
#[derive(Default)]
struct Report {
    told: Vec<String>,
    faults: Vec<String>,
}

impl Report {
    fn tell(&mut self, line: impl Into<String>) {
        self.told.push(line.into());
    }

    fn fault(&mut self, line: impl Into<String>) {
        self.faults.push(line.into());
    }

    /// What a file says, or `None` after its faults have been noted.
    fn judged<T>(&mut self, path: &Path, parsed: Result<T, Faults>) -> Option<T> {
        let faults = match parsed {
            Ok(value) => return Some(value),
            Err(faults) => faults,
        };
        self.faults.extend(faults.0.iter().map(|fault| format!("{}: {fault}", path.display())));
        None
    }
}

/// Judges, prints, and says by the exit status how it went.
pub(crate) async fn run(args: &CheckArgs) -> Result<ExitCode, Fault> {
    let mut report = Report::default();
    let directory = report.judged(&args.directory, parse_directory(&read_or_input("DIRECTORY", &args.directory)?, args.development));
    let secrets = read_optional("--client-secrets", args.client_secrets.as_deref())?;
    let secrets_hold = secrets.as_ref().is_some_and(|(path, text)| report.judged(path, parse_client_secrets(text).map(drop)).is_some());
    if let Some((path, text)) = read_optional("--state-keys", args.state_keys.as_deref())? {
        report.judged(&path, parse_state_keys(&text).map(drop));
    }
    if let Some((path, text)) = read_optional("--api-key", args.api_key.as_deref())? {
        report.judged(&path, parse_static_api_key(&text).map(drop));
    }
    if let Some(directory) = directory {
        overview(&mut report, &directory);
        if let Some((path, text)) = secrets.as_ref().filter(|_| secrets_hold) {
            hold_against(&mut report, &directory, path, text).await?;
        }
        let mut pushes = pushing(&directory);
        if args.discover {
            pushes.extend(discover(&mut report, &directory, args.development).await?);
        }
        deployment(&mut report, &directory, pushes);
    }
    print(&report)
}

fn read_optional(option: &str, path: Option<&Path>) -> Result<Option<(PathBuf, String)>, Fault> {
    path.map(|path| Ok((path.to_owned(), read_or_input(option, path)?))).transpose()
}

/// What the directory says, and what has to be registered where.
fn overview(report: &mut Report, directory: &Directory) {
    let environment = match directory.environment {
        Environment::Production => "production",
        Environment::Staging => "staging",
    };
    report.tell(format!("{environment}, {} connections, served at {}", directory.connections.len(), directory.public_url));
    if directory.default_connection.is_none() {
        report.tell("no default connection: every caller must name one");
    }
    report.tell("\nRegister at each provider, as the redirect URI of that very client:\n");
    for connection in &directory.connections {
        let whose = connection.organization.as_ref().map_or_else(|| "every organization".to_owned(), ToString::to_string);
        let unlinked = if connection.linked { "" } else { ", unlinked" };
        report.tell(format!(
            "  {} at {} for {whose}{unlinked}, client {}\n    {}",
            connection.id,
            provider(connection),
            connection.client_id,
            directory.callback(&connection.id)
        ));
    }
}

/// The provider as a person would name it.
fn provider(connection: &Connection) -> String {
    match &connection.kind {
        Kind::Oidc { issuer, .. } => issuer.clone(),
        Kind::OAuth2 { authorization_endpoint, .. } => authorization_endpoint.to_string(),
        Kind::WorkOs { base_url, .. } => base_url.to_string(),
    }
}

/// Whether every client can prove itself as it has to, and whether every secret has a client.
async fn hold_against(report: &mut Report, directory: &Directory, path: &Path, text: &str) -> Result<(), Fault> {
    let secrets = SecretClientSecrets::fixed(text).map_err(|e| Fault(e.one_line()))?;
    for connection in &directory.connections {
        let credentials = secrets.client_secrets(&connection.id).await.map_err(|e| Fault::of(&e))?;
        let lacking = match connection.client_authentication {
            ClientAuthentication::None => false,
            ClientAuthentication::PrivateKeyJwt => !credentials.iter().any(|it| matches!(it, ClientCredential::Key { .. })),
            ClientAuthentication::ClientSecretBasic | ClientAuthentication::ClientSecretPost if credentials.is_empty() => {
                report.tell(format!("{}: has no secret, which makes it a public client", connection.id));
                false
            }
            ClientAuthentication::ClientSecretBasic | ClientAuthentication::ClientSecretPost => {
                !credentials.iter().any(|it| matches!(it, ClientCredential::Secret(_)))
            }
        };
        if lacking {
            let what = if connection.client_authentication == ClientAuthentication::PrivateKeyJwt { "key" } else { "secret" };
            report.fault(format!("{}: {}: needs a {what}, by its token_endpoint_auth_method", path.display(), connection.id));
        }
    }
    let named = parse_client_secrets(text).map_err(|e| Fault(e.one_line()))?;
    for id in named.keys().filter(|id| directory.connection(id).is_none()) {
        report.fault(format!("{}: {id}: is no connection of the directory", path.display()));
    }
    Ok(())
}

/// The connections whose requests are pushed with proof because the directory says so.
fn pushing(directory: &Directory) -> Vec<String> {
    let pushes = |it: &&Arc<Connection>| it.pushed_authorization_requests && it.client_authentication != ClientAuthentication::None;
    directory.connections.iter().filter(pushes).map(|it| it.id.to_string()).collect()
}

/// Asks every provider about itself; the connections whose requests it wants pushed with proof.
async fn discover(report: &mut Report, directory: &Directory, development: bool) -> Result<Vec<String>, Fault> {
    let http = Http::new(Egress::new(development || directory.environment == Environment::Staging)).map_err(|e| Fault::of(&e))?;
    let asking = Provider::without_secrets(http, Arc::new(SystemClock), Arc::new(SystemEntropy));
    report.tell("\nWhat the providers say:\n");
    if let Some(Finding::Fault(fault) | Finding::Note(fault)) = asking.survey_api_keys(&directory.api_tokens).await {
        report.fault(format!("api_tokens: {fault}"));
    }
    let mut pushes = Vec::new();
    for connection in &directory.connections {
        report.tell(format!("  {} at {}", connection.id, provider(connection)));
        let survey = match asking.survey(connection).await {
            Ok(survey) => survey,
            Err(error) => {
                report.fault(format!("{}: {}", connection.id, telemetry::chain(&error)));
                continue;
            }
        };
        for (name, url) in &survey.endpoints {
            report.tell(format!("    {name} {url}"));
        }
        for finding in survey.findings {
            match finding {
                Finding::Note(note) => report.tell(format!("    note: {note}")),
                Finding::Fault(fault) => report.fault(format!("{}: {fault}", connection.id)),
            }
        }
        if survey.pushes_with_proof {
            pushes.push(connection.id.to_string());
        }
    }
    Ok(pushes)
}

/// The parameters of the template that follow from the directory.
fn deployment(report: &mut Report, directory: &Directory, mut pushes: Vec<String>) {
    pushes.sort();
    pushes.dedup();
    let mut parameters = Vec::new();
    if !pushes.is_empty() {
        parameters.push(format!("  PushedAuthorizationRequests=true, because requests are pushed for {}", pushes.join(", ")));
    }
    if let ApiKeys::Static(id) = &directory.api_tokens.keys {
        parameters.push(format!("  ApiKeySecretArn=<the ARN of {id}>, because static_key_secret names it"));
    }
    if !parameters.is_empty() {
        report.tell("\nDeploy with these parameters:\n");
        for line in parameters {
            report.tell(line);
        }
    }
}

fn print(report: &Report) -> Result<ExitCode, Fault> {
    let unwritten = |e: io::Error| Fault(format!("failed to write to standard output: {e}"));
    for line in &report.told {
        writeln!(io::stdout(), "{line}").map_err(unwritten)?;
    }
    for fault in &report.faults {
        // Nothing more can be done if standard error is closed.
        let _ = writeln!(io::stderr(), "{fault}");
    }
    if report.faults.is_empty() {
        writeln!(io::stdout(), "\nNothing is wrong.").map_err(unwritten)?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

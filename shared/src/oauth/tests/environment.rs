//! What the environment of a process may not change (security item 77). The environment of a test cannot be changed safely, so a
//! second process of this very program looks from inside another one.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_secretsmanager::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_secretsmanager::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_secretsmanager::error::BoxError;
use serde_json::json;
use tokio::net::TcpListener;

use super::scripted::{Reply, Scripted};
use super::tls::{Authority, Server};
use crate::config::Settings;
use crate::connections::Connections;
use crate::oauth::{Egress, Http};
use crate::wiring::sdk_config;

/// Where the inner process finds a plain server, and one whose certificate only the environment vouches for.
const PLAIN: &str = "MANDATE_TEST_PLAIN";
const VOUCHED: &str = "MANDATE_TEST_VOUCHED";

#[expect(clippy::disallowed_methods, reason = "these names are this test's own")]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Runs one of the ignored tests below with this environment, and nothing else of ours in it.
async fn inside(name: &'static str, environment: Vec<(&'static str, String)>) {
    let run = move || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "--ignored", "--nocapture", &format!("oauth::tests::environment::{name}")]);
        command.env_remove("NO_PROXY").env_remove("no_proxy").envs(environment);
        command.output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn s77_proxies_and_certificates_of_the_environment_are_ignored() {
    let plain = Scripted::start(|_, _| Some(Reply::Json(200, json!({})))).await;
    let authority = Authority::new();
    let vouched = Server::start(authority.certify("localhost")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let proxied = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&proxied);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            drop(socket);
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("authority.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let mut environment = vec![(PLAIN, plain.base.clone()), (VOUCHED, format!("https://localhost:{}", vouched.port))];
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        environment.push((name, proxy.clone()));
    }
    environment.push(("SSL_CERT_FILE", file.display().to_string()));
    environment.push(("SSL_CERT_DIR", directory.path().display().to_string()));
    inside("a_client_in_a_strange_environment", environment).await;
    let paths: Vec<_> = plain.all().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/direct"]);
    assert_eq!(proxied.load(Ordering::SeqCst), 1, "only the client that listens to the environment came by");
}

#[tokio::test]
#[ignore = "run by s77_proxies_and_certificates_of_the_environment_are_ignored"]
#[expect(clippy::disallowed_methods, reason = "the clients that listen to the environment show that there is something to hear")]
async fn a_client_in_a_strange_environment() {
    let (Some(plain), Some(vouched)) = (told(PLAIN), told(VOUCHED)) else { return };
    let get = |url: String| ::http::Request::get(url).body(Vec::new()).unwrap();
    let http = Http::new(Egress::new(true)).unwrap();
    assert_eq!(http.send(get(format!("{plain}/direct"))).await.map(|answer| answer.status.as_u16()).ok(), Some(200));
    assert!(http.send(get(vouched.clone())).await.is_err(), "the authority of the environment is not ours");
    let trusting = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(trusting.get(vouched).send().await.map(|answer| answer.status().as_u16()).ok(), Some(200));
    let obedient = reqwest::Client::builder().build().unwrap();
    assert!(obedient.get(format!("{plain}/by-the-proxy")).send().await.is_err(), "the proxy hangs up");
}

/// Notes where a request would go, and lets none leave.
#[derive(Debug, Clone, Default)]
struct Destinations(Arc<Mutex<Vec<String>>>);

impl Intercept for Destinations {
    fn name(&self) -> &'static str {
        "Destinations"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.lock().unwrap().push(context.request().uri().to_owned());
        Err("it stays here".into())
    }
}

/// Another endpoint for AWS, in every way that SDKs know, and whatever else a Lambda has.
fn elsewhere() -> Vec<(&'static str, String)> {
    let names = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_KMS"];
    let mut environment: Vec<_> = (9..).zip(names).map(|(port, name)| (name, format!("http://127.0.0.1:{port}"))).collect();
    for (name, value) in [("AWS_REGION", "eu-central-1"), ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "x")] {
        environment.push((name, value.to_owned()));
    }
    environment
}

#[tokio::test]
async fn s77_another_aws_endpoint_is_taken_only_with_the_development_switch() {
    inside("requests_to_aws_in_production", elsewhere()).await;
    for off in ["", "0", "true", "yes"] {
        let mut environment = elsewhere();
        environment.push(("MANDATE_DEVELOPMENT", off.to_owned()));
        inside("requests_to_aws_in_production", environment).await;
    }
    let mut environment = elsewhere();
    environment.push(("MANDATE_DEVELOPMENT", "1".to_owned()));
    inside("requests_to_aws_in_development", environment.clone()).await;
    environment.retain(|(name, _)| *name != "AWS_ENDPOINT_URL_SECRETS_MANAGER");
    inside("requests_to_aws_in_development", environment).await;
    assert!(!include_str!("../../../../template.yaml").contains("MANDATE_DEVELOPMENT"), "the template never sets it");
}

async fn destination() -> String {
    let destinations = Destinations::default();
    let sdk = sdk_config(&Settings::from_environment(), &Connections::new().unwrap());
    let config = aws_sdk_secretsmanager::Config::new(&sdk).to_builder().interceptor(destinations.clone()).build();
    let client = aws_sdk_secretsmanager::Client::from_conf(config);
    assert!(client.get_secret_value().secret_id("directory").send().await.is_err());
    let uris = destinations.0.lock().unwrap().clone();
    uris.first().cloned().unwrap_or_default()
}

#[tokio::test]
#[ignore = "run by s77_another_aws_endpoint_is_taken_only_with_the_development_switch"]
async fn requests_to_aws_in_production() {
    if told("AWS_ENDPOINT_URL").is_some() {
        assert_eq!(destination().await, "https://secretsmanager.eu-central-1.amazonaws.com/");
    }
}

#[tokio::test]
#[ignore = "run by s77_another_aws_endpoint_is_taken_only_with_the_development_switch"]
async fn requests_to_aws_in_development() {
    if told("AWS_ENDPOINT_URL").is_some() {
        let port = if told("AWS_ENDPOINT_URL_SECRETS_MANAGER").is_some() { 10 } else { 9 };
        assert_eq!(destination().await, format!("http://127.0.0.1:{port}/"));
    }
}

//! The stack with its callers.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Sub;
use std::sync::Arc;

use local::aws::{Emulation, Service};
use local::client::{Answer, Browser, Decision, Http};
use local::demonstration::{self, RETURN_PATH};
use local::sign_in::{ApiClaims, Counters, PEOPLE, Person, mint_api_token};
use local::stack::{Options, Parameters, Stack, StartError};
use reqwest::Method;
use serde_json::{Value, json};
use shared::ports::clock::{Clock as _, Entropy};
use shared::system::SystemEntropy;
use time::{Duration, OffsetDateTime};

use crate::answers::Expect as _;
use crate::canary::{self, Canary, Kind};
use crate::clock::ManualClock;
use crate::provider::{self, Provider};

/// How often a world looks for a free port, where its directory has to name one.
const TRIES: usize = 20;

/// The system, and everybody around it.
pub struct World {
    /// The stack.
    pub stack: Stack,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// A browser.
    pub browser: Browser,
    /// Sends anything.
    pub http: Http,
    /// Looks, at the end, whether any secret is where it must not be.
    pub canary: Canary,
}

/// Changes the demonstration's directory, knowing where the API will be.
pub type Change = Box<dyn Fn(&mut Value, SocketAddr) + Send>;

/// How a world differs from the demonstration.
#[derive(Default)]
pub struct Setup {
    /// The directory, made from the demonstration's; it may name the API's address.
    pub directory: Option<Change>,
    /// The client secrets of further connections; several of one are tried in this order.
    pub client_secrets: Vec<(String, String)>,
    /// The same in whatever form the document knows: keys for clients that sign assertions.
    pub client_credentials: Vec<(String, Value)>,
    /// All client secrets, as the secret holds them, instead of those.
    pub all_client_secrets: Option<String>,
    /// Further secrets, by id.
    pub secrets: Vec<(String, String)>,
    /// The clock; one of its own if absent.
    pub clock: Option<Arc<ManualClock>>,
    /// The randomness; the system's if absent.
    pub entropy: Option<Arc<dyn Entropy>>,
    /// Each function by itself, as deployed with these parameters; together if absent.
    pub apart: Option<Parameters>,
    /// How long an identity provider may take; ten seconds if absent.
    pub provider_time: Option<std::time::Duration>,
}

/// A caller of the API. Its token is minted for each call, so it never expires by the clock.
#[derive(Clone)]
pub struct Caller {
    http: Http,
    base: String,
    clock: Arc<ManualClock>,
    token: Token,
}

#[derive(Clone)]
enum Token {
    Minted(Box<ApiClaims>),
    Fixed(String),
    None,
}

/// The caller's own PKCE (RFC 7636 appendix B).
pub struct Verifier;

impl Verifier {
    /// The verifier.
    pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    /// Its S256 challenge.
    pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
}

/// AWS requests on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls {
    /// To DynamoDB.
    pub dynamodb: u64,
    /// To KMS.
    pub kms: u64,
    /// To Secrets Manager.
    pub secrets: u64,
    /// To SQS.
    pub sqs: u64,
}

impl Calls {
    /// So many to DynamoDB, and none else.
    #[must_use]
    pub fn dynamodb(dynamodb: u64) -> Self {
        Self { dynamodb, ..Self::default() }
    }
}

impl Sub for Calls {
    type Output = Self;
    fn sub(self, before: Self) -> Self {
        Self {
            dynamodb: self.dynamodb - before.dynamodb,
            kms: self.kms - before.kms,
            secrets: self.secrets - before.secrets,
            sqs: self.sqs - before.sqs,
        }
    }
}

impl World {
    /// The demonstration's world.
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    /// The demonstration's world with a further connection to a scripted provider, `conn_scripted`.
    pub async fn with_provider(provider: &Provider) -> Self {
        Self::with_connection(provider, provider.connection("conn_scripted")).await
    }

    /// The same, with the connection changed.
    pub async fn with_connection(provider: &Provider, connection: Value) -> Self {
        Self::with(Self::setup(provider, connection)).await
    }

    /// How that world differs from the demonstration.
    #[must_use]
    pub fn setup(provider: &Provider, connection: Value) -> Setup {
        let client_secrets = vec![("conn_scripted".to_owned(), provider::CLIENT_SECRET.to_owned())];
        Setup { directory: Some(adding(vec![connection])), client_secrets, clock: Some(provider.clock()), ..Setup::default() }
    }

    /// A world that differs from it.
    pub async fn with(setup: Setup) -> Self {
        for _ in 0..TRIES {
            let clock = setup.clock.clone().unwrap_or_default();
            let canary = Canary::new();
            let mut options = Self::options();
            options.apart = setup.apart;
            options.witness = Some(canary.witness());
            options.clock = Arc::clone(&clock) as _;
            options.secrets.clone_from(&setup.secrets);
            options.provider_time = setup.provider_time;
            if let Some(entropy) = &setup.entropy {
                options.entropy = Arc::clone(entropy);
            }
            if let Some(change) = &setup.directory {
                options.listen = Self::free_address();
                let mut directory = parse(&demonstration::directory(options.listen));
                change(&mut directory, options.listen);
                options.directory = Some(directory.to_string());
            }
            if !setup.client_secrets.is_empty() || !setup.client_credentials.is_empty() {
                let mut secrets = parse(&demonstration::client_secrets());
                for (connection, secret) in &setup.client_secrets {
                    match secrets[connection].as_array_mut() {
                        Some(list) => list.push(json!(secret)),
                        None => secrets[connection] = json!([secret]),
                    }
                }
                for (connection, credential) in &setup.client_credentials {
                    secrets[connection] = json!([credential]);
                }
                options.client_secrets = Some(secrets.to_string());
            }
            if let Some(secrets) = &setup.all_client_secrets {
                options.client_secrets = Some(secrets.clone());
            }
            for (secret, kind) in [(&options.client_secrets, Kind::ClientSecret), (&options.state_keys, Kind::Key)] {
                canary::harvest::configuration(secret.as_deref().unwrap_or_default(), kind);
            }
            canary::harvest::configuration(&demonstration::client_secrets(), Kind::ClientSecret);
            canary::harvest::configuration(&demonstration::state_keys(), Kind::Key);
            options.secrets.iter().for_each(|(_, secret)| canary::harvest::configuration(secret, Kind::Key));
            match Stack::start(options).await {
                Ok(stack) => return Self { stack, clock, browser: Browser::new().unwrap(), http: Http::new().unwrap(), canary },
                // Somebody else was faster at the port.
                Err(StartError::Listen { .. }) => {}
                Err(error) => panic!("the stack does not start: {error:?}"),
            }
        }
        panic!("no free port")
    }

    /// How a stack starts here: as [`Options::ephemeral`], on the DynamoDB that `MANDATE_TEST_DYNAMODB` names, if it does. There every
    /// stack has a table of its own.
    #[must_use]
    pub fn options() -> Options {
        let dynamodb = other_dynamodb();
        let table = dynamodb.is_some().then(|| {
            let mut bytes = [0; 8];
            SystemEntropy.fill(&mut bytes).unwrap();
            format!("mandate-{:016x}", u64::from_be_bytes(bytes))
        });
        Options { dynamodb, table, ..Options::ephemeral() }
    }

    /// A free port of this machine, for a directory that has to name it beforehand.
    #[must_use]
    pub fn free_address() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap()
    }

    /// Where the API is.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://{}", self.stack.api())
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// The emulated AWS.
    #[must_use]
    pub fn aws(&self) -> &Emulation {
        self.stack.emulation().unwrap()
    }

    /// AWS requests so far.
    #[must_use]
    pub fn calls(&self) -> Calls {
        let mut calls = Calls::default();
        for ((service, _), count) in self.aws().counts() {
            match service {
                Service::DynamoDb => calls.dynamodb += count,
                Service::Kms => calls.kms += count,
                Service::SecretsManager => calls.secrets += count,
                Service::Sqs => calls.sqs += count,
            }
        }
        calls
    }

    /// What the demonstration sign-in was asked so far.
    #[must_use]
    pub fn provider(&self) -> Counters {
        self.stack.sign_in().counters()
    }

    /// Claims of a person with all scopes.
    #[must_use]
    pub fn claims(&self, person: &Person) -> ApiClaims {
        ApiClaims {
            issuer: demonstration::issuer(self.stack.api()),
            audience: demonstration::AUDIENCE.to_owned(),
            subject: person.id.to_owned(),
            organization: Some(person.organization.to_owned()),
            email: Some(person.email.to_owned()),
            email_verified: true,
            scopes: vec!["workflow_authorization:*".to_owned()],
            lifetime_seconds: 3600,
        }
    }

    /// The same as raw claims, to be changed and signed by hand.
    #[must_use]
    pub fn raw_claims(&self, person: &Person) -> Value {
        let now = self.now().unix_timestamp();
        json!({
            "iss": demonstration::issuer(self.stack.api()), "aud": demonstration::AUDIENCE, "sub": person.id, "client_id": "local",
            "org_id": person.organization, "email": person.email, "email_verified": true,
            "scopes": ["workflow_authorization:*"], "iat": now, "exp": now + 3600,
        })
    }

    /// A caller with these claims.
    #[must_use]
    pub fn caller(&self, claims: ApiClaims) -> Caller {
        self.calling(Token::Minted(Box::new(claims)))
    }

    /// A caller with this very token.
    #[must_use]
    pub fn bearer(&self, token: impl Into<String>) -> Caller {
        self.calling(Token::Fixed(token.into()))
    }

    /// A caller without a token.
    #[must_use]
    pub fn nobody(&self) -> Caller {
        self.calling(Token::None)
    }

    fn calling(&self, token: Token) -> Caller {
        Caller { http: self.http.clone(), base: self.base(), clock: Arc::clone(&self.clock), token }
    }

    /// Olivia of `org_demo`.
    #[must_use]
    pub fn olivia(&self) -> Caller {
        self.caller(self.claims(&PEOPLE[0]))
    }

    /// Ben of `org_demo`.
    #[must_use]
    pub fn ben(&self) -> Caller {
        self.caller(self.claims(&PEOPLE[1]))
    }

    /// Mallory of `org_elsewhere`.
    #[must_use]
    pub fn mallory(&self) -> Caller {
        self.caller(self.claims(&PEOPLE[2]))
    }

    /// A sign-in URL.
    pub async fn url(&self, caller: &Caller, body: Value) -> String {
        let created = caller.post("/workflows/authorization", body).await.is(200);
        created["url"].as_str().unwrap().to_owned()
    }

    /// Opens a sign-in URL as this person, allows, and returns the callback's URL without opening it.
    pub async fn allowed(&self, url: &str, person: &str) -> String {
        let back = self.browser.decide(url, Decision::Allow(person)).await.unwrap();
        assert_eq!(back.status, 303, "{}", back.text);
        back.location().to_owned()
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) -> Answer {
        self.browser.open(url).await.unwrap()
    }

    /// Asks for a URL with this body and signs in as this person: the callback's answer.
    pub async fn sign_in(&self, caller: &Caller, person: &str, body: Value) -> Answer {
        let url = self.url(caller, body).await;
        self.open(&self.allowed(&url, person).await).await
    }

    /// A new authorization of the caller's own in direct mode: its id.
    pub async fn authorize(&self, caller: &Caller, person: &str) -> String {
        self.sign_in(caller, person, json!({})).await.page(200);
        caller.list().await[0]["id"].as_str().unwrap().to_owned()
    }

    /// The demonstration's world with further connections, each with its client secrets.
    pub async fn with_connections(connections: Vec<(Value, &[&str])>, clock: Option<Arc<ManualClock>>) -> Self {
        let secrets = connections.iter().flat_map(|(connection, secrets)| {
            let id = connection["id"].as_str().unwrap();
            secrets.iter().map(move |secret| (id.to_owned(), (*secret).to_owned()))
        });
        let client_secrets = secrets.collect();
        let connections = connections.into_iter().map(|(connection, _)| connection).collect();
        Self::with(Setup { directory: Some(adding(connections)), client_secrets, clock, ..Setup::default() }).await
    }

    /// The demonstration's world with further connections, and these client secrets for all of them.
    pub async fn with_secrets(connections: Vec<Value>, client_secrets: &Value, clock: Arc<ManualClock>) -> Self {
        let (directory, all_client_secrets) = (Some(adding(connections)), Some(client_secrets.to_string()));
        Self::with(Setup { directory, all_client_secrets, clock: Some(clock), ..Setup::default() }).await
    }

    /// A new authorization at the scripted provider, by redirect: its id.
    pub async fn authorize_at(&self, provider: &Provider, caller: &Caller) -> String {
        let body = json!({ "connection_id": "conn_scripted", "redirect_uri": self.return_to() });
        let back = self.open(&provider.come_back(&self.url(caller, body).await)).await;
        let stored = caller.complete(json!({ "code": back.sent("code") })).await.is(201);
        stored["id"].as_str().unwrap().to_owned()
    }

    /// Where the demonstration application is returned to.
    #[must_use]
    pub fn return_to(&self) -> String {
        format!("{}{RETURN_PATH}", self.base())
    }

    /// A redirect-mode sign-in as this person up to the application: the completion code.
    pub async fn completion_code(&self, caller: &Caller, person: &str) -> String {
        let back = self.sign_in(caller, person, json!({ "redirect_uri": self.return_to() })).await;
        assert_eq!(back.status, 303, "{}", back.text);
        back.sent("code").unwrap()
    }

    /// Binds a workflow.
    pub async fn bind(&self, caller: &Caller, workflow: &str, authorization: &str) {
        caller.put(&format!("/workflows/{workflow}/authorization"), json!({ "authorization_id": authorization })).await.is(200);
    }

    /// Runs the schedule once.
    pub async fn run_schedule(&self) -> Value {
        self.stack.functions().invoke("refresh", json!({})).await.unwrap()
    }

    /// Moves the clock.
    pub fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

impl Caller {
    /// The value of the `Authorization` header.
    #[must_use]
    pub fn authorization(&self) -> Option<String> {
        let token = match &self.token {
            Token::Minted(claims) => mint_api_token(claims, self.clock.now()).unwrap(),
            Token::Fixed(token) => token.clone(),
            Token::None => return None,
        };
        Some(format!("Bearer {token}"))
    }

    /// Sends a request as it is.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
        let authorization = self.authorization();
        let mut all = headers.to_vec();
        if let Some(authorization) = &authorization {
            all.push(("authorization", authorization));
        }
        self.http.send(method, &format!("{}{path}", self.base), &all, body.map(str::to_owned)).await.unwrap()
    }

    /// Sends a JSON body.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        match body {
            None => self.send(method, path, &[], None).await,
            Some(body) => self.send(method, path, &[("content-type", "application/json")], Some(&body.to_string())).await,
        }
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    /// `POST` of JSON.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    /// `PUT` of JSON.
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(body)).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }

    /// The list, whole.
    pub async fn list(&self) -> Value {
        self.get("/workflows/authorization").await.is(200)
    }

    /// One authorization.
    pub async fn one(&self, id: &str) -> Value {
        self.get(&format!("/workflows/authorization/{id}")).await.is(200)
    }

    /// Asks for a token of a workflow.
    pub async fn token(&self, id: &str, body: Value) -> Answer {
        self.post(&format!("/workflows/authorization/{id}/token"), body).await
    }

    /// Completes a redirect-mode sign-in.
    pub async fn complete(&self, body: Value) -> Answer {
        self.post("/workflows/authorization/complete", body).await
    }
}

#[expect(clippy::disallowed_methods, reason = "which DynamoDB a test asks is said by its environment")]
fn other_dynamodb() -> Option<String> {
    std::env::var("MANDATE_TEST_DYNAMODB").ok()
}

/// Adds connections to the demonstration's.
fn adding(connections: Vec<Value>) -> Change {
    Box::new(move |directory: &mut Value, _| directory["connections"].as_array_mut().unwrap().extend(connections.clone()))
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

//! The functions behind the API, over fakes, called with the events that API Gateway sends.

use std::sync::{Arc, LazyLock};

use assign::AssignFunction;
use callback::CallbackFunction;
use create_url::CreateUrlFunction;
use http::Method;
use lambda_http::Context;
use list::ListFunction;
use revoke::RevokeFunction;
use serde_json::{Map, Value, json};
use shared::domain::directory::Directory;
use shared::domain::incident::Pace;
use shared::http::edge::Edge;
use shared::http::event::{self, Handler};
use shared::http::routes::{Function, Route};
use shared::oauth::{Egress, Http, Provider};
use shared::ports::clock::{Clock, Entropy};
use shared::secrets::{StateKeys, parse_directory};
use shared::usecases::announce::Announcer;
use shared::usecases::assign::Assign;
use shared::usecases::check::Check;
use shared::usecases::complete_flow::CompleteFlow;
use shared::usecases::create_url::CreateUrl;
use shared::usecases::hand_out::HandOut;
use shared::usecases::list::List;
use shared::usecases::refresh::Refresher;
use shared::usecases::replace::Replace;
use shared::usecases::revoke::{Revoke, Revoker};
use shared::usecases::traffic::Traffic;
use token::TokenFunction;

use crate::fakes::{Bearers, Fakes, Fixed, Sevens, Still};
use crate::wait;

/// The origin of every callback.
pub const PUBLIC_URL: &str = "https://api.example.com/v1";
/// Where error codes are documented.
pub const DOC_BASE: &str = "https://example.com/errors/";
/// The default redirect URI; others are below a wildcard and at any local port.
pub const RETURN_TO: &str = "https://app.example.com/return?tab=1";

/// The API.
pub struct Service {
    /// Configuration.
    pub directory: Arc<Directory>,
    /// What stands for everything outside.
    pub fakes: Arc<Fakes>,
    /// What seals states, codes and cursors.
    pub keys: Arc<StateKeys>,
    handlers: [(Function, Arc<dyn Handler>); 6],
}

/// The one API of this process.
pub static SERVICE: LazyLock<Service> = LazyLock::new(Service::new);

/// A request as a client can send it.
#[derive(Debug, Default)]
pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub headers: Vec<(String, String)>,
    pub body: &'a str,
}

/// An answer as API Gateway gets it.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Map<String, Value>,
    pub body: String,
}

impl Answer {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(Value::as_str)
    }
}

fn directory() -> Directory {
    let oauth2 = |id: &str, linked: bool, organization: Value, dialect: &str| {
        json!({
            "id": id, "provider": "code", "organization_id": organization, "linked": linked, "kind": "oauth2", "dialect": dialect,
            "authorization_endpoint": "https://code.example.com/authorize?tenant=7", "token_endpoint": "https://code.example.com/token",
            "userinfo_endpoint": "https://code.example.com/user", "revocation_endpoint": null, "client_id": "client one",
            "token_endpoint_auth_method": "client_secret_post", "scopes": ["repo"], "allowed_scopes": ["repo", "workflow", "openid"],
        })
    };
    let text = json!({
        "environment": "staging", "public_url": PUBLIC_URL, "error_doc_base": DOC_BASE,
        "api_tokens": { "issuer": "https://signin.example.com/", "audience": "https://api.example.com", "static_key_secret": "api-key" },
        "redirect_uris": [
            { "uri": RETURN_TO, "default": true },
            { "uri": "https://pr-*-app.example.com/return", "default": false },
            { "uri": "http://localhost:*/return", "default": false },
        ],
        "default_connection": "conn_code",
        "connections": [
            oauth2("conn_code", true, Value::Null, "standard"), oauth2("conn_two", true, Value::Null, "github"),
            oauth2("conn_off", false, Value::Null, "slack"),
            {
                "id": "conn_work", "provider": "authkit", "organization_id": crate::fakes::ORGANIZATION, "linked": true, "kind": "workos",
                "base_url": "https://api.workos.com", "selector": { "provider": "authkit" }, "client_id": "client_1",
                "token_endpoint_auth_method": "client_secret_post", "scopes": [], "allowed_scopes": ["repo"],
            },
        ],
    });
    parse_directory(&text.to_string(), false).unwrap_or_else(|faults| panic!("{faults}"))
}

impl Service {
    fn new() -> Self {
        let directory = Arc::new(directory());
        let fakes = Arc::new(Fakes::default());
        let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::new(Still), Arc::new(Sevens));
        let key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
        let keys = StateKeys::fixed(&json!({ "keys": [{ "kid": "k1", "key": key }] }).to_string(), Arc::clone(&entropy)).map_err(drop);
        let keys = Arc::new(keys.expect("state keys"));
        let http = Http::new(Egress::new(false)).expect("a client");
        let urls = Arc::new(Provider::without_secrets(http, Arc::clone(&clock), Arc::clone(&entropy)));
        let edge = Arc::new(Edge {
            directories: Arc::new(Fixed(Arc::clone(&directory))),
            bearer: Arc::new(Bearers),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
        });
        let announcer = Arc::new(Announcer { index: fakes.clone(), notes: fakes.clone(), events: None, clock: clock.clone() });
        let refresher = Arc::new(Refresher {
            store: fakes.clone(),
            refreshes: fakes.clone(),
            revocations: fakes.clone(),
            cipher: fakes.clone(),
            rescue: fakes.clone(),
            announcer: announcer.clone(),
            traffic: Arc::new(Traffic::new(clock.clone(), Pace::OnDemand)),
            clock: clock.clone(),
            entropy: entropy.clone(),
        });
        let revoker = Revoker { store: fakes.clone(), revocations: fakes.clone(), cipher: fakes.clone(), clock: clock.clone() };
        let create_url = CreateUrl { sealer: keys.clone(), urls, clock: clock.clone(), entropy: entropy.clone() };
        let complete_flow = CompleteFlow {
            sealer: keys.clone(),
            flows: fakes.clone(),
            announcer: announcer.clone(),
            cipher: fakes.clone(),
            metadata: fakes.clone(),
            exchanges: fakes.clone(),
            revocations: fakes.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        let list = List { index: fakes.clone(), cursors: keys.clone(), clock: clock.clone() };
        let revoke = Revoke { index: fakes.clone(), announcer, metadata: fakes.clone(), entropy, revoker };
        let assign = Assign { store: fakes.clone(), clock: clock.clone() };
        let replace = Replace { store: fakes.clone(), moves: fakes.clone(), index: fakes.clone(), clock: clock.clone() };
        let hand_out = HandOut {
            reads: fakes.clone(),
            store: fakes.clone(),
            refresher: refresher.clone(),
            clock: clock.clone(),
        };
        let check = Check { store: fakes.clone(), refresher, userinfo: fakes.clone(), clock };
        let handlers: [(Function, Arc<dyn Handler>); 6] = [
            (Function::CreateUrl, Arc::new(CreateUrlFunction { edge: edge.clone(), create_url })),
            (Function::Callback, Arc::new(CallbackFunction { edge: edge.clone(), complete_flow })),
            (Function::List, Arc::new(ListFunction { edge: edge.clone(), list })),
            (Function::Revoke, Arc::new(RevokeFunction { edge: edge.clone(), revoke })),
            (Function::Assign, Arc::new(AssignFunction { edge: edge.clone(), assign, replace })),
            (Function::Token, Arc::new(TokenFunction { edge, hand_out, check })),
        ];
        Self { directory, fakes, keys, handlers }
    }

    /// Invokes every function with an event that somebody made up. It is answered or refused.
    pub fn invoke(&self, event: &Value) {
        for (_, handler) in &self.handlers {
            drop(wait(event::serve(Arc::clone(handler), &event.to_string(), Context::default())));
        }
    }

    /// Sends a request to the function that the gateway would choose.
    pub fn send(&self, request: &Request<'_>) -> Answer {
        let method = Method::from_bytes(request.method.as_bytes()).unwrap_or_default();
        let route = Route::resolve(&method, request.path);
        let function = route.map_or(Function::List, |route| route.function());
        let handler = self.handlers.iter().find(|(name, _)| *name == function).map(|(_, handler)| Arc::clone(handler));
        let headers: Map<String, Value> = request.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": request.path, "rawQueryString": request.query, "headers": headers,
            "requestContext": {
                "accountId": "123456789012", "apiId": "a1b2c3d4e5", "domainName": "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
                "http": { "method": method.as_str(), "path": request.path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.10" },
                "requestId": "JKJaXmPLvHc0005=", "routeKey": "$default", "stage": "$default", "timeEpoch": 1_795_341_600_000_i64,
            },
            "body": request.body, "isBase64Encoded": false,
        });
        let answer = wait(event::serve(handler.expect("a function"), &event.to_string(), Context::default()));
        let answer = answer.unwrap_or_else(|error| panic!("no answer to {request:?}: {error} ({:?})", std::error::Error::source(&error)));
        let answer = serde_json::to_value(answer).expect("an answer is JSON");
        Answer {
            status: answer["statusCode"].as_u64().and_then(|status| status.try_into().ok()).expect("a status"),
            headers: answer["headers"].as_object().cloned().unwrap_or_default(),
            body: answer["body"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

/// Reads a request that is written as in HTTP/1.1, with bare line feeds. Only what a gateway lets pass is kept.
pub fn request(text: &str) -> Request<'_> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.split('\n');
    let (method, target) = lines.next().unwrap_or_default().split_once(' ').unwrap_or(("GET", head));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name = name.to_ascii_lowercase();
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let known = headers.iter().any(|(other, _)| *other == name);
        if !name.is_empty() && name.bytes().all(token) && !value.chars().any(char::is_control) && !known {
            headers.push((name, value.trim().to_owned()));
        }
    }
    Request { method, path, query, headers, body }
}

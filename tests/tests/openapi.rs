//! `openapi.yaml` against the running stack: what it says is what is served, and nothing else is.
//!
//! Every operation is called for each of its documented statuses (but those that only a fault can bring about), and each answer must
//! have a documented status, that status's media type, its required headers in their shape, and a body of its schema.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use local::client::{Answer, Browser, Decision, Http};
use local::demonstration::{AUDIENCE, issuer};
use local::sign_in::{ApiClaims, mint_api_token};
use local::stack::{Options, Stack};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use shared::http::error::Code;
use shared::http::routes::Route;
use shared::ports::clock::Clock as _;
use tests::World;
use tests::clock::Ahead;
use time::Duration;
use url::Url;

/// Statuses that need a fault of the provider, of AWS or of ours, or a throttle: the suites about faults bring them about.
const FAULTS: [&str; 4] = ["429", "500", "502", "503"];
/// And one that needs two callers in the same moment.
const RACES: [(&str, &str); 1] = [("unassignAuthorization", "409")];
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
const RETURN: &str = "http://127.0.0.1:9/app/return";

/// The description.
struct Description(Value);

/// One operation of it.
struct Operation<'d> {
    id: &'d str,
    method: Method,
    path: &'d str,
    body: &'d Value,
}

impl Description {
    fn read() -> Self {
        Self(serde_saphyr::from_str(include_str!("../../openapi.yaml")).unwrap())
    }

    fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        self.0["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
            METHODS.iter().filter_map(move |method| {
                let body = item.get(method)?;
                let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap();
                Some(Operation { id: body["operationId"].as_str().unwrap(), method, path, body })
            })
        })
    }

    fn operation(&self, id: &str) -> Operation<'_> {
        self.operations().find(|operation| operation.id == id).unwrap()
    }

    /// What a local reference stands for.
    fn resolve<'v>(&'v self, value: &'v Value) -> &'v Value {
        match value["$ref"].as_str() {
            Some(reference) => self.resolve(self.0.pointer(reference.strip_prefix('#').unwrap()).unwrap()),
            None => value,
        }
    }

    /// What is wrong with a value, by a schema of the description.
    fn faults(&self, schema: &Value, value: &Value) -> Vec<String> {
        let whole = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "components": self.0["components"],
            "allOf": [schema],
        });
        let validator = jsonschema::options().should_validate_formats(true).build(&whole).unwrap();
        validator.iter_errors(value).map(|error| format!("{} at '{}'", error, error.instance_path())).collect()
    }

    /// What of an answer is not as its operation is described.
    fn judge(&self, operation: &Operation<'_>, answer: &Answer) -> Vec<String> {
        let status = answer.status.to_string();
        let Some(response) = operation.body["responses"].get(&status) else { return vec![format!("status {status} is not documented")] };
        let response = self.resolve(response);
        let mut faults = self.judge_headers(response, answer);
        match response["content"].as_object() {
            None if answer.text.is_empty() => {}
            None => faults.push("has a body where none is documented".to_owned()),
            Some(content) => match content.get(answer.header(CONTENT_TYPE.as_str())) {
                None => faults.push(format!("content type '{}' is not documented", answer.header(CONTENT_TYPE.as_str()))),
                Some(media) => {
                    let json = answer.header(CONTENT_TYPE.as_str()).starts_with("application/json");
                    let body = if json { answer.json() } else { json!(answer.text) };
                    faults.extend(self.faults(&media["schema"], &body));
                }
            },
        }
        faults
    }

    fn judge_headers(&self, response: &Value, answer: &Answer) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let header = self.resolve(header);
            match answer.header(name) {
                "" if header["required"] == json!(true) => faults.push(format!("header {name} is missing")),
                "" => {}
                text => {
                    let is_number = header["schema"]["type"] == json!("integer");
                    let value = if is_number { text.parse::<u64>().map_or(Value::Null, |number| json!(number)) } else { json!(text) };
                    faults.extend(self.faults(&header["schema"], &value).into_iter().map(|fault| format!("header {name}: {fault}")));
                }
            }
        }
        for name in ["www-authenticate", "allow", "location", "link", "retry-after", "set-cookie", "access-control-allow-origin"] {
            let documented = response["headers"].as_object().into_iter().flatten().any(|(n, _)| n.eq_ignore_ascii_case(name));
            if !documented && !answer.header(name).is_empty() {
                faults.push(format!("header {name} is not documented"));
            }
        }
        faults
    }
}

/// Calls the stack by the description, and notes what does not agree.
struct Caller {
    description: Description,
    stack: Stack,
    clock: Arc<Ahead>,
    http: Http,
    browser: Browser,
    seen: BTreeSet<(String, String)>,
    faults: Vec<String>,
}

/// A request for one operation.
struct Call<'c> {
    operation: &'c str,
    /// The value of the path's parameter, if it has one.
    at: &'c str,
    query: &'c str,
    /// `None` sends no bearer token.
    bearer: Option<String>,
    body: Option<String>,
    content_type: &'c str,
    method: Option<Method>,
}

impl<'c> Call<'c> {
    fn to(operation: &'c str, at: &'c str, bearer: &str) -> Self {
        Self { operation, at, query: "", bearer: Some(bearer.to_owned()), body: None, content_type: "application/json", method: None }
    }

    fn body(self, body: &Value) -> Self {
        Self { body: Some(body.to_string()), ..self }
    }

    fn query(self, query: &'c str) -> Self {
        Self { query, ..self }
    }
}

impl Caller {
    async fn new() -> Self {
        let clock = Arc::new(Ahead::default());
        let stack = Stack::start(Options { clock: Arc::<Ahead>::clone(&clock), ..World::options() }).await.unwrap();
        let (http, browser) = (Http::new().unwrap(), Browser::new().unwrap());
        Self { description: Description::read(), stack, clock, http, browser, seen: BTreeSet::new(), faults: Vec::new() }
    }

    /// A token of this person of the demonstration's organization.
    fn bearer(&self, subject: &str, scopes: &[&str], organization: Option<&str>) -> String {
        let email = if subject == "usr_olivia" { "ops@example.com" } else { "ben@example.com" };
        let claims = ApiClaims {
            issuer: issuer(self.stack.api()),
            audience: AUDIENCE.to_owned(),
            subject: subject.to_owned(),
            organization: organization.map(str::to_owned),
            email: Some(email.to_owned()),
            email_verified: true,
            scopes: scopes.iter().map(|&s| s.to_owned()).collect(),
            lifetime_seconds: 3600,
        };
        mint_api_token(&claims, self.clock.now()).unwrap()
    }

    fn olivia(&self) -> String {
        self.bearer("usr_olivia", &["workflow_authorization:*"], Some("org_demo"))
    }

    /// Calls, and holds the answer to the description. A request that succeeds must itself be as described.
    async fn call(&mut self, call: Call<'_>, expected: u16) -> Answer {
        let operation = self.description.operation(call.operation);
        let path = match (operation.path.find('{'), operation.path.find('}')) {
            (Some(from), Some(to)) => operation.path.replace(&operation.path[from..=to], call.at),
            _ => operation.path.to_owned(),
        };
        let url = format!("http://{}{path}{}", self.stack.api(), call.query);
        let authorization = call.bearer.as_ref().map(|token| format!("Bearer {token}"));
        let mut headers = Vec::new();
        headers.extend(authorization.as_deref().map(|value| (AUTHORIZATION.as_str(), value)));
        headers.extend(call.body.is_some().then_some((CONTENT_TYPE.as_str(), call.content_type)));
        let method = call.method.clone().unwrap_or_else(|| operation.method.clone());
        let answer = self.http.send(method, &url, &headers, call.body.clone()).await.unwrap();

        let name = format!("{} {} {}", call.operation, answer.status, call.query);
        let mut faults = self.description.judge(&operation, &answer);
        if answer.status != expected {
            faults.push(format!("expected {expected}: {}", answer.text));
        }
        if let (200..=299, Some(body)) = (answer.status, &call.body) {
            let schema = &operation.body["requestBody"]["content"]["application/json"]["schema"];
            faults
                .extend(self.description.faults(schema, &serde_json::from_str(body).unwrap()).into_iter().map(|f| format!("request: {f}")));
        }
        self.faults.extend(faults.into_iter().map(|fault| format!("{name}: {fault}")));
        self.seen.insert((call.operation.to_owned(), answer.status.to_string()));
        answer
    }

    /// The refusals that every operation with a caller knows.
    async fn refusals(&mut self, operation: &str, at: &str) {
        let body = self.description.operation(operation).body["requestBody"].is_object().then(|| json!({}).to_string());
        let with = |bearer: Option<String>| Call { bearer, body: body.clone(), ..Call::to(operation, at, "") };
        self.call(with(None), 401).await;
        self.call(with(Some("no.jwt.atall".to_owned())), 401).await;
        let (few, homeless) = (
            self.bearer("usr_olivia", &["something:else"], Some("org_demo")),
            self.bearer("usr_olivia", &["workflow_authorization:*"], None),
        );
        self.call(with(Some(few)), 403).await;
        self.call(with(Some(homeless)), 403).await;
        self.call(Call { method: Some(Method::PATCH), ..with(Some(self.olivia())) }, 405).await;
        if body.is_some() {
            let olivia = self.olivia();
            for text in ["{", "[]", r#"{"no_such_field": 1}"#] {
                self.call(Call { body: Some(text.to_owned()), ..Call::to(operation, at, &olivia) }, 400).await;
            }
            self.call(Call { body: Some(" ".repeat(20_000)), ..Call::to(operation, at, &olivia) }, 413).await;
            self.call(Call { content_type: "text/plain", ..Call::to(operation, at, &olivia).body(&json!({})) }, 415).await;
        }
    }

    /// A sign-in URL's state and code, as the provider sends them back.
    async fn sign_in(&mut self, bearer: &str, fields: &Value, decision: Decision<'_>) -> String {
        let created = self.call(Call::to("createAuthorizationUrl", "", bearer).body(fields), 200).await;
        let back = self.browser.decide(created.json()["url"].as_str().unwrap(), decision).await.unwrap();
        format!("?{}", Url::parse(back.location()).unwrap().query().unwrap())
    }

    /// Signs Olivia in directly; the id of what is stored.
    async fn stored(&mut self, fields: &Value) -> String {
        let olivia = self.olivia();
        let query = self.sign_in(&olivia, fields, Decision::Allow("usr_olivia")).await;
        self.call(Call { bearer: None, ..Call::to("receiveCallback", "conn_demo", "").query(&query) }, 200).await;
        let list = self.call(Call::to("listAuthorizations", "", &olivia), 200).await;
        list.json()[0]["id"].as_str().unwrap().to_owned()
    }
}

async fn sign_ins(caller: &mut Caller, first: &str) {
    let olivia = caller.olivia();
    caller.refusals("createAuthorizationUrl", "").await;
    caller.call(Call::to("createAuthorizationUrl", "", &olivia), 200).await;
    let full = json!({
        "connection_id": "conn_demo", "redirect_uri": RETURN, "state": "a state", "response_type": "code",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256",
        "provider_scopes": "openid,email", "provider_query_params": { "audience": "x", "n": 1, "flag": true },
        "login_hint": "ops@example.com", "domain_hint": "example.com", "prompt": "login", "max_age": 0,
    });
    caller.call(Call::to("createAuthorizationUrl", "", &olivia).body(&full), 200).await;
    for refused in [
        json!({ "connection_id": "conn_none", "redirect_uri": RETURN, "state": "s" }),
        json!({ "connection_id": "conn_none" }),
        json!({ "connection_id": "conn_demo", "provider": "demonstration" }),
        json!({ "organization_id": "org_elsewhere" }),
        json!({ "redirect_uri": "https://elsewhere.example/" }),
        json!({ "state": "s" }),
        json!({ "provider_scopes": ["root"] }),
        json!({ "provider_query_params": { "client_id": "x" } }),
        json!({ "provider_query_params": { "Prompt": "x" } }),
        json!({ "code_challenge": "short", "code_challenge_method": "S256", "redirect_uri": RETURN }),
        json!({ "max_age": -1 }),
        json!({ "authorization_id": "nothing" }),
        json!({ "screen_hint": "sign-up" }),
    ] {
        caller.call(Call::to("createAuthorizationUrl", "", &olivia).body(&refused), 400).await;
    }

    // Redirect mode.
    let fields = json!({ "redirect_uri": RETURN, "state": "s" });
    let query = caller.sign_in(&olivia, &fields, Decision::Allow("usr_olivia")).await;
    let back = caller.call(Call { bearer: None, ..Call::to("receiveCallback", "conn_demo", "").query(&query) }, 303).await;
    let code = Url::parse(back.location()).unwrap().query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    caller.refusals("completeAuthorization", "").await;
    let complete = |body: Value| Call::to("completeAuthorization", "", &olivia).body(&body);
    caller.call(complete(json!({})), 400).await;
    caller.call(complete(json!({ "code": "unknown" })), 404).await;
    caller.call(complete(json!({ "code": code })), 201).await;
    caller.call(complete(json!({ "code": code })), 200).await;
    let query = caller.sign_in(&olivia, &fields, Decision::Refuse).await;
    caller.call(Call { bearer: None, ..Call::to("receiveCallback", "conn_demo", "").query(&query) }, 303).await;

    // Somebody else signs in for an authorization that is Olivia's.
    let again = json!({ "redirect_uri": RETURN, "authorization_id": first });
    let query = caller.sign_in(&olivia, &again, Decision::Allow("usr_ben")).await;
    let back = caller.call(Call { bearer: None, ..Call::to("receiveCallback", "conn_demo", "").query(&query) }, 303).await;
    let code = Url::parse(back.location()).unwrap().query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    caller.call(Call::to("completeAuthorization", "", &olivia).body(&json!({ "code": code })), 409).await;
    let ben = caller.bearer("usr_ben", &["workflow_authorization:create"], Some("org_demo"));
    let query = caller.sign_in(&ben, &json!({ "authorization_id": first }), Decision::Allow("usr_ben")).await;
    caller.call(Call { bearer: None, ..Call::to("receiveCallback", "conn_demo", "").query(&query) }, 403).await;

    // Direct mode's refusals, and what nobody can trust.
    let callback = |query| Call { bearer: None, ..Call::to("receiveCallback", "conn_demo", "").query(query) };
    let query = caller.sign_in(&olivia, &json!({}), Decision::Refuse).await;
    caller.call(callback(&query), 403).await;
    let query = caller.sign_in(&olivia, &json!({}), Decision::Allow("usr_ben")).await;
    caller.call(callback(&query), 403).await;
    caller.call(callback(&query), 403).await;
    for untrusted in ["", "?state=x&code=y", "?state=x&state=y", "?code=y"] {
        caller.call(callback(untrusted), 400).await;
    }
    caller.call(Call { method: Some(Method::POST), ..callback("") }, 405).await;
    caller.call(Call { operation: "probeCallback", ..callback("?state=x&code=y") }, 200).await;
    caller.call(Call { operation: "describeCallback", ..callback("") }, 204).await;
}

async fn stored_ones(caller: &mut Caller, first: &str, second: &str) {
    let olivia = caller.olivia();
    caller.refusals("listAuthorizations", "").await;
    let page = caller.call(Call::to("listAuthorizations", "", &olivia).query("?limit=1"), 200).await;
    assert!(page.header("link").contains("cursor="), "there is a second page");
    for query in ["?status=active", "?user_id=usr_olivia&email=ops@example.com", "?workflow_id=fl_a", "?unused_since=2026-01-01T00:00:00Z"]
    {
        caller.call(Call::to("listAuthorizations", "", &olivia).query(query), 200).await;
    }
    for query in ["?limit=0", "?limit=1001", "?cursor=x", "?status=gone", "?unused_since=today", "?colour=red", "?email="] {
        caller.call(Call::to("listAuthorizations", "", &olivia).query(query), 400).await;
    }
    caller.refusals("getAuthorization", first).await;
    caller.call(Call::to("getAuthorization", first, &olivia), 200).await;
    caller.call(Call::to("getAuthorization", first, &olivia).query("?colour=red"), 400).await;
    for unknown in ["nothing", "auth_01jd0000000000000000000000"] {
        caller.call(Call::to("getAuthorization", unknown, &olivia), 404).await;
        caller.call(Call::to("revokeAuthorization", unknown, &olivia), 404).await;
        caller.call(Call::to("checkAuthorization", unknown, &olivia), 404).await;
        caller.call(Call::to("handOutToken", unknown, &olivia).body(&json!({ "workflow_id": "fl_a" })), 404).await;
        caller.call(Call::to("replaceAuthorization", unknown, &olivia).body(&json!({ "authorization_id": second })), 404).await;
        caller.call(Call::to("assignAuthorization", "fl_a", &olivia).body(&json!({ "authorization_id": unknown })), 404).await;
    }
}

async fn bindings(caller: &mut Caller, first: &str, second: &str) {
    let olivia = caller.olivia();
    for operation in ["assignAuthorization", "getBinding", "unassignAuthorization"] {
        caller.refusals(operation, "fl_a").await;
    }
    let bind = |workflow, body: Value| Call::to("assignAuthorization", workflow, &olivia).body(&body);
    caller.call(bind("fl_a", json!({ "authorization_id": first })), 200).await;
    let whole = json!({ "authorization_id": first, "workflow_name": "Nightly backup", "required_scopes": ["sites:read"] });
    caller.call(bind("fl_b", whole), 200).await;
    caller.call(bind("fl_a", json!({ "authorization_id": first, "required_scopes": ["sites:write"] })), 409).await;
    caller.call(bind("fl_a", json!({})), 400).await;
    caller.call(bind("fl.a", json!({ "authorization_id": first })), 400).await;
    caller.call(Call::to("getBinding", "fl_b", &olivia), 200).await;
    caller.call(Call::to("getBinding", "fl_c", &olivia), 404).await;
    caller.call(Call::to("getBinding", "fl.a", &olivia), 400).await;
    caller.call(Call::to("unassignAuthorization", "fl_c", &olivia), 404).await;
    caller.call(Call::to("unassignAuthorization", "fl.a", &olivia), 400).await;

    for operation in ["handOutToken", "checkAuthorization"] {
        caller.refusals(operation, first).await;
    }
    let hand_out = |body: Value| Call::to("handOutToken", first, &olivia).body(&body);
    caller.call(hand_out(json!({ "workflow_id": "fl_a" })), 200).await;
    caller.call(hand_out(json!({ "workflow_id": "fl_a", "min_ttl": 3600, "rejected_generation": 1 })), 200).await;
    caller.call(hand_out(json!({ "workflow_id": "fl_c" })), 404).await;
    caller.call(hand_out(json!({ "workflow_id": "fl_a", "min_ttl": 3601 })), 400).await;
    caller.call(Call::to("checkAuthorization", first, &olivia), 200).await;

    caller.refusals("revokeAuthorization", first).await;
    caller.call(Call::to("revokeAuthorization", first, &olivia), 409).await;
    caller.call(Call::to("revokeAuthorization", first, &olivia).query("?dry_run=true"), 200).await;
    caller.call(Call::to("revokeAuthorization", first, &olivia).query("?dry_run=maybe"), 400).await;
    caller.call(Call::to("revokeAuthorization", first, &olivia).query("?dryrun=true"), 400).await;

    // The second has fewer scopes than one of the workflows needs.
    caller.refusals("replaceAuthorization", first).await;
    let replace = |body: Value| Call::to("replaceAuthorization", first, &olivia).body(&body);
    caller.call(replace(json!({ "authorization_id": second, "dry_run": true })), 200).await;
    caller.call(replace(json!({ "authorization_id": second })), 200).await;
    caller.call(replace(json!({ "authorization_id": first })), 400).await;
}

/// The second has no refresh token, and its access token has ended.
async fn ended(caller: &mut Caller, first: &str, second: &str) {
    caller.clock.advance(Duration::hours(2));
    let olivia = caller.olivia();
    caller.call(Call::to("handOutToken", second, &olivia).body(&json!({ "workflow_id": "fl_a" })), 409).await;
    caller.call(Call::to("getAuthorization", second, &olivia), 200).await;
    caller.call(Call::to("listAuthorizations", "", &olivia).query("?status=needs_reauthorization"), 200).await;
    caller.call(Call::to("checkAuthorization", second, &olivia), 200).await;
    caller.call(Call::to("assignAuthorization", "fl_d", &olivia).body(&json!({ "authorization_id": second })), 409).await;
    caller.call(Call::to("replaceAuthorization", first, &olivia).body(&json!({ "authorization_id": second })), 409).await;
    caller.call(Call::to("unassignAuthorization", "fl_b", &olivia), 204).await;
    caller.call(Call::to("revokeAuthorization", first, &olivia), 204).await;
    caller.call(Call::to("revokeAuthorization", first, &olivia), 204).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_described() {
    let mut caller = Caller::new().await;
    let first = caller.stored(&json!({})).await;
    caller.clock.advance(Duration::seconds(1));
    let second = caller.stored(&json!({ "provider_scopes": ["openid", "email"] })).await;
    assert_ne!(first, second);
    sign_ins(&mut caller, &first).await;
    stored_ones(&mut caller, &first, &second).await;
    bindings(&mut caller, &first, &second).await;
    ended(&mut caller, &first, &second).await;

    let mut missing = Vec::new();
    for operation in caller.description.operations() {
        for status in operation.body["responses"].as_object().unwrap().keys() {
            let waived = FAULTS.contains(&status.as_str()) || RACES.contains(&(operation.id, status));
            if !waived && !caller.seen.contains(&(operation.id.to_owned(), status.clone())) {
                missing.push(format!("{} {status}: never answered", operation.id));
            }
        }
    }
    caller.faults.extend(missing);
    assert!(caller.faults.is_empty(), "{}", caller.faults.join("\n"));
    caller.stack.stop().await;
}

#[test]
fn every_route_is_described_with_its_scope_and_nothing_else_is() {
    let description = Description::read();
    let scope = |operation: &Operation<'_>| {
        let security = operation.body["security"].as_array().unwrap();
        security.first().map(|scheme| scheme["bearer"][0].as_str().unwrap().to_owned())
    };
    let mut described = BTreeMap::new();
    for operation in description.operations() {
        let path: Vec<_> = operation.path.split('/').map(|segment| if segment.starts_with('{') { "x" } else { segment }).collect();
        let route = Route::resolve(&operation.method, &path.join("/"));
        let route = route
            .unwrap_or_else(|_| unreachable!("{} is described, but {} {} is no route", operation.id, operation.method, operation.path));
        assert_eq!(scope(&operation), route.permission().map(|p| p.scope().to_owned()), "{}", operation.id);
        described.insert((operation.method.to_string(), operation.path), operation.id);
    }
    // Every path that could be one: made of the words that the routes are written with, and one that is none of them.
    let source = include_str!("../../shared/src/http/routes.rs");
    let words = source.split('"').filter(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
    let words: BTreeSet<_> = words.chain(["x"]).collect();
    assert!(["workflows", "authorization", "callback", "complete", "token"].iter().all(|word| words.contains(word)));
    let mut paths = vec![String::new()];
    let mut found = BTreeSet::new();
    for _ in 0..4 {
        paths = paths.iter().flat_map(|path| words.iter().map(move |word| format!("{path}/{word}"))).collect();
        for path in &paths {
            for method in METHODS {
                let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap();
                if Route::resolve(&method, path).is_ok() {
                    let id = described.iter().find(|((m, template), _)| m == method.as_str() && matches(template, path));
                    let (_, id) = id.unwrap_or_else(|| unreachable!("{method} {path} is served, but not described"));
                    found.insert(*id);
                }
            }
        }
    }
    assert_eq!(found.len(), described.len());
}

fn matches(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len() && template.iter().zip(&path).all(|(t, p)| t.starts_with('{') || t == p)
}

#[test]
fn every_error_code_is_listed_and_every_example_is_valid() {
    let description = Description::read();
    let listed = description.0.pointer("/components/schemas/ErrorCode/enum").unwrap();
    let listed: BTreeSet<_> = listed.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(listed, Code::ALL.iter().map(|code| code.as_str()).collect());

    let mut faults = Vec::new();
    let mut examined = 0;
    let mut examine = |at: &str, schema: &Value, example: &Value| {
        examined += 1;
        faults.extend(description.faults(schema, example).into_iter().map(|fault| format!("{at}: {fault}")));
    };
    for (name, schema) in description.0.pointer("/components/schemas").unwrap().as_object().unwrap() {
        for example in schema["examples"].as_array().into_iter().flatten() {
            examine(name, schema, example);
        }
    }
    let responses = description.0.pointer("/components/responses").unwrap().as_object().unwrap().iter();
    let own = description.operations().flat_map(|operation| {
        let responses = operation.body["responses"].as_object().unwrap().iter();
        let request = operation.body.get("requestBody").into_iter();
        responses.map(|(_, response)| response).chain(request).map(move |part| (operation.id, part))
    });
    for (name, part) in responses.map(|(name, response)| (name.as_str(), response)).chain(own) {
        for media in part["content"].as_object().into_iter().flatten().map(|(_, media)| media) {
            let named = media["examples"].as_object().into_iter().flatten().map(|(_, example)| &example["value"]);
            for example in media.get("example").into_iter().chain(named) {
                examine(name, &media["schema"], example);
            }
        }
    }
    assert!(examined > 30);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

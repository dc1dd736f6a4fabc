//! Least privilege, measured (security requirements 90 and 91): every function runs by itself, as deployed, with clients of its own,
//! while stories are played that bring it to everything it ever does; what it asked of AWS is then compared with what its role in
//! `template.yaml` grants. What was used has to be granted, and what is granted has to have been used: every action, on every
//! resource, for every value that a condition names.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it stands")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use local::aws::{Call, Fault, Ruling};
use local::functions::FUNCTIONS;
use local::sign_in::PEOPLE;
use local::stack::Parameters;
use serde_json::{Value, json};
use tests::faults::Rule;
use tests::permissions::Use;
use tests::provider::{CLIENT_SECRET, Mood, Provider};
use tests::{Caller, Expect as _, Setup, Verifier, World, tokens};
use time::Duration;

const LIST: &str = "/workflows/authorization";
/// What Lambda does with a role itself, at no endpoint that a function calls.
const OF_LAMBDA: [&str; 4] = ["logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"];
/// What AWS grants for all resources or for none.
const ANYWHERE: [&str; 2] = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"];
/// What any function may be told.
const OF_ANYBODY: [&str; 1] = ["MANDATE_EVENT_BUS"];

// ------------------------------------------------------------------------------------------------------------ the template

fn template() -> Value {
    serde_saphyr::from_str(include_str!("../../template.yaml")).unwrap()
}

/// The name of a function's role, environment and the like in the template.
fn logical(function: &str, what: &str) -> String {
    let camel = function.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect::<String>();
    format!("{camel}{what}")
}

/// A value, or a list of them; `!If` counts as if its condition held, and `AWS::NoValue` is none.
fn all(value: &Value, conditions: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => match items.first().and_then(Value::as_str) {
            Some(condition) if conditions.get(condition).is_some() => all(&items[1], conditions),
            _ => items.iter().flat_map(|item| all(item, conditions)).collect(),
        },
        Value::String(text) if text == "AWS::NoValue" => Vec::new(),
        _ => vec![value.clone()],
    }
}

fn texts(value: &Value, conditions: &Value) -> Vec<String> {
    all(value, conditions).iter().map(|value| value.as_str().unwrap().to_owned()).collect()
}

/// One thing that a condition asks: operator, key, and the values of which one has to match.
struct Test {
    operator: String,
    key: String,
    values: Vec<String>,
}

struct Statement {
    sid: String,
    actions: Vec<String>,
    resources: Vec<String>,
    tests: Vec<Test>,
}

impl Statement {
    fn of(statement: &Value, conditions: &Value) -> Self {
        assert_eq!(statement["Effect"], "Allow");
        for wide in ["NotAction", "NotResource"] {
            assert_eq!(statement[wide], Value::Null);
        }
        let tests = statement["Condition"].as_object().into_iter().flatten().flat_map(|(operator, keys)| {
            keys.as_object().unwrap().iter().map(|(key, values)| Test {
                operator: operator.clone(),
                key: key.clone(),
                values: texts(values, conditions),
            })
        });
        Self {
            sid: statement["Sid"].as_str().unwrap().to_owned(),
            actions: texts(&statement["Action"], conditions),
            resources: texts(&statement["Resource"], conditions),
            tests: tests.collect(),
        }
    }

    fn allows(&self, of: &Use) -> bool {
        self.actions.contains(&of.action) && self.resources.contains(&of.resource) && self.tests.iter().all(|test| test.holds(of))
    }
}

impl Test {
    /// As IAM judges it; an operator that is not known here grants nothing.
    fn holds(&self, of: &Use) -> bool {
        let (every, operator) = self.operator.strip_prefix("ForAllValues:").map_or((false, self.operator.as_str()), |rest| (true, rest));
        let (if_exists, operator) = operator.strip_suffix("IfExists").map_or((false, operator), |rest| (true, rest));
        let given = of.context.get(&self.key);
        let Some(given) = given else { return every || if_exists };
        given.iter().all(|value| self.values.iter().any(|pattern| matches(operator, pattern, value)))
    }
}

fn matches(operator: &str, pattern: &str, value: &str) -> bool {
    match operator {
        "StringEquals" => pattern == value,
        "StringLike" => like(pattern, value),
        _ => false,
    }
}

/// `*` stands for anything.
fn like(pattern: &str, value: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == value,
        Some((before, after)) => {
            value.strip_prefix(before).is_some_and(|rest| (0..=rest.len()).any(|at| rest.is_char_boundary(at) && like(after, &rest[at..])))
        }
    }
}

fn statements(template: &Value, function: &str) -> Vec<Statement> {
    let role = &template["Resources"][logical(function, "Role")]["Properties"];
    assert_eq!(role["ManagedPolicyArns"], Value::Null, "{function} has a managed policy");
    let policies = role["Policies"].as_array().unwrap();
    assert_eq!(policies.len(), 1);
    let statements = all(&policies[0]["PolicyDocument"]["Statement"], &template["Conditions"]);
    statements.iter().map(|statement| Statement::of(statement, &template["Conditions"])).collect()
}

// ------------------------------------------------------------------------------------------------------------ the stories

/// Functions by themselves, with a scripted provider; `create-url` proves its client there only if the template says so.
async fn world(provider: &Provider, pushed_authorization_requests: bool, change: impl Fn(&mut Value) + Send + 'static) -> World {
    let connection = provider.connection("conn_scripted");
    let github = provider.github_connection("conn_github");
    let directory = move |directory: &mut Value, _| {
        let connections = directory["connections"].as_array_mut().unwrap();
        connections.extend([connection.clone(), github.clone()]);
        change(directory);
    };
    let secret = |connection: &str| (connection.to_owned(), CLIENT_SECRET.to_owned());
    World::with(Setup {
        directory: Some(Box::new(directory)),
        client_secrets: vec![secret("conn_scripted"), secret("conn_github")],
        secrets: vec![(API_KEY.to_owned(), json!({ "alg": "HS256", "secret": URL_SAFE_NO_PAD.encode(HMAC) }).to_string())],
        clock: Some(provider.clock()),
        apart: Some(Parameters { pushed_authorization_requests }),
        ..Setup::default()
    })
    .await
}

const API_KEY: &str = "mandate/api-key";
const HMAC: &[u8] = b"a secret of callers with more than 32 bytes";

fn one(id: &str) -> String {
    format!("{LIST}/{id}")
}

fn of(workflow: &str) -> Value {
    json!({ "workflow_id": workflow })
}

fn stores_tokens(call: &Call<'_>) -> bool {
    call.operation == "UpdateItem" && call.request["UpdateExpression"].as_str().is_some_and(|text| text.contains("#sealed_access ="))
}

/// The table takes no refreshed tokens, and time passes with each try.
fn table_takes_no_tokens(world: &World) {
    let clock = Arc::clone(&world.clock);
    world.aws().observe(Some(Arc::new(Rule(move |call: &Call<'_>| {
        if stores_tokens(call) {
            clock.advance(Duration::seconds(3));
            return Ruling::Refuse(Fault::new(500, "InternalServerError", "down"));
        }
        Ruling::Pass
    }))));
}

/// Signing in, in every way that writes something else.
async fn sign_ins(world: &World, provider: &Provider, olivia: &Caller) -> String {
    // Direct, by redirect, refused by the person in both modes, and again.
    let direct = world.url(olivia, json!({ "connection_id": "conn_scripted" })).await;
    provider.script(|script| script.person.email = Some("ops@example.com".to_owned()));
    let back = provider.come_back(&direct);
    world.pass(Duration::minutes(9));
    world.open(&back).await.page(200);
    world.open(&back).await.page(200);
    // The URL has ended, and how the sign-in ended is still told.
    world.pass(Duration::minutes(2));
    world.open(&back).await.page(200);
    for redirect_uri in [Value::Null, json!(world.return_to())] {
        let mut body = json!({ "connection_id": "conn_scripted", "redirect_uri": redirect_uri });
        if body["redirect_uri"].is_null() {
            body.as_object_mut().unwrap().remove("redirect_uri");
        }
        let back = provider.come_back(&world.url(olivia, body).await);
        let refused = tests::arena::with(&back, &[("code", None), ("error", Some("access_denied"))]);
        world.open(&refused).await;
        world.open(&back).await;
    }
    let body = json!({
        "connection_id": "conn_scripted", "redirect_uri": world.return_to(),
        "code_challenge": Verifier::CHALLENGE, "code_challenge_method": "S256",
    });
    let back = world.open(&provider.come_back(&world.url(olivia, body).await)).await;
    let body = json!({ "code": back.sent("code"), "code_verifier": Verifier::VERIFIER });
    let id = olivia.complete(body.clone()).await.is(201)["id"].as_str().unwrap().to_owned();
    olivia.complete(body).await.is(200);
    id
}

/// Signs in again for an authorization.
async fn again(world: &World, provider: &Provider, olivia: &Caller, id: &str) {
    let body = json!({ "connection_id": "conn_scripted", "redirect_uri": world.return_to(), "authorization_id": id });
    let back = world.open(&provider.come_back(&world.url(olivia, body).await)).await;
    olivia.complete(json!({ "code": back.sent("code") })).await.is(201);
}

async fn binds_and_lists(world: &World, olivia: &Caller, id: &str, other: &str) {
    world.bind(olivia, "fl_1", id).await;
    world.bind(olivia, "fl_1", other).await;
    world.bind(olivia, "fl_1", id).await;
    let missing = json!({ "authorization_id": id, "required_scopes": ["admin"] });
    olivia.put("/workflows/fl_1/authorization", missing).await.refused(409, "scopes_insufficient");
    olivia.get("/workflows/fl_1/authorization").await.is(200);
    world.bind(olivia, "fl_2", other).await;
    for body in [json!({ "authorization_id": id, "dry_run": true }), json!({ "authorization_id": id })] {
        olivia.post(&format!("{}/replace", one(other)), body).await.is(200);
    }
    olivia.delete("/workflows/fl_2/authorization").await.is(204);
    olivia.list().await;
    olivia.one(id).await;
    for query in ["limit=1", "workflow_id=fl_1", "status=active&user_id=scripted-olivia", "email=ops@example.com"] {
        olivia.get(&format!("{LIST}?{query}")).await.is(200);
    }
}

/// Hand-outs, refreshes, rescues, ends and new beginnings.
async fn lives(world: &World, provider: &Provider, olivia: &Caller, id: &str) {
    let token = format!("{}/token", one(id));
    olivia.post(&format!("{}/check", one(id)), json!({})).await.is(200);
    // A token that was handed out is renewed ahead of its end.
    olivia.post(&token, of("fl_1")).await.is(200);
    world.pass(Duration::minutes(59));
    assert_eq!(world.run_schedule().await["refreshed"], 1);
    world.pass(Duration::HOUR);
    table_takes_no_tokens(world);
    olivia.post(&token, of("fl_1")).await.is(200);
    world.aws().observe(None);
    assert_eq!(world.run_schedule().await["rescued"], 1);
    olivia.post(&token, of("fl_1")).await.is(200);
    world.pass(Duration::minutes(59));
    table_takes_no_tokens(world);
    world.run_schedule().await;
    world.aws().observe(None);
    world.pass(Duration::minutes(1));
    assert_eq!(world.run_schedule().await["rescued"], 1);

    // It ends at the provider: told once, with the workflows, by whoever finds out.
    for by_schedule in [false, true] {
        olivia.post(&token, of("fl_1")).await;
        provider.end_grants();
        world.pass(Duration::minutes(59));
        if by_schedule {
            assert_eq!(world.run_schedule().await["needs_reauthorization"], 1);
        } else {
            world.pass(Duration::HOUR);
            olivia.post(&token, of("fl_1")).await.refused(409, "needs_reauthorization");
        }
        again(world, provider, olivia, id).await;
        olivia.post(&token, of("fl_1")).await.is(200);
    }
}

async fn revocations(world: &World, provider: &Provider, olivia: &Caller, id: &str, other: &str) {
    olivia.delete(&one(id)).await.refused(409, "authorization_in_use");
    olivia.delete(&format!("{}?dry_run=true", one(id))).await.is(200);
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    olivia.delete(&one(id)).await.is(204);
    olivia.delete(&one(id)).await.is(204);
    provider.feels(Mood::Down);
    olivia.delete(&one(other)).await.is(204);
    provider.feels(Mood::Well);
    world.pass(Duration::HOUR);
    assert_eq!(world.run_schedule().await["revoked"], 1);
}

/// Branch keys rotate by command and by schedule, and an old version retires.
async fn branch_keys(world: &World) {
    let ask = |event: Value| async { world.stack.functions().invoke("refresh", event).await.unwrap() };
    assert_eq!(ask(json!({ "rotate_branch_keys": { "organization": "org_demo" } })).await["to"], 2);
    world.pass(Duration::days(90));
    assert_eq!(ask(json!({ "rotate_branch_keys": {} })).await["rotated"], 1);
    world.pass(Duration::days(15));
    ask(json!({ "retire_branch_key": { "organization": "org_demo", "version": 2 } })).await;
    assert_eq!(ask(json!({ "retire_branch_key": { "organization": "org_demo", "version": 2 } })).await["retired"], true);
}

/// A sign-in whose transaction is answered too late, and is looked for.
async fn lost_answers(world: &World, provider: &Provider, olivia: &Caller) {
    let body = json!({ "connection_id": "conn_scripted", "redirect_uri": world.return_to() });
    let back = world.open(&provider.come_back(&world.url(olivia, body).await)).await;
    let lost = AtomicBool::new(false);
    world.aws().observe(Some(Arc::new(Rule(move |call: &Call<'_>| {
        if call.operation == "TransactWriteItems" && !lost.swap(true, Ordering::SeqCst) {
            return Ruling::RefuseAfter(Fault::new(500, "InternalServerError", "lost"));
        }
        Ruling::Pass
    }))));
    olivia.complete(json!({ "code": back.sent("code") })).await.is(201);
    world.aws().observe(None);
}

/// Everything that any function ever asks of AWS.
async fn measured() -> BTreeSet<Use> {
    let provider = Provider::start().await;
    let with_proof = world(&provider, true, |_| {}).await;
    let olivia = with_proof.olivia();
    let id = sign_ins(&with_proof, &provider, &olivia).await;
    let other = olivia.list().await.as_array().unwrap().iter().find(|entry| entry["id"] != *id).unwrap()["id"].as_str().unwrap().to_owned();
    binds_and_lists(&with_proof, &olivia, &id, &other).await;
    lives(&with_proof, &provider, &olivia, &id).await;
    lost_answers(&with_proof, &provider, &olivia).await;
    revocations(&with_proof, &provider, &olivia, &id, &other).await;
    branch_keys(&with_proof).await;

    // Callers whose tokens are verified with a secret.
    let provider = Provider::start().await;
    let by_secret = world(&provider, false, |directory| {
        let tokens = &mut directory["api_tokens"];
        tokens.as_object_mut().unwrap().remove("jwks_uri");
        tokens["static_key_secret"] = json!(API_KEY);
    })
    .await;
    let header = json!({ "alg": "HS256", "typ": "at+jwt" });
    let caller = by_secret.bearer(tokens::hs256(&header, &by_secret.raw_claims(&PEOPLE[0]), HMAC));
    by_secret.url(&caller, json!({})).await;
    caller.list().await;
    caller.complete(json!({ "code": "x" })).await.refused(404, "flow_not_found");
    caller.get("/workflows/fl_1/authorization").await.refused(404, "workflow_not_bound");
    caller.delete(&one("auth_01jd0000000000000000000000")).await.refused(404, "authorization_not_found");
    caller.token("auth_01jd0000000000000000000000", of("fl_1")).await.refused(404, "workflow_not_bound");
    with_proof.canary.uses().into_iter().chain(by_secret.canary.uses()).collect()
}

// ------------------------------------------------------------------------------------------------------------ the comparison

#[tokio::test]
async fn s90_every_role_grants_what_its_function_was_seen_to_use_and_nothing_else() {
    let template = template();
    let seen = measured().await;
    let mut faults = Vec::new();
    for (function, _) in FUNCTIONS {
        let statements = statements(&template, function);
        let used: Vec<&Use> = seen.iter().filter(|of| of.function == function).collect();
        assert!(!used.is_empty(), "{function} was never seen");
        for of in &used {
            if !statements.iter().any(|statement| statement.allows(of)) {
                faults.push(format!("{function} uses and is not granted: {} on {} with {:?}", of.action, of.resource, of.context));
            }
        }
        for statement in &statements {
            for action in statement.actions.iter().filter(|action| !OF_LAMBDA.contains(&action.as_str())) {
                for resource in &statement.resources {
                    let here: Vec<&&Use> =
                        used.iter().filter(|of| of.action == *action && of.resource == *resource && statement.allows(of)).collect();
                    let name = format!("{function} is granted and does not use ({}): {action} on {resource}", statement.sid);
                    if here.is_empty() {
                        faults.push(name.clone());
                    }
                    for test in &statement.tests {
                        let exercised = |pattern: &String| {
                            let operator = test.operator.rsplit(':').next().unwrap().trim_end_matches("IfExists");
                            let value =
                                |of: &&&Use| of.context.get(&test.key).is_none_or(|v| v.iter().any(|v| matches(operator, pattern, v)));
                            here.iter().any(value)
                        };
                        faults.extend(
                            test.values.iter().filter(|value| !exercised(value)).map(|value| format!("{name} for {} {value}", test.key)),
                        );
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} differences:\n{}", faults.len(), faults.join("\n"));
    the_key_says_the_same(&template, &seen);
}

/// The key's own policy: who unwraps branch keys and who makes them, through no other door than these two statements.
fn the_key_says_the_same(template: &Value, seen: &BTreeSet<Use>) {
    let policy = template["Resources"]["Key"]["Properties"]["KeyPolicy"]["Statement"].as_array().unwrap();
    for (sid, action) in [("OpenBranchKeys", "kms:Decrypt"), ("MakeBranchKeys", "kms:GenerateDataKeyWithoutPlaintext")] {
        let statement = policy.iter().find(|statement| statement["Sid"] == sid).unwrap();
        assert_eq!(statement["Action"], action);
        assert_eq!(statement["Condition"]["StringEquals"], json!({ "kms:EncryptionContext:purpose": "token" }));
        let arns = texts(&statement["Condition"]["ArnLike"]["aws:PrincipalArn"], &template["Conditions"]);
        let role = |function: &str| {
            format!("arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:role/${{AWS::StackName}}-{}-*", logical(function, "Role"))
        };
        let used: BTreeSet<String> = seen.iter().filter(|of| of.action == action).map(|of| role(&of.function)).collect();
        assert_eq!(arns.into_iter().collect::<BTreeSet<_>>(), used, "{sid}");
    }
    let administrator = policy.iter().find(|statement| statement["Sid"] == "Administration").unwrap()["Action"].to_string();
    for cryptographic in ["Decrypt", "Encrypt", "GenerateDataKey", "CreateGrant", "kms:*"] {
        assert!(!administrator.contains(cryptographic), "{cryptographic}");
    }
}

#[test]
fn s90_no_role_names_every_resource_or_every_action_and_each_function_has_its_own() {
    let template = template();
    let mut roles = BTreeSet::new();
    for (function, _) in FUNCTIONS {
        let properties = &template["Resources"][logical(function, "Function")]["Properties"];
        assert_eq!(properties["Role"], format!("{}.Arn", logical(function, "Role")));
        assert!(roles.insert(properties["Role"].to_string()), "{function} shares a role");
        for statement in statements(&template, function) {
            for action in &statement.actions {
                assert!(!action.contains('*'), "{function}: {action}");
                assert!(
                    !statement.resources.iter().any(|of| of == "*") || ANYWHERE.contains(&action.as_str()),
                    "{function}: {action} on *"
                );
            }
            let own = format!("{}.Arn", logical(function, "LogGroup"));
            if statement.sid == "Logs" {
                assert_eq!(statement.resources, [own], "{function} writes to another's log");
            }
        }
    }
}

#[test]
fn s90_the_environment_of_a_function_is_what_its_main_asks_for() {
    let template = template();
    for (function, needs) in FUNCTIONS {
        let variables = template["Resources"][logical(function, "Function")]["Properties"]["Environment"]["Variables"].as_object().unwrap();
        let given: BTreeSet<&str> = variables.keys().map(String::as_str).filter(|name| !OF_ANYBODY.contains(name)).collect();
        assert_eq!(given, needs.iter().map(|need| need.name()).collect(), "{function}");
        // The local stack, which this was measured on, says what the function's own `main` says.
        let path = format!("{}/../functions/{function}/src/main.rs", env!("CARGO_MANIFEST_DIR"));
        let main = std::fs::read_to_string(path).unwrap();
        let list = main.split("lambda::start(&[").nth(1).and_then(|rest| rest.split(']').next()).unwrap();
        let said: BTreeSet<String> = list.split(',').map(|need| need.trim().to_owned()).filter(|need| !need.is_empty()).collect();
        assert_eq!(said, needs.iter().map(|need| format!("{need:?}")).collect(), "{function}");
    }
}

#[test]
fn s91_who_has_no_business_with_tokens_has_no_key_and_can_read_no_token_attribute() {
    let template = template();
    let projected = template["Resources"]["Table"]["Properties"]["GlobalSecondaryIndexes"].as_array().unwrap();
    for index in projected {
        let projection = &index["Projection"];
        assert_ne!(projection["ProjectionType"], "ALL", "{index}");
        assert!(!projection.to_string().contains("sealed"), "{index}");
    }
    for function in ["create-url", "list", "assign"] {
        for statement in statements(&template, function) {
            for action in &statement.actions {
                assert!(!action.starts_with("kms:"), "{function}: {action}");
                let reads = ["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:Scan", "dynamodb:PartiQLSelect"];
                if !reads.contains(&action.as_str()) || statement.resources.iter().all(|of| of.contains("/index/by-organization")) {
                    continue;
                }
                // What is left are single items: bindings, which have no token, and authorizations by the names of other attributes.
                assert_eq!((function, action.as_str()), ("assign", "dynamodb:GetItem"));
                let keys = statement.tests.iter().find(|test| test.key == "dynamodb:LeadingKeys").unwrap();
                if keys.values != ["ORG#*#WF#*"] {
                    assert_eq!(keys.values, ["ORG#*#AUTH#*"]);
                    let only = |key: &str| statement.tests.iter().find(|test| test.key == key).unwrap_or_else(|| panic!("{key}"));
                    assert!(!only("dynamodb:Attributes").values.iter().any(|name| name.contains("sealed")));
                    assert_eq!(only("dynamodb:Select").values, ["SPECIFIC_ATTRIBUTES"]);
                }
            }
        }
    }
    // And what is written comes back to nobody: an update may not return what was there.
    let counts = statements(&template, "assign").into_iter().find(|statement| statement.sid == "Counts").unwrap();
    assert!(counts.tests.iter().any(|test| test.key == "dynamodb:ReturnValues" && test.values == ["NONE"]));
}

#[test]
fn the_judge_of_this_file_refuses_what_iam_refuses() {
    let mut of = Use {
        function: "x".to_owned(),
        action: "dynamodb:GetItem".to_owned(),
        resource: "Table.Arn".to_owned(),
        context: [("dynamodb:LeadingKeys".to_owned(), BTreeSet::from(["ORG#a#AUTH#b".to_owned()]))].into(),
    };
    let statement = |condition: Value| {
        let text = json!({ "Sid": "S", "Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "Table.Arn", "Condition": condition });
        Statement::of(&text, &json!({}))
    };
    let leading = |pattern: &str| statement(json!({ "ForAllValues:StringLike": { "dynamodb:LeadingKeys": pattern } }));
    assert!(leading("ORG#*").allows(&of) && leading("ORG#*#AUTH#*").allows(&of) && leading("*").allows(&of));
    assert!(!leading("ORG#*#WF#*").allows(&of) && !leading("KEY#*").allows(&of) && !leading("ORG#a").allows(&of));
    let select = |operator: &str| statement(json!({ operator: { "dynamodb:Select": "SPECIFIC_ATTRIBUTES" } }));
    assert!(select("StringEqualsIfExists").allows(&of) && !select("StringEquals").allows(&of));
    of.context.insert("dynamodb:Select".to_owned(), BTreeSet::from(["ALL_ATTRIBUTES".to_owned()]));
    assert!(!select("StringEqualsIfExists").allows(&of) && !select("NumericEquals").allows(&of));
    of.resource = "Table.Arn/index/due".to_owned();
    assert!(!leading("*").allows(&of), "another resource");
}

//! Every recorded event, through the function it is for: its true handler in this process, and, where they are at hand, the release
//! bootstrap itself under the Lambda Runtime Interface Emulator, which speaks the real Runtime API.
//!
//! 1. What an event can only know at run time is filled in: the bearer token, ids, codes, states (they say `demonstration`).
//! 2. The answer is held to `events/expected.json`, and to the shape that API Gateway understands.
//! 3. `tests/runtime/invoke.sh` builds the bootstraps, finds the emulator and names both (`MANDATE_RIE`, `MANDATE_BOOTSTRAPS`).
//!    Without them that test says that it was skipped.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use tests::{Caller, Expect as _, Setup, Verifier, World};

const FUNCTIONS: [&str; 7] = ["create-url", "callback", "list", "revoke", "assign", "token", "refresh"];
/// What stands in an event for an authorization of the caller's organization, and for another.
const FIRST: &str = "auth_01jd0000000000000000000000";
const SECOND: &str = "auth_01jd0000000000000000000001";
const WORKFLOW: &str = "fl_nightly_backup";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The events of a function, by name.
fn events(function: &str) -> BTreeMap<String, Value> {
    let folder = fs::read_dir(root().join("events").join(function)).unwrap();
    let named = folder.map(|file| file.unwrap().path()).map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), read(&path)));
    named.collect()
}

/// What each event is to be answered: `"<status>"`, `"<status> <code>"`, or for the schedule `report` or `error`.
fn expected() -> BTreeMap<String, String> {
    serde_json::from_value(read(&root().join("events/expected.json"))).unwrap()
}

/// The demonstration's world, with a connection of WorkOS beside it: making its URL asks nobody.
async fn world() -> World {
    let authkit = json!({
        "id": "conn_authkit", "provider": "authkit", "organization_id": null, "linked": true, "kind": "workos",
        "base_url": "https://api.workos.com", "selector": { "provider": "authkit" }, "client_id": "client_1",
        "token_endpoint_auth_method": "client_secret_post", "scopes": [], "allowed_scopes": ["openid", "email"],
    });
    let add = move |directory: &mut Value, _| directory["connections"].as_array_mut().unwrap().push(authkit.clone());
    let client_secrets = vec![("conn_authkit".to_owned(), "a-secret".to_owned())];
    World::with(Setup { directory: Some(Box::new(add)), client_secrets, ..Setup::default() }).await
}

/// A new authorization. Which one that is, the list cannot tell by its order: a bootstrap's clock is not this world's.
async fn new_authorization(world: &World, olivia: &Caller) -> String {
    let ids = |list: Value| list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>();
    let before = ids(olivia.list().await);
    world.sign_in(olivia, "usr_olivia", json!({})).await.page(200);
    ids(olivia.list().await).difference(&before).next().unwrap().clone()
}

/// Two authorizations for one event, and the workflow bound to the first where the event needs it.
async fn two_authorizations(world: &World, olivia: &Caller, bound: bool) -> (String, String) {
    olivia.delete(&format!("/workflows/{WORKFLOW}/authorization")).await;
    let (first, second) = (new_authorization(world, olivia).await, new_authorization(world, olivia).await);
    if bound {
        world.bind(olivia, WORKFLOW, &first).await;
    }
    (first, second)
}

/// Step 1. What an event is refused for at sight needs nothing behind it.
async fn filled_in(world: &World, function: &str, name: &str, event: Value, expected: &str) -> Value {
    let olivia = world.olivia();
    let mut text = event.to_string();
    if text.contains("Bearer demonstration") {
        text = text.replace("Bearer demonstration", &olivia.authorization().unwrap());
    }
    let refused_at_sight = ["400", "401", "405", "413", "415"].iter().any(|status| expected.starts_with(status));
    // An event about something unknown keeps an id that nobody has.
    if !refused_at_sight && (text.contains(FIRST) || text.contains(SECOND) || text.contains(WORKFLOW)) {
        let bound = function != "revoke" && (function != "assign" || !name.starts_with("put"));
        let (first, second) = two_authorizations(world, &olivia, bound).await;
        text = text.replace(FIRST, &first);
        if !name.contains("unknown") {
            text = text.replace(SECOND, &second);
        }
    }
    if text.contains("demonstration-completion-code") {
        let mut body = json!({ "redirect_uri": world.return_to() });
        if text.contains(Verifier::VERIFIER) {
            body["code_challenge"] = json!(Verifier::CHALLENGE);
            body["code_challenge_method"] = json!("S256");
        }
        let code = world.sign_in(&olivia, "usr_olivia", body).await.sent("code").unwrap();
        text = text.replace("demonstration-completion-code", &code);
    }
    if text.contains("demonstration-state") {
        let back = world.allowed(&world.url(&olivia, json!({})).await, "usr_olivia").await;
        let back: BTreeMap<String, String> = url::Url::parse(&back).unwrap().query_pairs().into_owned().collect();
        // This provider says who it is (RFC 9207), and so does an event that does not say otherwise.
        if !text.contains("&iss=") {
            let iss: String = url::form_urlencoded::byte_serialize(back["iss"].as_bytes()).collect();
            text = text.replace("state=demonstration-state", &format!("state=demonstration-state&iss={iss}"));
        }
        text = text.replace("demonstration-state", &back["state"]).replace("demonstration-code", &back["code"]);
    }
    serde_json::from_str(&text).unwrap()
}

/// Step 2: what the answer comes to, in the words of `expected.json`.
fn comes_to(function: &str, answer: &Result<Value, String>) -> String {
    if function == "refresh" {
        let counts = ["due", "refreshed", "needs_reauthorization", "deferred", "skipped", "revoked", "rescued", "failed"];
        return match answer {
            // The care of branch keys reports otherwise.
            Ok(report) if report.get("due").is_none() => report.as_object().map_or("nothing", |_| "report").to_owned(),
            Ok(report) => {
                let members: BTreeSet<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
                assert_eq!(members, counts.into(), "{report}");
                assert!(counts.iter().all(|count| report[count].is_u64()), "{report}");
                "report".to_owned()
            }
            Err(_) => "error".to_owned(),
        };
    }
    let answer = answer.as_ref().unwrap_or_else(|why| panic!("{function} failed: {why}"));
    let status = answer["statusCode"].as_u64().unwrap_or_else(|| panic!("API Gateway makes nothing of {answer}"));
    assert_eq!(answer["isBase64Encoded"], false, "{answer}");
    let header = |name: &str| {
        let of = |set: &str| answer[set].as_object().and_then(|all| all.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)));
        let found = of("headers").or_else(|| of("multiValueHeaders")).map(|(_, value)| value.clone());
        found.map(|value| value.as_str().or_else(|| value[0].as_str()).unwrap_or_default().to_owned()).unwrap_or_default()
    };
    assert_eq!(header("cache-control"), "no-store", "{answer}");
    assert!(!header("x-request-id").is_empty(), "{answer}");
    let body = answer["body"].as_str().unwrap_or_default();
    match serde_json::from_str::<Value>(body) {
        Ok(error) if status >= 400 => {
            assert!(["type", "code", "message", "doc_url"].iter().all(|field| error[field].is_string()), "{body}");
            format!("{status} {}", error["code"].as_str().unwrap())
        }
        _ => status.to_string(),
    }
}

/// Invokes every event, and tells what came out otherwise than expected.
async fn all_of<F: AsyncFnMut(&str, Value) -> Result<Value, String>>(world: &World, functions: &[&str], mut invoke: F) -> Vec<String> {
    let mut promised = expected();
    let mut faults = Vec::new();
    for function in functions {
        for (name, raw) in events(function) {
            let case = format!("{function}/{name}");
            let expected = promised.remove(&case).unwrap_or_default();
            let filled = filled_in(world, function, &name, raw, &expected).await;
            let answer = comes_to(function, &invoke(function, filled).await);
            if answer != expected {
                faults.push(format!("\"{case}\": \"{answer}\" and not \"{expected}\""));
            }
        }
    }
    let unknown = promised.keys().filter(|case| functions.iter().any(|function| case.starts_with(&format!("{function}/"))));
    faults.extend(unknown.map(|case| format!("{case} is no event")));
    faults
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_has_its_answer_from_the_true_handler() {
    let world = world().await;
    let functions = world.stack.functions();
    let invoke = async |function: &str, event: Value| functions.invoke(function, event).await.map_err(|error| error.to_string());
    let faults = all_of(&world, &FUNCTIONS, invoke).await;
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for function in FUNCTIONS {
        let answers: BTreeSet<bool> = expected()
            .iter()
            .filter(|(case, _)| case.starts_with(&format!("{function}/")))
            .map(|(_, answer)| answer.starts_with('2') || answer.starts_with("303") || answer == "report")
            .collect();
        assert_eq!(answers.len(), 2, "{function} has good events and bad ones");
    }
}

/// A bootstrap under the emulator.
struct Running {
    emulator: Child,
    invoke: String,
    log: PathBuf,
}

impl Running {
    /// Starts it with the environment that the template gives the function, no more, and what Lambda itself sets.
    async fn start(world: &World, emulator: &Path, function: &str, bootstrap: &Path) -> Self {
        let (api, front) = (World::free_address(), World::free_address());
        let log = std::env::temp_dir().join(format!("mandate-{function}-{}.log", std::process::id()));
        let written = File::create(&log).unwrap();
        let mut command = Command::new(emulator);
        command
            .args(["--runtime-api-address", &api.to_string(), "--runtime-interface-emulator-address", &front.to_string()])
            .arg(bootstrap)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("AWS_LAMBDA_FUNCTION_NAME", function)
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", "30")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("MANDATE_DEVELOPMENT", "1")
            .env("AWS_ENDPOINT_URL", world.stack.aws_endpoint())
            .envs(environment(world, function))
            .stdout(written.try_clone().unwrap())
            .stderr(written)
            .stdin(Stdio::null());
        let emulator = command.spawn().unwrap();
        for _ in 0..200 {
            if TcpStream::connect(front).is_ok() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        Self { emulator, invoke: format!("http://{front}/2015-03-31/functions/function/invocations"), log }
    }

    async fn invoke(&self, world: &World, event: &Value) -> Result<Value, String> {
        let answer = world.http.send(reqwest::Method::POST, &self.invoke, &[], Some(event.to_string())).await;
        let answer = answer.map_err(|error| format!("{error:?}\n{}", self.said()))?;
        let body: Value = serde_json::from_str(&answer.text).map_err(|_| format!("{}\n{}", answer.text, self.said()))?;
        if body.get("errorMessage").is_some() { Err(body.to_string()) } else { Ok(body) }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The milliseconds of its initialization, as the emulator measured them.
    fn init_time(&self) -> String {
        let said = self.said();
        let after = said.split("INIT REPORT(durationMs: ").nth(1).or_else(|| said.split("Init Duration: ").nth(1)).unwrap_or_default();
        after.split([')', ' ', ',']).next().unwrap_or_default().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The bootstrap ends with the emulator, whose Runtime API it waits for.
        let _ = self.emulator.kill().and_then(|()| self.emulator.wait());
        let _ = fs::remove_file(&self.log);
    }
}

/// The variables that the template gives a function, with this world's values.
fn environment(world: &World, function: &str) -> BTreeMap<String, String> {
    let template: Value = serde_saphyr::from_str(include_str!("../../template.yaml")).unwrap();
    let of = template["Resources"].as_object().unwrap().values();
    let deployed = of.into_iter().find(|resource| resource["Metadata"]["BuildProperties"]["Binary"] == function).unwrap();
    let names = deployed["Properties"]["Environment"]["Variables"].as_object().unwrap();
    let made = world.stack.provisioned();
    let [directory, client_secrets, state_keys] = &made.secret_ids[..3] else { panic!("three secrets") };
    let values: BTreeMap<&str, &String> = [
        ("MANDATE_TABLE", &made.table),
        ("MANDATE_KMS_KEY_ID", &made.key_id),
        ("MANDATE_DIRECTORY_SECRET", directory),
        ("MANDATE_CLIENT_SECRETS_SECRET", client_secrets),
        ("MANDATE_STATE_KEYS_SECRET", state_keys),
        ("MANDATE_RESCUE_QUEUE_URL", &made.rescue_queue_url),
    ]
    .into();
    let value = |name: &String| if name == "MANDATE_EVENT_BUS" { "default".to_owned() } else { values[name.as_str()].clone() };
    names.keys().map(|name| (name.clone(), value(name))).collect()
}

#[expect(clippy::disallowed_methods, reason = "where the emulator and the bootstraps are, only the script knows")]
fn at_hand() -> Option<(PathBuf, PathBuf)> {
    let named = |name: &str| std::env::var(name).ok().map(PathBuf::from);
    Some((named("MANDATE_RIE")?, named("MANDATE_BOOTSTRAPS").unwrap_or_else(|| root().join("target/release"))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_has_its_answer_from_the_bootstrap_under_the_runtime_api() {
    let Some((emulator, bootstraps)) = at_hand() else {
        writeln!(io::stderr(), "skipped: MANDATE_RIE does not name the Runtime Interface Emulator; see tests/runtime/invoke.sh").unwrap();
        return;
    };
    let world = world().await;
    let mut faults = Vec::new();
    let mut out = io::stderr();
    writeln!(out, "\n{:<12} {:>10} {:>9} {:>7} {:>12}", "function", "bytes", "init ms", "events", "mean ms").unwrap();
    for function in FUNCTIONS {
        let bootstrap = bootstraps.join(function);
        let bytes = fs::metadata(&bootstrap).unwrap_or_else(|why| panic!("{}: {why}", bootstrap.display())).len();
        let running = Running::start(&world, &emulator, function, &bootstrap).await;
        let (mut invoked, mut took) = (0_u32, std::time::Duration::ZERO);
        let found = all_of(&world, &[function], async |_: &str, event: Value| {
            let began = Instant::now();
            let answer = running.invoke(&world, &event).await;
            (invoked, took) = (invoked + 1, took + began.elapsed());
            answer
        })
        .await;
        if !found.is_empty() {
            faults.push(format!("{}\n{}", found.join("\n"), running.said()));
        }
        let mean = f64::from(u32::try_from(took.as_micros()).unwrap()) / f64::from(invoked) / 1000.0;
        writeln!(out, "{function:<12} {bytes:>10} {:>9} {invoked:>7} {mean:>12.1}", running.init_time()).unwrap();
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

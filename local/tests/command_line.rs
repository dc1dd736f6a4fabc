//! The binary `local`, as a user meets it.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod operator;
mod process;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use local::client::{Answer, Api, Http};
use process::{Running, command, free_ports, run};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

const ANYWHERE: [&str; 4] = ["--listen", "127.0.0.1:0", "--aws-listen", "127.0.0.1:0"];

/// A run that must fail as a user's mistake does: one line on standard error, and status 2.
fn fault(arguments: &[&str]) -> String {
    let output = run(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    let lines: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(lines.len(), 1, "{arguments:?}: {said}");
    for trace in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
        assert!(!said.contains(trace), "{said}");
    }
    lines[0].strip_prefix("error: ").unwrap_or_else(|| unreachable!("{said}")).to_owned()
}

fn file(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn example() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/directory.example.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn help_names_every_option_and_command() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let options = ["--listen", "--aws-listen", "--aws-endpoint", "--directory", "--client-secrets", "--state-keys", "--secret", "--data"];
    for word in options.into_iter().chain(["--refresh-every", "127.0.0.1:8787", "127.0.0.1:8788", "token", "demo", "check", "state-keys"]) {
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
    let output = run(&["token", "--help"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for word in ["--sub", "--org", "--email", "--scopes"] {
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
}

#[test]
fn an_option_that_is_none_is_refused() {
    let output = run(&["--no-such-option"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--no-such-option"));
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = fault(&["--listen", &address, "--aws-listen", "127.0.0.1:0"]);
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
    let said = fault(&["--listen", "127.0.0.1:0", "--aws-listen", &address]);
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
}

#[test]
fn a_file_that_cannot_be_used_is_one_clear_line() {
    let folder = TempDir::new().unwrap();
    let absent = folder.path().join("absent.json").to_str().unwrap().to_owned();
    let (broken, empty) = (file(&folder, "broken.json", "{\"environment\": "), file(&folder, "empty.json", "{}"));
    let list = file(&folder, "list.json", "[]");
    for option in ["--directory", "--client-secrets", "--state-keys"] {
        for (path, why) in [(&absent, "No such file"), (&broken, "JSON"), (&list, "object")] {
            let said = fault(&[&ANYWHERE[..], &[option, path]].concat());
            assert!(said.contains(option) && said.contains(why), "{said}");
        }
    }
    let said = fault(&[&ANYWHERE[..], &["--directory", &empty]].concat());
    assert!(said.contains("api_tokens") && said.contains("public_url"), "{said}");
    let said = fault(&[&ANYWHERE[..], &["--secret", "no-equals-sign"]].concat());
    assert!(said.contains("ID=FILE"), "{said}");
    let said = fault(&[&ANYWHERE[..], &["--data", &broken]].concat());
    assert!(said.contains(&broken), "{said}");
}

#[test]
fn a_wrong_directory_names_each_fault_by_its_json_path() {
    let folder = TempDir::new().unwrap();
    let mut directory = example();
    directory["environment"] = json!("moon");
    directory["connections"][0]["rotation_grace"] = json!("long");
    directory["connections"][2]["no_such_field"] = json!(1);
    directory["redirect_uris"][0]["uri"] = json!("http://*.co.uk/");
    let path = file(&folder, "directory.json", &directory.to_string());
    let said = fault(&[&ANYWHERE[..], &["--directory", &path]].concat());
    for at in ["environment", "connections[0].rotation_grace", "connections[2].no_such_field", "redirect_uris[0].uri"] {
        assert!(said.contains(at), "{at} is missing: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minted_token_is_accepted_for_what_it_says() {
    let running = Running::start(&ANYWHERE);
    let base = running.base();
    assert!(!base.ends_with(":0") && !running.aws().ends_with(":0"), "the real ports are printed:\n{}", running.banner);
    let listen = base.strip_prefix("http://").unwrap().to_owned();
    let mint = |scopes: &str| {
        let output =
            run(&["token", "--listen", &listen, "--sub", "usr_a", "--org", "org_b", "--email", "c@example.com", "--scopes", scopes]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let banners = Api::new(&base, running.token().unwrap()).unwrap();
    assert_eq!(banners.get("/workflows/authorization").await.unwrap().json(), json!([]));
    let viewer = Api::new(&base, mint("workflow_authorization:view")).unwrap();
    assert_eq!(viewer.get("/workflows/authorization").await.unwrap().status, 200);
    let refused = viewer.post("/workflows/authorization", json!({})).await.unwrap();
    assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("insufficient_scope")));
    let both = Api::new(&base, mint("workflow_authorization:view,workflow_authorization:create")).unwrap();
    assert_eq!(both.post("/workflows/authorization", json!({})).await.unwrap().status, 200);
    let (status, said) = running.signal("INT");
    assert!(status.success() && said.contains("stopping"), "{status}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_one_s_own_takes_tokens_of_its_static_key() {
    let folder = TempDir::new().unwrap();
    let mut directory = example();
    directory["api_tokens"].as_object_mut().unwrap().remove("jwks_uri");
    directory["api_tokens"]["static_key_secret"] = json!("mandate/api-key");
    let path = file(&folder, "directory.json", &directory.to_string());
    let key = file(&folder, "key.json", r#"{"alg": "HS256", "secret": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}"#);
    let secret = format!("mandate/api-key={key}");
    let said = fault(&["token", "--directory", &path]);
    assert!(said.contains("--secret mandate/api-key=FILE"), "{said}");
    let output = run(&["token", "--directory", &path, "--secret", &secret, "--org", "org_b"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let running = Running::start(&[&ANYWHERE[..], &["--directory", &path, "--secret", &secret]].concat());
    assert_eq!(running.token(), None);
    let api = Api::new(running.base(), String::from_utf8(output.stdout).unwrap().trim()).unwrap();
    assert_eq!(api.get("/workflows/authorization").await.unwrap().json(), json!([]));
    let (status, _) = running.signal("TERM");
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_is_for_one_process_and_outlives_it() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("new").to_str().unwrap().to_owned();
    let [api, aws] = free_ports().map(|port| format!("127.0.0.1:{port}"));
    let arguments = ["--listen", &api, "--aws-listen", &aws, "--data", &data];
    let running = Running::start(&arguments);
    let said = fault(&[&ANYWHERE[..], &["--data", &data]].concat());
    assert!(said.contains(&data) && said.contains("another process"), "{said}");
    assert!(running.signal("INT").0.success());
    // The same ports again, at once; and once more after a kill, which leaves no lock behind.
    Running::start(&arguments).kill();
    assert!(Running::start(&arguments).signal("INT").0.success());
}

async fn invoke(base: &str, function: &str, event: &str) -> Answer {
    let url = format!("{base}/2015-03-31/functions/{function}/invocations");
    Http::new().unwrap().send(Method::POST, &url, &[], Some(event.to_owned())).await.unwrap()
}

/// Every stored event, with the function that receives it.
fn events() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let of = |folder: PathBuf| {
        let function = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|e| e == "json")).map(move |path| (function.clone(), path)).collect::<Vec<_>>()
    };
    folders.flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stored_event_can_be_invoked_as_the_aws_cli_does() {
    let running = Running::start(&ANYWHERE);
    let base = running.base();
    let mut functions = std::collections::BTreeSet::new();
    for (function, path) in events() {
        let answer = invoke(&base, &function, &fs::read_to_string(&path).unwrap()).await;
        let failed = answer.header("x-amz-function-error");
        assert_eq!(answer.status, 200, "{}: {}", path.display(), answer.text);
        // No shard of 32 has the number 32: such a rule is a mistake that must not look like a run without work.
        if path.ends_with("refresh/shard_out_of_range.json") {
            assert_eq!(failed, "Unhandled", "{}: {}", path.display(), answer.text);
        } else {
            assert_eq!(failed, "", "{}: {}", path.display(), answer.text);
            let status = answer.json()["statusCode"].as_u64();
            assert!(function == "refresh" || status.is_some_and(|s| s != 500), "{}: {}", path.display(), answer.text);
        }
        functions.insert(function);
    }
    assert_eq!(functions.into_iter().collect::<Vec<_>>(), ["assign", "callback", "create-url", "list", "refresh", "revoke", "token"]);

    let unknown = invoke(&base, "no-such-function", "{}").await;
    assert_eq!((unknown.status, unknown.header("x-amzn-errortype")), (404, "ResourceNotFoundException"));
    assert_eq!(invoke(&base, "list", "{").await.status, 400);
    let other = invoke(&base, "list", "{}").await;
    assert_eq!((other.status, other.header("x-amz-function-error")), (200, "Unhandled"), "no HTTP API event");
}

#[test]
fn the_demonstration_tells_its_story_and_succeeds() {
    let output = command().arg("demo").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("went as expected"), "{said}");
}

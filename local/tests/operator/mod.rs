//! The operator's commands, as an operator meets them: `check` and `state-keys`.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};

use local::demonstration;
use serde_json::{Value, json};
use shared::secrets::parse_state_keys;
use tempfile::TempDir;

use crate::process::{Running, command, run};
use crate::{example, file};

/// Exit status, standard output, and standard error.
fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn check(arguments: &[&str]) -> (i32, String, String) {
    told(run(&[&["check"], arguments].concat()))
}

#[test]
fn a_directory_that_holds_names_every_callback_to_register() {
    let folder = TempDir::new().unwrap();
    let directory = example();
    let (status, said, faults) = check(&[&file(&folder, "directory.json", &directory.to_string())]);
    assert_eq!((status, faults.as_str()), (0, ""), "{said}");
    assert!(said.contains("Nothing is wrong."), "{said}");
    let base = directory["public_url"].as_str().unwrap().trim_end_matches('/');
    for connection in directory["connections"].as_array().unwrap() {
        let callback = format!("{base}/workflows/authorization/callback/{}\n", connection["id"].as_str().unwrap());
        assert!(said.contains(&callback), "{callback} is missing:\n{said}");
    }
}

#[test]
fn every_fault_is_a_line_by_its_path_and_the_status_says_so() {
    let folder = TempDir::new().unwrap();
    let mut directory = example();
    directory["environment"] = json!("moon");
    directory["connections"][0]["rotation_grace"] = json!("long");
    directory["redirect_uris"][0]["uri"] = json!("http://*.co.uk/");
    let path = file(&folder, "directory.json", &directory.to_string());
    let secrets = file(&folder, "secrets.json", r#"{"conn_platform": "no list"}"#);
    let keys = file(&folder, "keys.json", r#"{"keys": []}"#);
    let (status, said, faults) = check(&[&path, "--client-secrets", &secrets, "--state-keys", &keys]);
    assert_eq!((status, said.as_str()), (1, ""), "{faults}");
    let places: Vec<&str> = faults.lines().map(|line| line.rsplit_once(".json: ").unwrap().1.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["environment", "redirect_uris[0].uri", "connections[0].rotation_grace", "conn_platform", "keys"], "{faults}");
}

#[test]
fn what_cannot_be_judged_at_all_has_a_status_of_its_own() {
    let (status, said, faults) = check(&["no/such/file.json"]);
    assert_eq!((status, said.as_str()), (2, ""));
    assert!(faults.starts_with("error: DIRECTORY no/such/file.json: "), "{faults}");
    assert_eq!(check(&[]).0, 2, "a directory must be named");
}

#[test]
fn a_secret_without_its_client_is_a_fault_and_a_client_without_its_secret_is_told_to_be_public() {
    let folder = TempDir::new().unwrap();
    let api = SocketAddr::from(([127, 0, 0, 1], 8787));
    let path = file(&folder, "directory.json", &demonstration::directory(api));
    let given = |text: &str| check(&[&path, "--client-secrets", &file(&folder, "secrets.json", text)]);
    assert_eq!(given(&demonstration::client_secrets()).0, 0);
    let (status, said, faults) = given(r#"{"conn_nobody": ["s3cr3t"]}"#);
    assert_eq!(status, 1);
    assert!(said.contains("has no secret, which makes it a public client"), "{said}");
    let (_, _, of_a_key) = given(r#"{"conn_demo": [{"kid": "k", "pem": "not one"}]}"#);
    assert!(of_a_key.contains("conn_demo"), "{of_a_key}");
    assert!(faults.contains("conn_nobody: is no connection of the directory"), "{faults}");
    assert!(!faults.contains("s3cr3t"), "{faults}");
}

#[test]
fn the_template_s_parameters_that_follow_are_named() {
    let folder = TempDir::new().unwrap();
    let mut directory = example();
    directory["api_tokens"].as_object_mut().unwrap().remove("jwks_uri");
    directory["api_tokens"]["static_key_secret"] = json!("mandate/api-key");
    let connections = directory["connections"].as_array_mut().unwrap();
    let oidc = connections.iter_mut().find(|it| it["kind"] == "oidc" && it["token_endpoint_auth_method"] != "none").unwrap();
    oidc["pushed_authorization_requests"] = json!(true);
    let (status, said, faults) = check(&[&file(&folder, "directory.json", &directory.to_string())]);
    assert_eq!(status, 0, "{faults}");
    assert!(said.contains("PushedAuthorizationRequests=true") && said.contains("ApiKeySecretArn=<the ARN of mandate/api-key>"), "{said}");
}

#[test]
fn a_provider_is_asked_about_itself_and_what_is_wrong_is_told() {
    let stack = Running::start(&["--listen", "127.0.0.1:0", "--aws-listen", "127.0.0.1:0"]);
    let api: SocketAddr = stack.base().strip_prefix("http://").unwrap().parse().unwrap();
    let folder = TempDir::new().unwrap();
    let asked = |directory: &Value| check(&[&file(&folder, "directory.json", &directory.to_string()), "--discover"]);
    let mut directory: Value = serde_json::from_str(&demonstration::directory(api)).unwrap();
    let (status, said, faults) = asked(&directory);
    assert_eq!((status, faults.as_str()), (0, ""), "{said}");
    assert!(said.contains(&format!("token_endpoint {}", demonstration::issuer(api))), "{said}");

    let issuer = demonstration::issuer(api);
    directory["connections"][0]["issuer"] = json!(format!("{issuer}/"));
    let (status, _, faults) = asked(&directory);
    assert_eq!(status, 1);
    assert!(faults.contains(&format!("its metadata is of the issuer {issuer:?}; the directory must name it to the letter")), "{faults}");

    drop(stack);
    let (status, _, faults) = asked(&directory);
    assert_eq!(status, 1);
    assert!(faults.contains("provider is not available") && faults.contains("api_tokens: the keys"), "{faults}");
}

#[test]
fn state_keys_are_new_each_time_and_hold_to_the_rules() {
    let made = || told(run(&["state-keys", "--kid", "2026-11"])).1;
    let (one, other) = (made(), made());
    assert_ne!(one, other);
    assert_eq!(parse_state_keys(one.trim()).unwrap().sealing().0, "2026-11");
    // Today's date is an id, too.
    let (status, today, _) = told(run(&["state-keys"]));
    assert_eq!(status, 0);
    assert_eq!(parse_state_keys(today.trim()).unwrap().sealing().0.len(), "2026-11-25".len());
}

#[test]
fn a_new_state_key_goes_in_front_and_the_others_still_open() {
    let folder = TempDir::new().unwrap();
    let (_, first, _) = told(run(&["state-keys", "--kid", "a"]));
    let path = file(&folder, "keys.json", &first);
    let (_, second, _) = told(run(&["state-keys", "--kid", "b", "--add", &path]));
    let ring = parse_state_keys(second.trim()).unwrap();
    assert!(ring.sealing().0 == "b" && ring.key("a").is_some());
    let document: Value = serde_json::from_str(&first).unwrap();
    assert!(second.contains(document["keys"][0]["key"].as_str().unwrap()), "the old key is as it was");

    // From a pipe, as `aws secretsmanager get-secret-value … --output text` gives it, and only the newest two are kept.
    let mut process = command();
    let process = process.args(["state-keys", "--kid", "c", "--add", "-", "--keep", "2"]);
    let mut process = process.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(second.as_bytes()).unwrap();
    let third = String::from_utf8(process.wait_with_output().unwrap().stdout).unwrap();
    let ring = parse_state_keys(third.trim()).unwrap();
    assert!(ring.sealing().0 == "c" && ring.key("b").is_some() && ring.key("a").is_none());
}

#[test]
fn state_keys_that_would_not_work_are_refused_and_never_shown() {
    let folder = TempDir::new().unwrap();
    let (_, keys, _) = told(run(&["state-keys", "--kid", "a"]));
    let path = file(&folder, "keys.json", &keys);
    for (arguments, expected) in [
        (["--kid", "a", "--add", path.as_str()].as_slice(), "keys[1].kid: is the kid of an earlier key; --kid names another"),
        (&["--kid", "a b"], "keys[0].kid: must be 1 to 32 characters of [A-Za-z0-9_-]; --kid names another"),
        (&["--add", "no/such/file"], "--add no/such/file: No such file"),
        (&["--add", &file(&folder, "empty.json", "{}")], "--add: keys: is required"),
    ] {
        let (status, said, faults) = told(run(&[&["state-keys"], arguments].concat()));
        assert_eq!((status, said.as_str()), (2, ""), "{arguments:?}");
        assert!(faults.starts_with(&format!("error: {expected}")), "{faults}");
    }
    let (status, ..) = told(run(&["state-keys", "--keep", "2"]));
    assert_eq!(status, 2, "--keep is of --add");
}

#[test]
fn the_directory_that_the_readme_begins_with_holds() {
    let folder = TempDir::new().unwrap();
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let shown = readme.split("<!-- begin: directory -->").nth(1).and_then(|rest| rest.split("<!-- end: directory -->").next()).unwrap();
    let directory = shown.trim().trim_start_matches("```json").trim_end_matches("```");
    let path = file(&folder, "directory.json", directory);
    let secrets = file(&folder, "client-secrets.json", r#"{"conn_main": ["the client's secret"]}"#);
    let key = file(&folder, "api-key.json", r#"{"alg":"HS256","secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}"#);
    let (status, said, faults) = check(&[&path, "--client-secrets", &secrets, "--api-key", &key]);
    assert_eq!((status, faults.as_str()), (0, ""), "{said}");
    assert!(said.contains("https://abc123.execute-api.us-east-1.amazonaws.com/workflows/authorization/callback/conn_main\n"), "{said}");
    let minted = ["token", "--directory", &path, "--secret", &format!("mandate/api-key={key}"), "--sub", "usr_me", "--org", "org_mine"];
    assert_eq!(told(run(&minted)).0, 0);
}

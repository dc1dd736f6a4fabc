#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::domain::connection::{ClientAuthentication, Dialect, Kind, WorkOsSelector};
use crate::secrets::fakes::{HandClock, Vault};

const EXAMPLE: &str = include_str!("../../../../tests/fixtures/directory.example.json");
/// Stands for a member that is taken away.
const ABSENT: &str = "(absent)";

/// The example with some of its values replaced, each named by a JSON pointer.
fn example_with(changes: &[(&str, Value)]) -> String {
    let mut document: Value = serde_json::from_str(EXAMPLE).unwrap();
    for (pointer, value) in changes {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match document.pointer_mut(parent).unwrap() {
            Value::Object(members) if value == ABSENT => drop(members.remove(name).unwrap()),
            Value::Object(members) => drop(members.insert(name.to_owned(), value.clone())),
            Value::Array(items) if name == "-" => items.push(value.clone()),
            Value::Array(items) => items[name.parse::<usize>().unwrap()] = value.clone(),
            other => unreachable!("{other} has no members"),
        }
    }
    document.to_string()
}

fn faults(changes: &[(&str, Value)]) -> String {
    parse_directory(&example_with(changes), false).map_or_else(|faults| faults.one_line(), |_| String::new())
}

#[test]
fn the_example_is_a_directory() {
    let directory = parse_directory(EXAMPLE, false).unwrap();
    assert_eq!(directory.environment, Environment::Staging);
    assert_eq!(directory.public_url.as_str(), "http://127.0.0.1:8787/");
    assert_eq!(directory.default_connection.unwrap().as_str(), "conn_platform");
    assert_eq!(directory.redirect_uris.default_uri().unwrap().as_str(), "https://app.example.com/automation/authorizations");
    assert!(matches!(&directory.api_tokens.keys, ApiKeys::Jwks(url) if url.as_str() == "https://signin.example.com/.well-known/jwks.json"));
    let [platform, google, code] = directory.connections.as_slice() else { unreachable!("three connections") };
    assert!(matches!(&platform.kind, Kind::Oidc { issuer, revocation_endpoint: None } if issuer == "https://signin.example.com/"));
    assert_eq!((platform.scopes.to_text().as_str(), platform.max_concurrent_refreshes), ("email offline_access openid sites:read", 32));
    assert_eq!((platform.refresh_idle_lifetime, platform.refresh_absolute_lifetime), (Some(Duration::from_hours(720)), None));
    assert_eq!(platform.claims.organization.as_deref(), Some("org_id"));
    assert_eq!(platform.extra_authorization_params["audience"], "https://api.example.com");
    assert!(matches!(&google.kind, Kind::WorkOs { selector: WorkOsSelector::Provider(name), .. } if name == "GoogleOAuth"));
    assert_eq!((google.client_authentication, google.rotation_grace), (ClientAuthentication::ClientSecretPost, Duration::from_secs(30)));
    assert_eq!(google.default_access_lifetime, Duration::from_hours(1));
    assert!(matches!(&code.kind, Kind::OAuth2 { dialect: Dialect::GitHub, userinfo_endpoint: Some(_), revocation_endpoint: None, .. }));
    assert_eq!(code.claims.subject, "id");
}

#[test]
fn what_is_left_out_has_the_documented_value() {
    let minimal = json!({
        "environment": "production", "public_url": "https://api.example.com/base", "error_doc_base": "https://example.com/errors.md#",
        "api_tokens": { "issuer": "https://signin.example.com/", "audience": "api", "static_key_secret": "api-key", "token_type": "at+jwt" },
        "connections": [{ "id": "conn_a", "provider": "a", "kind": "oidc", "issuer": "https://a.example.com", "client_id": "c", "scopes": ["openid"], "extra_authorization_params": { "prompt": "consent" } }],
    });
    let directory = parse_directory(&minimal.to_string(), false).unwrap();
    let ApiTokens { organization_claim, email_claim, email_verified_claim, keys, token_type, .. } = directory.api_tokens;
    assert_eq!([organization_claim.as_str(), &email_claim, &email_verified_claim], ["org_id", "email", "email_verified"]);
    assert_eq!((keys, token_type.as_deref()), (ApiKeys::Static("api-key".to_owned()), Some("at+jwt")));
    assert!(directory.default_connection.is_none() && directory.redirect_uris.default_uri().is_none());
    let connection = &directory.connections[0];
    assert!(connection.linked && connection.organization.is_none() && !connection.pushed_authorization_requests);
    assert_eq!(connection.allowed_scopes, connection.scopes);
    assert_eq!((connection.rotation_grace, connection.max_concurrent_refreshes), (Duration::ZERO, 32));
    assert_eq!([connection.claims.subject.as_str(), &connection.claims.email], ["sub", "email"]);
    assert_eq!(connection.claims.organization, None);
}

/// Each change of the example gives exactly the expected fault.
fn check(table: &[(&str, Value, &str)]) {
    for (pointer, value, expected) in table {
        assert_eq!(faults(&[(pointer, value.clone())]), *expected, "{pointer} = {value}");
    }
}

#[test]
fn every_fault_of_the_directory_is_named_with_its_place() {
    let https = "must be an https URL, or http on a loopback host";
    let text128 = "must have 1 to 128 characters, none of them a control character";
    let table: &[(&str, Value, &str)] = &[
        ("/environment", json!("testing"), "environment: must be one of production, staging"),
        ("/environment", json!(ABSENT), "environment: is required"),
        ("/public_url", json!("http://api.example.com"), &format!("public_url: {https}")),
        ("/public_url", json!("https://api.example.com/?a"), "public_url: must not have a query"),
        ("/public_url", json!("https://api.example.com/#"), "public_url: must not have a fragment"),
        ("/public_url", json!("/api"), &format!("public_url: {https}")),
        ("/error_doc_base", json!("errors/"), "error_doc_base: must be an http or https URL, to which a code is appended"),
        ("/error_doc_base", json!("javascript:alert(1)"), "error_doc_base: must be an http or https URL, to which a code is appended"),
        ("/more", json!(1), "more: unknown field"),
        ("/api_tokens", json!([]), "api_tokens: must be an object"),
        ("/api_tokens/issuer", json!(ABSENT), "api_tokens.issuer: is required"),
        ("/api_tokens/audience", json!(["a"]), "api_tokens.audience: must be text"),
        ("/api_tokens/jwks_uri", json!("http://signin.example.com/jwks"), &format!("api_tokens.jwks_uri: {https}")),
        ("/api_tokens/jwks_uri", json!(ABSENT), "api_tokens: needs jwks_uri or static_key_secret"),
        ("/api_tokens/static_key_secret", json!("api-key"), "api_tokens: needs jwks_uri or static_key_secret, not both"),
        ("/api_tokens/claims/org", json!("org_id"), "api_tokens.claims.org: unknown field"),
        ("/api_tokens/claims/email", json!(""), &format!("api_tokens.claims.email: {text128}")),
        ("/api_tokens/leeway", json!(60), "api_tokens.leeway: unknown field"),
        ("/redirect_uris", json!({}), "redirect_uris: must be a list"),
        ("/redirect_uris/2/uri", json!("https://*.ngrok-free.app/cb"), "redirect_uris[2].uri: must not have a wildcard on a public suffix"),
        (
            "/redirect_uris/0/uri",
            json!("https://app.example.com:*/"),
            "redirect_uris[0].uri: may have a port wildcard for localhost and loopback addresses only",
        ),
        ("/redirect_uris/1/uri", json!("https://*.example.com/"), "redirect_uris[1].default: must not be the default with a wildcard"),
        ("/redirect_uris/1/default", json!(false), "redirect_uris: must have exactly one default among the registered redirect URIs"),
        ("/redirect_uris/1/default", json!("yes"), "redirect_uris[1].default: must be true or false"),
        ("/redirect_uris/0/url", json!("x"), "redirect_uris[0].url: unknown field"),
        ("/default_connection", json!("conn_absent"), "default_connection: must be the id of a connection"),
        ("/default_connection", json!("a b"), "default_connection: must be a connection id (1–128 characters of [A-Za-z0-9_-])"),
    ];
    check(table);
}

#[test]
fn every_fault_of_a_connection_is_named_with_its_place() {
    let https = "must be an https URL, or http on a loopback host";
    let range = "must be a whole number from 1 to 315360000";
    let text128 = "must have 1 to 128 characters, none of them a control character";
    let table: &[(&str, Value, &str)] = &[
        ("/connections", json!(null), "connections: is required"),
        ("/connections/1", json!("conn"), "connections[1]: must be an object"),
        ("/connections/1/id", json!("conn/1"), "connections[1].id: must be a connection id (1–128 characters of [A-Za-z0-9_-])"),
        ("/connections/2/id", json!("conn_platform"), "connections[2].id: is already the id of connections[0]"),
        ("/connections/0/provider", json!("p".repeat(129)), &format!("connections[0].provider: {text128}")),
        ("/connections/0/provider", json!("a\nb"), &format!("connections[0].provider: {text128}")),
        (
            "/connections/0/organization_id",
            json!("org#1"),
            "connections[0].organization_id: must be an organization id (1–256 visible ASCII characters, no '#')",
        ),
        ("/connections/0/linked", json!(1), "connections[0].linked: must be true or false"),
        ("/connections/0/kind", json!("saml"), "connections[0].kind: must be one of oidc, oauth2, workos"),
        ("/connections/0/kind", json!(ABSENT), "connections[0].kind: is required"),
        ("/connections/0/issuer", json!(ABSENT), "connections[0].issuer: is required"),
        ("/connections/0/issuer", json!("http://signin.example.com/"), &format!("connections[0].issuer: {https}")),
        ("/connections/0/issuer", json!("https://signin.example.com/?tenant=1"), "connections[0].issuer: must not have a query"),
        ("/connections/0/isuer", json!("x"), "connections[0].isuer: unknown field"),
        ("/connections/0/we ird\n", json!("x"), "connections[0][\"we ird\\n\"]: unknown field"),
        ("/connections/0/base_url", json!("https://api.workos.com"), "connections[0].base_url: is not a field of this kind of connection"),
        ("/connections/1/base_url", json!(ABSENT), "connections[1].base_url: is required"),
        ("/connections/1/selector", json!({}), "connections[1].selector: needs exactly one of provider, connection_id, organization_id"),
        (
            "/connections/1/selector/connection_id",
            json!("conn_1"),
            "connections[1].selector: needs exactly one of provider, connection_id, organization_id",
        ),
        (
            "/connections/1/token_endpoint_auth_method",
            json!("private_key_jwt"),
            "connections[1].token_endpoint_auth_method: must be one of client_secret_basic, client_secret_post, none for workos",
        ),
        ("/connections/1/selector/domain", json!("x"), "connections[1].selector.domain: unknown field"),
        (
            "/connections/1/extra_authorization_params",
            json!({"provider": "x"}),
            "connections[1].extra_authorization_params.provider: is a reserved parameter",
        ),
        ("/connections/2/authorization_endpoint", json!(ABSENT), "connections[2].authorization_endpoint: is required"),
        ("/connections/2/token_endpoint", json!(7), "connections[2].token_endpoint: must be text"),
        (
            "/connections/2/token_endpoint",
            json!("https://user:pw@code.example.com/"),
            "connections[2].token_endpoint: must not have userinfo",
        ),
        ("/connections/2/token_endpoint", json!("https://@code.example.com/"), "connections[2].token_endpoint: must not have userinfo"),
        ("/connections/2/userinfo_endpoint", json!("ftp://code.example.com/"), &format!("connections[2].userinfo_endpoint: {https}")),
        (
            "/connections/2/revocation_endpoint",
            json!("https://code.example.com/#a"),
            "connections[2].revocation_endpoint: must not have a fragment",
        ),
        ("/connections/2/dialect", json!("gitlab"), "connections[2].dialect: must be one of standard, github, slack"),
        ("/connections/0/client_id", json!(ABSENT), "connections[0].client_id: is required"),
        (
            "/connections/0/token_endpoint_auth_method",
            json!("tls_client_auth"),
            "connections[0].token_endpoint_auth_method: must be one of client_secret_basic, client_secret_post, private_key_jwt, none",
        ),
        ("/connections/0/scopes", json!("openid email"), "connections[0].scopes: must be a list"),
        ("/connections/0/scopes/1", json!("e mail"), "connections[0].scopes[1]: must be a scope token (RFC 6749 section 3.3)"),
        ("/connections/0/scopes/-", json!("admin"), "connections[0].scopes[4]: must be within allowed_scopes"),
        ("/connections/0/allowed_scopes/0", json!(null), "connections[0].allowed_scopes[0]: must be text"),
        (
            "/connections/0/extra_authorization_params/state",
            json!("x"),
            "connections[0].extra_authorization_params.state: is a reserved parameter",
        ),
        ("/connections/0/extra_authorization_params/max", json!(3), "connections[0].extra_authorization_params.max: must be text"),
        ("/connections/0/claims/name", json!("name"), "connections[0].claims.name: unknown field"),
        ("/connections/0/default_access_lifetime", json!(0), &format!("connections[0].default_access_lifetime: {range}")),
        ("/connections/0/default_access_lifetime", json!(1.5), &format!("connections[0].default_access_lifetime: {range}")),
        ("/connections/0/refresh_token_lifetime/idle", json!(-1), &format!("connections[0].refresh_token_lifetime.idle: {range}")),
        ("/connections/0/refresh_token_lifetime/max", json!(1), "connections[0].refresh_token_lifetime.max: unknown field"),
        ("/connections/0/rotation_grace", json!("30"), "connections[0].rotation_grace: must be a whole number from 0 to 315360000"),
        (
            "/connections/0/max_concurrent_refreshes",
            json!(0),
            "connections[0].max_concurrent_refreshes: must be a whole number from 1 to 10000",
        ),
        (
            "/connections/0/pushed_authorization_requests",
            json!("no"),
            "connections[0].pushed_authorization_requests: must be true or false",
        ),
    ];
    assert!(table.len() >= 40);
    check(table);
}

#[test]
fn what_a_client_cannot_do_is_named_with_its_place() {
    let table: &[(&str, Value, &str)] = &[
        (
            "/connections/2/pushed_authorization_requests",
            json!(true),
            "connections[2].pushed_authorization_requests: needs kind oidc, whose metadata names where to push to",
        ),
        (
            "/connections/2/token_endpoint_auth_method",
            json!("private_key_jwt"),
            "connections[2].token_endpoint_auth_method: needs kind oidc, whose issuer an assertion is addressed to",
        ),
        (
            "/connections/2/extra_authorization_params",
            json!({"scope": "admin"}),
            "connections[2].extra_authorization_params.scope: is a reserved parameter",
        ),
        ("/connections/2/extra_authorization_params", json!({"user_scope": "users:read", "prompt": "consent"}), ""),
    ];
    check(table);
}

#[tokio::test]
async fn s15_a_directory_that_has_a_client_push_which_nobody_here_can_prove_is_refused_by_path() {
    let pushed = ("/connections/0/pushed_authorization_requests", json!(true));
    let method = |method: &str| ("/connections/0/token_endpoint_auth_method", json!(method));
    let told = async |changes: &[(&str, Value)], pushing| {
        let source = Vault::holding(&example_with(changes)).source(&HandClock::new());
        let directories = SecretDirectories::new(source, "directory".to_owned(), false, pushing);
        directories.directory().await.map_or_else(|error| error.source.to_string(), |_| String::new())
    };
    let refused = "connections[0].pushed_authorization_requests: needs the client secrets, which this function is not given";
    for confidential in ["client_secret_basic", "client_secret_post", "private_key_jwt"] {
        let changes = [pushed.clone(), method(confidential)];
        assert_eq!(told(&changes, PushingClients::HaveNoProof).await, refused, "{confidential}");
        assert_eq!(told(&changes, PushingClients::MayProveThemselves).await, "", "{confidential}");
    }
    assert_eq!(told(&[pushed.clone(), method("none")], PushingClients::HaveNoProof).await, "", "a public client has nothing to prove");
    assert_eq!(told(&[], PushingClients::HaveNoProof).await, "", "nothing is pushed");
}

#[test]
fn all_faults_are_told_at_once_one_per_line() {
    let text = example_with(&[
        ("/environment", json!("prod")),
        ("/redirect_uris/0", json!("https://app.example.com/")),
        ("/redirect_uris/2/uri", json!("https://*.co.uk/")),
        ("/default_connection", json!("conn_platfrom")),
        ("/connections/0/issuer", json!("signin.example.com")),
        ("/connections/0/scopes", json!(["root", "openid", "admin"])),
        ("/connections/1/id", json!("conn_code")),
        ("/connections/1/linked", json!("yes")),
    ]);
    let faults = parse_directory(&text, false).unwrap_err();
    assert_eq!(
        faults.to_string().lines().collect::<Vec<_>>(),
        [
            "environment: must be one of production, staging",
            "redirect_uris[0]: must be an object",
            "redirect_uris[2].uri: must not have a wildcard on a public suffix",
            "connections[0].issuer: must be an https URL, or http on a loopback host",
            "connections[0].scopes[0]: must be within allowed_scopes",
            "connections[0].scopes[2]: must be within allowed_scopes",
            "connections[1].linked: must be true or false",
            "connections[2].id: is already the id of connections[1]",
            "default_connection: must be the id of a connection",
        ]
    );
    assert_eq!(faults.one_line().matches("; ").count(), 8);
    let twice = EXAMPLE.replacen("\"linked\": true", "\"linked\": true, \"linked\": false", 1);
    assert_eq!(parse_directory(&twice, false).unwrap_err().one_line(), "connections[0].linked: is given twice");
}

#[test]
fn s75_plain_http_is_for_loopback_in_staging_or_development() {
    let production = ("/environment", json!("production"));
    let local = ("/public_url", json!("https://api.example.com"));
    let uris = ("/redirect_uris", json!([]));
    for (host, loopback) in
        [("127.0.0.1:9000", true), ("localhost:9000", true), ("[::1]", true), ("10.0.0.1", false), ("localhost.example.com", false)]
    {
        let issuer = ("/connections/0/issuer", json!(format!("http://{host}")));
        assert_eq!(faults(std::slice::from_ref(&issuer)).is_empty(), loopback, "{host}");
        let strict = example_with(&[production.clone(), local.clone(), uris.clone(), issuer]);
        assert_eq!(parse_directory(&strict, false).unwrap_err().one_line(), "connections[0].issuer: must be an https URL");
        assert_eq!(parse_directory(&strict, true).is_ok(), loopback, "{host}");
    }
    assert_eq!(faults(&[production, uris]), "public_url: must be an https URL");
}

#[test]
fn s75_hostile_endpoints_are_refused() {
    for hostile in [
        "https://signin.example.com\\@evil.example/",
        " https://signin.example.com/",
        "https://signin.example.com/\t",
        "https:signin.example.com",
        "https:///signin.example.com",
        "https://",
        "//signin.example.com",
        "file:///etc/passwd",
        "gopher://signin.example.com/",
        "data:text/plain,x",
        "https://a@b@signin.example.com/",
        "https://signin.example.com:99999/",
        "https://[::1",
        "https://exa mple.com/",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/",
        "http://[::ffff:127.0.0.1]/",
    ] {
        assert!(!faults(&[("/connections/0/issuer", json!(hostile))]).is_empty(), "{hostile}");
        assert!(!faults(&[("/connections/2/token_endpoint", json!(hostile))]).is_empty(), "{hostile}");
    }
}

#[test]
fn one_client_id_in_two_organizations_is_refused() {
    let mut first: Value = serde_json::from_str::<Value>(EXAMPLE).unwrap()["connections"][0].clone();
    first["organization_id"] = json!("org_a");
    let mut second = first.clone();
    (second["id"], second["organization_id"]) = (json!("conn_second"), json!("org_b"));
    let refused = "connections[3].client_id: one client id in two organizations, here and at connections[0]";
    let with = |second: &Value| faults(&[("/connections/0", first.clone()), ("/connections/-", second.clone())]);
    assert_eq!(with(&second), refused);
    second["issuer"] = json!("https://signin.example.com");
    assert_eq!(with(&second), refused, "a slash at the end makes no other provider");
    second["client_id"] = json!("other");
    assert_eq!(with(&second), "");
    (second["client_id"], second["organization_id"]) = (json!("mandate"), json!("org_a"));
    assert_eq!(with(&second), "", "one organization may have several connections");
    (second["issuer"], second["organization_id"]) = (json!("https://other.example.com/"), json!("org_b"));
    assert_eq!(with(&second), "");
}

#[tokio::test]
async fn the_adapter_tells_a_starting_function_what_is_wrong() {
    let vault = Vault::holding(&example_with(&[("/environment", json!(7))]));
    let pushing = PushingClients::MayProveThemselves;
    let directories = SecretDirectories::new(vault.source(&HandClock::new()), "directory".to_owned(), false, pushing);
    let error = directories.directory().await.unwrap_err();
    assert_eq!(error.to_string(), "failed to read the directory");
    assert_eq!(error.source.to_string(), "environment: must be one of production, staging");
    vault.put(EXAMPLE);
    assert_eq!(directories.directory().await.unwrap().connections.len(), 3);
}

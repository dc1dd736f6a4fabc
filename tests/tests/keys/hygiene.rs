//! What a secret cannot do (security requirement 71). That it is wiped is shown beside the cipher, by a search of the memory.

use std::fmt::{Debug, Display};

use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::aead::MasterKey;
use shared::client_key::ClientKey;
use shared::domain::flow::{Completion, FlowSecrets};
use shared::domain::secret::Secret;
use shared::ports::cipher::Salt;
use shared::ports::configuration::{ClientCredential, StaticApiKey};
use shared::ports::provider::TokenAnswer;
use shared::secrets::{KeyRing, StateKeys};
use shared::usecases::hand_out::Token;

/// Does not compile if one of the types has one of the traits: which implementation is meant would then be ambiguous.
macro_rules! lack {
    ($traits:tt: $($secret:ty),+ $(,)?) => { $( lack!(@each $secret, $traits); )+ };
    (@each $secret:ty, [$($lacking:path),+]) => { $(
        const _: fn() = || {
            trait Lacks<Marker> { fn it() {} }
            impl<T: ?Sized> Lacks<()> for T {}
            struct Has;
            impl<T: ?Sized + $lacking> Lacks<Has> for T {}
            let _ = <$secret as Lacks<_>>::it;
        };
    )+ };
}

// Nobody prints, compares, stores or reads a secret by accident.
lack!([Display, Serialize, DeserializeOwned, PartialEq, PartialOrd, std::hash::Hash, Default]:
    Secret, MasterKey, KeyRing, StateKeys, ClientKey, ClientCredential, StaticApiKey, FlowSecrets, Completion, TokenAnswer, Token);
// A key is not even printed as redacted, for nobody has any business with it.
lack!([Debug]: MasterKey, KeyRing, StateKeys);
// What works once, or belongs to one request, has no second copy: a verifier, a code, a salt. Keys are shared, never copied.
lack!([Clone]: MasterKey, KeyRing, StateKeys, ClientKey, FlowSecrets, Completion, Salt, TokenAnswer, Token);
// No text can be taken from a secret without saying so.
lack!([AsRef<str>, std::ops::Deref, Into<String>, std::borrow::Borrow<str>]: Secret);

#[test]
fn s71_what_holds_a_secret_prints_it_as_redacted() {
    let secret = || Secret::new("hunter2".to_owned());
    let now = time::OffsetDateTime::UNIX_EPOCH;
    let printed = [
        format!("{:?}", secret()),
        format!("{:#?}", FlowSecrets { code_verifier: secret(), nonce: secret() }),
        format!("{:?}", ClientCredential::Secret(secret())),
        format!("{:?}", StaticApiKey::Hmac(zeroize::Zeroizing::new(b"hunter2".to_vec()))),
        format!(
            "{:?}",
            TokenAnswer { access_token: secret(), refresh_token: Some(secret()), expires_in: None, scopes: None, requested_at: now }
        ),
        format!("{:?}", Some(Err::<(), _>(secret()))),
    ];
    for text in printed {
        assert!(text.contains("[redacted]") && !text.contains("hunter2") && !text.contains("104, 117"), "{text}");
    }
}

#[test]
fn s74_no_core_dump_no_temporary_file_and_no_secret_in_the_environment() {
    // What a function is told by its environment are names: of the table, of a key, of secrets, of a queue, of a bus and of metrics.
    let template = include_str!("../../../template.yaml");
    let named: std::collections::BTreeSet<&str> = template
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .filter(|(name, _)| name.starts_with("MANDATE_"))
        .map(|(_, v)| v)
        .collect();
    let references =
        ["!Ref Table", "!GetAtt Key.Arn", "!Ref DirectorySecret", "!Ref ClientSecretsSecret", "!Ref StateKeysSecret", "!Ref RescueQueue"];
    for value in named {
        let conditional = [
            "!If [PushesAuthorizationRequests, !Ref ClientSecretsSecret, !Ref AWS::NoValue]",
            "!If [Announces, !Ref EventBus, !Ref AWS::NoValue]",
            "!Sub Mandate/${AWS::StackName}",
        ]
        .contains(&value);
        assert!(conditional || references.contains(&value), "{value}");
    }
    assert!(!template.contains("EphemeralStorage") && !template.contains("FileSystemConfigs") && !template.contains("ulimit"));
    assert!(sources("shared/src").count() > 100);
    // Lambda's sandbox has a core limit of zero that no function may raise; what ships holds no code that could, or that writes files.
    for source in sources("shared/src").chain(sources("functions")).filter(|(name, _)| !name.contains("/tests/")) {
        for forbidden in ["setrlimit", "RLIMIT_CORE", "File::create", "OpenOptions", "fs::write", "temp_dir", "\"/tmp", "env::set_var"] {
            assert!(!source.1.contains(forbidden), "{forbidden} in {}", source.0);
        }
    }
}

#[test]
fn s73_only_vetted_cryptography_and_no_unsafe_code_of_ours() {
    let manifest = include_str!("../../../Cargo.toml");
    assert!(manifest.contains("unsafe_code = \"forbid\""));
    for (name, source) in sources("shared").chain(sources("functions")).chain(sources("local")).chain(sources("tests")) {
        // Taken apart, so that this file does not find itself.
        assert!(!source.contains(concat!("un", "safe {")) && !source.contains(concat!("allow(un", "safe_code")), "{name}");
    }
    for crate_manifest in ["shared", "local", "tests", "functions/token", "functions/callback", "functions/refresh"] {
        let text = std::fs::read_to_string(root().join(crate_manifest).join("Cargo.toml")).unwrap();
        assert!(text.contains("[lints]\nworkspace = true"), "{crate_manifest}");
    }
    // One library computes: aws-lc. Whatever else could is no dependency of what ships.
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--package"])
        .args(["token", "--package", "callback", "--package", "refresh", "--package", "create-url", "--package", "list"])
        .args(["--package", "assign", "--package", "revoke"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let crates: std::collections::BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(crates.contains("aws-lc-rs") && crates.contains("rustls"));
    for other in [
        "openssl",
        "openssl-sys",
        "native-tls",
        "ring",
        "aes",
        "aes-gcm",
        "chacha20poly1305",
        "rsa",
        "p256",
        "ed25519-dalek",
        "hkdf",
        "md5",
    ] {
        assert!(!crates.contains(other), "{other} computes beside aws-lc");
    }
}

#[test]
fn s72_no_secret_is_compared_but_in_constant_time() {
    // A `Secret` has no `==`, which does not compile above; what is taken out of one is not compared by `==` either.
    let mut comparisons = Vec::new();
    for (name, source) in sources("shared/src").chain(sources("functions")) {
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|_| !name.contains("/tests")) {
            let exposed_and_compared = line.contains("expose()") && (line.contains("==") || line.contains("!="));
            assert!(!exposed_and_compared, "{name}: {line}");
            if line.contains(".ct_eq(") {
                comparisons.push(name.rsplit("shared/src/").next().unwrap().to_owned());
            }
        }
    }
    comparisons.sort();
    // The nonce and at_hash of an id_token, and the caller's verifier. States, codes, cursors and tokens carry AEAD tags, which aws-lc
    // compares in constant time; an HMAC of a bearer token is verified by aws-lc, too.
    assert_eq!(comparisons, ["domain/pkce.rs", "oauth/id_token.rs"]);
}

#[test]
fn s94_dependencies_are_locked_judged_and_listed() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let packages: Vec<&str> = lock.split("[[package]]").skip(1).collect();
    assert!(packages.len() > 100);
    for package in packages {
        // From the registry with a checksum, or of our own: nothing from a git repository.
        let registry = package.contains("source = \"registry+https://github.com/rust-lang/crates.io-index\"");
        assert!(!package.contains("source = ") || (registry && package.contains("checksum = ")), "{package}");
        if package.contains("name = \"jsonwebtoken\"") {
            let version = package.split("version = \"").nth(1).unwrap().split('"').next().unwrap();
            let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap());
            assert!((parts.next(), parts.next()) >= (Some(10), Some(3)), "CVE-2026-25537 is in {version}");
        }
    }
    let deny = include_str!("../../../deny.toml");
    for part in ["[advisories]", "[licenses]", "unknown-git = \"deny\"", "unknown-registry = \"deny\"", "yanked = \"deny\""] {
        assert!(deny.contains(part), "{part}");
    }
    let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    for step in ["cargo-deny", "sbom"] {
        assert!(ci.contains(step), "{step}");
    }
}

fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every Rust file below a folder, without tests that stand in files of their own.
fn sources(folder: &str) -> impl Iterator<Item = (String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() && path.file_name().unwrap() != "target" && path.file_name().unwrap() != "node_modules" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.to_string_lossy().contains("tests/keys/hygiene.rs")
            {
                found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.into_iter()
}

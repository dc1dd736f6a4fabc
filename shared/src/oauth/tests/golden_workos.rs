//! Golden authorization URLs: what WorkOS's own SDKs put into the query for an input, and what we put there for the same.
//!
//! A row names the test or page that it was learned from. Client, redirect URI, state and PKCE are the same in every row, so that a
//! row shows what is its own; the rest is [`COMMON`], under the names that the PKCE rows of the SDKs use. Pairs are compared as
//! pairs: SDKs order them alphabetically or as they come, and write a space as `+`. Our own order is fixed, and asserted apart.
//!
//! The SDKs disagree in one thing, several `provider_scopes`. workos-node, the older helper of workos-ruby and the newer one of
//! workos-kotlin repeat the name, a helper of workos-dotnet joins with spaces; workos-go, workos-php, workos-rust, the earlier builder
//! of workos-kotlin, and workos-ruby for its SSO, join with commas. The API's description has them as `style: form, explode: false`,
//! which is commas, and its makers say the same (workos-go, pull request 431). Commas it is; for one scope all agree.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use url::Url;

use super::world::{HandClock, Listed, NONCE, Sevens, connection, http};
use crate::domain::connection::{Connection, Kind, WorkOsSelector};
use crate::domain::flow::FlowSecrets;
use crate::domain::scopes::Scopes;
use crate::domain::secret::Secret;
use crate::oauth::Provider;
use crate::ports::provider::{AuthorizationRequest, AuthorizationUrls as _, Hints};

/// RFC 7636 appendix B.
const OCTETS: [u8; 32] = [
    116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77, 105, 214, 191, 240, 91, 88, 5, 88, 83,
    132, 141, 121,
];
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// What every row has. A space in the state is what workos-node and workos-go test with.
const COMMON: [(&str, &str); 6] = [
    ("response_type", "code"),
    ("client_id", "client_123"),
    ("redirect_uri", "https://example.com/callback?a=1&b=2"),
    ("state", "custom state"),
    ("code_challenge", CHALLENGE),
    ("code_challenge_method", "S256"),
];

/// What WorkOS is asked to select.
#[derive(Debug, Clone, Copy)]
enum Select {
    Provider(&'static str),
    Connection(&'static str),
    Organization(&'static str),
}
use Select::{Connection as ByConnection, Organization as ByOrganization, Provider as ByProvider};

/// What a caller adds.
#[derive(Debug, Clone, Copy, Default)]
struct Given {
    scopes: &'static str,
    login_hint: Option<&'static str>,
    domain_hint: Option<&'static str>,
    prompt: Option<&'static str>,
    max_age: Option<u64>,
    screen_hint: Option<&'static str>,
    query_params: &'static [(&'static str, &'static str)],
}

const NOTHING: Given =
    Given { scopes: "", login_hint: None, domain_hint: None, prompt: None, max_age: None, screen_hint: None, query_params: &[] };

struct Row {
    learned_from: &'static str,
    select: Select,
    given: Given,
    /// Beside [`COMMON`].
    pairs: &'static [(&'static str, &'static str)],
}

const GOLDEN: &[Row] = &[
    // --- selectors
    Row {
        learned_from: "workos-node, user-management.spec.ts: with a provider",
        select: ByProvider("GoogleOAuth"),
        given: NOTHING,
        pairs: &[("provider", "GoogleOAuth")],
    },
    Row {
        learned_from: "workos-node, user-management.spec.ts: with a connectionId",
        select: ByConnection("connection_123"),
        given: NOTHING,
        pairs: &[("connection_id", "connection_123")],
    },
    Row {
        learned_from: "workos-node, user-management.spec.ts: with an organizationId",
        select: ByOrganization("organization_123"),
        given: NOTHING,
        pairs: &[("organization_id", "organization_123")],
    },
    Row {
        learned_from: "workos-node, user-management.spec.ts: with a code_challenge and code_challenge_method",
        select: ByProvider("authkit"),
        given: NOTHING,
        pairs: &[("provider", "authkit")],
    },
    Row {
        learned_from: "workos-php, UserManagementTest.php: testAuthorizationURLExpectedParams, AppleOAuth",
        select: ByProvider("AppleOAuth"),
        given: NOTHING,
        pairs: &[("provider", "AppleOAuth")],
    },
    Row {
        learned_from: "workos-php, UserManagementTest.php: testAuthorizationURLExpectedParams, GitHubOAuth",
        select: ByProvider("GitHubOAuth"),
        given: NOTHING,
        pairs: &[("provider", "GitHubOAuth")],
    },
    Row {
        learned_from: "workos-php, UserManagementTest.php: testAuthorizationURLExpectedParams, MicrosoftOAuth",
        select: ByProvider("MicrosoftOAuth"),
        given: NOTHING,
        pairs: &[("provider", "MicrosoftOAuth")],
    },
    Row {
        learned_from: "workos-python, test_inline_helpers.py: get_authorization_url_with_pkce, with_organization_id",
        select: ByOrganization("org_01"),
        given: NOTHING,
        pairs: &[("organization_id", "org_01")],
    },
    Row {
        learned_from: "workos-kotlin, AuthKitAuthUrlsTest.kt: a properly-encoded URL with required params",
        select: ByProvider("authkit"),
        given: NOTHING,
        pairs: &[("provider", "authkit")],
    },
    // --- hints
    Row {
        learned_from: "workos-ruby, user_management_spec.rb: with a domain hint",
        select: ByConnection("connection_123"),
        given: Given { domain_hint: Some("foo.com"), ..NOTHING },
        pairs: &[("connection_id", "connection_123"), ("domain_hint", "foo.com")],
    },
    Row {
        learned_from: "workos-ruby, user_management_spec.rb: with a login hint",
        select: ByConnection("connection_123"),
        given: Given { login_hint: Some("foo@workos.com"), ..NOTHING },
        pairs: &[("connection_id", "connection_123"), ("login_hint", "foo@workos.com")],
    },
    Row {
        learned_from: "workos-node, user-management.spec.ts: with a screenHint",
        select: ByProvider("authkit"),
        given: Given { screen_hint: Some("sign-up"), ..NOTHING },
        pairs: &[("provider", "authkit"), ("screen_hint", "sign-up")],
    },
    Row {
        // There with all three selectors at once, of which the API wants one.
        learned_from: "workos-go, authkit_helpers_test.go: TestGetAuthKitAuthorizationURL_AllOptionalParams",
        select: ByProvider("authkit"),
        given: Given { login_hint: Some("user@example.com"), domain_hint: Some("example.com"), screen_hint: Some("sign-up"), ..NOTHING },
        pairs: &[("provider", "authkit"), ("login_hint", "user@example.com"), ("domain_hint", "example.com"), ("screen_hint", "sign-up")],
    },
    Row {
        learned_from: "openapi-spec, /user_management/authorize: prompt, and screen_hint's other value",
        select: ByProvider("authkit"),
        given: Given { prompt: Some("login"), screen_hint: Some("sign-in"), ..NOTHING },
        pairs: &[("provider", "authkit"), ("prompt", "login"), ("screen_hint", "sign-in")],
    },
    Row {
        learned_from: "openapi-spec, /user_management/authorize: max_age, which forces a new sign-in when it is 0",
        select: ByProvider("authkit"),
        given: Given { max_age: Some(0), ..NOTHING },
        pairs: &[("provider", "authkit"), ("max_age", "0")],
    },
    Row {
        learned_from: "openapi-spec, /user_management/authorize: max_age",
        select: ByOrganization("org_01EHQMYV6MBK39QC5PZXHY59C3"),
        given: Given { max_age: Some(3600), prompt: Some("login"), ..NOTHING },
        pairs: &[("organization_id", "org_01EHQMYV6MBK39QC5PZXHY59C3"), ("max_age", "3600"), ("prompt", "login")],
    },
    // --- scopes
    Row {
        learned_from: "every SDK: one scope is written in one way",
        select: ByProvider("GoogleOAuth"),
        given: Given { scopes: "https://www.googleapis.com/auth/calendar", ..NOTHING },
        pairs: &[("provider", "GoogleOAuth"), ("provider_scopes", "https://www.googleapis.com/auth/calendar")],
    },
    Row {
        learned_from: "workos-php, UserManagementTest.php: testAuthorizationURLExpectedParams, connection_123 with scopes",
        select: ByConnection("connection_123"),
        given: Given { scopes: "read write", ..NOTHING },
        pairs: &[("connection_id", "connection_123"), ("provider_scopes", "read,write")],
    },
    Row {
        learned_from: "workos-php, UserManagementTest.php: testAuthorizationURLExpectedParams, GoogleOAuth with scopes",
        select: ByProvider("GoogleOAuth"),
        given: Given { scopes: "email profile", ..NOTHING },
        pairs: &[("provider", "GoogleOAuth"), ("provider_scopes", "email,profile")],
    },
    Row {
        // Without `nonce`: there is no `id_token` that could hold it. The scopes are a set with us, in their own order.
        learned_from: "workos-rust, query encoding: user_management_provider_params_cannot_inject_authorization_params, the scopes",
        select: ByProvider("GoogleOAuth"),
        given: Given { scopes: "openid email", ..NOTHING },
        pairs: &[("provider", "GoogleOAuth"), ("provider_scopes", "email,openid")],
    },
    // --- what is passed on to the provider behind
    Row {
        learned_from: "workos-node, user-management.spec.ts: with providerQueryParams",
        select: ByProvider("GoogleOAuth"),
        given: Given { query_params: &[("foo", "bar"), ("baz", "123"), ("bool", "true")], ..NOTHING },
        pairs: &[
            ("provider", "GoogleOAuth"),
            ("provider_query_params[baz]", "123"),
            ("provider_query_params[bool]", "true"),
            ("provider_query_params[foo]", "bar"),
        ],
    },
    Row {
        learned_from: "openapi-spec, /user_management/authorize: provider_query_params",
        select: ByConnection("conn_01EHQMYV6MBK39QC5PZXHY59C3"),
        given: Given { query_params: &[("hd", "example.com"), ("access_type", "offline")], ..NOTHING },
        pairs: &[
            ("connection_id", "conn_01EHQMYV6MBK39QC5PZXHY59C3"),
            ("provider_query_params[access_type]", "offline"),
            ("provider_query_params[hd]", "example.com"),
        ],
    },
    Row {
        learned_from: "workos-rust, query encoding: user_management_provider_params_cannot_inject_authorization_params",
        select: ByProvider("GoogleOAuth"),
        given: Given {
            query_params: &[
                ("redirect_uri", "https://attacker.example/callback"),
                ("client_id", "attacker-client"),
                ("response_type", "token"),
                ("state", "attacker-state"),
                ("prompt", "select_account"),
                ("custom&key=+#[]é", "value&state=injected +#[]é"),
            ],
            ..NOTHING
        },
        pairs: &[
            ("provider", "GoogleOAuth"),
            ("provider_query_params[redirect_uri]", "https://attacker.example/callback"),
            ("provider_query_params[client_id]", "attacker-client"),
            ("provider_query_params[response_type]", "token"),
            ("provider_query_params[state]", "attacker-state"),
            ("provider_query_params[prompt]", "select_account"),
            ("provider_query_params[custom&key=+#[]é]", "value&state=injected +#[]é"),
        ],
    },
    // --- all at once
    Row {
        learned_from: "the rows above together",
        select: ByProvider("authkit"),
        given: Given {
            scopes: "read write",
            login_hint: Some("a+b@example.com"),
            domain_hint: Some("example.com"),
            prompt: Some("login"),
            max_age: Some(60),
            screen_hint: Some("sign-in"),
            query_params: &[("hd", "example.com")],
        },
        pairs: &[
            ("provider", "authkit"),
            ("provider_scopes", "read,write"),
            ("login_hint", "a+b@example.com"),
            ("domain_hint", "example.com"),
            ("prompt", "login"),
            ("max_age", "60"),
            ("screen_hint", "sign-in"),
            ("provider_query_params[hd]", "example.com"),
        ],
    },
];

fn provider() -> Provider {
    Provider::new(http(), HandClock::new(), Arc::new(Sevens), Arc::new(Listed(Vec::new())))
}

fn workos(base: &str, select: Select) -> Connection {
    let selector = match select {
        ByProvider(name) => WorkOsSelector::Provider(name.to_owned()),
        ByConnection(id) => WorkOsSelector::Connection(id.to_owned()),
        ByOrganization(id) => WorkOsSelector::Organization(id.to_owned()),
    };
    Connection { client_id: "client_123".to_owned(), ..connection(Kind::WorkOs { base_url: Url::parse(base).unwrap(), selector }) }
}

async fn url(provider: &Provider, connection: &Connection, given: Given) -> Url {
    let redirect_uri = Url::parse("https://example.com/callback?a=1&b=2").unwrap();
    let secrets = FlowSecrets { code_verifier: Secret::new(VERIFIER.to_owned()), nonce: Secret::new(NONCE.to_owned()) };
    let hints = Hints {
        login_hint: given.login_hint.map(str::to_owned),
        domain_hint: given.domain_hint.map(str::to_owned),
        prompt: given.prompt.map(str::to_owned),
        max_age: given.max_age,
        screen_hint: given.screen_hint.map(str::to_owned),
        query_params: given.query_params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    let scopes = Scopes::parse(given.scopes).unwrap();
    let asked =
        AuthorizationRequest { redirect_uri: &redirect_uri, state: "custom state", secrets: &secrets, scopes: &scopes, hints: &hints };
    provider.authorization_url(connection, &asked).await.unwrap().url
}

fn pairs(url: &Url) -> Vec<(String, String)> {
    url.query_pairs().into_owned().collect()
}

/// As pairs, in no order; each as often as it is there.
fn sorted<N: Into<String>>(pairs: impl IntoIterator<Item = (N, N)>) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    all.sort();
    all
}

#[tokio::test]
async fn our_pairs_are_those_of_the_sdks_for_every_selector_hint_scope_and_challenge() {
    for Row { learned_from, select, given, pairs: own } in GOLDEN {
        let made = url(&provider(), &workos("https://api.workos.com", *select), *given).await;
        assert_eq!(&made[..url::Position::AfterPath], "https://api.workos.com/user_management/authorize");
        assert_eq!(sorted(pairs(&made)), sorted(COMMON.iter().chain(*own).copied()), "{learned_from}");
    }
}

#[tokio::test]
async fn any_combination_is_the_sum_of_its_parts() {
    let hints: [(Given, &[(&str, &str)]); 6] = [
        (Given { login_hint: Some("u@example.com"), ..NOTHING }, &[("login_hint", "u@example.com")]),
        (Given { domain_hint: Some("example.com"), ..NOTHING }, &[("domain_hint", "example.com")]),
        (Given { prompt: Some("login"), ..NOTHING }, &[("prompt", "login")]),
        (Given { max_age: Some(0), ..NOTHING }, &[("max_age", "0")]),
        (Given { query_params: &[("hd", "example.com")], ..NOTHING }, &[("provider_query_params[hd]", "example.com")]),
        (Given { screen_hint: Some("sign-up"), ..NOTHING }, &[("screen_hint", "sign-up")]),
    ];
    let selections: [(Select, (&str, &str)); 4] = [
        (ByProvider("authkit"), ("provider", "authkit")),
        (ByProvider("GoogleOAuth"), ("provider", "GoogleOAuth")),
        (ByConnection("conn_1"), ("connection_id", "conn_1")),
        (ByOrganization("org_1"), ("organization_id", "org_1")),
    ];
    let scopes: [(&str, &[(&str, &str)]); 3] =
        [("", &[]), ("read", &[("provider_scopes", "read")]), ("write read openid", &[("provider_scopes", "openid,read,write")])];
    let (provider, mut made) = (provider(), 0);
    for (select, selected) in selections {
        let connection = workos("https://api.workos.com", select);
        for (scopes, scoped) in scopes {
            for chosen in 0..1_u32 << hints.len() {
                let mut given = Given { scopes, ..NOTHING };
                let mut expected: Vec<(&str, &str)> = COMMON.to_vec();
                expected.push(selected);
                expected.extend(scoped);
                for (_, (hint, adds)) in hints.iter().enumerate().filter(|(at, _)| chosen & (1 << at) != 0) {
                    given.login_hint = given.login_hint.or(hint.login_hint);
                    given.domain_hint = given.domain_hint.or(hint.domain_hint);
                    given.prompt = given.prompt.or(hint.prompt);
                    given.max_age = given.max_age.or(hint.max_age);
                    given.screen_hint = given.screen_hint.or(hint.screen_hint);
                    given.query_params = if hint.query_params.is_empty() { given.query_params } else { hint.query_params };
                    expected.extend(*adds);
                }
                assert_eq!(sorted(pairs(&url(&provider, &connection, given).await)), sorted(expected), "{select:?} {given:?}");
                made += 1;
            }
        }
    }
    assert_eq!(made, 4 * 3 * 64);
}

#[tokio::test]
async fn the_order_is_fixed_and_every_value_percent_encoded() {
    let given = Given {
        scopes: "write read",
        login_hint: Some("a+b@example.com"),
        domain_hint: Some("example.com"),
        prompt: Some("login"),
        max_age: Some(60),
        screen_hint: Some("sign-in"),
        query_params: &[("hd", "x y"), ("access_type", "offline")],
    };
    let made = url(&provider(), &workos("https://api.workos.com", ByProvider("authkit")), given).await;
    assert_eq!(
        made.as_str(),
        "https://api.workos.com/user_management/authorize?response_type=code&client_id=client_123\
         &redirect_uri=https%3A%2F%2Fexample.com%2Fcallback%3Fa%3D1%26b%3D2&state=custom%20state\
         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256&provider=authkit&provider_scopes=read%2Cwrite\
         &login_hint=a%2Bb%40example.com&domain_hint=example.com&prompt=login&max_age=60&screen_hint=sign-in\
         &provider_query_params%5Baccess_type%5D=offline&provider_query_params%5Bhd%5D=x%20y"
    );
}

/// workos-node: with a custom api hostname; and its documented custom authentication domains, with whatever path leads there.
#[tokio::test]
async fn another_base_url_is_where_the_url_leads() {
    for (base, expected) in [
        ("https://api.workos.dev", "https://api.workos.dev/user_management/authorize"),
        ("https://auth.example.com/", "https://auth.example.com/user_management/authorize"),
        ("https://proxy.example.com/workos/", "https://proxy.example.com/workos/user_management/authorize"),
    ] {
        let made = url(&provider(), &workos(base, ByOrganization("organization_123")), NOTHING).await;
        assert_eq!(&made[..url::Position::AfterPath], expected);
    }
}

/// RFC 7636 appendix B, from the octets to the challenge in the URL. For every kind of connection it is the same code.
#[tokio::test]
async fn s05_the_challenge_is_that_of_rfc_7636_appendix_b() {
    assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(OCTETS), VERIFIER);
    let made = url(&provider(), &workos("https://api.workos.com", ByProvider("authkit")), NOTHING).await;
    let told = |name: &str| pairs(&made).into_iter().find(|(n, _)| n == name).map(|(_, value)| value);
    assert_eq!(told("code_challenge").as_deref(), Some(CHALLENGE));
    assert_eq!(told("code_challenge_method").as_deref(), Some("S256"));
    assert!(!made.as_str().contains(VERIFIER));
    let hash = [
        19, 211, 30, 150, 26, 26, 216, 236, 47, 22, 177, 12, 76, 152, 46, 8, 118, 168, 120, 173, 109, 241, 68, 86, 110, 225, 137, 74, 203,
        112, 249, 195,
    ];
    assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(hash), CHALLENGE);
}

//! The modules of the FAPI 2.0 Security Profile (final), in the order of the suite's plan.

use serde_json::{Value, json};
use shared::http::views::parse_timestamp;
use tests::conformance::{Alg, Provider, Signature, without};
use time::Duration;

use crate::module::{At, Module, Play, Tell, nothing_further};

const PLAN: &str = "security profile";
const DPOP: &str = "not applicable: DPoP is not offered; access tokens are Bearer (security item 39)";
const GRANTS: &str = "not applicable: Grant Management is not offered";

/// What the suite runs for a client that signs assertions, without `DPoP`, in the plain profile with OpenID Connect.
pub(crate) const PLAIN: &[Module] = &[
    Module {
        name: "fapi2-security-profile-final-client-test-happy-path",
        plan: PLAN,
        requires: "Pushes its request, proves itself by assertions, checks iss, redeems the code with PKCE.",
        proves: &[5, 15, 28, 37],
        play: Play::Accepted(
            &[Tell {
                what: "mTLS aliases that lead nowhere, for clients of mTLS",
                script: |s| s.metadata = |m| m["mtls_endpoint_aliases"] = json!({ "token_endpoint": "http://127.0.0.1:9/token" }),
            }],
            pushed_each_time,
        ),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-discovery-issuer-mismatch",
        plan: PLAN,
        requires: "Stops if the metadata is of another issuer than the one that was asked.",
        proves: &[54],
        play: Play::Refused(
            At::Metadata,
            &[Tell { what: "another issuer", script: |s| s.metadata = |m| m["issuer"] = json!("https://evil.example") }],
        ),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-invalid-iss",
        plan: PLAN,
        requires: "Refuses an id_token of another issuer.",
        proves: &[45],
        play: Play::Refused(
            At::IdToken,
            &[Tell { what: "another iss", script: |s| s.claims = |c| c["iss"] = json!("https://evil.example") }],
        ),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-invalid-aud",
        plan: PLAN,
        requires: "Refuses an id_token for another client.",
        proves: &[45],
        play: Play::Refused(At::IdToken, &[Tell { what: "another aud", script: |s| s.claims = |c| c["aud"] = json!("another client") }]),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-invalid-secondary-aud",
        plan: PLAN,
        requires: "Refuses an id_token that is also for a client it does not trust, or at least where no azp says whose it is.",
        proves: &[45],
        play: Play::Refused(
            At::IdToken,
            &[
                Tell {
                    what: "the client and another, no azp",
                    script: |s| s.claims = |c| c["aud"] = json!(["conformance client", "conformance client1"]),
                },
                Tell {
                    what: "the same, and azp is the other",
                    script: |s| {
                        s.claims = |c| {
                            c["aud"] = json!(["conformance client", "conformance client1"]);
                            c["azp"] = json!("conformance client1");
                        };
                    },
                },
            ],
        ),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-invalid-null-alg",
        plan: PLAN,
        requires: "Refuses an unsigned id_token.",
        proves: &[43],
        play: Play::Refused(At::IdToken, &[Tell { what: "alg none, no signature", script: |s| s.signature = Signature::None }]),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-invalid-alternate-alg",
        plan: PLAN,
        requires: "Refuses RS256 where PS256, ES256 or EdDSA are expected.",
        proves: &[43],
        play: Play::Refused(
            At::IdToken,
            &[
                Tell {
                    what: "RS256 by a published key that is for no algorithm, as in the suite",
                    script: |s| {
                        s.signature = Signature::Good(Alg::Rs256);
                        s.keys = |k| vec![k.ec.public(), with_alg(k.rsa.public(), "none")];
                    },
                },
                Tell {
                    what: "RS256 by a published key for PS256",
                    script: |s| {
                        s.signature = Signature::Good(Alg::Rs256);
                        s.keys = |k| vec![k.ec.public(), with_alg(k.rsa.public(), "PS256")];
                    },
                },
                Tell {
                    what: "RS256 by a published key for anything, where the issuer announces PS256 and ES256",
                    script: |s| {
                        s.signature = Signature::Good(Alg::Rs256);
                        s.keys = |k| vec![k.ec.public(), k.rsa.public()];
                        s.metadata = |m| m["id_token_signing_alg_values_supported"] = json!(["PS256", "ES256"]);
                    },
                },
            ],
        ),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-invalid-expired-exp",
        plan: PLAN,
        requires: "Refuses an id_token that has expired.",
        proves: &[45],
        play: Play::Refused(
            At::IdToken,
            &[Tell { what: "expired five minutes ago", script: |s| s.claims = |c| c["exp"] = json!(c["iat"].as_i64().unwrap() - 300) }],
        ),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-invalid-missing-exp",
        plan: PLAN,
        requires: "Refuses an id_token without exp.",
        proves: &[45],
        play: Play::Refused(At::IdToken, &[Tell { what: "no exp", script: |s| s.claims = |c| without(c, "exp") }]),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-invalid-missing-aud",
        plan: PLAN,
        requires: "Refuses an id_token without aud.",
        proves: &[45],
        play: Play::Refused(At::IdToken, &[Tell { what: "no aud", script: |s| s.claims = |c| without(c, "aud") }]),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-invalid-missing-iss",
        plan: PLAN,
        requires: "Refuses an id_token without iss.",
        proves: &[45],
        play: Play::Refused(At::IdToken, &[Tell { what: "no iss", script: |s| s.claims = |c| without(c, "iss") }]),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-valid-aud-as-array",
        plan: PLAN,
        requires: "Accepts its own id as the only one in an array.",
        proves: &[45],
        play: Play::Accepted(
            &[Tell { what: "an array of one aud", script: |s| s.claims = |c| c["aud"] = json!(["conformance client"]) }],
            nothing_further,
        ),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-invalid-nonce",
        plan: PLAN,
        requires: "Refuses an id_token whose nonce is not the one that it sent.",
        proves: &[47],
        play: Play::Refused(At::IdToken, &[Tell { what: "another nonce", script: |s| s.claims = |c| c["nonce"] = json!("another") }]),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-invalid-missing-nonce",
        plan: PLAN,
        requires: "Refuses an id_token without the nonce that it sent.",
        proves: &[47],
        play: Play::Refused(At::IdToken, &[Tell { what: "no nonce", script: |s| s.claims = |c| without(c, "nonce") }]),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-invalid-authorization-response-iss",
        plan: PLAN,
        requires: "Refuses an authorization response of another issuer.",
        proves: &[28],
        play: Play::Refused(
            At::Response,
            &[
                Tell { what: "another iss", script: |s| s.response = |r| r["iss"] = json!("https://evil.example") },
                Tell { what: "a slash more", script: |s| s.response = |r| r["iss"] = json!(format!("{}/", r["iss"].as_str().unwrap())) },
            ],
        ),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-remove-authorization-response-iss",
        plan: PLAN,
        requires: "Refuses an authorization response without the iss that the provider announces.",
        proves: &[28],
        play: Play::Refused(At::Response, &[Tell { what: "no iss", script: |s| s.response = |r| without(r, "iss") }]),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-ensure-authorization-response-with-invalid-state-fails",
        plan: PLAN,
        requires: "Refuses an authorization response whose state is not the one that it sent.",
        proves: &[3],
        play: Play::Refused(
            At::Response,
            &[
                Tell { what: "another state", script: |s| s.response = |r| r["state"] = json!("another") },
                Tell {
                    what: "something behind the state",
                    script: |s| s.response = |r| r["state"] = json!(format!("{}1", r["state"].as_str().unwrap())),
                },
            ],
        ),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-ensure-authorization-response-with-invalid-missing-state-fails",
        plan: PLAN,
        requires: "Refuses an authorization response without the state that it sent.",
        proves: &[3],
        play: Play::Refused(At::Response, &[Tell { what: "no state", script: |s| s.response = |r| without(r, "state") }]),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-token-endpoint-response-without-expires_in",
        plan: PLAN,
        requires: "Accepts a token answer that does not say how long the token lives.",
        proves: &[40],
        play: Play::Accepted(&[Tell { what: "no expires_in", script: |s| s.answer = |a| without(a, "expires_in") }], |_, stored| {
            let at = |name: &str| parse_timestamp(stored[name].as_str().unwrap()).unwrap();
            assert_eq!(at("access_expires_at") - at("created_at"), Duration::seconds(1234), "the connection's default");
        }),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-token-type-case-insensitivity",
        plan: PLAN,
        requires: "Understands the token type in whatever case.",
        proves: &[39],
        play: Play::Accepted(&[Tell { what: "`bEARER`", script: |s| s.answer = |a| a["token_type"] = json!("bEARER") }], nothing_further),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-happy-path-no-mtls-endpoint-aliases",
        plan: PLAN,
        requires: "Does without mTLS aliases where the metadata has none.",
        proves: &[15],
        play: Play::Accepted(&[Tell { what: "no mTLS aliases", script: |_| {} }], pushed_each_time),
    },
];

/// The rest of the plan.
pub(crate) const OTHERS: &[Module] = &[
    Module {
        name: "fapi2-security-profile-final-client-test-rs-dpop-auth-scheme-case-insensitivity",
        plan: PLAN,
        requires: "Understands the DPoP scheme of a resource server in whatever case.",
        proves: &[],
        play: Play::NotApplicable(DPOP),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-happy-path-no-dpop-nonce",
        plan: PLAN,
        requires: "Signs in where DPoP needs no nonce.",
        proves: &[],
        play: Play::NotApplicable(DPOP),
    },
    Module {
        name: "fapi2-security-profile-final-client-refresh-token-test",
        plan: PLAN,
        requires: "Refreshes after a resource server's 401.",
        proves: &[],
        play: Play::NotApplicable("not applicable: the suite runs it for national profiles only, not for the plain one"),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-grant-management-happy-path",
        plan: PLAN,
        requires: "Asks for a grant id and uses it.",
        proves: &[],
        play: Play::NotApplicable(GRANTS),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-grant-management-query-and-revoke",
        plan: PLAN,
        requires: "Queries and revokes a grant by its id.",
        proves: &[],
        play: Play::NotApplicable(GRANTS),
    },
    Module {
        name: "fapi2-security-profile-final-client-test-grant-management-invalid-grant-id-fails",
        plan: PLAN,
        requires: "Takes the refusal of a grant id.",
        proves: &[],
        play: Play::NotApplicable(GRANTS),
    },
];

/// One pushed request for each browser, and the browser carries nothing else: the provider refuses any other.
fn pushed_each_time(provider: &Provider, _: &Value) {
    let seen = provider.seen();
    assert_eq!(seen.pushed, seen.browsers);
    assert_ne!(seen.pushed, 0);
}

fn with_alg(mut key: Value, alg: &str) -> Value {
    key["alg"] = json!(alg);
    key
}

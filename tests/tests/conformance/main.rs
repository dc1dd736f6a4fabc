//! The relying-party modules of the OpenID Foundation's conformance suite, enacted against a provider that misbehaves on demand.
//!
//! 1. Every module is a row of a table (`oidc`, `fapi2`): what the provider does, and what has to come of it.
//! 2. All of them are played once, each against providers of its own, around one world (`scene`).
//! 3. Each test below asks what became of the modules that prove something of its security items; the last one holds
//!    `docs/conformance.md` to all of them (`document`).
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod document;
mod fapi2;
mod module;
mod oidc;
mod scene;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use serde_json::Value;
use tests::conformance::{Alg, Profile, Provider, Script};
use tests::{ManualClock, Setup, World};
use tokio::sync::OnceCell;

use crate::module::{Module, Play, Row, Section, Tell};
use crate::scene::Scene;

const SECTIONS: [Section; 5] = [
    Section {
        title: "OpenID Connect, code flow",
        says: "The comprehensive plan, `oidcc-client-test-plan`, has 40 modules. For `response_type=code`, `response_mode=default`, \
               `request_type=plain_http_request`, `client_registration=static_client` and `client_auth_type=client_secret_basic` the \
               suite runs 30 of them: these 28, and the two of WebFinger that open the next table. They contain all 14 of \
               `oidcc-client-basic-certification-test-plan` and all 6 of `oidcc-client-config-certification-test-plan`.",
        profile: Profile::Connect,
        alg: Alg::Rs256,
        modules: oidc::CODE_FLOW,
    },
    Section {
        title: "The rest of the comprehensive plan",
        says: "The two of WebFinger, and the 10 that the suite does not run for such a relying party. `at_hash` is checked in the code \
               flow, too, so its modules are enacted all the same.",
        profile: Profile::Connect,
        alg: Alg::Rs256,
        modules: oidc::OTHERS,
    },
    Section {
        title: "Refresh tokens",
        says: "The 3 modules of `oidcc-client-refreshtoken-test-plan`, and two that the suite has but that no plan runs, for its authors \
               hold them to be too strict.",
        profile: Profile::Connect,
        alg: Alg::Rs256,
        modules: oidc::REFRESHES,
    },
    Section {
        title: "FAPI 2.0 Security Profile",
        says: "`fapi2-security-profile-final-client-test-plan` has 27 modules. For `fapi_profile=plain_fapi`, `fapi_client_type=oidc`, \
               `client_auth_type=private_key_jwt` and `grant_management=disabled` the suite runs these 21 if the sender constraint is \
               mTLS, and with DPoP the first two of the next table as well. Mandate has neither of the two sender constraints, so the \
               modules are enacted with Bearer tokens and everything else of the profile: requests are pushed and the browser carries \
               nothing but `client_id` and `request_uri`, every request of the client bears a new assertion whose only audience is the \
               issuer (ES256; an RSA key signs PS256 where the provider takes no RS256), PKCE is verified, and authorization responses have `iss`. The 8 modules for signed authorization \
               responses (JARM) belong to the plan for Message Signing, which Mandate does not claim.",
        profile: Profile::Fapi2,
        alg: Alg::Es256,
        modules: fapi2::PLAIN,
    },
    Section {
        title: "The rest of the FAPI 2.0 plan",
        says: "The 6 that need DPoP, Grant Management or a national profile.",
        profile: Profile::Fapi2,
        alg: Alg::Es256,
        modules: fapi2::OTHERS,
    },
];

/// What became of every module, section by section. The first test that asks plays them.
static RUN: OnceCell<Vec<Vec<Row>>> = OnceCell::const_new();

#[tokio::test]
async fn s03_s28_an_authorization_response_of_another_issuer_or_state_leads_nowhere() {
    all_as_required(&[3, 28]).await;
}

#[tokio::test]
async fn s05_s07_s15_s37_requests_and_proofs_of_the_client_are_what_a_strict_provider_takes() {
    all_as_required(&[5, 7, 15, 37]).await;
}

#[tokio::test]
async fn s39_s40_a_token_answer_in_unusual_form_is_understood() {
    all_as_required(&[39, 40]).await;
}

#[tokio::test]
async fn s43_s44_only_signatures_of_the_issuers_public_keys_and_announced_algorithms_are_believed() {
    all_as_required(&[43, 44]).await;
}

#[tokio::test]
async fn s45_s47_s48_s49_an_id_token_is_held_to_every_claim() {
    all_as_required(&[45, 47, 48, 49]).await;
}

#[tokio::test]
async fn s42_s50_a_refresh_keeps_the_person() {
    all_as_required(&[42, 50]).await;
}

#[tokio::test]
async fn s51_userinfo_is_believed_about_the_subject_of_the_id_token_only() {
    all_as_required(&[51]).await;
}

#[tokio::test]
async fn s52_s53_keys_are_found_by_kid_and_found_again_after_a_rotation() {
    all_as_required(&[52, 53]).await;
}

#[tokio::test]
async fn s54_s75_metadata_is_the_issuers_own_and_no_claim_names_a_place_to_ask() {
    all_as_required(&[54, 75]).await;
}

#[tokio::test]
async fn every_module_has_its_place_and_its_outcome_in_the_document() {
    let counts: Vec<usize> = SECTIONS.iter().map(|section| section.modules.len()).collect();
    assert_eq!(counts, [28, 12, 5, 21, 6], "28 + 12 = 40 of the comprehensive plan, 3 + 2 for refreshes, 21 + 6 = 27 of FAPI 2.0");
    let mut names: Vec<&str> = SECTIONS.iter().flat_map(|section| section.modules).map(|module| module.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "a module is there twice");
    let plan = |name: &str| SECTIONS.iter().flat_map(|s| s.modules).filter(|m| m.plan.split(", ").any(|p| p == name)).count();
    let sizes = ["basic", "config", "dynamic", "comprehensive", "refresh token", "security profile"].map(plan);
    assert_eq!(sizes, [14, 6, 12, 40, 3, 27], "as the suite's plans have it");

    let run = run().await;
    let failed = faults(run, |_| true);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let sections: Vec<_> = SECTIONS.iter().zip(run).collect();
    let held = document::hold(&document::render(&sections));
    assert!(held.is_ok(), "{}", held.unwrap_err());
}

/// Every module that proves something of these items came out as it has to, and each item has one.
async fn all_as_required(items: &[u8]) {
    let run = run().await;
    for item in items {
        let proves = |module: &Module| module.proves.contains(item);
        assert!(run.iter().flatten().any(|row| proves(row.module)), "no module proves anything of item {item}");
        let failed = faults(run, proves);
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    }
}

fn faults(run: &[Vec<Row>], of: impl Fn(&Module) -> bool) -> Vec<String> {
    let rows = run.iter().flatten().filter(|row| of(row.module));
    rows.filter_map(|row| row.outcome.as_ref().err().map(|why| format!("{}: {why}", row.module.name))).collect()
}

async fn run() -> &'static [Vec<Row>] {
    RUN.get_or_init(play_all).await
}

/// A provider that follows one tell, and its connection.
struct Cast {
    connection: String,
    provider: Provider,
}

async fn play_all() -> Vec<Vec<Row>> {
    let clock = Arc::new(ManualClock::new());
    let mut casts = Vec::new();
    for section in &SECTIONS {
        for module in section.modules {
            for tell in tells(module) {
                let mut script = Script::good(section.alg);
                (tell.script)(&mut script);
                let provider = Provider::start(section.profile, Arc::clone(&clock), script).await;
                casts.push(Cast { connection: format!("conn_{}", casts.len()), provider });
            }
        }
    }
    let connections: Vec<Value> = casts.iter().map(|cast| cast.provider.connection(&cast.connection)).collect();
    let world = World::with(Setup {
        directory: Some(Box::new(move |directory, _| directory["connections"].as_array_mut().unwrap().extend(connections.clone()))),
        client_credentials: casts.iter().map(|cast| (cast.connection.clone(), cast.provider.credential())).collect(),
        clock: Some(clock),
        ..Setup::default()
    })
    .await;
    let mut casts = casts.iter();
    let mut run = Vec::new();
    for section in &SECTIONS {
        let mut rows = Vec::new();
        for module in section.modules {
            let cast: Vec<&Cast> = casts.by_ref().take(tells(module).len()).collect();
            rows.push(play(&world, module, &cast).await);
        }
        run.push(rows);
    }
    run
}

fn tells(module: &Module) -> &[Tell] {
    match &module.play {
        Play::Accepted(tells, _) | Play::Refused(_, tells) => tells,
        Play::Story(tell, _) => std::slice::from_ref(tell),
        Play::NotApplicable(_) => &[],
    }
}

/// Plays a module with each of its tells, on to the first that does not end as it has to.
async fn play(world: &World, module: &'static Module, casts: &[&Cast]) -> Row {
    let tells = tells(module);
    let enacted = if tells.is_empty() { "–".to_owned() } else { tells.iter().map(|tell| tell.what).collect::<Vec<_>>().join("; ") };
    let mut outcome = match module.play {
        Play::NotApplicable(why) => Ok(why.to_owned()),
        _ => Err("nothing was enacted".to_owned()),
    };
    for (tell, cast) in tells.iter().zip(casts) {
        let scene = Scene { world, provider: &cast.provider, connection: &cast.connection, olivia: world.olivia() };
        let played = AssertUnwindSafe(enact(&module.play, &scene)).catch_unwind().await;
        outcome = played.map_err(|panic| format!("with “{}”: {}", tell.what, said(panic.as_ref())));
        if outcome.is_err() {
            break;
        }
    }
    Row { module, enacted, outcome }
}

async fn enact(play: &Play, scene: &Scene<'_>) -> String {
    match play {
        Play::Accepted(_, further) => scene.accepted(*further).await,
        Play::Refused(at, _) => scene.refused(*at).await,
        Play::Story(_, act) => act(scene).await,
        Play::NotApplicable(why) => (*why).to_owned(),
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "it stopped without a word".to_owned())
}

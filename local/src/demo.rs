//! `cargo demo`: the whole story of one authorization, told step by step, against the demonstration sign-in.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Answer, Api, Browser, CallError, Decision, Http};
use crate::demonstration::{self, RETURN_PATH};
use crate::sign_in::{MintError, PEOPLE};
use crate::stack::{Options, Stack, StartError};

/// How often the story looks whether something has become due, 100 ms apart.
const LOOKS: usize = 150;

/// Why the story does not end well.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The stack does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// No token could be made.
    #[error("failed to make a bearer token")]
    Mint(#[from] MintError),
    /// A call got no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A step went otherwise than expected.
    #[error("{step}: expected {expected}, got {got}")]
    Unexpected {
        /// The step.
        step: String,
        /// What should have come.
        expected: String,
        /// What came.
        got: String,
    },
}

/// Where the story is told.
pub type Teller<'a> = &'a mut (dyn FnMut(&str) + Send);

struct Story<'a> {
    tell: Teller<'a>,
    step: String,
    steps: usize,
}

impl Story<'_> {
    fn begin(&mut self, step: &str) {
        self.steps += 1;
        step.clone_into(&mut self.step);
        (self.tell)(&format!("{:>2}. {step}", self.steps));
    }

    fn note(&mut self, note: &str) {
        (self.tell)(&format!("    {note}"));
    }

    fn expect(&self, expected: &str, held: bool, got: &dyn std::fmt::Display) -> Result<(), DemoError> {
        if held {
            return Ok(());
        }
        Err(DemoError::Unexpected { step: self.step.clone(), expected: expected.to_owned(), got: got.to_string() })
    }

    fn expect_status(&self, status: u16, answer: &Answer) -> Result<Value, DemoError> {
        self.expect(&status.to_string(), answer.status == status, &format!("{} {}", answer.status, answer.text))?;
        Ok(answer.json())
    }
}

/// Plays the story on a stack of its own; `Ok` only if every step went as expected.
pub async fn play(options: Options, tell: Teller<'_>) -> Result<(), DemoError> {
    let stack = Stack::start(options).await?;
    let mut story = Story { tell, step: String::new(), steps: 0 };
    let result = live(&mut story, &stack).await;
    stack.stop().await;
    if result.is_ok() {
        story.note("");
        (story.tell)(&format!("All {} steps went as expected.", story.steps));
    }
    result
}

async fn live(story: &mut Story<'_>, stack: &Stack) -> Result<(), DemoError> {
    let base = format!("http://{}", stack.api());
    let olivia = Api::new(&base, demonstration::bearer(stack.api(), demonstration::olivia(), stack.clock().now())?)?;
    let browser = Browser::new()?;
    (story.tell)(&format!("The API listens on {base}; DynamoDB, KMS, Secrets Manager and SQS are emulated on {}.\n", stack.aws_endpoint()));

    let first = sign_in_directly(story, &olivia, &browser).await?;
    forwarded_link(story, &olivia, &browser).await?;

    story.begin("The list shows who uses what");
    let list = story.expect_status(200, &olivia.get("/workflows/authorization").await?)?;
    story.expect("one authorization", list.as_array().is_some_and(|l| l.len() == 1) && list[0]["id"] == json!(first), &list)?;
    story.note(&format!("{} {} {} {}", list[0]["id"], list[0]["email"], list[0]["status"], list[0]["scopes"]));

    story.begin("A workflow is bound to it");
    let bound = olivia
        .put(
            "/workflows/fl_nightly_backup/authorization",
            json!({ "authorization_id": first, "workflow_name": "Nightly backup", "required_scopes": ["sites:read"] }),
        )
        .await?;
    let binding = story.expect_status(200, &bound)?;
    story.note(&format!("{} uses {}", binding["workflow_id"], binding["authorization_id"]));

    hand_out_and_refresh(story, stack, &olivia, &first).await?;

    story.begin("Revoking is refused while the workflow needs it");
    let refused = olivia.delete(&format!("/workflows/authorization/{first}")).await?;
    let body = story.expect_status(409, &refused)?;
    story.expect("authorization_in_use", body["code"] == "authorization_in_use", &body)?;
    story.note(&format!("409 {}: {}", body["code"], body["workflows"]));

    let second = sign_in_with_redirect(story, &base, &olivia, &browser).await?;
    replace_and_revoke(story, &olivia, &first, &second).await
}

async fn sign_in_directly(story: &mut Story<'_>, olivia: &Api, browser: &Browser) -> Result<String, DemoError> {
    story.begin("Olivia asks for a sign-in URL");
    let created = story.expect_status(200, &olivia.post("/workflows/authorization", json!({})).await?)?;
    let url = created["url"].as_str().unwrap_or_default();
    story.note(&format!("{}…", url.chars().take(110).collect::<String>()));

    story.begin("She signs in and allows; the callback stores her authorization");
    let page = browser.sign_in(url, Decision::Allow("usr_olivia")).await?;
    story.expect("200 and a page", page.status == 200 && page.text.contains("You are signed in"), &page.text)?;
    let list = story.expect_status(200, &olivia.get("/workflows/authorization").await?)?;
    let id = list[0]["id"].as_str().unwrap_or_default().to_owned();
    story.note(&format!("stored as {id}; the tokens are in DynamoDB as ciphertext only"));
    Ok(id)
}

async fn forwarded_link(story: &mut Story<'_>, olivia: &Api, browser: &Browser) -> Result<(), DemoError> {
    story.begin("Somebody else opens a URL that Olivia asked for: refused, and nothing is stored");
    let created = story.expect_status(200, &olivia.post("/workflows/authorization", json!({})).await?)?;
    let page = browser.sign_in(created["url"].as_str().unwrap_or_default(), Decision::Allow(PEOPLE[1].id)).await?;
    story.expect("403", page.status == 403 && page.text.contains("another account"), &page.text)?;
    let list = story.expect_status(200, &olivia.get("/workflows/authorization").await?)?;
    story.expect("still one authorization", list.as_array().is_some_and(|l| l.len() == 1), &list)?;
    story.note("403: the tokens just given were revoked at the provider");
    Ok(())
}

async fn hand_out_and_refresh(story: &mut Story<'_>, stack: &Stack, olivia: &Api, first: &str) -> Result<(), DemoError> {
    let path = format!("/workflows/authorization/{first}/token");
    story.begin("The workflow gets an access token, and it works at the provider");
    let token = story.expect_status(200, &olivia.post(&path, json!({ "workflow_id": "fl_nightly_backup" })).await?)?;
    let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap_or_default());
    let userinfo = Http::new()?
        .send(reqwest::Method::GET, &format!("{}/userinfo", stack.sign_in().issuer()), &[("authorization", &bearer)], None)
        .await?;
    let who = story.expect_status(200, &userinfo)?;
    story.note(&format!("generation {}, {} s left; the provider says it is {}", token["generation"], token["expires_in"], who["email"]));

    story.begin("A workflow that needs more time than is left gets a refreshed one");
    stack.sign_in().set_access_lifetime(4);
    let token = story.expect_status(200, &olivia.post(&path, json!({ "workflow_id": "fl_nightly_backup", "min_ttl": 3600 })).await?)?;
    story.expect("generation 2", token["generation"] == 2, &token["generation"])?;
    story.note("generation 2; from now on this provider's tokens live four seconds, to let the schedule have something to do");

    story.begin("The schedule refreshes it before it ends");
    let mut report = Value::Null;
    for _ in 0..LOOKS {
        let made = stack.functions().invoke("refresh", json!({})).await;
        report =
            made.map_err(|e| DemoError::Unexpected { step: story.step.clone(), expected: "a report".to_owned(), got: e.to_string() })?;
        if report["refreshed"] == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    story.expect("one refresh", report["refreshed"] == 1, &report)?;
    story.note(&format!("report: {report}"));
    stack.sign_in().set_access_lifetime(3600);
    Ok(())
}

async fn sign_in_with_redirect(story: &mut Story<'_>, base: &str, olivia: &Api, browser: &Browser) -> Result<String, DemoError> {
    story.begin("A second sign-in, by way of the application, with PKCE (RFC 7636 appendix B)");
    let asked = json!({
        "redirect_uri": format!("{base}{RETURN_PATH}"),
        "state": "the application's own state",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    });
    let created = story.expect_status(200, &olivia.post("/workflows/authorization", asked).await?)?;
    let back = browser.sign_in(created["url"].as_str().unwrap_or_default(), Decision::Allow("usr_olivia")).await?;
    story.expect("303", back.status == 303, &back.text)?;
    let code = url::Url::parse(back.location()).ok().and_then(|u| u.query_pairs().find(|(n, _)| n == "code").map(|(_, v)| v.into_owned()));
    let complete = json!({ "code": code.unwrap_or_default(), "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" });
    let stored = story.expect_status(201, &olivia.post("/workflows/authorization/complete", complete.clone()).await?)?;
    let again = story.expect_status(200, &olivia.post("/workflows/authorization/complete", complete).await?)?;
    story.expect("the same authorization again", again["id"] == stored["id"], &again)?;
    let id = stored["id"].as_str().unwrap_or_default().to_owned();
    story.note(&format!("stored as {id}; completing it twice makes one"));
    Ok(id)
}

async fn replace_and_revoke(story: &mut Story<'_>, olivia: &Api, first: &str, second: &str) -> Result<(), DemoError> {
    story.begin("All workflows move to the new authorization");
    let path = format!("/workflows/authorization/{first}/replace");
    let forecast = story.expect_status(200, &olivia.post(&path, json!({ "authorization_id": second, "dry_run": true })).await?)?;
    story.note(&format!("dry run: {forecast}"));
    let report = story.expect_status(200, &olivia.post(&path, json!({ "authorization_id": second })).await?)?;
    story.expect("one moved, none remaining", report["moved"] == 1 && report["remaining"] == 0, &report)?;

    story.begin("Now the old one can be revoked, and nothing is handed out for it any more");
    story.expect_status(204, &olivia.delete(&format!("/workflows/authorization/{first}")).await?)?;
    let hand_out = json!({ "workflow_id": "fl_nightly_backup" });
    story.expect_status(404, &olivia.post(&format!("/workflows/authorization/{first}/token"), hand_out.clone()).await?)?;
    story.expect_status(200, &olivia.post(&format!("/workflows/authorization/{second}/token"), hand_out).await?)?;
    story.note("204; the workflow goes on with the new one");

    story.begin("The workflow is unbound, the last authorization revoked, the list empty");
    story.expect_status(204, &olivia.delete("/workflows/fl_nightly_backup/authorization").await?)?;
    story.expect_status(204, &olivia.delete(&format!("/workflows/authorization/{second}")).await?)?;
    let list = story.expect_status(200, &olivia.get("/workflows/authorization").await?)?;
    story.expect("[]", list == json!([]), &list)
}

//! The requests to AWS that each operation makes, counted on the wire, and the capacity they take. Retries and whatever runs in the
//! background are counted, too; the budgets are exact.

use std::time::Duration;

use axum::http::Method;
use local::sign_in::Counters;
use serde_json::json;

use crate::Failure;
use crate::aws::Seen;
use crate::programs::text;
use crate::report::{Row, count};
use crate::world::{Deployed, World};

/// What an operation costs: requests to DynamoDB and to the provider's token and revocation endpoints (design section 3), and the read and write units
/// that DynamoDB's answers tell, for the small records that the demonstration has. Whoever changes one of them changes what a customer
/// pays, and says so here. A refused write is paid, too, but its answer does not tell: docs/operations.md counts it.
#[derive(Clone, Copy, Default)]
struct Budget {
    dynamodb: u64,
    token: u64,
    revocation: u64,
    reads: f64,
    writes: f64,
}

struct Counting<'a> {
    world: &'a World,
    before: Counters,
    rows: Vec<Row>,
}

impl Counting<'_> {
    /// From here on requests belong to the next operation. It is in another second than the one before, as in life: an index row whose times
    /// do not change is not written.
    async fn begin(&mut self) {
        tokio::time::sleep(Duration::from_millis(1100)).await;
        self.world.plain.take();
        self.before = self.world.provider();
    }

    /// Up to here they did.
    fn end(&mut self, operation: &str, budget: &Budget) {
        let seen = self.world.plain.take();
        self.put(operation, &seen, budget, 1);
    }

    fn put(&mut self, operation: &str, seen: &Seen, budget: &Budget, times: u64) {
        let (before, now) = (self.before, self.world.provider());
        let each = |requests: u64| count(requests) / count(times);
        let mut exactly = |what: &str, requests: u64, expected: u64| {
            self.rows.push(Row::exactly(format!("{operation}: {what}"), "requests", each(requests), count(expected)));
        };
        exactly("DynamoDB", seen.to("DynamoDB"), budget.dynamodb);
        exactly("KMS, Secrets Manager, SQS, others", seen.requests.values().sum::<u64>() - seen.to("DynamoDB"), 0);
        exactly("token endpoint", now.token_requests - before.token_requests, budget.token);
        exactly("revocation endpoint", now.revocations - before.revocations, budget.revocation);
        self.rows.push(Row::exactly(format!("{operation}: reads"), "capacity units", seen.read_units / count(times), budget.reads));
        self.rows.push(Row::exactly(format!("{operation}: writes"), "capacity units", seen.write_units / count(times), budget.writes));
    }
}

/// Measures.
pub async fn measure(world: &World) -> Result<Vec<Row>, Failure> {
    let mut deployed = Deployed::new(world, text);
    let mut counting = Counting { world, before: world.provider(), rows: Vec::new() };
    let free = Budget::default();
    let calls = |dynamodb, token, reads, writes| Budget { dynamodb, token, revocation: 0, reads, writes };

    let id = world.authorize(true).await?;
    let other = world.authorize(false).await?;
    let doomed = world.authorize(false).await?;
    let list = world.event(&Method::GET, "/workflows/authorization", "", None)?;

    // Every function has served once, so that what it keeps is kept.
    let first = world.came_back(&deployed.url(&json!({})).await?).await?;
    deployed.invoke("callback", &first).await?;
    deployed.invoke("list", &list).await?.body(200)?;
    deployed.bind("fl_0", &id).await?;
    deployed.invoke("token", &world.hand_out(&id)?).await?.body(200)?;
    world.make_due(&other).await?;
    deployed.invoke("refresh", &json!({})).await?;
    deployed.invoke("revoke", &world.event(&Method::DELETE, &format!("/workflows/authorization/{doomed}"), "", None)?).await?.body(204)?;

    counting.begin().await;
    let direct = deployed.url(&json!({})).await?;
    counting.end("create a URL", &free);
    let by_redirect = deployed.url(&json!({ "redirect_uri": world.return_to() })).await?;

    let (direct, by_redirect) = (world.came_back(&direct).await?, world.came_back(&by_redirect).await?);
    counting.begin().await;
    deployed.invoke("callback", &direct).await?.body(200)?;
    counting.end("callback, direct mode", &calls(2, 1, 0.0, 7.0));
    counting.begin().await;
    let back = deployed.invoke("callback", &by_redirect).await?;
    counting.end("callback, redirect mode", &free);
    let code = back.location().split(['?', '&']).find_map(|pair| pair.strip_prefix("code=")).ok_or("no completion code")?.to_owned();
    let complete = world.event(&Method::POST, "/workflows/authorization/complete", "", Some(&json!({ "code": code })))?;
    counting.begin().await;
    deployed.invoke("callback", &complete).await?.body(201)?;
    counting.end("complete", &calls(2, 1, 0.0, 7.0));

    counting.begin().await;
    deployed.invoke("list", &list).await?.body(200)?;
    counting.end("list, one page", &calls(1, 0, 0.5, 0.0));

    counting.begin().await;
    let token = deployed.invoke("token", &world.hand_out(&id)?).await?.body(200)?;
    counting.end("hand-out, fresh token", &calls(1, 0, 2.0, 0.0));
    let rejected = json!({ "workflow_id": "fl_1", "rejected_generation": token["generation"] });
    let stale = world.event(&Method::POST, &format!("/workflows/authorization/{id}/token"), "", Some(&rejected))?;
    counting.begin().await;
    deployed.invoke("token", &stale).await?.body(200)?;
    counting.end("hand-out, stale token", &calls(3, 1, 2.0, 9.0));

    counting.begin().await;
    deployed.bind("fl_2", &id).await?;
    counting.end("bind", &calls(1, 0, 0.0, 8.0));
    counting.begin().await;
    deployed.bind("fl_2", &other).await?;
    counting.end("re-bind", &calls(2, 0, 0.0, 12.0));

    let revoke = |id: &str| world.event(&Method::DELETE, &format!("/workflows/authorization/{id}"), "", None);
    counting.begin().await;
    deployed.invoke("revoke", &revoke(&id)?).await?.body(409)?;
    counting.end("revoke, blocked", &calls(2, 0, 0.5, 0.0));

    scheduled(world, &mut deployed, &mut counting, &[&id, &other]).await?;

    let unbind = world.event(&Method::DELETE, "/workflows/fl_2/authorization", "", None)?;
    deployed.invoke("assign", &unbind).await?.body(204)?;
    counting.begin().await;
    deployed.invoke("revoke", &revoke(&other)?).await?.body(204)?;
    counting.end("revoke", &Budget { revocation: 2, ..calls(2, 0, 0.0, 9.0) });
    deployed.stop().await?;
    Ok(counting.rows)
}

/// A scheduled run costs something by itself; each refresh is what a run with some due costs more.
async fn scheduled(world: &World, deployed: &mut Deployed<'_>, counting: &mut Counting<'_>, due: &[&str]) -> Result<(), Failure> {
    counting.begin().await;
    deployed.invoke("refresh", &json!({})).await?;
    let idle = world.plain.take();
    for id in due {
        world.make_due(id).await?;
    }
    counting.begin().await;
    let report = deployed.invoke("refresh", &json!({})).await?.json;
    if report["refreshed"] != due.len() {
        return Err(format!("not all were refreshed: {report}").into());
    }
    let mut seen = world.plain.take();
    for (name, less) in &idle.requests {
        let more = seen.requests.get(name).copied().unwrap_or_default().checked_sub(*less).ok_or("a run with more to do asked less")?;
        seen.requests.insert(name.clone(), more);
    }
    seen.read_units -= idle.read_units;
    seen.write_units -= idle.write_units;
    counting.put(
        "scheduled refresh, each",
        &seen,
        &Budget { dynamodb: 2, token: 1, writes: 7.0, ..Budget::default() },
        u64::try_from(due.len())?,
    );
    counting.rows.push(Row::told("scheduled run over all shards, nothing due", "requests", count(idle.requests.values().sum()), None));
    Ok(())
}

//! The instructions of a warm request.

use axum::http::Method;

use crate::Failure;
use crate::callgrind::of_one;
use crate::programs::{HELLO, text};
use crate::recorded::Recorded;
use crate::report::Row;
use crate::world::{Way, World};

/// How much more than recorded is still noise.
const SLACK: f64 = 1.02;

/// Measures.
pub async fn measure(world: &World, recorded: &mut Recorded) -> Result<Vec<Row>, Failure> {
    let id = world.authorize(true).await?;
    let one = world.event(&Method::GET, &format!("/workflows/authorization/{id}"), "", None)?;
    let requests = [
        (HELLO, "hello", world.create()?),
        ("create-url", "create a URL", world.create()?),
        ("token", "hand-out, fresh token", world.hand_out(&id)?),
        ("list", "one authorization", one),
    ];
    let mut rows = Vec::new();
    for (function, what, event) in requests {
        let count = of_one(&world.launch(&text(function), function, Way::Plain), &event).await?;
        rows.push(recorded.row(&format!("warm request: {what}"), "instructions", count, SLACK)?);
    }
    Ok(rows)
}

//! Lambda `assign`: binds workflows to authorizations.

use shared::config::Need::{Directory, Table};
use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let wiring = lambda::start(&[Table, Directory]).await;
    lambda::run_http(assign::AssignFunction { edge: wiring.edge(), assign: wiring.assign(), replace: wiring.replace() }).await
}

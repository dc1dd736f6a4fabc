//! Lambda `list`: shows who uses what.

use shared::config::Need::{Directory, StateKeys, Table};
use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let wiring = lambda::start(&[Table, Directory, StateKeys]).await;
    lambda::run_http(list::ListFunction { edge: wiring.edge(), list: wiring.list() }).await
}

//! Lambda `callback`: completes sign-ins.

use shared::config::Need::{ClientSecrets, Directory, KmsKey, StateKeys, Table};
use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let wiring = lambda::start(&[Table, KmsKey, Directory, ClientSecrets, StateKeys]).await;
    lambda::run_http(callback::CallbackFunction { edge: wiring.edge(), complete_flow: wiring.complete_flow() }).await
}

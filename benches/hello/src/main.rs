//! The least that a Lambda function can be: the Runtime API's loop and a constant answer. What this costs, every function costs.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(async |_: LambdaEvent<Value>| Ok::<_, Error>(json!({ "statusCode": 200, "body": "hello" })))).await
}

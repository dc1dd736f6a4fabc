//! What the platform keeps, shows and bears (security requirements 80, 92 and 93), by `template.yaml`.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use serde_json::{Value, json};

/// The template. Tags are passed over: `!Ref X` is the text `X`, `!If [a, b, c]` the list.
fn template() -> Value {
    serde_saphyr::from_str(include_str!("../../template.yaml")).unwrap()
}

fn resources<'t>(template: &'t Value, kind: &str) -> Vec<(&'t String, &'t Value)> {
    template["Resources"].as_object().unwrap().iter().filter(|(_, resource)| resource["Type"] == kind).collect()
}

#[test]
fn s80_the_access_log_has_the_route_and_never_the_query_or_a_header() {
    let template = template();
    let settings = &template["Resources"]["Api"]["Properties"]["AccessLogSettings"];
    let format = settings["Format"].as_str().unwrap();
    let line: Value = serde_json::from_str(format).unwrap();
    // What the gateway knows that holds nothing of a query, a header, a cookie or a body.
    let harmless = [
        "$context.requestId",
        "$context.requestTime",
        "$context.identity.sourceIp",
        "$context.httpMethod",
        "$context.routeKey",
        "$context.path",
        "$context.protocol",
        "$context.status",
        "$context.responseLength",
        "$context.responseLatency",
        "$context.integrationLatency",
        "$context.integrationStatus",
        "$context.error.responseType",
    ];
    for (name, variable) in line.as_object().unwrap() {
        assert!(harmless.contains(&variable.as_str().unwrap()), "{name}: {variable}");
    }
    assert_eq!(format.matches('$').count(), line.as_object().unwrap().len(), "one variable to a member");
    assert_eq!(settings["DestinationArn"], "AccessLogGroup.Arn");
}

#[test]
fn s92_the_table_cannot_be_deleted_goes_back_in_time_and_is_encrypted_with_our_key() {
    let template = template();
    let tables = resources(&template, "AWS::DynamoDB::Table");
    let [(_, table)] = tables[..] else { unreachable!("one table: {tables:?}") };
    let of = &table["Properties"];
    assert_eq!(of["DeletionProtectionEnabled"], true);
    assert_eq!(of["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true);
    assert_eq!(of["SSESpecification"], json!({ "SSEEnabled": true, "SSEType": "KMS", "KMSMasterKeyId": "Key.Arn" }));
    assert_eq!((&of["ResourcePolicy"], &of["StreamSpecification"]), (&Value::Null, &Value::Null), "nobody else reads along");
    let key = &template["Resources"]["Key"]["Properties"];
    assert_eq!(key["EnableKeyRotation"], true);
    assert!(key["PendingWindowInDays"].as_u64().unwrap() >= 30);
}

#[test]
fn s92_logs_and_queues_are_encrypted_logs_end_and_what_is_lost_cannot_be_made_again_stays() {
    let template = template();
    let logs = resources(&template, "AWS::Logs::LogGroup");
    assert_eq!(logs.len(), 8, "the gateway's and each function's");
    for (name, log) in &logs {
        assert_eq!(log["Properties"]["KmsKeyId"], "Key.Arn", "{name}");
        assert_eq!(log["Properties"]["RetentionInDays"], json!(["Logs", "Environment", "Days"]), "{name}");
    }
    for days in template["Mappings"]["Logs"].as_object().unwrap().values() {
        assert!(days["Days"].as_u64().is_some_and(|days| (1..=400).contains(&days)), "{days}");
    }
    for (name, function) in resources(&template, "AWS::Serverless::Function") {
        let group = function["Properties"]["LoggingConfig"]["LogGroup"].as_str().unwrap();
        assert!(logs.iter().any(|(log, _)| *log == group), "{name} logs to a group that is not here");
    }
    for (name, queue) in resources(&template, "AWS::SQS::Queue") {
        let of = &queue["Properties"];
        assert!(of["SqsManagedSseEnabled"] == true || of["KmsMasterKeyId"].is_string(), "{name}");
    }
    for kind in ["AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::SecretsManager::Secret", "AWS::SQS::Queue", "AWS::Logs::LogGroup"] {
        for (name, resource) in resources(&template, kind) {
            assert_eq!((&resource["DeletionPolicy"], &resource["UpdateReplacePolicy"]), (&json!("Retain"), &json!("Retain")), "{name}");
        }
    }
}

#[test]
fn s92_nothing_is_public() {
    let template = template();
    for kind in ["AWS::S3::Bucket", "AWS::Lambda::Url", "AWS::SecretsManager::ResourcePolicy", "AWS::SNS::TopicPolicy"] {
        assert_eq!(resources(&template, kind), []);
    }
    // A statement for everybody either refuses, or is for DynamoDB alone on behalf of this very account.
    let mut for_everybody = Vec::new();
    find(&template["Resources"], &mut |statement| {
        let principal = &statement["Principal"];
        if *principal == "*" || principal["AWS"] == "*" {
            for_everybody.push(statement.clone());
        }
    });
    assert!(!for_everybody.is_empty());
    for statement in for_everybody {
        if statement["Effect"] == "Deny" {
            continue;
        }
        let condition = &statement["Condition"]["StringEquals"];
        assert_eq!(condition["kms:CallerAccount"], "AWS::AccountId", "{statement}");
        assert_eq!(condition["kms:ViaService"], "dynamodb.${AWS::Region}.amazonaws.com", "{statement}");
    }
    let tls_only = &template["Resources"]["RescueQueuePolicy"]["Properties"];
    assert_eq!(tls_only["Queues"], json!(["RescueQueue", "RescueDeadLetterQueue"]));
    assert_eq!(tls_only["PolicyDocument"]["Statement"][0]["Condition"], json!({ "Bool": { "aws:SecureTransport": false } }));
}

/// Every policy statement, wherever it stands.
fn find(value: &Value, tell: &mut impl FnMut(&Value)) {
    if value.get("Effect").is_some() {
        tell(value);
    }
    match value {
        Value::Object(members) => members.values().for_each(|member| find(member, tell)),
        Value::Array(items) => items.iter().for_each(|item| find(item, tell)),
        _ => {}
    }
}

#[test]
fn s93_the_callback_and_the_sweep_have_concurrency_of_their_own_and_every_function_ends() {
    let template = template();
    for (function, parameter) in [("CallbackFunction", "CallbackConcurrency"), ("RefreshFunction", "RefreshConcurrency")] {
        assert_eq!(template["Resources"][function]["Properties"]["ReservedConcurrentExecutions"], parameter);
        let of = &template["Parameters"][parameter];
        assert_eq!(of["Type"], "Number");
        assert!(of["MinValue"].as_u64().unwrap() >= 1 && of["Default"].as_u64().unwrap() >= 1, "{parameter}");
    }
    let usual = template["Globals"]["Function"]["Timeout"].as_u64().unwrap();
    for (name, function) in resources(&template, "AWS::Serverless::Function") {
        let seconds = function["Properties"]["Timeout"].as_u64().unwrap_or(usual);
        // The gateway waits 30 seconds at most; the sweep has nobody who waits.
        assert!(seconds <= if name == "RefreshFunction" { 300 } else { 29 }, "{name}");
    }
    // A failed run of the sweep is not repeated beside the next one.
    assert_eq!(template["Resources"]["RefreshFunction"]["Properties"]["EventInvokeConfig"]["MaximumRetryAttempts"], 0);
}

#[test]
fn s81_no_function_can_change_or_delete_what_it_has_logged() {
    let template = template();
    for (name, role) in resources(&template, "AWS::IAM::Role") {
        let text = role.to_string();
        for action in text.split('"').filter(|word| word.starts_with("logs:")) {
            assert!(["logs:CreateLogStream", "logs:PutLogEvents"].contains(&action), "{name}: {action}");
        }
    }
}

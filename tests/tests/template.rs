//! What `template.yaml` makes of the gateway, the functions, the schedule and the secrets.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it stands")]

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use shared::http::routes::Route;
use shared::secrets::parse_state_keys;

/// The template. Tags are passed over: `!Ref X` is the text `X`, `!If [a, b, c]` the list.
fn template() -> Value {
    serde_saphyr::from_str(include_str!("../../template.yaml")).unwrap()
}

fn resources_of(template: &Value, kind: &str) -> Vec<(String, Value)> {
    let all = template["Resources"].as_object().unwrap();
    all.iter().filter(|(_, resource)| resource["Type"] == kind).map(|(name, resource)| (name.clone(), resource.clone())).collect()
}

/// Every route of the template, as the gateway calls it, with the function that serves it.
fn routes(template: &Value) -> Vec<(String, String)> {
    let mut routes = Vec::new();
    for (function, resource) in resources_of(template, "AWS::Serverless::Function") {
        for event in resource["Properties"]["Events"].as_object().into_iter().flatten().map(|(_, event)| event) {
            if event["Type"] == "HttpApi" {
                let of = &event["Properties"];
                let key = match (of["Method"].as_str(), of["Path"].as_str()) {
                    (Some(method), Some(path)) if path != "$default" => format!("{method} {path}"),
                    _ => "$default".to_owned(),
                };
                routes.push((key, function.clone()));
            }
        }
    }
    routes
}

#[test]
fn s14_every_route_has_a_throttle_of_its_own() {
    let template = template();
    let api = &template["Resources"]["Api"]["Properties"];
    let throttled: BTreeSet<&String> = api["RouteSettings"].as_object().unwrap().keys().collect();
    let routes = routes(&template);
    assert_eq!(routes.iter().map(|(route, _)| route).collect::<BTreeSet<_>>(), throttled, "a route without, or a throttle without a route");
    assert_eq!(routes.len(), throttled.len(), "each route once");
    let settings = api["RouteSettings"].as_object().unwrap().values().chain([&api["DefaultRouteSettings"]]);
    for setting in settings {
        for limit in ["ThrottlingRateLimit", "ThrottlingBurstLimit"] {
            assert!(setting[limit].as_u64().is_some_and(|limit| (1..=5_000).contains(&limit)), "{limit} of {setting}");
        }
    }
}

#[test]
fn the_gateway_has_every_route_of_the_contract_and_sends_it_to_its_function() {
    let template = template();
    let routes = routes(&template);
    assert!(routes.len() >= 14);
    for (route, function) in &routes {
        let Some((method, path)) = route.split_once(' ') else {
            assert_eq!((route.as_str(), function.as_str()), ("$default", "ListFunction"));
            continue;
        };
        let path = path.split('/').map(|segment| if segment.starts_with('{') { "x" } else { segment }).collect::<Vec<_>>().join("/");
        let served = Route::resolve(&Method::from_bytes(method.as_bytes()).unwrap(), &path).unwrap().function();
        assert_eq!(*function, format!("{served:?}Function"), "{route}");
    }
}

#[test]
fn s35_cors_is_the_gateways_for_named_origins_only_and_never_with_credentials() {
    let template = template();
    let parameter = &template["Parameters"]["CorsOrigins"];
    assert_eq!(parameter["Default"], "", "nobody by default");
    // Exact origins: no wildcard, no path, nothing that is not one.
    assert_eq!(parameter["AllowedPattern"], "^$|^https?://[^/*, ]+(,https?://[^/*, ]+)*$");
    assert_eq!(template["Conditions"]["HasCors"], json!([["CorsOrigins", ""]]), "!Not [!Equals [!Ref CorsOrigins, '']]");
    let cors = template["Resources"]["Api"]["Properties"]["CorsConfiguration"].as_array().unwrap();
    assert_eq!((&cors[0], &cors[2]), (&json!("HasCors"), &json!("AWS::NoValue")), "without the parameter there is none");
    let settings = cors[1].as_object().unwrap();
    assert_eq!(settings["AllowOrigins"], json!([",", "CorsOrigins"]), "!Split [',', !Ref CorsOrigins]");
    // An HTTP API has one setting for all its routes. A browser sends no cookie along, and nothing here would look at one; the callback
    // is a navigation, which no CORS header helps or hinders.
    assert!(!settings.contains_key("AllowCredentials"), "no browser lends its cookies");
    for list in ["AllowMethods", "AllowHeaders", "ExposeHeaders"] {
        assert!(!settings[list].as_array().unwrap().contains(&json!("*")), "{list}");
    }
    assert!(!settings["AllowHeaders"].as_array().unwrap().contains(&json!("cookie")));
}

#[test]
fn s58_a_function_is_invoked_by_its_routes_or_its_schedule_and_by_nothing_else() {
    let template = template();
    // The Serverless transform writes a permission for each HttpApi event, with that route's ARN as its SourceArn.
    for kind in ["AWS::Lambda::Permission", "AWS::Lambda::Url", "AWS::Lambda::EventSourceMapping", "AWS::Lambda::LayerVersionPermission"] {
        assert_eq!(resources_of(&template, kind), Vec::<(String, Value)>::new());
    }
    let functions = resources_of(&template, "AWS::Serverless::Function");
    assert_eq!(functions.len(), 7);
    for (name, function) in functions {
        let of = function["Properties"].as_object().unwrap();
        assert!(!of.contains_key("FunctionUrlConfig"), "{name} has a URL of its own");
        let events = of.get("Events").and_then(Value::as_object).into_iter().flatten();
        for (event, kind) in events.map(|(event, it)| (event, it["Type"].as_str().unwrap())) {
            let expected = if name == "RefreshFunction" { ["Schedule", "ScheduleV2"].as_slice() } else { &["HttpApi"] };
            assert!(expected.contains(&kind), "{name} {event} {kind}");
        }
    }
}

#[test]
fn s25_the_production_template_sets_no_development_switch_and_no_endpoint() {
    let template = template();
    let names: BTreeSet<String> = resources_of(&template, "AWS::Serverless::Function")
        .iter()
        .flat_map(|(_, function)| {
            function["Properties"]["Environment"]["Variables"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        })
        .collect();
    let known = [
        "MANDATE_CLIENT_SECRETS_SECRET",
        "MANDATE_DIRECTORY_SECRET",
        "MANDATE_EVENT_BUS",
        "MANDATE_KMS_KEY_ID",
        "MANDATE_RESCUE_QUEUE_URL",
        "MANDATE_STATE_KEYS_SECRET",
        "MANDATE_TABLE",
    ];
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), known);
    let of_all = template["Globals"]["Function"]["Environment"]["Variables"].as_object().unwrap();
    assert_eq!(of_all.keys().collect::<Vec<_>>(), ["MANDATE_METRICS_NAMESPACE"]);
}

/// The rules that are enabled when the parameter is this, with their inputs as EventBridge sends them.
fn rules_of_the_sweep(template: &Value, rules: u64) -> Vec<Value> {
    let enabled = |state: &Value| match state {
        Value::Null => true,
        Value::Array(when) => {
            assert_eq!(when[1..], [json!("ENABLED"), json!("DISABLED")]);
            // Rules8 holds for 8 rules and more: each of these conditions is the next one, or that very number.
            when[0].as_str().unwrap().strip_prefix("Rules").unwrap().parse::<u64>().unwrap() <= rules
        }
        other => panic!("{other}"),
    };
    let events = template["Resources"]["RefreshFunction"]["Properties"]["Events"].as_object().unwrap();
    let sweeps = events.iter().filter(|(name, _)| *name != "BranchKeys").map(|(_, event)| &event["Properties"]);
    let of = sweeps.filter(|of| enabled(&of["State"]));
    of.map(|of| serde_json::from_str(&of["Input"].as_str().unwrap().replace("${RefreshRules}", &rules.to_string())).unwrap()).collect()
}

#[test]
fn the_rules_of_the_schedule_cover_every_shard_once_however_many_there_are() {
    let template = template();
    let allowed = template["Parameters"]["RefreshRules"]["AllowedValues"].as_array().unwrap();
    assert_eq!(*allowed, [1, 2, 4, 8, 16, 32]);
    let conditions = template["Conditions"].as_object().unwrap();
    for (number, next) in [(2, 4), (4, 8), (8, 16), (16, 32)] {
        assert_eq!(conditions[&format!("Rules{number}")], json!([format!("Rules{next}"), ["RefreshRules", number]]), "!Or");
    }
    assert_eq!(conditions["Rules32"], json!(["RefreshRules", 32]), "!Equals");
    for rules in allowed.iter().map(|number| number.as_u64().unwrap()) {
        let mut covered: Vec<u64> = Vec::new();
        let inputs = rules_of_the_sweep(&template, rules);
        assert_eq!(inputs.len() as u64, rules);
        for input in inputs {
            assert_eq!(input["of"], rules);
            let owned = input["shards"].as_array().unwrap().iter().map(|shard| shard.as_u64().unwrap()).collect::<Vec<_>>();
            covered.extend((0..32).filter(|shard| owned.contains(&(shard % rules))));
        }
        covered.sort_unstable();
        assert_eq!(covered, (0..32).collect::<Vec<u64>>(), "{rules} rules");
    }
}

#[test]
fn the_state_keys_that_the_template_generates_are_state_keys() {
    let template = template();
    let secret = |name: &str| template["Resources"][name]["Properties"].clone();
    let generate = secret("StateKeySeed")["GenerateSecretString"].clone();
    let length = generate["PasswordLength"].as_u64().unwrap();
    assert_eq!(generate["GenerateStringKey"], "seed");
    assert_eq!((&generate["ExcludePunctuation"], &generate["IncludeSpace"]), (&json!(true), &json!(false)), "letters and digits only");
    assert!(generate.get("ExcludeCharacters").is_none() && generate["RequireEachIncludedType"] == false, "nothing narrows them");
    let document = secret("StateKeysSecret")["SecretString"].as_str().unwrap().to_owned();
    let reference = "{{resolve:secretsmanager:${StateKeySeed}:SecretString:seed}}";
    assert_eq!(document.matches(reference).count(), 1);
    // What Secrets Manager may generate, the extremes of the alphabet included.
    let alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let all_alike = alphabet.chars().map(|c| c.to_string().repeat(usize::try_from(length).unwrap()));
    let shifted =
        (0..alphabet.len()).map(|from| alphabet.chars().cycle().skip(from).step_by(7).take(usize::try_from(length).unwrap()).collect());
    let mut different = BTreeSet::new();
    for seed in all_alike.chain(shifted) {
        let generated = document.replace(reference, &seed);
        assert!(parse_state_keys(&generated).is_ok(), "{generated}");
        different.insert(generated);
    }
    assert_eq!(different.len(), 2 * alphabet.len(), "no two seeds make one key");
    // 62 letters and digits carry log2(62) bits each.
    assert!(f64::from(u32::try_from(length).unwrap()) * 62_f64.log2() >= 250.0);
    let readers = serde_json::to_string(&template["Resources"]).unwrap().matches("StateKeySeed").count();
    assert_eq!(readers, 2, "the secret itself, and the one reference: no role may read it");
}

#[test]
fn announcements_are_put_by_those_who_change_a_status_on_one_bus_under_one_name() {
    let template = template();
    let speakers: Vec<String> = resources_of(&template, "AWS::Serverless::Function")
        .into_iter()
        .filter(|(_, function)| !function["Properties"]["Environment"]["Variables"]["MANDATE_EVENT_BUS"].is_null())
        .map(|(name, _)| name.replace("Function", ""))
        .collect();
    assert_eq!(
        speakers,
        ["CallbackFunction", "RefreshFunction", "RevokeFunction", "TokenFunction"].map(|name| name.replace("Function", ""))
    );
    for (name, role) in resources_of(&template, "AWS::IAM::Role") {
        let statements = role["Properties"]["Policies"][0]["PolicyDocument"]["Statement"].as_array().unwrap();
        let puts: Vec<&Value> = statements.iter().filter(|statement| statement.to_string().contains("events:")).collect();
        assert_eq!(puts.len(), usize::from(speakers.contains(&name.replace("Role", ""))), "{name}");
        for put in puts {
            let arn = "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/${EventBus}";
            let condition = json!({ "StringEquals": { "events:source": shared::eventbridge::SOURCE } });
            let statement = json!({
                "Sid": "Announcements", "Effect": "Allow", "Action": "events:PutEvents", "Resource": arn, "Condition": condition
            });
            assert_eq!(*put, json!(["Announces", statement, "AWS::NoValue"]), "{name}");
        }
    }
}

#[test]
fn every_function_is_looked_after_by_the_alarms() {
    let template = template();
    let alarms = resources_of(&template, "AWS::CloudWatch::Alarm");
    let watched = |metric: &str| -> BTreeSet<String> {
        let single = alarms.iter().map(|(_, alarm)| &alarm["Properties"]);
        let several = alarms.iter().flat_map(|(_, alarm)| alarm["Properties"]["Metrics"].as_array().into_iter().flatten());
        let all = single.chain(several.map(|of| &of["MetricStat"]["Metric"]));
        all.filter(|of| of["MetricName"] == metric).map(|of| of["Dimensions"][0]["Value"].as_str().unwrap().to_owned()).collect()
    };
    let functions: BTreeSet<String> = resources_of(&template, "AWS::Serverless::Function").into_iter().map(|(name, _)| name).collect();
    assert_eq!(watched("Errors"), functions);
    assert_eq!(watched("Throttles"), functions);
    for (name, alarm) in &alarms {
        let of = &alarm["Properties"];
        assert_eq!(of["AlarmActions"], json!(["HasAlarmTopic", ["AlarmTopicArn"], "AWS::NoValue"]), "{name}");
        assert!(of["AlarmDescription"].is_string() && of["TreatMissingData"].is_string(), "{name}");
        // A metric of an expression that is not in the alarm, or the other way round, is an alarm that never rings.
        let metrics = of["Metrics"].as_array().into_iter().flatten();
        let ids: Vec<&str> = metrics.clone().filter(|m| m.get("MetricStat").is_some()).map(|m| m["Id"].as_str().unwrap()).collect();
        for expression in metrics.filter_map(|metric| metric["Expression"].as_str()) {
            for id in &ids {
                assert!(expression.contains(&format!("FILL({id}, 0)")), "{name}: {id}");
            }
        }
    }
}

#[test]
fn s69_branch_keys_are_wrapped_for_their_purpose_by_two_functions_and_opened_by_four() {
    let template = template();
    let key = &template["Resources"]["Key"]["Properties"];
    assert_eq!(key["EnableKeyRotation"], true);
    let statements = key["KeyPolicy"]["Statement"].as_array().unwrap();
    let statement = |sid: &str| statements.iter().find(|statement| statement["Sid"] == sid).unwrap();
    let roles = |sid: &str| {
        let of = &statement(sid)["Condition"];
        assert_eq!(of["StringEquals"], json!({ "kms:EncryptionContext:purpose": "token" }), "{sid}");
        let arns = of["ArnLike"]["aws:PrincipalArn"].as_array().unwrap();
        arns.iter().map(|arn| arn.as_str().unwrap().rsplit_once("${AWS::StackName}-").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(roles("MakeBranchKeys"), ["CallbackRole-*", "RefreshRole-*"]);
    assert_eq!(roles("OpenBranchKeys"), ["CallbackRole-*", "RevokeRole-*", "TokenRole-*", "RefreshRole-*"]);
    assert_eq!(statement("MakeBranchKeys")["Action"], "kms:GenerateDataKeyWithoutPlaintext", "never a key in clear");
    let administration = statement("Administration")["Action"].to_string();
    for forbidden in ["kms:*", "Decrypt", "GenerateDataKey", "ReEncrypt", "Encrypt", "CreateGrant"] {
        assert!(!administration.contains(forbidden), "an administrator opens nothing: {forbidden}");
    }
    // The same in the roles: whoever has a kms action has it on this key, for this purpose.
    for (name, role) in resources_of(&template, "AWS::IAM::Role") {
        for statement in
            role["Properties"]["Policies"].as_array().unwrap().iter().flat_map(|p| p["PolicyDocument"]["Statement"].as_array().unwrap())
        {
            if statement["Action"].to_string().contains("kms:") {
                assert_eq!(statement["Resource"], "Key.Arn", "{name}");
                assert_eq!(statement["Condition"]["StringEquals"]["kms:EncryptionContext:purpose"], "token", "{name}");
            }
        }
    }
}

#[test]
fn branch_keys_are_rotated_by_a_rule_that_there_is_room_for() {
    let template = template();
    let rules = template["Resources"]["RefreshFunction"]["Properties"]["Events"].as_object().unwrap();
    let input: Value = serde_json::from_str(rules["BranchKeys"]["Properties"]["Input"].as_str().unwrap()).unwrap();
    assert_eq!(input, json!({ "rotate_branch_keys": {} }));
    for (rules, runs) in template["Mappings"]["Runs"].as_object().unwrap() {
        assert_eq!(
            runs["AtOnce"].as_u64().unwrap(),
            rules.parse::<u64>().unwrap() + 1,
            "a run for each rule of the sweep, and one for this"
        );
    }
}

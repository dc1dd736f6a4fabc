//! The functions as they are deployed, each in a process of its own, and what is around them: the emulated AWS behind a front that
//! counts, the demonstration sign-in, a caller and a browser.

use std::collections::HashMap;

use axum::http::Method;
use local::client::{Api, Browser, Decision};
use local::demonstration;
use local::sign_in::Counters;
use local::stack::{Options, Stack};
use serde_json::{Value, json};
use shared::domain::ids::{AuthorizationId, OrganizationId};
use shared::dynamodb::keys::Key;

use crate::Failure;
use crate::aws::{Authority, Front};
use crate::runtime_api::{Answer, Function, Launch};

/// The functions, and the names that the template sets for each.
pub const FUNCTIONS: [(&str, &[&str]); 7] = [
    ("create-url", &["MANDATE_DIRECTORY_SECRET", "MANDATE_STATE_KEYS_SECRET"]),
    (
        "callback",
        &["MANDATE_TABLE", "MANDATE_KMS_KEY_ID", "MANDATE_DIRECTORY_SECRET", "MANDATE_CLIENT_SECRETS_SECRET", "MANDATE_STATE_KEYS_SECRET"],
    ),
    ("list", &["MANDATE_TABLE", "MANDATE_DIRECTORY_SECRET", "MANDATE_STATE_KEYS_SECRET"]),
    ("revoke", &["MANDATE_TABLE", "MANDATE_KMS_KEY_ID", "MANDATE_DIRECTORY_SECRET", "MANDATE_CLIENT_SECRETS_SECRET"]),
    ("assign", &["MANDATE_TABLE", "MANDATE_DIRECTORY_SECRET"]),
    ("token", TOKEN),
    ("refresh", TOKEN),
];
const TOKEN: &[&str] =
    &["MANDATE_TABLE", "MANDATE_KMS_KEY_ID", "MANDATE_DIRECTORY_SECRET", "MANDATE_CLIENT_SECRETS_SECRET", "MANDATE_RESCUE_QUEUE_URL"];

/// An event as API Gateway sends it; what differs from request to request is put in.
const EVENT: &str = include_str!("../../events/token/hand_out.json");
/// The person who signs in.
const PERSON: &str = "usr_olivia";
/// Her organization.
const ORGANIZATION: &str = "org_demo";

/// The world.
pub struct World {
    stack: Stack,
    /// AWS without TLS.
    pub plain: Front,
    /// AWS behind TLS.
    pub tls: Front,
    /// Who signed the certificate there.
    pub authority: Authority,
    bearer: String,
}

/// Which front a function is given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Without TLS.
    Plain,
    /// With TLS.
    Tls,
}

impl World {
    /// Starts.
    pub async fn start() -> Result<Self, Failure> {
        let stack = Stack::start(Options::ephemeral()).await?;
        let authority = Authority::new()?;
        let plain = Front::start(stack.aws_endpoint(), None).await?;
        let tls = Front::start(stack.aws_endpoint(), Some(&authority)).await?;
        let bearer = demonstration::bearer(stack.api(), demonstration::olivia(), stack.clock().now())?;
        Ok(Self { stack, plain, tls, authority, bearer })
    }

    /// The API of the stack, where the functions run in its process.
    #[must_use]
    pub fn api(&self) -> String {
        format!("http://{}", self.stack.api())
    }

    /// The caller's bearer token.
    #[must_use]
    pub fn bearer(&self) -> &str {
        &self.bearer
    }

    /// What the provider was asked so far.
    #[must_use]
    pub fn provider(&self) -> Counters {
        self.stack.sign_in().counters()
    }

    /// The environment of a function in Lambda.
    #[must_use]
    pub fn environment(&self, function: &str, way: Way) -> Vec<(String, String)> {
        let made = self.stack.provisioned();
        let value = |name: &str| match name {
            "MANDATE_TABLE" => made.table.clone(),
            "MANDATE_KMS_KEY_ID" => made.key_id.clone(),
            "MANDATE_DIRECTORY_SECRET" => made.secret_ids[0].clone(),
            "MANDATE_CLIENT_SECRETS_SECRET" => made.secret_ids[1].clone(),
            "MANDATE_STATE_KEYS_SECRET" => made.secret_ids[2].clone(),
            _ => made.rescue_queue_url.clone(),
        };
        let endpoint = if way == Way::Tls { &self.tls.endpoint } else { &self.plain.endpoint };
        let names = FUNCTIONS.iter().find(|(name, _)| *name == function).map_or(&[][..], |(_, names)| names);
        let lambda = [
            ("AWS_LAMBDA_FUNCTION_NAME", function),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/measured"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/22/[$LATEST]0"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_SESSION_TOKEN", "local"),
            ("MANDATE_DEVELOPMENT", "1"),
            ("AWS_ENDPOINT_URL", endpoint),
        ];
        let lambda = lambda.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        lambda.chain(names.iter().map(|name| ((*name).to_owned(), value(name)))).collect()
    }

    /// How a function is started.
    #[must_use]
    pub fn launch(&self, program: &str, function: &str, way: Way) -> Launch {
        Launch { command: vec![program.to_owned()], environment: self.environment(function, way), ..Launch::default() }
    }

    /// An event of the caller.
    pub fn event(&self, method: &Method, path: &str, query: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let mut event: Value = serde_json::from_str(EVENT)?;
        let body = body.map(Value::to_string);
        event["rawPath"] = json!(path);
        event["rawQueryString"] = json!(query);
        event["requestContext"]["http"]["path"] = json!(path);
        event["requestContext"]["http"]["method"] = json!(method.as_str());
        event["headers"]["authorization"] = json!(format!("Bearer {}", self.bearer));
        event["headers"]["content-length"] = json!(body.as_deref().unwrap_or_default().len().to_string());
        event["body"] = json!(body);
        Ok(event)
    }

    /// An event that asks for a sign-in URL.
    pub fn create(&self) -> Result<Value, Failure> {
        self.event(&Method::POST, "/workflows/authorization", "", Some(&json!({})))
    }

    /// An event that asks for a token.
    pub fn hand_out(&self, authorization: &str) -> Result<Value, Failure> {
        self.event(&Method::POST, &format!("/workflows/authorization/{authorization}/token"), "", Some(&json!({ "workflow_id": "fl_1" })))
    }

    /// The event of a browser that comes back from the provider.
    pub async fn came_back(&self, url: &str) -> Result<Value, Failure> {
        let back = Browser::new()?.decide(url, Decision::Allow(PERSON)).await?;
        let (address, query) = back.location().split_once('?').ok_or("the provider sends nobody back")?;
        let path = address.strip_prefix(&self.api()).ok_or("the provider sends somewhere else")?;
        let mut event = self.event(&Method::GET, path, query, None)?;
        event["headers"]["authorization"].take();
        if let Some(headers) = event["headers"].as_object_mut() {
            headers.remove("authorization");
        }
        Ok(event)
    }

    /// The redirect URI of the demonstration's application.
    #[must_use]
    pub fn return_to(&self) -> String {
        format!("{}{}", self.api(), demonstration::RETURN_PATH)
    }

    /// A new authorization, made through the stack's own API and bound to `fl_1` if `bound`: its id.
    pub async fn authorize(&self, bound: bool) -> Result<String, Failure> {
        let api = Api::new(self.api(), &self.bearer)?;
        let url = api.post("/workflows/authorization", json!({})).await?.json()["url"].as_str().unwrap_or_default().to_owned();
        let stored = Browser::new()?.sign_in(&url, Decision::Allow(PERSON)).await?;
        let list = api.get("/workflows/authorization?limit=1").await?.json();
        let id = list[0]["id"].as_str().ok_or_else(|| format!("nothing is stored: {}", stored.status))?.to_owned();
        if bound {
            // Its scopes are counted in the record, which would lie about a kilobyte without, and cost one unit more or less by chance.
            let scopes = json!(["openid", "email", "offline_access"]);
            api.put("/workflows/fl_1/authorization", json!({ "authorization_id": id, "required_scopes": scopes })).await?;
        }
        Ok(id)
    }

    /// Makes an authorization due now, as time would.
    pub async fn make_due(&self, authorization: &str) -> Result<(), Failure> {
        let sdk = local::provision::loopback_sdk_config(self.stack.aws_endpoint());
        let key = Key::authorization(&OrganizationId::try_from(ORGANIZATION)?, &AuthorizationId::try_from(authorization)?);
        aws_sdk_dynamodb::Client::new(&sdk)
            .update_item()
            .table_name(&self.stack.provisioned().table)
            .key("pk", aws_sdk_dynamodb::types::AttributeValue::S(key.pk().to_owned()))
            .key("sk", aws_sdk_dynamodb::types::AttributeValue::S(key.sk().to_owned()))
            .update_expression("SET due_at = :past")
            .expression_attribute_values(":past", aws_sdk_dynamodb::types::AttributeValue::N("1".to_owned()))
            .send()
            .await?;
        Ok(())
    }
}

/// The deployed functions, started when first needed.
pub struct Deployed<'a> {
    world: &'a World,
    program: Box<dyn Fn(&str) -> String + 'a>,
    running: HashMap<String, Function>,
}

impl<'a> Deployed<'a> {
    /// None yet.
    #[must_use]
    pub fn new(world: &'a World, program: impl Fn(&str) -> String + 'a) -> Self {
        Self { world, program: Box::new(program), running: HashMap::new() }
    }

    /// Invokes a function.
    pub async fn invoke(&mut self, function: &str, event: &Value) -> Result<Answer, Failure> {
        if !self.running.contains_key(function) {
            let launch = self.world.launch(&(self.program)(function), function, Way::Plain);
            self.running.insert(function.to_owned(), Function::start(&launch).await?);
        }
        self.running.get_mut(function).ok_or("just started")?.invoke(event).await
    }

    /// A sign-in URL.
    pub async fn url(&mut self, body: &Value) -> Result<String, Failure> {
        let event = self.world.event(&Method::POST, "/workflows/authorization", "", Some(body))?;
        let answer = self.invoke("create-url", &event).await?.body(200)?;
        Ok(answer["url"].as_str().unwrap_or_default().to_owned())
    }

    /// Binds a workflow.
    pub async fn bind(&mut self, workflow: &str, authorization: &str) -> Result<(), Failure> {
        let path = format!("/workflows/{workflow}/authorization");
        let event = self.world.event(&Method::PUT, &path, "", Some(&json!({ "authorization_id": authorization })))?;
        self.invoke("assign", &event).await?.body(200)?;
        Ok(())
    }

    /// Ends them all.
    pub async fn stop(self) -> Result<(), Failure> {
        for function in self.running.into_values() {
            function.stop().await?;
        }
        Ok(())
    }
}

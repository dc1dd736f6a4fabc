//! The environment of a function (design section 9): read once, here, and every missing name reported at once.

use std::collections::BTreeMap;
use std::fmt;

/// The names that a function needs; the template sets no more.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `MANDATE_TABLE`
    pub table: Option<String>,
    /// `MANDATE_KMS_KEY_ID`
    pub kms_key_id: Option<String>,
    /// `MANDATE_DIRECTORY_SECRET`
    pub directory_secret: Option<String>,
    /// `MANDATE_CLIENT_SECRETS_SECRET`
    pub client_secrets_secret: Option<String>,
    /// `MANDATE_STATE_KEYS_SECRET`
    pub state_keys_secret: Option<String>,
    /// `MANDATE_RESCUE_QUEUE_URL`
    pub rescue_queue_url: Option<String>,
    /// `MANDATE_EVENT_BUS`, the name or ARN of a bus; without it the log alone tells of changes.
    pub event_bus: Option<String>,
    /// `MANDATE_METRICS_NAMESPACE`, so that two stacks of one account do not count together.
    pub metrics_namespace: Option<String>,
    /// `MANDATE_DEVELOPMENT=1`: only then is another AWS endpoint taken, and providers on loopback are allowed.
    pub development: bool,
    /// `AWS_REGION`, which Lambda sets.
    pub region: Option<String>,
    /// `AWS_ENDPOINT_URL`, in development only.
    pub endpoint_url: Option<String>,
    /// `AWS_ENDPOINT_URL_DYNAMODB` and so on, by the service's part of the name; in development only.
    pub endpoint_urls: BTreeMap<&'static str, String>,
    /// How long an identity provider may take in all, if not ten seconds. No variable says so: it is for tests of providers that never
    /// answer.
    pub provider_time: Option<std::time::Duration>,
}

/// The services that are asked, as the SDKs name them in `AWS_ENDPOINT_URL_<SERVICE>`.
const SERVICES: [&str; 5] = ["DYNAMODB", "EVENTBRIDGE", "KMS", "SECRETS_MANAGER", "SQS"];

/// Names that are not set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub Vec<&'static str>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the environment does not set {}", self.0.join(", "))
    }
}

impl std::error::Error for Missing {}

impl Settings {
    /// Reads the environment.
    #[must_use]
    pub fn from_environment() -> Self {
        let development = variable("MANDATE_DEVELOPMENT").as_deref() == Some("1");
        Self {
            table: variable("MANDATE_TABLE"),
            kms_key_id: variable("MANDATE_KMS_KEY_ID"),
            directory_secret: variable("MANDATE_DIRECTORY_SECRET"),
            client_secrets_secret: variable("MANDATE_CLIENT_SECRETS_SECRET"),
            state_keys_secret: variable("MANDATE_STATE_KEYS_SECRET"),
            rescue_queue_url: variable("MANDATE_RESCUE_QUEUE_URL"),
            event_bus: variable("MANDATE_EVENT_BUS"),
            metrics_namespace: variable("MANDATE_METRICS_NAMESPACE"),
            development,
            region: variable("AWS_REGION"),
            endpoint_url: variable("AWS_ENDPOINT_URL").filter(|_| development),
            endpoint_urls: SERVICES
                .into_iter()
                .filter_map(|service| Some((service, variable(&format!("AWS_ENDPOINT_URL_{service}"))?)))
                .filter(|_| development)
                .collect(),
            provider_time: None,
        }
    }

    /// The settings of a function that needs these: the rest is not in its environment.
    #[must_use]
    pub fn only(&self, needs: &[Need]) -> Self {
        let given = |need: Need, value: &Option<String>| value.clone().filter(|_| needs.contains(&need));
        Self {
            table: given(Need::Table, &self.table),
            kms_key_id: given(Need::KmsKey, &self.kms_key_id),
            directory_secret: given(Need::Directory, &self.directory_secret),
            client_secrets_secret: given(Need::ClientSecrets, &self.client_secrets_secret)
                .or_else(|| given(Need::ClientSecretsToPush, &self.client_secrets_secret)),
            state_keys_secret: given(Need::StateKeys, &self.state_keys_secret),
            rescue_queue_url: given(Need::RescueQueue, &self.rescue_queue_url),
            ..self.clone()
        }
    }

    /// Where a service is, if not where AWS has it: what is said of it alone goes before what is said of all.
    #[must_use]
    pub fn endpoint_of(&self, service: &str) -> Option<&str> {
        self.endpoint_urls.get(service).or(self.endpoint_url.as_ref()).map(String::as_str)
    }

    /// Holds the settings to what a function needs.
    pub fn require(&self, needs: &[Need]) -> Result<(), Missing> {
        let missing: Vec<_> = needs.iter().filter(|need| need.is_required() && need.of(self).is_none()).map(|need| need.name()).collect();
        if missing.is_empty() { Ok(()) } else { Err(Missing(missing)) }
    }
}

/// One name of the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The table.
    Table,
    /// The KMS key.
    KmsKey,
    /// The directory.
    Directory,
    /// The client secrets.
    ClientSecrets,
    /// The client secrets where they are given. A function that makes sign-in URLs does without them, unless the directory has it
    /// push requests (RFC 9126) for a client that must prove itself.
    ClientSecretsToPush,
    /// The state keys.
    StateKeys,
    /// The rescue queue.
    RescueQueue,
}

impl Need {
    /// Its name in the environment.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "MANDATE_TABLE",
            Self::KmsKey => "MANDATE_KMS_KEY_ID",
            Self::Directory => "MANDATE_DIRECTORY_SECRET",
            Self::ClientSecrets | Self::ClientSecretsToPush => "MANDATE_CLIENT_SECRETS_SECRET",
            Self::StateKeys => "MANDATE_STATE_KEYS_SECRET",
            Self::RescueQueue => "MANDATE_RESCUE_QUEUE_URL",
        }
    }

    fn is_required(self) -> bool {
        self != Self::ClientSecretsToPush
    }

    fn of(self, settings: &Settings) -> Option<&str> {
        match self {
            Self::Table => settings.table.as_deref(),
            Self::KmsKey => settings.kms_key_id.as_deref(),
            Self::Directory => settings.directory_secret.as_deref(),
            Self::ClientSecrets | Self::ClientSecretsToPush => settings.client_secrets_secret.as_deref(),
            Self::StateKeys => settings.state_keys_secret.as_deref(),
            Self::RescueQueue => settings.rescue_queue_url.as_deref(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place where the environment is read")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_has_in_its_environment_what_it_needs_and_no_more() {
        let value = || Some("x".to_owned());
        let all = Settings { table: value(), client_secrets_secret: value(), region: value(), ..Settings::default() };
        let given = all.only(&[Need::Table]);
        assert_eq!((given.table, given.client_secrets_secret, given.region), (value(), None, value()));
        assert_eq!(all.only(&[Need::ClientSecretsToPush]).client_secrets_secret, value());
    }

    #[test]
    fn the_endpoint_of_one_service_goes_before_that_of_all() {
        let one = || BTreeMap::from([("KMS", "http://127.0.0.1:2".to_owned())]);
        let both = Settings { endpoint_url: Some("http://127.0.0.1:1".to_owned()), endpoint_urls: one(), ..Settings::default() };
        assert_eq!((both.endpoint_of("KMS"), both.endpoint_of("SQS")), (Some("http://127.0.0.1:2"), Some("http://127.0.0.1:1")));
        let alone = Settings { endpoint_urls: one(), ..Settings::default() };
        assert_eq!((alone.endpoint_of("KMS"), alone.endpoint_of("SQS")), (Some("http://127.0.0.1:2"), None));
    }

    #[test]
    fn every_missing_name_is_reported_at_once() {
        let settings = Settings { table: Some("t".to_owned()), ..Settings::default() };
        let missing = settings.require(&[Need::Table, Need::KmsKey, Need::Directory]);
        assert_eq!(missing, Err(Missing(vec!["MANDATE_KMS_KEY_ID", "MANDATE_DIRECTORY_SECRET"])));
        assert_eq!(settings.require(&[Need::Table, Need::ClientSecretsToPush]), Ok(()), "it may be given and need not");
    }
}

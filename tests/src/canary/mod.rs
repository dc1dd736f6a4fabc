//! The canary: no secret is ever where it must not be (contract section 11, security requirements 65 and 79).
//!
//! It sits in every [`World`](crate::World), so that each test with a world is a test of this, too.
//!
//! 1. Every secret that passes between callers, browsers, the service, AWS and providers is noted ([`harvest`]), whoever made it: access,
//!    refresh and id tokens, codes, completion codes, states, nonces, verifiers, bearer tokens, cookies, client secrets and assertions,
//!    keys.
//! 2. Everything that leaves a function is kept: each request to DynamoDB, SQS, Secrets Manager and KMS with its headers as it came over
//!    the wire, each answer with its headers, and each line of the log, which holds the metrics, too.
//! 3. When the world ends, 2 is searched for 1 ([`search`]), and the test fails with the count and the places, unless the place is one
//!    of [`MAY`].
//!
//! What only stands at the side is not kept: the table and the secrets as tests set the stage, and what the service says to providers,
//! for whom tokens and secrets are meant.

pub mod harvest;
pub mod search;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use local::aws::{Call, Service};
use local::functions::InvokeError;
use local::witness::{Exchange, Witness};
use serde_json::Value;

use self::search::{Form, Found, Index, SHORTEST};
use crate::log;
use crate::permissions::{self, Use};

/// What kind of secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An access token of a provider.
    AccessToken,
    /// A refresh token.
    RefreshToken,
    /// An `id_token`.
    IdToken,
    /// A provider's authorization code.
    Code,
    /// The code with which an application completes a sign-in.
    CompletionCode,
    /// A sealed state.
    State,
    /// The application's own state.
    ApplicationState,
    /// A nonce.
    Nonce,
    /// A PKCE verifier, the service's or a caller's.
    Verifier,
    /// A caller's JWT.
    BearerToken,
    /// A client secret.
    ClientSecret,
    /// A signed assertion of a client.
    ClientAssertion,
    /// A cookie.
    Cookie,
    /// A state key, a branch key, an HMAC secret, a private key.
    Key,
}

/// All kinds.
pub const KINDS: [Kind; 14] = [
    Kind::AccessToken,
    Kind::RefreshToken,
    Kind::IdToken,
    Kind::Code,
    Kind::CompletionCode,
    Kind::State,
    Kind::ApplicationState,
    Kind::Nonce,
    Kind::Verifier,
    Kind::BearerToken,
    Kind::ClientSecret,
    Kind::ClientAssertion,
    Kind::Cookie,
    Kind::Key,
];

/// Where something left a function.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of the log.
    Log,
    /// A request to AWS, headers and body.
    Aws {
        /// The service.
        service: Service,
        /// The operation.
        operation: String,
    },
    /// An answer.
    Answer {
        /// Whose.
        function: String,
        /// Its status; 0 for what is no HTTP answer.
        status: u16,
        /// `body`, or the name of a header.
        part: String,
    },
}

/// Where which secrets may be, and why: everything else is a leak.
pub const MAY: [(&str, u16, &str, &[Kind], &str); 5] = [
    ("token", 200, "body", &[Kind::AccessToken], "handing out the access token is what the route is for"),
    ("create-url", 200, "body", &[Kind::State, Kind::Nonce], "the sign-in URL carries both to the provider"),
    ("create-url", 400, "body", &[Kind::ApplicationState], "the redirect URI with the error carries the application's state back"),
    ("callback", 303, "location", &[Kind::CompletionCode, Kind::ApplicationState], "the browser carries both to the application"),
    ("callback", 303, "multi:location", &[Kind::CompletionCode, Kind::ApplicationState], "the same"),
];

fn may(place: &Place, kinds: &BTreeSet<Kind>) -> bool {
    let Place::Answer { function, status, part } = place else { return false };
    let here = |(of, with, at, _, _): &&(&str, u16, &str, &[Kind], &str)| (*of, *with, *at) == (function, *status, part);
    MAY.iter().filter(here).any(|(_, _, _, allowed, _)| kinds.iter().any(|kind| allowed.contains(kind)))
}

/// Every secret of this process. Tests run beside each other, and one's secret must not be in another's traffic either.
struct Secrets {
    index: Index,
    kinds: Vec<BTreeSet<Kind>>,
    numbers: std::collections::HashMap<Vec<u8>, usize>,
    too_short: BTreeSet<(Kind, String)>,
}

static SECRETS: Mutex<Option<Secrets>> = Mutex::new(None);

fn secrets<T>(with: impl FnOnce(&mut Secrets) -> T) -> T {
    let mut secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    with(secrets.get_or_insert_with(|| Secrets {
        index: Index::new(),
        kinds: Vec::new(),
        numbers: std::collections::HashMap::new(),
        too_short: BTreeSet::new(),
    }))
}

/// Looks for this secret from now on, in everything that worlds have kept and will keep.
pub fn register(kind: Kind, secret: &str) {
    for part in parts(secret) {
        if part.len() < SHORTEST {
            secrets(|secrets| secrets.too_short.insert((kind, part.to_owned())));
        } else {
            register_bytes(kind, part.as_bytes());
        }
    }
}

/// The same for bytes.
pub fn register_bytes(kind: Kind, secret: &[u8]) {
    if secret.len() < SHORTEST {
        return;
    }
    secrets(|secrets| {
        let number = if let Some(number) = secrets.numbers.get(secret) {
            *number
        } else {
            let number = secrets.index.add(secret);
            secrets.numbers.insert(secret.to_vec(), number);
            secrets.kinds.push(BTreeSet::new());
            number
        };
        secrets.kinds[number].insert(kind);
    });
}

/// What of a secret is secret, each part beginning where that does: of a sealed text `<kid>.<…>` all but the key's name, of a JWT its
/// claims and its signature, too, of a PEM every line.
fn parts(secret: &str) -> Vec<&str> {
    if secret.starts_with("-----BEGIN") {
        return secret.lines().filter(|line| !line.starts_with('-')).collect();
    }
    match secret.split('.').collect::<Vec<_>>()[..] {
        [name, sealed] if !name.is_empty() && sealed.len() >= SHORTEST => vec![sealed],
        [_, claims, signature] if claims.len() >= SHORTEST && signature.len() >= SHORTEST => vec![secret, claims, signature],
        _ => vec![secret],
    }
}

/// The secrets that have been noted in this process.
pub struct Noted {
    /// How many of each kind.
    pub by_kind: Vec<(Kind, usize)>,
    /// Those that are too short to be looked for.
    pub too_short: BTreeSet<(Kind, String)>,
}

/// What has been noted so far.
#[must_use]
pub fn noted() -> Noted {
    secrets(|secrets| {
        let count = |kind: &Kind| secrets.kinds.iter().filter(|kinds| kinds.contains(kind)).count();
        Noted { by_kind: KINDS.iter().map(|kind| (*kind, count(kind))).collect(), too_short: secrets.too_short.clone() }
    })
}

/// A secret where it must not be.
#[derive(Clone, PartialEq, Eq)]
pub struct Leak {
    /// What it is.
    pub kinds: BTreeSet<Kind>,
    /// How it is written there.
    pub form: Form,
    /// Where.
    pub place: Place,
    /// What stands there.
    pub excerpt: String,
}

impl fmt::Debug for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} as {:?} in {:?}: …{}…", self.kinds, self.form, self.place, self.excerpt)
    }
}

/// Keeps what leaves the functions of one world.
#[derive(Default)]
pub struct Watch {
    kept: Mutex<Vec<(Place, Vec<u8>)>>,
    uses: Mutex<BTreeSet<Use>>,
}

impl Watch {
    fn keep(&self, place: Place, bytes: Vec<u8>) {
        self.kept().push((place, bytes));
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(Place, Vec<u8>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness for Watch {
    fn asked_aws(&self, call: &Call<'_>, headers: &HeaderMap, body: &[u8]) {
        // Only functions say what application they are; the others set the stage, and put secrets where they belong.
        if call.application.is_none() {
            return;
        }
        let mut bytes = Vec::with_capacity(body.len() + 1024);
        for (name, value) in headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(body);
        self.uses.lock().unwrap_or_else(PoisonError::into_inner).extend(permissions::uses(call));
        self.keep(Place::Aws { service: call.service, operation: call.operation.to_owned() }, bytes);
    }

    fn answered_by_aws(&self, call: &Call<'_>, answer: &Value) {
        if call.service == Service::Kms {
            harvest::plaintext(answer);
        }
    }

    fn invoked(&self, function: &str, event: &Value, answer: Result<&Value, &InvokeError>) {
        harvest::event(function, event);
        let status = answer.map_or(0, |answer| answer["statusCode"].as_u64().and_then(|s| u16::try_from(s).ok()).unwrap_or(0));
        let place = |part: &str| Place::Answer { function: function.to_owned(), status, part: part.to_owned() };
        let answer = match answer {
            Ok(answer) if status > 0 => answer,
            Ok(report) => return self.keep(place("body"), report.to_string().into_bytes()),
            Err(error) => return self.keep(place("body"), error.to_string().into_bytes()),
        };
        let text = answer["body"].as_str().unwrap_or_default();
        let body = if answer["isBase64Encoded"] == true { STANDARD.decode(text).unwrap_or_default() } else { text.as_bytes().to_vec() };
        let mut location = String::new();
        for (name, value) in answer["headers"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            if name.eq_ignore_ascii_case("location") {
                value.clone_into(&mut location);
            }
            self.keep(place(&name.to_ascii_lowercase()), value.as_bytes().to_vec());
        }
        for (name, values) in answer["multiValueHeaders"].as_object().into_iter().flatten() {
            self.keep(place(&format!("multi:{}", name.to_ascii_lowercase())), values.to_string().into_bytes());
        }
        for cookie in answer["cookies"].as_array().into_iter().flatten() {
            self.keep(place("set-cookie"), cookie.to_string().into_bytes());
        }
        harvest::answer(&location, &serde_json::from_slice(&body).unwrap_or(Value::Null));
        self.keep(place("body"), body);
    }

    fn exchanged(&self, exchange: &Exchange<'_>) {
        harvest::exchange(exchange);
    }
}

/// Who notes the secrets of providers that begin before their world.
#[must_use]
pub fn at_providers() -> Arc<dyn Witness> {
    Arc::new(Watch::default())
}

/// The canary of one world. It looks when it is dropped, and stops the test there if it finds anything.
pub struct Canary {
    watch: Arc<Watch>,
    log_from: usize,
    expected: bool,
}

impl Canary {
    /// Begins to keep what passes.
    #[must_use]
    pub fn new() -> Self {
        log::listen();
        let log_from = log::bytes_so_far().len();
        Self { watch: Arc::default(), log_from, expected: false }
    }

    /// What the stack has to let see.
    #[must_use]
    pub fn witness(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    /// Every secret where it must not be, up to now.
    #[must_use]
    pub fn leaks(&self) -> Vec<Leak> {
        let log = log::bytes_so_far()[self.log_from..].to_vec();
        let kept = self.watch.kept();
        secrets(|secrets| {
            let mut leaks = Vec::new();
            for (place, bytes) in kept.iter().map(|(place, bytes)| (place, bytes.as_slice())).chain([(&Place::Log, log.as_slice())]) {
                let found = secrets.index.search(bytes).into_iter().filter(|found| !may(place, &secrets.kinds[found.secret]));
                leaks.extend(found.map(|Found { secret, form, at }| Leak {
                    kinds: secrets.kinds[secret].clone(),
                    form,
                    place: place.clone(),
                    excerpt: String::from_utf8_lossy(&bytes[at.saturating_sub(120)..bytes.len().min(at + 48)]).into_owned(),
                }));
            }
            leaks
        })
    }

    /// How many bytes it has kept, by where they were.
    #[must_use]
    pub fn kept(&self) -> std::collections::BTreeMap<String, usize> {
        let mut kept = std::collections::BTreeMap::from([("log".to_owned(), log::bytes_so_far().len() - self.log_from)]);
        for (place, bytes) in self.watch.kept().iter() {
            let name = match place {
                Place::Log => "log".to_owned(),
                Place::Aws { service, .. } => format!("{service:?}"),
                Place::Answer { status, .. } if *status >= 400 => "refusals".to_owned(),
                Place::Answer { .. } => "answers".to_owned(),
            };
            *kept.entry(name).or_default() += bytes.len();
        }
        kept
    }

    /// What the functions of this world have asked of AWS, in the words of their roles.
    #[must_use]
    pub fn uses(&self) -> BTreeSet<Use> {
        self.watch.uses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it without a look: for the test that leaks on purpose.
    pub fn let_go(mut self) {
        self.expected = true;
    }
}

impl Default for Canary {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        // A test that has failed says why itself.
        if self.expected || std::thread::panicking() {
            return;
        }
        let leaks = self.leaks();
        let first: Vec<String> = leaks.iter().take(20).map(|leak| format!("{leak:?}")).collect();
        assert!(leaks.is_empty(), "{} secrets are where they must not be:\n{}", leaks.len(), first.join("\n"));
    }
}

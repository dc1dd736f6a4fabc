//! Where stories of several people take place: a world with an honest provider and an attacker's, and a browser for everybody.

use local::client::Answer;
use serde_json::{Value, json};
use url::Url;

use crate::browser::Browser;
use crate::provider::{CLIENT_ID, CLIENT_SECRET, Person, Provider, Seen};
use crate::world::{Caller, Calls, Setup, World};

/// Somebody with a browser of their own and a session at the application, which calls the API for them.
pub struct Party {
    /// The browser.
    pub browser: Browser,
    /// The application's calls on their behalf.
    pub caller: Caller,
}

/// How a sign-in ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// At the callback.
    Direct,
    /// At the application.
    Redirect,
}

/// Both.
pub const MODES: [Mode; 2] = [Mode::Direct, Mode::Redirect];

/// A world with an honest provider, which `conn_honest` (OpenID Connect) and `conn_plain` (OAuth alone) lead to, and an attacker's own,
/// which `conn_malicious` leads to. Everybody may use all three: that is the attacker's best case.
pub struct Arena {
    /// The stack.
    pub world: World,
    /// The provider that everybody trusts.
    pub honest: Provider,
    /// The attacker's.
    pub malicious: Provider,
    /// The victim.
    pub olivia: Party,
    /// An attacker in the victim's own organization.
    pub ben: Party,
    /// An attacker in another organization.
    pub mallory: Party,
}

/// What can change by an attack.
#[derive(Debug, PartialEq)]
pub struct Tally {
    /// What the honest provider was asked.
    pub honest: Seen,
    /// What the attacker's provider was asked.
    pub malicious: Seen,
    /// Token requests to the demonstration sign-in.
    pub demonstration: u64,
    /// What the organizations of the victim and of the attacker from outside have.
    pub stored: [Value; 2],
}

impl Arena {
    /// The arena.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// An arena whose connections differ.
    pub async fn with(change: impl Fn(&mut Value) + Send + 'static) -> Self {
        let honest = Provider::start().await;
        let malicious = Provider::beside(&honest).await;
        let mut connections =
            json!([honest.connection("conn_honest"), plain(&honest, "conn_plain"), malicious.connection("conn_malicious")]);
        change(&mut connections);
        let secrets = connections.as_array().unwrap().iter().map(|c| (c["id"].as_str().unwrap().to_owned(), CLIENT_SECRET.to_owned()));
        let client_secrets = secrets.collect();
        let add = move |directory: &mut Value, _| {
            directory["connections"].as_array_mut().unwrap().extend(connections.as_array().unwrap().iter().cloned());
        };
        let setup = Setup { directory: Some(Box::new(add)), client_secrets, clock: Some(honest.clock()), ..Setup::default() };
        let world = World::with(setup).await;
        let party = |caller: Caller, person: &Person| {
            let party = Party { browser: Browser::new(), caller };
            party.browser.sign_in_at(&honest, person);
            party.browser.sign_in_at(&malicious, person);
            party
        };
        let olivia = party(world.olivia(), &person("olivia", "ops@example.com", "org_demo"));
        let ben = party(world.ben(), &person("ben", "ben@example.com", "org_demo"));
        let mallory = party(world.mallory(), &person("mallory", "mallory@elsewhere.example", "org_elsewhere"));
        let arena = Self { world, honest, malicious, olivia, ben, mallory };
        let registered = ["conn_honest", "conn_plain"].map(|connection| arena.callback(connection)).to_vec();
        arena.honest.front(|front| front.registered = Some(registered));
        arena
    }

    /// This service's callback for a connection.
    #[must_use]
    pub fn callback(&self, connection: &str) -> String {
        format!("{}/workflows/authorization/callback/{connection}", self.world.base())
    }

    /// A sign-in URL of this party's own.
    pub async fn url(&self, party: &Party, connection: &str, mode: Mode) -> String {
        let mut body = json!({ "connection_id": connection });
        if mode == Mode::Redirect {
            body["redirect_uri"] = json!(self.world.return_to());
            body["state"] = json!("the application's own");
        }
        self.world.url(&party.caller, body).await
    }

    /// The party opens a URL, signs in, and stands before the callback: its URL.
    pub async fn before_the_callback(&self, party: &Party, url: &str) -> String {
        party.browser.visit_until(url, &format!("{}/workflows/", self.world.base())).await
    }

    /// The application of this party receives their browser, and completes with whoever is signed in there.
    pub async fn application(&self, party: &Party, arriving: &Answer) -> Answer {
        assert_eq!(arriving.status, 303, "{}", arriving.text);
        assert!(arriving.location().starts_with(&self.world.return_to()), "{}", arriving.location());
        party.caller.complete(json!({ "code": parameter(arriving.location(), "code") })).await
    }

    /// How things stand.
    pub async fn tally(&self) -> Tally {
        Tally {
            honest: self.honest.seen(),
            malicious: self.malicious.seen(),
            demonstration: self.world.provider().token_requests,
            stored: [self.olivia.caller.list().await, self.mallory.caller.list().await],
        }
    }

    /// No token endpoint was asked since then, and no organization has anything that it had not.
    pub async fn nothing_happened_since(&self, before: &Tally) {
        let after = self.tally().await;
        for (then, now) in [(before.honest, after.honest), (before.malicious, after.malicious)] {
            assert_eq!((now.exchanges, now.refreshes, now.revocations), (then.exchanges, then.refreshes, then.revocations));
        }
        assert_eq!(after.demonstration, before.demonstration);
        assert_eq!(after.stored, before.stored);
    }

    /// Nobody has anything that they had not, and every token that the honest provider gave since then was given back.
    pub async fn nothing_was_kept_since(&self, before: &Tally, issued: usize) {
        assert_eq!(self.tally().await.stored, before.stored);
        let (given, back) = (self.honest.issued(), self.honest.revoked());
        for token in &given[issued..] {
            assert!(back.contains(token), "{token} was not given back");
        }
    }

    /// This service has set no cookie in any browser, so that no browser lends anybody a session here.
    pub fn no_browser_has_a_cookie_of_ours(&self) {
        for party in [&self.olivia, &self.ben, &self.mallory] {
            assert_eq!(party.browser.cookies(&self.world.base()), std::collections::BTreeMap::new());
        }
    }

    /// AWS requests that `doing` makes.
    pub async fn calls<T>(&self, doing: impl Future<Output = T>) -> (T, Calls) {
        let before = self.world.calls();
        let done = doing.await;
        (done, self.world.calls() - before)
    }
}

/// Somebody with an account at a provider, with a verified address.
#[must_use]
pub fn person(subject: &str, email: &str, organization: &str) -> Person {
    Person { subject: subject.to_owned(), email: Some(email.to_owned()), email_verified: true, organization: Some(organization.to_owned()) }
}

/// A connection without OpenID Connect: no nonce and no `id_token`.
#[must_use]
pub fn plain(provider: &Provider, id: &str) -> Value {
    let at = |path: &str| format!("{}/{path}", provider.issuer());
    json!({
        "id": id, "provider": "plain", "organization_id": null, "linked": true, "kind": "oauth2", "client_id": CLIENT_ID,
        "authorization_endpoint": at("authorize"), "token_endpoint": at("token"), "userinfo_endpoint": at("userinfo"),
        "revocation_endpoint": at("revoke"), "scopes": ["email"], "allowed_scopes": ["email", "sites:read"],
    })
}

/// A parameter of a URL; empty if it is not there.
#[must_use]
pub fn parameter(url: &str, name: &str) -> String {
    Url::parse(url).unwrap().query_pairs().find(|(n, _)| n == name).map(|(_, v)| v.into_owned()).unwrap_or_default()
}

/// The URL with parameters replaced, or taken away where the value is `None`.
#[must_use]
pub fn with(url: &str, changes: &[(&str, Option<&str>)]) -> String {
    let mut result = Url::parse(url).unwrap();
    let kept: Vec<(String, String)> =
        result.query_pairs().filter(|(n, _)| !changes.iter().any(|(name, _)| n == name)).map(|(n, v)| (n.into(), v.into())).collect();
    let new = changes.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    result.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(new);
    result.into()
}

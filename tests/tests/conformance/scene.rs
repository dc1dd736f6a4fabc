//! One module's provider, connection and caller, and sign-ins as a person's browser and the calling application make them.

use serde_json::{Value, json};
use tests::conformance::Provider;
use tests::conformance::provider::{EMAIL, SUBJECT, Seen};
use tests::{Caller, Expect as _, World};

use local::client::Answer;

use crate::module::{At, Further};

/// The two ways to sign in (contract sections 6.1 and 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Direct,
    Redirect,
}

pub(crate) const MODES: [Mode; 2] = [Mode::Direct, Mode::Redirect];

pub(crate) struct Scene<'a> {
    pub(crate) world: &'a World,
    pub(crate) provider: &'a Provider,
    pub(crate) connection: &'a str,
    pub(crate) olivia: Caller,
}

impl Scene<'_> {
    async fn ask(&self, mode: Mode) -> Answer {
        let body = match mode {
            Mode::Direct => json!({ "connection_id": self.connection }),
            Mode::Redirect => {
                json!({ "connection_id": self.connection, "redirect_uri": self.world.return_to(), "state": "the application's" })
            }
        };
        self.olivia.post("/workflows/authorization", body).await
    }

    /// The browser opens the sign-in URL, the person allows, and the browser goes where it is sent: the callback's answer.
    async fn come_back(&self, mode: Mode) -> Answer {
        let url = self.ask(mode).await.is(200)["url"].as_str().unwrap().to_owned();
        let sent = self.world.open(&url).await;
        assert_eq!(sent.status, 303, "the provider refused the authorization request: {:?}", self.provider.offences());
        let callback = format!("{}/workflows/authorization/callback/{}?", self.world.base(), self.connection);
        assert!(sent.location().starts_with(&callback), "{}", sent.location());
        self.world.open(sent.location()).await
    }

    /// What the application gets for the completion code of such an answer.
    async fn complete(&self, back: &Answer) -> Answer {
        assert_eq!(back.status, 303, "{}", back.text);
        assert_eq!(back.sent("state").as_deref(), Some("the application's"));
        self.olivia.complete(json!({ "code": back.sent("code") })).await
    }

    /// The authorizations of this connection, newest first.
    pub(crate) async fn authorizations(&self) -> Vec<Value> {
        let list = self.olivia.list().await;
        list.as_array().unwrap().iter().filter(|entry| entry["connection_id"] == self.connection).cloned().collect()
    }

    /// Signs in, and holds what is stored to what the provider said: the authorization.
    pub(crate) async fn authorize(&self, mode: Mode) -> Value {
        let (stored, seen) = (self.authorizations().await.len(), self.provider.seen());
        let back = self.come_back(mode).await;
        if mode == Mode::Direct {
            back.page(200);
        } else {
            self.complete(&back).await.is(201);
        }
        let now = self.authorizations().await;
        assert_eq!(now.len(), stored + 1, "one authorization is stored");
        assert_eq!((&now[0]["status"], &now[0]["user_id"]), (&json!("active"), &json!(SUBJECT)));
        assert_eq!(self.provider.seen().exchanges, seen.exchanges + 1, "the code is sent once");
        assert_eq!(self.provider.offences(), [""; 0], "what the client did wrong");
        now[0].clone()
    }

    /// A sign-in that has to be accepted, in both modes.
    pub(crate) async fn accepted(&self, further: Further) -> String {
        for mode in MODES {
            let stored = self.authorize(mode).await;
            assert_eq!(stored["email"], EMAIL, "as only userinfo tells it");
            further(self.provider, &stored);
        }
        "accepted: stored in direct and in redirect mode".to_owned()
    }

    /// A sign-in that has to be refused, in both modes.
    pub(crate) async fn refused(&self, at: At) -> String {
        for mode in MODES {
            let (stored, seen, live) = (self.authorizations().await, self.provider.seen(), self.provider.live_tokens());
            match at {
                At::Metadata => drop(self.ask(mode).await.refused(502, "oauth_failed")),
                At::Response => self.untrusted(mode).await,
                At::IdToken | At::UserInfo => self.not_proved(mode).await,
            }
            assert_eq!(self.authorizations().await, stored, "nothing is stored");
            assert_eq!(self.provider.live_tokens(), live, "what was obtained is given back");
            assert_eq!(self.provider.offences(), [""; 0], "what the client did wrong");
            let now = self.provider.seen();
            let (exchanges, userinfo, browsers) = match at {
                At::Metadata => (0, 0, 0),
                At::Response => (0, 0, 1),
                At::IdToken => (1, 0, 1),
                At::UserInfo => (1, 1, 1),
            };
            let Seen { exchanges: e, userinfo: u, browsers: b, .. } = seen;
            assert_eq!((now.exchanges - e, now.userinfo - u, now.browsers - b), (exchanges, userinfo, browsers), "{mode:?} {at:?}");
        }
        let told = match at {
            At::Metadata => "refused: `502 oauth_failed`, no sign-in URL, nothing asked of the provider but its metadata",
            At::Response => "refused: page `400`, no token request, nothing stored",
            At::IdToken => "refused: page `502` or `502 oauth_failed`, access token not used, nothing stored, tokens revoked",
            At::UserInfo => "refused: page `502` or `502 oauth_failed`, nothing stored, tokens revoked",
        };
        told.to_owned()
    }

    /// The browser brought something that cannot be trusted: a page, and the browser is sent nowhere.
    async fn untrusted(&self, mode: Mode) {
        let back = self.come_back(mode).await;
        back.page(400);
        assert_eq!(back.location(), "");
    }

    /// The provider did not prove who signed in. Asking again changes nothing.
    async fn not_proved(&self, mode: Mode) {
        let back = self.come_back(mode).await;
        if mode == Mode::Direct {
            back.page(502);
        } else {
            self.complete(&back).await.refused(502, "oauth_failed");
            self.complete(&back).await.refused(502, "oauth_failed");
        }
    }
}

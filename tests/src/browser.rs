//! A browser with cookies and a memory, as a person uses it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use local::client::{Answer, Http};
use local::demonstration::RETURN_PATH;
use reqwest::Method;
use url::Url;

use crate::provider::{Person, Provider, front};

/// More redirects than any sign-in needs.
const MOST_REDIRECTS: usize = 10;

/// What a browser says of itself when somebody follows a link.
const NAVIGATION: [(&str, &str); 6] = [
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-US,en;q=0.5"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "cross-site"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
];

/// One request that a browser made, and what came of it.
#[derive(Debug, Clone)]
pub struct Hop {
    /// Where it went.
    pub url: String,
    /// The answer's status.
    pub status: u16,
    /// The answer's text.
    pub text: String,
}

/// Cookies by host and port: browsers do not tell ports apart, and a test that depended on that would prove less.
type Jar = BTreeMap<String, BTreeMap<String, String>>;

/// A browser of one person. Nothing in it is shared with another.
pub struct Browser {
    http: Http,
    jar: Mutex<Jar>,
    history: Mutex<Vec<Hop>>,
}

impl Browser {
    /// A browser without a past.
    #[must_use]
    pub fn new() -> Self {
        Self { http: Http::new().unwrap(), jar: Mutex::default(), history: Mutex::default() }
    }

    /// From now on this person is signed in at the provider, in this browser.
    pub fn sign_in_at(&self, provider: &Provider, person: &Person) {
        let mut jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
        jar.entry(place(provider.issuer())).or_default().insert(front::SESSION.to_owned(), Provider::session(person));
    }

    /// Opens a URL, and goes nowhere else.
    pub async fn open(&self, url: &str) -> Answer {
        self.send(url, &[]).await
    }

    /// Opens a URL with further headers.
    pub async fn send(&self, url: &str, more: &[(&str, &str)]) -> Answer {
        let cookies = self.cookies(url).iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let mut headers: Vec<(&str, &str)> = NAVIGATION.into_iter().filter(|(name, _)| !more.iter().any(|(n, _)| n == name)).collect();
        headers.extend(more);
        if !cookies.is_empty() {
            headers.push(("cookie", &cookies));
        }
        let answer = self.http.send(Method::GET, url, &headers, None).await.unwrap();
        self.keep(url, &answer);
        answer
    }

    /// Opens a URL and follows where it is sent, up to a page or to the door of the application: the answer there. The last URL is
    /// that of [`Browser::here`].
    pub async fn visit(&self, url: &str) -> Answer {
        let mut url = url.to_owned();
        for _ in 0..MOST_REDIRECTS {
            let answer = self.open(&url).await;
            let to = answer.location().to_owned();
            if to.is_empty() || Url::parse(&to).is_ok_and(|to| to.path() == RETURN_PATH) {
                return answer;
            }
            url = to;
        }
        panic!("sent in circles: {url}")
    }

    /// Goes where it is sent until the next stop would begin with this, and says what that is: a person who does not go on.
    pub async fn visit_until(&self, url: &str, stop: &str) -> String {
        let mut url = url.to_owned();
        for _ in 0..MOST_REDIRECTS {
            if url.starts_with(stop) {
                return url;
            }
            let answer = self.open(&url).await;
            answer.location().clone_into(&mut url);
            assert_ne!(url, "", "it ended with {}: {}", answer.status, answer.text);
        }
        panic!("sent in circles: {url}")
    }

    /// The URL that it opened last.
    #[must_use]
    pub fn here(&self) -> String {
        self.saw().pop().map(|hop| hop.url).unwrap_or_default()
    }

    /// Everything that it has opened, in order.
    #[must_use]
    pub fn saw(&self) -> Vec<Hop> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its cookies for a URL.
    #[must_use]
    pub fn cookies(&self, url: &str) -> BTreeMap<String, String> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner).get(&place(url)).cloned().unwrap_or_default()
    }

    fn keep(&self, url: &str, answer: &Answer) {
        let hop = Hop { url: url.to_owned(), status: answer.status, text: answer.text.clone() };
        self.history.lock().unwrap_or_else(PoisonError::into_inner).push(hop);
        let mut jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
        for cookie in answer.headers.get_all("set-cookie") {
            if let Some((name, value)) = cookie.to_str().ok().and_then(|c| c.split(';').next()).and_then(|c| c.split_once('=')) {
                jar.entry(place(url)).or_default().insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

impl Default for Browser {
    fn default() -> Self {
        Self::new()
    }
}

fn place(url: &str) -> String {
    Url::parse(url).unwrap()[url::Position::BeforeHost..url::Position::AfterPort].to_owned()
}

//! What a module of the suite is, and how it is played.

use futures_util::future::LocalBoxFuture;
use serde_json::Value;
use tests::conformance::{Alg, Profile, Provider, Script};

use crate::scene::Scene;

/// Modules of one kind, as a section of the document.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) says: &'static str,
    pub(crate) profile: Profile,
    /// By what the provider signs unless a script says otherwise.
    pub(crate) alg: Alg,
    pub(crate) modules: &'static [Module],
}

/// One module of the suite.
pub(crate) struct Module {
    pub(crate) name: &'static str,
    /// Where it belongs, in the words of the document.
    pub(crate) plan: &'static str,
    /// What it requires of a relying party, in our words.
    pub(crate) requires: &'static str,
    /// The items of the security checklist that it proves something of.
    pub(crate) proves: &'static [u8],
    pub(crate) play: Play,
}

/// How it is enacted.
pub(crate) enum Play {
    /// Sign-ins that have to end with a stored authorization, in direct and in redirect mode. `Further` looks at what is special.
    Accepted(&'static [Tell], Further),
    /// Sign-ins that have to be refused, in both modes.
    Refused(At, &'static [Tell]),
    /// Something with more acts than one sign-in. It says what came of it.
    Story(Tell, Act),
    /// Nothing to enact, and why.
    NotApplicable(&'static str),
}

/// In what the provider departs from good behaviour, in words and in deed.
pub(crate) struct Tell {
    pub(crate) what: &'static str,
    pub(crate) script: fn(&mut Script),
}

pub(crate) type Further = fn(&Provider, &Value);
pub(crate) type Act = for<'s> fn(&'s Scene<'s>) -> LocalBoxFuture<'s, String>;

/// Where a lie has to be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// In the metadata: there is no sign-in URL.
    Metadata,
    /// In the parameters that the browser brings: the code is never sent anywhere.
    Response,
    /// In the `id_token`: the access token is not used.
    IdToken,
    /// In what userinfo tells.
    UserInfo,
}

/// Nothing beyond what every accepted sign-in has to show.
pub(crate) fn nothing_further(_: &Provider, _: &Value) {}

/// What became of a module.
pub(crate) struct Row {
    pub(crate) module: &'static Module,
    pub(crate) enacted: String,
    pub(crate) outcome: Result<String, String>,
}

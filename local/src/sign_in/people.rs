//! Who can sign in: three people, known to everybody, without a password.

/// One demonstration person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The subject (`sub`).
    pub id: &'static str,
    /// First and last name.
    pub name: &'static str,
    /// What the person does, for the page.
    pub role: &'static str,
    /// The e-mail address, always verified.
    pub email: &'static str,
    /// The organization (`org_id`).
    pub organization: &'static str,
}

/// The demonstration people: two colleagues and one of another organization.
pub const PEOPLE: [Person; 3] = [
    Person { id: "usr_olivia", name: "Olivia Park", role: "Operator", email: "ops@example.com", organization: "org_demo" },
    Person { id: "usr_ben", name: "Ben Ito", role: "Colleague", email: "ben@example.com", organization: "org_demo" },
    Person { id: "usr_mallory", name: "Mallory Ruiz", role: "Outsider", email: "mallory@elsewhere.example", organization: "org_elsewhere" },
];

impl Person {
    /// The person with this subject.
    #[must_use]
    pub fn by_id(id: &str) -> Option<&'static Person> {
        PEOPLE.iter().find(|person| person.id == id)
    }

    /// Whether a `login_hint` (an e-mail address or a subject) means this person.
    pub(super) fn is_hinted(&self, hint: &str) -> bool {
        self.email.eq_ignore_ascii_case(hint.trim()) || self.id == hint.trim()
    }

    pub(super) fn given_name(&self) -> &'static str {
        self.name.split(' ').next().unwrap_or(self.name)
    }

    pub(super) fn initials(&self) -> String {
        self.name.split(' ').filter_map(|word| word.chars().next()).collect()
    }
}

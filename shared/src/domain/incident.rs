//! Incidents: at one connection the provider is down, refuses our client, or refuses one grant after the other (design section 5).
//!
//! 1. Failures in a row, a `Retry-After`, or a mass of refused grants open an incident: refreshes at the connection freeze.
//! 2. When the freeze is over, one refresh probes. If it succeeds the incident is over, otherwise it freezes for twice as long.
//! 3. While grants are refused in a mass, no refusal is believed: a provider that lost its database is no reason to call back
//!    everybody. After an hour, which an operator has been alarmed for, refusals are believed again.
//!
//! That is for scheduled runs, which send many requests that nobody waits for. Somebody waits for a refresh on demand: there every
//! refusal is believed, and a freeze is short, so that the first callers after an outage get their tokens.

use time::{Duration, OffsetDateTime};

/// So many failures in a row are no accident.
const FAILURES: u32 = 5;
/// More refused grants than this, and more than half of all answers, are a mass.
const MASS: u32 = 5;
/// Answers are counted for as long as a scheduled run may last.
const COUNTED_FOR: Duration = Duration::minutes(15);
/// The first freeze; each further one lasts twice as long.
const FREEZE: Duration = Duration::seconds(5);
/// The same on demand: while the provider is down, each sandbox asks every few seconds.
const FREEZE_ON_DEMAND: Duration = Duration::SECOND;
/// The longest freeze that no provider asked for: what waits for the schedule is not to wait much longer than the provider is down.
const LONGEST_UNASKED: Duration = Duration::seconds(30);
/// The same on demand.
const LONGEST_ON_DEMAND: Duration = Duration::seconds(5);
/// The longest freeze, also where a provider asks for more.
const LONGEST_FREEZE: Duration = Duration::minutes(15);
/// A probe that has not told by now never will: the provider's time limit has passed.
const PROBE_TIME: Duration = Duration::seconds(13);
/// So many renewals in a row end a mass of refusals, where one success may be luck.
const RENEWALS: u32 = 3;
/// For how long a mass of refusals is not believed.
const DISBELIEF: Duration = Duration::HOUR;

/// Why refreshes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// Because they are due.
    #[default]
    Scheduled,
    /// Because somebody waits for a token.
    OnDemand,
}

/// What an answer to a refresh says about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A token came.
    Renewed,
    /// This one grant was refused.
    GrantRefused,
    /// Our client was refused: the operator's fault.
    ClientRefused,
    /// It failed in passing.
    Failed {
        /// What `Retry-After` asked for.
        retry_after: Option<Duration>,
    },
}

/// What an incident is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The provider is down, or wants to be left alone.
    Unavailable,
    /// It refuses our client.
    ClientRefused,
    /// It refuses one grant after the other.
    MassRefusal,
}

/// What an answer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// An incident began.
    Began(Kind),
    /// The incident is over.
    Ended(Kind),
}

/// How one connection has been lately.
#[derive(Debug, Default)]
pub struct Watch {
    pace: Pace,
    failures: u32,
    renewed: u32,
    refused: u32,
    counted_since: Option<OffsetDateTime>,
    incident: Option<Incident>,
}

#[derive(Debug)]
struct Incident {
    kind: Kind,
    since: OffsetDateTime,
    /// How long it freezes at a time, and at most.
    freeze: Duration,
    longest: Duration,
    /// Until when nothing is sent.
    frozen_until: OffsetDateTime,
    /// Until when a probe is under way.
    probing_until: Option<OffsetDateTime>,
    /// Renewals since the last failure.
    renewals: u32,
}

impl Kind {
    /// A word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::ClientRefused => "client_refused",
            Self::MassRefusal => "mass_refusal",
        }
    }
}

impl Watch {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { pace, ..Self::default() }
    }

    /// Until when nothing may be sent; `None` if a refresh may begin, be it as a probe.
    #[must_use]
    pub fn frozen_until(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let incident = self.incident.as_ref()?;
        let until = incident.probing_until.unwrap_or(incident.frozen_until).max(incident.frozen_until);
        (until > now).then_some(until)
    }

    /// Begins a refresh, as the probe if there is an incident; refused with when to come again.
    pub fn begin(&mut self, now: OffsetDateTime) -> Result<(), OffsetDateTime> {
        if let Some(until) = self.frozen_until(now) {
            return Err(until);
        }
        if let Some(incident) = &mut self.incident {
            incident.probing_until = Some(now.saturating_add(PROBE_TIME));
        }
        Ok(())
    }

    /// A begun refresh was answered.
    pub fn answered(&mut self, answer: Answer, now: OffsetDateTime) -> Option<Change> {
        self.count(answer, now);
        match (&mut self.incident, answer) {
            (Some(incident), Answer::Renewed) => {
                incident.renewals += 1;
                incident.probing_until = None;
                let enough = incident.kind != Kind::MassRefusal || incident.renewals >= RENEWALS;
                enough.then(|| self.end()).flatten()
            }
            (Some(incident), _) => {
                incident.go_on(answer, now);
                None
            }
            (None, Answer::Renewed) => None,
            (None, Answer::Failed { retry_after: Some(wait) }) => Some(self.open(Kind::Unavailable, Some(wait), now)),
            (None, Answer::Failed { retry_after: None }) => (self.failures >= FAILURES).then(|| self.open(Kind::Unavailable, None, now)),
            (None, Answer::ClientRefused) => (self.failures >= FAILURES).then(|| self.open(Kind::ClientRefused, None, now)),
            (None, Answer::GrantRefused) => {
                let mass = self.refused > MASS && self.refused > self.renewed && self.pace == Pace::Scheduled;
                mass.then(|| self.open(Kind::MassRefusal, None, now))
            }
        }
    }

    /// Whether a refused grant is the end of its authorization.
    #[must_use]
    pub fn believes_refusals(&self, now: OffsetDateTime) -> bool {
        self.incident.as_ref().is_none_or(|incident| incident.kind != Kind::MassRefusal || now - incident.since >= DISBELIEF)
    }

    fn count(&mut self, answer: Answer, now: OffsetDateTime) {
        if self.counted_since.is_none_or(|since| now - since > COUNTED_FOR) {
            (self.renewed, self.refused, self.counted_since) = (0, 0, Some(now));
        }
        match answer {
            Answer::Renewed => {
                self.renewed += 1;
                self.failures = 0;
            }
            // The provider is there, and knows our client.
            Answer::GrantRefused => {
                self.refused += 1;
                self.failures = 0;
            }
            Answer::ClientRefused | Answer::Failed { .. } => self.failures += 1,
        }
    }

    /// `asked_for` is what a provider has asked for.
    fn open(&mut self, kind: Kind, asked_for: Option<Duration>, now: OffsetDateTime) -> Change {
        let (freeze, longest) = match self.pace {
            Pace::Scheduled => (FREEZE, LONGEST_UNASKED),
            Pace::OnDemand => (FREEZE_ON_DEMAND, LONGEST_ON_DEMAND),
        };
        let frozen_until = now.saturating_add(asked_for.unwrap_or(freeze).clamp(Duration::SECOND, LONGEST_FREEZE));
        self.incident = Some(Incident { kind, since: now, freeze, longest, frozen_until, probing_until: None, renewals: 0 });
        Change::Began(kind)
    }

    fn end(&mut self) -> Option<Change> {
        let ended = self.incident.take()?;
        *self = Self::new(self.pace);
        Some(Change::Ended(ended.kind))
    }
}

impl Incident {
    /// The probe failed, or a refresh that began before the incident did.
    fn go_on(&mut self, answer: Answer, now: OffsetDateTime) {
        self.renewals = 0;
        let asked_for = match answer {
            Answer::Failed { retry_after } => retry_after.unwrap_or_default(),
            Answer::Renewed | Answer::GrantRefused | Answer::ClientRefused => Duration::ZERO,
        };
        if self.probing_until.take().is_some() {
            self.freeze = (self.freeze * 2_i32).min(self.longest);
        }
        let until = now.saturating_add(self.freeze.max(asked_for).min(LONGEST_FREEZE));
        self.frozen_until = self.frozen_until.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);
    const FAILED: Answer = Answer::Failed { retry_after: None };

    fn after(seconds: i64) -> OffsetDateTime {
        NOW + Duration::seconds(seconds)
    }

    fn tell(watch: &mut Watch, answer: Answer, times: u32) -> Option<Change> {
        (0..times).filter_map(|_| watch.answered(answer, NOW)).last()
    }

    #[test]
    fn five_failures_in_a_row_freeze_a_connection_and_one_probe_thaws_it() {
        for (answer, kind) in [(FAILED, Kind::Unavailable), (Answer::ClientRefused, Kind::ClientRefused)] {
            let mut watch = Watch::default();
            assert_eq!(tell(&mut watch, answer, 4), None);
            assert_eq!(watch.answered(Answer::Renewed, NOW), None);
            assert_eq!(tell(&mut watch, answer, 4), None);
            assert_eq!(watch.begin(NOW), Ok(()));
            assert_eq!(watch.answered(answer, NOW), Some(Change::Began(kind)));
            assert_eq!(watch.begin(after(4)), Err(after(5)));
            assert_eq!(watch.begin(after(5)), Ok(()), "the probe");
            assert_eq!(watch.begin(after(5)), Err(after(18)), "there is one probe at a time");
            assert_eq!(watch.answered(answer, after(6)), None);
            assert_eq!(watch.begin(after(15)), Err(after(16)), "it freezes for twice as long");
            assert_eq!(watch.begin(after(16)), Ok(()));
            assert_eq!(watch.answered(Answer::Renewed, after(17)), Some(Change::Ended(kind)));
            assert_eq!(watch.begin(after(17)), Ok(()));
            assert_eq!(watch.begin(after(17)), Ok(()));
        }
    }

    #[test]
    fn a_probe_that_never_tells_is_followed_by_another() {
        let mut watch = Watch::default();
        tell(&mut watch, FAILED, 5);
        assert_eq!(watch.begin(after(5)), Ok(()));
        assert_eq!(watch.begin(after(17)), Err(after(18)));
        assert_eq!(watch.begin(after(18)), Ok(()));
    }

    #[test]
    fn retry_after_is_honoured_at_once_up_to_a_quarter_of_an_hour() {
        for (asked, until) in [(0, 1), (30, 30), (100_000, 900)] {
            let mut watch = Watch::default();
            let answer = Answer::Failed { retry_after: Some(Duration::seconds(asked)) };
            assert_eq!(watch.answered(answer, NOW), Some(Change::Began(Kind::Unavailable)));
            assert_eq!(watch.frozen_until(NOW), Some(after(until)));
        }
    }

    #[test]
    fn a_freeze_that_nobody_asked_for_ends_after_half_a_minute_at_most() {
        let mut watch = Watch::default();
        tell(&mut watch, FAILED, 5);
        let mut now = NOW;
        for _ in 0..20 {
            now = watch.frozen_until(now).unwrap_or(now);
            assert_eq!(watch.begin(now), Ok(()));
            watch.answered(FAILED, now);
        }
        assert_eq!(watch.frozen_until(now), Some(now + LONGEST_UNASKED));
    }

    #[test]
    fn on_demand_every_refusal_is_believed_and_a_freeze_is_short_unless_the_provider_asks_for_more() {
        let mut watch = Watch::new(Pace::OnDemand);
        assert_eq!(tell(&mut watch, Answer::GrantRefused, 50), None);
        assert!(watch.believes_refusals(NOW));
        tell(&mut watch, FAILED, 5);
        assert_eq!(watch.begin(NOW), Err(after(1)));
        let mut now = NOW;
        for _ in 0..5 {
            now = watch.frozen_until(now).unwrap_or(now);
            assert_eq!(watch.begin(now), Ok(()));
            watch.answered(Answer::ClientRefused, now);
        }
        assert_eq!(watch.frozen_until(now), Some(now + Duration::seconds(5)));
        let mut watch = Watch::new(Pace::OnDemand);
        let asked = Answer::Failed { retry_after: Some(Duration::seconds(30)) };
        assert_eq!(watch.answered(asked, NOW), Some(Change::Began(Kind::Unavailable)));
        assert_eq!(watch.begin(NOW), Err(after(30)), "what the provider asks for is honoured");
    }

    #[test]
    fn a_mass_of_refused_grants_is_not_believed_for_an_hour() {
        let mut watch = Watch::default();
        assert_eq!(tell(&mut watch, Answer::GrantRefused, 5), None);
        assert!(watch.believes_refusals(NOW));
        assert_eq!(watch.answered(Answer::GrantRefused, NOW), Some(Change::Began(Kind::MassRefusal)));
        assert!(!watch.believes_refusals(NOW) && !watch.believes_refusals(after(3599)));
        assert!(watch.believes_refusals(after(3600)));
        assert_eq!(tell(&mut watch, Answer::Renewed, 2), None, "two renewals may be luck");
        assert_eq!(watch.answered(Answer::Renewed, NOW), Some(Change::Ended(Kind::MassRefusal)));
        assert!(watch.believes_refusals(NOW));
    }

    #[test]
    fn refusals_among_more_renewals_are_no_mass() {
        let mut watch = Watch::default();
        tell(&mut watch, Answer::Renewed, 50);
        assert_eq!(tell(&mut watch, Answer::GrantRefused, 50), None);
        assert_eq!(watch.answered(Answer::GrantRefused, NOW), Some(Change::Began(Kind::MassRefusal)));
        let mut watch = Watch::default();
        tell(&mut watch, Answer::GrantRefused, 5);
        assert_eq!(watch.answered(Answer::GrantRefused, after(901)), None, "they are counted within a run");
    }
}

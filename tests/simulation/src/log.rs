//! Listens to the audit trail of the service.

use std::cell::RefCell;
use std::fmt::Debug;
use std::fmt::Write as _;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

/// A line of the audit trail.
#[derive(Debug, Default, Clone)]
pub struct Line {
    /// What was done.
    pub action: String,
    /// How it ended.
    pub outcome: String,
    /// Particulars.
    pub detail: String,
    /// In which task.
    pub task: u64,
    /// Everything, when it is traced.
    pub all: String,
}

thread_local! {
    static LINES: RefCell<(bool, Vec<Line>)> = const { RefCell::new((false, Vec::new())) };
}

/// Begins to listen, on this thread; with everything that is said, or with the audit trail only.
pub fn listen(everything: bool) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| _ = tracing::subscriber::set_global_default(Listener));
    LINES.with(|lines| *lines.borrow_mut() = (everything, Vec::new()));
}

/// What was said since.
#[must_use]
pub fn heard() -> Vec<Line> {
    LINES.with(|lines| std::mem::take(&mut lines.borrow_mut().1))
}

struct Listener;

/// The audit trail.
fn is_told(of: &Metadata<'_>) -> bool {
    of.target() == "shared::usecases::audit"
}

impl Subscriber for Listener {
    fn register_callsite(&self, of: &'static Metadata<'static>) -> Interest {
        if is_told(of) { Interest::always() } else { Interest::sometimes() }
    }

    fn enabled(&self, of: &Metadata<'_>) -> bool {
        of.is_event() && (is_told(of) || LINES.with(|lines| lines.borrow().0))
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        LINES.with(|lines| {
            let mut lines = lines.borrow_mut();
            let mut reading = Reading(Line::default(), lines.0);
            event.record(&mut reading);
            lines.1.push(reading.0);
        });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Reading(Line, bool);

impl Visit for Reading {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "action" => value.clone_into(&mut self.0.action),
            "outcome" => value.clone_into(&mut self.0.outcome),
            "detail" => value.clone_into(&mut self.0.detail),
            "request_id" => self.0.task = value.parse().unwrap_or_default(),
            _ => {}
        }
        if self.1 {
            _ = write!(self.0.all, " {}={value}", field.name());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.1 {
            _ = write!(self.0.all, " {}={value:?}", field.name());
        }
    }
}

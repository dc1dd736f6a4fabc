//! Messages between a worker and the parts of the world, and what becomes of them on the way.

use crate::executor::{Done, Sim, reply};
use crate::world::{Part, World};

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Nothing was sent, or nothing was taken.
    Refused,
    /// It was sent.
    Unknown,
}

struct Fate {
    request: i64,
    answer: i64,
    arrives: bool,
    returns: bool,
    again_after: Option<i64>,
}

/// How long a worker waits for an answer.
fn patience(part: Part) -> i64 {
    match part {
        Part::Table | Part::Queue | Part::Keys | Part::Bus => 3_000,
        Part::Provider => 10_000,
    }
}

/// A request that reaches a part does so within this time, however late its answer is. A provider that takes up a request
/// after whoever sent it has given up is more than any grace can bear.
pub const TRANSIT: i64 = 1_500;

impl World {
    fn fate(&mut self, part: Part) -> Result<Fate, Lost> {
        let (rng, weather) = (&mut self.rng, &self.weather);
        let usual = part == Part::Provider;
        let mut fate = Fate {
            request: rng.within(1, if usual { 60 } else { 8 }),
            answer: rng.within(1, if usual { 400 } else { 8 }),
            arrives: true,
            returns: true,
            again_after: None,
        };
        if self.events.now >= weather.until {
            return Ok(fate);
        }
        if rng.chance(weather.refused) {
            self.saw("refused or throttled");
            return Err(Lost::Refused);
        }
        if rng.chance(weather.slow) {
            fate.request = rng.within(1, TRANSIT);
        }
        if rng.chance(weather.slow) {
            fate.answer = rng.within(1, 12_000);
        }
        fate.arrives = !rng.chance(weather.requests_lost);
        fate.returns = !rng.chance(weather.answers_lost);
        if rng.chance(weather.duplicated) {
            fate.again_after = Some(rng.within(
                0,
                match part {
                    Part::Provider => 800,
                    Part::Table | Part::Queue | Part::Keys | Part::Bus => 45_000,
                },
            ));
        }
        Ok(fate)
    }
}

/// Sends a request. `apply` is what it does where it arrives, once or more often; `missed` is told of answers that nobody gets.
pub async fn send<T: Send + 'static>(
    sim: &Sim,
    part: Part,
    mut apply: impl FnMut(&mut World) -> T + Send + 'static,
    missed: impl FnOnce(&mut World, T) + Send + 'static,
) -> Result<T, Lost> {
    let waiting = {
        let mut world = sim.world();
        let fate = world.fate(part);
        let (waiting, done) = reply();
        match fate {
            Err(lost) => {
                let after = world.rng.within(1, 20);
                world.events.after(after, fail(done, lost));
            }
            Ok(fate) if !fate.arrives => {
                world.saw("request lost");
                world.events.after(patience(part), fail(done, Lost::Unknown));
            }
            Ok(fate) => world.events.after(
                fate.request,
                Box::new(move |world| {
                    if world.is_down(part) {
                        world.saw("part down");
                        world.events.after(5, fail(done, Lost::Refused));
                        return;
                    }
                    let value = apply(world);
                    if let Some(later) = fate.again_after {
                        world.events.after(
                            later,
                            Box::new(move |world| {
                                if !world.is_down(part) {
                                    world.saw("request duplicated");
                                    world.repeating = true;
                                    apply(world);
                                    world.repeating = false;
                                }
                            }),
                        );
                    }
                    if fate.request + fate.answer > patience(part) || !fate.returns {
                        world.saw("answer lost");
                        missed(world, value);
                        world.events.after(patience(part) - fate.request, fail(done, Lost::Unknown));
                        return;
                    }
                    world.events.after(
                        fate.answer,
                        Box::new(move |world| {
                            if let Some(Ok(value)) = done.set(Ok(value)) {
                                missed(world, value);
                            }
                        }),
                    );
                }),
            ),
        }
        waiting
    };
    waiting.await
}

fn fail<T: Send + 'static>(done: Done<Result<T, Lost>>, lost: Lost) -> crate::executor::Event {
    Box::new(move |_| _ = done.set(Err(lost)))
}

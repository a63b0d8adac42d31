//! What agents of the world do with the parts of a live migration.

use crate::world::State;
use ferrostack_model::{
    live_migration::{Offer, Part, Progress},
    message::{AgentOrder, Outcome},
    server::PowerState,
};
use std::collections::{HashMap, HashSet};

/// Guests on their way, and what goes wrong with them.
#[derive(Default)]
pub struct LiveWorld {
    /// Guests that a host is prepared for.
    pub expected: HashMap<String, HashSet<String>>,
    /// Hosts that refuse to receive, with whether another may.
    pub refusing: HashMap<String, bool>,
    /// Parts that fail at their host, by verb.
    pub failing: HashSet<&'static str>,
    /// Guests stay on their way until they are forced or stopped.
    pub hold: bool,
    /// What the source says of a sending: that it failed, though the guest has moved (true) or not.
    pub says_failed: Option<bool>,
    /// The source falls silent once the guest has left.
    pub silent_after: bool,
    /// What every Receive said of the disks.
    pub block: Vec<Option<bool>>,
}

fn failed(message: &str, retry_elsewhere: bool) -> Outcome {
    Outcome::Failed { message: message.into(), details: "EIO".into(), retry_elsewhere }
}

/// What comes of one part at `host`; none: nobody hears of it.
pub fn part(state: &mut State, host: &str, order: &AgentOrder, part: &Part) -> Option<Outcome> {
    let id = order.server_id.clone();
    let here = state.guests.get(host).and_then(|guests| guests.get(&id)).copied();
    let done = |power| Some(Outcome::Done { power });
    if state.live.failing.contains(part.verb()) {
        return Some(failed("The host is not well.", true));
    }
    match part {
        Part::Check { .. } => match here {
            Some(power) => done(power),
            None => Some(failed("The guest does not run.", false)),
        },
        Part::Receive { spec, block, .. } => {
            assert_eq!(spec.generation, order.generation);
            assert_eq!(here, None, "prepared for a guest that is there");
            state.live.block.push(*block);
            if let Some(elsewhere) = state.live.refusing.get(host) {
                return Some(failed("No room in the inn.", *elsewhere));
            }
            state.live.expected.entry(host.to_owned()).or_default().insert(id);
            Some(Outcome::Prepared { offer: Offer { uri: host.to_owned(), ..Offer::default() } })
        }
        Part::Send { offer, force } => {
            let Some(power) = here else { return done(PowerState::NoState) };
            if state.live.hold && !force {
                let progress = Progress {
                    memory_total: 3,
                    memory_processed: 2,
                    memory_remaining: 1,
                    ..Progress::default()
                };
                return Some(Outcome::Working { detail: serde_json::to_string(&progress).unwrap() });
            }
            if state.live.says_failed == Some(false) {
                return Some(failed("The way is blocked.", false));
            }
            if !state.live.expected.get(&offer.uri).is_some_and(|guests| guests.contains(&id)) {
                return Some(failed("Nobody expects the guest.", false));
            }
            state.guests.get_mut(host).unwrap().remove(&id);
            state.guests.entry(offer.uri.clone()).or_default().insert(id, power);
            if state.live.silent_after {
                state.mute.insert(host.to_owned());
                return None;
            }
            match state.live.says_failed {
                Some(_) => Some(failed("The way is blocked.", false)),
                None => done(PowerState::NoState),
            }
        }
        Part::Abort { .. } => done(here.unwrap_or(PowerState::NoState)),
        Part::Settle { .. } => {
            if let Some(guests) = state.live.expected.get_mut(host) {
                guests.remove(&id);
            }
            done(here.unwrap_or(PowerState::NoState))
        }
    }
}

/// What was prepared for a guest goes.
pub fn forget(state: &mut State, host: &str, server_id: &str) {
    if let Some(guests) = state.live.expected.get_mut(host) {
        guests.remove(server_id);
    }
}

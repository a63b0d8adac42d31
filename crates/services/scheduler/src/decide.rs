//! The choice itself: filter, weigh, draw. Pure: no clock, no I/O, no state.

use ferrostack_model::{
    Timestamp,
    host::HostState,
    placement::{Decision, PlacementRequest, Rejection},
};
use rand::Rng;
use std::{borrow::Cow, cmp::Ordering, collections::HashMap, sync::Arc};

/// Why a filter refuses a host, in words and without the host's name: hosts with one reason are shown together.
pub type Reason = Cow<'static, str>;

/// What a filter looks at beside the host.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The request.
    pub request: &'a PlacementRequest,
    /// When it is decided.
    pub now: Timestamp,
}

/// Says whether a host will do.
pub trait Filter: Send + Sync {
    /// Nova's name of it.
    fn name(&self) -> &'static str;
    /// Whether it is asked when a server is rebuilt where it is (Nova's `RUN_ON_REBUILD`).
    fn on_rebuild(&self) -> bool {
        false
    }
    /// `Err` says why not.
    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason>;
}

/// Says how good a host is.
pub trait Weigher: Send + Sync {
    /// Nova's name of it.
    fn name(&self) -> &'static str;
    /// Nova's option of its multiplier: the key of aggregate metadata that goes before the settings.
    fn option(&self) -> &'static str;
    /// Any number; more is better where the multiplier is positive.
    fn weigh(&self, wish: &Wish<'_>, host: &HostState) -> f64;
}

/// Which filters and weighers decide, and how many hosts are named.
#[derive(Clone)]
pub struct Config {
    /// In order: a host is refused by the first that refuses it.
    pub filters: Vec<Arc<dyn Filter>>,
    /// With their multipliers.
    pub weighers: Vec<(Arc<dyn Weigher>, f64)>,
    /// The choice is drawn from this many best hosts; 0 counts as 1.
    pub host_subset_size: usize,
    /// Further hosts named after the choice.
    pub alternates: usize,
}

/// Chooses among `hosts`. The result does not depend on their order.
pub fn decide<'a>(
    wish: &Wish<'_>,
    hosts: impl IntoIterator<Item = &'a HostState>,
    config: &Config,
    rng: &mut impl Rng,
) -> Decision {
    let mut considered = 0;
    let mut fitting = Vec::new();
    // One list of raw weights for each weigher; all are made while the host is in the CPU's cache.
    let mut raw = vec![Vec::new(); config.weighers.len()];
    let mut refused: HashMap<(usize, Reason), Vec<&str>> = HashMap::new();
    for host in hosts {
        considered += 1;
        match first_refusal(wish, host, config) {
            None => {
                fitting.push(host);
                for ((weigher, _), list) in config.weighers.iter().zip(&mut raw) {
                    let weight = weigher.weigh(wish, host);
                    // NaN and infinities would poison every comparison.
                    list.push(if weight.is_finite() { weight } else { 0.0 });
                }
            }
            Some(refusal) => refused.entry(refusal).or_default().push(&host.host),
        }
    }
    let ranked = rank(fitting, &raw, config);
    Decision { hosts: draw(ranked, config, rng), rejections: rejections(refused, config), considered }
}

fn first_refusal(wish: &Wish<'_>, host: &HostState, config: &Config) -> Option<(usize, Reason)> {
    let asked = |f: &&Arc<dyn Filter>| !wish.request.rebuild || f.on_rebuild();
    let filters = config.filters.iter().enumerate().filter(|(_, f)| asked(f));
    filters
        .map(|(i, f)| (i, f.check(wish, host)))
        .find_map(|(i, found)| found.err().map(|reason| (i, reason)))
}

/// The multiplier of the host's aggregates, if they have one that is a number.
fn own_multiplier(host: &HostState, option: &str, default: f64) -> f64 {
    let own = crate::filters::number(host, option, default);
    if own.is_finite() { own } else { default }
}

/// The best hosts, best first: as many as can be named or drawn from.
fn rank<'a>(hosts: Vec<&'a HostState>, raw: &[Vec<f64>], config: &Config) -> Vec<&'a HostState> {
    let mut weights = vec![0.0; hosts.len()];
    for ((weigher, multiplier), raw) in config.weighers.iter().zip(raw) {
        let (low, high) = raw.iter().fold((f64::MAX, f64::MIN), |(l, h), w| (l.min(*w), h.max(*w)));
        if high > low {
            for ((sum, w), host) in weights.iter_mut().zip(raw).zip(&hosts) {
                let multiplier = match host.aggregates.is_empty() {
                    true => *multiplier,
                    false => own_multiplier(host, weigher.option(), *multiplier),
                };
                *sum += multiplier * (w - low) / (high - low);
            }
        }
    }
    let mut ranked: Vec<(f64, &HostState)> = weights.into_iter().zip(hosts).collect();
    let best_first = |a: &(f64, &HostState), b: &(f64, &HostState)| -> Ordering {
        b.0.total_cmp(&a.0).then_with(|| a.1.host.cmp(&b.1.host))
    };
    let wanted = config.host_subset_size.max(1).saturating_add(config.alternates);
    if ranked.len() > wanted {
        ranked.select_nth_unstable_by(wanted, best_first);
        ranked.truncate(wanted);
    }
    ranked.sort_unstable_by(best_first);
    ranked.into_iter().map(|(_, host)| host).collect()
}

/// One of the best by lot, then the others in order.
fn draw(mut ranked: Vec<&HostState>, config: &Config, rng: &mut impl Rng) -> Vec<String> {
    if ranked.is_empty() {
        return Vec::new();
    }
    let among = config.host_subset_size.clamp(1, ranked.len());
    let chosen = ranked.remove(if among > 1 { rng.random_range(0..among) } else { 0 });
    std::iter::once(chosen)
        .chain(ranked.into_iter().take(config.alternates))
        .map(|h| h.host.clone())
        .collect()
}

fn rejections(refused: HashMap<(usize, Reason), Vec<&str>>, config: &Config) -> Vec<Rejection> {
    let mut groups: Vec<_> = refused.into_iter().collect();
    groups.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    groups
        .into_iter()
        .map(|((filter, reason), mut hosts)| {
            hosts.sort_unstable();
            Rejection {
                filter: config.filters[filter].name().to_owned(),
                reason: reason.into_owned(),
                hosts: hosts.into_iter().map(str::to_owned).collect(),
            }
        })
        .collect()
}

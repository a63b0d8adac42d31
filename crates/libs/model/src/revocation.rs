//! Many revocation rules at once, quick to ask.

use crate::{RevocationEvent, Timestamp, TokenClaims};
use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
};

/// Seconds between two removals of expired rules.
const PRUNE_EVERY: i64 = 60;

/// A member that a rule may ask for, and what claims have there.
struct Field {
    asked: fn(&RevocationEvent) -> Option<&str>,
    had: for<'c> fn(&'c TokenClaims, &mut Vec<&'c str>),
}

/// Every member of a rule that [`RevocationEvent::matches`] compares.
const FIELDS: [Field; 8] = [
    Field { asked: |r| r.user_id.as_deref(), had: |c, out| out.extend(c.people()) },
    Field {
        asked: |r| r.project_id.as_deref(),
        had: |c, out| out.extend(c.project.iter().map(|p| p.id.as_str())),
    },
    Field {
        asked: |r| r.domain_id.as_deref(),
        had: |c, out| {
            out.push(&c.dom.id);
            out.extend(c.domain.iter().map(|d| d.id.as_str()));
            out.extend(c.project.iter().map(|p| p.domain.id.as_str()));
        },
    },
    Field { asked: |r| r.role.as_deref(), had: |c, out| out.extend(c.roles.iter().map(String::as_str)) },
    Field {
        asked: |r| r.app_cred_id.as_deref(),
        had: |c, out| out.extend(c.app_cred.iter().map(|a| a.id.as_str())),
    },
    Field {
        asked: |r| r.trust_id.as_deref(),
        had: |c, out| out.extend(c.trust.iter().map(|t| t.id.as_str())),
    },
    Field {
        asked: |r| r.audit_id.as_deref(),
        had: |c, out| out.extend(c.aud_ids.first().map(String::as_str)),
    },
    Field {
        asked: |r| r.audit_chain_id.as_deref(),
        had: |c, out| out.extend(c.aud_ids.last().map(String::as_str)),
    },
];

/// What a rule asks for, without the times: rules that ask for the same are one rule.
type Shape<'a> = [Option<&'a str>; FIELDS.len()];

fn shape(rule: &RevocationEvent) -> Shape<'_> {
    std::array::from_fn(|n| (FIELDS[n].asked)(rule))
}

/// Which members a shape asks for, as bits.
fn mask(shape: &Shape<'_>) -> u32 {
    shape.iter().enumerate().fold(0, |bits, (n, wanted)| bits | (u32::from(wanted.is_some()) << n))
}

/// Revocation rules in force. A rule is found by what it asks for, so the cost of a question depends on how many
/// *kinds* of rules there are (about a user; about a user on a project; …) and not on how many rules: a user who
/// revokes a hundred thousand tokens slows nobody down (OSSN-0068).
#[derive(Clone, Debug, Default)]
pub struct RevocationSet {
    /// By the hash of the shape. What is found is asked itself, so equal hashes do no harm.
    rules: HashMap<u64, Vec<RevocationEvent>>,
    hasher: RandomState,
    /// The masks that occur.
    masks: Vec<u32>,
    version: u64,
    pruned_at: Timestamp,
}

impl RevocationSet {
    /// Adds rules; the same one twice is no harm. Of rules that ask for the same the latest stays.
    pub fn add(&mut self, events: Vec<RevocationEvent>) {
        self.prune(Timestamp::now());
        for event in events {
            let (hash, bits) = {
                let shape = shape(&event);
                (self.hasher.hash_one(shape), mask(&shape))
            };
            if !self.masks.contains(&bits) {
                self.masks.push(bits);
            }
            let bucket = self.rules.entry(hash).or_default();
            match bucket.iter_mut().find(|have| shape(have) == shape(&event)) {
                None => bucket.push(event),
                Some(have) if have.seq >= event.seq && have.issued_before >= event.issued_before => continue,
                Some(have) => {
                    have.seq = have.seq.max(event.seq);
                    have.issued_before = have.issued_before.max(event.issued_before);
                    have.expires_at = have.expires_at.max(event.expires_at);
                }
            }
            self.version += 1;
        }
    }

    /// Forgets rules that have expired; looks for them at most once a minute.
    pub fn prune(&mut self, now: Timestamp) {
        if self.pruned_at.plus_seconds(PRUNE_EVERY) >= now {
            return;
        }
        self.pruned_at = now;
        let mut masks = Vec::new();
        self.rules.retain(|_, bucket| {
            bucket.retain(|rule| rule.expires_at > now);
            for rule in bucket.iter() {
                let bits = mask(&shape(rule));
                if !masks.contains(&bits) {
                    masks.push(bits);
                }
            }
            !bucket.is_empty()
        });
        self.masks = masks;
    }

    /// Forgets all rules; the version goes on.
    pub fn clear(&mut self) {
        self.rules.clear();
        self.masks.clear();
        self.version += 1;
    }

    /// Grows with every rule that may refuse more than those before: claims that passed need no second look while
    /// it stays the same.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether a rule refuses `claims`.
    pub fn refuses(&self, claims: &TokenClaims) -> bool {
        self.any(claims, |rule| rule.matches(claims))
    }

    /// Whether a rule numbered above `seq` is about the subject of `claims`, whenever they were issued.
    pub fn concerns_since(&self, seq: i64, claims: &TokenClaims) -> bool {
        let mut claims = claims.clone();
        claims.iat_us = Timestamp(i64::MIN);
        self.any(&claims, |rule| rule.seq > seq && rule.matches(&claims))
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.values().map(Vec::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether `yes` to any of the rules that can match `claims`.
    fn any(&self, claims: &TokenClaims, yes: impl Fn(&RevocationEvent) -> bool) -> bool {
        if self.masks.is_empty() {
            return false;
        }
        let mut had: [Vec<&str>; FIELDS.len()] = Default::default();
        for (field, values) in FIELDS.iter().zip(&mut had) {
            (field.had)(claims, values);
        }
        self.masks.iter().any(|mask| self.any_of(*mask, &had, 0, &mut Shape::default(), &yes))
    }

    /// Goes through the shapes of `mask` that the values make, from field `at` on.
    fn any_of<'c>(
        &self,
        mask: u32,
        had: &[Vec<&'c str>; FIELDS.len()],
        at: usize,
        shape: &mut Shape<'c>,
        yes: &impl Fn(&RevocationEvent) -> bool,
    ) -> bool {
        if at == FIELDS.len() {
            let found = self.rules.get(&self.hasher.hash_one(*shape));
            return found.is_some_and(|bucket| bucket.iter().any(yes));
        }
        if mask >> at & 1 == 0 {
            shape[at] = None;
            return self.any_of(mask, had, at + 1, shape, yes);
        }
        had[at].iter().any(|value| {
            shape[at] = Some(value);
            self.any_of(mask, had, at + 1, shape, yes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DomainRef, ProjectRef};
    use proptest::prelude::*;

    fn claims(user: &str, project: &str, role: &str, audit: &str, at: i64) -> TokenClaims {
        let dom = DomainRef { id: "d1".into(), name: "d".into() };
        TokenClaims {
            sub: user.into(),
            name: user.into(),
            dom: dom.clone(),
            iat_us: Timestamp(at),
            exp_us: Timestamp(i64::MAX),
            aud_ids: vec![audit.into()],
            methods: vec![],
            project: Some(ProjectRef { id: project.into(), name: project.into(), domain: dom }),
            domain: None,
            system: false,
            roles: vec![role.into()],
            ..Default::default()
        }
    }

    prop_compose! {
        fn any_rule()(
            seq in 1..40i64, before in 0..6i64, user in prop::option::of("u[1-3]"), project in prop::option::of("p[1-3]"),
            domain in prop::option::of("d[12]"), role in prop::option::of("r[12]"), audit in prop::option::of("a[1-5]"),
            chain in prop::option::of("a[1-5]"), app_cred in prop::option::of("c[12]"), trust in prop::option::of("t[12]"),
        ) -> RevocationEvent {
            RevocationEvent {
                seq, issued_before: Timestamp(before), expires_at: Timestamp(i64::MAX), user_id: user, project_id: project,
                domain_id: domain, role, audit_id: audit, audit_chain_id: chain, app_cred_id: app_cred, trust_id: trust,
            }
        }
    }

    prop_compose! {
        fn any_claims()(
            user in "u[1-3]", project in prop::option::of("p[1-3]"), roles in prop::collection::vec("r[12]", 0..3),
            audit in prop::collection::vec("a[1-5]", 0..3), at in 0..6i64, app_cred in prop::option::of("c[12]"),
            trust in prop::option::of(("t[12]", "u[1-3]", "u[1-3]")), domain in prop::option::of("d[12]"),
        ) -> TokenClaims {
            let dom = |id: &str| DomainRef { id: id.into(), name: "d".into() };
            TokenClaims {
                sub: user.clone(), name: user, dom: dom("d1"), iat_us: Timestamp(at), exp_us: Timestamp(i64::MAX),
                aud_ids: audit, roles,
                project: project.map(|p| ProjectRef { id: p.clone(), name: p, domain: dom("d2") }),
                domain: domain.map(|d| dom(&d)),
                app_cred: app_cred.map(|id| crate::AppCredRef { id, ..Default::default() }),
                trust: trust.map(|(id, trustor, trustee)| crate::TrustRef { id, trustor, trustee, impersonation: true }),
                ..Default::default()
            }
        }
    }

    proptest! {
        /// The set refuses what any single rule refuses, and nothing else.
        #[test]
        fn agrees_with_its_rules(
            rules in prop::collection::vec(any_rule(), 0..40), claims in any_claims(), since in 0..40i64,
        ) {
            // As the database gives them: numbers are unique.
            let mut seen = std::collections::HashSet::new();
            let rules: Vec<_> = rules.into_iter().filter(|r| seen.insert(r.seq)).collect();
            let mut set = RevocationSet::default();
            set.add(rules.clone());
            let (version, len) = (set.version(), set.len());
            set.add(rules.clone());
            prop_assert_eq!((set.version(), set.len()), (version, len));
            prop_assert_eq!(set.refuses(&claims), rules.iter().any(|r| r.matches(&claims)));
            let mut early = claims.clone();
            early.iat_us = Timestamp(i64::MIN);
            let concerned = rules.iter().any(|r| r.seq > since && r.matches(&early));
            prop_assert_eq!(set.concerns_since(since, &claims), concerned);
        }
    }

    /// OSSN-0068: however many rules a user makes, a question looks at as many as there are kinds of rules.
    #[test]
    fn a_hundred_thousand_rules_of_one_user_are_not_looked_at() {
        let rule = |seq: i64| RevocationEvent {
            seq,
            issued_before: Timestamp(seq),
            expires_at: Timestamp(i64::MAX),
            ..Default::default()
        };
        let tokens = (0..50_000).map(|n| RevocationEvent { audit_id: Some(format!("t{n}")), ..rule(n) });
        let projects = (50_000..100_000).map(|n| RevocationEvent {
            user_id: Some("u1".into()),
            project_id: Some(format!("p{n}")),
            ..rule(n)
        });
        let mut set = RevocationSet::default();
        set.add(tokens.chain(projects).collect());
        assert_eq!((set.len(), set.masks.len()), (100_000, 2));
        let asked = std::cell::Cell::new(0);
        for (project, found) in [("p50001", 1), ("p1", 0)] {
            asked.set(0);
            set.any(&claims("u1", project, "r", "a", 100_001), |_| {
                asked.set(asked.get() + 1);
                false
            });
            assert_eq!(asked.get(), found, "{project}");
        }
        assert!(
            set.refuses(&claims("u1", "p50001", "r", "a", 1))
                && set.refuses(&claims("u1", "p", "r", "t7", 1))
        );
        // The same change a hundred thousand times is one rule.
        let mut set = RevocationSet::default();
        set.add((0..100_000).map(|n| RevocationEvent { user_id: Some("u1".into()), ..rule(n) }).collect());
        assert_eq!(set.len(), 1);
        assert!(
            set.refuses(&claims("u1", "p", "r", "a", 99_999))
                && !set.refuses(&claims("u1", "p", "r", "a", 100_000))
        );
    }

    #[test]
    fn expired_rules_are_forgotten() {
        let now = Timestamp::now();
        let rule = |seq, user: &str, expires_at| RevocationEvent {
            seq,
            issued_before: now,
            expires_at,
            user_id: Some(user.into()),
            ..Default::default()
        };
        let mut set = RevocationSet::default();
        set.add(vec![rule(1, "u1", now.plus_seconds(100)), rule(2, "u2", now.plus_seconds(300))]);
        set.prune(now.plus_seconds(200));
        assert_eq!(set.len(), 1);
        assert!(
            set.refuses(&claims("u2", "p", "r", "a", 0)) && !set.refuses(&claims("u1", "p", "r", "a", 0))
        );
        set.prune(now.plus_seconds(400));
        assert!(set.is_empty() && set.masks.is_empty());
    }

    #[test]
    fn a_trust_token_dies_with_either_of_its_people() {
        let rule = |user: &str| RevocationEvent {
            seq: 1,
            issued_before: Timestamp(100),
            expires_at: Timestamp(i64::MAX),
            user_id: Some(user.into()),
            ..Default::default()
        };
        let mut token = claims("trustor", "p", "r", "a", 1);
        token.trust = Some(crate::TrustRef {
            id: "t".into(),
            trustor: "trustor".into(),
            trustee: "trustee".into(),
            impersonation: true,
        });
        for (user, refused) in [("trustor", true), ("trustee", true), ("other", false)] {
            let mut set = RevocationSet::default();
            set.add(vec![rule(user)]);
            assert_eq!(set.refuses(&token), refused, "{user}");
            assert_eq!(set.concerns_since(0, &token), refused, "{user}");
        }
    }

    #[test]
    fn a_microsecond_on_either_side() {
        let mut set = RevocationSet::default();
        let rule = RevocationEvent {
            seq: 1,
            issued_before: Timestamp(100),
            expires_at: Timestamp(i64::MAX),
            user_id: Some("u1".into()),
            ..Default::default()
        };
        set.add(vec![rule]);
        assert!(
            set.refuses(&claims("u1", "p", "r", "a", 100)) && !set.refuses(&claims("u1", "p", "r", "a", 101))
        );
        assert!(!set.refuses(&claims("u2", "p", "r", "a", 99)));
        assert!(set.concerns_since(0, &claims("u1", "p", "r", "a", 101)));
        assert!(!set.concerns_since(1, &claims("u1", "p", "r", "a", 101)));
    }
}

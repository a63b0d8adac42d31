//! Many revocation rules at once, quick to ask.

use crate::{RevocationEvent, Timestamp, TokenClaims};
use std::collections::{BTreeMap, HashMap};

/// Seconds between two removals of expired rules.
const PRUNE_EVERY: i64 = 60;

/// Revocation rules in force. Rules about one token, of which there are many, are found by its audit id.
#[derive(Clone, Debug, Default)]
pub struct RevocationSet {
    tokens: HashMap<String, RevocationEvent>,
    others: BTreeMap<i64, RevocationEvent>,
    pruned_at: Timestamp,
}

impl RevocationSet {
    /// Adds rules; the same one twice is no harm.
    pub fn add(&mut self, events: Vec<RevocationEvent>) {
        let now = Timestamp::now();
        if self.pruned_at.plus_seconds(PRUNE_EVERY) < now {
            self.tokens.retain(|_, e| e.expires_at > now);
            self.others.retain(|_, e| e.expires_at > now);
            self.pruned_at = now;
        }
        for event in events {
            match &event.audit_id {
                Some(id) => {
                    let id = id.clone();
                    let later = self.tokens.get(&id).is_none_or(|e| e.issued_before < event.issued_before);
                    if later {
                        self.tokens.insert(id, event);
                    }
                }
                None => {
                    self.others.insert(event.seq, event);
                }
            }
        }
    }

    /// Whether a rule refuses `claims`.
    pub fn refuses(&self, claims: &TokenClaims) -> bool {
        self.of_token(claims).is_some_and(|e| e.matches(claims))
            || self.others.values().any(|e| e.matches(claims))
    }

    /// Whether a rule numbered above `seq` is about the subject of `claims`, whenever they were issued.
    pub fn concerns_since(&self, seq: i64, claims: &TokenClaims) -> bool {
        let mut claims = claims.clone();
        claims.iat_us = Timestamp(i64::MIN);
        self.of_token(&claims).is_some_and(|e| e.seq > seq && e.matches(&claims))
            || self.others.range(seq.saturating_add(1)..).any(|(_, e)| e.matches(&claims))
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.tokens.len() + self.others.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn of_token(&self, claims: &TokenClaims) -> Option<&RevocationEvent> {
        self.tokens.get(claims.aud_ids.first()?)
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
        ) -> RevocationEvent {
            RevocationEvent {
                seq, issued_before: Timestamp(before), expires_at: Timestamp(i64::MAX), user_id: user, project_id: project,
                domain_id: domain, role, audit_id: audit, ..Default::default()
            }
        }
    }

    proptest! {
        /// The set refuses what any single rule refuses, and nothing else.
        #[test]
        fn agrees_with_its_rules(
            rules in prop::collection::vec(any_rule(), 0..20), user in "u[1-3]", project in "p[1-3]",
            role in "r[12]", audit in "a[1-5]", at in 0..6i64,
        ) {
            // As the database gives them: numbers are unique, a token is revoked alone.
            let mut seen = std::collections::HashSet::new();
            let rules: Vec<_> = rules.into_iter().filter(|r| seen.insert(r.seq)).map(|mut r| {
                if r.audit_id.is_some() {
                    (r.user_id, r.project_id, r.domain_id, r.role) = (None, None, None, None);
                }
                r
            }).collect();
            let mut set = RevocationSet::default();
            set.add(rules.clone());
            set.add(rules.clone());
            let claims = claims(&user, &project, &role, &audit, at);
            prop_assert_eq!(set.refuses(&claims), rules.iter().any(|r| r.matches(&claims)));
        }
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

//! What Glance's default policy says, worked out apart from the code under test: the rules come from a copy of
//! Glance's (glance-rules.tsv), the evaluator shares nothing with the policy library.

use super::Persona;
use std::collections::HashMap;

/// Attributes of what a request is about.
pub type Target<'t> = Vec<(&'static str, &'t str)>;

/// Glance's rules: check string and scopes by name.
pub struct Oracle(HashMap<&'static str, (&'static str, &'static str)>);

impl Oracle {
    pub fn new() -> Self {
        let lines = include_str!("glance-rules.tsv").lines().skip(1);
        Self(lines.map(|l| l.split('\t').collect::<Vec<_>>()).map(|row| (row[0], (row[1], row[2]))).collect())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().copied()
    }

    /// Whether the policy lets `who` do `rule` to `target`.
    pub fn allows(&self, rule: &str, who: &Persona, target: &Target<'_>) -> bool {
        let (check, scopes) = self.0.get(rule).unwrap_or_else(|| panic!("Glance has no rule {rule}"));
        (scopes.is_empty() || scopes.split(',').any(|scope| scope == who.scope))
            && self.holds(check, who, target)
    }

    fn holds(&self, check: &str, who: &Persona, target: &Target<'_>) -> bool {
        let check = check.trim();
        if let Some(parts) = split(check, " or ") {
            return parts.iter().any(|part| self.holds(part, who, target));
        }
        if let Some(parts) = split(check, " and ") {
            return parts.iter().all(|part| self.holds(part, who, target));
        }
        if let Some(inner) = check.strip_prefix('(') {
            return self.holds(inner.strip_suffix(')').expect("a closing bracket"), who, target);
        }
        let Some((kind, matched)) = check.split_once(':') else { return check.is_empty() };
        match kind {
            "role" => return who.roles.contains(&matched),
            "rule" => return self.holds(self.0[matched].0, who, target),
            _ => {}
        }
        let name = matched.strip_prefix("%(").and_then(|m| m.strip_suffix(")s")).expect("an attribute");
        let Some((_, right)) = target.iter().find(|(have, _)| *have == name) else { return false };
        match kind.strip_prefix('\'').and_then(|k| k.strip_suffix('\'')) {
            Some(text) => text == *right,
            None if kind == "project_id" => !who.project.is_empty() && who.project == *right,
            None => panic!("the oracle does not know {kind}"),
        }
    }
}

/// The parts of `text` between `word`s outside of brackets; `None` if there is but one.
fn split<'t>(text: &'t str, word: &str) -> Option<Vec<&'t str>> {
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
    // The brackets of `%(name)s` close again, so that they do not count.
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && at >= from && text[at..].starts_with(word) => {
                parts.push(&text[from..at]);
                from = at + word.len();
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    (parts.len() > 1).then_some(parts)
}

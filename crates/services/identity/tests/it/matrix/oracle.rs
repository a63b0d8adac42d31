//! What Keystone's default policy says, worked out apart from the code under test: the rules come from a copy of
//! Keystone's (keystone-rules.tsv), the evaluator shares nothing with the policy library.

use super::world::Persona;
use std::collections::HashMap;

/// Attributes of what a request is about; `None` is null.
pub type Target = HashMap<String, Option<String>>;

/// Keystone's rules and routes.
pub struct Oracle {
    rules: HashMap<&'static str, (&'static str, &'static str)>,
    routes: HashMap<String, Vec<&'static str>>,
}

fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).map(|l| l.split('\t').collect())
}

impl Oracle {
    pub fn new() -> Self {
        let rules = lines(include_str!("keystone-rules.tsv"))
            .map(|row| (row[0], (row[1], row.get(2).copied().unwrap_or(""))))
            .collect();
        let routes = lines(include_str!("keystone-routes.tsv"))
            .map(|row| {
                let named = row[2].split(',').filter(|r| *r != "-").collect();
                (format!("{} {}", row[0], row[1]), named)
            })
            .collect();
        Self { rules, routes }
    }

    /// The rules of Keystone's handler for `METHOD path`, if Keystone has it.
    pub fn rules_of(&self, route: &str) -> Option<&[&'static str]> {
        self.routes.get(route).map(Vec::as_slice)
    }

    /// Names of all rules.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.keys().copied()
    }

    /// Whether the policy lets `who` do `rule` to `target`.
    pub fn allows(&self, rule: &str, who: &Persona, target: &Target) -> bool {
        let (scopes, check) = self.rules.get(rule).unwrap_or_else(|| panic!("Keystone has no rule {rule}"));
        let scope = match (&who.system, &who.domain) {
            (true, _) => "system",
            (false, Some(_)) => "domain",
            (false, None) => "project",
        };
        if *scopes != "-" && !scopes.split(',').any(|s| s == scope) {
            return false;
        }
        self.holds(check, who, target)
    }

    fn holds(&self, check: &str, who: &Persona, target: &Target) -> bool {
        let check = check.trim();
        if let Some(parts) = split(check, " or ") {
            return parts.iter().any(|part| self.holds(part, who, target));
        }
        if let Some(parts) = split(check, " and ") {
            return parts.iter().all(|part| self.holds(part, who, target));
        }
        if let Some(rest) = check.strip_prefix("not ") {
            return !self.holds(rest, who, target);
        }
        if let Some(inner) = check.strip_prefix('(') {
            return self.holds(inner.strip_suffix(')').expect("a closing bracket"), who, target);
        }
        let Some((kind, matched)) = check.split_once(':') else {
            return check.is_empty() || check == "@";
        };
        if kind == "role" {
            return who.roles.contains(&matched);
        }
        if kind == "rule" {
            let (_, check) = self.rules[matched];
            return self.holds(check, who, target);
        }
        // What the right side names, where null is the text None, as Python prints it.
        let right = match matched.strip_prefix("%(").and_then(|m| m.strip_suffix(")s")) {
            Some(name) => match target.get(name) {
                Some(value) => value.clone().unwrap_or("None".into()),
                None => return false,
            },
            None => matched.to_owned(),
        };
        if let Some(text) = kind.strip_prefix('\'').and_then(|k| k.strip_suffix('\'')) {
            return text == right;
        }
        if kind == "None" {
            return right == "None";
        }
        let left = match kind {
            "user_id" => Some(who.user_id.clone()),
            "project_id" => who.project.clone(),
            "domain_id" | "token.domain.id" => who.domain.clone(),
            "token.project.domain.id" => who.project_domain.clone(),
            "system_scope" => who.system.then(|| "all".into()),
            "is_admin" => None,
            other => panic!("the oracle does not know {other}"),
        };
        match left {
            Some(left) => left == right,
            // Only the rule's own word for none: a target without a value is nobody's.
            None => right == "None" && matched == "None",
        }
    }
}

/// The parts of `text` between `word`s outside of brackets; `None` if there is but one.
fn split<'t>(text: &'t str, word: &str) -> Option<Vec<&'t str>> {
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
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

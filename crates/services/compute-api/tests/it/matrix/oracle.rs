//! What Nova's default policy says, worked out apart from the code under test: rules and routes come from copies of
//! Nova's (nova-rules.tsv, nova-routes.tsv), the evaluator shares nothing with the policy library.

use super::Persona;
use std::collections::HashMap;

/// What a request is about.
#[derive(Clone, Copy)]
pub struct Target<'t> {
    pub project: &'t str,
    pub user: &'t str,
}

type Key = (String, String, String);

/// Nova's rules and routes.
pub struct Oracle {
    rules: HashMap<&'static str, (&'static str, &'static str)>,
    routes: HashMap<Key, Vec<&'static str>>,
}

fn columns(line: &'static str) -> Vec<&'static str> {
    line.split('\t').collect()
}

/// A path with all its names blanked: `/servers/{}/ips`.
pub fn blank(path: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in path.chars() {
        match c {
            '{' => {
                inside = true;
                out.push('{');
            }
            '}' => {
                inside = false;
                out.push('}');
            }
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out
}

impl Oracle {
    pub fn new() -> Self {
        let rules = include_str!("nova-rules.tsv").lines().skip(1).map(columns);
        let routes = include_str!("nova-routes.tsv").lines().skip(1).map(columns);
        Self {
            rules: rules.map(|row| (row[0], (row[1], row[2]))).collect(),
            routes: routes
                .map(|row| {
                    let rules = row[3].split(',').filter(|rule| !rule.is_empty()).collect();
                    ((row[0].to_owned(), row[1].to_owned(), row[2].to_owned()), rules)
                })
                .collect(),
        }
    }

    /// Check string and scopes of a rule.
    pub fn rule(&self, name: &str) -> Option<(&'static str, &'static str)> {
        self.rules.get(name).copied()
    }

    /// The rules of Nova's route; `None` if it has no such route. `gone` for one that was removed.
    pub fn route(&self, method: &str, path: &str, action: &str) -> Option<&[&'static str]> {
        self.routes.get(&(method.to_owned(), blank(path), action.to_owned())).map(Vec::as_slice)
    }

    /// Whether the policy lets `who` do `rule` to `target`.
    pub fn allows(&self, rule: &str, who: &Persona, target: Target<'_>) -> bool {
        let (check, scopes) = self.rule(rule).unwrap_or_else(|| panic!("Nova has no rule {rule}"));
        (scopes.is_empty() || scopes.split(',').any(|scope| scope == who.scope))
            && self.holds(check, who, target)
    }

    fn holds(&self, check: &str, who: &Persona, target: Target<'_>) -> bool {
        let check = check.trim();
        if let Some((left, right)) = check.split_once(" or ") {
            return self.holds(left, who, target) || self.holds(right, who, target);
        }
        if let Some((left, right)) = check.split_once(" and ") {
            return self.holds(left, who, target) && self.holds(right, who, target);
        }
        if let Some(inner) = check.strip_prefix('(').and_then(|c| c.strip_suffix(')')) {
            return self.holds(inner, who, target);
        }
        match check.split_once(':') {
            None => match check {
                "@" | "" => true,
                "!" => false,
                other => panic!("the oracle does not know {other}"),
            },
            Some(("role", role)) => who.roles.contains(&role),
            Some(("rule", rule)) => self.holds(self.rules[rule].0, who, target),
            Some(("project_id", _)) => !who.project.is_empty() && who.project == target.project,
            Some(("user_id", _)) => super::user_id(who.user) == target.user,
            Some((other, _)) => panic!("the oracle does not know {other}"),
        }
    }
}

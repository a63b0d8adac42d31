//! The rules in force: defaults with the operator's overrides on top.

use crate::Check;
use ferrostack_model::{Error, Result, TokenClaims};
use parking_lot::RwLock;
use std::{collections::HashMap, path::Path};

/// A default rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `os_compute_api:servers:show`
    pub name: &'static str,
    /// Its check string.
    pub check: &'static str,
}

/// Decides by name.
#[derive(Debug)]
pub struct Enforcer {
    defaults: HashMap<String, Check>,
    rules: RwLock<HashMap<String, Check>>,
}

impl Enforcer {
    /// The `defaults` alone. A default that cannot be parsed is a bug and an error.
    pub fn new(defaults: &[Rule]) -> Result<Self> {
        let mut parsed = HashMap::with_capacity(defaults.len());
        for rule in defaults {
            let check = Check::parse(rule.check)
                .map_err(|e| Error::internal(format!("default rule {}: {}", rule.name, e.0)))?;
            parsed.insert(rule.name.to_owned(), check);
        }
        Ok(Self { rules: RwLock::new(parsed.clone()), defaults: parsed })
    }

    /// Puts the overrides of a `policy.yaml` on top of the defaults. A bad file changes nothing and the error
    /// names the file and the rule.
    pub fn load(&self, path: &Path) -> Result<()> {
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|e| Error::internal(format!("{name}: {e}")))?;
        let overrides: HashMap<String, Option<String>> =
            serde_yaml_ng::from_str(&text).map_err(|e| Error::internal(format!("{name}: {e}")))?;
        let mut rules = self.defaults.clone();
        for (rule, text) in overrides {
            let check = Check::parse(text.as_deref().unwrap_or(""))
                .map_err(|e| Error::internal(format!("{name}: rule {rule}: {}", e.0)))?;
            rules.insert(rule, check);
        }
        *self.rules.write() = rules;
        Ok(())
    }

    /// Whether `claims` may do `rule` to `target`; a rule that does not exist refuses.
    pub fn check(&self, rule: &str, claims: &TokenClaims, target: &[(&str, &str)]) -> bool {
        let rules = self.rules.read();
        let Some(check) = rules.get(rule) else {
            tracing::error!(rule, "no such policy rule");
            return false;
        };
        check.allows(&rules, claims, target)
    }

    /// The names of all rules, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.rules.read().keys().cloned().collect();
        names.sort();
        names
    }
}

//! The rules in force: defaults with the operator's overrides on top.

use crate::{
    Check,
    file::{self, MAX_FILE},
};
use ferrostack_model::{Error, Result, TokenClaims};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::HashMap,
    io::Read,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// What a token is for, as far as rules care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeType {
    /// The whole deployment.
    System,
    /// A domain.
    Domain,
    /// A project; an unscoped token counts as one.
    Project,
}

impl ScopeType {
    /// That of a token, as oslo.policy reads it.
    pub fn of(claims: &TokenClaims) -> Self {
        if claims.system {
            Self::System
        } else if claims.domain.is_some() {
            Self::Domain
        } else {
            Self::Project
        }
    }
}

/// A default rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `os_compute_api:servers:show`
    pub name: &'static str,
    /// Its check string.
    pub check: &'static str,
    /// The scopes a token must have one of; empty: any.
    pub scope_types: &'static [ScopeType],
}

impl Rule {
    /// A rule for tokens of any scope.
    pub const fn new(name: &'static str, check: &'static str) -> Self {
        Self { name, check, scope_types: &[] }
    }
    /// A rule for tokens of some scopes.
    pub const fn scoped(name: &'static str, check: &'static str, scope_types: &'static [ScopeType]) -> Self {
        Self { name, check, scope_types }
    }
}

/// Decides by name.
#[derive(Debug)]
pub struct Enforcer {
    defaults: HashMap<String, Check>,
    scopes: HashMap<&'static str, &'static [ScopeType]>,
    enforce_scope: AtomicBool,
    rules: RwLock<HashMap<String, Check>>,
    file: Mutex<Option<Watched>>,
}

/// The file of overrides and what was found there last: its text, or why there was none.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    seen: Result<String, String>,
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
        Ok(Self {
            rules: RwLock::new(parsed.clone()),
            defaults: parsed,
            scopes: defaults
                .iter()
                .filter(|r| !r.scope_types.is_empty())
                .map(|r| (r.name, r.scope_types))
                .collect(),
            enforce_scope: AtomicBool::new(true),
            file: Mutex::new(None),
        })
    }

    /// Whether a token of a scope that the rule is not for is refused; at first it is.
    pub fn enforce_scope(&self, yes: bool) {
        self.enforce_scope.store(yes, Ordering::Relaxed);
    }

    /// Puts the overrides of a `policy.yaml` on top of the defaults and remembers the file for [`Self::reload`]. A
    /// bad file changes nothing and the error names the file, the line and the rule.
    pub fn load(&self, path: &Path) -> Result<()> {
        let text = read(path).map_err(Error::internal)?;
        let rules = file::read(&text, &self.defaults)
            .map_err(|e| Error::internal(format!("{}: {e}", path.display())))?;
        *self.rules.write() = rules;
        *self.file.lock() = Some(Watched { path: path.to_owned(), seen: Ok(text) });
        Ok(())
    }

    /// Whether there is a file to look at again.
    pub fn has_file(&self) -> bool {
        self.file.lock().is_some()
    }

    /// Reads the file again; whether there were new rules in it. A file that is gone or bad leaves the rules as they
    /// are and is an error once: not again until it changes.
    pub fn reload(&self) -> Result<bool> {
        let mut watched = self.file.lock();
        let Some(watched) = watched.as_mut() else { return Ok(false) };
        let now = read(&watched.path);
        if now == watched.seen {
            return Ok(false);
        }
        watched.seen = now;
        let text = watched.seen.as_ref().map_err(|e| Error::internal(e.clone()))?;
        let rules = file::read(text, &self.defaults)
            .map_err(|e| Error::internal(format!("{}: {e}", watched.path.display())))?;
        *self.rules.write() = rules;
        Ok(true)
    }

    /// Whether `claims` may do `rule` to `target`; a rule that does not exist refuses.
    pub fn check(&self, rule: &str, claims: &TokenClaims, target: &[(&str, &str)]) -> bool {
        if self.enforce_scope.load(Ordering::Relaxed)
            && self.scopes.get(rule).is_some_and(|scopes| !scopes.contains(&ScopeType::of(claims)))
        {
            return false;
        }
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

fn read(path: &Path) -> Result<String, String> {
    let name = path.display();
    let mut text = String::new();
    let mut file = std::fs::File::open(path).map_err(|e| format!("{name}: {e}"))?.take(MAX_FILE + 1);
    file.read_to_string(&mut text).map_err(|e| format!("{name}: {e}"))?;
    if text.len() as u64 > MAX_FILE {
        return Err(format!("{name}: larger than {MAX_FILE} bytes"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrostack_model::{DomainRef, ProjectRef, Timestamp};

    const RULES: &[Rule] = &[
        Rule::new("any", ""),
        Rule::scoped("deployment", "role:admin", &[ScopeType::System, ScopeType::Project]),
        Rule::scoped("mine", "", &[ScopeType::Project]),
    ];

    fn claims() -> TokenClaims {
        let dom = DomainRef { id: "d".into(), name: "D".into() };
        TokenClaims {
            sub: "u".into(),
            name: "u".into(),
            dom: dom.clone(),
            iat_us: Timestamp(0),
            exp_us: Timestamp(0),
            aud_ids: vec![],
            methods: vec![],
            project: Some(ProjectRef { id: "p".into(), name: "p".into(), domain: dom }),
            roles: vec!["admin".into()],
            ..Default::default()
        }
    }

    #[test]
    fn a_rule_is_for_its_scopes() {
        let policy = Enforcer::new(RULES).unwrap();
        let project = claims();
        let domain = TokenClaims { project: None, domain: Some(project.dom.clone()), ..project.clone() };
        let system = TokenClaims { project: None, system: true, ..project.clone() };
        let unscoped = TokenClaims { project: None, ..project.clone() };
        let allowed = |rule: &str| {
            [&project, &domain, &system, &unscoped].map(|claims| policy.check(rule, claims, &[]))
        };
        assert_eq!(allowed("any"), [true; 4]);
        assert_eq!(allowed("deployment"), [true, false, true, true]);
        assert_eq!(allowed("mine"), [true, false, false, true]);
        assert_eq!(allowed("nosuch"), [false; 4]);
        policy.enforce_scope(false);
        assert_eq!([&project, &domain].map(|c| policy.check("deployment", c, &[])), [true; 2]);
    }

    #[test]
    fn reloads_what_changed_and_keeps_the_rules_when_it_is_bad() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy.yaml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let policy = Enforcer::new(RULES).unwrap();
        assert!(!policy.has_file() && !policy.reload().unwrap());
        write("any: 'role:x or'\n");
        let error = policy.load(&path).unwrap_err();
        assert!(error.for_log().contains("policy.yaml: line 1: rule 'any'"), "{}", error.for_log());
        assert!(!policy.has_file() && policy.check("any", &claims(), &[]));
        write("any: '!'\n");
        policy.load(&path).unwrap();
        assert!(policy.has_file() && !policy.check("any", &claims(), &[]));
        assert!(!policy.reload().unwrap());
        write("any: role:admin\n");
        assert!(policy.reload().unwrap() && policy.check("any", &claims(), &[]));
        write("any: role:member\nanny: ''\n");
        assert!(policy.reload().unwrap_err().for_log().contains("line 2: rule 'anny'"));
        assert!(!policy.reload().unwrap() && policy.check("any", &claims(), &[]));
        std::fs::remove_file(&path).unwrap();
        assert!(policy.reload().is_err());
        assert!(!policy.reload().unwrap() && policy.check("any", &claims(), &[]));
        // An override does not widen the scopes.
        write("mine: ''\n");
        assert!(policy.reload().unwrap());
        let domain = TokenClaims { project: None, domain: Some(claims().dom), ..claims() };
        assert!(!policy.check("mine", &domain, &[]) && policy.check("any", &domain, &[]));
        std::fs::write(&path, vec![b'#'; (MAX_FILE + 1) as usize]).unwrap();
        assert!(policy.reload().unwrap_err().for_log().contains("larger than"));
    }
}

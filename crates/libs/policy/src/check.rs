//! The language of check strings: `role:admin or (project_id:%(project_id)s and not rule:x)`.

use ferrostack_model::TokenClaims;
use std::collections::HashMap;

/// A parsed check string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Empty string or `@`.
    Always,
    /// `!`
    Never,
    /// `and`
    All(Vec<Check>),
    /// `or`
    Any(Vec<Check>),
    /// `not`
    Not(Box<Check>),
    /// `role:name`
    Role(String),
    /// `rule:name`
    Rule(String),
    /// `left:right`, either side a literal, a credential's attribute or `%(target attribute)s`.
    Match {
        /// Credential attribute or literal.
        left: String,
        /// Literal or `%(…)s`.
        right: String,
    },
    /// Neutron's `field:networks:shared=True`: an attribute of the target is this value, or begins with it
    /// (`field:port:device_owner=~^network:`).
    Field {
        /// Attribute of the target.
        name: String,
        /// The wanted value or beginning.
        value: String,
        /// Whether a beginning is enough.
        prefix: bool,
    },
}

/// A check string that cannot be read, with what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(pub String);

/// Rules may name rules; deeper than this is a loop and refuses.
const MAX_DEPTH: u8 = 32;

impl Check {
    /// Parses a check string.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let tokens = tokens(text);
        if tokens.is_empty() {
            return Ok(Self::Always);
        }
        let mut parser = Parser { tokens: &tokens, at: 0 };
        let check = parser.any(0)?;
        if parser.at < tokens.len() {
            return Err(ParseError(format!("unexpected '{}'", tokens[parser.at])));
        }
        Ok(check)
    }

    /// Whether `claims` may act on `target`, with `rules` for `rule:` references.
    pub fn allows(
        &self,
        rules: &HashMap<String, Check>,
        claims: &TokenClaims,
        target: &[(&str, &str)],
    ) -> bool {
        self.at_depth(rules, claims, target, 0)
    }

    fn at_depth(
        &self,
        rules: &HashMap<String, Check>,
        claims: &TokenClaims,
        target: &[(&str, &str)],
        depth: u8,
    ) -> bool {
        if depth > MAX_DEPTH {
            return false;
        }
        let inner = |c: &Check| c.at_depth(rules, claims, target, depth + 1);
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::All(checks) => checks.iter().all(inner),
            Self::Any(checks) => checks.iter().any(inner),
            // A loop must refuse below `not` as well.
            Self::Not(check) => depth < MAX_DEPTH && !inner(check),
            Self::Role(name) => claims.roles.iter().any(|r| r.eq_ignore_ascii_case(name)),
            Self::Rule(name) => rules.get(name).is_some_and(inner),
            Self::Field { name, value, prefix } => target.iter().any(|(k, have)| {
                k == name && if *prefix { have.starts_with(value.as_str()) } else { have == value }
            }),
            Self::Match { left, right } => same(left, right, claims, target),
        }
    }

    /// Calls `f` with every part, itself first.
    pub fn walk(&self, f: &mut impl FnMut(&Check)) {
        f(self);
        match self {
            Self::All(checks) | Self::Any(checks) => checks.iter().for_each(|c| c.walk(f)),
            Self::Not(check) => check.walk(f),
            _ => {}
        }
    }
}

/// Compares a credential's attribute or a literal with the target's attribute or a literal. What is absent or null
/// on both sides is not the same thing: only a written `None` means it.
fn same(left: &str, right: &str, claims: &TokenClaims, target: &[(&str, &str)]) -> bool {
    let attribute = right.strip_prefix("%(").and_then(|r| r.strip_suffix(")s"));
    let wanted = match attribute {
        Some(name) => match target.iter().find(|(k, _)| *k == name) {
            Some((_, value)) => *value,
            None => return false,
        },
        None => right,
    };
    // A target's id that is empty: a resource without an owner belongs to nobody.
    let wanted_null = wanted == "None" || (attribute.is_some() && wanted.is_empty());
    match literal(left) {
        Some("None") => wanted_null,
        Some(text) => !wanted_null && text == wanted,
        None => match credential(claims, left) {
            Some(have) => !wanted_null && !wanted.is_empty() && have == wanted,
            None => wanted_null && attribute.is_none(),
        },
    }
}

/// A left side that stands for itself: quoted text, a number, `True`, `False`, `None`.
fn literal(left: &str) -> Option<&str> {
    let quoted = |mark: char| left.strip_prefix(mark).and_then(|l| l.strip_suffix(mark));
    if let Some(text) = quoted('\'').or_else(|| quoted('"')) {
        return Some(text);
    }
    let number = !left.is_empty() && left.bytes().all(|b| b.is_ascii_digit());
    (number || matches!(left, "True" | "False" | "None")).then_some(left)
}

/// Whether a left side is a literal or names an attribute that tokens have.
pub(crate) fn is_known(left: &str) -> bool {
    literal(left).is_some() || ATTRIBUTES.contains(&left)
}

/// The attributes of [`credential`], and those of upstream's that no token here has.
const ATTRIBUTES: &[&str] = &[
    "user_id",
    "project_id",
    "tenant_id",
    "tenant",
    "project",
    "project_domain_id",
    "token.project.domain.id",
    "domain_id",
    "token.domain.id",
    "user_domain_id",
    "token.user.domain.id",
    "system_scope",
    "system",
    "is_admin",
    "is_admin_project",
    "service_roles",
    "service_user_id",
    "service_project_id",
];

/// A credential attribute by the names policies use; `None` if the token has none.
fn credential(claims: &TokenClaims, name: &str) -> Option<String> {
    match name {
        "user_id" => Some(claims.sub.clone()),
        "project_id" | "tenant_id" | "tenant" | "project" => claims.project.as_ref().map(|p| p.id.clone()),
        "project_domain_id" | "token.project.domain.id" => {
            claims.project.as_ref().map(|p| p.domain.id.clone())
        }
        "domain_id" | "token.domain.id" => claims.domain.as_ref().map(|d| d.id.clone()),
        "user_domain_id" | "token.user.domain.id" => Some(claims.dom.id.clone()),
        "system_scope" | "system" => claims.system.then(|| "all".to_owned()),
        "is_admin" => Some(if claims.roles.iter().any(|r| r == "admin") { "True" } else { "False" }.into()),
        // is_admin_project defaults to true in Keystone's own enforcement when none is configured.
        "is_admin_project" => Some("True".into()),
        _ => None,
    }
}

fn tokens(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let mut rest = word;
        while let Some(r) = rest.strip_prefix('(') {
            out.push("(".into());
            rest = r;
        }
        // `%(name)s` holds brackets of its own: only closing ones without a partner end the word.
        let mut closing = 0;
        while let Some(r) = rest.strip_suffix(')') {
            if r.matches('(').count() > r.matches(')').count() {
                break;
            }
            closing += 1;
            rest = r;
        }
        if !rest.is_empty() {
            out.push(rest.to_owned());
        }
        out.extend(std::iter::repeat_n(")".to_owned(), closing));
    }
    out
}

struct Parser<'a> {
    tokens: &'a [String],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn any(&mut self, depth: u8) -> Result<Check, ParseError> {
        let mut checks = vec![self.all(depth)?];
        while self.peek().is_some_and(|t| t.eq_ignore_ascii_case("or")) {
            self.at += 1;
            checks.push(self.all(depth)?);
        }
        Ok(one_or(checks, Check::Any))
    }

    fn all(&mut self, depth: u8) -> Result<Check, ParseError> {
        let mut checks = vec![self.one(depth)?];
        while self.peek().is_some_and(|t| t.eq_ignore_ascii_case("and")) {
            self.at += 1;
            checks.push(self.one(depth)?);
        }
        Ok(one_or(checks, Check::All))
    }

    fn one(&mut self, depth: u8) -> Result<Check, ParseError> {
        if depth > MAX_DEPTH {
            return Err(ParseError("nested too deep".into()));
        }
        let token = self.peek().ok_or_else(|| ParseError("ends too early".into()))?.to_owned();
        self.at += 1;
        if token.eq_ignore_ascii_case("not") {
            return Ok(Check::Not(Box::new(self.one(depth + 1)?)));
        }
        match token.as_str() {
            "(" => {
                let inner = self.any(depth + 1)?;
                if self.peek() != Some(")") {
                    return Err(ParseError("missing ')'".into()));
                }
                self.at += 1;
                Ok(inner)
            }
            "@" => Ok(Check::Always),
            "!" => Ok(Check::Never),
            word => {
                let (left, right) =
                    word.split_once(':').ok_or_else(|| ParseError(format!("'{word}' is not a check")))?;
                let whole = right.strip_prefix("%(").and_then(|r| r.strip_suffix(")s"));
                if right.contains("%(")
                    && (whole.is_none_or(|name| name.contains(['%', '(', ')'])) || left == "role")
                {
                    return Err(ParseError(format!("'{word}': only a whole %(name)s is understood")));
                }
                Ok(match left {
                    "http" | "https" => {
                        return Err(ParseError(format!("'{word}': nobody is asked over HTTP")));
                    }
                    "" => return Err(ParseError(format!("'{word}' is not a check"))),
                    "role" => Check::Role(right.into()),
                    "rule" => Check::Rule(right.into()),
                    "field" => field(right)?,
                    _ => Check::Match { left: left.into(), right: right.into() },
                })
            }
        }
    }
}

/// `resource:attribute=value`; a `~` before the value makes it a pattern, of which beginnings are understood.
fn field(text: &str) -> Result<Check, ParseError> {
    let wrong = || ParseError(format!("'field:{text}' is not a field check"));
    let (_, rest) = text.split_once(':').ok_or_else(wrong)?;
    let (name, value) = rest.split_once('=').ok_or_else(wrong)?;
    let Some(pattern) = value.strip_prefix('~') else {
        return Ok(Check::Field { name: name.into(), value: value.into(), prefix: false });
    };
    let literal = pattern.strip_prefix('^').unwrap_or(pattern);
    if literal.contains(|c: char| "\\.[]{}()*+?|^$".contains(c)) {
        return Err(ParseError(format!("'field:{text}': only patterns like ~^beginning are understood")));
    }
    Ok(Check::Field { name: name.into(), value: literal.into(), prefix: true })
}

fn one_or(mut checks: Vec<Check>, many: fn(Vec<Check>) -> Check) -> Check {
    match (checks.len(), checks.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => {
            checks.push(last);
            many(checks)
        }
        (_, None) => Check::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrostack_model::{DomainRef, ProjectRef, Timestamp};
    use proptest::prelude::*;

    fn claims(roles: &[&str]) -> TokenClaims {
        let dom = DomainRef { id: "default".into(), name: "Default".into() };
        TokenClaims {
            sub: "u1".into(),
            name: "bob".into(),
            dom: dom.clone(),
            iat_us: Timestamp(0),
            exp_us: Timestamp(0),
            aud_ids: vec![],
            methods: vec![],
            project: Some(ProjectRef { id: "p1".into(), name: "demo".into(), domain: dom }),
            domain: None,
            system: false,
            roles: roles.iter().map(|r| (*r).into()).collect(),
            ..Default::default()
        }
    }

    fn allows(text: &str, roles: &[&str], target: &[(&str, &str)]) -> bool {
        Check::parse(text).unwrap().allows(&HashMap::new(), &claims(roles), target)
    }

    #[test]
    fn understands_the_default_rules() {
        let own = "role:reader and project_id:%(project_id)s";
        assert!(allows(own, &["reader"], &[("project_id", "p1")]));
        assert!(!allows(own, &["reader"], &[("project_id", "p2")]));
        assert!(!allows(own, &[], &[("project_id", "p1")]));
        assert!(!allows(own, &["reader"], &[]));
        let either = "(role:admin and system_scope:all) or (role:member and user_id:%(target.user.id)s)";
        assert!(allows(either, &["member"], &[("target.user.id", "u1")]));
        assert!(!allows(either, &["admin"], &[("target.user.id", "u2")]));
        assert!(allows("", &[], &[]) && allows("@", &[], &[]) && !allows("!", &["admin"], &[]));
        assert!(allows("not role:admin", &["member"], &[]));
        assert!(allows("None:%(target.role.domain_id)s", &[], &[("target.role.domain_id", "None")]));
        assert!(allows("'public':%(visibility)s", &[], &[("visibility", "public")]));
    }

    #[test]
    fn understands_neutrons_field_checks() {
        let shared = "field:networks:shared=True";
        assert!(allows(shared, &[], &[("shared", "True")]) && !allows(shared, &[], &[("shared", "False")]));
        assert!(!allows(shared, &[], &[]));
        let external = "field:networks:router:external=True";
        assert!(allows(external, &[], &[("router:external", "True")]));
        let device = "not field:port:device_owner=~^network:";
        assert!(!allows(device, &[], &[("device_owner", "network:dhcp")]));
        assert!(allows(device, &[], &[("device_owner", "compute:nova")]));
        assert!(allows("role:member and rule:x or field:a:b=c", &[], &[("b", "c")]));
    }

    #[test]
    fn a_loop_of_rules_refuses() {
        let rules = HashMap::from([
            ("a".to_owned(), Check::parse("rule:b").unwrap()),
            ("b".to_owned(), Check::parse("not rule:a").unwrap()),
        ]);
        let _ = rules["a"].allows(&rules, &claims(&["admin"]), &[]);
        let unknown = Check::parse("rule:nothing").unwrap();
        assert!(!unknown.allows(&rules, &claims(&["admin"]), &[]));
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        for bad in
            ["role", "(role:a", "role:a)", "and", "role:a or", "role:a role:b", "field:a", "field:a:b=~[x]"]
        {
            assert!(Check::parse(bad).is_err(), "{bad}");
        }
    }

    /// X25: `None == None` let any user read the root domains.
    #[test]
    fn absent_never_equals_absent() {
        // The claims have a project and no domain.
        for null in ["None", ""] {
            let target = [("target.project.domain_id", null)];
            assert!(!allows("domain_id:%(target.project.domain_id)s", &["admin"], &target));
            assert!(!allows("token.domain.id:%(target.project.domain_id)s", &["admin"], &target));
            assert!(!allows("nosuch:%(target.project.domain_id)s", &["admin"], &target));
            assert!(allows("None:%(target.project.domain_id)s", &[], &target));
            assert!(!allows("'None':%(x)s", &[], &[]));
        }
        assert!(!allows("domain_id:%(target.domain.id)s", &[], &[]));
        // Keystone's explicit forms.
        assert!(allows("domain_id:None", &[], &[]) && !allows("project_id:None", &[], &[]));
        assert!(!allows("None:%(target.role.domain_id)s", &[], &[]));
    }

    proptest! {
        /// Whatever attribute is compared with whatever target: without a value on either side, or with the word for
        /// none, they are never the same.
        #[test]
        fn nothing_equals_nothing(
            left in prop::sample::select(ATTRIBUTES), null in prop::sample::select(vec!["None", ""]),
            name in "[a-z._]{1,12}", have_project in any::<bool>(), have_domain in any::<bool>(), system in any::<bool>(),
        ) {
            let mut claims = claims(&["admin"]);
            if !have_project {
                claims.project = None;
            }
            if have_domain {
                claims.domain = Some(claims.dom.clone());
            }
            claims.system = system;
            let check = Check::parse(&format!("{left}:%({name})s")).unwrap();
            let none = HashMap::new();
            prop_assert!(!check.allows(&none, &claims, &[(&name, null)]));
            prop_assert!(!check.allows(&none, &claims, &[]));
            prop_assert!(!check.allows(&none, &claims, &[("other", "x")]));
        }

        #[test]
        fn never_panics(text in "\\PC{0,200}") {
            let _ = Check::parse(&text);
        }
    }
}

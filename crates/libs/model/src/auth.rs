//! Who calls: the claims of a token and what the services make of them.

use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// A domain by id and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainRef {
    /// Id; the default domain's is `default`.
    pub id: String,
    /// Name, unique.
    pub name: String,
}

/// A project by id and name, with its domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRef {
    /// Id, 32 hex digits.
    pub id: String,
    /// Name, unique in its domain.
    pub name: String,
    /// The owning domain.
    pub domain: DomainRef,
}

/// One request that an application credential may make; without rules it may make any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRule {
    /// Service type: `compute`.
    pub service: String,
    /// HTTP method.
    pub method: String,
    /// Path with `*`, `**` and `{names}`, as in the request.
    pub path: String,
}

/// The application credential that a token was got with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppCredRef {
    /// Id.
    pub id: String,
    /// Whether it may not make further credentials and trusts.
    pub restricted: bool,
    /// The only requests it may make; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_rules: Option<Vec<AccessRule>>,
}

/// The trust that a token was got with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustRef {
    /// Id.
    pub id: String,
    /// Who lends the roles.
    pub trustor: String,
    /// Who may use them.
    pub trustee: String,
    /// Whether the token's user is the trustor.
    pub impersonation: bool,
}

/// What a signed token says. Names are short: the token travels in every request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenClaims {
    /// User id.
    pub sub: String,
    /// User name.
    pub name: String,
    /// The user's domain.
    pub dom: DomainRef,
    /// Issued, microseconds.
    pub iat_us: Timestamp,
    /// Expires, microseconds.
    pub exp_us: Timestamp,
    /// Own audit id, then (if re-scoped) the first token's of the chain.
    pub aud_ids: Vec<String>,
    /// Authentication methods.
    pub methods: Vec<String>,
    /// Project scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectRef>,
    /// Domain scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<DomainRef>,
    /// System scope.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
    /// Role names with implied ones; empty if unscoped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Got with an application credential; kept through every re-scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_cred: Option<AppCredRef>,
    /// Got with a trust; kept through every re-scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<TrustRef>,
}

impl TokenClaims {
    /// Whether the holder acts by a delegation: an application credential, a trust, or an EC2 credential. Read from
    /// how the token was got, never from its scope.
    pub fn is_delegated(&self) -> bool {
        self.app_cred.is_some() || self.trust.is_some() || self.methods.iter().any(|m| m == "ec2credential")
    }

    /// The ids of all on whom the token depends: its user, then a trust's trustor and trustee. One may come twice.
    pub fn people(&self) -> impl Iterator<Item = &str> {
        let trust = self.trust.iter().flat_map(|t| [t.trustor.as_str(), t.trustee.as_str()]);
        std::iter::once(self.sub.as_str()).chain(trust)
    }
}

/// The verified caller of a request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The claims of the caller's token.
    pub claims: TokenClaims,
    /// The token itself, for asking another service on the caller's behalf. Never log it.
    pub token: Secret,
}

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Caller {
    /// User id.
    pub fn user_id(&self) -> &str {
        &self.claims.sub
    }
    /// Project id, or "" if not project-scoped.
    pub fn project_id(&self) -> &str {
        self.claims.project.as_ref().map_or("", |p| &p.id)
    }
    /// Whether the token carries the role `name`.
    pub fn has_role(&self, name: &str) -> bool {
        self.claims.roles.iter().any(|r| r.eq_ignore_ascii_case(name))
    }
    /// Nova's and Glance's `context_is_admin`: the role admin.
    pub fn is_admin(&self) -> bool {
        self.has_role("admin")
    }
}

/// A rule that refuses earlier tokens: every given field must match the token's claims and the token
/// must be issued at or before `issued_before`. Same meaning as Keystone's OS-REVOKE events: `user_id` is about the
/// token's user and, of a token got with a trust, about its trustor and trustee too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationEvent {
    /// Sequence number: the feed's cursor.
    pub seq: i64,
    /// Tokens issued at or before this are refused.
    pub issued_before: Timestamp,
    /// When the rule may be forgotten: no token it can match lives longer.
    pub expires_at: Timestamp,
    /// Of this user, or got with a trust by or for this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Scoped to this project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// Of users in, or scoped to, this domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_id: Option<String>,
    /// With this role name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Got with this application credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_cred_id: Option<String>,
    /// Got with this trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_id: Option<String>,
    /// With this own audit id: one token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_id: Option<String>,
    /// With this chain id: a token and all re-scoped from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_chain_id: Option<String>,
}

impl RevocationEvent {
    /// Whether this rule refuses a token with `claims`.
    pub fn matches(&self, claims: &TokenClaims) -> bool {
        let is = |want: &Option<String>, have: Option<&str>| want.as_deref().is_none_or(|w| have == Some(w));
        claims.iat_us <= self.issued_before
            && self.user_id.as_deref().is_none_or(|u| claims.people().any(|have| have == u))
            && is(&self.project_id, claims.project.as_ref().map(|p| p.id.as_str()))
            && self.domain_id.as_deref().is_none_or(|d| {
                claims.dom.id == d
                    || claims.domain.as_ref().is_some_and(|x| x.id == d)
                    || claims.project.as_ref().is_some_and(|p| p.domain.id == d)
            })
            && self.role.as_ref().is_none_or(|r| claims.roles.contains(r))
            && is(&self.app_cred_id, claims.app_cred.as_ref().map(|a| a.id.as_str()))
            && is(&self.trust_id, claims.trust.as_ref().map(|t| t.id.as_str()))
            && is(&self.audit_id, claims.aud_ids.first().map(String::as_str))
            && is(&self.audit_chain_id, claims.aud_ids.last().map(String::as_str))
    }
}

//! The body of a token.

use crate::auth::{Context, Delegation, Scope};
use crate::store::project::Project;
use ferrostack_model::TokenClaims;
use serde_json::{Value, json};

fn domain(domain: &Project) -> Value {
    json!({"id": domain.id, "name": domain.name})
}

/// `{"token": {…}}`; `catalog` only for scoped tokens.
pub fn token(claims: &TokenClaims, context: &Context, catalog: Option<Value>) -> Value {
    let user = &context.user;
    let mut body = json!({
        "methods": claims.methods,
        "user": {"domain": domain(&context.user_domain), "id": user.id, "name": user.name, "password_expires_at": super::user::password_expires_at(user)},
        "audit_ids": claims.aud_ids,
        "expires_at": claims.exp_us.iso_micros(),
        "issued_at": claims.iat_us.iso_micros(),
    });
    match &context.scope {
        Scope::Unscoped => {}
        Scope::Project(project, owner) => {
            body["project"] = json!({"domain": domain(owner), "id": project.id, "name": project.name});
            body["is_domain"] = json!(false);
        }
        Scope::Domain(scope) => body["domain"] = domain(scope),
        Scope::System => {}
    }
    if !matches!(context.scope, Scope::Unscoped) {
        body["roles"] = context.roles.iter().map(|r| json!({"id": r.id, "name": r.name})).collect();
        if matches!(context.scope, Scope::System) {
            body["system"] = json!({"all": true});
        }
        if let Some(catalog) = catalog {
            body["catalog"] = catalog;
        }
    }
    match &context.delegation {
        Some(Delegation::AppCred(cred)) => {
            let mut shown =
                json!({"id": cred.row.id, "name": cred.row.name, "restricted": !cred.unrestricted()});
            if !cred.rules.is_empty() {
                shown["access_rules"] = cred.rules.iter().map(super::application_credential::rule).collect();
            }
            body["application_credential"] = shown;
        }
        Some(Delegation::Trust(lent)) => {
            let trust = lent.trust();
            body["OS-TRUST:trust"] = json!({
                "id": trust.id, "impersonation": trust.impersonation == 1,
                "trustor_user": {"id": trust.trustor_user_id}, "trustee_user": {"id": trust.trustee_user_id},
            });
        }
        Some(Delegation::Project(_)) | None => {}
    }
    json!({"token": body})
}

//! The JSON-home document: where resources are, by relation. Made from the route table; the names are Keystone's.

use crate::routes;
use actix_web::{HttpRequest, HttpResponse, http::header};
use ferrostack_http::ApiResult;
use serde_json::{Map, Value, json};
use std::{collections::HashSet, sync::LazyLock};

const TYPE: &str = "application/json-home";
const CORE: &str = "https://docs.openstack.org/api/openstack-identity/3";

/// Path below `/v3`, extension (empty: the core API) and relation. A path may have several relations.
#[rustfmt::skip]
const RELATIONS: &[(&str, &str, &str)] = &[
    ("/auth/tokens", "", "auth_tokens"),
    ("/auth/catalog", "", "auth_catalog"),
    ("/auth/projects", "", "auth_projects"),
    ("/auth/projects", "OS-FEDERATION", "projects"),
    ("/auth/domains", "", "auth_domains"),
    ("/auth/domains", "OS-FEDERATION", "domains"),
    ("/auth/system", "", "auth_system"),
    ("/auth/tokens/OS-PKI/revoked", "OS-PKI", "revocations"),
    ("/auth/OS-FEDERATION/saml2", "OS-FEDERATION", "saml2"),
    ("/auth/OS-FEDERATION/saml2/ecp", "OS-FEDERATION", "ecp"),
    ("/auth/OS-FEDERATION/websso/{protocol_id}", "OS-FEDERATION", "websso"),
    ("/auth/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/websso", "OS-FEDERATION", "identity_providers_websso"),
    ("/OS-FEDERATION/identity_providers", "OS-FEDERATION", "identity_providers"),
    ("/OS-FEDERATION/identity_providers/{idp_id}", "OS-FEDERATION", "identity_provider"),
    ("/OS-FEDERATION/identity_providers/{idp_id}/protocols", "OS-FEDERATION", "identity_provider_protocols"),
    ("/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}", "OS-FEDERATION", "identity_provider_protocol"),
    ("/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/auth", "OS-FEDERATION", "identity_provider_protocol_auth"),
    ("/OS-FEDERATION/mappings", "OS-FEDERATION", "mappings"),
    ("/OS-FEDERATION/mappings/{mapping_id}", "OS-FEDERATION", "mapping"),
    ("/OS-FEDERATION/saml2/metadata", "OS-FEDERATION", "metadata"),
    ("/OS-FEDERATION/service_providers", "OS-FEDERATION", "service_providers"),
    ("/OS-FEDERATION/service_providers/{sp_id}", "OS-FEDERATION", "service_provider"),
    ("/OS-OAUTH1/consumers", "OS-OAUTH1", "consumers"),
    ("/OS-OAUTH1/consumers/{consumer_id}", "OS-OAUTH1", "consumer"),
    ("/OS-OAUTH1/request_token", "OS-OAUTH1", "request_tokens"),
    ("/OS-OAUTH1/access_token", "OS-OAUTH1", "access_tokens"),
    ("/OS-OAUTH1/authorize/{request_token_id}", "OS-OAUTH1", "authorize_request_token"),
    ("/users/{user_id}/OS-OAUTH1/access_tokens", "OS-OAUTH1", "user_access_tokens"),
    ("/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}", "OS-OAUTH1", "user_access_token"),
    ("/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}/roles", "OS-OAUTH1", "user_access_token_roles"),
    ("/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}/roles/{role_id}", "OS-OAUTH1", "user_access_token_role"),
    ("/OS-OAUTH2/token", "OS-OAUTH2", "token"),
    ("/OS-REVOKE/events", "OS-REVOKE", "events"),
    ("/OS-SIMPLE-CERT/ca", "OS-SIMPLE-CERT", "ca_certificate"),
    ("/OS-SIMPLE-CERT/certificates", "OS-SIMPLE-CERT", "certificates"),
    ("/OS-TRUST/trusts", "OS-TRUST", "trusts"),
    ("/OS-TRUST/trusts/{trust_id}", "OS-TRUST", "trust"),
    ("/OS-TRUST/trusts/{trust_id}/roles", "OS-TRUST", "trust_roles"),
    ("/OS-TRUST/trusts/{trust_id}/roles/{role_id}", "OS-TRUST", "trust_role"),
    ("/OS-EP-FILTER/endpoint_groups", "OS-EP-FILTER", "endpoint_groups"),
    ("/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}", "OS-EP-FILTER", "endpoint_group"),
    ("/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/endpoints", "OS-EP-FILTER", "endpoints_in_endpoint_group"),
    ("/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects", "OS-EP-FILTER", "projects_associated_with_endpoint_group"),
    ("/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}", "OS-EP-FILTER", "endpoint_group_to_project_association"),
    ("/OS-EP-FILTER/endpoints/{endpoint_id}/projects", "OS-EP-FILTER", "endpoint_projects"),
    ("/OS-EP-FILTER/projects/{project_id}/endpoint_groups", "OS-EP-FILTER", "project_endpoint_groups"),
    ("/OS-EP-FILTER/projects/{project_id}/endpoints", "OS-EP-FILTER", "project_endpoints"),
    ("/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}", "OS-EP-FILTER", "project_endpoint"),
    ("/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy", "OS-ENDPOINT-POLICY", "endpoint_policy"),
    ("/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints", "OS-ENDPOINT-POLICY", "policy_endpoints"),
    ("/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints/{endpoint_id}", "OS-ENDPOINT-POLICY", "endpoint_policy_association"),
    ("/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}", "OS-ENDPOINT-POLICY", "service_policy_association"),
    ("/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}/regions/{region_id}", "OS-ENDPOINT-POLICY", "region_and_service_policy_association"),
    ("/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/inherited_to_projects", "OS-INHERIT", "domain_group_roles_inherited_to_projects"),
    ("/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects", "OS-INHERIT", "domain_group_role_inherited_to_projects"),
    ("/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/inherited_to_projects", "OS-INHERIT", "domain_user_roles_inherited_to_projects"),
    ("/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects", "OS-INHERIT", "domain_user_role_inherited_to_projects"),
    ("/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects", "OS-INHERIT", "project_group_role_inherited_to_projects"),
    ("/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects", "OS-INHERIT", "project_user_role_inherited_to_projects"),
    ("/ec2tokens", "OS-EC2", "ec2tokens"),
    ("/users/{user_id}/credentials/OS-EC2", "OS-EC2", "user_credentials"),
    ("/users/{user_id}/credentials/OS-EC2/{credential_id}", "OS-EC2", "user_credential"),
    ("/s3tokens", "s3tokens", "s3tokens"),
    ("/credentials", "", "credentials"),
    ("/credentials/{credential_id}", "", "credential"),
    ("/domains", "", "domains"),
    ("/domains/{domain_id}", "", "domain"),
    ("/domains/config/default", "", "domain_config_default"),
    ("/domains/config/{group}/default", "", "domain_config_default_group"),
    ("/domains/config/{group}/{option}/default", "", "domain_config_default_option"),
    ("/domains/{domain_id}/config", "", "domain_config"),
    ("/domains/{domain_id}/config/{group}", "", "domain_config_group"),
    ("/domains/{domain_id}/config/{group}/{option}", "", "domain_config_option"),
    ("/domains/{domain_id}/groups/{group_id}/roles", "", "domain_group_roles"),
    ("/domains/{domain_id}/groups/{group_id}/roles/{role_id}", "", "domain_group_role"),
    ("/domains/{domain_id}/users/{user_id}/roles", "", "domain_user_roles"),
    ("/domains/{domain_id}/users/{user_id}/roles/{role_id}", "", "domain_user_role"),
    ("/endpoints", "", "endpoints"),
    ("/endpoints/{endpoint_id}", "", "endpoint"),
    ("/groups", "", "groups"),
    ("/groups/{group_id}", "", "group"),
    ("/groups/{group_id}/users", "", "group_users"),
    ("/groups/{group_id}/users/{user_id}", "", "group_user"),
    ("/limits", "", "limits"),
    ("/limits/model", "", "limit_model"),
    ("/limits/{limit_id}", "", "limit"),
    ("/policies", "", "policies"),
    ("/policies/{policy_id}", "", "policy"),
    ("/projects", "", "projects"),
    ("/projects/{project_id}", "", "project"),
    ("/projects/{project_id}/tags", "", "project_tags"),
    ("/projects/{project_id}/tags/{value}", "", "project_tag"),
    ("/projects/{project_id}/groups/{group_id}/roles", "", "project_group_roles"),
    ("/projects/{project_id}/groups/{group_id}/roles/{role_id}", "", "project_group_role"),
    ("/projects/{project_id}/users/{user_id}/roles", "", "project_user_roles"),
    ("/projects/{project_id}/users/{user_id}/roles/{role_id}", "", "project_user_role"),
    ("/regions", "", "regions"),
    ("/regions/{region_id}", "", "region"),
    ("/registered_limits", "", "registered_limits"),
    ("/registered_limits/{registered_limit_id}", "", "registered_limit"),
    ("/role_assignments", "", "role_assignments"),
    ("/role_inferences", "", "role_inferences"),
    ("/roles", "", "roles"),
    ("/roles/{role_id}", "", "role"),
    ("/roles/{prior_role_id}/implies", "", "implied_roles"),
    ("/roles/{prior_role_id}/implies/{implied_role_id}", "", "implied_role"),
    ("/services", "", "services"),
    ("/services/{service_id}", "", "service"),
    ("/system/groups/{group_id}/roles", "", "system_group_roles"),
    ("/system/groups/{group_id}/roles/{role_id}", "", "system_group_role"),
    ("/system/users/{user_id}/roles", "", "system_user_roles"),
    ("/system/users/{user_id}/roles/{role_id}", "", "system_user_role"),
    ("/users", "", "users"),
    ("/users/{user_id}", "", "user"),
    ("/users/{user_id}/access_rules", "", "access_rules"),
    ("/users/{user_id}/access_rules/{access_rule_id}", "", "access_rule"),
    ("/users/{user_id}/application_credentials", "", "application_credentials"),
    ("/users/{user_id}/application_credentials/{application_credential_id}", "", "application_credential"),
    ("/users/{user_id}/groups", "", "user_groups"),
    ("/users/{user_id}/password", "", "user_change_password"),
    ("/users/{user_id}/projects", "", "user_projects"),
];

/// Relations that Keystone marks as experimental.
const EXPERIMENTAL: &[&str] = &["limits", "limit", "limit_model", "registered_limits", "registered_limit"];

/// `CORE/rel/NAME`, or `CORE/ext/EXTENSION/1.0/rel/NAME`; the same with `param`.
fn name(extension: &str, kind: &str, name: &str) -> String {
    match extension {
        "" => format!("{CORE}/{kind}/{name}"),
        extension => format!("{CORE}/ext/{extension}/1.0/{kind}/{name}"),
    }
}

/// The relation of a variable in a path.
fn parameter(variable: &str, extension: &str) -> String {
    let (extension, variable) = match variable {
        "trust_id" => ("OS-TRUST", variable),
        "idp_id" | "protocol_id" | "mapping_id" | "sp_id" => ("OS-FEDERATION", variable),
        "consumer_id" | "request_token_id" | "access_token_id" => ("OS-OAUTH1", variable),
        "endpoint_group_id" => ("OS-EP-FILTER", variable),
        "credential_id" if extension == "OS-EC2" => (extension, variable),
        "group" => ("", "config_group"),
        "option" => ("", "config_option"),
        "value" => ("", "tag_value"),
        "prior_role_id" | "implied_role_id" => ("", "role_id"),
        _ => ("", variable),
    };
    name(extension, "param", variable)
}

fn entry(path: &str, prefix: &str, extension: &str, relation: &str) -> Value {
    let variables: Map<String, Value> = path
        .split('/')
        .filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'))
        .map(|v| (v.to_owned(), json!(parameter(v, extension))))
        .collect();
    let url = format!("{prefix}{path}");
    let mut entry = if variables.is_empty() {
        json!({"href": url})
    } else {
        json!({"href-template": url, "href-vars": variables})
    };
    if extension.is_empty() && EXPERIMENTAL.contains(&relation) {
        entry["hints"] = json!({"status": "experimental"});
    }
    entry
}

/// The document with URLs that begin with `prefix`: what the route table has of the relations.
fn document(prefix: &str) -> Value {
    let routes = routes::table();
    let paths: HashSet<&str> = routes.iter().filter_map(|r| r.path.strip_prefix("/v3")).collect();
    let resources: Map<String, Value> = RELATIONS
        .iter()
        .filter(|(path, ..)| paths.contains(path))
        .map(|(path, extension, relation)| {
            (name(extension, "rel", relation), entry(path, prefix, extension, relation))
        })
        .collect();
    json!({"resources": resources})
}

static OF_ROOT: LazyLock<Value> = LazyLock::new(|| document("/v3"));
static OF_V3: LazyLock<Value> = LazyLock::new(|| document(""));

/// The document for `/` (or, if not `root`, for `/v3`), if the request would rather have it than plain JSON.
pub fn answer(req: &HttpRequest, root: bool) -> Option<ApiResult> {
    let accept = req.headers().get(header::ACCEPT)?.to_str().ok()?;
    if !preferred(accept) {
        return None;
    }
    let document = if root { &*OF_ROOT } else { &*OF_V3 };
    Some(Ok(HttpResponse::Ok().content_type(TYPE).body(document.to_string())))
}

/// Whether an `Accept` header prefers JSON-home to JSON; JSON wins a tie.
fn preferred(accept: &str) -> bool {
    let (mut home, mut json) = (0.0_f32, 0.0_f32);
    for part in accept.split(',') {
        let mut fields = part.split(';').map(str::trim);
        let kind = fields.next().unwrap_or_default().to_ascii_lowercase();
        let quality = fields
            .find_map(|f| f.strip_prefix("q=")?.trim().parse::<f32>().ok())
            .filter(|q| (0.0..=1.0).contains(q))
            .unwrap_or(1.0);
        match kind.as_str() {
            TYPE => home = home.max(quality),
            "application/json" | "application/*" | "*/*" => json = json.max(quality),
            _ => {}
        }
    }
    home > json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_wins_unless_home_is_preferred() {
        assert!(preferred("application/json-home"));
        assert!(preferred("application/json-home, application/json;q=0.5"));
        for other in [
            "",
            "*/*",
            "application/json",
            "text/html",
            "application/json, application/json-home",
            "application/json-home, application/json",
            "application/json-home;q=0.1, */*;q=0.2",
        ] {
            assert!(!preferred(other), "{other}");
        }
    }

    #[test]
    fn names_are_keystones() {
        let document = document("");
        let of = |relation: &str| document["resources"][format!("{CORE}/{relation}")].clone();
        assert_eq!(of("rel/auth_tokens"), json!({"href": "/auth/tokens"}));
        assert_eq!(
            of("rel/domain_config_group"),
            json!({"href-template": "/domains/{domain_id}/config/{group}", "href-vars": {
                "domain_id": format!("{CORE}/param/domain_id"), "group": format!("{CORE}/param/config_group")}})
        );
        assert_eq!(of("ext/OS-FEDERATION/1.0/rel/projects"), json!({"href": "/auth/projects"}));
        assert_eq!(
            of("ext/OS-EC2/1.0/rel/user_credential")["href-vars"]["credential_id"],
            format!("{CORE}/ext/OS-EC2/1.0/param/credential_id")
        );
        assert_eq!(of("rel/limit_model")["hints"], json!({"status": "experimental"}));
        assert_eq!(super::document("/v3")["resources"][format!("{CORE}/rel/users")]["href"], "/v3/users");
    }

    /// Every route has its relation; those that Keystone has none for are named here.
    #[test]
    fn complete() {
        let without = [
            "",
            "/",
            "/users/{user_id}/tokens",
            "/OS-FEDERATION/projects",
            "/OS-FEDERATION/domains",
            "/domains/{domain_id}/config/security_compliance",
            "/domains/{domain_id}/config/security_compliance/{option}",
            "/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/inherited_to_projects",
            "/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/inherited_to_projects",
        ];
        for route in routes::table() {
            let Some(path) = route.path.strip_prefix("/v3") else { continue };
            let known = RELATIONS.iter().any(|(p, ..)| *p == path) || without.contains(&path);
            assert!(known || path.starts_with("/ferrostack/"), "{path}");
        }
    }
}

//! Glance's policy rules with their current defaults.

use ferrostack_model::Result;
use ferrostack_policy::{Enforcer, Rule, ScopeType};
use std::path::Path;

/// A rule for tokens of projects.
const fn project(name: &'static str, check: &'static str) -> Rule {
    Rule::scoped(name, check, &[ScopeType::Project])
}

/// Every rule this service enforces or that another one names.
pub const RULES: &[Rule] = &[
    Rule::new("default", ""),
    Rule::new("context_is_admin", "role:admin"),
    Rule::new("service_api", "role:service or role:admin"),
    project(
        "add_image",
        "rule:context_is_admin or (role:member and project_id:%(project_id)s and project_id:%(owner)s)",
    ),
    project("delete_image", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    project(
        "get_image",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s or 'public':%(visibility)s or 'shared':%(visibility)s))",
    ),
    project("get_images", "rule:context_is_admin or (role:reader and project_id:%(project_id)s)"),
    project("modify_image", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    project("publicize_image", "rule:context_is_admin"),
    project("communitize_image", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    project(
        "download_image",
        "rule:context_is_admin or (role:member and (project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s or 'public':%(visibility)s or 'shared':%(visibility)s))",
    ),
    project(
        "download_from_store",
        "rule:context_is_admin or (role:member and (project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s or 'public':%(visibility)s or 'shared':%(visibility)s))",
    ),
    project("upload_image", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    project("delete_image_location", "rule:context_is_admin"),
    project("get_image_location", "rule:context_is_admin or (role:reader and project_id:%(project_id)s)"),
    project("set_image_location", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    project(
        "add_image_location",
        "rule:service_api or (role:member and project_id:%(project_id)s and project_id:%(owner)s)",
    ),
    project("fetch_image_location", "rule:service_api"),
    project("add_member", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    project("delete_member", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    project(
        "get_member",
        "rule:context_is_admin or role:reader and (project_id:%(project_id)s or project_id:%(member_id)s)",
    ),
    project(
        "get_members",
        "rule:context_is_admin or role:reader and (project_id:%(project_id)s or project_id:%(member_id)s)",
    ),
    project("modify_member", "rule:context_is_admin or (role:member and project_id:%(member_id)s)"),
    project("deactivate", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    project("reactivate", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    project("copy_image", "rule:context_is_admin"),
    project("get_task", "rule:default"),
    project("get_tasks", "rule:default"),
    project("add_task", "rule:default"),
    project("modify_task", "rule:default"),
    project("tasks_api_access", "rule:context_is_admin"),
    project("stores_info_detail", "rule:context_is_admin or rule:service_api"),
    Rule::new("metadef_default", ""),
    Rule::new("metadef_admin", "rule:context_is_admin"),
    project(
        "get_metadef_namespace",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    project("get_metadef_namespaces", "rule:context_is_admin or (role:reader and project_id:%(project_id)s)"),
    project("modify_metadef_namespace", "rule:metadef_admin"),
    project("add_metadef_namespace", "rule:metadef_admin"),
    project("delete_metadef_namespace", "rule:metadef_admin"),
    project(
        "get_metadef_object",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    project(
        "get_metadef_objects",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    project("modify_metadef_object", "rule:metadef_admin"),
    project("add_metadef_object", "rule:metadef_admin"),
    project("delete_metadef_object", "rule:metadef_admin"),
    project(
        "list_metadef_resource_types",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    project(
        "get_metadef_resource_type",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    project("add_metadef_resource_type_association", "rule:metadef_admin"),
    project("remove_metadef_resource_type_association", "rule:metadef_admin"),
    project(
        "get_metadef_property",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    project(
        "get_metadef_properties",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    project("modify_metadef_property", "rule:metadef_admin"),
    project("add_metadef_property", "rule:metadef_admin"),
    project("remove_metadef_property", "rule:metadef_admin"),
    project(
        "get_metadef_tag",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    project(
        "get_metadef_tags",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    project("modify_metadef_tag", "rule:metadef_admin"),
    project("add_metadef_tag", "rule:metadef_admin"),
    project("add_metadef_tags", "rule:metadef_admin"),
    project("delete_metadef_tag", "rule:metadef_admin"),
    project("delete_metadef_tags", "rule:metadef_admin"),
    project("manage_image_cache", "rule:context_is_admin"),
    project("cache_image", "rule:context_is_admin"),
    project("cache_list", "rule:context_is_admin"),
    project("cache_delete", "rule:context_is_admin"),
    project("cache_clean", "rule:context_is_admin"),
    project("cache_prune", "rule:context_is_admin"),
    project("list_cached_nodes", "rule:context_is_admin"),
];

/// The rules in force: these, with the operator's overrides in `file` on top. `named` are rules that the property
/// protections name: nobody may until the operator says who.
pub fn enforcer(file: Option<&Path>, named: Vec<String>) -> Result<Enforcer> {
    let mut rules = RULES.to_vec();
    for name in named {
        // Names of rules live as long as the process.
        if !rules.iter().any(|rule| rule.name == name) {
            rules.push(Rule::new(Box::leak(name.into_boxed_str()), "!"));
        }
    }
    let policy = Enforcer::new(&rules)?;
    if let Some(file) = file {
        policy.load(file)?;
    }
    Ok(policy)
}

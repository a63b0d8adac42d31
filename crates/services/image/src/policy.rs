//! Glance's policy rules with their current defaults.

use ferrostack_policy::Rule;

/// Every rule this service enforces or that another one names.
pub const RULES: &[Rule] = &[
    Rule::new("default", ""),
    Rule::new("context_is_admin", "role:admin"),
    Rule::new("service_api", "role:service or role:admin"),
    Rule::new(
        "add_image",
        "rule:context_is_admin or (role:member and project_id:%(project_id)s and project_id:%(owner)s)",
    ),
    Rule::new("delete_image", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    Rule::new(
        "get_image",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s or 'public':%(visibility)s or 'shared':%(visibility)s))",
    ),
    Rule::new("get_images", "rule:context_is_admin or (role:reader and project_id:%(project_id)s)"),
    Rule::new("modify_image", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    Rule::new("publicize_image", "rule:context_is_admin"),
    Rule::new("communitize_image", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    Rule::new(
        "download_image",
        "rule:context_is_admin or (role:member and (project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s or 'public':%(visibility)s or 'shared':%(visibility)s))",
    ),
    Rule::new(
        "download_from_store",
        "rule:context_is_admin or (role:member and (project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s or 'public':%(visibility)s or 'shared':%(visibility)s))",
    ),
    Rule::new("upload_image", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    Rule::new("delete_image_location", "rule:context_is_admin"),
    Rule::new("get_image_location", "rule:context_is_admin or (role:reader and project_id:%(project_id)s)"),
    Rule::new("set_image_location", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    Rule::new(
        "add_image_location",
        "rule:service_api or (role:member and project_id:%(project_id)s and project_id:%(owner)s)",
    ),
    Rule::new("fetch_image_location", "rule:service_api"),
    Rule::new("add_member", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    Rule::new("delete_member", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    Rule::new(
        "get_member",
        "rule:context_is_admin or role:reader and (project_id:%(project_id)s or project_id:%(member_id)s)",
    ),
    Rule::new(
        "get_members",
        "rule:context_is_admin or role:reader and (project_id:%(project_id)s or project_id:%(member_id)s)",
    ),
    Rule::new("modify_member", "rule:context_is_admin or (role:member and project_id:%(member_id)s)"),
    Rule::new("deactivate", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    Rule::new("reactivate", "rule:context_is_admin or (role:member and project_id:%(project_id)s)"),
    Rule::new("copy_image", "rule:context_is_admin"),
    Rule::new("get_task", "rule:default"),
    Rule::new("get_tasks", "rule:default"),
    Rule::new("add_task", "rule:default"),
    Rule::new("modify_task", "rule:default"),
    Rule::new("tasks_api_access", "rule:context_is_admin"),
    Rule::new("stores_info_detail", "rule:context_is_admin or rule:service_api"),
    Rule::new("metadef_default", ""),
    Rule::new("metadef_admin", "rule:context_is_admin"),
    Rule::new(
        "get_metadef_namespace",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    Rule::new(
        "get_metadef_namespaces",
        "rule:context_is_admin or (role:reader and project_id:%(project_id)s)",
    ),
    Rule::new("modify_metadef_namespace", "rule:metadef_admin"),
    Rule::new("add_metadef_namespace", "rule:metadef_admin"),
    Rule::new("delete_metadef_namespace", "rule:metadef_admin"),
    Rule::new(
        "get_metadef_object",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    Rule::new(
        "get_metadef_objects",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    Rule::new("modify_metadef_object", "rule:metadef_admin"),
    Rule::new("add_metadef_object", "rule:metadef_admin"),
    Rule::new("delete_metadef_object", "rule:metadef_admin"),
    Rule::new(
        "list_metadef_resource_types",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    Rule::new(
        "get_metadef_resource_type",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    Rule::new("add_metadef_resource_type_association", "rule:metadef_admin"),
    Rule::new("remove_metadef_resource_type_association", "rule:metadef_admin"),
    Rule::new(
        "get_metadef_property",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    Rule::new(
        "get_metadef_properties",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    Rule::new("modify_metadef_property", "rule:metadef_admin"),
    Rule::new("add_metadef_property", "rule:metadef_admin"),
    Rule::new("remove_metadef_property", "rule:metadef_admin"),
    Rule::new(
        "get_metadef_tag",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    Rule::new(
        "get_metadef_tags",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))",
    ),
    Rule::new("modify_metadef_tag", "rule:metadef_admin"),
    Rule::new("add_metadef_tag", "rule:metadef_admin"),
    Rule::new("add_metadef_tags", "rule:metadef_admin"),
    Rule::new("delete_metadef_tag", "rule:metadef_admin"),
    Rule::new("delete_metadef_tags", "rule:metadef_admin"),
];

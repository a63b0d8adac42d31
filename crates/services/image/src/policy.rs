//! Glance's policy rules with their current defaults.

use ferrostack_policy::Rule;

/// Every rule this service enforces or that another one names.
pub const RULES: &[Rule] = &[
    Rule { name: "default", check: "" },
    Rule { name: "context_is_admin", check: "role:admin" },
    Rule { name: "service_api", check: "role:service or role:admin" },
    Rule {
        name: "add_image",
        check: "rule:context_is_admin or (role:member and project_id:%(project_id)s and project_id:%(owner)s)",
    },
    Rule {
        name: "delete_image",
        check: "rule:context_is_admin or (role:member and project_id:%(project_id)s)",
    },
    Rule {
        name: "get_image",
        check: "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s or 'public':%(visibility)s or 'shared':%(visibility)s))",
    },
    Rule {
        name: "get_images",
        check: "rule:context_is_admin or (role:reader and project_id:%(project_id)s)",
    },
    Rule {
        name: "modify_image",
        check: "rule:context_is_admin or (role:member and project_id:%(project_id)s)",
    },
    Rule { name: "publicize_image", check: "rule:context_is_admin" },
    Rule {
        name: "communitize_image",
        check: "rule:context_is_admin or (role:member and project_id:%(project_id)s)",
    },
    Rule {
        name: "download_image",
        check: "rule:context_is_admin or (role:member and (project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s or 'public':%(visibility)s or 'shared':%(visibility)s))",
    },
    Rule {
        name: "download_from_store",
        check: "rule:context_is_admin or (role:member and (project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s or 'public':%(visibility)s or 'shared':%(visibility)s))",
    },
    Rule {
        name: "upload_image",
        check: "rule:context_is_admin or (role:member and project_id:%(project_id)s)",
    },
    Rule { name: "delete_image_location", check: "rule:context_is_admin" },
    Rule {
        name: "get_image_location",
        check: "rule:context_is_admin or (role:reader and project_id:%(project_id)s)",
    },
    Rule {
        name: "set_image_location",
        check: "rule:context_is_admin or (role:member and project_id:%(project_id)s)",
    },
    Rule {
        name: "add_image_location",
        check: "rule:service_api or (role:member and project_id:%(project_id)s and project_id:%(owner)s)",
    },
    Rule { name: "fetch_image_location", check: "rule:service_api" },
    Rule {
        name: "add_member",
        check: "rule:context_is_admin or (role:member and project_id:%(project_id)s)",
    },
    Rule {
        name: "delete_member",
        check: "rule:context_is_admin or (role:member and project_id:%(project_id)s)",
    },
    Rule {
        name: "get_member",
        check: "rule:context_is_admin or role:reader and (project_id:%(project_id)s or project_id:%(member_id)s)",
    },
    Rule {
        name: "get_members",
        check: "rule:context_is_admin or role:reader and (project_id:%(project_id)s or project_id:%(member_id)s)",
    },
    Rule {
        name: "modify_member",
        check: "rule:context_is_admin or (role:member and project_id:%(member_id)s)",
    },
    Rule {
        name: "deactivate",
        check: "rule:context_is_admin or (role:member and project_id:%(project_id)s)",
    },
    Rule {
        name: "reactivate",
        check: "rule:context_is_admin or (role:member and project_id:%(project_id)s)",
    },
    Rule { name: "copy_image", check: "rule:context_is_admin" },
    Rule { name: "get_task", check: "rule:default" },
    Rule { name: "get_tasks", check: "rule:default" },
    Rule { name: "add_task", check: "rule:default" },
    Rule { name: "modify_task", check: "rule:default" },
    Rule { name: "tasks_api_access", check: "rule:context_is_admin" },
    Rule { name: "stores_info_detail", check: "rule:context_is_admin or rule:service_api" },
];

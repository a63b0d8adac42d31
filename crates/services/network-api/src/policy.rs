//! Neutron's default rules for what exists here.

use ferrostack_policy::Rule;

/// Check strings of the service's current release; older, deprecated forms are not among them.
pub const RULES: &[Rule] = &[
    Rule::new("context_is_admin", "role:admin"),
    Rule::new("context_with_global_access", "!"),
    Rule::new("service_api", "role:service"),
    Rule::new("owner", "project_id:%(project_id)s"),
    Rule::new("admin_or_owner", "rule:context_is_admin or rule:owner"),
    Rule::new("context_is_advsvc", "role:advsvc"),
    Rule::new("admin_or_network_owner", "rule:context_is_admin or project_id:%(network:project_id)s"),
    Rule::new("admin_owner_or_network_owner", "rule:owner or rule:admin_or_network_owner"),
    Rule::new("network_owner", "project_id:%(network:project_id)s"),
    Rule::new("admin_only", "rule:context_is_admin"),
    Rule::new("regular_user", ""),
    Rule::new("shared", "field:networks:shared=True"),
    Rule::new("default", "rule:admin_or_owner"),
    Rule::new("get_agent", "rule:admin_only"),
    Rule::new("get_availability_zone", "role:reader"),
    Rule::new("external", "field:networks:router:external=True"),
    Rule::new("create_network", "(rule:admin_only) or (role:member and project_id:%(project_id)s)"),
    Rule::new("create_network:shared", "rule:admin_only"),
    Rule::new("create_network:router:external", "rule:admin_only"),
    Rule::new("create_network:is_default", "rule:admin_only"),
    Rule::new(
        "create_network:port_security_enabled",
        "(rule:admin_only) or (role:member and project_id:%(project_id)s)",
    ),
    Rule::new("create_network:provider:network_type", "rule:admin_only"),
    Rule::new("create_network:provider:physical_network", "rule:admin_only"),
    Rule::new("create_network:provider:segmentation_id", "rule:admin_only"),
    Rule::new("create_network:tags", "(rule:admin_only) or (role:member and project_id:%(project_id)s)"),
    Rule::new(
        "get_network",
        "(rule:admin_only) or (role:reader and project_id:%(project_id)s) or rule:service_api or rule:shared or rule:external or rule:context_is_advsvc",
    ),
    Rule::new("get_network:provider:network_type", "rule:admin_only"),
    Rule::new("get_network:provider:physical_network", "rule:admin_only"),
    Rule::new("get_network:provider:segmentation_id", "rule:admin_only"),
    Rule::new(
        "get_network:tags",
        "(rule:admin_only) or (role:reader and project_id:%(project_id)s) or rule:shared or rule:external or rule:context_is_advsvc",
    ),
    Rule::new("update_network", "(rule:admin_only) or (role:member and project_id:%(project_id)s)"),
    Rule::new("update_network:shared", "rule:admin_only"),
    Rule::new("update_network:provider:network_type", "rule:admin_only"),
    Rule::new("update_network:provider:physical_network", "rule:admin_only"),
    Rule::new("update_network:provider:segmentation_id", "rule:admin_only"),
    Rule::new("update_network:router:external", "rule:admin_only"),
    Rule::new("update_network:is_default", "rule:admin_only"),
    Rule::new(
        "update_network:port_security_enabled",
        "(rule:admin_only) or (role:member and project_id:%(project_id)s)",
    ),
    Rule::new("update_network:tags", "(rule:admin_only) or (role:member and project_id:%(project_id)s)"),
    Rule::new("delete_network", "(rule:admin_only) or (role:member and project_id:%(project_id)s)"),
    Rule::new("delete_network:tags", "(rule:admin_only) or (role:member and project_id:%(project_id)s)"),
    Rule::new("network_device", "field:port:device_owner=~^network:"),
    Rule::new(
        "create_port",
        "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner or rule:shared",
    ),
    Rule::new(
        "create_port:device_id",
        "(rule:admin_only) or (role:member and project_id:%(project_id)s) or rule:service_api",
    ),
    Rule::new(
        "create_port:device_owner",
        "not rule:network_device or (rule:admin_only) or (rule:service_api) or role:member and rule:network_owner",
    ),
    Rule::new(
        "create_port:mac_address",
        "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner",
    ),
    Rule::new(
        "create_port:fixed_ips",
        "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner or rule:shared",
    ),
    Rule::new(
        "create_port:fixed_ips:ip_address",
        "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner",
    ),
    Rule::new(
        "create_port:fixed_ips:subnet_id",
        "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner or rule:shared",
    ),
    Rule::new(
        "create_port:port_security_enabled",
        "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner",
    ),
    Rule::new("create_port:binding:host_id", "(rule:admin_only) or (rule:service_api)"),
    Rule::new("create_port:binding:profile", "rule:service_api"),
    Rule::new(
        "create_port:binding:vnic_type",
        "(rule:admin_only) or (role:member and project_id:%(project_id)s) or rule:service_api",
    ),
    Rule::new(
        "create_port:tags",
        "(rule:admin_only) or (role:member and project_id:%(project_id)s) or rule:context_is_advsvc",
    ),
    Rule::new(
        "get_port",
        "(rule:admin_only) or (rule:service_api) or role:reader and rule:network_owner or role:reader and project_id:%(project_id)s",
    ),
    Rule::new("get_port:binding:vif_type", "(rule:admin_only) or (rule:service_api)"),
    Rule::new("get_port:binding:vif_details", "(rule:admin_only) or (rule:service_api)"),
    Rule::new("get_port:binding:host_id", "(rule:admin_only) or (rule:service_api)"),
    Rule::new("get_port:binding:profile", "(rule:admin_only) or (rule:service_api)"),
    Rule::new(
        "get_port:tags",
        "rule:context_is_advsvc or (rule:admin_only) or (role:reader and rule:network_owner) or role:reader and project_id:%(project_id)s",
    ),
    Rule::new(
        "update_port",
        "(rule:admin_only) or (rule:service_api) or role:member and project_id:%(project_id)s",
    ),
    Rule::new(
        "update_port:device_id",
        "(rule:admin_only) or (role:member and project_id:%(project_id)s) or rule:service_api",
    ),
    Rule::new(
        "update_port:device_owner",
        "not rule:network_device or (rule:admin_only) or (rule:service_api) or role:member and rule:network_owner",
    ),
    Rule::new(
        "update_port:mac_address",
        "(rule:admin_only) or (rule:service_api) or role:manager and rule:network_owner",
    ),
    Rule::new(
        "update_port:fixed_ips",
        "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner",
    ),
    Rule::new(
        "update_port:fixed_ips:ip_address",
        "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner",
    ),
    Rule::new(
        "update_port:fixed_ips:subnet_id",
        "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner or rule:shared",
    ),
    Rule::new(
        "update_port:port_security_enabled",
        "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner",
    ),
    Rule::new("update_port:binding:host_id", "(rule:admin_only) or (rule:service_api)"),
    Rule::new("update_port:binding:profile", "rule:service_api"),
    Rule::new(
        "update_port:binding:vnic_type",
        "(rule:admin_only) or (rule:service_api) or role:member and project_id:%(project_id)s",
    ),
    Rule::new(
        "update_port:tags",
        "(rule:admin_only) or (role:member and project_id:%(project_id)s) or rule:context_is_advsvc",
    ),
    Rule::new(
        "delete_port",
        "(rule:admin_only) or (rule:service_api) or (service_roles:service and (role:member and rule:network_owner or role:member and project_id:%(project_id)s)) or (not rule:compute_device and not rule:baremetal_device and not rule:manila_device and (role:member and rule:network_owner or role:member and project_id:%(project_id)s))",
    ),
    Rule::new(
        "delete_port:tags",
        "rule:context_is_advsvc or role:member and project_id:%(project_id)s or (rule:admin_only) or (role:member and rule:network_owner)",
    ),
    Rule::new("get_quota", "(rule:admin_only) or (role:manager and project_id:%(project_id)s)"),
    Rule::new("update_quota", "rule:admin_only"),
    Rule::new("delete_quota", "rule:admin_only"),
    Rule::new("external_network", "field:subnets:router:external=True"),
    Rule::new("create_subnet", "(rule:admin_only) or (role:member and rule:network_owner)"),
    Rule::new("create_subnet:service_types", "rule:admin_only"),
    Rule::new(
        "create_subnet:tags",
        "role:member and project_id:%(project_id)s or (rule:admin_only) or (role:member and rule:network_owner)",
    ),
    Rule::new(
        "get_subnet",
        "role:reader and project_id:%(project_id)s or rule:shared or rule:external_network or (rule:admin_only) or (role:reader and rule:network_owner) or rule:service_api",
    ),
    Rule::new(
        "get_subnet:tags",
        "role:reader and project_id:%(project_id)s or rule:shared or rule:external_network or (rule:admin_only) or (role:reader and rule:network_owner)",
    ),
    Rule::new(
        "update_subnet",
        "role:member and project_id:%(project_id)s or (rule:admin_only) or (role:member and rule:network_owner)",
    ),
    Rule::new("update_subnet:service_types", "rule:admin_only"),
    Rule::new(
        "update_subnet:tags",
        "role:member and project_id:%(project_id)s or (rule:admin_only) or (role:member and rule:network_owner)",
    ),
    Rule::new(
        "delete_subnet",
        "role:member and project_id:%(project_id)s or (rule:admin_only) or (role:member and rule:network_owner)",
    ),
    Rule::new(
        "delete_subnet:tags",
        "role:member and project_id:%(project_id)s or (rule:admin_only) or (role:member and rule:network_owner)",
    ),
    // Named by delete_port; ports of servers go with their servers, not by their owner's hand.
    Rule::new("compute_device", "field:port:device_owner=~^compute:"),
    Rule::new("baremetal_device", "field:port:device_owner=~^baremetal:"),
    Rule::new("manila_device", "field:port:device_owner=~^manila:"),
];

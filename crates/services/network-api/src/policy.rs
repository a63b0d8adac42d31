//! Neutron's default rules for what exists here.

use ferrostack_policy::Rule;

/// Check strings of the service's current release; older, deprecated forms are not among them.
pub const RULES: &[Rule] = &[
    Rule { name: "context_is_admin", check: "role:admin" },
    Rule { name: "context_with_global_access", check: "!" },
    Rule { name: "service_api", check: "role:service" },
    Rule { name: "owner", check: "project_id:%(project_id)s" },
    Rule { name: "admin_or_owner", check: "rule:context_is_admin or rule:owner" },
    Rule { name: "context_is_advsvc", check: "role:advsvc" },
    Rule {
        name: "admin_or_network_owner",
        check: "rule:context_is_admin or project_id:%(network:project_id)s",
    },
    Rule { name: "admin_owner_or_network_owner", check: "rule:owner or rule:admin_or_network_owner" },
    Rule { name: "network_owner", check: "project_id:%(network:project_id)s" },
    Rule { name: "admin_only", check: "rule:context_is_admin" },
    Rule { name: "regular_user", check: "" },
    Rule { name: "shared", check: "field:networks:shared=True" },
    Rule { name: "default", check: "rule:admin_or_owner" },
    Rule { name: "get_agent", check: "rule:admin_only" },
    Rule { name: "get_availability_zone", check: "role:reader" },
    Rule { name: "external", check: "field:networks:router:external=True" },
    Rule {
        name: "create_network",
        check: "(rule:admin_only) or (role:member and project_id:%(project_id)s)",
    },
    Rule { name: "create_network:shared", check: "rule:admin_only" },
    Rule { name: "create_network:router:external", check: "rule:admin_only" },
    Rule { name: "create_network:is_default", check: "rule:admin_only" },
    Rule {
        name: "create_network:port_security_enabled",
        check: "(rule:admin_only) or (role:member and project_id:%(project_id)s)",
    },
    Rule { name: "create_network:provider:network_type", check: "rule:admin_only" },
    Rule { name: "create_network:provider:physical_network", check: "rule:admin_only" },
    Rule { name: "create_network:provider:segmentation_id", check: "rule:admin_only" },
    Rule {
        name: "create_network:tags",
        check: "(rule:admin_only) or (role:member and project_id:%(project_id)s)",
    },
    Rule {
        name: "get_network",
        check: "(rule:admin_only) or (role:reader and project_id:%(project_id)s) or rule:service_api or rule:shared or rule:external or rule:context_is_advsvc",
    },
    Rule { name: "get_network:provider:network_type", check: "rule:admin_only" },
    Rule { name: "get_network:provider:physical_network", check: "rule:admin_only" },
    Rule { name: "get_network:provider:segmentation_id", check: "rule:admin_only" },
    Rule {
        name: "get_network:tags",
        check: "(rule:admin_only) or (role:reader and project_id:%(project_id)s) or rule:shared or rule:external or rule:context_is_advsvc",
    },
    Rule {
        name: "update_network",
        check: "(rule:admin_only) or (role:member and project_id:%(project_id)s)",
    },
    Rule { name: "update_network:shared", check: "rule:admin_only" },
    Rule { name: "update_network:provider:network_type", check: "rule:admin_only" },
    Rule { name: "update_network:provider:physical_network", check: "rule:admin_only" },
    Rule { name: "update_network:provider:segmentation_id", check: "rule:admin_only" },
    Rule { name: "update_network:router:external", check: "rule:admin_only" },
    Rule { name: "update_network:is_default", check: "rule:admin_only" },
    Rule {
        name: "update_network:port_security_enabled",
        check: "(rule:admin_only) or (role:member and project_id:%(project_id)s)",
    },
    Rule {
        name: "update_network:tags",
        check: "(rule:admin_only) or (role:member and project_id:%(project_id)s)",
    },
    Rule {
        name: "delete_network",
        check: "(rule:admin_only) or (role:member and project_id:%(project_id)s)",
    },
    Rule {
        name: "delete_network:tags",
        check: "(rule:admin_only) or (role:member and project_id:%(project_id)s)",
    },
    Rule { name: "network_device", check: "field:port:device_owner=~^network:" },
    Rule {
        name: "create_port",
        check: "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner or rule:shared",
    },
    Rule {
        name: "create_port:device_id",
        check: "(rule:admin_only) or (role:member and project_id:%(project_id)s) or rule:service_api",
    },
    Rule {
        name: "create_port:device_owner",
        check: "not rule:network_device or (rule:admin_only) or (rule:service_api) or role:member and rule:network_owner",
    },
    Rule {
        name: "create_port:mac_address",
        check: "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner",
    },
    Rule {
        name: "create_port:fixed_ips",
        check: "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner or rule:shared",
    },
    Rule {
        name: "create_port:fixed_ips:ip_address",
        check: "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner",
    },
    Rule {
        name: "create_port:fixed_ips:subnet_id",
        check: "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner or rule:shared",
    },
    Rule {
        name: "create_port:port_security_enabled",
        check: "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner",
    },
    Rule { name: "create_port:binding:host_id", check: "(rule:admin_only) or (rule:service_api)" },
    Rule { name: "create_port:binding:profile", check: "rule:service_api" },
    Rule {
        name: "create_port:binding:vnic_type",
        check: "(rule:admin_only) or (role:member and project_id:%(project_id)s) or rule:service_api",
    },
    Rule {
        name: "create_port:tags",
        check: "(rule:admin_only) or (role:member and project_id:%(project_id)s) or rule:context_is_advsvc",
    },
    Rule {
        name: "get_port",
        check: "(rule:admin_only) or (rule:service_api) or role:reader and rule:network_owner or role:reader and project_id:%(project_id)s",
    },
    Rule { name: "get_port:binding:vif_type", check: "(rule:admin_only) or (rule:service_api)" },
    Rule { name: "get_port:binding:vif_details", check: "(rule:admin_only) or (rule:service_api)" },
    Rule { name: "get_port:binding:host_id", check: "(rule:admin_only) or (rule:service_api)" },
    Rule { name: "get_port:binding:profile", check: "(rule:admin_only) or (rule:service_api)" },
    Rule {
        name: "get_port:tags",
        check: "rule:context_is_advsvc or (rule:admin_only) or (role:reader and rule:network_owner) or role:reader and project_id:%(project_id)s",
    },
    Rule {
        name: "update_port",
        check: "(rule:admin_only) or (rule:service_api) or role:member and project_id:%(project_id)s",
    },
    Rule {
        name: "update_port:device_id",
        check: "(rule:admin_only) or (role:member and project_id:%(project_id)s) or rule:service_api",
    },
    Rule {
        name: "update_port:device_owner",
        check: "not rule:network_device or (rule:admin_only) or (rule:service_api) or role:member and rule:network_owner",
    },
    Rule {
        name: "update_port:mac_address",
        check: "(rule:admin_only) or (rule:service_api) or role:manager and rule:network_owner",
    },
    Rule {
        name: "update_port:fixed_ips",
        check: "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner",
    },
    Rule {
        name: "update_port:fixed_ips:ip_address",
        check: "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner",
    },
    Rule {
        name: "update_port:fixed_ips:subnet_id",
        check: "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner or rule:shared",
    },
    Rule {
        name: "update_port:port_security_enabled",
        check: "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner",
    },
    Rule { name: "update_port:binding:host_id", check: "(rule:admin_only) or (rule:service_api)" },
    Rule { name: "update_port:binding:profile", check: "rule:service_api" },
    Rule {
        name: "update_port:binding:vnic_type",
        check: "(rule:admin_only) or (rule:service_api) or role:member and project_id:%(project_id)s",
    },
    Rule {
        name: "update_port:tags",
        check: "(rule:admin_only) or (role:member and project_id:%(project_id)s) or rule:context_is_advsvc",
    },
    Rule {
        name: "delete_port",
        check: "(rule:admin_only) or (rule:service_api) or (service_roles:service and (role:member and rule:network_owner or role:member and project_id:%(project_id)s)) or (not rule:compute_device and not rule:baremetal_device and not rule:manila_device and (role:member and rule:network_owner or role:member and project_id:%(project_id)s))",
    },
    Rule {
        name: "delete_port:tags",
        check: "rule:context_is_advsvc or role:member and project_id:%(project_id)s or (rule:admin_only) or (role:member and rule:network_owner)",
    },
    Rule { name: "get_quota", check: "(rule:admin_only) or (role:manager and project_id:%(project_id)s)" },
    Rule { name: "update_quota", check: "rule:admin_only" },
    Rule { name: "delete_quota", check: "rule:admin_only" },
    Rule { name: "external_network", check: "field:subnets:router:external=True" },
    Rule { name: "create_subnet", check: "(rule:admin_only) or (role:member and rule:network_owner)" },
    Rule { name: "create_subnet:service_types", check: "rule:admin_only" },
    Rule {
        name: "create_subnet:tags",
        check: "role:member and project_id:%(project_id)s or (rule:admin_only) or (role:member and rule:network_owner)",
    },
    Rule {
        name: "get_subnet",
        check: "role:reader and project_id:%(project_id)s or rule:shared or rule:external_network or (rule:admin_only) or (role:reader and rule:network_owner) or rule:service_api",
    },
    Rule {
        name: "get_subnet:tags",
        check: "role:reader and project_id:%(project_id)s or rule:shared or rule:external_network or (rule:admin_only) or (role:reader and rule:network_owner)",
    },
    Rule {
        name: "update_subnet",
        check: "role:member and project_id:%(project_id)s or (rule:admin_only) or (role:member and rule:network_owner)",
    },
    Rule { name: "update_subnet:service_types", check: "rule:admin_only" },
    Rule {
        name: "update_subnet:tags",
        check: "role:member and project_id:%(project_id)s or (rule:admin_only) or (role:member and rule:network_owner)",
    },
    Rule {
        name: "delete_subnet",
        check: "role:member and project_id:%(project_id)s or (rule:admin_only) or (role:member and rule:network_owner)",
    },
    Rule {
        name: "delete_subnet:tags",
        check: "role:member and project_id:%(project_id)s or (rule:admin_only) or (role:member and rule:network_owner)",
    },
    // Named by delete_port; ports of servers go with their servers, not by their owner's hand.
    Rule { name: "compute_device", check: "field:port:device_owner=~^compute:" },
    Rule { name: "baremetal_device", check: "field:port:device_owner=~^baremetal:" },
    Rule { name: "manila_device", check: "field:port:device_owner=~^manila:" },
];

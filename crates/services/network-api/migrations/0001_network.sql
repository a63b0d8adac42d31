CREATE TABLE network (
    id TEXT PRIMARY KEY,
    -- Empty: the bootstrapped network before the service project is known.
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    admin_state_up BIGINT NOT NULL,
    shared BIGINT NOT NULL,
    mtu BIGINT NOT NULL,
    port_security_enabled BIGINT NOT NULL,
    dns_domain TEXT NOT NULL,
    availability_zone_hints TEXT NOT NULL,
    tags TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
CREATE INDEX network_project ON network (project_id);
CREATE INDEX network_name ON network (name);

CREATE TABLE subnet (
    id TEXT PRIMARY KEY,
    network_id TEXT NOT NULL REFERENCES network (id),
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    ip_version BIGINT NOT NULL,
    cidr TEXT NOT NULL,
    gateway_ip TEXT,
    enable_dhcp BIGINT NOT NULL,
    allocation_pools TEXT NOT NULL,
    dns_nameservers TEXT NOT NULL,
    host_routes TEXT NOT NULL,
    ipv6_ra_mode TEXT,
    ipv6_address_mode TEXT,
    service_types TEXT NOT NULL,
    tags TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
CREATE INDEX subnet_network ON subnet (network_id);
CREATE INDEX subnet_project ON subnet (project_id);

CREATE TABLE port (
    id TEXT PRIMARY KEY,
    network_id TEXT NOT NULL REFERENCES network (id),
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    mac_address TEXT NOT NULL,
    admin_state_up BIGINT NOT NULL,
    device_id TEXT NOT NULL,
    device_owner TEXT NOT NULL,
    binding_host TEXT NOT NULL,
    vnic_type TEXT NOT NULL,
    binding_profile TEXT NOT NULL,
    port_security_enabled BIGINT NOT NULL,
    dns_name TEXT NOT NULL,
    -- A copy of this port's rows in allocation, written in the same transaction.
    fixed_ips TEXT NOT NULL,
    tags TEXT NOT NULL,
    -- X-Ferrostack-Idempotency-Key of the creating request.
    client_key TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
CREATE UNIQUE INDEX port_mac ON port (network_id, mac_address);
CREATE UNIQUE INDEX port_client_key ON port (client_key);
CREATE INDEX port_device ON port (device_id);
CREATE INDEX port_project ON port (project_id);
CREATE INDEX port_mac_alone ON port (mac_address);

-- One row per address in use. The address is hexadecimal of fixed width, so that text order is address order.
CREATE TABLE allocation (
    subnet_id TEXT NOT NULL REFERENCES subnet (id),
    ip TEXT NOT NULL,
    port_id TEXT NOT NULL REFERENCES port (id),
    PRIMARY KEY (subnet_id, ip)
);
CREATE INDEX allocation_port ON allocation (port_id);

-- No address of the subnet's pools below `next` is free. Updating the row is the lock of the subnet's addresses.
CREATE TABLE allocation_cursor (
    subnet_id TEXT PRIMARY KEY REFERENCES subnet (id),
    next TEXT NOT NULL
);

CREATE TABLE quota (
    project_id TEXT NOT NULL,
    resource TEXT NOT NULL,
    quota_limit BIGINT NOT NULL,
    PRIMARY KEY (project_id, resource)
);

-- Updating the row is the lock under which a project's resources are counted and added.
CREATE TABLE quota_lock (
    project_id TEXT PRIMARY KEY,
    taken BIGINT NOT NULL
);

-- What the first start made, so that it is neither made twice nor made again after an admin deleted it.
CREATE TABLE bootstrap (
    name TEXT PRIMARY KEY,
    network_id TEXT NOT NULL,
    subnet_id TEXT NOT NULL
);

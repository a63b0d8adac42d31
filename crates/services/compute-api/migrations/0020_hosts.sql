-- Hosts as their agents report them and as claims fill them. Times are microseconds since the epoch.
CREATE TABLE hosts (
    -- the service host name: names the agent's queue
    host TEXT PRIMARY KEY,
    -- os-services: UUID, and the number shown below 2.53
    service_id TEXT NOT NULL UNIQUE,
    service_number BIGINT NOT NULL UNIQUE,
    -- os-hypervisors: UUID, and the number shown below 2.53
    hypervisor_id TEXT NOT NULL UNIQUE,
    hypervisor_number BIGINT NOT NULL UNIQUE,
    hypervisor_hostname TEXT NOT NULL,
    -- the latest HostReport, JSON
    report TEXT NOT NULL,
    availability_zone TEXT NOT NULL,
    disabled BIGINT NOT NULL DEFAULT 0,
    disabled_reason TEXT,
    forced_down BIGINT NOT NULL DEFAULT 0,
    last_seen BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    -- rises with every change, heartbeats included
    generation BIGINT NOT NULL DEFAULT 1,
    vcpus BIGINT NOT NULL,
    memory_mb BIGINT NOT NULL,
    local_gb BIGINT NOT NULL,
    -- the sums over claims
    vcpus_used BIGINT NOT NULL DEFAULT 0,
    memory_mb_used BIGINT NOT NULL DEFAULT 0,
    local_gb_used BIGINT NOT NULL DEFAULT 0,
    num_instances BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX hosts_zone ON hosts (availability_zone);

-- Numbers that are handed out once: services, hypervisors, servers.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('service', 0), ('hypervisor', 0), ('server', 0);

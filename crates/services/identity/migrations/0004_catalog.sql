-- Limits that services know, with their defaults. region_id NULL: any region.
CREATE TABLE registered_limit (
    id TEXT PRIMARY KEY NOT NULL,
    service_id TEXT NOT NULL REFERENCES service (id),
    region_id TEXT REFERENCES region (id),
    resource_name TEXT NOT NULL,
    default_limit BIGINT NOT NULL,
    description TEXT,
    created_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
CREATE UNIQUE INDEX registered_limit_key ON registered_limit (service_id, COALESCE(region_id, ''), resource_name);

-- What one project or one domain has instead: either project_id or domain_id is set.
CREATE TABLE resource_limit (
    id TEXT PRIMARY KEY NOT NULL,
    registered_limit_id TEXT NOT NULL REFERENCES registered_limit (id),
    project_id TEXT REFERENCES project (id) ON DELETE CASCADE,
    domain_id TEXT REFERENCES project (id) ON DELETE CASCADE,
    resource_limit BIGINT NOT NULL,
    description TEXT,
    created_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
CREATE UNIQUE INDEX resource_limit_key ON resource_limit (registered_limit_id, COALESCE(project_id, domain_id));
CREATE INDEX resource_limit_project ON resource_limit (project_id);
CREATE INDEX resource_limit_domain ON resource_limit (domain_id);

-- value is JSON; of a sensitive option only that it is set.
CREATE TABLE domain_config (
    domain_id TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    config_group TEXT NOT NULL,
    config_option TEXT NOT NULL,
    sensitive BIGINT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (domain_id, config_group, config_option)
);

CREATE TABLE policy (
    id TEXT PRIMARY KEY NOT NULL,
    type TEXT NOT NULL,
    blob TEXT NOT NULL,
    extra TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
CREATE INDEX policy_type ON policy (type);

-- target is endpoint:ID, service:ID or service:ID region:ID: each has at most one policy.
CREATE TABLE policy_association (
    target TEXT PRIMARY KEY NOT NULL,
    policy_id TEXT NOT NULL REFERENCES policy (id) ON DELETE CASCADE,
    endpoint_id TEXT REFERENCES endpoint (id) ON DELETE CASCADE,
    service_id TEXT REFERENCES service (id) ON DELETE CASCADE,
    region_id TEXT REFERENCES region (id) ON DELETE CASCADE
);
CREATE INDEX policy_association_policy ON policy_association (policy_id);

-- filters is a JSON object of service_id, region_id and interface.
CREATE TABLE endpoint_group (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    filters TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);

CREATE TABLE project_endpoint_group (
    project_id TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    endpoint_group_id TEXT NOT NULL REFERENCES endpoint_group (id) ON DELETE CASCADE,
    PRIMARY KEY (project_id, endpoint_group_id)
);
CREATE INDEX project_endpoint_group_group ON project_endpoint_group (endpoint_group_id);

CREATE TABLE project_endpoint (
    project_id TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    endpoint_id TEXT NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
    PRIMARY KEY (project_id, endpoint_id)
);
CREATE INDEX project_endpoint_endpoint ON project_endpoint (endpoint_id);

-- Host aggregates. Times are microseconds since the epoch.
CREATE TABLE aggregates (
    id BIGINT PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    -- NULL: hosts keep the zone of their own
    availability_zone TEXT,
    -- JSON object of texts, without the zone
    metadata TEXT NOT NULL DEFAULT '{}',
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    generation BIGINT NOT NULL DEFAULT 1
);

CREATE TABLE aggregate_hosts (
    aggregate_id BIGINT NOT NULL REFERENCES aggregates (id),
    host TEXT NOT NULL,
    PRIMARY KEY (aggregate_id, host)
);
CREATE INDEX aggregate_hosts_host ON aggregate_hosts (host);

INSERT INTO counters (name, value) VALUES ('aggregate', 0);

-- The zone that aggregates give a host; it goes before the reported one.
ALTER TABLE hosts ADD COLUMN aggregate_zone TEXT;

-- Services of the control plane by their reports: conductors (that is us) and schedulers.
CREATE TABLE control_services (
    binary_name TEXT NOT NULL,
    host TEXT NOT NULL,
    -- os-services: UUID, and the number shown below 2.53
    id TEXT NOT NULL UNIQUE,
    number BIGINT NOT NULL UNIQUE,
    last_seen BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (binary_name, host)
);

-- Servers; a deleted one stays with deleted_at set. Times are microseconds since the epoch.
CREATE TABLE servers (
    id TEXT PRIMARY KEY,
    -- rises with every change; each order to an agent has one of its own
    generation BIGINT NOT NULL DEFAULT 1,
    project_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    display_name TEXT NOT NULL,
    hostname TEXT NOT NULL,
    description TEXT,
    -- libvirt domain name, instance-%08x
    instance_name TEXT NOT NULL,
    reservation_id TEXT NOT NULL,
    launch_index BIGINT NOT NULL DEFAULT 0,
    vm_state TEXT NOT NULL,
    task_state TEXT,
    power_state BIGINT NOT NULL DEFAULT 0,
    -- when the power state was observed by its hypervisor
    power_at BIGINT NOT NULL DEFAULT 0,
    progress BIGINT NOT NULL DEFAULT 0,
    host TEXT,
    node TEXT,
    -- the zone of its host; before that the one asked for
    availability_zone TEXT,
    -- the zone asked for
    pinned_az TEXT,
    image_id TEXT NOT NULL,
    -- ImageSources, JSON
    image TEXT NOT NULL,
    kernel TEXT,
    ramdisk TEXT,
    -- the flavor as it was at creation, JSON
    flavor TEXT NOT NULL,
    flavor_id TEXT NOT NULL,
    vcpus BIGINT NOT NULL,
    memory_mb BIGINT NOT NULL,
    root_gb BIGINT NOT NULL,
    ephemeral_gb BIGINT NOT NULL,
    swap_mb BIGINT NOT NULL,
    key_name TEXT,
    public_key TEXT,
    config_drive BIGINT NOT NULL DEFAULT 0,
    access_ip_v4 TEXT NOT NULL DEFAULT '',
    access_ip_v6 TEXT NOT NULL DEFAULT '',
    -- user metadata, JSON object of texts
    metadata TEXT NOT NULL DEFAULT '{}',
    -- scheduler hints, JSON
    hints TEXT NOT NULL DEFAULT '{}',
    -- networks asked for, JSON
    nics TEXT NOT NULL DEFAULT '[]',
    -- the bound interfaces (NicSpecs), JSON: the source of `addresses`
    ports TEXT NOT NULL DEFAULT '[]',
    -- ' addr addr ' of the bound interfaces, for the ip filters
    addresses TEXT NOT NULL DEFAULT '',
    fault_code BIGINT,
    fault_message TEXT,
    fault_details TEXT,
    -- what only admins may read of it
    fault_private TEXT,
    fault_at BIGINT,
    locked BIGINT NOT NULL DEFAULT 0,
    locked_reason TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    launched_at BIGINT,
    terminated_at BIGINT,
    deleted_at BIGINT
);
CREATE INDEX servers_project ON servers (project_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX servers_created ON servers (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX servers_updated ON servers (updated_at);
CREATE INDEX servers_host ON servers (host) WHERE deleted_at IS NULL;
CREATE INDEX servers_reservation ON servers (reservation_id);

-- What is large or secret and not read by lists.
CREATE TABLE server_inputs (
    server_id TEXT PRIMARY KEY REFERENCES servers (id),
    -- base64 as the client gave it; stays, for rebuilds of the config drive
    user_data TEXT,
    -- injected files, JSON; erased when the build ends
    personality TEXT,
    -- the guest's admin password; erased when the build ends, whichever way
    admin_pass TEXT
);

-- What a server holds of its host's capacity: at most one host at a time.
CREATE TABLE claims (
    server_id TEXT PRIMARY KEY REFERENCES servers (id),
    host TEXT NOT NULL REFERENCES hosts (host),
    vcpus BIGINT NOT NULL,
    memory_mb BIGINT NOT NULL,
    local_gb BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX claims_host ON claims (host);

-- Hosts that may hold a guest of a server: written before the first order goes there, removed when the agent has
-- confirmed that the guest is gone. A row of a deleted server is a destroy that is still owed.
CREATE TABLE guests (
    server_id TEXT NOT NULL REFERENCES servers (id),
    host TEXT NOT NULL,
    -- generation of the latest order sent there
    generation BIGINT NOT NULL,
    -- the guest must go, whatever becomes of the server
    doomed BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (server_id, host)
);
CREATE INDEX guests_host ON guests (host);

CREATE TABLE instance_actions (
    server_id TEXT NOT NULL REFERENCES servers (id),
    request_id TEXT NOT NULL,
    action TEXT NOT NULL,
    user_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    start_time BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    finish_time BIGINT,
    message TEXT,
    PRIMARY KEY (server_id, request_id)
);
CREATE INDEX instance_actions_time ON instance_actions (server_id, start_time);

CREATE TABLE instance_action_events (
    server_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    -- rises within the action
    number BIGINT NOT NULL,
    event TEXT NOT NULL,
    start_time BIGINT NOT NULL,
    finish_time BIGINT,
    -- Success or Error
    result TEXT,
    host TEXT,
    details TEXT,
    traceback TEXT,
    PRIMARY KEY (server_id, request_id, number),
    FOREIGN KEY (server_id, request_id) REFERENCES instance_actions (server_id, request_id)
);

-- What the control plane wants of each guest on a host, and what was ordered. Fake hosts share one file.
CREATE TABLE guests (
    host TEXT NOT NULL,
    server_id TEXT NOT NULL,
    -- Newest generation ordered: older orders are superseded.
    generation BIGINT NOT NULL,
    -- GuestSpec as JSON; NULL if there is no guest (any more).
    spec TEXT,
    -- 1 once an ensure has succeeded: from then on there are disks with the user's data.
    built BIGINT NOT NULL,
    -- A tombstone: a late ensure of this or an older generation makes nothing.
    destroyed_at BIGINT,
    -- What the guest posted to the metadata service's password resource.
    password TEXT NOT NULL,
    PRIMARY KEY (host, server_id)
);

-- Fixed addresses of guests: by them the metadata service knows its callers.
CREATE TABLE addresses (
    address TEXT NOT NULL,
    host TEXT NOT NULL,
    server_id TEXT NOT NULL,
    PRIMARY KEY (address, host, server_id)
);

CREATE INDEX addresses_of ON addresses (host, server_id);

CREATE TABLE orders (
    host TEXT NOT NULL,
    server_id TEXT NOT NULL,
    -- Order of arrival within the server.
    seq BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    -- The job that waits; empty if none does.
    job_id TEXT NOT NULL,
    verb TEXT NOT NULL,
    -- Order as JSON.
    body TEXT NOT NULL,
    request_id TEXT,
    -- open, closed
    state TEXT NOT NULL,
    -- Outcome as JSON, once closed.
    outcome TEXT,
    -- 1 while the bus has not taken the answer.
    unsent BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    closed_at BIGINT,
    PRIMARY KEY (host, server_id, seq)
);

CREATE UNIQUE INDEX orders_key ON orders (host, server_id, generation, job_id, verb);
CREATE INDEX orders_open ON orders (host, server_id) WHERE state = 'open';
CREATE INDEX orders_unsent ON orders (host, server_id) WHERE unsent = 1;

-- The durable step machine of ferrostack-jobs. Times are microseconds since the epoch.
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    -- active, undoing, done, failed, superseded
    state TEXT NOT NULL,
    step TEXT NOT NULL,
    data TEXT NOT NULL,
    -- runs of the present step that ended in an error
    attempt BIGINT NOT NULL DEFAULT 0,
    run_after BIGINT NOT NULL,
    owner TEXT,
    lease_until BIGINT NOT NULL DEFAULT 0,
    -- rises with each claim: a runner that lost its lease writes nothing
    generation BIGINT NOT NULL DEFAULT 0,
    request_id TEXT,
    error TEXT,
    -- what an answer from outside brought
    inbox TEXT,
    inbox_seq BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX jobs_active_target ON jobs (target) WHERE state IN ('active', 'undoing');
CREATE INDEX jobs_due ON jobs (run_after) WHERE state IN ('active', 'undoing');

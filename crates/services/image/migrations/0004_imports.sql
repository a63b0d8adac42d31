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

-- When an ended task is forgotten.
ALTER TABLE image_task ADD COLUMN expires_at BIGINT;
CREATE INDEX image_task_expires ON image_task (expires_at);

-- Imports are jobs from now on. One that was under way is asked for anew; its data is still staged.
UPDATE image_task SET status = 'failure', message = 'The service was upgraded meanwhile.' WHERE status = 'processing';
UPDATE image SET status = 'uploading', upload = NULL, lease_until = NULL WHERE status = 'importing';

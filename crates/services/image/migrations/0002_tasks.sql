-- What became of imports.
CREATE TABLE image_task (
    id TEXT PRIMARY KEY,
    image_id TEXT NOT NULL REFERENCES image (id),
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    owner TEXT NOT NULL,
    user_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    input TEXT NOT NULL,
    message TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX image_task_image ON image_task (image_id);
CREATE INDEX image_task_created ON image_task (created_at, id);

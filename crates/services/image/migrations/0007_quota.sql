-- Quotas count the bytes of objects that no record names yet, or no more.
CREATE TABLE image_hold (
    -- Name of the object in its store.
    object TEXT PRIMARY KEY,
    image_id TEXT NOT NULL REFERENCES image (id),
    -- size: the data is to be the image's; stage: it is to be staged.
    kind TEXT NOT NULL,
    -- At most so many are written before more are asked for.
    bytes BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX image_hold_image ON image_hold (image_id);

-- Whoever checks a project's quota holds its row until the change that was checked is there.
CREATE TABLE image_quota_lock (
    project TEXT PRIMARY KEY
);

-- A location that is to be removed takes room although its image has forgotten how large it was.
ALTER TABLE image_location ADD COLUMN bytes BIGINT;

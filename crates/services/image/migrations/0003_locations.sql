-- What is stored of an image, and where. An object that neither this table nor `image` names does not count.
CREATE TABLE image_location (
    id TEXT PRIMARY KEY,
    image_id TEXT NOT NULL REFERENCES image (id),
    -- Order within the image.
    position BIGINT NOT NULL,
    -- Id of the store in the settings.
    store TEXT NOT NULL,
    -- Name of the object in the store; of a read-only store the URL.
    name TEXT NOT NULL,
    -- JSON object.
    metadata TEXT NOT NULL,
    -- pending: being written, nobody reads it; active: whole; deleting: to be removed from the store.
    status TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX image_location_image ON image_location (image_id);
CREATE INDEX image_location_status ON image_location (status);

-- Until now there was one store and one object an image. From now on image.file names staged data only.
INSERT INTO image_location (id, image_id, position, store, name, metadata, status, created_at)
SELECT id, id, 0, 'file', file, '{}', CASE WHEN status = 'deleted' THEN 'deleting' ELSE 'active' END, updated_at
FROM image WHERE file IS NOT NULL AND status IN ('active', 'deactivated', 'deleted');
UPDATE image SET file = NULL WHERE status IN ('active', 'deactivated', 'deleted');

-- Image records. A row stays when its image is deleted: ids are never used again.
CREATE TABLE image (
    id TEXT PRIMARY KEY,
    name TEXT,
    status TEXT NOT NULL,
    visibility TEXT NOT NULL,
    owner TEXT,
    disk_format TEXT,
    container_format TEXT,
    size BIGINT,
    virtual_size BIGINT,
    checksum TEXT,
    os_hash_value TEXT,
    min_disk BIGINT NOT NULL,
    min_ram BIGINT NOT NULL,
    protected BIGINT NOT NULL,
    os_hidden BIGINT NOT NULL,
    -- Name in the store directory of what is stored or staged.
    file TEXT,
    -- The upload under way: its token and when it counts as dead unless renewed.
    upload TEXT,
    lease_until BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    generation BIGINT NOT NULL
);
CREATE INDEX image_created ON image (created_at, id);
CREATE INDEX image_owner ON image (owner);
CREATE INDEX image_upload ON image (lease_until);

CREATE TABLE image_property (
    image_id TEXT NOT NULL REFERENCES image (id),
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (image_id, name)
);

CREATE TABLE image_tag (
    image_id TEXT NOT NULL REFERENCES image (id),
    tag TEXT NOT NULL,
    PRIMARY KEY (image_id, tag)
);

-- Projects an image is shared with.
CREATE TABLE image_member (
    image_id TEXT NOT NULL REFERENCES image (id),
    member TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (image_id, member)
);
CREATE INDEX image_member_member ON image_member (member);

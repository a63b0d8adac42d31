-- Metadata definitions: which properties of images, flavors, volumes ... mean what.
CREATE TABLE metadef_namespace (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    display_name TEXT,
    description TEXT,
    visibility TEXT NOT NULL,
    protected BIGINT NOT NULL,
    owner TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
CREATE INDEX metadef_namespace_created ON metadef_namespace (created_at, id);

-- Kinds of things that have properties. A name stays when its last association goes.
CREATE TABLE metadef_resource_type (
    name TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE metadef_association (
    namespace_id TEXT NOT NULL REFERENCES metadef_namespace (id) ON DELETE CASCADE,
    resource_type TEXT NOT NULL REFERENCES metadef_resource_type (name),
    prefix TEXT,
    properties_target TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (namespace_id, resource_type)
);
CREATE INDEX metadef_association_type ON metadef_association (resource_type);

CREATE TABLE metadef_property (
    namespace_id TEXT NOT NULL REFERENCES metadef_namespace (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- A JSON object: type, title, enum ...
    schema TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (namespace_id, name)
);

CREATE TABLE metadef_object (
    namespace_id TEXT NOT NULL REFERENCES metadef_namespace (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    description TEXT,
    -- A JSON array of property names.
    required TEXT NOT NULL,
    -- A JSON object of property schemas.
    properties TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (namespace_id, name)
);

CREATE TABLE metadef_tag (
    namespace_id TEXT NOT NULL REFERENCES metadef_namespace (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (namespace_id, name)
);

-- What was ever put in of the standard definitions, so that what an admin deleted stays deleted.
-- The kind is namespace, association, property, object or tag; the item of a namespace is ''.
CREATE TABLE metadef_standard (
    namespace TEXT NOT NULL,
    kind TEXT NOT NULL,
    item TEXT NOT NULL,
    PRIMARY KEY (namespace, kind, item)
);

CREATE TABLE catalog_schemas (
    name       TEXT PRIMARY KEY NOT NULL,
    location   TEXT,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
);

-- Tables and views share their names.
CREATE TABLE catalog_entries (
    schema_name TEXT NOT NULL REFERENCES catalog_schemas (name) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    created_ms  INTEGER NOT NULL,
    updated_ms  INTEGER NOT NULL,
    PRIMARY KEY (schema_name, name)
);

CREATE TABLE catalog_tables (
    schema_name  TEXT NOT NULL,
    name         TEXT NOT NULL,
    kind         TEXT NOT NULL,
    format       TEXT NOT NULL,
    location     TEXT NOT NULL,
    columns      TEXT NOT NULL,
    partition_by TEXT NOT NULL,
    options      TEXT NOT NULL,
    owner        TEXT NOT NULL,
    PRIMARY KEY (schema_name, name),
    FOREIGN KEY (schema_name, name) REFERENCES catalog_entries (schema_name, name) ON DELETE CASCADE
);

CREATE TABLE catalog_views (
    schema_name TEXT NOT NULL,
    name        TEXT NOT NULL,
    query       TEXT NOT NULL,
    columns     TEXT NOT NULL,
    PRIMARY KEY (schema_name, name),
    FOREIGN KEY (schema_name, name) REFERENCES catalog_entries (schema_name, name) ON DELETE CASCADE
);

-- The journal: publishes that have not ended.
CREATE TABLE publishes (
    run        TEXT NOT NULL,
    statement  INTEGER NOT NULL,
    state      TEXT NOT NULL,
    location   TEXT NOT NULL,
    plan       TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (run, statement)
);

INSERT INTO catalog_schemas (name, location, created_ms, updated_ms) VALUES ('public', NULL, 0, 0);

-- What tables expect of writes. It goes with the name of the table, and stays when the table is replaced.
CREATE TABLE catalog_expectations (
    schema_name TEXT NOT NULL,
    table_name  TEXT NOT NULL,
    name        TEXT NOT NULL,
    expectation TEXT NOT NULL,
    created_ms  INTEGER NOT NULL,
    updated_ms  INTEGER NOT NULL,
    PRIMARY KEY (schema_name, table_name, name),
    FOREIGN KEY (schema_name, table_name) REFERENCES catalog_entries (schema_name, name)
        ON DELETE CASCADE ON UPDATE CASCADE
);

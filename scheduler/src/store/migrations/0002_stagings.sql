-- Jobs that may have staged files, and where: from before the first file until nobody can add to them and they are swept.
CREATE TABLE stagings (
    job_id     TEXT PRIMARY KEY NOT NULL,
    location   TEXT NOT NULL,
    created_ms INTEGER NOT NULL
);

//! The table of the scheduler's keys: name, default, meaning. How to add one: `selvedge_engine::config::Key`.

use selvedge_engine::config::{Key, shared};

/// Every key the scheduler knows.
pub const KEYS: &[Key] = &[
    Key::new("listen", "127.0.0.1:50050", "Address and port of the gRPC services; port 0 takes a free one."),
    shared::http("127.0.0.1:50080"),
    Key::new(
        "warehouse",
        "warehouse",
        "Where tables without a location of their own live: s3://bucket/prefix or a directory.",
    ),
    shared::SHUFFLE,
    Key::new(
        "store",
        "",
        "Where the catalog and the journal of publishes are kept: sqlite:PATH, or sqlite::memory: to forget them at the end. Empty takes `selvedge/scheduler.db` in XDG_DATA_HOME, or else in `.local/share` of the home directory. One scheduler at a time has it open.",
    ),
    shared::S3_ENDPOINT,
    shared::S3_REGION,
    shared::S3_PATH_STYLE,
    shared::S3_PROFILE,
    Key::new("max_running_runs", "16", "Runs that run at the same time; the others wait in order of arrival."),
    Key::new("max_queued_runs", "1000", "Runs that may wait; further ones are refused with QUEUE_FULL."),
    Key::new("retained_runs", "1000", "Ended runs kept in memory, newest first."),
    Key::new("lease", "5s", "An executor that has not polled for this long is lost and its running tasks start again."),
    Key::new(
        "no_executors_timeout",
        "5m",
        "A run that could not go on for this long because no executor takes tasks fails with NO_EXECUTORS; it says that \
         it waits long before.",
    ),
    Key::new("statement_attempts", "3", "How often a statement is tried in all when what failed it may pass."),
    Key::new(
        "target_partitions",
        "0",
        "Tasks of a stage; 0 takes twice the live vcores, at least 4. SET selvedge.planner.target_partitions overrides it.",
    ),
    Key::new("preview_rows", "100", "First rows of a SELECT that are kept with its run."),
    Key::new("preview_bytes", "256KiB", "The preview of one statement is cut to this size."),
    shared::LOG_FORMAT,
];

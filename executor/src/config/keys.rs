//! The table of the executor's keys: name, default, meaning. How to add one: `selvedge_engine::config::Key`.

use selvedge_engine::config::{Key, shared};

/// Every key the executor knows.
pub const KEYS: &[Key] = &[
    Key::new("scheduler", "", "The scheduler's address, http://host:port. It must be given."),
    Key::new(
        "vcores",
        "",
        "Tasks of one partition that run at the same time; empty takes the cores this process may use.",
    ),
    Key::new("memory", "", "Memory this process may use; empty takes the limit of its container, or the machine's."),
    Key::new(
        "work_dir",
        "",
        "Local directory for shuffle and spill files; several executors may share it. Empty takes `selvedge` in the \
         system's temporary directory.",
    ),
    Key::new("pool", "default", "The pool this executor belongs to."),
    shared::SHUFFLE,
    Key::new(
        "host",
        "",
        "Name or address under which other executors reach this one; empty takes the address that faces the scheduler.",
    ),
    Key::new(
        "bind",
        "",
        "Address to listen on for other executors; empty takes loopback if `host` is that, else all addresses.",
    ),
    Key::new("port", "0", "Port for other executors; 0 takes a free one."),
    shared::http("127.0.0.1:0"),
    // A spot instance is given two minutes; this leaves some for the last uploads.
    Key::new("drain_grace", "90s", "How long running tasks may go on once the executor drains."),
    Key::new(
        "spot_notice",
        "auto",
        "Whether the instance metadata service of AWS is asked whether this machine is taken away, to drain in time: auto \
         (where there is one), on (say so when there is none), off.",
    ),
    // Requests to storage are given up, and tried again, well before that.
    Key::new(
        "task_stall_timeout",
        "10m",
        "A task none of whose streams moves for so long is stopped and tried again; 0s for never.",
    ),
    // DataFusion's own default; a full disk stops tasks before that.
    Key::new("spill_limit", "100GiB", "Most bytes of spill files at one time."),
    shared::S3_ENDPOINT,
    shared::S3_REGION,
    shared::S3_PATH_STYLE,
    shared::S3_PROFILE,
    shared::LOG_FORMAT,
];

//! One way to build sessions and runtimes, for scheduler and executor alike.

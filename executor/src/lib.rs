//! The data plane: pulls tasks, runs them, keeps their shuffle, drains.

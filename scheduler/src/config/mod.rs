//! Configuration of the scheduler: the table of its keys (`keys`) and what they resolve to (`options`).
//!
//! Layers, names and problems are `selvedge_engine::config`'s. The next file in the way of a start is `crate::server`.

mod keys;
mod options;

pub use keys::KEYS;
pub use options::SchedulerOptions;

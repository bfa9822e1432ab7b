//! Configuration of the executor: the table of its keys (`keys`) and what they resolve to (`options`).
//!
//! Layers, names and problems are `selvedge_engine::config`'s. `machine` answers what nobody gave. The next file in the way
//! of a start is `crate::start`.

mod keys;
mod machine;
mod options;

pub use keys::KEYS;
pub use options::{ExecutorOptions, SpotNotice};

//! The control plane: API, admission, planning, the engine host and its facade, publish.

pub mod api;
pub mod ballista;
pub mod commit;
pub mod config;
pub mod driver;
pub mod error;
pub mod http;
pub mod planning;
pub mod runs;

//! The conversation with the scheduler: what this executor holds and has done goes out, work comes in.
//!
//! `outbox.rs` keeps what is to be told until it was heard; `pull.rs` polls, forever; `drain.rs` is its end; `wire.rs` turns
//! requests and replies into our types.

mod backoff;
mod drain;
mod outbox;
mod pull;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use drain::Grace;
pub(crate) use outbox::Outbox;
pub(crate) use pull::{PullLoop, PullParts};

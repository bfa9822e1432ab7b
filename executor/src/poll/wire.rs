//! Between the fleet protocol and our types. Only translation.

use ballista_core::serde::protobuf::TaskDefinition;
use prost::Message;
use selvedge_engine::shuffle::{Replacement, VirtualExecutorId};
use selvedge_model::TaskRef;
use selvedge_proto::internal::v1 as pb;

/// What a reply asks for.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) tasks: Vec<TaskDefinition>,
    pub(super) cancel: Vec<TaskRef>,
    pub(super) forget_jobs: Vec<String>,
    pub(super) drain: bool,
    pub(super) replaced: Vec<(TaskRef, Replacement)>,
}

/// Reads a reply. A task that does not decode is left out: the scheduler misses it, gives it out again, and after some
/// times in vain ends its job.
pub(super) fn orders(reply: pb::PollResponse) -> Orders {
    let decode = |bytes: &bytes::Bytes| {
        TaskDefinition::decode(bytes.as_ref())
            .inspect_err(
                |cause| tracing::error!(%cause, "a task does not decode: scheduler and executor differ in version"),
            )
            .ok()
    };
    Orders {
        tasks: reply.tasks.iter().filter_map(decode).collect(),
        cancel: reply.cancel.into_iter().map(Into::into).collect(),
        forget_jobs: reply.forget_jobs,
        drain: reply.drain,
        replaced: reply.replaced.into_iter().filter_map(replaced).collect(),
    }
}

fn replaced(wire: pb::ReplacedOutput) -> Option<(TaskRef, Replacement)> {
    let output = VirtualExecutorId { real: wire.executor_id, task: wire.task?.into() };
    let port = u16::try_from(wire.port).unwrap_or_default();
    Some((wire.missing?.into(), Replacement { output, host: wire.host, port }))
}

//! A handle on a run: wait for its end, follow it, cancel it.

use futures::StreamExt as _;
use selvedge_model::id::RunId;
use selvedge_model::run::{RunRecord, RunState};

use crate::connect::Selvedge;
use crate::error::{Error, Result};
use crate::watch::RunStream;

/// A submitted run. Dropping the handle does not touch the run.
#[derive(Debug, Clone)]
pub struct RunHandle {
    client: Selvedge,
    id: RunId,
}

impl RunHandle {
    pub(crate) fn new(client: Selvedge, id: RunId) -> Self {
        Self { client, id }
    }

    /// The run's id.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// Waits for the run's end.
    ///
    /// # Errors
    /// [`Error::RunEnded`] when it failed or was cancelled; other errors when it could not be followed (it goes on then).
    pub async fn wait(&self) -> Result<RunRecord> {
        let run = self.ended().await?;
        if run.state == RunState::Succeeded { Ok(run) } else { Err(Error::RunEnded(Box::new(run))) }
    }

    /// Waits for the run's end and gives it back however it ended.
    ///
    /// # Errors
    /// When the run could not be followed; it goes on then.
    pub async fn ended(&self) -> Result<RunRecord> {
        let mut updates = self.watch();
        let mut last = None;
        while let Some(run) = updates.next().await {
            last = Some(run?);
        }
        last.filter(|run| run.state.is_final())
            .ok_or_else(|| Error::Reply(format!("run {} was not followed to its end", self.id)))
    }

    /// Follows the run: as it is now, then whenever it changes.
    pub fn watch(&self) -> RunStream {
        self.client.watch(&self.id)
    }

    /// Asks for the run's end.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn cancel(&self) -> Result<RunState> {
        self.client.cancel(&self.id).await
    }
}

//! Submitting jobs and looking at their runs. Following one to its end is `watch.rs`; a handle on it is `handle.rs`.

use std::collections::BTreeMap;

use selvedge_model::id::RunId;
use selvedge_model::run::{RunRecord, RunState};
use selvedge_proto::v1;

use crate::connect::Selvedge;
use crate::error::{Error, Result};
use crate::handle::RunHandle;

/// What a script or plan is submitted with, besides itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Submission {
    /// Overrides the name in the script's header.
    pub name: Option<String>,
    /// The script's parameters.
    pub params: BTreeMap<String, String>,
    /// As if each had been `SET` at the script's start.
    pub settings: BTreeMap<String, String>,
    /// Overrides the queue in the script's header.
    pub queue: Option<String>,
    /// Who asks; `SELVEDGE_USER`, or else the user of this process, when it is not said.
    pub user: Option<String>,
}

/// Who asks when nobody says so; empty when that is not known.
pub(crate) fn local_user() -> String {
    let named = |variable: &str| std::env::var(variable).ok().filter(|name| !name.trim().is_empty());
    ["SELVEDGE_USER", "USER", "LOGNAME", "USERNAME"].into_iter().find_map(named).unwrap_or_default()
}

/// Which runs to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOptions {
    /// How many at most, newest first.
    pub limit: usize,
    /// Only these states; empty means all.
    pub states: Vec<RunState>,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self { limit: 100, states: Vec::new() }
    }
}

const PAGE_SIZE: usize = 500;

impl Selvedge {
    /// Submits a SQL script. `file_name` is for messages. Every problem that can be found before running is reported.
    ///
    /// # Errors
    /// When the script is refused, or nobody answers.
    pub async fn submit_script(&self, text: &str, file_name: &str, submission: Submission) -> Result<RunHandle> {
        let script = v1::SqlScript { text: text.to_owned(), file_name: file_name.to_owned() };
        self.submit(v1::submit_run_request::Job::Script(script), submission).await
    }

    pub(crate) async fn submit(&self, job: v1::submit_run_request::Job, s: Submission) -> Result<RunHandle> {
        let request = v1::SubmitRunRequest {
            job: Some(job),
            name: s.name.unwrap_or_default(),
            params: s.params.into_iter().collect(),
            settings: s.settings.into_iter().collect(),
            queue: s.queue.unwrap_or_default(),
            user: s.user.unwrap_or_else(local_user),
        };
        let reply = self.jobs().submit_run(request).await.map_err(|e| self.fail(&e))?.into_inner();
        Ok(RunHandle::new(self.clone(), run_id(reply.run_id)?))
    }

    /// The run as it is now, with the script it came from. (Other calls leave `submission` empty.)
    ///
    /// # Errors
    /// When there is no such run, or nobody answers.
    pub async fn run(&self, id: &RunId) -> Result<RunRecord> {
        let request = v1::GetRunRequest { run_id: id.to_string() };
        let reply = self.jobs().get_run(request).await.map_err(|e| self.fail(&e))?.into_inner();
        let mut run = run_record(reply.run)?;
        if let Some(script) = reply.script {
            run.submission.script = script.text;
            run.submission.file_name = script.file_name;
        }
        run.submission.settings = reply.settings.into_iter().collect();
        Ok(run)
    }

    /// A handle on a run that was submitted elsewhere.
    pub fn handle(&self, id: RunId) -> RunHandle {
        RunHandle::new(self.clone(), id)
    }

    /// Runs, newest first, without previews and stages.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn list_runs(&self, options: &ListOptions) -> Result<Vec<RunRecord>> {
        let mut runs = Vec::new();
        let mut page_token = String::new();
        while runs.len() < options.limit {
            let request = v1::ListRunsRequest {
                page_size: u32::try_from((options.limit - runs.len()).min(PAGE_SIZE)).unwrap_or(u32::MAX),
                page_token,
                states: options.states.iter().map(|s| v1::RunState::from(*s) as i32).collect(),
            };
            let reply = self.jobs().list_runs(request).await.map_err(|e| self.fail(&e))?.into_inner();
            for run in reply.runs {
                runs.push(run_record(Some(run))?);
            }
            page_token = reply.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        runs.truncate(options.limit);
        Ok(runs)
    }

    /// Asks for the run's end, and returns the state it had when the request was recorded. A run that had ended stays
    /// as it was.
    ///
    /// # Errors
    /// When there is no such run, or nobody answers.
    pub async fn cancel(&self, id: &RunId) -> Result<RunState> {
        let request = v1::CancelRunRequest { run_id: id.to_string() };
        let reply = self.jobs().cancel_run(request).await.map_err(|e| self.fail(&e))?.into_inner();
        RunState::try_from(reply.state()).map_err(|e| Error::Reply(e.to_string()))
    }
}

pub(crate) fn run_id(text: String) -> Result<RunId> {
    RunId::try_from(text).map_err(|e| Error::Reply(e.to_string()))
}

pub(crate) fn run_record(run: Option<v1::Run>) -> Result<RunRecord> {
    let run = run.ok_or_else(|| Error::Reply("it holds no run".to_owned()))?;
    RunRecord::try_from(run).map_err(|e| Error::Reply(e.to_string()))
}

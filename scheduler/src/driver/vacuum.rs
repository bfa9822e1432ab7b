//! A `VACUUM`: what goes is found and deleted in `commit`; told to people here.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use selvedge_engine::error::classify;
use selvedge_model::Failure;
use selvedge_model::vacuum::{Garbage, span_text};
use selvedge_model::words::counted;

use super::run::OpenRun;
use super::statement::Done;
use super::{Driver, Stop};
use crate::commit;
use crate::planning::PlannedVacuum;

impl Driver {
    /// Cancelling it leaves what is not deleted yet to the next one.
    pub(super) async fn vacuum(&self, run: &mut OpenRun, vacuum: &PlannedVacuum) -> Result<Done, Stop> {
        let vacuuming = commit::vacuum(&self.publishes, vacuum);
        let garbage = run.cancel.clone().run_until_cancelled(vacuuming).await.ok_or(Stop::Cancelled)??;
        let message = told(vacuum, &garbage);
        if !vacuum.is_dry_run {
            return Ok(Done { message, ..Done::default() });
        }
        let rows = listed(&garbage)?;
        let shown = self.show(run, rows.schema(), vec![rows]).await?;
        Ok(Done { message, ..shown })
    }
}

fn told(vacuum: &PlannedVacuum, garbage: &Garbage) -> String {
    let bytes: u64 = garbage.files.iter().map(|file| file.bytes).sum();
    let (files, table) = (counted(garbage.files.len(), "file"), &vacuum.table);
    let done = if vacuum.is_dry_run { "to delete" } else { "deleted" };
    let staging = match garbage.jobs.len() {
        0 => String::new(),
        n => format!(", and what {} staged", counted(n, "job")),
    };
    let kept = span_text(vacuum.retention_ms);
    format!("{files} of {table} {done} ({}){staging}; versions of the last {kept} stay whole", counted(bytes, "byte"))
}

fn listed(garbage: &Garbage) -> Result<RecordBatch, Failure> {
    let paths = StringArray::from_iter_values(garbage.files.iter().map(|file| file.path.as_str()));
    let bytes = UInt64Array::from_iter_values(garbage.files.iter().map(|file| file.bytes));
    let columns = [("path", Arc::new(paths) as ArrayRef), ("bytes", Arc::new(bytes) as ArrayRef)];
    RecordBatch::try_from_iter(columns).map_err(|e| classify(&e.into()))
}

#[cfg(test)]
mod tests {
    use selvedge_engine::store::Location;
    use selvedge_model::vacuum::{DEFAULT_RETENTION_MS, ListedFile};

    use super::*;

    #[test]
    fn it_says_what_went_and_what_is_kept() {
        let vacuum = PlannedVacuum {
            table: "public.t".into(),
            location: Location::parse("s3://b/t/").unwrap(),
            retention_ms: DEFAULT_RETENTION_MS,
            is_dry_run: false,
            others: Default::default(),
        };
        let file = ListedFile { path: "a.parquet".into(), modified_ms: 0, bytes: 2_000 };
        let garbage = Garbage { files: vec![file], jobs: ["r-s1-a1".to_owned()].into() };
        let end = "versions of the last 7 days stay whole";
        let text = format!("1 file of public.t deleted (2,000 bytes), and what 1 job staged; {end}");
        assert_eq!(told(&vacuum, &garbage), text);
        let dry = PlannedVacuum { is_dry_run: true, ..vacuum };
        assert_eq!(told(&dry, &Garbage::default()), format!("0 files of public.t to delete (0 bytes); {end}"));
        assert_eq!(listed(&garbage).unwrap().num_rows(), 1);
    }
}

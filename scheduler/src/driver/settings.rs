//! How many tasks a stage gets when nobody says, and how that default stays out of the run's own settings. Pure.

use selvedge_engine::session::Settings;
use selvedge_model::Failure;

const KEY: &str = "selvedge.planner.target_partitions";
const PER_VCORE: usize = 2;
const MIN: usize = 4;

/// The configured number, or twice the live vcores, at least 4.
pub(super) fn partitions(configured: usize, live_vcores: u32) -> usize {
    match configured {
        0 => (usize::try_from(live_vcores).unwrap_or(0) * PER_VCORE).max(MIN),
        configured => configured,
    }
}

/// The run's settings with the default filled in.
pub(super) fn effective(run: &Settings, partitions: usize) -> Result<Settings, Failure> {
    let mut settings = run.clone();
    if run.target_partitions().is_none() {
        settings.set(KEY, &partitions.to_string())?;
    }
    Ok(settings)
}

/// Takes over what planning changed, except the default: it is counted anew for each attempt.
pub(super) fn carry_back(run: &mut Settings, effective: &Settings, partitions: usize) -> Result<(), Failure> {
    let default = partitions.to_string();
    for (key, value) in effective.entries() {
        let is_default = key == KEY && *value == default && run.target_partitions().is_none();
        if !is_default && run.entries().get(key) != Some(value) {
            run.set(key, value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_follow_the_fleet_unless_configured() {
        assert_eq!([partitions(0, 0), partitions(0, 8), partitions(6, 8)], [4, 16, 6]);
    }

    #[test]
    fn the_default_is_counted_anew_but_what_was_set_stays() {
        let mut run = Settings::new();
        let mut planned = effective(&run, 8).unwrap();
        assert_eq!(planned.target_partitions(), Some(8));
        planned.set("selvedge.write.target_file_bytes", "1MiB").unwrap();
        carry_back(&mut run, &planned, 8).unwrap();
        assert_eq!((run.target_partitions(), run.target_file_bytes()), (None, 1 << 20));
        planned.set(KEY, "3").unwrap();
        carry_back(&mut run, &planned, 8).unwrap();
        assert_eq!(effective(&run, 16).unwrap().target_partitions(), Some(3));
    }
}

//! Parsers of single values, for clap: each says what would have been right.

use bytesize::ByteSize;
use selvedge::model::RunState;

/// `NAME=VALUE`; the value may be empty and may hold further `=`.
pub(super) fn name_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if size.as_u64() > 0 => Ok(size.as_u64()),
        _ => Err("write a size such as 2GiB".to_owned()),
    }
}

/// As the setting takes it, which it becomes.
pub(super) fn time(text: &str) -> Result<String, String> {
    let any = std::time::Duration::ZERO..=std::time::Duration::MAX;
    match selvedge_engine::config::parse::duration(text, any) {
        Ok(time) if !time.is_zero() => Ok(text.to_owned()),
        _ => Err("write a time such as 90m or 2h".to_owned()),
    }
}

fn number(text: &str, most: usize) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(n) if (1..=most).contains(&n) => Ok(n),
        _ => Err(format!("write a number from 1 to {most}")),
    }
}

pub(super) fn executors(text: &str) -> Result<usize, String> {
    number(text, 64)
}

pub(super) fn vcores(text: &str) -> Result<usize, String> {
    number(text, 1024)
}

pub(super) fn run_state(text: &str) -> Result<RunState, String> {
    match text.to_ascii_lowercase().as_str() {
        "queued" => Ok(RunState::Queued),
        "running" => Ok(RunState::Running),
        "succeeded" => Ok(RunState::Succeeded),
        "failed" => Ok(RunState::Failed),
        "cancelled" => Ok(RunState::Cancelled),
        _ => Err("one of queued, running, succeeded, failed, cancelled".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_keeps_everything_after_the_first_equals_sign() {
        assert_eq!(name_value("q=a=b"), Ok(("q".into(), "a=b".into())));
        assert_eq!(name_value("q="), Ok(("q".into(), String::new())));
        assert!(name_value("=x").is_err() && name_value("ds").is_err());
    }

    #[test]
    fn there_is_at_least_one_vcore() {
        assert_eq!((vcores("1"), vcores("1024")), (Ok(1), Ok(1024)));
        for wrong in ["0", "1025", "-1", "many", ""] {
            assert_eq!(vcores(wrong).unwrap_err(), "write a number from 1 to 1024", "{wrong}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("2GiB"), Ok(2 << 30));
        assert!(size("much").is_err() && size("0").is_err());
    }

    #[test]
    fn times_have_units() {
        assert_eq!(time("1h 30m"), Ok("1h 30m".into()));
        for wrong in ["90", "0s", "soon", ""] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}

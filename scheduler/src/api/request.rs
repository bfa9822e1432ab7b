//! What several requests have in common, checked: names, queues, settings, run ids.

use std::collections::{BTreeMap, HashMap};

use selvedge_engine::session::Settings;
use selvedge_model::{Failure, RunId};

const DEFAULT_QUEUE: &str = "default";
const MAX_NAME_CHARS: usize = 200;
const MAX_USER_CHARS: usize = 100;
const MAX_QUEUE_CHARS: usize = 64;

pub(super) fn run_id(text: &str) -> Result<RunId, Failure> {
    text.parse().map_err(|error: selvedge_model::id::InvalidId| {
        Failure::user("INVALID_RUN_ID", error.to_string()).with_hint("`selvedge runs list` shows the ids of runs")
    })
}

/// Settings as if each had been `SET`; all refused ones are reported at once.
pub(super) fn settings(given: HashMap<String, String>) -> Result<Settings, Failure> {
    let mut settings = Settings::new();
    let sorted: BTreeMap<String, String> = given.into_iter().collect();
    let refused = sorted.iter().filter_map(|(key, value)| settings.set(key, value).err()).collect();
    match Failure::join(refused) {
        Some(failure) => Err(failure),
        None => Ok(settings),
    }
}

/// The first name that is given: by the request, by the script's header, by its file.
pub(super) fn job_name(requested: &str, header: Option<&str>, file_name: &str) -> Result<String, Failure> {
    let stem = std::path::Path::new(file_name).file_stem().and_then(|s| s.to_str());
    let given = [Some(requested), header, stem, Some("adhoc")].into_iter().flatten().map(str::trim);
    let name = given.into_iter().find(|n| !n.is_empty()).unwrap_or_default();
    if name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        return Err(Failure::user("INVALID_NAME", "The job's name is too long or holds control characters")
            .with_hint(format!("Use at most {MAX_NAME_CHARS} printable characters")));
    }
    Ok(name.to_owned())
}

/// Who asks, as the client says.
pub(super) fn user(given: &str) -> Result<String, Failure> {
    let user = given.trim();
    if user.chars().count() > MAX_USER_CHARS || user.chars().any(char::is_control) {
        return Err(Failure::user("INVALID_NAME", "The user's name is too long or holds control characters")
            .with_hint(format!("SELVEDGE_USER takes at most {MAX_USER_CHARS} printable characters")));
    }
    Ok(user.to_owned())
}

/// The first queue that is given: by the request, by the script's header.
pub(super) fn queue(requested: &str, header: Option<&str>) -> Result<String, Failure> {
    let given = [Some(requested), header].into_iter().flatten().map(str::trim);
    let queue = given.into_iter().find(|q| !q.is_empty()).unwrap_or(DEFAULT_QUEUE);
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if queue.len() > MAX_QUEUE_CHARS || !queue.chars().all(fits) {
        let shown: String = queue.chars().take(MAX_QUEUE_CHARS).collect();
        return Err(Failure::user("INVALID_QUEUE", format!("'{shown}' is not the name of a queue"))
            .with_hint(format!("Use at most {MAX_QUEUE_CHARS} letters, digits, '-', '_' and '.'")));
    }
    Ok(queue.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_from_the_request_then_the_header_then_the_file() {
        let name = |r: &str, h: Option<&str>, f: &str| job_name(r, h, f).unwrap();
        assert_eq!(name("mine", Some("header"), "a/b.sql"), "mine");
        assert_eq!(name(" ", Some("header"), "a/b.sql"), "header");
        assert_eq!(name("", None, "a/daily mart.sql"), "daily mart");
        assert_eq!(name("", None, ""), "adhoc");
        assert_eq!(job_name("a\nb", None, "").unwrap_err().code, "INVALID_NAME");
    }

    #[test]
    fn a_user_may_be_anything_that_can_be_shown() {
        assert_eq!((user(" Zoë K. ").unwrap(), user("").unwrap()), ("Zoë K.".to_owned(), String::new()));
        for bad in ["a\tb", &"x".repeat(101)] {
            assert_eq!(user(bad).unwrap_err().code, "INVALID_NAME");
        }
    }

    #[test]
    fn a_queue_is_a_plain_word() {
        assert_eq!(queue("", None).unwrap(), "default");
        assert_eq!(queue("", Some("etl")).unwrap(), "etl");
        assert_eq!(queue("a b", None).unwrap_err().code, "INVALID_QUEUE");
    }

    #[test]
    fn every_refused_setting_is_reported() {
        let given = HashMap::from([("nope.a".to_owned(), "1".to_owned()), ("nope.b".to_owned(), "2".to_owned())]);
        assert_eq!(settings(given).unwrap_err().others.len(), 1);
    }
}

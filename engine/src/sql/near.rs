//! The name somebody probably meant.

use datafusion::common::utils::datafusion_strsim::levenshtein;

/// The candidate nearest to `name` by edits, letters' case aside; `None` when none is near enough to be a slip.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let allowed = (name.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (levenshtein(&name, &candidate.to_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        assert_eq!(nearest("parm", ["job", "param", "queue"]), Some("param"));
        assert_eq!(nearest("SELEC", ["SELECT", "SET"]), Some("SELECT"));
        assert_eq!(nearest("owner", ["job", "param", "queue"]), None);
    }
}

//! Finds the name somebody meant.
//!
//! Only for hints in messages: no decision may rest on it.

use datafusion::common::utils::datafusion_strsim::levenshtein;

/// Names shown when no near one is found.
const LISTED_NAMES: usize = 12;

/// The candidate nearest to `name`, if one is near enough to be a slip of the keyboard or of case.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    let allowed = (wanted.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|c| (levenshtein(&wanted, &c.to_lowercase()), c))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, c)| (*distance, c.len()))
        .map(|(_, c)| c)
}

/// "Did you mean x?", or else "what: a, b, c" over the first few candidates; empty when there are none.
pub fn or_list<'a>(name: &str, what: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<&str> = candidates.into_iter().collect();
    if let Some(near) = nearest(name, all.iter().copied()) {
        return format!("Did you mean {near}?");
    }
    match all.len() {
        0 => String::new(),
        n if n <= LISTED_NAMES => format!("{what}: {}", all.join(", ")),
        n => format!("{what}: {}, and {} more", all[..LISTED_NAMES].join(", "), n - LISTED_NAMES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_nothing_else() {
        let columns = ["l_orderkey", "l_partkey", "Region"];
        assert_eq!(nearest("l_ordrkey", columns), Some("l_orderkey"));
        assert_eq!(nearest("region", columns), Some("Region"));
        assert_eq!(nearest("customer", columns), None);
        assert_eq!(or_list("customer", "Columns", ["a", "b"]), "Columns: a, b");
        assert_eq!(or_list("x", "Columns", []), "");
    }
}

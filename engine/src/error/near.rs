//! Finds the name somebody meant.
//!
//! Only for hints in messages: no decision may rest on it. A wrong guess costs its reader more than none, so a short name
//! must be nearly right, and the parts of a dotted name each by themselves.

/// Names shown when no near one is found.
const LISTED_NAMES: usize = 12;

/// The candidate nearest to `name`, if one is near enough to be a slip of the keyboard or of case.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    candidates
        .into_iter()
        .filter_map(|c| Some((slips(&wanted, &c.to_lowercase())?, c)))
        .min_by_key(|(slips, c)| (*slips, c.len()))
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

/// How many slips make `candidate` of `wanted`; `None` when there are too many. Names of as many parts are compared part by
/// part, or a long schema would make all tables in it alike.
fn slips(wanted: &str, candidate: &str) -> Option<usize> {
    let (ours, theirs): (Vec<_>, Vec<_>) = (wanted.split('.').collect(), candidate.split('.').collect());
    if ours.len() != theirs.len() {
        return slips_of_part(wanted, candidate);
    }
    ours.iter().zip(theirs).map(|(a, b)| slips_of_part(a, b)).sum()
}

fn slips_of_part(wanted: &str, candidate: &str) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (wanted.chars().collect(), candidate.chars().collect());
    let allowed = allowed(a.len());
    if a.len().abs_diff(b.len()) > allowed {
        return None;
    }
    Some(distance(&a, &b)).filter(|distance| *distance <= allowed)
}

/// Slips in a name of so many characters. In one or two any slip makes another name.
fn allowed(chars: usize) -> usize {
    match chars {
        0..=2 => 0,
        3..=5 => 1,
        6..=10 => 2,
        _ => 3,
    }
}

/// Damerau's distance: characters added, left out or replaced, and neighbours swapped, each one slip.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_nothing_else() {
        let rows = [
            ("l_ordrkey", Some("l_orderkey")),
            ("region", Some("Region")),
            ("customer", None),
            // Neighbours swapped are one slip, also where only one is allowed.
            ("nmae", Some("name")),
            ("nam", Some("name")),
            // In a tiny name any slip makes another one.
            ("x", None),
            ("ib", None),
            ("ID", Some("id")),
            ("l_taxkey", None),
        ];
        for (name, expected) in rows {
            assert_eq!(nearest(name, ["l_orderkey", "l_partkey", "Region", "name", "id", "a"]), expected, "{name}");
        }
    }

    #[test]
    fn dotted_names_are_compared_part_by_part() {
        let tables = ["public.a", "public.orders", "mart.orders"];
        assert_eq!(nearest("public.b", tables), None);
        assert_eq!(nearest("public.oders", tables), Some("public.orders"));
        assert_eq!(nearest("pubilc.orders", tables), Some("public.orders"));
        assert_eq!(nearest("s3_endpoint", ["s3.endpoint"]), Some("s3.endpoint"));
    }

    #[test]
    fn what_is_near_nothing_gets_a_list() {
        assert_eq!(or_list("customer", "Columns", ["a", "b"]), "Columns: a, b");
        assert_eq!(or_list("x", "Columns", []), "");
    }
}

//! Makes run ids: `r` and 16 characters that sort by time, short enough to type.
//!
//! 48 bits of milliseconds and 32 random bits of a UUIDv7, as lowercase Crockford base32. Within a process ids strictly
//! grow, so that "newest first" is the order of ids.

use parking_lot::Mutex;
use selvedge_model::RunId;
use selvedge_model::id::InvalidId;
use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const CHARS: u32 = 16;

/// Gives out run ids.
#[derive(Debug, Default)]
pub struct RunIds {
    last: Mutex<u128>,
}

impl RunIds {
    /// An id greater than every one given out before.
    ///
    /// # Errors
    /// Never in practice: the text is always a valid id.
    pub fn next(&self) -> Result<RunId, InvalidId> {
        let drawn = value_of(Uuid::now_v7());
        let mut last = self.last.lock();
        *last = drawn.max(*last + 1);
        encode(*last).parse()
    }
}

/// The time in the upper 48 of 80 bits, randomness below.
fn value_of(id: Uuid) -> u128 {
    let bits = id.as_u128();
    let millis = bits >> 80;
    let random = bits & u128::from(u32::MAX);
    (millis << 32) | random
}

fn encode(value: u128) -> String {
    let digit = |i: u32| {
        let index = usize::try_from((value >> (5 * i)) & 31).unwrap_or(0);
        char::from(ALPHABET[index])
    };
    std::iter::once('r').chain((0..CHARS).rev().map(digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_grow_also_within_a_millisecond() {
        let ids = RunIds::default();
        let made: Vec<RunId> = (0..10_000).map(|_| ids.next().unwrap()).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(made.iter().all(|id| id.as_str().len() == 17 && id.as_str().starts_with('r')));
    }

    #[test]
    fn text_sorts_as_the_numbers_do() {
        assert_eq!(encode(0), "r0000000000000000");
        assert_eq!(encode(31), "r000000000000000z");
        assert!(encode(1 << 79) > encode((1 << 79) - 1));
    }
}

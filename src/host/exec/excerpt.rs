//! What is kept of a text that may be long: its beginning and its end.

use std::collections::VecDeque;
use std::fmt;

/// How much of the beginning is kept, and how much of the end, in bytes each.
const KEPT: usize = 2048;

/// The first and last few KiB of what was written. Prints on one line, quoted, and says how much it leaves out.
#[derive(Debug, Default)]
pub struct Excerpt {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    omitted: u64,
}

impl Excerpt {
    /// The excerpt of a whole text.
    pub fn of(bytes: &[u8]) -> Self {
        let mut excerpt = Self::default();
        excerpt.push(bytes);
        excerpt
    }

    /// Adds what was written next.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = KEPT - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..excess);
        self.omitted = self.omitted.saturating_add(excess as u64);
    }

    /// Whether there is nothing but white space.
    pub fn is_empty(&self) -> bool {
        self.omitted == 0 && self.head.iter().chain(&self.tail).all(u8::is_ascii_whitespace)
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if self.omitted == 0 {
            let whole = [self.head.as_slice(), &tail].concat();
            return write!(f, "{:?}", String::from_utf8_lossy(&whole).trim());
        }
        let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&tail));
        write!(f, "{:?} ({} bytes left out) {:?}", head.trim(), self.omitted, tail.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_short_text_is_kept_whole() {
        let mut excerpt = Excerpt::default();

        excerpt.push(b"first\n");
        excerpt.push("zweite \u{fc}\n".as_bytes());

        assert_eq!(excerpt.to_string(), "\"first\\nzweite \u{fc}\"");
    }

    #[test]
    fn of_a_long_text_both_ends_are_kept_and_the_gap_is_told() {
        let text = [b"begin".as_slice(), &[b'x'; 100_000], b"end"].concat();

        let shown = Excerpt::of(&text).to_string();

        assert!(shown.starts_with("\"beginxx") && shown.ends_with("xxend\""), "{shown}");
        assert!(shown.contains(&format!("({} bytes left out)", 100_008 - 2 * KEPT)), "{shown}");
    }

    #[test]
    fn white_space_is_nothing() {
        assert!(Excerpt::of(b" \n\t").is_empty());
        assert!(!Excerpt::of(b"\n.").is_empty());
        assert!(!Excerpt::of(&[b' '; 3 * KEPT]).is_empty(), "what was left out is not known to be empty");
    }

    proptest! {
        #[test]
        fn the_pieces_it_comes_in_do_not_matter(
            text in proptest::collection::vec(any::<u8>(), 0..10_000),
            size in 1_usize..5000,
        ) {
            let mut pieces = Excerpt::default();
            text.chunks(size).for_each(|piece| pieces.push(piece));

            prop_assert_eq!(pieces.to_string(), Excerpt::of(&text).to_string());
            prop_assert!(pieces.head.len() + pieces.tail.len() <= 2 * KEPT);
        }
    }
}

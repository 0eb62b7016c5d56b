//! Where one JSON object ends and the next begins: the database sends them one behind the other, without anything
//! between them (RFC 7047, section 4).

/// Looks for the end of an object, byte by byte, across reads.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    at: usize,
    depth: u32,
    in_text: bool,
    escaped: bool,
}

impl Scanner {
    /// The length of the first object in `bytes`, once it is whole. Called again with more bytes, it goes on where it
    /// stopped; after an end it begins anew.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let whole = bytes.get(self.at..)?.iter().any(|byte| self.closes(*byte));
        whole.then(|| std::mem::take(self).at)
    }

    /// Takes a byte in; whether it is the last of an object.
    fn closes(&mut self, byte: u8) -> bool {
        self.at += 1;
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_text => self.escaped = true,
            b'"' => self.in_text = !self.in_text,
            _ if self.in_text => {}
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn braces_in_texts_do_not_count() {
        let first = br#"{"a":"} \" ] \\","b":[{}]}"#;
        let both = [first.as_slice(), br#"{"c":1}"#].concat();
        let mut scanner = Scanner::default();

        assert_eq!(scanner.end(&both), Some(first.len()));
        assert_eq!(scanner.end(&both[first.len()..]), Some(7));
        assert_eq!(scanner.end(b""), None);
    }

    proptest! {
        /// However a stream is cut into reads, the same objects come out of it.
        #[test]
        fn objects_are_found_however_they_arrive(
            texts in proptest::collection::vec("[a\"\\\\{}\\[\\] ü]{0,12}", 1..5), cut in 1usize..9,
        ) {
            let objects: Vec<Value> = texts.iter().map(|text| json!({text.as_str(): [text, {"x": text}]})).collect();
            let stream: Vec<u8> = objects.iter().flat_map(|o| o.to_string().into_bytes()).collect();
            let (mut found, mut unread, mut scanner) = (Vec::new(), Vec::new(), Scanner::default());

            for piece in stream.chunks(cut) {
                unread.extend_from_slice(piece);
                while let Some(end) = scanner.end(&unread) {
                    let rest = unread.split_off(end);
                    found.push(serde_json::from_slice::<Value>(&unread).unwrap());
                    unread = rest;
                }
            }

            prop_assert_eq!(found, objects);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut scanner = Scanner::default();
            for _ in 0..2 {
                prop_assert!(scanner.end(&bytes).is_none_or(|end| end <= bytes.len()));
            }
        }
    }
}

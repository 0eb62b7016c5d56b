//! Bytes as VPP's API has them: numbers big end first, no padding, and texts of a fixed size or behind their length.

use crate::model::fault::{Fault, Outcome};
use crate::model::{FaultKind, MacAddr};

/// Length of a message's header.
pub(super) const HEADER: usize = 16;
/// Longest message, in bytes, both ways: several times the table of messages at its largest.
pub(super) const MAX_MESSAGE: usize = 8 << 20;

/// Puts a message's header before it: eight bytes without meaning, the length, four more.
pub(super) fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(HEADER + body.len());
    frame.extend([0; 8]);
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(body);
    frame
}

/// The length of the message behind a header, once all of the header is there.
pub(super) fn length(header: &[u8]) -> Option<usize> {
    let bytes = header.get(..HEADER)?.get(8..12)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(bytes)).ok()
}

/// Writes the fields of a message.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// What was written.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(super) fn bool(self, value: bool) -> Self {
        self.u8(value.into())
    }

    pub(super) fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    pub(super) fn mac(mut self, value: MacAddr) -> Self {
        self.0.extend(value.bytes());
        self
    }

    /// A text in a field of this size, the last byte of which stays 0.
    ///
    /// # Errors
    /// The text does not fit. VPP would cut it, and mean something else by it.
    pub(super) fn fixed(mut self, text: &str, size: usize) -> Outcome<Self> {
        if text.len() >= size || text.contains('\0') {
            let what = format!("{text:?} has {} bytes, VPP takes {}", text.len(), size.saturating_sub(1));
            return Err(Fault::new(FaultKind::Config, what).remedy("give the socket a shorter path"));
        }
        self.0.extend(text.as_bytes());
        let rest = size - text.len();
        Ok(self.zeros(rest))
    }

    /// A text behind its length.
    pub(super) fn text(mut self, text: &str) -> Self {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.0.extend(length.to_be_bytes());
        self.0.extend(text.as_bytes());
        self
    }
}

/// Reads the fields of a message; `None` where it ends too early.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(drop)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// The text in a field of this size, up to the first 0.
    pub(super) fn fixed(&mut self, size: usize) -> Option<String> {
        let bytes = self.take(size)?;
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// Whether nothing is left.
    pub(super) fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_and_texts_are_laid_out_as_vpp_has_them() {
        let mac = "02:00:00:00:aa:01".parse().unwrap();
        let fields = Writer::default().bool(true).u16(0x0102).u32(0x0304_0506).mac(mac);
        let bytes = fields.fixed("ab", 4).unwrap().text("xyz").zeros(1).finish();

        assert_eq!(bytes, b"\x01\x01\x02\x03\x04\x05\x06\x02\0\0\0\xaa\x01ab\0\0\0\0\0\x03xyz\0");
        assert_eq!(framed(b"hi"), b"\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\0hi");
    }

    #[test]
    fn a_text_that_vpp_would_cut_is_refused() {
        assert!(Writer::default().fixed("abc", 4).is_ok());
        for text in ["abcd", "a\0b"] {
            assert_eq!(Writer::default().fixed(text, 4).unwrap_err().kind(), FaultKind::Config);
        }
    }

    #[test]
    fn what_ends_too_early_is_no_number() {
        let mut reader = Reader::new(b"\0\0\0\x07ab\0\0\x01");
        assert_eq!((reader.i32(), reader.fixed(4).as_deref()), (Some(7), Some("ab")));
        assert_eq!((reader.u16(), reader.u8(), reader.is_done(), reader.u8()), (None, Some(1), true, None));
        assert_eq!((length(&framed(&[0; 300])), length(&[0; 15])), (Some(300), None));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_give_up(bytes in proptest::collection::vec(any::<u8>(), 0..80), size in 0_usize..90) {
            let mut reader = Reader::new(&bytes);
            let read = reader.fixed(size);
            prop_assert_eq!(read.is_some(), size <= bytes.len());
            prop_assert_eq!(reader.rest().len(), if size <= bytes.len() { bytes.len() - size } else { bytes.len() });
        }
    }
}

//! The messages that a VPP knows: each by its name with a digest of its layout, so that what is not known under it is
//! laid out otherwise, or not there.

use std::collections::HashMap;

use super::wire::Reader;

/// Length of a name in the table.
const NAME: usize = 64;

/// The numbers of a VPP's messages, which it gives anew at each start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table(HashMap<String, u16>);

impl Table {
    /// Reads the table, which is the end of the answer to a greeting.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let count = reader.u16()?;
        let entry = |reader: &mut Reader<'_>| {
            let number = reader.u16()?;
            Some((reader.fixed(NAME)?, number))
        };
        let table = (0..count).map(|_| entry(reader)).collect::<Option<_>>()?;
        reader.is_done().then_some(Self(table))
    }

    /// The number of a message.
    pub(super) fn number(&self, name: &str) -> Option<u16> {
        self.0.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::Writer;
    use super::*;

    fn table(count: u16, names: &[(&str, u16)]) -> Vec<u8> {
        let start = Writer::default().u16(count);
        let entry =
            |writer: Writer, (name, number): &(&str, u16)| writer.u16(*number).fixed(name, NAME).unwrap();
        names.iter().fold(start, entry).finish()
    }

    #[test]
    fn names_have_numbers() {
        let bytes = table(2, &[("control_ping_51077d14", 23), ("memif_dump_51077d14", 102)]);
        let table = Table::read(&mut Reader::new(&bytes)).unwrap();

        assert_eq!((table.number("memif_dump_51077d14"), table.number("memif_dump")), (Some(102), None));
    }

    #[test]
    fn a_table_that_does_not_hold_what_it_says_is_none() {
        for bytes in [table(2, &[("a", 1)]), table(0, &[("a", 1)]), vec![0]] {
            assert_eq!(Table::read(&mut Reader::new(&bytes)), None);
        }
    }
}

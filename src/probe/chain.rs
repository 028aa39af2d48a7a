//! Several objects, read as if they were one.

use std::io::{self, Read, Seek, SeekFrom};

/// What a probe reads from.
pub trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// Objects one behind the other. Each is opened when it is read; one is open at a time.
pub(super) struct Chain<O> {
    /// What is opened, and the bytes it has.
    parts: Vec<(usize, u64)>,
    open: O,
    /// Place of the part that is read, where it begins, and the part itself.
    at_part: usize,
    part_start: u64,
    part: Option<Box<dyn Source>>,
    at: u64,
}

impl<O: FnMut(usize) -> io::Result<Box<dyn Source>>> Chain<O> {
    pub(super) fn new(parts: Vec<(usize, u64)>, open: O) -> Self {
        Self {
            parts,
            open,
            at_part: 0,
            part_start: 0,
            part: None,
            at: 0,
        }
    }

    /// Bytes of all parts.
    pub(super) fn len(&self) -> u64 {
        self.parts
            .iter()
            .fold(0, |sum, (_, size)| sum.saturating_add(*size))
    }
}

impl<O: FnMut(usize) -> io::Result<Box<dyn Source>>> Read for Chain<O> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at < self.part_start {
            (self.at_part, self.part_start, self.part) = (0, 0, None);
        }
        while let Some((object, size)) = self.parts.get(self.at_part).copied() {
            let within = self.at - self.part_start;
            if within >= size {
                self.part_start += size;
                self.at_part += 1;
                self.part = None;
                continue;
            }
            let part = match &mut self.part {
                Some(part) => part,
                none => {
                    let mut part = (self.open)(object)?;
                    part.seek(SeekFrom::Start(within))?;
                    none.insert(part)
                }
            };
            let most = usize::try_from(size - within).unwrap_or(usize::MAX);
            let most = most.min(buffer.len());
            let read = part.read(&mut buffer[..most])?;
            if read == 0 && most > 0 {
                return Err(io::ErrorKind::UnexpectedEof.into()); // it has become shorter
            }
            self.at += read as u64;
            return Ok(read);
        }
        Ok(0)
    }
}

impl<O: FnMut(usize) -> io::Result<Box<dyn Source>>> Seek for Chain<O> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.len().checked_add_signed(by),
        };
        let at = at.ok_or(io::ErrorKind::InvalidInput)?;
        if at != self.at {
            let within = at.checked_sub(self.part_start).filter(|within| {
                self.parts
                    .get(self.at_part)
                    .is_some_and(|(_, size)| within < size)
            });
            match (within, &mut self.part) {
                (Some(within), Some(part)) => {
                    part.seek(SeekFrom::Start(within))?;
                }
                _ => self.part = None,
            }
        }
        self.at = at;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_chain_reads_as_one(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..6),
            steps in proptest::collection::vec((0u64..60, 0usize..12), 0..20),
        ) {
            let whole = parts.concat();
            let sizes = parts.iter().enumerate().map(|(at, part)| (at, part.len() as u64)).collect();
            let mut chain = Chain::new(sizes, |at: usize| {
                Ok(Box::new(Cursor::new(parts[at].clone())) as Box<dyn Source>)
            });
            prop_assert_eq!(chain.len(), whole.len() as u64);
            let mut plain = Cursor::new(&whole);
            for (at, len) in steps {
                let read = |source: &mut dyn ReadSeek| {
                    let mut buffer = vec![0; len];
                    source.seek(SeekFrom::Start(at)).unwrap();
                    let mut have = 0;
                    loop {
                        match source.read(&mut buffer[have..]).unwrap() {
                            0 => break,
                            n => have += n,
                        }
                    }
                    buffer.truncate(have);
                    buffer
                };
                prop_assert_eq!(read(&mut chain), read(&mut plain));
            }
        }
    }

    trait ReadSeek: Read + Seek {}
    impl<T: Read + Seek> ReadSeek for T {}
}

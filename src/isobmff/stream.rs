//! Bytes in, as they arrive; top-level boxes out.
//!
//! ```text
//!            header whole        kept kind: all bytes collected
//! [ header ] ------------> [ kept ] ------------------------> Event::Whole ---+
//!     ^    \                                                                  |
//!     |     +------------> [ passed over ] --- last byte seen -> Event::Passed |
//!     |      any other kind                                                   |
//!     +-----------------------------------------------------------------------+
//! ```
//!
//! The payload of a box that is passed over (`mdat` first of all) is counted, not touched: a piece
//! costs the same whatever its length.

use std::ops::Range;

use super::reader::length;
use super::{BoxHeader, BoxPath, BoxRef, BoxSize, Cause, Error, FourCc, Result};

/// What the stream has come to. Positions count from the first byte that was pushed.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A box begins.
    Start {
        /// Its header.
        header: BoxHeader,
        /// Position of its first byte.
        offset: u64,
    },
    /// A box of a kept type is whole.
    Whole(BoxRef<'a>),
    /// A box of another type has ended.
    Passed {
        /// Its type.
        kind: FourCc,
        /// Where it stood, header included.
        range: Range<u64>,
        /// Where its payload stood.
        payload: Range<u64>,
    },
}

/// Push parser for the top level of a file or of an endless body.
#[derive(Debug)]
pub struct Stream {
    keep: fn(FourCc) -> Option<usize>,
    keep_short: fn(FourCc) -> Option<usize>,
    /// Position of the next byte that comes in.
    offset: u64,
    state: State,
    /// The kept box, as far as it is here. Grows with what arrives, not with what a size claims.
    held: Vec<u8>,
    failure: Option<Error>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Header {
        bytes: [u8; BoxHeader::MAX_LEN],
        len: usize,
    },
    Kept {
        place: Place,
        left: usize,
    },
    Passing {
        place: Place,
        left: Option<u64>,
    },
}

/// A box whose header is whole.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u64,
    header: BoxHeader,
}

/// An [`Event`] that does not borrow the kept box yet.
enum Step {
    Start(Place),
    Whole(Place),
    Passed(Place),
}

/// A buffer over this size is given back after use.
const HELD_BETWEEN_BOXES: usize = 16 << 10;

impl State {
    const NEXT: Self = Self::Header {
        bytes: [0; BoxHeader::MAX_LEN],
        len: 0,
    };
}

impl Stream {
    /// A parser that holds the boxes for whose type `keep` gives a limit (in bytes, header
    /// included), and passes over all others.
    #[must_use]
    pub fn new(keep: fn(FourCc) -> Option<usize>) -> Self {
        Self {
            keep,
            keep_short: |_| None,
            offset: 0,
            state: State::NEXT,
            held: Vec::new(),
            failure: None,
        }
    }

    /// Holds also the boxes for whose type `keep_short` gives a limit, unless they are over it: those
    /// are passed over like the others.
    #[must_use]
    pub fn keeping_short(mut self, keep_short: fn(FourCc) -> Option<usize>) -> Self {
        self.keep_short = keep_short;
        self
    }

    /// Position of the next byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes bytes from the front of `input` up to the next event; `None` when all are taken and
    /// more are needed. To be called until `None`.
    ///
    /// # Errors
    ///
    /// The bytes are no boxes, or a kept box is over its limit. There is no way on from there: the
    /// same error comes again.
    pub fn next<'s>(&'s mut self, input: &mut &[u8]) -> Result<Option<Event<'s>>> {
        if let Some(error) = &self.failure {
            return Err(error.clone());
        }
        match self.step(input) {
            Ok(Some(step)) => self.event(&step).map(Some),
            Ok(None) => Ok(None),
            Err(error) => {
                self.failure = Some(error.clone());
                self.held = Vec::new();
                Err(error)
            }
        }
    }

    /// How many of the next bytes only serve to be passed over; they need not be read but can be
    /// given to [`Stream::pass`]. `u64::MAX` in a box that goes to the end of the file.
    #[must_use]
    pub fn to_pass(&self) -> u64 {
        match self.state {
            State::Passing { left, .. } => left.unwrap_or(u64::MAX),
            _ => 0,
        }
    }

    /// Passes over `count` bytes as if they had been pushed, at most [`Stream::to_pass`].
    pub fn pass(&mut self, count: u64) {
        let count = count.min(self.to_pass());
        if let State::Passing { place, left } = self.state {
            let left = left.map(|left| left.saturating_sub(count));
            self.state = State::Passing { place, left };
            self.offset = self.offset.saturating_add(count);
        }
    }

    /// Says that no more bytes come. The end of a box that goes to the end of the file is an event.
    ///
    /// # Errors
    ///
    /// The last box is not whole.
    pub fn finish(&mut self) -> Result<Option<Event<'_>>> {
        if let Some(error) = &self.failure {
            return Err(error.clone());
        }
        let (place, left) = match self.state {
            State::Header { len: 0, .. } => return Ok(None),
            State::Header { len, .. } => {
                let left = u64::try_from(len).unwrap_or(u64::MAX);
                let start = self.offset.saturating_sub(left);
                let need = if len < 8 { 8 } else { 16 };
                return Err(Error::new(
                    &BoxPath::ROOT,
                    start,
                    Cause::Short { need, left },
                ));
            }
            State::Kept { place, left } => (place, u64::try_from(left).unwrap_or(u64::MAX)),
            State::Passing {
                place,
                left: Some(left),
            } => (place, left),
            State::Passing { place, left: None } => {
                self.state = State::NEXT;
                return self.event(&Step::Passed(place)).map(Some);
            }
        };
        let have = self.offset.saturating_sub(place.start);
        let need = have.saturating_add(left);
        Err(Error::new(
            &place.path(),
            place.start,
            Cause::Short { need, left: have },
        ))
    }

    fn step(&mut self, input: &mut &[u8]) -> Result<Option<Step>> {
        match self.state {
            State::Header { bytes, len } => self.header(bytes, len, input),
            State::Kept { place, left } => {
                let taken = self.take(input, left);
                self.held.extend_from_slice(taken);
                let left = left.saturating_sub(taken.len());
                if left > 0 {
                    self.state = State::Kept { place, left };
                    return Ok(None);
                }
                self.state = State::NEXT;
                Ok(Some(Step::Whole(place)))
            }
            State::Passing { place, left } => {
                let wanted = left.map_or(usize::MAX, |left| {
                    usize::try_from(left).unwrap_or(usize::MAX)
                });
                let taken = length(self.take(input, wanted));
                let left = left.map(|left| left.saturating_sub(taken));
                if left != Some(0) {
                    self.state = State::Passing { place, left };
                    return Ok(None);
                }
                self.state = State::NEXT;
                Ok(Some(Step::Passed(place)))
            }
        }
    }

    fn header(
        &mut self,
        mut bytes: [u8; BoxHeader::MAX_LEN],
        mut len: usize,
        input: &mut &[u8],
    ) -> Result<Option<Step>> {
        // Eight bytes say whether sixteen are needed, and what follows must not be taken.
        for whole in [8, BoxHeader::MAX_LEN] {
            let taken = self.take(input, whole.saturating_sub(len));
            for (to, from) in bytes.iter_mut().skip(len).zip(taken) {
                *to = *from;
            }
            len = len.saturating_add(taken.len());
            let start = self
                .offset
                .saturating_sub(u64::try_from(len).unwrap_or(u64::MAX));
            let seen = bytes.get(..len).unwrap_or_default();
            if let Some(header) = BoxHeader::read(seen, start, &BoxPath::ROOT)? {
                let place = Place { start, header };
                self.open(place, seen)?;
                return Ok(Some(Step::Start(place)));
            }
            if len < whole {
                break;
            }
        }
        self.state = State::Header { bytes, len };
        Ok(None)
    }

    /// Decides what is done with the box whose header has just become whole.
    fn open(&mut self, place: Place, header: &[u8]) -> Result<()> {
        let payload_len = place.header.payload_len();
        let kind = place.header.kind;
        let short = (self.keep_short)(kind).filter(|limit| {
            let limit = u64::try_from(*limit).unwrap_or(u64::MAX);
            matches!(place.header.size, BoxSize::Bytes(size) if size <= limit)
        });
        let Some(limit) = (self.keep)(kind).or(short) else {
            self.state = State::Passing {
                place,
                left: payload_len,
            };
            return Ok(());
        };
        let Some(left) = payload_len else {
            return Err(Error::new(&place.path(), place.start, Cause::OpenSize));
        };
        let size = left.saturating_add(u64::from(place.header.header_len));
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        if size > limit {
            return Err(Error::new(
                &place.path(),
                place.start,
                Cause::TooLarge { size, limit },
            ));
        }
        if self.held.capacity() > HELD_BETWEEN_BOXES {
            self.held = Vec::new();
        }
        self.held.clear();
        self.held.extend_from_slice(header);
        self.state = State::Kept { place, left };
        Ok(())
    }

    fn take<'i>(&mut self, input: &mut &'i [u8], most: usize) -> &'i [u8] {
        let (taken, rest) = input.split_at_checked(most).unwrap_or((input, &[]));
        *input = rest;
        self.offset = self.offset.saturating_add(length(taken));
        taken
    }

    fn event(&self, step: &Step) -> Result<Event<'_>> {
        Ok(match step {
            Step::Start(place) => Event::Start {
                header: place.header,
                offset: place.start,
            },
            Step::Whole(place) => Event::Whole(BoxRef::top(&self.held, place.start)?),
            Step::Passed(place) => {
                let header_len = u64::from(place.header.header_len);
                Event::Passed {
                    kind: place.header.kind,
                    range: place.start..self.offset,
                    payload: place.start.saturating_add(header_len)..self.offset,
                }
            }
        })
    }
}

impl Place {
    fn path(&self) -> BoxPath {
        BoxPath::ROOT
            .child(self.header.kind)
            .unwrap_or(BoxPath::ROOT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isobmff::build::{boxed, concat};

    fn keep(kind: FourCc) -> Option<usize> {
        (kind == b"moov").then_some(64)
    }

    /// All events of `pieces` as text, the error last.
    fn events<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<String> {
        let mut stream = Stream::new(keep);
        let mut seen = Vec::new();
        for mut piece in pieces {
            loop {
                match stream.next(&mut piece) {
                    Ok(Some(event)) => seen.push(format!("{event:?}")),
                    Ok(None) => break,
                    Err(error) => {
                        seen.push(error.to_string());
                        return seen;
                    }
                }
            }
            assert!(piece.is_empty());
        }
        match stream.finish() {
            Ok(Some(event)) => seen.push(format!("{event:?}")),
            Ok(None) => {}
            Err(error) => seen.push(error.to_string()),
        }
        seen
    }

    #[test]
    fn any_split_gives_the_same_events() {
        let input = concat(&[
            boxed(b"moov", &boxed(b"trak", &[7; 9])),
            boxed(b"free", &[]),
            b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x14abcd".to_vec(),
            boxed(b"moov", &[]),
            b"\0\0\0\0mdatto the end".to_vec(),
        ]);
        let whole = events([&input[..]]);
        assert_eq!(whole.len(), 10, "{whole:#?}");
        assert_eq!(events(input.chunks(1)), whole);
        for at in 0..input.len() {
            let (a, b) = input.split_at(at);
            assert_eq!(events([a, b]), whole, "split at {at}");
        }
    }

    #[test]
    fn a_kept_box_over_its_limit_is_refused_by_its_header() {
        let input = b"\0\0\0\x41moov";
        assert_eq!(
            events([&input[..]]).last().unwrap(),
            "moov at byte 0: box size 65 is over the limit of 64 bytes"
        );
    }

    #[test]
    fn a_box_that_is_kept_if_short_is_passed_over_if_long() {
        let mut stream = Stream::new(keep).keeping_short(|kind| (kind == b"emsg").then_some(20));
        let input = concat(&[boxed(b"emsg", &[1; 12]), boxed(b"emsg", &[1; 13])]);
        let mut left = &input[..];
        let mut seen = Vec::new();
        while let Some(event) = stream.next(&mut left).unwrap() {
            seen.push(match event {
                Event::Start { .. } => "start",
                Event::Whole(_) => "whole",
                Event::Passed { .. } => "passed",
            });
        }
        assert_eq!(seen, ["start", "whole", "start", "passed"]);
    }

    #[test]
    fn a_cut_box_is_incomplete() {
        let input = concat(&[boxed(b"free", &[]), boxed(b"mdat", &[1; 100])]);
        let seen = events([&input[..50]]);
        assert_eq!(
            seen.last().unwrap(),
            "mdat at byte 8: need 108 bytes, 42 left"
        );
    }

    #[test]
    fn a_passed_box_costs_no_memory() {
        let mut stream = Stream::new(keep);
        let mut piece = &b"\0\0\0\x01mdat\xff\xff\xff\xff\xff\xff\xff\xff"[..];
        assert!(stream.next(&mut piece).unwrap().is_some());
        let zeros = vec![0; 1 << 20];
        for _ in 0..100 {
            let mut piece = &zeros[..];
            assert!(stream.next(&mut piece).unwrap().is_none());
        }
        assert_eq!(stream.held.capacity(), 0);
    }
}

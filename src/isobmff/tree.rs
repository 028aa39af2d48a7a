//! Boxes inside a box that is whole in memory.

use super::reader::length;
use super::{BoxHeader, BoxPath, BoxSize, Cause, Error, FourCc, Reader, Result, limits};

/// A whole box: its place in the input and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct BoxRef<'a> {
    /// The types of the box and its ancestors.
    pub path: BoxPath,
    /// The type.
    pub kind: FourCc,
    /// Position of its first byte in the input.
    pub offset: u64,
    header_len: u8,
    bytes: &'a [u8],
}

impl<'a> BoxRef<'a> {
    /// The top-level box that fills `bytes`, which begins at byte `offset` of the input.
    ///
    /// # Errors
    ///
    /// `bytes` is not exactly one box.
    pub fn top(bytes: &'a [u8], offset: u64) -> Result<Self> {
        let (first, rest) = split(bytes, offset, &BoxPath::ROOT)?;
        if rest.is_empty() {
            Ok(first)
        } else {
            let cause = Cause::Value("more bytes than the box has");
            Err(Error::new(&first.path, offset, cause))
        }
    }

    /// The whole box, header included.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the header.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes
            .get(usize::from(self.header_len)..)
            .unwrap_or_default()
    }

    /// The payload with the eight bytes before it, whatever the length of the header.
    pub(super) fn window(&self) -> &'a [u8] {
        let front = usize::from(self.header_len).saturating_sub(8);
        self.bytes.get(front..).unwrap_or_default()
    }

    /// Position of the payload in the input.
    #[must_use]
    pub fn payload_offset(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.header_len))
    }

    /// Position behind the box in the input.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(length(self.bytes))
    }

    /// A reader at the front of the payload.
    #[must_use]
    pub fn reader(&self) -> Reader<'a> {
        Reader::new(self.payload(), self.payload_offset(), self.path)
    }

    /// An error about this box.
    #[must_use]
    pub fn error(&self, cause: Cause) -> Error {
        Error::new(&self.path, self.offset, cause)
    }

    /// The boxes that fill the payload.
    #[must_use]
    pub fn children(&self) -> Children<'a> {
        Children::of(&self.reader())
    }

    /// The first child of a type, if any.
    ///
    /// # Errors
    ///
    /// The children up to it are no boxes.
    pub fn child(&self, kind: &[u8; 4]) -> Result<Option<Self>> {
        for child in self.children() {
            let child = child?;
            if child.kind == kind {
                return Ok(Some(child));
            }
        }
        Ok(None)
    }

    /// The first child of a type.
    ///
    /// # Errors
    ///
    /// There is none, or the children up to it are no boxes.
    pub fn expect(&self, kind: &[u8; 4]) -> Result<Self> {
        self.child(kind)?
            .ok_or_else(|| self.error(Cause::Missing(FourCc(*kind))))
    }
}

/// Iterates over the boxes that fill a stretch of bytes; ends after an error.
#[derive(Clone, Debug)]
pub struct Children<'a> {
    left: &'a [u8],
    offset: u64,
    path: BoxPath,
}

impl<'a> Children<'a> {
    /// The boxes in what `reader` has not read yet.
    #[must_use]
    pub fn of(reader: &Reader<'a>) -> Self {
        Self {
            left: reader.left(),
            offset: reader.offset(),
            path: *reader.path(),
        }
    }

    /// The top-level boxes of `bytes`, which begins at byte `offset` of the input.
    #[must_use]
    pub fn top(bytes: &'a [u8], offset: u64) -> Self {
        Self {
            left: bytes,
            offset,
            path: BoxPath::ROOT,
        }
    }
}

impl<'a> Iterator for Children<'a> {
    type Item = Result<BoxRef<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        match split(self.left, self.offset, &self.path) {
            Ok((child, rest)) => {
                self.left = rest;
                self.offset = child.end();
                Some(Ok(child))
            }
            Err(error) => {
                self.left = &[];
                Some(Err(error))
            }
        }
    }
}

/// Takes one box from the front of `bytes`.
fn split<'a>(bytes: &'a [u8], offset: u64, parent: &BoxPath) -> Result<(BoxRef<'a>, &'a [u8])> {
    let left = length(bytes);
    let Some(header) = BoxHeader::read(bytes, offset, parent)? else {
        return Err(Error::new(parent, offset, Cause::Short { need: 8, left }));
    };
    let Some(path) = parent.child(header.kind) else {
        return Err(Error::new(parent, offset, Cause::TooDeep));
    };
    let BoxSize::Bytes(size) = header.size else {
        return Err(Error::new(&path, offset, Cause::OpenSize));
    };
    let Some((own, rest)) = usize::try_from(size)
        .ok()
        .and_then(|size| bytes.split_at_checked(size))
    else {
        return Err(Error::new(&path, offset, Cause::PastParent { size, left }));
    };
    let child = BoxRef {
        path,
        kind: header.kind,
        offset,
        header_len: header.header_len,
        bytes: own,
    };
    Ok((child, rest))
}

/// Boxes that hold nothing but boxes. `udta` and `meta` are not among them: `QuickTime` ends the
/// first with four zero bytes and gives the second no version.
const CONTAINERS: [&[u8; 4]; 13] = [
    b"moov", b"trak", b"edts", b"mdia", b"minf", b"dinf", b"stbl", b"mvex", b"moof", b"traf",
    b"mfra", b"sinf", b"schi",
];

/// Checks that the containers below `root` are filled with boxes, within the limits on depth and
/// number, before anything in them is read.
///
/// # Errors
///
/// The first place where that does not hold.
pub fn check(root: &BoxRef<'_>) -> Result<()> {
    let mut budget = limits::BOXES;
    let mut open = vec![Children {
        left: root.bytes,
        offset: root.offset,
        path: BoxPath::ROOT,
    }];
    while let Some(siblings) = open.last_mut() {
        let Some(next) = siblings.next() else {
            open.pop();
            continue;
        };
        let next = next?;
        budget = budget
            .checked_sub(1)
            .ok_or_else(|| next.error(Cause::TooMany))?;
        if CONTAINERS.iter().any(|kind| next.kind == *kind) {
            // `split` refuses a path that is too deep, so `open` stays within limits::DEPTH.
            open.push(next.children());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isobmff::build::{boxed, concat};

    #[test]
    fn children_have_paths_and_offsets() {
        let tfdt = boxed(b"tfdt", &[0; 8]);
        let moof = boxed(
            b"moof",
            &boxed(b"traf", &concat(&[boxed(b"free", &[]), tfdt])),
        );
        let root = BoxRef::top(&moof, 1000).unwrap();
        let traf = root.expect(b"traf").unwrap();
        let tfdt = traf.expect(b"tfdt").unwrap();
        assert_eq!(tfdt.path.to_string(), "moof > traf > tfdt");
        assert_eq!((tfdt.offset, tfdt.end()), (1024, 1040));
        assert_eq!(
            traf.expect(b"trun").unwrap_err().to_string(),
            "moof > traf at byte 1008: expected a trun box, found none"
        );
    }

    #[test]
    fn a_child_behind_its_parent_is_refused() {
        let mut moof = boxed(b"moof", &boxed(b"traf", &[]));
        moof[11] = 0x40;
        let error = check(&BoxRef::top(&moof, 0).unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "moof > traf at byte 8: box size 64, but its parent has 8 bytes left"
        );
    }

    #[test]
    fn open_sizes_inside_a_box_are_refused() {
        let mut moof = boxed(b"moof", &boxed(b"traf", &[]));
        moof[11] = 0;
        let error = check(&BoxRef::top(&moof, 0).unwrap()).unwrap_err();
        assert_eq!(error.cause(), &Cause::OpenSize);
    }

    #[test]
    fn depth_and_number_are_limited() {
        let mut deep = boxed(b"moov", &[]);
        for _ in 0..limits::DEPTH {
            deep = boxed(b"moov", &deep);
        }
        let error = check(&BoxRef::top(&deep, 0).unwrap()).unwrap_err();
        assert_eq!(error.cause(), &Cause::TooDeep);

        let many = boxed(b"moov", &boxed(b"free", &[]).repeat(limits::BOXES));
        let error = check(&BoxRef::top(&many, 0).unwrap()).unwrap_err();
        assert_eq!(error.cause(), &Cause::TooMany);
    }
}

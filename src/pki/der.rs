//! The little DER that is needed where no crate hands out the raw bytes: one level of tags at a time.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// The constructed context-specific tag `[number]`, for numbers below 31.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// One value: its tag, its content, and both with the length between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) raw: &'a [u8],
}

impl<'a> Value<'a> {
    /// The values inside.
    pub(super) fn values(&self) -> Reader<'a> {
        Reader(self.content)
    }

    /// The bytes of a BIT STRING that is a whole number of bytes long, as keys and signatures are.
    pub(super) fn bit_string(&self) -> Option<&'a [u8]> {
        match (self.tag, self.content) {
            (BIT_STRING, [0, bytes @ ..]) => Some(bytes),
            _ => None,
        }
    }

    /// The bytes of a non-negative INTEGER without the leading zero.
    pub(super) fn unsigned(&self) -> Option<&'a [u8]> {
        match (self.tag, self.content) {
            (INTEGER, [0, bytes @ ..]) => Some(bytes),
            (INTEGER, bytes @ [0x01..=0x7f, ..]) => Some(bytes),
            _ => None,
        }
    }
}

/// Reads the values of one level in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Bytes not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next value if it has this tag; otherwise nothing is read.
    pub(super) fn read(&mut self, tag: u8) -> Option<Value<'a>> {
        let mut ahead = *self;
        let value = ahead.next()?;
        (value.tag == tag).then(|| {
            *self = ahead;
            value
        })
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Value<'a>;

    /// `None` at the end, and for whatever is not DER: a cut value, a length that is indefinite or
    /// longer than it needs to be, a tag of several bytes.
    fn next(&mut self) -> Option<Value<'a>> {
        let (&tag, after_tag) = self.0.split_first()?;
        let (&first, after_first) = after_tag.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (length, body) = match first {
            0..=0x7f => (usize::from(first), after_first),
            0x81..=0x84 => {
                let (digits, body) = after_first.split_at_checked(usize::from(first & 0x7f))?;
                let length = digits.iter().try_fold(0usize, |sum, &digit| {
                    Some(sum.checked_mul(256)? | usize::from(digit))
                })?;
                let minimal = digits.first() != Some(&0) && length > 0x7f;
                minimal.then_some((length, body))?
            }
            _ => return None,
        };
        let (content, rest) = body.split_at_checked(length)?;
        let raw = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some(Value { tag, content, raw })
    }
}

/// One value, its content put together from `parts`.
pub(super) fn write(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let digits = length.to_be_bytes();
        let zeros = digits.iter().take_while(|&&digit| digit == 0).count();
        out.push(0x80 | (digits.len() - zeros) as u8);
        out.extend_from_slice(&digits[zeros..]);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// A BIT STRING of whole bytes.
pub(super) fn write_bit_string(bytes: &[u8]) -> Vec<u8> {
    write(BIT_STRING, &[&[0], bytes])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_take_as_few_bytes_as_they_can() {
        assert_eq!(write(OCTET_STRING, &[&[7; 3]]), [4, 3, 7, 7, 7]);
        assert_eq!(write(OCTET_STRING, &[&[7; 127]])[..3], [4, 127, 7]);
        assert_eq!(write(OCTET_STRING, &[&[7; 128]])[..4], [4, 0x81, 128, 7]);
        assert_eq!(write(OCTET_STRING, &[&[7; 256]])[..5], [4, 0x82, 1, 0, 7]);
    }

    #[test]
    fn what_is_not_der_is_not_read() {
        let indefinite = [0x30, 0x80, 0, 0];
        let padded_length = [0x04, 0x81, 0x01, 7];
        let leading_zero = [0x04, 0x82, 0x00, 0x80];
        let cut = [0x04, 0x05, 1, 2];
        let huge = [0x04, 0x84, 0xff, 0xff, 0xff, 0xff];
        let long_tag = [0x1f, 0x81, 0x01, 0];
        for bytes in [
            &indefinite[..],
            &padded_length,
            &leading_zero,
            &cut,
            &huge,
            &long_tag,
        ] {
            assert_eq!(Reader::new(bytes).next(), None, "{bytes:02x?}");
        }
    }

    #[test]
    fn read_leaves_a_value_of_another_tag() {
        let bytes = [NULL, 0, INTEGER, 1, 5];
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.read(INTEGER), None);
        assert!(reader.read(NULL).is_some());
        assert_eq!(
            reader.read(INTEGER).and_then(|v| v.unsigned()),
            Some(&[5][..])
        );
        assert!(reader.rest().is_empty());
    }

    proptest! {
        #[test]
        fn reading_gives_back_what_was_written(tag in 0u8..0x1f, content: Vec<u8>) {
            let raw = write(tag, &[&content]);
            let value = Reader::new(&raw).next().expect("just written");
            prop_assert_eq!(value, Value { tag, content: &content, raw: &raw });
            for end in 0..raw.len() {
                prop_assert_eq!(Reader::new(&raw[..end]).next(), None);
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            for value in Reader::new(&bytes) {
                prop_assert!(value.raw.len() >= value.content.len() + 2);
            }
        }
    }
}

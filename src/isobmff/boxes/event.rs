//! Events that are timed with the media: `emsg`.

use crate::isobmff::{BoxRef, Result, through_mp4};

/// Event message (`emsg`). ISO/IEC 23009-1.
///
/// | field                   | version 0      | version 1         | unit                     |
/// |-------------------------|----------------|-------------------|--------------------------|
/// | scheme_id_uri, value    | first          | last              | text, ends with NUL each |
/// | timescale               | 32             | 32                | ticks per second         |
/// | presentation_time_delta | 32             |                   | ticks after the earliest time of the segment |
/// | presentation_time       |                | 64                | ticks on the track's timeline |
/// | event_duration          | 32             | 32                | ticks; all ones = not known |
/// | id                      | 32             | 32                |                          |
/// | message_data            | the rest       | the rest          |                          |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emsg {
    /// What kind of event.
    pub scheme: String,
    /// Of which stream of such events.
    pub value: String,
    /// Ticks per second.
    pub timescale: u32,
    /// When it is.
    pub time: EventTime,
    /// Ticks; `None` when not known.
    pub duration: Option<u32>,
    /// The same event sent again has the same.
    pub id: u32,
    /// For those who know the scheme.
    pub message: Vec<u8>,
}

/// When an event is, in its own ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventTime {
    /// After the earliest presentation time of its segment.
    Delta(u32),
    /// On the timeline of the track.
    Absolute(u64),
}

impl Emsg {
    /// Longest message box that is read.
    pub const MAX_LEN: usize = 64 << 10;

    /// Reads an `emsg` box.
    ///
    /// # Errors
    ///
    /// A text does not end or is no UTF-8; or the box is over [`Emsg::MAX_LEN`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::emsg(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isobmff::build::{concat, full};

    #[test]
    fn both_versions() {
        let numbers = concat(&[90_000u32, 5, 100, 7].map(u32::to_be_bytes));
        let v0 = concat(&[&b"urn:x\0v\0"[..], &numbers, b"payload"]);
        let v0 = full(b"emsg", 0, 0, &v0);
        let v0 = Emsg::decode(&BoxRef::top(&v0, 0).unwrap()).unwrap();
        assert_eq!(
            (v0.scheme.as_str(), v0.value.as_str(), v0.id),
            ("urn:x", "v", 7)
        );
        assert_eq!((v0.time, v0.duration), (EventTime::Delta(5), Some(100)));
        assert_eq!(v0.message, b"payload");

        let numbers = concat(&[90_000u32, 1, 5, u32::MAX, 7].map(u32::to_be_bytes));
        let v1 = full(b"emsg", 1, 0, &concat(&[&numbers[..], b"urn:x\0\0"]));
        let v1 = Emsg::decode(&BoxRef::top(&v1, 0).unwrap()).unwrap();
        assert_eq!(
            (v1.time, v1.duration),
            (EventTime::Absolute((1 << 32) + 5), None)
        );
    }

    #[test]
    fn texts_must_end() {
        let open = full(b"emsg", 0, 0, b"urn:x without end, which would be longer");
        let error = Emsg::decode(&BoxRef::top(&open, 100).unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "emsg at byte 112: expected UTF-8 text with a NUL at its end"
        );
    }
}

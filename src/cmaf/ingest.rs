//! One request body, read while it arrives: where its header and its fragments are.

use std::ops::Range;

use crate::finding::Findings;
use crate::isobmff::boxes::{Emsg, FileType, Moof, Prft};
use crate::isobmff::{
    BoxHeader, BoxPath, BoxRef, BoxSize, Cause, Error, Event, FourCc, Result, Stream, check, limits,
};

use super::check::{Checker, Context, FragmentEnd};
use super::{Defaults, TrackHeader, TrafSummary};

/// What the scanner has found. Positions are offsets in the body.
///
/// The ranges of `Header`, `Fragment` and `Trailer` follow each other without gap from byte 0; all
/// bytes of a whole CMAF body are in one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanEvent {
    /// What the body begins with: the first event, and the only one of a body that is no CMAF. A
    /// body of fewer than eight bytes has none.
    Start(Start),
    /// A `moov` is whole.
    Header(Box<HeaderSeen>),
    /// A `moof` and all its media data are whole.
    Fragment(FragmentSeen),
    /// At the end of the body: whole boxes behind the last fragment, `mfra` for one.
    Trailer(Range<u64>),
    /// Nothing can be read from here on: the boxes are broken, or the body ends within one. Last
    /// event.
    Broken {
        /// Where the trouble is.
        offset: u64,
        /// What it is, with the path of the box, for people.
        message: String,
    },
}

/// What a body begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// `ftyp`: a header, or a progressive file.
    Header,
    /// `styp`, `prft`, `emsg`, `sidx`, `moof`, or `mfra` (the end of a track sent on its own).
    Media,
    /// Anything else. The rest of the body is not looked at.
    Other,
}

/// A `moov` and what came before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderSeen {
    /// From the end of the last fragment (or byte 0) to the end of `moov`.
    pub range: Range<u64>,
    /// What it says; `None` if it announces no fragments (a progressive file).
    pub header: Option<TrackHeader>,
}

/// A fragment: what a track grows by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FragmentSeen {
    /// From the end of the header or fragment before (`styp`, `prft`, `emsg`, `sidx`, `free` belong
    /// to what follows them) to the end of the media data.
    pub range: Range<u64>,
    /// Payload of `mdat`; from the first to the last, where there are several.
    pub media: Range<u64>,
    /// Track of the first `traf`.
    pub track_id: u32,
    /// Decode time of its first sample, in ticks.
    pub decode_time: Option<u64>,
    /// Sum of its sample durations, in ticks.
    pub duration: u64,
    /// Number of its samples.
    pub sample_count: u32,
    /// Its first sample is a sync sample.
    pub sync: bool,
    /// The producer's clock from the `prft` before it, in microseconds since 1970.
    pub wall_clock: Option<i64>,
    /// `mfhd.sequence_number`.
    pub sequence_number: u32,
    /// Its `styp` has the brand `lmsg`: it begins the last segment.
    pub last_segment: bool,
    /// Number of `traf`; more than one in a muxed body, where only the first is described.
    pub tracks: u32,
}

/// Push parser for one request body. Holds at most one box of [`limits::WHOLE_BOX`] bytes; media
/// data is counted and passed over.
#[derive(Debug)]
pub struct BodyScanner {
    stream: Stream,
    body: Body,
}

impl BodyScanner {
    /// A scanner for a body that brings its own header, or for one nothing is known of.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stream: Stream::new(keep),
            body: Body::default(),
        }
    }

    /// A scanner for media whose header came before, in another body.
    #[must_use]
    pub fn with_defaults(header: &TrackHeader) -> Self {
        let mut scanner = Self::new();
        scanner.body.defaults = Defaults::of(header);
        scanner
    }

    /// A scanner that holds the body against the rules of [`super::check`] on its way.
    #[must_use]
    pub fn checked(context: Context) -> Self {
        let keep_short = |kind: FourCc| (kind == b"emsg").then_some(Emsg::MAX_LEN);
        let defaults = context.header.as_ref().map(Defaults::of);
        Self {
            stream: Stream::new(keep).keeping_short(keep_short),
            body: Body {
                defaults: defaults.unwrap_or_default(),
                checker: Some(Checker::new(context)),
                ..Body::default()
            },
        }
    }

    /// What was found so far; nothing if nothing is checked.
    #[must_use]
    pub fn findings(&self) -> Option<&Findings> {
        self.body.checker.as_ref().map(Checker::findings)
    }

    /// As [`BodyScanner::findings`], and none are left.
    pub fn take_findings(&mut self) -> Findings {
        let checker = self.body.checker.as_mut();
        checker.map(Checker::take_findings).unwrap_or_default()
    }

    /// The newest fragment of the first track of a body that is checked, or else the one the context
    /// named.
    #[must_use]
    pub fn last_fragment(&self) -> Option<&FragmentEnd> {
        self.body.checker.as_ref()?.last_fragment()
    }

    /// The newest header of a body that is checked, or else the one the context gave.
    #[must_use]
    pub fn last_header(&self) -> Option<&TrackHeader> {
        self.body.checker.as_ref()?.header()
    }

    /// Takes the next bytes of the body and appends what they complete to `out`. The cost of a
    /// piece of media data does not depend on its length.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<ScanEvent>) {
        while self.body.state != State::Done {
            let taken = match self.stream.next(&mut bytes) {
                Ok(Some(event)) => self.body.take(&event, out),
                Ok(None) => return,
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                self.body.broken(&error, out);
            }
        }
    }

    /// Says that the body is at its end.
    pub fn finish(&mut self, out: &mut Vec<ScanEvent>) {
        let end = self.stream.offset();
        match self.stream.finish() {
            Ok(_) => self.body.finish(end, out),
            // Fewer than eight bytes: nothing is known, and nothing is said.
            Err(error) if self.body.state == State::Undecided => {
                self.body.state = State::Done;
                self.body.check(|checker| checker.not_media_yet(&error));
            }
            Err(error) => {
                if self.body.state != State::Done {
                    self.body.check(|checker| checker.cut(&error));
                }
                self.body.give_up(error.offset(), error.to_string(), out);
            }
        }
    }
}

impl Default for BodyScanner {
    fn default() -> Self {
        Self::new()
    }
}

/// The boxes that are needed whole.
fn keep(kind: FourCc) -> Option<usize> {
    match &kind.0 {
        b"moov" | b"moof" => Some(limits::WHOLE_BOX),
        b"ftyp" | b"styp" | b"prft" => Some(limits::SMALL_BOX),
        _ => None,
    }
}

/// What is known of the body so far.
#[derive(Debug, Default)]
struct Body {
    state: State,
    defaults: Defaults,
    /// End of the last header or fragment.
    end: u64,
    brands: Option<FileType>,
    wall_clock: Option<i64>,
    last_segment: bool,
    pending: Option<Pending>,
    checker: Option<Checker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// No box has begun.
    #[default]
    Undecided,
    /// Boxes, but nothing yet that makes it CMAF.
    File,
    /// There was a header that announces fragments, or media.
    Fragmented,
    /// Nothing more is looked at.
    Done,
}

/// A fragment whose media data is not whole yet.
///
/// One `mdat` is the rule, but the sizes of the samples decide: as long as they need more bytes
/// than there were, a further `mdat` belongs to the fragment too, and so does a further `moof`
/// before the first.
#[derive(Debug)]
struct Pending {
    seen: FragmentSeen,
    /// Position of its `moof`.
    moof: u64,
    /// Bytes its samples have.
    need: u64,
    /// Bytes its `mdat` had so far; `None` before the first.
    have: Option<u64>,
}

impl Body {
    fn take(&mut self, event: &Event<'_>, out: &mut Vec<ScanEvent>) -> Result<()> {
        match event {
            Event::Start { header, offset } => self.start(header, *offset, out),
            Event::Whole(whole) => match &whole.kind.0 {
                b"ftyp" => {
                    self.brands = Some(FileType::decode(whole)?);
                    self.check(|checker| checker.whole(whole));
                    Ok(())
                }
                // What only adds to a fragment does not break the body if it cannot be read.
                b"styp" => {
                    let brands = FileType::decode(whole);
                    self.last_segment |= brands.is_ok_and(|brands| brands.has(b"lmsg"));
                    self.check(|checker| checker.whole(whole));
                    Ok(())
                }
                b"prft" => {
                    let prft = Prft::decode(whole).ok();
                    self.wall_clock = prft.map(|prft| prft.ntp.unix_micros());
                    self.check(|checker| checker.whole(whole));
                    Ok(())
                }
                b"emsg" => {
                    self.check(|checker| checker.whole(whole));
                    Ok(())
                }
                b"moov" => self.moov(whole, out),
                _ => self.moof(whole),
            },
            Event::Passed {
                kind,
                range,
                payload,
            } => {
                if kind == b"mdat" {
                    self.mdat(range, payload, out);
                }
                Ok(())
            }
        }
    }

    fn start(&mut self, header: &BoxHeader, offset: u64, out: &mut Vec<ScanEvent>) -> Result<()> {
        let kind = header.kind;
        if self.state == State::Undecided {
            let (state, start) = match &kind.0 {
                b"ftyp" => (State::File, Start::Header),
                b"styp" | b"prft" | b"emsg" | b"sidx" | b"moof" | b"mfra" => {
                    (State::Fragmented, Start::Media)
                }
                _ => (State::Done, Start::Other),
            };
            self.state = state;
            out.push(ScanEvent::Start(start));
            self.check(|checker| checker.begin(start));
        }
        if self.state == State::Done {
            return Ok(());
        }
        let path = || BoxPath::ROOT.child(kind).unwrap_or(BoxPath::ROOT);
        if header.size == BoxSize::ToEnd
            && (self.state == State::Fragmented || self.pending.is_some() || kind != b"mdat")
        {
            return Err(Error::new(&path(), offset, Cause::OpenSize));
        }
        self.check(|checker| checker.start(header, offset));
        let begins_next = matches!(
            &kind.0,
            b"ftyp" | b"moov" | b"styp" | b"prft" | b"emsg" | b"sidx" | b"ssix" | b"moof" | b"mfra"
        );
        let Some(pending) = self.pending.take_if(|_| begins_next) else {
            return Ok(());
        };
        if pending.have.is_some() || pending.need == 0 {
            self.emit(pending, out);
        } else if matches!(&kind.0, b"ftyp" | b"moov" | b"mfra") {
            self.check(Checker::finish);
            self.give_up(pending.moof, pending.starved(), out);
        } else {
            self.pending = Some(pending);
        }
        Ok(())
    }

    fn moov(&mut self, moov: &BoxRef<'_>, out: &mut Vec<ScanEvent>) -> Result<()> {
        let header = TrackHeader::from_boxes(self.brands.clone(), moov)?;
        self.check(|checker| checker.moov(moov, header.as_ref()));
        if let Some(header) = &header {
            self.state = State::Fragmented;
            self.defaults = Defaults::of(header);
        }
        let range = self.end..moov.end();
        self.end = range.end;
        self.wall_clock = None;
        self.last_segment = false;
        out.push(ScanEvent::Header(Box::new(HeaderSeen { range, header })));
        Ok(())
    }

    fn moof(&mut self, source: &BoxRef<'_>) -> Result<()> {
        check(source)?;
        let moof = Moof::decode(source)?;
        self.state = State::Fragmented;
        let sums: Vec<_> = moof
            .trafs
            .iter()
            .map(|traf| TrafSummary::of(traf, &self.defaults))
            .collect();
        if let Some(checker) = &mut self.checker {
            checker.moof(source, &moof, &sums, &self.defaults);
        }
        let need = sums
            .iter()
            .fold(0, |sum: u64, traf| sum.saturating_add(traf.size));
        let tracks = u32::try_from(sums.len()).unwrap_or(u32::MAX);
        if let Some(pending) = &mut self.pending {
            pending.need = pending.need.saturating_add(need);
            pending.seen.tracks = pending.seen.tracks.saturating_add(tracks);
            return Ok(());
        }
        let first = sums.first();
        self.pending = Some(Pending {
            seen: FragmentSeen {
                range: self.end..source.end(),
                media: source.end()..source.end(),
                track_id: first.map_or(0, |traf| traf.track_id),
                decode_time: first.and_then(|traf| traf.decode_time),
                duration: first.map_or(0, |traf| traf.duration),
                sample_count: first.map_or(0, |traf| {
                    u32::try_from(traf.sample_count).unwrap_or(u32::MAX)
                }),
                sync: first.is_some_and(|traf| traf.sync),
                wall_clock: self.wall_clock.take(),
                sequence_number: moof.mfhd.sequence_number,
                last_segment: std::mem::take(&mut self.last_segment),
                tracks,
            },
            moof: source.offset,
            need,
            have: None,
        });
        Ok(())
    }

    fn mdat(&mut self, range: &Range<u64>, payload: &Range<u64>, out: &mut Vec<ScanEvent>) {
        let Some(mut pending) = self.pending.take() else {
            return;
        };
        if pending.have.is_none() {
            pending.seen.media.start = payload.start;
        }
        pending.seen.media.end = payload.end;
        pending.seen.range.end = range.end;
        let len = payload.end.saturating_sub(payload.start);
        let have = pending.have.unwrap_or(0).saturating_add(len);
        pending.have = Some(have);
        if have >= pending.need {
            self.emit(pending, out);
        } else {
            self.pending = Some(pending);
        }
    }

    fn emit(&mut self, pending: Pending, out: &mut Vec<ScanEvent>) {
        self.end = pending.seen.range.end;
        out.push(ScanEvent::Fragment(pending.seen));
    }

    fn finish(&mut self, end: u64, out: &mut Vec<ScanEvent>) {
        if self.state != State::Done && end > 0 {
            self.check(Checker::finish);
        }
        match self.pending.take() {
            Some(pending) if pending.need > 0 => {
                self.give_up(pending.moof, pending.starved(), out);
            }
            _ if self.state == State::Fragmented && self.end < end => {
                out.push(ScanEvent::Trailer(self.end..end));
            }
            _ => {}
        }
        self.state = State::Done;
    }

    fn check(&mut self, look: impl FnOnce(&mut Checker)) {
        if let Some(checker) = &mut self.checker {
            look(checker);
        }
    }

    fn broken(&mut self, error: &Error, out: &mut Vec<ScanEvent>) {
        match self.state {
            State::Undecided => self.check(|checker| checker.not_media()),
            _ => self.check(|checker| checker.broken(error)),
        }
        self.give_up(error.offset(), error.to_string(), out);
    }

    /// Ends the events with a `Broken`. A body whose first bytes are no box is just no CMAF.
    fn give_up(&mut self, offset: u64, message: String, out: &mut Vec<ScanEvent>) {
        match self.state {
            State::Done => {}
            State::Undecided => out.push(ScanEvent::Start(Start::Other)),
            _ => out.push(ScanEvent::Broken { offset, message }),
        }
        self.state = State::Done;
        self.pending = None;
    }
}

impl Pending {
    fn starved(&self) -> String {
        let (at, need, have) = (self.moof, self.need, self.have.unwrap_or(0));
        format!("moof at byte {at}: its samples need {need} bytes of media data, {have} found")
    }
}

#[cfg(test)]
mod tests;

//! One pass over an object: its header, and sums over its samples.

use std::io::{Read, Seek, SeekFrom};

use crate::cmaf::{Defaults, SampleTable, Track, TrackHeader, TrafSummary, samples};
use crate::isobmff::boxes::{FileType, Moof, Tfhd, Traf};
use crate::isobmff::{self, BoxRef, Event, FourCc, Stream, check, limits};

use super::ProbeError;

/// Bytes read at once.
const PIECE: usize = 64 << 10;

/// Bytes read behind media data that was passed over: there are likely a `moof` and more of it.
const PEEK: usize = 4 << 10;

/// What was found.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) brands: Option<FileType>,
    /// Ticks per second of edit list durations.
    pub(super) movie_timescale: u32,
    pub(super) tracks: Vec<(Track, Sums)>,
}

/// Sums over the samples of one track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) samples: u64,
    /// Ticks.
    pub(super) duration: u64,
    /// Bytes.
    pub(super) size: u64,
    pub(super) first: Option<First>,
    /// How far composition offsets in fragments reach below zero, in ticks.
    pub(super) negative: u64,
    /// Ticks of the first samples, at most [`SampleTable::FIRST`] of them.
    pub(super) first_durations: Vec<u32>,
    /// Composition offsets of the same samples, in ticks; empty where all are 0.
    pub(super) first_offsets: Vec<i64>,
    /// The first bytes of the first sample, at most [`HEAD`] of them.
    pub(super) head: Vec<u8>,
}

/// Where a track starts, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    /// Decode time of the first sample.
    pub(super) decode_time: u64,
    /// Its composition offset.
    pub(super) offset: i64,
    /// The samples are in a table, not in fragments.
    pub(super) in_table: bool,
}

/// Bytes of the first sample that are looked at: parameter sets that are not in the header, and what
/// precedes the first slice.
const HEAD: u32 = 8 << 10;

/// The first sample of a track, to be read.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    track: usize,
    offset: u64,
    len: u32,
}

pub(super) fn walk(
    source: &mut (impl Read + Seek),
    size: u64,
    header: Option<TrackHeader>,
) -> Result<Facts, ProbeError> {
    let mut walk = Walk {
        lent: header,
        ..Walk::default()
    };
    let broken = walk.run(source, size)?;
    if !walk.started {
        return Err(ProbeError::NotMedia);
    }
    match (walk.header, broken) {
        (Some(_), _) => Ok(Facts {
            brands: walk.brands,
            movie_timescale: walk.movie_timescale,
            tracks: walk.tracks,
        }),
        (None, Some(error)) => Err(ProbeError::Broken(error)),
        (None, None) if walk.fragments => Err(ProbeError::HeaderMissing),
        (None, None) => Err(ProbeError::NotMedia),
    }
}

#[derive(Debug, Default)]
struct Walk {
    /// The first box is one that media files begin with.
    started: bool,
    fragments: bool,
    lent: Option<TrackHeader>,
    brands: Option<FileType>,
    header: Option<Defaults>,
    movie_timescale: u32,
    tracks: Vec<(Track, Sums)>,
    /// The last `moof` and its position, until its media data is whole.
    pending: Option<(Moof, u64)>,
    wanted: Vec<Wanted>,
}

fn keep(kind: FourCc) -> Option<usize> {
    match &kind.0 {
        b"moov" | b"moof" => Some(limits::WHOLE_BOX),
        b"ftyp" => Some(limits::SMALL_BOX),
        _ => None,
    }
}

impl Walk {
    /// Reads all boxes; gives the error that stopped it before the end, if one did.
    fn run(
        &mut self,
        source: &mut (impl Read + Seek),
        size: u64,
    ) -> Result<Option<isobmff::Error>, ProbeError> {
        source.rewind().map_err(ProbeError::Read)?;
        let mut stream = Stream::new(keep);
        let mut buffer = vec![0; PIECE];
        let mut at = 0;
        let mut size_of_piece = PEEK;
        loop {
            let left = size - at;
            let pass = stream.to_pass().min(left);
            let mut piece = &[][..];
            if pass > PEEK as u64 {
                let by = i64::try_from(pass).unwrap_or(i64::MAX);
                source
                    .seek(SeekFrom::Current(by))
                    .map_err(ProbeError::Read)?;
                stream.pass(by.unsigned_abs());
                at += by.unsigned_abs();
                size_of_piece = PEEK;
            } else {
                let most = usize::try_from(left).unwrap_or(PIECE).min(size_of_piece);
                size_of_piece = PIECE;
                let read = source.read(&mut buffer[..most]).map_err(ProbeError::Read)?;
                piece = &buffer[..read];
                at += read as u64;
                if read == 0 {
                    // Only a last mdat that goes to the end of the file becomes whole by that; any
                    // other box that is cut does not count.
                    return Ok(None);
                }
            }
            loop {
                match stream.next(&mut piece) {
                    Ok(Some(event)) => {
                        if let Err(error) = self.take(&event) {
                            return Ok(Some(error));
                        }
                        if !self.started {
                            return Ok(None);
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return Ok(Some(error)),
                }
            }
            if !self.wanted.is_empty() {
                self.read_heads(source, size)?;
                source.seek(SeekFrom::Start(at)).map_err(ProbeError::Read)?;
            }
        }
    }

    /// Reads the first bytes of first samples that have come to light.
    fn read_heads(&mut self, source: &mut (impl Read + Seek), size: u64) -> Result<(), ProbeError> {
        for wanted in std::mem::take(&mut self.wanted) {
            let len = u64::from(wanted.len.min(HEAD)).min(size.saturating_sub(wanted.offset));
            let mut head = Vec::new();
            source
                .seek(SeekFrom::Start(wanted.offset))
                .and_then(|_| source.take(len).read_to_end(&mut head))
                .map_err(ProbeError::Read)?;
            if let Some((_, sums)) = self.tracks.get_mut(wanted.track) {
                sums.head = head;
            }
        }
        Ok(())
    }

    fn take(&mut self, event: &Event<'_>) -> isobmff::Result<()> {
        match event {
            Event::Start { header, .. } => {
                self.started |= matches!(
                    &header.kind.0,
                    b"ftyp"
                        | b"styp"
                        | b"moof"
                        | b"moov"
                        | b"prft"
                        | b"emsg"
                        | b"sidx"
                        | b"free"
                        | b"skip"
                        | b"mdat"
                        | b"wide"
                        | b"uuid"
                );
                Ok(())
            }
            Event::Whole(whole) => self.whole(whole),
            Event::Passed { kind, .. } => {
                if *kind == b"mdat"
                    && let Some((moof, offset)) = self.pending.take()
                {
                    self.add(&moof, offset);
                }
                Ok(())
            }
        }
    }

    fn whole(&mut self, whole: &BoxRef<'_>) -> isobmff::Result<()> {
        match &whole.kind.0 {
            b"ftyp" => self.brands = Some(FileType::decode(whole)?),
            b"moov" if self.header.is_none() => {
                let header = TrackHeader::of_movie(self.brands.clone(), whole)?;
                self.begin(header);
            }
            b"moof" => {
                check(whole)?;
                self.fragments = true;
                self.pending = Some((Moof::decode(whole)?, whole.offset));
                if self.header.is_none()
                    && let Some(header) = self.lent.take()
                {
                    self.begin(header);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, header: TrackHeader) {
        self.header = Some(Defaults::of(&header));
        self.movie_timescale = header.movie_timescale;
        self.brands = self.brands.take().or(header.brands);
        for (index, track) in header.tracks.into_iter().enumerate() {
            let table = track.table.as_ref();
            if let Some((offset, len)) = table.and_then(|table| table.first_sample) {
                self.wanted.push(Wanted {
                    track: index,
                    offset,
                    len,
                });
            }
            let sums = Sums::of_table(&track);
            self.tracks.push((track, sums));
        }
    }

    /// Adds a fragment whose media data is whole.
    fn add(&mut self, moof: &Moof, moof_offset: u64) {
        let Some(defaults) = &self.header else {
            return;
        };
        for (at, traf) in moof.trafs.iter().enumerate() {
            let id = traf.tfhd.track_id;
            let Some(index) = self.tracks.iter().position(|(track, _)| track.id == id) else {
                continue;
            };
            let sums = &mut self.tracks[index].1;
            if sums.samples == 0
                && let Some(first) = samples(traf, defaults).next()
                && let Some(offset) = first_byte(traf, at == 0, moof_offset)
            {
                self.wanted.push(Wanted {
                    track: index,
                    offset,
                    len: first.size,
                });
            }
            sums.add(traf, defaults);
        }
    }
}

/// Position of a fragment's first sample; `None` where it depends on what came before.
fn first_byte(traf: &Traf, first: bool, moof_offset: u64) -> Option<u64> {
    let at_moof = first || traf.tfhd.flags & Tfhd::DEFAULT_BASE_IS_MOOF != 0;
    let base = traf
        .tfhd
        .base_data_offset
        .or(at_moof.then_some(moof_offset))?;
    let run = traf.truns.iter().find(|run| run.sample_count > 0)?;
    base.checked_add_signed(i64::from(run.data_offset?))
}

impl Sums {
    fn of_table(track: &Track) -> Self {
        let Some(table) = &track.table else {
            return Self::default();
        };
        Self {
            samples: table.sample_count,
            duration: table.duration,
            size: table.size,
            first: Some(First {
                decode_time: 0,
                offset: table.first_offsets.first().copied().unwrap_or(0),
                in_table: true,
            }),
            first_durations: table.first_durations.clone(),
            first_offsets: table.first_offsets.clone(),
            ..Self::default()
        }
    }

    fn add(&mut self, traf: &Traf, defaults: &Defaults) {
        let sum = TrafSummary::of(traf, defaults);
        if sum.sample_count == 0 {
            return;
        }
        let decode_time = sum.decode_time.unwrap_or(self.duration);
        self.first.get_or_insert_with(|| First {
            decode_time,
            offset: samples(traf, defaults)
                .next()
                .map_or(0, |first| first.composition_offset),
            in_table: false,
        });
        let offsets = traf.truns.iter().flat_map(|run| &run.composition_offsets);
        let lowest = offsets.copied().min().unwrap_or(0).min(0);
        self.negative = self.negative.max(lowest.unsigned_abs());
        let room = SampleTable::FIRST.saturating_sub(self.first_durations.len());
        for sample in samples(traf, defaults).take(room) {
            self.first_durations.push(sample.duration);
            self.first_offsets.push(sample.composition_offset);
        }
        self.samples = self.samples.saturating_add(sum.sample_count);
        self.duration = self.duration.saturating_add(sum.duration);
        self.size = self.size.saturating_add(sum.size);
    }
}

//! The other direction: fields to bytes. The tables are with the types.
//!
//! Times take 64 bits only where they need them, and reserved fields have the values the standard
//! gives them. What is written here is read back as the same fields.

use crate::isobmff::build::{boxed, concat, full};

use super::{
    ChunkOffsets, Ctts, Elng, Elst, Emsg, EventTime, FileType, Hdlr, Kind, Mdhd, Mehd, Mfhd, Mfra,
    Moof, Mvhd, Prft, Sidx, Smhd, Stsc, Stss, Stsz, Stts, Tfdt, Tfhd, Tfra, Tkhd, Traf, Trex, Trun,
    Vmhd,
};

/// Collects big-endian fields.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// 32 bits in version 0 (a value that does not fit is cut to the largest), 64 in version 1.
    fn time(self, version: u8, value: u64) -> Self {
        match version {
            0 => self.u32(u32::try_from(value).unwrap_or(u32::MAX)),
            _ => self.u64(value),
        }
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len().saturating_add(count), 0);
        self
    }

    /// Text with the NUL that ends it; what comes after a NUL within is left out.
    fn text(self, text: &str) -> Self {
        let end = text.find('\0').unwrap_or(text.len());
        self.bytes(text.get(..end).unwrap_or(text).as_bytes())
            .zeros(1)
    }

    fn matrix(self, matrix: &[i32; 9]) -> Self {
        matrix
            .iter()
            .fold(self, |fields, value| fields.bytes(&value.to_be_bytes()))
    }

    /// An optional field.
    fn option(self, value: Option<u32>) -> Self {
        match value {
            Some(value) => self.u32(value),
            None => self,
        }
    }

    /// The number of the entries and then each.
    fn list<T>(self, entries: &[T], each: impl Fn(Self, &T) -> Self) -> Self {
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        entries.iter().fold(self.u32(count), each)
    }

    fn full(self, kind: &[u8; 4], version: u8, flags: u32) -> Vec<u8> {
        full(kind, version, flags, &self.0)
    }
}

/// 1 if any of the times needs 64 bits.
fn version_for(times: &[u64]) -> u8 {
    u8::from(times.iter().any(|time| u32::try_from(*time).is_err()))
}

/// A language as the three letters of five bits; `und` if it is not three small letters.
fn language(text: &str) -> u16 {
    let letters = match text.as_bytes() {
        letters @ [b'a'..=b'z', b'a'..=b'z', b'a'..=b'z'] => letters,
        _ => b"und",
    };
    letters
        .iter()
        .fold(0, |code, letter| (code << 5) | u16::from(letter & 0x1f))
}

impl FileType {
    /// The box; `kind` is `ftyp` or `styp`.
    #[must_use]
    pub fn encode(&self, kind: &[u8; 4]) -> Vec<u8> {
        let fields = Fields::default()
            .bytes(&self.major_brand.0)
            .u32(self.minor_version);
        let all = self
            .compatible_brands
            .iter()
            .fold(fields, |fields, brand| fields.bytes(&brand.0));
        boxed(kind, &all.0)
    }
}

impl Mvhd {
    /// The box. So for all below.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let version = version_for(&[self.creation_time, self.duration]);
        Fields::default()
            .time(version, self.creation_time)
            .time(version, self.creation_time)
            .u32(self.timescale)
            .time(version, self.duration)
            .u32(self.rate)
            .u16(self.volume)
            .zeros(10)
            .matrix(&self.matrix)
            .zeros(24)
            .u32(self.next_track_id)
            .full(b"mvhd", version, 0)
    }
}

impl Tkhd {
    /// The box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let version = version_for(&[self.creation_time, self.duration]);
        Fields::default()
            .time(version, self.creation_time)
            .time(version, self.creation_time)
            .u32(self.track_id)
            .zeros(4)
            .time(version, self.duration)
            .zeros(8)
            .bytes(&self.layer.to_be_bytes())
            .bytes(&self.alternate_group.to_be_bytes())
            .u16(self.volume)
            .zeros(2)
            .matrix(&self.matrix)
            .u32(self.width)
            .u32(self.height)
            .full(b"tkhd", version, self.flags)
    }
}

impl Mdhd {
    /// The box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let version = version_for(&[self.creation_time, self.duration]);
        Fields::default()
            .time(version, self.creation_time)
            .time(version, self.creation_time)
            .u32(self.timescale)
            .time(version, self.duration)
            .u16(language(&self.language))
            .zeros(2)
            .full(b"mdhd", version, 0)
    }
}

impl Hdlr {
    /// The box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Fields::default()
            .zeros(4)
            .bytes(&self.handler.0)
            .zeros(12)
            .text(&self.name)
            .full(b"hdlr", 0, 0)
    }
}

impl Vmhd {
    /// The box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let fields = Fields::default().u16(self.graphics_mode);
        let [red, green, blue] = self.op_color;
        fields
            .u16(red)
            .u16(green)
            .u16(blue)
            .full(b"vmhd", 0, self.flags)
    }
}

impl Smhd {
    /// The box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let balance = self.balance.to_be_bytes();
        Fields::default()
            .bytes(&balance)
            .zeros(2)
            .full(b"smhd", 0, 0)
    }
}

impl Elng {
    /// The box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Fields::default().text(&self.language).full(b"elng", 0, 0)
    }
}

impl Kind {
    /// The box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let fields = Fields::default().text(&self.scheme).text(&self.value);
        fields.full(b"kind", 0, 0)
    }
}

impl Mehd {
    /// The box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let version = version_for(&[self.fragment_duration]);
        let fields = Fields::default().time(version, self.fragment_duration);
        fields.full(b"mehd", version, 0)
    }
}

impl Trex {
    /// The box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Fields::default()
            .u32(self.track_id)
            .u32(self.default_sample_description_index)
            .u32(self.default_sample_duration)
            .u32(self.default_sample_size)
            .u32(self.default_sample_flags)
            .full(b"trex", 0, 0)
    }
}

impl Elst {
    /// The box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let wide = |edit: &super::Edit| {
            u32::try_from(edit.segment_duration).is_err() || i32::try_from(edit.media_time).is_err()
        };
        let version = u8::from(self.edits.iter().any(wide));
        Fields::default()
            .list(&self.edits, |fields, edit| {
                let media_time = edit.media_time.to_be_bytes();
                let short = media_time.get(4..).unwrap_or_default();
                fields
                    .time(version, edit.segment_duration)
                    .bytes(if version == 0 { short } else { &media_time })
                    .bytes(&edit.rate.to_be_bytes())
                    .zeros(2)
            })
            .full(b"elst", version, 0)
    }
}

impl Stts {
    /// The box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Fields::default()
            .list(&self.runs, |fields, (count, ticks)| {
                fields.u32(*count).u32(*ticks)
            })
            .full(b"stts", 0, 0)
    }
}

impl Ctts {
    /// The box. Offsets below -2^31 or above 2^32 - 1 are cut to what fits.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let version = u8::from(self.runs.iter().any(|(_, offset)| *offset < 0));
        Fields::default()
            .list(&self.runs, |fields, (count, offset)| {
                fields
                    .u32(*count)
                    .bytes(&composition_offset(version, *offset))
            })
            .full(b"ctts", version, 0)
    }
}

impl Stsc {
    /// The box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Fields::default()
            .list(&self.runs, |fields, (first, samples, description)| {
                fields.u32(*first).u32(*samples).u32(*description)
            })
            .full(b"stsc", 0, 0)
    }
}

impl Stsz {
    /// The box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let fields = Fields::default()
            .u32(self.sample_size)
            .u32(self.sample_count);
        let sizes = self.sizes.iter();
        sizes
            .fold(fields, |fields, size| fields.u32(*size))
            .full(b"stsz", 0, 0)
    }
}

impl Stss {
    /// The box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let fields = Fields::default().list(&self.0, |fields, sample| fields.u32(*sample));
        fields.full(b"stss", 0, 0)
    }
}

impl ChunkOffsets {
    /// The box: `stco`, or `co64` where that is needed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let version = version_for(&self.0);
        let fields = Fields::default().list(&self.0, |fields, at| fields.time(version, *at));
        fields.full(if version == 0 { b"stco" } else { b"co64" }, 0, 0)
    }
}

impl Prft {
    /// The box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Fields::default()
            .u32(self.track_id)
            .u64(self.ntp.0)
            .u64(self.media_time)
            .full(b"prft", 1, self.flags)
    }
}

impl Emsg {
    /// The box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let duration = self.duration.unwrap_or(u32::MAX);
        let texts = |fields: Fields| fields.text(&self.scheme).text(&self.value);
        let (version, fields) = match self.time {
            EventTime::Delta(delta) => {
                let fields = texts(Fields::default()).u32(self.timescale).u32(delta);
                (0, fields.u32(duration).u32(self.id))
            }
            EventTime::Absolute(time) => {
                let fields = Fields::default().u32(self.timescale).u64(time);
                (1, texts(fields.u32(duration).u32(self.id)))
            }
        };
        fields.bytes(&self.message).full(b"emsg", version, 0)
    }
}

impl Sidx {
    /// The box. More than 65,535 references are cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let version = version_for(&[self.earliest_presentation_time, self.first_offset]);
        let count = u16::try_from(self.references.len()).unwrap_or(u16::MAX);
        let fields = Fields::default()
            .u32(self.reference_id)
            .u32(self.timescale)
            .time(version, self.earliest_presentation_time)
            .time(version, self.first_offset)
            .zeros(2)
            .u16(count);
        self.references
            .iter()
            .take(usize::from(count))
            .fold(fields, |fields, reference| {
                let sap = u32::from(reference.sap_type & 0x07) << 28;
                fields
                    .u32(u32::from(reference.to_index) << 31 | reference.size & 0x7fff_ffff)
                    .u32(reference.duration)
                    .u32(
                        u32::from(reference.starts_with_sap) << 31
                            | sap
                            | reference.sap_delta & 0x0fff_ffff,
                    )
            })
            .full(b"sidx", version, 0)
    }
}

impl Tfra {
    /// The box, with every sample the first of its run.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let wide = self.entries.iter().flat_map(|(time, at)| [*time, *at]);
        let version = version_for(&wide.collect::<Vec<_>>());
        Fields::default()
            .u32(self.track_id)
            .zeros(4)
            .list(&self.entries, |fields, (time, at)| {
                fields
                    .time(version, *time)
                    .time(version, *at)
                    .bytes(&[1, 1, 1])
            })
            .full(b"tfra", version, 0)
    }
}

impl Mfra {
    /// The box, with an `mfro` if there is a size.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut parts: Vec<_> = self.tracks.iter().map(Tfra::encode).collect();
        let size = self
            .size
            .map(|size| Fields::default().u32(size).full(b"mfro", 0, 0));
        parts.extend(size);
        boxed(b"mfra", &concat(&parts))
    }
}

impl Mfhd {
    /// The box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Fields::default()
            .u32(self.sequence_number)
            .full(b"mfhd", 0, 0)
    }
}

impl Tfhd {
    /// The box. Which fields are there decides on their flags; the others are kept.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let present = [
            (0x01, self.base_data_offset.is_some()),
            (0x02, self.sample_description_index.is_some()),
            (0x08, self.default_sample_duration.is_some()),
            (0x10, self.default_sample_size.is_some()),
            (0x20, self.default_sample_flags.is_some()),
        ];
        let flags = present
            .iter()
            .fold(self.flags & 0xff_ffc4, |flags, (bit, present)| {
                flags | if *present { *bit } else { 0 }
            });
        let mut fields = Fields::default().u32(self.track_id);
        if let Some(base) = self.base_data_offset {
            fields = fields.u64(base);
        }
        fields
            .option(self.sample_description_index)
            .option(self.default_sample_duration)
            .option(self.default_sample_size)
            .option(self.default_sample_flags)
            .full(b"tfhd", 0, flags)
    }
}

impl Tfdt {
    /// The box, in its version.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let fields = Fields::default().time(self.version, self.base_media_decode_time);
        fields.full(b"tfdt", self.version, 0)
    }
}

impl Trun {
    /// The box. The flags of fields follow from what is there; a list that is neither empty nor one
    /// per sample is filled up with zeros, or cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let present = [
            (Self::DATA_OFFSET, self.data_offset.is_some()),
            (Self::FIRST_SAMPLE_FLAGS, self.first_sample_flags.is_some()),
            (0x100, !self.durations.is_empty()),
            (0x200, !self.sizes.is_empty()),
            (0x400, !self.sample_flags.is_empty()),
            (0x800, !self.composition_offsets.is_empty()),
        ];
        let flags = present
            .iter()
            .fold(self.flags & 0xff_f0fa, |flags, (bit, present)| {
                flags | if *present { *bit } else { 0 }
            });
        let mut fields = Fields::default().u32(self.sample_count);
        if let Some(offset) = self.data_offset {
            fields = fields.bytes(&offset.to_be_bytes());
        }
        fields = fields.option(self.first_sample_flags);
        if flags & Self::PER_SAMPLE != 0 {
            for index in 0..usize::try_from(self.sample_count).unwrap_or(usize::MAX) {
                for list in [&self.durations, &self.sizes, &self.sample_flags] {
                    if !list.is_empty() {
                        fields = fields.u32(list.get(index).copied().unwrap_or(0));
                    }
                }
                if !self.composition_offsets.is_empty() {
                    let offset = self.composition_offsets.get(index).copied().unwrap_or(0);
                    fields = fields.bytes(&composition_offset(self.version, offset));
                }
            }
        }
        fields.full(b"trun", self.version, flags)
    }
}

impl Traf {
    /// The box, with the boxes that are understood.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut parts = vec![self.tfhd.encode()];
        parts.extend(self.tfdt.as_ref().map(Tfdt::encode));
        parts.extend(self.truns.iter().map(Trun::encode));
        boxed(b"traf", &concat(&parts))
    }
}

impl Moof {
    /// The box, with the boxes that are understood.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut parts = vec![self.mfhd.encode()];
        parts.extend(self.trafs.iter().map(Traf::encode));
        boxed(b"moof", &concat(&parts))
    }
}

/// Unsigned in version 0, signed after; cut to what fits.
fn composition_offset(version: u8, offset: i64) -> [u8; 4] {
    match version {
        0 => u32::try_from(offset.clamp(0, i64::from(u32::MAX)))
            .unwrap_or(0)
            .to_be_bytes(),
        _ => i32::try_from(offset.clamp(i64::from(i32::MIN), i64::from(i32::MAX)))
            .unwrap_or(0)
            .to_be_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::isobmff::FourCc;
    use crate::isobmff::boxes::{Edit, Ntp, SidxReference};
    use crate::isobmff::{BoxRef, Result, check};

    /// What `decode` makes of the box.
    fn back<T>(bytes: &[u8], decode: impl Fn(&BoxRef<'_>) -> Result<T>) -> T {
        let source = BoxRef::top(bytes, 0).unwrap();
        check(&source).unwrap();
        decode(&source).unwrap()
    }

    #[test]
    fn bytes_behind_the_fields_are_passed_over() {
        let tfdt = Tfdt {
            version: 1,
            base_media_decode_time: 7,
        };
        let longer = boxed(b"tfdt", &concat(&[&tfdt.encode()[8..], &[1, 2, 3]]));
        assert_eq!(back(&longer, Tfdt::decode), tfdt);
        let shorter = boxed(b"tfdt", &tfdt.encode()[8..19]);
        let error = Tfdt::decode(&BoxRef::top(&shorter, 0).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "tfdt at byte 8: need 12 bytes, 11 left");
    }

    /// Every proper prefix of a box is no box.
    fn has_no_whole_prefix(bytes: &[u8]) {
        for len in 0..bytes.len() {
            assert!(BoxRef::top(&bytes[..len], 0).is_err(), "{len} bytes");
        }
    }

    fn time() -> impl Strategy<Value = u64> {
        prop_oneof![any::<u32>().prop_map(u64::from), any::<u64>()]
    }

    fn fourcc() -> impl Strategy<Value = FourCc> {
        any::<[u8; 4]>().prop_map(FourCc)
    }

    fn trun() -> impl Strategy<Value = Trun> {
        let offset = option::of(any::<i32>());
        let numbers = || vec(any::<u32>(), 5);
        let lists = (any::<[bool; 4]>(), numbers(), numbers(), numbers());
        let offsets = prop_oneof![
            vec((0..=i64::from(u32::MAX)).boxed(), 5).prop_map(|offsets| (0, offsets)),
            vec((i64::from(i32::MIN)..=i64::from(i32::MAX)).boxed(), 5)
                .prop_map(|offsets| (1, offsets)),
        ];
        (offset, option::of(any::<u32>()), 0usize..=5, lists, offsets).prop_map(
            |(data_offset, first, count, (there, durations, sizes, flags), (version, offsets))| {
                let keep = |list: Vec<u32>, there: bool| match there {
                    true => list[..count].to_vec(),
                    false => Vec::new(),
                };
                let run = Trun {
                    version,
                    flags: 0,
                    sample_count: u32::try_from(count).unwrap(),
                    data_offset,
                    first_sample_flags: first,
                    durations: keep(durations, there[0]),
                    sizes: keep(sizes, there[1]),
                    sample_flags: keep(flags, there[2]),
                    composition_offsets: if there[3] {
                        offsets[..count].to_vec()
                    } else {
                        Vec::new()
                    },
                };
                // The flags are what the fields make them.
                let flags = back(&run.encode(), Trun::decode).flags;
                Trun { flags, ..run }
            },
        )
    }

    fn traf() -> impl Strategy<Value = Traf> {
        let fields = (
            any::<u32>(),
            option::of(any::<u64>()),
            option::of(any::<u32>()),
        );
        let tfhd =
            (fields, any::<[Option<u32>; 3]>()).prop_map(|((track_id, base, index), [a, b, c])| {
                let tfhd = Tfhd {
                    flags: Tfhd::DEFAULT_BASE_IS_MOOF,
                    track_id,
                    base_data_offset: base,
                    sample_description_index: index,
                    default_sample_duration: a,
                    default_sample_size: b,
                    default_sample_flags: c,
                };
                let flags = back(&tfhd.encode(), Tfhd::decode).flags;
                Tfhd { flags, ..tfhd }
            });
        let tfdt = prop_oneof![
            any::<u32>().prop_map(|time| (0, u64::from(time))),
            any::<u64>().prop_map(|time| (1, time)),
        ];
        let tfdt = tfdt.prop_map(|(version, time)| Tfdt {
            version,
            base_media_decode_time: time,
        });
        (tfhd, option::of(tfdt), vec(trun(), 0..3)).prop_map(|(tfhd, tfdt, truns)| Traf {
            tfhd,
            tfdt,
            truns,
        })
    }

    /// Any payload of a box of any type is read or refused, without harm.
    fn survives(payload: &[u8]) {
        use crate::isobmff::boxes::*;
        let sized = |kind: &[u8; 4]| boxed(kind, payload);
        let bytes = sized(b"avc1");
        let source = BoxRef::top(&bytes, 0).unwrap();
        let _ = SampleEntry::decode(&source);
        let _ = (
            Stsd::decode(&source),
            Hdlr::decode(&source),
            Dref::decode(&source),
        );
        let _ = (
            FileType::decode(&source),
            Mvhd::decode(&source),
            Tkhd::decode(&source),
        );
        let _ = (
            Mdhd::decode(&source),
            Mehd::decode(&source),
            Trex::decode(&source),
        );
        let _ = (
            Elst::decode(&source),
            Stts::decode(&source),
            Ctts::decode(&source),
        );
        let _ = (
            Stsc::decode(&source),
            Stsz::decode(&source),
            Stss::decode(&source),
        );
        let _ = (
            Mfhd::decode(&source),
            Tfhd::decode(&source),
            Tfdt::decode(&source),
        );
        let _ = (
            Trun::decode(&source),
            Prft::decode(&source),
            Emsg::decode(&source),
        );
        let _ = (
            Sidx::decode(&source),
            Tfra::decode(&source),
            Mfra::decode(&source),
        );
        let _ = (
            Senc::decode(&source),
            Saiz::decode(&source),
            Saio::decode(&source),
        );
        let _ = (
            Sbgp::decode(&source),
            Sgpd::decode(&source),
            Subs::decode(&source),
        );
        let _ = (
            Pssh::decode(&source),
            Sinf::decode(&source),
            Tenc::decode(&source),
        );
        let _ = (
            Vmhd::decode(&source),
            Smhd::decode(&source),
            Kind::decode(&source),
        );
        for kind in [
            b"avcC", b"hvcC", b"vvcC", b"av1C", b"vpcC", b"esds", b"dOps", b"dfLa", b"co64",
            b"stco",
        ] {
            let bytes = sized(kind);
            let source = BoxRef::top(&bytes, 0).unwrap();
            let _ = (
                Configuration::decode(&source),
                ChunkOffsets::decode(&source),
            );
        }
    }

    proptest! {
        #[test]
        fn any_payload_is_survived(payload in vec(prop_oneof![4 => Just(0u8), 1 => Just(1), 1 => any::<u8>()], 0..200)) {
            survives(&payload);
        }

        #[test]
        fn fragments_come_back(sequence_number: u32, trafs in vec(traf(), 0..3)) {
            let moof = Moof { mfhd: Mfhd { sequence_number }, trafs };
            let bytes = moof.encode();
            prop_assert_eq!(back(&bytes, Moof::decode), moof);
            has_no_whole_prefix(&bytes);
        }

        #[test]
        fn brands_come_back(major_brand in fourcc(), minor_version: u32, compatible_brands in vec(fourcc(), 0..9)) {
            let brands = FileType { major_brand, minor_version, compatible_brands };
            prop_assert_eq!(back(&brands.encode(b"styp"), FileType::decode), brands);
        }

        #[test]
        fn headers_come_back(
            (creation_time, duration) in (time(), time()),
            (timescale, rate, track_id, width, height, volume) in any::<(u32, u32, u32, u32, u32, u16)>(),
            (layer, alternate_group, matrix, flags) in (any::<i16>(), any::<i16>(), any::<[i32; 9]>(), 0u32..8),
            language in "[a-z]{3}",
            (handler, name) in (fourcc(), "[^\0]{0,20}"),
        ) {
            let mvhd = Mvhd { creation_time, timescale, duration, rate, volume, matrix, next_track_id: track_id };
            prop_assert_eq!(back(&mvhd.encode(), Mvhd::decode), mvhd);
            let tkhd = Tkhd { flags, creation_time, track_id, duration, layer, alternate_group, volume, matrix, width, height };
            prop_assert_eq!(back(&tkhd.encode(), Tkhd::decode), tkhd);
            let mdhd = Mdhd { creation_time, timescale, duration, language };
            prop_assert_eq!(back(&mdhd.encode(), Mdhd::decode), mdhd);
            let hdlr = Hdlr { handler, name };
            prop_assert_eq!(back(&hdlr.encode(), Hdlr::decode), hdlr);
            let mehd = Mehd { fragment_duration: duration };
            prop_assert_eq!(back(&mehd.encode(), Mehd::decode), mehd);
            let trex = Trex {
                track_id,
                default_sample_description_index: rate,
                default_sample_duration: timescale,
                default_sample_size: width,
                default_sample_flags: height,
            };
            prop_assert_eq!(back(&trex.encode(), Trex::decode), trex);
            let smhd = Smhd { balance: layer };
            prop_assert_eq!(back(&smhd.encode(), Smhd::decode), smhd);
            let vmhd = Vmhd { flags, graphics_mode: volume, op_color: [1, volume, 3] };
            prop_assert_eq!(back(&vmhd.encode(), Vmhd::decode), vmhd);
        }

        #[test]
        fn tables_come_back(
            edits in vec((time(), any::<i64>(), any::<i16>()), 0..4),
            runs in vec(any::<(u32, u32)>(), 0..4),
            chunks in vec(any::<(u32, u32, u32)>(), 0..4),
            offsets in vec(i64::from(i32::MIN)..=i64::from(i32::MAX), 0..4),
            places in vec(time(), 0..4),
        ) {
            let edit = |(segment_duration, media_time, rate)| Edit { segment_duration, media_time, rate };
            let elst = Elst { edits: edits.into_iter().map(edit).collect() };
            prop_assert_eq!(back(&elst.encode(), Elst::decode), elst);
            let sizes: Vec<u32> = runs.iter().map(|(size, _)| *size).collect();
            let stsz = Stsz { sample_size: 0, sample_count: u32::try_from(sizes.len()).unwrap(), sizes: sizes.clone() };
            prop_assert_eq!(back(&stsz.encode(), Stsz::decode), stsz);
            let alike = Stsz { sample_size: 7, sample_count: u32::MAX, sizes: Vec::new() };
            prop_assert_eq!(back(&alike.encode(), Stsz::decode), alike);
            let stss = Stss(sizes);
            prop_assert_eq!(back(&stss.encode(), Stss::decode), stss);
            let stts = Stts { runs };
            prop_assert_eq!(back(&stts.encode(), Stts::decode), stts);
            let ctts = Ctts { runs: offsets.into_iter().map(|offset| (1, offset)).collect() };
            prop_assert_eq!(back(&ctts.encode(), Ctts::decode), ctts);
            let chunk_offsets = ChunkOffsets(places);
            prop_assert_eq!(back(&chunk_offsets.encode(), ChunkOffsets::decode), chunk_offsets);
            // The crate adds up what the chunks hold.
            let chunks = chunks.into_iter().enumerate().map(|(at, (_, samples, description))| {
                (u32::try_from(at).unwrap() + 1, samples % 1000, description)
            });
            let stsc = Stsc { runs: chunks.collect() };
            prop_assert_eq!(back(&stsc.encode(), Stsc::decode), stsc);
        }

        #[test]
        fn segment_boxes_come_back(
            (track_id, timescale, id) in any::<(u32, u32, u32)>(),
            (early, first_offset, ntp, at) in (time(), time(), any::<u64>(), any::<u64>()),
            (scheme, value) in ("[^\0]{0,20}", "[^\0]{0,20}"),
            duration in option::of(0..u32::MAX),
            message in vec(any::<u8>(), 0..20),
            references in vec(any::<(bool, u32, u32, bool, u8, u32)>(), 0..4),
            entries in vec((time(), time()), 0..4),
            absolute: bool,
        ) {
            let prft = Prft { flags: 24, track_id, ntp: Ntp(ntp), media_time: at };
            prop_assert_eq!(back(&prft.encode(), Prft::decode), prft);
            let time = if absolute { EventTime::Absolute(at) } else { EventTime::Delta(id) };
            let kind = Kind { scheme: scheme.clone(), value: value.clone() };
            prop_assert_eq!(back(&kind.encode(), Kind::decode), kind);
            let elng = Elng { language: value.clone() };
            prop_assert_eq!(back(&elng.encode(), Elng::decode), elng);
            let emsg = Emsg { scheme, value, timescale, time, duration, id, message };
            prop_assert_eq!(back(&emsg.encode(), Emsg::decode), emsg);
            let references = references.into_iter().map(|(to_index, size, duration, sap, kind, delta)| SidxReference {
                to_index,
                size: size >> 1,
                duration,
                starts_with_sap: sap,
                sap_type: kind & 7,
                sap_delta: delta >> 4,
            });
            let sidx = Sidx {
                reference_id: track_id,
                timescale,
                earliest_presentation_time: early,
                first_offset,
                references: references.collect(),
            };
            prop_assert_eq!(back(&sidx.encode(), Sidx::decode), sidx);
            let mfra = Mfra { tracks: vec![Tfra { track_id, entries }], size: absolute.then_some(id) };
            prop_assert_eq!(back(&mfra.encode(), Mfra::decode), mfra);
        }
    }
}

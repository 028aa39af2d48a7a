//! A small CMAF box builder: headers, fragments and the boxes between them.
//!
//! Written from the box definitions (ISO/IEC 14496-12, 14496-14, 14496-15), not from the server's
//! parser, so that the two do not share their mistakes.

/// One box: size, four letters, payload.
pub(crate) fn boxed(kind: &str, parts: &[&[u8]]) -> Vec<u8> {
    assert_eq!(kind.len(), 4);
    let size = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = u32::try_from(size)
        .expect("a small box")
        .to_be_bytes()
        .to_vec();
    bytes.extend_from_slice(kind.as_bytes());
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

/// A box with version and flags.
fn full(kind: &str, version: u8, flags: u32, parts: &[&[u8]]) -> Vec<u8> {
    let mut head = flags.to_be_bytes();
    head[0] = version;
    let mut all: Vec<&[u8]> = vec![&head];
    all.extend_from_slice(parts);
    boxed(kind, &all)
}

fn u16be(value: u16) -> [u8; 2] {
    value.to_be_bytes()
}

fn u32be(value: u32) -> [u8; 4] {
    value.to_be_bytes()
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Video { width: u16, height: u16 },
    Audio { rate: u32, channels: u16 },
}

/// A CMAF track: makes its header and its fragments.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    kind: Kind,
    id: u32,
    /// Ticks per second.
    pub(crate) timescale: u32,
    language: &'static str,
}

impl Track {
    /// H.264 High, 4:2:0.
    pub(crate) fn video(width: u16, height: u16) -> Self {
        Self {
            kind: Kind::Video { width, height },
            id: 1,
            timescale: 12_800,
            language: "und",
        }
    }

    /// AAC-LC.
    pub(crate) fn audio() -> Self {
        Self {
            kind: Kind::Audio {
                rate: 48_000,
                channels: 2,
            },
            id: 1,
            timescale: 48_000,
            language: "und",
        }
    }

    /// The same track with another language: another header of the same length.
    pub(crate) fn language(mut self, language: &'static str) -> Self {
        self.language = language;
        self
    }

    /// `ftyp` and `moov`.
    pub(crate) fn header(&self) -> Vec<u8> {
        let ftyp = boxed("ftyp", &[b"iso6", &u32be(0), b"iso6cmfcmp41"]);
        [ftyp, self.moov()].concat()
    }

    fn moov(&self) -> Vec<u8> {
        let trex = full("trex", 0, 0, &[&u32be(self.id), &u32be(1), &[0; 12]]);
        boxed("moov", &[&mvhd(), &self.trak(), &boxed("mvex", &[&trex])])
    }

    fn trak(&self) -> Vec<u8> {
        let (width, height, volume) = match self.kind {
            Kind::Video { width, height } => (width, height, 0),
            Kind::Audio { .. } => (0, 0, 0x0100),
        };
        let tkhd = full(
            "tkhd",
            0,
            3,
            &[
                &[0; 8],
                &u32be(self.id),
                &[0; 8],
                &[0; 8],
                &[0; 4],
                &u16be(volume),
                &[0; 2],
                &MATRIX,
                &u32be(u32::from(width) << 16),
                &u32be(u32::from(height) << 16),
            ],
        );
        let letters = self.language.as_bytes();
        let language = letters.iter().fold(0u16, |packed, letter| {
            packed << 5 | u16::from(letter - 0x60)
        });
        let mdhd = full(
            "mdhd",
            0,
            0,
            &[
                &[0; 8],
                &u32be(self.timescale),
                &u32be(0),
                &u16be(language),
                &[0; 2],
            ],
        );
        let handler: &[u8; 4] = if matches!(self.kind, Kind::Video { .. }) {
            b"vide"
        } else {
            b"soun"
        };
        let hdlr = full("hdlr", 0, 0, &[&[0; 4], handler, &[0; 12], b"\0"]);
        let media = match self.kind {
            Kind::Video { .. } => full("vmhd", 0, 1, &[&[0; 8]]),
            Kind::Audio { .. } => full("smhd", 0, 0, &[&[0; 4]]),
        };
        let dref = full("dref", 0, 0, &[&u32be(1), &full("url ", 0, 1, &[])]);
        let dinf = boxed("dinf", &[&dref]);
        let stsd = full("stsd", 0, 0, &[&u32be(1), &self.sample_entry()]);
        let stbl = boxed(
            "stbl",
            &[
                &stsd,
                &full("stts", 0, 0, &[&u32be(0)]),
                &full("stsc", 0, 0, &[&u32be(0)]),
                &full("stsz", 0, 0, &[&u32be(0), &u32be(0)]),
                &full("stco", 0, 0, &[&u32be(0)]),
            ],
        );
        let minf = boxed("minf", &[&media, &dinf, &stbl]);
        boxed("trak", &[&tkhd, &boxed("mdia", &[&mdhd, &hdlr, &minf])])
    }

    fn sample_entry(&self) -> Vec<u8> {
        match self.kind {
            Kind::Video { width, height } => {
                let sps = sps(width, height);
                let pps = [0x68, 0xeb, 0xec, 0xb2];
                let avcc = boxed(
                    "avcC",
                    &[
                        &[1, sps[1], sps[2], sps[3], 0xff, 0xe1],
                        &u16be(u16::try_from(sps.len()).expect("short")),
                        &sps,
                        &[1],
                        &u16be(4),
                        &pps,
                        // High profile: chroma format 4:2:0, 8 bit luma and chroma, no extensions.
                        &[0xfd, 0xf8, 0xf8, 0],
                    ],
                );
                boxed(
                    "avc1",
                    &[
                        &[0; 6],
                        &u16be(1),
                        &[0; 16],
                        &u16be(width),
                        &u16be(height),
                        &u32be(0x0048_0000),
                        &u32be(0x0048_0000),
                        &[0; 4],
                        &u16be(1),
                        &[0; 32],
                        &u16be(24),
                        &u16be(0xffff),
                        &avcc,
                    ],
                )
            }
            Kind::Audio { rate, channels } => {
                // AudioSpecificConfig: AAC-LC, 48 kHz (index 3), two channels.
                let specific = [0x11, 0x90];
                let decoder = [
                    &[0x04, 17, 0x40, 0x15, 0, 0, 0][..],
                    &[0; 8],
                    &[0x05, 2],
                    &specific,
                ]
                .concat();
                let es = [&[0x03, 22 + 3, 0, 0, 0][..], &decoder, &[0x06, 1, 2]].concat();
                let esds = full("esds", 0, 0, &[&es]);
                boxed(
                    "mp4a",
                    &[
                        &[0; 6],
                        &u16be(1),
                        &[0; 8],
                        &u16be(channels),
                        &u16be(16),
                        &[0; 4],
                        &u32be(rate << 16),
                        &esds,
                    ],
                )
            }
        }
    }

    /// One second of media in one sample that begins at `second`; the payload is made from `seed`.
    pub(crate) fn second(&self, second: u64, seed: u8) -> Vec<u8> {
        let scale = u64::from(self.timescale);
        let number = u32::try_from(second).expect("small") + 1;
        self.fragment(
            number,
            second * scale,
            self.timescale,
            1,
            &payload(900, seed),
        )
    }

    /// `moof` and `mdat`. The samples share the payload and the duration (in ticks) evenly.
    pub(crate) fn fragment(
        &self,
        number: u32,
        decode_time: u64,
        duration: u32,
        samples: u32,
        data: &[u8],
    ) -> Vec<u8> {
        let traf = |offset| self.traf(decode_time, duration, samples, data.len(), offset);
        let length = moof(number, &[traf(0)]).len();
        [moof(number, &[traf(length + 8)]), boxed("mdat", &[data])].concat()
    }

    /// The same with a `mdat` that says its size in 64 bits.
    pub(crate) fn large_fragment(&self, number: u32, decode_time: u64, data: &[u8]) -> Vec<u8> {
        let traf = |offset| self.traf(decode_time, self.timescale, 1, data.len(), offset);
        let length = moof(number, &[traf(0)]).len();
        let size = 16 + data.len() as u64;
        let mdat = [&u32be(1)[..], b"mdat", &size.to_be_bytes(), data].concat();
        [moof(number, &[traf(length + 16)]), mdat].concat()
    }

    fn traf(
        &self,
        decode_time: u64,
        duration: u32,
        samples: u32,
        bytes: usize,
        offset: usize,
    ) -> Vec<u8> {
        let size = u32::try_from(bytes).expect("small") / samples;
        assert_eq!(
            bytes,
            (size * samples) as usize,
            "the payload is shared evenly"
        );
        // default-base-is-moof, default duration, size and flags
        let tfhd = full(
            "tfhd",
            0,
            0x02_0038,
            &[
                &u32be(self.id),
                &u32be(duration / samples),
                &u32be(size),
                &u32be(0x0101_0000),
            ],
        );
        let tfdt = full("tfdt", 1, 0, &[&decode_time.to_be_bytes()]);
        // data offset, first sample's flags: a sync sample
        let offset = u32::try_from(offset).expect("small");
        let trun = full(
            "trun",
            1,
            0x05,
            &[&u32be(samples), &u32be(offset), &u32be(0x0200_0000)],
        );
        boxed("traf", &[&tfhd, &tfdt, &trun])
    }
}

fn moof(number: u32, trafs: &[Vec<u8>]) -> Vec<u8> {
    let mfhd = full("mfhd", 0, 0, &[&u32be(number)]);
    boxed("moof", &[&mfhd, &trafs.concat()])
}

/// Video and audio in one file, as some sources push them although CMAF has one track per file.
pub(crate) struct Muxed {
    video: Track,
    audio: Track,
}

impl Muxed {
    pub(crate) fn new() -> Self {
        Self {
            video: Track::video(320, 180),
            audio: Track {
                id: 2,
                ..Track::audio()
            },
        }
    }

    pub(crate) fn header(&self) -> Vec<u8> {
        let trex = |id| full("trex", 0, 0, &[&u32be(id), &u32be(1), &[0; 12]]);
        let mvex = boxed("mvex", &[&trex(1), &trex(2)]);
        let ftyp = boxed("ftyp", &[b"iso6", &u32be(0), b"iso6cmfcmp41"]);
        [
            ftyp,
            boxed(
                "moov",
                &[&mvhd(), &self.video.trak(), &self.audio.trak(), &mvex],
            ),
        ]
        .concat()
    }

    /// One second of both.
    pub(crate) fn second(&self, second: u64, seed: u8) -> Vec<u8> {
        let (video, audio) = (payload(900, seed), payload(300, seed.wrapping_add(1)));
        let traf = |track: &Track, bytes, offset| {
            track.traf(
                second * u64::from(track.timescale),
                track.timescale,
                1,
                bytes,
                offset,
            )
        };
        let number = u32::try_from(second).expect("small") + 1;
        let both = |at: usize| {
            moof(
                number,
                &[traf(&self.video, 900, at), traf(&self.audio, 300, at + 900)],
            )
        };
        let length = both(0).len();
        [both(length + 8), boxed("mdat", &[&video, &audio])].concat()
    }
}

/// A progressive MP4 file as cameras record it: all of the media, then its index.
pub(crate) fn progressive() -> Vec<u8> {
    let ftyp = boxed("ftyp", &[b"isom", &u32be(0), b"isommp41"]);
    let moov = boxed("moov", &[&mvhd(), &Track::video(320, 180).trak()]);
    [ftyp, boxed("mdat", &[&payload(50_000, 9)]), moov].concat()
}

const MATRIX: [u8; 36] = {
    let mut matrix = [0; 36];
    matrix[1] = 1;
    matrix[17] = 1;
    matrix[32] = 0x40;
    matrix
};

fn mvhd() -> Vec<u8> {
    full(
        "mvhd",
        0,
        0,
        &[
            &[0; 8],
            &u32be(1000),
            &u32be(0),
            &u32be(0x0001_0000),
            &u16be(0x0100),
            &[0; 10],
            &MATRIX,
            &[0; 24],
            &u32be(2),
        ],
    )
}

/// Media bytes: one length-prefixed IDR slice whose content follows from `seed`.
pub(crate) fn payload(size: usize, seed: u8) -> Vec<u8> {
    let mut bytes = u32::try_from(size - 4)
        .expect("small")
        .to_be_bytes()
        .to_vec();
    bytes.push(0x65);
    let mut state = u32::from(seed).wrapping_mul(2_654_435_761) | 1;
    bytes.extend((5..size).map(|_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        // Never 0: no start codes, no emulation prevention.
        state.to_be_bytes()[0] | 1
    }));
    bytes
}

/// `styp` with the given brands.
pub(crate) fn styp(brands: &[&str]) -> Vec<u8> {
    let brands: Vec<u8> = brands.iter().flat_map(|brand| brand.bytes()).collect();
    boxed("styp", &[&brands[..4], &u32be(0), &brands])
}

/// `prft`: the wall clock (NTP, 32.32 fixed point) at which `media_time` was captured.
pub(crate) fn prft(ntp: u64, media_time: u64) -> Vec<u8> {
    full(
        "prft",
        1,
        24,
        &[&u32be(1), &ntp.to_be_bytes(), &media_time.to_be_bytes()],
    )
}

/// `emsg`, version 1.
pub(crate) fn emsg(timescale: u32, time: u64, id: u32) -> Vec<u8> {
    full(
        "emsg",
        1,
        0,
        &[
            &u32be(timescale),
            &time.to_be_bytes(),
            &u32be(timescale),
            &u32be(id),
            b"urn:example:event\0",
            b"1\0",
            b"data",
        ],
    )
}

/// The empty `mfra` with which some sources say that a track has ended.
pub(crate) fn mfra() -> Vec<u8> {
    boxed("mfra", &[])
}

/// Sequence parameter set of an H.264 High stream, level 3.0, progressive, one reference frame.
fn sps(width: u16, height: u16) -> Vec<u8> {
    let (mb_width, mb_height) = (width.div_ceil(16), height.div_ceil(16));
    let (right, bottom) = ((mb_width * 16 - width) / 2, (mb_height * 16 - height) / 2);
    let mut bits = Bits::default();
    bits.put(8, 100); // profile_idc: High
    bits.put(8, 0); // constraint flags
    bits.put(8, 30); // level_idc: 3.0
    bits.ue(0); // seq_parameter_set_id
    bits.ue(1); // chroma_format_idc: 4:2:0
    bits.ue(0); // bit_depth_luma_minus8
    bits.ue(0); // bit_depth_chroma_minus8
    bits.put(1, 0); // qpprime_y_zero_transform_bypass_flag
    bits.put(1, 0); // seq_scaling_matrix_present_flag
    bits.ue(0); // log2_max_frame_num_minus4
    bits.ue(2); // pic_order_cnt_type
    bits.ue(1); // max_num_ref_frames
    bits.put(1, 0); // gaps_in_frame_num_value_allowed_flag
    bits.ue(u32::from(mb_width) - 1);
    bits.ue(u32::from(mb_height) - 1);
    bits.put(1, 1); // frame_mbs_only_flag
    bits.put(1, 1); // direct_8x8_inference_flag
    let cropped = right > 0 || bottom > 0;
    bits.put(1, u32::from(cropped));
    if cropped {
        for crop in [0, right, 0, bottom] {
            bits.ue(u32::from(crop));
        }
    }
    bits.put(1, 0); // vui_parameters_present_flag
    bits.put(1, 1); // stop bit
    [vec![0x67], bits.bytes()].concat()
}

#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, count: u32, value: u32) {
        self.0
            .extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }

    /// Exp-Golomb, unsigned.
    fn ue(&mut self, value: u32) {
        let length = 32 - (value + 1).leading_zeros();
        self.put(length - 1, 0);
        self.put(length, value + 1);
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| {
            bits.iter()
                .enumerate()
                .fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at))
        };
        self.0.chunks(8).map(byte).collect()
    }
}

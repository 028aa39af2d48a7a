//! Playlists of HLS (RFC 8216, and its second edition in draft): multivariant and media playlists.
//!
//! [`facts`] counts what order rules ask for, in whatever is there; [`read`] wants a playlist.

use super::{Fault, MAX_UNREADABLE, quoted, text};

/// Segments and parts, variants and renditions of one playlist together.
const MAX_ENTRIES: usize = 200_000;

/// Attributes of one tag.
const MAX_ATTRIBUTES: usize = 64;

/// What lines a playlist has, told by how they begin. Nothing about them needs to be right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Value of `EXT-X-PLAYLIST-TYPE`, as it is written.
    pub playlist_type: Option<String>,
    /// `EXT-X-ENDLIST` is there.
    pub ended: bool,
    /// `EXTINF` lines.
    pub extinf: u64,
    /// Lines that are neither blank nor begin with `#`: URIs.
    pub uris: u64,
    /// `EXT-X-STREAM-INF` and `EXT-X-MEDIA` lines.
    pub variants_and_renditions: u64,
}

/// Counts lines. What is not UTF-8 is not counted.
#[must_use]
pub fn facts(bytes: &[u8]) -> Facts {
    let mut facts = Facts::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else {
            continue;
        };
        let line = line.trim_end();
        match tag(line) {
            Some(("EXT-X-PLAYLIST-TYPE", value)) => {
                facts.playlist_type = Some(value.unwrap_or_default().trim().to_owned());
            }
            Some(("EXT-X-ENDLIST", _)) => facts.ended = true,
            Some(("EXTINF", _)) => facts.extinf += 1,
            Some(("EXT-X-STREAM-INF" | "EXT-X-MEDIA", _)) => facts.variants_and_renditions += 1,
            Some(_) => {}
            None => facts.uris += u64::from(!line.is_empty() && !line.starts_with('#')),
        }
    }
    facts
}

/// What a playlist says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Playlist {
    /// `EXT-X-VERSION`; 1 if it does not say.
    pub version: u64,
    /// `EXT-X-INDEPENDENT-SEGMENTS`.
    pub independent_segments: bool,
    /// Which of the two it is.
    pub content: Content,
    /// Values that were left out because they are not what their tag takes, and tags that are missing;
    /// at most 20.
    pub unreadable: Vec<Fault>,
}

/// The two kinds of playlists.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Of playlists.
    Multivariant(Multivariant),
    /// Of segments.
    Media(Media),
}

impl Default for Content {
    fn default() -> Self {
        Self::Media(Media::default())
    }
}

/// A playlist of playlists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Multivariant {
    /// `EXT-X-STREAM-INF` and the line below.
    pub variants: Vec<Variant>,
    /// `EXT-X-MEDIA`.
    pub renditions: Vec<Rendition>,
}

/// `EXT-X-STREAM-INF`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Variant {
    /// Of its media playlist.
    pub uri: String,
    /// Bits per second.
    pub bandwidth: Option<u64>,
    /// Comma-separated, as they are written.
    pub codecs: Option<String>,
    /// Width and height in pixels.
    pub resolution: Option<(u32, u32)>,
    /// Frames per second, as it is written.
    pub frame_rate: Option<String>,
    /// Group of its audio renditions.
    pub audio: Option<String>,
}

/// `EXT-X-MEDIA`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rendition {
    /// `AUDIO`, `VIDEO`, `SUBTITLES` or `CLOSED-CAPTIONS`.
    pub kind: String,
    /// The group it belongs to.
    pub group: Option<String>,
    /// For people.
    pub name: Option<String>,
    /// RFC 5646.
    pub language: Option<String>,
    /// Of its media playlist; absent where it is in the variant's own.
    pub uri: Option<String>,
}

/// A playlist of segments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Media {
    /// `EXT-X-TARGETDURATION`, in seconds.
    pub target_duration: Option<u64>,
    /// `EXT-X-MEDIA-SEQUENCE`: number of the first segment.
    pub media_sequence: u64,
    /// `EXT-X-PLAYLIST-TYPE`: `VOD`, `EVENT`, or what it should not be.
    pub playlist_type: Option<String>,
    /// `EXT-X-ENDLIST`: no segment will be added.
    pub ended: bool,
    /// `EXT-X-MAP`s, in order; segments tell theirs by its place here.
    pub maps: Vec<Map>,
    /// `EXT-X-KEY`s, in order; segments tell theirs by its place here.
    pub keys: Vec<Key>,
    /// In order.
    pub segments: Vec<Segment>,
    /// `EXT-X-PART`s that belong to no whole segment yet.
    pub parts: u64,
}

/// `EXT-X-MAP`: the header of the segments below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    /// Of the header.
    pub uri: String,
    /// The part of the object that is the header.
    pub byte_range: Option<ByteRange>,
}

/// `EXT-X-KEY`: how the segments below are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// `NONE`, `AES-128`, `SAMPLE-AES`, `AES-256-GCM`, …
    pub method: String,
    /// Of the key.
    pub uri: Option<String>,
    /// `KEYFORMAT`.
    pub format: Option<String>,
}

impl Key {
    /// Whole segments are ciphertext: their boxes cannot be read.
    #[must_use]
    pub fn hides_boxes(&self) -> bool {
        matches!(self.method.as_str(), "AES-128" | "AES-256" | "AES-256-GCM")
    }
}

/// One segment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    /// Of the segment.
    pub uri: String,
    /// `EXTINF`, in seconds.
    pub duration: f64,
    /// The part of the object that it is.
    pub byte_range: Option<ByteRange>,
    /// Its place in [`Media::maps`].
    pub map: Option<usize>,
    /// Its place in [`Media::keys`].
    pub key: Option<usize>,
    /// `EXT-X-DISCONTINUITY` is above it.
    pub discontinuity: bool,
    /// `EXT-X-PROGRAM-DATE-TIME`, as it is written.
    pub program_date_time: Option<String>,
    /// `EXT-X-GAP`: it is not there.
    pub gap: bool,
    /// `EXT-X-PART`s it was sent as.
    pub parts: u64,
}

/// `length[@offset]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteRange {
    /// Bytes.
    pub length: u64,
    /// Of the first byte; where it is not said, behind the range before.
    pub offset: Option<u64>,
}

/// Reads a playlist.
///
/// # Errors
/// It is no playlist, a line breaks the grammar, it is both kinds at once, or beyond a limit of this
/// module.
pub fn read(bytes: &[u8]) -> Result<Playlist, Fault> {
    let all = text(bytes)?;
    if all.starts_with('\u{feff}') {
        return Err(Fault::at(bytes, 0, "a byte order mark before #EXTM3U"));
    }
    let forbidden = |c: char| c.is_control() && !matches!(c, '\n' | '\r');
    if let Some(at) = all.find(forbidden) {
        return Err(Fault::at(bytes, at, "a control character"));
    }
    let mut reading = Reading {
        bytes,
        playlist: Playlist {
            version: 1,
            ..Playlist::default()
        },
        ..Reading::default()
    };
    let mut at = 0;
    for line in all.split_inclusive('\n') {
        reading.at = at;
        at += line.len();
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if reading.at == 0 {
            if line.trim_end() != "#EXTM3U" {
                return Err(reading.fault("the first line is not #EXTM3U"));
            }
            continue;
        }
        reading.line(line)?;
    }
    reading.at = all.len();
    if all.is_empty() {
        return Err(reading.fault("the playlist is empty: the first line is not #EXTM3U"));
    }
    reading.end()
}

/// A tag and its value; `None` for comments and everything else.
fn tag(line: &str) -> Option<(&str, Option<&str>)> {
    let line = line
        .strip_prefix('#')
        .filter(|line| line.starts_with("EXT"))?;
    Some(match line.split_once(':') {
        Some((name, value)) => (name.trim_end(), Some(value)),
        None => (line, None),
    })
}

#[derive(Default)]
struct Reading<'a> {
    bytes: &'a [u8],
    /// Where the line begins that is looked at.
    at: usize,
    playlist: Playlist,
    multivariant: Multivariant,
    media: Media,
    /// A tag of a multivariant playlist has been seen.
    lists_playlists: bool,
    /// A tag of a media playlist has been seen.
    lists_segments: bool,
    variant: Option<Variant>,
    /// What is said of the next segment.
    next: Segment,
    extinf: bool,
    entries: usize,
}

impl Reading<'_> {
    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::at(self.bytes, self.at, message)
    }

    fn unreadable(&mut self, message: impl Into<String>) {
        if self.playlist.unreadable.len() < MAX_UNREADABLE {
            let fault = self.fault(message);
            self.playlist.unreadable.push(fault);
        }
    }

    fn line(&mut self, line: &str) -> Result<(), Fault> {
        if line.trim().is_empty() {
            return Ok(());
        }
        if !line.starts_with('#') {
            return self.uri(line.trim_end());
        }
        let Some((name, value)) = tag(line) else {
            return Ok(()); // a comment
        };
        if self.variant.is_some() {
            return Err(self.fault("EXT-X-STREAM-INF is not followed by a URI"));
        }
        let given = value.unwrap_or_default().trim_end();
        match name {
            "EXT-X-STREAM-INF"
            | "EXT-X-MEDIA"
            | "EXT-X-I-FRAME-STREAM-INF"
            | "EXT-X-SESSION-DATA"
            | "EXT-X-SESSION-KEY"
            | "EXT-X-CONTENT-STEERING" => {
                self.lists_playlists = true;
            }
            "EXTINF"
            | "EXT-X-TARGETDURATION"
            | "EXT-X-MEDIA-SEQUENCE"
            | "EXT-X-ENDLIST"
            | "EXT-X-PLAYLIST-TYPE"
            | "EXT-X-MAP"
            | "EXT-X-KEY"
            | "EXT-X-BYTERANGE"
            | "EXT-X-DISCONTINUITY"
            | "EXT-X-DISCONTINUITY-SEQUENCE"
            | "EXT-X-GAP"
            | "EXT-X-PART"
            | "EXT-X-PART-INF"
            | "EXT-X-PROGRAM-DATE-TIME" => {
                self.lists_segments = true;
            }
            _ => {}
        }
        if self.lists_playlists && self.lists_segments {
            return Err(self.fault(format!(
                "{name} in a playlist that has tags of the other kind: it lists playlists or \
                 segments, not both"
            )));
        }
        match name {
            "EXT-X-VERSION" => self.playlist.version = self.number(name, given)?,
            "EXT-X-INDEPENDENT-SEGMENTS" => self.playlist.independent_segments = true,
            "EXT-X-STREAM-INF" => self.stream_inf(given)?,
            "EXT-X-MEDIA" => self.rendition(given)?,
            "EXT-X-TARGETDURATION" => {
                self.media.target_duration = Some(self.number(name, given)?);
            }
            "EXT-X-MEDIA-SEQUENCE" => self.media.media_sequence = self.number(name, given)?,
            "EXT-X-PLAYLIST-TYPE" => {
                if !matches!(given, "VOD" | "EVENT") {
                    let message = format!("{name} is {}, not VOD or EVENT", quoted(given));
                    self.unreadable(message);
                }
                self.media.playlist_type = Some(given.to_owned());
            }
            "EXT-X-ENDLIST" => self.media.ended = true,
            "EXTINF" => self.extinf(given)?,
            "EXT-X-BYTERANGE" => self.next.byte_range = Some(self.byte_range(name, given)?),
            "EXT-X-DISCONTINUITY" => self.next.discontinuity = true,
            "EXT-X-GAP" => self.next.gap = true,
            "EXT-X-PROGRAM-DATE-TIME" => self.next.program_date_time = Some(given.to_owned()),
            "EXT-X-PART" => {
                self.entry()?;
                self.attributes(name, given)?;
                self.next.parts += 1;
            }
            "EXT-X-MAP" => self.map(given)?,
            "EXT-X-KEY" => self.key(given)?,
            _ => {}
        }
        Ok(())
    }

    fn uri(&mut self, uri: &str) -> Result<(), Fault> {
        self.entry()?;
        if let Some(mut variant) = self.variant.take() {
            uri.clone_into(&mut variant.uri);
            self.multivariant.variants.push(variant);
            return Ok(());
        }
        if self.lists_playlists {
            return Err(self.fault("a URI without EXT-X-STREAM-INF above it"));
        }
        if !std::mem::take(&mut self.extinf) {
            return Err(self.fault("a URI without EXTINF or EXT-X-STREAM-INF above it"));
        }
        let mut segment = std::mem::take(&mut self.next);
        (self.next.map, self.next.key) = (segment.map, segment.key);
        uri.clone_into(&mut segment.uri);
        self.media.segments.push(segment);
        Ok(())
    }

    fn end(mut self) -> Result<Playlist, Fault> {
        if self.variant.is_some() {
            return Err(self.fault("the playlist ends before the URI of an EXT-X-STREAM-INF"));
        }
        if self.extinf {
            return Err(self.fault("the playlist ends before the URI of an EXTINF"));
        }
        if self.lists_playlists {
            self.playlist.content = Content::Multivariant(self.multivariant);
        } else {
            if self.media.target_duration.is_none() {
                self.unreadable("EXT-X-TARGETDURATION is missing");
            }
            self.media.parts = self.next.parts;
            self.playlist.content = Content::Media(self.media);
        }
        Ok(self.playlist)
    }

    fn entry(&mut self) -> Result<(), Fault> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(self.fault(format!("more than {MAX_ENTRIES} entries")));
        }
        Ok(())
    }

    fn extinf(&mut self, value: &str) -> Result<(), Fault> {
        let duration = value.split(',').next().unwrap_or_default().trim();
        let seconds = decimal(duration).ok_or_else(|| {
            self.fault(format!(
                "EXTINF is {}, not a number of seconds such as 2.5",
                quoted(duration)
            ))
        })?;
        if self.extinf {
            return Err(self.fault("EXTINF is not followed by a URI"));
        }
        self.next.duration = seconds;
        self.extinf = true;
        Ok(())
    }

    fn stream_inf(&mut self, value: &str) -> Result<(), Fault> {
        let attributes = self.attributes("EXT-X-STREAM-INF", value)?;
        let bandwidth = attributes.get("BANDWIDTH").map(|text| (text, text.parse()));
        let bandwidth = match bandwidth {
            Some((_, Ok(bandwidth))) => Some(bandwidth),
            Some((text, Err(_))) => {
                let message = format!("BANDWIDTH is {}, not a number", quoted(text));
                self.unreadable(message);
                None
            }
            None => {
                self.unreadable("EXT-X-STREAM-INF without BANDWIDTH");
                None
            }
        };
        let resolution = attributes.get("RESOLUTION").map(|text| {
            let (width, height) = text.split_once('x')?;
            Some((width.parse().ok()?, height.parse().ok()?))
        });
        if resolution == Some(None) {
            self.unreadable("RESOLUTION is not two numbers such as 1280x720");
        }
        self.variant = Some(Variant {
            uri: String::new(),
            bandwidth,
            codecs: attributes.text("CODECS"),
            resolution: resolution.flatten(),
            frame_rate: attributes.text("FRAME-RATE"),
            audio: attributes.text("AUDIO"),
        });
        Ok(())
    }

    fn rendition(&mut self, value: &str) -> Result<(), Fault> {
        self.entry()?;
        let attributes = self.attributes("EXT-X-MEDIA", value)?;
        for name in ["TYPE", "GROUP-ID", "NAME"] {
            if attributes.get(name).is_none() {
                self.unreadable(format!("EXT-X-MEDIA without {name}"));
            }
        }
        self.multivariant.renditions.push(Rendition {
            kind: attributes.text("TYPE").unwrap_or_default(),
            group: attributes.text("GROUP-ID"),
            name: attributes.text("NAME"),
            language: attributes.text("LANGUAGE"),
            uri: attributes.text("URI"),
        });
        Ok(())
    }

    fn map(&mut self, value: &str) -> Result<(), Fault> {
        self.entry()?;
        let attributes = self.attributes("EXT-X-MAP", value)?;
        let uri = attributes
            .text("URI")
            .ok_or_else(|| self.fault("EXT-X-MAP without URI"))?;
        let byte_range = attributes
            .get("BYTERANGE")
            .map(|range| self.byte_range("BYTERANGE", range))
            .transpose()?;
        self.next.map = Some(self.media.maps.len());
        self.media.maps.push(Map { uri, byte_range });
        Ok(())
    }

    fn key(&mut self, value: &str) -> Result<(), Fault> {
        self.entry()?;
        let attributes = self.attributes("EXT-X-KEY", value)?;
        let method = attributes
            .text("METHOD")
            .ok_or_else(|| self.fault("EXT-X-KEY without METHOD"))?;
        self.next.key = Some(self.media.keys.len());
        self.media.keys.push(Key {
            method,
            uri: attributes.text("URI"),
            format: attributes.text("KEYFORMAT"),
        });
        Ok(())
    }

    fn number(&self, name: &str, text: &str) -> Result<u64, Fault> {
        text.parse()
            .map_err(|_| self.fault(format!("{name} is {}, not a whole number", quoted(text))))
    }

    fn byte_range(&self, name: &str, text: &str) -> Result<ByteRange, Fault> {
        let (length, offset) = match text.split_once('@') {
            Some((length, offset)) => (length, Some(offset)),
            None => (text, None),
        };
        Ok(ByteRange {
            length: self.number(name, length)?,
            offset: offset.map(|offset| self.number(name, offset)).transpose()?,
        })
    }

    /// `NAME=value,NAME="value, with comma"`.
    fn attributes<'t>(&self, tag: &str, list: &'t str) -> Result<Attributes<'t>, Fault> {
        let mut all = Vec::new();
        let mut rest = list;
        while !rest.is_empty() {
            let (name, after) = rest
                .split_once('=')
                .ok_or_else(|| self.fault(format!("{tag}: {} is no NAME=value", quoted(rest))))?;
            // Real lists have spaces behind the commas.
            let name = name.trim();
            let allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-';
            if name.is_empty() || !name.bytes().all(allowed) {
                let message = format!("{tag}: {} is no attribute's name", quoted(name));
                return Err(self.fault(message));
            }
            if all.iter().any(|(other, _)| *other == name) {
                return Err(self.fault(format!("{tag}: {name} is there twice")));
            }
            if all.len() == MAX_ATTRIBUTES {
                return Err(self.fault(format!("{tag} with more than {MAX_ATTRIBUTES} attributes")));
            }
            let (value, after) = match after.strip_prefix('"') {
                Some(value) => value.split_once('"').ok_or_else(|| {
                    self.fault(format!("{tag}: the quotation mark of {name} is not closed"))
                })?,
                None => {
                    let end = after.find(',').unwrap_or(after.len());
                    let (value, after) = after.split_at(end);
                    (value.trim_end(), after)
                }
            };
            all.push((name, value));
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(rest) => rest,
                None if after.is_empty() => after,
                None => {
                    let message = format!("{tag}: a comma is missing behind {name}");
                    return Err(self.fault(message));
                }
            };
        }
        Ok(Attributes(all))
    }
}

struct Attributes<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Attributes<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }
}

/// Digits, perhaps with a point in or before them: no sign, no exponent.
fn decimal(text: &str) -> Option<f64> {
    let digits = |b: u8| b.is_ascii_digit() || b == b'.';
    let has_digit = text.bytes().any(|b| b.is_ascii_digit());
    if !has_digit || !text.bytes().all(digits) {
        return None;
    }
    text.parse()
        .ok()
        .filter(|seconds: &f64| seconds.is_finite())
}

#[cfg(test)]
mod tests;

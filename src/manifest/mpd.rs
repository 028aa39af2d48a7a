//! Media Presentation Descriptions (ISO/IEC 23009-1): `MPD` > `Period` > `AdaptationSet` >
//! `Representation`, and where their segments are.
//!
//! Elements of other namespaces, and those that are not told of here, are passed over. A document type
//! declaration is refused: no MPD needs one, and what it could define has no bounds.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{Namespace, NamespaceError, ResolveResult};
use quick_xml::{NsReader, XmlVersion};

use super::{Fault, MAX_UNREADABLE, quoted, resolve, text};

/// Namespace of an MPD's elements. None at all is taken for it too.
const NAMESPACE: &[u8] = b"urn:mpeg:dash:schema:mpd:2011";

/// How deep elements may lie in each other.
const MAX_DEPTH: usize = 32;

/// All elements.
const MAX_ELEMENTS: usize = 500_000;

/// Namespaces that one element may declare: each costs every element inside of it.
const MAX_NAMESPACES: usize = 16;

/// Attributes of one element.
const MAX_ATTRIBUTES: usize = 64;

/// Periods, adaptation sets and representations together.
const MAX_PARTS: usize = 4096;

/// `S` elements and `SegmentURL`s together.
const MAX_ENTRIES: usize = 200_000;

/// Base URLs and content protections together.
const MAX_EXTRAS: usize = 16_384;

/// What an MPD says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mpd {
    /// `type` as it is written: `static`, `dynamic`, or what it should not be.
    pub presentation_type: Option<String>,
    /// `profiles`: URNs.
    pub profiles: Vec<String>,
    /// How long all of it is.
    pub media_presentation_duration: Option<Duration>,
    /// A dynamic one is to be read again after this time.
    pub minimum_update_period: Option<Duration>,
    /// Wall-clock time that the presentation's is counted from, as it is written.
    pub availability_start_time: Option<String>,
    /// When it was made, as it is written.
    pub publish_time: Option<String>,
    /// In document order.
    pub base_urls: Vec<String>,
    /// In document order.
    pub periods: Vec<Period>,
    /// Attributes whose values were left out because they are not what the attribute takes; at most 20.
    pub unreadable: Vec<Fault>,
}

/// A part of the time.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(
    missing_docs,
    reason = "the fields are the attributes and elements of those names"
)]
pub struct Period {
    pub id: Option<String>,
    pub start: Option<Duration>,
    pub duration: Option<Duration>,
    pub base_urls: Vec<String>,
    pub segments: Segments,
    pub adaptation_sets: Vec<AdaptationSet>,
}

/// Representations of the same thing.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(
    missing_docs,
    reason = "the fields are the attributes and elements of those names"
)]
pub struct AdaptationSet {
    pub id: Option<String>,
    pub content_type: Option<String>,
    pub lang: Option<String>,
    pub common: Common,
    pub base_urls: Vec<String>,
    pub segments: Segments,
    pub representations: Vec<Representation>,
}

/// One track.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(
    missing_docs,
    reason = "the fields are the attributes and elements of those names"
)]
pub struct Representation {
    pub id: Option<String>,
    /// Bits per second.
    pub bandwidth: Option<u64>,
    pub common: Common,
    pub base_urls: Vec<String>,
    pub segments: Segments,
}

/// What an adaptation set says for all its representations, and each of these for itself.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(
    missing_docs,
    reason = "the fields are the attributes and elements of those names"
)]
pub struct Common {
    pub mime_type: Option<String>,
    pub codecs: Option<String>,
    pub width: Option<u32>,
    pub height: Option<u32>,
    /// `25` or `30000/1001`, as it is written.
    pub frame_rate: Option<String>,
    pub sar: Option<String>,
    pub audio_sampling_rate: Option<String>,
    pub protections: Vec<ContentProtection>,
}

/// A way to get at the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentProtection {
    /// `schemeIdUri`: a URN.
    pub scheme: Option<String>,
    /// `value`: for `urn:mpeg:dash:mp4protection:2011` the scheme, such as `cenc`.
    pub value: Option<String>,
    /// `cenc:default_KID`, a UUID.
    pub default_kid: Option<String>,
}

/// Where segments are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segments {
    /// `SegmentTemplate`.
    pub template: Option<SegmentTemplate>,
    /// `SegmentList`.
    pub list: Option<SegmentList>,
}

/// `SegmentTemplate`. What is `None` may be said further out: [`Track::template`] looks there.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(
    missing_docs,
    reason = "the fields are the attributes and elements of those names"
)]
pub struct SegmentTemplate {
    pub media: Option<String>,
    pub initialization: Option<String>,
    /// Ticks per second of the fields below; 1 if it is nowhere.
    pub timescale: Option<u32>,
    /// Ticks of each segment.
    pub duration: Option<u64>,
    /// Number of the first segment; 1 if it is nowhere.
    pub start_number: Option<u64>,
    /// Ticks.
    pub presentation_time_offset: Option<u64>,
    pub timeline: Option<Arc<[TimelineEntry]>>,
}

/// `SegmentList`.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(
    missing_docs,
    reason = "the fields are the attributes and elements of those names"
)]
pub struct SegmentList {
    pub initialization: Option<String>,
    pub timescale: Option<u32>,
    /// Ticks of each segment.
    pub duration: Option<u64>,
    pub start_number: Option<u64>,
    /// `SegmentURL@media`, in order.
    pub media: Vec<String>,
    pub timeline: Option<Arc<[TimelineEntry]>>,
}

/// `S`: `r + 1` segments of `d` ticks each, from `t`, or from where the one before ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the fields are the attributes and elements of those names"
)]
pub struct TimelineEntry {
    pub t: Option<u64>,
    pub d: u64,
    /// -1: up to the next entry's `t`, or the period's end.
    pub r: i64,
}

/// A representation with what is said further out.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the fields are the elements of those names")]
pub struct Track<'a> {
    pub period: &'a Period,
    pub adaptation_set: &'a AdaptationSet,
    pub representation: &'a Representation,
}

impl Mpd {
    /// `type="dynamic"`.
    #[must_use]
    pub fn is_dynamic(&self) -> bool {
        self.presentation_type.as_deref() == Some("dynamic")
    }

    /// `type="static"`, in so many words: a missing `type` means static too, and is not this.
    #[must_use]
    pub fn is_static(&self) -> bool {
        self.presentation_type.as_deref() == Some("static")
    }

    /// All representations, in document order.
    pub fn tracks(&self) -> impl Iterator<Item = Track<'_>> {
        self.periods.iter().flat_map(|period| {
            period
                .adaptation_sets
                .iter()
                .flat_map(move |adaptation_set| {
                    adaptation_set
                        .representations
                        .iter()
                        .map(move |representation| Track {
                            period,
                            adaptation_set,
                            representation,
                        })
                })
        })
    }
}

impl Mpd {
    /// What URLs of a representation are relative to, where the MPD is at `path`: a name below the same
    /// root, or `None` for what lies elsewhere. Of several `BaseURL` the first counts.
    #[must_use]
    pub fn base(&self, track: &Track<'_>, path: &str) -> Option<String> {
        let urls = [
            &self.base_urls,
            &track.period.base_urls,
            &track.adaptation_set.base_urls,
            &track.representation.base_urls,
        ];
        let mut urls = urls.into_iter().filter_map(|urls| urls.first());
        urls.try_fold(path.to_owned(), |base, url| resolve(&base, url))
    }
}

impl<'a> Track<'a> {
    /// The media type.
    #[must_use]
    pub fn mime_type(&self) -> Option<&'a str> {
        self.common(|common| common.mime_type.as_deref())
    }

    /// The codecs parameter.
    #[must_use]
    pub fn codecs(&self) -> Option<&'a str> {
        self.common(|common| common.codecs.as_deref())
    }

    /// Width and height in pixels, where both are said.
    #[must_use]
    pub fn size(&self) -> Option<(u32, u32)> {
        let width = self.common(|common| common.width)?;
        Some((width, self.common(|common| common.height)?))
    }

    /// Something that is said of the representation, or else of its adaptation set.
    pub fn common<T>(&self, of: impl Fn(&'a Common) -> Option<T>) -> Option<T> {
        of(&self.representation.common).or_else(|| of(&self.adaptation_set.common))
    }

    /// Whether somebody protects it.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        !self.representation.common.protections.is_empty()
            || !self.adaptation_set.common.protections.is_empty()
    }

    /// The segment template, attribute by attribute the innermost that is said.
    #[must_use]
    pub fn template(&self) -> Option<SegmentTemplate> {
        let outer = [
            &self.representation.segments.template,
            &self.adaptation_set.segments.template,
            &self.period.segments.template,
        ];
        outer
            .into_iter()
            .flatten()
            .fold(None, |inner: Option<SegmentTemplate>, outer| {
                let inner = inner.unwrap_or_default();
                Some(SegmentTemplate {
                    media: inner.media.or_else(|| outer.media.clone()),
                    initialization: inner
                        .initialization
                        .or_else(|| outer.initialization.clone()),
                    timescale: inner.timescale.or(outer.timescale),
                    duration: inner.duration.or(outer.duration),
                    start_number: inner.start_number.or(outer.start_number),
                    presentation_time_offset: inner
                        .presentation_time_offset
                        .or(outer.presentation_time_offset),
                    timeline: inner.timeline.or_else(|| outer.timeline.clone()),
                })
            })
    }
}

/// Segments of one length, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// `$Number$` of the first.
    pub number: u64,
    /// `$Time$` of the first, in ticks.
    pub time: u64,
    /// Ticks of each.
    pub duration: u64,
    /// How many; `None` where nothing says where they end.
    pub count: Option<u64>,
}

impl Run {
    /// The segment `at` places behind the first, as a run by itself.
    #[must_use]
    pub fn segment(&self, at: u64) -> Option<Self> {
        Some(Self {
            number: self.number.checked_add(at)?,
            time: self.time.checked_add(at.checked_mul(self.duration)?)?,
            count: Some(1),
            ..*self
        })
        .filter(|_| self.count.is_none_or(|count| at < count))
    }

    /// The segment with this `$Number$`.
    #[must_use]
    pub fn numbered(&self, number: u64) -> Option<Self> {
        self.segment(number.checked_sub(self.number)?)
    }

    /// The segment with this `$Time$`.
    #[must_use]
    pub fn timed(&self, time: u64) -> Option<Self> {
        let at = time.checked_sub(self.time)?.checked_div(self.duration)?;
        self.segment(at).filter(|segment| segment.time == time)
    }
}

impl SegmentTemplate {
    /// What its timeline lists, entry by entry. It ends behind a run without an end, and before numbers
    /// become too great.
    pub fn runs(&self) -> impl Iterator<Item = Run> {
        let timeline = self.timeline.as_deref().unwrap_or_default();
        let mut next = Some((self.start_number.unwrap_or(1), 0u64));
        timeline.iter().enumerate().map_while(move |(at, entry)| {
            let (number, time) = next.take()?;
            let time = entry.t.unwrap_or(time);
            let count = match u64::try_from(entry.r) {
                Ok(more) => more.checked_add(1),
                // Up to where the next one begins.
                Err(_) => {
                    let end = timeline.get(at + 1).and_then(|next| next.t);
                    let length = end.and_then(|end| end.checked_sub(time));
                    length.and_then(|length| length.checked_div(entry.d))
                }
            };
            next = count.and_then(|count| {
                let end = time.checked_add(count.checked_mul(entry.d)?)?;
                Some((number.checked_add(count)?, end))
            });
            Some(Run {
                number,
                time,
                duration: entry.d,
                count,
            })
        })
    }

    /// `template` with its identifiers filled in: `$RepresentationID$`, `$Bandwidth$`, `$Number$`,
    /// `$Time$`, the numbers also as `$Number%05d$`, and `$$`. `None` where an identifier has no value
    /// here, or the template is not one.
    #[must_use]
    pub fn fill(
        template: &str,
        representation: &Representation,
        number: Option<u64>,
        time: Option<u64>,
    ) -> Option<String> {
        let mut filled = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(before);
            let (identifier, after) = after.split_once('$')?;
            let (name, width) = match identifier.split_once("%0") {
                Some((name, format)) => (name, format.strip_suffix('d')?.parse().ok()?),
                None => (identifier, 1),
            };
            let value = match name {
                "" if identifier.is_empty() => {
                    filled.push('$');
                    rest = after;
                    continue;
                }
                "RepresentationID" => {
                    filled.push_str(representation.id.as_deref()?);
                    rest = after;
                    continue;
                }
                "Number" => number?,
                "Time" => time?,
                "Bandwidth" => representation.bandwidth?,
                _ => return None,
            };
            // Wider than any number is: someone else's joke.
            let width = Some(width).filter(|width: &usize| *width <= 20)?;
            filled.push_str(&format!("{value:0width$}"));
            rest = after;
        }
        filled.push_str(rest);
        Some(filled)
    }
}

/// Reads an MPD.
///
/// # Errors
/// It is no well-formed XML, no MPD, or beyond a limit of this module.
pub fn read(bytes: &[u8]) -> Result<Mpd, Fault> {
    Reading::new(bytes)?.run()
}

/// What an open element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Mpd,
    Period,
    AdaptationSet,
    Representation,
    Template,
    List,
    TemplateTimeline,
    ListTimeline,
    BaseUrl,
    Other,
}

struct Reading<'a> {
    bytes: &'a [u8],
    xml: NsReader<&'a [u8]>,
    /// Of the byte order mark, which the XML reader is not shown.
    skipped: usize,
    /// Where the event begins that is looked at.
    at: usize,
    open: Vec<(Node, String)>,
    /// The root has been closed.
    ended: bool,
    elements: usize,
    parts: usize,
    entries: usize,
    extras: usize,
    timeline: Vec<TimelineEntry>,
    words: String,
    mpd: Option<Mpd>,
}

impl<'a> Reading<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        let all = text(bytes)?;
        let content = all.strip_prefix('\u{feff}').unwrap_or(all);
        let forbidden = |c: char| {
            (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}')
        };
        if let Some(at) = all.find(forbidden) {
            return Err(Fault::at(bytes, at, "a character that XML does not allow"));
        }
        let mut xml = NsReader::from_str(content);
        xml.config_mut().check_comments = true;
        xml.resolver_mut()
            .set_max_declarations_per_element(MAX_NAMESPACES);
        Ok(Self {
            bytes,
            xml,
            skipped: all.len() - content.len(),
            at: 0,
            open: Vec::new(),
            ended: false,
            elements: 0,
            parts: 0,
            entries: 0,
            extras: 0,
            timeline: Vec::new(),
            words: String::new(),
            mpd: None,
        })
    }

    fn run(mut self) -> Result<Mpd, Fault> {
        loop {
            self.at = self.position(self.xml.buffer_position());
            let event = match self.xml.read_event() {
                Ok(event) => event,
                Err(e) => {
                    self.at = self.position(self.xml.error_position());
                    return Err(self.fault(match e {
                        quick_xml::Error::Namespace(NamespaceError::TooManyDeclarations(most)) => {
                            format!("an element that declares more than {most} namespaces")
                        }
                        e => format!("not well-formed XML: {e}"),
                    }));
                }
            };
            match event {
                Event::Start(start) => self.start(&start)?,
                Event::Empty(start) => {
                    self.start(&start)?;
                    self.end();
                }
                Event::End(_) => self.end(),
                Event::Text(words) => self.text(&words)?,
                Event::CData(words) => {
                    if self.open.is_empty() {
                        return Err(self.fault("text outside of the root element"));
                    }
                    self.keep(&String::from_utf8_lossy(&words));
                }
                Event::GeneralRef(reference) => self.reference(&reference)?,
                Event::Decl(decl) => self.declaration(&decl)?,
                Event::DocType(_) => {
                    return Err(self.fault(
                        "a document type declaration, which an MPD has no use for: leave it out",
                    ));
                }
                Event::PI(instruction) => {
                    if instruction.target().eq_ignore_ascii_case(b"xml") {
                        return Err(
                            self.fault("an XML declaration that is not at the very beginning")
                        );
                    }
                }
                Event::Comment(_) => {}
                Event::Eof => break,
            }
        }
        if let Some((_, name)) = self.open.last() {
            let message = format!("the manifest ends before </{name}>");
            return Err(self.fault(message));
        }
        match self.mpd.take() {
            Some(mpd) => Ok(mpd),
            None => Err(self.fault("there is no MPD element")),
        }
    }

    fn position(&self, position: u64) -> usize {
        usize::try_from(position)
            .unwrap_or(usize::MAX)
            .saturating_add(self.skipped)
    }

    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::at(self.bytes, self.at, message)
    }

    fn declaration(&self, decl: &quick_xml::events::BytesDecl<'_>) -> Result<(), Fault> {
        if self.at != self.skipped {
            return Err(self.fault("an XML declaration that is not at the very beginning"));
        }
        decl.version()
            .map_err(|e| self.fault(format!("not well-formed XML: {e}")))?;
        let encoding = decl
            .encoding()
            .transpose()
            .map_err(|e| self.fault(format!("not well-formed XML: {e}")))?;
        match encoding {
            // Whatever 8-bit encoding it says it is, these bytes mean the same.
            Some(name) if !name.eq_ignore_ascii_case(b"utf-8") && !self.bytes.is_ascii() => {
                let name = quoted(&String::from_utf8_lossy(&name));
                Err(self.fault(format!("the encoding {name} is not read: send UTF-8")))
            }
            _ => Ok(()),
        }
    }

    fn text(&mut self, words: &[u8]) -> Result<(), Fault> {
        let words = String::from_utf8_lossy(words);
        if self.open.is_empty()
            && let Some(at) = words.find(|c: char| !matches!(c, ' ' | '\t' | '\n' | '\r'))
        {
            self.at += at;
            return Err(self.fault("text outside of the root element"));
        }
        if let Some(at) = words.find("]]>") {
            self.at += at;
            return Err(self.fault("not well-formed XML: \"]]>\" in text"));
        }
        self.keep(&words);
        Ok(())
    }

    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), Fault> {
        if self.open.is_empty() {
            return Err(self.fault("text outside of the root element"));
        }
        let name = String::from_utf8_lossy(reference).into_owned();
        let character = match reference.resolve_char_ref() {
            Ok(Some(c)) => Some(c),
            Ok(None) => match name.as_str() {
                "lt" => Some('<'),
                "gt" => Some('>'),
                "amp" => Some('&'),
                "apos" => Some('\''),
                "quot" => Some('"'),
                _ => None,
            },
            Err(_) => None,
        };
        match character {
            Some(c) => {
                self.keep(c.encode_utf8(&mut [0; 4]));
                Ok(())
            }
            None => Err(self.fault(format!("undefined entity {}", quoted(&format!("&{name};"))))),
        }
    }

    /// Keeps text where somebody wants it.
    fn keep(&mut self, words: &str) {
        if matches!(self.open.last(), Some((Node::BaseUrl, _))) {
            self.words.push_str(words);
        }
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), Fault> {
        self.elements += 1;
        self.within(self.elements, MAX_ELEMENTS, "elements")?;
        let name = self.name(start.name().0)?;
        let attributes = self.attributes(start)?;
        let ours = match self.xml.resolver().resolve_element(start.name()).0 {
            ResolveResult::Bound(Namespace(uri)) => uri == NAMESPACE,
            ResolveResult::Unbound => true,
            ResolveResult::Unknown(_) => false,
        };
        let parent = self.open.last().map(|(node, _)| *node);
        if self.open.len() >= MAX_DEPTH {
            return Err(self.fault(format!(
                "elements lie more than {MAX_DEPTH} deep in each other"
            )));
        }
        let node = match parent {
            None if self.ended => {
                let message = format!("<{name}> after the end of the root element");
                return Err(self.fault(message));
            }
            None if ours && start.local_name().as_ref() == b"MPD" => Node::Mpd,
            None => {
                let message = format!("the root element is {}, not MPD", quoted(&name));
                return Err(self.fault(message));
            }
            Some(parent) if ours => kind(parent, start.local_name().as_ref()),
            Some(_) => Node::Other,
        };
        self.open.push((node, name));
        let local = start.local_name();
        self.enter(node, parent, local.as_ref(), &attributes)
    }

    fn end(&mut self) {
        let Some((node, _)) = self.open.pop() else {
            return; // the XML reader has refused it
        };
        self.ended = self.open.is_empty();
        let parent = self.open.last().map(|(node, _)| *node);
        match node {
            Node::TemplateTimeline => {
                let timeline = std::mem::take(&mut self.timeline).into();
                let segments = self.segments(1);
                if let Some(template) = segments.and_then(|segments| segments.template.as_mut()) {
                    template.timeline = Some(timeline);
                }
            }
            Node::ListTimeline => {
                let timeline = std::mem::take(&mut self.timeline).into();
                let segments = self.segments(1);
                if let Some(list) = segments.and_then(|segments| segments.list.as_mut()) {
                    list.timeline = Some(timeline);
                }
            }
            Node::BaseUrl => {
                let url = std::mem::take(&mut self.words).trim().to_owned();
                if let Some(urls) = parent.and_then(|parent| self.base_urls(parent)) {
                    urls.push(url);
                }
            }
            _ => {}
        }
    }

    /// Takes an element in, which has just been opened.
    fn enter(
        &mut self,
        node: Node,
        parent: Option<Node>,
        local: &[u8],
        attributes: &Attributes<'_>,
    ) -> Result<(), Fault> {
        match node {
            Node::Mpd => {
                let mpd = Mpd {
                    presentation_type: attributes.text("type"),
                    profiles: attributes
                        .text("profiles")
                        .map(|all| all.split(',').map(|one| one.trim().to_owned()).collect())
                        .unwrap_or_default(),
                    availability_start_time: attributes.text("availabilityStartTime"),
                    publish_time: attributes.text("publishTime"),
                    ..Mpd::default()
                };
                self.mpd = Some(mpd);
                let duration = self.duration(attributes, "mediaPresentationDuration");
                let update = self.duration(attributes, "minimumUpdatePeriod");
                if let Some(mpd) = &mut self.mpd {
                    mpd.media_presentation_duration = duration;
                    mpd.minimum_update_period = update;
                }
            }
            Node::Period => {
                self.part()?;
                let period = Period {
                    id: attributes.text("id"),
                    start: self.duration(attributes, "start"),
                    duration: self.duration(attributes, "duration"),
                    ..Period::default()
                };
                if let Some(mpd) = &mut self.mpd {
                    mpd.periods.push(period);
                }
            }
            Node::AdaptationSet => {
                self.part()?;
                let set = AdaptationSet {
                    id: attributes.text("id"),
                    content_type: attributes.text("contentType"),
                    lang: attributes.text("lang"),
                    common: self.common(attributes),
                    ..AdaptationSet::default()
                };
                if let Some(period) = self.period() {
                    period.adaptation_sets.push(set);
                }
            }
            Node::Representation => {
                self.part()?;
                let representation = Representation {
                    id: attributes.text("id"),
                    bandwidth: self.number(attributes, "bandwidth"),
                    common: self.common(attributes),
                    ..Representation::default()
                };
                if let Some(set) = self.adaptation_set() {
                    set.representations.push(representation);
                }
            }
            Node::Template => {
                let template = SegmentTemplate {
                    media: attributes.text("media"),
                    initialization: attributes.text("initialization"),
                    timescale: self.number(attributes, "timescale"),
                    duration: self.number(attributes, "duration"),
                    start_number: self.number(attributes, "startNumber"),
                    presentation_time_offset: self.number(attributes, "presentationTimeOffset"),
                    timeline: None,
                };
                if let Some(segments) = self.segments(1) {
                    segments.template = Some(template);
                }
            }
            Node::List => {
                let list = SegmentList {
                    timescale: self.number(attributes, "timescale"),
                    duration: self.number(attributes, "duration"),
                    start_number: self.number(attributes, "startNumber"),
                    ..SegmentList::default()
                };
                if let Some(segments) = self.segments(1) {
                    segments.list = Some(list);
                }
            }
            Node::TemplateTimeline | Node::ListTimeline => self.timeline.clear(),
            Node::BaseUrl => {
                self.extra()?;
                self.words.clear();
            }
            Node::Other => return self.leaf(parent, local, attributes),
        }
        Ok(())
    }

    /// Takes in an element that has nothing inside that matters.
    fn leaf(
        &mut self,
        parent: Option<Node>,
        local: &[u8],
        attributes: &Attributes<'_>,
    ) -> Result<(), Fault> {
        match (parent, local) {
            (Some(Node::TemplateTimeline | Node::ListTimeline), b"S") => {
                self.entry()?;
                let entry = TimelineEntry {
                    t: self.number(attributes, "t"),
                    d: self.number(attributes, "d").unwrap_or(0),
                    r: self.number(attributes, "r").unwrap_or(0),
                };
                self.timeline.push(entry);
            }
            (Some(Node::List), b"SegmentURL") => {
                self.entry()?;
                let media = attributes.text("media");
                if let Some(list) = self.segments(2).and_then(|segments| segments.list.as_mut()) {
                    list.media.extend(media);
                }
            }
            (Some(Node::List), b"Initialization") => {
                let source = attributes.text("sourceURL");
                if let Some(list) = self.segments(2).and_then(|segments| segments.list.as_mut()) {
                    list.initialization = source;
                }
            }
            (Some(Node::AdaptationSet | Node::Representation), b"ContentProtection") => {
                self.extra()?;
                let protection = ContentProtection {
                    scheme: attributes.text("schemeIdUri"),
                    value: attributes.text("value"),
                    default_kid: attributes.local("default_KID"),
                };
                let common = match parent {
                    Some(Node::Representation) => self.representation().map(|it| &mut it.common),
                    _ => self.adaptation_set().map(|it| &mut it.common),
                };
                if let Some(common) = common {
                    common.protections.push(protection);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn common(&mut self, attributes: &Attributes<'_>) -> Common {
        Common {
            mime_type: attributes.text("mimeType"),
            codecs: attributes.text("codecs"),
            width: self.number(attributes, "width"),
            height: self.number(attributes, "height"),
            frame_rate: attributes.text("frameRate"),
            sar: attributes.text("sar"),
            audio_sampling_rate: attributes.text("audioSamplingRate"),
            protections: Vec::new(),
        }
    }

    fn period(&mut self) -> Option<&mut Period> {
        self.mpd.as_mut()?.periods.last_mut()
    }

    fn adaptation_set(&mut self) -> Option<&mut AdaptationSet> {
        self.period()?.adaptation_sets.last_mut()
    }

    fn representation(&mut self) -> Option<&mut Representation> {
        self.adaptation_set()?.representations.last_mut()
    }

    /// Where the element `inside` elements further out than the last opened one keeps its segments.
    fn segments(&mut self, inside: usize) -> Option<&mut Segments> {
        let at = self.open.len().checked_sub(inside + 1)?;
        match self.open.get(at)?.0 {
            Node::Period => self.period().map(|it| &mut it.segments),
            Node::AdaptationSet => self.adaptation_set().map(|it| &mut it.segments),
            Node::Representation => self.representation().map(|it| &mut it.segments),
            _ => None,
        }
    }

    fn base_urls(&mut self, parent: Node) -> Option<&mut Vec<String>> {
        match parent {
            Node::Mpd => self.mpd.as_mut().map(|it| &mut it.base_urls),
            Node::Period => self.period().map(|it| &mut it.base_urls),
            Node::AdaptationSet => self.adaptation_set().map(|it| &mut it.base_urls),
            Node::Representation => self.representation().map(|it| &mut it.base_urls),
            _ => None,
        }
    }

    fn part(&mut self) -> Result<(), Fault> {
        self.parts += 1;
        self.within(self.parts, MAX_PARTS, "periods, sets and representations")
    }

    fn entry(&mut self) -> Result<(), Fault> {
        self.entries += 1;
        self.within(self.entries, MAX_ENTRIES, "S and SegmentURL elements")
    }

    fn extra(&mut self) -> Result<(), Fault> {
        self.extras += 1;
        self.within(
            self.extras,
            MAX_EXTRAS,
            "BaseURL and ContentProtection elements",
        )
    }

    fn within(&self, n: usize, most: usize, what: &str) -> Result<(), Fault> {
        if n > most {
            return Err(self.fault(format!("more than {most} {what}")));
        }
        Ok(())
    }

    /// A name, if it may be one.
    fn name(&self, bytes: &[u8]) -> Result<String, Fault> {
        let name = String::from_utf8_lossy(bytes);
        let starts = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':') || !c.is_ascii();
        let goes_on = |c: char| starts(c) || c.is_ascii_digit() || matches!(c, '-' | '.');
        if !name.starts_with(starts) || !name.chars().all(goes_on) {
            return Err(self.fault(format!("not well-formed XML: {} is no name", quoted(&name))));
        }
        Ok(name.into_owned())
    }

    fn attributes<'s>(&self, start: &'s BytesStart<'_>) -> Result<Attributes<'s>, Fault> {
        let mut all = Vec::new();
        for attribute in start.attributes() {
            let attribute =
                attribute.map_err(|e| self.fault(format!("not well-formed XML: {e}")))?;
            let name = self.name(attribute.key.0)?;
            if attribute.value.contains(&b'<') {
                let message = format!(
                    "not well-formed XML: \"<\" in the value of {}",
                    quoted(&name)
                );
                return Err(self.fault(message));
            }
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|e| self.fault(format!("the value of {}: {e}", quoted(&name))))?;
            if all.len() == MAX_ATTRIBUTES {
                return Err(self.fault(format!(
                    "an element with more than {MAX_ATTRIBUTES} attributes"
                )));
            }
            all.push((name, Cow::Owned(value.into_owned())));
        }
        Ok(Attributes(all))
    }

    fn number<T: std::str::FromStr>(
        &mut self,
        attributes: &Attributes<'_>,
        name: &str,
    ) -> Option<T> {
        let written = attributes.get(name)?;
        let value = written.trim().parse().ok();
        if value.is_none() {
            self.unreadable(format!("{name} is {}, not a number", quoted(written)));
        }
        value
    }

    fn duration(&mut self, attributes: &Attributes<'_>, name: &str) -> Option<Duration> {
        let written = attributes.get(name)?;
        let value = duration(written.trim());
        if value.is_none() {
            let message = format!(
                "{name} is {}, not a duration such as PT2.5S",
                quoted(written)
            );
            self.unreadable(message);
        }
        value
    }

    fn unreadable(&mut self, message: String) {
        let fault = match &self.mpd {
            Some(mpd) if mpd.unreadable.len() < MAX_UNREADABLE => self.fault(message),
            _ => return,
        };
        if let Some(mpd) = &mut self.mpd {
            mpd.unreadable.push(fault);
        }
    }
}

/// What an element of this name is inside of `parent`.
fn kind(parent: Node, name: &[u8]) -> Node {
    match (parent, name) {
        (Node::Mpd, b"Period") => Node::Period,
        (Node::Period, b"AdaptationSet") => Node::AdaptationSet,
        (Node::AdaptationSet, b"Representation") => Node::Representation,
        (Node::Period | Node::AdaptationSet | Node::Representation, b"SegmentTemplate") => {
            Node::Template
        }
        (Node::Period | Node::AdaptationSet | Node::Representation, b"SegmentList") => Node::List,
        (Node::Template, b"SegmentTimeline") => Node::TemplateTimeline,
        (Node::List, b"SegmentTimeline") => Node::ListTimeline,
        (Node::Mpd | Node::Period | Node::AdaptationSet | Node::Representation, b"BaseURL") => {
            Node::BaseUrl
        }
        _ => Node::Other,
    }
}

/// Attributes of an element, by the names that are written.
struct Attributes<'a>(Vec<(String, Cow<'a, str>)>);

impl Attributes<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_ref())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// By its name without the prefix.
    fn local(&self, name: &str) -> Option<String> {
        let local = |key: &str| key.rsplit(':').next() == Some(name);
        let found = self.0.iter().find(|(key, _)| local(key));
        found.map(|(_, value)| value.as_ref().to_owned())
    }
}

/// `xs:duration`, such as `PT1H2M3.5S`; years of 365 and months of 30 days.
fn duration(text: &str) -> Option<Duration> {
    let rest = text.strip_prefix('P')?;
    let (date, time) = match rest.split_once('T') {
        Some((date, time)) if !time.is_empty() => (date, time),
        Some(_) => return None,
        None => (rest, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let days = [('Y', 365 * 86_400), ('M', 30 * 86_400), ('D', 86_400)];
    let clock = [('H', 3_600), ('M', 60), ('S', 1)];
    fields(date, &days)?.checked_add(fields(time, &clock)?)
}

fn fields(mut rest: &str, units: &[(char, u64)]) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    for (unit, seconds) in units {
        let Some((number, after)) = rest.split_once(*unit) else {
            continue;
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) if *unit == 'S' && !fraction.is_empty() => (whole, fraction),
            Some(_) => return None,
            None => (number, "0"),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return None;
        }
        let whole: u64 = whole.parse().ok()?;
        let nanos = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
        sum = sum.checked_add(Duration::new(whole.checked_mul(*seconds)?, nanos))?;
        rest = after;
    }
    rest.is_empty().then_some(sum)
}

#[cfg(test)]
mod tests;

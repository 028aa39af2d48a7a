use proptest::prelude::*;

use super::*;

fn fault(text: &str) -> Fault {
    read(text.as_bytes()).expect_err(text)
}

const GOOD: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<!-- a comment -->
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" xmlns:cenc="urn:mpeg:cenc:2013" xmlns:x="urn:x"
  profiles="urn:mpeg:dash:profile:isoff-live:2011, urn:other" type="dynamic"
  minimumUpdatePeriod="PT2S" mediaPresentationDuration="P1DT1H1M1.5S"
  availabilityStartTime="2026-11-21T08:23:20Z">
  <BaseURL> http://a/&amp;&#x62;<![CDATA[&c]]> </BaseURL>
  <x:Period/>
  <Period id="0" start="PT0S">
    <SegmentTemplate timescale="1000" startNumber="1001"/>
    <AdaptationSet contentType="video" mimeType="video/mp4" width="640" height="360">
      <ContentProtection schemeIdUri="urn:mpeg:dash:mp4protection:2011" value="cenc"
        cenc:default_KID="0001"/>
      <SegmentTemplate media="v/$Number%04d$.m4s" initialization="$RepresentationID$.init">
        <SegmentTimeline><S t="0" d="2000" r="1"/><S d="500"/></SegmentTimeline>
      </SegmentTemplate>
      <Representation id="v" codecs="avc1.4d401f" bandwidth="1000" frameRate="30000/1001"/>
      <Representation id="w" codecs="avc1.4d401f" bandwidth="2000" width="1280" height="720">
        <SegmentTemplate startNumber="7"/>
      </Representation>
    </AdaptationSet>
    <AdaptationSet>
      <Representation id="a">
        <SegmentList timescale="48000" duration="96000">
          <Initialization sourceURL="a.init"/><SegmentURL media="1.m4s"/><SegmentURL media="2.m4s"/>
        </SegmentList>
      </Representation>
    </AdaptationSet>
  </Period>
</MPD>
"#;

#[test]
fn an_mpd_says_what_is_in_it() {
    let mpd = read(GOOD.as_bytes()).unwrap();
    assert!(mpd.is_dynamic() && !mpd.is_static());
    assert_eq!(mpd.profiles.len(), 2);
    assert_eq!(mpd.base_urls, ["http://a/&b&c"]);
    assert_eq!(
        mpd.media_presentation_duration,
        Some(Duration::from_millis(90_061_500))
    );
    assert_eq!(mpd.unreadable, []);
    assert_eq!(mpd.periods.len(), 1);
    let tracks: Vec<_> = mpd.tracks().collect();
    let [video, wide, audio] = tracks[..] else {
        panic!("{tracks:?}")
    };
    assert_eq!(
        (video.mime_type(), video.codecs()),
        (Some("video/mp4"), Some("avc1.4d401f"))
    );
    assert_eq!(
        (video.size(), wide.size()),
        (Some((640, 360)), Some((1280, 720)))
    );
    assert!(video.is_protected() && !audio.is_protected());
    let protection = &video.adaptation_set.common.protections[0];
    assert_eq!(protection.default_kid.as_deref(), Some("0001"));

    let template = video.template().unwrap();
    assert_eq!(
        (template.timescale, template.start_number),
        (Some(1000), Some(1001))
    );
    let timeline = template.timeline.clone().unwrap();
    assert_eq!(
        timeline.iter().map(|s| (s.t, s.d, s.r)).collect::<Vec<_>>(),
        [(Some(0), 2000, 1), (None, 500, 0)]
    );
    let fill = |text| SegmentTemplate::fill(text, video.representation, Some(12), None);
    assert_eq!(
        fill(template.media.as_deref().unwrap()).as_deref(),
        Some("v/0012.m4s")
    );
    assert_eq!(
        fill("$RepresentationID$-$Bandwidth$$$").as_deref(),
        Some("v-1000$")
    );
    assert_eq!(fill("$Time$"), None);
    assert_eq!(fill("$Number"), None);
    assert_eq!(fill("$Number%099999999d$"), None);
    assert_eq!(wide.template().unwrap().start_number, Some(7));

    let list = audio.representation.segments.list.as_ref().unwrap();
    assert_eq!(list.initialization.as_deref(), Some("a.init"));
    assert_eq!(list.media, ["1.m4s", "2.m4s"]);
}

#[test]
fn what_is_no_mpd_is_refused_where_it_goes_wrong() {
    for (text, line, says) in [
        ("", 1, "there is no MPD element"),
        ("   \n", 2, "there is no MPD element"),
        ("#EXTM3U\n", 1, "text outside"),
        ("<MPD>\n<Period>", 2, "ends before </Period>"),
        ("<MPD>\n<Period></MPD>", 2, "expected"),
        ("<MPD>\n<Period ", 2, "not closed"),
        ("<MPD></MPD>\n</MPD>", 2, "MPD"),
        ("<MPD>\n&foo;</MPD>", 2, "undefined entity \"&foo;\""),
        ("<MPD type='&foo;'/>", 1, "type"),
        ("<MPD>\n&#0;</MPD>", 2, "undefined entity"),
        (
            "<!DOCTYPE MPD [<!ENTITY a 'b'>]>\n<MPD>&a;</MPD>",
            1,
            "document type",
        ),
        (
            "<!DOCTYPE MPD SYSTEM 'file:///etc/passwd'><MPD/>",
            1,
            "document type",
        ),
        ("<MPD/>\nrubbish", 2, "text outside"),
        ("<MPD/>\n<MPD/>", 2, "after the end"),
        ("<MPD/>\n&amp;", 2, "text outside"),
        ("<SmoothStreamingMedia/>", 1, "the root element is"),
        ("<MPD xmlns='urn:other'/>", 1, "the root element is"),
        ("<x:MPD/>", 1, "the root element is"),
        ("<MPD a='1' a='2'/>", 1, "duplicated"),
        ("<MPD a=1/>", 1, "not well-formed"),
        ("<MPD a='<'/>", 1, "\"<\""),
        ("<MPD><1a/></MPD>", 1, "is no name"),
        ("<MPD>]]></MPD>", 1, "]]>"),
        ("\n<?xml version='1.0'?><MPD/>", 2, "very beginning"),
        ("<MPD><!-- a -- b --></MPD>", 1, "--"),
        ("<MPD>\u{1}</MPD>", 1, "character"),
        (
            "<?xml version='1.0' encoding='iso-8859-1'?>\n<MPD>\u{e4}</MPD>",
            1,
            "send UTF-8",
        ),
    ] {
        let fault = fault(text);
        assert_eq!(fault.line, line, "{text}: {fault}");
        assert!(fault.message.contains(says), "{text}: {fault}");
    }
    assert_eq!(read(b"<MPD>\n\xff</MPD>").unwrap_err().byte, 6);
}

#[test]
fn limits_hold() {
    let attributes: String = (0..65).map(|n| format!(" a{n}='1'")).collect();
    let namespaces: String = (0..17).map(|n| format!(" xmlns:a{n}='1'")).collect();
    let deep = |n| "<a>".repeat(n) + &"</a>".repeat(n);
    for (text, says) in [
        (format!("<MPD{attributes}/>"), "more than 64 attributes"),
        (format!("<MPD{namespaces}/>"), "more than 16 namespaces"),
        (
            format!("<MPD>{}</MPD>", "<a/>".repeat(500_000)),
            "more than 500000 elements",
        ),
        (format!("<MPD>{}</MPD>", deep(32)), "more than 32 deep"),
        (
            format!("<MPD>{}</MPD>", "<Period/>".repeat(4097)),
            "more than 4096 periods",
        ),
        (
            format!("<MPD>{}</MPD>", "<BaseURL/>".repeat(16_385)),
            "more than 16384 BaseURL",
        ),
        (" ".repeat(super::super::MAX_SIZE + 1), "longer than 8 MiB"),
    ] {
        let fault = fault(&text);
        assert!(fault.message.contains(says), "{fault}");
    }
    assert!(read(format!("<MPD>{}</MPD>", deep(31)).as_bytes()).is_ok());
}

#[test]
fn a_value_that_is_none_is_left_out_and_listed() {
    let text = "<MPD mediaPresentationDuration='soon'>\n<Period duration='PT'>\
                <AdaptationSet width='-1'/></Period></MPD>";
    let mpd = read(text.as_bytes()).unwrap();
    let listed: Vec<_> = mpd
        .unreadable
        .iter()
        .map(|f| (f.line, f.message.as_str()))
        .collect();
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert!(
        listed[0]
            .1
            .starts_with("mediaPresentationDuration is \"soon\"")
    );
    assert_eq!(listed[1].0, 2);
}

#[test]
fn durations() {
    for (text, millis) in [
        ("PT0S", Some(0)),
        ("PT1H2M3.25S", Some(3_723_250)),
        ("P1D", Some(86_400_000)),
        ("P1Y2M", Some((365 + 60) * 86_400_000)),
        ("P", None),
        ("PT", None),
        ("P1H", None),
        ("PT1S1M", None),
        ("PT1.5M", None),
        ("-PT1S", None),
        ("PT99999999999999999999S", None),
        ("PT1.S", None),
    ] {
        assert_eq!(duration(text), millis.map(Duration::from_millis), "{text}");
    }
}

proptest! {
    #[test]
    fn whatever_it_is_it_is_read_or_refused_at_a_place(
        cut in 0..GOOD.len(),
        put in proptest::collection::vec(any::<u8>(), 0..4),
        at in 0..GOOD.len(),
    ) {
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes.splice(at..at, put);
        if let Err(fault) = read(&bytes) {
            prop_assert!(fault.byte <= bytes.len() as u64 && fault.line >= 1);
        }
        // No prefix that lacks the end is an MPD.
        let whole = GOOD.trim_end().len();
        prop_assert_eq!(read(&GOOD.as_bytes()[..cut]).is_ok(), cut >= whole);
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }
}

#[test]
fn mpds_of_encoders() {
    for (path, kind, tracks, media, list) in [
        (
            "dash/manifest.mpd",
            "static",
            3,
            "chunk-stream$RepresentationID$-$Number%05d$.m4s",
            1,
        ),
        (
            "matter/session_1/index.mpd",
            "static",
            2,
            "video/segment_$Number%04d$.m4s",
            1,
        ),
        (
            "encrypted/h264-cenc/stream.mpd",
            "dynamic",
            2,
            "video/$Number$.m4s",
            1,
        ),
    ] {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/media");
        let mpd = read(&std::fs::read(format!("{root}/{path}")).unwrap()).unwrap();
        assert_eq!(mpd.unreadable, [], "{path}");
        assert_eq!(mpd.presentation_type.as_deref(), Some(kind), "{path}");
        assert_eq!(mpd.tracks().count(), tracks, "{path}");
        let template = mpd.tracks().next().unwrap().template().unwrap();
        assert_eq!(template.media.as_deref(), Some(media), "{path}");
        let listed = template.timeline.map_or(0, |timeline| timeline.len());
        assert_eq!(listed, list, "{path}");
    }
}

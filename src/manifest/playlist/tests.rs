use proptest::prelude::*;

use super::*;

fn fault(text: &str) -> Fault {
    read(text.as_bytes()).expect_err(text)
}

const MEDIA: &str = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\r\n\
    #EXT-X-MEDIA-SEQUENCE:5\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n# a comment\n\
    #EXT-X-MAP:URI=\"i,1.mp4\",BYTERANGE=\"10@0\"\n#EXT-X-UNKNOWN:any=thing\n#EXTINF:2.000,title\n\
    #EXT-X-BYTERANGE:100@20\n1.m4s\n\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXT-X-DISCONTINUITY\n\
    #EXT-X-PROGRAM-DATE-TIME:2026-11-21T08:00:00Z\n#EXT-X-PART:DURATION=0.5,URI=\"p\"\n#EXTINF:1\n\
    2.m4s\n#EXT-X-ENDLIST\n";

const MULTIVARIANT: &str = "#EXTM3U\n\
    #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"x=y, z\",URI=\"a/index.m3u8\"\n\
    #EXT-X-STREAM-INF:BANDWIDTH=202400, RESOLUTION=320x180,CODECS=\"avc1.4d400c,mp4a.40.2\",AUDIO=\"a\"\n\
    v/index.m3u8\n";

#[test]
fn a_media_playlist_says_what_is_in_it() {
    let playlist = read(MEDIA.as_bytes()).unwrap();
    assert_eq!((playlist.version, playlist.independent_segments), (7, true));
    assert_eq!(playlist.unreadable, []);
    let Content::Media(media) = playlist.content else {
        panic!("it is none")
    };
    assert_eq!((media.target_duration, media.media_sequence), (Some(2), 5));
    assert_eq!(media.playlist_type.as_deref(), Some("VOD"));
    assert!(media.ended);
    assert_eq!(media.maps[0].uri, "i,1.mp4");
    let [first, second] = &media.segments[..] else {
        panic!("{:?}", media.segments)
    };
    assert_eq!(
        first.byte_range,
        Some(ByteRange {
            length: 100,
            offset: Some(20)
        })
    );
    assert_eq!(
        (first.map, first.key, first.discontinuity),
        (Some(0), None, false)
    );
    assert_eq!(
        (second.map, second.key, second.discontinuity),
        (Some(0), Some(0), true)
    );
    assert_eq!(
        (second.duration, second.byte_range, second.parts),
        (1.0, None, 1)
    );
    assert!(media.keys[0].hides_boxes());
}

#[test]
fn a_multivariant_playlist_says_what_is_in_it() {
    let Content::Multivariant(playlist) = read(MULTIVARIANT.as_bytes()).unwrap().content else {
        panic!("it is none")
    };
    let variant = &playlist.variants[0];
    assert_eq!(variant.uri, "v/index.m3u8");
    assert_eq!(variant.codecs.as_deref(), Some("avc1.4d400c,mp4a.40.2"));
    assert_eq!(
        (variant.bandwidth, variant.resolution),
        (Some(202_400), Some((320, 180)))
    );
    assert_eq!(playlist.renditions[0].name.as_deref(), Some("x=y, z"));
}

#[test]
fn what_is_no_playlist_is_refused_where_it_goes_wrong() {
    for (text, line, says) in [
        ("", 1, "empty"),
        ("\n#EXTM3U\n", 1, "not #EXTM3U"),
        ("#EXTM3U8\n", 1, "not #EXTM3U"),
        ("\u{feff}#EXTM3U\n", 1, "byte order mark"),
        ("<MPD/>", 1, "not #EXTM3U"),
        ("#EXTM3U\n\u{0}", 2, "control character"),
        (
            "#EXTM3U\n#EXT-X-TARGETDURATION:2.5\n",
            2,
            "EXT-X-TARGETDURATION is \"2.5\"",
        ),
        ("#EXTM3U\n#EXTINF:abc,\nx\n", 2, "EXTINF is \"abc\""),
        ("#EXTM3U\n#EXTINF:-1,\nx\n", 2, "EXTINF is \"-1\""),
        ("#EXTM3U\n#EXTINF:,\nx\n", 2, "EXTINF is \"\""),
        (
            "#EXTM3U\n#EXTINF:1,\n#EXTINF:1,\nx\n",
            3,
            "not followed by a URI",
        ),
        ("#EXTM3U\n#EXTINF:1,\n", 3, "ends before the URI"),
        ("#EXTM3U\nx\n", 2, "a URI without"),
        (
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n",
            3,
            "ends before the URI",
        ),
        (
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n#EXT-X-VERSION:3\nx\n",
            3,
            "not followed",
        ),
        (
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,BANDWIDTH=2\nx\n",
            2,
            "twice",
        ),
        (
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH\nx\n",
            2,
            "no NAME=value",
        ),
        (
            "#EXTM3U\n#EXT-X-STREAM-INF:bandwidth=1\nx\n",
            2,
            "no attribute's name",
        ),
        ("#EXTM3U\n#EXT-X-MEDIA:NAME=\"a\n", 2, "not closed"),
        (
            "#EXTM3U\n#EXT-X-MEDIA:NAME=\"a\"X=1\n",
            2,
            "comma is missing",
        ),
        ("#EXTM3U\n#EXT-X-MAP:BYTERANGE=\"1@0\"\n", 2, "without URI"),
        ("#EXTM3U\n#EXT-X-KEY:URI=\"1\"\n", 2, "without METHOD"),
        (
            "#EXTM3U\n#EXT-X-ENDLIST\n#EXT-X-STREAM-INF:BANDWIDTH=1\nx\n",
            3,
            "of the other kind",
        ),
    ] {
        let fault = fault(text);
        assert_eq!(fault.line, line, "{text}: {fault}");
        assert!(fault.message.contains(says), "{text}: {fault}");
    }
    let long = vec![b'#'; super::super::MAX_SIZE + 1];
    assert!(
        read(&long)
            .unwrap_err()
            .message
            .contains("longer than 8 MiB")
    );
    let many = "#EXTM3U\n".to_owned() + &"#EXTINF:1\nx\n".repeat(200_001);
    assert!(fault(&many).message.contains("more than 200000 entries"));
    let many: String = (0..65).map(|n| format!("A{n}=1,")).collect();
    assert!(
        fault(&format!("#EXTM3U\n#EXT-X-MEDIA:{many}\n"))
            .message
            .contains("more than 64")
    );
}

#[test]
fn a_value_that_is_none_is_left_out_and_listed() {
    let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=x,RESOLUTION=1\nv\n#EXT-X-MEDIA:TYPE=AUDIO\n";
    let playlist = read(text.as_bytes()).unwrap();
    let lines: Vec<_> = playlist.unreadable.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [2, 2, 4, 4]);
    let playlist = read(b"#EXTM3U\n#EXT-X-PLAYLIST-TYPE:LIVE\n").unwrap();
    assert_eq!(playlist.unreadable.len(), 2, "{:?}", playlist.unreadable);
}

#[test]
fn facts_are_there_whatever_the_playlist_is() {
    let facts_of = |text: &str| facts(text.as_bytes());
    let media = facts_of(MEDIA);
    assert_eq!(media.playlist_type.as_deref(), Some("VOD"));
    assert!(media.ended);
    assert_eq!(
        (media.extinf, media.uris, media.variants_and_renditions),
        (2, 2, 0)
    );
    let multivariant = facts_of(MULTIVARIANT);
    assert_eq!(
        (multivariant.uris, multivariant.variants_and_renditions),
        (1, 2)
    );
    let spaced = "#EXTM3U\n#EXT-X-MEDIA :TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"b\"\n";
    assert_eq!(facts_of(spaced).variants_and_renditions, 1);
    assert!(matches!(
        read(spaced.as_bytes()).map(|playlist| playlist.content),
        Ok(Content::Multivariant(lists)) if lists.renditions.len() == 1
    ));
    let none = facts_of("#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-MEDIAN\n  \r\n# x\n");
    assert_eq!(none, Facts::default());
    let mut broken = b"\xff\n".to_vec();
    broken.extend_from_slice(b"#EXTINF:abc\nx");
    assert_eq!((facts(&broken).extinf, facts(&broken).uris), (1, 1));
}

proptest! {
    #[test]
    fn whatever_it_is_it_is_read_or_refused_at_a_place(
        put in proptest::collection::vec(any::<u8>(), 0..4),
        at in 0..MULTIVARIANT.len(),
    ) {
        for text in [MEDIA, MULTIVARIANT] {
            let mut bytes = text.as_bytes().to_vec();
            bytes.splice(at..at, put.clone());
            let _ = facts(&bytes);
            if let Err(fault) = read(&bytes) {
                prop_assert!(fault.byte <= bytes.len() as u64 && fault.line >= 1);
            }
        }
    }

    #[test]
    fn the_facts_are_those_of_the_playlist(durations in proptest::collection::vec(0u32..100, 0..20)) {
        let mut text = "#EXTM3U\n#EXT-X-TARGETDURATION:100\n".to_owned();
        for (n, duration) in durations.iter().enumerate() {
            text.push_str(&format!("#EXTINF:{duration}.5,\nsegment_{n}.m4s\n"));
        }
        let Content::Media(media) = read(text.as_bytes()).unwrap().content else {
            panic!("it is none")
        };
        let facts = facts(text.as_bytes());
        prop_assert_eq!(facts.extinf, durations.len() as u64);
        prop_assert_eq!(facts.uris, media.segments.len() as u64);
        let sum: f64 = media.segments.iter().map(|segment| segment.duration).sum();
        let expected: f64 = durations.iter().map(|d| f64::from(*d) + 0.5).sum();
        prop_assert!((sum - expected).abs() < 1e-6);
    }
}

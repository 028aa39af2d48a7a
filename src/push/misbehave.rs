//! Faults that a camera can be made to have, each with what a good server makes of it.

use std::fmt::Write;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    MissingManifest,
    LateDynamicMpd,
    EarlyStaticMpd,
    InitialPlaylistWithSegments,
    LateInit,
    MissingInit,
    DuplicateInit,
    WrongTrackName,
    WrongSession,
    BadSegmentName,
    MissingExtinf,
    BadExtinf,
    TfdtGap,
    TfdtOverlap,
    FirstSampleNotSync,
    MissingPrft,
    RepeatedSequence,
    NoCmafBrand,
    WrongTrackId,
    NoDefaultBase,
    TrunPastMdat,
    EmptyBody,
    TruncatedBody,
    StalledBody,
    ContentRange,
    ContentEncoding,
    ForeignCertificate,
    NoCertificate,
}

/// What is documented of a fault.
pub(super) struct Misbehaviour {
    pub(super) fault: Fault,
    pub(super) name: &'static str,
    /// What the camera does.
    pub(super) does: &'static str,
    /// What a server is to make of it: `rejected` (400 in strict mode), `finding` (stored, and said),
    /// `aborted` (a record without an object), `refused` (another status, or no connection).
    pub(super) outcome: &'static str,
    /// The rule that says so; `-` where it is no rule of media or names.
    pub(super) rule: &'static str,
}

macro_rules! table {
    ($($fault:ident $name:literal $does:literal $outcome:literal $rule:literal;)*) => {
        /// All of them.
        pub(super) const ALL: &[Misbehaviour] = &[$(Misbehaviour {
            fault: Fault::$fault, name: $name, does: $does, outcome: $outcome, rule: $rule,
        }),*];
    };
}

table! {
    MissingManifest "missing-manifest" "sends no MPD or playlists before the media" "rejected" "matter-dash-no-session";
    LateDynamicMpd "late-dynamic-mpd" "sends the dynamic MPD again after the segments (dash)" "rejected" "matter-mpd-dynamic-late";
    EarlyStaticMpd "early-static-mpd" "sends a static MPD before any segment (dash)" "rejected" "matter-mpd-static-early";
    InitialPlaylistWithSegments "initial-playlist-with-segments" "names a segment in the first media playlist (hls)" "rejected" "matter-initial-playlist-segments";
    LateInit "late-init" "sends each header after the first segment of its track" "rejected" "matter-segment-early";
    MissingInit "missing-init" "sends no header" "rejected" "matter-segment-early";
    DuplicateInit "duplicate-init" "sends each header twice" "rejected" "matter-init-again";
    WrongTrackName "wrong-track-name" "sends the second segment as one of a track that was never announced" "rejected" "matter-segment-early";
    WrongSession "wrong-session" "sends the second segment into the next session" "rejected" "matter-dash-no-session";
    BadSegmentName "bad-segment-name" "calls the second segment seg-1002.m4s" "rejected" "matter-object-path";
    MissingExtinf "missing-extinf" "sends the second segment without X-EXTINF-duration (hls)" "rejected" "matter-extinf-missing";
    BadExtinf "bad-extinf" "sends X-EXTINF-duration: four with the second segment (hls)" "rejected" "matter-extinf-invalid";
    TfdtGap "tfdt-gap" "leaves out a second between the first segment and the second" "finding" "decode-time-gap";
    TfdtOverlap "tfdt-overlap" "begins the second segment half a second before the end of the first" "finding" "decode-time-overlap";
    FirstSampleNotSync "first-sample-not-sync" "says of the first sample of the second segment that it is no sync sample" "finding" "fragment-sync";
    MissingPrft "missing-prft" "sends segments without prft" "finding" "prft-missing";
    RepeatedSequence "repeated-sequence" "gives every fragment the same mfhd sequence_number" "finding" "sequence-order";
    NoCmafBrand "no-cmaf-brand" "sends headers without a brand of CMAF" "finding" "brand";
    WrongTrackId "wrong-track-id" "gives another track_ID in the tfhd of the second segment" "finding" "tfhd-track";
    NoDefaultBase "no-default-base" "leaves default-base-is-moof out of the tfhd of the second segment" "finding" "tfhd-default-base-is-moof";
    TrunPastMdat "trun-past-mdat" "gives the last sample of the second segment more bytes than there are" "finding" "trun-outside-mdat";
    EmptyBody "empty-body" "sends the second segment without a byte" "finding" "-";
    TruncatedBody "truncated-body" "closes the connection in the middle of the second segment" "aborted" "-";
    StalledBody "stalled-body" "stops sending in the middle of the second segment, and waits" "aborted" "-";
    ContentRange "content-range" "sends the second segment with Content-Range" "refused" "-";
    ContentEncoding "content-encoding" "sends the second segment with Content-Encoding: br" "refused" "-";
    ForeignCertificate "foreign-certificate" "shows a certificate that it has signed itself" "refused" "-";
    NoCertificate "no-certificate" "shows no certificate" "refused" "-";
}

/// The faults of a camera.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    /// The faults with these names.
    ///
    /// # Errors
    /// The name that there is none of.
    pub(super) fn named(names: &[String]) -> Result<Self, String> {
        let find = |name: &String| {
            let found = ALL.iter().find(|one| one.name == name);
            found.map(|one| one.fault).ok_or_else(|| {
                format!("there is no misbehaviour {name:?}; pavs rules --misbehave lists them")
            })
        };
        names.iter().map(find).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }
}

/// One line for each: name, outcome, rule, what it does; with tabs between.
pub(crate) fn list() -> String {
    let mut text = String::new();
    for one in ALL {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{}\t{}\t{}\t{}",
            one.name, one.outcome, one.rule, one.does
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_found() {
        for (place, one) in ALL.iter().enumerate() {
            let faults = Faults::named(&[one.name.to_owned()]).unwrap();
            assert!(faults.has(one.fault));
            assert!(
                ALL.iter()
                    .skip(place + 1)
                    .all(|other| other.name != one.name && other.fault != one.fault)
            );
        }
        assert!(
            Faults::named(&["late".to_owned()])
                .unwrap_err()
                .contains("late")
        );
        assert_eq!(list().lines().count(), ALL.len());
    }

    #[test]
    fn the_rules_are_there() {
        for one in ALL.iter().filter(|one| one.rule != "-") {
            assert!(
                crate::finding::rule(one.rule).is_some(),
                "{}: {}",
                one.name,
                one.rule
            );
        }
    }
}

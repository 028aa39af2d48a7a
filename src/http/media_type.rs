//! Media types by extension.

use crate::names::{Naming, ObjectPath};

/// Type of an object; `None` for those that are only handed out as attachments.
pub(super) fn of(path: &ObjectPath) -> Option<&'static str> {
    Some(match path.extension() {
        Some("mpd") => "application/dash+xml",
        Some("m3u8") => "application/vnd.apple.mpegurl",
        Some("cmfv" | "mp4" | "m4v" | "init" | "header") => "video/mp4",
        Some("cmfa" | "m4a") => "audio/mp4",
        Some("cmft" | "cmfm") => "application/mp4",
        Some("m4s") => "video/iso.segment",
        Some("ts") => "video/mp2t",
        Some("key") => "application/octet-stream",
        _ if path.naming() == Naming::Streams => "video/mp4",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_extension() {
        for (path, expected) in [
            ("session_1/index.mpd", Some("application/dash+xml")),
            ("Streams(a.cmfa)", Some("audio/mp4")),
            ("Streams(video)", Some("video/mp4")),
            ("a.html", None),
            ("a", None),
        ] {
            assert_eq!(of(&ObjectPath::parse(path).unwrap()), expected, "{path}");
        }
    }
}
